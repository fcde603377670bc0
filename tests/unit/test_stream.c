/* Plain streams: the order of events, buffering, holding back, half close, failing. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/buf.h"
#include "net/stream.h"

static struct loop *l;
static bool inside; /* a call on a stream is under way: no handler may be called */

/* One end: remembers what its handler was told, and acts as the test says. */
struct end {
	struct stream *s;
	char trace[64];    /* o r w c; repeats are noted once */
	struct buf got;
	bool ended;
	int error;
	char why[128];
	size_t to_send, sent; /* octets of the pattern, sent as room comes */
	size_t taken_in_turn;
	bool finish_when_sent, finish_at_end;
	char free_in;      /* frees the stream in this callback */
	bool stop_at_end, stop_when_closed;
	size_t stop_at_octets;
};

static int setup(void **state)
{
	(void)state;
	return loop_create(&l);
}

static int teardown(void **state)
{
	(void)state;
	loop_free(l);
	return 0;
}

static void note(struct end *e, char c)
{
	size_t n = strlen(e->trace);

	assert_false(inside);
	assert_non_null(e->s); /* nothing comes after stream_free */
	if (n > 0 && e->trace[n - 1] == c)
		return;
	assert_true(n + 1 < sizeof e->trace);
	e->trace[n] = c;
	e->trace[n + 1] = '\0';
}

static bool freed_in(struct end *e, char c)
{
	if (e->free_in != c)
		return false;
	stream_free(e->s);
	e->s = NULL;
	return true;
}

static uint8_t pattern(size_t at)
{
	return (uint8_t)(at * 31 + (at >> 8) * 7 + (at >> 16));
}

static void send_more(struct end *e)
{
	while (e->sent < e->to_send) {
		uint8_t octets[5000];
		size_t n = e->to_send - e->sent < sizeof octets ? e->to_send - e->sent : sizeof octets;
		size_t room = stream_room(e->s);
		ssize_t took;

		for (size_t i = 0; i < n; i++)
			octets[i] = pattern(e->sent + i);
		inside = true;
		took = stream_write(e->s, octets, n);
		inside = false;
		if (took == ERR_AGAIN) {
			assert_int_equal(room, 0);
			return;
		}
		if (took < 0)
			return;
		assert_int_equal(took, room < n ? room : n);
		e->sent += (size_t)took;
	}
	if (e->finish_when_sent)
		stream_finish(e->s);
}

static void on_opened(void *ctx)
{
	struct end *e = ctx;

	assert_string_equal(e->trace, "");
	note(e, 'o');
	if (!freed_in(e, 'o'))
		send_more(e);
}

static void on_readable(void *ctx)
{
	struct end *e = ctx;
	uint8_t octets[10000];
	ssize_t n;

	note(e, 'r');
	if (freed_in(e, 'r'))
		return;
	for (int i = 0; i < 20; i++) { /* bounded, so that others have a turn */
		inside = true;
		n = stream_read(e->s, octets, sizeof octets);
		inside = false;
		if (n <= 0)
			break;
		assert_int_equal(buf_add(&e->got, octets, (size_t)n), 0);
	}
	if (n == 0) {
		assert_false(e->ended);
		e->ended = true;
		if (e->finish_at_end)
			stream_finish(e->s);
		if (e->stop_at_end)
			loop_stop(l);
	}
	if (e->stop_at_octets > 0 && e->got.n >= e->stop_at_octets)
		loop_stop(l);
}

static void on_writable(void *ctx)
{
	struct end *e = ctx;

	note(e, 'w');
	if (!freed_in(e, 'w'))
		send_more(e);
}

static void on_closed(void *ctx, int error, const char *why)
{
	struct end *e = ctx;

	note(e, 'c');
	e->error = error;
	snprintf(e->why, sizeof e->why, "%s", why);
	if (e->stop_when_closed)
		loop_stop(l);
	freed_in(e, 'c');
}

static const struct stream_handler handler = {
	.opened = on_opened,
	.readable = on_readable,
	.writable = on_writable,
	.closed = on_closed,
};

