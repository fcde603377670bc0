/*
 * Aliases: address → version (1), names of mailboxes, each ended by NUL. An
 * address is a name, or "@domain" for every name of the domain that is nothing
 * else. Targets are mailboxes, never aliases: so nothing goes round in circles,
 * and one look tells whom an address reaches.
 */
#include <stdio.h>
#include <string.h>

#include "notify/db_internal.h"

#define ALIAS_MAX (1 + DB_ALIAS_TARGETS * (NAME_MAILBOX_MAX + 1))

/* TEXT is a mailbox in its one form. */
static int read_name(struct span text, struct mailbox *out)
{
	const uint8_t *at = memrchr(text.p, '@', text.n);

	return at == NULL ? ERR_MALFORMED
	                  : name_make_mailbox(span_of(text.p, (size_t)(at - text.p)),
	                                      span_after(text, (size_t)(at - text.p) + 1), out);
}

static int read_targets(struct span rest, struct db_alias *out)
{
	for (out->n = 0; rest.n > 0; out->n++) {
		const uint8_t *end = memchr(rest.p, '\0', rest.n);

		if (end == NULL || out->n == DB_ALIAS_TARGETS ||
		    read_name(span_of(rest.p, (size_t)(end - rest.p)), &out->target[out->n]) != 0) {
			return ERR_MALFORMED;
		}
		rest = span_after(rest, (size_t)(end - rest.p) + 1);
	}
	return out->n > 0 ? 0 : ERR_MALFORMED;
}

int db_alias_parse(struct span key, struct span value, struct db_alias *out)
{
	if (key.n < 2 || memchr(key.p, '@', key.n) == NULL || value.n == 0 ||
	    value.p[0] != DB_RECORD || span_copy(key, out->address, sizeof out->address) != 0) {
		return ERR_MALFORMED;
	}
	return read_targets(span_after(value, 1), out);
}

int db_alias_find(struct db *db, struct kv_txn *t, const char *address, struct db_alias *out)
{
	struct span value;
	int r = kv_get(t, db->table[TABLE_ALIAS], span_str(address), &value);

	return r != 0 ? r : db_alias_parse(span_str(address), value, out);
}

int db_alias_next(struct db *db, struct kv_txn *t, const char *address, struct db_alias *out)
{
	struct span key, value;
	struct kv_cursor *c;
	int r = kv_cursor_open(t, db->table[TABLE_ALIAS], &c);

	if (r != 0) {
		return r;
	}
	if (address == NULL) {
		r = kv_cursor_first(c, &key, &value);
	} else {
		r = kv_cursor_seek(c, span_str(address), &key, &value);
		if (r == 0 && span_eq_str(key, address)) {
			r = kv_cursor_next(c, &key, &value);
		}
	}
	kv_cursor_close(c);
	return r != 0 ? r : db_alias_parse(key, value, out);
}

int db_alias_remove(struct db *db, struct kv_txn *t, const char *address)
{
	return kv_delete(t, db->table[TABLE_ALIAS], span_str(address));
}

int db_alias_put(struct db *db, struct kv_txn *t, const struct db_alias *a)
{
	uint8_t record[ALIAS_MAX];
	size_t n = 1;

	if (a->n == 0) {
		int r = db_alias_remove(db, t, a->address);

		return r == ERR_NOT_FOUND ? 0 : r;
	}
	if (a->n > DB_ALIAS_TARGETS) {
		return ERR_TOO_BIG;
	}
	record[0] = DB_RECORD;
	for (unsigned i = 0; i < a->n; i++) {
		size_t size = strnlen(a->target[i].text, NAME_MAILBOX_MAX) + 1;

		memcpy(record + n, a->target[i].text, size);
		n += size;
	}
	return kv_put(t, db->table[TABLE_ALIAS], span_str(a->address), span_of(record, n));
}

