/*
 * The commands of im2000-notify that are not `run`: one function for each, given
 * the arguments from the command's name on. Each prints data to stdout and words
 * for people to stderr, and returns the program's exit code.
 */
#ifndef IM2000_NOTIFY_ADMIN_H
#define IM2000_NOTIFY_ADMIN_H

int admin_init(int argc, char **argv);    /* init DIR --domain D ... */
int admin_mailbox(int argc, char **argv); /* mailbox add|list|remove|password ... */
int admin_alias(int argc, char **argv);   /* alias add|list|remove ... */
int admin_policy(int argc, char **argv);  /* policy show|add|remove ... */
int admin_backup(int argc, char **argv);  /* backup DIR */
int admin_check(int argc, char **argv);   /* check */
int admin_stats(int argc, char **argv);   /* stats */

#define ADMIN_PROGRAM "im2000-notify"

/* The configuration file to use: PATH (-c), else $IM2000_NOTIFY_CONFIG, else ./notify.conf. */
const char *admin_config_path(const char *path);

#endif
