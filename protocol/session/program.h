/*
 * What the command lines of all programs do alike: exit codes, messages, secrets
 * given by option, the folder that `init` makes.
 */
#ifndef IM2000_SESSION_PROGRAM_H
#define IM2000_SESSION_PROGRAM_H

#include <stdbool.h>
#include <stdio.h>

#include "base/err.h"
#include "base/password.h"

#define PROGRAM_VERSION "0.1"

enum program_exit {
	PROGRAM_DONE = 0,
	PROGRAM_FAILED = 1,
	PROGRAM_USAGE = 2,
	PROGRAM_TRY_LATER = 75 /* EX_TEMPFAIL of sysexits(3) */
};

/* The exit code that belongs to error CODE. */
int program_exit_code(int code);

/* Says "PROGRAM: TEXT" on stderr (the phrase of CODE where E is empty); answers the exit code. */
int program_fail(const char *program, int code, const struct err_text *e);

/* Says what is wrong with the command line, and where to read on. PROGRAM_USAGE. */
int program_usage(const char *program, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * The same for an option of COMMAND, after getopt_long on ARGV answered C: '?' or ':' (which it
 * tells apart when its option string begins with ':').
 */
int program_bad_option(const char *program, const char *command, int c, char **argv);

/*
 * The secret of a new login: with TOKEN a fresh token, printed to stdout once;
 * else the first line of PASSWORD_FILE ("-": standard input); else asked for on
 * the terminal, twice. 0 or an error with E filled.
 */
int program_secret(const char *password_file, bool token, struct password_hash *out,
                   struct err_text *e);

/* Makes directory DIR, mode 0700, with its parents; one that is there must be this user's. */
int program_make_dir(const char *dir, struct err_text *e);

/*
 * Whether DIR, PROGRAM's data directory, is there, is this user's and closed to all others. 0, or
 * ERR_NOT_FOUND, ERR_IO, ERR_DENIED with E filled.
 */
int program_check_data(const char *program, const char *dir, struct err_text *e);

/* Creates PATH, mode 0600 or as MODE says, with TEXT; never replaces. ERR_EXISTS, ERR_IO. */
int program_write_file(const char *path, unsigned mode, const char *text, struct err_text *e);

/* A command of a program: RUN is given the arguments from the command's name on. */
struct program_command {
	const char *name;
	int (*run)(int argc, char **argv);
};

/*
 * What a main() of commands does: --help (USAGE to stdout) and --version, also
 * behind a command; refuses root for all else; runs the command named by the
 * first argument (COMMANDS ends with a NULL name). Answers the exit code.
 */
int program_dispatch(const char *program, const char *usage, const struct program_command *commands,
                     int argc, char **argv);

/*
 * The command `run [-c FILE] [--check]` of a daemon: CONFIG_PATH gives the file to use for the one
 * named (NULL: none named); CHECK and SERVE answer 0 or an error with E filled.
 */
int program_run(const char *program, int argc, char **argv,
                const char *(*config_path)(const char *named),
                int (*check)(const char *config, struct err_text *e),
                int (*serve)(const char *config, struct err_text *e));

/* Flushes stdout: PROGRAM_DONE, or PROGRAM_FAILED with a message when that fails (disk full). */
int program_finish(const char *program);

#endif
