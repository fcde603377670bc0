/* builds: plain asan tsan */
/*
 * RNASP and RNAQP sessions of the notification agent on two workers, over socket
 * pairs: what is answered, in which order, and what becomes of a session that is
 * cut off in each of its states.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "notify/app.h"
#include "notify_fixture.h"
#include "wire/frame.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* --- authenticate -------------------------------------------------------------------------- */

static void test_authenticate(void **state)
{
	struct agent *a = *state;
	char long_password[PASSWORD_MAX + 2];
	struct agent_session *x;

	agent_mailbox(a, "bob");
	agent_mailbox_password(a, "eve", "secret");
	memset(long_password, 'x', sizeof long_password - 1);
	long_password[sizeof long_password - 1] = '\0';
	const struct {
		const char *account, *password;
		enum wire_status status;
	} cases[] = {
		{ "bob@b.example", agent_token("bob"), WIRE_STATUS_OK },
		{ "bob@B.Example", agent_token("bob"), WIRE_STATUS_OK },
		{ "Bob@b.example", agent_token("bob"), WIRE_STATUS_NOT_AUTHENTICATED },
		{ "bob@b.example", "imt_0000000000000000000000000000000000000000000",
		  WIRE_STATUS_NOT_AUTHENTICATED },
		{ "bob@b.example", "", WIRE_STATUS_NOT_AUTHENTICATED },
		{ "eve@b.example", "secret", WIRE_STATUS_OK },
		{ "eve@b.example", "Secret", WIRE_STATUS_NOT_AUTHENTICATED },
		{ "eve@b.example", long_password, WIRE_STATUS_NOT_AUTHENTICATED },
		{ "eve@b.example", agent_token("bob"), WIRE_STATUS_NOT_AUTHENTICATED },
		{ "eve@b.example", "secret", WIRE_STATUS_OK }, /* remembered */
		{ "nobody@b.example", "secret", WIRE_STATUS_NOT_AUTHENTICATED },
		{ "eve", "secret", WIRE_STATUS_NOT_AUTHENTICATED },
		{ "", "", WIRE_STATUS_NOT_AUTHENTICATED },
	};

	/* On one session: a login that fails leaves none behind. */
	x = agent_query(a, 0);
	for (size_t i = 0; i < COUNT(cases); i++) {
		enum wire_status got = peer_authenticate(x, cases[i].account, cases[i].password);
		struct rnaqp_response r;

		if (got != cases[i].status) {
			fail_msg("case %zu: %s", i, wire_status_name(got));
		}
		peer_send_retrieve(x, 0, 0, 0);
		peer_receive_query(x, &r);
		assert_int_equal(r.status, cases[i].status);
	}
}

/* Five wrong ones a minute for an account, however its domain is written; others go on. */
static void test_failures(void **state)
{
	struct agent *a = *state;
	static const char *const ways[] = { "bob@b.example", "bob@B.example", "bob@b.EXAMPLE" };
	static const char wrong[] = "imt_0000000000000000000000000000000000000000000";
	struct agent_session *x = agent_query(a, 0), *y = agent_query(a, 1);
	struct rnaqp_command c = { .kind = RNAQP_AUTHENTICATE };
	struct rnaqp_response r;

	agent_mailbox(a, "bob");
	agent_mailbox(a, "eve");
	for (size_t i = 0; i < 5; i++) {
		assert_int_equal(peer_authenticate(x, ways[i % 3], wrong),
		                 WIRE_STATUS_NOT_AUTHENTICATED);
	}
	c.u.authenticate.account = span_str("bob@B.EXAMPLE");
	c.u.authenticate.password = span_str(wrong);
	peer_query(y, &c, &r);
	assert_int_equal(r.status, WIRE_STATUS_TRY_LATER);
	assert_true(r.abort);
	assert_true(r.has_retry_after);
	assert_int_equal(peer_authenticate(y, "eve@b.example", agent_token("eve")), WIRE_STATUS_OK);
}

