/* base/alarm: raised once, told once, by whoever comes first. */
/* builds: plain asan tsan */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/alarm.h"

static void count(void *ctx)
{
	atomic_fetch_add((atomic_int *)ctx, 1);
}

static void test_watched(void **state)
{
	struct alarm a;
	atomic_int told = 0;

	(void)state;
	alarm_init(&a);
	alarm_watch(&a, count, &told);
	assert_false(alarm_raised(&a));
	assert_int_equal(told, 0);
	assert_true(alarm_raise(&a));
	assert_false(alarm_raise(&a));
	assert_true(alarm_raised(&a));
	assert_int_equal(told, 1);
	alarm_destroy(&a);
}

static void test_raised_before(void **state)
{
	struct alarm a;
	atomic_int told = 0;

	(void)state;
	alarm_init(&a);
	alarm_raise(&a);
	alarm_watch(&a, count, &told);
	assert_int_equal(told, 1);
	alarm_destroy(&a);
}

static void test_watch_ended(void **state)
{
	struct alarm a;
	atomic_int told = 0;

	(void)state;
	alarm_init(&a);
	alarm_watch(&a, count, &told);
	alarm_watch(&a, NULL, NULL);
	alarm_raise(&a);
	assert_int_equal(told, 0);
	alarm_destroy(&a);
}

static void *raise_it(void *alarm)
{
	return alarm_raise(alarm) ? alarm : NULL;
}

static void test_threads(void **state)
{
	pthread_t threads[4];
	struct alarm a;
	atomic_int told = 0;
	int first = 0;

	(void)state;
	alarm_init(&a);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, raise_it, &a), 0);
	alarm_watch(&a, count, &told);
	for (size_t i = 0; i < 4; i++) {
		void *result;

		pthread_join(threads[i], &result);
		first += result != NULL;
	}
	assert_int_equal(first, 1);
	assert_int_equal(told, 1);
	alarm_destroy(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_watched),
		cmocka_unit_test(test_raised_before),
		cmocka_unit_test(test_watch_ended),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
