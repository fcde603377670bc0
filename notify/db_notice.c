/*
 * Notices. Each is an entry of a piece of the log and one of the index, and is
 * counted in its announcement and in all: these are written and removed together.
 */
#include <string.h>

#include "base/clock.h"
#include "notify/db_index.h"
#include "notify/db_internal.h"

/* What another record refers to must be there. */
static int referred(int r)
{
	return r == ERR_NOT_FOUND ? ERR_MALFORMED : r;
}

/* --- looking ---------------------------------------------------------------------------------- */

static void notice_of(const struct log_piece *p, size_t i, struct db_notice *out)
{
	struct log_entry e;

	db_log_entry(p, i, &e);
	out->mailbox = e.mailbox;
	out->cursor = p->first + i;
	out->announcement = p->announcement;
	memcpy(out->id, e.id, WIRE_ID_SIZE);
	out->received_us = e.received_us;
	out->expires_us = p->expires_us;
	out->submitter = p->submitter;
	out->withdrawn = p->withdrawn;
}

/* The mailbox's notice at CURSOR: its piece, and it. */
static int find(struct db *db, struct kv_txn *t, uint32_t mailbox, uint64_t cursor,
                struct log_piece *p, struct db_notice *out)
{
	int r = db_log_find_piece(db, t, cursor, p);

	if (r == 0) {
		notice_of(p, (size_t)(cursor - p->first), out);
	}
	return r == 0 && (out->mailbox != mailbox || mailbox == 0) ? ERR_NOT_FOUND : r;
}

int db_notice_get(struct db *db, struct kv_txn *t, uint32_t mailbox, uint64_t cursor,
                  struct db_notice *out)
{
	struct log_piece p;

	return find(db, t, mailbox, cursor, &p, out);
}

int db_notice_list(struct db *db, struct kv_txn *t, uint32_t mailbox, uint64_t after,
                   uint64_t *cursors, size_t cap)
{
	return db_index_list(db, t, mailbox, after, cursors, cap);
}

int db_notice_count(struct db *db, struct kv_txn *t, uint32_t mailbox, uint32_t *kept)
{
	struct index_look l = { 0 };
	int r = db_index_look(db, t, mailbox, &l);

	*kept = l.kept;
	return r;
}

struct by_id {
	struct db *db;
	struct kv_txn *t;
	const uint8_t *id;
	unsigned skip;
	struct db_notice *out;
};

#define FOUND 1 /* ends a look */

static int is_id(void *ctx, const struct index_entry *e)
{
	struct by_id *b = ctx;
	int r;

	if ((r = referred(db_notice_get(b->db, b->t, e->mailbox, e->cursor, b->out))) != 0) {
		return r;
	}
	return memcmp(b->out->id, b->id, WIRE_ID_SIZE) == 0 && b->skip-- == 0 ? FOUND : 0;
}

int db_notice_find_id(struct db *db, struct kv_txn *t, uint32_t mailbox,
                      const uint8_t id[WIRE_ID_SIZE], unsigned skip, struct db_notice *out)
{
	struct by_id b = { db, t, id, skip, out };
	struct index_look l = { .id = id, .same = is_id, .ctx = &b };
	int r = db_index_look(db, t, mailbox, &l);

	return r == FOUND ? 0 : r == 0 ? ERR_NOT_FOUND : r;
}

/* --- keeping ---------------------------------------------------------------------------------- */

void db_posting_begin(struct db_posting *p, const struct db_announcement *a)
{
	p->a = *a;
	p->a.number = 0;
	p->a.notices = 0;
	p->n = 0;
	db_index_origin(a->origin, p->origin);
}

struct looking {
	struct db *db;
	struct kv_txn *t;
	const struct db_posting *p;
	const uint8_t *id;
	struct db_look *out;
};

/* Whether it is of the posting's store and the id. */
static int is_repeated(void *ctx, const struct index_entry *e)
{
	struct looking *l = ctx;
	struct db_announcement a;
	struct db_notice n;
	int r = referred(db_notice_get(l->db, l->t, e->mailbox, e->cursor, &n));

	if (r != 0 || memcmp(n.id, l->id, WIRE_ID_SIZE) != 0) {
		return r;
	}
	r = referred(db_announcement_get(l->db, l->t, n.announcement, &a));
	if (r == 0 && span_eq(a.store, l->p->a.store)) {
		l->out->repeated = true;
		l->out->cursor = e->cursor;
	}
	return r;
}

int db_posting_look(struct db *db, struct kv_txn *t, const struct db_posting *p, uint32_t mailbox,
                    const uint8_t id[WIRE_ID_SIZE], struct db_look *out)
{
	struct looking looking = { db, t, p, id, out };
	struct index_look l = {
		.id = id,
		.origin = p->origin,
		.same = is_repeated,
		.ctx = &looking,
	};
	int r;

	*out = (struct db_look) { 0 };
	if ((r = db_index_look(db, t, mailbox, &l)) != 0) {
		return r;
	}
	out->kept = l.kept;
	out->kept_origin = l.kept_origin;
	for (size_t i = 0; i < p->n; i++) {
		if (p->pending[i].mailbox == mailbox) {
			out->kept++;
			out->kept_origin++;
			out->repeated = out->repeated ||
			                memcmp(p->pending[i].id, id, WIRE_ID_SIZE) == 0;
		}
	}
	return 0;
}

