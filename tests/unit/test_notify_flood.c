/* builds: plain asan tsan */
/* Limits by rate: buckets by a clock of the test's, and what a batch makes of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "notify/intake.h"
#include "tempdir.h"
#include "wire/frame.h"

static uint64_t now_us;

static uint64_t mono(void)
{
	return now_us;
}

static int setup(void **state)
{
	const struct flood_limits limits = { .origin_minute = 60, .address_minute = 120,
		                             .unknown_minute = 30 };
	struct flood *f;

	now_us = CLOCK_HOUR_US;
	clock_set_source(NULL, mono);
	assert_int_equal(flood_create(&limits, &f), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	flood_free(*state);
	clock_set_source(NULL, NULL);
	return 0;
}

/* A minute's worth at once, then one a second; another origin is untouched. */
static void test_origin(void **state)
{
	struct flood *f = *state;

	for (unsigned i = 0; i < 61; i++) {
		assert_int_equal(flood_origin(f, "a.example", 1), 0);
	}
	assert_int_equal(flood_origin(f, "a.example", 1), 2);
	assert_int_equal(flood_origin(f, "b.example", 1), 0);
	now_us += CLOCK_SECOND_US;
	assert_int_equal(flood_origin(f, "a.example", 1), 0);
	assert_int_equal(flood_origin(f, "a.example", 1), 2); /* what is refused costs nothing */
	assert_int_equal(flood_origin(f, "a.example", 1), 2);
	now_us += CLOCK_HOUR_US;
	/* No more than a minute's is saved up. A large command goes in whole, and is paid after. */
	assert_int_equal(flood_origin(f, "a.example", 100), 0);
	assert_int_equal(flood_origin(f, "a.example", 1), 41);
	now_us += 41 * CLOCK_SECOND_US;
	assert_int_equal(flood_origin(f, "a.example", 100000), 0);
	assert_int_equal(flood_origin(f, "a.example", 1), 3600); /* said; it is longer */
}

/* Other limits, as by SIGHUP: what was sent stays owed. */
static void test_change(void **state)
{
	const struct flood_limits less = { .origin_minute = 1, .address_minute = 1 }, none = { 0 };
	struct wire_address v4 = { .kind = WIRE_ADDRESS_V4, .u.v4 = { 192, 0, 2, 1 } };
	struct flood *f = *state;

	flood_change(f, &less);
	assert_int_equal(flood_origin(f, "a.example", 2), 0);
	assert_int_equal(flood_origin(f, "a.example", 1), 61);
	flood_address_charge(f, &v4, 3);
	assert_int_equal(flood_address_wait(f, &v4), 121);
	flood_change(f, &none);
	assert_int_equal(flood_origin(f, "a.example", 1), 0);
	assert_int_equal(flood_address_wait(f, &v4), 0);
	flood_change(f, &less);
	assert_int_equal(flood_origin(f, "a.example", 1), 61);
}

static void test_address(void **state)
{
	struct wire_address v4 = { .kind = WIRE_ADDRESS_V4, .u.v4 = { 192, 0, 2, 1 } }, other = v4;
	struct wire_address v6 = { .kind = WIRE_ADDRESS_V6, .u.v6 = { 0x20, 1, 0xd, 0xb8 } };
	struct wire_address same = v6, far = v6;
	struct flood *f = *state;

	other.u.v4[3] = 2;
	same.u.v6[15] = 9; /* in the same network of 64 bits */
	far.u.v6[7] = 9;
	flood_address_charge(f, &v4, 120);
	assert_int_equal(flood_address_wait(f, &v4), 0);
	flood_address_charge(f, &v4, 2);
	assert_int_equal(flood_address_wait(f, &v4), 2);
	assert_int_equal(flood_address_wait(f, &other), 0);
	flood_address_charge(f, &v6, 240);
	assert_int_equal(flood_address_wait(f, &same), 61);
	assert_int_equal(flood_address_wait(f, &far), 0);
	now_us += 60 * CLOCK_SECOND_US;
	assert_int_equal(flood_address_wait(f, &same), 0);
	assert_int_equal(flood_address_wait(f, &v4), 0);
}

static void test_no_limit(void **state)
{
	const struct flood_limits none = { 0 };
	struct wire_address v4 = { .kind = WIRE_ADDRESS_V4 };
	struct flood *f;

	(void)state;
	assert_int_equal(flood_create(&none, &f), 0);
	assert_int_equal(flood_origin(f, "a.example", 1u << 30), 0);
	assert_int_equal(flood_origin(f, "a.example", 1u << 30), 0);
	flood_address_charge(f, &v4, 1u << 30);
	assert_int_equal(flood_address_wait(f, &v4), 0);
	flood_unknown_charge(f, "a.example", &v4, 1u << 30);
	assert_int_equal(flood_unknown_wait(f, "a.example", &v4), 0);
	flood_free(f);
}

/* Who guesses waits, by his domain where it is proved; others, and his address, do not. */
static void test_unknown(void **state)
{
	struct wire_address v4 = { .kind = WIRE_ADDRESS_V4, .u.v4 = { 192, 0, 2, 1 } };
	struct flood *f = *state;

	flood_unknown_charge(f, "a.example", &v4, 30);
	assert_int_equal(flood_unknown_wait(f, "a.example", &v4), 0);
	flood_unknown_charge(f, "a.example", &v4, 2);
	assert_int_equal(flood_unknown_wait(f, "a.example", &v4), 5);
	assert_int_equal(flood_unknown_wait(f, "c.example", &v4), 0);
	assert_int_equal(flood_unknown_wait(f, NULL, &v4), 0);
	flood_unknown_charge(f, NULL, &v4, 45);
	assert_int_equal(flood_unknown_wait(f, NULL, &v4), 31);
	assert_int_equal(flood_address_wait(f, &v4), 0);
	assert_int_equal(flood_origin(f, "a.example", 1), 0);
	now_us += 5 * CLOCK_SECOND_US;
	assert_int_equal(flood_unknown_wait(f, "a.example", &v4), 0);
}

