/* Times: reading and writing them, and the test's clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/err.h"

#define NOW 1795451539000007ULL /* 2026-11-23T16:32:19Z and 7 us */

static uint64_t fixed_now(void)
{
	return 17;
}

static uint64_t fixed_mono(void)
{
	return 4;
}

static void test_source(void **state)
{
	uint64_t mono;

	(void)state;
	assert_true(clock_now_us() > 1700000000 * CLOCK_SECOND_US);
	mono = clock_mono_us();
	assert_true(clock_mono_us() >= mono);
	clock_set_source(fixed_now, fixed_mono);
	assert_int_equal(clock_now_us(), 17);
	assert_int_equal(clock_mono_us(), 4);
	clock_set_source(NULL, NULL);
	assert_true(clock_now_us() > 1700000000 * CLOCK_SECOND_US);
}

/* A wait ends by the system's clock, whatever a test has set. */
static void test_wait(void **state)
{
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
	uint64_t before = clock_mono_us();

	(void)state;
	clock_set_source(fixed_now, fixed_mono);
	pthread_mutex_lock(&lock);
	while (clock_wait(&changed, &lock, 2000))
		; /* woken for nothing */
	assert_false(clock_wait(&changed, &lock, 0));
	pthread_mutex_unlock(&lock);
	clock_set_source(NULL, NULL);
	assert_true(clock_mono_us() >= before + 2000);
}

static void test_format(void **state)
{
	static const struct {
		uint64_t seconds;
		const char *text;
	} cases[] = {
		{ 0, "1970-01-01T00:00:00Z" },
		{ 951782400, "2000-02-29T00:00:00Z" },
		{ NOW / CLOCK_SECOND_US, "2026-11-23T16:32:19Z" },
		{ 4102444799, "2099-12-31T23:59:59Z" },
		{ 253402300799, "9999-12-31T23:59:59Z" },
		{ 253402300800, "9999-12-31T23:59:59Z" },
		{ UINT64_MAX / CLOCK_SECOND_US, "9999-12-31T23:59:59Z" },
	};
	char out[21];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		clock_format(cases[i].seconds * CLOCK_SECOND_US, out, sizeof out);
		assert_string_equal(out, cases[i].text);
	}
	clock_format(NOW, out, 11);
	assert_string_equal(out, "2026-11-23");
}

static void test_parse(void **state)
{
	static const struct {
		const char *text;
		uint64_t us; /* 0: malformed */
	} cases[] = {
		{ "2026-11-23T16:32:19Z", NOW - 7 },
		{ "2026-11-23 16:32:19Z", NOW - 7 },
		{ "2026-11-23t16:32:19z", NOW - 7 },
		{ "2026-11-23T17:32:19+01:00", NOW - 7 },
		{ "2026-11-23 10:02:19-06:30", NOW - 7 },
		{ "2026-11-24T00:32:19+08:00", NOW - 7 },
		{ "2026-11-23T16:32Z", NOW - 7 - 19 * CLOCK_SECOND_US },
		{ "2026-11-23T17:32+01:00", NOW - 7 - 19 * CLOCK_SECOND_US },
		{ "2026-11-23", 1795392000 * CLOCK_SECOND_US },
		{ "2000-02-29", 951782400 * CLOCK_SECOND_US },
		{ "2016-12-31T23:59:60Z", 1483228800 * CLOCK_SECOND_US },
		{ "9999-12-31T23:59:59Z", 253402300799 * CLOCK_SECOND_US },
		{ "+2h", NOW + 2 * CLOCK_HOUR_US },
		{ "+90d", NOW + 90 * CLOCK_DAY_US },
		{ "+5m", NOW + 5 * CLOCK_MINUTE_US },
		{ "+0s", NOW },
		{ "", 0 },
		{ "+", 0 },
		{ "+5", 0 },
		{ "+h", 0 },
		{ "+-2h", 0 },
		{ "+2h ", 0 },
		{ "+2w", 0 },
		{ "+18446744073709551615s", 0 },
		{ "+99999999999999999999d", 0 },
		{ "2h", 0 },
		{ "2026-11-23T16:32:19", 0 }, /* of which zone? */
		{ "2026-11-23 16:32", 0 },
		{ "2026-11-23T", 0 },
		{ "2026-11-23Z", 0 },
		{ "2026-11-23T16Z", 0 },
		{ "2026-11-23T16:32:19.5Z", 0 },
		{ "2026-11-23T16:32:19Zx", 0 },
		{ "2026-11-23T16:32:19+0100", 0 },
		{ "2026-11-23T16:32:19+1:00", 0 },
		{ "2026-11-23T24:00:00Z", 0 },
		{ "2026-11-23T16:60:00Z", 0 },
		{ "2026-11-23T16:32:61Z", 0 },
		{ "2026-11-31", 0 },
		{ "2026-02-29", 0 },
		{ "2100-02-29", 0 },
		{ "2026-13-01", 0 },
		{ "2026-00-01", 0 },
		{ "2026-01-00", 0 },
		{ "2026-1-1", 0 },
		{ "26-01-01", 0 },
		{ "1969-12-31", 0 },
		{ "1970-01-01T00:00:00+00:01", 0 },
		{ " 2026-11-23", 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		uint64_t us = 1;
		int rc = clock_parse(cases[i].text, NOW, &us);

		if (rc != (cases[i].us == 0 ? ERR_MALFORMED : 0)
		    || us != (cases[i].us == 0 ? 1 : cases[i].us))
			fail_msg("\"%s\": %d, %llu", cases[i].text, rc, (unsigned long long)us);
	}
}

/* The zone of the person who runs this must not matter. */
static void test_parse_elsewhere(void **state)
{
	uint64_t us;
	char out[21];

	(void)state;
	setenv("TZ", "XYZ-7:30", 1);
	tzset();
	assert_int_equal(clock_parse("2026-11-23T16:32:19Z", 0, &us), 0);
	assert_int_equal(us, NOW - 7);
	clock_format(NOW, out, sizeof out);
	assert_string_equal(out, "2026-11-23T16:32:19Z");
	unsetenv("TZ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_source),
		cmocka_unit_test(test_wait),
		cmocka_unit_test(test_format),
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_parse_elsewhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
