/* builds: plain asan tsan */
/*
 * The stores' side of the notification agent (RNASP), and both sides at their
 * worst: a database that is full or damaged, octets that are no command, and
 * sessions that are cut off in each of their states.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "notify/app.h"
#include "notify_fixture.h"
#include "wire/frame.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* --- the stores' side ---------------------------------------------------------------------- */

static void test_results(void **state)
{
	static const struct note notes[] = {
		{ "bob", 1, 0 },  { "nobody", 2, 0 }, { "bob", 1, 0 },
		{ "bob", 3, 10 }, { "eve", 1, 1280 },
	};
	static const uint8_t wanted[] = { WIRE_NOTIFY_ACCEPTED, WIRE_NOTIFY_NO_USER,
		                          WIRE_NOTIFY_ACCEPTED, WIRE_NOTIFY_ACCEPTED,
		                          WIRE_NOTIFY_ACCEPTED };
	struct agent *a = *state;
	struct agent_session *in = agent_intake(a, 0), *x;
	uint8_t results[COUNT(notes)];
	struct seen list[4];

	agent_mailbox(a, "bob");
	agent_mailbox(a, "eve");
	peer_send_notify(in, notes, COUNT(notes));
	/* Pipelined: the same again, and an empty one. */
	peer_send_notify(in, notes, COUNT(notes));
	peer_send_notify(in, notes, 0);
	for (size_t i = 0; i < 2; i++) {
		peer_receive_results(in, results, COUNT(notes));
		assert_memory_equal(results, wanted, sizeof wanted);
	}
	peer_receive_results(in, results, 0);
	x = agent_reader(a, 0, "bob");
	assert_int_equal(peer_retrieve(x, 0, 0, list, 4, NULL), 2);
	x = agent_reader(a, 0, "eve");
	assert_int_equal(peer_retrieve(x, 0, 0, list, 4, NULL), 1);
}

/* Who proves nothing is told nothing, and reaches the database never. */
static void test_unproved(void **state)
{
	static const struct note notes[] = { { "bob", 1, 0 }, { "nobody", 2, 0 } };
	struct agent *a = *state;
	struct agent_session *in = agent_intake(a, 0), *x;
	struct kv_txn *t;
	uint8_t results[2];
	struct seen list[1];

	agent_mailbox(a, "bob");
	/* Read by the next command only. */
	atomic_load(&a->app.settings)->policy.keep_unverified = false;
	t = agent_hold_writer(a);
	peer_send_notify(in, notes, 2);
	peer_receive_results(in, results, 2); /* although the writer is held */
	agent_let_writer(t);
	assert_int_equal(results[0], WIRE_NOTIFY_UNVERIFIED);
	assert_int_equal(results[1], WIRE_NOTIFY_UNVERIFIED);
	x = agent_reader(a, 0, "bob");
	assert_int_equal(peer_retrieve(x, 0, 0, list, 1, NULL), 0);
}

static void test_too_many_notifications(void **state)
{
	struct agent *a = *state;
	struct agent_session *in = agent_intake(a, 0);
	struct rnasp_response r;
	struct note notes[257];
	uint8_t results[257];
	struct span body;

	agent_mailbox(a, "bob");
	for (size_t i = 0; i < COUNT(notes); i++) {
		notes[i] = (struct note) { "bob", (uint32_t)i, 0 };
	}
	peer_send_notify(in, notes, 257);
	body = peer_receive(in);
	assert_int_equal(rnasp_response_decode(body, body.n, &r), 0);
	assert_int_equal(r.status, WIRE_STATUS_TOO_BIG);
	assert_true(r.abort);
	peer_send_notify(in, notes, 256);
	peer_receive_results(in, results, 256);
	assert_int_equal(results[255], WIRE_NOTIFY_ACCEPTED);
}

