/*
 * The administration commands of the daemons: what a command line says, and running the one that
 * it names where its configuration is. A program has a table of verbs for each command.
 */
#ifndef IM2000_SESSION_VERB_H
#define IM2000_SESSION_VERB_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* Options besides -c that a verb may take: these, and the program's own from VERB_TAKES_OWN on. */
enum verb_takes {
	VERB_TAKES_SECRET = 1, /* --password-file F, --token */
	VERB_TAKES_JSON = 2,   /* --json */
	VERB_TAKES_OWN = 4     /* the first of the program's own, then its doubles */
};

/* An option of a program's own, which has a value. */
struct verb_option {
	const char *name;
	unsigned bit; /* of what a verb takes */
	bool repeats; /* each value counts; else the last one */
};

#define VERB_VALUES_MAX 100 /* of the program's own options in one command line */
#define VERB_OPTIONS_MAX 8  /* that a program has of its own */

/* What a command line says. Views of argv. */
struct verb_words {
	const char *config;        /* -c; NULL: not said */
	const char *password_file; /* NULL: not said */
	bool token, json;
	char **rest; /* what is no option */
	int n_rest;
	size_t n_values;
	struct {
		unsigned bit;
		const char *text;
	} value[VERB_VALUES_MAX];
};
/* The value that W has at I of the option BIT. NULL: there are no more. */
const char *verb_value(const struct verb_words *w, unsigned bit, size_t i);

/* What a verb works on: each program's own, its configuration and open database. */
struct verb_place;

struct verb {
	const char *name, *command; /* as in "add", "account add" */
	unsigned takes;             /* enum verb_takes */
	int least, most;            /* how many words that are no option it wants */
	const char *wants;          /* them, as in "one name" */
	/* NULL, or judges the command line: 0, or an error with E filled. */
	int (*judge)(const struct verb_words *w, struct err_text *e);
	/* 0, or an error with E filled or empty. */
	int (*run)(struct verb_place *p, const struct verb_words *w, struct err_text *e);
};

struct verb_program {
	const char *name;                  /* for messages */
	const struct verb_option *options; /* its own; ended by a NULL name */
	/* Opens the place that W names, does V's run there, closes it: what that came to. */
	int (*at_place)(const struct verb *v, const struct verb_words *w, struct err_text *e);
};

/* Reads V's command line, ARGV from its name on, and runs it. The program's exit code. */
int verb_run(const struct verb_program *p, const struct verb *v, int argc, char **argv);
/*
 * The same for the one of VERBS (the last has no name) that the word behind the command's name
 * names; the command wants WANTS, as in "add or remove".
 */
int verb_choose(const struct verb_program *p, const char *wants, const struct verb *verbs, int argc,
                char **argv);

/* The configuration to use: NAMED, or else the environment's VARIABLE, or else FILE. */
const char *verb_config(const char *named, const char *variable, const char *file);

#endif
