/* Transfer encodings, charsets, encoded words, and text made safe for a terminal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/text.h"
#include "message/decode.h"

#define R "\xef\xbf\xbd" /* U+FFFD */

struct transfer_case {
	enum decode_encoding encoding;
	const char *in, *out;
};

static const struct transfer_case transfers[] = {
	{ DECODE_PLAIN, "a=41 \r\n", "a=41 \r\n" },
	/* RFC 4648 section 10 */
	{ DECODE_BASE64, "", "" },
	{ DECODE_BASE64, "Zg==", "f" },
	{ DECODE_BASE64, "Zm8=", "fo" },
	{ DECODE_BASE64, "Zm9v", "foo" },
	{ DECODE_BASE64, "Zm9vYg==", "foob" },
	{ DECODE_BASE64, "Zm9vYmE=", "fooba" },
	{ DECODE_BASE64, "Zm9vYmFy", "foobar" },
	{ DECODE_BASE64, "Zm9v\r\nYmFy\r\n", "foobar" },
	{ DECODE_BASE64, "Z m.9-v", "foo" },   /* what is no base64 is skipped */
	{ DECODE_BASE64, "Zg==Zm9v", "ffoo" }, /* one run behind another */
	{ DECODE_BASE64, "Zg", "f" },          /* no padding */
	{ DECODE_BASE64, "Zm8", "fo" },
	{ DECODE_BASE64, "Z", "" },
	{ DECODE_BASE64, "Zm9vZ", "foo" },
	{ DECODE_BASE64, "====", "" },
	{ DECODE_BASE64, "+/+/", "\xfb\xff\xbf" },
	/* RFC 2045 section 6.7 */
	{ DECODE_QUOTED, "Now's the time =\r\nfor all folk to come=\r\n to the aid",
	  "Now's the time for all folk to come to the aid" },
	{ DECODE_QUOTED, "=41=3d=3D\r\n", "A==\r\n" },
	{ DECODE_QUOTED, "a \t \r\nb\t\n", "a\r\nb\n" },
	{ DECODE_QUOTED, "a =20\r\n", "a  \r\n" },
	{ DECODE_QUOTED, "a= \t\r\nb", "ab" },
	{ DECODE_QUOTED, "a=\nb", "ab" },
	{ DECODE_QUOTED, "a=", "a" },
	{ DECODE_QUOTED, "a  ", "a" },
	{ DECODE_QUOTED, "a b", "a b" },
	{ DECODE_QUOTED, "=4", "=4" },
	{ DECODE_QUOTED, "=4x=x4==41", "=4x=x4=A" },
	{ DECODE_QUOTED, "=\rx", "=\rx" },
	{ DECODE_QUOTED, "= x", "= x" },
	{ DECODE_QUOTED, "=4\r\n", "=4\r\n" },
	{ DECODE_QUOTED, " \rx", " \rx" },
	{ DECODE_QUOTED, "  =41", "  A" },
	{ DECODE_QUOTED, "= =41", "= A" },
	{ DECODE_QUOTED, "\xff\xfe", "\xff\xfe" },
};

/* More blanks than are held, then a line end or not. */
static void test_many_blanks(void **state)
{
	struct decode_transfer d;
	uint8_t in[300], out[400];
	size_t n;

	(void)state;
	memset(in, ' ', sizeof in);
	in[299] = 'x';
	decode_transfer_begin(&d, DECODE_QUOTED);
	n = decode_transfer_feed(&d, span_of(in, sizeof in), out);
	n += decode_transfer_end(&d, out + n);
	assert_int_equal(n, 300);
	assert_memory_equal(in, out, 300);
	in[0] = '=';
	decode_transfer_begin(&d, DECODE_QUOTED);
	n = decode_transfer_feed(&d, span_of(in, sizeof in), out);
	n += decode_transfer_end(&d, out + n);
	assert_int_equal(n, 300);
	assert_memory_equal(in, out, 300);
}