static void test_before_authenticate(void **state)
{
	struct agent *a = *state;
	const struct {
		struct rnaqp_command command;
		enum wire_status status;
	} cases[] = {
		{ { .kind = RNAQP_RETRIEVE }, WIRE_STATUS_NOT_AUTHENTICATED },
		{ { .kind = RNAQP_RETRIEVE_AND_CLEAR }, WIRE_STATUS_NOT_AUTHENTICATED },
		{ { .kind = RNAQP_ACKNOWLEDGE }, WIRE_STATUS_NOT_AUTHENTICATED },
		{ { .kind = RNAQP_POLICY, .u.policy.table = span_str("blacklist") },
		  WIRE_STATUS_NOT_AUTHENTICATED },
		{ { .kind = RNAQP_FETCH, .u.fetch.cursor = 1 }, WIRE_STATUS_NOT_AUTHENTICATED },
	};
	struct agent_session *x = agent_query(a, 0);
	struct rnaqp_response r;

	agent_mailbox(a, "bob");
	for (size_t i = 0; i < COUNT(cases); i++) {
		peer_query(x, &cases[i].command, &r);
		assert_int_equal(r.status, cases[i].status);
		assert_int_equal(r.kind, RNAQP_NONE);
		assert_true(r.abort);
	}
	assert_int_equal(peer_authenticate(x, "bob@b.example", agent_token("bob")), WIRE_STATUS_OK);
	/* What this agent does not offer is said so, and the session goes on. */
	for (size_t i = 3; i < COUNT(cases); i++) {
		peer_query(x, &cases[i].command, &r);
		assert_int_equal(r.status, WIRE_STATUS_UNSUPPORTED);
		assert_false(r.abort);
	}
	peer_send_retrieve(x, 0, 0, 0);
	peer_receive_query(x, &r);
	assert_int_equal(r.status, WIRE_STATUS_OK);
}

/* --- retrieve ------------------------------------------------------------------------------ */

static void test_pages(void **state)
{
	struct agent *a = *state;
	struct agent_session *in = agent_intake(a, 0), *x;
	struct seen all[8], page[8];
	uint64_t next = 0;
	size_t n = 0, got;

	agent_mailbox(a, "bob");
	agent_mailbox(a, "eve");
	x = agent_reader(a, 1, "bob");
	assert_int_equal(peer_retrieve(x, 0, 0, all, 8, &next), 0);
	assert_int_equal(next, 0);
	for (uint32_t mark = 1; mark <= 7; mark++) {
		peer_notify(in, "bob", mark);
		peer_notify(in, "eve", mark); /* cursors of a mailbox have gaps */
	}
	assert_int_equal(peer_retrieve(x, 0, 0, all, 8, NULL), 7);
	for (size_t i = 0; i < 7; i++) {
		assert_int_equal(all[i].mark, i + 1);
		assert_true(i == 0 || all[i].cursor > all[i - 1].cursor);
	}
	for (next = 0; n < 7; n += got) {
		got = peer_retrieve(x, next, 3, page, 8, &next);
		assert_int_equal(got, n < 6 ? 3 : 1);
		for (size_t i = 0; i < got; i++) {
			assert_int_equal(page[i].cursor, all[n + i].cursor);
			assert_int_equal(page[i].mark, all[n + i].mark);
		}
		assert_int_equal(next, page[got - 1].cursor);
	}
	assert_int_equal(peer_retrieve(x, next, 3, page, 8, &next), 0);
	assert_int_equal(next, all[6].cursor);
	/* From anywhere, there or not, and past the end. */
	assert_int_equal(peer_retrieve(x, all[3].cursor + 1, 0, page, 8, &next), 3);
	assert_int_equal(peer_retrieve(x, UINT64_MAX, 0, page, 8, &next), 0);
	assert_int_equal(next, UINT64_MAX);
	/* The limit is a limit, not a promise. */
	assert_int_equal(peer_retrieve(x, 0, UINT64_MAX, all, 8, &next), 7);
}

/* Many large notifications come in several answers, none over a session's octets, none twice. */
static void test_large_lists(void **state)
{
	struct agent *a = *state;
	struct agent_session *in = agent_intake(a, 0), *x;
	static struct seen page[1000];
	struct note notes[30];
	uint8_t results[30];
	uint32_t mark = 0, answers = 0;
	uint64_t next = 0;
	size_t n;

	agent_mailbox(a, "bob");
	x = agent_reader(a, 1, "bob");
	for (size_t k = 0; k < 20; k++) {
		for (size_t i = 0; i < COUNT(notes); i++) {
			notes[i] = (struct note) { "bob", mark++, LIMIT_HEADER_OCTETS };
		}
		peer_send_notify(in, notes, COUNT(notes));
		peer_receive_results(in, results, COUNT(notes));
	}
	mark = 0;
	while ((n = peer_retrieve(x, next, 1000, page, COUNT(page), &next)) > 0) {
		answers++;
		for (size_t i = 0; i < n; i++) {
			assert_int_equal(page[i].mark, mark++);
		}
	}
	assert_int_equal(mark, 600);
	assert_true(answers > 3);
}

