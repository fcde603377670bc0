/* The server's side of a session: order, framing, streamed bodies, slow readers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "session_fixture.h"

/* --- order and framing ------------------------------------------------------------------- */

static void test_pipelining_keeps_order(void **state)
{
	static const char letters[] = "eeleeeelge";
	struct fixture f;
	struct buf want;
	char text[24];
	unsigned i;

	(void)state;
	session_setup(&f);
	buf_init(&want, 0);
	for (i = 0; i < 1000; i++) {
		char letter = letters[i % 10];
		int n = snprintf(text, sizeof text, "%u", i);

		if (letter == 'l' && i % 100 > 10)
			letter = 'e'; /* some of them take turns */
		if (letter == 'g') {
			toy_add_long(&f.script, &want, i);
			continue;
		}
		toy_add_command(&f.script, letter, text, (size_t)n);
		toy_add_response(&want, letter, text, (size_t)n);
	}
	session_send_all(&f);
	session_run_to_got(&f, want.n);
	session_assert_got(&f, &want);
	assert_int_equal(f.toy.commands, 1000);
	session_teardown(&f);
}

/* All kinds of commands, and their answers. */
static void script_of_all(struct fixture *f, struct buf *want)
{
	char w[90];

	buf_init(want, 0);
	toy_add_command(&f->script, 'e', "one", 3);
	toy_add_response(want, 'e', "one", 3);
	toy_add_stream(&f->script, want, 's', 150);
	memset(w, 'w', sizeof w);
	toy_add_stream(&f->script, want, 'W', 90);
	toy_add_command(&f->script, 'r', w, 80);
	toy_add_error(want, WIRE_STATUS_UNEXPECTED_COMMAND, false, NULL);
	toy_add_stream(&f->script, want, 'b', 63);
	toy_add_stream(&f->script, want, 'h', 100);
	toy_add_command(&f->script, 'l', "", 0);
	toy_add_response(want, 'l', "", 0);
	toy_add_long(&f->script, want, 300);
	toy_add_command(&f->script, 'c', "", 0);
	toy_add_error(want, WIRE_STATUS_UNEXPECTED_COMMAND, true, NULL);
}

static void test_split_at_every_octet(void **state)
{
	struct fixture f;
	struct buf want;
	size_t cut;
	size_t n = 1;

	(void)state;
	for (cut = 0; cut < n; cut++) {
		session_setup(&f);
		script_of_all(&f, &want);
		n = f.script.n;
		f.send_until = cut;
		session_run_turns(&f, 3);
		session_send_all(&f);
		session_run_to_eof(&f);
		session_assert_got(&f, &want);
		session_teardown(&f);
	}
	assert_true(n > 500);
}

/*
 * An answer leaves with the one to the command after it, which is here already; but not when
 * that one takes long, or its body is still coming.
 */
static void test_answers_leave_together(void **state)
{
	struct fixture f;
	struct buf one, both;

	(void)state;
	session_setup(&f);
	buf_init(&one, 0);
	buf_init(&both, 0);
	toy_add_response(&one, 'e', "quick", 5);
	toy_add_response(&both, 'e', "quick", 5);
	toy_add_response(&both, 'l', "later", 5);
	session_command(&f, 'e', "quick");
	session_command(&f, 'l', "later");
	session_run_to_got(&f, 1);
	session_assert_got(&f, &both);

	buf_consume(&f.got, f.got.n);
	session_command(&f, 'e', "quick");
	session_command(&f, 'n', "never");
	session_run_to_got(&f, one.n);
	session_assert_got(&f, &one);
	session_teardown(&f);

	session_setup(&f);
	toy_add_response(&one, 'e', "quick", 5);
	toy_add_command(&f.script, 'e', "quick", 5);
	toy_add_stream(&f.script, &both, 'H', 100);
	f.limits.idle_us = 20 * MS;
	f.send_until = f.script.n - 1;
	session_run_to_got(&f, one.n);
	session_assert_got(&f, &one);
	toy_release(&f.toy);
	session_teardown(&f);
	buf_free(&both);
}

static void test_octet_by_octet(void **state)
{
	struct fixture f;
	struct buf want;

	(void)state;
	session_setup(&f);
	script_of_all(&f, &want);
	f.chunk = 1;
	session_send_all(&f);
	session_run_to_eof(&f);
	session_assert_got(&f, &want);
	assert_int_equal(f.ended, 1);
	session_teardown(&f);
}

