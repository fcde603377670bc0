/* BODYSTRUCTURE: what is written for messages, and what is read of strangers' text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/text.h"
#include "message/bodystructure.h"

#define PARTS 64
#define R "\xef\xbf\xbd" /* U+FFFD */

struct source {
	const char *p;
	size_t n;
	int fail_after; /* reads that work; -1: all */
};

static int read_octets(void *ctx, uint64_t at, uint8_t *buf, size_t n)
{
	struct source *s = ctx;

	if (s->fail_after == 0)
		return ERR_IO;
	s->fail_after -= s->fail_after > 0;
	assert_true(n > 0 && at <= s->n && n <= s->n - at);
	memcpy(buf, s->p + at, n);
	return 0;
}

static size_t parse_message(struct span message, struct mime_part *parts, size_t cap)
{
	static struct mime_parser p;

	mime_begin(&p, parts, cap);
	mime_feed(&p, message);
	return mime_end(&p);
}

static int write_message(const char *message, size_t size, char *out, size_t cap, size_t *used)
{
	struct mime_part parts[PARTS];
	struct source s = { message, size, -1 };
	size_t n = parse_message(span_of(message, size), parts, PARTS);

	return bodystructure_write(parts, n, read_octets, &s, out, cap, used);
}

#define DEFAULT "\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" "
#define EXT " NIL NIL NIL NIL"

