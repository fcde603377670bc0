#include "notify/db_index.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/sha.h>

#include "notify/db_internal.h"

/* Recent entries at most, and the values that they stand in: what each look goes through. */
#define RECENT_ENTRIES 2048
#define RECENT_CHUNKS 96
/* version (1), last number (4), runs: number (4), level (1), into (4), first, last, entries (8) */
#define RUNS_HEAD 5
#define RUN_SIZE 33

void db_index_origin(struct span domain, uint8_t out[INDEX_ORIGIN])
{
	uint8_t hash[SHA256_DIGEST_LENGTH];

	SHA256(domain.p, domain.n, hash);
	memcpy(out, hash, INDEX_ORIGIN);
}

void db_index_key(uint8_t key[INDEX_KEY_SIZE], uint32_t run, uint32_t mailbox, uint64_t cursor)
{
	kv_put_u32(key, run);
	kv_put_u32(key + 4, mailbox);
	kv_put_u64(key + 8, cursor);
}

void db_index_write(const struct index_entry *e, uint8_t out[INDEX_ENTRY_SIZE])
{
	kv_put_u32(out, e->mailbox);
	kv_put_u64(out + 4, e->cursor);
	memcpy(out + 12, e->id, INDEX_ID);
	memcpy(out + 16, e->origin, INDEX_ORIGIN);
}

void db_index_read(const uint8_t in[INDEX_ENTRY_SIZE], struct index_entry *out)
{
	out->mailbox = kv_get_u32(in);
	out->cursor = kv_get_u64(in + 4);
	memcpy(out->id, in + 12, INDEX_ID);
	memcpy(out->origin, in + 16, INDEX_ORIGIN);
}

int db_index_parse(struct span key, struct span value, uint32_t *run)
{
	if (key.n != INDEX_KEY_SIZE || value.n == 0 || value.n % INDEX_ENTRY_SIZE != 0 ||
	    value.n > INDEX_CHUNK * INDEX_ENTRY_SIZE) {
		return ERR_MALFORMED;
	}
	*run = kv_get_u32(key.p);
	return 0;
}

/* --- the directory ------------------------------------------------------------------------- */

static const uint8_t runs_key[4];

int db_index_runs_get(struct db *db, struct kv_txn *t, struct index_runs *out)
{
	struct span value;
	const uint8_t *p;
	int r = kv_get(t, db->table[TABLE_INDEX], span_of(runs_key, sizeof runs_key), &value);

	out->last = INDEX_RECENT;
	out->n = 0;
	if (r != 0) {
		return r == ERR_NOT_FOUND ? 0 : r;
	}
	if (value.n < RUNS_HEAD || value.p[0] != DB_RECORD ||
	    (value.n - RUNS_HEAD) % RUN_SIZE != 0 ||
	    (value.n - RUNS_HEAD) / RUN_SIZE > INDEX_RUNS_MAX) {
		return ERR_MALFORMED;
	}
	out->last = kv_get_u32(value.p + 1);
	for (p = value.p + RUNS_HEAD; p < value.p + value.n; p += RUN_SIZE) {
		out->run[out->n++] = (struct index_run) {
			.number = kv_get_u32(p),
			.level = p[4],
			.into = kv_get_u32(p + 5),
			.first = kv_get_u64(p + 9),
			.last = kv_get_u64(p + 17),
			.entries = kv_get_u64(p + 25),
		};
	}
	return 0;
}

int db_index_runs_put(struct db *db, struct kv_txn *t, const struct index_runs *runs)
{
	uint8_t record[RUNS_HEAD + INDEX_RUNS_MAX * RUN_SIZE];
	uint8_t *p = record + RUNS_HEAD;

	record[0] = DB_RECORD;
	kv_put_u32(record + 1, runs->last);
	for (size_t i = 0; i < runs->n; i++, p += RUN_SIZE) {
		const struct index_run *run = &runs->run[i];

		kv_put_u32(p, run->number);
		p[4] = run->level;
		kv_put_u32(p + 5, run->into);
		kv_put_u64(p + 9, run->first);
		kv_put_u64(p + 17, run->last);
		kv_put_u64(p + 25, run->entries);
	}
	return kv_put(t, db->table[TABLE_INDEX], span_of(runs_key, sizeof runs_key),
	              span_of(record, (size_t)(p - record)));
}

