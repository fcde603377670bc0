/* The server's side of a session: its beginning, its time and its end. See server_state.h. */
#include "session/server.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "session/server_state.h"
#include "wire/frame.h"

void server_limits_default(struct server_limits *l)
{
	*l = (struct server_limits){
		.command_octets = LIMIT_COMMAND_OCTETS,
		.large_octets = LIMIT_ENVELOPE_OCTETS,
		.stream_octets = LIMIT_MESSAGE_OCTETS + LIMIT_DATA_EXTRA_OCTETS,
		.idle_us = LIMIT_IDLE_SECONDS * CLOCK_SECOND_US,
		.first_us = LIMIT_FIRST_COMMAND_SECONDS * CLOCK_SECOND_US,
		.wait_us = LIMIT_WAIT_SECONDS * CLOCK_SECOND_US,
	};
}

/* An answer waits for the next no longer than this. */
#define ANSWER_HOLD_US 20000

/* --- time -------------------------------------------------------------------------------- */

void server_touch(struct server_session *s)
{
	s->paced = 0;
	if (s->first_done)
		s->since_us = clock_mono_us();
}

/* When patience with the peer ends, 0: it is not the peer's turn. */
static uint64_t deadline(const struct server_session *s)
{
	switch (s->phase) {
	case READING:
		return s->since_us + (s->first_done ? s->limits->idle_us : s->limits->first_us);
	case IN_HAND:
		if (!s->body_open)
			return s->answers_wait ? s->since_us + ANSWER_HOLD_US : 0;
		return !s->held ? s->since_us + s->limits->idle_us : 0;
	case REPLYING:
		return s->blocked ? s->since_us + s->limits->idle_us : 0;
	case WAITING:
		return s->wait_until_us;
	case CLOSING:
		return s->since_us + s->limits->idle_us;
	case FINISHING: /* the stream has its own patience for that */
	case ABORTED:
	case OVER:
		break;
	}
	return 0;
}

/*
 * Answers to pipelined commands leave together, in one record: an answer waits while the next
 * command is in hand that is here whole (a refusal must reach a peer that still sends its body).
 */
static void hold_answers(struct server_session *s)
{
	bool soon = s->phase == IN_HAND && !s->body_open &&
	            clock_mono_us() < s->since_us + ANSWER_HOLD_US;

	s->answers_wait = stream_hold(s->stream, soon) && soon;
}

/*
 * Before the session is left alone: gives back memory, and makes sure that
 * whatever must happen next has something that calls for it.
 */
static void settle(struct server_session *s)
{
	uint64_t at, now;

	hold_answers(s);
	at = deadline(s);
	if (s->in.n == 0)
		buf_shrink(&s->in);
	if (s->out.n == 0)
		buf_shrink(&s->out);
	stream_want_read(s->stream, server_wants_read(s));
	if (!s->soon && (at == 0 || (s->armed_us != 0 && s->armed_us <= at)))
		return;
	now = clock_mono_us();
	if (s->soon)
		at = now;
	if (s->armed_us != 0 && s->armed_us <= at)
		return;
	s->armed_us = at;
	loop_timer_start(s->timer, at > now ? at - now : 0);
}

/* --- beginning and end ------------------------------------------------------------------- */

void server_enter(struct server_session *s)
{
	s->depth++;
}

static void end(struct server_session *s);

void server_leave(struct server_session *s)
{
	if (s->depth == 1 && s->phase == ABORTED)
		end(s);
	s->depth--;
	if (s->depth > 0)
		return;
	if (s->phase != OVER) {
		settle(s);
		return;
	}
	/* Not sooner: a handler up the stack may have a view of `in`. */
	buf_free(&s->in);
	buf_free(&s->out);
	free(s);
}

/* To be called between enter and leave. */
static void end(struct server_session *s)
{
	if (s->phase == OVER)
		return;
	s->phase = OVER;
	s->protocol->close(s->state);
	server_count_session(s, false);
	if (s->ended != NULL)
		s->ended(s->ctx, s);
	loop_timer_free(s->timer);
	stream_free(s->stream);
}

void server_later(struct server_session *s)
{
	bool takes = s->phase == READING || s->phase == WAITING || s->body_open;

	if (s->depth > 0)
		return; /* the run under way sees it */
	if (s->phase == ABORTED || (takes && (s->in.n > 0 || s->eof || s->shutdown)))
		s->soon = true;
	settle(s);
}

void server_finish(struct server_session *s)
{
	s->body_open = false;
	buf_consume(&s->in, s->in.n);
	if (s->out.n > 0) {
		s->phase = CLOSING;
		return;
	}
	s->phase = FINISHING;
	stream_finish(s->stream);
}

void server_cut(struct server_session *s, const char *why)
{
	log_debug("session-abort", "why=\"%s\"", why);
	s->phase = ABORTED;
}

/* --- what calls us ----------------------------------------------------------------------- */

static void on_opened(void *ctx)
{
	(void)ctx;
}