static void start(struct end *e, int fd)
{
	inside = true;
	assert_int_equal(stream_plain_create(l, fd, &e->s), 0);
	stream_set_handler(e->s, &handler, e);
	inside = false;
}

static void end_free(struct end *e)
{
	stream_free(e->s);
	e->s = NULL;
	buf_free(&e->got);
}

/* A connected TCP pair over loopback: [0] connected, [1] accepted. */
static void tcp_pair(int fd[2])
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof a;
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(listener, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&a, &n), 0);
	fd[0] = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(fd[0], (struct sockaddr *)&a, sizeof a), 0);
	fd[1] = accept(listener, NULL, NULL);
	assert_true(fd[1] >= 0);
	close(listener);
}

static void unix_pair(int fd[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
}

static void check_got(const struct end *e, size_t n)
{
	struct span got = buf_view(&e->got);

	assert_int_equal(got.n, n);
	for (size_t i = 0; i < n; i++)
		if (got.p[i] != pattern(i))
			fail_msg("octet %zu is wrong", i);
}

/* Lets the loop run until nothing happens for MS milliseconds. */
static void stop_loop(void *ctx)
{
	(void)ctx;
	loop_stop(l);
}

static void run_for(unsigned ms)
{
	struct loop_timer *t;

	assert_int_equal(loop_timer_create(l, stop_loop, NULL, &t), 0);
	loop_timer_start(t, ms * 1000ULL);
	loop_run(l);
	loop_timer_free(t);
}

/* --- data -------------------------------------------------------------------------------- */

/* Both ways at once, finished in order by both, of sizes around the limits. */
static void test_both_ways(void **state)
{
	static const size_t sizes[] = { 0, 1, 65535, 65536, 262144, 262145, 3000000 };

	(void)state;
	for (size_t i = 0; i < 2 * (sizeof sizes / sizeof sizes[0]); i++) {
		size_t n = sizes[i / 2];
		struct end a = { .to_send = n, .finish_when_sent = true };
		struct end b = { .to_send = n / 2, .finish_at_end = true, .stop_when_closed = true };
		int fd[2];
		struct stream_info info;

		if (i % 2 == 0)
			tcp_pair(fd);
		else
			unix_pair(fd);
		start(&a, fd[0]);
		start(&b, fd[1]);
		send_more(&b); /* before `opened`: kept */
		loop_run(l);
		if (a.error != 0 || strchr(a.trace, 'c') == NULL)
			run_for(100);
		check_got(&b, n);
		/* A finished first: what comes after that is nobody's; but what B finished with is 0. */
		assert_int_equal(a.error, 0);
		assert_int_equal(b.error, 0);
		assert_true(b.ended);
		assert_int_equal(a.trace[0], 'o');
		assert_int_equal(b.trace[0], 'o');
		assert_int_equal(b.trace[strlen(b.trace) - 1], 'c');
		stream_info(b.s, &info);
		assert_int_equal(info.octets_in, n);
		end_free(&a);
		end_free(&b);
	}
}

/* The peer ends its side first; the answer still goes to it, whole. */
static void test_half_close(void **state)
{
	struct end a = { .to_send = 0 };
	struct end b = { .stop_at_end = true };
	int fd[2];

	(void)state;
	tcp_pair(fd);
	assert_int_equal(send(fd[0], "ask", 3, 0), 3);
	shutdown(fd[0], SHUT_WR);
	start(&b, fd[1]);
	loop_run(l);
	assert_true(b.ended);
	assert_true(span_eq_str(buf_view(&b.got), "ask"));
	b.to_send = 100000;
	b.finish_when_sent = true;
	b.stop_when_closed = true;
	send_more(&b);
	start(&a, fd[0]);
	loop_run(l);
	run_for(50);
	check_got(&a, 100000);
	assert_int_equal(b.error, 0);
	assert_string_equal(b.trace, "orc");
	assert_true(a.ended);
	end_free(&a);
	end_free(&b);
}

/* Seqpacket sockets show what left in one system call. */
static void test_one_send_a_turn(void **state)
{
	struct end a = { .to_send = 0 };
	char octets[4096];
	int fd[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fd), 0);
	start(&a, fd[0]);
	run_for(5);
	for (int i = 0; i < 100; i++)
		assert_int_equal(stream_write(a.s, "0123456789", 10), 10);
	assert_int_equal(recv(fd[1], octets, sizeof octets, 0), -1);
	run_for(5);
	assert_int_equal(recv(fd[1], octets, sizeof octets, 0), 1000);
	assert_int_equal(recv(fd[1], octets, sizeof octets, 0), -1);
	end_free(&a);
	close(fd[1]);
}

