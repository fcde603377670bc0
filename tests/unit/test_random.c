/* Random octets: the test's source, uniformity of random_below, the layout of a UUIDv7. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/random.h"

static uint8_t script[64];
static size_t script_at;

static void scripted(void *out, size_t n)
{
	assert_true(script_at + n <= sizeof script);
	memcpy(out, script + script_at, n);
	script_at += n;
}

static int teardown(void **state)
{
	(void)state;
	random_set_source(NULL);
	return 0;
}

static void test_system(void **state)
{
	uint8_t a[600] = { 0 }, b[600] = { 0 };
	unsigned zeros = 0;

	(void)state;
	random_octets(a, sizeof a); /* over 256, which getrandom may answer in pieces */
	random_octets(b, sizeof b);
	assert_memory_not_equal(a, b, sizeof a);
	assert_memory_not_equal(a + 500, b + 500, 100);
	for (size_t i = 0; i < sizeof a; i++)
		zeros += a[i] == 0;
	assert_true(zeros < 60); /* 2.3 expected */
}

static void test_below(void **state)
{
	unsigned seen[7] = { 0 };
	uint64_t value;

	(void)state;
	for (int i = 0; i < 7000; i++) {
		value = random_below(7);
		assert_true(value < 7);
		seen[value]++;
	}
	for (int i = 0; i < 7; i++)
		assert_in_range(seen[i], 700, 1300); /* 10 standard deviations */
	assert_int_equal(random_below(1), 0);

	/* 2^64 mod 3 is 1: the first value (0) would make remainder 0 likelier and is dropped. */
	random_set_source(scripted);
	script_at = 0;
	memset(script, 0, 8);
	memset(script + 8, 0, 8);
	value = 5;
	memcpy(script + 16, &value, 8);
	assert_int_equal(random_below(3), 2);
	assert_int_equal(script_at, 24);
}

static void test_uuid7(void **state)
{
	static const uint8_t want_ones[16] = { 0x01, 0x7f, 0x22, 0xe2, 0x79, 0xb0, 0x7f, 0xff,
		                               0xbf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	static const uint8_t want_zeros[16] = { 0x01, 0x7f, 0x22, 0xe2, 0x79, 0xb0, 0x70, 0x00,
		                                0x80 };
	uint8_t id[16];

	(void)state;
	/* The moment of RFC 9562's example (appendix A.6): 0x017F22E279B0 ms. */
	random_set_source(scripted);
	script_at = 0;
	memset(script, 0xff, sizeof script);
	random_uuid7(id, 0x017F22E279B0ULL * 1000 + 999);
	assert_memory_equal(id, want_ones, 16);
	script_at = 0;
	memset(script, 0, sizeof script);
	random_uuid7(id, 0x017F22E279B0ULL * 1000);
	assert_memory_equal(id, want_zeros, 16);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_system),
		cmocka_unit_test_teardown(test_below, teardown),
		cmocka_unit_test_teardown(test_uuid7, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