static void test_transfer(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof transfers / sizeof transfers[0]; i++) {
		const struct transfer_case *c = &transfers[i];
		size_t size = strlen(c->in);

		for (size_t split = 0; split <= size; split++) {
			struct decode_transfer d;
			uint8_t out[256];
			size_t n;

			decode_transfer_begin(&d, c->encoding);
			n = decode_transfer_feed(&d, span_of(c->in, split), out);
			n += decode_transfer_feed(&d, span_of(c->in + split, size - split), out + n);
			n += decode_transfer_end(&d, out + n);
			assert_int_equal(n, strlen(c->out));
			assert_memory_equal(out, c->out, n);
		}
	}
	assert_int_equal(decode_encoding_of(span_str("BASE64")), DECODE_BASE64);
	assert_int_equal(decode_encoding_of(span_str("Quoted-Printable")), DECODE_QUOTED);
	assert_int_equal(decode_encoding_of(span_str("8bit")), DECODE_PLAIN);
	assert_int_equal(decode_encoding_of(span_str("x-uuencode")), DECODE_PLAIN);
}

/* Every octet value, in every length modulo 3, against an encoder. */
static void test_base64_octets(void **state)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	(void)state;
	for (size_t size = 0; size < 260; size++) {
		uint8_t data[260], out[520];
		char text[400];
		struct decode_transfer d;
		size_t n = 0;

		for (size_t i = 0; i < size; i++)
			data[i] = (uint8_t)(i * 7 + size);
		for (size_t bit = 0; bit < size * 8; bit += 6) {
			unsigned next = bit / 8 + 1 < size ? data[bit / 8 + 1] : 0;
			unsigned v = (unsigned)data[bit / 8] << 8 | next;

			text[n++] = digits[v >> (10 - bit % 8) & 63];
		}
		while (n % 4 != 0)
			text[n++] = '=';
		decode_transfer_begin(&d, DECODE_BASE64);
		n = decode_transfer_feed(&d, span_of(text, n), out);
		n += decode_transfer_end(&d, out + n);
		assert_int_equal(n, size);
		assert_memory_equal(out, data, size);
	}
}

static void test_words(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{ "", "" },
		{ "plain text", "plain text" },
		{ " folded\r\n\ttext \r\n", "folded\ttext" },
		/* RFC 2047 section 8 */
		{ "=?ISO-8859-1?Q?a?=", "a" },
		{ "=?ISO-8859-1?Q?a?= b", "a b" },
		{ "=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab" },
		{ "=?ISO-8859-1?Q?a?=  =?ISO-8859-1?Q?b?=", "ab" },
		{ "=?ISO-8859-1?Q?a?=\r\n    =?ISO-8859-1?Q?b?=", "ab" },
		{ "=?ISO-8859-1?Q?a_b?=", "a b" },
		{ "=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=", "a b" },
		{ "=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?=\r\n"
		  " =?ISO-8859-2?B?dSB1bmRlcnN0YW5kIHRoZSBleGFtcGxlLg==?=",
		  "If you can read this you understand the example." },
		{ "=?US-ASCII?Q?Keith_Moore?=", "Keith Moore" },
		{ "=?ISO-8859-1?Q?Keld_J=F8rn_Simonsen?=", "Keld J\xc3\xb8rn Simonsen" },
		{ "=?iso-8859-8?b?7eXs+SDv4SDp7Oj08A==?=",
		  "\xd7\x9d\xd7\x95\xd7\x9c\xd7\xa9 \xd7\x9f\xd7\x91 "
		  "\xd7\x99\xd7\x9c\xd7\x98\xd7\xa4\xd7\xa0" },
		{ "=?ISO-2022-JP?B?GyRCRnxLXBsoQg==?=", "\xe6\x97\xa5\xe6\x9c\xac" },
		{ "=?utf-8*en?q?language?=", "language" },
		/* a character split over two words */
		{ "=?utf-8?q?na=C3?= =?UTF-8?q?=AFve?=", "na\xc3\xafve" },
		{ "=?utf-8?b?bmHD?= =?utf-8?b?r3Zl?=", "na\xc3\xafve" },
		{ "=?utf-8?q?a_?= =?utf-8?q?_b?=", "a  b" },
		{ "x =?utf-8?q?=C3=AF?= y", "x \xc3\xaf y" },
		{ "=?utf-8?q?a?= b =?utf-8?q?c?=", "a b c" },
		{ "(=?utf-8?q?a?=)", "(a)" },
		{ "=?utf-8?q?a?==?utf-8?q?b?=", "ab" },
		{ "=?utf-8?q?a b?=", "a b" }, /* wrong and common */
		/* no words */
		{ "=?utf-8?x?a?=", "=?utf-8?x?a?=" },
		{ "=?utf-8?q?a", "=?utf-8?q?a" },
		{ "=?utf-8?q?a?", "=?utf-8?q?a?" },
		{ "=??q?a?=", "=??q?a?=" },
		{ "=?", "=?" },
		{ "=?=?utf-8?q?a?=", "=?a" },
		{ "=?utf-8?q?a\r\n b?=", "=?utf-8?q?a b?=" },
		{ "a = b ?= c", "a = b ?= c" },
		/* charsets: unknown ones stand, broken octets show */
		{ "=?x-nonsense?q?a=FF?= b", "=?x-nonsense?q?a=FF?= b" },
		{ "=?x-nonsense?q?a?=\r\n =?x-nonsense?q?b?= c", "=?x-nonsense?q?a?= =?x-nonsense?q?b?= "
		  "c" },
		{ "=?utf-8//IGNORE?q?a=FF?=", "=?utf-8//IGNORE?q?a=FF?=" },
		{ "=?utf-8?q?a=FFb?=", "a" R "b" },
		{ "=?us-ascii?q?a=E9?=", "a" R },
		{ "=?shift_jis?q?=93=FA=82?=", "\xe6\x97\xa5" R },
		{ "=?iso-8859-1?q?=93quoted=94?=", "\xe2\x80\x9cquoted\xe2\x80\x9d" },
		/* raw octets */
		{ "J\xc3\xbcrgen", "J\xc3\xbcrgen" },
		{ "J\xfcrgen", "J" R "rgen" },
		{ "\xed\xa0\x80", R R R },
		/* nothing is made safe here */
		{ "=?utf-8?q?a=1Bb?=", "a\x1b" "b" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char out[256];
		struct span got;

		assert_int_equal(decode_words(span_str(cases[i].in), out, sizeof out, &got), 0);
		assert_string_equal(out, cases[i].out);
		assert_int_equal(got.n, strlen(out));
	}
}

