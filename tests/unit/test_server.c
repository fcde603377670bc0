/* The server's side of a session, over a socket pair, with the toy protocol. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "session/server.h"
#include "session_toy.h"
#include "wire/frame.h"

#define MS 1000ULL
#define WATCHDOG_TURNS 60000 /* of 1 ms at least: a test that hangs fails */

/*
 * A session and its peer. The peer is a bare socket, served at the end of each
 * turn of the loop: it sends at most CHUNK octets a turn up to SEND_UNTIL, and
 * reads while READING.
 */
struct fixture {
	struct loop *loop;
	struct loop_hook hook;
	struct loop_timer *tick;
	unsigned turns;
	struct server_limits limits;
	struct toy toy;
	struct server_session *session; /* NULL: ended */
	unsigned ended;
	int fd; /* the peer's end */
	struct buf script;
	size_t sent, send_until, chunk;
	bool reading, eof;
	struct buf got;
	/* run() ends when one of these holds. */
	bool until_eof;
	size_t until_got;
	unsigned until_turns;
	bool done;
	uint64_t moved; /* stands_still */
	unsigned same;
	bool (*until)(struct fixture *f);
};

static void peer_sends(struct fixture *f)
{
	size_t n = f->send_until - f->sent;
	ssize_t r;

	if (n > f->chunk)
		n = f->chunk;
	if (n == 0 || f->fd < 0)
		return;
	r = send(f->fd, buf_view(&f->script).p + f->sent, n, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (r > 0)
		f->sent += (size_t)r;
	else if (errno != EAGAIN)
		f->sent = f->send_until; /* the server has closed: the rest is not heard */
	loop_again(f->loop);
}

static void peer_reads(struct fixture *f)
{
	uint8_t octets[16384];
	ssize_t r;

	if (!f->reading || f->eof || f->fd < 0)
		return;
	while ((r = recv(f->fd, octets, sizeof octets, MSG_DONTWAIT)) > 0)
		assert_int_equal(buf_add(&f->got, octets, (size_t)r), 0);
	if (r == 0 || (errno != EAGAIN && errno != EINTR)) {
		f->eof = true;
		f->sent = f->send_until;
		shutdown(f->fd, SHUT_WR);
	}
}

static void on_turn_end(struct loop_hook *hook)
{
	struct fixture *f = (struct fixture *)(void *)((char *)hook - offsetof(struct fixture, hook));

	if (f->done)
		return;
	f->turns++;
	peer_sends(f);
	peer_reads(f);
	if ((f->until_eof && f->eof && f->ended > 0) || f->turns >= f->until_turns ||
	    (f->until_got > 0 && f->got.n >= f->until_got) ||
	    (f->until != NULL && f->until(f))) {
		f->done = true;
		loop_stop(f->loop);
	}
}

static void on_tick(void *ctx)
{
	struct fixture *f = ctx;

	loop_timer_start(f->tick, MS);
}

static void on_ended(void *ctx, struct server_session *s)
{
	struct fixture *f = ctx;
	struct stream_info info;

	assert_ptr_equal(s, f->session);
	stream_info(server_stream(s), &info); /* still answers */
	assert_int_equal(f->toy.closed, f->toy.opened);
	f->session = NULL;
	f->ended++;
}

static void setup_loop(struct fixture *f)
{
	*f = (struct fixture){ .chunk = SIZE_MAX, .reading = true, .fd = -1 };
	assert_int_equal(loop_create(&f->loop), 0);
	f->hook = (struct loop_hook){ .run = on_turn_end, .rank = 20 };
	loop_hook_add(f->loop, &f->hook);
	assert_int_equal(loop_timer_create(f->loop, on_tick, f, &f->tick), 0);
	loop_timer_start(f->tick, MS);
	server_limits_default(&f->limits);
	f->limits.command_octets = 64;
	f->limits.large_octets = 100000;
	f->limits.stream_octets = 8 << 20;
	buf_init(&f->script, 0);
	buf_init(&f->got, 0);
}

static int start_session(struct fixture *f)
{
	struct stream *stream;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(stream_plain_create(f->loop, pair[0], &stream), 0);
	f->fd = pair[1];
	return server_start(f->loop, stream, &toy_protocol, &f->limits, &f->toy, on_ended, f,
	                    &f->session);
}

static void setup(struct fixture *f)
{
	setup_loop(f);
	assert_int_equal(start_session(f), 0);
}

static void teardown(struct fixture *f)
{
	if (f->session != NULL)
		server_kill(f->session);
	assert_int_equal(f->toy.closed, f->toy.opened);
	if (f->fd >= 0)
		close(f->fd);
	buf_free(&f->script);
	buf_free(&f->got);
	loop_hook_remove(f->loop, &f->hook);
	loop_timer_free(f->tick);
	loop_free(f->loop);
}

static void run(struct fixture *f)
{
	bool watched = f->until_turns == 0;

	f->turns = 0;
	if (watched)
		f->until_turns = WATCHDOG_TURNS;
	/* A stop that was asked for in a turn before may end loop_run at once. */
	for (f->done = false; !f->done;)
		loop_run(f->loop);
	assert_true(!watched || f->turns < WATCHDOG_TURNS);
	f->until_turns = 0;
	f->until_got = 0;
	f->until_eof = false;
	f->until = NULL;
}

static void run_turns(struct fixture *f, unsigned n)
{
	f->until_turns = n;
	run(f);
}

static void run_to_eof(struct fixture *f)
{
	f->until_eof = true;
	run(f);
}

static void run_to_got(struct fixture *f, size_t n)
{
	f->until_got = n;
	if (f->got.n < n)
		run(f);
	f->until_got = 0;
}

/* Runs until CHECK holds. */
static void run_until(struct fixture *f, bool (*check)(struct fixture *f))
{
	f->until = check;
	run(f);
}

static void send_all(struct fixture *f)
{
	f->send_until = f->script.n;
}

static void command(struct fixture *f, char letter, const char *data)
{
	toy_add_command(&f->script, letter, data, strlen(data));
	send_all(f);
}

static void assert_got(struct fixture *f, struct buf *expect)
{
	struct span got = buf_view(&f->got);
	struct span want = buf_view(expect);
	size_t i;

	for (i = 0; i < got.n && i < want.n; i++)
		if (got.p[i] != want.p[i])
			fail_msg("octet %zu of the answers is %02x, not %02x", i, got.p[i], want.p[i]);
	assert_int_equal(got.n, want.n);
	buf_free(expect);
}

/* --- order and framing ------------------------------------------------------------------- */

static void test_pipelining_keeps_order(void **state)
{
	static const char letters[] = "eeleeeelge";
	struct fixture f;
	struct buf want;
	char text[24];
	unsigned i;

	(void)state;
	setup(&f);
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
	send_all(&f);
	run_to_got(&f, want.n);
	assert_got(&f, &want);
	assert_int_equal(f.toy.commands, 1000);
	teardown(&f);
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
		setup(&f);
		script_of_all(&f, &want);
		n = f.script.n;
		f.send_until = cut;
		run_turns(&f, 3);
		send_all(&f);
		run_to_eof(&f);
		assert_got(&f, &want);
		teardown(&f);
	}
	assert_true(n > 500);
}

