/*
 * Making runs of the index, and merging them. A merge takes the runs of one level (marked
 * `into`) and moves their entries, in order, to a new one (level 0 until it is whole), some at
 * a time. An entry is in one run before and after each step, so whoever looks at all runs sees
 * each once, and a merge that is cut off goes on where it was.
 */
#include <stdlib.h>
#include <string.h>

#include "notify/db_index.h"
#include "notify/db_internal.h"

#define MERGE_FAN 8        /* runs of one level that are merged */
#define MERGE_SOURCES 16   /* at most, when more have come together */
#define LEVEL_ENTRIES 4096 /* of a run of level 1; of the next MERGE_FAN times as many */
/*
 * Entries moved each time that the recent ones become a run. An entry is moved once for each
 * level, so this keeps up with eight levels (10^10 notices).
 */
#define STEP_ENTRIES 16384
#define ORDER_SIZE 12 /* octets of an entry that runs are in order of: mailbox, cursor */

uint8_t db_index_level(uint64_t entries)
{
	uint64_t most = LEVEL_ENTRIES;
	uint8_t level = 1;

	for (; entries > most && level < 16; level++) {
		most *= MERGE_FAN;
	}
	return level;
}

/* --- what is written: values of a run, full but for the last ---------------------------------- */

struct output {
	struct db *db;
	struct kv_txn *t;
	uint32_t run;
	size_t n;
	uint8_t octets[INDEX_CHUNK * INDEX_ENTRY_SIZE];
};

static int output_flush(struct output *o)
{
	uint8_t key[INDEX_KEY_SIZE];
	size_t n = o->n;

	if (n == 0) {
		return 0;
	}
	o->n = 0;
	db_index_key(key, o->run, kv_get_u32(o->octets), kv_get_u64(o->octets + 4));
	return kv_put(o->t, o->db->table[TABLE_INDEX], span_of(key, sizeof key),
	              span_of(o->octets, n));
}

static int output_add(struct output *o, const uint8_t *entry)
{
	memcpy(o->octets + o->n, entry, INDEX_ENTRY_SIZE);
	o->n += INDEX_ENTRY_SIZE;
	return o->n < sizeof o->octets ? 0 : output_flush(o);
}

/* --- what is read: the values of a run, from its beginning on --------------------------------- */

struct source {
	uint32_t run;
	size_t at, n; /* in OCTETS; n 0: the run is empty */
	uint8_t key[INDEX_KEY_SIZE];
	uint8_t octets[INDEX_CHUNK * INDEX_ENTRY_SIZE];
};

/* Takes the run's first value. */
static int source_load(struct db *db, struct kv_txn *t, struct source *s)
{
	struct span key, value;
	struct kv_cursor *c;
	uint32_t run;
	int r = kv_cursor_open(t, db->table[TABLE_INDEX], &c);

	if (r != 0) {
		return r;
	}
	db_index_key(s->key, s->run, 0, 0);
	r = kv_cursor_seek(c, span_of(s->key, sizeof s->key), &key, &value);
	kv_cursor_close(c);
	s->at = s->n = 0;
	if (r == 0) {
		r = db_index_parse(key, value, &run);
	}
	if (r != 0 || run != s->run) {
		return r == ERR_NOT_FOUND ? 0 : r;
	}
	memcpy(s->key, key.p, sizeof s->key);
	memcpy(s->octets, value.p, value.n);
	s->n = value.n;
	return 0;
}

/* Its value is used up: takes the next. */
static int source_drop(struct db *db, struct kv_txn *t, struct source *s)
{
	int r = kv_delete(t, db->table[TABLE_INDEX], span_of(s->key, sizeof s->key));

	return r != 0 ? r : source_load(db, t, s);
}

