/* Header fields by offsets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "message/header.h"

#define FIELDS 4

struct field_case {
	const char *header;
	struct {
		const char *name, *value, *whole;
	} field[FIELDS];
};

#define NO_FIELD { .name = NULL }

static const struct field_case fields[] = {
	{ "", { NO_FIELD } },
	{ "\r\n", { NO_FIELD } },
	{ "\nA: b\n", { NO_FIELD } },
	{ "A: b\r\n\r\nC: d\r\n", { { "A", " b", "A: b\r\n" } } },
	{ "A: b\n\nC: d\n", { { "A", " b", "A: b\n" } } },
	{ "A: b", { { "A", " b", "A: b" } } },
	{ "A:", { { "A", "", "A:" } } },
	{ "A:\r", { { "A", "\r", "A:\r" } } },
	{ "A:\r\n", { { "A", "", "A:\r\n" } } },
	{ "A: b\r\n c\r\n\td\r\nE:f\r\n\r\n",
	  { { "A", " b\r\n c\r\n\td", "A: b\r\n c\r\n\td\r\n" }, { "E", "f", "E:f\r\n" } } },
	{ "A: b\n \n c\nD: e\n", { { "A", " b\n \n c", "A: b\n \n c\n" }, { "D", " e", "D: e\n" } } },
	{ "Subject \t: x\r\n", { { "Subject", " x", "Subject \t: x\r\n" } } },
	{ "A: b: c\r\n", { { "A", " b: c", "A: b: c\r\n" } } },
	/* what is no field loses nothing and ends nothing */
	{ "From bob Mon 10:10\nA: b\n",
	  { { "", "From bob Mon 10:10", "From bob Mon 10:10\n" }, { "A", " b", "A: b\n" } } },
	{ "no colon\r\n more\r\nA: b\r\n",
	  { { "", "no colon\r\n more", "no colon\r\n more\r\n" }, { "A", " b", "A: b\r\n" } } },
	{ " first\r\nA: b\r\n", { { "", " first", " first\r\n" }, { "A", " b", "A: b\r\n" } } },
	{ ": empty name\r\n", { { "", ": empty name", ": empty name\r\n" } } },
	{ "\xc3\xa4: b\r\n", { { "", "\xc3\xa4: b", "\xc3\xa4: b\r\n" } } },
	{ "A: b\r\r\n\r\n", { { "A", " b\r", "A: b\r\r\n" } } },
	{ "A: b\rC: d\r\n", { { "A", " b\rC: d", "A: b\rC: d\r\n" } } },
	{ "\r\r\nA: b\r\n", { { "", "\r", "\r\r\n" }, { "A", " b", "A: b\r\n" } } },
};

static void check_span(struct span got, const char *want)
{
	assert_int_equal(got.n, strlen(want));
	assert_memory_equal(got.p, want, got.n);
}

static void test_fields(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
		struct header_iter it;
		struct header_field f;
		size_t n = 0;

		header_begin(&it, span_str(fields[i].header));
		for (; header_next(&it, &f); n++) {
			assert_true(n < FIELDS && fields[i].field[n].name != NULL);
			check_span(f.name, fields[i].field[n].name);
			check_span(f.value, fields[i].field[n].value);
			check_span(f.whole, fields[i].field[n].whole);
		}
		assert_true(n == FIELDS || fields[i].field[n].name == NULL);
	}
}

static void test_find(void **state)
{
	struct span header = span_str("x: 1\r\nSubject: a\r\nsubject: b\r\n\r\nTo: body\r\n");
	struct header_field f;

	(void)state;
	assert_int_equal(header_find(header, "SUBJECT", &f), 0);
	check_span(f.value, " a");
	assert_int_equal(header_find(header, "To", &f), ERR_NOT_FOUND);
	assert_int_equal(header_find(header, "Subj", &f), ERR_NOT_FOUND);
	assert_int_equal(header_find(span_of(NULL, 0), "To", &f), ERR_NOT_FOUND);
}

static void test_unfold(void **state)
{
	static const struct {
		const char *value;
		size_t n, cap;
		const char *out;
		int rc;
	} cases[] = {
		{ "", 0, 9, "", 0 },
		{ " a", 2, 9, "a", 0 },
		{ " \t a b \r\n", 8, 9, "a b", 0 },
		{ "a\r\n b", 5, 9, "a b", 0 },
		{ "a\n\tb", 4, 9, "a\tb", 0 },
		{ "a\r\n \r\n b", 9, 9, "a  b", 0 },
		{ "\r\n a", 4, 9, "a", 0 },
		{ "a\rb\0c", 5, 9, "a b c", 0 },
		{ "abcdefgh", 8, 9, "abcdefgh", 0 },
		{ "abcdefghi", 9, 9, "abcdefgh", ERR_TOO_BIG },
		{ "abc", 3, 1, "", ERR_TOO_BIG },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char out[9];
		struct span result;

		assert_int_equal(header_unfold(span_of(cases[i].value, cases[i].n), out, cases[i].cap,
		                               &result), cases[i].rc);
		assert_string_equal(out, cases[i].out);
		check_span(result, cases[i].out);
	}
}

static void test_size(void **state)
{
	static const struct {
		const char *message;
		size_t size;
	} cases[] = {
		{ "", 0 },
		{ "\r\nbody", 2 },
		{ "\nbody", 1 },
		{ "A: b\r\n\r\nbody\r\n\r\n", 8 },
		{ "A: b\n\nbody", 6 },
		{ "A: b\r\n\nbody", 7 },
		{ "A: b\r\n", 6 },
		{ "A: b", 4 },
		{ "junk\r\n\r\nbody", 8 },
		{ "A: b\r\r\n\r\nbody", 9 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		assert_int_equal(header_size(span_str(cases[i].message)), cases[i].size);
}

/* Of a header read in part, a field that may be cut is no field. */
static void test_whole_fields(void **state)
{
	const char *header = "A: b\r\nC: d\r\n e\r\nF: g\r\n\r\n";
	static const size_t ends[] = { 24, 22, 16, 6 }; /* where whole fields end, and the header */
	size_t n = strlen(header);

	(void)state;
	for (size_t cut = 0; cut <= n; cut++) {
		struct span whole = header_whole_fields(span_of(header, cut));
		size_t want = 0;

		/* The octet behind a field tells that nothing continues it. */
		for (size_t i = 0; i < 4 && want == 0; i++)
			if (cut > ends[i] || (i == 0 && cut == n))
				want = ends[i];
		assert_int_equal(whole.n, want);
	}
}

/* A field of 10 MB, and 10 MB of fields, in one go each. */
static void test_long(void **state)
{
	size_t n = 10 << 20;
	char *p = malloc(n);
	struct header_field f;

	(void)state;
	assert_non_null(p);
	memset(p, 'x', n);
	memcpy(p, "A: ", 3);
	memcpy(p + n - 9, "\r\nTo: b\r\n", 9);
	assert_int_equal(header_find(span_of(p, n), "To", &f), 0);
	check_span(f.value, " b");
	for (size_t i = 0; i + 6 <= n - 9; i += 6)
		memcpy(p + i, "X: y\r\n", 6);
	memset(p + (n - 9) / 6 * 6, ' ', (n - 9) % 6);
	assert_int_equal(header_find(span_of(p, n), "To", &f), 0);
	assert_int_equal(header_size(span_of(p, n)), n);
	free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_unfold),
		cmocka_unit_test(test_size),
		cmocka_unit_test(test_whole_fields),
		cmocka_unit_test(test_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