static void test_octet_by_octet(void **state)
{
	struct fixture f;
	struct buf want;

	(void)state;
	setup(&f);
	script_of_all(&f, &want);
	f.chunk = 1;
	send_all(&f);
	run_to_eof(&f);
	assert_got(&f, &want);
	assert_int_equal(f.ended, 1);
	teardown(&f);
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
		setup(&f);
		buf_init(&want, 0);
		toy_add_command(&f.script, 'l', "x", 1);
		toy_add_response(&want, 'l', "x", 1);
		assert_int_equal(buf_add(&f.script, cases[i].octets, cases[i].n), 0);
		for (n = cases[i].data; n > 0; n -= n < sizeof zeros ? n : sizeof zeros)
			assert_int_equal(buf_add(&f.script, zeros, n < sizeof zeros ? n : sizeof zeros), 0);
		toy_add_error(&want, cases[i].status, true, cases[i].text);
		send_all(&f);
		run_to_eof(&f);
		assert_got(&f, &want);
		assert_int_equal(f.toy.commands, 1);
		teardown(&f);
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
	setup(&f);
	buf_init(&want, 0);
	memset(text, 'x', 399);
	text[399] = '\0';
	assert_int_equal(wire_error_response(WIRE_STATUS_TRY_LATER, false, span_str(text), true, 7,
	                                     frame, sizeof frame, &got), 0);
	assert_int_equal(buf_add(&want, got.p, got.n), 0);
	command(&f, 'x', "");
	run_to_got(&f, want.n);
	assert_got(&f, &want);
	assert_int_equal(f.ended, 0);
	teardown(&f);
}