/* What is held leaves with what comes after it; much of it, or the end, leaves at once. */
static void test_hold(void **state)
{
	struct end a = { .to_send = 0 };
	char octets[8192];
	int fd[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fd), 0);
	start(&a, fd[0]);
	run_for(5);
	assert_false(stream_hold(a.s, true));
	assert_int_equal(stream_write(a.s, "0123456789", 10), 10);
	assert_true(stream_hold(a.s, true));
	run_for(5);
	assert_int_equal(recv(fd[1], octets, sizeof octets, 0), -1);
	assert_int_equal(stream_write(a.s, "abcde", 5), 5);
	run_for(5);
	assert_int_equal(recv(fd[1], octets, sizeof octets, 0), -1);
	stream_hold(a.s, false);
	run_for(5);
	assert_int_equal(recv(fd[1], octets, sizeof octets, 0), 15);
	assert_memory_equal(octets, "0123456789abcde", 15);

	stream_hold(a.s, true);
	memset(octets, 'x', sizeof octets);
	assert_int_equal(stream_write(a.s, octets, 4000), 4000);
	run_for(5);
	assert_int_equal(recv(fd[1], octets, sizeof octets, 0), -1);
	assert_int_equal(stream_write(a.s, octets, 1000), 1000);
	run_for(5);
	assert_int_equal(recv(fd[1], octets, sizeof octets, 0), 5000);

	assert_int_equal(stream_write(a.s, "end", 3), 3);
	stream_finish(a.s);
	run_for(5);
	assert_int_equal(recv(fd[1], octets, sizeof octets, 0), 3);
	assert_int_equal(recv(fd[1], octets, sizeof octets, 0), 0);
	end_free(&a);
	close(fd[1]);
}

/* --- holding back ------------------------------------------------------------------------ */

static void test_writer_is_held_back(void **state)
{
	struct end a = { .to_send = 5000000 };
	struct end b = { .stop_at_octets = 5000000 };
	int fd[2];
	size_t held;

	(void)state;
	unix_pair(fd);
	start(&a, fd[0]);
	run_for(20);
	/* Nobody reads: the buffer and the socket's are full, no more was taken. */
	held = a.sent;
	assert_true(held >= 256 * 1024);
	assert_true(held < 2000000);
	assert_int_equal(stream_room(a.s), 0);
	run_for(20);
	assert_int_equal(a.sent, held);
	start(&b, fd[1]);
	loop_run(l);
	check_got(&b, 5000000);
	assert_true(stream_room(a.s) > 0);
	end_free(&a);
	end_free(&b);
}

static int turns;

static void count_turn(struct loop_hook *hook)
{
	(void)hook;
	turns++;
}

/* However fast its peer, one writer does not keep the loop for itself. */
static void test_writer_leaves_others_their_turn(void **state)
{
	struct loop_hook hook = { .run = count_turn };
	struct end a = { .to_send = 8 << 20 };
	struct end b = { .stop_at_octets = 8 << 20 };
	int fd[2];

	(void)state;
	unix_pair(fd);
	start(&a, fd[0]);
	start(&b, fd[1]);
	turns = 0;
	loop_hook_add(l, &hook);
	loop_run(l);
	loop_hook_remove(l, &hook);
	assert_true(turns >= 16);
	end_free(&a);
	end_free(&b);
}

