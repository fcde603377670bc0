/* Leaf hashes in the store's database: put in any steps, got one by one and by runs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "message/digest.h"
#include "store/db_table.h"
#include "tests/unit/store_fixture.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define LEAVES 70

typedef const uint8_t (*hashes)[DIGEST_SIZE];

static uint8_t leaf[LEAVES][DIGEST_SIZE];

static int setup(void **state)
{
	for (size_t i = 0; i < LEAVES; i++)
		memset(leaf[i], (int)i + 1, DIGEST_SIZE);
	return store_setup(state);
}

/* The first N leaves of BLOB are kept, and the roots of the runs that they fill. */
static void expect_kept(struct store_fixture *f, struct kv_txn *t, uint64_t blob, size_t n)
{
	uint8_t got[DIGEST_SIZE], want[DIGEST_SIZE];

	for (size_t i = 0; i < LEAVES; i++) {
		assert_int_equal(db_leaf_get(f->db, t, blob, i, 1, got), i < n ? 0 : ERR_NOT_FOUND);
		if (i < n)
			assert_memory_equal(got, leaf[i], DIGEST_SIZE);
	}
	for (size_t i = 0; i + DB_LEAF_RUN <= LEAVES; i += DB_LEAF_RUN) {
		int rc = db_leaf_get(f->db, t, blob, i, DB_LEAF_RUN, got);

		assert_int_equal(rc, i + DB_LEAF_RUN <= n ? 0 : ERR_NOT_FOUND);
		if (rc != 0)
			continue;
		assert_int_equal(digest_join((hashes)leaf + i, DB_LEAF_RUN, want), 0);
		assert_memory_equal(got, want, DIGEST_SIZE);
	}
	/* What is no leaf and no run is made from halves. */
	assert_int_equal(db_leaf_get(f->db, t, blob, 0, 2, got), ERR_NOT_FOUND);
	assert_int_equal(db_leaf_get(f->db, t, blob, 0, 2 * DB_LEAF_RUN, got), ERR_NOT_FOUND);
	assert_int_equal(db_leaf_get(f->db, t, blob, 1, DB_LEAF_RUN, got), ERR_NOT_FOUND);
	assert_int_equal(db_leaf_get(f->db, t, blob, UINT64_MAX, 1, got), ERR_NOT_FOUND);
}

/* As they come with a submission: in steps of any size, in transactions of their own. */
static void test_steps(void **state)
{
	static const size_t steps[] = { 1, 4, 5, 15, 16, 17, 33, LEAVES };
	struct store_fixture *f = *state;

	for (size_t i = 0; i < COUNT(steps); i++) {
		for (size_t at = 0; at < LEAVES; at += steps[i]) {
			struct kv_txn *t = store_write(f);
			size_t n = LEAVES - at < steps[i] ? LEAVES - at : steps[i];

			assert_int_equal(db_leaf_put(f->db, t, i + 1, (uint32_t)at, (hashes)leaf + at, n), 0);
			assert_int_equal(db_leaf_put(f->db, t, i + 1, (uint32_t)(at + n), (hashes)leaf, 0), 0);
			expect_kept(f, t, i + 1, at + n);
			store_commit(t);
		}
	}
}

/* Said again from somewhere in the middle, what follows is replaced. */
static void test_again(void **state)
{
	struct store_fixture *f = *state;
	struct kv_txn *t = store_write(f);
	uint8_t other[DIGEST_SIZE] = { 99 };

	assert_int_equal(db_leaf_put(f->db, t, 1, 0, (hashes)leaf, 20), 0);
	assert_int_equal(db_leaf_put(f->db, t, 1, 18, (hashes)&other, 1), 0);
	assert_int_equal(db_leaf_put(f->db, t, 1, 18, (hashes)leaf + 18, 5), 0);
	expect_kept(f, t, 1, 23);
	store_commit(t);
}