/* A database that is full says so, keeps what it has, and goes on listing it. */
static void test_full_database(void **state)
{
	struct agent *a = *state;
	struct agent_session *in = agent_intake(a, 0), *x;
	static struct seen page[1000];
	struct rnasp_response r = { 0 };
	struct note notes[30];
	uint32_t mark = 0, accepted = 0;
	uint64_t next = 0;
	size_t n;

	atomic_load(&a->app.settings)->policy.mailbox_notices = UINT32_MAX;
	atomic_load(&a->app.settings)->policy.origin_notices = UINT32_MAX;
	agent_mailbox(a, "bob");
	while (r.status == WIRE_STATUS_OK) {
		struct span body;

		for (size_t i = 0; i < COUNT(notes); i++) {
			notes[i] = (struct note) { "bob", mark++, LIMIT_HEADER_OCTETS };
		}
		peer_send_notify(in, notes, COUNT(notes));
		body = peer_receive(in);
		assert_int_equal(rnasp_response_decode(body, body.n, &r), 0);
		accepted += r.status == WIRE_STATUS_OK ? (uint32_t)COUNT(notes) : 0;
	}
	assert_int_equal(r.status, WIRE_STATUS_NOT_ENOUGH_ROOM);
	assert_true(r.abort);
	assert_true(r.has_retry_after);
	assert_true(accepted > 1000);
	x = agent_reader(a, 1, "bob");
	mark = 0;
	while ((n = peer_retrieve(x, next, 1000, page, COUNT(page), &next)) > 0) {
		mark += (uint32_t)n;
	}
	assert_int_equal(mark, accepted);
}

/* A record that is damaged fails its command alone, with nothing of it kept. */
static void test_damage(void **state)
{
	static const struct note notes[] = { { "eve", 1, 0 }, { "bob", 1, 0 } };
	struct agent *a = *state;
	struct agent_session *in = agent_intake(a, 0), *other = agent_intake(a, 1), *x;
	struct rnasp_response r;
	struct seen list[2];
	struct span body;
	struct kv_txn *t;
	uint8_t result;
	uint32_t bob;

	agent_mailbox(a, "eve");
	bob = agent_mailbox(a, "bob");
	agent_damage(a, bob, 1);

	t = agent_hold_writer(a);
	peer_send_notify(in, notes, 2);
	peer_send_notify(other, notes, 1);
	agent_wait_commands(a, 2);
	agent_let_writer(t);
	body = peer_receive(in);
	assert_int_equal(rnasp_response_decode(body, body.n, &r), 0);
	assert_int_equal(r.status, WIRE_STATUS_INTERNAL_PROBLEM);
	peer_receive_results(other, &result, 1);
	assert_int_equal(result, WIRE_NOTIFY_ACCEPTED);
	x = agent_reader(a, 0, "eve");
	assert_int_equal(peer_retrieve(x, 0, 0, list, 2, NULL), 1);

	agent_mend(a, bob); /* for the check at the end */
}

/* --- what breaks the protocol -------------------------------------------------------------- */

