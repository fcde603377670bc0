/* For tests: who calls a client, and who answers it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "caller.h"
#include "tempdir.h"
#include "wire/frame.h"

#define WATCHDOG_TURNS 20000

/* --- the other end ----------------------------------------------------------------------- */

static void on_session_ended(void *ctx, struct server_session *s)
{
	struct fixture *f = ctx;

	(void)s;
	f->session = NULL;
}

static void accept_one(struct fixture *f)
{
	struct stream *stream;
	int fd = accept4(f->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return;
	if (f->bare) {
		f->peer = fd;
		return;
	}
	assert_int_equal(stream_plain_create(f->loop, fd, &stream), 0);
	assert_int_equal(server_start(f->loop, stream, &toy_protocol, &f->limits, &f->toy,
	                              on_session_ended, f, &f->session), 0);
}

static void serve_bare(struct fixture *f)
{
	uint8_t octets[8192];
	size_t n = f->pace != 0 && f->pace < f->words.n ? f->pace : f->words.n;
	ssize_t r;

	while (!f->deaf && (r = recv(f->peer, octets, sizeof octets, 0)) > 0)
		assert_int_equal(buf_add(&f->heard, octets, (size_t)r), 0);
	/* Words wait for the first request, so that none is said unasked. */
	if (n > 0 && (f->heard.n > 0 || f->deaf)) {
		r = send(f->peer, buf_view(&f->words).p, n, MSG_NOSIGNAL);
		if (r > 0)
			buf_consume(&f->words, (size_t)r);
	}
	if (f->hangs_up && f->words.n == 0 && f->heard.n > 0) {
		close(f->peer);
		f->peer = -1;
		f->hangs_up = false;
	}
}

static void on_turn_end(struct loop_hook *hook)
{
	struct fixture *f = (struct fixture *)(void *)((char *)hook - offsetof(struct fixture, hook));

	if (f->done)
		return;
	f->turns++;
	accept_one(f);
	if (f->peer >= 0)
		serve_bare(f);
	if (f->until(f) || f->turns >= WATCHDOG_TURNS) {
		f->done = true;
		loop_stop(f->loop);
	}
}

static void on_tick(void *ctx)
{
	struct fixture *f = ctx;

	loop_timer_start(f->tick, MS);
}

/* --- the client's caller ----------------------------------------------------------------- */

static void on_closed(void *ctx, int error, const char *why)
{
	struct fixture *f = ctx;
	unsigned i;

	f->closed++;
	f->closed_error = error;
	snprintf(f->closed_why, sizeof f->closed_why, "%s", why);
	for (i = 0; i < f->n; i++)
		assert_true(f->requests[i].end != NONE || f->requests[i].handle == NULL);
	assert_int_equal(client_pending(f->client), 0);
	if (f->free_in_closed) {
		client_free(f->client);
		f->client = NULL;
	}
}

static void beside(struct request *r)
{
	if (r->cancels != NULL) {
		client_cancel(r->cancels->handle);
		r->cancels->handle = NULL;
		r->cancels = NULL;
	}
	if (r->free_client) {
		r->free_client = false;
		client_free(r->f->client);
		r->f->client = NULL;
	}
}

static void finish(struct request *r, enum end end)
{
	assert_int_equal(r->end, NONE);
	assert_non_null(r->handle); /* cancelled ones hear nothing */
	r->end = end;
	r->handle = NULL;
	r->order = ++r->f->ended;
}

static void on_response(void *ctx, struct span body, uint64_t total)
{
	struct request *r = ctx;

	r->total = total;
	r->head = body.n;
	assert_int_equal(buf_add(&r->body, body.p, body.n), 0);
	if (body.n == total && total <= (r->f->options.response_octets != 0
	                                     ? r->f->options.response_octets : 1 << 20))
		finish(r, RESPONSE);
	beside(r);
	/* The view lives as long as the call, whatever that did. */
	assert_memory_equal(body.p, buf_view(&r->body).p, body.n);
}

static void on_data(void *ctx, struct span octets, bool last)
{
	struct request *r = ctx;

	assert_false(r->last);
	r->pieces++;
	r->last = last;
	assert_int_equal(buf_add(&r->body, octets.p, octets.n), 0);
	if (last)
		finish(r, RESPONSE);
	r->free_client = r->free_at_data;
	beside(r);
}

static void on_failed(void *ctx, int error, const char *why)
{
	struct request *r = ctx;

	finish(r, FAILED);
	r->error = error;
	snprintf(r->why.text, sizeof r->why.text, "%s", why);
	beside(r);
}

void caller_write_tail(struct request *r)
{
	uint8_t octets[3000];
	size_t n, i, taken;

	do {
		n = sizeof octets;
		if (n > r->tail_end - r->tail_at)
			n = (size_t)(r->tail_end - r->tail_at);
		for (i = 0; i < n; i++)
			octets[i] = toy_octet(r->tail_at + i);
		taken = client_write(r->f->client, octets, n);
		r->tail_at += taken;
	} while (n > 0 && taken == n);
}

static int on_tail(void *ctx, struct client *c)
{
	struct request *r = ctx;

	assert_ptr_equal(c, r->f->client);
	if (r->tail_error < 0)
		return r->tail_error;
	if (!r->shy)
		caller_write_tail(r);
	beside(r);
	return 0;
}

/* --- setting up and running -------------------------------------------------------------- */

void caller_setup(struct fixture *f, bool bare)
{
	memset(f, 0, sizeof *f);
	assert_int_equal(loop_create(&f->loop), 0);
	f->hook = (struct loop_hook){ .run = on_turn_end, .rank = 20 };
	loop_hook_add(f->loop, &f->hook);
	assert_int_equal(loop_timer_create(f->loop, on_tick, f, &f->tick), 0);
	loop_timer_start(f->tick, MS);
	f->dir = tempdir_make();
	f->bare = bare;
	f->peer = -1;
	buf_init(&f->heard, 0);
	buf_init(&f->words, 0);
	server_limits_default(&f->limits);
	f->limits.command_octets = 64;
	f->address.sun_family = AF_UNIX;
	snprintf(f->address.sun_path, sizeof f->address.sun_path, "%s/s", f->dir);
	f->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_true(f->listener >= 0);
	assert_int_equal(bind(f->listener, (struct sockaddr *)&f->address, sizeof f->address), 0);
	assert_int_equal(listen(f->listener, 8), 0);
	f->options = (struct client_options){
		.domain = "b.example",
		.service = LOCATE_MSRAP,
		.dial.unix_path = f->address.sun_path,
		.closed = on_closed,
		.ctx = f,
	};
}

void caller_connect(struct fixture *f)
{
	assert_int_equal(client_create(f->loop, &f->options, &f->client), 0);
}

void caller_teardown(struct fixture *f)
{
	unsigned i;

	client_free(f->client);
	if (f->session != NULL)
		server_kill(f->session);
	if (f->peer >= 0)
		close(f->peer);
	close(f->listener);
	for (i = 0; i < f->n; i++)
		buf_free(&f->requests[i].body);
	buf_free(&f->heard);
	buf_free(&f->words);
	loop_hook_remove(f->loop, &f->hook);
	loop_timer_free(f->tick);
	loop_free(f->loop);
	tempdir_remove(f->dir);
}

void caller_run_until(struct fixture *f, bool (*until)(struct fixture *f))
{
	f->until = until;
	f->turns = 0;
	for (f->done = false; !f->done;)
		loop_run(f->loop);
	assert_true(f->turns < WATCHDOG_TURNS);
}

bool caller_all_ended(struct fixture *f)
{
	unsigned i;

	for (i = 0; i < f->n; i++)
		if (f->requests[i].handle != NULL)
			return false;
	return true;
}

bool caller_is_closed(struct fixture *f)
{
	return f->closed > 0;
}

bool caller_is_open(struct fixture *f)
{
	return client_is_open(f->client) && (f->session != NULL || f->peer >= 0);
}

bool caller_is_freed(struct fixture *f)
{
	return f->client == NULL;
}

bool caller_after_turns(struct fixture *f)
{
	return f->turns >= 10;
}

struct request *caller_ask_with(struct fixture *f, char letter, const char *data, uint64_t tail,
                                uint64_t timeout_us)
{
	struct request *r = &f->requests[f->n];
	struct client_call call = {
		.tail_octets = tail,
		.tail = on_tail,
		.response = on_response,
		.data = f->no_data ? NULL : on_data,
		.failed = on_failed,
		.ctx = r,
		.timeout_us = timeout_us,
	};
	struct buf b;
	unsigned ended = f->ended;

	assert_true(f->n < REQUESTS_MAX);
	f->n++;
	*r = (struct request){ .f = f, .tail_end = tail };
	buf_init(&r->body, 0);
	buf_init(&b, 0);
	toy_add_command(&b, letter, data, strlen(data));
	frame_put_length(b.p, (uint32_t)(strlen(data) + 2 + tail));
	call.frame = buf_view(&b);
	assert_int_equal(client_send(f->client, &call, &r->handle), 0);
	assert_int_equal(f->ended, ended); /* nothing comes from inside */
	buf_free(&b);
	return r;
}

struct request *caller_ask(struct fixture *f, char letter, const char *data)
{
	return caller_ask_with(f, letter, data, 0, 0);
}

struct request *caller_ask_long(struct fixture *f, uint32_t n)
{
	struct request *r = &f->requests[f->n];
	struct client_call call = {
		.response = on_response, .data = on_data, .failed = on_failed, .ctx = r,
	};
	struct buf b, none;

	f->n++;
	*r = (struct request){ .f = f };
	buf_init(&r->body, 0);
	buf_init(&b, 0);
	buf_init(&none, 0);
	toy_add_long(&b, &none, n);
	call.frame = buf_view(&b);
	assert_int_equal(client_send(f->client, &call, &r->handle), 0);
	buf_free(&b);
	buf_free(&none);
	return r;
}

void caller_assert_answer(const struct request *r, char letter, const char *data)
{
	struct span body = buf_view(&r->body);

	if (r->end != RESPONSE)
		fail_msg("no response: %s", r->why.text);
	assert_int_equal(body.n, 2 + strlen(data));
	assert_int_equal(body.p[1], letter);
	assert_memory_equal(body.p + 2, data, strlen(data));
}

void caller_assert_sum(const struct request *r, char letter, size_t n)
{
	struct buf out, want;

	buf_init(&out, 0);
	buf_init(&want, 0);
	toy_add_stream(&out, &want, letter, n);
	assert_int_equal(r->end, RESPONSE);
	assert_int_equal(r->body.n, want.n - FRAME_PREFIX);
	assert_memory_equal(buf_view(&r->body).p, want.p + FRAME_PREFIX, r->body.n);
	buf_free(&out);
	buf_free(&want);
}

void caller_assert_failed(const struct request *r, int error, const char *why)
{
	assert_int_equal(r->end, FAILED);
	assert_int_equal(r->error, error);
	if (strstr(r->why.text, why) == NULL)
		fail_msg("\"%s\" says nothing of \"%s\"", r->why.text, why);
}

void caller_cancel(struct request *r)
{
	client_cancel(r->handle);
	r->handle = NULL;
}
