/* The group commit: durability before done, order, refusals, broken transactions, many threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/writer.h"
#include "tests/unit/kvtest.h"

/* A client with the loop that a worker would have: collect, turn, sleep until woken. */
struct loop {
	struct kvtest *f;
	struct writer_client *client;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool woken;
	/* Of the loop's thread. */
	unsigned done;     /* callbacks so far */
	unsigned refused;  /* those of them with an error */
	uint32_t first_key; /* of the thread's rows */
	const char *wrong; /* what went wrong, where cmocka's assertions cannot be used */
};

/* Appends KEY to table one, or refuses when REFUSE says so. */
struct row {
	struct writer_job job;
	struct loop *loop;
	uint32_t key;
	size_t octets;
	int refuse;
	int result;
	unsigned order;    /* how many of the loop's jobs were done before */
	unsigned applied;  /* how often apply ran */
	struct row *after; /* submitted by this one's done callback */
};

static uint8_t zeros[1 << 20];

static void wake(void *ctx)
{
	struct loop *l = ctx;

	pthread_mutex_lock(&l->lock);
	l->woken = true;
	pthread_cond_signal(&l->changed);
	pthread_mutex_unlock(&l->lock);
}

static void loop_init(struct loop *l, struct kvtest *f, struct writer *w)
{
	*l = (struct loop){ .f = f };
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->changed, NULL);
	assert_int_equal(writer_client_create(w, wake, l, &l->client), 0);
}

static void loop_end(struct loop *l)
{
	writer_client_free(l->client);
	pthread_cond_destroy(&l->changed);
	pthread_mutex_destroy(&l->lock);
}

static void loop_until(struct loop *l, unsigned done)
{
	for (;;) {
		writer_client_collect(l->client);
		writer_client_turn(l->client);
		if (l->done >= done)
			return;
		pthread_mutex_lock(&l->lock);
		while (!l->woken)
			pthread_cond_wait(&l->changed, &l->lock);
		l->woken = false;
		pthread_mutex_unlock(&l->lock);
	}
}

static int row_apply(struct writer_job *job, struct kv_txn *txn)
{
	struct row *row = (struct row *)job;
	uint8_t k[4];

	row->applied++;
	if (row->refuse < 0)
		return row->refuse;
	kv_put_u32(k, row->key);
	return kv_insert(txn, row->loop->f->t[T_ONE], span_of(k, 4), span_of(zeros, row->octets));
}

static bool is_there(struct loop *l, uint32_t key)
{
	struct kv_txn *txn = kv_read_begin(l->f->kv);
	struct span value;
	uint8_t k[4];
	int rc;

	kv_put_u32(k, key);
	rc = kv_get(txn, l->f->t[T_ONE], span_of(k, 4), &value);
	kv_read_end(txn);
	return rc == 0;
}

static void row_done(struct writer_job *job, int result)
{
	struct row *row = (struct row *)job;
	struct loop *l = row->loop;

	row->result = result;
	row->order = l->done++;
	if (result < 0)
		l->refused++;
	/* Whoever is told has it committed already. */
	if (result == 0 && !is_there(l, row->key))
		l->wrong = "done before the commit";
	if (row->after != NULL)
		writer_submit(l->client, &row->after->job);
}

static void row_init(struct row *row, struct loop *l, uint32_t key, size_t octets)
{
	*row = (struct row){
		.job = { .apply = row_apply, .done = row_done },
		.loop = l, .key = key, .octets = octets, .result = 1,
	};
}

static void test_one(void **state)
{
	struct kvtest *f = *state;
	struct writer *w;
	struct loop l;
	struct row row;

	assert_int_equal(writer_create(f->kv, &w), 0);
	loop_init(&l, f, w);
	for (uint32_t i = 0; i < 20; i++) {
		row_init(&row, &l, i, 100);
		writer_submit(l.client, &row.job);
		loop_until(&l, i + 1);
		assert_int_equal(row.result, 0);
	}
	/* A client without jobs, a turn without work. */
	writer_client_turn(l.client);
	writer_client_collect(l.client);
	loop_end(&l);
	writer_client_free(NULL);
	writer_free(w);
	writer_free(NULL);
	assert_null(l.wrong);
}

static uint64_t mono_us, mono_step_us;

static uint64_t stepping_mono(void)
{
	return __atomic_add_fetch(&mono_us, mono_step_us, __ATOMIC_RELAXED);
}

/*
 * A job that waits alone is committed in its turn, without a wake; two are the thread's, and
 * so is one where commits take long.
 */
