/* Mailboxes: name → number, password hash, when made. */
#include <string.h>

#include "notify/db_internal.h"

/* version (1), number (4), created (8), hash */
#define MAILBOX_SIZE (13 + PASSWORD_HASH_SIZE)

int db_mailbox_parse(struct span key, struct span value, struct db_mailbox *out)
{
	const uint8_t *at = key.n == 0 ? NULL : memrchr(key.p, '@', key.n);

	if (value.n != MAILBOX_SIZE || value.p[0] != DB_RECORD || at == NULL ||
	    span_copy(key, out->name.text, sizeof out->name.text) != 0) {
		return ERR_MALFORMED;
	}
	out->name.local_n = (size_t)(at - key.p);
	out->number = kv_get_u32(value.p + 1);
	out->created_us = kv_get_u64(value.p + 5);
	memcpy(out->hash.octets, value.p + 13, PASSWORD_HASH_SIZE);
	return 0;
}

int db_mailbox_find(struct db *db, struct kv_txn *t, const struct mailbox *name,
                    struct db_mailbox *out)
{
	struct span value;
	int r = kv_get(t, db->table[TABLE_MAILBOX], span_str(name->text), &value);

	return r != 0 ? r : db_mailbox_parse(span_str(name->text), value, out);
}

int db_mailbox_next(struct db *db, struct kv_txn *t, const struct mailbox *name,
                    struct db_mailbox *out)
{
	struct span key, value;
	struct kv_cursor *c;
	int r = kv_cursor_open(t, db->table[TABLE_MAILBOX], &c);

	if (r != 0) {
		return r;
	}
	if (name == NULL) {
		r = kv_cursor_first(c, &key, &value);
	} else {
		r = kv_cursor_seek(c, span_str(name->text), &key, &value);
		if (r == 0 && span_eq_str(key, name->text)) {
			r = kv_cursor_next(c, &key, &value);
		}
	}
	kv_cursor_close(c);
	return r != 0 ? r : db_mailbox_parse(key, value, out);
}

int db_mailbox_put(struct db *db, struct kv_txn *t, struct db_mailbox *m)
{
	uint8_t record[MAILBOX_SIZE];
	struct span value;
	uint64_t number;
	int r;

	if (m->number == 0) {
		r = kv_get(t, db->table[TABLE_MAILBOX], span_str(m->name.text), &value);
		if (r != ERR_NOT_FOUND) {
			return r == 0 ? ERR_EXISTS : r;
		}
		if ((r = db_meta_add(db, t, "mailbox", 1, &number)) != 0) {
			return r;
		}
		m->number = (uint32_t)number;
	}
	record[0] = DB_RECORD;
	kv_put_u32(record + 1, m->number);
	kv_put_u64(record + 5, m->created_us);
	memcpy(record + 13, m->hash.octets, PASSWORD_HASH_SIZE);
	return kv_put(t, db->table[TABLE_MAILBOX], span_str(m->name.text),
	              span_of(record, sizeof record));
}

int db_mailbox_remove(struct db *db, struct kv_txn *t, const struct mailbox *name)
{
	struct db_mailbox m;
	int r = db_mailbox_find(db, t, name, &m);

	if (r == 0) {
		r = db_notice_remove_all(db, t, m.number);
	}
	if (r == 0) {
		r = db_rule_remove_all(db, t, m.number);
	}
	if (r == 0) {
		r = db_alias_forget(db, t, name, NULL, NULL);
	}
	return r != 0 ? r : kv_delete(t, db->table[TABLE_MAILBOX], span_str(name->text));
}
