/* What is taken in hand of what is due: a share for each account, whoever came first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "store_fixture.h"
#include "store/round.h"

#define NOW 1000000000000ULL

static struct round_job *job[20000];
static size_t n_jobs;
static uint64_t next_us;

static void found(void *ctx, struct round_job *j)
{
	(void)ctx;
	assert_true(n_jobs < sizeof(job) / sizeof(job[0]));
	job[n_jobs++] = j;
}

static int collect(struct round *r, uint64_t now)
{
	return round_collect(r, now, found, NULL, &next_us);
}

/* N jobs of ACCOUNT, due at DUE, one after another from message FIRST on; DOMAIN NULL: of a domain
 * each. */
static void put(struct store_fixture *f, uint32_t account, uint64_t due, uint64_t first, size_t n,
                const char *domain)
{
	struct kv_txn *t = store_write(f);
	char text[32];

	for (size_t i = 0; i < n; i++) {
		struct db_job j = {
			.due_us = due,
			.message = first + i,
			.count = 1,
			.kind = DB_JOB_NOTIFY,
			.account = account,
		};

		snprintf(text, sizeof(text), "d%zu.example", i);
		j.domain = span_str(domain != NULL ? domain : text);
		assert_int_equal(db_job_put(f->db, t, &j), 0);
	}
	store_commit(t);
}

static size_t count(uint32_t account)
{
	size_t n = 0;

	for (size_t i = 0; i < n_jobs; i++)
		n += job[i]->job.account == account;
	return n;
}

/* Done with the job at I: it goes from the database too. */
static void finish(struct store_fixture *f, struct round *r, size_t i)
{
	struct kv_txn *t = store_write(f);

	assert_int_equal(db_job_remove(f->db, t, &job[i]->job), 0);
	store_commit(t);
	round_forget(r, job[i]);
	job[i] = job[--n_jobs];
}

static int setup(void **state)
{
	n_jobs = 0;
	return store_setup(state);
}

/* Another account's single one is found at once, behind a hundred thousand. */
static void test_newcomer(void **state)
{
	struct store_fixture *f = *state;
	struct round *r;
	int looks = 0;

	assert_int_equal(round_create(f->db, 4096, &r), 0);
	put(f, 1, NOW - 5, 1, 50000, NULL);
	put(f, 1, NOW - 4, 50001, 50000, NULL);
	for (int i = 0; i < 30; i++)
		collect(r, NOW); /* it knows all of them */
	assert_int_equal(count(1), 2048);
	assert_true(next_us != 0 && next_us <= NOW); /* more is due */
	put(f, 2, NOW - 3, 200000, 1, NULL);
	assert_int_equal(collect(r, NOW), 1);
	assert_int_equal(count(2), 1);
	/* Put with a due time that others had passed: late, but in one time round. */
	put(f, 3, NOW - 5, 200001, 1, NULL);
	while (count(3) == 0 && looks++ < 40)
		collect(r, NOW);
	assert_int_equal(count(3), 1);
	/* As soon as some are done, as many come. */
	for (int i = 0; i < 100; i++)
		finish(f, r, 0);
	for (int i = 0; i < 40; i++)
		collect(r, NOW);
	assert_in_range(count(1), 2040, 2048);
	round_free(r);
}

/* Three who want much get alike, whatever their order. */
static void test_alike(void **state)
{
	struct store_fixture *f = *state;
	struct round *r;
	size_t done[4] = { 0 };
	uint32_t seed = 1;

	assert_int_equal(round_create(f->db, 100, &r), 0);
	put(f, 1, NOW - 5, 1, 3000, NULL);
	put(f, 2, NOW - 4, 10001, 3000, NULL);
	put(f, 3, NOW - 3, 20001, 3000, NULL);
	for (int i = 0; i < 300; i++) {
		collect(r, NOW);
		for (int k = 0; k < 20 && n_jobs > 0; k++) {
			seed = seed * 1664525u + 1013904223u;
			done[job[(seed >> 8) % n_jobs]->job.account]++;
			finish(f, r, (seed >> 8) % n_jobs);
		}
	}
	for (uint32_t a = 1; a <= 3; a++)
		assert_in_range(done[a], 1200, 2900);
	round_free(r);
}

/* All of one account's jobs for a domain that is slow do not keep it from its other ones. */
static void test_slow_domain(void **state)
{
	struct store_fixture *f = *state;
	struct round *r;

	assert_int_equal(round_create(f->db, 800, &r), 0);
	put(f, 1, NOW - 5, 1, 2000, "slow.example");
	put(f, 1, NOW - 4, 5001, 50, NULL);
	collect(r, NOW);
	assert_int_equal(n_jobs, 100 + 50);
	round_free(r);
}

/* Everything is found once, and again only when it was let go and is still there. */
static void test_all(void **state)
{
	struct store_fixture *f = *state;
	struct round *r;
	size_t all = 0;

	assert_int_equal(round_create(f->db, 64, &r), 0);
	assert_int_equal(collect(r, NOW), 0);
	assert_int_equal(next_us, 0);
	put(f, 1, NOW - 5, 1, 9000, NULL);
	put(f, 1, NOW + 5, 90000, 1, NULL);
	for (int i = 0; i < 2000 && all < 9000; i++) {
		collect(r, NOW);
		assert_true(n_jobs <= 64);
		for (; n_jobs > 0; all++)
			finish(f, r, n_jobs - 1);
	}
	assert_int_equal(all, 9000);
	for (int i = 0; i < 3; i++)
		assert_int_equal(collect(r, NOW), 0);
	assert_int_equal(next_us, NOW + 5);
	assert_int_equal(collect(r, NOW + 5), 1);
	assert_int_equal(collect(r, NOW + 5), 0);
	round_forget(r, job[0]); /* could not be written */
	n_jobs = 0;
	assert_int_equal(collect(r, NOW + 5), 1);
	/* The clock is set back: what is put then is found by that clock. */
	put(f, 1, NOW - 1000, 95000, 1, NULL);
	assert_int_equal(collect(r, NOW - 1000), 1);
	assert_int_equal(round_count(r), 2);
	round_free(r);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, store_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_newcomer),
		TEST(test_alike),
		TEST(test_slow_domain),
		TEST(test_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
