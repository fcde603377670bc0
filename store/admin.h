/*
 * The commands of im2000-store that are not `run`: one function for each, given
 * the arguments from the command's name on. Each prints data to stdout and words for people to
 * stderr, and returns the program's exit code.
 */
#ifndef IM2000_STORE_ADMIN_H
#define IM2000_STORE_ADMIN_H

#include "base/err.h"
#include "store/config.h"
#include "store/db.h"

/* Exit codes of all programs (cli.md). */
enum admin_exit { ADMIN_DONE = 0, ADMIN_FAILED = 1, ADMIN_USAGE = 2, ADMIN_TRY_LATER = 75 };

int admin_init(int argc, char **argv);    /* init DIR --domain D ... */
int admin_account(int argc, char **argv); /* account add|list|remove|password ... */
int admin_backup(int argc, char **argv);  /* backup DIR */
int admin_check(int argc, char **argv);   /* check */
int admin_stats(int argc, char **argv);   /* stats */

/* --- for the files of admin and main ------------------------------------------------- */

/* Says "im2000-store: TEXT" on stderr; the exit code that belongs to error CODE. */
int admin_fail(int code, const struct err_text *e);
/* Says what is wrong with the command line and where to read on. ADMIN_USAGE. */
int admin_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The configuration file to use: PATH (-c), else $IM2000_STORE_CONFIG, else ./store.conf. */
const char *admin_config_path(const char *path);

/* What a command works on: the configuration and the open database. */
struct admin_store {
	struct config config;
	struct db *db;
};
/* 0, or an error with E filled and nothing to close. */
int admin_open(const char *config_path, struct admin_store *out, struct err_text *e);
void admin_close(struct admin_store *s);

#endif
