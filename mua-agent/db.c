#include "mua-agent/db.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/sha.h>

#include "base/buf.h"
#include "session/program.h"

enum { TABLE_META, TABLE_ITEM, TABLE_KNOWN, TABLE_CURSOR, TABLE_SENT, TABLE_PENDING, TABLES };

static const char *const table_names[] = {
	[TABLE_META] = "meta",     [TABLE_ITEM] = "item", [TABLE_KNOWN] = "known",
	[TABLE_CURSOR] = "cursor", [TABLE_SENT] = "sent", [TABLE_PENDING] = "pending",
	[TABLES] = NULL,
};

#define RECORD 1 /* first octet of each record */

/* Octets of a value in `known`: the item's number; when the item is gone, until when it counts. */
#define KNOWN_THERE 4
#define KNOWN_GONE 12

#define PENDING_HEAD (8 + WIRE_ID_SIZE) /* begun, submissionId; then the added fields */

struct db {
	struct kv *kv;
	kv_table table[TABLES];
};

int db_open(const char *dir, struct db **out, struct err_text *e)
{
	const struct kv_options options = { .create = true };
	struct db *db = calloc(1, sizeof *db);
	int r;

	if (db == NULL) {
		return err_set(e, ERR_NOMEM, "open %s/agent.mdb: out of memory", dir);
	}
	if ((r = program_make_dir(dir, e)) != 0 ||
	    (r = kv_open(dir, "agent.mdb", &options, table_names, db->table, &db->kv, e)) != 0) {
		db_close(db);
		return r;
	}
	*out = db;
	return 0;
}

void db_close(struct db *db)
{
	if (db != NULL) {
		kv_close(db->kv);
		free(db);
	}
}

struct kv_txn *db_read_begin(struct db *db)
{
	return kv_read_begin(db->kv);
}

void db_read_end(struct kv_txn *t)
{
	kv_read_end(t);
}

int db_write_begin(struct db *db, struct kv_txn **t)
{
	return kv_write_begin(db->kv, t);
}

/* --- records: a fixed head, then views with 4-octet lengths -------------------------------- */

static int add_view(struct buf *b, struct span s)
{
	uint8_t n[4];
	int r;

	kv_put_u32(n, (uint32_t)s.n);
	return (r = buf_add(b, n, 4)) != 0 ? r : buf_add(b, s.p, s.n);
}

/* Takes a view off REST; false when the record ends before. */
static bool take_view(struct span *rest, struct span *out)
{
	uint32_t n;

	if (rest->n < 4 || (n = kv_get_u32(rest->p)) > rest->n - 4) {
		return false;
	}
	*out = span_of(rest->p + 4, n);
	*rest = span_after(*rest, 4 + (size_t)n);
	return true;
}

static int put_record(struct db *db, struct kv_txn *t, int table, struct span key, struct buf *b,
                      int built)
{
	int r = built != 0 ? built : kv_put(t, db->table[table], key, buf_view(b));

	buf_free(b);
	return r;
}

/* The next number of a kind of things; it is never given again. */
static int next_number(struct db *db, struct kv_txn *t, const char *key, uint32_t *out)
{
	uint8_t number[4];
	struct span value;
	int r = kv_get(t, db->table[TABLE_META], span_str(key), &value);

	if (r != 0 && r != ERR_NOT_FOUND) {
		return r;
	}
	*out = (r == 0 && value.n == 4 ? kv_get_u32(value.p) : 0) + 1;
	kv_put_u32(number, *out);
	return kv_put(t, db->table[TABLE_META], span_str(key), span_of(number, 4));
}

/* The first entry of TABLE whose 4-octet key is above NUMBER. */
static int next_entry(struct db *db, struct kv_txn *t, int table, uint32_t number, struct span *key,
                      struct span *value)
{
	struct kv_cursor *c;
	uint8_t from[4];
	int r;

	if (number == UINT32_MAX) {
		return ERR_NOT_FOUND;
	}
	kv_put_u32(from, number + 1);
	if ((r = kv_cursor_open(t, db->table[table], &c)) == 0) {
		r = kv_cursor_seek(c, span_of(from, 4), key, value);
		kv_cursor_close(c);
	}
	return r;
}

