/*
 * A message read by ranges: what the parser says of a section, and of a part, before it has seen
 * all must be what it says at the end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/err.h"
#include "message/mime.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define PARTS 64
#define MULTI(b) "Content-Type: multipart/mixed; boundary=" b "\r\n\r\n"
#define MESSAGE "Content-Type: message/rfc822\r\n\r\n"

static const char *const messages[] = {
	"",
	"\r\n",
	"A: b\r\n",
	"A: b",
	"A: b\r\n\r\none\r\ntwo\r\n",
	"A: b\n\none\ntwo",
	MULTI("b") "preamble\r\n--b\r\n\r\none\r\n--b\r\nX: y\r\n\r\ntwo\r\n\r\n--b--\r\nepilogue\r\n",
	MULTI("b") "--b\r\n\r\n--b\r\n\r\n\r\n--b--",
	MULTI("b") "--b\r\n\r\none\r\n",
	MULTI("b") "text\r\n",
	MULTI("o") "--o\r\n" MULTI("i") "--i\r\n\r\none\r\n--i--\r\n\r\n--o\r\n\r\ntwo\r\n--o--\r\n",
	MULTI("o") "--o\r\n" MULTI("i") "--i\r\n\r\none\r\n--o\r\n" MESSAGE "A: b\r\n\r\nin\r\n--o--",
	MESSAGE "A: b\r\n\r\none\r\ntwo\r\n",
	MESSAGE MULTI("b") "--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--\r\n",
	MULTI("b") "--b\r\n" MESSAGE "A: b\r\n--b--\r\n",
	MULTI("b") "--b\r\n\r\none -- two --b\r\n-- no\r\n--b--\r\n",
};

static const char *const sections[] = {
	"",       "HEADER", "TEXT",   "1",        "2",      "3",      "1.1",    "1.2", "2.1",
	"1.MIME", "2.MIME", "1.TEXT", "1.HEADER", "2.TEXT", "2.HEADER", "1.1.1", "x",  "0",
};

/* Random messages of what matters to a parser. */
static size_t compose(uint32_t *x, char *out, size_t cap)
{
	static const char *const pieces[] = {
		MULTI("b"), MULTI("bb"), MULTI("c"), MESSAGE,  "--b\r\n", "--b\n",   "--bb\r\n",
		"--c\r\n",  "--b--\r\n", "--c--\n",  "\r\n",   "\n",      "A: b\r\n", "text\r\n",
		"x",        "--",        "-",        "\r",     "a line\n",
	};
	size_t n = 0;

	*x = *x * 1664525 + 1013904223;
	for (unsigned left = 3 + (*x >> 24) % 25; left > 0; left--) {
		const char *piece;

		*x = *x * 1664525 + 1013904223;
		piece = pieces[(*x >> 16) % COUNT(pieces)];
		if (strlen(piece) > cap - n)
			break;
		memcpy(out + n, piece, strlen(piece));
		n += strlen(piece);
	}
	return n;
}

static size_t parse(const char *message, size_t n, struct mime_part *parts)
{
	static struct mime_parser p;

	mime_begin(&p, parts, PARTS);
	mime_feed(&p, span_of(message, n));
	return mime_end(&p);
}

/* How many answers were there before the end was. */
static unsigned check_sections(const char *message, size_t size)
{
	static struct mime_parser p;
	struct mime_part all[PARTS], parts[PARTS], room[PARTS];
	size_t n = parse(message, size, all);
	unsigned early = 0;

	mime_begin(&p, parts, PARTS);
	for (size_t fed = 0; fed <= size; fed++) {
		for (size_t i = 0; i < COUNT(sections); i++) {
			uint64_t at, length, last_at = 0, last_length = 0;
			struct span section = span_str(sections[i]);
			int last = mime_section(all, n, section, &last_at, &last_length);
			int rc = mime_section_so_far(&p, size, room, section, &at, &length);

			if (rc == ERR_AGAIN)
				continue;
			assert_int_equal(rc, last);
			if (rc != 0)
				continue;
			assert_int_equal(at, last_at);
			assert_int_equal(length, last_length);
			early += fed < size;
		}
		if (fed < size)
			mime_feed(&p, span_of(message + fed, 1));
	}
	return early;
}

static void test_sections_now(void **state)
{
	char message[2048];
	uint32_t x = 7;
	unsigned early = 0;

	(void)state;
	for (size_t i = 0; i < COUNT(messages); i++)
		early += check_sections(messages[i], strlen(messages[i]));
	for (unsigned i = 0; i < 3000; i++)
		early += check_sections(message, compose(&x, message, sizeof message));
	assert_true(early > 100000);
}

/* Answers come as soon as they can. */
static void test_how_soon(void **state)
{
	static const char message[] = MULTI("b") "--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--\r\nend";
	static const struct {
		const char *section;
		size_t fed; /* with the octet before: not yet */
	} cases[] = {
		{ "", 0 },    { "HEADER", 45 }, { "TEXT", 45 }, { "1.MIME", 52 },
		{ "1", 62 },  { "2.MIME", 64 }, { "2", 76 },
	};
	static struct mime_parser p;
	struct mime_part parts[PARTS], room[PARTS];
	uint64_t at, length;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		mime_begin(&p, parts, PARTS);
		for (size_t fed = 0; fed < cases[i].fed; fed++) {
			assert_int_equal(mime_section_so_far(&p, sizeof message - 1, room,
			                                  span_str(cases[i].section), &at, &length),
			                 ERR_AGAIN);
			mime_feed(&p, span_of(message + fed, 1));
		}
		assert_int_equal(mime_section_so_far(&p, sizeof message - 1, room,
		                                  span_str(cases[i].section), &at, &length), 0);
	}
}

/* --- the table ---------------------------------------------------------------------------- */

/* What is told of a part before the end is what is told of it at the end. */
static unsigned check_table(const char *message, size_t size)
{
	static struct mime_parser p;
	struct mime_part all[PARTS], parts[PARTS], room[PARTS];
	size_t n_all = parse(message, size, all);
	unsigned early = 0;

	mime_begin(&p, parts, PARTS);
	for (size_t fed = 0; fed <= size; fed++) {
		size_t n = mime_so_far(&p, size, room);

		assert_true(n <= n_all);
		for (size_t i = 0; i < n; i++) {
			assert_int_equal(room[i].header_at, all[i].header_at);
			assert_int_equal(room[i].body_at, all[i].body_at);
			assert_int_equal(room[i].parent, all[i].parent);
			assert_int_equal(room[i].kind, all[i].kind);
			assert_int_equal(room[i].flags & ~MIME_CUT, all[i].flags & ~MIME_CUT);
			if (room[i].end_at != UINT64_MAX) {
				assert_int_equal(room[i].end_at, all[i].end_at);
				early += fed < size;
			}
		}
		if (fed < size)
			mime_feed(&p, span_of(message + fed, 1));
	}
	return early;
}

static void test_table(void **state)
{
	char message[2048];
	uint32_t x = 11;
	unsigned early = 0;

	(void)state;
	for (size_t i = 0; i < COUNT(messages); i++)
		early += check_table(messages[i], strlen(messages[i]));
	for (unsigned i = 0; i < 3000; i++)
		early += check_table(message, compose(&x, message, sizeof message));
	assert_true(early > 100000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sections_now),
		cmocka_unit_test(test_how_soon),
		cmocka_unit_test(test_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