static void test_open_fails(void **state)
{
	struct fixture f;

	(void)state;
	setup_loop(&f);
	f.toy.open_error = ERR_FULL;
	assert_int_equal(start_session(&f), ERR_FULL);
	f.session = NULL;
	while (!f.eof)
		run_turns(&f, 1);
	assert_int_equal(f.ended, 0);
	teardown(&f);
}

/* A session with much to do leaves room for another. */
static void test_fairness(void **state)
{
	struct fixture f, *busy = &f;
	struct fixture other;
	int pair[2];
	struct stream *stream;
	unsigned i;

	(void)state;
	setup(busy);
	other = (struct fixture){ .fd = -1 };
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(stream_plain_create(f.loop, pair[0], &stream), 0);
	assert_int_equal(server_start(f.loop, stream, &toy_protocol, &f.limits, &other.toy, on_ended,
	                              &other, &other.session), 0);
	for (i = 0; i < 2000; i++)
		toy_add_command(&f.script, 'e', "", 0);
	toy_add_command(&other.script, 'e', "", 0);
	assert_int_equal(send(f.fd, f.script.p, f.script.n, 0), (ssize_t)f.script.n);
	assert_int_equal(send(pair[1], other.script.p, other.script.n, 0), (ssize_t)other.script.n);
	while (other.toy.commands == 0)
		run_turns(&f, 1);
	assert_in_range(f.toy.commands, 0, 64 * 8);
	while (f.toy.commands < 2000)
		run_turns(&f, 1);
	server_kill(other.session);
	close(pair[1]);
	buf_free(&other.script);
	teardown(&f);
}

/* --- streamed bodies --------------------------------------------------------------------- */

static void test_streamed_bodies(void **state)
{
	static const char letters[] = "shsb";
	struct fixture f;
	struct buf want;
	size_t i;

	(void)state;
	setup(&f);
	buf_init(&want, 0);
	for (i = 0; i < 4; i++)
		toy_add_stream(&f.script, &want, letters[i], i == 1 ? 400000 : (2 << 20) + i);
	/* The head may be the whole body. */
	toy_add_stream(&f.script, &want, 's', 63);
	send_all(&f);
	run_to_got(&f, want.n);
	assert_got(&f, &want);
	teardown(&f);
}

/* Nothing has moved for a while. */
static bool stands_still(struct fixture *f)
{
	uint64_t moved = f->sent + f->toy.commands + f->toy.written;

	f->same = moved == f->moved ? f->same + 1 : 0;
	f->moved = moved;
	return f->same > 200 && moved > 0;
}

static void test_hold_holds_the_peer_back(void **state)
{
	struct fixture f;
	struct buf want;

	(void)state;
	setup(&f);
	f.limits.idle_us = 20 * MS; /* of its own holding the server is not to complain */
	buf_init(&want, 0);
	toy_add_stream(&f.script, &want, 'H', 4 << 20);
	send_all(&f);
	run_until(&f, stands_still);
	run_turns(&f, 60);
	assert_in_range(f.sent, 64, 1 << 20);
	assert_int_equal(f.toy.streamed, 0);
	toy_release(&f.toy);
	run_to_got(&f, want.n);
	assert_got(&f, &want);
	teardown(&f);
}

