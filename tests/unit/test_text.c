/* Text forms of octets and numbers, UTF-8, JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/text.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define LITERAL(s) { (const uint8_t *)(s), sizeof(s) - 1 }

static void test_utf8(void **state)
{
	static const struct {
		struct span s;
		bool valid;
	} cases[] = {
		{ LITERAL(""), true },
		{ LITERAL("plain \x01\x7f"), true },
		{ LITERAL("\0"), false },
		{ LITERAL("a\0b"), false },
		{ LITERAL("\xc2\x80\xdf\xbf"), true },
		{ LITERAL("\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf"), true },
		{ LITERAL("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"), true },
		{ LITERAL("\x80"), false },
		{ LITERAL("\xbf"), false },
		{ LITERAL("\xc0\x80"), false },         /* U+0000, too long */
		{ LITERAL("\xc1\xbf"), false },         /* U+007F, too long */
		{ LITERAL("\xe0\x9f\xbf"), false },     /* U+07FF, too long */
		{ LITERAL("\xf0\x8f\xbf\xbf"), false }, /* U+FFFF, too long */
		{ LITERAL("\xed\xa0\x80"), false },     /* surrogates */
		{ LITERAL("\xed\xbf\xbf"), false },
		{ LITERAL("\xf4\x90\x80\x80"), false }, /* U+110000 */
		{ LITERAL("\xf5\x80\x80\x80"), false },
		{ LITERAL("\xf8\x88\x80\x80\x80"), false },
		{ LITERAL("\xff"), false },
		{ LITERAL("\xc3"), false }, /* cut off */
		{ LITERAL("\xe2\x82"), false },
		{ LITERAL("\xf0\x9f\x93"), false },
		{ LITERAL("\xc3("), false },
		{ LITERAL("\xe2(\xa1"), false },
		{ LITERAL("\xe2\x82("), false },
		{ LITERAL("\xf0\x9f\x93("), false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		if (text_is_utf8(cases[i].s) != cases[i].valid)
			fail_msg("case %zu", i);
}

/* Every code point, against an encoder written the other way round. */
static void test_utf8_char_all(void **state)
{
	(void)state;
	for (uint32_t code = 0; code < 0x110000; code++) {
		uint8_t p[4];
		uint32_t got = 0;
		size_t n = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
		bool surrogate = code >= 0xd800 && code < 0xe000;
		size_t taken;

		if (n == 1)
			p[0] = (uint8_t)code;
		for (size_t i = n; n > 1 && i-- > 0;) {
			uint32_t low = code >> (6 * (n - 1 - i));

			p[i] = (uint8_t)(i > 0 ? 0x80 | (low & 0x3f) : (0xf00U >> n & 0xff) | low);
		}
		taken = text_utf8_char(span_of(p, n), &got);
		if (surrogate ? taken != 0 : taken != n || got != code)
			fail_msg("U+%04X", code);
		if (text_utf8_char(span_of(p, n - 1), &got) != 0)
			fail_msg("U+%04X cut", code);
	}
}

static void test_base32hex(void **state)
{
	/* RFC 4648 section 10, lower case and without padding. */
	static const struct {
		const char *plain, *text;
	} cases[] = {
		{ "", "" },           { "f", "co" },          { "fo", "cpng" },
		{ "foo", "cpnmu" },   { "foob", "cpnmuog" },  { "fooba", "cpnmuoj1" },
		{ "foobar", "cpnmuoj1e8" },
	};
	static const struct {
		const char *text;
		size_t n;
	} bad[] = {
		{ "cp", 1 },    /* padding bits set */
		{ "cpnh", 2 },  { "c", 1 },   { "co=", 1 }, { "co ", 1 }, { "co", 2 }, { "cw", 1 },
		{ "CW", 1 },    { "c0o", 1 }, { "", 1 },    { "co", 0 },  { "c/", 1 }, { "c:", 1 },
		{ "c@", 1 },    { "c`", 1 },
	};
	uint8_t octets[16];
	char text[27];

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		size_t n = strlen(cases[i].plain);

		text_base32hex((const uint8_t *)cases[i].plain, n, text);
		assert_string_equal(text, cases[i].text);
		assert_int_equal(text_parse_base32hex(span_str(text), octets, n), 0);
		assert_memory_equal(octets, cases[i].plain, n);
	}
	assert_int_equal(text_parse_base32hex(span_str("CPNMUOJ1E8"), octets, 6), 0);
	assert_memory_equal(octets, "foobar", 6);
	for (size_t i = 0; i < COUNT(bad); i++)
		if (text_parse_base32hex(span_str(bad[i].text), octets, bad[i].n) != ERR_MALFORMED)
			fail_msg("\"%s\" as %zu octets", bad[i].text, bad[i].n);
	memset(octets, 0xff, 16);
	text_base32hex(octets, 16, text);
	assert_string_equal(text, "vvvvvvvvvvvvvvvvvvvvvvvvvs");
}