static void test_reader_holds_back(void **state)
{
	struct end a = { .to_send = 3000000 };
	struct end b = { .stop_at_octets = 3000000 };
	int fd[2];

	(void)state;
	unix_pair(fd);
	start(&a, fd[0]);
	start(&b, fd[1]);
	stream_want_read(b.s, false);
	run_for(30);
	assert_string_equal(b.trace, "o");
	assert_true(a.sent < 3000000);
	stream_want_read(b.s, true);
	stream_want_read(b.s, false);
	run_for(10);
	assert_string_equal(b.trace, "o");
	stream_want_read(b.s, true);
	loop_run(l);
	check_got(&b, 3000000);
	end_free(&a);
	end_free(&b);
}

/* --- ends -------------------------------------------------------------------------------- */

static void test_refused(void **state)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof a;
	struct end e = { .to_send = 10, .stop_when_closed = true };
	int holder = socket(AF_INET, SOCK_STREAM, 0);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	(void)state;
	/* Bound and not listening: the port is nobody else's, and refuses. */
	assert_int_equal(bind(holder, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(getsockname(holder, (struct sockaddr *)&a, &n), 0);
	connect(fd, (struct sockaddr *)&a, sizeof a);
	start(&e, fd);
	loop_run(l);
	assert_string_equal(e.trace, "c");
	assert_int_equal(e.error, ERR_NO_SERVER);
	assert_string_equal(e.why, "connection refused");
	assert_int_equal(stream_read(e.s, &n, 1), ERR_CLOSED);
	assert_int_equal(stream_write(e.s, &n, 1), ERR_CLOSED);
	end_free(&e);
	close(holder);
}

/* What was written before the connection was there, and finish, both wait for it. */
static void test_write_and_finish_before_connected(void **state)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof a;
	struct end e = { .to_send = 70000, .finish_when_sent = true, .stop_when_closed = true };
	struct end peer = { .finish_at_end = true };
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	int accepted;

	(void)state;
	assert_int_equal(bind(listener, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&a, &n), 0);
	connect(fd, (struct sockaddr *)&a, sizeof a);
	start(&e, fd);
	send_more(&e);
	assert_int_equal(e.sent, 70000);
	e.to_send = 0;
	e.finish_when_sent = false;
	accepted = accept(listener, NULL, NULL);
	assert_true(accepted >= 0);
	start(&peer, accepted);
	loop_run(l);
	check_got(&peer, 70000);
	assert_true(peer.ended);
	assert_string_equal(e.trace, "oc");
	assert_int_equal(e.error, 0);
	end_free(&e);
	end_free(&peer);
	close(listener);
}

