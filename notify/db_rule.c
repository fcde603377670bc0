/*
 * The policy's tables: owner (4), table (1), value → version (1), added at (8).
 * All of an owner lies side by side. Owner 0 is the operator, others are mailboxes.
 */
#include <string.h>

#include "notify/db_internal.h"

#define RULE_SIZE 9
#define RULE_PREFIX 5
#define RULE_KEY_MAX (RULE_PREFIX + RULE_VALUE_CAP)

static struct span rule_key(uint8_t key[RULE_KEY_MAX], uint32_t owner, enum rule_table table,
                            const char *value)
{
	size_t n = strnlen(value, RULE_VALUE_CAP);

	kv_put_u32(key, owner);
	key[4] = (uint8_t)table;
	memcpy(key + RULE_PREFIX, value, n);
	return span_of(key, RULE_PREFIX + n);
}

int db_rule_parse(struct span key, struct span value, struct db_rule *out)
{
	char again[RULE_VALUE_CAP];

	if (key.n <= RULE_PREFIX || key.p[4] < RULE_BLACKLIST || key.p[4] >= RULE_TABLES ||
	    value.n != RULE_SIZE || value.p[0] != DB_RECORD ||
	    span_copy(span_after(key, RULE_PREFIX), out->value, sizeof out->value) != 0) {
		return ERR_MALFORMED;
	}
	out->owner = kv_get_u32(key.p);
	out->table = (enum rule_table)key.p[4];
	out->added_us = kv_get_u64(value.p + 1);
	return rule_value_parse(out->table, span_str(out->value), again) == 0 &&
	               strcmp(again, out->value) == 0
	           ? 0
	           : ERR_MALFORMED;
}

int db_rule_has(struct db *db, struct kv_txn *t, uint32_t owner, enum rule_table table,
                const char *value)
{
	uint8_t key[RULE_KEY_MAX];
	struct span found;
	int r = kv_get(t, db->table[TABLE_POLICY], rule_key(key, owner, table, value), &found);

	return r == 0 ? 1 : r == ERR_NOT_FOUND ? 0 : r;
}

int db_rule_add(struct db *db, struct kv_txn *t, const struct db_rule *rule)
{
	uint8_t key[RULE_KEY_MAX], record[RULE_SIZE];

	record[0] = DB_RECORD;
	kv_put_u64(record + 1, rule->added_us);
	return kv_insert(t, db->table[TABLE_POLICY],
	                 rule_key(key, rule->owner, rule->table, rule->value),
	                 span_of(record, sizeof record));
}

int db_rule_remove(struct db *db, struct kv_txn *t, uint32_t owner, enum rule_table table,
                   const char *value)
{
	uint8_t key[RULE_KEY_MAX];

	return kv_delete(t, db->table[TABLE_POLICY], rule_key(key, owner, table, value));
}

/* The first entry at or after KEY (after it: PAST) that begins with its first PREFIX octets. */
static int seek(struct db *db, struct kv_txn *t, struct span key, size_t prefix, bool past,
                struct span *found, struct span *value)
{
	struct kv_cursor *c;
	int r = kv_cursor_open(t, db->table[TABLE_POLICY], &c);

	if (r != 0) {
		return r;
	}
	r = kv_cursor_seek(c, key, found, value);
	if (r == 0 && past && span_eq(*found, key)) {
		r = kv_cursor_next(c, found, value);
	}
	kv_cursor_close(c);
	if (r == 0 && (found->n < prefix || memcmp(found->p, key.p, prefix) != 0)) {
		return ERR_NOT_FOUND;
	}
	return r;
}

int db_rule_next(struct db *db, struct kv_txn *t, uint32_t owner, enum rule_table table,
                 const char *after, struct db_rule *out)
{
	struct span at, found, value;
	uint8_t key[RULE_KEY_MAX];
	int r;

	at = rule_key(key, owner, table, after == NULL ? "" : after);
	r = seek(db, t, at, RULE_PREFIX, after != NULL, &found, &value);
	return r != 0 ? r : db_rule_parse(found, value, out);
}

int db_rule_verdict(struct db *db, struct kv_txn *t, uint32_t owner, const struct mailbox *sender,
                    enum rule_verdict *verdict, bool *strangers)
{
	uint8_t key[4];
	struct span found, value;
	struct rule_walk w;
	int r;

	*verdict = RULE_SILENT;
	*strangers = false;
	kv_put_u32(key, owner);
	/* Most have no table at all: one look instead of one for each value. */
	if ((r = seek(db, t, span_of(key, 4), 4, false, &found, &value)) != 0) {
		return r == ERR_NOT_FOUND ? 0 : r;
	}
	if ((r = db_rule_has(db, t, owner, RULE_STRANGERS, "refuse")) < 0) {
		return r;
	}
	*strangers = r == 1;
	rule_walk_begin(&w, sender);
	while (*verdict == RULE_SILENT && rule_walk_next(&w)) {
		if ((r = db_rule_has(db, t, owner, RULE_BLACKLIST, w.value)) == 1) {
			*verdict = RULE_REFUSE;
		} else if (r == 0 &&
		           (r = db_rule_has(db, t, owner, RULE_WHITELIST, w.value)) == 1) {
			*verdict = RULE_ADMIT;
		}
		if (r < 0) {
			return r;
		}
	}
	return 0;
}

int db_rule_remove_all(struct db *db, struct kv_txn *t, uint32_t owner)
{
	struct span key, value;
	struct kv_cursor *c;
	uint8_t prefix[4];
	int r = kv_cursor_open(t, db->table[TABLE_POLICY], &c);

	if (r != 0) {
		return r;
	}
	kv_put_u32(prefix, owner);
	r = kv_cursor_seek(c, span_of(prefix, 4), &key, &value);
	while (r == 0 && key.n >= 4 && memcmp(key.p, prefix, 4) == 0) {
		if ((r = kv_cursor_delete(c)) == 0) {
			r = kv_cursor_next(c, &key, &value);
		}
	}
	kv_cursor_close(c);
	return r == ERR_NOT_FOUND ? 0 : r;
}