/* Takes NAME out of A. Whether it was there. */
static bool take_out(struct db_alias *a, const struct mailbox *name)
{
	for (unsigned i = 0; i < a->n; i++) {
		if (mailbox_eq(&a->target[i], name)) {
			a->n--;
			memmove(&a->target[i], &a->target[i + 1],
			        (a->n - i) * sizeof a->target[0]);
			return true;
		}
	}
	return false;
}

int db_alias_forget(struct db *db, struct kv_txn *t, const struct mailbox *name,
                    void (*gone)(void *ctx, const char *address), void *ctx)
{
	struct db_alias a;
	int r = db_alias_next(db, t, NULL, &a);

	while (r == 0) {
		if (take_out(&a, name)) {
			if ((r = db_alias_put(db, t, &a)) != 0) {
				return r;
			}
			if (a.n == 0 && gone != NULL) {
				gone(ctx, a.address);
			}
		}
		r = db_alias_next(db, t, a.address, &a);
	}
	return r == ERR_NOT_FOUND ? 0 : r;
}

/* --- whom an address reaches --------------------------------------------------------------- */

static int add_target(struct db *db, struct kv_txn *t, const struct mailbox *name,
                      struct db_targets *out)
{
	struct db_mailbox m;
	int r = db_mailbox_find(db, t, name, &m);

	if (r == 0) {
		out->item[out->n++] = (struct db_target) { m.number };
	}
	return r;
}

/* A target that is no mailbox is passed over: db_check tells. */
static int by_alias(struct db *db, struct kv_txn *t, const char *address, struct db_targets *out)
{
	struct db_alias a;
	int r = db_alias_find(db, t, address, &a);

	for (unsigned i = 0; r == 0 && i < a.n; i++) {
		if ((r = add_target(db, t, &a.target[i], out)) == ERR_NOT_FOUND) {
			r = 0;
		}
	}
	return r;
}

/* By a mailbox, or else an alias, of this very name. */
static int by_name(struct db *db, struct kv_txn *t, const struct mailbox *name,
                   struct db_targets *out)
{
	int r = add_target(db, t, name, out);

	return r == ERR_NOT_FOUND ? by_alias(db, t, name->text, out) : r;
}

/* NAME without its tag. Whether it has one that leaves something. */
static bool untagged(const struct mailbox *name, char tag, struct mailbox *out)
{
	const char *at = tag == '\0' ? NULL : memchr(name->text, tag, name->local_n);

	return at != NULL && at > name->text &&
	       name_make_mailbox(span_of(name->text, (size_t)(at - name->text)),
	                         span_str(mailbox_domain(name)), out) == 0;
}

int db_address_find(struct db *db, struct kv_txn *t, const struct mailbox *name, char tag,
                    struct db_targets *out)
{
	struct mailbox base;
	int r;

	out->n = 0;
	r = add_target(db, t, name, out);
	out->named = r == 0;
	if (r == ERR_NOT_FOUND) {
		r = by_alias(db, t, name->text, out);
	}
	if (r == ERR_NOT_FOUND && untagged(name, tag, &base)) {
		r = by_name(db, t, &base, out);
	}
	if (r == ERR_NOT_FOUND) {
		r = by_alias(db, t, name->text + name->local_n, out); /* "@domain" */
	}
	return r == 0 && out->n == 0 ? ERR_NOT_FOUND : r;
}

/* --- what does not add up ------------------------------------------------------------------ */

int db_alias_judge(struct db *db, struct kv_txn *t, struct span key, struct span value, char *line,
                   size_t cap)
{
	struct db_mailbox m;
	struct db_alias a;

	if (db_alias_parse(key, value, &a) != 0) {
		snprintf(line, cap, "alias \"%.*s\": the record cannot be read",
		         (int)(key.n < 254 ? key.n : 254), (const char *)key.p);
		return 1;
	}
	for (unsigned i = 0; i < a.n; i++) {
		if (db_mailbox_find(db, t, &a.target[i], &m) == ERR_NOT_FOUND) {
			snprintf(line, cap, "alias %s: there is no mailbox %.200s", a.address,
			         a.target[i].text);
			return 1;
		}
	}
	return 0;
}
