/* The protocol for tests of session/. */
#include "session_toy.h"

#include <stdlib.h>
#include <string.h>

#include "wire/frame.h"

#define LATER_US 3000
#define LONG_MAX_OCTETS (16U << 20)

struct toy_state {
	struct toy *toy;
	struct server_session *session;
	struct loop_timer *timer;
	char letter;
	bool streaming;     /* classify said so of the command to come */
	struct buf later;   /* the answer that the timer gives */
	uint64_t long_at, long_end;
	uint32_t count, sum; /* of a body */
};

/* --- frames ------------------------------------------------------------------------------ */

static void add_frame(struct buf *out, uint8_t tag, char letter, const void *data, size_t n)
{
	uint8_t head[FRAME_PREFIX + 2];

	frame_put_length(head, (uint32_t)(n + 2));
	head[FRAME_PREFIX] = tag;
	head[FRAME_PREFIX + 1] = (uint8_t)letter;
	if (buf_add(out, head, sizeof head) < 0 || buf_add(out, data, n) < 0)
		abort();
}

void toy_add_command(struct buf *out, char letter, const void *data, size_t n)
{
	add_frame(out, 0xa1, letter, data, n);
}

void toy_add_response(struct buf *out, char letter, const void *data, size_t n)
{
	add_frame(out, 0xa2, letter, data, n);
}

static uint8_t *pattern(size_t n)
{
	uint8_t *p = malloc(n > 0 ? n : 1);
	size_t i;

	if (p == NULL)
		abort();
	for (i = 0; i < n; i++)
		p[i] = toy_octet(i);
	return p;
}

static void add_sum(struct buf *out, char letter, uint32_t count, uint32_t sum)
{
	uint8_t octets[8];

	frame_put_length(octets, count);
	frame_put_length(octets + 4, sum);
	toy_add_response(out, letter, octets, sizeof octets);
}

void toy_add_stream(struct buf *out, struct buf *expect, char letter, size_t n)
{
	uint8_t *p = pattern(n);
	uint32_t sum = 0;
	size_t i;

	for (i = 0; i < n; i++)
		sum += p[i];
	toy_add_command(out, letter, p, n);
	add_sum(expect, letter, (uint32_t)n, sum);
	free(p);
}

void toy_add_long(struct buf *out, struct buf *expect, uint32_t n)
{
	uint8_t octets[4];
	uint8_t *p = pattern(n);

	frame_put_length(octets, n);
	toy_add_command(out, 'g', octets, sizeof octets);
	toy_add_response(expect, 'g', p, n);
	free(p);
}

void toy_add_error(struct buf *out, enum wire_status status, bool abort_, const char *text)
{
	uint8_t frame[1024];
	struct span got;

	if (wire_error_response(status, abort_, span_str(text), false, 0, frame, sizeof frame,
	                        &got) < 0 ||
	    buf_add(out, got.p, got.n) < 0)
		abort();
}

/* --- the handler ------------------------------------------------------------------------- */

static void reply_buf(struct toy_state *x, struct buf *b)
{
	server_reply(x->session, buf_view(b));
	buf_free(b);
}

static void reply_sum(struct toy_state *x)
{
	struct buf b;

	buf_init(&b, 0);
	add_sum(&b, x->letter, x->count, x->sum);
	reply_buf(x, &b);
}

static void write_long(struct toy_state *x)
{
	uint8_t octets[5000];
	size_t n, i, taken;

	do {
		n = sizeof octets;
		if (n > x->long_end - x->long_at)
			n = (size_t)(x->long_end - x->long_at);
		if (n == 0)
			return;
		for (i = 0; i < n; i++)
			octets[i] = toy_octet(x->long_at + i);
		taken = server_write(x->session, octets, n);
		x->long_at += taken;
		x->toy->written += taken;
	} while (taken == n);
}

static void start_long(struct toy_state *x, struct span data)
{
	uint8_t head[FRAME_PREFIX + 2];
	uint32_t n = data.n == 4 ? frame_length(data.p) : UINT32_MAX;

	if (n > LONG_MAX_OCTETS) {
		server_reply_error(x->session, WIRE_STATUS_MALFORMED_PDU, true, NULL, -1, true);
		return;
	}
	frame_put_length(head, n + 2);
	head[FRAME_PREFIX] = 0xa2;
	head[FRAME_PREFIX + 1] = 'g';
	x->long_at = 0;
	x->long_end = n;
	server_reply_start(x->session, span_of(head, sizeof head), n);
	write_long(x);
}

static void on_timer(void *ctx)
{
	struct toy_state *x = ctx;

	if (x->letter == 'l')
		reply_buf(x, &x->later);
	else
		server_go_on(x->session);
}

