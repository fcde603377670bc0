/* builds: plain asan */

/* MSOAP archive and track, page by page. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "message/digest.h"
#include "storerig.h"
#include "store/originator.h"

#define LETTERS 250

static const char *const bob[] = { "bob@b.example", NULL };

static struct rig r;
static struct buf b;
static struct msoap_response a;
static int out;

static int setup(void **state)
{
	(void)state;
	rig_start(&r, 0);
	rig_limit(&r, 1 << 20, 10000);
	buf_init(&b, 0);
	out = rig_login(&r);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	close(out);
	buf_free(&b);
	rig_stop(&r);
	return 0;
}

static void expect_ok(void)
{
	rig_answer(&r, out, &a);
	assert_string_equal(wire_status_name(a.status), wire_status_name(WIRE_STATUS_OK));
}

/* Letter I, with a header as long as an excerpt may be, or without one. */
static struct span letter(unsigned i, bool plain)
{
	static char text[4096];
	int n = plain ? snprintf(text, sizeof(text), "\r\nLetter %u\r\n", i)
	              : snprintf(text, sizeof(text),
	                         "From: alice@a.example\r\nSubject: Letter %u\r\nTo: %01100d\r\n"
	                         "Content-Type: text/plain\r\n\r\nHello.\r\n",
	                         i, 0);

	return span_of(text, (size_t)n);
}

static void submit(struct span text, bool hold, uint8_t id[16])
{
	struct msoap_submit_envelope e = { .has_hold = hold, .hold = hold };

	rig_envelope(&b, &e, bob);
	rig_chunk(&b, 0, text, true);
	rig_flush(out, &b);
	expect_ok();
	memcpy(id, a.u.submit_envelope.id, 16);
	expect_ok();
}

/* A page of the archive; how many messages it has. */
static size_t page(uint64_t after, uint64_t limit)
{
	struct msoap_command c = { .kind = MSOAP_ARCHIVE };

	c.u.archive.after = after;
	c.u.archive.has_limit = limit != 0;
	c.u.archive.limit = limit;
	rig_msoap(&b, &c);
	rig_flush(out, &b);
	expect_ok();
	assert_int_equal(a.kind, MSOAP_ARCHIVE);
	return a.u.archive.messages.count;
}

static void said(void **state)
{
	uint8_t id[2][16], digest[DIGEST_SIZE];
	struct msoap_archived m;
	struct wire_list rest;

	(void)state;
	assert_int_equal(page(0, 0), 0);
	assert_false(a.u.archive.has_next);
	submit(letter(1, false), false, id[0]);
	submit(letter(2, true), true, id[1]);
	assert_int_equal(page(0, 0), 2);
	assert_false(a.u.archive.has_next);
	rest = a.u.archive.messages;

	assert_true(msoap_archived_next(&rest, &m));
	assert_memory_equal(m.id, id[0], 16);
	assert_int_equal(m.size, letter(1, false).n);
	assert_int_equal(digest_octets(letter(1, false), digest), 0);
	assert_memory_equal(m.digest, digest, DIGEST_SIZE);
	/* From the envelope on, which came a little before the end. */
	assert_in_range(m.expires - m.submitted, 89 * CLOCK_DAY_US, 90 * CLOCK_DAY_US);
	assert_false(m.held);
	assert_true(m.has_header);
	assert_non_null(memmem(m.header.p, m.header.n, "Subject: Letter 1\r\n", 19));
	assert_true(m.has_structure);
	assert_int_equal(m.structure.p[0], '(');

	assert_true(msoap_archived_next(&rest, &m));
	assert_memory_equal(m.id, id[1], 16);
	assert_true(m.held);
	/* No field of it is of use for a list: the empty line alone. */
	assert_true(!m.has_header || m.header.n == 2);
}

/* All pages of LIMIT have every letter once, in order. How many pages. */
static unsigned all_pages(uint8_t id[LETTERS][16], uint64_t limit)
{
	struct msoap_archived m;
	struct wire_list rest;
	unsigned n = 0, pages = 0;
	uint64_t after = 0;

	do {
		page(after, limit);
		assert_true(limit == 0 || a.u.archive.messages.count <= limit);
		for (rest = a.u.archive.messages; msoap_archived_next(&rest, &m); n++) {
			assert_true(n < LETTERS);
			assert_memory_equal(m.id, id[n], 16);
		}
		assert_true(!a.u.archive.has_next || a.u.archive.next > after);
		after = a.u.archive.next;
		pages++;
	} while (a.u.archive.has_next);
	assert_int_equal(n, LETTERS);
	return pages;
}

static void paged(void **state)
{
	static uint8_t id[LETTERS][16];
	struct msoap_command c = { .kind = MSOAP_CANCEL };
	uint8_t gone[16];

	(void)state;
	for (unsigned i = 0; i < LETTERS; i++) {
		submit(letter(i, false), false, id[i]);
		if (i != LETTERS / 2)
			continue;
		/* What was cancelled is kept no more. */
		submit(letter(i, false), false, gone);
		memcpy(c.u.cancel.id, gone, 16);
		rig_msoap(&b, &c);
		rig_flush(out, &b);
		expect_ok();
	}
	assert_int_equal(all_pages(id, 0), 3);
	assert_int_equal(all_pages(id, 1), LETTERS);
	assert_int_equal(all_pages(id, 49), 6);
	assert_int_equal(all_pages(id, LETTERS), 2); /* cut by the answer's room */
	assert_int_equal(all_pages(id, UINT64_MAX), 2);
	assert_int_equal(page(UINT64_MAX, 0), 0);
	assert_false(a.u.archive.has_next);
}

/* Of 3,000 deliveries each comes once, however they are asked for. */
static void tracked(void **state)
{
	enum { MANY = 3000 };
	static const uint64_t limits[] = { 0, 7, 1000, MANY, UINT64_MAX };
	static char name[MANY][32];
	static const char *to[MANY + 1];
	struct msoap_command c = { .kind = MSOAP_TRACK };
	struct msoap_submit_envelope e = { 0 };
	struct msoap_delivery d;
	struct wire_list rest;

	(void)state;
	for (unsigned i = 0; i < MANY; i++) {
		snprintf(name[i], sizeof(name[i]), "r%04u@b.example", i);
		to[i] = name[i];
	}
	rig_envelope(&b, &e, to);
	rig_chunk(&b, 0, letter(0, false), true);
	rig_flush(out, &b);
	expect_ok();
	memcpy(c.u.track.id, a.u.submit_envelope.id, 16);
	expect_ok();
	for (size_t k = 0; k < sizeof(limits) / sizeof(limits[0]); k++) {
		unsigned n = 0;

		c.u.track.has_after = false;
		c.u.track.has_limit = limits[k] != 0;
		c.u.track.limit = limits[k];
		do {
			rig_msoap(&b, &c);
			rig_flush(out, &b);
			expect_ok();
			rest = a.u.track.deliveries;
			assert_true(rest.count > 0 && (limits[k] == 0 || rest.count <= limits[k]));
			while (msoap_delivery_next(&rest, &d)) {
				assert_true(n < MANY);
				assert_true(span_eq(d.recipient.local, span_of(name[n++], 5)));
			}
			c.u.track.has_after = true;
			c.u.track.after = a.u.track.next;
		} while (a.u.track.has_next);
		assert_int_equal(n, MANY);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(said, setup, teardown),
		cmocka_unit_test_setup_teardown(paged, setup, teardown),
		cmocka_unit_test_setup_teardown(tracked, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
