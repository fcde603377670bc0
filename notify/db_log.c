/*
 * The log: announcements, and behind each the notices of it, in pieces. It is
 * written at its end alone but for what is forgotten, marked or referred to.
 */
#include <string.h>

#include "notify/db_internal.h"

/* version (1), notices (4), marks (1), lengths of store (1) and origin (1), then store, origin,
 * DER */
#define ANNOUNCEMENT_HEAD 8
#define MARK_VERIFIED 1
#define MARK_ADDRESSED 2
#define ANNOUNCEMENT_DER_MAX \
	4096 /* more than the limit of a notification (protocol.md section 6) */
/* version (1), announcement (8), received (8), expires (8), marks (1), address kind (1), address
 * (16), port (2), then entries */
#define PIECE_HEAD 45
#define MARK_WITHDRAWN 1
#define MARK_TIMES 2
/* mailbox (4), id (16), with MARK_TIMES received (8) */
#define ENTRY_SIZE 20
#define ENTRY_TIMES_SIZE 28
#define PIECE_SIZE_MAX (PIECE_HEAD + DB_PIECE_MAX * ENTRY_TIMES_SIZE)

static struct span log_key(uint8_t key[LOG_KEY_SIZE], uint64_t number, uint8_t kind)
{
	kv_put_u64(key, number);
	key[8] = kind;
	return span_of(key, LOG_KEY_SIZE);
}

void db_log_due_key(uint8_t key[DUE_KEY_SIZE], uint64_t expires_us, uint64_t first)
{
	kv_put_u64(key, expires_us);
	kv_put_u64(key + 8, first);
}

/* --- announcements -------------------------------------------------------------------------- */

int db_announcement_parse(struct span key, struct span value, struct db_announcement *out)
{
	const uint8_t *p = value.p;
	size_t store, origin;

	if (key.n != LOG_KEY_SIZE || key.p[8] != LOG_ANNOUNCEMENT ||
	    value.n < ANNOUNCEMENT_HEAD || p[0] != DB_RECORD) {
		return ERR_MALFORMED;
	}
	store = p[6];
	origin = p[7];
	if (store > NAME_DOMAIN_MAX || origin > NAME_DOMAIN_MAX ||
	    value.n < ANNOUNCEMENT_HEAD + store + origin) {
		return ERR_MALFORMED;
	}
	out->number = kv_get_u64(key.p);
	out->notices = kv_get_u32(p + 1);
	out->verified = (p[5] & MARK_VERIFIED) != 0;
	out->addressed = (p[5] & MARK_ADDRESSED) != 0;
	out->store = span_of(p + ANNOUNCEMENT_HEAD, store);
	out->origin = span_of(p + ANNOUNCEMENT_HEAD + store, origin);
	out->der = span_after(value, ANNOUNCEMENT_HEAD + store + origin);
	return 0;
}

int db_announcement_add(struct db *db, struct kv_txn *t, const struct db_announcement *a)
{
	uint8_t record[ANNOUNCEMENT_HEAD + 2 * NAME_DOMAIN_MAX + ANNOUNCEMENT_DER_MAX];
	uint8_t key[LOG_KEY_SIZE], *p = record + ANNOUNCEMENT_HEAD;
	int r;

	if (a->store.n > NAME_DOMAIN_MAX || a->origin.n > NAME_DOMAIN_MAX ||
	    a->der.n > ANNOUNCEMENT_DER_MAX) {
		return ERR_TOO_BIG;
	}
	record[0] = DB_RECORD;
	kv_put_u32(record + 1, a->notices);
	record[5] = (a->verified ? MARK_VERIFIED : 0) | (a->addressed ? MARK_ADDRESSED : 0);
	record[6] = (uint8_t)a->store.n;
	record[7] = (uint8_t)a->origin.n;
	memcpy(p, a->store.p, a->store.n);
	p += a->store.n;
	memcpy(p, a->origin.p, a->origin.n);
	p += a->origin.n;
	memcpy(p, a->der.p, a->der.n);
	p += a->der.n;
	r = kv_append(t, db->table[TABLE_LOG], log_key(key, a->number, LOG_ANNOUNCEMENT),
	              span_of(record, (size_t)(p - record)));
	return r == ERR_EXISTS ? ERR_MALFORMED : r; /* a cursor was given twice */
}

