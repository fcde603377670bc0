/* What the administration commands share: their words, and the place they work at. */
#ifndef IM2000_NOTIFY_ADMIN_WORDS_H
#define IM2000_NOTIFY_ADMIN_WORDS_H

#include "notify/config.h"
#include "notify/db.h"

/* Options that a command may take beside -c. */
enum admin_takes { TAKES_JSON = 1, TAKES_SECRET = 2, TAKES_MAILBOX = 4 };

/* What a command line says. */
struct words {
	const char *config, *password_file;
	const char *mailbox; /* --mailbox; NULL: not said */
	bool token, json;
	char **rest;
	int n_rest;
	struct mailbox name; /* of the commands that want a mailbox */
};

/*
 * Reads the words of WHAT (the command's name, for messages); argv[0] is its last word. 0, or
 * the exit code, said.
 */
int admin_parse(const char *what, unsigned takes, int argc, char **argv, struct words *out);

/* Reads a mailbox for WHAT. 0, or the exit code, said. */
int admin_read_mailbox(const char *what, const char *text, struct mailbox *out);

struct place {
	struct config config;
	struct db *db;
};

/* Opens what -c names, runs RUN there. The exit code. */
int admin_at_place(const struct words *w,
                   int (*run)(struct place *p, const struct words *w, struct err_text *e));

/* Says that the alias ADDRESS has gone with its last mailbox. */
void admin_alias_gone(void *ctx, const char *address);

/* Whether DOMAIN is served. */
bool admin_serves(const struct config *c, const char *domain);

#endif
