/*
 * The policy's tables (protocol.md section 10): their names, the form of their
 * values, and which values speak of a sender. No sockets, no database.
 */
#ifndef IM2000_NOTIFY_RULE_H
#define IM2000_NOTIFY_RULE_H

#include <stdbool.h>

#include "base/err.h"
#include "base/name.h"

/* The numbers stand in the database's keys. */
enum rule_table {
	RULE_BLACKLIST = 1, /* whom to refuse */
	RULE_WHITELIST = 2, /* whom to let in where strangers are refused */
	RULE_STRANGERS = 3, /* "refuse": who is on no whitelist is refused */
	RULE_TABLES
};

#define RULE_VALUE_CAP 400 /* octets of a value with its NUL */

/* "blacklist", "whitelist", "strangers". */
const char *rule_table_name(enum rule_table table);
/* 0 or ERR_NOT_FOUND. */
int rule_table_parse(struct span name, enum rule_table *out);

/*
 * Brings a value for TABLE into its one form. The two lists hold mailboxes (the local part quoted
 * where RFC 5322 wants it), `@domain` and `@.domain` (the domain and all below it), by A-labels in
 * lower case; strangers holds `refuse`. 0 or ERR_MALFORMED.
 */
int rule_value_parse(enum rule_table table, struct span text, char out[RULE_VALUE_CAP]);
/* What a value of TABLE may be, for messages. */
const char *rule_value_help(enum rule_table table);

/*
 * The values that speak of a sender, the most particular first: the mailbox,
 * `@domain`, `@.domain`, then `@.` with each domain above.
 */
struct rule_walk {
	const struct mailbox *sender;
	const char *domain; /* what the next `@.` value is of; NULL: none is left */
	unsigned step;
	char value[RULE_VALUE_CAP];
};
void rule_walk_begin(struct rule_walk *w, const struct mailbox *sender); /* SENDER must live on */
/* The next value is in W; false at the end. */
bool rule_walk_next(struct rule_walk *w);

/* What one owner's tables say of a sender. */
enum rule_verdict { RULE_SILENT, RULE_REFUSE, RULE_ADMIT };

#endif