int db_announcement_get(struct db *db, struct kv_txn *t, uint64_t number,
                        struct db_announcement *out)
{
	uint8_t octets[LOG_KEY_SIZE];
	struct span value, key = log_key(octets, number, LOG_ANNOUNCEMENT);
	int r = kv_get(t, db->table[TABLE_LOG], key, &value);

	return r != 0 ? r : db_announcement_parse(key, value, out);
}

int db_announcement_refer(struct db *db, struct kv_txn *t, uint64_t number, int delta)
{
	uint8_t copy[ANNOUNCEMENT_HEAD + 2 * NAME_DOMAIN_MAX + ANNOUNCEMENT_DER_MAX];
	uint8_t octets[LOG_KEY_SIZE];
	struct span old, key = log_key(octets, number, LOG_ANNOUNCEMENT);
	struct db_announcement a;
	int r;

	if ((r = kv_get(t, db->table[TABLE_LOG], key, &old)) != 0 ||
	    (r = db_announcement_parse(key, old, &a)) != 0) {
		return r;
	}
	if (delta < 0 && a.notices <= (uint32_t)-delta) {
		return kv_delete(t, db->table[TABLE_LOG], key);
	}
	if (old.n > sizeof copy) {
		return ERR_MALFORMED;
	}
	memcpy(copy, old.p, old.n); /* a view of the map ends with the next write */
	kv_put_u32(copy + 1, a.notices + (uint32_t)delta);
	return kv_put(t, db->table[TABLE_LOG], key, span_of(copy, old.n));
}

/* --- pieces ----------------------------------------------------------------------------------- */

static size_t entry_size(bool times)
{
	return times ? ENTRY_TIMES_SIZE : ENTRY_SIZE;
}

int db_log_parse_piece(struct span key, struct span value, struct log_piece *out)
{
	const uint8_t *p = value.p;
	size_t size;

	if (key.n != LOG_KEY_SIZE || key.p[8] != LOG_PIECE || value.n <= PIECE_HEAD ||
	    value.n > PIECE_SIZE_MAX || p[0] != DB_RECORD || p[26] > WIRE_ADDRESS_V6 ||
	    p[25] > (MARK_WITHDRAWN | MARK_TIMES)) {
		return ERR_MALFORMED;
	}
	out->first = kv_get_u64(key.p);
	out->announcement = kv_get_u64(p + 1);
	out->received_us = kv_get_u64(p + 9);
	out->expires_us = kv_get_u64(p + 17);
	out->withdrawn = (p[25] & MARK_WITHDRAWN) != 0;
	out->times = (p[25] & MARK_TIMES) != 0;
	out->submitter.address.kind = p[26];
	memcpy(out->submitter.address.u.v6, p + 27, 16);
	out->submitter.port = kv_get_u16(p + 43);
	out->entries = span_after(value, PIECE_HEAD);
	size = entry_size(out->times);
	out->n = out->entries.n / size;
	return out->entries.n % size == 0 && out->n <= DB_PIECE_MAX ? 0 : ERR_MALFORMED;
}

void db_log_entry(const struct log_piece *p, size_t i, struct log_entry *out)
{
	const uint8_t *at = p->entries.p + i * entry_size(p->times);

	out->mailbox = kv_get_u32(at);
	memcpy(out->id, at + 4, WIRE_ID_SIZE);
	out->received_us = p->times ? kv_get_u64(at + ENTRY_SIZE) : p->received_us;
}

int db_log_get_piece(struct db *db, struct kv_txn *t, uint64_t first, struct log_piece *out)
{
	uint8_t octets[LOG_KEY_SIZE];
	struct span value, key = log_key(octets, first, LOG_PIECE);
	int r = kv_get(t, db->table[TABLE_LOG], key, &value);

	return r != 0 ? r : db_log_parse_piece(key, value, out);
}