/* A submission refused with its data on the way: thrown away, answered, and the session goes on. */
static void test_refused_bodies_are_discarded(void **state)
{
	struct fixture f;
	struct buf want, none;
	int i;

	(void)state;
	setup(&f);
	buf_init(&want, 0);
	buf_init(&none, 0);
	for (i = 0; i < 3; i++) {
		toy_add_stream(&f.script, &none, 'r', 3 << 20);
		toy_add_error(&want, WIRE_STATUS_UNEXPECTED_COMMAND, false, NULL);
	}
	toy_add_command(&f.script, 'e', "on", 2);
	toy_add_response(&want, 'e', "on", 2);
	send_all(&f);
	run_to_got(&f, want.n);
	assert_got(&f, &want);
	assert_int_equal(f.toy.streamed, 0);
	buf_free(&none);
	teardown(&f);
}

/* --- slow readers ------------------------------------------------------------------------ */

static void test_output_waits_for_the_reader(void **state)
{
	struct fixture f;
	struct buf want;

	(void)state;
	setup(&f);
	buf_init(&want, 0);
	toy_add_long(&f.script, &want, 8 << 20);
	toy_add_command(&f.script, 'e', "next", 4);
	toy_add_response(&want, 'e', "next", 4);
	f.reading = false;
	send_all(&f);
	run_until(&f, stands_still);
	assert_in_range(f.toy.written, 1, 2 << 20);
	assert_int_equal(f.toy.commands, 1);
	f.reading = true;
	run_to_got(&f, want.n);
	assert_got(&f, &want);
	teardown(&f);
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
	setup(&f);
	buf_init(&want, 0);
	memset(data, 'd', sizeof data);
	for (i = 0; i < COMMANDS; i++) {
		toy_add_command(&f.script, 'e', data, sizeof data);
		toy_add_response(&want, 'e', data, sizeof data);
	}
	f.reading = false;
	send_all(&f);
	run_until(&f, stands_still);
	given = f.toy.commands;
	run_turns(&f, 20);
	assert_int_equal(f.toy.commands, given);
	assert_in_range(given, 1, COMMANDS / 2);
	f.reading = true;
	run_to_got(&f, want.n);
	assert_got(&f, &want);
	teardown(&f);
}

static bool is_over(struct fixture *f)
{
	return f->ended > 0;
}

static void test_who_does_not_read_is_cut(void **state)
{
	struct fixture f;
	struct buf want;
	uint64_t before = clock_mono_us();

	(void)state;
	setup(&f);
	f.limits.idle_us = 50 * MS;
	buf_init(&want, 0);
	toy_add_long(&f.script, &want, 8 << 20);
	f.reading = false;
	send_all(&f);
	run_until(&f, is_over);
	assert_true(clock_mono_us() - before >= 50 * MS);
	assert_int_equal(f.toy.closed, 1);
	buf_free(&want);
	teardown(&f);
}

static bool read_slowly(struct fixture *f)
{
	uint8_t octets[8000];
	ssize_t r = recv(f->fd, octets, sizeof octets, MSG_DONTWAIT);

	if (r > 0)
		assert_int_equal(buf_add(&f->got, octets, (size_t)r), 0);
	return f->ended > 0 || f->got.n >= (3 << 20);
}

/* Slower than idle_us in all, but always getting on. */
static void test_a_slow_reader_is_not_cut(void **state)
{
	struct fixture f;
	struct buf want;

	(void)state;
	setup(&f);
	f.limits.idle_us = 100 * MS;
	buf_init(&want, 0);
	toy_add_long(&f.script, &want, 3 << 20);
	f.reading = false;
	send_all(&f);
	run_until(&f, read_slowly);
	assert_int_equal(f.ended, 0);
	f.reading = true;
	run_to_got(&f, want.n);
	f.got.n = want.n; /* what comes after may be a commandTimeout */
	assert_got(&f, &want);
	teardown(&f);
}

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
		setup_loop(&f);
		f.limits.first_us = cases[i].first_ms * MS;
		f.limits.idle_us = cases[i].idle_ms * MS;
		assert_int_equal(start_session(&f), 0);
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
		run_to_eof(&f);
		assert_true(clock_mono_us() - began >= cases[i].least_ms * MS);
		assert_got(&f, &want);
		buf_free(&none);
		teardown(&f);
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
		setup_loop(&f);
		f.limits.first_us = later ? 60000 * MS : 100 * MS;
		f.limits.idle_us = later ? 100 * MS : 60000 * MS;
		assert_int_equal(start_session(&f), 0);
		buf_init(&want, 0);
		buf_init(&none, 0);
		if (later) {
			command(&f, 'e', "");
			toy_add_response(&want, 'e', "", 0);
			run_to_got(&f, want.n);
		}
		toy_add_stream(&f.script, &none, 'W', 50000);
		toy_add_error(&want, WIRE_STATUS_COMMAND_TIMEOUT, true, "no command in time");
		while (f.ended == 0) {
			if (f.send_until < f.script.n && !f.eof)
				f.send_until++;
			run_turns(&f, 10);
		}
		assert_true(f.sent < f.script.n || f.eof);
		assert_got(&f, &want);
		buf_free(&none);
		teardown(&f);
	}
}