static void test_expired(void **state)
{
	struct agent *a = *state;
	struct agent_session *in = agent_intake(a, 0), *x;
	struct seen list[4];

	agent_mailbox(a, "bob");
	x = agent_reader(a, 0, "bob");
	a->app.policy.retention_us = 0; /* read by the next command only */
	peer_notify(in, "bob", 1);
	assert_int_equal(peer_retrieve(x, 0, 0, list, 4, NULL), 0);
}

/* --- wait ---------------------------------------------------------------------------------- */

#define READERS 9
#define NOTES 40

/*
 * Sessions of three mailboxes on both workers wait; notifications come on both
 * workers. Each session sees each one of its mailbox once, in order.
 */
static void test_wait(void **state)
{
	static const char *const names[] = { "bob", "eve", "kim" };
	struct agent *a = *state;
	struct agent_session *in[2] = { agent_intake(a, 0), agent_intake(a, 1) };
	struct {
		struct agent_session *x;
		uint64_t next;
		uint32_t seen;
	} reader[READERS];
	struct rnaqp_response r;
	struct seen list[NOTES];

	for (size_t i = 0; i < 3; i++) {
		agent_mailbox(a, names[i]);
	}
	for (size_t i = 0; i < READERS; i++) {
		reader[i].x = agent_reader(a, i % 2, names[i % 3]);
		reader[i].next = 0;
		reader[i].seen = 0;
		peer_send_retrieve(reader[i].x, 0, 0, 1000);
	}
	for (uint32_t mark = 0; mark < NOTES; mark++) {
		for (size_t i = 0; i < 3; i++) {
			peer_notify(in[(mark + i) % 2], names[i], mark);
		}
		/* Some read at once, some let it pile up. */
		for (size_t i = mark % 4; i < READERS; i += 4) {
			peer_receive_query(reader[i].x, &r);
			for (size_t n = peer_list(&r, list, NOTES, &reader[i].next), k = 0; k < n; k++) {
				assert_int_equal(list[k].mark, reader[i].seen++);
			}
			peer_send_retrieve(reader[i].x, reader[i].next, 0, 1000);
		}
	}
	for (size_t i = 0; i < READERS; i++) {
		while (reader[i].seen < NOTES) {
			peer_receive_query(reader[i].x, &r);
			for (size_t n = peer_list(&r, list, NOTES, &reader[i].next), k = 0; k < n; k++) {
				assert_int_equal(list[k].mark, reader[i].seen++);
			}
			if (reader[i].seen < NOTES) {
				peer_send_retrieve(reader[i].x, reader[i].next, 0, 1000);
			}
		}
	}
}

/* Another command ends it at once, with what there is. */
static void test_wait_ended_by_command(void **state)
{
	struct agent *a = *state;
	struct agent_session *x;
	struct rnaqp_response r;
	struct seen list[1];
	uint64_t next;

	agent_mailbox(a, "bob");
	x = agent_reader(a, 0, "bob");
	for (unsigned i = 0; i < 4; i++) {
		peer_send_retrieve(x, 7, 0, 1000);
		if (i % 2 == 0) {
			agent_wait_commands(a, 2 + i * 2); /* it waits before the next is sent */
		}
		peer_send_acknowledge(x, NULL, 0);
		peer_receive_query(x, &r);
		assert_int_equal(peer_list(&r, list, 1, &next), 0);
		assert_int_equal(next, 7);
		peer_receive_query(x, &r);
		assert_int_equal(r.kind, RNAQP_ACKNOWLEDGE);
		assert_int_equal(r.status, WIRE_STATUS_OK);
	}
}

static void test_wait_ended_by_time(void **state)
{
	struct agent *a = *state;
	struct agent_session *x;
	struct rnaqp_response r;
	struct seen list[1];

	agent_mailbox(a, "bob");
	a->limits.wait_us = 20000; /* whatever the client asks for */
	x = agent_reader(a, 0, "bob");
	for (unsigned i = 0; i < 3; i++) {
		peer_send_retrieve(x, 0, 0, i == 0 ? UINT64_MAX : 1000);
		peer_receive_query(x, &r);
		assert_int_equal(peer_list(&r, list, 1, NULL), 0);
	}
}