/* Ever so many others do not free one that owes. */
static void test_many(void **state)
{
	struct flood *f = *state;
	char name[40];

	assert_int_equal(flood_origin(f, "a.example", 1000), 0);
	for (unsigned i = 0; i < 100000; i++) {
		snprintf(name, sizeof name, "x%u.example", i);
		(void)flood_origin(f, name, 1);
	}
	assert_true(flood_origin(f, "a.example", 1) > 900);
}

/* --- what a batch makes of it --------------------------------------------------------------- */

static bool covers(void *ctx, const char *domain)
{
	(void)ctx;
	return strcmp(domain, "evil.example") != 0;
}

static void append(struct wire_list_writer *w, const char *sender)
{
	uint8_t recipient[WIRE_LABELS_MAX], store[WIRE_LABELS_MAX];
	struct wire_notification n = { .has_store_tls = true, .sender = span_str(sender) };
	struct mailbox name;

	assert_int_equal(name_parse_mailbox(span_str("bob@b.example"), &name), 0);
	wire_mailbox_from_name(&name, recipient, &n.recipient);
	assert_int_equal(wire_location_from_name("a.example", store, &n.store_tls), 0);
	assert_int_equal(wire_notification_append(w, &n), 0);
}

/* A batch of N notifications from each of the senders; its results are set. */
static struct intake_batch *make(const struct intake_place *place, const char *const *senders,
                                 size_t n_senders, size_t n)
{
	static uint8_t list[60000], buf[65536];
	struct rnasp_command c = { .kind = RNASP_NOTIFY };
	struct wire_list_writer w;
	struct intake_batch *b;
	struct span frame;

	wire_list_writer_init(&w, list, sizeof list);
	for (size_t i = 0; i < n_senders * n; i++) {
		append(&w, senders[i / n]);
	}
	c.u.notify.notifications = wire_list_view(&w);
	assert_int_equal(rnasp_command_encode(&c, buf, sizeof buf, &frame), 0);
	assert_int_equal(intake_create(place, NULL, span_after(frame, FRAME_PREFIX), covers, NULL, &b),
	                 0);
	return b;
}

static void test_batches(void **state)
{
	static const char *const alice[] = { "alice@a.example" };
	static const char *const evil[] = { "eve@evil.example" };
	static const char *const both[] = { "ada@a.example", "carol@c.example" };
	const struct policy_settings policy = { .mailbox_notices = 10,
		                               .origin_notices = 10 };
	const struct db_options options = { .create = true, .no_sync = true, .map_size = 16 << 20 };
	struct intake_place place = { .policy = &policy, .flood = *state };
	struct rnasp_response r;
	struct intake_batch *b;
	char *dir = tempdir_make();
	uint8_t buf[512];
	struct kv_txn *t;
	struct span out;
	struct db *db;

	assert_int_equal(db_open(dir, &options, &place.db, NULL), 0);
	b = make(&place, alice, 1, 61);
	assert_false(intake_settled(b));
	intake_free(b);
	/* What nobody proved is not on the domain's account. */
	b = make(&place, evil, 1, 100);
	assert_true(intake_settled(b));
	assert_int_equal(b->results[0], WIRE_NOTIFY_UNVERIFIED);
	intake_free(b);
	/* Settled without the database, which is not even there. */
	db = place.db;
	place.db = NULL;
	b = make(&place, alice, 1, 3);
	assert_true(intake_settled(b));
	assert_int_equal(intake_response(b, 0, buf, sizeof buf, &out), 0);
	out = span_after(out, FRAME_PREFIX);
	assert_int_equal(rnasp_response_decode(out, out.n, &r), 0);
	assert_int_equal(r.status, WIRE_STATUS_TRY_LATER);
	assert_true(r.has_retry_after);
	assert_int_equal(r.retry_after, 2);
	intake_free(b);
	/* Beside another domain each is judged by itself. */
	place.db = db;
	b = make(&place, both, 2, 1);
	assert_false(intake_settled(b));
	assert_int_equal(kv_write_begin(db_kv(db), &t), 0);
	assert_int_equal(intake_apply(&b->job, t), 0);
	kv_write_abort(t);
	assert_int_equal(b->results[0], WIRE_NOTIFY_TRY_LATER);
	assert_int_equal(b->results[1], WIRE_NOTIFY_NO_USER);
	/* Charged once it is committed, however often it was tried; then the domain waits. */
	intake_charge_unknown(b);
	assert_int_equal(flood_unknown_wait(*state, "c.example", NULL), 0);
	for (unsigned i = 0; i < 30; i++) {
		intake_charge_unknown(b);
	}
	intake_free(b);
	assert_int_equal(flood_unknown_wait(*state, "c.example", NULL), 3);
	assert_int_equal(flood_unknown_wait(*state, "a.example", NULL), 0);
	b = make(&place, both + 1, 1, 1);
	assert_true(intake_settled(b));
	assert_int_equal(b->results[0], WIRE_NOTIFY_TRY_LATER);
	intake_free(b);
	db_close(db);
	tempdir_remove(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
		CASE(test_origin), CASE(test_change), CASE(test_address), CASE(test_no_limit),
		CASE(test_unknown), CASE(test_many), CASE(test_batches),
#undef CASE
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
