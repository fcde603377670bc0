/*
 * A database is brought up to date: what happens with each number that it may have; steps of
 * many transactions that are cut off between two of them, by an error and by a crash, and go on
 * where they were; nobody's work is done under a daemon that runs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/claim.h"
#include "session/migrate.h"
#include "tests/unit/kvtest.h"
#include "tests/unit/tempdir.h"

#define ROWS 50
#define PIECE 8 /* rows that a step changes in one transaction */

/* T_ONE is the table of numbers, T_TWO has ROWS rows; the step of schema N appends octet N to each.
 */
struct work {
	struct kvtest *f;
	unsigned pieces; /* how many transactions the steps took */
	unsigned stop;   /* at the beginning of which piece STOP_WITH comes; 0: of none */
	int stop_with;   /* an error; 0: the process ends */
};

static int change_rows(struct work *w, struct kv_txn *t, uint8_t mark, struct migrate_place *place)
{
	uint32_t first = place->n == 0 ? 0 : kv_get_u32(place->octets), i;

	if (++w->pieces == w->stop) {
		if (w->stop_with == 0)
			_exit(7);
		return w->stop_with;
	}
	for (i = first; i < ROWS && i < first + PIECE; i++) {
		uint8_t key[4], record[16];
		struct span value;

		kv_put_u32(key, i);
		assert_int_equal(kv_get(t, w->f->t[T_TWO], span_of(key, 4), &value), 0);
		assert_true(value.n < sizeof record);
		memcpy(record, value.p, value.n);
		record[value.n] = mark;
		assert_int_equal(kv_put(t, w->f->t[T_TWO], span_of(key, 4),
		                        span_of(record, value.n + 1)),
		                 0);
	}
	place->n = 4;
	kv_put_u32(place->octets, i);
	return i < ROWS ? ERR_AGAIN : 0;
}

static int from_two(void *ctx, struct kv_txn *t, struct migrate_place *place)
{
	return change_rows(ctx, t, 2, place);
}

static int from_four(void *ctx, struct kv_txn *t, struct migrate_place *place)
{
	return change_rows(ctx, t, 4, place);
}

static const struct migrate_step steps[] = {
	{ 2, from_two },
	{ 3, NULL },
	{ 4, from_four },
};

static const uint8_t lead[] = { 1, 0, 0 };

static struct migrate_options options_for(struct work *w)
{
	return (struct migrate_options) {
		.program = "im2000-toy",
		.dir = w->f->dir,
		.file = "x.mdb",
		.claim = "x.running",
		.kv = w->f->kv,
		.meta = w->f->t[T_ONE],
		.lead = span_of(lead, sizeof lead),
		.schema = 5,
		.steps = steps,
		.n_steps = COUNT(steps),
		.ctx = w,
	};
}

/* The record as the options say; FIRST stands for its first octet. */
static void put_schema(struct kvtest *f, uint8_t first, unsigned schema)
{
	struct kv_txn *t = kvtest_write(f->kv);
	uint8_t record[7] = { first };

	kv_put_u32(record + 3, schema);
	assert_int_equal(kv_put(t, f->t[T_ONE], span_str("schema"), span_of(record, 7)), 0);
	assert_int_equal(kv_write_commit(t), 0);
}

static void put_rows(struct kvtest *f)
{
	struct kv_txn *t = kvtest_write(f->kv);

	for (uint32_t i = 0; i < ROWS; i++) {
		uint8_t key[4];

		kv_put_u32(key, i);
		assert_int_equal(kv_put(t, f->t[T_TWO], span_of(key, 4), span_str("r")), 0);
	}
	assert_int_equal(kv_write_commit(t), 0);
}

/* The schema's number; 0: none. STEPPING: whether a step is under way. */
static unsigned schema_now(struct kvtest *f, bool *stepping)
{
	struct kv_txn *t = kvtest_read(f->kv);
	struct span value;
	unsigned schema = 0;

	if (kv_get(t, f->t[T_ONE], span_str("schema"), &value) == 0) {
		assert_int_equal(value.n, 7);
		schema = kv_get_u32(value.p + 3);
	}
	*stepping = kv_get(t, f->t[T_ONE], span_str("schema-step"), &value) == 0;
	kv_read_end(t);
	return schema;
}

