/* The MIME structure of good, broken and hostile messages; sections and records of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "message/mime.h"

#define PARTS 64

/* A table as text: one "kind header-body-end lines parent flags" for each part. */
struct mime_case {
	const char *name, *message, *table;
	size_t cap; /* 0: PARTS */
};

#define MULTI(b) "Content-Type: multipart/mixed; boundary=" b "\r\n\r\n"

static const struct mime_case cases[] = {
	{ "nothing", "", "L 0-0-0 0 -", 0 },
	{ "only an empty line", "\r\n", "L 0-2-2 0 -", 0 },
	{ "only a header", "A: b\r\n", "L 0-6-6 0 -", 0 },
	{ "a header that is cut", "A: b", "L 0-4-4 0 -", 0 },
	{ "simple", "A: b\r\n\r\none\r\ntwo\r\n", "L 0-8-18 2 -", 0 },
	{ "no line end at the end", "A: b\r\n\r\none\r\ntwo", "L 0-8-16 2 -", 0 },
	{ "bare LF", "A: b\n\none\ntwo\n", "L 0-6-14 2 -", 0 },
	{ "two parts",
	  MULTI("b") "preamble\r\n--b\r\n\r\none\r\n--b\r\nX: y\r\n\r\ntwo\r\n\r\n--b--\r\n"
	  "epilogue\r\n",
	  "M 0-45-104 11 -; L 60-62-65 1 0; L 72-80-85 1 0", 0 },
	{ "two parts, bare LF",
	  "Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b\nX: y\n\ntwo\n\n--b--\n",
	  "M 0-43-73 9 -; L 47-48-51 1 0; L 56-62-66 1 0", 0 },
	{ "empty bodies", MULTI("b") "--b\r\n\r\n--b\r\n\r\n\r\n--b--",
	  "M 0-45-66 6 -; L 50-52-52 0 0; L 57-59-59 0 0", 0 },
	{ "a part with no empty line", MULTI("b") "--b\r\nA: b\r\n--b--\r\n",
	  "M 0-45-63 3 -; L 50-56-56 0 0", 0 },
	{ "no last boundary", MULTI("b") "--b\r\n\r\none\r\n", "M 0-45-57 3 -; L 50-52-57 1 0", 0 },
	{ "no boundary at all", MULTI("b") "text\r\n", "L 0-45-51 1 -", 0 },
	{ "no boundary parameter", "Content-Type: multipart/mixed\r\n\r\n--\r\n--x\r\n",
	  "L 0-33-42 2 -",
	  0 },
	{ "an empty boundary", MULTI("\"\"") "--\r\n--\r\n", "L 0-46-54 2 -", 0 },
	{ "padding and text behind the boundary", MULTI("b") "--b \t\r\n\r\none\r\n--bcd\r\n\r\n"
	  "two\r\n--b-- \r\n",
	  "M 0-45-81 7 -; L 52-54-57 1 0; L 66-68-71 1 0", 0 },
	{ "a quoted boundary with blanks at its end", MULTI("\"a b  \"") "--a b\r\n\r\none\r\n"
	  "--a b--\r\n",
	  "M 0-51-74 4 -; L 58-60-63 1 0", 0 },
	{ "no boundary after the last", MULTI("b") "--b\r\n\r\none\r\n--b--\r\n--b\r\n\r\ntwo\r\n",
	  "M 0-45-76 7 -; L 50-52-55 1 0", 0 },
	{ "only a last boundary", MULTI("b") "--b--\r\n", "L 0-45-52 1 -", 0 },
	{ "nested",
	  MULTI("o") "--o\r\n" MULTI("i") "--i\r\n\r\none\r\n--i--\r\n\r\n--o\r\n\r\ntwo\r\n--o--\r\n",
	  "M 0-45-135 12 -; M 50-95-114 4 0; L 100-102-105 1 1; L 121-123-126 1 0", 0 },
	{ "nested, the inner one never ends", MULTI("o") "--o\r\n" MULTI("i") "--i\r\n\r\none\r\n"
	  "--o--\r\n",
	  "M 0-45-114 7 -; M 50-95-105 3 0; L 100-102-105 1 1", 0 },
	{ "the longer of two boundaries",
	  MULTI("ab") "--ab\r\n" MULTI("a") "--a\r\n\r\none\r\n--ab\r\n\r\ntwo\r\n--ab--\r\n",
	  "M 0-46-130 10 -; M 52-97-107 3 0; L 102-104-107 1 1; L 115-117-120 1 0", 0 },
	{ "a message",
	  "Content-Type: message/rfc822\r\n\r\nA: b\r\n\r\none\r\ntwo\r\n",
	  "E 0-32-50 4 -; L 32-40-50 2 0", 0 },
	{ "a message of nothing", "Content-Type: message/rfc822\r\n", "E 0-30-30 0 -; L 30-30-30 0 "
	  "0", 0 },
	{ "a message in a part, cut by a boundary",
	  MULTI("b") "--b\r\nContent-Type: message/rfc822\r\n\r\nA: b\r\n--b--\r\n",
	  "M 0-45-95 5 -; E 50-82-88 1 0; L 82-88-88 0 1", 0 },
	{ "an encoded message",
	  "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nQTogYg0K\r\n",
	  "L 0-67-77 1 - O", 0 },
	{ "a digest",
	  "Content-Type: multipart/digest; boundary=b\r\n\r\n"
	  "--b\r\n\r\nA: b\r\n\r\none\r\n--b\r\nContent-Type: text/plain\r\n\r\ntwo\r\n--b--\r\n",
	  "M 0-46-111 10 -; E 51-53-64 3 0 D; L 53-61-64 1 1; L 71-99-102 1 0 D", 0 },
	{ "folded, commented, upper case",
	  "CONTENT-TYPE : (c) MULTIPART (c) / MIXED (c) ;\r\n\tX=y;\r\n BOUNDARY (c) = \"\\b\" "
	  "(c)\r\n\r\n"
	  "--b\r\n\r\n--b--\r\n",
	  "M 0-83-97 3 -; L 88-90-90 0 0", 0 },
	{ "a table of one part", MULTI("b") "--b\r\n\r\none\r\n--b--\r\n", "L 0-45-64 4 - OC", 1 },
	{ "a table that is full",
	  MULTI("b") "--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--\r\n",
	  "M 0-45-76 7 - C; L 50-52-76 5 0", 2 },
	{ "a table without room for the message inside",
	  "Content-Type: message/rfc822\r\n\r\nA: b\r\n\r\none\r\n", "L 0-32-45 3 - OC", 1 },
	{ "the first Content-Type counts",
	  "Content-Type: text/plain\r\n" MULTI("b") "--b\r\n\r\none\r\n--b--\r\n", "L 0-71-90 4 -", 0 },
	{ "not only a CR", MULTI("b") "--b\r\r\n\r\none\r\n--b--\r\n",
	  "M 0-45-65 4 -; L 51-53-56 1 0", 0 },
};

