/*
 * The client's side of a session. Requests stand in one list in the order of
 * their sending: `first` is the one that the next response answers, `sending`
 * the first that is not wholly written. Callbacks may queue, cancel, and free
 * the client itself; `depth` keeps the memory until the outermost call is left.
 */
#include "session/client.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/clock.h"
#include "wire/early.h"
#include "wire/frame.h"

#define RESPONSE_OCTETS (1U << 20)
#define HEAD_OCTETS 4096U              /* of a streamed response, given at once */
#define TIMEOUT_US (60 * CLOCK_SECOND_US)
#define READ_FIRST ((size_t)4 << 10)
#define READ_MORE ((size_t)64 << 10)
#define TURN_OCTETS ((size_t)512 << 10) /* read in one turn of the loop */
#define FILLER_MAX ((uint64_t)256 << 10) /* see answer_early */

enum client_phase {
	DIALLING, /* requests queue up */
	OPEN,     /* requests go out, responses come in */
	CUT,      /* a request was cancelled half written: ends in the next turn */
	ENDED     /* all requests have failed */
};

struct client_request {
	struct client_request *prev, *next;
	struct client *client;
	struct client_call call;
	uint64_t start_us;
	uint64_t tail_left;
	size_t sent;    /* octets of the frame that were written */
	bool cancelled; /* its response is thrown away */
	uint8_t frame[];
};

struct client {
	struct loop *loop;
	struct dial *dial;     /* DIALLING */
	struct stream *stream; /* OPEN, CUT */
	struct loop_timer *timer;
	uint32_t response_octets;
	void (*closed)(void *ctx, int error, const char *why);
	void *ctx;
	enum client_phase phase;
	struct client_request *first, *last, *sending;
	size_t pending;
	uint64_t filler;       /* octets that the frame being sent still promises, see answer_early */
	struct buf in;
	struct buf early;      /* DIALLING: what `sending` and those before it said in advance */
	bool early_asked;
	const char *alpn;
	uint64_t body_left;    /* of the streamed response that `first` receives */
	bool streaming;        /* `first` has had its response's head */
	bool blocked;          /* the stream has no room; `writable` will come */
	bool drained, much;    /* nothing more to read in this turn; the last read gave a lot */
	bool soon;             /* the timer shall go on with sending and reading */
	bool freed;
	unsigned depth;
	uint64_t progress_us;  /* when octets last came or went */
	uint64_t seen_out;
	uint64_t armed_us;     /* when the timer fires, 0: not running */
	char name[256 + 8];    /* "b.example rnasp", for people */
};

/* --- life -------------------------------------------------------------------------------- */

static void enter(struct client *c)
{
	c->depth++;
}

static void leave(struct client *c)
{
	c->depth--;
	if (c->depth > 0)
		return;
	if (c->phase == ENDED || c->freed)
		buf_free(&c->early);
	if (c->phase == ENDED)
		buf_free(&c->in); /* not sooner: a callback may have a view of it */
	if (c->freed)
		free(c);
}

static void arm(struct client *c, uint64_t at_us)
{
	uint64_t now = clock_mono_us();

	if (c->armed_us != 0 && c->armed_us <= at_us)
		return;
	c->armed_us = at_us > now ? at_us : now;
	loop_timer_start(c->timer, at_us > now ? at_us - now : 0);
}

static void go_on_soon(struct client *c)
{
	c->soon = true;
	arm(c, clock_mono_us());
}

static void unlink_request(struct client_request *r)
{
	struct client *c = r->client;

	if (c->sending == r)
		c->sending = r->next;
	*(r->prev != NULL ? &r->prev->next : &c->first) = r->next;
	*(r->next != NULL ? &r->next->prev : &c->last) = r->prev;
	c->pending--;
}

/* Takes R off the list, frees it; its call is in *CALL, without callbacks when it was cancelled. */
static void pop(struct client_request *r, struct client_call *call)
{
	*call = r->call;
	if (r->cancelled)
		*call = (struct client_call){ 0 };
	unlink_request(r);
	free(r);
}