static void test_who_commits(void **state)
{
	struct kvtest *f = *state;
	struct row rows[5];
	struct writer *w;
	struct loop l;

	clock_set_source(NULL, stepping_mono);
	assert_int_equal(writer_create(f->kv, &w), 0);
	loop_init(&l, f, w);
	for (uint32_t i = 0; i < COUNT(rows); i++)
		row_init(&rows[i], &l, i, 10);
	mono_step_us = 0;
	rows[0].after = &rows[1];
	writer_submit(l.client, &rows[0].job);
	assert_int_equal(l.done, 0);
	writer_client_turn(l.client);
	assert_int_equal(l.done, 1);
	assert_true(l.woken); /* for what the callback submitted */
	l.woken = false;
	writer_client_turn(l.client);
	assert_int_equal(l.done, 2);
	assert_false(l.woken);

	mono_step_us = 10 * CLOCK_SECOND_US;
	writer_submit(l.client, &rows[2].job);
	writer_submit(l.client, &rows[3].job);
	writer_client_turn(l.client);
	assert_int_equal(l.done, 2);
	loop_until(&l, 4);

	writer_submit(l.client, &rows[4].job);
	writer_client_turn(l.client);
	assert_int_equal(l.done, 4);
	loop_until(&l, 5);
	for (size_t i = 0; i < COUNT(rows); i++)
		assert_int_equal(rows[i].order, i);
	loop_end(&l);
	writer_free(w);
	clock_set_source(NULL, NULL);
	assert_null(l.wrong);
}

static uint64_t commits(struct writer *w)
{
	struct writer_counts counts;
	uint64_t n = 0;

	writer_counts(w, &counts);
	for (size_t i = 0; i < COUNT(counts.sizes); i++)
		n += counts.sizes[i];
	return n;
}

/* Patient jobs share the flush of the next that is not, in their turn's order, whoever commits. */
static void test_patient_jobs_share(void **state)
{
	struct kvtest *f = *state;
	struct row rows[9];
	struct writer *w;
	struct loop l, other;

	clock_set_source(NULL, stepping_mono);
	mono_step_us = 0;
	assert_int_equal(writer_create(f->kv, &w), 0);
	loop_init(&l, f, w);
	loop_init(&other, f, w);
	for (uint32_t i = 0; i < COUNT(rows); i++) {
		row_init(&rows[i], &l, i, 10);
		rows[i].job.patient = i < 3 || i == 5 || i == 6;
	}
	rows[2].refuse = ERR_DENIED;
	for (size_t i = 0; i < 3; i++) {
		writer_submit(l.client, &rows[i].job);
		writer_client_turn(l.client);
	}
	assert_int_equal(l.done, 0);
	/* Another client's, alone but for these, is committed in its turn. */
	rows[3].loop = &other;
	writer_submit(other.client, &rows[3].job);
	writer_client_turn(other.client);
	assert_int_equal(other.done, 1);
	assert_int_equal(commits(w), 1);
	loop_until(&l, 3);
	assert_int_equal(rows[2].result, ERR_DENIED);

	/* Several are the thread's. */
	for (size_t i = 4; i < 9; i++)
		writer_submit(l.client, &rows[i].job);
	loop_until(&l, 8);
	assert_int_equal(commits(w), 2);
	for (size_t i = 0; i < COUNT(rows); i++)
		assert_int_equal(rows[i].order, i < 3 ? i : i == 3 ? 0 : i - 1);
	loop_end(&l);
	loop_end(&other);
	writer_free(w);
	clock_set_source(NULL, NULL);
	assert_null(l.wrong);
	assert_null(other.wrong);
}

/* Patience ends with its time, with many that wait, and with the client. */
static void test_patience_ends(void **state)
{
	struct kvtest *f = *state;
	struct row rows[200];
	struct writer *w;
	struct loop l;
	unsigned n = 3;

	assert_int_equal(writer_create(f->kv, &w), 0);
	loop_init(&l, f, w);
	for (uint32_t i = 0; i < COUNT(rows); i++) {
		row_init(&rows[i], &l, i, 10);
		rows[i].job.patient = true;
	}
	for (unsigned i = 0; i < n; i++) { /* by the system's clock */
		writer_submit(l.client, &rows[i].job);
		loop_until(&l, i + 1);
	}
	assert_int_equal(commits(w), n);
	writer_client_free(l.client);
	writer_free(w);
	clock_set_source(NULL, stepping_mono);
	mono_step_us = 0;
	assert_int_equal(writer_create(f->kv, &w), 0);
	assert_int_equal(writer_client_create(w, wake, &l, &l.client), 0);
	while (n < 150)
		writer_submit(l.client, &rows[n++].job);
	loop_until(&l, n);
	assert_int_equal(commits(w), 1);
	rows[n].after = &rows[n + 1];
	writer_submit(l.client, &rows[n++].job);
	writer_client_turn(l.client);
	assert_int_equal(l.done, n - 1);
	loop_end(&l);
	assert_int_equal(l.done, n + 1);
	for (unsigned i = 0; i < l.done; i++)
		assert_int_equal(rows[i].order, i);
	writer_free(w);
	clock_set_source(NULL, NULL);
	assert_null(l.wrong);
}