static size_t parse(const char *message, size_t n, size_t step, struct mime_part *parts, size_t cap)
{
	static struct mime_parser p;

	mime_begin(&p, parts, cap);
	for (size_t at = 0; at < n; at += step)
		mime_feed(&p, span_of(message + at, n - at < step ? n - at : step));
	return mime_end(&p);
}

static void describe(const struct mime_part *parts, size_t n, char *out, size_t cap)
{
	size_t at = 0;

	for (size_t i = 0; i < n; i++) {
		const struct mime_part *part = &parts[i];
		char parent[16] = "-";

		if (part->parent != MIME_PARENT_NONE)
			snprintf(parent, sizeof parent, "%u", part->parent);
		at += (size_t)snprintf(out + at, cap - at, "%s%c %u-%u-%u %u %s%s%s%s%s", i > 0 ? "; " : "",
		                       "LME"[part->kind], (unsigned)part->header_at,
		                       (unsigned)part->body_at, (unsigned)part->end_at, part->lines,
		                       parent, part->flags != 0 ? " " : "",
		                       part->flags & MIME_OPAQUE ? "O" : "",
		                       part->flags & MIME_DIGEST ? "D" : "",
		                       part->flags & MIME_CUT ? "C" : "");
		assert_true(at < cap);
	}
}

static void test_tables(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct mime_part parts[PARTS];
		char got[1024];
		size_t n = parse(cases[i].message, strlen(cases[i].message), 4096, parts,
		                 cases[i].cap != 0 ? cases[i].cap : PARTS);

		describe(parts, n, got, sizeof got);
		if (strcmp(got, cases[i].table) != 0)
			fail_msg("%s: got %s, want %s", cases[i].name, got, cases[i].table);
	}
}

