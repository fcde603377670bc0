/*
 * The store's tables: what is put can be got, also after reopening; what follows from a record
 * follows it; work is bounded; numbers are never given twice.
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

/* --- messages -------------------------------------------------------------------------- */

static void test_message(void **state)
{
	struct store_fixture *f = *state;
	struct kv_txn *t = store_write(f);
	uint8_t extents[DB_EXTENT_SIZE];
	struct db_message m = store_message(f, t, 5, 1, 100, extents), got;
	char parts[70000];

	memset(parts, 'p', sizeof parts);
	m.parts = span_of(parts, sizeof parts);
	m.release_us = 3;
	m.expected_octets = 4;
	m.forgotten = true;
	m.has_submission_id = true;
	memset(m.submission_id, 9, 16);
	memset(m.digest, 8, 32);
	assert_int_equal(db_message_put(f->db, t, &m), 0);
	store_commit(t);
	reopen(f);

	t = db_read_begin(f->db);
	assert_int_equal(db_message_get(f->db, t, 4, &got), ERR_NOT_FOUND);
	assert_int_equal(db_message_get(f->db, t, 5, &got), 0);
	assert_int_equal(got.number, 5);
	assert_int_equal(got.account, 1);
	assert_int_equal(got.state, DB_STORED);
	assert_int_equal(got.key, 1);
	assert_true(got.forgotten);
	assert_false(got.freed);
	assert_int_equal(got.submitted_us, 1000);
	assert_int_equal(got.expires_us, 9000);
	assert_int_equal(got.release_us, 3);
	assert_int_equal(got.sweep_us, 9000);
	assert_int_equal(got.size_octets, 100);
	assert_int_equal(got.expected_octets, 4);
	assert_int_equal(got.header_octets, 7);
	assert_memory_equal(got.digest, m.digest, 32);
	assert_true(got.has_submission_id);
	assert_memory_equal(got.submission_id, m.submission_id, 16);
	assert_true(span_eq(got.sender, m.sender));
	assert_true(span_eq(got.excerpt, m.excerpt));
	assert_true(span_eq(got.structure, m.structure));
	assert_true(span_eq(got.parts, m.parts));
	assert_true(span_eq(got.extents, m.extents));
	db_read_end(t);

	/* Put again from the views that get answered. */
	t = store_write(f);
	assert_int_equal(db_message_get(f->db, t, 5, &got), 0);
	got.readers = 3;
	got.structure = span_str("()");
	assert_int_equal(db_message_put(f->db, t, &got), 0);
	assert_int_equal(db_message_get(f->db, t, 5, &got), 0);
	assert_int_equal(got.readers, 3);
	assert_true(span_eq_str(got.structure, "()"));
	assert_true(span_eq(got.parts, m.parts));
	m.sender = span_of(parts, 256);
	assert_int_equal(db_message_put(f->db, t, &m), ERR_TOO_BIG);
	store_commit(t);
}

static uint64_t used(struct store_fixture *f, struct kv_txn *t, uint32_t account)
{
	struct db_account a;

	assert_int_equal(db_account_by_number(f->db, t, account, &a), 0);
	return a.used_octets;
}

/* Whether the archive of ACCOUNT names MESSAGE, and the submission table leads to it. */
static bool archived(struct store_fixture *f, struct kv_txn *t, uint32_t account, uint64_t message)
{
	uint64_t found;
	int rc = db_archive_next(f->db, t, account, message - 1, &found);

	assert_true(rc == 0 || rc == ERR_NOT_FOUND);
	return rc == 0 && found == message;
}

static uint64_t due(struct store_fixture *f, struct kv_txn *t)
{
	uint64_t time, message;
	int rc = db_expiry_due(f->db, t, UINT64_MAX, &time, &message);

	assert_true(rc == 0 || rc == ERR_NOT_FOUND);
	return rc == 0 ? time : 0;
}