static void test_wrong_octets(void **state)
{
	static const struct {
		const char *what;
		uint8_t octets[24];
		size_t n;
		enum wire_status status;
		bool ends;
	} cases[] = {
		{ "an empty frame", { 0, 0, 0, 0 }, 4, WIRE_STATUS_MALFORMED_PDU, true },
		{ "a response", { 0, 0, 0, 2, 0xa2, 0 }, 6, WIRE_STATUS_MALFORMED_PDU, true },
		{ "no PDU", { 0, 0, 0, 4, 'G', 'E', 'T', ' ' }, 8, WIRE_STATUS_MALFORMED_PDU, true },
		{ "no data", { 0, 0, 0, 2, 0xa1, 0 }, 6, WIRE_STATUS_MALFORMED_PDU, true },
		{ "a length that leads out", { 0, 0, 0, 4, 0xa1, 0x7f, 0xa0, 0 }, 8,
		  WIRE_STATUS_MALFORMED_PDU, true },
		{ "a long length", { 0, 0, 0, 5, 0xa1, 0x81, 2, 0xa0, 0 }, 9,
		  WIRE_STATUS_MALFORMED_PDU, true },
		{ "64 KiB and one octet", { 0, 1, 0, 1, 0xa1, 0x82, 0xff, 0xfd }, 8,
		  WIRE_STATUS_TOO_BIG, true },
		{ "4 GiB", { 0xff, 0xff, 0xff, 0xff, 0xa1 }, 5, WIRE_STATUS_TOO_BIG, true },
		{ "an unknown command", { 0, 0, 0, 6, 0xa1, 4, 0xa0, 2, 0xbe, 0 }, 10,
		  WIRE_STATUS_UNSUPPORTED, false },
	};
	struct agent *a = *state;
	struct rnaqp_response r;

	agent_mailbox(a, "bob");
	for (size_t side = 0; side < 2; side++) {
		for (size_t i = 0; i < COUNT(cases); i++) {
			struct agent_session *x = side == 0 ? agent_query(a, 0) : agent_intake(a, 0);

			peer_send_raw(x, cases[i].octets, cases[i].n);
			peer_receive_query(x, &r); /* errors are alike in all protocols */
			if (r.status != cases[i].status || r.kind != RNAQP_NONE ||
			    r.abort != cases[i].ends) {
				fail_msg("%s: %s", cases[i].what, wire_status_name(r.status));
			}
			if (cases[i].ends) {
				peer_expect_end(x);
			} else if (side == 0) {
				assert_int_equal(
				    peer_authenticate(x, "bob@b.example", agent_token("bob")),
				    WIRE_STATUS_OK);
			} else {
				peer_notify(x, "bob", (uint32_t)i);
			}
		}
	}
}

/* --- cut off ------------------------------------------------------------------------------- */

static void test_cut_login(void **state)
{
	struct rnaqp_command c = { .kind = RNAQP_AUTHENTICATE };
	struct agent *a = *state;

	agent_mailbox_password(a, "bob", "secret");
	c.u.authenticate.account = span_str("bob@b.example");
	c.u.authenticate.password = span_str("wrong");
	/* One is in hand, the others wait for it; killed, or the client hangs up. */
	for (size_t i = 0; i < 4; i++) {
		peer_send_query(agent_query(a, i % 2), &c);
	}
	agent_wait_commands(a, 4);
	for (size_t i = 0; i < 4; i++) {
		if (i < 3) {
			agent_kill(&a->session[i]);
		} else {
			agent_hang_up(&a->session[i]);
		}
	}
	agent_wait_ended(a, 4);
}

/* A job that is at the writer lands, though its session is gone. */
static void test_cut_job(void **state)
{
	const struct rnaqp_command clear = { .kind = RNAQP_RETRIEVE_AND_CLEAR };
	static const struct note note = { "bob", 9, 0 };
	struct agent *a = *state;
	struct agent_session *in = agent_intake(a, 0), *x, *y, *z, *late;
	struct seen list[4];
	struct occupation *o;

	agent_mailbox(a, "bob");
	agent_mailbox(a, "eve");
	peer_notify(in, "bob", 1);
	peer_notify(in, "bob", 2);
	peer_notify(in, "eve", 1);
	x = agent_reader(a, 0, "bob");
	y = agent_reader(a, 1, "eve");
	z = agent_reader(a, 1, "bob");
	assert_int_equal(peer_retrieve(x, 0, 0, list, 4, NULL), 2);
	peer_send_retrieve(z, list[1].cursor, 0, 1000);
	agent_wait_commands(a, 8);
	o = agent_occupy_writer(a);
	peer_send_acknowledge(x, &list[0].cursor, 1);
	peer_send_query(y, &clear);
	peer_send_notify(in, &note, 1);
	agent_wait_commands(a, 11);
	agent_kill(x);
	agent_kill(y);
	agent_kill(in);
	agent_wait_ended(a, 3);
	agent_free_writer(o);
	/* The reader is told of what came from a session that is gone. */
	peer_expect_mark(z, 9);
	late = agent_reader(a, 0, "bob");
	assert_int_equal(peer_retrieve(late, 0, 0, list, 4, NULL), 2);
	assert_int_equal(list[0].mark, 2);
	assert_int_equal(list[1].mark, 9);
	late = agent_reader(a, 0, "eve");
	assert_int_equal(peer_retrieve(late, 0, 0, list, 4, NULL), 0);
}