/* One octet at a time, and in two pieces at every place: the same table. */
static void check_splits(const char *message, size_t n, size_t cap)
{
	struct mime_part want[PARTS], got[PARTS];
	size_t want_n;

	memset(want, 0, sizeof want);
	want_n = parse(message, n, n + 1, want, cap);
	for (size_t at = 0; at <= n; at++) {
		static struct mime_parser p;

		memset(got, 0, sizeof got);
		mime_begin(&p, got, cap);
		mime_feed(&p, span_of(message, at));
		mime_feed(&p, span_of(message + at, n - at));
		assert_int_equal(mime_end(&p), want_n);
		assert_memory_equal(got, want, want_n * sizeof got[0]);
	}
	for (size_t step = 1; step < 4; step++) {
		memset(got, 0, sizeof got);
		assert_int_equal(parse(message, n, step, got, cap), want_n);
		assert_memory_equal(got, want, want_n * sizeof got[0]);
	}
}

static void test_splits(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		check_splits(cases[i].message, strlen(cases[i].message),
		             cases[i].cap != 0 ? cases[i].cap : PARTS);
}

/* Lines about as long as what is looked at of a line, split around there. */
static void test_split_long_lines(void **state)
{
	static char message[3 * MIME_LINE_MAX];

	(void)state;
	for (size_t extra = 0; extra < 4; extra++) {
		struct mime_part want[PARTS], got[PARTS];
		size_t pad = MIME_LINE_MAX - 60 + 20 * extra;
		int n = snprintf(message, sizeof message,
		                 "Content-Type: multipart/mixed; x=%0*d; boundary=b\r\n\r\n"
		                 "--b\r\n\r\n--b--%*s\r\n", (int)pad, 1, (int)pad, "");
		size_t want_n;

		memset(want, 0, sizeof want);
		memset(got, 0, sizeof got);
		want_n = parse(message, (size_t)n, (size_t)n, want, PARTS);
		assert_int_equal(parse(message, (size_t)n, 1, got, PARTS), want_n);
		assert_memory_equal(got, want, want_n * sizeof got[0]);
		assert_int_equal(parse(message, (size_t)n, MIME_LINE_MAX - 1, got, PARTS), want_n);
		assert_memory_equal(got, want, want_n * sizeof got[0]);
	}
}

/* What must hold of any table. */
static void check_table(const struct mime_part *parts, size_t n, size_t size)
{
	assert_true(n >= 1);
	assert_int_equal(parts[0].header_at, 0);
	assert_int_equal(parts[0].end_at, size);
	for (size_t i = 0; i < n; i++) {
		assert_true(parts[i].header_at <= parts[i].body_at);
		assert_true(parts[i].body_at <= parts[i].end_at);
		if (i > 0) {
			const struct mime_part *parent = &parts[parts[i].parent];

			assert_true(parts[i].parent < i);
			assert_true(parent->kind != MIME_LEAF);
			assert_true(parts[i].header_at >= parent->body_at);
			assert_true(parts[i].end_at <= parent->end_at);
		}
		if (parts[i].kind != MIME_LEAF)
			assert_true(i + 1 < n && parts[i + 1].parent == i);
	}
}

struct text {
	char *p;
	size_t n, cap;
};

static void add(struct text *t, const char *s)
{
	size_t n = strlen(s);

	if (t->n + n + 1 > t->cap) {
		t->cap = 2 * (t->n + n + 1);
		t->p = realloc(t->p, t->cap);
		assert_non_null(t->p);
	}
	memcpy(t->p + t->n, s, n + 1);
	t->n += n;
}