/* In every size of buffer whole characters come out, and the beginning of all. */
static void test_words_cut(void **state)
{
	struct span in = span_str("\xc3\xa4 =?utf-8?q?=E6=97=A5=F0=9F=98=80?= \xff x");
	char all[64], out[64];
	struct span want, got;

	(void)state;
	assert_int_equal(decode_words(in, all, sizeof all, &want), 0);
	for (size_t cap = 1; cap <= want.n; cap++) {
		assert_int_equal(decode_words(in, out, cap, &got), ERR_TOO_BIG);
		assert_true(got.n < cap && out[got.n] == '\0');
		assert_memory_equal(out, all, got.n);
		assert_true(text_is_utf8(got));
		assert_int_equal(decode_safe_words(in, out, cap, &got), ERR_TOO_BIG);
		assert_true(text_is_utf8(got));
	}
	assert_int_equal(decode_words(in, out, want.n + 1, &got), 0);
	assert_int_equal(decode_words(in, out, 1, &got), ERR_TOO_BIG);
	assert_int_equal(got.n, 0);
}

static void test_safe(void **state)
{
	static const struct {
		const char *in;
		size_t n;
		const char *out;
	} cases[] = {
		{ "plain \xc3\xa4\xe6\x97\xa5", 11, "plain \xc3\xa4\xe6\x97\xa5" },
		{ "a\x1b[31mb", 7, "a\xe2\x90\x9b[31mb" },
		{ "a\tb\r\nc", 6, "a b\xe2\x90\x8d\xe2\x90\x8a" "c" },
		{ "\0\x07\x08\x7f", 4, "\xe2\x90\x80\xe2\x90\x87\xe2\x90\x88\xe2\x90\xa1" },
		{ "\xc2\x9b" "31m", 5, R "31m" },       /* CSI of C1 */
		{ "\x9b" "31m", 4, R "31m" },           /* as a lone octet */
		{ "\xe2\x80\xae" "cod.exe", 10, R "cod.exe" }, /* right-to-left override */
		{ "\xe2\x81\xa6\xe2\x80\xa8", 6, R R },
		/* joiner and mark are text */
		{ "\xe2\x80\x8d\xe2\x80\x8f", 6, "\xe2\x80\x8d\xe2\x80\x8f" },
		{ "\xc0\x9b", 2, R R },                 /* overlong */
	};
	char out[64];
	struct span got;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_int_equal(decode_safe_text(span_of(cases[i].in, cases[i].n), out, sizeof out, &got),
		                 0);
		assert_string_equal(out, cases[i].out);
	}
	assert_int_equal(decode_safe_words(span_str("=?utf-8?q?=1B[2J?="), out, sizeof out, &got), 0);
	assert_string_equal(out, "\xe2\x90\x9b[2J");
	/* No octet of C0 comes out, whatever goes in. */
	for (unsigned a = 0; a < 65536; a++) {
		uint8_t in[2] = { (uint8_t)(a >> 8), (uint8_t)a };

		assert_int_equal(decode_safe_text(span_of(in, 2), out, sizeof out, &got), 0);
		assert_true(text_is_utf8(got));
		for (size_t i = 0; i < got.n; i++)
			assert_true(got.p[i] >= ' ' && got.p[i] != 0x7f);
	}
}