static void on_readable(void *ctx)
{
	struct server_session *s = ctx;

	s->drained = false;
	server_enter(s);
	server_run(s);
	server_leave(s);
}

static void on_writable(void *ctx)
{
	struct server_session *s = ctx;

	if (s->phase >= FINISHING)
		return;
	server_enter(s);
	s->blocked = false;
	s->since_us = clock_mono_us();
	server_flush(s);
	if (s->phase == REPLYING && s->out.n == 0)
		s->protocol->writable(s->state);
	if (s->phase != OVER)
		server_run(s);
	server_leave(s);
}

static void on_closed(void *ctx, int error, const char *why)
{
	struct server_session *s = ctx;
	char quoted[256];

	if (error < 0)
		log_debug("session-broken", "why=%s",
		          log_quote(span_str(why), quoted, sizeof quoted));
	server_enter(s);
	end(s);
	server_leave(s);
}

/* Whether a peer that has not read all has at least read some since we last looked. */
static bool reads_on(struct server_session *s)
{
	struct stream_info info;

	stream_info(s->stream, &info);
	if (info.octets_out == s->seen_out)
		return false;
	s->seen_out = info.octets_out;
	s->since_us = clock_mono_us();
	return true;
}

static void on_deadline(struct server_session *s)
{
	switch (s->phase) {
	case WAITING:
		server_wake(s);
		break;
	case READING:
	case IN_HAND:
		if (s->phase == IN_HAND && !s->body_open)
			break; /* what waits leaves as the session settles */
		if (s->out.n > 0) {
			if (!reads_on(s))
				server_cut(s, "the peer does not read");
			break;
		}
		server_refuse(s, WIRE_STATUS_COMMAND_TIMEOUT, "no command in time");
		break;
	case REPLYING:
	case CLOSING:
		if (!reads_on(s))
			server_cut(s, "the peer does not read");
		break;
	case FINISHING:
	case ABORTED:
	case OVER:
		break;
	}
}

static void on_timer(void *ctx)
{
	struct server_session *s = ctx;
	uint64_t at = deadline(s);

	server_enter(s);
	s->armed_us = 0;
	if (at != 0 && clock_mono_us() >= at && !s->soon) {
		on_deadline(s);
		s->soon = s->phase < FINISHING;
	}
	if (s->soon && s->phase != OVER)
		server_run(s);
	server_leave(s);
}

int server_start(struct loop *l, struct stream *stream, const struct server_protocol *protocol,
                 const struct server_limits *limits, void *app,
                 void (*ended)(void *ctx, struct server_session *s), void *ctx,
                 struct server_session **out)
{
	static const struct stream_handler handler = {
		.opened = on_opened,
		.readable = on_readable,
		.writable = on_writable,
		.closed = on_closed,
	};
	struct server_session *s = calloc(1, sizeof *s);
	int rc = ERR_NOMEM;

	if (s == NULL)
		goto no_session;
	s->stream = stream;
	s->protocol = protocol;
	s->limits = limits;
	s->ended = ended;
	s->ctx = ctx;
	s->loop = l;
	s->since_us = clock_mono_us();
	buf_init(&s->in, 0);
	buf_init(&s->out, 0);
	rc = loop_timer_create(s->loop, on_timer, s, &s->timer);
	if (rc < 0)
		goto no_timer;
	stream_set_handler(stream, &handler, s);
	*out = s;
	server_enter(s);
	rc = protocol->open(s, app, &s->state);
	if (rc < 0)
		goto no_state;
	server_count_session(s, true);
	server_leave(s);
	return 0;
no_state:
	loop_timer_free(s->timer);
no_timer:
	free(s);
no_session:
	stream_free(stream);
	return rc;
}

void server_shutdown(struct server_session *s)
{
	s->shutdown = true;
	server_later(s);
}

void server_kill(struct server_session *s)
{
	server_enter(s);
	end(s);
	server_leave(s);
}

/* --- for handlers ------------------------------------------------------------------------ */

struct stream *server_stream(struct server_session *s)
{
	return s->stream;
}

struct loop *server_loop(struct server_session *s)
{
	return s->loop;
}

void server_abort(struct server_session *s, const char *why)
{
	if (s->phase >= ABORTED)
		return;
	server_cut(s, why);
	server_later(s);
}

void server_wait(struct server_session *s, uint64_t wait_us)
{
	if (s->phase != IN_HAND || s->woken || s->body_open)
		return;
	if (wait_us > s->limits->wait_us)
		wait_us = s->limits->wait_us;
	s->phase = WAITING;
	s->wait_until_us = clock_mono_us() + wait_us;
	server_later(s);
}

bool server_is_ending(const struct server_session *s)
{
	return s->shutdown || (s->eof && s->in.n == 0);
}

void server_hold(struct server_session *s)
{
	s->held = true;
}

void server_go_on(struct server_session *s)
{
	if (!s->held)
		return;
	s->held = false;
	server_touch(s);
	/* What is in the buffer already calls nobody. */
	if (s->depth == 0 && s->body_open)
		s->soon = true;
	server_later(s);
}