/* A thousand multiparts, and messages, inside of one another. */
static void test_deep(void **state)
{
	struct mime_part parts[200];
	struct text t = { NULL, 0, 0 };
	size_t n;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		char line[128];

		snprintf(line, sizeof line, "Content-Type: multipart/mixed; boundary=b%dx\r\n\r\n"
		    "--b%dx\r\n",
		         i, i);
		add(&t, line);
	}
	n = parse(t.p, t.n, 4096, parts, 200);
	check_table(parts, n, t.n);
	assert_int_equal(n, MIME_DEPTH);
	assert_int_equal(parts[n - 1].flags, MIME_OPAQUE);

	t.n = 0;
	for (int i = 0; i < 1000; i++)
		add(&t, "Content-Type: message/rfc822\r\n\r\n");
	n = parse(t.p, t.n, 4096, parts, 200);
	check_table(parts, n, t.n);
	assert_int_equal(n, MIME_DEPTH);
	assert_int_equal(parts[0].lines, 1998);

	/* A digest of them, each part's message cut off by the next: no depth, many parts. */
	t.n = 0;
	add(&t, "Content-Type: multipart/digest; boundary=b\r\n\r\n");
	for (int i = 0; i < 1000; i++)
		add(&t, "--b\r\n\r\nContent-Type: message/rfc822\r\n\r\n");
	n = parse(t.p, t.n, 4096, parts, 200);
	check_table(parts, n, t.n);
	assert_int_equal(n, 200);
	assert_int_equal(parts[0].flags, MIME_CUT);
	free(t.p);
}

/* Long lines, and many lines that are nearly boundaries of many open parts. */
static void test_hostile_size(void **state)
{
	struct mime_part parts[PARTS];
	struct text t = { NULL, 0, 0 };
	char boundary[MIME_BOUNDARY_MAX + 1], line[512];
	size_t n;

	(void)state;
	memset(boundary, 'x', sizeof boundary);
	for (int i = 0; i < MIME_DEPTH - 1; i++) {
		snprintf(line, sizeof line, "Content-Type: multipart/mixed; boundary=%.150s%c\r\n\r\n"
		    "--%.150s%c\r\n",
		         boundary, '0' + i, boundary, '0' + i);
		add(&t, line);
	}
	add(&t, "\r\n");
	snprintf(line, sizeof line, "--%.150s\x7f\r\n", boundary);
	for (int i = 0; i < 20000; i++)
		add(&t, line);
	n = parse(t.p, t.n, 65536, parts, PARTS);
	check_table(parts, n, t.n);
	assert_int_equal(n, MIME_DEPTH);
	assert_int_equal(parts[n - 1].lines, 20000);

	memset(t.p, 'A', t.n);
	memcpy(t.p, "Content-Type: multipart/mixed; boundary=b; x=", 45);
	n = parse(t.p, t.n, 65536, parts, PARTS);
	check_table(parts, n, t.n);
	assert_int_equal(n, 1);
	assert_int_equal(parts[0].body_at, t.n);
	free(t.p);
}

/* Boundaries up to the limit work; longer ones are none. */
static void test_boundary_length(void **state)
{
	(void)state;
	for (int n = 69; n <= MIME_BOUNDARY_MAX + 1; n++) {
		char message[1024];
		struct mime_part parts[PARTS];
		int size = snprintf(message, sizeof message, MULTI("%0*d") "--%0*d\r\n\r\n--%0*d--\r\n",
		    n, 7,
		                    n, 7, n, 7);

		assert_int_equal(parse(message, (size_t)size, 7, parts, PARTS),
		                 n <= MIME_BOUNDARY_MAX ? 2 : 1);
	}
}

/* Random octets out of what structures are made of: the table always holds together. */
static void test_random(void **state)
{
	static const char *const pieces[] = {
		"\r\n", "\n", "\r", "--", "--a", "--b", "--ab", "--a--", "--b--", " ", "x", ":", "\xff", "",
		"Content-Type: multipart/mixed; boundary=a\r\n",
		"Content-Type: multipart/digest; boundary=b\n",
		"Content-Type: message/rfc822\r\n", "Content-Type: multipart/x; boundary=ab\r\n\r\n",
		"Content-Transfer-Encoding: base64\r\n", "\r\n\r\n", "A: b\r\n",
	};
	uint32_t x = 1;

	(void)state;
	for (int round = 0; round < 3000; round++) {
		struct mime_part parts[PARTS], again[PARTS];
		uint8_t record[MIME_PACK_MAX(PARTS)];
		struct text t = { NULL, 0, 0 };
		size_t n, used, n2, cap = 1 + (size_t)round % 12;

		for (int i = 0; i < 30; i++) {
			x = x * 1664525 + 1013904223;
			add(&t, pieces[(x >> 16) % (sizeof pieces / sizeof pieces[0])]);
		}
		memset(parts, 0, sizeof parts);
		memset(again, 0, sizeof again);
		n = parse(t.p, t.n, 1 + (x >> 20) % 50, parts, cap);
		check_table(parts, n, t.n);
		if (round % 10 == 0)
			check_splits(t.p, t.n, cap);
		assert_int_equal(mime_pack(parts, n, record, sizeof record, &used), 0);
		assert_int_equal(mime_unpack(span_of(record, used), again, PARTS, &n2), 0);
		assert_int_equal(n2, n);
		assert_memory_equal(parts, again, n * sizeof parts[0]);
		free(t.p);
	}
}

