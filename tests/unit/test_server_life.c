/* The server's side of a session: time, waiting, shutting down, ends in every state. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "session_fixture.h"

/* --- time -------------------------------------------------------------------------------- */

static void test_time_outs(void **state)
{
	static const struct {
		const char *what;
		char before;    /* a command first, 0: none */
		char letter;    /* of the command of which CUT octets come */
		size_t cut;     /* SIZE_MAX: all of it */
		uint64_t first_ms, idle_ms;
		uint64_t least_ms; /* not sooner than this */
		bool answered;
	} cases[] = {
		{ "nothing at all", 0, 0, 0, 30, 60000, 30, false },
		{ "half a first command", 0, 'e', 5, 30, 60000, 30, false },
		{ "nothing after a command", 'e', 0, 0, 60000, 30, 30, true },
		{ "half a frame's length", 'e', 'e', 2, 60000, 30, 30, true },
		{ "half a streamed body", 'e', 's', 40, 60000, 30, 30, true },
		{ "a streamed body from its head on", 'e', 's', 6, 60000, 30, 30, true },
		{ "half a discarded body", 'e', 'r', 40, 60000, 30, 30, true },
		{ "half a collected body", 'e', 'W', 40, 60000, 30, 30, true },
	};
	struct fixture f;
	struct buf want, none;
	uint64_t began;
	size_t i, at;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		print_message("%s\n", cases[i].what);
		session_setup_loop(&f);
		f.limits.first_us = cases[i].first_ms * MS;
		f.limits.idle_us = cases[i].idle_ms * MS;
		assert_int_equal(session_start(&f), 0);
		began = clock_mono_us();
		buf_init(&want, 0);
		buf_init(&none, 0);
		if (cases[i].before != 0)
			toy_add_command(&f.script, cases[i].before, "", 0);
		if (cases[i].answered)
			toy_add_response(&want, cases[i].before, "", 0);
		at = f.script.n;
		if (cases[i].letter != 0)
			toy_add_stream(&f.script, &none, cases[i].letter, cases[i].letter == 'e' ? 9 : 100);
		if (cases[i].letter == 'r')
			toy_add_error(&want, WIRE_STATUS_UNEXPECTED_COMMAND, false, NULL);
		toy_add_error(&want, WIRE_STATUS_COMMAND_TIMEOUT, true, "no command in time");
		f.send_until = at + cases[i].cut;
		session_run_to_eof(&f);
		assert_true(clock_mono_us() - began >= cases[i].least_ms * MS);
		session_assert_got(&f, &want);
		buf_free(&none);
		session_teardown(&f);
	}
}

/* One octet now and then keeps neither a first command nor a later one alive for ever. */
static void test_trickling_is_idling(void **state)
{
	struct fixture f;
	struct buf want, none;
	int later;

	(void)state;
	for (later = 0; later < 2; later++) {
		session_setup_loop(&f);
		f.limits.first_us = later ? 60000 * MS : 100 * MS;
		f.limits.idle_us = later ? 100 * MS : 60000 * MS;
		assert_int_equal(session_start(&f), 0);
		buf_init(&want, 0);
		buf_init(&none, 0);
		if (later) {
			session_command(&f, 'e', "");
			toy_add_response(&want, 'e', "", 0);
			session_run_to_got(&f, want.n);
		}
		toy_add_stream(&f.script, &none, 'W', 50000);
		toy_add_error(&want, WIRE_STATUS_COMMAND_TIMEOUT, true, "no command in time");
		while (f.ended == 0) {
			if (f.send_until < f.script.n && !f.eof)
				f.send_until++;
			session_run_turns(&f, 10);
		}
		assert_true(f.sent < f.script.n || f.eof);
		session_assert_got(&f, &want);
		buf_free(&none);
		session_teardown(&f);
	}
}

/* Before the first command nothing the peer does gives it more time; later a frame's time begins
 * with the frame. */