/* --- looking: the entries of one mailbox in one run ------------------------------------------- */

struct walk {
	struct kv_cursor *c;
	uint32_t run, mailbox;
	uint64_t from;   /* no cursor below it */
	struct span key; /* of the value at the cursor */
	struct span value;
	size_t at;         /* in the value, behind the entry that was answered last */
	const uint8_t *entry; /* that one */
};

/* To the last value whose key is not above the walk's first entry, or else the one after it. */
static int seek_chunk(struct walk *w)
{
	uint8_t key[INDEX_KEY_SIZE];
	bool recent = w->run == INDEX_RECENT;
	int r;

	db_index_key(key, w->run, recent ? 0 : w->mailbox, recent ? 0 : w->from);
	r = kv_cursor_seek(w->c, span_of(key, sizeof key), &w->key, &w->value);
	if (recent || (r != 0 && r != ERR_NOT_FOUND) ||
	    (r == 0 && span_eq(w->key, span_of(key, sizeof key)))) {
		return r;
	}
	r = r == 0 ? kv_cursor_prev(w->c, &w->key, &w->value)
	           : kv_cursor_last(w->c, &w->key, &w->value);
	if (r == ERR_NOT_FOUND || (r == 0 && (w->key.n < 4 || kv_get_u32(w->key.p) < w->run))) {
		r = kv_cursor_seek(w->c, span_of(key, sizeof key), &w->key, &w->value);
	}
	return r;
}

static int take_chunk(struct walk *w, int found)
{
	uint32_t run;

	if (found != 0) {
		return found;
	}
	if (db_index_parse(w->key, w->value, &run) != 0) {
		return ERR_MALFORMED;
	}
	w->at = 0;
	return run == w->run ? 0 : ERR_NOT_FOUND;
}

/* ERR_NOT_FOUND: there is no such run. */
static int walk_open(struct db *db, struct kv_txn *t, uint32_t run, uint32_t mailbox, uint64_t from,
                     struct walk *w)
{
	int r;

	*w = (struct walk) { .run = run, .mailbox = mailbox, .from = from };
	if ((r = kv_cursor_open(t, db->table[TABLE_INDEX], &w->c)) == 0 &&
	    (r = take_chunk(w, seek_chunk(w))) != 0) {
		kv_cursor_close(w->c);
		w->c = NULL;
	}
	return r;
}

/* The walk's next entry. Recent ones are of all mailboxes, those of a run in order of them. */
static int walk_next(struct walk *w)
{
	for (;;) {
		while (w->at < w->value.n) {
			const uint8_t *p = w->value.p + w->at;
			uint32_t mailbox = kv_get_u32(p);

			w->at += INDEX_ENTRY_SIZE;
			if (mailbox == w->mailbox && kv_get_u64(p + 4) >= w->from) {
				w->entry = p;
				return 0;
			}
			if (mailbox > w->mailbox && w->run != INDEX_RECENT) {
				return ERR_NOT_FOUND;
			}
		}
		int r = take_chunk(w, kv_cursor_next(w->c, &w->key, &w->value));

		if (r != 0) {
			return r;
		}
	}
}

/* --- looking at all of a mailbox's entries: for each recipient, so it is done quickly --------- */

/* The entries of MAILBOX in the rest of the walk's value. ERR_NOT_FOUND: behind it are none. */
static int look_chunk(struct walk *w, struct index_look *l)
{
	const uint8_t *end = w->value.p + w->value.n;
	bool recent = w->run == INDEX_RECENT;
	uint32_t id = 0, wanted;
	uint64_t origin = 0;
	uint8_t mailbox[4];

	kv_put_u32(mailbox, w->mailbox);
	memcpy(&wanted, mailbox, sizeof wanted);
	if (l->id != NULL) {
		memcpy(&id, l->id, sizeof id);
	}
	if (l->origin != NULL) {
		memcpy(&origin, l->origin, sizeof origin);
	}
	for (const uint8_t *p = w->value.p; p < end; p += INDEX_ENTRY_SIZE) {
		struct index_entry e;
		uint32_t whose, same_id;
		uint64_t same_origin;
		int r;

		memcpy(&whose, p, sizeof whose);
		if (whose != wanted) {
			if (!recent && kv_get_u32(p) > w->mailbox) {
				return ERR_NOT_FOUND;
			}
			continue;
		}
		memcpy(&same_id, p + 12, sizeof same_id);
		memcpy(&same_origin, p + 16, sizeof same_origin);
		l->kept++;
		l->kept_origin += same_origin == origin;
		if (l->id != NULL && same_id == id) {
			db_index_read(p, &e);
			if ((r = l->same(l->ctx, &e)) != 0) {
				return r;
			}
		}
	}
	return 0;
}