/* RFC 9051 section 6.4.5's example of parts. */
static const char sections_message[] =
    "Subject: whole\r\nContent-Type: multipart/mixed; boundary=m\r\n\r\n"
    "--m\r\nContent-Type: text/plain\r\n\r\n1\r\n"
    "--m\r\nContent-Type: application/octet-stream\r\n\r\n2\r\n"
    "--m\r\nContent-Type: message/rfc822\r\n\r\nSubject: 3\r\nContent-Type: multipart/mixed; "
    "boundary=i\r\n\r\n"
    "--i\r\n\r\n3.1\r\n--i\r\n\r\n3.2\r\n--i--\r\n"
    "\r\n--m\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n"
    "--x\r\nContent-Type: image/gif\r\n\r\n4.1\r\n"
    "--x\r\nContent-Type: message/rfc822\r\nX: 4.2\r\n\r\nSubject: 4.2\r\n\r\n4.2.1\r\n--x--\r\n"
    "--m--\r\n";

static void test_sections(void **state)
{
	static const struct {
		const char *section, *octets;
		int rc;
	} wanted[] = {
		{ "1", "1", 0 },
		{ "2", "2", 0 },
		{ "1.MIME", "Content-Type: text/plain\r\n\r\n", 0 },
		{ "3.HEADER", "Subject: 3\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n", 0 },
		{ "3.mime", "Content-Type: message/rfc822\r\n\r\n", 0 },
		{ "3.Text", "--i\r\n\r\n3.1\r\n--i\r\n\r\n3.2\r\n--i--\r\n", 0 },
		{ "3.1", "3.1", 0 },
		{ "3.2", "3.2", 0 },
		{ "3.2.MIME", "\r\n", 0 },
		{ "4.1", "4.1", 0 },
		{ "4.2", "Subject: 4.2\r\n\r\n4.2.1", 0 },
		{ "4.2.MIME", "Content-Type: message/rfc822\r\nX: 4.2\r\n\r\n", 0 },
		{ "4.2.HEADER", "Subject: 4.2\r\n\r\n", 0 },
		{ "4.2.TEXT", "4.2.1", 0 },
		{ "4.2.1", "4.2.1", 0 },
		{ "4.2.1.MIME", "Subject: 4.2\r\n\r\n", 0 },
		{ "HEADER", "Subject: whole\r\nContent-Type: multipart/mixed; boundary=m\r\n\r\n", 0 },
		{ "5", NULL, ERR_NOT_FOUND },
		{ "1.1", NULL, ERR_NOT_FOUND },
		{ "3.3", NULL, ERR_NOT_FOUND },
		{ "4.2.2", NULL, ERR_NOT_FOUND },
		{ "4.2.1.1", NULL, ERR_NOT_FOUND },
		{ "1.HEADER", NULL, ERR_NOT_FOUND },
		{ "4.TEXT", NULL, ERR_NOT_FOUND },
		{ "99999999999999999999", NULL, ERR_NOT_FOUND },
		{ "MIME", NULL, ERR_MALFORMED },
		{ "0", NULL, ERR_MALFORMED },
		{ "01", NULL, ERR_MALFORMED },
		{ "9.0", NULL, ERR_MALFORMED },
		{ "1.", NULL, ERR_MALFORMED },
		{ ".1", NULL, ERR_MALFORMED },
		{ "1..2", NULL, ERR_MALFORMED },
		{ "1 ", NULL, ERR_MALFORMED },
		{ "-1", NULL, ERR_MALFORMED },
		{ "HEADER.1", NULL, ERR_MALFORMED },
		{ "HEADER.FIELDS (DATE)", NULL, ERR_MALFORMED },
		{ "9.BODY", NULL, ERR_MALFORMED },
		{ "1.HEADERS", NULL, ERR_MALFORMED },
	};
	struct mime_part parts[PARTS];
	size_t size = sizeof sections_message - 1, n, index;
	uint64_t at, length;

	(void)state;
	n = parse(sections_message, size, size, parts, PARTS);
	assert_int_equal(n, 11);
	for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
		int rc = mime_section(parts, n, span_str(wanted[i].section), &at, &length);

		if (rc != wanted[i].rc)
			fail_msg("%s: %d", wanted[i].section, rc);
		if (rc != 0)
			continue;
		assert_int_equal(length, strlen(wanted[i].octets));
		assert_memory_equal(sections_message + at, wanted[i].octets, (size_t)length);
	}
	assert_int_equal(mime_section(parts, n, span_str(""), &at, &length), 0);
	assert_int_equal(at, 0);
	assert_int_equal(length, size);
	assert_int_equal(mime_section(parts, n, span_str("TEXT"), &at, &length), 0);
	assert_int_equal(at, parts[0].body_at);
	assert_int_equal(at + length, size);
	assert_int_equal(mime_part_find(parts, n, span_str("4.2"), &index), 0);
	assert_int_equal(parts[index].kind, MIME_MESSAGE);
	assert_int_equal(mime_part_find(parts, n, span_str("4.2.TEXT"), &index), ERR_MALFORMED);
	assert_int_equal(mime_part_find(parts, n, span_str("7"), &index), ERR_NOT_FOUND);
	assert_int_equal(mime_part_find(parts, n, span_str(""), &index), 0);
	assert_int_equal(index, 0);
}

