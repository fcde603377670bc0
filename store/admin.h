/*
 * The commands of im2000-store that are not `run` (im2000-store(8)): one function
 * for each, given the arguments from the command's name on. Each prints data to
 * stdout and words for people to stderr, and returns the program's exit code
 * (session/program.h). They work on the database directly, also while the
 * daemon runs.
 */
#ifndef IM2000_STORE_ADMIN_H
#define IM2000_STORE_ADMIN_H

#define ADMIN_PROGRAM "im2000-store"

int admin_init(int argc, char **argv);    /* init DIR --domain D ... */
int admin_account(int argc, char **argv); /* account add|list|remove|password ... */
int admin_key(int argc, char **argv);     /* key rotate|list */
int admin_backup(int argc, char **argv);  /* backup DIR */
int admin_check(int argc, char **argv);   /* check */
int admin_stats(int argc, char **argv);   /* stats */

/* The configuration file to use: PATH (-c), else $IM2000_STORE_CONFIG, else ./store.conf. */
const char *admin_config_path(const char *path);

#endif
