/*
 * The commands of im2000-store that are not `run` (im2000-store(8)): one function
 * for each, given the arguments from the command's name on. Each prints data to
 * stdout and words for people to stderr, and returns the program's exit code
 * (session/program.h). They work on the database directly, also while the
 * daemon runs.
 */
#ifndef IM2000_STORE_ADMIN_H
#define IM2000_STORE_ADMIN_H

#include "base/err.h"
#include "store/config.h"
#include "store/db.h"

#define ADMIN_PROGRAM "im2000-store"

int admin_init(int argc, char **argv);    /* init DIR --domain D ... */
int admin_account(int argc, char **argv); /* account add|list|remove|password ... */
int admin_backup(int argc, char **argv);  /* backup DIR */
int admin_check(int argc, char **argv);   /* check */
int admin_stats(int argc, char **argv);   /* stats */

/* The configuration file to use: PATH (-c), else $IM2000_STORE_CONFIG, else ./store.conf. */
const char *admin_config_path(const char *path);

/* --- shared by the files of admin -------------------------------------------------------- */

/* What a command line says. */
struct admin_words {
	const char *config;        /* -c */
	const char *password_file; /* --password-file */
	const char *quota;         /* --quota */
	const char *const *senders; /* --sender, n_senders of them */
	size_t n_senders;
	bool token, json;
	char **rest; /* what is no option */
	int n_rest;
};

/* What a command works on: the configuration and the open database. */
struct admin_place {
	struct config config;
	struct db *db;
};
/* 0, or an error with E filled and nothing to close. */
int admin_open(const char *config_path, struct admin_place *out, struct err_text *e);
void admin_close(struct admin_place *p);

#endif
