/*
 * The store's tables: what is put can be got, also after reopening; numbers are never given
 * twice.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "store/db.h"
#include "tests/unit/store_fixture.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void reopen(struct store_fixture *f)
{
	db_close(f->db);
	store_open(f);
}

/* --- opening --------------------------------------------------------------------------- */

static void test_open(void **state)
{
	struct store_fixture *f = *state;
	const struct db_options existing = { .create = false };
	const mode_t open_modes[] = { 0755, 0750, 0701, 0720 };
	struct err_text e;
	struct db *db;
	char path[4096];

	assert_int_equal(db_open("/nonexistent/store", &existing, &db, &e), ERR_NOT_FOUND);
	for (size_t i = 0; i < COUNT(open_modes); i++) {
		assert_int_equal(chmod(f->dir, open_modes[i]), 0);
		assert_int_equal(db_open(f->dir, &existing, &db, &e), ERR_DENIED);
		assert_non_null(strstr(e.text, "chmod 700"));
		assert_non_null(strstr(e.text, f->dir));
	}
	assert_int_equal(chmod(f->dir, 0700), 0);
	assert_int_equal(db_open(f->dir, &existing, &db, &e), 0);
	db_close(db);

	db_close(f->db);
	snprintf(path, sizeof path, "%s/store.mdb", f->dir);
	assert_int_equal(remove(path), 0);
	assert_int_equal(db_open(f->dir, &existing, &db, &e), ERR_NOT_FOUND);
	store_open(f);
	db_close(NULL);
	db_read_end(NULL);
}

/* --- accounts -------------------------------------------------------------------------- */

static void test_accounts(void **state)
{
	struct store_fixture *f = *state;
	struct kv_txn *t = store_write(f);
	struct db_account a = { .name = span_str("alice") }, b;
	const char senders[] = "alice@a.example\0@lists.a.example";
	uint32_t first;

	memset(a.hash.octets, 7, sizeof a.hash.octets);
	a.quota_octets = 1 << 20;
	a.created_us = 42;
	a.senders = span_of(senders, sizeof senders);
	assert_int_equal(db_account_put(f->db, t, &a), 0);
	first = a.number;
	assert_int_not_equal(first, 0);
	a.number = 0;
	assert_int_equal(db_account_put(f->db, t, &a), ERR_EXISTS);
	assert_int_equal(store_account(f, t, "zoe"), first + 1);
	assert_int_equal(store_account(f, t, "bob"), first + 2);
	store_commit(t);
	reopen(f);

	t = db_read_begin(f->db);
	assert_int_equal(db_account_find(f->db, t, span_str("alice"), &b), 0);
	assert_int_equal(b.number, first);
	assert_true(span_eq_str(b.name, "alice"));
	assert_memory_equal(b.hash.octets, a.hash.octets, sizeof a.hash.octets);
	assert_int_equal(b.quota_octets, 1 << 20);
	assert_int_equal(b.used_octets, 0);
	assert_int_equal(b.created_us, 42);
	assert_true(span_eq(b.senders, span_of(senders, sizeof senders)));
	assert_int_equal(db_account_by_number(f->db, t, first + 1, &b), 0);
	assert_true(span_eq_str(b.name, "zoe"));
	assert_int_equal(db_account_find(f->db, t, span_str("alic"), &b), ERR_NOT_FOUND);
	assert_int_equal(db_account_find(f->db, t, span_str(""), &b), ERR_NOT_FOUND);
	assert_int_equal(db_account_by_number(f->db, t, 99, &b), ERR_NOT_FOUND);
	assert_int_equal(db_account_next(f->db, t, span_str(""), &b), 0);
	assert_true(span_eq_str(b.name, "alice"));
	assert_int_equal(db_account_next(f->db, t, b.name, &b), 0);
	assert_true(span_eq_str(b.name, "bob"));
	assert_int_equal(db_account_next(f->db, t, span_str("bobby"), &b), 0);
	assert_true(span_eq_str(b.name, "zoe"));
	assert_int_equal(db_account_next(f->db, t, b.name, &b), ERR_NOT_FOUND);
	db_read_end(t);
}

