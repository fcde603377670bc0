/*
 * What mail programs (RNAQP `policy`) and the operator do with the policy's
 * tables: a command's words checked, applied to the database, or shown.
 */
#ifndef IM2000_NOTIFY_RULES_H
#define IM2000_NOTIFY_RULES_H

#include "notify/db.h"

#define RULES_MAX 1000 /* values of one table of a mailbox; the operator's have no limit */

struct rules_command {
	enum wire_policy_action action;
	enum rule_table table;
	char value[RULE_VALUE_CAP]; /* add, remove */
};

/*
 * Reads the words of a command: VALUE is absent (p NULL) for show, and wanted for all else. 0, or
 * ERR_UNSUPPORTED (no such table), ERR_MALFORMED (the value), both with E filled.
 */
int rules_read(enum wire_policy_action action, struct span table, struct span value,
               struct rules_command *out, struct err_text *e);

/*
 * Applies an add or a remove for OWNER in a write transaction. 1: it changed something; 0: it was
 * so already; ERR_TOO_BIG: the table has RULES_MAX values; the database's errors.
 */
int rules_apply(struct db *db, struct kv_txn *t, uint32_t owner, const struct rules_command *c);

/* Appends OWNER's values of TABLE to a list. 0, ERR_TOO_BIG (no room), the database's errors. */
int rules_show(struct db *db, struct kv_txn *t, uint32_t owner, enum rule_table table,
               struct wire_list_writer *list);
#define RULES_LIST_OCTETS (RULES_MAX * (RULE_VALUE_CAP + 4)) /* room for a mailbox's largest list */

#endif
