/* A message made ready: its form, its recipients, its digest, files while they are written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/random.h"
#include "message/digest.h"
#include "mua-agent/prepare.h"
#include "tests/unit/tempdir.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define FROM "From: alice@a.example\r\n"

static char *dir;

static int make_dir(void **state)
{
	(void)state;
	dir = tempdir_make();
	return 0;
}

static int remove_dir(void **state)
{
	(void)state;
	tempdir_remove(dir);
	return 0;
}

static int read_text(struct span text, bool addressed, struct prepared *out, struct err_text *e)
{
	char path[4096];
	int fd, r;

	snprintf(path, sizeof path, "%s/message", dir);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(spool_write(fd, text, e), 0);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	r = prepare_read(fd, "x.eml", dir, addressed, out, e);
	close(fd);
	return r;
}

/* The whole of P, read in pieces of STEP; its digest and size must fit. */
static void check_form(const struct prepared *p, const char *wanted)
{
	static const size_t steps[] = { 1, 3, 100000 };
	size_t n = strlen(wanted);
	uint8_t root[DIGEST_SIZE];
	char *all = malloc(n + 100001);

	assert_int_equal(p->size, n);
	for (size_t k = 0; k < COUNT(steps); k++) {
		uint64_t at = 0;
		ssize_t got;

		while ((got = prepare_octets(p, at, (uint8_t *)all + at, steps[k])) > 0) {
			at += (uint64_t)got;
			assert_true(at <= n);
		}
		assert_int_equal(got, 0);
		assert_int_equal(at, n);
		assert_memory_equal(all, wanted, n);
	}
	assert_int_equal(digest_octets(span_str(wanted), root), 0);
	assert_memory_equal(root, p->digest, DIGEST_SIZE);
	free(all);
}

