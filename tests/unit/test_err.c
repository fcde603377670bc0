/* Phrases and texts of errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/text.h"

static void test_phrases(void **state)
{
	(void)state;
	assert_string_equal(err_phrase(ERR_NOT_FOUND), "no such record");
	assert_string_equal(err_phrase(0), "success");
	assert_string_equal(err_phrase(17), "success");
	/* Every code has a phrase of its own, and what is no code has one too. */
	for (int code = ERR_PROTOCOL; code < 0; code++) {
		assert_non_null(err_phrase(code));
		assert_string_not_equal(err_phrase(code), "unknown error");
		for (int other = ERR_PROTOCOL; other < code; other++)
			assert_string_not_equal(err_phrase(code), err_phrase(other));
	}
	assert_string_equal(err_phrase(ERR_PROTOCOL - 1), "unknown error");
	assert_string_equal(err_phrase(INT_MIN), "unknown error");
}

static void test_set_and_prefix(void **state)
{
	struct err_text e = { "" };

	(void)state;
	assert_int_equal(err_set(&e, ERR_IO, "open %s: %d", "x", 7), ERR_IO);
	assert_string_equal(e.text, "open x: 7");
	assert_int_equal(err_prefix(&e, ERR_CONFIG, "start %s", "store"), ERR_CONFIG);
	assert_string_equal(e.text, "start store: open x: 7");
	assert_int_equal(err_set(NULL, ERR_FULL, "nobody reads"), ERR_FULL);
	assert_int_equal(err_prefix(NULL, ERR_FULL, "nobody reads"), ERR_FULL);
	/* An argument may be the text itself. */
	err_set(&e, ERR_IO, "[%s]", e.text);
	assert_string_equal(e.text, "[start store: open x: 7]");
	err_set(&e, ERR_IO, "two\nlines\tand\x7f");
	assert_string_equal(e.text, "two lines and ");
	e.text[0] = '\0';
	err_prefix(&e, ERR_IO, "alone");
	assert_string_equal(e.text, "alone");
}

/* Cut texts end with a whole character, whatever falls on the border. */
static void test_cut(void **state)
{
	static const char *const chars[] = { "a", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x93\xa7" };

	(void)state;
	for (size_t c = 0; c < sizeof chars / sizeof chars[0]; c++) {
		for (size_t shift = 0; shift < 5; shift++) {
			char in[1024] = "";
			struct err_text e;
			size_t n = shift;

			memset(in, '.', shift);
			for (; n < 800; n += strlen(chars[c]))
				memcpy(in + n, chars[c], strlen(chars[c]) + 1);
			err_set(&e, ERR_IO, "%s", in);
			assert_true(text_is_utf8(span_str(e.text)));
			assert_true(strlen(e.text) + strlen(chars[c]) >= sizeof e.text);
			assert_memory_equal(e.text, in, strlen(e.text));
			err_prefix(&e, ERR_IO, "%s", in);
			assert_true(text_is_utf8(span_str(e.text)));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_phrases),
		cmocka_unit_test(test_set_and_prefix),
		cmocka_unit_test(test_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
