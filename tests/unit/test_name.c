/* Mailbox and domain names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/err.h"
#include "base/name.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define L63 "a23456789-123456789-123456789-123456789-123456789-123456789-123"
#define D189 L63 "." L63 "." "a23456789-123456789-123456789-123456789-123456789-123456789-1"

static void test_domain(void **state)
{
	static const struct {
		const char *in;
		int rc;
		const char *out;
	} cases[] = {
		{ "a.example", 0, "a.example" },
		{ "A.Example.", 0, "a.example" },
		{ "localhost", 0, "localhost" },
		{ "_im2000-rnasp._tcp.b.example", 0, "_im2000-rnasp._tcp.b.example" },
		{ "4.example", 0, "4.example" },
		{ "b\xc3\xbc" "cher.example", 0, "xn--bcher-kva.example" },
		{ "B\xc3\x9c" "CHER.Example", 0, "xn--bcher-kva.example" },
		{ "bu\xcc\x88" "cher.example", 0, "xn--bcher-kva.example" }, /* u and U+0308 */
		{ "XN--BCHER-KVA.example", 0, "xn--bcher-kva.example" },
		{ "stra\xc3\x9f" "e.example", 0, "xn--strae-oqa.example" }, /* not "strasse" */
		{ "\xe4\xbe\x8b\xe3\x81\x88\xe3\x80\x82\xe3\x83\x86\xe3\x82\xb9\xe3\x83\x88", 0,
		  "xn--r8jz45g.xn--zckzah" }, /* with the ideographic full stop */
		{ "b\xc3\xbc" "cher.example.", 0, "xn--bcher-kva.example" },
		{ L63, 0, L63 },
		{ L63 "4", ERR_TOO_BIG, "" },
		{ D189 "." L63 ".", 0, D189 "." L63 },
		{ D189 ".b." L63, ERR_TOO_BIG, "" },
		{ "", ERR_MALFORMED, "" },
		{ ".", ERR_MALFORMED, "" },
		{ "..", ERR_MALFORMED, "" },
		{ "a..example", ERR_MALFORMED, "" },
		{ ".a.example", ERR_MALFORMED, "" },
		{ "a.example..", ERR_MALFORMED, "" },
		{ "-a.example", ERR_MALFORMED, "" },
		{ "a-.example", ERR_MALFORMED, "" },
		{ "a b.example", ERR_MALFORMED, "" },
		{ " a.example", ERR_MALFORMED, "" },
		{ "a.example\n", ERR_MALFORMED, "" },
		{ "a/b.example", ERR_MALFORMED, "" },
		{ "a@b.example", ERR_MALFORMED, "" },
		{ "[127.0.0.1]", ERR_MALFORMED, "" },
		{ "[IPv6:::1]", ERR_MALFORMED, "" },
		{ "127.0.0.1", ERR_MALFORMED, "" },
		{ "::1", ERR_MALFORMED, "" },
		{ "\xc3\xbc\xc3", ERR_MALFORMED, "" },
		{ "a\xe2\x80\xae.example", ERR_MALFORMED, "" }, /* U+202E, writing direction */
		{ "\xc3\xbc b.example", ERR_MALFORMED, "" },
		{ "\xc3\xbc-.example", ERR_MALFORMED, "" },
		{ "\xc3\xbc..example", ERR_MALFORMED, "" },
		{ "\xef\xbc\x91.\xef\xbc\x92", ERR_MALFORMED, "" }, /* full-width 1.2 */
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char out[NAME_DOMAIN_MAX + 1] = "unset";
		int rc = name_parse_domain(span_str(cases[i].in), out);

		if (rc != cases[i].rc || strcmp(out, cases[i].out) != 0)
			fail_msg("\"%s\": %d \"%s\"", cases[i].in, rc, out);
	}
	assert_int_equal(strlen(D189), 189);
	{
		char out[NAME_DOMAIN_MAX + 1];

		assert_int_equal(name_parse_domain(span_of("a\0b", 3), out), ERR_MALFORMED);
	}
}

#define LOCAL64 "123456789.123456789.123456789.123456789.123456789.123456789.1234"

