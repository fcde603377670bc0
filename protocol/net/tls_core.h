/* What the files of TLS share. Private to net/. */
#ifndef IM2000_NET_TLS_CORE_H
#define IM2000_NET_TLS_CORE_H

#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>

#include "base/err.h"
#include "net/stream_core.h"
#include "net/tls.h"

struct tls_sessions;
struct tls_hellos;

/* A certificate of our own, with what proves it. */
struct tls_own {
	X509 *certificate;
	EVP_PKEY *key;
	STACK_OF(X509) *chain; /* may be NULL */
};

/* Nothing but REFS changes once it is made; SESSIONS and HELLOS guard themselves. */
struct tls_config {
	SSL_CTX *ctx;
	atomic_uint refs;
	struct tls_own *own; /* the first is that of CTX too */
	size_t n_own;
	bool ask_client;
	bool early;                    /* a client's: may send early data */
	struct tls_hellos *hellos;     /* of a server that takes early data, else NULL */
	struct tls_sessions *sessions; /* of a client, NULL of a server */
	unsigned char trust[32];       /* of a client: which CAs, for tickets that outlast it */
};

struct tls_stream {
	struct stream base; /* first: the stream's functions get this */
	SSL *ssl;
	struct tls_config *config;    /* one reference */
	const char *const *protocols; /* server: what may be agreed on; static */
	char *domain;                 /* client: whom the certificate must cover */
	char *protocol;               /* client: what must be agreed on */
	const char *alpn;             /* once open: what was agreed on */
	struct buf plain;             /* written but not encrypted yet */
	struct buf ahead;             /* server: early data that came before `opened` */
	size_t early_octets;          /* client: so many of `plain` may be early data */
	bool early_sent;              /* client: they were, taken or not */
	unsigned identity;            /* client: which of the own certificates it shows */
	bool early_over;              /* server: all early data were read, if there were any */
	bool drained;      /* SSL_read found nothing more in the socket */
	bool wants_out;    /* SSL_read must write first, and the output buffer is full */
	bool got_ticket;   /* reading one makes OpenSSL take a write buffer that nobody gives back */
	bool verified;     /* once open: the peer's certificate is good */
	bool socket_ended; /* the peer's FIN was read */
	int socket_errno;  /* reading the socket failed so */
	char *why;         /* the certificate's fault, for people */
};

/* --- tls_own.c: certificates that we show --------------------------------------------------- */

/* Loads all that OPTIONS name, the first into c->ctx. 0, or ERR_CONFIG, ERR_NOMEM with E filled. */
int tls_own_load(struct tls_config *c, const struct tls_options *options, struct err_text *e);
void tls_own_free(struct tls_config *c);
/* SSL, made of c->ctx, shows number I. 0 or ERR_NOMEM. */
int tls_own_show(const struct tls_config *c, SSL *ssl, unsigned i);
/* OpenSSL's reason for what failed last, and whether a file can be read. */
const char *tls_own_reason(void);
int tls_own_readable(const char *what, const char *path, struct err_text *e);

/* --- tls_verify.c: certificates of peers ------------------------------------------------- */

/*
 * SSL_CTX_set_cert_verify_callback: the chain's check by OpenSSL's rules. What is wrong is put
 * into the stream's WHY; on a server the handshake goes on, with the fault as verify result.
 */
int tls_verify_peer(X509_STORE_CTX *store, void *unused);

/* DNS-ID (RFC 9525 section 6.3): no common name, a wildcard only as the whole left-most label. */
bool tls_verify_covers(X509 *certificate, const char *domain);
#define TLS_HOST_FLAGS \
	(X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT)

/* Microseconds since 1970; 0 for what lies before. */
uint64_t tls_verify_time_us(const ASN1_TIME *t);
/* The time of now lies within the certificate's validity. */
bool tls_verify_in_time(const X509 *certificate);

/* --- tls.c, for tls_early.c --------------------------------------------------------------- */

/* An OpenSSL call on an open stream, or in its handshake, returned RC: ERR_AGAIN when it waits for
 * the peer, else the stream has failed. */
int tls_stalled(struct tls_stream *t, int rc);
/* Of the server: the handshake is over, and says who the client is. */
void tls_client_known(struct tls_stream *t);

/* --- tls_early.c: early data -------------------------------------------------------------- */

/* A server's configuration takes OCTETS of them from each connection. 0 or ERR_NOMEM. */
int tls_early_serve(struct tls_config *c, uint32_t octets);
void tls_hellos_free(struct tls_hellos *x); /* NULL is fine */

/* Server, OPENING: true when early data have come, so that the stream opens by them. False: *RC is
 * 0 when the handshake goes on as any other, else what tls_stalled said. */
bool tls_early_begin(struct tls_stream *t, int *rc);
/* Server, while the stream is early: > 0 octets into P; 0: the handshake is over, the stream is as
 * any other; else as stream_read. */
ssize_t tls_early_read(struct tls_stream *t, void *p, size_t n);

/* Client, connected, nothing said yet: sends the early octets where a ticket allows. */
void tls_early_send(struct tls_stream *t);
/* Client, the handshake is done: what the server has taken is not sent again. */
void tls_early_settle(struct tls_stream *t);

/* --- tls_tickets.c: a client's tickets from one run to the next ---------------------------- */

/* Which CAs OPTIONS trust, into TRUST. 0 or ERR_NOMEM, ERR_IO. */
int tls_tickets_trust(const struct tls_options *options, unsigned char trust[32]);

/* --- tls_sessions.c: tickets that a client holds ------------------------------------------ */

int tls_sessions_create(struct tls_sessions **out); /* 0 or ERR_NOMEM */
void tls_sessions_free(struct tls_sessions *x);     /* NULL is fine */
/* Keeps a copy for connections to DOMAIN that speak PROTOCOL and show IDENTITY. Any thread. */
void tls_sessions_put(struct tls_sessions *x, const char *domain, const char *protocol,
                      unsigned identity, SSL_SESSION *session);
/* The newest that can still be used, now the caller's: a ticket is used once (RFC 8446 appendix
 * C.4), so that connections cannot be told to be the same client's. NULL: none. Any thread. */
SSL_SESSION *tls_sessions_take(struct tls_sessions *x, const char *domain, const char *protocol,
                               unsigned identity);
/* Calls SHOW for the N newest of identity 0 at most, oldest first, under the lock. */
void tls_sessions_show(struct tls_sessions *x, size_t n,
                       void (*show)(void *ctx, const char *domain, const char *protocol,
                                    SSL_SESSION *session),
                       void *ctx);
/* Whether any were put or taken since this was called with SET. */
bool tls_sessions_changed(struct tls_sessions *x, bool reset);

#endif
