/*
 * Walks every table and tells what does not add up: records that cannot be read,
 * references that lead nowhere, counters that are wrong.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/sha.h>

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
	struct db_notice n;
	uint64_t after = 0;
	uint32_t counted = 0;

	if (db_mailbox_parse(key, value, &m) != 0) {
		say(c, "mailbox \"%.*s\": the record cannot be read",
		    (int)(key.n < 254 ? key.n : 254), (const char *)key.p);
		return 0;
	}
	if (db_notice_count(c->db, c->t, m.number, &m.kept) != 0) {
		say(c, "mailbox %s: its counter cannot be read", m.name.text);
		return 0;
	}
	while (db_notice_next(c->db, c->t, m.number, after, &n) == 0) {
		counted++;
		after = n.cursor;
	}
	if (counted != m.kept) {
		say(c, "mailbox %s: %u notifications are counted, %u are there", m.name.text,
		    m.kept, counted);
	}
	return 0;
}

static int check_announcement(void *ctx, struct span key, struct span value)
{
	struct check *c = ctx;
	struct wire_notification n;
	struct db_announcement a;

	if (db_announcement_parse(key, value, &a) != 0 ||
	    wire_notification_decode(a.der, &n) != 0) {
		say(c, "announcement %llu: the record cannot be read",
		    key.n == 8 ? (unsigned long long)kv_get_u64(key.p) : 0);
	} else if (a.notices == 0) {
		say(c, "announcement %llu: no notification refers to it",
		    (unsigned long long)a.number);
	}
	return 0;
}

static int check_notice_record(struct check *c, struct span key, struct span value)
{
	struct db_announcement a;
	uint8_t due[EXPIRY_KEY_SIZE];
	struct db_notice n, same;
	struct span none;

	if (db_notice_parse(key, value, &n) != 0) {
		say(c, "notification %llu: the record cannot be read",
		    key.n == NOTICE_KEY_SIZE ? (unsigned long long)kv_get_u64(key.p + PREFIX_SIZE)
		                             : 0);
		return 0;
	}
	kv_put_u64(due, n.expires_us);
	kv_put_u32(due + 8, n.mailbox);
	kv_put_u64(due + 12, n.cursor);
	if (kv_get(c->t, c->db->table[TABLE_EXPIRY], span_of(due, sizeof due), &none) != 0) {
		say(c, "notification %llu: it has no expiry", (unsigned long long)n.cursor);
	}
	if (db_announcement_get(c->db, c->t, n.announcement, &a) != 0) {
		say(c, "notification %llu: its announcement %llu is not there",
		    (unsigned long long)n.cursor, (unsigned long long)n.announcement);
	} else if (db_notice_find(c->db, c->t, n.mailbox, a.store, n.id, &same) != 0 ||
	           same.cursor != n.cursor) {
		say(c, "notification %llu: it is not found by its id",
		    (unsigned long long)n.cursor);
	}
	return 0;
}

static int check_notice(void *ctx, struct span key, struct span value)
{
	struct check *c = ctx;
	struct db_notice n;

	if (key.n < PREFIX_SIZE) {
		say(c, "notice table: a key of %zu octets", key.n);
		return 0;
	}
	switch (key.p[4]) {
	case KIND_NOTICE:
		return check_notice_record(c, key, value);
	case KIND_ID:
		if (value.n != 8 ||
		    db_notice_get(c->db, c->t, kv_get_u32(key.p), kv_get_u64(value.p), &n) != 0) {
			say(c, "notice table: an id of mailbox number %u leads to nothing",
			    kv_get_u32(key.p));
		}
		return 0;
	case KIND_COUNT:
	case KIND_ORIGIN:
		if (value.n != 4 || kv_get_u32(value.p) == 0) {
			say(c, "notice table: a counter of mailbox number %u cannot be right",
			    kv_get_u32(key.p));
		}
		return 0;
	default:
		say(c, "notice table: a key of unknown kind %u", key.p[4]);
		return 0;
	}
}

static int check_expiry(void *ctx, struct span key, struct span value)
{
	struct check *c = ctx;
	struct db_notice n;

	(void)value;
	if (key.n != EXPIRY_KEY_SIZE ||
	    db_notice_get(c->db, c->t, kv_get_u32(key.p + 8), kv_get_u64(key.p + 12), &n) != 0 ||
	    n.expires_us != kv_get_u64(key.p)) {
		say(c, "expiry table: an entry leads to nothing");
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

/* --- sums over the notice table: what notices refer to, and what counters say ---------------- */

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

/* One number for a mailbox and an origin, 64 bits of a hash but the last value. */
static uint64_t origin_number(uint32_t mailbox, struct span origin)
{
	uint8_t text[4 + NAME_DOMAIN_MAX], hash[SHA256_DIGEST_LENGTH];

	kv_put_u32(text, mailbox);
	memcpy(text + 4, origin.p, origin.n);
	SHA256(text, 4 + origin.n, hash);
	return kv_get_u64(hash) & (UINT64_MAX >> 1);
}