struct body_case {
	enum decode_encoding encoding;
	const char *charset, *terminal;
	bool raw;
	const char *in, *out;
};

static const struct body_case bodies[] = {
	{ DECODE_PLAIN, "", NULL, false, "one\r\ntwo\n\tthree", "one\ntwo\n\tthree" },
	{ DECODE_PLAIN, "us-ascii", NULL, false, "na\xc3\xafve \xff", "na\xc3\xafve " R },
	{ DECODE_PLAIN, "utf-8", NULL, false, "\xf0\x9f\x98\x80\xf0\x9f", "\xf0\x9f\x98\x80" R R },
	{ DECODE_PLAIN, "utf-8", NULL, false, "a\x1b[0m\r\n\rb\r", "a\xe2\x90\x9b[0m\n\xe2\x90\x8d"
	  "b\xe2\x90\x8d" },
	{ DECODE_PLAIN, "utf-8", NULL, true, "a\x1b[0m\r\n\rb\r", "a\x1b[0m\n\rb\r" },
	{ DECODE_PLAIN, "utf-8", NULL, false, "\r\r\n", "\xe2\x90\x8d\n" },
	{ DECODE_QUOTED, "iso-8859-1", NULL, false, "na=EFve=\r\n!\r\n", "na\xc3\xafve!\n" },
	{ DECODE_BASE64, "shift_jis", NULL, false, "k/qW\r\newo=", "\xe6\x97\xa5\xe6\x9c\xac\n" },
	{ DECODE_PLAIN, "iso-2022-jp", NULL, false, "\x1b$BF|K\\\x1b(B.", "\xe6\x97\xa5\xe6\x9c\xac." },
	{ DECODE_BASE64, "utf-16", NULL, false, "/v8A5GXlAAo=", "\xc3\xa4\xe6\x97\xa5\n" },
	/* with a U+0080 */
	{ DECODE_PLAIN, "gb18030", NULL, false, "\x81\x30\x81\x30\xc4\xe3", R "\xe4\xbd\xa0" },
	{ DECODE_PLAIN, "x-unknown", NULL, false, "a\xe9\x1b", "a" R "\xe2\x90\x9b" },
	{ DECODE_PLAIN, "../../evil", NULL, false, "a\xe9", "a" R },
	{ DECODE_PLAIN, "utf-8", "UTF-8", false, "\xc3\xa4", "\xc3\xa4" },
	{ DECODE_PLAIN, "utf-8", "ISO-8859-1", false, "\xc3\xa4\xe6\x97\xa5!\x1b", "\xe4?!?" },
	{ DECODE_PLAIN, "iso-8859-1", "US-ASCII", false, "a\xe4", "a?" },
	{ DECODE_QUOTED, "utf-8", NULL, false, "=1B]0;title=07", "\xe2\x90\x9b]0;title\xe2\x90\x87" },
};

struct collected {
	char p[8192];
	size_t n;
};

static int collect(void *ctx, struct span data)
{
	struct collected *c = ctx;

	assert_true(data.n > 0 && data.n < sizeof c->p - c->n);
	memcpy(c->p + c->n, data.p, data.n);
	c->n += data.n;
	c->p[c->n] = '\0';
	return 0;
}

static void test_body(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
		const struct body_case *c = &bodies[i];
		struct decode_options options = { .encoding = c->encoding, .text = true,
			.charset = span_str(c->charset), .terminal = c->terminal, .raw = c->raw };
		size_t size = strlen(c->in);

		for (size_t split = 0; split <= size; split++) {
			struct decode_body d;
			struct collected got = { .n = 0 };

			assert_int_equal(decode_body_begin(&d, &options, collect, &got), 0);
			assert_int_equal(decode_body_feed(&d, span_of(c->in, split)), 0);
			assert_int_equal(decode_body_feed(&d, span_of(c->in + split, size - split)), 0);
			assert_int_equal(decode_body_end(&d, true), 0);
			assert_string_equal(got.p, c->out);
		}
	}
}

