/*
 * Announcements and notices. A notice has three entries beside its own: the one
 * that finds it by store and id, the one that expires it, and its part in the
 * counters of its mailbox and origin. They are written and removed together.
 */
#include <string.h>

#include <openssl/sha.h>

#include "notify/db_internal.h"

/* version (1), notices (4), marks (1), lengths of store (1) and origin (1), then store, origin,
 * DER */
#define ANNOUNCEMENT_HEAD 8
#define ANNOUNCEMENT_VERIFIED 1
#define ANNOUNCEMENT_ADDRESSED 2
#define ANNOUNCEMENT_DER_MAX \
	4096 /* more than the limit of a notification (protocol.md section 6) */
/* version (1), announcement (8), id (16), received (8), expires (8), withdrawn (1), address kind
 * (1), address (16), port (2) */
#define NOTICE_SIZE 61
#define ID_KEY_SIZE (PREFIX_SIZE + 16)
#define ORIGIN_KEY_MAX (PREFIX_SIZE + NAME_DOMAIN_MAX)

/* What another record refers to must be there. */
static int referred(int r)
{
	return r == ERR_NOT_FOUND ? ERR_MALFORMED : r;
}

void db_prefix(uint8_t *key, uint32_t mailbox, char kind)
{
	kv_put_u32(key, mailbox);
	key[4] = (uint8_t)kind;
}

static void notice_key(uint8_t key[NOTICE_KEY_SIZE], uint32_t mailbox, uint64_t cursor)
{
	db_prefix(key, mailbox, KIND_NOTICE);
	kv_put_u64(key + PREFIX_SIZE, cursor);
}

static void hash8(uint8_t out[8], struct span s)
{
	uint8_t hash[SHA256_DIGEST_LENGTH];

	SHA256(s.p, s.n, hash);
	memcpy(out, hash, 8);
}

/* Half of it by the id, half by the store, so that an id can be looked up without its store. */
static void id_key(uint8_t key[ID_KEY_SIZE], uint32_t mailbox, struct span store,
                   const uint8_t id[WIRE_ID_SIZE])
{
	db_prefix(key, mailbox, KIND_ID);
	hash8(key + PREFIX_SIZE, span_of(id, WIRE_ID_SIZE));
	hash8(key + PREFIX_SIZE + 8, store);
}

static size_t origin_key(uint8_t key[ORIGIN_KEY_MAX], uint32_t mailbox, struct span origin)
{
	db_prefix(key, mailbox, KIND_ORIGIN);
	memcpy(key + PREFIX_SIZE, origin.p, origin.n);
	return PREFIX_SIZE + origin.n;
}

static void expiry_key(uint8_t key[EXPIRY_KEY_SIZE], const struct db_notice *n)
{
	kv_put_u64(key, n->expires_us);
	kv_put_u32(key + 8, n->mailbox);
	kv_put_u64(key + 12, n->cursor);
}

/* --- counters --------------------------------------------------------------------------- */

static int counter_get(struct db *db, struct kv_txn *t, struct span key, uint32_t *out)
{
	struct span value;
	int r = kv_get(t, db->table[TABLE_NOTICE], key, &value);

	*out = 0;
	if (r == ERR_NOT_FOUND) {
		return 0;
	}
	if (r == 0 && value.n != 4) {
		return ERR_MALFORMED;
	}
	if (r == 0) {
		*out = kv_get_u32(value.p);
	}
	return r;
}

static int counter_add(struct db *db, struct kv_txn *t, struct span key, int delta)
{
	uint8_t record[4];
	uint32_t n;
	int r = counter_get(db, t, key, &n);

	if (r != 0) {
		return r;
	}
	if (delta < 0 && n <= 1) {
		r = kv_delete(t, db->table[TABLE_NOTICE], key);
		return r == ERR_NOT_FOUND ? 0 : r;
	}
	kv_put_u32(record, delta < 0 ? n - 1 : n + 1);
	return kv_put(t, db->table[TABLE_NOTICE], key, span_of(record, 4));
}

