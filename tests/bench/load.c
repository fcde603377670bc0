#include "tests/bench/load.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "tests/bench/tool.h"

#define EVENTS 64
#define READ_OCTETS ((size_t)128 * 1024)
#define TICKETS_MAX 256

struct conn {
	struct target *target;
	const struct conn_handler *handler;
	void *ctx;
	int fd;
	SSL *ssl; /* NULL: plain */
	bool connected, open, closed, finished, wants_write;
	struct buf in;  /* came and was not taken */
	struct buf out; /* to be sent */
	size_t early;   /* so many octets of OUT are in the first flight */
	struct conn *prev, *next; /* of the target */
	struct conn *dirty;       /* the next of those that may have something to send */
	bool is_dirty;
};

struct target {
	struct load *load;
	struct target_options o;
	SSL_CTX *ctx; /* NULL: plain */
	struct conn *conns;
	SSL_SESSION *tickets[TICKETS_MAX];
	size_t n_tickets;
	uint64_t handshakes, resumed, early;
};

struct load {
	int epoll;
	bool stop;
	struct conn *gone, *dirty;
	uint8_t *room; /* READ_OCTETS */
};

static void fail_ssl(const char *doing)
{
	const char *reason = ERR_reason_error_string(ERR_peek_error());

	tool_fatal("%s: %s", doing, reason != NULL ? reason : strerrordesc_np(errno));
}

/* ---- many connections --------------------------------------------------------------- */

struct load *load_create(void)
{
	struct load *l = tool_zero(sizeof *l);

	l->room = tool_zero(READ_OCTETS);
	l->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll < 0)
		tool_fatal("epoll_create1: %s", strerrordesc_np(errno));
	return l;
}

static void conn_free(struct conn *c)
{
	SSL_free(c->ssl);
	buf_free(&c->in);
	buf_free(&c->out);
	free(c);
}

static void free_gone(struct load *l)
{
	while (l->gone != NULL) {
		struct conn *c = l->gone;

		l->gone = c->next;
		conn_free(c);
	}
}

void load_free(struct load *l)
{
	if (l == NULL)
		return;
	free_gone(l);
	close(l->epoll);
	free(l->room);
	free(l);
}

void load_stop(struct load *l)
{
	l->stop = true;
}

/* ---- targets ------------------------------------------------------------------------ */

static int on_ticket(SSL *ssl, SSL_SESSION *session)
{
	struct target *t = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

	if (t->n_tickets == TICKETS_MAX)
		return 0;
	/* A copy: the connection goes on to change its own. */
	session = SSL_SESSION_dup(session);
	if (session != NULL)
		t->tickets[t->n_tickets++] = session;
	return 0;
}

