/*
 * The TLS transport: OpenSSL between the handler and the socket. It reads
 * straight from the socket and writes into the stream's output buffer, so that
 * whatever a turn brings (records, tickets, alerts) leaves in one system call.
 */
#include "net/tls.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/tls_core.h"

#define RECORD ((size_t)16384)  /* octets of data in one record at most (RFC 8446 section 5.1) */
#define OVERHEAD ((size_t)22)   /* header 5, content type 1, tag 16 */
#define JOIN ((size_t)8192)     /* writes below this share a record */
#define EARLY_LIMIT ((size_t)192 * 1024) /* written before `opened`; fits the output buffer then */
#define WIRE_LIMIT (STREAM_OUT_LIMIT + 64 * 1024) /* with handshake, tickets, key updates, alerts */

static struct tls_stream *tls_of(struct stream *s)
{
	return (struct tls_stream *)s;
}

/* --- OpenSSL's way to the socket ---------------------------------------------------------- */

static int socket_read(BIO *bio, char *p, int n)
{
	struct tls_stream *t = BIO_get_data(bio);
	ssize_t got;

	BIO_clear_retry_flags(bio);
	got = stream_core_recv(&t->base, p, (size_t)n);
	if (got > 0)
		return (int)got;
	if (got == 0) {
		t->socket_ended = true;
		return 0;
	}
	if (got == -EAGAIN)
		BIO_set_retry_read(bio);
	else
		t->socket_errno = (int)-got;
	return -1;
}

static int socket_write(BIO *bio, const char *p, int n)
{
	struct tls_stream *t = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	/* Data are kept within their own limit before: this holds a peer that makes us answer. */
	if (t->base.out.n + (size_t)n > WIRE_LIMIT) {
		BIO_set_retry_write(bio);
		return -1;
	}
	if (buf_add(&t->base.out, p, (size_t)n) < 0)
		return -1;
	stream_hub_dirty(&t->base);
	return n;
}

static long socket_control(BIO *bio, int command, long number, void *p)
{
	const struct tls_stream *t = BIO_get_data(bio);

	(void)number;
	(void)p;
	switch (command) {
	case BIO_CTRL_FLUSH:
		return 1;
	case BIO_CTRL_EOF:
		return t->socket_ended;
	default:
		return 0;
	}
}

static BIO_METHOD *socket_method;

static void make_socket_method(void)
{
	BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "im2000 stream");

	if (m == NULL || BIO_meth_set_read(m, socket_read) != 1
	    || BIO_meth_set_write(m, socket_write) != 1
	    || BIO_meth_set_ctrl(m, socket_control) != 1) {
		BIO_meth_free(m);
		return;
	}
	socket_method = m;
}

/* --- failing ------------------------------------------------------------------------------ */

static void fail_by_reason(struct tls_stream *t, const char *doing)
{
	unsigned long code = ERR_peek_error();
	const char *reason = ERR_reason_error_string(code);
	struct stream *s = &t->base;

	switch (ERR_GET_LIB(code) == ERR_LIB_SSL ? ERR_GET_REASON(code) : 0) {
	case SSL_R_WRONG_VERSION_NUMBER:
	case SSL_R_HTTP_REQUEST:
	case SSL_R_HTTPS_PROXY_REQUEST:
		stream_core_fail(s, ERR_TLS, "the peer does not speak TLS");
		break;
	case SSL_R_UNSUPPORTED_PROTOCOL:
	case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
		stream_core_fail(s, ERR_TLS, "the peer does not speak TLS 1.3");
		break;
	case SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL:
		stream_core_fail(s, ERR_TLS, "the server does not speak %s there",
		                 t->protocol != NULL ? t->protocol : "our protocol");
		break;
	case SSL_R_NO_APPLICATION_PROTOCOL:
	case SSL_R_CALLBACK_FAILED: /* require_alpn */
		stream_core_fail(s, ERR_TLS, "the client offers none of our protocols (ALPN)");
		break;
	default:
		stream_core_fail(s, ERR_TLS, "%s: %s", doing,
		                 reason != NULL ? reason : "unknown fault");
		break;
	}
}