static int look_run(struct db *db, struct kv_txn *t, uint32_t run, uint32_t mailbox,
                    struct index_look *l)
{
	struct walk w;
	int r = walk_open(db, t, run, mailbox, 0, &w);

	if (r != 0) {
		return r == ERR_NOT_FOUND ? 0 : r;
	}
	while ((r = look_chunk(&w, l)) == 0 &&
	       (r = take_chunk(&w, kv_cursor_next(w.c, &w.key, &w.value))) == 0) {
	}
	kv_cursor_close(w.c);
	return r == ERR_NOT_FOUND ? 0 : r;
}

int db_index_look(struct db *db, struct kv_txn *t, uint32_t mailbox, struct index_look *l)
{
	struct index_runs runs;
	int r = db_index_runs_get(db, t, &runs);

	l->kept = l->kept_origin = 0;
	if (r == 0) {
		r = look_run(db, t, INDEX_RECENT, mailbox, l);
	}
	for (size_t i = 0; r == 0 && i < runs.n; i++) {
		r = look_run(db, t, runs.run[i].number, mailbox, l);
	}
	return r;
}

/* --- in order of cursors: the walks of all runs, each at its next entry ----------------------- */

struct merged {
	size_t n;
	struct walk walk[INDEX_RUNS_MAX + 1];
};

static int merged_add(struct db *db, struct kv_txn *t, uint32_t run, uint32_t mailbox,
                      uint64_t from, struct merged *m)
{
	struct walk *w = &m->walk[m->n];
	int r = walk_open(db, t, run, mailbox, from, w);

	if (r == 0 && (r = walk_next(w)) == 0) {
		m->n++;
		return 0;
	}
	kv_cursor_close(w->c);
	return r == ERR_NOT_FOUND ? 0 : r;
}

static int merged_open(struct db *db, struct kv_txn *t, uint32_t mailbox, uint64_t from,
                       struct merged *m)
{
	struct index_runs runs;
	int r = db_index_runs_get(db, t, &runs);

	m->n = 0;
	if (r == 0) {
		r = merged_add(db, t, INDEX_RECENT, mailbox, from, m);
	}
	for (size_t i = 0; r == 0 && i < runs.n; i++) {
		if (runs.run[i].last >= from) {
			r = merged_add(db, t, runs.run[i].number, mailbox, from, m);
		}
	}
	return r;
}

static int merged_next(struct merged *m, uint64_t *cursor)
{
	size_t least = 0;
	int r;

	if (m->n == 0) {
		return ERR_NOT_FOUND;
	}
	for (size_t i = 1; i < m->n; i++) {
		if (kv_get_u64(m->walk[i].entry + 4) < kv_get_u64(m->walk[least].entry + 4)) {
			least = i;
		}
	}
	*cursor = kv_get_u64(m->walk[least].entry + 4);
	if ((r = walk_next(&m->walk[least])) == ERR_NOT_FOUND) {
		kv_cursor_close(m->walk[least].c);
		m->walk[least] = m->walk[--m->n];
		r = 0;
	}
	return r;
}

int db_index_list(struct db *db, struct kv_txn *t, uint32_t mailbox, uint64_t after,
                  uint64_t *cursors, size_t cap)
{
	struct merged *m;
	size_t n = 0;
	int r;

	if (after == UINT64_MAX || cap == 0) {
		return 0;
	}
	if ((m = malloc(sizeof *m)) == NULL) {
		return ERR_NOMEM;
	}
	r = merged_open(db, t, mailbox, after + 1, m);
	while (r == 0 && n < cap && (r = merged_next(m, &cursors[n])) == 0) {
		n++;
	}
	for (size_t i = 0; i < m->n; i++) {
		kv_cursor_close(m->walk[i].c);
	}
	free(m);
	return r != 0 && r != ERR_NOT_FOUND ? r : (int)n;
}

/* --- changing -------------------------------------------------------------------------------- */