/* Every step of a message's life, and what follows it. */
static void test_message_follows(void **state)
{
	struct store_fixture *f = *state;
	struct kv_txn *t = store_write(f);
	uint32_t account = store_account(f, t, "alice");
	uint8_t extents[DB_EXTENT_SIZE], id[16] = { 1 };
	struct db_message m = store_message(f, t, 10, account, 100, extents), other;
	uint64_t found;

	assert_int_equal(used(f, t, account), 100);
	assert_true(archived(f, t, account, 10));
	assert_int_equal(due(f, t), 9000);
	assert_int_equal(db_submission_find(f->db, t, account, id, &found), ERR_NOT_FOUND);

	m.has_submission_id = true;
	memcpy(m.submission_id, id, 16);
	m.sweep_us = 5000;
	assert_int_equal(db_message_put(f->db, t, &m), 0);
	assert_int_equal(due(f, t), 5000);
	assert_int_equal(db_submission_find(f->db, t, account, id, &found), 0);
	assert_int_equal(found, 10);
	assert_int_equal(db_submission_find(f->db, t, account + 1, id, &found), ERR_NOT_FOUND);

	/* Another message with the same submissionId is refused, and nothing of it is there. */
	other = m;
	other.number = 11;
	assert_int_equal(db_message_put(f->db, t, &other), ERR_EXISTS);
	assert_int_equal(db_message_get(f->db, t, 11, &other), ERR_NOT_FOUND);
	assert_int_equal(used(f, t, account), 100);

	m.state = DB_RECEIVING;
	m.expected_octets = 300;
	m.sweep_us = 0;
	assert_int_equal(db_message_put(f->db, t, &m), 0);
	assert_int_equal(used(f, t, account), 300);
	assert_false(archived(f, t, account, 10));
	assert_int_equal(due(f, t), 0);
	m.state = DB_HELD;
	assert_int_equal(db_message_put(f->db, t, &m), 0);
	assert_int_equal(used(f, t, account), 100);
	assert_true(archived(f, t, account, 10));
	m.forgotten = true;
	assert_int_equal(db_message_put(f->db, t, &m), 0);
	assert_int_equal(used(f, t, account), 0);
	assert_false(archived(f, t, account, 10));
	m.freed = true;
	assert_int_equal(db_message_put(f->db, t, &m), 0);
	assert_int_equal(db_message_get(f->db, t, 10, &other), 0);
	assert_int_equal(other.extents.n, 0);
	assert_int_equal(db_blob_sweep(f->db, t, 10), 2);

	assert_int_equal(db_message_remove(f->db, t, 10, 10), 0);
	assert_int_equal(db_message_get(f->db, t, 10, &other), ERR_NOT_FOUND);
	assert_int_equal(db_submission_find(f->db, t, account, id, &found), ERR_NOT_FOUND);
	assert_int_equal(db_message_remove(f->db, t, 10, 10), 0);
	store_commit(t);
}