static const struct {
	const char *message, *text;
} written[] = {
	{ "", "(" DEFAULT "0 0" EXT ")" },
	{ "Subject: x\r\n\r\none\r\ntwo\r\n", "(" DEFAULT "10 2" EXT ")" },
	{ "Content-Type: text/html; charset=\"utf-8\"\r\nContent-Transfer-Encoding: "
	  "quoted-printable\r\n\r\nx",
	  "(\"TEXT\" \"HTML\" (\"CHARSET\" \"utf-8\") NIL NIL \"QUOTED-PRINTABLE\" 1 1" EXT ")" },
	{ "content-type: image/png\r\n\r\nx", "(\"IMAGE\" \"PNG\" NIL NIL NIL \"7BIT\" 1" EXT ")" },
	/* the second example of RFC 3501 section 7.4.2, with bodies of our own */
	{ "Content-Type: multipart/mixed; boundary=b\r\n\r\n"
	  "--b\r\nContent-Type: TEXT/PLAIN; CHARSET=US-ASCII\r\n\r\nhello\r\nyou\r\n"
	  "--b\r\nContent-Type: TEXT/PLAIN; CHARSET=US-ASCII; NAME=cc.diff\r\n"
	  "Content-ID: <960723163407.20117h@cac.washington.edu>\r\nContent-Description: Compiler "
	  "diff\r\n"
	  "Content-Transfer-Encoding: BASE64\r\n\r\nZm9v\r\n--b--\r\n",
	  "((" DEFAULT "10 2" EXT ")(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\" \"NAME\" "
	  "\"cc.diff\") "
	  "\"<960723163407.20117h@cac.washington.edu>\" \"Compiler diff\" \"BASE64\" 4 1" EXT ") "
	  "\"MIXED\" "
	  "(\"BOUNDARY\" \"b\") NIL NIL NIL)" },
	/* extension data */
	{ "Content-Type: application/pdf; name=\"a \\\"b\\\\.pdf\"\r\n"
	  "Content-Disposition: attachment; filename*=utf-8''%C3%A4.pdf; size=3\r\n"
	  "Content-Language: en, (x) de\r\nContent-Location: http://a.example/\r\n b\r\nContent-MD5: "
	  "x==\r\n\r\n",
	  "(\"APPLICATION\" \"PDF\" (\"NAME\" \"a \\\"b\\\\.pdf\") NIL NIL \"7BIT\" 0 NIL "
	  "(\"ATTACHMENT\" (\"FILENAME*\" \"utf-8''%C3%A4.pdf\" \"SIZE\" \"3\")) (\"en\" \"de\") "
	  "\"http://a.example/ b\")" },
	{ "Content-Disposition: inline\r\nContent-Language: en\r\n\r\n",
	  "(" DEFAULT "0 0 NIL (\"INLINE\" NIL) \"en\" NIL)" },
	/* a message inside, with the envelope of RFC 3501 section 8 */
	{ "Content-Type: message/rfc822\r\nContent-Description: fwd\r\n\r\n"
	  "Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r\nSubject: IMAP4rev1 WG mtg summary and "
	  "minutes\r\n"
	  "From: Terry Gray <gray@cac.washington.edu>\r\nTo: imap@cac.washington.edu\r\n"
	  "cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\r\n"
	  "Message-Id: <B27397-0100000@cac.washington.edu>\r\n\r\nhi\r\n",
	  "(\"MESSAGE\" \"RFC822\" NIL NIL \"fwd\" \"7BIT\" 283 "
	  "(\"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\" \"IMAP4rev1 WG mtg summary and minutes\" "
	  "((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) "
	  "((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) "
	  "((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) "
	  "((NIL NIL \"imap\" \"cac.washington.edu\")) "
	  "((NIL NIL \"minutes\" \"CNRI.Reston.VA.US\")(\"John Klensin\" NIL \"KLENSIN\" \"MIT.EDU\")) "
	  "NIL NIL \"<B27397-0100000@cac.washington.edu>\") (" DEFAULT "4 1" EXT ") 8" EXT ")" },
	/* groups, routes, several fields, broken addresses, comments as names */
	{ "Content-Type: message/rfc822\r\n\r\nFrom: a@b.c (A \"B\")\r\nSender: s@b.c\r\nReply-To: \r\n"
	  "To: G: <@x,@y:z@d.e>, q;\r\nTo: no one at all, \"q\\\"t\" <t@u.v>\r\nBcc: b@b.c\r\n"
	  "In-Reply-To: <i@x>\r\n\r\n",
	  "(\"MESSAGE\" \"RFC822\" NIL NIL NIL \"7BIT\" 143 (NIL NIL ((\"A \\\"B\\\"\" NIL \"a\" "
	  "\"b.c\")) "
	  "((NIL NIL \"s\" \"b.c\")) ((\"A \\\"B\\\"\" NIL \"a\" \"b.c\")) "
	  "((NIL NIL \"G\" NIL)(NIL \"@x,@y\" \"z\" \"d.e\")(NIL NIL \"q\" \"\")(NIL NIL NIL NIL)"
	  "(\"no one at all\" NIL \"\" \"\")(\"q\\\"t\" NIL \"t\" \"u.v\")) NIL ((NIL NIL \"b\" "
	  "\"b.c\")) "
	  "\"<i@x>\" NIL) (" DEFAULT "0 0" EXT ") 8" EXT ")" },
	/* nested */
	{ "Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n"
	  "Content-Type: multipart/alternative; boundary=i\r\nContent-Disposition: inline\r\n\r\n"
	  "--i\r\n\r\na\r\n--i\r\nContent-Type: text/html\r\n\r\nb\r\n--i--\r\n\r\n--o--\r\n",
	  "(((" DEFAULT "1 1" EXT ")(\"TEXT\" \"HTML\" NIL NIL NIL \"7BIT\" 1 1" EXT ") "
	  "\"ALTERNATIVE\" "
	  "(\"BOUNDARY\" \"i\") (\"INLINE\" NIL) NIL NIL) \"MIXED\" (\"BOUNDARY\" \"o\") NIL NIL "
	  "NIL)" },
	{ "Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nSubject: s\r\n\r\n--b--\r\n",
	  "((\"MESSAGE\" \"RFC822\" NIL NIL NIL \"7BIT\" 14 (NIL \"s\" NIL NIL NIL NIL NIL NIL NIL "
	  "NIL) ("
	  DEFAULT "0 0" EXT ") 1" EXT ") \"DIGEST\" (\"BOUNDARY\" \"b\") NIL NIL NIL)" },
	/* what cannot be what it says */
	{ "Content-Type: multipart/mixed\r\n\r\ntext\r\n", "(" DEFAULT "6 1" EXT ")" },
	{ "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nZm8=\r\n",
	  "(\"APPLICATION\" \"OCTET-STREAM\" NIL NIL NIL \"BASE64\" 6" EXT ")" },
	{ "Content-Type: nonsense\r\nContent-Transfer-Encoding: \"\"\r\n\r\n",
	  "(" DEFAULT "0 0" EXT ")" },
	{ "Content-Type: message/delivery-status\r\n\r\nx",
	  "(\"MESSAGE\" \"DELIVERY-STATUS\" NIL NIL NIL \"7BIT\" 1" EXT ")" },
	/* octets that a quoted string cannot have */
	{ "Content-Type: text/plain; x=\"a\rb\xff\xc3\xa4\r\n c\"\r\nContent-Description: "
	  "\xe4\tz\r\n\r\n",
	  "(\"TEXT\" \"PLAIN\" (\"X\" \"a b" R "\xc3\xa4 c\") NIL \"" R "\tz\" \"7BIT\" 0 0" EXT ")" },
};