static void test_base64url_and_hex(void **state)
{
	static const struct {
		struct span plain;
		const char *text;
	} cases[] = {
		{ LITERAL(""), "" },
		{ LITERAL("f"), "Zg" },
		{ LITERAL("fo"), "Zm8" },
		{ LITERAL("foo"), "Zm9v" },
		{ LITERAL("foobar"), "Zm9vYmFy" },
		{ LITERAL("\xfb\xff\xfe"), "-__-" },
	};
	static const char *const bad[] = { "0", "012", "0g", "g0", "0 ", " 0", "0x", "", "01", "000" };
	uint8_t octets[4];
	char text[32];

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		text_base64url(cases[i].plain.p, cases[i].plain.n, text);
		assert_string_equal(text, cases[i].text);
	}
	text_hex((const uint8_t *)"\x00\x9a\xff", 3, text);
	assert_string_equal(text, "009aff");
	assert_int_equal(text_parse_hex(span_str("009AfF"), octets, 3), 0);
	assert_memory_equal(octets, "\x00\x9a\xff", 3);
	for (size_t i = 0; i < COUNT(bad); i++)
		if (text_parse_hex(span_str(bad[i]), octets, i < 6 ? 1 : 2) != ERR_MALFORMED)
			fail_msg("\"%s\"", bad[i]);
}