static void test_account_change(void **state)
{
	struct store_fixture *f = *state;
	struct kv_txn *t = store_write(f);
	uint32_t number = store_account(f, t, "alice");
	struct db_account a, b = { .number = 77 };
	char name[DB_ACCOUNT_NAME_MAX + 1];
	static char senders[DB_ACCOUNT_SENDERS_MAX + 1];

	assert_int_equal(db_account_find(f->db, t, span_str("alice"), &a), 0);
	a.quota_octets = 5;
	a.senders = span_of("x@a.example", 12);
	assert_int_equal(db_account_put(f->db, t, &a), 0);
	assert_int_equal(db_account_find(f->db, t, span_str("alice"), &a), 0);
	assert_int_equal(a.quota_octets, 5);
	assert_true(span_eq(a.senders, span_of("x@a.example", 12)));
	assert_int_equal(db_account_put(f->db, t, &b), ERR_NOT_FOUND);

	memset(name, 'n', sizeof name);
	b = (struct db_account){ .name = span_of(name, sizeof name) };
	assert_int_equal(db_account_put(f->db, t, &b), ERR_TOO_BIG);
	b.name = span_of(name, DB_ACCOUNT_NAME_MAX);
	b.senders = span_of(senders, sizeof senders);
	assert_int_equal(db_account_put(f->db, t, &b), ERR_TOO_BIG);
	b.senders = span_of(senders, DB_ACCOUNT_SENDERS_MAX);
	assert_int_equal(db_account_put(f->db, t, &b), 0);
	b = (struct db_account){ .number = 0 };
	assert_int_equal(db_account_put(f->db, t, &b), ERR_MALFORMED);

	assert_int_equal(db_account_remove(f->db, t, span_str("alice")), 0);
	assert_int_equal(db_account_remove(f->db, t, span_str("alice")), ERR_NOT_FOUND);
	assert_int_equal(db_account_by_number(f->db, t, number, &a), ERR_NOT_FOUND);
	/* A removed account's number never leads to another one. */
	assert_true(store_account(f, t, "alice") > number + 1);
	store_commit(t);
}

/* --- deliveries and changes ------------------------------------------------------------ */

static void test_delivery(void **state)
{
	struct store_fixture *f = *state;
	struct kv_txn *t = store_write(f);
	char text[DB_TEXT_MAX + 40];
	struct db_delivery d = {
		.message = 7,
		.index = 3,
		.notification = 6,
		.read = 2,
		.withdrawn = true,
		.notified = true,
		.attempts = 300,
		.failures = 4,
		.changed_us = 5,
		.next_us = 6,
		.mailbox = span_str("bob@b.example"),
		.text = span_str("connection refused"),
	}, got;

	assert_int_equal(db_delivery_put(f->db, t, &d), 0);
	assert_int_equal(db_delivery_get(f->db, t, 7, 2, &got), ERR_NOT_FOUND);
	assert_int_equal(db_delivery_get(f->db, t, 7, 3, &got), 0);
	assert_int_equal(got.message, 7);
	assert_int_equal(got.index, 3);
	assert_int_equal(got.notification, 6);
	assert_int_equal(got.read, 2);
	assert_false(got.pinned);
	assert_true(got.withdrawn);
	assert_false(got.told_withdrawn);
	assert_true(got.notified);
	assert_int_equal(got.attempts, 300);
	assert_int_equal(got.failures, 4);
	assert_int_equal(got.changed_us, 5);
	assert_int_equal(got.next_us, 6);
	assert_true(span_eq(got.mailbox, d.mailbox));
	assert_true(span_eq(got.text, d.text));

	/* From the view of the same record, with other flags. */
	got.pinned = true;
	got.withdrawn = false;
	got.told_withdrawn = true;
	assert_int_equal(db_delivery_put(f->db, t, &got), 0);
	assert_int_equal(db_delivery_get(f->db, t, 7, 3, &got), 0);
	assert_true(got.pinned && got.told_withdrawn && !got.withdrawn);
	assert_true(span_eq(got.text, d.text));

	/* A long text is cut between characters: 199 octets, then one of two. */
	memset(text, 'a', sizeof text);
	memcpy(text + DB_TEXT_MAX - 1, "\xC3\xA9", 2);
	d.text = span_of(text, sizeof text);
	assert_int_equal(db_delivery_put(f->db, t, &d), 0);
	assert_int_equal(db_delivery_get(f->db, t, 7, 3, &got), 0);
	assert_int_equal(got.text.n, DB_TEXT_MAX - 1);
	store_commit(t);
}