static void fail_handshake(struct tls_stream *t)
{
	if (t->why != NULL)
		stream_core_fail(&t->base, ERR_TLS, "%s", t->why);
	else if (t->socket_errno != 0)
		stream_core_fail(&t->base, ERR_CLOSED, "connection lost in the TLS handshake: %s",
		                 strerrordesc_np(t->socket_errno));
	else if (t->socket_ended)
		stream_core_fail(&t->base, ERR_CLOSED, "the peer closed in the TLS handshake");
	else
		fail_by_reason(t, "TLS handshake");
}

static void fail_open(struct tls_stream *t)
{
	if (t->socket_errno != 0)
		stream_core_fail_errno(&t->base, t->socket_errno);
	else if (t->socket_ended)
		stream_core_fail(&t->base, ERR_CLOSED, "connection cut off (no TLS close_notify)");
	else
		fail_by_reason(t, "TLS");
}

/* --- opening ------------------------------------------------------------------------------ */

/* Encrypts N octets into the output buffer, which has room. 0, or the stream has failed. */
static int encrypt(struct tls_stream *t, const uint8_t *p, size_t n)
{
	size_t done;

	while (n > 0) {
		ERR_clear_error();
		/* Before the handshake is over only this one does not wait for its end. */
		if ((t->base.early ? SSL_write_early_data(t->ssl, p, n, &done)
		                   : SSL_write_ex(t->ssl, p, n, &done)) != 1) {
			fail_by_reason(t, "TLS");
			return ERR_TLS;
		}
		p += done;
		n -= done;
	}
	return 0;
}

static void tls_flush(struct stream *s)
{
	struct tls_stream *t = tls_of(s);
	struct span plain = buf_view(&t->plain);

	if (plain.n == 0)
		return;
	encrypt(t, plain.p, plain.n);
	buf_consume(&t->plain, plain.n);
	if (!s->want_write)
		buf_shrink(&t->plain);
}

/* The server's certificate is checked, by this handshake or by the one that gave the ticket. */
static bool server_is_verified(struct tls_stream *t)
{
	X509 *peer = SSL_get0_peer_certificate(t->ssl);

	return SSL_get_verify_result(t->ssl) == X509_V_OK && peer != NULL
	       && tls_verify_covers(peer, t->domain);
}

void tls_client_known(struct tls_stream *t)
{
	X509 *peer = t->config->ask_client ? SSL_get0_peer_certificate(t->ssl) : NULL;

	/* A ticket brings a certificate back that may have ended since. */
	t->verified = peer != NULL && SSL_get_verify_result(t->ssl) == X509_V_OK
	              && (!SSL_session_reused(t->ssl) || tls_verify_in_time(peer));
}

static const char *agreed_protocol(const struct tls_stream *t)
{
	const unsigned char *p;
	unsigned n;

	SSL_get0_alpn_selected(t->ssl, &p, &n);
	if (t->protocols == NULL)
		return span_eq_str(span_of(p, n), t->protocol) ? t->protocol : NULL;
	for (const char *const *name = t->protocols; *name != NULL; name++)
		if (span_eq_str(span_of(p, n), *name))
			return *name;
	return NULL;
}

/* Of a server's early stream it is not over, but its own part is. */
static void finish_handshake(struct tls_stream *t)
{
	struct stream *s = &t->base;

	t->alpn = agreed_protocol(t);
	if (t->alpn == NULL) {
		stream_core_fail(s, ERR_TLS, "the server does not say that it speaks %s (ALPN)",
		                 t->protocol != NULL ? t->protocol : "our protocol");
		return;
	}
	if (t->protocols == NULL) {
		t->verified = server_is_verified(t);
		if (!t->verified) {
			stream_core_fail(s, ERR_TLS, "certificate is not verified");
			return;
		}
		tls_early_settle(t);
	} else if (!s->early) {
		tls_client_known(t);
	}
	stream_core_opened(s);
	/* In the same flight as the handshake's last message. */
	stream_hub_dirty(s);
}

static void tls_advance(struct stream *s)
{
	struct tls_stream *t = tls_of(s);
	int rc = 0;

	ERR_clear_error();
	if (t->protocols == NULL)
		tls_early_send(t);
	else
		s->early = tls_early_begin(t, &rc);
	if (s->early) {
		finish_handshake(t);
		return;
	}
	if (rc < 0)
		return;
	rc = SSL_do_handshake(t->ssl);
	if (rc == 1)
		finish_handshake(t);
	else
		tls_stalled(t, rc);
}