int db_log_find_piece(struct db *db, struct kv_txn *t, uint64_t cursor, struct log_piece *out)
{
	uint8_t octets[LOG_KEY_SIZE];
	struct span key, value;
	struct kv_cursor *c;
	int r = kv_cursor_open(t, db->table[TABLE_LOG], &c);

	if (r != 0) {
		return r;
	}
	/* Behind it, then back over announcements: a piece is not far from its last cursor. */
	r = kv_cursor_seek(c, log_key(octets, cursor, LOG_PIECE + 1), &key, &value);
	r = r == ERR_NOT_FOUND ? kv_cursor_last(c, &key, &value)
	    : r == 0           ? kv_cursor_prev(c, &key, &value)
	                       : r;
	while (r == 0 && key.n == LOG_KEY_SIZE && key.p[8] != LOG_PIECE) {
		r = cursor - kv_get_u64(key.p) < DB_PIECE_MAX ? kv_cursor_prev(c, &key, &value)
		                                             : ERR_NOT_FOUND;
	}
	kv_cursor_close(c);
	if (r == 0 && key.n == LOG_KEY_SIZE && cursor - kv_get_u64(key.p) >= DB_PIECE_MAX) {
		return ERR_NOT_FOUND;
	}
	if (r == 0 && (r = db_log_parse_piece(key, value, out)) == 0 &&
	    cursor - out->first >= out->n) {
		return ERR_NOT_FOUND;
	}
	return r;
}

/* P and its N entries, as they are kept. How many octets. */
static size_t write_piece(const struct log_piece *p, const struct log_entry *entries,
                          uint8_t out[PIECE_SIZE_MAX])
{
	uint8_t *at = out + PIECE_HEAD;

	memset(out, 0, PIECE_HEAD);
	out[0] = DB_RECORD;
	kv_put_u64(out + 1, p->announcement);
	kv_put_u64(out + 9, p->received_us);
	kv_put_u64(out + 17, p->expires_us);
	out[25] = (p->withdrawn ? MARK_WITHDRAWN : 0) | (p->times ? MARK_TIMES : 0);
	out[26] = (uint8_t)p->submitter.address.kind;
	memcpy(out + 27, p->submitter.address.u.v6,
	       p->submitter.address.kind == WIRE_ADDRESS_V4 ? 4 : 16);
	kv_put_u16(out + 43, p->submitter.port);
	for (size_t i = 0; i < p->n; i++) {
		kv_put_u32(at, entries[i].mailbox);
		memcpy(at + 4, entries[i].id, WIRE_ID_SIZE);
		if (p->times) {
			kv_put_u64(at + ENTRY_SIZE, entries[i].received_us);
		}
		at += entry_size(p->times);
	}
	return (size_t)(at - out);
}

int db_log_add_piece(struct db *db, struct kv_txn *t, const struct log_piece *p,
                     const struct log_entry *entries)
{
	uint8_t key[LOG_KEY_SIZE], due[DUE_KEY_SIZE], record[PIECE_SIZE_MAX];
	struct span value = span_of(record, write_piece(p, entries, record));
	struct span at = log_key(key, p->first, LOG_PIECE);
	int r = kv_append(t, db->table[TABLE_LOG], at, value);

	if (r == ERR_EXISTS) {
		r = kv_insert(t, db->table[TABLE_LOG], at, value); /* an upgrade's */
	}
	if (r != 0) {
		return r == ERR_EXISTS ? ERR_MALFORMED : r; /* a cursor was given twice */
	}
	db_log_due_key(due, p->expires_us, p->first);
	return kv_put(t, db->table[TABLE_DUE], span_of(due, sizeof due), span_of(NULL, 0));
}

int db_log_change(struct db *db, struct kv_txn *t, const struct log_piece *p, size_t i,
                  const struct log_entry *e)
{
	struct log_entry entries[DB_PIECE_MAX];
	uint8_t octets[LOG_KEY_SIZE], due[DUE_KEY_SIZE], record[PIECE_SIZE_MAX];
	struct span key = log_key(octets, p->first, LOG_PIECE);
	struct log_piece changed = *p;
	size_t left = 0, n;
	int r;

	for (size_t j = 0; j < p->n; j++) {
		db_log_entry(p, j, &entries[j]);
		if (j == i) {
			entries[j] = *e;
		}
		left += entries[j].mailbox != 0;
	}
	if (left > 0) {
		if (p->n == 1) {
			changed.received_us = e->received_us;
		} else if (e->mailbox != 0 && e->received_us != p->received_us) {
			changed.times = true;
		}
		n = write_piece(&changed, entries, record);
		return kv_put(t, db->table[TABLE_LOG], key, span_of(record, n));
	}
	db_log_due_key(due, p->expires_us, p->first);
	if ((r = kv_delete(t, db->table[TABLE_LOG], key)) == 0) {
		r = kv_delete(t, db->table[TABLE_DUE], span_of(due, sizeof due));
	}
	return r == ERR_NOT_FOUND ? 0 : r; /* a damaged database may lack it */
}