/* What breaks the protocol is answered after what came before it, and ends the session. */
static void test_bad_frames(void **state)
{
	static const struct {
		const char *what;
		const uint8_t octets[8];
		size_t n;
		size_t data; /* octets of toy data behind it */
		enum wire_status status;
		const char *text;
	} cases[] = {
		{ "empty frame", { 0, 0, 0, 0 }, 4, 0, WIRE_STATUS_MALFORMED_PDU, "empty frame" },
		{ "a response", { 0, 0, 0, 2, 0xa2, 0 }, 6, 0, WIRE_STATUS_MALFORMED_PDU,
		  "a response where a command must stand" },
		{ "a response, begun", { 0, 0, 0, 9, 0xa2 }, 5, 0, WIRE_STATUS_MALFORMED_PDU,
		  "a response where a command must stand" },
		{ "HTTP", "GET / HT", 8, 0, WIRE_STATUS_TOO_BIG, "frame over the limit" },
		{ "no PDU", { 0, 0, 0, 3, 0x30, 0x01, 0x00 }, 7, 0, WIRE_STATUS_MALFORMED_PDU,
		  "not a PDU" },
		{ "4 GiB", { 0xff, 0xff, 0xff, 0xff }, 4, 0, WIRE_STATUS_TOO_BIG,
		  "frame over the limit" },
		{ "4 GiB and much of it", { 0xff, 0xff, 0xff, 0xff, 0xa1, 's' }, 6, 4 << 20,
		  WIRE_STATUS_TOO_BIG, "frame over the limit" },
		{ "one over every limit", { 0, 0x80, 0, 1, 0xa1, 's' }, 6, 0, WIRE_STATUS_TOO_BIG,
		  "frame over the limit" },
		{ "whole over its limit", { 0, 1, 0x86, 0xa1, 0xa1, 'W' }, 6, 0, WIRE_STATUS_TOO_BIG,
		  "frame over the limit" },
		{ "refused by classify", { 0, 0, 0, 65, 0xa1, 'e' }, 6, 63, WIRE_STATUS_TOO_BIG,
		  "frame over the limit" },
		{ "never classified", { 0, 0, 1, 0, 0xa1, 'm' }, 6, 62, WIRE_STATUS_TOO_BIG,
		  "frame over the limit" },
	};
	struct fixture f;
	struct buf want;
	uint8_t zeros[4096] = { 0 };
	size_t i, n;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		print_message("%s\n", cases[i].what);
		session_setup(&f);
		buf_init(&want, 0);
		toy_add_command(&f.script, 'l', "x", 1);
		toy_add_response(&want, 'l', "x", 1);
		assert_int_equal(buf_add(&f.script, cases[i].octets, cases[i].n), 0);
		for (n = cases[i].data; n > 0; n -= n < sizeof zeros ? n : sizeof zeros)
			assert_int_equal(buf_add(&f.script, zeros, n < sizeof zeros ? n : sizeof zeros), 0);
		toy_add_error(&want, cases[i].status, true, cases[i].text);
		session_send_all(&f);
		session_run_to_eof(&f);
		session_assert_got(&f, &want);
		assert_int_equal(f.toy.commands, 1);
		session_teardown(&f);
	}
}

static void test_error_text_is_cut_between_characters(void **state)
{
	struct fixture f;
	struct buf want;
	char text[401];
	uint8_t frame[1024];
	struct span got;

	(void)state;
	session_setup(&f);
	buf_init(&want, 0);
	memset(text, 'x', 399);
	text[399] = '\0';
	assert_int_equal(wire_error_response(WIRE_STATUS_TRY_LATER, false, span_str(text), true, 7,
	                                     frame, sizeof frame, &got), 0);
	assert_int_equal(buf_add(&want, got.p, got.n), 0);
	session_command(&f, 'x', "");
	session_run_to_got(&f, want.n);
	session_assert_got(&f, &want);
	assert_int_equal(f.ended, 0);
	session_teardown(&f);
}

static void test_open_fails(void **state)
{
	struct fixture f;

	(void)state;
	session_setup_loop(&f);
	f.toy.open_error = ERR_FULL;
	assert_int_equal(session_start(&f), ERR_FULL);
	f.session = NULL;
	while (!f.eof)
		session_run_turns(&f, 1);
	assert_int_equal(f.ended, 0);
	session_teardown(&f);
}