/* Jobs of a client are applied and done in order; a refusal is told and disturbs no other. */
static void test_refusals(void **state)
{
	enum { ROWS = 60 };
	struct kvtest *f = *state;
	struct row *rows = calloc(ROWS, sizeof *rows);
	struct writer *w;
	struct loop l;

	assert_non_null(rows);
	assert_int_equal(writer_create(f->kv, &w), 0);
	loop_init(&l, f, w);
	for (uint32_t i = 0; i < ROWS; i++) {
		row_init(&rows[i], &l, i % 50, 100); /* the last ten exist by then */
		if (i % 7 == 3)
			rows[i].refuse = i % 2 == 0 ? ERR_DENIED : ERR_FULL; /* as a quota would */
		writer_submit(l.client, &rows[i].job);
	}
	loop_until(&l, ROWS);
	for (uint32_t i = 0; i < ROWS; i++) {
		bool first_refused = i >= 50 && (i - 50) % 7 == 3;

		assert_int_equal(rows[i].order, i);
		if (rows[i].refuse != 0)
			assert_int_equal(rows[i].result, rows[i].refuse);
		else
			assert_int_equal(rows[i].result, i < 50 || first_refused ? 0 : ERR_EXISTS);
		assert_int_equal(rows[i].applied, 1); /* nothing had to be repeated */
	}
	loop_end(&l);
	writer_free(w);
	assert_null(l.wrong);
	free(rows);
}

/* More than one transaction's worth, submitted at once. */
static void test_many_at_once(void **state)
{
	enum { ROWS = 2000 };
	struct kvtest *f = *state;
	struct row *rows = calloc(ROWS, sizeof *rows);
	struct writer_counts counts;
	struct writer *w;
	struct loop l;

	assert_non_null(rows);
	assert_int_equal(writer_create(f->kv, &w), 0);
	loop_init(&l, f, w);
	for (uint32_t i = 0; i < ROWS; i++) {
		row_init(&rows[i], &l, i, 10);
		writer_submit(l.client, &rows[i].job);
	}
	loop_until(&l, ROWS);
	for (uint32_t i = 0; i < ROWS; i++) {
		assert_int_equal(rows[i].result, 0);
		assert_int_equal(rows[i].order, i);
	}
	/* Three full transactions and the rest. */
	row_init(&rows[0], &l, ROWS, 10);
	writer_submit(l.client, &rows[0].job);
	loop_until(&l, ROWS + 1);
	writer_counts(w, &counts);
	assert_int_equal(counts.jobs, ROWS + 1);
	assert_int_equal(counts.sizes[9], 4); /* 257 to 512 */
	assert_int_equal(counts.sizes[0], 1);
	assert_int_equal(counts.failed, 0);
	loop_end(&l);
	writer_free(w);
	assert_null(l.wrong);
	free(rows);
}

/*
 * One job of many does not fit: the transaction breaks as a whole, each is tried alone, and
 * only those that do not fit are refused.
 */
static void test_broken_transaction(void **state)
{
	enum { ROWS = 20 };
	struct kvtest *f = *state;
	struct row rows[ROWS];
	struct writer_counts counts;
	struct writer *w;
	struct loop l;

	kv_close(f->kv);
	f->kv = kvtest_open(f, &(struct kv_options){ .map_size = 512 << 10 });
	assert_int_equal(writer_create(f->kv, &w), 0);
	loop_init(&l, f, w);
	for (uint32_t i = 0; i < ROWS; i++) {
		row_init(&rows[i], &l, i, i == 7 || i == 12 ? sizeof zeros : 100);
		writer_submit(l.client, &rows[i].job);
	}
	loop_until(&l, ROWS);
	for (uint32_t i = 0; i < ROWS; i++) {
		bool big = i == 7 || i == 12;

		assert_int_equal(rows[i].result, big ? ERR_FULL : 0);
		assert_int_equal(is_there(&l, i), !big);
		assert_int_equal(rows[i].order, i);
		/* All shared a transaction, which broke at the eighth. */
		assert_int_equal(rows[i].applied, i <= 7 ? 2 : 1);
	}
	assert_int_equal(l.refused, 2);
	/* And it goes on as before. */
	row_init(&rows[0], &l, 100, 100);
	writer_submit(l.client, &rows[0].job);
	loop_until(&l, ROWS + 1);
	assert_int_equal(rows[0].result, 0);
	writer_counts(w, &counts);
	assert_int_equal(counts.failed, 1);
	assert_int_equal(counts.jobs, ROWS + 1);
	loop_end(&l);
	writer_free(w);
	assert_null(l.wrong);
}

