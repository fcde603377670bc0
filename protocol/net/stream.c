/*
 * The common part of all streams.
 *
 * A stream's memory is freed in libuv's close callback, which never comes from
 * inside other callbacks: so after any call of the handler, `freed` may be read.
 */
#include "net/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/stream_core.h"

#define SEND_EARLY ((size_t)64 * 1024)  /* this much output does not wait for the turn's end */
#define TURN_LIMIT ((size_t)512 * 1024) /* octets taken from one writer before others' turn */
#define HOLD_LIMIT ((size_t)4096)       /* of output that stream_hold keeps back */
#define FINISH_US (10 * 1000000ULL)     /* a finished stream without progress is dropped */
#define LINGER_US (2 * 1000000ULL)      /* for the peer's FIN after ours */

/* struct stream.due */
enum { DUE_OPENED = 1, DUE_READ = 2, DUE_WRITE = 4, DUE_CLOSED = 8 };

static void arm(struct stream *s);

/* --- failing ----------------------------------------------------------------------------- */

static void close_with(struct stream *s, int error)
{
	s->state = STREAM_CLOSED;
	s->error = error;
	buf_free(&s->out);
	arm(s);
	stream_hub_soon(s, DUE_CLOSED);
}

int stream_core_fail(struct stream *s, int error, const char *format, ...)
{
	struct err_text e = { 0 };
	va_list ap;

	if (s->state == STREAM_CLOSED)
		return error;
	va_start(ap, format);
	vsnprintf(e.text, sizeof e.text, format, ap);
	va_end(ap);
	s->why = strdup(e.text); /* without memory the error's phrase must do */
	if (s->state != STREAM_CONNECTING && s->out.n > 0 && !s->send_failed) {
		struct span out = buf_view(&s->out);
		ssize_t sent = send(s->fd, out.p, out.n, MSG_NOSIGNAL);

		if (sent > 0)
			s->octets_out += (uint64_t)sent;
	}
	close_with(s, error);
	return error;
}

int stream_core_fail_errno(struct stream *s, int number)
{
	switch (number) {
	case ECONNRESET:
	case EPIPE:
		return stream_core_fail(s, ERR_CLOSED, "connection reset by the peer");
	case ECONNREFUSED:
		return stream_core_fail(s, ERR_NO_SERVER, "connection refused");
	case ETIMEDOUT:
		return stream_core_fail(s, ERR_TIMEOUT, "the peer does not answer");
	case EHOSTUNREACH:
	case ENETUNREACH:
		return stream_core_fail(s, ERR_NO_SERVER, "network unreachable");
	default:
		return stream_core_fail(s, ERR_IO, "%s", strerrordesc_np(number));
	}
}

/* --- sending ----------------------------------------------------------------------------- */

static size_t out_room(const struct stream *s)
{
	size_t room = s->out.n >= STREAM_OUT_LIMIT ? 0 : STREAM_OUT_LIMIT - s->out.n;
	size_t turn = s->turn_octets >= TURN_LIMIT ? 0 : TURN_LIMIT - s->turn_octets;

	return room < turn ? room : turn;
}

static void start_linger(struct stream *s)
{
	shutdown(s->fd, SHUT_WR);
	if (s->ended || s->hung_up) {
		close_with(s, 0);
		return;
	}
	s->state = STREAM_LINGERING;
	loop_timer_start(s->linger, LINGER_US);
}

static void send_failed(struct stream *s, int number)
{
	s->send_failed = true;
	buf_free(&s->out);
	/* What the peer said before it went may still be there to read; reading then finds the end. */
	if (s->state == STREAM_OPEN && s->want_read && !s->ended) {
		s->hung_up = true;
		stream_hub_soon(s, DUE_READ);
		return;
	}
	stream_core_fail_errno(s, number);
}

/* Offers the output to the socket; says when a waiting writer has room again. */
static void send_out(struct stream *s)
{
	struct span out;
	ssize_t sent;

	if (s->state == STREAM_OPEN && !s->send_failed)
		s->ops->flush(s);
	if (s->state == STREAM_CONNECTING || s->state == STREAM_CLOSED)
		return;
	out = buf_view(&s->out);
	if (out.n > 0) {
		sent = send(s->fd, out.p, out.n, MSG_NOSIGNAL);
		if (sent < 0 && errno != EAGAIN && errno != EINTR) {
			send_failed(s, errno);
			return;
		}
		if (sent > 0) {
			buf_consume(&s->out, (size_t)sent);
			s->octets_out += (uint64_t)sent;
			if (s->state == STREAM_FINISHING)
				loop_timer_start(s->linger, FINISH_US);
		}
	}
	s->blocked = s->out.n > 0;
	if (s->state == STREAM_FINISHING) {
		if (!s->blocked)
			start_linger(s);
		return;
	}
	if (s->want_write && s->state == STREAM_OPEN && s->out.n <= STREAM_OUT_LIMIT / 2)
		stream_hub_soon(s, DUE_WRITE);
	if (s->state == STREAM_OPEN && !s->blocked && s->want_read && !s->ended && s->ops->pending(s))
		stream_hub_soon(s, DUE_READ);
}