/* Messages that are no multipart have one part. */
static void test_sections_single(void **state)
{
	struct mime_part parts[PARTS];
	const char *plain = "A: b\r\n\r\nbody";
	const char *nested = "Content-Type: message/rfc822\r\n\r\nA: b\r\n\r\nbody";
	uint64_t at, length;
	size_t n = parse(plain, strlen(plain), 99, parts, PARTS);

	(void)state;
	assert_int_equal(mime_section(parts, n, span_str("1"), &at, &length), 0);
	assert_int_equal(at, 8);
	assert_int_equal(length, 4);
	assert_int_equal(mime_section(parts, n, span_str("1.MIME"), &at, &length), 0);
	assert_int_equal(at + length, 8);
	assert_int_equal(mime_section(parts, n, span_str("2"), &at, &length), ERR_NOT_FOUND);
	assert_int_equal(mime_section(parts, n, span_str("1.1"), &at, &length), ERR_NOT_FOUND);
	n = parse(nested, strlen(nested), 99, parts, PARTS);
	assert_int_equal(mime_section(parts, n, span_str("1"), &at, &length), 0);
	assert_int_equal(at, 32);
	assert_int_equal(mime_section(parts, n, span_str("1.1"), &at, &length), 0);
	assert_int_equal(at, 40);
	assert_int_equal(length, 4);
	assert_int_equal(mime_section(parts, n, span_str("1.1.1"), &at, &length), ERR_NOT_FOUND);
}

/* Every truncation and every flipped bit of a record is refused or holds together. */
static void test_unpack_broken(void **state)
{
	struct mime_part parts[PARTS], out[PARTS];
	uint8_t record[MIME_PACK_MAX(PARTS)], broken[sizeof record];
	size_t used, n = parse(sections_message, sizeof sections_message - 1, 9999, parts, PARTS), n2;

	(void)state;
	assert_int_equal(mime_pack(parts, n, record, sizeof record, &used), 0);
	assert_true(used < n * 12);
	for (size_t cap = 0; cap < used; cap++)
		assert_int_equal(mime_pack(parts, n, broken, cap, &n2), ERR_TOO_BIG);
	for (size_t i = 0; i < used; i++)
		assert_true(mime_unpack(span_of(record, i), out, PARTS, &n2) < 0);
	for (size_t i = 0; i < used * 8; i++) {
		memcpy(broken, record, used);
		broken[i / 8] ^= (uint8_t)(1 << i % 8);
		if (mime_unpack(span_of(broken, used), out, PARTS, &n2) != 0)
			continue;
		for (size_t k = 1; k < n2; k++) {
			assert_true(out[k].parent < k && out[out[k].parent].kind != MIME_LEAF);
			assert_true(out[k].header_at >= out[out[k].parent].body_at);
			assert_true(out[k].end_at <= out[out[k].parent].end_at);
		}
		assert_true(out[n2 - 1].kind == MIME_LEAF);
	}
	record[used] = 0;
	assert_int_equal(mime_unpack(span_of(record, used + 1), out, PARTS, &n2), ERR_MALFORMED);
	assert_int_equal(mime_unpack(span_of(record, used), out, n - 1, &n2), ERR_TOO_BIG);
	record[0] = 9;
	assert_int_equal(mime_unpack(span_of(record, used), out, PARTS, &n2), ERR_UNSUPPORTED);
}