static int counters_add(struct db *db, struct kv_txn *t, uint32_t mailbox, struct span origin,
                        int delta)
{
	uint8_t key[ORIGIN_KEY_MAX];
	size_t n = origin_key(key, mailbox, origin);
	int r = counter_add(db, t, span_of(key, n), delta);

	if (r == 0) {
		db_prefix(key, mailbox, KIND_COUNT);
		r = counter_add(db, t, span_of(key, PREFIX_SIZE), delta);
	}
	return r;
}

int db_notice_count(struct db *db, struct kv_txn *t, uint32_t mailbox, uint32_t *kept)
{
	uint8_t key[PREFIX_SIZE];

	db_prefix(key, mailbox, KIND_COUNT);
	return counter_get(db, t, span_of(key, sizeof key), kept);
}

int db_notice_count_origin(struct db *db, struct kv_txn *t, uint32_t mailbox, struct span origin,
                           uint32_t *kept)
{
	uint8_t key[ORIGIN_KEY_MAX];

	return counter_get(db, t, span_of(key, origin_key(key, mailbox, origin)), kept);
}

/* --- announcements -------------------------------------------------------------------------- */

int db_announcement_parse(struct span key, struct span value, struct db_announcement *out)
{
	if (key.n != 8 || value.n < ANNOUNCEMENT_HEAD || value.p[0] != DB_RECORD ||
	    value.n < ANNOUNCEMENT_HEAD + (size_t)value.p[6] + value.p[7]) {
		return ERR_MALFORMED;
	}
	out->number = kv_get_u64(key.p);
	out->notices = kv_get_u32(value.p + 1);
	out->verified = (value.p[5] & ANNOUNCEMENT_VERIFIED) != 0;
	out->addressed = (value.p[5] & ANNOUNCEMENT_ADDRESSED) != 0;
	out->store = span_of(value.p + ANNOUNCEMENT_HEAD, value.p[6]);
	out->origin = span_of(out->store.p + out->store.n, value.p[7]);
	out->der = span_after(value, ANNOUNCEMENT_HEAD + out->store.n + out->origin.n);
	return 0;
}

int db_announcement_add(struct db *db, struct kv_txn *t, struct db_announcement *a)
{
	uint8_t key[8], *p;
	int r;

	if (a->store.n > NAME_DOMAIN_MAX || a->origin.n > NAME_DOMAIN_MAX ||
	    a->der.n > ANNOUNCEMENT_DER_MAX) {
		return ERR_TOO_BIG;
	}
	if ((r = db_meta_next(db, t, "announcement", &a->number)) != 0) {
		return r;
	}
	a->notices = 0;
	kv_put_u64(key, a->number);
	r = kv_put_reserve(t, db->table[TABLE_ANNOUNCEMENT], span_of(key, 8),
	                   ANNOUNCEMENT_HEAD + a->store.n + a->origin.n + a->der.n, &p);
	if (r != 0) {
		return r;
	}
	p[0] = DB_RECORD;
	kv_put_u32(p + 1, 0);
	p[5] = (uint8_t)((a->verified ? ANNOUNCEMENT_VERIFIED : 0) |
	                 (a->addressed ? ANNOUNCEMENT_ADDRESSED : 0));
	p[6] = (uint8_t)a->store.n;
	p[7] = (uint8_t)a->origin.n;
	p += ANNOUNCEMENT_HEAD;
	memcpy(p, a->store.p, a->store.n);
	memcpy(p + a->store.n, a->origin.p, a->origin.n);
	memcpy(p + a->store.n + a->origin.n, a->der.p, a->der.n);
	return 0;
}

int db_announcement_get(struct db *db, struct kv_txn *t, uint64_t number,
                        struct db_announcement *out)
{
	struct span value;
	uint8_t key[8];
	int r;

	kv_put_u64(key, number);
	r = kv_get(t, db->table[TABLE_ANNOUNCEMENT], span_of(key, 8), &value);
	return r != 0 ? r : db_announcement_parse(span_of(key, 8), value, out);
}