static uint64_t now_us;
static uint64_t now(void)
{
	return now_us;
}

static void test_changes(void **state)
{
	struct store_fixture *f = *state;
	struct kv_txn *t = store_write(f);
	uint64_t cursor = 0, last = 0, message;
	uint32_t index;

	now_us = 1000;
	clock_set_source(now, NULL);
	for (uint32_t i = 0; i < 5; i++) {
		/* Twice in a microsecond, and a clock that goes back: cursors rise all the same. */
		now_us = i < 3 ? 1000 : 500;
		assert_int_equal(db_change_add(f->db, t, 1, 40 + i, i), 0);
		assert_int_equal(db_change_add(f->db, t, 3, 90, i), 0);
	}
	for (uint32_t i = 0; i < 5; i++) {
		assert_int_equal(db_change_next(f->db, t, 1, cursor, &cursor, &message, &index), 0);
		assert_true(cursor > last);
		assert_int_equal(message, 40 + i);
		assert_int_equal(index, i);
		last = cursor;
	}
	assert_int_equal(db_change_next(f->db, t, 1, cursor, &cursor, &message, &index),
	                 ERR_NOT_FOUND);
	assert_int_equal(db_change_next(f->db, t, 2, 0, &cursor, &message, &index), ERR_NOT_FOUND);
	assert_int_equal(db_change_next(f->db, t, 3, UINT64_MAX, &cursor, &message, &index),
	                 ERR_NOT_FOUND);
	store_commit(t);
	clock_set_source(NULL, NULL);
}

/* Bounded; goes on where it stopped; each account's last change stays. */
static void test_change_trim(void **state)
{
	struct store_fixture *f = *state;
	struct kv_txn *t = store_write(f);
	uint64_t cursor, message;
	uint32_t index;
	int n, went = 0;
	bool more = true;

	clock_set_source(now, NULL);
	for (uint32_t account = 1; account <= 3; account++)
		for (uint32_t i = 0; i < 10; i++) {
			now_us = 100 * (i + 1);
			assert_int_equal(db_change_add(f->db, t, account, 1, i), 0);
		}
	store_commit(t);
	for (unsigned rounds = 0; more; rounds++) {
		assert_true(rounds < 12);
		t = store_write(f);
		n = db_change_trim(f->db, t, 550, 3, &more);
		assert_in_range(n, 0, 3);
		went += n;
		store_commit(t);
	}
	assert_int_equal(went, 3 * 5);
	/* Nothing went in its first steps, and yet it comes round. */
	t = store_write(f);
	assert_int_equal(db_change_trim(f->db, t, 550, 2, &more), 0);
	assert_true(more);
	assert_int_equal(db_change_trim(f->db, t, 550, 2, &more), 0);
	assert_false(more);
	store_commit(t);
	t = store_write(f);
	assert_int_equal(db_change_next(f->db, t, 2, 0, &cursor, &message, &index), 0);
	assert_int_equal(cursor, 600);
	went = 0;
	for (unsigned rounds = 0; rounds < 12; rounds++)
		went += db_change_trim(f->db, t, UINT64_MAX, 3, &more);
	assert_int_equal(went, 3 * 4);
	assert_int_equal(db_change_next(f->db, t, 3, 0, &cursor, &message, &index), 0);
	assert_int_equal(cursor, 1000);
	assert_int_equal(index, 9);
	assert_int_equal(db_change_add(f->db, t, 3, 1, 0), 0);
	assert_int_equal(db_change_next(f->db, t, 3, 1000, &cursor, &message, &index), 0);
	store_commit(t);
	clock_set_source(NULL, NULL);
}

/* --- jobs ------------------------------------------------------------------------------ */