/* Between enter and leave. */
static void disconnect(struct client *c)
{
	c->phase = ENDED;
	dial_cancel(c->dial);
	c->dial = NULL;
	stream_free(c->stream);
	c->stream = NULL;
	loop_timer_stop(c->timer);
}

/* The connection is over: every request fails. */
static void fail(struct client *c, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void fail(struct client *c, int error, const char *format, ...)
{
	struct err_text why;
	struct client_call call;
	va_list ap;

	if (c->phase == ENDED)
		return;
	va_start(ap, format);
	vsnprintf(why.text, sizeof why.text, format, ap);
	va_end(ap);
	enter(c);
	disconnect(c);
	while (c->first != NULL && !c->freed) {
		pop(c->first, &call);
		if (call.failed != NULL)
			call.failed(call.ctx, error, why.text);
	}
	if (!c->freed && c->closed != NULL)
		c->closed(c->ctx, error, why.text);
	leave(c);
}

/* --- sending ----------------------------------------------------------------------------- */

/* How many of N octets the stream took; less than N: it is full (or broken, which it will tell). */
static size_t put(struct client *c, const void *p, size_t n)
{
	ssize_t r = c->blocked ? ERR_AGAIN : stream_write(c->stream, p, n);

	if (r < 0)
		r = 0;
	if ((size_t)r < n)
		c->blocked = true;
	if (r > 0)
		c->progress_us = clock_mono_us();
	return (size_t)r;
}

static void send_filler(struct client *c)
{
	static const uint8_t zeros[4096];

	c->filler -= put(c, zeros, c->filler < sizeof zeros ? (size_t)c->filler : sizeof zeros);
}

/* Calls for the tail of R. False: nothing more can be sent now. */
static bool send_tail(struct client *c, struct client_request *r)
{
	uint64_t before = r->tail_left;
	int rc = r->call.tail(r->call.ctx, c);

	/* The tail function may have freed the client or cancelled the request: then R is gone. */
	if (c->freed || c->phase != OPEN || c->sending != r)
		return !c->freed && c->phase == OPEN;
	if (rc < 0) {
		fail(c, rc, "%s: the request's data cannot be read: %s", c->name, err_phrase(rc));
		return false;
	}
	return r->tail_left < before; /* nothing at all: it writes later, by itself */
}

/* Writes what there is; without TAILS only what needs no callback. Between enter and leave. */
static void send_requests(struct client *c, bool tails)
{
	while (c->phase == OPEN && !c->freed && !c->blocked) {
		struct client_request *r = c->sending;

		if (c->filler > 0) {
			send_filler(c);
		} else if (r == NULL) {
			return;
		} else if (r->sent < r->call.frame.n) {
			r->sent += put(c, r->frame + r->sent, r->call.frame.n - r->sent);
		} else if (r->tail_left == 0) {
			c->sending = r->next;
		} else if (!tails) {
			go_on_soon(c);
			return;
		} else if (!send_tail(c, r)) {
			return;
		}
	}
}

size_t client_write(struct client *c, const void *p, size_t n)
{
	struct client_request *r = c->sending;
	size_t taken;

	if (c->phase != OPEN || r == NULL || c->filler > 0 || r->sent < r->call.frame.n)
		return 0;
	if (n > r->tail_left)
		n = (size_t)r->tail_left;
	if (n == 0)
		return 0;
	taken = put(c, p, n);
	r->tail_left -= taken;
	if (r->tail_left == 0 && c->depth == 0)
		send_requests(c, false);
	return taken;
}

/* --- receiving --------------------------------------------------------------------------- */

/* Reads more; WANTED: how many octets are missing, where known. False: nothing came. */
static bool fill(struct client *c, uint64_t wanted)
{
	size_t n = c->much || wanted > READ_MORE ? READ_MORE : (size_t)wanted;
	uint8_t *at;
	ssize_t r;

	if (c->drained)
		return false;
	if (n < READ_FIRST)
		n = READ_FIRST;
	if (buf_reserve(&c->in, n, &at) < 0) {
		fail(c, ERR_NOMEM, "%s: out of memory", c->name);
		return false;
	}
	r = stream_read(c->stream, at, n);
	if (r == 0)
		fail(c, ERR_CLOSED, "%s: the server closed the connection", c->name);
	if (r <= 0) {
		c->drained = true;
		return false;
	}
	buf_commit(&c->in, (size_t)r);
	c->progress_us = clock_mono_us();
	c->much = (size_t)r >= READ_FIRST;
	c->drained = (size_t)r < n && wanted == 0;
	return true;
}

/* The next octets of a response that is streamed. */
static bool take_data(struct client *c)
{
	struct span octets = buf_view(&c->in);
	struct client_request *r = c->first;
	struct client_call call;
	bool last;

	if (octets.n > c->body_left)
		octets.n = (size_t)c->body_left;
	last = octets.n == c->body_left;
	if (octets.n == 0 && !last)
		return fill(c, READ_MORE);
	c->body_left -= octets.n;
	call = r->cancelled ? (struct client_call){ 0 } : r->call;
	if (last) {
		c->streaming = false;
		pop(r, &call);
	}
	if (call.data != NULL)
		call.data(call.ctx, octets, last);
	if (c->phase == OPEN && !c->freed)
		buf_consume(&c->in, octets.n);
	return true;
}

/*
 * A response to R, of which not all was sent: the server throws the rest away
 * as it comes, so what is missing of the frame may be anything. A little is
 * worth sending, to keep the connection; the rest of a long message is not.
 */
static void answer_early(struct client *c, const struct client_request *r)
{
	if (r->sent == r->call.frame.n && r->tail_left <= FILLER_MAX) {
		c->filler = r->tail_left;
		return;
	}
	c->phase = CUT;
	go_on_soon(c);
}

/* The response's octets are here: all of a whole one, the head of a streamed one. */
static void take_response(struct client *c, struct span body, uint64_t total)
{
	struct client_request *r = c->first;
	struct client_call call;

	if (r == c->sending && (r->sent < r->call.frame.n || r->tail_left > 0))
		answer_early(c, r);
	if (total > c->response_octets) {
		call = r->cancelled ? (struct client_call){ 0 } : r->call;
		c->streaming = true;
		c->body_left = total - body.n;
		if (c->sending == r)
			c->sending = r->next;
	} else {
		pop(r, &call);
	}
	if (call.response != NULL)
		call.response(call.ctx, body, total);
	if (c->phase != ENDED && !c->freed)
		buf_consume(&c->in, FRAME_PREFIX + body.n);
}

/* Does the next thing with what came. False: nothing more can be done now. */
static bool receive_step(struct client *c)
{
	struct span in = buf_view(&c->in);
	struct span body = span_after(in, FRAME_PREFIX);
	struct client_request *r = c->first;
	uint64_t total;
	uint64_t wanted;

	if (c->streaming)
		return take_data(c);
	if (in.n < FRAME_PREFIX)
		return fill(c, 0);
	total = frame_length(in.p);
	if (r == NULL || (r == c->sending && r->sent == 0)) {
		/* What a server says unasked is that it is closing: idle for too long, or shutting down. */
		fail(c, ERR_CLOSED, "%s: the server ended the session", c->name);
		return false;
	}
	if (total == 0) {
		fail(c, ERR_PROTOCOL, "%s: the server sent an empty frame", c->name);
		return false;
	}
	if (total > c->response_octets && r->call.data == NULL && !r->cancelled) {
		fail(c, ERR_TOO_BIG, "%s: the server sent a response of %llu octets, more than %u",
		     c->name, (unsigned long long)total, c->response_octets);
		return false;
	}
	wanted = total;
	if (total > c->response_octets && total > HEAD_OCTETS)
		wanted = HEAD_OCTETS;
	if (body.n > total)
		body.n = (size_t)total;
	if (body.n < wanted)
		return fill(c, wanted - body.n);
	take_response(c, body, total);
	return true;
}

/* Between enter and leave. */
static void receive(struct client *c)
{
	uint64_t had = 0;
	size_t before;

	while (c->phase == OPEN && !c->freed) {
		before = c->in.n;
		if (!receive_step(c))
			break;
		if (c->in.n > before)
			had += c->in.n - before;
		if (had >= TURN_OCTETS) {
			go_on_soon(c);
			return;
		}
	}
	if (c->in.n == 0)
		buf_shrink(&c->in);
}

/* --- what calls us ----------------------------------------------------------------------- */

static void on_readable(void *ctx)
{
	struct client *c = ctx;

	enter(c);
	c->drained = false;
	receive(c);
	/* An answer may have queued requests, or called for filler. */
	send_requests(c, true);
	leave(c);
}

static void on_writable(void *ctx)
{
	struct client *c = ctx;

	enter(c);
	c->blocked = false;
	send_requests(c, true);
	leave(c);
}

static void on_closed(void *ctx, int error, const char *why)
{
	struct client *c = ctx;

	fail(c, error < 0 ? error : ERR_CLOSED, "%s: %s", c->name, why);
}

static const struct stream_handler stream_calls = {
	.readable = on_readable,
	.writable = on_writable,
	.closed = on_closed,
};

static void on_dialled(void *ctx, int error, struct stream *stream, const char *why)
{
	struct client *c = ctx;

	c->dial = NULL;
	if (error < 0) {
		fail(c, error, "%s", why);
		return;
	}
	c->stream = stream;
	c->phase = OPEN;
	buf_free(&c->early); /* the stream has it */
	c->progress_us = clock_mono_us();
	stream_set_handler(stream, &stream_calls, c);
	enter(c);
	send_requests(c, true);
	leave(c);
}

/* R is a whole command that may be said in advance, and there is room for it. */
static bool may_be_early(const struct client *c, const struct client_request *r)
{
	struct span frame = r->call.frame;

	return r->tail_left == 0 && !r->cancelled && c->early.n + frame.n <= EARLY_OCTETS
	       && early_allowed(c->alpn, span_after(frame, FRAME_PREFIX), frame.n - FRAME_PREFIX);
}

/* For dial: what is queued now, in order. From then on that is as good as sent. */
static struct span early_octets(void *ctx)
{
	struct client *c = ctx;

	while (!c->early_asked && c->sending != NULL && may_be_early(c, c->sending)) {
		struct client_request *r = c->sending;

		if (buf_add(&c->early, r->frame, r->call.frame.n) < 0)
			break;
		r->sent = r->call.frame.n;
		c->sending = r->next;
	}
	c->early_asked = true;
	return buf_view(&c->early);
}

/* Forgets R as far as its state allows; its caller hears no more of it. */
static void drop(struct client_request *r)
{
	struct client *c = r->client;

	if (r->sent == 0) {
		unlink_request(r);
		free(r);
		return;
	}
	r->cancelled = true;
	/* The rest of its frame is in the hands of a caller who will not be asked again. */
	if (r == c->sending && r->tail_left > 0 && c->phase == OPEN) {
		c->phase = CUT;
		go_on_soon(c);
	}
}

static uint64_t expires_us(const struct client *c, const struct client_request *r)
{
	uint64_t since = r->start_us > c->progress_us ? r->start_us : c->progress_us;

	return since + r->call.timeout_us;
}

/* Fails the first request whose time is over. False: there is none; *NEXT: when there may be. */
static bool expire_one(struct client *c, uint64_t *next)
{
	uint64_t now = clock_mono_us();
	struct client_request *r;
	struct client_call call;
	struct err_text why;

	*next = UINT64_MAX;
	for (r = c->first; r != NULL; r = r->next) {
		if (r->cancelled)
			continue;
		if (expires_us(c, r) <= now)
			break;
		if (expires_us(c, r) < *next)
			*next = expires_us(c, r);
	}
	if (r == NULL)
		return false;
	snprintf(why.text, sizeof why.text, "%s: no answer for %llu s", c->name,
	         (unsigned long long)(r->call.timeout_us / CLOCK_SECOND_US));
	if (r == c->first) {
		fail(c, ERR_TIMEOUT, "%s", why.text);
		return true;
	}
	/* One before it has more patience: the connection may be well. */
	call = r->call;
	drop(r);
	if (call.failed != NULL)
		call.failed(call.ctx, ERR_TIMEOUT, why.text);
	return true;
}

/* Octets that the peer's side took count as progress, though nothing called us for them. */
static void look_at_output(struct client *c)
{
	struct stream_info info;

	if (c->stream == NULL)
		return;
	stream_info(c->stream, &info);
	if (info.octets_out != c->seen_out)
		c->progress_us = clock_mono_us();
	c->seen_out = info.octets_out;
}

static void on_timer(void *ctx)
{
	struct client *c = ctx;
	uint64_t next = UINT64_MAX;

	enter(c);
	c->armed_us = 0;
	if (c->phase == CUT)
		fail(c, ERR_CLOSED, "%s: closed in the middle of a request", c->name);
	if (c->soon) {
		c->soon = false;
		receive(c);
	}
	look_at_output(c);
	while (!c->freed && c->phase != ENDED && expire_one(c, &next))
		;
	send_requests(c, true);
	if (!c->freed && c->phase != ENDED && next != UINT64_MAX)
		arm(c, next);
	leave(c);
}

/* --- what users call --------------------------------------------------------------------- */

int client_create(struct loop *l, const struct client_options *options, struct client **out)
{
	struct client *c = calloc(1, sizeof *c);
	struct dial_options dial = options->dial;

	if (c == NULL)
		return ERR_NOMEM;
	c->loop = l;
	c->alpn = locate_alpn(options->service);
	c->response_octets = options->response_octets != 0 ? options->response_octets
	                                                   : RESPONSE_OCTETS;
	c->closed = options->closed;
	c->ctx = options->ctx;
	snprintf(c->name, sizeof c->name, "%s %s", options->domain,
	         locate_service_name(options->service));
	buf_init(&c->in, 0);
	buf_init(&c->early, 0);
	dial.early = early_octets;
	dial.early_ctx = c;
	if (loop_timer_create(l, on_timer, c, &c->timer) < 0)
		goto no_timer;
	c->dial = dial_start(l, options->domain, options->service, &dial, on_dialled, c);
	if (c->dial == NULL)
		goto no_dial;
	*out = c;
	return 0;
no_dial:
	loop_timer_free(c->timer);
no_timer:
	free(c);
	return ERR_NOMEM;
}

void client_free(struct client *c)
{
	struct client_call call;

	if (c == NULL)
		return;
	enter(c);
	c->freed = true;
	if (c->phase != ENDED)
		disconnect(c);
	while (c->first != NULL)
		pop(c->first, &call);
	loop_timer_free(c->timer);
	leave(c);
}

bool client_is_open(const struct client *c)
{
	return c->phase == OPEN;
}

size_t client_pending(const struct client *c)
{
	return c->pending;
}

struct stream *client_stream(struct client *c)
{
	return c->stream;
}

int client_send(struct client *c, const struct client_call *call, struct client_request **out)
{
	struct client_request *r;

	if (c->phase == CUT || c->phase == ENDED)
		return ERR_CLOSED;
	r = malloc(sizeof *r + call->frame.n);
	if (r == NULL)
		return ERR_NOMEM;
	*r = (struct client_request){
		.client = c,
		.call = *call,
		.start_us = clock_mono_us(),
		.tail_left = call->tail_octets,
	};
	memcpy(r->frame, call->frame.p, call->frame.n);
	r->call.frame.p = r->frame;
	if (r->call.timeout_us == 0)
		r->call.timeout_us = TIMEOUT_US;
	r->prev = c->last;
	*(c->last != NULL ? &c->last->next : &c->first) = r;
	c->last = r;
	if (c->sending == NULL)
		c->sending = r;
	c->pending++;
	arm(c, r->start_us + r->call.timeout_us);
	if (c->depth == 0) {
		enter(c);
		send_requests(c, false);
		leave(c);
	}
	if (out != NULL)
		*out = r;
	return 0;
}

void client_cancel(struct client_request *r)
{
	if (r != NULL)
		drop(r);
}
