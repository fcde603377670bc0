/*
 * From schema 3, where each notice had a record in its mailbox's place, an entry by id and one of
 * its expiry, to the log and its index. What an announcement was stays as it is; a notice becomes
 * a piece of its own, at its cursor. What was moved is gone from the old tables, so each piece of
 * the work goes on with what is left there.
 *
 * The tables of before:
 *   announcement  number (8) → as in the log
 *   notice        mailbox (4), 'n', cursor (8) → version (1), announcement (8), id (16),
 *                 received (8), expires (8), withdrawn (1), address kind (1), address (16),
 *                 port (2); under other letters what the new tables do without
 *   expiry        likewise
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "notify/db_index.h"
#include "notify/db_internal.h"
#include "session/migrate.h"

#define OLD_NOTICE_KEY 13
#define OLD_NOTICE 61
#define OLD_RECORD_MAX 8192
#define STEP_RECORDS 4000 /* that one transaction moves */

enum { OLD_ANNOUNCEMENT, OLD_NOTICES, OLD_EXPIRY }; /* in this order */

const char *const db_upgrade_tables[] = {
	[OLD_ANNOUNCEMENT] = "announcement",
	[OLD_NOTICES] = "notice",
	[OLD_EXPIRY] = "expiry",
	NULL,
};

struct upgrade {
	struct db *db;
	struct kv_txn *t;
	struct index_runs runs; /* one, which the entries go to, in the order that they come in */
	uint64_t entries;       /* added now */
	size_t n;               /* octets of CHUNK */
	uint8_t chunk[INDEX_CHUNK * INDEX_ENTRY_SIZE];
};

/* Takes the table's first entry out of it: copies to KEY and VALUE. ERR_NOT_FOUND: it is empty. */
static int take_first(struct upgrade *u, int table, struct buf *key, struct buf *value)
{
	struct span k, v;
	struct kv_cursor *c;
	int r = kv_cursor_open(u->t, u->db->old[table], &c);

	if (r != 0) {
		return r;
	}
	buf_consume(key, key->n);
	buf_consume(value, value->n);
	if ((r = kv_cursor_first(c, &k, &v)) == 0 && (r = buf_add(key, k.p, k.n)) == 0 &&
	    (r = buf_add(value, v.p, v.n)) == 0) {
		r = kv_cursor_delete(c);
	}
	kv_cursor_close(c);
	return r;
}

/*
 * Calls EACH with what is taken out of TABLE, *LEFT records at most. 0: the table is empty;
 * ERR_AGAIN: *LEFT is 0.
 */
static int take_all(struct upgrade *u, int table, size_t *left,
                    int (*each)(struct upgrade *u, struct span key, struct span value))
{
	struct buf key, value;
	int r = 0;

	buf_init(&key, OLD_RECORD_MAX);
	buf_init(&value, OLD_RECORD_MAX);
	while (*left > 0 && (r = take_first(u, table, &key, &value)) == 0) {
		if ((r = each(u, buf_view(&key), buf_view(&value))) != 0) {
			r = r == ERR_NOT_FOUND ? ERR_MALFORMED : r;
			break;
		}
		--*left;
	}
	buf_free(&key);
	buf_free(&value);
	return r == ERR_NOT_FOUND ? 0 : r == 0 ? ERR_AGAIN : r;
}

static int take_announcement(struct upgrade *u, struct span key, struct span value)
{
	uint8_t new[LOG_KEY_SIZE];
	struct db_announcement a;
	int r;

	if (key.n != 8) {
		return ERR_MALFORMED;
	}
	memcpy(new, key.p, 8);
	new[8] = LOG_ANNOUNCEMENT;
	r = db_announcement_parse(span_of(new, sizeof new), value, &a);
	return r != 0 ? r : kv_append(u->t, u->db->table[TABLE_LOG], span_of(new, sizeof new), value);
}

static int flush_chunk(struct upgrade *u)
{
	uint8_t key[INDEX_KEY_SIZE];
	size_t n = u->n;

	if (n == 0) {
		return 0;
	}
	u->n = 0;
	db_index_key(key, u->runs.run[0].number, kv_get_u32(u->chunk), kv_get_u64(u->chunk + 4));
	return kv_append(u->t, u->db->table[TABLE_INDEX], span_of(key, sizeof key),
	                 span_of(u->chunk, n));
}