/* A transaction cannot even begin: all are told. */
static void test_no_transaction(void **state)
{
	struct kvtest *f = *state;
	struct row rows[3];
	struct writer *w;
	struct loop l;

	kv_close(f->kv);
	f->kv = kvtest_open(f, &(struct kv_options){ .read_only = true });
	assert_int_equal(writer_create(f->kv, &w), 0);
	loop_init(&l, f, w);
	for (uint32_t i = 0; i < COUNT(rows); i++) {
		row_init(&rows[i], &l, i, 10);
		writer_submit(l.client, &rows[i].job);
	}
	loop_until(&l, COUNT(rows));
	for (uint32_t i = 0; i < COUNT(rows); i++) {
		assert_int_equal(rows[i].result, ERR_DENIED);
		assert_int_equal(rows[i].applied, 0);
	}
	loop_end(&l);
	writer_free(w);
}

/* writer_client_free waits for what is under way, what done callbacks submit included. */
static void test_free_waits(void **state)
{
	struct kvtest *f = *state;
	struct row rows[30];
	struct writer *w;
	struct loop l;

	assert_int_equal(writer_create(f->kv, &w), 0);
	loop_init(&l, f, w);
	for (uint32_t i = 0; i < COUNT(rows); i++) {
		row_init(&rows[i], &l, i, 10);
		if (i % 3 != 0)
			rows[i - 1].after = &rows[i];
	}
	for (uint32_t i = 0; i < COUNT(rows); i += 3)
		writer_submit(l.client, &rows[i].job);
	loop_end(&l);
	assert_int_equal(l.done, COUNT(rows));
	for (uint32_t i = 0; i < COUNT(rows); i++)
		assert_int_equal(rows[i].result, 0);
	writer_free(w);
	assert_null(l.wrong);
}

enum { THREADS = 6, CHAINS = 8, LENGTH = 60 };

/* CHAINS sessions, each submitting its next job when the one before is done. */
static void *submit_chains(void *arg)
{
	struct loop *l = arg;
	struct row *rows = calloc(CHAINS * LENGTH, sizeof *rows);

	l->wrong = rows == NULL ? "no memory" : NULL;
	if (rows == NULL)
		return NULL;
	for (uint32_t i = 0; i < CHAINS * LENGTH; i++) {
		row_init(&rows[i], l, l->first_key + i, 50);
		rows[i].job.patient = i % 3 == 0;
		if (i % 10 == 9)
			rows[i].refuse = ERR_DENIED;
		if (i % LENGTH != 0)
			rows[i - 1].after = &rows[i];
	}
	for (uint32_t i = 0; i < CHAINS * LENGTH; i += LENGTH)
		writer_submit(l->client, &rows[i].job);
	loop_until(l, CHAINS * LENGTH);
	for (uint32_t i = 0; i < CHAINS * LENGTH; i++) {
		if (rows[i].result != rows[i].refuse)
			l->wrong = "another result than apply's";
		if (i % LENGTH != 0 && rows[i].order <= rows[i - 1].order)
			l->wrong = "out of order";
	}
	loop_end(l);
	free(rows);
	return NULL;
}

static void test_threads(void **state)
{
	struct kvtest *f = *state;
	pthread_t threads[THREADS];
	struct loop loops[THREADS];
	struct kv_txn *txn;
	struct writer *w;

	kv_close(f->kv);
	f->kv = kvtest_open(f, &(struct kv_options){ .no_sync = true });
	assert_int_equal(writer_create(f->kv, &w), 0);
	for (size_t i = 0; i < THREADS; i++) {
		loop_init(&loops[i], f, w);
		loops[i].first_key = (uint32_t)(i * CHAINS * LENGTH);
		assert_int_equal(pthread_create(&threads[i], NULL, submit_chains, &loops[i]), 0);
	}
	for (size_t i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		if (loops[i].wrong != NULL)
			fail_msg("%s", loops[i].wrong);
	}
	writer_free(w);
	txn = kvtest_read(f->kv);
	assert_int_equal(kv_count(txn, f->t[T_ONE]), THREADS * CHAINS * LENGTH * 9 / 10);
	kv_read_end(txn);
}

#define FIXTURE_TEST(test) cmocka_unit_test_setup_teardown(test, kvtest_setup, kvtest_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(test_one),
		FIXTURE_TEST(test_who_commits),
		FIXTURE_TEST(test_patient_jobs_share),
		FIXTURE_TEST(test_patience_ends),
		FIXTURE_TEST(test_refusals),
		FIXTURE_TEST(test_many_at_once),
		FIXTURE_TEST(test_broken_transaction),
		FIXTURE_TEST(test_no_transaction),
		FIXTURE_TEST(test_free_waits),
		FIXTURE_TEST(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