static void test_numbers(void **state)
{
	static const struct {
		const char *text;
		uint64_t max;
		int rc;
		uint64_t value;
	} cases[] = {
		{ "0", 0, 0, 0 },
		{ "17", 17, 0, 17 },
		{ "18", 17, ERR_TOO_BIG, 0 },
		{ "0017", 17, 0, 17 },
		{ "18446744073709551615", UINT64_MAX, 0, UINT64_MAX },
		{ "18446744073709551616", UINT64_MAX, ERR_TOO_BIG, 0 },
		{ "184467440737095516150", UINT64_MAX, ERR_TOO_BIG, 0 },
		{ "99999999999999999999x", UINT64_MAX, ERR_MALFORMED, 0 },
		{ "", 9, ERR_MALFORMED, 0 },
		{ "-1", 9, ERR_MALFORMED, 0 },
		{ "+1", 9, ERR_MALFORMED, 0 },
		{ " 1", 9, ERR_MALFORMED, 0 },
		{ "1 ", 9, ERR_MALFORMED, 0 },
		{ "1.", 9, ERR_MALFORMED, 0 },
		{ "0x1", 9, ERR_MALFORMED, 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		uint64_t value = 0;

		if (text_parse_number(cases[i].text, cases[i].max, &value) != cases[i].rc
		    || value != cases[i].value)
			fail_msg("\"%s\"", cases[i].text);
	}
}

static void test_units(void **state)
{
	static const struct {
		const char *text;
		int size_rc;
		uint64_t size;
		int duration_rc;
		uint64_t duration;
	} cases[] = {
		{ "17", 0, 17, 0, 17 },
		{ "0", 0, 0, 0, 0 },
		{ "64K", 0, 65536, ERR_MALFORMED, 0 },
		{ "256M", 0, 268435456, ERR_MALFORMED, 0 },
		{ "2G", 0, 2147483648, ERR_MALFORMED, 0 },
		{ "1T", 0, 1099511627776, ERR_MALFORMED, 0 },
		{ "16777215T", 0, 16777215ULL << 40, ERR_MALFORMED, 0 },
		{ "16777216T", ERR_TOO_BIG, 0, ERR_MALFORMED, 0 },
		{ "30s", ERR_MALFORMED, 0, 0, 30 },
		{ "5m", ERR_MALFORMED, 0, 0, 300 },
		{ "12h", ERR_MALFORMED, 0, 0, 43200 },
		{ "90d", ERR_MALFORMED, 0, 0, 7776000 },
		{ "213503982334601d", ERR_MALFORMED, 0, 0, 18446744073709526400ULL },
		{ "213503982334602d", ERR_MALFORMED, 0, ERR_TOO_BIG, 0 },
		{ "18446744073709551616", ERR_TOO_BIG, 0, ERR_TOO_BIG, 0 },
		{ "18446744073709551616K", ERR_TOO_BIG, 0, ERR_MALFORMED, 0 },
		{ "18446744073709551616x", ERR_MALFORMED, 0, ERR_MALFORMED, 0 },
		{ "", ERR_MALFORMED, 0, ERR_MALFORMED, 0 },
		{ "K", ERR_MALFORMED, 0, ERR_MALFORMED, 0 },
		{ "d", ERR_MALFORMED, 0, ERR_MALFORMED, 0 },
		{ "64k", ERR_MALFORMED, 0, ERR_MALFORMED, 0 },
		{ "64KB", ERR_MALFORMED, 0, ERR_MALFORMED, 0 },
		{ "64 K", ERR_MALFORMED, 0, ERR_MALFORMED, 0 },
		{ "1.5G", ERR_MALFORMED, 0, ERR_MALFORMED, 0 },
		{ "-1", ERR_MALFORMED, 0, ERR_MALFORMED, 0 },
		{ "1h30m", ERR_MALFORMED, 0, ERR_MALFORMED, 0 },
		{ "huge", ERR_MALFORMED, 0, ERR_MALFORMED, 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		uint64_t size = 0, duration = 0;

		if (text_parse_size(cases[i].text, &size) != cases[i].size_rc
		    || size != cases[i].size)
			fail_msg("size \"%s\"", cases[i].text);
		if (text_parse_duration(cases[i].text, &duration) != cases[i].duration_rc
		    || duration != cases[i].duration)
			fail_msg("duration \"%s\"", cases[i].text);
	}
}

static void test_size(void **state)
{
	static const struct {
		uint64_t octets;
		const char *text;
	} cases[] = {
		{ 0, "0" },
		{ 812, "812" },
		{ 1023, "1023" },
		{ 1024, "1.0K" },
		{ 4096, "4.0K" },
		{ 10188, "9.9K" },
		{ 10200, "10K" },
		{ 1047552, "1023K" },
		{ 1048064, "1.0M" },
		{ 26214400, "25M" },
		{ 1ULL << 30, "1.0G" },
		{ 1ULL << 40, "1.0T" },
		{ UINT64_MAX, "16E" },
	};
	char out[16];

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		assert_string_equal(text_size(cases[i].octets, out, sizeof out), cases[i].text);
}

static void test_json(void **state)
{
	static const struct {
		struct span plain;
		const char *text;
	} cases[] = {
		{ LITERAL(""), "\"\"" },
		{ LITERAL("say \"hi\" \\o/"), "\"say \\\"hi\\\" \\\\o/\"" },
		{ LITERAL("\n\r\t\b\x1b[2J"), "\"\\n\\r\\t\\u0008\\u001b[2J\"" },
		{ LITERAL("a\0b\x7f"), "\"a\\u0000b\\u007f\"" },
		{ LITERAL("\xc2\x9b" "31m"), "\"\\u009b31m\"" }, /* C1: terminals obey it */
		{ LITERAL("gr\xc3\xbc\xc3\x9f \xf0\x9f\x93\xa7"),
		  "\"gr\xc3\xbc\xc3\x9f \xf0\x9f\x93\xa7\"" },
		{ LITERAL("\xff" "a\xe2\x82" "b\xc3"),
		  "\"\xef\xbf\xbd" "a\xef\xbf\xbd\xef\xbf\xbd" "b\xef\xbf\xbd\"" },
	};
	struct buf b;

	(void)state;
	buf_init(&b, 64);
	for (size_t i = 0; i < COUNT(cases); i++) {
		assert_int_equal(text_json(&b, cases[i].plain), 0);
		assert_string_equal(buf_cstr(&b), cases[i].text);
		buf_consume(&b, b.n);
	}
	buf_free(&b);
	buf_init(&b, 4);
	assert_int_equal(text_json(&b, span_str("ab")), 0);
	buf_consume(&b, b.n);
	assert_int_equal(text_json(&b, span_str("abc")), ERR_TOO_BIG);
	buf_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_utf8),
		cmocka_unit_test(test_utf8_char_all),
		cmocka_unit_test(test_base32hex),
		cmocka_unit_test(test_base64url_and_hex),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_units),
		cmocka_unit_test(test_size),
		cmocka_unit_test(test_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
