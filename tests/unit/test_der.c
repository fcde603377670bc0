/* The DER reader and writer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/err.h"
#include "base/text.h"
#include "wire/der.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* The octets of HEX, in memory of the caller. */
static struct span octets(const char *hex, uint8_t *out, size_t cap)
{
	size_t n = strlen(hex) / 2;

	assert_true(n <= cap);
	assert_int_equal(text_parse_hex(span_str(hex), out, n), 0);
	return span_of(out, n);
}

static void test_headers(void **state)
{
	static const struct {
		const char *hex;
		uint64_t total; /* 0: what is there */
		int err;
		uint8_t first;
		uint64_t number, length;
	} cases[] = {
		{ "0500", 0, 0, 0x05, 5, 0 },
		{ "800100", 0, 0, 0x80, 0, 1 },
		{ "a07f", 129, 0, 0xa0, 0, 127 },
		/* lengths: the long form only where it is needed, in the fewest octets */
		{ "808180", 131, 0, 0x80, 0, 128 },
		{ "80817f", 1000, ERR_MALFORMED, 0, 0, 0 },
		{ "808100", 1000, ERR_MALFORMED, 0, 0, 0 },
		{ "80820100", 260, 0, 0x80, 0, 256 },
		{ "80820080", 1000, ERR_MALFORMED, 0, 0, 0 },
		{ "8083010000", 65541, 0, 0x80, 0, 65536 },
		{ "808300ffff", 70000, ERR_MALFORMED, 0, 0, 0 },
		{ "808400ffffff", UINT64_MAX, ERR_MALFORMED, 0, 0, 0 },
		{ "8084ffffffff", UINT64_MAX, 0, 0x80, 0, 0xffffffff },
		{ "8088fffffffffffffff6", UINT64_MAX, ERR_MALFORMED, 0, 0, 0 },
		{ "8088ffffffffffffff00", UINT64_MAX, 0, 0x80, 0, 0xffffffffffffff00 },
		{ "8089010000000000000000", UINT64_MAX, ERR_MALFORMED, 0, 0, 0 },
		{ "8080", 1000, ERR_MALFORMED, 0, 0, 0 }, /* indefinite */
		{ "80ff", 1000, ERR_MALFORMED, 0, 0, 0 },
		/* an element longer than what it stands in */
		{ "8001", 0, ERR_MALFORMED, 0, 0, 0 },
		{ "800200", 0, ERR_MALFORMED, 0, 0, 0 },
		{ "80", 0, ERR_MALFORMED, 0, 0, 0 },
		{ "8081", 0, ERR_MALFORMED, 0, 0, 0 },
		/* the same, when more is to come */
		{ "8001", 3, 0, 0x80, 0, 1 },
		{ "80", 2, ERR_AGAIN, 0, 0, 0 },
		{ "8081", 1000, ERR_AGAIN, 0, 0, 0 },
		{ "8082ff", 1000, ERR_AGAIN, 0, 0, 0 },
		{ "808200", 1000, ERR_MALFORMED, 0, 0, 0 },
		/* high tag numbers: 31 and up, no leading zero septet */
		{ "9f1f00", 0, 0, 0x9f, 31, 0 },
		{ "bf7f00", 0, 0, 0xbf, 127, 0 },
		{ "9f810000", 0, 0, 0x9f, 128, 0 },
		{ "9fff7f00", 0, 0, 0x9f, 16383, 0 },
		{ "9f1e00", 0, ERR_MALFORMED, 0, 0, 0 },
		{ "9f0000", 0, ERR_MALFORMED, 0, 0, 0 },
		{ "9f800100", 0, ERR_MALFORMED, 0, 0, 0 },
		{ "9f801f00", 0, ERR_MALFORMED, 0, 0, 0 },
		{ "9fffffffffffffffff7f00", 0, 0, 0x9f, INT64_MAX, 0 },
		{ "9f81808080808080808000", 0, ERR_MALFORMED, 0, 0, 0 },
		{ "9f818080808080808080000000", 0, ERR_MALFORMED, 0, 0, 0 },
		{ "9fff", 0, ERR_MALFORMED, 0, 0, 0 },
		{ "9fff", 9, ERR_AGAIN, 0, 0, 0 },
		{ "9f80", 9, ERR_MALFORMED, 0, 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		uint8_t raw[32];
		struct span body = octets(cases[i].hex, raw, sizeof(raw));
		struct der_reader r;
		struct der_header h;

		der_reader_init(&r, body, cases[i].total != 0 ? cases[i].total : body.n);
		if (der_next(&r, &h) != (cases[i].err == 0) || r.err != cases[i].err)
			fail_msg("%s: %d", cases[i].hex, r.err);
		if (r.err == 0 && (h.first != cases[i].first || h.number != cases[i].number ||
		                   h.length != cases[i].length))
			fail_msg("%s: first %x", cases[i].hex, h.first);
	}
}

static void test_uint(void **state)
{
	static const struct {
		const char *hex;
		int err;
		uint64_t value;
	} cases[] = {
		{ "020100", 0, 0 },
		{ "02017f", 0, 127 },
		{ "02020080", 0, 128 },
		{ "020200ff", 0, 255 },
		{ "02020100", 0, 256 },
		{ "02087fffffffffffffff", 0, INT64_MAX },
		{ "0209008000000000000000", 0, 1ULL << 63 },
		{ "020900ffffffffffffffff", 0, UINT64_MAX },
		{ "0200", ERR_MALFORMED, 0 },
		{ "020180", ERR_MALFORMED, 0 },   /* negative */
		{ "0202ff7f", ERR_MALFORMED, 0 }, /* negative */
		{ "02020000", ERR_MALFORMED, 0 }, /* not minimal */
		{ "0202007f", ERR_MALFORMED, 0 },
		{ "0203000080", ERR_MALFORMED, 0 },
		{ "0209010000000000000000", ERR_MALFORMED, 0 }, /* over 64 bits */
		{ "020a0001000000000000000000", ERR_MALFORMED, 0 },
		{ "020a00ffffffffffffffffff", ERR_MALFORMED, 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		uint8_t raw[32], back[32];
		struct span body = octets(cases[i].hex, raw, sizeof(raw));
		struct der_reader r;
		struct der_header h;
		struct der_writer w;
		uint64_t value;

		der_reader_init(&r, body, body.n);
		der_next(&r, &h);
		value = der_take_uint(&r, &h);
		if (r.err != cases[i].err || value != cases[i].value)
			fail_msg("%s: %d", cases[i].hex, r.err);
		if (r.err != 0)
			continue;
		assert_true(der_at_end(&r));
		der_writer_init(&w, back, sizeof(back));
		der_put_uint(&w, DER_INTEGER, value);
		assert_true(span_eq(der_written(&w), body));
	}
}

enum take { TAKE_BOOL, TAKE_ENUM, TAKE_TEXT, TAKE_OCTETS, TAKE_SKIP };

static void take(struct der_reader *r, const struct der_header *h, enum take what)
{
	switch (what) {
	case TAKE_BOOL:
		der_take_bool(r, h);
		break;
	case TAKE_ENUM:
		der_take_enum(r, h);
		break;
	case TAKE_TEXT:
		der_take_text(r, h);
		break;
	case TAKE_OCTETS:
		der_take_octets(r, h);
		break;
	case TAKE_SKIP:
		der_skip(r, h);
		break;
	}
}

static void test_content(void **state)
{
	static const struct {
		enum take what;
		const char *hex;
		int err;
	} cases[] = {
		{ TAKE_BOOL, "010100", 0 },
		{ TAKE_BOOL, "0101ff", 0 },
		{ TAKE_BOOL, "010101", ERR_MALFORMED },
		{ TAKE_BOOL, "01017f", ERR_MALFORMED },
		{ TAKE_BOOL, "0100", ERR_MALFORMED },
		{ TAKE_BOOL, "01020000", ERR_MALFORMED },
		{ TAKE_ENUM, "0a0100", 0 },
		{ TAKE_ENUM, "0a047fffffff", 0 },
		{ TAKE_ENUM, "0a050080000000", ERR_MALFORMED },
		{ TAKE_ENUM, "0a01ff", ERR_MALFORMED },
		{ TAKE_ENUM, "0a00", ERR_MALFORMED },
		{ TAKE_TEXT, "0c00", 0 },
		{ TAKE_TEXT, "0c0161", 0 },
		{ TAKE_TEXT, "0c02c3a9", 0 },
		{ TAKE_TEXT, "0c04f09f9880", 0 },
		{ TAKE_TEXT, "0c0100", ERR_MALFORMED },
		{ TAKE_TEXT, "0c03610062", ERR_MALFORMED },
		{ TAKE_TEXT, "0c01c3", ERR_MALFORMED },
		{ TAKE_TEXT, "0c02c080", ERR_MALFORMED },
		{ TAKE_TEXT, "0c03eda080", ERR_MALFORMED },
		{ TAKE_TEXT, "0c04f4908080", ERR_MALFORMED },
		{ TAKE_OCTETS, "0400", 0 },
		{ TAKE_OCTETS, "040300ff80", 0 },
		{ TAKE_SKIP, "9f1f0100", 0 },
		{ TAKE_SKIP, "bf1f023000", 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		uint8_t raw[32];
		struct span body = octets(cases[i].hex, raw, sizeof(raw));
		struct der_reader r;
		struct der_header h;

		der_reader_init(&r, body, body.n);
		assert_true(der_next(&r, &h));
		take(&r, &h, cases[i].what);
		if (r.err != cases[i].err)
			fail_msg("%s: %d", cases[i].hex, r.err);
		if (r.err == 0 && r.at != body.n)
			fail_msg("%s: %d octets read", cases[i].hex, (int)r.at);
		/* Without its last octet, and more to come. */
		if (h.length == 0)
			continue;
		der_reader_init(&r, span_of(body.p, body.n - 1), body.n);
		assert_true(der_next(&r, &h));
		take(&r, &h, cases[i].what);
		assert_int_equal(r.err, ERR_AGAIN);
	}
}

/* After an error everything gives zeros and the first error stays. */
static void test_sticky(void **state)
{
	static const uint8_t body[] = { 0x01, 0x01, 0x05, 0x02, 0x01, 0x07 };
	struct der_reader r;
	struct der_header h, next;
	uint64_t outer;

	(void)state;
	der_reader_init(&r, span_of(body, sizeof(body)), sizeof(body));
	assert_true(der_next(&r, &h));
	assert_false(der_take_bool(&r, &h));
	assert_int_equal(r.err, ERR_MALFORMED);
	assert_true(der_at_end(&r));
	assert_false(der_next(&r, &next));
	assert_int_equal(next.length, 0);
	assert_int_equal(der_take_uint(&r, &h), 0);
	assert_null(der_take_octets(&r, &h).p);
	assert_int_equal(der_take_stream(&r, &h).size, 0);
	outer = der_enter(&r, &h);
	der_leave(&r, outer);
	der_skip(&r, &h);
	assert_int_equal(r.skipped, 0);
	der_fail(&r, ERR_AGAIN);
	assert_int_equal(r.err, ERR_MALFORMED);
	/* More in memory than there is. */
	der_reader_init(&r, span_of(body, sizeof(body)), sizeof(body) - 1);
	assert_int_equal(r.err, ERR_MALFORMED);
	/* Nothing at all is an end, not an error. */
	der_reader_init(&r, span_of(NULL, 0), 0);
	assert_false(der_next(&r, &h));
	assert_int_equal(r.err, 0);
}

static void test_nesting(void **state)
{
	(void)state;
	for (unsigned levels = 1; levels <= DER_NESTING_MAX + 1; levels++) {
		uint8_t raw[64];
		uint64_t outer[DER_NESTING_MAX + 1];
		struct der_writer w;
		struct der_reader r;
		struct der_header h;

		der_writer_init(&w, raw, sizeof(raw));
		for (unsigned i = 0; i < levels; i++)
			der_wrap(&w, DER_SEQUENCE, 0);
		der_reader_init(&r, der_written(&w), 2 * levels);
		for (unsigned i = 0; i < levels; i++) {
			der_next(&r, &h);
			outer[i] = der_enter(&r, &h);
		}
		assert_int_equal(r.err, levels <= DER_NESTING_MAX ? 0 : ERR_MALFORMED);
		for (unsigned i = levels; i-- > 0;)
			der_leave(&r, outer[i]);
		assert_int_equal(r.err, levels <= DER_NESTING_MAX ? 0 : ERR_MALFORMED);
		assert_int_equal(r.depth, levels <= DER_NESTING_MAX ? 0 : DER_NESTING_MAX);
	}
}

/* What is inside an element cannot reach past it, nor be left half read. */
static void test_enter(void **state)
{
	static const uint8_t body[] = { 0x30, 0x03, 0x02, 0x01, 0x05, 0x02, 0x01, 0x06 };
	static const uint8_t past[] = { 0x30, 0x03, 0x04, 0x02, 0x05, 0x02 };
	struct der_reader r;
	struct der_header h;
	uint64_t outer;

	(void)state;
	der_reader_init(&r, span_of(body, sizeof(body)), sizeof(body));
	assert_true(der_next(&r, &h));
	outer = der_enter(&r, &h);
	assert_true(der_next(&r, &h));
	assert_int_equal(der_take_uint(&r, &h), 5);
	assert_true(der_at_end(&r));
	assert_false(der_next(&r, &h));
	der_leave(&r, outer);
	assert_true(der_next(&r, &h));
	assert_int_equal(der_take_uint(&r, &h), 6);
	assert_int_equal(r.err, 0);

	der_reader_init(&r, span_of(body, sizeof(body)), sizeof(body));
	assert_true(der_next(&r, &h));
	outer = der_enter(&r, &h);
	der_leave(&r, outer);
	assert_int_equal(r.err, ERR_MALFORMED);

	der_reader_init(&r, span_of(past, sizeof(past)), sizeof(past));
	assert_true(der_next(&r, &h));
	der_enter(&r, &h);
	assert_false(der_next(&r, &h));
	assert_int_equal(r.err, ERR_MALFORMED);
}

static void test_stream(void **state)
{
	static const struct {
		const char *hex;
		uint64_t total;
		size_t here;
		uint64_t size;
		int err;
	} cases[] = {
		{ "3005040300", 7, 1, 3, 0 },
		{ "30050403", 7, 0, 3, 0 },
		{ "30050403000102", 7, 3, 3, 0 },
		{ "30020400", 4, 0, 0, 0 },
		{ "30050402000102", 7, 0, 0, ERR_MALFORMED }, /* an octet more in the SEQUENCE */
		{ "30050403000102", 9, 3, 3, ERR_MALFORMED }, /* something after the SEQUENCE */
		{ "30050404000102", 7, 0, 0, ERR_MALFORMED }, /* longer than the SEQUENCE */
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		uint8_t raw[32];
		struct span body = octets(cases[i].hex, raw, sizeof(raw));
		struct der_reader r;
		struct der_header h;
		struct wire_octets got;
		uint64_t outer;

		der_reader_init(&r, body, cases[i].total);
		assert_true(der_next(&r, &h));
		outer = der_enter(&r, &h);
		der_next(&r, &h);
		got = der_take_stream(&r, &h);
		der_leave(&r, outer);
		if (r.err != cases[i].err || got.size != cases[i].size ||
		    got.here.n != cases[i].here)
			fail_msg("%s of %d: %d", cases[i].hex, (int)cases[i].total, r.err);
	}
}

static void test_writer(void **state)
{
	uint8_t buf[400], want[16];
	struct der_writer w;
	struct span long_text, out;
	uint64_t mark;

	(void)state;
	der_writer_init(&w, buf, sizeof(buf));
	assert_int_equal(der_written(&w).n, 0);
	der_put_bool(&w, DER_CONTEXT(3), true);
	mark = der_mark(&w);
	der_put_text(&w, DER_TEXT, span_str("ab"));
	der_put_octets(&w, DER_OCTETS, span_of(NULL, 0));
	der_wrap(&w, DER_CONTEXT_WRAP(2), mark);
	der_put_uint(&w, DER_ENUMERATED, 5);
	out = octets("0a0105a20604000c0261628301ff", want, sizeof(want));
	assert_true(span_eq(der_written(&w), out));
	/* Lengths at the edges of their forms. */
	for (size_t n = 126; n < 260; n++) {
		static const char filler[300];
		struct der_reader r;
		struct der_header h;

		der_writer_init(&w, buf, sizeof(buf));
		der_put_octets(&w, DER_OCTETS, span_of(filler, n));
		out = der_written(&w);
		assert_int_equal(out.n, n + (n < 128 ? 2 : n < 256 ? 3 : 4));
		der_reader_init(&r, out, out.n);
		assert_true(der_next(&r, &h));
		assert_int_equal(h.length, n);
	}
	long_text = span_of(buf, 8);
	der_writer_init(&w, want, 10);
	memset(buf, 'x', 8);
	der_put_text(&w, DER_TEXT, long_text);
	assert_int_equal(der_written(&w).n, 10);
	der_put_raw(&w, span_of(NULL, 0));
	assert_int_equal(w.err, 0);
	der_put_raw(&w, span_of(buf, 1));
	assert_int_equal(w.err, ERR_TOO_BIG);
	assert_int_equal(der_written(&w).n, 0);
	der_put_bool(&w, DER_CONTEXT(0), true);
	der_writer_fail(&w, ERR_MALFORMED);
	assert_int_equal(w.err, ERR_TOO_BIG);
}

/* A tail counts in every length around it. */
static void test_writer_tail(void **state)
{
	static const uint8_t here[] = { 1, 2 };
	uint8_t buf[32], want[32];
	struct der_writer w;
	struct wire_octets big = { .size = 70000, .here = span_of(here, 2) };

	(void)state;
	der_writer_init(&w, buf, sizeof(buf));
	der_put_stream(&w, DER_CONTEXT(2), big);
	der_put_uint(&w, DER_CONTEXT(1), 0);
	der_wrap(&w, DER_SEQUENCE, 0);
	assert_int_equal(w.tail, 69998);
	assert_true(span_eq(der_written(&w),
	                    octets("3083011178810100828301117001" "02", want, sizeof(want))));
	assert_int_equal(der_mark(&w), der_written(&w).n + 69998);
	/* Only at the end. */
	der_writer_init(&w, buf, sizeof(buf));
	der_put_bool(&w, DER_CONTEXT(3), true);
	der_put_stream(&w, DER_CONTEXT(2), big);
	assert_int_equal(w.err, ERR_MALFORMED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_uint),
		cmocka_unit_test(test_content),
		cmocka_unit_test(test_sticky),
		cmocka_unit_test(test_nesting),
		cmocka_unit_test(test_enter),
		cmocka_unit_test(test_stream),
		cmocka_unit_test(test_writer),
		cmocka_unit_test(test_writer_tail),
	};

	return cmocka_run_group_tests_name("der", tests, NULL, NULL);
}