/* --- notifications ------------------------------------------------------------------------- */

#define ITEM_HEAD 21 /* version (1), flags (4), received (8), cursor (8) */

static int parse_item(struct span key, struct span value, struct db_item *out)
{
	struct span rest = span_after(value, ITEM_HEAD);

	if (key.n != 4 || value.n < ITEM_HEAD || value.p[0] != RECORD) {
		return ERR_MALFORMED;
	}
	out->number = kv_get_u32(key.p);
	out->flags = kv_get_u32(value.p + 1);
	out->received_us = kv_get_u64(value.p + 5);
	out->cursor = kv_get_u64(value.p + 13);
	return take_view(&rest, &out->account) && take_view(&rest, &out->verified) &&
	               take_view(&rest, &out->reason) && take_view(&rest, &out->der)
	           ? 0
	           : ERR_MALFORMED;
}

/* Account, store and id tell a notification; the names are no longer than that hash. */
static void known_key(uint8_t out[DB_KEY_SIZE], struct span account, struct span store,
                      const uint8_t id[WIRE_ID_SIZE])
{
	struct buf b;

	buf_init(&b, 0);
	if (add_view(&b, account) != 0 || add_view(&b, store) != 0 ||
	    buf_add(&b, id, WIRE_ID_SIZE) != 0) {
		abort(); /* a few hundred octets */
	}
	SHA256(buf_view(&b).p, buf_view(&b).n, out);
	buf_free(&b);
}

static int item_known_key(const struct db_item *item, uint8_t out[DB_KEY_SIZE])
{
	char store[NAME_DOMAIN_MAX + 1];
	struct wire_notification n;

	if (wire_notification_decode(item->der, &n) != 0) {
		return ERR_MALFORMED;
	}
	if (wire_notification_store(&n, store) != 0) {
		store[0] = '\0'; /* it can be listed, not read */
	}
	known_key(out, item->account, span_str(store), n.id);
	return 0;
}

int db_item_get(struct db *db, struct kv_txn *t, uint32_t number, struct db_item *out)
{
	struct span value;
	uint8_t key[4];
	int r;

	kv_put_u32(key, number);
	r = kv_get(t, db->table[TABLE_ITEM], span_of(key, 4), &value);
	return r != 0 ? r : parse_item(span_of(key, 4), value, out);
}

int db_item_next(struct db *db, struct kv_txn *t, uint32_t number, struct db_item *out)
{
	struct span key, value;
	int r = next_entry(db, t, TABLE_ITEM, number, &key, &value);

	return r != 0 ? r : parse_item(key, value, out);
}

int db_item_put(struct db *db, struct kv_txn *t, struct db_item *item)
{
	uint8_t known[DB_KEY_SIZE], key[4], head[ITEM_HEAD] = { RECORD };
	struct buf b;
	int r;

	if ((r = item_known_key(item, known)) != 0 ||
	    (item->number == 0 && (r = next_number(db, t, "item", &item->number)) != 0)) {
		return r;
	}
	kv_put_u32(key, item->number);
	kv_put_u32(head + 1, item->flags);
	kv_put_u64(head + 5, item->received_us);
	kv_put_u64(head + 13, item->cursor);
	if ((r = kv_put(t, db->table[TABLE_KNOWN], span_of(known, sizeof known),
	                span_of(key, 4))) != 0) {
		return r;
	}
	buf_init(&b, 0);
	if ((r = buf_add(&b, head, sizeof head)) == 0 && (r = add_view(&b, item->account)) == 0 &&
	    (r = add_view(&b, item->verified)) == 0 && (r = add_view(&b, item->reason)) == 0) {
		r = add_view(&b, item->der);
	}
	return put_record(db, t, TABLE_ITEM, span_of(key, 4), &b, r);
}

int db_item_remove(struct db *db, struct kv_txn *t, uint32_t number, uint64_t until_us)
{
	uint8_t known[DB_KEY_SIZE], key[4], gone[KNOWN_GONE];
	struct db_item item;
	int r = db_item_get(db, t, number, &item);

	if (r != 0 || (r = item_known_key(&item, known)) != 0) {
		return r;
	}
	kv_put_u32(gone, number);
	kv_put_u64(gone + 4, until_us);
	if ((r = kv_put(t, db->table[TABLE_KNOWN], span_of(known, sizeof known),
	                span_of(gone, sizeof gone))) != 0) {
		return r;
	}
	kv_put_u32(key, number);
	return kv_delete(t, db->table[TABLE_ITEM], span_of(key, 4));
}