int db_announcement_refer(struct db *db, struct kv_txn *t, uint64_t number, int delta)
{
	uint8_t copy[ANNOUNCEMENT_HEAD + 2 * NAME_DOMAIN_MAX + ANNOUNCEMENT_DER_MAX];
	struct db_announcement a;
	struct span old;
	uint8_t key[8];
	int r;

	kv_put_u64(key, number);
	if ((r = kv_get(t, db->table[TABLE_ANNOUNCEMENT], span_of(key, 8), &old)) != 0 ||
	    (r = db_announcement_parse(span_of(key, 8), old, &a)) != 0) {
		return r;
	}
	if (delta < 0 && a.notices <= (uint32_t)-delta) {
		return kv_delete(t, db->table[TABLE_ANNOUNCEMENT], span_of(key, 8));
	}
	if (old.n > sizeof copy) {
		return ERR_MALFORMED;
	}
	memcpy(copy, old.p, old.n); /* a view of the map ends with the next write */
	kv_put_u32(copy + 1, a.notices + (uint32_t)delta);
	return kv_put(t, db->table[TABLE_ANNOUNCEMENT], span_of(key, 8), span_of(copy, old.n));
}

/* --- notices ------------------------------------------------------------------------------- */

int db_notice_parse(struct span key, struct span value, struct db_notice *out)
{
	const uint8_t *p = value.p;

	if (key.n != NOTICE_KEY_SIZE || key.p[4] != KIND_NOTICE || value.n != NOTICE_SIZE ||
	    p[0] != DB_RECORD || p[42] > WIRE_ADDRESS_V6) {
		return ERR_MALFORMED;
	}
	out->mailbox = kv_get_u32(key.p);
	out->cursor = kv_get_u64(key.p + PREFIX_SIZE);
	out->announcement = kv_get_u64(p + 1);
	memcpy(out->id, p + 9, WIRE_ID_SIZE);
	out->received_us = kv_get_u64(p + 25);
	out->expires_us = kv_get_u64(p + 33);
	out->withdrawn = p[41] != 0;
	out->submitter.address.kind = p[42];
	memcpy(out->submitter.address.u.v6, p + 43, 16);
	out->submitter.port = kv_get_u16(p + 59);
	return 0;
}

int db_notice_get(struct db *db, struct kv_txn *t, uint32_t mailbox, uint64_t cursor,
                  struct db_notice *out)
{
	uint8_t key[NOTICE_KEY_SIZE];
	struct span value;
	int r;

	notice_key(key, mailbox, cursor);
	r = kv_get(t, db->table[TABLE_NOTICE], span_of(key, sizeof key), &value);
	return r != 0 ? r : db_notice_parse(span_of(key, sizeof key), value, out);
}

int db_notice_put(struct db *db, struct kv_txn *t, const struct db_notice *n)
{
	uint8_t key[NOTICE_KEY_SIZE], p[NOTICE_SIZE] = { DB_RECORD };

	notice_key(key, n->mailbox, n->cursor);
	kv_put_u64(p + 1, n->announcement);
	memcpy(p + 9, n->id, WIRE_ID_SIZE);
	kv_put_u64(p + 25, n->received_us);
	kv_put_u64(p + 33, n->expires_us);
	p[41] = n->withdrawn;
	p[42] = (uint8_t)n->submitter.address.kind;
	memcpy(p + 43, n->submitter.address.u.v6,
	       n->submitter.address.kind == WIRE_ADDRESS_V4 ? 4 : 16);
	kv_put_u16(p + 59, n->submitter.port);
	return kv_put(t, db->table[TABLE_NOTICE], span_of(key, sizeof key), span_of(p, sizeof p));
}

int db_notice_add(struct db *db, struct kv_txn *t, const struct db_announcement *a,
                  struct db_notice *n)
{
	uint8_t cursor[8], by_id[ID_KEY_SIZE], due[EXPIRY_KEY_SIZE];
	/* Never under the time: an agent that begins anew, or from a backup, goes on above the
	 * cursors that mail programs have of before. */
	int r = db_meta_next_from(db, t, "cursor", n->received_us, &n->cursor);

	if (r != 0) {
		return r;
	}
	n->announcement = a->number;
	kv_put_u64(cursor, n->cursor);
	id_key(by_id, n->mailbox, a->store, n->id);
	expiry_key(due, n);
	if ((r = kv_insert(t, db->table[TABLE_NOTICE], span_of(by_id, sizeof by_id),
	                   span_of(cursor, 8))) != 0 ||
	    (r = kv_put(t, db->table[TABLE_EXPIRY], span_of(due, sizeof due), span_of(NULL, 0))) !=
	        0 ||
	    (r = db_notice_put(db, t, n)) != 0) {
		return r;
	}
	return counters_add(db, t, n->mailbox, a->origin, 1);
}