/* Puts back what was not taken of its value. */
static int source_keep(struct db *db, struct kv_txn *t, const struct source *s)
{
	uint8_t key[INDEX_KEY_SIZE];
	int r;

	if (s->at == 0) {
		return 0;
	}
	db_index_key(key, s->run, kv_get_u32(s->octets + s->at), kv_get_u64(s->octets + s->at + 4));
	r = kv_delete(t, db->table[TABLE_INDEX], span_of(s->key, sizeof s->key));
	return r != 0 ? r
	              : kv_put(t, db->table[TABLE_INDEX], span_of(key, sizeof key),
	                       span_of(s->octets + s->at, s->n - s->at));
}

/* --- merges ----------------------------------------------------------------------------------- */

/* Begins a merge of LEVEL when enough runs are of it and in no other. */
static void begin(struct index_runs *runs, uint8_t level)
{
	struct index_run *out = &runs->run[runs->n];
	size_t sources = 0;

	for (size_t i = 0; i < runs->n; i++) {
		sources += runs->run[i].level == level && runs->run[i].into == 0;
	}
	if (sources < MERGE_FAN || runs->n == INDEX_RUNS_MAX) {
		return;
	}
	*out = (struct index_run) { .number = ++runs->last, .first = UINT64_MAX };
	sources = 0;
	for (size_t i = 0; i < runs->n && sources < MERGE_SOURCES; i++) {
		struct index_run *run = &runs->run[i];

		if (run->level == level && run->into == 0) {
			run->into = out->number;
			out->first = run->first < out->first ? run->first : out->first;
			out->last = run->last > out->last ? run->last : out->last;
			sources++;
		}
	}
	runs->n++;
}

/* The smallest merge under way, so that many small runs do not wait for it. NULL: none. */
static struct index_run *choose(struct index_runs *runs)
{
	struct index_run *best = NULL;
	uint64_t least = UINT64_MAX;

	for (size_t i = 0; i < runs->n; i++) {
		uint64_t entries = 0;

		if (runs->run[i].level != 0) {
			continue;
		}
		for (size_t j = 0; j < runs->n; j++) {
			entries += runs->run[j].into == runs->run[i].number ? runs->run[j].entries
			                                                    : 0;
		}
		if (entries < least) {
			least = entries;
			best = &runs->run[i];
		}
	}
	return best;
}

/* A merge's sources are empty: its run takes their place. */
static void finish(struct index_runs *runs, struct index_run *out)
{
	uint32_t number = out->number;
	size_t n = 0;

	out->level = db_index_level(out->entries);
	for (size_t i = 0; i < runs->n; i++) {
		const struct index_run run = runs->run[i];

		if (run.into != number && (run.number != number || run.entries > 0)) {
			runs->run[n++] = run;
		}
	}
	runs->n = n;
}

struct merge {
	struct output out;
	size_t n;
	struct source source[MERGE_SOURCES];
};

static struct source *least_source(struct merge *m)
{
	struct source *least = NULL;

	for (size_t i = 0; i < m->n; i++) {
		struct source *s = &m->source[i];

		if (s->n > 0 && (least == NULL || memcmp(s->octets + s->at, least->octets + least->at,
		                                         ORDER_SIZE) < 0)) {
			least = s;
		}
	}
	return least;
}

/* Moves entries to OUT, BUDGET at most. *DONE: there are no more. */
static int move(struct db *db, struct kv_txn *t, struct merge *m, struct index_run *out,
                size_t *budget, bool *done)
{
	struct source *s;
	int r = 0;

	while (r == 0 && (s = least_source(m)) != NULL && *budget > 0) {
		if ((r = output_add(&m->out, s->octets + s->at)) != 0) {
			return r;
		}
		out->entries++;
		(*budget)--;
		s->at += INDEX_ENTRY_SIZE;
		if (s->at == s->n) {
			r = source_drop(db, t, s);
		}
	}
	*done = r == 0 && s == NULL;
	for (size_t i = 0; r == 0 && i < m->n; i++) {
		r = source_keep(db, t, &m->source[i]);
	}
	return r != 0 ? r : output_flush(&m->out);
}

