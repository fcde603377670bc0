/* What the administration commands share: their options, and the place they work at. */
#ifndef IM2000_NOTIFY_ADMIN_WORDS_H
#define IM2000_NOTIFY_ADMIN_WORDS_H

#include "notify/config.h"
#include "notify/db.h"
#include "session/verb.h"

/* Options of its own. */
enum admin_takes { ADMIN_TAKES_MAILBOX = VERB_TAKES_OWN };

/* What a verb works on. */
struct verb_place {
	struct config config;
	struct db *db;
};

extern const struct verb_program admin_program;

/* Reads a mailbox that somebody wrote. 0, or an error with E filled. */
int admin_read_mailbox(const char *text, struct mailbox *out, struct err_text *e);

/* Says that the alias ADDRESS has gone with its last mailbox. */
void admin_alias_gone(void *ctx, const char *address);

/* Whether DOMAIN is served. */
bool admin_serves(const struct config *c, const char *domain);

#endif
