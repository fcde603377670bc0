/* A loop as a client of the writer: jobs come back on the loop's thread, whatever it sleeps on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>

#include "kvtest.h"
#include "session/daemon.h"

#define JOBS 200

/* A worker: a loop, its client of the writer, and jobs that follow one another. */
struct worker {
	struct kvtest *f;
	struct writer *writer;
	struct loop *loop;
	struct writer_client *client;
	void *attachment;
	pthread_t thread;
	struct worker_job {
		struct writer_job job;
		struct worker *worker;
		uint32_t key;
	} jobs[JOBS];
	unsigned submitted, done, wrong;
	unsigned at_once; /* how many are under way at a time */
};

static int apply(struct writer_job *job, struct kv_txn *txn)
{
	struct worker_job *j = (struct worker_job *)(void *)job;
	uint8_t key[4];

	kv_put_u32(key, j->key);
	return kv_insert(txn, j->worker->f->t[T_ONE], span_of(key, 4), span_of(key, 4));
}

static void submit(struct worker *w)
{
	struct worker_job *j = &w->jobs[w->submitted++];

	j->job.apply = apply;
	writer_submit(w->client, &j->job);
}

static void on_done(struct writer_job *job, int result)
{
	struct worker_job *j = (struct worker_job *)(void *)job;
	struct worker *w = j->worker;

	/* On the loop's thread, and every tenth key was there already. */
	if (result != (j->key % 10 == 0 ? ERR_EXISTS : 0) || !pthread_equal(pthread_self(), w->thread))
		w->wrong++;
	if (w->submitted < JOBS)
		submit(w);
	if (++w->done == JOBS)
		loop_stop(w->loop);
}

static void *work(void *ctx)
{
	struct worker *w = ctx;

	w->thread = pthread_self();
	while (w->submitted < w->at_once)
		submit(w);
	if (w->at_once < JOBS)
		loop_run(w->loop);
	return NULL;
}

static void worker_init(struct worker *w, struct kvtest *f, struct writer *writer, uint32_t first)
{
	unsigned i;

	*w = (struct worker){ .f = f, .writer = writer, .at_once = 3 };
	for (i = 0; i < JOBS; i++) {
		w->jobs[i].worker = w;
		w->jobs[i].key = first + i;
		w->jobs[i].job.done = on_done;
	}
	assert_int_equal(loop_create(&w->loop), 0);
	assert_int_equal(daemon_writer_attach(w->loop, writer, &w->client, &w->attachment), 0);
}

static void fill(struct kvtest *f, uint32_t first)
{
	struct kv_txn *txn = kvtest_write(f->kv);
	uint8_t key[4];
	uint32_t i;

	for (i = first; i < first + JOBS; i += 10) {
		kv_put_u32(key, i);
		assert_int_equal(kv_put(txn, f->t[T_ONE], span_of(key, 4), span_of(key, 4)), 0);
	}
	assert_int_equal(kv_write_commit(txn), 0);
}

static void test_loops_and_their_jobs(void **state)
{
	static struct worker workers[2];
	struct kvtest *f = *state;
	struct writer *writer;
	pthread_t thread[2];
	unsigned i;

	fill(f, 1000);
	fill(f, 2000);
	assert_int_equal(writer_create(f->kv, &writer), 0);
	for (i = 0; i < 2; i++)
		worker_init(&workers[i], f, writer, 1000 + 1000 * i);
	for (i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, work, &workers[i]), 0);
	for (i = 0; i < 2; i++) {
		pthread_join(thread[i], NULL);
		assert_int_equal(workers[i].done, JOBS);
		assert_int_equal(workers[i].wrong, 0);
		daemon_writer_detach(workers[i].attachment);
		loop_free(workers[i].loop);
	}
	writer_free(writer);
}

/* Whoever detaches with jobs under way hears of them before it returns. */
static void test_detach_waits(void **state)
{
	static struct worker w;
	struct kvtest *f = *state;
	struct writer *writer;

	fill(f, 3000);
	assert_int_equal(writer_create(f->kv, &writer), 0);
	worker_init(&w, f, writer, 3000);
	w.at_once = JOBS;
	work(&w);
	daemon_writer_detach(w.attachment);
	daemon_writer_detach(NULL);
	assert_int_equal(w.done, JOBS);
	assert_int_equal(w.wrong, 0);
	loop_free(w.loop);
	writer_free(writer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_loops_and_their_jobs, kvtest_setup,
		                                kvtest_teardown),
		cmocka_unit_test_setup_teardown(test_detach_waits, kvtest_setup, kvtest_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
