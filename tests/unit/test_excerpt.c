/* What of a header travels in notifications and summaries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "message/excerpt.h"

static void check_octets(const uint8_t *got, size_t n, const char *want)
{
	if (n != strlen(want) || memcmp(got, want, n) != 0)
		fail_msg("got %.*s, want %s", (int)n, (const char *)got, want);
}

static void test_fields(void **state)
{
	static const struct {
		const char *header, *excerpt, *summary;
	} cases[] = {
		{ "", "\r\n", "\r\n" },
		{ "\r\nFrom: body\r\n", "\r\n", "\r\n" },
		/* all of them, in the message's order, folding and spelling kept; nothing else */
		{ "Received: x\r\nLIST-ID: <l.example>\r\nsubject:a\r\n b\r\n\tc\r\nReferences: <r@x>\r\n"
		  "In-Reply-To: <i@x>\r\nMessage-ID: <m@x>\r\nDKIM-Signature: y\r\nDate:  now\r\n"
		  "Cc: c@x\r\n"
		  "To: t@x\r\nReply-To: r@x\r\nSender: s@x\r\nFrom: f@x\r\nContent-Type: text/plain;\r\n"
		  " x=y\r\n"
		  "Bcc: secret@x\r\nContent-Transfer-Encoding: 8bit\r\n\r\nFrom: body\r\n",
		  "LIST-ID: <l.example>\r\nsubject:a\r\n b\r\n\tc\r\nReferences: <r@x>\r\n"
		  "In-Reply-To: <i@x>\r\nMessage-ID: <m@x>\r\nDate:  now\r\nCc: c@x\r\n"
		  "To: t@x\r\nReply-To: r@x\r\nSender: s@x\r\nFrom: f@x\r\nContent-Type: text/plain;\r\n"
		  " x=y\r\n"
		  "\r\n",
		  "subject:a\r\n b\r\n\tc\r\nDate:  now\r\nFrom: f@x\r\n\r\n" },
		/* bare LF stays; a line that does not end gets an end; no field is no field */
		{ "From: a\nTo: b\n\nbody", "From: a\nTo: b\n\r\n", "From: a\n\r\n" },
		{ "From: a\r\nTo: b", "From: a\r\nTo: b\r\n\r\n", "From: a\r\n\r\n" },
		{ "To: b\r\nFrom: a", "To: b\r\nFrom: a\r\n\r\n", "From: a\r\n\r\n" },
		{ "From me\r\n To: x\r\nFrom: a\r\n", "From: a\r\n\r\n", "From: a\r\n\r\n" },
		{ "From: a\r\nFrom: b\r\nX-From: c\r\nFro: d\r\n", "From: a\r\nFrom: b\r\n\r\n",
		  "From: a\r\nFrom: b\r\n\r\n" },
		{ "Subject: \xff\xfe\r\n", "Subject: \xff\xfe\r\n\r\n", "Subject: \xff\xfe\r\n\r\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		uint8_t out[EXCERPT_MAX];
		struct span header = span_str(cases[i].header);

		check_octets(out, excerpt_make(header, out), cases[i].excerpt);
		check_octets(out, excerpt_summary(header, out, sizeof out), cases[i].summary);
	}
}

/* A field of SIZE octets with its line end; NAME and at least ": \r\n" fit in. */
struct sized {
	char initial; /* shown in the result */
	const char *name;
	size_t size;
};

/* The initials of the fields that came through. */
static void check_chosen(const struct sized *fields, size_t n, const char *want)
{
	static char header[64 * 1024];
	uint8_t out[EXCERPT_MAX];
	char got[32] = "";
	size_t at = 0, kept = 0, size, pos = 0;

	for (size_t i = 0; i < n; i++) {
		int pad = (int)(fields[i].size - strlen(fields[i].name) - 4);

		at += (size_t)snprintf(header + at, sizeof header - at, "%s: %0*d\r\n", fields[i].name,
		    pad, 0);
	}
	size = excerpt_make(span_of(header, at), out);
	assert_true(size <= EXCERPT_MAX);
	assert_memory_equal(out + size - 2, "\r\n", 2);
	/* What came through are whole fields in order. */
	at = 0;
	for (size_t i = 0; i < n; i++) {
		if (pos + fields[i].size <= size && memcmp(out + pos, header + at, fields[i].size) == 0) {
			got[kept++] = fields[i].initial;
			pos += fields[i].size;
		}
		at += fields[i].size;
	}
	got[kept] = '\0';
	assert_int_equal(pos + 2, size);
	assert_string_equal(got, want);
}

