/* The gate: who shuts it is alone, and gives up when somebody stays inside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/gate.h"

static void test_alone(void **state)
{
	struct gate g;

	(void)state;
	gate_init(&g);
	assert_true(gate_shut(&g, 0));
	gate_open(&g);
	gate_enter(&g);
	gate_enter(&g);
	assert_false(gate_shut(&g, 0));
	gate_leave(&g);
	assert_false(gate_shut(&g, 0));
	/* The failures left it open. */
	gate_enter(&g);
	gate_leave(&g);
	gate_leave(&g);
	assert_true(gate_shut(&g, 0));
	gate_open(&g);
	gate_destroy(&g);
}

enum { THREADS = 6, ROUNDS = 2000 };

struct shared {
	struct gate gate;
	int alone;  /* who has shut the gate; written without other protection */
	int inside; /* atomic */
	int wrong;  /* atomic */
};

/* Mostly in and out; now and then alone. */
static void *pass(void *arg)
{
	struct shared *s = arg;

	for (int i = 0; i < ROUNDS; i++) {
		if (i % 20 == 7) {
			if (!gate_shut(&s->gate, 60)) {
				__atomic_add_fetch(&s->wrong, 1, __ATOMIC_RELAXED);
				continue;
			}
			s->alone++;
			if (s->alone != 1 || __atomic_load_n(&s->inside, __ATOMIC_RELAXED) != 0)
				__atomic_add_fetch(&s->wrong, 1, __ATOMIC_RELAXED);
			s->alone--;
			gate_open(&s->gate);
			continue;
		}
		gate_enter(&s->gate);
		__atomic_add_fetch(&s->inside, 1, __ATOMIC_RELAXED);
		if (s->alone != 0)
			__atomic_add_fetch(&s->wrong, 1, __ATOMIC_RELAXED);
		__atomic_sub_fetch(&s->inside, 1, __ATOMIC_RELAXED);
		gate_leave(&s->gate);
	}
	return NULL;
}

static void test_threads(void **state)
{
	struct shared s = { .alone = 0 };
	pthread_t threads[THREADS];

	(void)state;
	gate_init(&s.gate);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, pass, &s), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(s.wrong, 0);
	gate_destroy(&s.gate);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alone),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
