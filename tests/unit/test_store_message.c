/*
 * Messages and their octets: what follows from a record follows it, blobs are shared and swept,
 * removal is bounded and leaves nothing behind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "store/db.h"
#include "store/sweep.h"
#include "tests/unit/store_fixture.h"
#include "wire/enums.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

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
	db_close(f->db);
	store_open(f);

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
	struct db_expiry first;
	int rc = db_expiry_due(f->db, t, NULL, UINT64_MAX, &first);

	assert_true(rc == 0 || rc == ERR_NOT_FOUND);
	return rc == 0 ? first.time_us : 0;
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
	assert_int_equal(used(f, t, account), 100);
	assert_false(archived(f, t, account, 10));
	m.freed = true;
	assert_int_equal(db_message_put(f->db, t, &m), 0);
	assert_int_equal(used(f, t, account), 0);
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
		{ DB_STORED, true, false, 10, 0, 10 },
		{ DB_STORED, true, true, 10, 0, 0 },
		{ DB_EXPIRED, false, true, 10, 0, 0 },
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
	uint64_t found = 0;
	struct db_expiry entry;

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
	assert_int_equal(db_expiry_due(f->db, t, NULL, 999, &entry), ERR_NOT_FOUND);
	assert_int_equal(db_expiry_due(f->db, t, NULL, 1000, &entry), 0);
	assert_int_equal(entry.message, 1);
	assert_int_equal(entry.time_us, 1000);
	entry = db_expiry_behind(entry);
	assert_int_equal(db_expiry_due(f->db, t, &entry, 5000, &entry), 0);
	assert_int_equal(entry.message, 2);
	assert_int_equal(db_message_remove(f->db, t, 1, 1), 0);
	assert_int_equal(db_expiry_due(f->db, t, NULL, 5000, &entry), 0);
	assert_int_equal(entry.message, 2);
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

/* A message to 2,500 recipients whose lifetime is over: after every step all tables add up. */
static void test_expire_in_steps(void **state)
{
	struct store_fixture *f = *state;
	struct kv_txn *t = store_write(f);
	uint8_t extents[DB_EXTENT_SIZE];
	uint32_t index = 0, next;
	struct db_message m;
	struct db_delivery d;
	unsigned steps = 0;
	int rc;

	assert_int_equal(db_numbers_reserve(f->db, t), 0);
	m = store_message(f, t, 1, store_account(f, t, "alice"), 10, extents);
	for (unsigned i = 0; i < 2500; i++) {
		d = (struct db_delivery){ .message = 1, .index = i, .pinned = true,
			                  .mailbox = span_str("bob@b.example") };
		assert_int_equal(db_delivery_put(f->db, t, &d), 0);
	}
	m.recipients = m.readers = 2500;
	assert_int_equal(db_message_put(f->db, t, &m), 0);
	store_commit(t);
	do {
		t = store_write(f);
		rc = sweep_message(f->db, t, 1, 9000, 500, index, &next);
		assert_true(rc == 0 || rc == ERR_AGAIN);
		store_commit(t);
		assert_int_equal(db_check(f->db, found_nothing, NULL), 0);
		assert_true(rc == 0 || next > index);
		index = next;
		steps++;
	} while (rc == ERR_AGAIN);
	assert_in_range(steps, 3, 25);

	t = store_write(f);
	assert_int_equal(db_message_get(f->db, t, 1, &m), 0);
	assert_int_equal(m.state, DB_EXPIRED);
	assert_int_equal(m.readers, 0);
	assert_true(m.freed);
	assert_int_equal(m.sweep_us, 9500);
	assert_int_equal(db_delivery_get(f->db, t, 1, 2499, &d), 0);
	assert_int_equal(d.notification, WIRE_NOTIFICATION_EXPIRED);
	/* Before its time, then in steps once more. */
	assert_int_equal(sweep_message(f->db, t, 1, 9499, 500, 0, &next), 0);
	assert_int_equal(db_message_get(f->db, t, 1, &m), 0);
	for (steps = 0; sweep_message(f->db, t, 1, 9500, 500, 0, &next) == ERR_AGAIN; steps++)
		assert_true(steps < 25);
	assert_int_equal(db_message_get(f->db, t, 1, &m), ERR_NOT_FOUND);
	store_commit(t);
	assert_int_equal(db_check(f->db, found_nothing, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, store_setup, store_teardown)
		TEST(test_message),
		TEST(test_message_follows),
		TEST(test_message_usage),
		TEST(test_archive_and_expiry_order),
		TEST(test_octets),
		TEST(test_blob_sweep),
		TEST(test_message_remove),
		TEST(test_expire_in_steps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