int db_notice_find(struct db *db, struct kv_txn *t, uint32_t mailbox, struct span store,
                   const uint8_t id[WIRE_ID_SIZE], struct db_notice *out)
{
	uint8_t key[ID_KEY_SIZE];
	struct span value;
	int r;

	if (store.n > NAME_DOMAIN_MAX) {
		return ERR_NOT_FOUND;
	}
	id_key(key, mailbox, store, id);
	if ((r = kv_get(t, db->table[TABLE_NOTICE], span_of(key, sizeof key), &value)) != 0) {
		return r;
	}
	return value.n != 8 ? ERR_MALFORMED
	                    : referred(db_notice_get(db, t, mailbox, kv_get_u64(value.p), out));
}

int db_notice_find_id(struct db *db, struct kv_txn *t, uint32_t mailbox,
                      const uint8_t id[WIRE_ID_SIZE], unsigned skip, struct db_notice *out)
{
	uint8_t from[ID_KEY_SIZE] = { 0 };
	struct span key, value;
	struct kv_cursor *c;
	int r;

	db_prefix(from, mailbox, KIND_ID);
	hash8(from + PREFIX_SIZE, span_of(id, WIRE_ID_SIZE));
	if ((r = kv_cursor_open(t, db->table[TABLE_NOTICE], &c)) != 0) {
		return r;
	}
	r = kv_cursor_seek(c, span_of(from, sizeof from), &key, &value);
	while (r == 0 && skip-- > 0) {
		r = kv_cursor_next(c, &key, &value);
	}
	kv_cursor_close(c);
	if (r == 0 && (key.n != ID_KEY_SIZE || memcmp(key.p, from, PREFIX_SIZE + 8) != 0)) {
		return ERR_NOT_FOUND;
	}
	if (r == 0 && value.n != 8) {
		return ERR_MALFORMED;
	}
	return r != 0 ? r : referred(db_notice_get(db, t, mailbox, kv_get_u64(value.p), out));
}

int db_notice_next(struct db *db, struct kv_txn *t, uint32_t mailbox, uint64_t after,
                   struct db_notice *out)
{
	uint8_t from[NOTICE_KEY_SIZE];
	struct span key, value;
	struct kv_cursor *c;
	int r;

	if (after == UINT64_MAX) {
		return ERR_NOT_FOUND;
	}
	if ((r = kv_cursor_open(t, db->table[TABLE_NOTICE], &c)) != 0) {
		return r;
	}
	notice_key(from, mailbox, after + 1);
	r = kv_cursor_seek(c, span_of(from, sizeof from), &key, &value);
	kv_cursor_close(c);
	if (r == 0 && (key.n < PREFIX_SIZE || memcmp(key.p, from, PREFIX_SIZE) != 0)) {
		return ERR_NOT_FOUND;
	}
	return r != 0 ? r : db_notice_parse(key, value, out);
}

/* Deletes what stands beside a record; a damaged database may lack it. */
static int delete_beside(struct kv_txn *t, kv_table table, const uint8_t *key, size_t n)
{
	int r = kv_delete(t, table, span_of(key, n));

	return r == ERR_NOT_FOUND ? 0 : r;
}