/* Takes the walk's entry out of its value. Ends the walk. */
static int cut_out(struct db *db, struct kv_txn *t, struct walk *w)
{
	uint8_t key[INDEX_KEY_SIZE], rest[INDEX_CHUNK * INDEX_ENTRY_SIZE];
	size_t before = w->at - INDEX_ENTRY_SIZE, n = w->value.n - INDEX_ENTRY_SIZE;

	memcpy(key, w->key.p, sizeof key); /* views end with the next write */
	memcpy(rest, w->value.p, before);
	memcpy(rest + before, w->value.p + w->at, n - before);
	kv_cursor_close(w->c);
	if (n == 0) {
		return kv_delete(t, db->table[TABLE_INDEX], span_of(key, sizeof key));
	}
	return kv_put(t, db->table[TABLE_INDEX], span_of(key, sizeof key), span_of(rest, n));
}

static int remove_from(struct db *db, struct kv_txn *t, uint32_t run, uint32_t mailbox,
                       uint64_t cursor)
{
	struct walk w;
	int r = walk_open(db, t, run, mailbox, cursor, &w);

	if (r != 0) {
		return r;
	}
	if ((r = walk_next(&w)) == 0 && kv_get_u64(w.entry + 4) == cursor) {
		return cut_out(db, t, &w);
	}
	kv_cursor_close(w.c);
	return r == 0 ? ERR_NOT_FOUND : r;
}

int db_index_remove(struct db *db, struct kv_txn *t, uint32_t mailbox, uint64_t cursor)
{
	struct index_runs runs;
	int r = db_index_runs_get(db, t, &runs);

	if (r == 0) {
		r = remove_from(db, t, INDEX_RECENT, mailbox, cursor);
	}
	for (size_t i = 0; r == ERR_NOT_FOUND && i < runs.n; i++) {
		if (runs.run[i].first <= cursor && cursor <= runs.run[i].last) {
			r = remove_from(db, t, runs.run[i].number, mailbox, cursor);
		}
	}
	return r;
}

/* What the recent entries are, and their last value. */
struct recent {
	size_t chunks, entries;
	uint8_t key[INDEX_KEY_SIZE];
	size_t n; /* octets of LAST */
	uint8_t last[INDEX_CHUNK * INDEX_ENTRY_SIZE];
};

static int recent_look(struct db *db, struct kv_txn *t, struct recent *out)
{
	struct walk w = { .run = INDEX_RECENT };
	struct span key, last = { 0 };
	int r = kv_cursor_open(t, db->table[TABLE_INDEX], &w.c);

	out->chunks = out->entries = out->n = 0;
	if (r != 0) {
		return r;
	}
	for (r = take_chunk(&w, seek_chunk(&w)); r == 0;
	     r = take_chunk(&w, kv_cursor_next(w.c, &w.key, &w.value))) {
		out->chunks++;
		out->entries += w.value.n / INDEX_ENTRY_SIZE;
		key = w.key;
		last = w.value;
	}
	kv_cursor_close(w.c);
	if (last.n > 0) {
		out->n = last.n;
		memcpy(out->key, key.p, sizeof out->key);
		memcpy(out->last, last.p, last.n);
	}
	return r == ERR_NOT_FOUND ? 0 : r;
}

int db_index_add(struct db *db, struct kv_txn *t, const struct index_entry *e, size_t n)
{
	const size_t full = (size_t)INDEX_RECENT_CHUNK * INDEX_ENTRY_SIZE;
	struct recent recent;
	int r = recent_look(db, t, &recent);

	if (r == 0 && recent.entries > 0 &&
	    (recent.entries + n > RECENT_ENTRIES || recent.chunks > RECENT_CHUNKS)) {
		r = db_merge_recent(db, t, recent.entries);
		recent.n = 0;
	}
	for (size_t i = 0; r == 0 && i < n;) {
		if (recent.n == 0 || recent.n >= full) {
			db_index_key(recent.key, INDEX_RECENT, 0, e[i].cursor);
			recent.n = 0;
		}
		for (; i < n && recent.n < full; i++, recent.n += INDEX_ENTRY_SIZE) {
			db_index_write(&e[i], recent.last + recent.n);
		}
		r = kv_put(t, db->table[TABLE_INDEX], span_of(recent.key, sizeof recent.key),
		           span_of(recent.last, recent.n));
	}
	return r;
}
