/* Deliveries: how far each recipient's notification came; and the log of their changes. */
#include <string.h>

#include "base/clock.h"
#include "base/name.h"
#include "base/text.h"
#include "store/db.h"
#include "store/db_table.h"

#define DELIVERY_RECORD 1
#define CHANGE_RECORD 1
#define DELIVERY_MAX (32 + NAME_MAILBOX_MAX + DB_TEXT_MAX)

enum { FLAG_PINNED = 1, FLAG_WITHDRAWN = 2, FLAG_TOLD = 4, FLAG_NOTIFIED = 8, FLAGS_ALL = 15 };

int db_delivery_decode(struct span key, struct span value, struct db_delivery *out)
{
	struct record_reader r;
	uint8_t flags;

	memset(out, 0, sizeof *out);
	if (key.n != 12)
		return ERR_MALFORMED;
	out->message = kv_get_u64(key.p);
	out->index = kv_get_u32(key.p + 8);
	record_open(&r, value, key, DELIVERY_RECORD);
	out->notification = record_get8(&r);
	out->read = record_get8(&r);
	flags = record_get8(&r);
	out->attempts = record_get16(&r);
	out->failures = record_get16(&r);
	out->changed_us = record_get64(&r);
	out->next_us = record_get64(&r);
	out->mailbox = record_get_text8(&r);
	out->text = record_get_text8(&r);
	out->pinned = (flags & FLAG_PINNED) != 0;
	out->withdrawn = (flags & FLAG_WITHDRAWN) != 0;
	out->told_withdrawn = (flags & FLAG_TOLD) != 0;
	out->notified = (flags & FLAG_NOTIFIED) != 0;
	return (flags & ~FLAGS_ALL) != 0 ? ERR_MALFORMED : record_end(&r);
}

int db_delivery_get(struct db *db, struct kv_txn *t, uint64_t message, uint32_t index,
                    struct db_delivery *out)
{
	struct db_key key = db_key64_32(message, index);
	struct span value;
	int rc = db_get(db, t, DB_DELIVERY, &key, &value);

	if (rc == 0 && db_delivery_decode(db_key_span(&key), value, out) != 0)
		rc = db_damaged(DB_DELIVERY, db_key_span(&key));
	return rc;
}

/* TEXT up to DB_TEXT_MAX octets, never cut inside a character. */
static struct span text_cut(struct span text)
{
	if (text.n <= DB_TEXT_MAX)
		return text;
	text.n = DB_TEXT_MAX;
	while (text.n > 0 && (text.p[text.n] & 0xC0) == 0x80)
		text.n--;
	return text;
}

int db_delivery_put(struct db *db, struct kv_txn *t, const struct db_delivery *d)
{
	struct db_key key = db_key64_32(d->message, d->index);
	uint8_t octets[DELIVERY_MAX];
	struct record_writer w;
	struct span record;
	int rc;

	record_begin(&w, octets, sizeof octets, db_key_span(&key), DELIVERY_RECORD);
	record_put8(&w, d->notification);
	record_put8(&w, d->read);
	record_put8(&w, (uint8_t)((d->pinned ? FLAG_PINNED : 0) |
	                          (d->withdrawn ? FLAG_WITHDRAWN : 0) |
	                          (d->told_withdrawn ? FLAG_TOLD : 0) |
	                          (d->notified ? FLAG_NOTIFIED : 0)));
	record_put16(&w, d->attempts);
	record_put16(&w, d->failures);
	record_put64(&w, d->changed_us);
	record_put64(&w, d->next_us);
	record_put_text8(&w, d->mailbox);
	record_put_text8(&w, text_cut(d->text));
	rc = record_done(&w, &record);
	return rc != 0 ? rc : db_put_rising(db, t, DB_DELIVERY, &key, record);
}

/* --- changes --------------------------------------------------------------------------- */

int db_change_decode(struct span key, struct span value, uint64_t *message, uint32_t *index)
{
	struct record_reader r;

	record_open(&r, value, key, CHANGE_RECORD);
	*message = record_get64(&r);
	*index = record_get32(&r);
	return record_end(&r);
}