static int step(struct db *db, struct kv_txn *t, struct index_runs *runs, struct index_run *out,
                size_t *budget)
{
	struct merge *m = calloc(1, sizeof *m);
	bool done = false;
	int r = m == NULL ? ERR_NOMEM : 0;

	for (size_t i = 0; r == 0 && i < runs->n; i++) {
		if (runs->run[i].into == out->number && m->n < MERGE_SOURCES) {
			m->source[m->n].run = runs->run[i].number;
			r = source_load(db, t, &m->source[m->n++]);
		}
	}
	if (r == 0) {
		m->out.db = db;
		m->out.t = t;
		m->out.run = out->number;
		r = move(db, t, m, out, budget, &done);
	}
	free(m);
	if (r == 0 && done) {
		finish(runs, out);
	}
	return r;
}

static int work(struct db *db, struct kv_txn *t, struct index_runs *runs)
{
	/* So many runs are there only when merges were begun that were never carried on. */
	size_t budget = runs->n < INDEX_RUNS_MAX / 2 ? STEP_ENTRIES : SIZE_MAX;
	struct index_run *out;
	int r = 0;

	while (r == 0 && budget > 0) {
		for (uint8_t level = 1; level <= db_index_level(UINT64_MAX); level++) {
			begin(runs, level);
		}
		if ((out = choose(runs)) == NULL) {
			break;
		}
		r = step(db, t, runs, out, &budget);
	}
	return r;
}

/* --- the recent entries become a run ---------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
	return memcmp(a, b, ORDER_SIZE);
}

/* Takes all recent entries out of the table, COUNT of them, to OCTETS. */
static int take_recent(struct db *db, struct kv_txn *t, uint8_t *octets, size_t count)
{
	struct source *s = calloc(1, sizeof *s);
	size_t n = 0;
	int r = ERR_NOMEM;

	if (s != NULL) {
		s->run = INDEX_RECENT;
		r = source_load(db, t, s);
	}
	while (r == 0 && s->n > 0) {
		if (n + s->n > count * INDEX_ENTRY_SIZE) {
			r = ERR_INTERNAL;
			break;
		}
		memcpy(octets + n, s->octets, s->n);
		n += s->n;
		r = source_drop(db, t, s);
	}
	free(s);
	return r == 0 && n != count * INDEX_ENTRY_SIZE ? ERR_INTERNAL : r;
}

static int make_run(struct db *db, struct kv_txn *t, const uint8_t *octets, size_t count,
                    struct index_runs *runs)
{
	struct output out = { .db = db, .t = t, .run = ++runs->last };
	struct index_run *run = &runs->run[runs->n++];
	int r = 0;

	*run = (struct index_run) {
		.number = runs->last,
		.level = db_index_level(count),
		.first = UINT64_MAX,
		.entries = count,
	};
	for (const uint8_t *p = octets; r == 0 && p < octets + count * INDEX_ENTRY_SIZE;
	     p += INDEX_ENTRY_SIZE) {
		uint64_t cursor = kv_get_u64(p + 4);

		run->first = cursor < run->first ? cursor : run->first;
		run->last = cursor > run->last ? cursor : run->last;
		r = output_add(&out, p);
	}
	return r != 0 ? r : output_flush(&out);
}

int db_merge_recent(struct db *db, struct kv_txn *t, size_t count)
{
	uint8_t *octets = malloc(count * INDEX_ENTRY_SIZE);
	struct index_runs runs;
	int r = octets == NULL ? ERR_NOMEM : db_index_runs_get(db, t, &runs);

	if (r == 0 && runs.n >= INDEX_RUNS_MAX - 1) {
		r = ERR_MALFORMED; /* merges keep them far below */
	}
	if (r == 0 && (r = take_recent(db, t, octets, count)) == 0) {
		qsort(octets, count, INDEX_ENTRY_SIZE, compare);
		r = make_run(db, t, octets, count, &runs);
	}
	free(octets);
	if (r == 0 && (r = work(db, t, &runs)) == 0) {
		r = db_index_runs_put(db, t, &runs);
	}
	return r;
}