/* Idle streams hold no buffer; one that a writer fills turn after turn keeps its memory. */
static void give_back(struct stream *s)
{
	if (!s->want_write)
		buf_shrink(&s->out);
}

/* Nothing of what is held has been offered to the socket, and nobody waits for room. */
static bool may_hold(const struct stream *s)
{
	return s->hold && s->state == STREAM_OPEN && !s->blocked && !s->want_write &&
	       s->out.n <= HOLD_LIMIT && s->turn_octets <= HOLD_LIMIT;
}

void stream_core_turn_end(struct stream *s)
{
	if (may_hold(s)) {
		arm(s);
		return;
	}
	s->turn_octets = 0;
	send_out(s);
	arm(s);
	give_back(s);
}

/* --- the socket -------------------------------------------------------------------------- */

ssize_t stream_core_recv(struct stream *s, void *p, size_t n)
{
	ssize_t got;

	/* Polling goes by level: what is left or comes will be told. After an error none is told. */
	if (s->dry && !s->hung_up)
		return -EAGAIN;
	do
		got = recv(s->fd, p, n, 0);
	while (got < 0 && errno == EINTR);
	s->dry = got < 0 ? errno == EAGAIN : (size_t)got < n;
	if (got < 0)
		return -errno;
	s->octets_in += (uint64_t)got;
	return got;
}

/* Input of a stream that nobody reads any more. */
static void discard(struct stream *s)
{
	uint8_t octets[4096];
	ssize_t got;
	int rounds = 16; /* then others have a turn */

	do
		got = stream_core_recv(s, octets, sizeof octets);
	while (got > 0 && --rounds > 0);
	if (got > 0 || got == -EAGAIN)
		return;
	s->ended = true;
	if (s->state == STREAM_LINGERING)
		close_with(s, 0);
	else if (got < 0)
		stream_core_fail_errno(s, (int)-got);
}

static int wanted_events(const struct stream *s)
{
	int events = 0;

	if (s->state == STREAM_CLOSED || s->hung_up)
		return 0;
	if (s->state == STREAM_CONNECTING)
		return UV_WRITABLE;
	/* Not wanting to read stops polling only when something comes: most often that is later. */
	if (!s->ended && !s->unwanted)
		events |= UV_READABLE;
	if (s->blocked)
		events |= UV_WRITABLE;
	return events;
}

static void on_poll(uv_poll_t *poll, int status, int events);

static void arm(struct stream *s)
{
	int events = wanted_events(s);

	if (s->freed || events == s->armed)
		return;
	s->armed = events;
	if (events == 0)
		uv_poll_stop(&s->poll);
	else
		uv_poll_start(&s->poll, events, on_poll);
}

/* Who is at the other end; false: not connected yet. */
static bool find_peer(struct stream *s)
{
	struct ucred user;
	socklen_t n = sizeof user;

	s->peer.n = sizeof s->peer.u;
	if (getpeername(s->fd, &s->peer.u.sa, &s->peer.n) < 0) {
		memset(&s->peer, 0, sizeof s->peer);
		return false;
	}
	s->local = s->peer.u.sa.sa_family == AF_UNIX;
	if (s->local && getsockopt(s->fd, SOL_SOCKET, SO_PEERCRED, &user, &n) == 0)
		s->uid = user.uid;
	else
		s->uid = (uid_t)-1;
	return true;
}

static void start(struct stream *s)
{
	s->state = STREAM_OPENING;
	s->ops->advance(s);
	if (s->out.n > 0)
		stream_hub_dirty(s);
}

static void on_connected(struct stream *s)
{
	int number = 0;
	socklen_t n = sizeof number;

	if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &number, &n) < 0)
		number = errno;
	if (number != 0) {
		stream_core_fail_errno(s, number);
		return;
	}
	find_peer(s);
	start(s);
}