/* Records that mime_pack never makes: they would lead into loops and deep recursion. */
static void test_unpack_impossible(void **state)
{
	/* version, count; then kind and flags, distance to the parent, three sizes, lines */
	static const uint8_t two_in_message[] = { 1, 3, 2, 0, 0, 9, 0, 0, 1, 0, 0, 1, 0, 0, 2, 1, 0,
	    1, 0 };
	static const uint8_t two_in_multipart[] = { 1, 3, 1, 0, 0, 9, 0, 0, 1, 0, 0, 1, 0, 0, 2, 1,
	    0, 1, 0 };
	static const uint8_t leaf_is_parent[] = { 1, 2, 0, 0, 0, 9, 0, 0, 1, 0, 0, 1, 0 };
	static const uint8_t own_parent[] = { 1, 2, 1, 0, 0, 9, 0, 0, 0, 0, 0, 1, 0 };
	static const uint8_t no_child[] = { 1, 1, 1, 0, 0, 9, 0 };
	static const uint8_t child_outside[] = { 1, 2, 1, 0, 0, 9, 0, 0, 1, 3, 3, 4, 0 };
	/* part 3 stands in part 1, which part 2 closed by standing in part 0 */
	static const uint8_t closed_parent[] = { 1, 5, 1, 0, 0, 9, 0, 1, 1, 0, 0, 4, 0, 0, 1, 0, 0,
	    1, 0,
		0, 3, 4, 0, 1, 0, 0, 3, 1, 0, 1, 0 };
	static const struct {
		const uint8_t *p;
		size_t n;
		int rc;
	} records[] = {
		{ two_in_multipart, sizeof two_in_multipart, 0 },
		{ two_in_message, sizeof two_in_message, ERR_MALFORMED },
		{ leaf_is_parent, sizeof leaf_is_parent, ERR_MALFORMED },
		{ own_parent, sizeof own_parent, ERR_MALFORMED },
		{ no_child, sizeof no_child, ERR_MALFORMED },
		{ child_outside, sizeof child_outside, ERR_MALFORMED },
		{ closed_parent, sizeof closed_parent, ERR_MALFORMED },
	};
	struct mime_part parts[MIME_DEPTH + 2];
	uint8_t deep[8 * (MIME_DEPTH + 2)];
	size_t n;

	(void)state;
	for (size_t i = 0; i < sizeof records / sizeof records[0]; i++)
		assert_int_equal(mime_unpack(span_of(records[i].p, records[i].n), parts, PARTS, &n),
		                 records[i].rc);
	for (unsigned depth = MIME_DEPTH; depth <= MIME_DEPTH + 1; depth++) {
		size_t at = 0;

		deep[at++] = 1;
		deep[at++] = (uint8_t)depth;
		for (unsigned i = 0; i < depth; i++) {
			deep[at++] = i + 1 < depth ? MIME_MULTIPART : MIME_LEAF;
			if (i > 0)
				deep[at++] = 1;
			memset(deep + at, 0, 4);
			at += 4;
		}
		assert_int_equal(mime_unpack(span_of(deep, at), parts, MIME_DEPTH + 2, &n),
		                 depth <= MIME_DEPTH ? 0 : ERR_MALFORMED);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tables),
		cmocka_unit_test(test_splits),
		cmocka_unit_test(test_split_long_lines),
		cmocka_unit_test(test_deep),
		cmocka_unit_test(test_hostile_size),
		cmocka_unit_test(test_boundary_length),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_sections),
		cmocka_unit_test(test_sections_single),
		cmocka_unit_test(test_unpack_broken),
		cmocka_unit_test(test_unpack_impossible),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
