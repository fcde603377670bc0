#include "mua-agent/line.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "message/decode.h"
#include "wire/early.h"

#define STREAM_OCTETS 65536

struct lines {
	const struct config *config;
	struct loop *loop;
	struct locator *locator;
	struct tls_config *tls;
	char tickets[PATH_MAX]; /* the file that keeps them; "": none does */
};

struct line {
	struct lines *lines;
	struct client *client;
	int ended; /* why the connection is over; 0: it is not */
	struct err_text why;
};

/* Tickets are for early data: without it they would save no time worth a file. */
static int load_tickets(struct lines *x, struct err_text *e)
{
	int r;

	if (!x->config->early_data) {
		return 0;
	}
	if ((r = file_path(x->config->data, "tickets", x->tickets, e)) == 0) {
		tls_config_load_tickets(x->tls, x->tickets);
	}
	return r;
}

int lines_create(const struct config *c, struct lines **out, struct err_text *e)
{
	const struct locate_options locate = {
		.servers = (const char *const *)c->dns_server.item,
		.n_servers = c->dns_server.n,
		.routes = c->routes,
		.n_routes = c->n_routes,
	};
	const struct tls_options tls = {
		.ca_file = c->ca_file,
		.early_octets = c->early_data ? EARLY_OCTETS : 0,
	};
	struct lines *x = calloc(1, sizeof *x);
	int r;

	if (x == NULL) {
		return err_set(e, ERR_NOMEM, "out of memory");
	}
	x->config = c;
	if ((r = loop_create(&x->loop)) != 0) {
		err_set(e, r, "start the event loop: %s", err_phrase(r));
	} else if ((r = tls_config_create(&tls, &x->tls, e)) == 0 &&
	           (r = load_tickets(x, e)) == 0) {
		r = locator_create(x->loop, &locate, &x->locator, e);
	}
	if (r != 0) {
		lines_free(x);
		return r;
	}
	*out = x;
	return 0;
}

void lines_free(struct lines *x)
{
	if (x == NULL) {
		return;
	}
	if (x->locator != NULL) {
		locator_free(x->locator);
	}
	if (x->tls != NULL && x->tickets[0] != '\0') {
		(void)tls_config_save_tickets(x->tls, x->tickets); /* a full handshake more */
	}
	tls_config_drop(x->tls);
	loop_free(x->loop);
	free(x);
}

struct loop *lines_loop(struct lines *x)
{
	return x->loop;
}

static struct dial_options dial_options(struct lines *x, bool own)
{
	return (struct dial_options) { .locator = x->locator,
		                       .tls = x->tls,
		                       .allow_private = own || x->config->allow_private };
}

struct dial_options lines_dial(struct lines *x)
{
	return dial_options(x, true);
}

static void on_closed(void *ctx, int error, const char *why)
{
	struct line *l = ctx;

	l->ended = err_set(&l->why, error, "%s", why);
}

int line_open(struct lines *x, const char *domain, enum locate_service service, bool own,
              struct line **out, struct err_text *e)
{
	struct line *l = calloc(1, sizeof *l);
	struct client_options options = {
		.domain = domain,
		.service = service,
		/* What a stranger's store sends is not collected, but streamed. */
		.response_octets = service == LOCATE_MSRAP ? STREAM_OCTETS : 0,
		.dial = dial_options(x, own),
		.closed = on_closed,
		.ctx = l,
	};
	int r;

	if (l == NULL) {
		return err_set(e, ERR_NOMEM, "out of memory");
	}
	l->lines = x;
	if ((r = client_create(x->loop, &options, &l->client)) != 0) {
		free(l);
		return err_set(e, r, "connect to %s: %s", domain, err_phrase(r));
	}
	*out = l;
	return 0;
}

/* The session cannot go on: what waits is told by line_finish. Allowed in callbacks. */
static void cut(struct line *l)
{
	client_free(l->client);
	l->client = NULL;
	l->ended = err_set(&l->why, ERR_CLOSED, "the connection was closed after a bad answer");
}

void line_close(struct line *l)
{
	if (l != NULL) {
		client_free(l->client);
		free(l);
	}
}

struct client *line_client(struct line *l)
{
	return l->client;
}

bool line_is_closed(const struct line *l)
{
	return l->ended != 0;
}

static void end(struct line_request *r, int result)
{
	r->done = true;
	r->result = result;
	loop_stop(r->line->lines->loop);
}

static void on_failed(void *ctx, int error, const char *why)
{
	struct line_request *r = ctx;

	err_set(&r->why, error, "%s", why != NULL && why[0] != '\0' ? why : err_phrase(error));
	end(r, error);
}

/* Of a response that ANSWER or DATA refuses the rest is not waited for: it may be any length. */
static void on_response(void *ctx, struct span body, uint64_t total)
{
	struct line_request *r = ctx;
	int result = r->answer(r->ctx, body, total, &r->why);

	if (body.n == total || result != 0) {
		end(r, result);
	}
	if (body.n < total && result != 0) {
		cut(r->line);
	}
}

