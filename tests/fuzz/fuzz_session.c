/*
 * A whole server session over a socket pair. The input's first octet says how
 * the rest is cut into pieces, one a turn of the loop, and whether the peer reads
 * all the time or only at the end. The handlers are the unit tests' toy.
 *
 * Whatever comes: the session ends with its peer, the handler is closed once,
 * and what was said is whole responses, at most one for each command and one of
 * the session's own.
 */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* No library of its own for one user more. */
#include "tests/unit/session_toy.c"

#define PATIENCE 64 /* turns for a session to end by itself once its peer has */
#define MINUTE_US 60000000ULL

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct peer {
	struct loop *loop;
	struct loop_hook hook;
	struct server_session *session; /* NULL: ended */
	int fd;
	const uint8_t *data;
	size_t n, sent, piece;
	bool reads_late, shut;
	unsigned stuck; /* turns in which nothing was taken */
	unsigned idle;  /* turns since the peer shut its side */
	struct buf got;
	struct toy toy;
};

static void check(bool holds)
{
	if (!holds)
		abort();
}

static void read_all(struct peer *p)
{
	uint8_t octets[8192];
	ssize_t r;

	while ((r = recv(p->fd, octets, sizeof octets, MSG_DONTWAIT)) > 0)
		check(buf_add(&p->got, octets, (size_t)r) == 0);
}

static void on_turn_end(struct loop_hook *hook)
{
	struct peer *p = (struct peer *)(void *)((char *)hook - offsetof(struct peer, hook));
	size_t n = p->n - p->sent;
	ssize_t r;

	if (n > p->piece)
		n = p->piece;
	if (n > 0) {
		r = send(p->fd, p->data + p->sent, n, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (r > 0)
			p->sent += (size_t)r;
		p->stuck = r > 0 ? 0 : p->stuck + 1;
	}
	/* All is sent, or nothing more is taken: a handler that never answers holds its peer back. */
	if (n == 0 || p->stuck > PATIENCE || p->idle > 0) {
		if (!p->shut)
			shutdown(p->fd, SHUT_WR);
		p->shut = true;
		p->idle++;
	}
	if (!p->reads_late || p->idle > PATIENCE / 2)
		read_all(p);
	/* A handler that never answers, or waits to be released. */
	if (p->idle == PATIENCE / 2)
		toy_release(&p->toy);
	if (p->idle == PATIENCE && p->session != NULL)
		server_kill(p->session);
	if (p->session == NULL)
		loop_stop(p->loop);
	else
		loop_again(p->loop);
}

static void on_ended(void *ctx, struct server_session *s)
{
	struct peer *p = ctx;

	check(p->session == s);
	p->session = NULL;
}

static void check_answers(const struct peer *p)
{
	struct span left = buf_view(&p->got);
	unsigned answers = 0;

	while (left.n >= FRAME_PREFIX) {
		uint32_t n = frame_length(left.p);
		struct span body = span_after(left, FRAME_PREFIX);

		check(n > 0);
		check(body.n == 0 || body.p[0] == 0xa2);
		answers++;
		left = span_after(body, n);
	}
	check(answers <= p->toy.commands + 1);
	check(p->toy.opened == 1 && p->toy.closed == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct loop *loop;
	static const struct server_limits limits = {
		.command_octets = 64,
		.large_octets = 1024,
		.stream_octets = 16384,
		.idle_us = MINUTE_US,
		.first_us = MINUTE_US,
		.wait_us = MINUTE_US,
	};
	struct peer p = { .toy.hasty = true };
	struct stream *stream;
	int pair[2];

	if (size == 0)
		return 0;
	if (loop == NULL)
		check(loop_create(&loop) == 0);
	p.loop = loop;
	p.data = data + 1;
	p.n = size - 1;
	p.piece = (data[0] & 0x7f) == 0 ? SIZE_MAX : data[0] & 0x7f;
	p.reads_late = (data[0] & 0x80) != 0;
	p.hook = (struct loop_hook){ .run = on_turn_end, .rank = 20 };
	buf_init(&p.got, 0);
	check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
	p.fd = pair[1];
	check(stream_plain_create(loop, pair[0], &stream) == 0);
	check(server_start(loop, stream, &toy_protocol, &limits, &p.toy, on_ended, &p,
	                   &p.session) == 0);
	loop_hook_add(loop, &p.hook);
	while (p.session != NULL)
		loop_run(loop);
	loop_hook_remove(loop, &p.hook);
	check_answers(&p);
	close(p.fd);
	buf_free(&p.got);
	return 0;
}