/*
 * Gives N cursors: the first to *FIRST. They are the time, as far as they can be: nobody learns
 * from his own what others get, or when; and an agent that begins anew, or from a backup, goes on
 * above the cursors that mail programs have of before.
 */
static int take_cursors(struct db *db, struct kv_txn *t, size_t n, uint64_t *first)
{
	uint64_t last, now_us = clock_now_us();
	int r = db_meta_get(db, t, "cursor", &last);

	*first = last + 1 > now_us ? last + 1 : now_us;
	return r != 0 ? r : db_meta_put(db, t, "cursor", *first + n - 1);
}

/* Writes the piece of ENTRIES, their index, and how many there are in all. */
static int add_piece(struct db *db, struct kv_txn *t, const struct log_piece *piece,
                     const struct log_entry *entries, const uint8_t origin[INDEX_ORIGIN])
{
	struct index_entry index[DB_PIECE_MAX];
	uint64_t kept;
	int r;

	for (size_t i = 0; i < piece->n; i++) {
		index[i].mailbox = entries[i].mailbox;
		index[i].cursor = piece->first + i;
		memcpy(index[i].id, entries[i].id, INDEX_ID);
		memcpy(index[i].origin, origin, INDEX_ORIGIN);
	}
	if ((r = db_log_add_piece(db, t, piece, entries)) == 0 &&
	    (r = db_index_add(db, t, index, piece->n)) == 0) {
		r = db_meta_add(db, t, "notices", (int64_t)piece->n, &kept);
	}
	return r;
}

static int posting_write(struct db *db, struct kv_txn *t, struct db_posting *p)
{
	struct log_entry entries[DB_PIECE_MAX];
	struct log_piece piece = {
		.received_us = p->received_us,
		.expires_us = p->expires_us,
		.submitter = p->submitter,
		.n = p->n,
	};
	int r = take_cursors(db, t, p->n, &piece.first);

	if (r != 0) {
		return r;
	}
	if (p->a.notices == 0) {
		p->a.number = piece.first;
		p->a.notices = (uint32_t)p->n;
		r = db_announcement_add(db, t, &p->a);
	} else {
		p->a.notices += (uint32_t)p->n;
		r = db_announcement_refer(db, t, p->a.number, (int)p->n);
	}
	piece.announcement = p->a.number;
	for (size_t i = 0; i < p->n; i++) {
		entries[i].mailbox = p->pending[i].mailbox;
		memcpy(entries[i].id, p->pending[i].id, WIRE_ID_SIZE);
	}
	p->n = 0;
	return r != 0 ? r : add_piece(db, t, &piece, entries, p->origin);
}

int db_posting_add(struct db *db, struct kv_txn *t, struct db_posting *p, uint32_t mailbox,
                   const uint8_t id[WIRE_ID_SIZE])
{
	p->pending[p->n].mailbox = mailbox;
	memcpy(p->pending[p->n].id, id, WIRE_ID_SIZE);
	return ++p->n < DB_PIECE_MAX ? 0 : posting_write(db, t, p);
}

int db_posting_end(struct db *db, struct kv_txn *t, struct db_posting *p)
{
	return p->n == 0 ? 0 : posting_write(db, t, p);
}

/* --- changing --------------------------------------------------------------------------------- */

int db_notice_renew(struct db *db, struct kv_txn *t, uint32_t mailbox, uint64_t cursor,
                    uint64_t received_us)
{
	struct log_entry e;
	struct log_piece p;
	struct db_notice n;
	int r = find(db, t, mailbox, cursor, &p, &n);

	if (r != 0) {
		return r;
	}
	db_log_entry(&p, (size_t)(cursor - p.first), &e);
	e.received_us = received_us;
	return db_log_change(db, t, &p, (size_t)(cursor - p.first), &e);
}

/* All that can be wrong with the records is found before the first write. */
int db_notice_remove(struct db *db, struct kv_txn *t, uint32_t mailbox, uint64_t cursor)
{
	const struct log_entry none = { 0 };
	struct db_announcement a;
	struct log_piece p;
	struct db_notice n;
	uint64_t kept;
	int r = find(db, t, mailbox, cursor, &p, &n);

	if (r != 0 || (r = referred(db_announcement_get(db, t, n.announcement, &a))) != 0 ||
	    (r = db_meta_get(db, t, "notices", &kept)) != 0) {
		return r;
	}
	/* A damaged database may lack the entry of the index. */
	if ((r = db_index_remove(db, t, mailbox, cursor)) != 0 && r != ERR_NOT_FOUND) {
		return r;
	}
	/* The piece's view ended with that. */
	if ((r = db_log_get_piece(db, t, p.first, &p)) != 0 ||
	    (r = db_log_change(db, t, &p, (size_t)(cursor - p.first), &none)) != 0 ||
	    (r = db_announcement_refer(db, t, n.announcement, -1)) != 0) {
		return r;
	}
	return kept == 0 ? 0 : db_meta_add(db, t, "notices", -1, &kept);
}