static void test_when_time_begins(void **state)
{
	struct fixture f;
	struct buf want;

	(void)state;
	session_setup_loop(&f);
	f.limits.first_us = 200 * MS;
	assert_int_equal(session_start(&f), 0);
	buf_init(&want, 0);
	session_run_for(&f, 140 * MS);
	session_command(&f, 'e', "late");
	f.send_until = 5;
	session_run_for(&f, 120 * MS);
	session_send_all(&f);
	toy_add_error(&want, WIRE_STATUS_COMMAND_TIMEOUT, true, "no command in time");
	session_run_to_eof(&f);
	session_assert_got(&f, &want);
	session_teardown(&f);

	session_setup_loop(&f);
	f.limits.idle_us = 1000 * MS;
	assert_int_equal(session_start(&f), 0);
	session_command(&f, 'e', "");
	toy_add_response(&want, 'e', "", 0);
	session_run_to_got(&f, want.n);
	session_run_for(&f, 600 * MS);
	session_command(&f, 'e', "in time");
	f.send_until -= 2;
	session_run_for(&f, 600 * MS);
	session_send_all(&f);
	toy_add_response(&want, 'e', "in time", 7);
	session_run_to_got(&f, want.n);
	session_assert_got(&f, &want);
	session_teardown(&f);
}

/* While the handler works, nobody is idle. */
static void test_a_slow_handler_is_not_the_peers_fault(void **state)
{
	struct fixture f;
	struct buf want;

	(void)state;
	session_setup(&f);
	f.limits.idle_us = f.limits.first_us = 1; /* 'l' takes 3 ms */
	buf_init(&want, 0);
	session_command(&f, 'l', "slow");
	toy_add_response(&want, 'l', "slow", 4);
	toy_add_error(&want, WIRE_STATUS_COMMAND_TIMEOUT, true, "no command in time");
	f.limits.first_us = 60000 * MS;
	session_run_to_eof(&f);
	session_assert_got(&f, &want);
	session_teardown(&f);
}

/* --- waiting ----------------------------------------------------------------------------- */

static void start_wait(struct fixture *f, struct buf *want)
{
	session_setup(f);
	f->limits.idle_us = 20 * MS; /* waiting is not idling */
	buf_init(want, 0);
	session_command(f, 'w', "");
	session_run_until(f, session_has_command);
	f->limits.idle_us = 60000 * MS;
	session_run_turns(f, 40);
	assert_int_equal(f->got.n, 0);
	toy_add_response(want, 'w', "woken", 5);
}

static void test_wait_ends_with_the_next_command(void **state)
{
	struct fixture f;
	struct buf want;

	(void)state;
	start_wait(&f, &want);
	session_command(&f, 'e', "next");
	toy_add_response(&want, 'e', "next", 4);
	session_run_to_got(&f, want.n);
	session_assert_got(&f, &want);
	session_teardown(&f);
}

static void test_wait_ends_at_once_for_a_pipelined_command(void **state)
{
	struct fixture f;
	struct buf want;

	(void)state;
	session_setup(&f);
	buf_init(&want, 0);
	session_command(&f, 'w', "");
	session_command(&f, 'w', "");
	session_command(&f, 'e', "");
	toy_add_response(&want, 'w', "woken", 5);
	toy_add_response(&want, 'w', "woken", 5);
	toy_add_response(&want, 'e', "", 0);
	session_run_to_got(&f, want.n);
	session_assert_got(&f, &want);
	session_teardown(&f);
}

static void test_wait_ends_with_its_time(void **state)
{
	struct fixture f;
	struct buf want;

	(void)state;
	session_setup(&f);
	f.limits.wait_us = 30 * MS;
	buf_init(&want, 0);
	session_command(&f, 'w', "");
	toy_add_response(&want, 'w', "woken", 5);
	session_run_to_got(&f, want.n);
	session_assert_got(&f, &want);
	assert_int_equal(f.ended, 0);
	session_teardown(&f);
}

static void test_wait_ends_with_the_peer(void **state)
{
	struct fixture f;
	struct buf want;

	(void)state;
	start_wait(&f, &want);
	shutdown(f.fd, SHUT_WR);
	session_run_to_eof(&f);
	session_assert_got(&f, &want);
	session_teardown(&f);
}

