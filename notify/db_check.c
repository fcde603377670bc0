/*
 * Walks every table and tells what does not add up: records that cannot be read,
 * references that lead nowhere, counters that are wrong.
 */
#include <stdio.h>
#include <stdlib.h>

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

/* Calls EACH for every entry of TABLE. */
static int walk(struct check *c, enum db_table table,
                int (*each)(struct check *c, struct span key, struct span value))
{
	struct span key, value;
	struct kv_cursor *cursor;
	int r = kv_cursor_open(c->t, c->db->table[table], &cursor);

	if (r != 0) {
		return r;
	}
	for (r = kv_cursor_first(cursor, &key, &value); r == 0;
	     r = kv_cursor_next(cursor, &key, &value)) {
		if ((r = each(c, key, value)) != 0) {
			break;
		}
	}
	kv_cursor_close(cursor);
	return r == ERR_NOT_FOUND ? 0 : r;
}

static int check_mailbox(struct check *c, struct span key, struct span value)
{
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

/* How many notices refer to an announcement is counted in one walk over the notice table. */
static int check_announcement(struct check *c, struct span key, struct span value)
{
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

static int check_notice(struct check *c, struct span key, struct span value)
{
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

static int check_expiry(struct check *c, struct span key, struct span value)
{
	struct db_notice n;

	(void)value;
	if (key.n != EXPIRY_KEY_SIZE ||
	    db_notice_get(c->db, c->t, kv_get_u32(key.p + 8), kv_get_u64(key.p + 12), &n) != 0 ||
	    n.expires_us != kv_get_u64(key.p)) {
		say(c, "expiry table: an entry leads to nothing");
	}
	return 0;
}

/* --- sums over the notice table: references of announcements, notices of origins ----------------
 */

struct tally {
	uint64_t *numbers; /* announcement of each notice, sorted */
	size_t n, cap;
};

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

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

static int collect(struct check *c, struct tally *tally)
{
	struct span key, value;
	struct kv_cursor *cursor;
	struct db_notice n;
	int r = kv_cursor_open(c->t, c->db->table[TABLE_NOTICE], &cursor);

	if (r != 0) {
		return r;
	}
	for (r = kv_cursor_first(cursor, &key, &value); r == 0;
	     r = kv_cursor_next(cursor, &key, &value)) {
		if (db_notice_parse(key, value, &n) == 0 &&
		    (r = tally_add(tally, n.announcement)) != 0) {
			break;
		}
	}
	kv_cursor_close(cursor);
	return r == ERR_NOT_FOUND ? 0 : r;
}

static int check_references(struct check *c)
{
	struct tally tally = { 0 };
	struct db_announcement a;
	int r = collect(c, &tally);

	if (tally.n > 0) {
		qsort(tally.numbers, tally.n, sizeof tally.numbers[0], compare);
	}
	for (size_t i = 0, j; r == 0 && i < tally.n; i = j) {
		for (j = i; j < tally.n && tally.numbers[j] == tally.numbers[i]; j++) {
		}
		if (db_announcement_get(c->db, c->t, tally.numbers[i], &a) == 0 &&
		    a.notices != j - i) {
			say(c, "announcement %llu: %u references are counted, %zu are there",
			    (unsigned long long)a.number, a.notices, j - i);
		}
	}
	free(tally.numbers);
	return r;
}

int db_check(struct db *db, void (*found)(void *ctx, const char *line), void *ctx)
{
	struct check c = { .db = db, .found = found, .ctx = ctx };
	int r;

	if ((c.t = db_read_begin(db)) == NULL) {
		return ERR_NOMEM;
	}
	if ((r = walk(&c, TABLE_MAILBOX, check_mailbox)) == 0 &&
	    (r = walk(&c, TABLE_ANNOUNCEMENT, check_announcement)) == 0 &&
	    (r = walk(&c, TABLE_NOTICE, check_notice)) == 0 &&
	    (r = walk(&c, TABLE_EXPIRY, check_expiry)) == 0) {
		r = check_references(&c);
	}
	db_read_end(c.t);
	return r != 0 ? r : c.n;
}
