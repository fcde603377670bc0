/* builds: plain asan tsan */
/*
 * The mail programs' side of the notification agent (RNAQP) on two workers, over
 * socket pairs: logins, pages, waiting, acknowledging and clearing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

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
	for (size_t i = 4; i < COUNT(cases); i++) {
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
	atomic_load(&a->app.settings)->policy.retention_us = 0; /* read by the next command only */
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
	peer_receive_query(x, &r);
	assert_int_equal(r.status, WIRE_STATUS_SERVICE_SHUTDOWN);
	assert_true(r.abort);
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
#undef CASE
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