static void on_data(void *ctx, struct span octets, bool last)
{
	struct line_request *r = ctx;
	int result = octets.n > 0 ? r->data(r->ctx, octets, &r->why) : 0;

	if (last || result != 0) {
		end(r, result);
	}
	if (!last && result != 0) {
		cut(r->line);
	}
}

static int on_tail(void *ctx, struct client *c)
{
	struct line_request *r = ctx;

	return r->tail(r->ctx, c);
}

int line_send(struct line *l, struct line_request *r, struct span frame, struct err_text *e)
{
	const struct client_call call = {
		.frame = frame,
		.tail_octets = r->tail_octets,
		.tail = r->tail != NULL ? on_tail : NULL,
		.response = on_response,
		.data = r->data != NULL ? on_data : NULL,
		.failed = on_failed,
		.ctx = r,
		.timeout_us = r->timeout_us,
	};
	int result;

	r->line = l;
	r->done = false;
	r->result = 0;
	r->why.text[0] = '\0';
	result = l->client == NULL ? ERR_CLOSED : client_send(l->client, &call, &r->handle);
	if (result != 0) {
		r->done = true;
		r->result = result;
		if (result == ERR_CLOSED && l->ended != 0) {
			result = r->result = err_set(e, l->ended, "%s", l->why.text);
		} else {
			err_set(e, result, "%s", err_phrase(result));
		}
	}
	return result;
}

int line_finish(struct line_request *r, struct err_text *e)
{
	struct line *l = r->line;

	while (!r->done && l->client != NULL) {
		loop_run(l->lines->loop);
	}
	if (!r->done) {
		r->done = true;
		r->result = err_set(&r->why, l->ended, "%s", l->why.text);
	}
	if (r->result != 0) {
		err_set(e, r->result, "%s",
		        r->why.text[0] != '\0' ? r->why.text : err_phrase(r->result));
	}
	return r->result;
}

int line_call(struct line *l, struct line_request *r, struct span frame, struct err_text *e)
{
	int result = line_send(l, r, frame, e);

	return result != 0 ? result : line_finish(r, e);
}

static const struct {
	enum wire_status status;
	int error;
	const char *words;
} meanings[] = {
	{ WIRE_STATUS_COMMAND_TIMEOUT, ERR_TIMEOUT, "the service waited too long" },
	{ WIRE_STATUS_SERVICE_SHUTDOWN, ERR_AGAIN, "the service is shutting down, try again" },
	{ WIRE_STATUS_INTERNAL_PROBLEM, ERR_AGAIN, "the service has a problem, try again later" },
	{ WIRE_STATUS_NOT_AUTHENTICATED, ERR_DENIED, "login or password is wrong" },
	{ WIRE_STATUS_NOT_PERMITTED, ERR_DENIED, "it is not permitted" },
	{ WIRE_STATUS_NOT_ENOUGH_ROOM, ERR_FULL, "the service has no room, try again later" },
	{ WIRE_STATUS_WOULD_EXCEED_QUOTA, ERR_DENIED, "the account's quota is used up" },
	{ WIRE_STATUS_LIFETIME_TOO_SHORT, ERR_DENIED, "the lifetime is too short" },
	{ WIRE_STATUS_NO_SUCH_MESSAGE, ERR_NOT_FOUND, "there is no such message" },
	{ WIRE_STATUS_NO_SUCH_MAILBOX, ERR_NOT_FOUND, "there is no such mailbox" },
	{ WIRE_STATUS_NO_SUCH_LIST, ERR_NOT_FOUND, "there is no such list" },
	{ WIRE_STATUS_TOO_BIG, ERR_TOO_BIG, "it is too big" },
	{ WIRE_STATUS_TRY_LATER, ERR_AGAIN, "the service says: try again later" },
	{ WIRE_STATUS_DIGEST_MISMATCH, ERR_PROTOCOL, "the octets that arrived were others" },
	{ WIRE_STATUS_UNSUPPORTED, ERR_UNSUPPORTED, "the service does not support it" },
	{ WIRE_STATUS_WITHDRAWN, ERR_NOT_FOUND, "the sender has withdrawn it, or it has expired" },
};

int line_status(enum wire_status status, bool has_text, struct span text, struct err_text *why)
{
	const char *words = wire_status_name(status);
	int error = ERR_PROTOCOL;
	char said[256] = "";
	struct span view;

	if (status == WIRE_STATUS_OK) {
		return 0;
	}
	for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++) {
		if (meanings[i].status == status) {
			error = meanings[i].error;
			words = meanings[i].words;
		}
	}
	if (has_text) {
		decode_safe_text(text, said, sizeof said, &view);
	}
	return said[0] == '\0' ? err_set(why, error, "%s", words)
	                       : err_set(why, error, "%s (%s)", words, said);
}
