/* Address lists: RFC 5322's examples, what programs really write, and what is broken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "message/addrlist.h"

#define ENTRIES 5

enum { BROKEN = -1, LAST = -2 };

struct entry {
	int kind;
	const char *name, *local, *domain;
};

#define M(n, l, d) { .kind = ADDRLIST_MAILBOX, .name = (n), .local = (l), .domain = (d) }
#define G(n) { .kind = ADDRLIST_GROUP, .name = (n) }
#define E { .kind = ADDRLIST_GROUP_END }
#define BAD(text) { .kind = BROKEN, .name = (text) }
#define END { .kind = LAST }

struct list_case {
	const char *list;
	struct entry entry[ENTRIES];
};

static const struct list_case lists[] = {
	{ "", { END } },
	{ " , ,\r\n ", { END } },
	{ "bob@b.example", { M("", "bob", "b.example"), END } },
	{ " bob@b.example \r\n", { M("", "bob", "b.example"), END } },
	{ "a@b.c,,d@e.f,", { M("", "a", "b.c"), M("", "d", "e.f"), END } },
	{ "a@b.c; d@e.f", { M("", "a", "b.c"), M("", "d", "e.f"), END } },
	/* RFC 5322 appendix A.1 */
	{ "John Doe <jdoe@machine.example>", { M("John Doe", "jdoe", "machine.example"), END } },
	{ "\"Joe Q. Public\" <john.q.public@example.com>",
	  { M("Joe Q. Public", "john.q.public", "example.com"), END } },
	{ "Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>",
	  { M("Mary Smith", "mary", "x.test"),
	    M("", "jdoe", "example.org"),
	    M("Who?", "one", "y.test"),
	    END } },
	{ "<boss@nil.test>, \"Giant; \\\"Big\\\" Box\" <sysservices@example.net>",
	  { M("", "boss", "nil.test"),
	    M("Giant; \"Big\" Box", "sysservices", "example.net"),
	    END } },
	{ "A Group:Ed Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;",
	  { G("A Group"),
	    M("Ed Jones", "c", "a.test"),
	    M("", "joe", "where.test"),
	    M("John", "jdoe", "one.test"),
	    E } },
	{ "Undisclosed recipients:;", { G("Undisclosed recipients"), E, END } },
	{ "(Empty list)(start)Hidden recipients  :(nobody(that I know))  ;",
	  { G("Hidden recipients"), E, END } },
	{ "G: a@b.c", { G("G"), M("", "a", "b.c"), E, END } },
	{ "G: a@b.c; d@e.f",
	  { G("G"), M("", "a", "b.c"), E, M("", "d", "e.f"), END } },
	/* appendix A.5 and A.6.1 */
	{ "Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>",
	  { M("Pete", "pete", "silly.test"), END } },
	{ "Chris Jones <c@(Chris's host.)public.example>, joe@example.org,\r\n John <jdoe@one.test> "
	  "(my dear friend); (the end of the group)",
	  { M("Chris Jones", "c", "public.example"),
	    M("", "joe", "example.org"),
	    M("John", "jdoe", "one.test"),
	    END } },
	{ "Joe Q. Public <john.q.public@example.com>",
	  { M("Joe Q. Public", "john.q.public", "example.com"), END } },
	{ "Mary Smith <@node.test,@b.test:mary@example.net>, , jdoe@test   . example",
	  { M("Mary Smith", "mary", "example.net"), M("", "jdoe", "test.example"), END } },
	{ "jdoe (comment) . (x) last @ (y) b . example",
	  { M("y", "jdoe.last", "b.example"), END } },
	/* the name in a comment */
	{ "bob@b.example (Bob \\(the\\) B)", { M("Bob (the) B", "bob", "b.example"), END } },
	{ "bob@b.example ( Bob )", { M("Bob", "bob", "b.example"), END } },
	/* quoted, folded, international, encoded */
	{ "\"a b\"@b.example", { M("", "a b", "b.example"), END } },
	{ "\"a\\\"b\".c@b.example", { M("", "a\"b.c", "b.example"), END } },
	{ "\"a@b\"@c.example", { M("", "a@b", "c.example"), END } },
	{ "\"folded\r\n name\" <a@b.c>", { M("folded name", "a", "b.c"), END } },
	{ "One\r\n\tTwo <a@b.c>", { M("One Two", "a", "b.c"), END } },
	{ "J\xc3\xbcrgen <j\xc3\xbcrgen@b\xc3\xbc" "cher.example>",
	  { M("J\xc3\xbcrgen", "j\xc3\xbcrgen", "b\xc3\xbc" "cher.example"), END } },
	{ "=?utf-8?q?J=C3=BCrgen?= =?utf-8?q?_M?= <a@b.c>",
	  { M("=?utf-8?q?J=C3=BCrgen?= =?utf-8?q?_M?=", "a", "b.c"), END } },
	{ "bob@[192.0.2.1], x@[IPv6:2001:db8::1]",
	  { M("", "bob", "[192.0.2.1]"), M("", "x", "[IPv6:2001:db8::1]"), END } },
	{ "[List] Bob <a@b.c>", { M("[List] Bob", "a", "b.c"), END } },
	/* an unquoted address as a name */
	{ "bob@b.example <bob@b.example>", { M("bob@b.example", "bob", "b.example"), END } },
	/* no domain: an address of this place, for who shows it */
	{ "postmaster, <root>", { M("", "postmaster", ""), M("", "root", ""), END } },
	{ "Smith, Bob <a@b.c>", { M("", "Smith", ""), M("Bob", "a", "b.c"), END } },
	/* broken ones are told, and the others come through */
	{ "Bob Smith bob@b.example, a@b.c",
	  { BAD("Bob Smith bob@b.example"), M("", "a", "b.c"), END } },
	{ "bob@, a@b.c", { BAD("bob@"), M("", "a", "b.c"), END } },
	{ "@b.example, a@b.c", { BAD("@b.example"), M("", "a", "b.c"), END } },
	{ "bob@@b.example, a@b.c", { BAD("bob@@b.example"), M("", "a", "b.c"), END } },
	{ "<bob@b.example, a@b.c", { BAD("<bob@b.example"), M("", "a", "b.c"), END } },
	{ "<>, a@b.c", { BAD("<>"), M("", "a", "b.c"), END } },
	{ "> , a@b.c", { BAD(">"), M("", "a", "b.c"), END } },
	{ "bob@b.example extra, a@b.c",
	  { BAD("bob@b.example extra"), M("", "a", "b.c"), END } },
	{ "<a@b.c> extra", { BAD("<a@b.c> extra"), END } },
	{ "<a@b.c> <d@e.f>", { BAD("<a@b.c> <d@e.f>"), END } },
	{ "<@route a@b.c>", { BAD("<@route a@b.c>"), END } },
	{ ":;, a@b.c", { BAD(":"), M("", "a", "b.c"), END } },
	{ "A: B: a@b.c;, d@e.f",
	  { G("A"), BAD("B: a@b.c"), E, M("", "d", "e.f"), END } },
	{ "a@b.c, \"no end <d@e.f>, g@h.i",
	  { M("", "a", "b.c"), BAD("\"no end <d@e.f>, g@h.i"), END } },
	{ "a@b.c (no end, d@e.f", { BAD("a@b.c (no end, d@e.f"), END } },
	{ "a b", { BAD("a b"), END } },
};