static void test_wait_ends_with_a_shutdown(void **state)
{
	struct fixture f;
	struct buf want;

	(void)state;
	start_wait(&f, &want);
	toy_add_error(&want, WIRE_STATUS_SERVICE_SHUTDOWN, true, "shutting down");
	server_shutdown(f.session);
	session_run_to_eof(&f);
	session_assert_got(&f, &want);
	session_teardown(&f);
}

/* --- shutting down ----------------------------------------------------------------------- */

static void test_shutdown_of_an_idle_session(void **state)
{
	struct fixture f;
	struct buf want;

	(void)state;
	session_setup(&f);
	buf_init(&want, 0);
	toy_add_error(&want, WIRE_STATUS_SERVICE_SHUTDOWN, true, "shutting down");
	server_shutdown(f.session);
	session_run_to_eof(&f);
	session_assert_got(&f, &want);
	session_teardown(&f);
}

static void test_shutdown_finishes_the_command_in_hand(void **state)
{
	static const char *const letters[] = { "l", "le", "lle" };
	struct fixture f;
	struct buf want;
	size_t i, k;

	(void)state;
	for (i = 0; i < 3; i++) {
		session_setup(&f);
		buf_init(&want, 0);
		for (k = 0; letters[i][k] != '\0'; k++)
			session_command(&f, letters[i][k], "");
		toy_add_response(&want, 'l', "", 0);
		/* Once, whether the next command has come or not. */
		toy_add_error(&want, WIRE_STATUS_SERVICE_SHUTDOWN, true, "shutting down");
		session_run_until(&f, session_has_command);
		server_shutdown(f.session);
		session_run_to_eof(&f);
		session_assert_got(&f, &want);
		assert_int_equal(f.toy.commands, 1);
		session_teardown(&f);
	}
}

static void test_shutdown_in_a_streamed_body(void **state)
{
	struct fixture f;
	struct buf want;

	(void)state;
	session_setup(&f);
	buf_init(&want, 0);
	toy_add_stream(&f.script, &want, 's', 1000);
	toy_add_error(&want, WIRE_STATUS_SERVICE_SHUTDOWN, true, "shutting down");
	f.send_until = 500;
	session_run_until(&f, session_has_command);
	server_shutdown(f.session);
	session_run_turns(&f, 5);
	session_send_all(&f);
	session_run_to_eof(&f);
	session_assert_got(&f, &want);
	session_teardown(&f);
}

static void test_shutdown_in_half_a_frame(void **state)
{
	struct fixture f;
	struct buf want;

	(void)state;
	session_setup(&f);
	buf_init(&want, 0);
	session_command(&f, 'e', "late");
	toy_add_error(&want, WIRE_STATUS_SERVICE_SHUTDOWN, true, "shutting down");
	f.send_until = 3;
	session_run_turns(&f, 5);
	server_shutdown(f.session);
	session_run_turns(&f, 5);
	assert_int_equal(f.ended, 0);
	session_send_all(&f);
	session_run_to_eof(&f);
	session_assert_got(&f, &want);
	assert_int_equal(f.toy.commands, 0);
	session_teardown(&f);
}

/* --- ends -------------------------------------------------------------------------------- */

/* Brings a session into every state, then ends it in one of three ways. */
static const struct {
	const char *what;
	const char *letter; /* NULL: no octet */
	size_t n;           /* octets of data */
	size_t cut;         /* octets of the frame that are sent */
	bool reading;
} states[] = {
	{ "fresh", NULL, 0, 0, true },
	{ "part of a length", "e", 0, 2, true },
	{ "part of a frame", "e", 50, 30, true },
	{ "collecting", "W", 5000, 3000, true },
	{ "in hand", "n", 0, 6, true },
	{ "later", "l", 0, 6, true },
	{ "streaming", "s", 5000, 3000, true },
	{ "held", "H", 5000, 5006, true },
	{ "held for turns", "h", 500000, 400000, true },
	{ "waiting", "w", 0, 6, true },
	{ "discarding", "r", 5000, 3000, true },
	{ "replying", "g", 4, 10, false },
	{ "answered", "e", 10, 16, true },
	{ "finishing", "c", 0, 6, false },
	{ "aborted", "a", 0, 6, false },
};

