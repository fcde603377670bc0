/* The growing buffer: content, limits, moves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/buf.h"
#include "base/err.h"

static void test_add_and_consume(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 0);
	assert_int_equal(buf_view(&b).n, 0);
	assert_null(b.p);
	assert_int_equal(buf_add(&b, NULL, 0), 0);
	assert_null(b.p);
	assert_int_equal(buf_add(&b, "abc", 3), 0);
	assert_int_equal(buf_add_str(&b, "def"), 0);
	assert_int_equal(buf_addf(&b, "%d-%s", 17, "g"), 0);
	assert_true(span_eq_str(buf_view(&b), "abcdef17-g"));
	buf_consume(&b, 3);
	assert_true(span_eq_str(buf_view(&b), "def17-g"));
	assert_string_equal(buf_cstr(&b), "def17-g");
	assert_int_equal(buf_view(&b).n, 7);
	buf_shrink(&b);
	assert_true(span_eq_str(buf_view(&b), "def17-g"));
	buf_consume(&b, 7);
	assert_int_equal(buf_view(&b).n, 0);
	assert_non_null(b.p);
	assert_string_equal(buf_cstr(&b), "");
	buf_shrink(&b);
	assert_null(b.p);
	assert_string_equal(buf_cstr(&b), "");
	buf_free(&b);
	buf_free(&b);
}

static void test_limit(void **state)
{
	struct buf b;
	uint8_t *at;

	(void)state;
	buf_init(&b, 8);
	assert_int_equal(buf_add_str(&b, "12345678"), 0);
	assert_string_equal(buf_cstr(&b), "12345678"); /* the NUL is not counted */
	assert_int_equal(buf_add_str(&b, "9"), ERR_TOO_BIG);
	assert_int_equal(buf_addf(&b, "%c", '9'), ERR_TOO_BIG);
	assert_int_equal(buf_reserve(&b, 1, &at), ERR_TOO_BIG);
	assert_int_equal(buf_reserve(&b, SIZE_MAX, &at), ERR_TOO_BIG);
	assert_true(span_eq_str(buf_view(&b), "12345678"));
	buf_consume(&b, 4);
	assert_int_equal(buf_addf(&b, "%s", "abcd"), 0);
	assert_true(span_eq_str(buf_view(&b), "5678abcd"));
	buf_free(&b);
	assert_int_equal(b.limit, 8);

	buf_init(&b, 0);
	assert_int_equal(buf_add_str(&b, "kept"), 0);
	assert_int_equal(buf_reserve(&b, SIZE_MAX, &at), ERR_NOMEM);
	assert_int_equal(buf_reserve(&b, SIZE_MAX / 4, &at), ERR_NOMEM);
	assert_true(span_eq_str(buf_view(&b), "kept"));
	buf_free(&b);
}

static void test_reserve(void **state)
{
	struct buf b;
	uint8_t *at = NULL;

	(void)state;
	buf_init(&b, 0);
	assert_int_equal(buf_reserve(&b, 0, &at), 0);
	assert_non_null(at);
	assert_int_equal(buf_reserve(&b, 1000, &at), 0);
	memset(at, 'x', 1000);
	buf_commit(&b, 10);
	assert_true(span_eq_str(buf_view(&b), "xxxxxxxxxx"));
	buf_free(&b);
}

/* A long stream through the buffer, every mix of pieces in and out, comes out as it went in. */
static void test_stream(void **state)
{
	static const size_t pieces[] = { 1, 3, 7, 64, 255, 256, 257, 1000, 5000 };
	const size_t count = sizeof pieces / sizeof pieces[0];

	(void)state;
	for (size_t in = 0; in < count; in++) {
		for (size_t out = 0; out < count; out++) {
			struct buf b;
			size_t added = 0, taken = 0;

			buf_init(&b, 0);
			while (added < 20000) {
				uint8_t *at;
				size_t n = pieces[in];

				assert_int_equal(buf_reserve(&b, n, &at), 0);
				for (size_t i = 0; i < n; i++)
					at[i] = (uint8_t)((added + i) % 251);
				buf_commit(&b, n);
				added += n;
				n = buf_view(&b).n < pieces[out] ? buf_view(&b).n : pieces[out];
				for (size_t i = 0; i < n; i++)
					assert_int_equal(buf_view(&b).p[i], (taken + i) % 251);
				buf_consume(&b, n);
				taken += n;
			}
			assert_int_equal(buf_view(&b).n, added - taken);
			/* Memory stays in proportion to what is held. */
			if (out >= in)
				assert_true(b.cap <= 4 * (pieces[in] + pieces[out]) + 256);
			buf_free(&b);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_add_and_consume),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_reserve),
		cmocka_unit_test(test_stream),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
