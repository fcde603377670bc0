/*
 * Serves the metrics by the least of HTTP/1.1 (RFC 9112) that will do: one GET a
 * connection. On the main thread, whose loop has little else to do, at a loopback
 * address or UNIX socket.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "base/clock.h"
#include "base/conf.h"
#include "session/daemon_state.h"

#define CONNECTIONS 16
#define REQUEST_MAX 8192
#define TIME_US (10 * CLOCK_SECOND_US) /* for a request and its answer */

/* A connection: a request comes, its answer goes, it ends. */
struct visit {
	struct visit *prev, *next;
	struct daemon_metrics *metrics;
	struct stream *stream;
	struct loop_timer *timer;
	struct address peer;
	struct buf in, out;
	bool answered;
};

struct daemon_metrics {
	struct daemon *daemon;
	struct listener *listener;
	struct listen_limits *limits;
	struct visit *visits;
};

/* --- requests ------------------------------------------------------------------------------ */

static void visit_free(struct visit *v)
{
	struct daemon_metrics *x = v->metrics;

	*(v->prev != NULL ? &v->prev->next : &x->visits) = v->next;
	if (v->next != NULL)
		v->next->prev = v->prev;
	listen_limits_drop(x->limits, &v->peer);
	loop_timer_free(v->timer);
	stream_free(v->stream);
	buf_free(&v->in);
	buf_free(&v->out);
	free(v);
}

static void send_some(struct visit *v)
{
	while (v->out.n > 0) {
		struct span p = buf_view(&v->out);
		ssize_t n = stream_write(v->stream, p.p, p.n);

		if (n <= 0)
			return; /* `writable` or `closed` comes */
		buf_consume(&v->out, (size_t)n);
	}
	stream_finish(v->stream);
}

/* BODY goes with all but HEAD requests, its length with all. */
static void answer(struct visit *v, const char *status, const char *more, struct span body,
                   bool head)
{
	v->answered = true;
	stream_want_read(v->stream, false);
	if (buf_addf(&v->out, "HTTP/1.1 %s\r\nContent-Type: text/plain; version=0.0.4; "
	             "charset=utf-8\r\nContent-Length: %zu\r\n%sConnection: close\r\n\r\n", status,
	             body.n, more) != 0 || (!head && buf_add(&v->out, body.p, body.n) != 0)) {
		visit_free(v);
		return;
	}
	send_some(v);
}

static void answer_metrics(struct visit *v, bool head)
{
	struct metrics m;

	metrics_init(&m);
	daemon_measure(v->metrics->daemon, &m);
	if (m.error != 0)
		answer(v, "503 Service Unavailable", "", span_str("out of memory\n"), head);
	else
		answer(v, "200 OK", "", buf_view(&m.text), head);
	metrics_free(&m);
}

/* The next word of the request line in *REST. */
static struct span next_word(struct span *rest)
{
	const uint8_t *end = rest->n > 0 ? memchr(rest->p, ' ', rest->n) : NULL;
	struct span word = end != NULL ? span_of(rest->p, (size_t)(end - rest->p)) : *rest;

	*rest = span_after(*rest, word.n + 1);
	return word;
}

/* The header is complete; LINE is its first line. */
static void answer_request(struct visit *v, struct span line)
{
	struct span method = next_word(&line), target = next_word(&line);
	const uint8_t *query = target.n > 0 ? memchr(target.p, '?', target.n) : NULL;
	bool head = span_eq_str(method, "HEAD");

	if (query != NULL)
		target.n = (size_t)(query - target.p);
	if (line.n < 8 || memcmp(line.p, "HTTP/1.", 7) != 0)
		answer(v, "400 Bad Request", "", span_str("not HTTP/1.1\n"), false);
	else if (!head && !span_eq_str(method, "GET"))
		answer(v, "405 Method Not Allowed", "Allow: GET, HEAD\r\n", span_str("only GET\n"), false);
	else if (!span_eq_str(target, "/metrics"))
		answer(v, "404 Not Found", "", span_str("only /metrics is here\n"), head);
	else
		answer_metrics(v, head);
}

static void on_readable(void *ctx)
{
	struct visit *v = ctx;
	struct span in, line;
	uint8_t *at;
	ssize_t n;

	if (v->answered)
		return;
	if (buf_reserve(&v->in, 1024, &at) != 0) {
		answer(v, "431 Request Header Fields Too Large", "", span_str("too long\n"), false);
		return;
	}
	n = stream_read(v->stream, at, 1024);
	if (n == ERR_AGAIN || n < 0)
		return;
	if (n == 0) {
		stream_finish(v->stream);
		return;
	}
	buf_commit(&v->in, (size_t)n);
	in = buf_view(&v->in);
	if (memmem(in.p, in.n, "\r\n\r\n", 4) == NULL && memmem(in.p, in.n, "\n\n", 2) == NULL)
		return;
	line = span_of(in.p, (size_t)((const uint8_t *)memchr(in.p, '\n', in.n) - in.p));
	if (line.n > 0 && line.p[line.n - 1] == '\r')
		line.n--;
	answer_request(v, line);
}