int db_item_find(struct db *db, struct kv_txn *t, struct span account, struct span store,
                 const uint8_t id[WIRE_ID_SIZE], uint32_t *number)
{
	uint8_t key[DB_KEY_SIZE];
	struct span value;
	int r;

	known_key(key, account, store, id);
	r = kv_get(t, db->table[TABLE_KNOWN], span_of(key, sizeof key), &value);
	if (r == 0 && value.n != KNOWN_THERE && value.n != KNOWN_GONE) {
		return ERR_MALFORMED;
	}
	if (r == 0) {
		*number = kv_get_u32(value.p);
	}
	return r;
}

/* Removes what OVER says from TABLE. */
static int sweep(struct db *db, struct kv_txn *t, int table, uint64_t now_us,
                 bool (*over)(struct span value, uint64_t now_us))
{
	struct span key, value;
	struct kv_cursor *c;
	int r = kv_cursor_open(t, db->table[table], &c), removed;

	if (r != 0) {
		return r;
	}
	for (r = kv_cursor_first(c, &key, &value); r == 0; r = kv_cursor_next(c, &key, &value)) {
		if (over(value, now_us) && (removed = kv_cursor_delete(c)) != 0) {
			r = removed;
			break;
		}
	}
	kv_cursor_close(c);
	return r == ERR_NOT_FOUND ? 0 : r;
}

static bool known_over(struct span value, uint64_t now_us)
{
	return value.n == KNOWN_GONE && kv_get_u64(value.p + 4) < now_us;
}

static bool pending_over(struct span value, uint64_t now_us)
{
	return value.n < PENDING_HEAD || kv_get_u64(value.p) + DB_PENDING_US < now_us;
}

int db_tidy(struct db *db, struct kv_txn *t, uint64_t now_us)
{
	uint8_t stamp[8];
	struct span value;
	int r = kv_get(t, db->table[TABLE_META], span_str("tidied"), &value);

	if (r == 0 && value.n == 8 && kv_get_u64(value.p) <= now_us &&
	    now_us - kv_get_u64(value.p) < CLOCK_DAY_US) {
		return 0;
	}
	if ((r != 0 && r != ERR_NOT_FOUND) ||
	    (r = sweep(db, t, TABLE_KNOWN, now_us, known_over)) != 0 ||
	    (r = sweep(db, t, TABLE_PENDING, now_us, pending_over)) != 0) {
		return r;
	}
	kv_put_u64(stamp, now_us);
	return kv_put(t, db->table[TABLE_META], span_str("tidied"), span_of(stamp, 8));
}

int db_cursor_get(struct db *db, struct kv_txn *t, struct span account, uint64_t *cursor)
{
	struct span value;
	int r = kv_get(t, db->table[TABLE_CURSOR], account, &value);

	*cursor = r == 0 && value.n == 8 ? kv_get_u64(value.p) : 0;
	return r == ERR_NOT_FOUND ? 0 : r;
}

int db_cursor_put(struct db *db, struct kv_txn *t, struct span account, uint64_t cursor)
{
	uint8_t value[8];

	kv_put_u64(value, cursor);
	return kv_put(t, db->table[TABLE_CURSOR], account, span_of(value, 8));
}

/* --- messages sent ------------------------------------------------------------------------- */

#define SENT_HEAD 42 /* version (1), held (1), submitted (8), expires (8), size (8), id (16) */

static int parse_sent(struct span key, struct span value, struct db_sent *out)
{
	struct span rest = span_after(value, SENT_HEAD);

	if (key.n != 4 || value.n < SENT_HEAD || value.p[0] != RECORD) {
		return ERR_MALFORMED;
	}
	out->number = kv_get_u32(key.p);
	out->held = value.p[1] != 0;
	out->submitted_us = kv_get_u64(value.p + 2);
	out->expires_us = kv_get_u64(value.p + 10);
	out->size = kv_get_u64(value.p + 18);
	memcpy(out->id, value.p + 26, WIRE_ID_SIZE);
	return take_view(&rest, &out->account) && take_view(&rest, &out->store) &&
	               take_view(&rest, &out->subject) && take_view(&rest, &out->recipients)
	           ? 0
	           : ERR_MALFORMED;
}