int db_notice_withdraw(struct db *db, struct kv_txn *t, struct db_notice *n)
{
	struct log_entry entry = { .mailbox = n->mailbox };
	struct log_piece piece = {
		.announcement = n->announcement,
		.received_us = n->received_us,
		.expires_us = n->expires_us,
		.submitter = n->submitter,
		.withdrawn = true,
		.n = 1,
	};
	uint8_t origin[INDEX_ORIGIN];
	struct db_announcement a;
	int r = referred(db_announcement_get(db, t, n->announcement, &a));

	if (r == 0) {
		db_index_origin(a.origin, origin);
		memcpy(entry.id, n->id, WIRE_ID_SIZE);
		r = db_announcement_refer(db, t, n->announcement, 1);
	}
	if (r == 0 && (r = db_notice_remove(db, t, n->mailbox, n->cursor)) == 0 &&
	    (r = take_cursors(db, t, 1, &piece.first)) == 0) {
		n->cursor = piece.first;
		n->withdrawn = true;
		r = add_piece(db, t, &piece, &entry, origin);
	}
	return r;
}

int db_notice_remove_all(struct db *db, struct kv_txn *t, uint32_t mailbox)
{
	uint64_t cursors[256];
	int n;

	while ((n = db_index_list(db, t, mailbox, 0, cursors, 256)) > 0) {
		for (int i = 0; i < n; i++) {
			int r = db_notice_remove(db, t, mailbox, cursors[i]);

			if (r != 0) {
				return referred(r); /* or it would be listed for ever */
			}
		}
	}
	return n;
}

/* --- expiry ----------------------------------------------------------------------------------- */

/* The first entry of the table from FROM on that is due at NOW_US: its key to DUE. */
static int due_next(struct db *db, struct kv_txn *t, struct span from, uint64_t now_us,
                    uint8_t due[DUE_KEY_SIZE])
{
	struct span key, value;
	struct kv_cursor *c;
	int r = kv_cursor_open(t, db->table[TABLE_DUE], &c);

	if (r != 0) {
		return r;
	}
	r = kv_cursor_seek(c, from, &key, &value);
	kv_cursor_close(c);
	if (r == 0 && key.n != DUE_KEY_SIZE) {
		return ERR_MALFORMED;
	}
	if (r == 0 && kv_get_u64(key.p) > now_us) {
		return ERR_NOT_FOUND;
	}
	if (r == 0) {
		memcpy(due, key.p, DUE_KEY_SIZE);
	}
	return r;
}

/* Forgets notices of the piece that begins at FIRST, MOST of them. How many, or an error. */
static int expire_piece(struct db *db, struct kv_txn *t, uint64_t first, unsigned most)
{
	uint32_t mailboxes[DB_PIECE_MAX];
	struct log_entry e;
	struct log_piece p;
	unsigned n = 0;
	int r = db_log_get_piece(db, t, first, &p);

	for (size_t i = 0; r == 0 && i < p.n; i++) {
		db_log_entry(&p, i, &e);
		mailboxes[i] = e.mailbox;
	}
	for (size_t i = 0; r == 0 && i < p.n && n < most; i++) {
		if (mailboxes[i] != 0 &&
		    (r = db_notice_remove(db, t, mailboxes[i], first + i)) == 0) {
			n++;
		}
	}
	return n > 0 ? (int)n : r != 0 ? r : ERR_MALFORMED;
}

/* An entry that leads to nothing goes, a damaged piece stays: neither holds up those behind. */
int db_notice_expire(struct db *db, struct kv_txn *t, uint64_t now_us, unsigned limit)
{
	/* The octet behind the key makes it "after this one". */
	uint8_t due[DUE_KEY_SIZE + 1] = { 0 };
	size_t from = DUE_KEY_SIZE;
	unsigned n = 0, passed = 0;
	int r = 0;

	while (n < limit && passed < limit &&
	       (r = due_next(db, t, span_of(due, from), now_us, due)) == 0) {
		r = expire_piece(db, t, kv_get_u64(due + 8), limit - n);
		if (r > 0) {
			n += (unsigned)r;
			from = DUE_KEY_SIZE; /* what is left of it is next */
			continue;
		}
		if (r == ERR_NOT_FOUND) {
			r = kv_delete(t, db->table[TABLE_DUE], span_of(due, DUE_KEY_SIZE));
		}
		if (r != 0 && r != ERR_MALFORMED) {
			return r;
		}
		passed++;
		from = sizeof due;
	}
	return r >= 0 || r == ERR_NOT_FOUND || r == ERR_MALFORMED ? (int)n : r;
}