/* While the handler works, nobody is idle. */
static void test_a_slow_handler_is_not_the_peers_fault(void **state)
{
	struct fixture f;
	struct buf want;

	(void)state;
	setup(&f);
	f.limits.idle_us = f.limits.first_us = 1; /* 'l' takes 3 ms */
	buf_init(&want, 0);
	command(&f, 'l', "slow");
	toy_add_response(&want, 'l', "slow", 4);
	toy_add_error(&want, WIRE_STATUS_COMMAND_TIMEOUT, true, "no command in time");
	f.limits.first_us = 60000 * MS;
	run_to_eof(&f);
	assert_got(&f, &want);
	teardown(&f);
}

/* --- waiting ----------------------------------------------------------------------------- */

static bool has_command(struct fixture *f)
{
	return f->toy.commands > 0;
}

static void start_wait(struct fixture *f, struct buf *want)
{
	setup(f);
	f->limits.idle_us = 20 * MS; /* waiting is not idling */
	buf_init(want, 0);
	command(f, 'w', "");
	run_until(f, has_command);
	f->limits.idle_us = 60000 * MS;
	run_turns(f, 40);
	assert_int_equal(f->got.n, 0);
	toy_add_response(want, 'w', "woken", 5);
}

static void test_wait_ends_with_the_next_command(void **state)
{
	struct fixture f;
	struct buf want;

	(void)state;
	start_wait(&f, &want);
	command(&f, 'e', "next");
	toy_add_response(&want, 'e', "next", 4);
	run_to_got(&f, want.n);
	assert_got(&f, &want);
	teardown(&f);
}

static void test_wait_ends_at_once_for_a_pipelined_command(void **state)
{
	struct fixture f;
	struct buf want;

	(void)state;
	setup(&f);
	buf_init(&want, 0);
	command(&f, 'w', "");
	command(&f, 'w', "");
	command(&f, 'e', "");
	toy_add_response(&want, 'w', "woken", 5);
	toy_add_response(&want, 'w', "woken", 5);
	toy_add_response(&want, 'e', "", 0);
	run_to_got(&f, want.n);
	assert_got(&f, &want);
	teardown(&f);
}

static void test_wait_ends_with_its_time(void **state)
{
	struct fixture f;
	struct buf want;

	(void)state;
	setup(&f);
	f.limits.wait_us = 30 * MS;
	buf_init(&want, 0);
	command(&f, 'w', "");
	toy_add_response(&want, 'w', "woken", 5);
	run_to_got(&f, want.n);
	assert_got(&f, &want);
	assert_int_equal(f.ended, 0);
	teardown(&f);
}

static void test_wait_ends_with_the_peer(void **state)
{
	struct fixture f;
	struct buf want;

	(void)state;
	start_wait(&f, &want);
	shutdown(f.fd, SHUT_WR);
	run_to_eof(&f);
	assert_got(&f, &want);
	teardown(&f);
}

static void test_wait_ends_with_a_shutdown(void **state)
{
	struct fixture f;
	struct buf want;

	(void)state;
	start_wait(&f, &want);
	server_shutdown(f.session);
	run_to_eof(&f);
	assert_got(&f, &want);
	teardown(&f);
}

/* --- shutting down ----------------------------------------------------------------------- */

