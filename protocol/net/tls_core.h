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

/* Nothing but REFS changes once it is made, and SESSIONS guards itself. */
struct tls_config {
	SSL_CTX *ctx;
	atomic_uint refs;
	bool ask_client;
	struct tls_sessions *sessions; /* of a client, NULL of a server */
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
	bool drained;      /* SSL_read found nothing more in the socket */
	bool wants_out;    /* SSL_read must write first, and the output buffer is full */
	bool got_ticket;   /* reading one makes OpenSSL take a write buffer that nobody gives back */
	bool verified;     /* once open: the peer's certificate is good */
	bool socket_ended; /* the peer's FIN was read */
	int socket_errno;  /* reading the socket failed so */
	char *why;         /* the certificate's fault, for people */
};

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

/* --- tls_sessions.c: tickets that a client holds ------------------------------------------ */

int tls_sessions_create(struct tls_sessions **out); /* 0 or ERR_NOMEM */
void tls_sessions_free(struct tls_sessions *x);     /* NULL is fine */
/* Keeps a copy for connections to DOMAIN that speak PROTOCOL. Any thread. */
void tls_sessions_put(struct tls_sessions *x, const char *domain, const char *protocol,
                      SSL_SESSION *session);
/* The newest that can still be used, now the caller's: a ticket is used once (RFC 8446 appendix
 * C.4), so that connections cannot be told to be the same client's. NULL: none. Any thread. */
SSL_SESSION *tls_sessions_take(struct tls_sessions *x, const char *domain, const char *protocol);

#endif
