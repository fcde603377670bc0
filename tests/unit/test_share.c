/* Shares of a limited number of things: the rule, and the table under it against a plain count. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "store/share.h"

/* Takes for KEY as long as it may. How many. */
static size_t take_all(struct share *s, uint64_t key)
{
	size_t n = 0;

	for (; share_allows(s, key); n++)
		share_take(s, key);
	return n;
}

static void test_alone(void **state)
{
	struct share *s;

	(void)state;
	assert_int_equal(share_create(100, &s), 0);
	assert_int_equal(take_all(s, 7), 50);
	assert_int_equal(share_held(s, 7), 50);
	assert_int_equal(share_total(s), 50);
	assert_int_equal(share_held(s, 8), 0);
	share_give(s, 8); /* holds none */
	assert_int_equal(share_total(s), 50);
	share_give(s, 7);
	assert_int_equal(take_all(s, 7), 1);
	share_free(s);
	share_free(NULL);
}

/* However many come, and in whatever order: each gets something while any is free, and in the end
 * all get alike. */
static void test_many(void **state)
{
	static const size_t n[] = { 2, 3, 9, 50 };

	(void)state;
	for (size_t i = 0; i < sizeof n / sizeof n[0]; i++) {
		struct share *s;

		assert_int_equal(share_create(1000, &s), 0);
		for (uint64_t key = 0; key < n[i]; key++)
			assert_true(take_all(s, key) > 0 || share_total(s) == 1000);
		/* Each gives back and takes again for a while. */
		for (int round = 0; round < 2000; round++)
			for (uint64_t key = 0; key < n[i]; key++) {
				share_give(s, key);
				take_all(s, key);
			}
		for (uint64_t key = 0; key < n[i]; key++)
			assert_in_range(share_held(s, key), 1000 / (n[i] + 1) - 2,
			                1000 / (n[i] + 1) + n[i]);
		share_free(s);
	}
}

static void test_one(void **state)
{
	struct share *s;

	(void)state;
	assert_int_equal(share_create(1, &s), 0);
	assert_int_equal(take_all(s, 1), 1);
	assert_false(share_allows(s, 2));
	share_give(s, 1);
	assert_true(share_allows(s, 2));
	share_free(s);
}

/* Random steps beside a plain array of counts; keys that lie apart and side by side. */
static void test_table(void **state)
{
	static const uint64_t strides[] = { 1, 1ULL << 32, 0x9E3779B97F4A7C15U };
	enum { KEYS = 97, LIMIT = 64 };

	(void)state;
	for (size_t i = 0; i < sizeof strides / sizeof strides[0]; i++) {
		size_t count[KEYS] = { 0 }, total = 0;
		uint32_t seed = 12345;
		struct share *s;

		assert_int_equal(share_create(LIMIT, &s), 0);
		for (uint32_t step = 0; step < 20000; step++) {
			uint32_t k;

			seed = seed * 1664525u + 1013904223u;
			k = (seed >> 16) % KEYS;
			if ((seed >> 8) % 2 == 0 && total < LIMIT) {
				share_take(s, k * strides[i]);
				count[k]++;
				total++;
			} else if (count[k] > 0) {
				share_give(s, k * strides[i]);
				count[k]--;
				total--;
			}
			assert_int_equal(share_total(s), total);
			for (uint32_t j = step % 7; j < KEYS; j += 7)
				assert_int_equal(share_held(s, j * strides[i]), count[j]);
		}
		share_free(s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alone),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_one),
		cmocka_unit_test(test_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