/* A blob whose first leaves nobody kept (an older program's) gets none later. */
static void test_gap(void **state)
{
	static const uint32_t first[] = { 1, 15, 16, 17, 40 };
	struct store_fixture *f = *state;
	struct kv_txn *t = store_write(f);

	for (size_t i = 0; i < COUNT(first); i++) {
		assert_int_equal(db_leaf_put(f->db, t, 1, first[i], (hashes)leaf + first[i], 20), 0);
		expect_kept(f, t, 1, 0);
	}
	assert_int_equal(db_leaf_put(f->db, t, 1, 0, (hashes)leaf, 10), 0);
	for (size_t i = 1; i < COUNT(first); i++) {
		assert_int_equal(db_leaf_put(f->db, t, 1, first[i], (hashes)leaf + first[i], 20), 0);
		expect_kept(f, t, 1, 10);
	}
	store_commit(t);
}

/* Whose blocks a message's blocks are. */
static void test_blob_of_message(void **state)
{
	struct store_fixture *f = *state;
	struct kv_txn *t = store_write(f);
	uint8_t own[DB_EXTENT_SIZE], extents[2 * DB_EXTENT_SIZE];
	struct db_message a = store_message(f, t, 1, 1, 2 * DB_BLOCK, own), b = a;
	const struct {
		struct db_extent x[2];
		size_t n;
		int rc;
	} cases[] = {
		{ { { 1, 0, 2 * DB_BLOCK } }, 1, 0 },
		{ { { 1, 0, 2 * DB_BLOCK - 1 } }, 1, ERR_NOT_FOUND },
		{ { { 1, DB_BLOCK, DB_BLOCK } }, 1, ERR_NOT_FOUND },
		{ { { 1, 0, DB_BLOCK }, { 1, DB_BLOCK, DB_BLOCK } }, 2, ERR_NOT_FOUND },
		{ { { 7, 0, DB_BLOCK } }, 1, ERR_NOT_FOUND },
		{ { { 0, 0, 0 } }, 0, ERR_NOT_FOUND },
	};
	uint64_t blob;

	for (size_t i = 0; i < COUNT(cases); i++) {
		for (size_t k = 0; k < cases[i].n; k++)
			db_extent_write(&cases[i].x[k], extents + k * DB_EXTENT_SIZE);
		b.extents = span_of(extents, cases[i].n * DB_EXTENT_SIZE);
		blob = 0;
		assert_int_equal(db_leaf_blob(f->db, t, &b, &blob), cases[i].rc);
		if (cases[i].rc == 0)
			assert_int_equal(blob, 1);
	}
	store_commit(t);
}

/* They go with their blob, in bounded steps, and nobody else's do. */
static void test_sweep(void **state)
{
	struct store_fixture *f = *state;
	struct kv_txn *t = store_write(f);
	uint8_t extents[2][DB_EXTENT_SIZE];
	unsigned swept = 0, steps = 0;
	int n;

	for (uint64_t i = 1; i <= 2; i++) {
		store_message(f, t, i, 1, 40 * DB_BLOCK, extents[i - 1]);
		assert_int_equal(db_leaf_put(f->db, t, i, 0, (hashes)leaf, 40), 0);
	}
	assert_int_equal(db_message_remove(f->db, t, 1, 1), 0);
	do {
		n = db_blob_sweep(f->db, t, 2);
		assert_in_range(n, 0, 2);
		swept += (unsigned)n;
		steps++;
	} while (n > 0);
	assert_int_equal(swept, 3 + 40 + 1);
	assert_int_equal(steps, 44 / 2 + 1);
	expect_kept(f, t, 1, 0);
	expect_kept(f, t, 2, 40);
	store_commit(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_steps, setup, store_teardown),
		cmocka_unit_test_setup_teardown(test_again, setup, store_teardown),
		cmocka_unit_test_setup_teardown(test_gap, setup, store_teardown),
		cmocka_unit_test_setup_teardown(test_blob_of_message, setup, store_teardown),
		cmocka_unit_test_setup_teardown(test_sweep, setup, store_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