#define REFS(n) { 'R', "References", (n) }
#define FROM(n) { 'f', "From", (n) }
#define TO(n) { 'T', "To", (n) }
#define CC(n) { 'C', "Cc", (n) }
#define SUBJECT(n) { 's', "Subject", (n) }
#define LIST(n) { 'l', "List-Id", (n) }
#define DATE(n) { 'd', "Date", (n) }
#define TYPE(n) { 'c', "Content-Type", (n) }
#define REPLY(n) { 'i', "In-Reply-To", (n) }
#define ID(n) { 'm', "Message-ID", (n) }
#define BACK(n) { 'r', "Reply-To", (n) }
#define SENDER(n) { 'e', "Sender", (n) }
#define TO_1(n) { '1', "To", (n) }
#define TO_2(n) { '2', "To", (n) }
#define TO_3(n) { '3', "To", (n) }
#define SUBJECT_1(n) { '1', "Subject", (n) }
#define SUBJECT_2(n) { '2', "Subject", (n) }
#define SUBJECT_3(n) { '3', "Subject", (n) }

static void test_limit(void **state)
{
	enum { MAX = EXCERPT_MAX - 2 }; /* for fields */
	static const struct {
		struct sized field[12];
		const char *want;
	} cases[] = {
		/* to the octet */
		{ { REFS(100), FROM(MAX - 100) }, "Rf" },
		{ { REFS(100), FROM(MAX - 99) }, "f" },
		/* References goes first, then Cc, then To, wherever they stand */
		{ { TO(300), REFS(300), CC(300), FROM(400) }, "TCf" },
		{ { TO(300), REFS(50), CC(600), FROM(400) }, "Tf" },
		{ { TO(900), REFS(50), CC(50), FROM(400) }, "f" },
		{ { TO(300), REFS(2000), CC(300), FROM(400) }, "TCf" },
		/* none of the others goes for these */
		{ { TO(100), CC(100), REFS(100), SUBJECT(600), LIST(500), FROM(60) }, "Tslf" },
		{ { TO(130), CC(10), REFS(20), SUBJECT(600), LIST(500), FROM(60) }, "slf" },
		/* a giant leaves only itself out */
		{ { FROM(60), SUBJECT(5000), DATE(40), TO(50) }, "fdT" },
		{ { FROM(5000), SUBJECT(50), DATE(40) }, "sd" },
		/* by rank among the nine: List-Id before Content-Type before In-Reply-To ... */
		{ { LIST(500), TYPE(500), REPLY(500) }, "ci" },
		{ { ID(500), DATE(500), SUBJECT(500) }, "ds" },
		{ { BACK(500), SENDER(500), FROM(500) }, "ef" },
		{ { SUBJECT(700), BACK(700) }, "r" },
		/* of equals the first; a To that is out takes the ones behind it along */
		{ { TO_1(800), TO_2(800), TO_3(60), CC(20) }, "1" },
		{ { SUBJECT_1(800), SUBJECT_2(800), SUBJECT_3(60) }, "13" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		size_t n = 0;

		while (n < 12 && cases[i].field[n].name != NULL)
			n++;
		check_chosen(cases[i].field, n, cases[i].want);
	}
}

/* More fields than are looked at: the first ones count, and nothing breaks. */
static void test_many(void **state)
{
	static char header[4096];
	uint8_t out[EXCERPT_MAX];
	size_t at = 0;

	(void)state;
	for (int i = 0; i < 300; i++)
		at += (size_t)snprintf(header + at, sizeof header - at, "To: %03d\r\n", i);
	assert_int_equal(excerpt_make(span_of(header, at), out), 64 * 9 + 2);
	assert_memory_equal(out, header, 64 * 9);
}

static void test_summary_limit(void **state)
{
	struct span header = span_str("Subject: long\r\nDate: d\r\nFrom: f\r\n");
	uint8_t out[64];

	(void)state;
	check_octets(out, excerpt_summary(header, out, 2), "\r\n");
	check_octets(out, excerpt_summary(header, out, 11), "From: f\r\n\r\n");
	check_octets(out, excerpt_summary(header, out, 20), "Date: d\r\nFrom: f\r\n\r\n");
	check_octets(out, excerpt_summary(header, out, 26), "Subject: long\r\nFrom: f\r\n\r\n");
	check_octets(out, excerpt_summary(header, out, 35),
	             "Subject: long\r\nDate: d\r\nFrom: f\r\n\r\n");
}

static void test_fits(void **state)
{
	static const struct {
		const char *excerpt;
		bool fits;
	} cases[] = {
		{ "", true },
		{ "\r\n", true },
		{ "From: a\r\nTo: b,\r\n c\r\nFrom: d\r\nDate: e\r\n\r\n", true },
		{ "From: d\r\n\r\n", true },
		{ "Date: e", true },
		{ "From: a\r\nFrom: a\r\n", false },
		{ "To: b,\r\n c\r\nFrom: a\r\n", false },
		{ "from: a\r\n", false },
		{ "To: b,\r\n", false },
		{ "To: b, c\r\n", false },
		{ "Subject: f\r\n", false },
		{ "From: a \r\n", false },
		{ "no field\r\n", false },
	};
	struct span header = span_str("From: a\r\nTo: b,\r\n c\r\nFrom: d\r\nDate: e");

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		assert_int_equal(excerpt_fits(header, span_str(cases[i].excerpt)), cases[i].fits);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_summary_limit),
		cmocka_unit_test(test_fits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