static int add_entry(struct upgrade *u, const struct index_entry *e)
{
	struct index_run *run = &u->runs.run[0];

	u->entries++;
	run->first = e->cursor < run->first ? e->cursor : run->first;
	run->last = e->cursor > run->last ? e->cursor : run->last;
	db_index_write(e, u->chunk + u->n);
	u->n += INDEX_ENTRY_SIZE;
	return u->n < sizeof u->chunk ? 0 : flush_chunk(u);
}

static int take_notice(struct upgrade *u, struct span key, struct span value)
{
	const uint8_t *p = value.p;
	struct log_piece piece = { .n = 1 };
	struct db_announcement a;
	struct log_entry entry;
	struct index_entry e;
	int r;

	if (key.n < 5 || key.p[4] != 'n') {
		return 0;
	}
	if (key.n != OLD_NOTICE_KEY || value.n != OLD_NOTICE || p[0] != DB_RECORD ||
	    p[42] > WIRE_ADDRESS_V6) {
		return ERR_MALFORMED;
	}
	entry.mailbox = e.mailbox = kv_get_u32(key.p);
	piece.first = e.cursor = kv_get_u64(key.p + 5);
	piece.announcement = kv_get_u64(p + 1);
	memcpy(entry.id, p + 9, WIRE_ID_SIZE);
	memcpy(e.id, entry.id, INDEX_ID);
	piece.received_us = kv_get_u64(p + 25);
	piece.expires_us = kv_get_u64(p + 33);
	piece.withdrawn = p[41] != 0;
	piece.submitter.address.kind = p[42];
	memcpy(piece.submitter.address.u.v6, p + 43, 16);
	piece.submitter.port = kv_get_u16(p + 59);
	if ((r = db_announcement_get(u->db, u->t, piece.announcement, &a)) != 0) {
		return r;
	}
	db_index_origin(a.origin, e.origin);
	r = db_log_add_piece(u->db, u->t, &piece, &entry);
	return r != 0 ? r : add_entry(u, &e);
}

static int drop(struct upgrade *u, struct span key, struct span value)
{
	(void)u, (void)key, (void)value;
	return 0;
}

/* The run, as a piece of work before this one left it. */
static int begin(struct upgrade *u)
{
	int r = db_index_runs_get(u->db, u->t, &u->runs);

	if (r == 0 && u->runs.n == 0) {
		u->runs.last = INDEX_RECENT + 1;
		u->runs.n = 1;
		u->runs.run[0] =
		    (struct index_run) { .number = u->runs.last, .first = UINT64_MAX };
	}
	return r;
}

static int end(struct upgrade *u)
{
	struct index_run *run = &u->runs.run[0];
	uint64_t kept;
	int r = flush_chunk(u);

	if (r != 0 || u->entries == 0) {
		return r;
	}
	run->entries += u->entries;
	run->level = db_index_level(run->entries);
	r = db_index_runs_put(u->db, u->t, &u->runs);
	return r != 0 ? r : db_meta_add(u->db, u->t, "notices", (int64_t)u->entries, &kept);
}

static int forget_number(struct upgrade *u)
{
	int r = kv_delete(u->t, u->db->table[TABLE_META], span_str("announcement"));

	return r == ERR_NOT_FOUND ? 0 : r;
}

int db_upgrade_step(void *ctx, struct kv_txn *t, struct migrate_place *place)
{
	struct upgrade *u = calloc(1, sizeof *u);
	size_t left = STEP_RECORDS;
	int r, more = 0;

	if (u == NULL) {
		return ERR_NOMEM;
	}
	u->db = ctx;
	u->t = t;
	if ((r = begin(u)) == 0) {
		if ((r = take_all(u, OLD_ANNOUNCEMENT, &left, take_announcement)) == 0 &&
		    (r = take_all(u, OLD_NOTICES, &left, take_notice)) == 0 &&
		    (r = take_all(u, OLD_EXPIRY, &left, drop)) == 0) {
			r = forget_number(u);
		}
		more = r;
		if (r == 0 || r == ERR_AGAIN) {
			r = end(u);
		}
		r = r == 0 ? more : r;
	}
	free(u);
	place->octets[0] = 1; /* the tables themselves say where it stands */
	place->n = 1;
	return r;
}