/* Schema 5, and each row has gone through every step from FROM on once. */
static void expect_done(struct kvtest *f, unsigned from)
{
	const char *want = from <= 2 ? "r\2\4" : "r\4";
	struct kv_txn *t;
	bool stepping;

	assert_int_equal(schema_now(f, &stepping), 5);
	assert_false(stepping);
	t = kvtest_read(f->kv);
	assert_int_equal(kv_count(t, f->t[T_TWO]), ROWS);
	for (uint32_t i = 0; i < ROWS; i++) {
		struct span value;
		uint8_t key[4];

		kv_put_u32(key, i);
		assert_int_equal(kv_get(t, f->t[T_TWO], span_of(key, 4), &value), 0);
		if (!span_eq_str(value, want))
			fail_msg("row %u has %zu octets", i, value.n);
	}
	kv_read_end(t);
}

/* What a database says of itself, and what comes of it. */
static void test_numbers(void **state)
{
	static const struct {
		uint8_t first;
		unsigned schema; /* 0: there is no record */
		bool create;
		int result;
		const char *said;
	} cases[] = {
		{ 0, 0, false, ERR_MALFORMED, "x.mdb is no database of im2000-toy" },
		{ 0, 0, true, 0, "" },
		{ 1, 5, false, 0, "" },
		{ 1, 5, true, 0, "" },
		{ 1, 6, false, ERR_UNSUPPORTED,
		  "x.mdb was made by a newer im2000-toy (schema 6, this program knows 5)" },
		{ 1, 6, true, ERR_UNSUPPORTED, "was made by a newer im2000-toy" },
		{ 1, UINT32_MAX, false, ERR_UNSUPPORTED, "was made by a newer im2000-toy" },
		{ 1, 1, false, ERR_UNSUPPORTED, "x.mdb has schema 1, which this im2000-toy cannot" },
		{ 2, 5, false, ERR_MALFORMED, "the number of its schema cannot be read" },
		{ 1, 0x80000000, false, ERR_UNSUPPORTED, "newer" },
	};
	struct kvtest *f = *state;

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct work w = { .f = f };
		struct migrate_options o = options_for(&w);
		struct err_text e = { "" };
		bool stepping;
		int rc;

		if (cases[i].schema != 0)
			put_schema(f, cases[i].first, cases[i].schema);
		o.create = cases[i].create;
		rc = migrate_run(&o, &e);
		if (rc != cases[i].result || strstr(e.text, cases[i].said) == NULL)
			fail_msg("case %zu: %d, \"%s\"", i, rc, e.text);
		assert_int_equal(w.pieces, 0);
		/* Who refuses changes nothing. */
		if (cases[i].first == 1)
			assert_int_equal(schema_now(f, &stepping), cases[i].schema);
	}
}

/* A number of another size, none at all, and a place that is too long: a line, not a crash. */
static void test_bad_records(void **state)
{
	static const struct {
		const char *key;
		size_t octets;
	} cases[] = {
		{ "schema", 0 }, { "schema", 6 }, { "schema", 8 },
		{ "schema-step", MIGRATE_PLACE_MAX + 1 },
	};
	static const uint8_t zeros[MIGRATE_PLACE_MAX + 1];
	struct kvtest *f = *state;

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct work w = { .f = f };
		struct migrate_options o = options_for(&w);
		struct err_text e = { "" };
		struct kv_txn *t;

		put_schema(f, 1, 4);
		t = kvtest_write(f->kv);
		assert_int_equal(kv_put(t, f->t[T_ONE], span_str(cases[i].key),
		                        span_of(zeros, cases[i].octets)),
		                 0);
		assert_int_equal(kv_write_commit(t), 0);
		assert_int_equal(migrate_run(&o, &e), ERR_MALFORMED);
		assert_non_null(strstr(e.text, "restore a backup"));
		assert_int_equal(w.pieces, 0);
	}
}

static void test_steps(void **state)
{
	struct kvtest *f = *state;

	for (unsigned from = 2; from < 5; from++) {
		struct work w = { .f = f };
		struct migrate_options o = options_for(&w);

		put_schema(f, 1, from);
		put_rows(f);
		assert_int_equal(migrate_run(&o, NULL), 0);
		assert_int_equal(w.pieces, (from == 2 ? 2 : 1) * ((ROWS + PIECE - 1) / PIECE));
		expect_done(f, from);
		assert_int_equal(migrate_run(&o, NULL), 0);
		assert_int_equal(w.pieces, (from == 2 ? 2 : 1) * ((ROWS + PIECE - 1) / PIECE));
	}
}