static void check_text(int (*get)(const struct addrlist_entry *, char *, size_t, struct span *),
                       const struct addrlist_entry *a, const char *want)
{
	char out[128];
	struct span result;

	assert_int_equal(get(a, out, sizeof out, &result), 0);
	assert_string_equal(out, want == NULL ? "" : want);
	assert_int_equal(result.n, strlen(out));
}

static void test_lists(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
		struct addrlist_iter it;
		struct addrlist_entry a;
		size_t n = 0;
		int rc;

		addrlist_begin(&it, span_str(lists[i].list));
		while ((rc = addrlist_next(&it, &a)) != 0) {
			const struct entry *want = &lists[i].entry[n++];

			assert_true(n <= ENTRIES && want->kind != LAST);
			if (rc < 0) {
				assert_int_equal(rc, ERR_MALFORMED);
				assert_int_equal(want->kind, BROKEN);
				assert_int_equal(a.whole.n, strlen(want->name));
				assert_memory_equal(a.whole.p, want->name, a.whole.n);
				continue;
			}
			assert_int_equal(a.kind, want->kind);
			check_text(addrlist_name, &a, want->name);
			check_text(addrlist_local, &a, want->local);
			check_text(addrlist_domain, &a, want->domain);
		}
		assert_true(n == ENTRIES || lists[i].entry[n].kind == LAST);
	}
}

static void test_mailbox(void **state)
{
	static const struct {
		const char *list, *text;
		int rc;
	} cases[] = {
		{ "Bob <bob@B.Example.>", "bob@b.example", 0 },
		{ "\"a b\" (c) @ b.example", "a b@b.example", 0 },
		{ "<@x.test:Bob@b.example>", "Bob@b.example", 0 },
		{ "bob@b\xc3\xbc" "cher.example", "bob@xn--bcher-kva.example", 0 },
		{ "bob", NULL, ERR_MALFORMED },
		{ "bob@[192.0.2.1]", NULL, ERR_MALFORMED },
		{ "bob@b..example", NULL, ERR_MALFORMED },
		{ "G:;", NULL, ERR_MALFORMED },
		{ "\"a\\\rb\"@b.example", NULL, ERR_MALFORMED },
		{ "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@b.example", NULL,
		  ERR_TOO_BIG },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct addrlist_iter it;
		struct addrlist_entry a;
		struct mailbox m;

		addrlist_begin(&it, span_str(cases[i].list));
		assert_int_equal(addrlist_next(&it, &a), 1);
		assert_int_equal(addrlist_mailbox(&a, &m), cases[i].rc);
		if (cases[i].rc == 0)
			assert_string_equal(m.text, cases[i].text);
	}
}

static void test_cut(void **state)
{
	struct addrlist_iter it;
	struct addrlist_entry a;
	struct span result;
	char out[5];

	(void)state;
	addrlist_begin(&it, span_str("John Doe <j@b.c>"));
	assert_int_equal(addrlist_next(&it, &a), 1);
	assert_int_equal(addrlist_name(&a, out, sizeof out, &result), ERR_TOO_BIG);
	assert_string_equal(out, "John");
}

/* Megabytes of what could be scanned again and again are scanned once or twice. */
static void test_long(void **state)
{
	static const char *const patterns[] = { "(", "\"", "<", "a ", "@", ":", "a,", "<a@", "((a),",
	    ";" };
	size_t n = 1 << 20;
	char *p = malloc(n);

	(void)state;
	assert_non_null(p);
	for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
		size_t k = strlen(patterns[i]);
		struct addrlist_iter it;
		struct addrlist_entry a;
		size_t entries = 0;

		for (size_t at = 0; at + k <= n; at += k)
			memcpy(p + at, patterns[i], k);
		addrlist_begin(&it, span_of(p, n / k * k));
		while (addrlist_next(&it, &a) != 0)
			entries++;
		assert_true(entries <= n);
		assert_int_equal(it.rest.n, 0);
	}
	free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_mailbox),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