int db_sent_get(struct db *db, struct kv_txn *t, uint32_t number, struct db_sent *out)
{
	struct span value;
	uint8_t key[4];
	int r;

	kv_put_u32(key, number);
	r = kv_get(t, db->table[TABLE_SENT], span_of(key, 4), &value);
	return r != 0 ? r : parse_sent(span_of(key, 4), value, out);
}

int db_sent_next(struct db *db, struct kv_txn *t, uint32_t number, struct db_sent *out)
{
	struct span key, value;
	int r = next_entry(db, t, TABLE_SENT, number, &key, &value);

	return r != 0 ? r : parse_sent(key, value, out);
}

int db_sent_find(struct db *db, struct kv_txn *t, struct span store, const uint8_t id[WIRE_ID_SIZE],
                 struct db_sent *out)
{
	int r = db_sent_next(db, t, 0, out);

	while (r == 0 && (memcmp(out->id, id, WIRE_ID_SIZE) != 0 || !span_eq(out->store, store))) {
		r = db_sent_next(db, t, out->number, out);
	}
	return r;
}

int db_sent_put(struct db *db, struct kv_txn *t, struct db_sent *sent)
{
	uint8_t key[4], head[SENT_HEAD] = { RECORD };
	struct buf b;
	int r;

	if (sent->number == 0 && (r = next_number(db, t, "sent", &sent->number)) != 0) {
		return r;
	}
	kv_put_u32(key, sent->number);
	head[1] = sent->held;
	kv_put_u64(head + 2, sent->submitted_us);
	kv_put_u64(head + 10, sent->expires_us);
	kv_put_u64(head + 18, sent->size);
	memcpy(head + 26, sent->id, WIRE_ID_SIZE);
	buf_init(&b, 0);
	if ((r = buf_add(&b, head, sizeof head)) == 0 && (r = add_view(&b, sent->account)) == 0 &&
	    (r = add_view(&b, sent->store)) == 0 && (r = add_view(&b, sent->subject)) == 0) {
		r = add_view(&b, sent->recipients);
	}
	return put_record(db, t, TABLE_SENT, span_of(key, 4), &b, r);
}

/* --- submissions under way ----------------------------------------------------------------- */

int db_pending_get(struct db *db, struct kv_txn *t, const uint8_t key[DB_KEY_SIZE],
                   struct db_pending *out)
{
	struct span value;
	int r = kv_get(t, db->table[TABLE_PENDING], span_of(key, DB_KEY_SIZE), &value);

	if (r == 0 && value.n < PENDING_HEAD) {
		return ERR_MALFORMED;
	}
	if (r == 0) {
		out->begun_us = kv_get_u64(value.p);
		memcpy(out->id, value.p + 8, WIRE_ID_SIZE);
		out->added = span_after(value, PENDING_HEAD);
	}
	return r;
}

int db_pending_put(struct db *db, struct kv_txn *t, const uint8_t key[DB_KEY_SIZE],
                   const struct db_pending *pending)
{
	uint8_t head[PENDING_HEAD];
	struct buf b;
	int r;

	kv_put_u64(head, pending->begun_us);
	memcpy(head + 8, pending->id, WIRE_ID_SIZE);
	buf_init(&b, 0);
	if ((r = buf_add(&b, head, sizeof head)) == 0) {
		r = buf_add(&b, pending->added.p, pending->added.n);
	}
	return put_record(db, t, TABLE_PENDING, span_of(key, DB_KEY_SIZE), &b, r);
}

int db_pending_remove(struct db *db, struct kv_txn *t, const uint8_t key[DB_KEY_SIZE])
{
	int r = kv_delete(t, db->table[TABLE_PENDING], span_of(key, DB_KEY_SIZE));

	return r == ERR_NOT_FOUND ? 0 : r;
}
