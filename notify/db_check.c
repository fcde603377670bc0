/*
 * Walks every table and tells what does not add up: records that cannot be read,
 * references that lead nowhere, an index that lacks something, counters that are wrong.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "notify/db_index.h"
#include "notify/db_internal.h"

struct check {
	struct db *db;
	struct kv_txn *t;
	void (*found)(void *ctx, const char *line);
	void *ctx;
	int n;
};

static void say(struct check *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(struct check *c, const char *format, ...)
{
	char line[512];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof line, format, args);
	va_end(args);
	c->found(c->ctx, line);
	c->n++;
}

typedef int check_each(void *ctx, struct span key, struct span value);

/* Calls EACH for every entry of TABLE, until it answers an error. */
static int walk(struct check *c, enum db_table table, check_each *each, void *ctx)
{
	struct span key, value;
	struct kv_cursor *cursor;
	int r = kv_cursor_open(c->t, c->db->table[table], &cursor);

	if (r != 0) {
		return r;
	}
	for (r = kv_cursor_first(cursor, &key, &value); r == 0;
	     r = kv_cursor_next(cursor, &key, &value)) {
		if ((r = each(ctx, key, value)) != 0) {
			break;
		}
	}
	kv_cursor_close(cursor);
	return r == ERR_NOT_FOUND ? 0 : r;
}

static int check_mailbox(void *ctx, struct span key, struct span value)
{
	struct check *c = ctx;
	struct db_mailbox m;

	if (db_mailbox_parse(key, value, &m) != 0) {
		say(c, "mailbox \"%.*s\": the record cannot be read",
		    (int)(key.n < 254 ? key.n : 254), (const char *)key.p);
	}
	return 0;
}

static void check_announcement(struct check *c, struct span key, struct span value)
{
	struct wire_notification n;
	struct db_announcement a;

	if (db_announcement_parse(key, value, &a) != 0 ||
	    wire_notification_decode(a.der, &n) != 0) {
		say(c, "announcement %llu: the record cannot be read",
		    (unsigned long long)kv_get_u64(key.p));
	} else if (a.notices == 0) {
		say(c, "announcement %llu: no notification refers to it",
		    (unsigned long long)a.number);
	}
}

static void check_piece(struct check *c, struct span key, struct span value)
{
	struct db_announcement a;
	uint8_t due[DUE_KEY_SIZE];
	struct log_entry e;
	struct log_piece p;
	struct span none;
	size_t left = 0;

	if (db_log_parse_piece(key, value, &p) != 0) {
		say(c, "notifications from %llu on: the record cannot be read",
		    (unsigned long long)kv_get_u64(key.p));
		return;
	}
	for (size_t i = 0; i < p.n; i++) {
		db_log_entry(&p, i, &e);
		left += e.mailbox != 0;
	}
	if (left == 0) {
		say(c, "notifications from %llu on: all are forgotten",
		    (unsigned long long)p.first);
	}
	db_log_due_key(due, p.expires_us, p.first);
	if (kv_get(c->t, c->db->table[TABLE_DUE], span_of(due, sizeof due), &none) != 0) {
		say(c, "notifications from %llu on: they have no expiry",
		    (unsigned long long)p.first);
	}
	if (db_announcement_get(c->db, c->t, p.announcement, &a) != 0) {
		say(c, "notifications from %llu on: their announcement %llu is not there",
		    (unsigned long long)p.first, (unsigned long long)p.announcement);
	}
}

static int check_log(void *ctx, struct span key, struct span value)
{
	struct check *c = ctx;

	if (key.n == LOG_KEY_SIZE && key.p[8] == LOG_ANNOUNCEMENT) {
		check_announcement(c, key, value);
	} else if (key.n == LOG_KEY_SIZE && key.p[8] == LOG_PIECE) {
		check_piece(c, key, value);
	} else {
		say(c, "log table: a key of no kind");
	}
	return 0;
}

static int check_due(void *ctx, struct span key, struct span value)
{
	struct check *c = ctx;
	struct log_piece p;

	(void)value;
	if (key.n != DUE_KEY_SIZE ||
	    db_log_get_piece(c->db, c->t, kv_get_u64(key.p + 8), &p) != 0 ||
	    p.expires_us != kv_get_u64(key.p)) {
		say(c, "due table: an entry leads to nothing");
	}
	return 0;
}

static int check_rule(void *ctx, struct span key, struct span value)
{
	struct check *c = ctx;
	struct db_rule rule;

	if (db_rule_parse(key, value, &rule) != 0) {
		say(c, "policy table: a value of mailbox number %u cannot be read",
		    key.n >= 4 ? kv_get_u32(key.p) : 0);
	}
	return 0;
}

static int check_alias(void *ctx, struct span key, struct span value)
{
	struct check *c = ctx;
	char line[512];

	if (db_alias_judge(c->db, c->t, key, value, line, sizeof line) != 0) {
		say(c, "%s", line);
	}
	return 0;
}

/* --- sums: what notices refer to, and what refers to them ------------------------------------- */