/* The end of the daemon, and the end of the client's side, end it too. */
static void test_wait_ended_by_end(void **state)
{
	struct agent *a = *state;
	struct agent_session *x;
	struct rnaqp_response r;
	struct seen list[1];

	agent_mailbox(a, "bob");
	x = agent_reader(a, 0, "bob");
	peer_send_retrieve(x, 0, 0, 1000);
	agent_wait_commands(a, 2);
	agent_shutdown(x);
	peer_receive_query(x, &r);
	assert_int_equal(peer_list(&r, list, 1, NULL), 0);
	peer_expect_end(x);

	x = agent_reader(a, 0, "bob");
	peer_send_retrieve(x, 0, 0, 1000);
	agent_wait_commands(a, 4);
	agent_hang_up(x);
	agent_wait_ended(a, 2);
}

/* Woken for what is gone already, it waits on. */
static void test_wait_goes_on(void **state)
{
	struct agent *a = *state;
	struct agent_session *in = agent_intake(a, 0), *x;
	uint32_t bob = agent_mailbox(a, "bob");
	struct rnaqp_response r;
	struct seen list[2];

	x = agent_reader(a, 1, "bob");
	peer_send_retrieve(x, 0, 0, 1000);
	agent_wait_commands(a, 2);
	for (unsigned i = 0; i < 10; i++) {
		waiters_wake(a->app.waiters, &bob, 1);
	}
	peer_notify(in, "bob", 5);
	peer_receive_query(x, &r);
	assert_int_equal(peer_list(&r, list, 2, NULL), 1);
	assert_int_equal(list[0].mark, 5);
}

/* --- acknowledge, retrieveAndClear --------------------------------------------------------- */

static void test_acknowledge(void **state)
{
	struct agent *a = *state;
	struct agent_session *in = agent_intake(a, 0), *bob, *bob2, *eve;
	struct seen b[4], e[4], left[4];
	uint64_t cursors[4];

	agent_mailbox(a, "bob");
	agent_mailbox(a, "eve");
	bob = agent_reader(a, 0, "bob");
	bob2 = agent_reader(a, 1, "bob");
	eve = agent_reader(a, 1, "eve");
	for (uint32_t mark = 1; mark <= 3; mark++) {
		peer_notify(in, "bob", mark);
		peer_notify(in, "eve", mark);
	}
	assert_int_equal(peer_retrieve(bob, 0, 0, b, 4, NULL), 3);
	assert_int_equal(peer_retrieve(eve, 0, 0, e, 4, NULL), 3);
	/* Another's, one that never was, its own, and that again. */
	cursors[0] = e[0].cursor;
	cursors[1] = UINT64_MAX;
	cursors[2] = b[1].cursor;
	cursors[3] = b[1].cursor;
	assert_int_equal(peer_acknowledge(bob, cursors, 4), WIRE_STATUS_OK);
	assert_int_equal(peer_acknowledge(bob2, cursors, 4), WIRE_STATUS_OK);
	assert_int_equal(peer_retrieve(bob2, 0, 0, left, 4, NULL), 2);
	assert_int_equal(left[0].mark, 1);
	assert_int_equal(left[1].mark, 3);
	assert_int_equal(peer_retrieve(eve, 0, 0, left, 4, NULL), 3);
}

static void test_acknowledge_too_many(void **state)
{
	struct agent *a = *state;
	static uint64_t cursors[10001];
	struct agent_session *x;

	agent_mailbox(a, "bob");
	x = agent_reader(a, 0, "bob");
	for (size_t i = 0; i < COUNT(cursors); i++) {
		cursors[i] = i % 100;
	}
	assert_int_equal(peer_acknowledge(x, cursors, 10001), WIRE_STATUS_TOO_BIG);
	assert_int_equal(peer_acknowledge(x, cursors, 10000), WIRE_STATUS_OK);
}

