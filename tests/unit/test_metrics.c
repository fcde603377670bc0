/* The text that monitoring reads: families, labels, times, histograms. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "base/metrics.h"

static void is(struct metrics *m, const char *want)
{
	assert_int_equal(m->error, 0);
	assert_string_equal(buf_cstr(&m->text), want);
	metrics_free(m);
}

static void test_families(void **state)
{
	struct metrics m;

	(void)state;
	metrics_init(&m);
	is(&m, "");

	metrics_init(&m);
	metrics_one(&m, METRICS_GAUGE, "a", "What it is.", 18446744073709551615ULL);
	metrics_family(&m, METRICS_COUNTER, "b_total", "Two labels.");
	metrics_add(&m, 0, "kind", "one", "status", "ok", NULL);
	metrics_add(&m, 7, "kind", "two", NULL);
	is(&m, "# HELP a What it is.\n# TYPE a gauge\na 18446744073709551615\n"
	       "# HELP b_total Two labels.\n# TYPE b_total counter\n"
	       "b_total{kind=\"one\",status=\"ok\"} 0\nb_total{kind=\"two\"} 7\n");
}

static void test_values_of_labels(void **state)
{
	static const char *const cases[][2] = {
		{ "", "" },
		{ "plain text", "plain text" },
		{ "say \"x\"", "say \\\"x\\\"" },
		{ "back\\slash", "back\\\\slash" },
		{ "two\nlines", "two\\nlines" },
		{ "\xc3\xb6", "\xc3\xb6" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char want[200];
		struct metrics m;

		metrics_init(&m);
		metrics_family(&m, METRICS_GAUGE, "x", "X.");
		metrics_add(&m, 1, "l", cases[i][0], NULL);
		snprintf(want, sizeof want, "# HELP x X.\n# TYPE x gauge\nx{l=\"%s\"} 1\n",
		         cases[i][1]);
		is(&m, want);
	}
}

static void test_times(void **state)
{
	struct metrics m;

	(void)state;
	metrics_init(&m);
	metrics_family(&m, METRICS_GAUGE, "t", "T.");
	metrics_add_us(&m, 0, NULL);
	metrics_add_us(&m, 1, NULL);
	metrics_add_us(&m, 1795350000123456ULL, "a", "b", NULL);
	is(&m, "# HELP t T.\n# TYPE t gauge\nt 0.000000\nt 0.000001\n"
	       "t{a=\"b\"} 1795350000.123456\n");
}

static void test_histogram(void **state)
{
	static const uint64_t bounds[] = { 1, 2, 4 }, counts[] = { 5, 0, 3, 2 };
	struct metrics m;

	(void)state;
	metrics_init(&m);
	metrics_histogram(&m, "h", "H.", bounds, counts, 3, 99);
	is(&m, "# HELP h H.\n# TYPE h histogram\nh_bucket{le=\"1\"} 5\nh_bucket{le=\"2\"} 5\n"
	       "h_bucket{le=\"4\"} 8\nh_bucket{le=\"+Inf\"} 10\nh_sum 99\nh_count 10\n");
}

/* What does not fit makes all of it void, and stays so. */
static void test_too_much(void **state)
{
	struct metrics m;

	(void)state;
	metrics_init(&m);
	m.text.limit = 60;
	metrics_one(&m, METRICS_GAUGE, "a", "What it is.", 1);
	assert_int_equal(m.error, 0);
	metrics_one(&m, METRICS_GAUGE, "b", "What it is.", 1);
	assert_int_equal(m.error, ERR_TOO_BIG);
	m.text.limit = 0;
	metrics_one(&m, METRICS_GAUGE, "c", "What it is.", 1);
	assert_int_equal(m.error, ERR_TOO_BIG);
	metrics_free(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_families),
		cmocka_unit_test(test_values_of_labels),
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_histogram),
		cmocka_unit_test(test_too_much),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