/* Numbers that can be counted once they are sorted. */
struct tally {
	uint64_t *numbers;
	size_t n, cap;
};

static int tally_add(struct tally *t, uint64_t number)
{
	if (t->n == t->cap) {
		size_t cap = t->cap == 0 ? 1024 : t->cap * 2;
		uint64_t *p = realloc(t->numbers, cap * sizeof *p);

		if (p == NULL) {
			return ERR_NOMEM;
		}
		t->numbers = p;
		t->cap = cap;
	}
	t->numbers[t->n++] = number;
	return 0;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void tally_sort(struct tally *t)
{
	if (t->n > 0) {
		qsort(t->numbers, t->n, sizeof t->numbers[0], compare);
	}
}

/* How many of the numbers are below NUMBER. */
static size_t tally_below(const struct tally *t, uint64_t number)
{
	size_t from = 0, to = t->n;

	while (from < to) {
		size_t middle = from + (to - from) / 2;

		if (t->numbers[middle] < number) {
			from = middle + 1;
		} else {
			to = middle;
		}
	}
	return from;
}

static size_t tally_count(const struct tally *t, uint64_t number)
{
	return tally_below(t, number + 1) - tally_below(t, number);
}

struct sums {
	struct check *c;
	struct tally mailboxes;     /* numbers of the mailbox table */
	struct tally announcements; /* of each notice */
	struct tally cursors;       /* of each entry of the index */
	uint64_t notices;           /* of the log */
	uint64_t last_cursor, last_mailbox;
	/* Of the index: the directory, and the run and the entry that came before. */
	struct index_runs runs;
	uint32_t run;
	uint8_t before[INDEX_ENTRY_SIZE];
};

static uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static int sums_mailbox(void *ctx, struct span key, struct span value)
{
	struct sums *s = ctx;
	struct db_mailbox m;

	if (db_mailbox_parse(key, value, &m) != 0) {
		return 0; /* told already */
	}
	s->last_mailbox = larger(s->last_mailbox, m.number);
	return tally_add(&s->mailboxes, m.number);
}

/* A notice of the log against the sums. */
static int judge_notice(struct sums *s, const struct log_piece *p, size_t i)
{
	uint64_t cursor = p->first + i;
	struct log_entry e;
	size_t there;

	db_log_entry(p, i, &e);
	s->last_cursor = larger(s->last_cursor, cursor);
	if (e.mailbox == 0) {
		return 0;
	}
	s->notices++;
	if (tally_count(&s->mailboxes, e.mailbox) == 0) {
		say(s->c, "notification %llu: there is no mailbox number %u",
		    (unsigned long long)cursor, e.mailbox);
	}
	if ((there = tally_count(&s->cursors, cursor)) != 1) {
		say(s->c, "notification %llu: the index has it %zu times",
		    (unsigned long long)cursor, there);
	}
	return tally_add(&s->announcements, p->announcement);
}

static int judge_piece(void *ctx, struct span key, struct span value)
{
	struct sums *s = ctx;
	struct log_piece p;
	int r = 0;

	if (db_log_parse_piece(key, value, &p) != 0) {
		return 0; /* an announcement, or told already */
	}
	for (size_t i = 0; i < p.n && r == 0; i++) {
		r = judge_notice(s, &p, i);
	}
	return r;
}

static int judge_announcement(void *ctx, struct span key, struct span value)
{
	struct sums *s = ctx;
	struct db_announcement a;
	size_t there;

	if (db_announcement_parse(key, value, &a) != 0) {
		return 0;
	}
	s->last_cursor = larger(s->last_cursor, a.number); /* they are numbered alike */
	there = tally_count(&s->announcements, a.number);
	if (a.notices != there) {
		say(s->c, "announcement %llu: %u references are counted, %zu are there",
		    (unsigned long long)a.number, a.notices, there);
	}
	return 0;
}

/* --- the index -------------------------------------------------------------------------------- */

/* Whether a run has, by the directory, entries of CURSOR. */
static bool in_run(const struct sums *s, uint32_t run, uint64_t cursor)
{
	for (size_t i = 0; i < s->runs.n; i++) {
		const struct index_run *r = &s->runs.run[i];

		if (r->number == run) {
			return r->first <= cursor && cursor <= r->last;
		}
	}
	return run == INDEX_RECENT;
}

/* An entry of the index against its notice. */
static void judge_entry(struct sums *s, const struct index_entry *e)
{
	uint8_t origin[INDEX_ORIGIN];
	struct db_announcement a;
	struct db_notice n;

	if (db_notice_get(s->c->db, s->c->t, e->mailbox, e->cursor, &n) != 0) {
		say(s->c, "index table: an entry of mailbox number %u leads to nothing",
		    e->mailbox);
		return;
	}
	if (db_announcement_get(s->c->db, s->c->t, n.announcement, &a) != 0) {
		return; /* told already */
	}
	db_index_origin(a.origin, origin);
	if (memcmp(e->id, n.id, INDEX_ID) != 0 || memcmp(e->origin, origin, INDEX_ORIGIN) != 0) {
		say(s->c, "notification %llu: the index has another's id or origin",
		    (unsigned long long)e->cursor);
	}
}

/* In a run entries rise by mailbox and cursor, among the recent ones by cursor. */
static bool rises(const struct sums *s, const uint8_t *entry)
{
	return s->run == INDEX_RECENT ? memcmp(s->before + 4, entry + 4, 8) < 0
	                              : memcmp(s->before, entry, 12) < 0;
}

static int judge_chunk(void *ctx, struct span key, struct span value)
{
	struct sums *s = ctx;
	struct index_entry e;
	uint32_t run;
	int r = 0;

	if (key.n == 4) {
		return 0; /* the directory */
	}
	if (db_index_parse(key, value, &run) != 0) {
		say(s->c, "index table: a record cannot be read");
		return 0;
	}
	if (run != s->run) {
		s->run = run;
		memset(s->before, 0, sizeof s->before);
	}
	for (const uint8_t *p = value.p; p < value.p + value.n && r == 0; p += INDEX_ENTRY_SIZE) {
		db_index_read(p, &e);
		if (!rises(s, p) || !in_run(s, run, e.cursor) ||
		    (p == value.p && run != INDEX_RECENT &&
		     memcmp(key.p + 4, p, 12) > 0)) {
			say(s->c, "notification %llu: the index has it in a wrong place",
			    (unsigned long long)e.cursor);
		}
		memcpy(s->before, p, sizeof s->before);
		judge_entry(s, &e);
		r = tally_add(&s->cursors, e.cursor);
	}
	return r;
}

/* An owner of the policy's tables is the operator or a mailbox. */
static int judge_rule(void *ctx, struct span key, struct span value)
{
	struct sums *s = ctx;

	(void)value;
	if (key.n >= 4 && kv_get_u32(key.p) != DB_OPERATOR &&
	    tally_count(&s->mailboxes, kv_get_u32(key.p)) == 0) {
		say(s->c, "policy table: there is no mailbox number %u", kv_get_u32(key.p));
	}
	return 0;
}

/* The last number given must not be below one that is there. */
static void judge_last(struct check *c, const char *key, uint64_t last)
{
	uint64_t given;

	if (db_meta_get(c->db, c->t, key, &given) != 0 || given < last) {
		say(c, "meta table: \"%s\" is below a number that was given", key);
	}
}

static void judge_meta(const struct sums *s)
{
	uint64_t counted;

	judge_last(s->c, "mailbox", s->last_mailbox);
	judge_last(s->c, "cursor", s->last_cursor);
	if (db_meta_get(s->c->db, s->c->t, "notices", &counted) != 0 || counted != s->notices) {
		say(s->c, "meta table: %llu notifications are counted, %llu are there",
		    (unsigned long long)counted, (unsigned long long)s->notices);
	}
}

static int walk_sums(struct check *c, struct sums *s)
{
	int r;

	if (db_index_runs_get(c->db, c->t, &s->runs) != 0) {
		say(c, "index table: the directory cannot be read");
	}
	if ((r = walk(c, TABLE_MAILBOX, sums_mailbox, s)) != 0 ||
	    (r = walk(c, TABLE_INDEX, judge_chunk, s)) != 0) {
		return r;
	}
	tally_sort(&s->mailboxes);
	tally_sort(&s->cursors);
	if ((r = walk(c, TABLE_LOG, judge_piece, s)) != 0) {
		return r;
	}
	tally_sort(&s->announcements);
	if ((r = walk(c, TABLE_LOG, judge_announcement, s)) != 0 ||
	    (r = walk(c, TABLE_POLICY, judge_rule, s)) != 0) {
		return r;
	}
	judge_meta(s);
	return 0;
}

static int check_sums(struct check *c)
{
	struct sums *s = calloc(1, sizeof *s);
	int r;

	if (s == NULL) {
		return ERR_NOMEM;
	}
	s->c = c;
	r = walk_sums(c, s);
	free(s->mailboxes.numbers);
	free(s->announcements.numbers);
	free(s->cursors.numbers);
	free(s);
	return r;
}

int db_check(struct db *db, void (*found)(void *ctx, const char *line), void *ctx)
{
	struct check c = { .db = db, .found = found, .ctx = ctx };
	int r;

	if ((c.t = db_read_begin(db)) == NULL) {
		return ERR_NOMEM;
	}
	if ((r = walk(&c, TABLE_MAILBOX, check_mailbox, &c)) == 0 &&
	    (r = walk(&c, TABLE_LOG, check_log, &c)) == 0 &&
	    (r = walk(&c, TABLE_DUE, check_due, &c)) == 0 &&
	    (r = walk(&c, TABLE_POLICY, check_rule, &c)) == 0 &&
	    (r = walk(&c, TABLE_ALIAS, check_alias, &c)) == 0) {
		r = check_sums(&c);
	}
	db_read_end(c.t);
	return r != 0 ? r : c.n;
}