/* Notifications come while their readers are cut off, one by one. */
static void test_cut_wait(void **state)
{
	struct agent *a = *state;
	struct agent_session *in = agent_intake(a, 0), *x[12];
	unsigned commands;

	agent_mailbox(a, "bob");
	for (size_t i = 0; i < COUNT(x); i++) {
		x[i] = agent_reader(a, i % 2, "bob");
		peer_send_retrieve(x[i], 0, 0, 1000);
	}
	commands = 2 * COUNT(x);
	agent_wait_commands(a, commands);
	for (size_t i = 0; i < COUNT(x); i++) {
		const struct note note = { "bob", (uint32_t)i, 0 };

		if (i == COUNT(x) / 2) {
			peer_send_notify(in, &note, 1); /* wakes the rest while we go on */
		}
		if (i % 3 == 0) {
			agent_hang_up(x[i]);
		} else {
			agent_kill(x[i]);
		}
	}
	agent_wait_ended(a, COUNT(x));
}

/* --- refusals ------------------------------------------------------------------------------- */

#define AT_ONCE 16
#define LATE_US 250000

/* Of what is sent from now on nothing is taken, or all for those who are there. */
static void agent_keep_unverified(struct agent *a, bool keep)
{
	struct app_settings *settings = calloc(1, sizeof *settings);

	assert_non_null(settings);
	settings->policy = app_settings(&a->app)->policy;
	settings->policy.keep_unverified = keep;
	app_settings_replace(&a->app, settings);
}

static const struct note few[] = { { "bob", 1, 0 }, { "bob", 2, 0 }, { "bob", 3, 0 } };

/* N refusals, each asked for once the one before is there. */
static void refused(struct agent_session *x, size_t n)
{
	uint8_t result;

	for (size_t i = 0; i < n; i++) {
		peer_send_notify(x, few, 1);
		peer_receive_results(x, &result, 1);
		assert_int_equal(result, WIRE_NOTIFY_UNVERIFIED);
	}
}

static uint64_t refused_us(struct agent_session *x, size_t n)
{
	uint64_t begun_us = clock_mono_us();

	refused(x, n);
	return clock_mono_us() - begun_us;
}

/* The first are answered at once, all others late; but one more for each that is taken. */
static void test_late_refusals(void **state)
{
	struct agent *a = *state;
	struct agent_session *in = agent_intake(a, 0);

	agent_mailbox(a, "bob");
	agent_keep_unverified(a, false);
	assert_true(refused_us(in, AT_ONCE) < AT_ONCE * LATE_US);
	assert_true(refused_us(in, 2) >= 2 * LATE_US);
	assert_true(refused_us(agent_intake(a, 0), AT_ONCE) < AT_ONCE * LATE_US);
	agent_keep_unverified(a, true);
	for (uint32_t mark = 1; mark <= AT_ONCE + 1; mark++) {
		peer_notify(in, "bob", mark);
		if (mark == AT_ONCE - 1) {
			agent_keep_unverified(a, false);
			assert_true(refused_us(in, AT_ONCE - 1) < AT_ONCE * LATE_US);
			assert_true(refused_us(in, 1) >= LATE_US);
			agent_keep_unverified(a, true);
		}
	}
	agent_keep_unverified(a, false);
	assert_true(refused_us(in, 2) < AT_ONCE * LATE_US);
	assert_true(refused_us(in, 1) >= LATE_US);
}

/* What else takes nothing counts as well: commands without notifications, or unknown ones. */
static void test_late_others(void **state)
{
	static const uint8_t unknown[] = { 0, 0, 0, 6, 0xa1, 4, 0xa0, 2, 0xbe, 0 };
	struct agent *a = *state;
	struct agent_session *in = agent_intake(a, 0);
	uint64_t begun_us = clock_mono_us();

	for (size_t i = 0; i < AT_ONCE / 2; i++) {
		peer_send_notify(in, few, 0);
		peer_receive_results(in, NULL, 0);
		peer_send_raw(in, unknown, sizeof unknown);
		assert_true(peer_receive(in).n > 0);
	}
	assert_true(clock_mono_us() - begun_us < AT_ONCE * LATE_US);
	begun_us = clock_mono_us();
	peer_send_raw(in, unknown, sizeof unknown);
	assert_true(peer_receive(in).n > 0);
	assert_true(clock_mono_us() - begun_us >= LATE_US);
}