/* Two clear at once: each notification goes to one of them. */
static void test_clear(void **state)
{
	struct agent *a = *state;
	struct agent_session *in = agent_intake(a, 0), *x[2];
	const struct rnaqp_command clear = { .kind = RNAQP_RETRIEVE_AND_CLEAR };
	struct rnaqp_response r;
	struct seen list[200];
	bool seen[150] = { false };
	struct kv_txn *t;
	size_t got = 0, n;

	agent_mailbox(a, "bob");
	for (size_t i = 0; i < 2; i++) {
		x[i] = agent_reader(a, (unsigned)i, "bob");
	}
	for (uint32_t mark = 0; mark < 150; mark++) {
		peer_notify(in, "bob", mark);
	}
	t = agent_hold_writer(a);
	for (size_t i = 0; i < 2; i++) {
		peer_send_query(x[i], &clear);
	}
	agent_wait_commands(a, 2 + 150 + 2);
	agent_let_writer(t);
	for (size_t i = 0; i < 2; i++) {
		peer_receive_query(x[i], &r);
		assert_int_equal(r.kind, RNAQP_RETRIEVE_AND_CLEAR);
		n = peer_list(&r, list, 200, NULL);
		assert_true(n == 100 || n == 50);
		for (size_t k = 0; k < n; k++) {
			assert_false(seen[list[k].mark]);
			seen[list[k].mark] = true;
		}
		got += n;
	}
	assert_int_equal(got, 150);
	peer_query(x[0], &clear, &r);
	assert_int_equal(peer_list(&r, list, 200, NULL), 0);
}

/* --- mailboxes that go while sessions are there -------------------------------------------- */

static void test_removed_mailbox(void **state)
{
	static const enum rnaqp_kind kinds[] = { RNAQP_RETRIEVE, RNAQP_RETRIEVE_AND_CLEAR };
	struct agent *a = *state;
	struct agent_session *in = agent_intake(a, 0);
	struct rnaqp_response r;
	struct seen list[1];

	for (size_t again = 0; again < 2; again++) {
		for (size_t i = 0; i < COUNT(kinds); i++) {
			const struct rnaqp_command c = { .kind = kinds[i] };
			struct agent_session *x;

			agent_mailbox(a, "bob");
			x = agent_reader(a, 0, "bob");
			agent_mailbox_remove(a, "bob");
			if (again == 1) { /* its name is another's now */
				agent_mailbox(a, "bob");
				peer_notify(in, "bob", 1);
			}
			peer_query(x, &c, &r);
			assert_int_equal(r.status, WIRE_STATUS_NOT_AUTHENTICATED);
			peer_query(x, &c, &r);
			assert_int_equal(r.status, WIRE_STATUS_NOT_AUTHENTICATED);
			if (again == 1) {
				x = agent_reader(a, 1, "bob");
				assert_int_equal(peer_retrieve(x, 0, 0, list, 1, NULL), 1);
				agent_mailbox_remove(a, "bob");
			}
		}
	}
}

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
	a->app.policy.keep_unverified = false; /* read by the next command only */
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

	a->app.policy.mailbox_notices = a->app.policy.origin_notices = UINT32_MAX;
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
	uint8_t key[5] = { 0, 0, 0, 0, 'c' }, result;
	struct rnasp_response r;
	struct seen list[2];
	struct span body;
	struct kv_txn *t;
	kv_table table;

	agent_mailbox(a, "eve");
	key[3] = (uint8_t)agent_mailbox(a, "bob");
	table = agent_notice_table(a);
	t = agent_hold_writer(a);
	assert_int_equal(kv_put(t, table, span_of(key, 5), span_str("damaged")), 0);
	assert_int_equal(kv_write_commit(t), 0);

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

	t = agent_hold_writer(a); /* mended, for the check at the end */
	assert_int_equal(kv_delete(t, table, span_of(key, 5)), 0);
	assert_int_equal(kv_write_commit(t), 0);
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
	struct kv_txn *t;

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
	t = agent_hold_writer(a);
	peer_send_acknowledge(x, &list[0].cursor, 1);
	peer_send_query(y, &clear);
	peer_send_notify(in, &note, 1);
	agent_wait_commands(a, 11);
	agent_kill(x);
	agent_kill(y);
	agent_kill(in);
	agent_wait_ended(a, 3);
	agent_let_writer(t);
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
		CASE(test_authenticate),
		CASE(test_failures),
		CASE(test_before_authenticate),
		CASE(test_pages),
		CASE(test_large_lists),
		CASE(test_expired),
		CASE(test_wait),
		CASE(test_wait_ended_by_command),
		CASE(test_wait_ended_by_time),
		CASE(test_wait_ended_by_end),
		CASE(test_wait_goes_on),
		CASE(test_acknowledge),
		CASE(test_acknowledge_too_many),
		CASE(test_clear),
		CASE(test_removed_mailbox),
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
#undef CASE
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
