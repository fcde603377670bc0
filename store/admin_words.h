/* For the files store/admin*.c only: what a command line says, and what it works on. */
#ifndef IM2000_STORE_ADMIN_WORDS_H
#define IM2000_STORE_ADMIN_WORDS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "session/verb.h"
#include "store/config.h"
#include "store/db.h"

/* Options of its own. */
enum admin_takes {
	ADMIN_TAKES_SENDER = VERB_TAKES_OWN, /* may repeat */
	ADMIN_TAKES_QUOTA = VERB_TAKES_OWN << 1
};

/* The configuration and the open database. */
struct verb_place {
	struct config config;
	struct db *db;
};
/* What is reserved for submissions under way, of all accounts (db_reserved): how many, or an error
 * with E filled. */
int admin_reserved(struct verb_place *p, struct db_reserved **out, struct err_text *e);

extern const struct verb_program admin_program;

#endif