static void test_jobs(void **state)
{
	struct store_fixture *f = *state;
	struct kv_txn *t = store_write(f);
	static const struct {
		uint64_t due, message;
		uint32_t first;
		enum db_job_kind kind;
	} in_order[] = {
		{ 100, 9, 0, DB_JOB_NOTIFY }, { 200, 1, 0, DB_JOB_NOTIFY },
		{ 200, 1, 0, DB_JOB_WITHDRAW }, { 200, 1, 4, DB_JOB_NOTIFY },
		{ 200, 2, 0, DB_JOB_NOTIFY }, { UINT64_MAX, 1, 0, DB_JOB_NOTIFY },
	};
	const size_t put_order[] = { 3, 0, 5, 1, 4, 2 };
	static const struct {
		uint64_t now, due;
	} dues[] = { { 0, 0 }, { 99, 0 }, { 100, 1 }, { 199, 1 }, { 200, 4 }, { UINT64_MAX, 5 } };
	struct db_job job, after;
	struct db_due due;
	int rc;

	assert_int_equal(db_job_next(f->db, t, NULL, &job), ERR_NOT_FOUND);
	for (size_t i = 0; i < COUNT(put_order); i++) {
		job = (struct db_job){
			.due_us = in_order[put_order[i]].due,
			.message = in_order[put_order[i]].message,
			.first = in_order[put_order[i]].first,
			.kind = in_order[put_order[i]].kind,
			.count = 4,
			.attempts = 7,
			.account = 8,
			.domain = span_str("b.example"),
		};
		assert_int_equal(db_job_put(f->db, t, &job), 0);
	}
	rc = db_job_next(f->db, t, NULL, &job);
	for (size_t i = 0; i < COUNT(in_order); i++) {
		assert_int_equal(rc, 0);
		assert_int_equal(job.due_us, in_order[i].due);
		assert_int_equal(job.message, in_order[i].message);
		assert_int_equal(job.first, in_order[i].first);
		assert_int_equal(job.kind, in_order[i].kind);
		assert_int_equal(job.count, 4);
		assert_int_equal(job.attempts, 7);
		assert_int_equal(job.account, 8);
		assert_true(span_eq_str(job.domain, "b.example"));
		after = job;
		rc = db_job_next(f->db, t, &after, &job);
	}
	assert_int_equal(rc, ERR_NOT_FOUND);
	after = (struct db_job){ .due_us = 200, .message = 1, .first = 4, .kind = DB_JOB_NOTIFY };
	assert_int_equal(db_job_remove(f->db, t, &after), 0);
	assert_int_equal(db_job_remove(f->db, t, &after), ERR_NOT_FOUND);
	assert_int_equal(db_job_next(f->db, t, &after, &job), 0); /* after one that is gone */
	assert_int_equal(job.message, 2);
	store_commit(t);

	for (size_t i = 0; i < COUNT(dues); i++) {
		assert_int_equal(db_jobs_due(f->db, dues[i].now, &due), 0);
		assert_int_equal(due.due, dues[i].due);
		assert_int_equal(due.waiting, 5 - dues[i].due);
		assert_int_equal(due.first_us, 100);
	}
}

/* --- numbers --------------------------------------------------------------------------- */

static void reserve(struct store_fixture *f)
{
	struct kv_txn *t = store_write(f);

	assert_int_equal(db_numbers_reserve(f->db, t), 0);
	store_commit(t);
	db_numbers_committed(f->db);
}