static int refuse(void *ctx, struct span data)
{
	(void)data;
	return --*(int *)ctx < 0 ? ERR_IO : 0;
}

static void test_body_ends(void **state)
{
	struct decode_options options = { .encoding = DECODE_BASE64 };
	struct collected got = { .n = 0 };
	struct decode_body d;
	int allowed = 0;

	(void)state;
	/* An attachment's octets are what they are. */
	assert_int_equal(decode_body_begin(&d, &options, collect, &got), 0);
	assert_int_equal(decode_body_feed(&d, span_str("DQobAP8=")), 0);
	assert_int_equal(decode_body_end(&d, true), 0);
	assert_int_equal(got.n, 5);
	assert_memory_equal(got.p, "\r\n\x1b\0\xff", 5);

	options = (struct decode_options){ .text = true, .terminal = "X-NONE" };
	assert_int_equal(decode_body_begin(&d, &options, collect, &got), ERR_UNSUPPORTED);

	options = (struct decode_options){ .text = true, .charset = span_str("koi8-r") };
	assert_int_equal(decode_body_begin(&d, &options, refuse, &allowed), 0);
	assert_int_equal(decode_body_feed(&d, span_str("abc")), ERR_IO);
	assert_int_equal(decode_body_end(&d, false), 0);
	options.charset = span_str("klingon");
	assert_int_equal(decode_body_begin(&d, &options, refuse, &allowed), 0);
	assert_int_equal(d.charset.kind, CHARSET_UNKNOWN);
	assert_int_equal(decode_body_end(&d, true), 0);
}

/* Through all stages in bulk: what is expanded the most, and what is carried over. */
static void test_body_bulk(void **state)
{
	struct decode_options options = { .text = true, .charset = span_str("x-unknown") };
	uint8_t in[2500];
	struct collected got = { .n = 0 };
	struct decode_body d;

	(void)state;
	memset(in, 0xff, sizeof in);
	assert_int_equal(decode_body_begin(&d, &options, collect, &got), 0);
	assert_int_equal(decode_body_feed(&d, span_of(in, sizeof in)), 0);
	assert_int_equal(decode_body_end(&d, true), 0);
	assert_int_equal(got.n, 3 * sizeof in);
	assert_true(text_is_utf8(span_of(got.p, got.n)));

	memset(in, 0x1b, sizeof in);
	options.charset = span_str("");
	got.n = 0;
	assert_int_equal(decode_body_begin(&d, &options, collect, &got), 0);
	assert_int_equal(decode_body_feed(&d, span_of(in, sizeof in)), 0);
	assert_int_equal(decode_body_end(&d, true), 0);
	assert_int_equal(got.n, 3 * sizeof in);
}

static void test_filename(void **state)
{
	static const struct {
		const char *name, *out;
	} cases[] = {
		{ "report.pdf", "report.pdf" },
		{ "/etc/passwd", "passwd" },
		{ "..\\..\\x.exe", "x.exe" },
		{ "../", "part-1" },
		{ "..", "part-1" },
		{ "", "part-1" },
		{ ".bashrc", "bashrc" },
		{ "-rf", "rf" },
		{ " a b ", "a b" },
		{ "a\nb\x1b", "a_b_" },
		{ "na\xc3\xafve", "na\xc3\xafve" },
		{ "\xff", "_" },
		{ "x\xe2\x80\xaegnp.exe", "x_gnp.exe" },
	};
	char out[256], name[601];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		decode_filename(span_str(cases[i].name), "part-1", out);
		assert_string_equal(out, cases[i].out);
	}
	for (size_t i = 0; i < 600; i += 2)
		memcpy(name + i, "\xc3\xa4", 2);
	for (size_t n = 190; n < 210; n++) {
		decode_filename(span_of(name, n * 2), "p", out);
		assert_true(strlen(out) <= 200 && text_is_utf8(span_str(out)));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_transfer),
		cmocka_unit_test(test_many_blanks),
		cmocka_unit_test(test_base64_octets),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_words_cut),
		cmocka_unit_test(test_safe),
		cmocka_unit_test(test_body),
		cmocka_unit_test(test_body_ends),
		cmocka_unit_test(test_body_bulk),
		cmocka_unit_test(test_filename),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