static void bring(struct fixture *f, size_t i)
{
	struct buf none;

	print_message("%s\n", states[i].what);
	session_setup(f);
	buf_init(&none, 0);
	f->reading = states[i].reading;
	if (states[i].letter == NULL)
		;
	else if (states[i].letter[0] == 'g')
		toy_add_long(&f->script, &none, 8 << 20);
	else
		toy_add_stream(&f->script, &none, states[i].letter[0], states[i].n);
	f->send_until = states[i].cut;
	session_run_turns(f, 4);
	buf_free(&none);
}

static void test_kill_in_every_state(void **state)
{
	struct fixture f;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof states / sizeof states[0]; i++) {
		bring(&f, i);
		if (f.session != NULL)
			server_kill(f.session);
		assert_int_equal(f.ended, 1);
		session_run_turns(&f, 3);
		assert_int_equal(f.ended, 1);
		session_teardown(&f);
	}
}

static void test_peer_goes_in_every_state(void **state)
{
	struct fixture f;
	size_t i;
	int half;

	(void)state;
	for (half = 0; half < 2; half++) {
		for (i = 0; i < sizeof states / sizeof states[0]; i++) {
			bring(&f, i);
			/* A handler that never answers is not disturbed by a peer that is gone. */
			if (strcmp(states[i].what, "in hand") == 0 || strcmp(states[i].what, "held") == 0)
				f.until_turns = 10;
			else
				f.until = session_is_over;
			if (half) {
				shutdown(f.fd, SHUT_WR);
				f.reading = true;
			} else {
				close(f.fd);
				f.fd = -1;
			}
			session_run(&f);
			session_teardown(&f);
		}
	}
}

static void test_kill_from_the_handler(void **state)
{
	static const struct {
		char letter;
		size_t n;
		bool on_wake, on_writable;
	} cases[] = {
		{ 'k', 0, false, false },
		{ 'K', 5000, false, false },
		{ 'w', 0, true, false },
		{ 'g', 0, false, true },
	};
	struct fixture f;
	struct buf none;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		session_setup(&f);
		buf_init(&none, 0);
		f.toy.kill_on_wake = cases[i].on_wake;
		f.toy.kill_on_writable = cases[i].on_writable;
		if (cases[i].letter == 'g')
			toy_add_long(&f.script, &none, 8 << 20);
		else
			toy_add_stream(&f.script, &none, cases[i].letter, cases[i].n);
		toy_add_command(&f.script, 'e', "", 0);
		session_send_all(&f);
		session_run_until(&f, session_is_over);
		assert_int_equal(f.toy.commands, 1);
		assert_int_equal(f.toy.closed, 1);
		buf_free(&none);
		session_teardown(&f);
	}
}

/* A cut session says nothing more, whatever was pipelined. */
static void test_abort(void **state)
{
	struct fixture f;
	struct buf want;

	(void)state;
	session_setup(&f);
	buf_init(&want, 0);
	session_command(&f, 'a', "");
	session_command(&f, 'e', "");
	session_run_to_eof(&f);
	session_assert_got(&f, &want);
	assert_int_equal(f.toy.commands, 1);
	session_teardown(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_time_outs),
		cmocka_unit_test(test_trickling_is_idling),
		cmocka_unit_test(test_when_time_begins),
		cmocka_unit_test(test_a_slow_handler_is_not_the_peers_fault),
		cmocka_unit_test(test_wait_ends_with_the_next_command),
		cmocka_unit_test(test_wait_ends_at_once_for_a_pipelined_command),
		cmocka_unit_test(test_wait_ends_with_its_time),
		cmocka_unit_test(test_wait_ends_with_the_peer),
		cmocka_unit_test(test_wait_ends_with_a_shutdown),
		cmocka_unit_test(test_shutdown_of_an_idle_session),
		cmocka_unit_test(test_shutdown_finishes_the_command_in_hand),
		cmocka_unit_test(test_shutdown_in_a_streamed_body),
		cmocka_unit_test(test_shutdown_in_half_a_frame),
		cmocka_unit_test(test_kill_in_every_state),
		cmocka_unit_test(test_peer_goes_in_every_state),
		cmocka_unit_test(test_kill_from_the_handler),
		cmocka_unit_test(test_abort),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