static void test_numbers(void **state)
{
	struct store_fixture *f = *state;
	uint64_t n, last = 0;
	struct kv_txn *t;

	assert_true(db_numbers_low(f->db));
	assert_int_equal(db_number_take(f->db, &n), ERR_AGAIN);
	for (unsigned i = 0; i < 3; i++) {
		reserve(f);
		assert_false(db_numbers_low(f->db));
		while (!db_numbers_low(f->db)) {
			assert_int_equal(db_number_take(f->db, &n), 0);
			assert_int_equal(n, last + 1); /* in one run, since nobody else reserves */
			last = n;
		}
	}
	while (db_number_take(f->db, &n) == 0) {
		assert_int_equal(n, last + 1);
		last = n;
	}

	/* A reservation whose transaction is aborted gives nothing. */
	t = store_write(f);
	assert_int_equal(db_numbers_reserve(f->db, t), 0);
	assert_int_equal(db_number_take(f->db, &n), ERR_AGAIN);
	kv_write_abort(t);
	assert_int_equal(db_number_take(f->db, &n), ERR_AGAIN);
	/* Nor does the commit of an earlier one, told while a later one is under way. */
	t = store_write(f);
	assert_int_equal(db_numbers_reserve(f->db, t), 0);
	db_numbers_committed(f->db);
	assert_int_equal(db_number_take(f->db, &n), ERR_AGAIN);
	store_commit(t);
	db_numbers_committed(f->db);
	assert_int_equal(db_number_take(f->db, &n), 0);
	assert_int_equal(n, last + 1);
	last = n;

	/* Whatever was given before a crash is not given after it. */
	for (unsigned i = 0; i < 3; i++) {
		reopen(f);
		assert_int_equal(db_number_take(f->db, &n), ERR_AGAIN);
		reserve(f);
		assert_int_equal(db_number_take(f->db, &n), 0);
		assert_true(n > last);
		last = n;
	}
}

/* Another process (here: another handle) reserves from the same file. */
static void test_numbers_two_processes(void **state)
{
	struct store_fixture *f = *state, g = { .dir = f->dir };
	uint64_t a, b;

	store_open(&g);
	reserve(f);
	reserve(&g);
	reserve(f);
	assert_int_equal(db_number_take(f->db, &a), 0);
	assert_int_equal(db_number_take(g.db, &b), 0);
	assert_int_not_equal(a, b);
	while (db_number_take(g.db, &b) == 0)
		assert_int_not_equal(a, b);
	db_close(g.db);
}

/* --- administration -------------------------------------------------------------------- */

static void test_stats_and_backup(void **state)
{
	struct store_fixture *f = *state, copy;
	struct kv_txn *t = store_write(f);
	uint8_t extents[DB_EXTENT_SIZE];
	struct db_message m, got;
	struct db_stats s;
	struct err_text e;
	char *dir;

	m = store_message(f, t, 1, store_account(f, t, "alice"), DB_BLOCK + 1, extents);
	store_delivery(f, t, &m, 0);
	store_delivery(f, t, &m, 5000);
	store_job(f, t, &m, 5000, 1, 1);
	assert_int_equal(db_change_add(f->db, t, 1, 1, 0), 0);
	store_commit(t);
	assert_int_equal(db_stats(f->db, &s), 0);
	assert_int_equal(s.accounts, 1);
	assert_int_equal(s.messages, 1);
	assert_int_equal(s.deliveries, 2);
	assert_int_equal(s.blobs, 1);
	assert_int_equal(s.blocks, 2);
	assert_int_equal(s.jobs, 1);
	assert_int_equal(s.changes, 1);
	assert_int_equal(s.octets_stored, DB_BLOCK + 1);
	assert_true(s.kv.file_octets > DB_BLOCK);

	dir = tempdir_make();
	assert_int_equal(asprintf(&copy.dir, "%s/copy", dir) > 0, 1);
	assert_int_equal(db_backup(f->db, copy.dir, &e), 0);
	assert_int_equal(db_backup(f->db, copy.dir, &e), ERR_EXISTS);
	assert_int_equal(db_backup(f->db, "/nonexistent/copy", &e), ERR_IO);
	store_open(&copy);
	t = db_read_begin(copy.db);
	assert_int_equal(db_message_get(copy.db, t, 1, &got), 0);
	assert_int_equal(got.recipients, 2);
	db_read_end(t);
	db_close(copy.db);
	tempdir_remove(copy.dir);
	tempdir_remove(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, store_setup, store_teardown)
		TEST(test_open),
		TEST(test_accounts),
		TEST(test_account_change),
		TEST(test_delivery),
		TEST(test_changes),
		TEST(test_change_trim),
		TEST(test_jobs),
		TEST(test_numbers),
		TEST(test_numbers_two_processes),
		TEST(test_stats_and_backup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