static void test_message_usage(void **state)
{
	static const struct {
		enum db_message_state state;
		bool forgotten, freed;
		uint64_t size, expected, usage;
	} cases[] = {
		{ DB_RECEIVING, false, false, 10, 0, 10 },
		{ DB_RECEIVING, false, false, 10, 50, 50 },
		{ DB_RECEIVING, false, false, 60, 50, 60 },
		{ DB_STORED, false, false, 10, 50, 10 },
		{ DB_HELD, false, false, 10, 0, 10 },
		{ DB_WITHDRAWN, false, false, 10, 0, 10 },
		{ DB_STORED, true, false, 10, 0, 0 },
		{ DB_EXPIRED, false, true, 10, 0, 0 },
		{ DB_RECEIVING, true, false, 10, 50, 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct db_message m = {
			.state = cases[i].state,
			.forgotten = cases[i].forgotten,
			.freed = cases[i].freed,
			.size_octets = cases[i].size,
			.expected_octets = cases[i].expected,
		};

		assert_int_equal(db_message_usage(&m), cases[i].usage);
	}
}

static void test_archive_and_expiry_order(void **state)
{
	struct store_fixture *f = *state;
	struct kv_txn *t = store_write(f);
	uint8_t extents[4][DB_EXTENT_SIZE];
	const uint64_t numbers[] = { 3, 1, 2 };
	uint64_t found = 0, time;

	for (size_t i = 0; i < COUNT(numbers); i++) {
		struct db_message m = store_message(f, t, numbers[i], 1, 1, extents[i]);

		m.sweep_us = 1000 * numbers[i];
		assert_int_equal(db_message_put(f->db, t, &m), 0);
	}
	store_message(f, t, 4, 2, 1, extents[3]);
	for (uint64_t i = 1; i <= 3; i++) {
		assert_int_equal(db_archive_next(f->db, t, 1, found, &found), 0);
		assert_int_equal(found, i);
	}
	assert_int_equal(db_archive_next(f->db, t, 1, 3, &found), ERR_NOT_FOUND);
	assert_int_equal(db_archive_next(f->db, t, 1, UINT64_MAX, &found), ERR_NOT_FOUND);
	assert_int_equal(db_archive_next(f->db, t, 2, 0, &found), 0);
	assert_int_equal(found, 4);
	assert_int_equal(db_expiry_due(f->db, t, 999, &time, &found), ERR_NOT_FOUND);
	assert_int_equal(db_expiry_due(f->db, t, 1000, &time, &found), 0);
	assert_int_equal(found, 1);
	assert_int_equal(time, 1000);
	assert_int_equal(db_message_remove(f->db, t, 1, 1), 0);
	assert_int_equal(db_expiry_due(f->db, t, 5000, &time, &found), 0);
	assert_int_equal(found, 2);
	store_commit(t);
}

/* --- octets ---------------------------------------------------------------------------- */

/* Two blobs, and a message of pieces of both: what lies at each place. */
static void test_octets(void **state)
{
	struct store_fixture *f = *state;
	struct kv_txn *t = store_write(f);
	static uint8_t octets[3 * DB_BLOCK];
	uint8_t own[DB_EXTENT_SIZE], pieces[3 * DB_EXTENT_SIZE];
	const struct db_extent list[] = {
		{ 1, DB_BLOCK - 10, 20 }, { 1, 0, 5 }, { 1, 2 * DB_BLOCK + 1, 6 },
	};
	const struct {
		uint64_t at, n, from;
	} cases[] = {
		{ 0, 10, DB_BLOCK - 10 },    { 9, 1, DB_BLOCK - 1 }, { 10, 10, DB_BLOCK },
		{ 15, 5, DB_BLOCK + 5 },     { 20, 5, 0 },           { 24, 1, 4 },
		{ 25, 6, 2 * DB_BLOCK + 1 }, { 30, 1, 2 * DB_BLOCK + 6 },
	};
	struct db_message m;
	struct span got;

	for (size_t i = 0; i < sizeof octets; i++)
		octets[i] = (uint8_t)(i * 7 + i / 251);
	store_message(f, t, 1, 1, 2 * DB_BLOCK + 9, own);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(db_block_put(f->db, t, 1, i,
		                              span_of(octets + i * DB_BLOCK, i < 2 ? DB_BLOCK : 9)),
		                 0);
	m = store_message(f, t, 2, 1, 1, own);
	for (size_t i = 0; i < COUNT(list); i++)
		db_extent_write(&list[i], pieces + i * DB_EXTENT_SIZE);
	m.extents = span_of(pieces, sizeof pieces);
	m.size_octets = 31;
	assert_int_equal(db_message_put(f->db, t, &m), 0);
	store_commit(t);

	t = db_read_begin(f->db);
	assert_int_equal(db_message_get(f->db, t, 2, &m), 0);
	for (size_t i = 0; i < COUNT(cases); i++) {
		assert_int_equal(db_octets(f->db, t, &m, cases[i].at, &got), 0);
		assert_int_equal(got.n, cases[i].n);
		assert_memory_equal(got.p, octets + cases[i].from, got.n);
	}
	assert_int_equal(db_octets(f->db, t, &m, 31, &got), ERR_NOT_FOUND);
	assert_int_equal(db_octets(f->db, t, &m, UINT64_MAX, &got), ERR_NOT_FOUND);
	db_read_end(t);

	t = store_write(f);
	assert_int_equal(db_block_put(f->db, t, 1, 9, span_of(octets, 0)), ERR_TOO_BIG);
	assert_int_equal(db_block_put(f->db, t, 1, 9, span_of(octets, DB_BLOCK + 1)), ERR_TOO_BIG);
	kv_write_abort(t);
}

/* A blob goes when the last message that refers to it goes, in bounded steps. */
static void test_blob_sweep(void **state)
{
	struct store_fixture *f = *state;
	struct kv_txn *t = store_write(f);
	uint8_t extents[2 * DB_EXTENT_SIZE], other[DB_EXTENT_SIZE];
	struct db_message a = store_message(f, t, 1, 1, 5 * DB_BLOCK, extents), b;
	struct span octets;
	unsigned swept = 0;
	int n;

	memcpy(extents + DB_EXTENT_SIZE, extents, DB_EXTENT_SIZE);
	b = store_message(f, t, 2, 1, 1, other);
	b.extents = span_of(extents, sizeof extents); /* the first one's octets, twice */
	b.size_octets = 10 * DB_BLOCK;
	assert_int_equal(db_message_put(f->db, t, &b), 0);
	assert_int_equal(db_blob_sweep(f->db, t, 100), 2); /* its own blob */
	assert_int_equal(db_message_remove(f->db, t, 1, 1), 0);
	assert_int_equal(db_blob_sweep(f->db, t, 100), 0);
	assert_int_equal(db_octets(f->db, t, &b, 5 * DB_BLOCK, &octets), 0);
	b.extents = span_of(extents, DB_EXTENT_SIZE);
	assert_int_equal(db_message_put(f->db, t, &b), 0);
	assert_int_equal(db_blob_sweep(f->db, t, 100), 0);
	assert_int_equal(db_message_remove(f->db, t, 2, 1), 0);
	store_commit(t);

	/* Half swept, it cannot be referred to or written to again. */
	t = store_write(f);
	assert_int_equal(db_blob_sweep(f->db, t, 2), 2);
	a.number = 3;
	assert_int_equal(db_message_put(f->db, t, &a), ERR_NOT_FOUND);
	assert_int_equal(db_message_get(f->db, t, 3, &a), ERR_NOT_FOUND);
	assert_int_equal(db_blob_put(f->db, t, 1, 1, NULL), ERR_NOT_FOUND);
	store_commit(t);
	do {
		t = store_write(f);
		n = db_blob_sweep(f->db, t, 2);
		assert_in_range(n, 0, 2);
		swept += (unsigned)n;
		store_commit(t);
	} while (n > 0);
	assert_int_equal(swept, 4); /* three blocks and the record */
}

/* --- removal --------------------------------------------------------------------------- */

static unsigned jobs(struct store_fixture *f, struct kv_txn *t, uint64_t message)
{
	struct db_job job, after;
	unsigned n = 0;
	int rc = db_job_next(f->db, t, NULL, &job);

	for (; rc == 0; rc = db_job_next(f->db, t, &after, &job)) {
		n += job.message == message;
		after = job;
	}
	assert_int_equal(rc, ERR_NOT_FOUND);
	return n;
}

static void found_nothing(void *ctx, const char *line)
{
	(void)ctx;
	fail_msg("%s", line);
}

/* Ten deliveries, four at a time; nothing dangles after any step. */
static void test_message_remove(void **state)
{
	struct store_fixture *f = *state;
	struct kv_txn *t = store_write(f);
	uint64_t number;
	uint8_t extents[2][DB_EXTENT_SIZE];
	struct db_message m, other;
	struct db_delivery d;
	const uint32_t left[] = { 6, 2, 0 };

	assert_int_equal(db_numbers_reserve(f->db, t), 0);
	store_commit(t);
	db_numbers_committed(f->db);
	assert_int_equal(db_number_take(f->db, &number), 0);
	t = store_write(f);
	m = store_message(f, t, number, store_account(f, t, "alice"), 10, extents[0]);
	for (unsigned i = 0; i < 10; i++)
		store_delivery(f, t, &m, i < 8 ? 7000 : 8000);
	store_job(f, t, &m, 7000, 0, 5);
	store_job(f, t, &m, 7000, 5, 3);
	store_job(f, t, &m, 8000, 8, 2);
	other = store_message(f, t, number + 1, m.account, 10, extents[1]);
	store_delivery(f, t, &other, 7000);
	store_job(f, t, &other, 7000, 0, 1);
	store_commit(t);
	assert_int_equal(db_check(f->db, found_nothing, NULL), 0);

	for (size_t i = 0; i < COUNT(left); i++) {
		t = store_write(f);
		assert_int_equal(db_message_remove(f->db, t, number, 4), left[i] > 0 ? ERR_AGAIN : 0);
		store_commit(t);
		assert_int_equal(db_check(f->db, found_nothing, NULL), 0);
		t = db_read_begin(f->db);
		assert_int_equal(db_message_get(f->db, t, number, &m),
		                 left[i] > 0 ? 0 : ERR_NOT_FOUND);
		if (left[i] > 0) {
			assert_int_equal(m.recipients, left[i]);
			assert_int_equal(m.readers, left[i]);
			assert_int_equal(
			    db_delivery_get(f->db, t, number, left[i] - 1, &d), 0);
		}
		assert_int_equal(db_delivery_get(f->db, t, number, left[i], &d), ERR_NOT_FOUND);
		assert_int_equal(jobs(f, t, number), left[i] > 5 ? 2 : left[i] > 0 ? 1 : 0);
		assert_int_equal(jobs(f, t, number + 1), 1);
		db_read_end(t);
	}
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

	clock_set_source(now, NULL);
	for (uint32_t account = 1; account <= 3; account++)
		for (uint32_t i = 0; i < 10; i++) {
			now_us = 100 * (i + 1);
			assert_int_equal(db_change_add(f->db, t, account, 1, i), 0);
		}
	store_commit(t);
	for (unsigned rounds = 0; rounds < 12; rounds++) {
		t = store_write(f);
		n = db_change_trim(f->db, t, 550, 3);
		assert_in_range(n, 0, 3);
		went += n;
		store_commit(t);
	}
	assert_int_equal(went, 3 * 5);
	t = store_write(f);
	assert_int_equal(db_change_next(f->db, t, 2, 0, &cursor, &message, &index), 0);
	assert_int_equal(cursor, 600);
	went = 0;
	for (unsigned rounds = 0; rounds < 12; rounds++)
		went += db_change_trim(f->db, t, UINT64_MAX, 3);
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
	struct db_job job, after;
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
		TEST(test_message),
		TEST(test_message_follows),
		TEST(test_message_usage),
		TEST(test_archive_and_expiry_order),
		TEST(test_octets),
		TEST(test_blob_sweep),
		TEST(test_message_remove),
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