/* A session with much to do leaves room for another. */
static void test_fairness(void **state)
{
	struct fixture f;
	struct fixture other = { .fd = -1 };
	unsigned i;

	(void)state;
	session_setup(&f);
	other.loop = f.loop;
	other.limits = f.limits;
	assert_int_equal(session_start(&other), 0);
	buf_init(&other.script, 0);
	for (i = 0; i < 2000; i++)
		toy_add_command(&f.script, 'e', "", 0);
	toy_add_command(&other.script, 'e', "", 0);
	assert_int_equal(send(f.fd, f.script.p, f.script.n, 0), (ssize_t)f.script.n);
	assert_int_equal(send(other.fd, other.script.p, other.script.n, 0), (ssize_t)other.script.n);
	while (other.toy.commands == 0)
		session_run_turns(&f, 1);
	assert_in_range(f.toy.commands, 0, 64 * 8);
	while (f.toy.commands < 2000)
		session_run_turns(&f, 1);
	server_kill(other.session);
	close(other.fd);
	buf_free(&other.script);
	session_teardown(&f);
}

/* --- streamed bodies --------------------------------------------------------------------- */

static void test_streamed_bodies(void **state)
{
	static const char letters[] = "shsb";
	struct fixture f;
	struct buf want;
	size_t i;

	(void)state;
	session_setup(&f);
	buf_init(&want, 0);
	for (i = 0; i < 4; i++)
		toy_add_stream(&f.script, &want, letters[i], i == 1 ? 400000 : (2 << 20) + i);
	/* The head may be the whole body. */
	toy_add_stream(&f.script, &want, 's', 63);
	session_send_all(&f);
	session_run_to_got(&f, want.n);
	session_assert_got(&f, &want);
	session_teardown(&f);
}

static void test_hold_holds_the_peer_back(void **state)
{
	struct fixture f;
	struct buf want;

	(void)state;
	session_setup(&f);
	f.limits.idle_us = 20 * MS; /* of its own holding the server is not to complain */
	buf_init(&want, 0);
	toy_add_stream(&f.script, &want, 'H', 4 << 20);
	session_send_all(&f);
	session_run_until(&f, session_stands_still);
	session_run_for(&f, 60 * MS);
	assert_in_range(f.sent, 64, 1 << 20);
	assert_int_equal(f.toy.streamed, 0);
	toy_release(&f.toy);
	session_run_to_got(&f, want.n);
	session_assert_got(&f, &want);
	session_teardown(&f);
}

/* A submission refused with its data on the way: thrown away, answered, and the session goes on. */
static void test_refused_bodies_are_discarded(void **state)
{
	struct fixture f;
	struct buf want, none;
	int i;

	(void)state;
	session_setup(&f);
	buf_init(&want, 0);
	buf_init(&none, 0);
	for (i = 0; i < 3; i++) {
		toy_add_stream(&f.script, &none, 'r', 3 << 20);
		toy_add_error(&want, WIRE_STATUS_UNEXPECTED_COMMAND, false, NULL);
	}
	toy_add_command(&f.script, 'e', "on", 2);
	toy_add_response(&want, 'e', "on", 2);
	session_send_all(&f);
	session_run_to_got(&f, want.n);
	session_assert_got(&f, &want);
	assert_int_equal(f.toy.streamed, 0);
	buf_free(&none);
	session_teardown(&f);
}

/* --- slow readers ------------------------------------------------------------------------ */

static void test_output_waits_for_the_reader(void **state)
{
	struct fixture f;
	struct buf want;

	(void)state;
	session_setup(&f);
	buf_init(&want, 0);
	toy_add_long(&f.script, &want, 8 << 20);
	toy_add_command(&f.script, 'e', "next", 4);
	toy_add_response(&want, 'e', "next", 4);
	f.reading = false;
	session_send_all(&f);
	session_run_until(&f, session_stands_still);
	assert_in_range(f.toy.written, 1, 2 << 20);
	assert_int_equal(f.toy.commands, 1);
	f.reading = true;
	session_run_to_got(&f, want.n);
	session_assert_got(&f, &want);
	session_teardown(&f);
}

