/* The notification agent's table of stores that failed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/name.h"
#include "notify/failing.h"

static uint64_t now_us;

static uint64_t now(void)
{
	return now_us;
}

static int setup(void **state)
{
	now_us = 1000;
	clock_set_source(NULL, now);
	return failing_create((struct failing **)state);
}

static int teardown(void **state)
{
	failing_free(*state);
	clock_set_source(NULL, NULL);
	return 0;
}

static uint64_t left(struct failing *f, const char *domain)
{
	struct err_text why = { "" };
	uint64_t us = 0;

	if (!failing_look(f, domain, &us, &why)) {
		return 0;
	}
	assert_non_null(strstr(why.text, "because"));
	return us;
}

static void test_time(void **state)
{
	assert_int_equal(left(*state, "a.example"), 0);
	assert_int_equal(left(*state, ""), 0);
	failing_note(*state, "a.example", 500, "because");
	failing_note(*state, "b.example", 900, "because");
	now_us = 1400;
	assert_int_equal(left(*state, "a.example"), 100);
	assert_int_equal(left(*state, "b.example"), 500);
	assert_int_equal(left(*state, "c.example"), 0);
	/* Once more. */
	failing_note(*state, "a.example", 500, "because");
	now_us = 1899;
	assert_int_equal(left(*state, "a.example"), 1);
	now_us = 1900;
	assert_int_equal(left(*state, "a.example"), 0);
	assert_int_equal(left(*state, "b.example"), 0);
}

/* A flood of failing domains drives out those whose time ends first, and never breaks. */
static void test_full(void **state)
{
	char domain[NAME_DOMAIN_MAX + 1], why[1000];
	unsigned there = 0;

	memset(why, 'x', sizeof why);
	memcpy(why, "because", 7);
	why[sizeof why - 1] = '\0';
	failing_note(*state, "long.example", 1000000, why);
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(domain, sizeof domain, "d%u.example", i);
		failing_note(*state, domain, 1000 + i, why);
		assert_int_equal(left(*state, domain), 1000 + i);
	}
	assert_int_equal(left(*state, "long.example"), 1000000);
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(domain, sizeof domain, "d%u.example", i);
		there += left(*state, domain) != 0;
	}
	assert_int_equal(there, 127);
	memset(domain, 'd', NAME_DOMAIN_MAX);
	domain[NAME_DOMAIN_MAX] = '\0';
	failing_note(*state, domain, 5, why);
	assert_int_equal(left(*state, domain), 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_time, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