/* All that can be wrong with the records is found before the first write. */
int db_notice_remove(struct db *db, struct kv_txn *t, uint32_t mailbox, uint64_t cursor)
{
	uint8_t key[NOTICE_KEY_SIZE], by_id[ID_KEY_SIZE], due[EXPIRY_KEY_SIZE];
	uint8_t origin[NAME_DOMAIN_MAX];
	struct db_announcement a;
	struct db_notice n;
	size_t origin_n;
	uint32_t kept;
	int r = db_notice_get(db, t, mailbox, cursor, &n);

	if (r != 0 || (r = referred(db_announcement_get(db, t, n.announcement, &a))) != 0 ||
	    (r = db_notice_count(db, t, mailbox, &kept)) != 0 ||
	    (r = db_notice_count_origin(db, t, mailbox, a.origin, &kept)) != 0) {
		return r;
	}
	/* The announcement's views end with the first write. */
	origin_n = a.origin.n;
	memcpy(origin, a.origin.p, origin_n);
	id_key(by_id, mailbox, a.store, n.id);
	notice_key(key, mailbox, cursor);
	expiry_key(due, &n);
	if ((r = delete_beside(t, db->table[TABLE_NOTICE], by_id, sizeof by_id)) != 0 ||
	    (r = kv_delete(t, db->table[TABLE_NOTICE], span_of(key, sizeof key))) != 0 ||
	    (r = delete_beside(t, db->table[TABLE_EXPIRY], due, sizeof due)) != 0 ||
	    (r = counters_add(db, t, mailbox, span_of(origin, origin_n), -1)) != 0) {
		return r;
	}
	return db_announcement_refer(db, t, n.announcement, -1);
}

int db_notice_move(struct db *db, struct kv_txn *t, struct db_notice *n)
{
	struct db_announcement a;
	char store[NAME_DOMAIN_MAX + 1], origin[NAME_DOMAIN_MAX + 1];
	uint64_t announcement = n->announcement;
	int r = referred(db_announcement_get(db, t, announcement, &a));

	/* The views end with the first write. */
	if (r == 0 && (r = span_copy(a.store, store, sizeof store)) == 0) {
		r = span_copy(a.origin, origin, sizeof origin);
	}
	if (r != 0 || (r = db_announcement_refer(db, t, announcement, 1)) != 0 ||
	    (r = db_notice_remove(db, t, n->mailbox, n->cursor)) != 0) {
		return r;
	}
	a.store = span_str(store);
	a.origin = span_str(origin);
	return db_notice_add(db, t, &a, n);
}

int db_notice_remove_all(struct db *db, struct kv_txn *t, uint32_t mailbox)
{
	struct db_notice n;
	int r;

	while ((r = db_notice_next(db, t, mailbox, 0, &n)) == 0) {
		if ((r = db_notice_remove(db, t, mailbox, n.cursor)) != 0) {
			return r;
		}
	}
	return r == ERR_NOT_FOUND ? 0 : r;
}

/* The first entry of the expiry table from FROM on that is due at NOW_US: its key to DUE. */
static int expiry_next(struct db *db, struct kv_txn *t, struct span from, uint64_t now_us,
                       uint8_t due[EXPIRY_KEY_SIZE])
{
	struct span key, value;
	struct kv_cursor *c;
	int r = kv_cursor_open(t, db->table[TABLE_EXPIRY], &c);

	if (r != 0) {
		return r;
	}
	r = kv_cursor_seek(c, from, &key, &value);
	kv_cursor_close(c);
	if (r == 0 && key.n != EXPIRY_KEY_SIZE) {
		return ERR_MALFORMED;
	}
	if (r == 0 && kv_get_u64(key.p) > now_us) {
		return ERR_NOT_FOUND;
	}
	if (r == 0) {
		memcpy(due, key.p, EXPIRY_KEY_SIZE);
	}
	return r;
}

/* An entry that leads to nothing goes, a damaged notice stays: neither holds up those behind. */
int db_notice_expire(struct db *db, struct kv_txn *t, uint64_t now_us, unsigned limit)
{
	/* The octet behind the key makes it "after this one". */
	uint8_t due[EXPIRY_KEY_SIZE + 1] = { 0 };
	unsigned n = 0;
	int r = 0;

	for (unsigned i = 0; i < limit; i++) {
		r = expiry_next(db, t, span_of(due, i == 0 ? EXPIRY_KEY_SIZE : sizeof due), now_us,
		                due);
		if (r != 0) {
			break;
		}
		r = db_notice_remove(db, t, kv_get_u32(due + 8), kv_get_u64(due + 12));
		if (r == 0) {
			n++;
		} else if (r == ERR_NOT_FOUND) {
			r = kv_delete(t, db->table[TABLE_EXPIRY], span_of(due, EXPIRY_KEY_SIZE));
		}
		if (r != 0 && r != ERR_MALFORMED) {
			return r;
		}
	}
	return r == 0 || r == ERR_NOT_FOUND || r == ERR_MALFORMED ? (int)n : r;
}