static void test_write(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof written / sizeof written[0]; i++) {
		size_t size = strlen(written[i].message), used, want = strlen(written[i].text);
		char out[2048];

		assert_int_equal(write_message(written[i].message, size, out, sizeof out, &used), 0);
		assert_string_equal(out, written[i].text);
		assert_int_equal(used, want);
		/* Room to the octet, and every smaller room. */
		assert_int_equal(write_message(written[i].message, size, out, want + 1, &used), 0);
		for (size_t cap = 1; cap <= want; cap++)
			assert_int_equal(write_message(written[i].message, size, out, cap, &used),
			                 ERR_TOO_BIG);
	}
}

static void test_read_fails(void **state)
{
	const char *message = written[10].message;
	struct mime_part parts[PARTS];
	size_t used, n = parse_message(span_str(message), parts, PARTS);
	char out[2048];
	int reads = 0, rc;

	(void)state;
	do {
		struct source s = { message, strlen(message), reads };

		rc = bodystructure_write(parts, n, read_octets, &s, out, sizeof out, &used);
		assert_true(rc == 0 || rc == ERR_IO);
		reads++;
	} while (rc != 0);
	assert_true(reads > 4);
}

/* A header longer than what is looked at: fields that may be cut are not. */
static void test_long_header(void **state)
{
	size_t size = 3 * BODYSTRUCTURE_HEADER_MAX;
	char *message = malloc(size + 1), out[256];
	size_t used;

	(void)state;
	assert_non_null(message);
	memset(message, 'x', size);
	memcpy(message, "Content-Description: d\r\nContent-Type: text/html; x=", 50);
	memcpy(message + size - 4, "\r\n\r\n", 4);
	assert_int_equal(write_message(message, size, out, sizeof out, &used), 0);
	assert_string_equal(out, "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL \"d\" \"7BIT\" 0 "
	    "0" EXT ")");
	free(message);
}

