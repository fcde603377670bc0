/* For the files store/admin*.c only: what a command line says, and what it works on. */
#ifndef IM2000_STORE_ADMIN_WORDS_H
#define IM2000_STORE_ADMIN_WORDS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "store/config.h"
#include "store/db.h"

#define ADMIN_SENDERS_MAX 100

/* Options besides -c that a command takes. */
enum admin_takes {
	ADMIN_TAKES_SECRET = 1, /* --password-file F, --token */
	ADMIN_TAKES_JSON = 2,
	ADMIN_TAKES_SENDER = 4, /* may repeat */
	ADMIN_TAKES_QUOTA = 8
};

struct admin_words {
	const char *config;        /* -c; NULL: not given, as all texts here */
	const char *password_file;
	const char *quota;
	const char *sender[ADMIN_SENDERS_MAX];
	size_t n_senders;
	bool token, json;
	char **rest; /* what is no option */
	int n_rest;
};

/*
 * Reads ARGV (from the command's own name on) with the options TAKES. 0, or
 * PROGRAM_USAGE after saying what is wrong with COMMAND.
 */
int admin_words_read(const char *command, unsigned takes, int argc, char **argv,
                     struct admin_words *out);

/* The configuration and the open database. */
struct admin_place {
	struct config config;
	struct db *db;
};
/* 0, or an error with E filled and nothing to close. CONFIG_PATH NULL: admin_config_path. */
int admin_open(const char *config_path, struct admin_place *out, struct err_text *e);
void admin_close(struct admin_place *p);
/* What is reserved for submissions under way, of all accounts (db_reserved): how many, or an error
 * with E filled. */
int admin_reserved(struct admin_place *p, struct db_reserved **out, struct err_text *e);

/* What a command does with its place. */
struct admin_verb {
	const char *name, *command; /* as in "add", "account add" */
	unsigned takes;             /* enum admin_takes */
	int n_rest;                 /* how many words that are no option it wants */
	const char *wants;          /* them, as in "one name" */
	/* NULL, or judges the command line: 0, or an error with E filled. */
	int (*judge)(const struct admin_words *w, struct err_text *e);
	int (*run)(struct admin_place *p, const struct admin_words *w, struct err_text *e);
};
/* Reads V's command line, ARGV from its name on, and runs it. The program's exit code. */
int admin_verb(const struct admin_verb *v, int argc, char **argv);
/*
 * The same for the one of VERBS (the last has no name) that the word behind the command's name
 * names; the command wants WANTS, as in "add or remove".
 */
int admin_verbs(const char *wants, const struct admin_verb *verbs, int argc, char **argv);

#endif