/* The account's highest cursor, 0 for none. */
static int change_last(struct db *db, struct kv_txn *t, uint32_t account, uint64_t *out)
{
	struct db_key end = db_key32_64(account, UINT64_MAX);
	struct span key, value;
	struct kv_cursor *c;
	int rc = kv_cursor_open(t, db->table[DB_CHANGE], &c);

	if (rc != 0)
		return rc;
	rc = kv_cursor_seek(c, db_key_span(&end), &key, &value);
	rc = rc == 0 ? kv_cursor_prev(c, &key, &value) : kv_cursor_last(c, &key, &value);
	*out = rc == 0 && key.n == end.n && kv_get_u32(key.p) == account ? kv_get_u64(key.p + 4) : 0;
	kv_cursor_close(c);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

int db_change_add(struct db *db, struct kv_txn *t, uint32_t account, uint64_t message,
                  uint32_t index)
{
	uint8_t octets[1 + 8 + 4 + RECORD_SEAL];
	struct record_writer w;
	struct span record;
	struct db_key key;
	uint64_t last, now = clock_now_us();
	int rc = change_last(db, t, account, &last);

	if (rc != 0)
		return rc;
	key = db_key32_64(account, now > last ? now : last + 1);
	record_begin(&w, octets, sizeof octets, db_key_span(&key), CHANGE_RECORD);
	record_put64(&w, message);
	record_put32(&w, index);
	rc = record_done(&w, &record);
	if (rc != 0)
		return rc;
	return db_put_rising(db, t, DB_CHANGE, &key, record);
}

int db_change_next(struct db *db, struct kv_txn *t, uint32_t account, uint64_t after,
                   uint64_t *cursor, uint64_t *message, uint32_t *index)
{
	struct db_key from = db_key32_64(account, after + 1);
	struct span key, value;
	int rc;

	if (after == UINT64_MAX)
		return ERR_NOT_FOUND;
	rc = db_seek(db, t, DB_CHANGE, &from, 12, &key, &value);
	if (rc != 0)
		return rc;
	if (kv_get_u32(key.p) != account)
		return ERR_NOT_FOUND;
	*cursor = kv_get_u64(key.p + 4);
	return db_change_decode(key, value, message, index) == 0 ? 0 : db_damaged(DB_CHANGE, key);
}

/* Deletes the entry ACCOUNT, CURSOR if it is below BELOW and its account has a later one. How
 * many went, or an error. */
static int trim_one(struct db *db, struct kv_txn *t, uint32_t account, uint64_t cursor,
                    uint64_t below)
{
	struct db_key key = db_key32_64(account, cursor);
	uint64_t last;
	int rc;

	if (cursor >= below)
		return 0;
	rc = change_last(db, t, account, &last);
	if (rc != 0)
		return rc;
	if (last == cursor)
		return 0;
	rc = db_delete(db, t, DB_CHANGE, &key);
	return rc != 0 ? rc : 1;
}

int db_change_trim(struct db *db, struct kv_txn *t, uint64_t below, unsigned limit, bool *more)
{
	int n = 0;

	*more = false;
	for (; limit > 0; limit--) {
		struct db_key from = db_key32_64(db->trim_account, db->trim_cursor);
		struct span key, value;
		uint32_t account;
		uint64_t cursor;
		int rc = db_seek(db, t, DB_CHANGE, &from, 12, &key, &value);

		if (rc == ERR_NOT_FOUND) {
			db->trim_account = 0;
			db->trim_cursor = 0;
			return n;
		}
		if (rc != 0)
			return db_late(rc);
		account = kv_get_u32(key.p);
		cursor = kv_get_u64(key.p + 4);
		rc = trim_one(db, t, account, cursor, below);
		if (rc < 0)
			return db_late(rc);
		n += rc;
		/* What stays of an account stays to its end: on to the next one. */
		db->trim_account = account;
		db->trim_cursor = rc == 1 ? cursor + 1 : UINT64_MAX;
	}
	*more = true;
	return n;
}