struct sums {
	struct check *c;
	struct tally mailboxes;     /* numbers of the mailbox table */
	struct tally announcements; /* of each notice */
	struct tally origins;       /* origin_number of each notice */
	size_t counted;             /* of the origins, by a counter */
	uint64_t last_cursor, last_announcement, last_mailbox;
};

static uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* Takes in an entry of the notice table. */
static int sums_notice(void *ctx, struct span key, struct span value)
{
	struct sums *s = ctx;
	struct db_announcement a;
	struct db_notice n;
	int r;

	if (db_notice_parse(key, value, &n) != 0) {
		return 0; /* another kind of entry, or told already */
	}
	s->last_cursor = larger(s->last_cursor, n.cursor);
	if ((r = tally_add(&s->announcements, n.announcement)) != 0) {
		return r;
	}
	if (db_announcement_get(s->c->db, s->c->t, n.announcement, &a) != 0) {
		return 0; /* told already */
	}
	return tally_add(&s->origins, origin_number(n.mailbox, a.origin));
}

static int sums_mailbox(void *ctx, struct span key, struct span value)
{
	struct sums *s = ctx;
	struct db_mailbox m;

	if (db_mailbox_parse(key, value, &m) != 0) {
		return 0;
	}
	s->last_mailbox = larger(s->last_mailbox, m.number);
	return tally_add(&s->mailboxes, m.number);
}

/* An entry of the notice table against the sums. */
static int judge_notice(void *ctx, struct span key, struct span value)
{
	struct sums *s = ctx;
	size_t there;

	if (key.n < PREFIX_SIZE) {
		return 0;
	}
	if (tally_count(&s->mailboxes, kv_get_u32(key.p)) == 0) {
		say(s->c, "notice table: there is no mailbox number %u", kv_get_u32(key.p));
	}
	if (key.p[4] == KIND_ORIGIN && value.n == 4 && key.n <= PREFIX_SIZE + NAME_DOMAIN_MAX) {
		there = tally_count(&s->origins, origin_number(kv_get_u32(key.p),
		                                               span_after(key, PREFIX_SIZE)));
		s->counted += there;
		if (there != kv_get_u32(value.p)) {
			say(s->c,
			    "mailbox number %u: %u notifications of one origin are counted, %zu are there",
			    kv_get_u32(key.p), kv_get_u32(value.p), there);
		}
	}
	return 0;
}

static int judge_announcement(void *ctx, struct span key, struct span value)
{
	struct sums *s = ctx;
	struct db_announcement a;
	size_t there;

	if (db_announcement_parse(key, value, &a) != 0) {
		return 0;
	}
	s->last_announcement = larger(s->last_announcement, a.number);
	there = tally_count(&s->announcements, a.number);
	if (a.notices != there) {
		say(s->c, "announcement %llu: %u references are counted, %zu are there",
		    (unsigned long long)a.number, a.notices, there);
	}
	return 0;
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
static void judge_meta(struct check *c, const char *key, uint64_t last)
{
	struct span value;
	int r = kv_get(c->t, c->db->table[TABLE_META], span_str(key), &value);

	if ((r != 0 && (r != ERR_NOT_FOUND || last > 0)) ||
	    (r == 0 && (value.n != 8 || kv_get_u64(value.p) < last))) {
		say(c, "meta table: \"%s\" is below a number that was given", key);
	}
}

static int check_sums(struct check *c)
{
	struct sums s = { .c = c };
	int r;

	if ((r = walk(c, TABLE_MAILBOX, sums_mailbox, &s)) == 0 &&
	    (r = walk(c, TABLE_NOTICE, sums_notice, &s)) == 0) {
		tally_sort(&s.mailboxes);
		tally_sort(&s.announcements);
		tally_sort(&s.origins);
		if ((r = walk(c, TABLE_NOTICE, judge_notice, &s)) == 0) {
			r = walk(c, TABLE_ANNOUNCEMENT, judge_announcement, &s);
		}
		if (r == 0) {
			r = walk(c, TABLE_POLICY, judge_rule, &s);
		}
	}
	if (r == 0) {
		if (s.counted != s.origins.n) {
			say(c, "notice table: %zu notifications are counted for no origin",
			    s.origins.n - s.counted);
		}
		judge_meta(c, "mailbox", s.last_mailbox);
		judge_meta(c, "announcement", s.last_announcement);
		judge_meta(c, "cursor", s.last_cursor);
	}
	free(s.mailboxes.numbers);
	free(s.announcements.numbers);
	free(s.origins.numbers);
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
	    (r = walk(&c, TABLE_ANNOUNCEMENT, check_announcement, &c)) == 0 &&
	    (r = walk(&c, TABLE_NOTICE, check_notice, &c)) == 0 &&
	    (r = walk(&c, TABLE_EXPIRY, check_expiry, &c)) == 0 &&
	    (r = walk(&c, TABLE_POLICY, check_rule, &c)) == 0 &&
	    (r = walk(&c, TABLE_ALIAS, check_alias, &c)) == 0) {
		r = check_sums(&c);
	}
	db_read_end(c.t);
	return r != 0 ? r : c.n;
}
