/* builds: plain asan */

/*
 * The check finds damage by hand to any table: of a store that was filled by submissions, each
 * record is taken away, each octet of each key is changed, a record is added to each table, and
 * each octet of the records is changed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "storerig.h"
#include "store/db_table.h"
#include "store/originator.h"

#define LARGE (DB_BLOCK + 100)
#define HEAD 40 /* octets of a block that are changed, and as many at its end */

static const char *const people[] = { "bob@b.example", "carl@c.example", NULL };

static struct rig r;
static struct buf b;

static void submit(int fd, struct msoap_submit_envelope *e, size_t n, bool whole)
{
	uint8_t *message = rig_message(n);
	struct msoap_response a;

	rig_envelope(&b, e, people);
	rig_chunk(&b, 0, span_of(message, n), whole);
	rig_flush(fd, &b);
	for (int i = 0; i < 2; i++) {
		rig_answer(&r, fd, &a);
		assert_int_equal(a.status, WIRE_STATUS_OK);
	}
	free(message);
}

/* A small message, a large one, a draft, one that is cut off, one whose octets wait to go. */
static int setup(void **state)
{
	struct msoap_submit_envelope plain = { .has_submission_id = true, .submission_id = "1" };
	struct msoap_submit_envelope draft = { .has_hold = true, .hold = true };
	struct msoap_submit_envelope cut = { .has_submission_id = true, .submission_id = "2" };
	struct db_message m;
	struct kv_txn *t;
	uint8_t id[16];
	int fd;

	(void)state;
	rig_start(&r, 0);
	buf_init(&b, 0);
	fd = rig_login(&r);
	submit(fd, &plain, LARGE, true);
	submit(fd, &draft, 300, true);
	rig_submit(&r, fd, people, span_str("A: b\r\n\r\nc"), id);
	submit(fd, &cut, 2 * DB_BLOCK + 10, false);
	close(fd);
	rig_wait_used(&r, LARGE + 300 + 9 + 2 * DB_BLOCK + 10);
	assert_int_equal(kv_write_begin(db_kv(r.service.db), &t), 0);
	assert_int_equal(rig_find(&r, t, id, &m), 0);
	m.state = DB_EXPIRED;
	m.freed = true;
	assert_int_equal(db_message_put(r.service.db, t, &m), 0);
	assert_int_equal(db_change_add(r.service.db, t, 1, 1, 0), 0);
	assert_int_equal(kv_write_commit(t), 0);
	rig_check(&r);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	buf_free(&b);
	rig_stop(&r);
	return 0;
}

/* --- records ------------------------------------------------------------------------------- */

struct entry {
	uint8_t key[DB_KEY_MAX], *value;
	size_t key_n, value_n;
};

#define ENTRIES 3 /* looked at of each table */

static size_t read_table(enum db_table table, struct entry *out)
{
	struct kv_txn *t = db_read_begin(r.service.db);
	struct span key, value;
	struct kv_cursor *c;
	size_t n = 0;
	int rc;

	assert_int_equal(kv_cursor_open(t, r.service.db->table[table], &c), 0);
	for (rc = kv_cursor_first(c, &key, &value); rc == 0 && n < ENTRIES;
	     rc = kv_cursor_next(c, &key, &value)) {
		memcpy(out[n].key, key.p, key.n);
		out[n].key_n = key.n;
		out[n].value = malloc(value.n + 1);
		memcpy(out[n].value, value.p, value.n);
		out[n++].value_n = value.n;
	}
	kv_cursor_close(c);
	db_read_end(t);
	return n;
}

/* VALUE of no octets: the record goes. */
static void put(enum db_table table, const uint8_t *key, size_t key_n, const uint8_t *value,
                size_t value_n)
{
	kv_table handle = r.service.db->table[table];
	struct kv_txn *t;

	assert_int_equal(kv_write_begin(db_kv(r.service.db), &t), 0);
	assert_int_equal(value_n == 0 ? kv_delete(t, handle, span_of(key, key_n))
	                              : kv_put(t, handle, span_of(key, key_n),
	                                       span_of(value, value_n)),
	                 0);
	assert_int_equal(kv_write_commit(t), 0);
}

static void hear(void *ctx, const char *line)
{
	(void)line;
	++*(int *)ctx;
}

static bool found(void)
{
	int lines = 0, n = db_check(r.service.db, hear, &lines);

	assert_true(n >= 0);
	assert_int_equal(n, lines);
	return n > 0;
}

static unsigned missed;

static void miss(const char *what, enum db_table table, size_t entry, size_t at)
{
	print_error("%s: %s of record %zu, octet %zu: not found\n", db_table_names[table], what,
	            entry, at);
	missed++;
}

/* --- damage -------------------------------------------------------------------------------- */

/* A store of before has no leaf hashes, nothing leads to a change, and a number that is not kept
 * is one. */
static bool untold_deletion(enum db_table table)
{
	return table == DB_LEAF || table == DB_CHANGE;
}

static void damage_entry(enum db_table table, struct entry *x, size_t i)
{
	uint8_t *copy = malloc(x->value_n + 1), key[DB_KEY_MAX];

	put(table, x->key, x->key_n, NULL, 0);
	if (!found() && !untold_deletion(table))
		miss("deletion", table, i, 0);
	put(table, x->key, x->key_n, x->value, x->value_n);
	for (size_t at = 0; at < x->key_n; at++) {
		memcpy(key, x->key, x->key_n);
		key[at] ^= 0x11;
		put(table, x->key, x->key_n, NULL, 0);
		put(table, key, x->key_n, x->value, x->value_n);
		if (!found())
			miss("key", table, i, at);
		put(table, key, x->key_n, NULL, 0);
		put(table, x->key, x->key_n, x->value, x->value_n);
	}
	for (size_t at = 0; at < x->value_n; at++) {
		if (at == HEAD && x->value_n > 2 * HEAD && table == DB_BLOCK_DATA)
			at = x->value_n - HEAD;
		memcpy(copy, x->value, x->value_n);
		copy[at] ^= 0x11;
		put(table, x->key, x->key_n, copy, x->value_n);
		if (!found())
			miss("value", table, i, at);
	}
	put(table, x->key, x->key_n, x->value, x->value_n);
	free(copy);
}

/* A record more, as the last one of the table under a key that is none of its own. */
static void add_entry(enum db_table table, const struct entry *x)
{
	uint8_t key[DB_KEY_MAX];

	memcpy(key, x->key, x->key_n);
	key[x->key_n] = 0;
	put(table, key, x->key_n + 1, x->value, x->value_n);
	if (!found())
		miss("addition", table, 0, 0);
	put(table, key, x->key_n + 1, NULL, 0);
}

static void test_each_octet(void **state)
{
	static struct entry entry[ENTRIES];

	(void)state;
	for (enum db_table table = 0; table < DB_TABLES; table++) {
		size_t n = read_table(table, entry);

		if (n == 0)
			fail_msg("nothing in %s", db_table_names[table]);
		add_entry(table, &entry[n - 1]);
		for (size_t i = 0; i < n; i++) {
			damage_entry(table, &entry[i], i);
			free(entry[i].value);
		}
	}
	assert_int_equal(missed, 0);
	rig_check(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_each_octet, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