/* Stopped at every piece, by an error: it says so, an older program refuses, and it goes on. */
static void test_stopped(void **state)
{
	const unsigned pieces = 2 * ((ROWS + PIECE - 1) / PIECE);
	struct kvtest *f = *state;

	for (unsigned stop = 1; stop <= pieces; stop++) {
		struct work w = { .f = f, .stop = stop, .stop_with = ERR_FULL };
		struct migrate_options o = options_for(&w), old = o;
		struct err_text e = { "" };
		bool stepping;
		unsigned now;

		put_schema(f, 1, 2);
		put_rows(f);
		assert_int_equal(migrate_run(&o, &e), ERR_FULL);
		assert_non_null(strstr(e.text, "x.mdb from schema "));
		assert_non_null(strstr(e.text, "goes on where it stopped"));
		now = schema_now(f, &stepping);
		assert_int_equal(now, stop == 1                ? 2
		                      : stop <= pieces / 2     ? 3
		                      : stop == pieces / 2 + 1 ? 4
		                                               : 5);
		assert_int_equal(stepping, stop != 1 && stop != pieces / 2 + 1);
		old.schema = 2;
		assert_int_equal(migrate_run(&old, &e), stop == 1 ? 0 : ERR_UNSUPPORTED);

		w.stop = 0;
		w.pieces = 0;
		assert_int_equal(migrate_run(&o, &e), 0);
		assert_int_equal(w.pieces, pieces - stop + 1);
		expect_done(f, 2);
	}
}

/* The whole of the opening, in a process that ends in the middle of a transaction. */
static void crash(struct kvtest *f, int fd)
{
	struct work w = { .f = f, .stop = 5 };
	struct migrate_options o;

	(void)fd;
	f->kv = kvtest_child_open(f, &(struct kv_options){ .create = false });
	o = options_for(&w);
	(void)migrate_run(&o, NULL);
	CHECK(false);
}

static void test_crash(void **state)
{
	struct kvtest *f = *state;
	struct work w = { .f = f };
	struct migrate_options o;
	bool stepping;
	int fd, status;
	pid_t pid;

	put_schema(f, 1, 2);
	put_rows(f);
	pid = kvtest_child(f, crash, &fd);
	close(fd);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 7);
	f->kv = kvtest_open(f, &(struct kv_options){ .create = false });
	assert_int_equal(schema_now(f, &stepping), 3);
	assert_true(stepping);
	o = options_for(&w);
	assert_int_equal(migrate_run(&o, NULL), 0);
	assert_int_equal(w.pieces, 2 * ((ROWS + PIECE - 1) / PIECE) - 4);
	expect_done(f, 2);
}

/* An older daemon that runs would read what it does not know: nothing is done until it ends. */
static void test_claimed(void **state)
{
	struct kvtest *f = *state;
	struct work w = { .f = f };
	struct migrate_options o = options_for(&w);
	struct err_text e = { "" };
	struct claim *daemon;
	bool stepping;

	put_schema(f, 1, 4);
	put_rows(f);
	assert_int_equal(claim_take(f->dir, "x.running", &daemon, NULL), 0);
	assert_int_equal(migrate_run(&o, &e), ERR_EXISTS);
	assert_non_null(strstr(e.text, "x.mdb was made by an older im2000-toy"));
	assert_int_equal(schema_now(f, &stepping), 4);
	/* It holds the claim itself. */
	o.claimed = true;
	assert_int_equal(migrate_run(&o, NULL), 0);
	expect_done(f, 4);
	/* What is up to date can be opened while it runs. */
	o.claimed = false;
	assert_int_equal(migrate_run(&o, NULL), 0);
	claim_drop(daemon);
	/* And the claim was given back by who took it for the migration. */
	put_schema(f, 1, 3);
	put_rows(f);
	assert_int_equal(migrate_run(&o, NULL), 0);
	assert_int_equal(claim_take(f->dir, "x.running", &daemon, NULL), 0);
	claim_drop(daemon);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, kvtest_setup, kvtest_teardown)
		TEST(test_numbers), TEST(test_bad_records), TEST(test_steps),
		TEST(test_stopped), TEST(test_crash),       TEST(test_claimed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