static void test_mailbox(void **state)
{
	static const struct {
		const char *in;
		int rc;
		const char *plain;     /* as kept */
		const char *formatted; /* NULL: as kept */
	} cases[] = {
		{ "bob@b.example", 0, "bob@b.example", NULL },
		{ "Bob@B.Example.", 0, "Bob@b.example", NULL },
		{ "bob@b\xc3\xbc" "cher.example", 0, "bob@xn--bcher-kva.example", NULL },
		{ "b\xc3\xb6" "b@b.example", 0, "b\xc3\xb6" "b@b.example", NULL },
		{ "a!#$%&'*+-/=?^_`{|}~b@c.example", 0, "a!#$%&'*+-/=?^_`{|}~b@c.example", NULL },
		{ "a.b.c@d.example", 0, "a.b.c@d.example", NULL },
		{ "\"bob\"@b.example", 0, "bob@b.example", NULL },
		{ "\"b\\ob\"@b.example", 0, "bob@b.example", NULL },
		{ "\"a b\"@c.example", 0, "a b@c.example", "\"a b\"@c.example" },
		{ "\"a@b\"@c.example", 0, "a@b@c.example", "\"a@b\"@c.example" },
		{ "\"a\\\"\\\\b\"@c.example", 0, "a\"\\b@c.example", "\"a\\\"\\\\b\"@c.example" },
		{ "\"a..b\"@c.example", 0, "a..b@c.example", "\"a..b\"@c.example" },
		{ "\".\"@c.example", 0, ".@c.example", "\".\"@c.example" },
		{ "\"\xc3\xb6 \xc3\xb6\"@c.example", 0, "\xc3\xb6 \xc3\xb6@c.example",
		  "\"\xc3\xb6 \xc3\xb6\"@c.example" },
		{ LOCAL64 "@c.example", 0, LOCAL64 "@c.example", NULL },
		{ LOCAL64 "5@c.example", ERR_TOO_BIG, "", NULL },
		{ "\"" LOCAL64 "\"@c.example", 0, LOCAL64 "@c.example", NULL },
		{ "\"" LOCAL64 "5\"@c.example", ERR_TOO_BIG, "", NULL },
		{ LOCAL64 "@" D189, 0, LOCAL64 "@" D189, NULL },
		{ LOCAL64 "@" D189 "a", ERR_TOO_BIG, "", NULL },
		{ "", ERR_MALFORMED, "", NULL },
		{ "@", ERR_MALFORMED, "", NULL },
		{ "bob", ERR_MALFORMED, "", NULL },
		{ "bob@", ERR_MALFORMED, "", NULL },
		{ "@b.example", ERR_MALFORMED, "", NULL },
		{ "\"\"@b.example", ERR_MALFORMED, "", NULL },
		{ "a@b@c.example", ERR_MALFORMED, "", NULL },
		{ "a b@c.example", ERR_MALFORMED, "", NULL },
		{ " a@c.example", ERR_MALFORMED, "", NULL },
		{ "a @c.example", ERR_MALFORMED, "", NULL },
		{ "a@ c.example", ERR_MALFORMED, "", NULL },
		{ ".a@c.example", ERR_MALFORMED, "", NULL },
		{ "a.@c.example", ERR_MALFORMED, "", NULL },
		{ "a..b@c.example", ERR_MALFORMED, "", NULL },
		{ "a\"b@c.example", ERR_MALFORMED, "", NULL },
		{ "\"a\"b@c.example", ERR_MALFORMED, "", NULL },
		{ "\"a@c.example", ERR_MALFORMED, "", NULL },
		{ "\"a\\", ERR_MALFORMED, "", NULL },
		{ "\"a\"", ERR_MALFORMED, "", NULL },
		{ "\"a\"@", ERR_MALFORMED, "", NULL },
		{ "<a@c.example>", ERR_MALFORMED, "", NULL },
		{ "a,b@c.example", ERR_MALFORMED, "", NULL },
		{ "a\x01@c.example", ERR_MALFORMED, "", NULL },
		{ "\"a\nb\"@c.example", ERR_MALFORMED, "", NULL },
		{ "\"a\\\x7f\"@c.example", ERR_MALFORMED, "", NULL },
		{ "a\xc2\x85@c.example", ERR_MALFORMED, "", NULL },
		{ "a\xff@c.example", ERR_MALFORMED, "", NULL },
		{ "a@[127.0.0.1]", ERR_MALFORMED, "", NULL },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct mailbox m, again;
		char out[400];
		int rc = name_parse_mailbox(span_str(cases[i].in), &m);

		if (rc != cases[i].rc || strcmp(m.text, cases[i].plain) != 0)
			fail_msg("\"%s\": %d \"%s\"", cases[i].in, rc, m.text);
		if (rc < 0)
			continue;
		assert_string_equal(name_format_mailbox(&m, out, sizeof out),
		                    cases[i].formatted != NULL ? cases[i].formatted : m.text);
		/* What is written can be read again, and is the same mailbox. */
		assert_int_equal(name_parse_mailbox(span_str(out), &again), 0);
		assert_true(mailbox_eq(&m, &again));
		assert_int_equal(name_make_mailbox(mailbox_local(&m), span_str(mailbox_domain(&m)),
		                                   &again), 0);
		assert_true(mailbox_eq(&m, &again));
	}
}

