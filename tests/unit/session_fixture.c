/* A server session with the toy protocol over a socket pair, and its peer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "session_fixture.h"

#define WATCHDOG_TURNS 60000 /* of 1 ms at least: a test that hangs fails */

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
	    (f->until_us > 0 && clock_mono_us() >= f->until_us) ||
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

void session_setup_loop(struct fixture *f)
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

int session_start(struct fixture *f)
{
	struct stream *stream;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	if (f->socket_octets > 0)
		setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &f->socket_octets,
		           sizeof f->socket_octets);
	assert_int_equal(stream_plain_create(f->loop, pair[0], &stream), 0);
	f->fd = pair[1];
	return server_start(f->loop, stream, &toy_protocol, &f->limits, &f->toy, on_ended, f,
	                    &f->session);
}

void session_setup(struct fixture *f)
{
	session_setup_loop(f);
	assert_int_equal(session_start(f), 0);
}

void session_teardown(struct fixture *f)
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

void session_run(struct fixture *f)
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
	f->until_us = 0;
	f->until_eof = false;
	f->until = NULL;
}

void session_run_turns(struct fixture *f, unsigned n)
{
	f->until_turns = n;
	session_run(f);
}

void session_run_for(struct fixture *f, uint64_t us)
{
	f->until_us = clock_mono_us() + us;
	f->until_turns = UINT_MAX; /* a peer that tries to send makes many */
	session_run(f);
}

void session_run_to_eof(struct fixture *f)
{
	f->until_eof = true;
	session_run(f);
}

void session_run_to_got(struct fixture *f, size_t n)
{
	f->until_got = n;
	if (f->got.n < n)
		session_run(f);
	f->until_got = 0;
}

/* Runs until CHECK holds. */
void session_run_until(struct fixture *f, bool (*check)(struct fixture *f))
{
	f->until = check;
	session_run(f);
}

void session_send_all(struct fixture *f)
{
	f->send_until = f->script.n;
}

void session_command(struct fixture *f, char letter, const char *data)
{
	toy_add_command(&f->script, letter, data, strlen(data));
	session_send_all(f);
}

void session_assert_got(struct fixture *f, struct buf *expect)
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

/* Nothing has moved for a while. */
bool session_stands_still(struct fixture *f)
{
	uint64_t moved = f->sent + f->toy.commands + f->toy.written;

	f->same = moved == f->moved ? f->same + 1 : 0;
	f->moved = moved;
	return f->same > 200 && moved > 0;
}

bool session_is_over(struct fixture *f)
{
	return f->ended > 0;
}

bool session_has_command(struct fixture *f)
{
	return f->toy.commands > 0;
}