static int toy_open(struct server_session *s, void *app, void **state)
{
	struct toy *t = app;
	struct toy_state *x;

	if (t->open_error < 0)
		return t->open_error;
	x = calloc(1, sizeof *x);
	if (x == NULL)
		return ERR_NOMEM;
	if (loop_timer_create(server_loop(s), on_timer, x, &x->timer) < 0) {
		free(x);
		return ERR_NOMEM;
	}
	x->toy = t;
	x->session = s;
	buf_init(&x->later, 0);
	t->opened++;
	*state = x;
	return 0;
}

static void toy_close(void *state)
{
	struct toy_state *x = state;

	x->toy->closed++;
	if (x->toy->held == x)
		x->toy->held = NULL;
	loop_timer_free(x->timer);
	buf_free(&x->later);
	free(x);
}

static enum server_frame toy_classify(void *state, struct span head, uint64_t total)
{
	struct toy_state *x = state;

	(void)total;
	if (head.n < 2 || head.p[1] == 'm' || (head.p[1] == 'b' && head.n < 40))
		return SERVER_MORE;
	if (head.p[1] == 'W')
		return SERVER_WHOLE;
	if (strchr("shHrKb", head.p[1]) == NULL)
		return SERVER_TOO_BIG;
	x->streaming = true;
	return SERVER_STREAM;
}

static void count(struct toy_state *x, struct span octets)
{
	size_t i;

	x->count += (uint32_t)octets.n;
	for (i = 0; i < octets.n; i++)
		x->sum += octets.p[i];
}

static void stream_head(struct toy_state *x, struct span data)
{
	x->count = 0;
	x->sum = 0;
	count(x, data);
	if (x->letter == 'r')
		server_reply_error(x->session, WIRE_STATUS_UNEXPECTED_COMMAND, false, NULL, -1, false);
	if (x->letter == 'H') {
		x->toy->held = x;
		server_hold(x->session);
	}
}

static void small(struct toy_state *x, struct span body, struct span data)
{
	char text[601];
	struct buf b;

	buf_init(&b, 0);
	switch (x->letter) {
	case 'e':
		toy_add_response(&b, 'e', data.p, data.n);
		reply_buf(x, &b);
		break;
	case 'l':
		toy_add_response(&x->later, 'l', data.p, data.n);
		loop_timer_start(x->timer, x->toy->hasty ? 0 : LATER_US);
		break;
	case 'w':
		server_wait(x->session, 60 * 1000000ULL);
		break;
	case 'g':
		start_long(x, data);
		break;
	case 'c':
		server_reply_error(x->session, WIRE_STATUS_UNEXPECTED_COMMAND, true, NULL, -1, true);
		break;
	case 'x':
		memset(text, 'x', 600);
		memcpy(text + 399, "\xc3\xa4", 2); /* cut in its middle */
		text[600] = '\0';
		server_reply_error(x->session, WIRE_STATUS_TRY_LATER, false, text, 7, false);
		break;
	case 'a':
		server_abort(x->session, "asked for");
		break;
	case 'k':
		server_kill(x->session);
		break;
	case 'n':
		break;
	default:
		count(x, span_after(body, 2));
		reply_sum(x);
		break;
	}
}

static void toy_command(void *state, struct span body, uint64_t total)
{
	struct toy_state *x = state;
	bool streaming = x->streaming;
	struct span data = span_after(body, 2);

	x->toy->commands++;
	if (body.n < 2) {
		server_reply_error(x->session, WIRE_STATUS_MALFORMED_PDU, true, "short", -1, true);
		return;
	}
	x->letter = (char)body.p[1];
	x->count = 0;
	x->sum = 0;
	x->streaming = false;
	if (body.n < total && !streaming)
		abort();
	if (streaming)
		stream_head(x, data);
	else
		small(x, body, data);
}

static void toy_data(void *state, struct span octets, bool last)
{
	struct toy_state *x = state;

	x->toy->streamed += octets.n;
	if (x->letter == 'K') {
		server_kill(x->session);
		return;
	}
	count(x, octets);
	if (last) {
		reply_sum(x);
	} else if (x->letter == 'h') {
		server_hold(x->session);
		loop_timer_start(x->timer, x->toy->hasty ? 0 : LATER_US);
	}
}

void toy_release(struct toy *t)
{
	if (t->held != NULL)
		server_go_on(t->held->session);
	t->held = NULL;
}

static void toy_wake(void *state)
{
	struct toy_state *x = state;
	struct buf b;

	if (x->toy->kill_on_wake) {
		server_kill(x->session);
		return;
	}
	buf_init(&b, 0);
	toy_add_response(&b, 'w', "woken", 5);
	reply_buf(x, &b);
}

static void toy_writable(void *state)
{
	struct toy_state *x = state;

	if (x->toy->kill_on_writable)
		server_kill(x->session);
	else
		write_long(x);
}

const struct server_protocol toy_protocol = {
	.alpn = "im2000-toy/1",
	.open = toy_open,
	.classify = toy_classify,
	.command = toy_command,
	.data = toy_data,
	.wake = toy_wake,
	.writable = toy_writable,
	.close = toy_close,
};
