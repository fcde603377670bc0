/* The server's side of a session: from answers to octets. See server_state.h. */
#include "base/clock.h"
#include "base/log.h"
#include "session/server_state.h"

#define ERROR_TEXT_MAX 400 /* octets of an error response's text */

/* --- writing ----------------------------------------------------------------------------- */

static void block(struct server_session *s)
{
	if (s->blocked)
		return;
	s->blocked = true;
	s->since_us = clock_mono_us();
}

/* Writes P or keeps what the stream has no room for. */
static void put(struct server_session *s, struct span p)
{
	ssize_t r = 0;

	if (p.n == 0)
		return;
	if (s->out.n == 0) {
		r = stream_write(s->stream, p.p, p.n);
		if (r < 0 && r != ERR_AGAIN)
			return; /* broken: `closed` is on its way */
		if (r < 0)
			r = 0;
		server_count_octets(s, 0, (size_t)r);
	}
	if ((size_t)r == p.n)
		return;
	block(s);
	p = span_after(p, (size_t)r);
	if (buf_add(&s->out, p.p, p.n) < 0)
		server_cut(s, "out of memory");
}

void server_flush(struct server_session *s)
{
	while (s->out.n > 0) {
		struct span p = buf_view(&s->out);
		ssize_t r = stream_write(s->stream, p.p, p.n);

		if (r <= 0) {
			s->blocked = true;
			return;
		}
		buf_consume(&s->out, (size_t)r);
		server_count_octets(s, 0, (size_t)r);
	}
}

/* The command in hand is answered. */
static void answered(struct server_session *s)
{
	s->phase = READING;
	s->woken = false;
	s->kind = 0;
	server_touch(s);
	if (s->close_after)
		server_finish(s);
	server_later(s);
}

static void put_error(struct server_session *s, enum wire_status status, bool abort,
                      struct span text, int64_t retry_after_s)
{
	uint8_t frame[64 + ERROR_TEXT_MAX];
	struct span out;

	server_count_status(s, status);
	if (text.n > ERROR_TEXT_MAX) {
		text.n = ERROR_TEXT_MAX;
		/* Not in the middle of a character. */
		while (text.n > 0 && (text.p[text.n] & 0xc0) == 0x80)
			text.n--;
	}
	if (wire_error_response(status, abort, text, retry_after_s >= 0,
	                        retry_after_s >= 0 ? (uint64_t)retry_after_s : 0, frame,
	                        sizeof frame, &out) < 0 &&
	    wire_error_response(status, abort, span_of(NULL, 0), false, 0, frame, sizeof frame,
	                        &out) < 0) {
		server_cut(s, "error response not encoded");
		return;
	}
	put(s, out);
}

void server_refuse(struct server_session *s, enum wire_status status, const char *text)
{
	log_debug("session-refuse", "status=%s why=\"%s\"", wire_status_name(status), text);
	put_error(s, status, true, span_str(text), -1);
	if (s->phase != ABORTED)
		server_finish(s);
}

/* --- for handlers ------------------------------------------------------------------------ */

/* Whether the handler owes an answer; an answer that comes too late is thrown away. */
static bool owes(const struct server_session *s)
{
	return s->phase == IN_HAND || s->phase == WAITING;
}

void server_reply(struct server_session *s, struct span frame)
{
	if (!owes(s))
		return;
	server_count_answer(s, frame);
	put(s, frame);
	if (s->phase != ABORTED)
		answered(s);
	else
		server_later(s);
}

void server_reply_error(struct server_session *s, enum wire_status status, bool abort,
                        const char *text, int64_t retry_after_s, bool close)
{
	if (!owes(s))
		return;
	s->close_after = close;
	put_error(s, status, abort, span_str(text), retry_after_s);
	if (s->phase != ABORTED)
		answered(s);
	else
		server_later(s);
}

void server_reply_start(struct server_session *s, struct span head, uint64_t rest)
{
	if (!owes(s))
		return;
	server_count_answer(s, head);
	put(s, head);
	if (s->phase == ABORTED) {
		server_later(s);
		return;
	}
	s->phase = REPLYING;
	s->rest = rest;
	if (rest == 0)
		answered(s);
}

size_t server_write(struct server_session *s, const void *p, size_t n)
{
	ssize_t r;

	if (s->phase != REPLYING || s->out.n > 0 || n == 0)
		return 0;
	if (n > s->rest)
		n = (size_t)s->rest;
	r = stream_write(s->stream, p, n);
	if (r < 0)
		r = 0;
	server_count_octets(s, 0, (size_t)r);
	if ((size_t)r < n)
		block(s);
	s->rest -= (size_t)r;
	if (s->rest == 0)
		answered(s);
	else
		server_later(s);
	return (size_t)r;
}