static void test_form(void **state)
{
	static const struct {
		const char *text, *wanted;
	} cases[] = {
		{ FROM "\r\nx", FROM "\r\nx" },
		{ FROM "\r\n", FROM "\r\n" },
		{ FROM, FROM "\r\n" },
		{ "From: alice@a.example", FROM "\r\n" },
		{ "From: alice@a.example\n", FROM "\r\n" },
		{ "From: alice@a.example\n\na\nb", FROM "\r\na\r\nb" },
		{ "From: alice@a.example\n\r\na\r\nb\n\n", FROM "\r\na\r\nb\r\n\r\n" },
		{ FROM "\r\na\nb\r", FROM "\r\na\nb\r" },
		{ FROM "\na\nb", FROM "\r\na\r\nb" },
		{ "Bcc: x@y.example\r\n" FROM "bCC:\r\n a,\r\n b\r\nX: y\r\n\r\nBcc: stays\r\n",
		  FROM "X: y\r\n\r\nBcc: stays\r\n" },
		{ "From alice Sun Nov 22 17:26:16 2026\r\n" FROM "\r\nx", FROM "\r\nx" },
		{ FROM "From alice Sun Nov 22 17:26:16 2026\r\n\r\nx",
		  FROM "From alice Sun Nov 22 17:26:16 2026\r\n\r\nx" },
		{ "From : alice@a.example\r\n\r\nx", "From : alice@a.example\r\n\r\nx" },
		{ FROM "\r", FROM "\r\n" },
		{ FROM "no field\r\n\r\nx", FROM "no field\r\n\r\nx" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct err_text e = { "" };
		struct prepared p;

		assert_int_equal(read_text(span_str(cases[i].text), false, &p, &e), 0);
		check_form(&p, cases[i].wanted);
		prepare_free(&p);
	}
}

/* Line ends on both sides of where one read ends and the next begins. */
static void test_chunks(void **state)
{
	(void)state;
	for (size_t filler = 65536 - 30; filler < 65536 + 2; filler++) {
		static const char tail[] = "\r\n\n\r\nx\n", converted[] = "\r\n\r\n\r\nx\r\n";
		char *text = malloc(filler + 100), *wanted = malloc(filler + 100);
		struct err_text e = { "" };
		struct prepared p;

		memcpy(text, "From: a@b.example\n\n", 19);
		memset(text + 19, 'x', filler);
		memcpy(text + 19 + filler, tail, sizeof tail);
		memcpy(wanted, "From: a@b.example\r\n\r\n", 21);
		memset(wanted + 21, 'x', filler);
		memcpy(wanted + 21 + filler, converted, sizeof converted);
		assert_int_equal(read_text(span_str(text), true, &p, &e), 0);
		check_form(&p, wanted);
		prepare_free(&p);
		free(text);
		free(wanted);
	}
}

static void test_recipients(void **state)
{
	static const struct {
		const char *header, *wanted; /* texts with a blank behind each */
	} cases[] = {
		{ "", "" },
		{ "To: bob@b.example\r\n", "bob@b.example " },
		{ "To: bob@b.example\r\nCc: c@d.example, bob@B.EXAMPLE\r\nBcc: Bob@b.example\r\n",
		  "bob@b.example c@d.example Bob@b.example " },
		{ "Resent-To: x@y.example\r\nReply-To: x@y.example\r\n", "" },
		{ "to: a: x@y.example;\r\n", "x@y.example " },
		{ "To: bob\r\n", NULL },
		{ "Bcc: bob@b.example, @\r\n", NULL },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct err_text e = { "" };
		char text[500], found[500] = "";
		struct prepared p;
		int r;

		snprintf(text, sizeof text, FROM "%s\r\nx", cases[i].header);
		r = read_text(span_str(text), true, &p, &e);
		if (cases[i].wanted == NULL) {
			assert_int_equal(r, ERR_MALFORMED);
			assert_non_null(strstr(e.text, "no mailbox"));
		} else {
			assert_int_equal(r, 0);
			for (size_t k = 0; k < p.n_recipients; k++) {
				size_t n = strlen(found);

				snprintf(found + n, sizeof found - n, "%s ", p.recipients[k].text);
			}
			assert_string_equal(found, cases[i].wanted);
		}
		prepare_free(&p);
		/* Given elsewhere, the message's are not looked at. */
		assert_int_equal(read_text(span_str(text), false, &p, &e), 0);
		assert_int_equal(p.n_recipients, 0);
		prepare_free(&p);
	}
}

static void test_many_recipients(void **state)
{
	struct mailbox *list = NULL, m;
	char text[50];
	size_t n = 0;

	(void)state;
	for (size_t i = 0; i < 3000; i++) {
		snprintf(text, sizeof text, "user%zu@b.example", i % 1000);
		assert_int_equal(name_parse_mailbox(span_str(text), &m), 0);
		assert_int_equal(prepare_add_recipient(&list, &n, &m), 0);
	}
	assert_int_equal(n, 1000);
	assert_string_equal(list[999].text, "user999@b.example");
	free(list);
}

static void test_head(void **state)
{
	struct err_text e = { "" };
	struct prepared p;

	(void)state;
	assert_int_equal(read_text(span_str("From: A <alice@A.example>, bob@b.example\r\n"
	                                    "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= \x1b\r\n\r\n"),
	                           true, &p, &e),
	                 0);
	assert_string_equal(p.sender.text, "alice@a.example");
	assert_string_equal(p.subject, "Gr\xc3\xbc\xc3\x9f"
	                               "e \xe2\x90\x9b");
	prepare_free(&p);
}

static void test_refused(void **state)
{
	static const struct {
		const char *text, *why;
		int error;
	} cases[] = {
		{ "", "x.eml has no From field", ERR_MALFORMED },
		{ "\r\nFrom: a@b.example\r\n", "x.eml has no From field", ERR_MALFORMED },
		{ "Sender: a@b.example\r\n\r\n", "x.eml has no From field", ERR_MALFORMED },
		{ "From: a\x1b\r\n\r\n", "From of x.eml: \"a\xe2\x90\x9b\" is no mailbox",
		  ERR_MALFORMED },
		{ "From: \r\n\r\n", "is no mailbox", ERR_MALFORMED },
		{ "From: x:;\r\n\r\n", "is no mailbox", ERR_MALFORMED },
		{ "From: a@[127.0.0.1]\r\n\r\n", "is no mailbox", ERR_MALFORMED },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct err_text e = { "" };
		struct prepared p;

		assert_int_equal(read_text(span_str(cases[i].text), true, &p, &e), cases[i].error);
		assert_non_null(strstr(e.text, cases[i].why));
		prepare_free(&p);
	}
}

static void test_header_limit(void **state)
{
	const size_t head = strlen(FROM "X: "), n = PREPARE_HEADER_MAX;
	char *text = malloc(n + 10);

	(void)state;
	for (size_t over = 0; over < 2; over++) {
		struct err_text e = { "" };
		struct prepared p;
		int r;

		memset(text, 'x', n + 10);
		memcpy(text, FROM "X: ", head);
		memcpy(text + n + over - 4, "\r\n\r\nbody", 9);
		r = read_text(span_str(text), true, &p, &e);
		assert_int_equal(r, over == 0 ? 0 : ERR_TOO_BIG);
		if (r == 0) {
			assert_int_equal(p.header.n, n);
			assert_int_equal(p.body_octets, 4);
		}
		prepare_free(&p);
	}
	free(text);
}

/* --- what is missing ---------------------------------------------------------------------- */

static uint64_t fixed_time(void)
{
	return 1795368376 * CLOCK_SECOND_US; /* 2026-11-22T17:26:16Z */
}

static void zeros(void *out, size_t n)
{
	memset(out, 0, n);
}

static void test_missing(void **state)
{
	static const struct {
		const char *header, *zone, *added;
	} cases[] = {
		{ "", "UTC",
		  "Date: Sun, 22 Nov 2026 17:26:16 +0000\r\n"
		  "Message-ID: <00000000000000000000000000000000@a.example>\r\n" },
		{ "message-id: x\r\n", "EST5", "Date: Sun, 22 Nov 2026 12:26:16 -0500\r\n" },
		{ "message-id: x\r\n", "XYZ-05:45", "Date: Sun, 22 Nov 2026 23:11:16 +0545\r\n" },
		{ "message-id: x\r\n", "XYZ00:30", "Date: Sun, 22 Nov 2026 16:56:16 -0030\r\n" },
		{ "message-id: x\r\n", "XYZ-10", "Date: Mon, 23 Nov 2026 03:26:16 +1000\r\n" },
		{ "DATE: never\r\n", "UTC",
		  "Message-ID: <00000000000000000000000000000000@a.example>\r\n" },
		{ "Date:\r\nMessage-Id:\r\n", "UTC", "" },
	};

	(void)state;
	random_set_source(zeros);
	for (size_t i = 0; i < COUNT(cases); i++) {
		char text[500], wanted[500];
		struct err_text e = { "" };
		struct prepared p;
		struct buf added;

		assert_int_equal(setenv("TZ", cases[i].zone, 1), 0);
		tzset();
		snprintf(text, sizeof text, FROM "%s\r\nbody", cases[i].header);
		snprintf(wanted, sizeof wanted, FROM "%s%s\r\nbody", cases[i].header,
		         cases[i].added);
		assert_int_equal(read_text(span_str(text), true, &p, &e), 0);
		buf_init(&added, 0);
		assert_int_equal(prepare_missing(&p, fixed_time(), &added), 0);
		assert_true(span_eq_str(buf_view(&added), cases[i].added));
		assert_int_equal(prepare_add(&p, buf_view(&added), &e), 0);
		check_form(&p, wanted);
		buf_free(&added);
		prepare_free(&p);
	}
	random_set_source(NULL);
	unsetenv("TZ");
	tzset();
}

/* --- files -------------------------------------------------------------------------------- */

static void test_spool(void **state)
{
	struct err_text e = { "" };
	struct spool s;
	char path[4096], octets[10] = "";
	struct stat st;
	int fd;

	(void)state;
	snprintf(path, sizeof path, "%s/kept", dir);
	for (int i = 0; i < 2; i++) { /* the second replaces the first */
		assert_int_equal(spool_open(&s, dir, &e), 0);
		assert_int_equal(spool_write(s.fd, span_str(i == 0 ? "one" : "two"), &e), 0);
		assert_int_equal(spool_keep(&s, path, &e), 0);
		spool_close(&s);
		spool_close(&s);
	}
	fd = open(path, O_RDONLY);
	assert_int_equal(read(fd, octets, sizeof octets), 3);
	assert_string_equal(octets, "two");
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	close(fd);

	assert_int_equal(spool_open(&s, path, &e), ERR_IO); /* no directory */
	assert_int_equal(spool_open(&s, dir, &e), 0);
	assert_int_equal(spool_keep(&s, "/nonexistent/x", &e), ERR_IO);
	spool_close(&s);
	fd = open("/dev/full", O_WRONLY);
	assert_int_equal(spool_write(fd, span_str("x"), &e), ERR_FULL);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_form),         cmocka_unit_test(test_chunks),
		cmocka_unit_test(test_recipients),   cmocka_unit_test(test_many_recipients),
		cmocka_unit_test(test_head),         cmocka_unit_test(test_refused),
		cmocka_unit_test(test_header_limit), cmocka_unit_test(test_missing),
		cmocka_unit_test(test_spool),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