static void make_context(struct target *t)
{
	const struct target_options *o = &t->o;

	t->ctx = SSL_CTX_new(TLS_client_method());
	if (t->ctx == NULL || SSL_CTX_set_min_proto_version(t->ctx, TLS1_3_VERSION) != 1 ||
	    /* As our clients have it (net/tls_config.c); the peers take what the client likes best. */
	    SSL_CTX_set_ciphersuites(t->ctx, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384") != 1 ||
	    SSL_CTX_load_verify_file(t->ctx, o->ca_file) != 1)
		fail_ssl(o->ca_file);
	SSL_CTX_set_app_data(t->ctx, t);
	SSL_CTX_set_verify(t->ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_mode(t->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
	                             SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_read_ahead(t->ctx, 1);
	SSL_CTX_set_default_read_buffer_len(t->ctx, READ_OCTETS);
	SSL_CTX_set_session_cache_mode(t->ctx,
	                               SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	if (o->resume)
		SSL_CTX_sess_set_new_cb(t->ctx, on_ticket);
	if (o->certificate != NULL &&
	    (SSL_CTX_use_certificate_chain_file(t->ctx, o->certificate) != 1 ||
	     SSL_CTX_use_PrivateKey_file(t->ctx, o->key, SSL_FILETYPE_PEM) != 1))
		fail_ssl(o->certificate);
}

struct target *target_create(struct load *l, const struct target_options *options)
{
	struct target *t = tool_zero(sizeof *t);

	t->load = l;
	t->o = *options;
	if (options->ca_file != NULL)
		make_context(t);
	return t;
}

void target_free(struct target *t)
{
	if (t == NULL)
		return;
	while (t->conns != NULL)
		conn_close(t->conns);
	while (t->n_tickets > 0)
		SSL_SESSION_free(t->tickets[--t->n_tickets]);
	SSL_CTX_free(t->ctx);
	free(t);
}

uint64_t target_handshakes(const struct target *t)
{
	return t->handshakes;
}

uint64_t target_resumed(const struct target *t)
{
	return t->resumed;
}

uint64_t target_early(const struct target *t)
{
	return t->early;
}

/* ---- one connection ----------------------------------------------------------------- */

static void watch(struct conn *c, int operation, bool wants_write)
{
	struct epoll_event e = { .events = EPOLLIN, .data = { .ptr = c } };

	if (wants_write)
		e.events |= EPOLLOUT;
	c->wants_write = wants_write;
	if (epoll_ctl(c->target->load->epoll, operation, c->fd, &e) != 0)
		tool_fatal("epoll_ctl: %s", strerrordesc_np(errno));
}

static void make_ssl(struct conn *c)
{
	struct target *t = c->target;
	const struct target_options *o = &t->o;
	unsigned char wire[256];

	c->ssl = SSL_new(t->ctx);
	if (c->ssl == NULL || SSL_set_fd(c->ssl, c->fd) != 1 ||
	    SSL_set_tlsext_host_name(c->ssl, o->domain) != 1 ||
	    SSL_set1_host(c->ssl, o->domain) != 1)
		fail_ssl("SSL_new");
	if (o->alpn != NULL) {
		wire[0] = (unsigned char)strlen(o->alpn);
		memcpy(wire + 1, o->alpn, wire[0]);
		if (SSL_set_alpn_protos(c->ssl, wire, wire[0] + 1U) != 0)
			fail_ssl(o->alpn);
	}
	if (o->resume && t->n_tickets > 0) {
		/* The last one serves until there is another. */
		SSL_SESSION *session = t->tickets[t->n_tickets - 1];

		SSL_set_session(c->ssl, session);
		if (t->n_tickets > 1) {
			t->n_tickets--;
			SSL_SESSION_free(session);
		}
	}
	SSL_set_connect_state(c->ssl);
}

struct conn *conn_open(struct target *t, const struct conn_handler *handler, void *ctx)
{
	const struct address *to = &t->o.address;
	struct conn *c = tool_zero(sizeof *c);
	int on = 1;

	c->target = t;
	c->handler = handler;
	c->ctx = ctx;
	buf_init(&c->in, 0);
	buf_init(&c->out, 0);
	c->fd = socket(to->u.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		tool_fatal("socket: %s", strerrordesc_np(errno));
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (connect(c->fd, &to->u.sa, to->n) != 0 && errno != EINPROGRESS)
		tool_fatal("connect: %s", strerrordesc_np(errno));
	if (t->ctx != NULL)
		make_ssl(c);
	c->next = t->conns;
	if (c->next != NULL)
		c->next->prev = c;
	t->conns = c;
	watch(c, EPOLL_CTL_ADD, true);
	return c;
}

static void soil(struct conn *c)
{
	struct load *l = c->target->load;

	if (c->is_dirty || c->closed)
		return;
	c->is_dirty = true;
	c->dirty = l->dirty;
	l->dirty = c;
}

void conn_write(struct conn *c, const void *p, size_t n)
{
	if (buf_add(&c->out, p, n) != 0)
		tool_fatal("memory is out");
	soil(c);
}

void conn_close(struct conn *c)
{
	struct target *t = c->target;
	struct load *l = t->load;

	if (c->closed)
		return;
	c->closed = true;
	if (c->open && c->ssl != NULL)
		SSL_shutdown(c->ssl);
	close(c->fd);
	if (c->prev != NULL)
		c->prev->next = c->next;
	else
		t->conns = c->next;
	if (c->next != NULL)
		c->next->prev = c->prev;
	/* An event of this turn may still name it. */
	c->next = l->gone;
	l->gone = c;
}

void conn_finish(struct conn *c)
{
	c->finished = true;
	soil(c);
}

/* >0: octets; 0: later; -1: the server has closed. */
static ssize_t get(struct conn *c, uint8_t *p, size_t cap)
{
	ssize_t n;

	if (c->ssl == NULL) {
		n = read(c->fd, p, cap);
		if (n < 0 && errno != EAGAIN)
			tool_fatal("read: %s", strerrordesc_np(errno));
		return n == 0 ? -1 : n < 0 ? 0 : n;
	}
	ERR_clear_error();
	n = SSL_read(c->ssl, p, (int)cap);
	if (n > 0)
		return n;
	switch (SSL_get_error(c->ssl, (int)n)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return 0;
	case SSL_ERROR_ZERO_RETURN:
		return -1;
	default:
		fail_ssl("SSL_read");
		return -1;
	}
}

/* How many octets went. */
static size_t put(struct conn *c, struct span s)
{
	ssize_t n;

	if (c->ssl == NULL) {
		n = write(c->fd, s.p, s.n);
		if (n < 0 && errno != EAGAIN)
			tool_fatal("write: %s", strerrordesc_np(errno));
		return n < 0 ? 0 : (size_t)n;
	}
	ERR_clear_error();
	n = SSL_write(c->ssl, s.p, (int)s.n);
	if (n > 0)
		return (size_t)n;
	if (SSL_get_error(c->ssl, (int)n) != SSL_ERROR_WANT_WRITE)
		fail_ssl("SSL_write");
	return 0;
}

static void flush(struct conn *c)
{
	bool blocked = false;

	while (c->open && c->out.n > 0 && !blocked) {
		size_t n = put(c, buf_view(&c->out));

		buf_consume(&c->out, n);
		blocked = n == 0;
	}
	if (c->finished && c->out.n == 0)
		conn_close(c);
	else if (c->open && blocked != c->wants_write)
		watch(c, EPOLL_CTL_MOD, blocked);
}

/* What waits goes with the first flight. */
static void send_early(struct conn *c)
{
	const SSL_SESSION *session = SSL_get0_session(c->ssl);
	struct span out = buf_view(&c->out);

	if (!c->target->o.early || session == NULL || out.n == 0 ||
	    SSL_SESSION_get_max_early_data(session) < out.n)
		return;
	if (SSL_write_early_data(c->ssl, out.p, out.n, &c->early) != 1)
		fail_ssl("early data");
}

/* What the server did not take is sent again. */
static void settle_early(struct conn *c)
{
	if (c->early == 0 || SSL_get_early_data_status(c->ssl) != SSL_EARLY_DATA_ACCEPTED)
		return;
	buf_consume(&c->out, c->early);
	c->target->early++;
}

static void on_open(struct conn *c)
{
	c->open = true;
	if (c->ssl != NULL) {
		c->target->handshakes++;
		c->target->resumed += SSL_session_reused(c->ssl) == 1;
		settle_early(c);
	}
	if (c->handler->opened != NULL)
		c->handler->opened(c->ctx, c);
	if (!c->closed)
		soil(c);
}

static void shake_hands(struct conn *c)
{
	int rc, number = 0;
	socklen_t n = sizeof number;

	if (!c->connected) {
		if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &number, &n) != 0 || number != 0)
			tool_fatal("connect: %s", strerrordesc_np(number));
		c->connected = true;
		if (c->ssl != NULL) {
			watch(c, EPOLL_CTL_MOD, false);
			ERR_clear_error();
			send_early(c);
		}
	}
	if (c->ssl == NULL) {
		on_open(c);
		return;
	}
	ERR_clear_error();
	rc = SSL_do_handshake(c->ssl);
	if (rc == 1)
		on_open(c);
	else if (SSL_get_error(c->ssl, rc) != SSL_ERROR_WANT_READ)
		fail_ssl("TLS handshake");
}

/* Gives OCTETS to the handler, after what it left before; keeps what it leaves now. */
static void hand_over(struct conn *c, struct span octets)
{
	size_t taken;

	if (c->in.n == 0) {
		taken = c->handler->received(c->ctx, c, octets);
		octets = span_after(octets, taken);
	}
	if (c->closed || c->finished || octets.n == 0)
		return;
	if (c->in.n > 0) {
		if (buf_add(&c->in, octets.p, octets.n) != 0)
			tool_fatal("memory is out");
		taken = c->handler->received(c->ctx, c, buf_view(&c->in));
		if (!c->closed)
			buf_consume(&c->in, taken);
	} else if (buf_add(&c->in, octets.p, octets.n) != 0) {
		tool_fatal("memory is out");
	}
}

static void read_all(struct conn *c)
{
	uint8_t *room = c->target->load->room;
	ssize_t n = 1;

	while (n > 0 && !c->closed && !c->finished) {
		n = get(c, room, READ_OCTETS);
		if (n > 0)
			hand_over(c, span_of(room, (size_t)n));
	}
	if (n < 0 && !c->closed && !c->finished) {
		if (c->handler->ended == NULL)
			tool_fatal("the server has closed a connection");
		c->handler->ended(c->ctx, c);
		if (!c->closed)
			conn_close(c);
	}
}

static void clean(struct load *l)
{
	while (l->dirty != NULL) {
		struct conn *c = l->dirty;

		l->dirty = c->dirty;
		c->is_dirty = false;
		if (!c->closed)
			flush(c);
	}
}

static void acknowledge(struct conn *c)
{
	int on = 1;

	/* It does not last: the kernel falls back by itself. */
	setsockopt(c->fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
}

static void serve(struct conn *c, uint32_t events)
{
	if (c->closed)
		return;
	if (!c->open)
		shake_hands(c);
	else if ((events & EPOLLOUT) != 0)
		soil(c);
	if (c->open && !c->closed && (events & ~(uint32_t)EPOLLOUT) != 0)
		read_all(c);
	if (c->target->o.quick_ack && !c->closed)
		acknowledge(c);
	clean(c->target->load);
}

void load_run(struct load *l, uint64_t after_us)
{
	uint64_t end_us = clock_mono_us() + after_us;

	l->stop = false;
	clean(l);
	while (!l->stop) {
		struct epoll_event events[EVENTS];
		int n, wait_ms = -1;

		if (after_us > 0) {
			uint64_t now_us = clock_mono_us();

			if (now_us >= end_us)
				return;
			wait_ms = (int)((end_us - now_us) / 1000 + 1);
		}
		n = epoll_wait(l->epoll, events, EVENTS, wait_ms);
		if (n < 0 && errno != EINTR)
			tool_fatal("epoll_wait: %s", strerrordesc_np(errno));
		for (int i = 0; i < n; i++)
			serve(events[i].data.ptr, events[i].events);
		clean(l);
		free_gone(l);
	}
}
