/* Views of octets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/span.h"

static void test_eq(void **state)
{
	static const struct {
		const char *a, *b;
		bool eq, nocase;
	} cases[] = {
		{ "", "", true, true },
		{ "a", "", false, false },
		{ "Date", "date", false, true },
		{ "Date", "Date", true, true },
		{ "Date", "Data", false, false },
		{ "[{@`", "{[`@", false, false }, /* neighbours of the letters */
		{ "\xc3\x84", "\xc3\xa4", false, false }, /* only ASCII folds */
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct span a = span_str(cases[i].a);
		struct span b = span_str(cases[i].b);

		assert_int_equal(span_eq(a, b), cases[i].eq);
		assert_int_equal(span_eq_str(a, cases[i].b), cases[i].eq);
		assert_int_equal(span_eq_nocase(a, b), cases[i].nocase);
		assert_int_equal(span_eq_nocase(b, a), cases[i].nocase);
	}
	assert_true(span_eq(span_of(NULL, 0), span_str(NULL)));
	assert_true(span_eq_nocase(span_of(NULL, 0), span_str("")));
}

static void test_after(void **state)
{
	struct span s = span_str("abc");

	(void)state;
	assert_true(span_eq_str(span_after(s, 0), "abc"));
	assert_true(span_eq_str(span_after(s, 2), "c"));
	assert_int_equal(span_after(s, 3).n, 0);
	assert_int_equal(span_after(s, 4).n, 0);
}

static void test_copies(void **state)
{
	char out[4] = "zzz";
	char *copy = span_dup(span_of("ab\0c", 4));

	(void)state;
	assert_non_null(copy);
	assert_memory_equal(copy, "ab\0c", 5);
	free(copy);
	copy = span_dup(span_of(NULL, 0));
	assert_string_equal(copy, "");
	free(copy);

	assert_int_equal(span_copy(span_str("abc"), out, sizeof out), 0);
	assert_string_equal(out, "abc");
	assert_int_equal(span_copy(span_str("abcd"), out, sizeof out), ERR_TOO_BIG);
	assert_string_equal(out, "");
	assert_int_equal(span_copy(span_of(NULL, 0), out, 1), 0);
	out[0] = 'x';
	assert_int_equal(span_copy(span_of(NULL, 0), out, 0), ERR_TOO_BIG);
	assert_int_equal(out[0], 'x');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_eq),
		cmocka_unit_test(test_after),
		cmocka_unit_test(test_copies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