static void on_writable(void *ctx)
{
	send_some(ctx);
}

static void on_closed(void *ctx, int error, const char *why)
{
	(void)error, (void)why;
	visit_free(ctx);
}

static void on_time(void *ctx)
{
	visit_free(ctx);
}

static void on_accepted(void *ctx, struct stream *stream)
{
	static const struct stream_handler handler = {
		.readable = on_readable,
		.writable = on_writable,
		.closed = on_closed,
	};
	struct daemon_metrics *x = ctx;
	struct visit *v = calloc(1, sizeof *v);
	struct stream_info info;

	stream_info(stream, &info);
	if (v == NULL || loop_timer_create(x->daemon->loop, on_time, v, &v->timer) != 0) {
		free(v);
		stream_free(stream);
		listen_limits_drop(x->limits, &info.peer);
		return;
	}
	v->metrics = x;
	v->stream = stream;
	v->peer = info.peer;
	buf_init(&v->in, REQUEST_MAX);
	buf_init(&v->out, 0);
	v->next = x->visits;
	if (v->next != NULL)
		v->next->prev = v;
	x->visits = v;
	loop_timer_start(v->timer, TIME_US);
	stream_set_handler(stream, &handler, v);
}

/* --- where ------------------------------------------------------------------------------- */

static bool is_loopback(const struct address *a)
{
	if (a->u.sa.sa_family == AF_UNIX)
		return true;
	if (a->u.sa.sa_family == AF_INET)
		return ntohl(a->u.v4.sin_addr.s_addr) >> 24 == 127;
	return a->u.sa.sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&a->u.v6.sin6_addr);
}

static const char *unix_path_of(const char *text)
{
	return strncmp(text, "unix:", 5) == 0 ? text + 5 : NULL;
}

bool daemon_metrics_allowed(const char *text)
{
	const char *path = unix_path_of(text);
	struct address address;

	if (path != NULL)
		return path[0] == '/';
	return address_parse(text, &address) == 0 && is_loopback(&address);
}

int daemon_metrics_check(const char *path, const char *text, struct err_text *e)
{
	if (text == NULL || daemon_metrics_allowed(text))
		return 0;
	return conf_error(e, path, 0, "metrics",
	                  "\"%s\" is not allowed: it must be a loopback address or a UNIX socket (as "
	                  "in 127.0.0.1:9400, [::1]:9400, unix:/path)", text);
}

static int listen_at(struct daemon_metrics *x, struct err_text *e)
{
	struct daemon *d = x->daemon;
	const char *text = d->options->metrics;
	struct listen_options options = {
		.unix_path = unix_path_of(text),
		.fd = d->metrics_fd,
		.limits = x->limits,
		.accepted = on_accepted,
		.ctx = x,
	};
	struct address address;
	int rc;

	if (!daemon_metrics_allowed(text))
		return err_set(e, ERR_CONFIG, "metrics at %s: only a loopback address or a UNIX socket is "
		               "allowed, as in 127.0.0.1:9400 or unix:/run/im2000/metrics", text);
	if (options.unix_path == NULL)
		address_parse(text, &options.address);
	d->metrics_fd = -1; /* the listener's from here on */
	rc = listener_create(d->loop, &options, &x->listener, e);
	if (rc < 0)
		return err_prefix(e, rc, "metrics");
	listener_address(x->listener, &address);
	if (!is_loopback(&address))
		return err_set(e, ERR_CONFIG, "metrics: the socket that was handed over is at no "
		               "loopback address");
	return 0;
}

int daemon_metrics_start(struct daemon *d, struct err_text *e)
{
	struct daemon_metrics *x;

	if (d->options->metrics == NULL)
		return 0;
	x = calloc(1, sizeof *x);
	if (x == NULL)
		return err_set(e, ERR_NOMEM, "out of memory");
	d->metrics = x;
	x->daemon = d;
	if (listen_limits_create(CONNECTIONS, 0, &x->limits) != 0)
		return err_set(e, ERR_NOMEM, "out of memory");
	return listen_at(x, e);
}

void daemon_metrics_stop(struct daemon_metrics *x)
{
	if (x == NULL)
		return;
	listener_free(x->listener);
	while (x->visits != NULL)
		visit_free(x->visits);
	listen_limits_free(x->limits);
	free(x);
}

void daemon_metrics_ready(const struct daemon_metrics *x, char *out, size_t cap)
{
	struct address address;
	const struct sockaddr_un *local = (const struct sockaddr_un *)&address.u;
	char text[64];

	out[0] = '\0';
	if (x == NULL)
		return;
	listener_address(x->listener, &address);
	if (address.u.sa.sa_family == AF_UNIX)
		snprintf(out, cap, " metrics=unix:%.*s", (int)sizeof local->sun_path, local->sun_path);
	else
		snprintf(out, cap, " metrics=%s", address_format(&address, text, sizeof text));
}
