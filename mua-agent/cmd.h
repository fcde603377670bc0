/*
 * The commands of im2000(1), a file each (cmd_NAME.c), and what they share: options that
 * all take, reporting.
 */
#ifndef IM2000_AGENT_CMD_H
#define IM2000_AGENT_CMD_H

#include <getopt.h>

#include "mua-agent/app.h"
#include "session/program.h"

/* Each takes its own words (ARGV[0] is its name) and answers the exit code. */
int cmd_send(struct app *app, int argc, char **argv);
int cmd_list(struct app *app, int argc, char **argv);
int cmd_read(struct app *app, int argc, char **argv);
int cmd_structure(struct app *app, int argc, char **argv);
int cmd_status(struct app *app, int argc, char **argv);
int cmd_wait(struct app *app, int argc, char **argv);
int cmd_drop(struct app *app, int argc, char **argv);
int cmd_refuse(struct app *app, int argc, char **argv);
int cmd_cancel(struct app *app, int argc, char **argv);
int cmd_release(struct app *app, int argc, char **argv);
int cmd_readdress(struct app *app, int argc, char **argv);
int cmd_extend(struct app *app, int argc, char **argv);
int cmd_forget(struct app *app, int argc, char **argv);
int cmd_archive(struct app *app, int argc, char **argv);
int cmd_block(struct app *app, int argc, char **argv);
int cmd_unblock(struct app *app, int argc, char **argv);
int cmd_allow(struct app *app, int argc, char **argv);
int cmd_export(struct app *app, int argc, char **argv);
int cmd_policy(struct app *app, int argc, char **argv);
int cmd_doctor(struct app *app, int argc, char **argv);

struct command {
	const char *name;
	const char *arguments; /* "N [--headers]" */
	const char *help;      /* one line */
	int (*run)(struct app *app, int argc, char **argv);
};
extern const struct command cmd_table[]; /* ended by a name of NULL */

/* The options of every command; a command's table of long options ends with CMD_OPTIONS. */
enum { CMD_ACCOUNT = 256, CMD_JSON, CMD_HELP };
#define CMD_OPTIONS                                                                                \
	{ "account", required_argument, NULL, CMD_ACCOUNT },                                       \
	    { "json", no_argument, NULL, CMD_JSON }, { "help", no_argument, NULL, CMD_HELP },      \
	{ NULL, 0, NULL, 0 }

enum { CMD_END = -1, CMD_STOP = -2 };
/*
 * The command's next own option (its value is in optarg), CMD_END, or CMD_STOP:
 * the command ends with *EXIT, all is said. Common options go into APP.
 */
int cmd_option(struct app *app, int argc, char **argv, const struct option *options, int *exit);

/* Says what is wrong with the word for which getopt_long answered WHAT (':', '?'). Exit code. */
int cmd_bad_option(int what, const char *where, int argc, char **argv);

/* Opens APP; PROGRAM_DONE or the exit code, said. */
int cmd_open(struct app *app);

/* Says E (the phrase of CODE where it is empty) and answers the exit code. */
int cmd_fail(int code, const struct err_text *e);

/* What went wrong with one thing of several: said, and the worst exit code so far kept in *EXIT
 * (trying later does not help where something failed for good). */
void cmd_trouble(int *exit, int code, const struct err_text *e);

/* A message's number. 0, or PROGRAM_USAGE, said. */
int cmd_number(const char *command, const char *text, uint32_t *out);

/* Whether there is an account that sends (--account: that one). PROGRAM_DONE or the exit code,
 * said. */
int cmd_can_send(const struct app *app);

/* A recipient given by --to, added to LIST[*N]. PROGRAM_DONE or the exit code, said. */
int cmd_recipient(const char *command, const char *text, struct mailbox **list, size_t *n);

#endif
