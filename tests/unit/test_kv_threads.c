/* Key-value storage under several threads that read and write. */
/* builds: plain asan tsan */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>

#include "base/kv.h"
#include "tests/unit/kvtest.h"

#define THREADS 4
#define ROUNDS 200

/* Every reader sees the two kvtest_tables agree, as each commit left them. */
static void *read_pairs(void *arg)
{
	struct kvtest *f = arg;
	uint64_t last = 0;

	for (int i = 0; i < ROUNDS * 5; i++) {
		struct kv_txn *txn = kv_read_begin(f->kv);
		uint64_t one, two;

		if (txn == NULL)
			return "no transaction";
		one = kv_count(txn, f->t[T_ONE]);
		two = kv_count(txn, f->t[T_TWO]);
		kv_read_end(txn);
		if (one != two || one < last)
			return "not what a commit left";
		last = one;
	}
	return NULL;
}

static void *write_pairs(void *arg)
{
	struct kvtest *f = arg;

	for (int i = 0; i < ROUNDS; i++) {
		struct kv_txn *txn;
		uint8_t k[8];

		if (kv_write_begin(f->kv, &txn) < 0)
			return "no transaction";
		kv_put_u64(k, kv_count(txn, f->t[T_ONE]));
		if (kv_append(txn, f->t[T_ONE], span_of(k, 8), span_of(NULL, 0)) < 0
		    || kv_append(txn, f->t[T_TWO], span_of(k, 8), span_of(NULL, 0)) < 0
		    || kv_write_commit(txn) < 0)
			return "not written";
	}
	return NULL;
}

static void test_threads(void **state)
{
	struct kvtest *f = *state;
	pthread_t threads[2 * THREADS];
	struct kv_txn *txn;

	kv_close(f->kv);
	f->kv = kvtest_open(f, &(struct kv_options){ .no_sync = true });
	for (size_t i = 0; i < COUNT(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL,
		                                i % 2 == 0 ? read_pairs : write_pairs, f), 0);
	for (size_t i = 0; i < COUNT(threads); i++) {
		void *problem;

		pthread_join(threads[i], &problem);
		if (problem != NULL)
			fail_msg("%s", (const char *)problem);
	}
	txn = kvtest_read(f->kv);
	assert_int_equal(kv_count(txn, f->t[T_ONE]), THREADS * ROUNDS);
	kv_read_end(txn);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_threads, kvtest_setup, kvtest_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