int tls_stalled(struct tls_stream *t, int rc)
{
	struct stream *s = &t->base;

	if (SSL_get_error(t->ssl, rc) == SSL_ERROR_WANT_READ)
		return ERR_AGAIN;
	if (s->state == STREAM_OPEN && !s->early)
		fail_open(t);
	else
		fail_handshake(t);
	return s->error;
}

/* --- the stream's functions --------------------------------------------------------------- */

static ssize_t tls_read(struct stream *s, void *p, size_t n)
{
	struct tls_stream *t = tls_of(s);
	size_t got;
	int rc;

	if (n == 0)
		return ERR_AGAIN;
	ERR_clear_error();
	t->wants_out = false;
	if (s->early) {
		ssize_t early = tls_early_read(t, p, n);

		t->drained = early < 0;
		if (early != 0)
			return early;
	}
	rc = SSL_read_ex(t->ssl, p, n, &got);
	t->drained = rc != 1;
	if (rc == 1)
		return (ssize_t)got;
	switch (SSL_get_error(t->ssl, rc)) {
	case SSL_ERROR_WANT_READ:
		if (t->got_ticket && SSL_free_buffers(t->ssl) == 1)
			t->got_ticket = false;
		return ERR_AGAIN;
	case SSL_ERROR_WANT_WRITE:
		t->wants_out = true;
		return ERR_AGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	default:
		return tls_stalled(t, rc);
	}
}

static size_t tls_room(const struct stream *s, size_t wire)
{
	const struct tls_stream *t = (const struct tls_stream *)s;
	size_t rest = wire % (RECORD + OVERHEAD);
	size_t room = wire / (RECORD + OVERHEAD) * RECORD;

	if (s->state != STREAM_OPEN)
		return t->plain.n < EARLY_LIMIT ? EARLY_LIMIT - t->plain.n : 0;
	if (rest > OVERHEAD)
		room += rest - OVERHEAD;
	/* What is kept makes one record more. */
	return room > t->plain.n + OVERHEAD ? room - t->plain.n - OVERHEAD : 0;
}

static int tls_write(struct stream *s, const void *p, size_t n)
{
	struct tls_stream *t = tls_of(s);

	if (s->state == STREAM_OPEN) {
		if (t->plain.n + n > RECORD)
			tls_flush(s);
		if (s->state != STREAM_OPEN)
			return s->error;
		if (t->plain.n == 0 && n >= JOIN)
			return encrypt(t, p, n); /* straight from the writer's octets */
	}
	if (buf_add(&t->plain, p, n) < 0)
		return stream_core_fail(s, ERR_NOMEM, "out of memory");
	return 0;
}

static bool tls_pending(const struct stream *s)
{
	const struct tls_stream *t = (const struct tls_stream *)s;

	if (t->wants_out)
		return s->out.n < STREAM_OUT_LIMIT;
	/* SSL_has_pending alone is not enough: it counts the beginning of a record too. */
	return t->ahead.n > 0 || (!t->drained && SSL_has_pending(t->ssl));
}

static void tls_goodbye(struct stream *s)
{
	struct tls_stream *t = tls_of(s);

	tls_flush(s);
	if (s->state != STREAM_CLOSED && !s->send_failed)
		SSL_shutdown(t->ssl);
}

static void tls_info(const struct stream *s, struct stream_info *out)
{
	const struct tls_stream *t = (const struct tls_stream *)s;
	const char *name = SSL_get_servername(t->ssl, TLSEXT_NAMETYPE_host_name);

	out->tls = true;
	out->alpn = t->alpn != NULL ? t->alpn : "";
	out->server_name = name != NULL ? name : "";
	out->peer_verified = t->verified;
}

static bool tls_covers(const struct stream *s, const char *domain)
{
	const struct tls_stream *t = (const struct tls_stream *)s;
	X509 *peer = t->verified ? SSL_get0_peer_certificate(t->ssl) : NULL;

	return peer != NULL && tls_verify_covers(peer, domain);
}

