/* Content types, dispositions, parameters; RFC 2231 and what is sent in its place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "message/param.h"

static void check_span(struct span got, const char *want)
{
	assert_int_equal(got.n, strlen(want));
	assert_memory_equal(got.p, want, got.n);
}

static void test_type(void **state)
{
	static const struct {
		const char *value, *type, *subtype; /* type NULL: malformed */
	} cases[] = {
		{ "text/plain", "text", "plain" },
		{ " TEXT/Plain ; charset=x", "TEXT", "Plain" },
		{ "(c) text (c) / (c) plain (c)", "text", "plain" },
		{ "\r\n\ttext/x-y.z+json", "text", "x-y.z+json" },
		{ "text/plain charset=x", "text", "plain" },
		{ "", NULL, NULL },
		{ "text", NULL, NULL },
		{ "text/", NULL, NULL },
		{ "/plain", NULL, NULL },
		{ "text;charset=x", NULL, NULL },
		{ "\"text\"/plain", NULL, NULL },
		{ "(no end text/plain", NULL, NULL },
	};
	struct param_type type;
	struct span token, rest;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int rc = param_parse_type(span_str(cases[i].value), &type);

		assert_int_equal(rc, cases[i].type == NULL ? ERR_MALFORMED : 0);
		if (rc == 0) {
			check_span(type.type, cases[i].type);
			check_span(type.subtype, cases[i].subtype);
		}
	}
	assert_int_equal(param_parse_token(span_str(" (x) base64 (y)"), &token, &rest), 0);
	check_span(token, "base64");
	assert_int_equal(param_parse_token(span_str(" ;filename=x"), &token, &rest), ERR_MALFORMED);
}

/* What param_get and param_get_text find of "x"; NULL: nothing. */
static void test_get(void **state)
{
	static const struct {
		const char *params, *raw, *text;
	} cases[] = {
		{ "", NULL, NULL },
		{ ";x=y", "y", "y" },
		{ "; X = y ; z=1", "y", "y" },
		{ ";a=b;x=\"y z\"", "y z", "y z" },
		{ ";x=\"a\\\"b\\\\c\"", "a\"b\\c", "a\"b\\c" },
		{ ";x=\"a;x=b\";x=c", "a;x=b", "a;x=b" },
		{ ";x=\"\"", "", "" },
		{ ";x=", "", "" },
		{ ";x", NULL, NULL },
		{ ";x;x=y", "y", "y" },
		{ ";=z;x=y", "y", "y" },
		{ ";\"x\"=z;x=y", "y", "y" },
		{ ";x=us-ascii (Plain text)", "us-ascii", "us-ascii" },
		{ ";(c)x(c)=(c)y(c);z=1", "y(c)", "y(c)" },
		{ ";x=my file.txt ;z=1", "my file.txt", "my file.txt" },
		{ ";x=----=_Part/1?", "----=_Part/1?", "----=_Part/1?" },
		{ ";x=\"fold\r\n ed\"", "fold ed", "fold ed" },
		{ ";x=\"no end; y=z", "no end; y=z", "no end; y=z" },
		{ " x=first; x=second", "first", "first" },
		{ ";xx=1;y=2", NULL, NULL },
		/* RFC 2231 sections 3 and 4 */
		{ ";x*0=\"ftp://\";\r\n x*1=\"cs.utk.edu/\"", NULL, "ftp://cs.utk.edu/" },
		{ ";x*1=b;x*0=a;x*2=c;x*4=e", NULL, "abc" },
		{ ";x*=us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A", NULL, "This is ***fun***" },
		{ ";x*0*=us-ascii'en'This%20is%20even%20more%20;x*1*=%2A%2A%2Afun%2A%2A%2A%20;"
		  "x*2=\"isn't it!\"", NULL, "This is even more ***fun*** isn't it!" },
		{ ";x*=utf-8''na%C3%AFve", NULL, "na\xc3\xafve" },
		{ ";x*=iso-8859-1''na%EFve", NULL, "na\xc3\xafve" },
		{ ";x*0*=utf-8''%C3;x*1*=%AF", NULL, "\xc3\xaf" }, /* a character over two sections */
		{ ";x=plain;x*=utf-8''better", "plain", "better" },
		{ ";x=plain;x*0=bet;x*1=ter", "plain", "better" },
		{ ";x*=nonsense''a%FFb", NULL, "a\xef\xbf\xbd" "b" },
		{ ";x*=no-quotes%20", NULL, "no-quotes " },
		{ ";x*=a'b", NULL, "a'b" },
		{ ";x*=''%zz%4", NULL, "%zz%4" },
		{ ";x*=utf-8''%00", NULL, "" },
		{ ";x*0*=utf-8''a;x*01*=b", NULL, "a" },
		/* encoded words, which do not belong here */
		{ ";x=\"=?utf-8?q?na=C3=AFve?=.txt\"", "=?utf-8?q?na=C3=AFve?=.txt", "na\xc3\xafve.txt" },
		{ ";x==?iso-8859-1?b?bmHvdmU=?=", "=?iso-8859-1?b?bmHvdmU=?=", "na\xc3\xafve" },
		{ ";x=\"\xe9\"", "\xe9", "\xef\xbf\xbd" },
		{ ";x=\"na\xc3\xafve\"", "na\xc3\xafve", "na\xc3\xafve" },
	};
	char out[128];
	struct span got;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int rc = param_get(span_str(cases[i].params), "x", out, sizeof out, &got);

		assert_int_equal(rc, cases[i].raw == NULL ? ERR_NOT_FOUND : 0);
		if (rc == 0)
			assert_string_equal(out, cases[i].raw);
		rc = param_get_text(span_str(cases[i].params), "X", out, sizeof out, &got);
		assert_int_equal(rc, cases[i].text == NULL ? ERR_NOT_FOUND : 0);
		if (rc == 0)
			assert_string_equal(out, cases[i].text);
	}
}

static void test_cut(void **state)
{
	char out[6];
	struct span got;

	(void)state;
	assert_int_equal(param_get(span_str(";x=abcdef"), "x", out, sizeof out, &got), ERR_TOO_BIG);
	assert_string_equal(out, "abcde");
	assert_int_equal(param_get_text(span_str(";x*=utf-8''abcd%C3%AF"), "x", out, sizeof out, &got),
	                 ERR_TOO_BIG);
	assert_string_equal(out, "abcd"); /* not in the middle of a character */
}

/* Time is linear: a megabyte of anything. */
static void test_long(void **state)
{
	static const char *const patterns[] = { ";", "x", "=", "\"", "(", ";x", ";x=", ";y=\"",
	    ";x*0=a",
		                                ";x*1*=b", "()" };
	size_t n = 1 << 20;
	char *p = malloc(n);

	(void)state;
	assert_non_null(p);
	for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
		size_t k = strlen(patterns[i]);
		struct param_iter it;
		struct param param;
		size_t count = 0;

		for (size_t at = 0; at + k <= n; at += k)
			memcpy(p + at, patterns[i], k);
		param_begin(&it, span_of(p, n / k * k));
		while (param_next(&it, &param))
			count++;
		assert_true(count <= n / k);
		assert_int_equal(it.rest.n, 0);
	}
	free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_type),
		cmocka_unit_test(test_get),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