static const struct {
	/* LIST has for each part: section type encoding octets lines charset disposition filename; */
	const char *text, *list;
} read[] = {
	{ "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 3028 92)",
	  "1 text/plain 7bit 3028 92 US-ASCII - -;" },
	{ "((\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 1152 23)(\"TEXT\" "
	  "\"PLAIN\" "
	  "(\"CHARSET\" \"US-ASCII\" \"NAME\" \"cc.diff\") "
	  "\"<960723163407.20117h@cac.washington.edu>\" "
	  "\"Compiler diff\" \"BASE64\" 4554 73) \"MIXED\")",
	  "TEXT multipart/mixed - 0 0 - - -;1 text/plain 7bit 1152 23 US-ASCII - -;"
	  "2 text/plain base64 4554 73 US-ASCII - cc.diff;" },
	{ "(\"image\" \"png\" nil NIL NIL \"base64\" 5 NIL (\"attachment\" (\"filename\" \"a "
	  "\\\"b\\\\.png\")) "
	  "NIL NIL)", "1 image/png base64 5 0 - attachment a \"b\\.png;" },
	{ "(\"image\" \"png\" (\"NAME\" \"n\") NIL NIL \"x\" 5 NIL (\"inline\" (\"filename*\" "
	  "\"utf-8''%C3%A4\")))", "1 image/png x 5 0 - inline \xc3\xa4;" },
	{ "(\"a\" \"b\" (\"name*0\" \"x\" \"NAME*1*\" \"%20y\") NIL NIL \"7bit\" 5)",
	  "1 a/b 7bit 5 0 - - x y;" },
	{ "(\"a\" \"b\" (\"name\" \"=?utf-8?b?w6Q=?=\") NIL NIL \"7bit\" 5)",
	  "1 a/b 7bit 5 0 - - \xc3\xa4;" },
	{ "(\"a\" \"b\" (\"x\\\"; name=\\\"evil\" \"y\" \"\" \"z\" \"name\" NIL) NIL NIL NIL 5 NIL "
	  "NIL NIL NIL "
	  "(\"future\" (1 2 (NIL))) 7)", "1 a/b - 5 0 - - -;" },
	/* messages inside: sections as IMAP counts them */
	{ "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 9 (NIL (\"a\" ((\"b\")) NIL)) "
	  "(\"text\" \"plain\" NIL NIL NIL \"7bit\" 4 1) 3)",
	  "1 message/rfc822 7bit 9 3 - - -;1.1 text/plain 7bit 4 1 - - -;" },
	{ "((\"text\" \"plain\" NIL NIL NIL \"7bit\" 4 1)(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" "
	  "9 NIL "
	  "((\"a\" \"b\" NIL NIL NIL \"c\" 1)((\"d\" \"e\" NIL NIL NIL \"f\" 2) \"related\") "
	  "\"mixed\") 3) "
	  "\"mixed\" (\"boundary\" \"x\") (\"inline\" NIL) NIL)",
	  "TEXT multipart/mixed - 0 0 - inline -;1 text/plain 7bit 4 1 - - -;2 message/rfc822 7bit 9 "
	  "3 - - -;"
	  "2.TEXT multipart/mixed - 0 0 - - -;2.1 a/b c 1 0 - - -;2.2 multipart/related - 0 0 - - -;"
	  "2.2.1 d/e f 2 0 - - -;" },
	{ "(\"a\" \"b\" NIL NIL NIL \"c\" 18446744073709551615)", "1 a/b c 18446744073709551615 0 - - "
	  "-;" },
	/* broken */
	{ "", NULL },
	{ "(", NULL },
	{ "()", NULL },
	{ "NIL", NULL },
	{ "(\"a\" \"b\" NIL NIL NIL \"c\" 1", NULL },
	{ "(\"a\" \"b\" NIL NIL NIL \"c\" 1))", NULL },
	{ "(\"a\" \"b\" NIL NIL NIL \"c\" 1) x", NULL },
	{ "(\"a\" \"b\" NIL NIL NIL \"c\" -1)", NULL },
	{ "(\"a\" \"b\" NIL NIL NIL \"c\" 18446744073709551616)", NULL },
	{ "(\"a\" \"b\" NIL NIL NIL \"c\" NIL)", NULL },
	{ "(\"a\" \"b\" (\"x\") NIL NIL \"c\" 1)", NULL },
	{ "(\"a\" \"b\" (\"x\" (\"y\")) NIL NIL \"c\" 1)", NULL },
	{ "(\"a\" \"b\" NIL NIL NIL {1}c 1)", NULL },
	{ "(\"a\" \"b NIL NIL NIL \\\"c\\\" 1)", NULL },
	{ "(\"text\" \"plain\" NIL NIL NIL \"c\" 1)", NULL },
	{ "(\"message\" \"rfc822\" NIL NIL NIL \"c\" 1 NIL)", NULL },
	{ "((\"a\" \"b\" NIL NIL NIL \"c\" 1))", NULL },
	{ "(\"a\" \"b\" NIL NIL NIL \"c\" 1 NIL (\"inline\"))", NULL },
};