/* Also of a stream that stream_core_init did not take. */
static void tls_release(struct stream *s)
{
	struct tls_stream *t = tls_of(s);

	if (t->ssl != NULL) {
		/* Otherwise OpenSSL calls the session bad whose connection was not shut down in order. */
		SSL_set_shutdown(t->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
		SSL_free(t->ssl);
		t->ssl = NULL;
	}
	tls_config_drop(t->config);
	t->config = NULL;
	buf_free(&t->plain);
	buf_free(&t->ahead);
	free(t->domain);
	free(t->protocol);
	free(t->why);
	t->domain = t->protocol = t->why = NULL;
}

static const struct stream_ops tls_ops = {
	.advance = tls_advance,
	.read = tls_read,
	.room = tls_room,
	.write = tls_write,
	.flush = tls_flush,
	.pending = tls_pending,
	.goodbye = tls_goodbye,
	.info = tls_info,
	.covers = tls_covers,
	.release = tls_release,
};

/* --- making ------------------------------------------------------------------------------- */

/* The parts that both sides have. NULL when memory is out. */
static struct tls_stream *tls_new(struct tls_config *c)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct tls_stream *t = calloc(1, sizeof *t);
	BIO *bio;

	if (t == NULL)
		return NULL;
	t->config = tls_config_hold(c);
	buf_init(&t->plain, 0);
	buf_init(&t->ahead, 0);
	pthread_once(&once, make_socket_method);
	t->ssl = SSL_new(c->ctx);
	bio = socket_method != NULL ? BIO_new(socket_method) : NULL;
	if (t->ssl == NULL || bio == NULL) {
		BIO_free(bio);
		tls_release(&t->base);
		free(t);
		return NULL;
	}
	BIO_set_data(bio, t);
	BIO_set_init(bio, 1);
	SSL_set_bio(t->ssl, bio, bio);
	SSL_set_app_data(t->ssl, t);
	/* OpenSSL asks the system for the time otherwise, which tests cannot set. */
	X509_VERIFY_PARAM_set_time(SSL_get0_param(t->ssl),
	                           (time_t)(clock_now_us() / CLOCK_SECOND_US));
	return t;
}

static int tls_start(struct tls_stream *t, struct loop *l, int fd, struct stream **out)
{
	int rc = stream_core_init(&t->base, l, fd, &tls_ops);

	if (rc < 0) {
		tls_release(&t->base);
		free(t);
		return rc;
	}
	*out = &t->base;
	return 0;
}

int tls_accept(struct loop *l, int fd, struct tls_config *c, const char *const *alpn,
               struct stream **out)
{
	struct tls_stream *t = tls_new(c);

	if (t == NULL) {
		close(fd);
		return ERR_NOMEM;
	}
	t->protocols = alpn;
	SSL_set_accept_state(t->ssl);
	return tls_start(t, l, fd, out);
}

static int set_target(struct tls_stream *t, const struct tls_target *to)
{
	const char *domain = to->domain, *alpn = to->alpn;
	unsigned char wire[256];
	size_t n = strlen(alpn);
	SSL_SESSION *session;

	if (n == 0 || n > 255)
		return ERR_MALFORMED;
	wire[0] = (unsigned char)n;
	memcpy(wire + 1, alpn, n);
	t->domain = strdup(domain);
	t->protocol = strdup(alpn);
	if (t->domain == NULL || t->protocol == NULL
	    || SSL_set_alpn_protos(t->ssl, wire, (unsigned)n + 1) != 0
	    || SSL_set_tlsext_host_name(t->ssl, domain) != 1
	    || X509_VERIFY_PARAM_set1_host(SSL_get0_param(t->ssl), domain, 0) != 1
	    || buf_add(&t->plain, to->early.p, to->early.n) < 0
	    || tls_own_show(t->config, t->ssl, to->identity) < 0)
		return ERR_NOMEM;
	t->early_octets = to->early.n;
	t->identity = to->identity;
	session = tls_sessions_take(t->config->sessions, domain, alpn, t->identity);
	if (session != NULL) {
		SSL_set_session(t->ssl, session); /* refused: a full handshake it is */
		SSL_SESSION_free(session);
	}
	return 0;
}

int tls_connect(struct loop *l, int fd, struct tls_config *c, const char *domain,
                const char *alpn, struct stream **out)
{
	const struct tls_target to = { .domain = domain, .alpn = alpn };

	return tls_connect_to(l, fd, c, &to, out);
}

int tls_connect_to(struct loop *l, int fd, struct tls_config *c, const struct tls_target *to,
                   struct stream **out)
{
	struct tls_stream *t = tls_new(c);
	int rc = t == NULL ? ERR_NOMEM : set_target(t, to);

	if (rc < 0) {
		if (t != NULL)
			tls_release(&t->base);
		free(t);
		close(fd);
		return rc;
	}
	SSL_set_connect_state(t->ssl);
	return tls_start(t, l, fd, out);
}