/* Pipelined commands wait for the one before, and are answered in order. */
static void test_late_in_order(void **state)
{
	struct agent *a = *state;
	struct agent_session *in = agent_intake(a, 0), *other = agent_intake(a, 0);
	uint64_t begun_us;
	uint8_t results[3];

	agent_mailbox(a, "bob");
	agent_keep_unverified(a, false);
	refused(in, AT_ONCE);
	begun_us = clock_mono_us();
	for (size_t n = 1; n <= COUNT(few); n++) {
		peer_send_notify(in, few, n);
	}
	agent_wait_commands(a, AT_ONCE + 1);
	refused(other, 1); /* nobody else waits */
	for (size_t n = 1; n <= COUNT(few); n++) {
		peer_receive_results(in, results, n);
		assert_true(clock_mono_us() - begun_us >= n * LATE_US);
	}
}

/* The session ends while a refusal is due, by the peer, the daemon, or in order. */
static void test_cut_refusal(void **state)
{
	struct agent *a = *state;
	struct agent_session *x[3];
	struct rnasp_response r;
	struct span body;
	uint8_t result;

	agent_keep_unverified(a, false);
	for (size_t i = 0; i < COUNT(x); i++) {
		x[i] = agent_intake(a, 0);
		refused(x[i], AT_ONCE);
		peer_send_notify(x[i], few, 1);
		agent_wait_commands(a, (unsigned)(i + 1) * (AT_ONCE + 1));
	}
	agent_hang_up(x[0]);
	agent_kill(x[1]);
	agent_shutdown(x[2]);
	peer_receive_results(x[2], &result, 1);
	assert_int_equal(result, WIRE_NOTIFY_UNVERIFIED);
	body = peer_receive(x[2]);
	assert_int_equal(rnasp_response_decode(body, body.n, &r), 0);
	assert_int_equal(r.status, WIRE_STATUS_SERVICE_SHUTDOWN);
	peer_expect_end(x[2]);
	agent_wait_ended(a, COUNT(x));
}

/* A list that the client does not read, then the end. */
static void test_cut_answer(void **state)
{
	struct agent *a = *state;
	struct agent_session *in = agent_intake(a, 0), *x;
	struct note notes[30];
	uint8_t results[30];
	uint32_t mark = 0;

	agent_mailbox(a, "bob");
	for (size_t k = 0; k < 6; k++) {
		for (size_t i = 0; i < COUNT(notes); i++) {
			notes[i] = (struct note) { "bob", mark++, LIMIT_HEADER_OCTETS };
		}
		peer_send_notify(in, notes, COUNT(notes));
		peer_receive_results(in, results, COUNT(notes));
	}
	x = agent_reader(a, 0, "bob");
	for (size_t i = 0; i < 8; i++) {
		peer_send_retrieve(x, 0, 1000, 0);
	}
	agent_wait_commands(a, 6 + 2);
	agent_kill(x);
	x = agent_reader(a, 0, "bob");
	for (size_t i = 0; i < 8; i++) {
		peer_send_retrieve(x, 0, 1000, 0);
	}
	agent_hang_up(x);
	agent_wait_ended(a, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define CASE(test) cmocka_unit_test_setup_teardown(test, agent_setup, agent_teardown)
		CASE(test_results),
		CASE(test_unproved),
		CASE(test_too_many_notifications),
		CASE(test_full_database),
		CASE(test_damage),
		CASE(test_wrong_octets),
		CASE(test_cut_login),
		CASE(test_cut_job),
		CASE(test_cut_wait),
		CASE(test_cut_answer),
		CASE(test_late_refusals),
		CASE(test_late_others),
		CASE(test_late_in_order),
		CASE(test_cut_refusal),
#undef CASE
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