static void test_mailbox_eq(void **state)
{
	struct mailbox a, b;

	(void)state;
	assert_int_equal(name_parse_mailbox(span_str("a@b.example"), &a), 0);
	assert_int_equal(name_parse_mailbox(span_str("A@b.example"), &b), 0);
	assert_false(mailbox_eq(&a, &b));
	assert_int_equal(name_parse_mailbox(span_str("a@B.EXAMPLE"), &b), 0);
	assert_true(mailbox_eq(&a, &b));
	assert_true(span_eq_str(mailbox_local(&b), "a"));
	assert_string_equal(mailbox_domain(&b), "b.example");
}

static void test_make_mailbox(void **state)
{
	struct mailbox m;

	(void)state;
	assert_int_equal(name_make_mailbox(span_str("a b"), span_str("C.example"), &m), 0);
	assert_string_equal(m.text, "a b@c.example");
	assert_int_equal(name_make_mailbox(span_str(""), span_str("c.example"), &m), ERR_MALFORMED);
	assert_int_equal(name_make_mailbox(span_of("a\0b", 3), span_str("c.example"), &m),
	                 ERR_MALFORMED);
	assert_int_equal(name_make_mailbox(span_str("a"), span_str("c d"), &m), ERR_MALFORMED);
	assert_int_equal(name_make_mailbox(span_str(LOCAL64 "5"), span_str("c"), &m), ERR_TOO_BIG);
}

/* The longest local part, all of it escaped, and the longest domain fit into 400 octets. */
static void test_format_longest(void **state)
{
	char local[NAME_LOCAL_MAX];
	struct mailbox m;
	char out[400];

	(void)state;
	memset(local, '"', sizeof local);
	assert_int_equal(name_make_mailbox(span_of(local, sizeof local), span_str(D189), &m), 0);
	name_format_mailbox(&m, out, sizeof out);
	assert_int_equal(strlen(out), 2 * 64 + 2 + 1 + 189);
}

static void test_domain_in(void **state)
{
	static const struct {
		const char *domain, *parent;
		bool in;
	} cases[] = {
		{ "b.example", "b.example", true },
		{ "a.b.example", "b.example", true },
		{ "ab.example", "b.example", false },
		{ "b.example", "a.b.example", false },
		{ "example", "b.example", false },
		{ "b.example.org", "b.example", false },
		{ "b.example", "", false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		assert_int_equal(name_domain_in(cases[i].domain, cases[i].parent), cases[i].in);
}

static void test_host_port(void **state)
{
	static const struct {
		const char *text, *host; /* NULL: malformed */
		unsigned port;
	} cases[] = {
		{ "127.0.0.1:4401", "127.0.0.1", 4401 },
		{ "[::1]:0", "::1", 0 },
		{ "[2001:db8::1.2.3.4]:65535", "2001:db8::1.2.3.4", 65535 },
		{ "localhost:80", "localhost", 80 },
		{ "Mail.b.example:80", "Mail.b.example", 80 },
		{ "0.0.0.0:0", "0.0.0.0", 0 },
		{ "127.0.0.1", NULL, 0 },
		{ "127.0.0.1:", NULL, 0 },
		{ "127.0.0.1:65536", NULL, 0 },
		{ "127.0.0.1:-1", NULL, 0 },
		{ "127.0.0.1: 1", NULL, 0 },
		{ "127.0.0.1:1 ", NULL, 0 },
		{ "127.0.0:1", NULL, 0 },
		{ "256.0.0.1:1", NULL, 0 },
		{ ":80", NULL, 0 },
		{ "", NULL, 0 },
		{ "::1:80", NULL, 0 },
		{ "[::1]", NULL, 0 },
		{ "[::1]80", NULL, 0 },
		{ "[::1:80", NULL, 0 },
		{ "[]:80", NULL, 0 },
		{ "[127.0.0.1]:80", NULL, 0 },
		{ "[localhost]:80", NULL, 0 },
		{ "a b:80", NULL, 0 },
		{ "longer-than-the-room-that-is-given-for-it.example:80", NULL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char host[32] = "";
		unsigned port = 77;
		int rc = name_parse_host_port(cases[i].text, host, sizeof host, &port);

		if (cases[i].host == NULL ? rc != ERR_MALFORMED || port != 77
		                          : rc != 0 || strcmp(host, cases[i].host) != 0
		                                || port != cases[i].port)
			fail_msg("\"%s\": %d \"%s\" %u", cases[i].text, rc, host, port);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_domain),
		cmocka_unit_test(test_mailbox),
		cmocka_unit_test(test_mailbox_eq),
		cmocka_unit_test(test_make_mailbox),
		cmocka_unit_test(test_format_longest),
		cmocka_unit_test(test_domain_in),
		cmocka_unit_test(test_host_port),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