static void on_input(struct stream *s)
{
	switch (s->state) {
	case STREAM_CONNECTING:
	case STREAM_CLOSED:
		break;
	case STREAM_OPENING:
		s->ops->advance(s);
		break;
	case STREAM_OPEN:
		if (s->want_read)
			s->due |= DUE_READ;
		else if (s->hung_up)
			stream_core_fail(s, ERR_CLOSED, "connection reset by the peer");
		else
			s->unwanted = true;
		break;
	case STREAM_FINISHING:
	case STREAM_LINGERING:
		discard(s);
		break;
	}
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct stream *s = poll->data;

	if (s->state == STREAM_CONNECTING) {
		if (status < 0)
			s->armed = 0; /* libuv has stopped polling */
		on_connected(s);
	} else {
		if (status < 0) {
			s->armed = 0;
			s->hung_up = true;
			events = UV_READABLE;
		}
		if ((events & UV_WRITABLE) != 0)
			send_out(s);
		give_back(s);
		if ((events & UV_READABLE) != 0) {
			s->dry = false;
			on_input(s);
		}
	}
	stream_core_events(s);
}

/* --- the handler's calls ----------------------------------------------------------------- */

static void begin_finish(struct stream *s);

/* Gives the handler what is due, in the order opened, readable, writable, closed. */
void stream_core_events(struct stream *s)
{
	static const struct stream_handler nobody;
	unsigned due = s->due;
	const struct stream_handler *h;

	s->due = 0;
	if ((due & DUE_OPENED) != 0 && s->state != STREAM_CLOSED) {
		h = s->handler != NULL ? s->handler : &nobody;
		if (h->opened != NULL)
			h->opened(s->ctx);
		if (s->freed)
			return;
		if (s->finish_asked && s->state == STREAM_OPEN)
			begin_finish(s);
	}
	if ((due & DUE_READ) != 0 && s->state == STREAM_OPEN && s->want_read && !s->ended) {
		h = s->handler != NULL ? s->handler : &nobody;
		if (h->readable != NULL)
			h->readable(s->ctx);
		if (s->freed)
			return;
		if (s->state == STREAM_OPEN && s->want_read && !s->ended
		    && (s->hung_up || s->ops->pending(s)))
			stream_hub_soon(s, DUE_READ);
	}
	if ((due & DUE_WRITE) != 0 && s->state == STREAM_OPEN && s->want_write) {
		s->want_write = false;
		h = s->handler != NULL ? s->handler : &nobody;
		if (h->writable != NULL)
			h->writable(s->ctx);
		if (s->freed)
			return;
		stream_hub_dirty(s);
	}
	if ((due & DUE_CLOSED) != 0) {
		h = s->handler != NULL ? s->handler : &nobody;
		if (h->closed != NULL)
			h->closed(s->ctx, s->error,
			          s->error == 0 ? "" : s->why != NULL ? s->why : err_phrase(s->error));
		return;
	}
	arm(s);
}

void stream_core_opened(struct stream *s)
{
	s->state = STREAM_OPEN;
	stream_hub_soon(s, DUE_OPENED | (s->ops->pending(s) ? DUE_READ : 0));
}

static void on_linger(void *ctx)
{
	struct stream *s = ctx;

	if (s->state == STREAM_LINGERING)
		close_with(s, 0); /* all was sent; that the peer keeps its side open is its own affair */
	else if (s->state == STREAM_FINISHING)
		stream_core_fail(s, ERR_TIMEOUT, "the peer takes nothing any more");
}

static void begin_finish(struct stream *s)
{
	if (s->linger == NULL && loop_timer_create(s->loop, on_linger, s, &s->linger) < 0) {
		stream_core_fail(s, ERR_NOMEM, "out of memory");
		return;
	}
	s->ops->goodbye(s);
	if (s->state == STREAM_CLOSED)
		return;
	s->state = STREAM_FINISHING;
	s->unwanted = false; /* input is read from now on, to be thrown away */
	loop_timer_start(s->linger, FINISH_US);
	if (s->send_failed)
		stream_core_fail(s, ERR_CLOSED, "connection reset by the peer");
	else
		stream_hub_dirty(s);
	arm(s);
}

/* --- making and ending ------------------------------------------------------------------- */