static void test_shutdown_of_an_idle_session(void **state)
{
	struct fixture f;

	(void)state;
	setup(&f);
	server_shutdown(f.session);
	run_to_eof(&f);
	assert_int_equal(f.got.n, 0);
	teardown(&f);
}

static void test_shutdown_finishes_the_command_in_hand(void **state)
{
	static const char *const letters[] = { "l", "le", "lle" };
	struct fixture f;
	struct buf want;
	size_t i, k;

	(void)state;
	for (i = 0; i < 3; i++) {
		setup(&f);
		buf_init(&want, 0);
		for (k = 0; letters[i][k] != '\0'; k++)
			command(&f, letters[i][k], "");
		toy_add_response(&want, 'l', "", 0);
		if (i > 0)
			toy_add_error(&want, WIRE_STATUS_SERVICE_SHUTDOWN, true, "shutting down");
		run_until(&f, has_command);
		server_shutdown(f.session);
		run_to_eof(&f);
		assert_got(&f, &want);
		assert_int_equal(f.toy.commands, 1);
		teardown(&f);
	}
}

static void test_shutdown_in_a_streamed_body(void **state)
{
	struct fixture f;
	struct buf want;

	(void)state;
	setup(&f);
	buf_init(&want, 0);
	toy_add_stream(&f.script, &want, 's', 1000);
	f.send_until = 500;
	run_until(&f, has_command);
	server_shutdown(f.session);
	run_turns(&f, 5);
	send_all(&f);
	run_to_eof(&f);
	assert_got(&f, &want);
	teardown(&f);
}

static void test_shutdown_in_half_a_frame(void **state)
{
	struct fixture f;
	struct buf want;

	(void)state;
	setup(&f);
	buf_init(&want, 0);
	command(&f, 'e', "late");
	toy_add_error(&want, WIRE_STATUS_SERVICE_SHUTDOWN, true, "shutting down");
	f.send_until = 3;
	run_turns(&f, 5);
	server_shutdown(f.session);
	run_turns(&f, 5);
	assert_int_equal(f.ended, 0);
	send_all(&f);
	run_to_eof(&f);
	assert_got(&f, &want);
	assert_int_equal(f.toy.commands, 0);
	teardown(&f);
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
	setup(f);
	buf_init(&none, 0);
	f->reading = states[i].reading;
	if (states[i].letter == NULL)
		;
	else if (states[i].letter[0] == 'g')
		toy_add_long(&f->script, &none, 8 << 20);
	else
		toy_add_stream(&f->script, &none, states[i].letter[0], states[i].n);
	f->send_until = states[i].cut;
	run_turns(f, 4);
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
		run_turns(&f, 3);
		assert_int_equal(f.ended, 1);
		teardown(&f);
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
				f.until = is_over;
			if (half) {
				shutdown(f.fd, SHUT_WR);
				f.reading = true;
			} else {
				close(f.fd);
				f.fd = -1;
			}
			run(&f);
			teardown(&f);
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
		setup(&f);
		buf_init(&none, 0);
		f.toy.kill_on_wake = cases[i].on_wake;
		f.toy.kill_on_writable = cases[i].on_writable;
		if (cases[i].letter == 'g')
			toy_add_long(&f.script, &none, 8 << 20);
		else
			toy_add_stream(&f.script, &none, cases[i].letter, cases[i].n);
		toy_add_command(&f.script, 'e', "", 0);
		send_all(&f);
		run_until(&f, is_over);
		assert_int_equal(f.toy.commands, 1);
		assert_int_equal(f.toy.closed, 1);
		buf_free(&none);
		teardown(&f);
	}
}

/* A cut session says nothing more, whatever was pipelined. */
static void test_abort(void **state)
{
	struct fixture f;
	struct buf want;

	(void)state;
	setup(&f);
	buf_init(&want, 0);
	command(&f, 'a', "");
	command(&f, 'e', "");
	run_to_eof(&f);
	assert_got(&f, &want);
	assert_int_equal(f.toy.commands, 1);
	teardown(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pipelining_keeps_order),
		cmocka_unit_test(test_split_at_every_octet),
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
		cmocka_unit_test(test_time_outs),
		cmocka_unit_test(test_trickling_is_idling),
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