/* Short answers, unread, stop the taking of commands too. */
static void test_commands_wait_for_the_reader(void **state)
{
	enum { COMMANDS = 60000 };
	static char data[60];
	struct fixture f;
	struct buf want;
	unsigned i, given;

	(void)state;
	session_setup(&f);
	buf_init(&want, 0);
	memset(data, 'd', sizeof data);
	for (i = 0; i < COMMANDS; i++) {
		toy_add_command(&f.script, 'e', data, sizeof data);
		toy_add_response(&want, 'e', data, sizeof data);
	}
	f.reading = false;
	session_send_all(&f);
	session_run_until(&f, session_stands_still);
	given = f.toy.commands;
	session_run_turns(&f, 20);
	assert_int_equal(f.toy.commands, given);
	assert_in_range(given, 1, COMMANDS / 2);
	f.reading = true;
	session_run_to_got(&f, want.n);
	session_assert_got(&f, &want);
	session_teardown(&f);
}

static void test_who_does_not_read_is_cut(void **state)
{
	struct fixture f;
	struct buf want;
	uint64_t before = clock_mono_us();

	(void)state;
	session_setup(&f);
	f.limits.idle_us = 50 * MS;
	buf_init(&want, 0);
	toy_add_long(&f.script, &want, 8 << 20);
	f.reading = false;
	session_send_all(&f);
	session_run_until(&f, session_is_over);
	assert_true(clock_mono_us() - before >= 50 * MS);
	assert_int_equal(f.toy.closed, 1);
	buf_free(&want);
	session_teardown(&f);
}

/*
 * Slower than idle_us even for what makes the stream say that there is room
 * again (128 KiB): that it gets on is seen on the wire alone.
 */
static void test_a_slow_reader_is_not_cut(void **state)
{
	uint8_t octets[4096];
	struct fixture f;
	struct buf want;
	ssize_t r;

	(void)state;
	session_setup_loop(&f);
	f.limits.idle_us = 300 * MS;
	f.socket_octets = 16384;
	assert_int_equal(session_start(&f), 0);
	buf_init(&want, 0);
	toy_add_long(&f.script, &want, 1 << 20);
	f.reading = false;
	session_send_all(&f);
	while (f.got.n < 300000 && f.ended == 0) {
		session_run_for(&f, 15 * MS); /* 128 KiB in 480 ms */
		r = recv(f.fd, octets, sizeof octets, MSG_DONTWAIT);
		if (r > 0)
			assert_int_equal(buf_add(&f.got, octets, (size_t)r), 0);
	}
	assert_int_equal(f.ended, 0);
	f.reading = true;
	session_run_to_got(&f, want.n);
	f.got.n = want.n; /* what comes after may be a commandTimeout */
	session_assert_got(&f, &want);
	session_teardown(&f);
}

/* After much input and output, a session that has nothing to do holds little. */
static void test_an_idle_session_holds_little(void **state)
{
	struct fixture f;
	struct buf want;
	size_t before, after;

	(void)state;
	session_setup(&f);
	buf_init(&want, 0);
	session_command(&f, 'e', "");
	session_run_to_got(&f, 6);
	session_run_turns(&f, 5);
	buf_free(&f.got);
	buf_free(&f.script);
	f.sent = f.send_until = 0;
	before = mallinfo2().uordblks; /* with the sanitizers always 0 */
	toy_add_stream(&f.script, &want, 'W', 90000);
	toy_add_stream(&f.script, &want, 's', 1 << 20);
	toy_add_long(&f.script, &want, 1 << 20);
	session_send_all(&f);
	session_run_to_got(&f, want.n);
	session_run_turns(&f, 5);
	session_assert_got(&f, &want);
	buf_free(&f.got);
	buf_free(&f.script);
	after = mallinfo2().uordblks;
	assert_in_range(after, 0, before + 256);
	session_teardown(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pipelining_keeps_order),
		cmocka_unit_test(test_split_at_every_octet),
		cmocka_unit_test(test_answers_leave_together),
		cmocka_unit_test(test_octet_by_octet),
		cmocka_unit_test(test_bad_frames),
		cmocka_unit_test(test_error_text_is_cut_between_characters),
		cmocka_unit_test(test_open_fails),
		cmocka_unit_test(test_fairness),
		cmocka_unit_test(test_streamed_bodies),
		cmocka_unit_test(test_hold_holds_the_peer_back),
		cmocka_unit_test(test_refused_bodies_are_discarded),
		cmocka_unit_test(test_output_waits_for_the_reader),
		cmocka_unit_test(test_commands_wait_for_the_reader),
		cmocka_unit_test(test_who_does_not_read_is_cut),
		cmocka_unit_test(test_a_slow_reader_is_not_cut),
		cmocka_unit_test(test_an_idle_session_holds_little),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