/* After a reset, what came before it is read, then `closed` tells. */
static void test_reset(void **state)
{
	struct linger hard = { .l_onoff = 1, .l_linger = 0 };

	(void)state;
	for (int writes = 0; writes < 2; writes++)
		for (int reads = 0; reads < 2; reads++) {
			struct end e = { .stop_when_closed = true };
			int fd[2];

			tcp_pair(fd);
			start(&e, fd[1]);
			run_for(2);
			stream_want_read(e.s, false);
			assert_int_equal(send(fd[0], "last words", 10, 0), 10);
			setsockopt(fd[0], SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
			close(fd[0]);
			stream_want_read(e.s, reads != 0);
			if (writes)
				assert_int_equal(stream_write(e.s, "x", 1), 1);
			loop_run(l);
			assert_int_equal(e.error, ERR_CLOSED);
			assert_string_equal(e.why, "connection reset by the peer");
			assert_int_equal(e.got.n, reads ? 10 : 0);
			end_free(&e);
		}
}

/*
 * A refusal must arrive though its receiver goes on sending: the finished
 * stream reads on until the peer has ended, so that no reset runs ahead.
 */
static void test_finish_while_the_peer_sends(void **state)
{
	struct end talker = { .to_send = 4000000, .finish_at_end = true };
	struct end refuser = { .stop_when_closed = true };
	int fd[2];

	(void)state;
	tcp_pair(fd);
	start(&talker, fd[0]);
	start(&refuser, fd[1]);
	stream_want_read(refuser.s, false);
	run_for(20);
	assert_int_equal(stream_write(refuser.s, "\0\37\76\135", 4), 4);
	stream_finish(refuser.s);
	assert_int_equal(stream_write(refuser.s, "x", 1), ERR_CLOSED);
	loop_run(l);
	check_got(&(struct end){ .got = talker.got }, 4);
	assert_true(talker.ended);
	assert_int_equal(refuser.error, 0);
	end_free(&talker);
	end_free(&refuser);
}

/* A peer that never ends its side does not keep a finished stream forever. */
static void test_finish_with_a_deaf_peer(void **state)
{
	struct end e = { .to_send = 5, .finish_when_sent = true, .stop_when_closed = true };
	int fd[2];

	(void)state;
	unix_pair(fd);
	start(&e, fd[0]);
	loop_run(l);
	assert_string_equal(e.trace, "oc");
	assert_int_equal(e.error, 0);
	end_free(&e);
	close(fd[1]);
}

/* Freed inside each of its callbacks: no other follows (the sanitizers look on). */
static void test_free_inside_callbacks(void **state)
{
	static const char where[] = "orwc";

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct end a = { .to_send = 2000000, .free_in = where[i] };
		struct end b = { .to_send = 10, .stop_at_octets = 1000000 };
		int fd[2];

		unix_pair(fd);
		start(&a, fd[0]);
		start(&b, fd[1]);
		if (where[i] == 'c') {
			a.to_send = 0;
			a.finish_at_end = true;
			b.finish_when_sent = true;
		}
		run_for(30);
		assert_null(a.s);
		assert_int_equal(a.trace[strlen(a.trace) - 1], where[i]);
		end_free(&a);
		end_free(&b);
	}
}

static void test_free_before_anything(void **state)
{
	struct end e = { .to_send = 1 };
	int fd[2];

	(void)state;
	unix_pair(fd);
	start(&e, fd[0]);
	send_more(&e);
	stream_free(e.s);
	e.s = NULL;
	run_for(5);
	assert_string_equal(e.trace, "");
	stream_free(NULL);
	close(fd[1]);
}

/* --- facts ------------------------------------------------------------------------------- */

static void test_info(void **state)
{
	struct end a = { .to_send = 7, .stop_at_octets = 3 };
	struct stream_info info;
	int fd[2];

	(void)state;
	unix_pair(fd);
	assert_int_equal(send(fd[1], "abc", 3, 0), 3);
	start(&a, fd[0]);
	loop_run(l);
	stream_info(a.s, &info);
	assert_true(info.local);
	assert_false(info.tls);
	assert_false(info.peer_verified);
	assert_int_equal(info.uid, getuid());
	assert_int_equal(info.octets_in, 3);
	assert_int_equal(info.octets_out, 7);
	assert_string_equal(info.alpn, "");
	assert_string_equal(info.server_name, "");
	assert_false(stream_peer_covers(a.s, "a.example"));
	end_free(&a);
	close(fd[1]);

	a = (struct end){ .stop_at_octets = 3 };
	tcp_pair(fd);
	assert_int_equal(send(fd[0], "abc", 3, 0), 3);
	start(&a, fd[1]);
	loop_run(l);
	stream_info(a.s, &info);
	assert_false(info.local);
	assert_true(info.uid == (uid_t)-1);
	assert_int_equal(info.peer.u.v4.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
	end_free(&a);
	close(fd[0]);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_both_ways),
		CASE(test_half_close),
		CASE(test_one_send_a_turn),
		CASE(test_hold),
		CASE(test_writer_is_held_back),
		CASE(test_writer_leaves_others_their_turn),
		CASE(test_reader_holds_back),
		CASE(test_refused),
		CASE(test_write_and_finish_before_connected),
		CASE(test_reset),
		CASE(test_finish_while_the_peer_sends),
		CASE(test_finish_with_a_deaf_peer),
		CASE(test_free_inside_callbacks),
		CASE(test_free_before_anything),
		CASE(test_info),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