int stream_core_init(struct stream *s, struct loop *l, int fd, const struct stream_ops *ops)
{
	int on = 1;

	s->ops = ops;
	s->loop = l;
	s->hub = stream_hub_of(l);
	s->fd = fd;
	s->want_read = true;
	buf_init(&s->out, 0); /* limits are kept by out_room and by the transport */
	if (s->hub == NULL) {
		close(fd);
		return ERR_NOMEM;
	}
	/* Fails on UNIX sockets, which have no such delay. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (uv_poll_init(loop_uv(l), &s->poll, fd) != 0) {
		close(fd);
		return ERR_IO;
	}
	s->poll.data = s;
	if (find_peer(s))
		start(s);
	else
		s->state = STREAM_CONNECTING;
	arm(s);
	return 0;
}

static void on_freed(uv_handle_t *handle)
{
	free(handle->data);
}

void stream_free(struct stream *s)
{
	if (s == NULL)
		return;
	s->freed = true;
	s->state = STREAM_CLOSED;
	stream_hub_forget(s);
	s->ops->release(s);
	buf_free(&s->out);
	free(s->why);
	s->why = NULL;
	loop_timer_free(s->linger);
	s->linger = NULL;
	uv_close((uv_handle_t *)&s->poll, on_freed);
	close(s->fd);
	s->fd = -1;
}

/* --- what users call --------------------------------------------------------------------- */

void stream_set_handler(struct stream *s, const struct stream_handler *handler, void *ctx)
{
	s->handler = handler;
	s->ctx = ctx;
}

ssize_t stream_read(struct stream *s, void *p, size_t n)
{
	ssize_t got;

	switch (s->state) {
	case STREAM_CONNECTING:
	case STREAM_OPENING:
		return ERR_AGAIN;
	case STREAM_OPEN:
		break;
	default:
		return ERR_CLOSED;
	}
	if (s->ended)
		return 0;
	got = s->ops->read(s, p, n);
	if (got == 0)
		s->ended = true;
	/* The connection is gone, and now all that came before is read: nothing is left to wait for. */
	if ((s->send_failed && got == 0) || ((s->send_failed || s->hung_up) && got == ERR_AGAIN))
		return stream_core_fail(s, ERR_CLOSED, "connection reset by the peer");
	return got;
}

void stream_want_read(struct stream *s, bool want)
{
	if (s->want_read == want)
		return;
	s->want_read = want;
	if (!want)
		return;
	s->unwanted = false;
	if (s->state == STREAM_OPEN && !s->ended && (s->hung_up || s->ops->pending(s)))
		stream_hub_soon(s, DUE_READ);
	arm(s);
}

ssize_t stream_write(struct stream *s, const void *p, size_t n)
{
	size_t room;
	int rc;

	if (s->state > STREAM_OPEN || s->finish_asked)
		return ERR_CLOSED;
	/* As when it is lost on the way: reading finds the end, and `closed` follows. */
	if (s->send_failed)
		return (ssize_t)n;
	room = s->ops->room(s, out_room(s));
	if (n > room) {
		s->want_write = true;
		n = room;
		/* When only the turn's limit stands against it, the send hook says `writable`. */
		stream_hub_dirty(s);
		if (n == 0)
			return ERR_AGAIN;
	}
	rc = s->ops->write(s, p, n);
	if (rc < 0)
		return rc;
	s->turn_octets += n;
	stream_hub_dirty(s);
	if (s->state == STREAM_OPEN && s->out.n >= SEND_EARLY && !s->blocked) {
		send_out(s);
		arm(s);
	}
	return (ssize_t)n;
}

bool stream_hold(struct stream *s, bool hold)
{
	bool waits = s->state == STREAM_OPEN && (s->turn_octets > 0 || s->out.n > 0);

	if (s->hold && !hold && waits)
		stream_hub_dirty(s);
	s->hold = hold;
	return waits;
}

size_t stream_room(const struct stream *s)
{
	if (s->state > STREAM_OPEN || s->finish_asked)
		return 0;
	return s->ops->room(s, out_room(s));
}

void stream_finish(struct stream *s)
{
	if (s->state > STREAM_OPEN)
		return;
	s->finish_asked = true;
	if (s->state == STREAM_OPEN)
		begin_finish(s);
}

void stream_info(const struct stream *s, struct stream_info *out)
{
	*out = (struct stream_info){
		.peer = s->peer,
		.octets_in = s->octets_in,
		.octets_out = s->octets_out,
		.alpn = "",
		.server_name = "",
		.local = s->local,
		.uid = s->uid,
	};
	s->ops->info(s, out);
}

bool stream_is_early(const struct stream *s)
{
	return s->early;
}

bool stream_peer_covers(const struct stream *s, const char *domain)
{
	return s->ops->covers(s, domain);
}