static void describe(const struct bodystructure_part *parts, size_t n, char *out, size_t cap)
{
	size_t at = 0;

	for (size_t i = 0; i < n; i++) {
		const struct bodystructure_part *p = &parts[i];

		at += (size_t)snprintf(out + at, cap - at, "%s %s %s %llu %llu %s %s %s;", p->section,
		    p->type,
		                       p->encoding[0] ? p->encoding : "-", (unsigned long long)p->octets,
		                       (unsigned long long)p->lines, p->charset[0] ? p->charset : "-",
		                       p->disposition[0] ? p->disposition : "-",
		                       p->filename[0] ? p->filename : "-");
		assert_true(at < cap);
	}
}

static void test_parse(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof read / sizeof read[0]; i++) {
		static struct bodystructure_part parts[PARTS];
		size_t n, size = strlen(read[i].text);
		char got[2048];
		int rc = bodystructure_parse(span_of(read[i].text, size), parts, PARTS, &n);

		if (read[i].list == NULL) {
			if (rc != ERR_MALFORMED)
				fail_msg("%s: %d", read[i].text, rc);
			continue;
		}
		assert_int_equal(rc, 0);
		describe(parts, n, got, sizeof got);
		assert_string_equal(got, read[i].list);
		assert_int_equal(bodystructure_parse(span_of(read[i].text, size), parts, n - 1, &n),
		                 ERR_TOO_BIG);
		/* No truncation of a structure is one. */
		for (size_t cut = 0; cut < size; cut++)
			assert_true(bodystructure_parse(span_of(read[i].text, cut), parts, PARTS, &n) < 0);
	}
}

/* What is written can be read, names the same sections, and has the same sizes. */
static void check_both_ways(struct span message)
{
	static struct bodystructure_part list[PARTS];
	static char out[64 * 1024];
	struct mime_part parts[PARTS];
	struct source s = { (const char *)message.p, message.n, -1 };
	size_t count = parse_message(message, parts, PARTS), used, n;
	uint64_t at, length;

	assert_int_equal(bodystructure_write(parts, count, read_octets, &s, out, sizeof out, &used), 0);
	assert_true(text_is_utf8(span_of(out, used)));
	assert_null(strpbrk(out, "\r\n"));
	assert_int_equal(bodystructure_parse(span_of(out, used), list, PARTS, &n), 0);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(mime_section(parts, count, span_str(list[i].section), &at, &length), 0);
		if (strncmp(list[i].type, "multipart/", 10) != 0)
			assert_int_equal(length, list[i].octets);
	}
	for (size_t cut = 0; cut < used; cut += 7)
		assert_true(bodystructure_parse(span_of(out, cut), list, PARTS, &n) < 0);
}

static void test_both_ways(void **state)
{
	static const char *const pieces[] = {
		"\r\n", "\n", "--a\r\n", "--b\r\n", "--a--\r\n", "--b--\n", "x", "\xff", "\"", "(", "\\",
		"Content-Type: multipart/mixed; boundary=a\r\n\r\n", "Content-Type: message/rfc822\r\n\r\n",
		"Content-Type: multipart/digest; boundary=b\n\n", "Subject: \"\\\r\n (\r\n",
		    "From: a <b@c>, \"\r\n",
		"Content-Type: text/x; name=\"a\\\"\r\n b\"; y*0*=''%22\r\n",
		    "Content-Disposition: a; b=\"\\\r\n",
		"Content-Language: a, b, (\r\n", "To: \\\"@(\\), <\\>\n", "Content-ID: \\\r\n", "\r\n\r\n",
	};
	uint32_t x = 7;

	(void)state;
	for (size_t i = 0; i < sizeof written / sizeof written[0]; i++)
		check_both_ways(span_str(written[i].message));
	for (int round = 0; round < 2000; round++) {
		char message[4096];
		size_t n = 0;

		for (int i = 0; i < 24; i++) {
			const char *piece = pieces[(x >> 16) % (sizeof pieces / sizeof pieces[0])];

			memcpy(message + n, piece, strlen(piece));
			n += strlen(piece);
			x = x * 1664525 + 1013904223;
		}
		check_both_ways(span_of(message, n));
	}
}

/* Depth and length that a stranger may try. */
static void test_parse_hostile(void **state)
{
	static struct bodystructure_part parts[PARTS];
	size_t size = 1 << 20, n;
	char *p = malloc(size);

	(void)state;
	assert_non_null(p);
	memset(p, '(', size);
	assert_int_equal(bodystructure_parse(span_of(p, size), parts, PARTS, &n), ERR_TOO_BIG);
	memcpy(p, "(\"message\" \"rfc822\" NIL NIL NIL \"c\" 1 ", 39);
	assert_true(bodystructure_parse(span_of(p, size), parts, PARTS, &n) < 0);
	memset(p, ' ', size);
	assert_int_equal(bodystructure_parse(span_of(p, size), parts, PARTS, &n), ERR_MALFORMED);
	free(p);
}

/* Structures as deep as is read, and one deeper. */
static void test_parse_depth(void **state)
{
	(void)state;
	for (unsigned depth = BODYSTRUCTURE_DEPTH; depth <= BODYSTRUCTURE_DEPTH + 1; depth++) {
		static struct bodystructure_part parts[PARTS];
		const char *leaf = "(\"a\" \"b\" NIL NIL NIL \"c\" 1)", *end = " \"x\")";
		char text[1024];
		size_t n, at = depth - 1;

		memset(text, '(', at);
		at += (size_t)snprintf(text + at, sizeof text - at, "%s", leaf);
		for (unsigned i = 1; i < depth; i++)
			at += (size_t)snprintf(text + at, sizeof text - at, "%s", end);
		assert_int_equal(bodystructure_parse(span_of(text, at), parts, PARTS, &n),
		                 depth <= BODYSTRUCTURE_DEPTH ? 0 : ERR_TOO_BIG);
		if (depth <= BODYSTRUCTURE_DEPTH)
			assert_int_equal(strlen(parts[n - 1].section), 2 * (depth - 1) - 1);
	}
}

/* Texts longer than their fields are cut at a character. */
static void test_parse_cut(void **state)
{
	static struct bodystructure_part parts[PARTS];
	char text[2048], name[801];
	size_t n;

	(void)state;
	for (size_t i = 0; i < 800; i += 2)
		memcpy(name + i, "\xc3\xa4", 2);
	name[800] = '\0';
	snprintf(text, sizeof text, "(\"%.90s\" \"b\" (\"NAME\" \"%s\" \"CHARSET\" \"%.90s\") NIL NIL "
	    "\"%.90s\" 1)",
	         name, name, name, name);
	assert_int_equal(bodystructure_parse(span_str(text), parts, PARTS, &n), 0);
	assert_int_equal(strlen(parts[0].filename), 254);
	assert_int_equal(strlen(parts[0].type), 46);
	assert_int_equal(strlen(parts[0].charset), 46);
	assert_int_equal(strlen(parts[0].encoding), 22);
	assert_true(text_is_utf8(span_str(parts[0].filename)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_write),
		cmocka_unit_test(test_read_fails),
		cmocka_unit_test(test_long_header),
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_both_ways),
		cmocka_unit_test(test_parse_hostile),
		cmocka_unit_test(test_parse_depth),
		cmocka_unit_test(test_parse_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
