/*
 * TLS 1.3 (RFC 8446) as protocol.md section 3 wants it: ALPN (RFC 7301)
 * required, SNI, DNS-ID checks, a client certificate where the configuration
 * has one, tickets, early data. Certificates of a peer are checked for the
 * purpose of a TLS server at both ends, since public CAs issue nothing else.
 */
#ifndef IM2000_NET_TLS_H
#define IM2000_NET_TLS_H

#include "net/stream.h"

/* Counted: every stream holds one reference, so it can be replaced while in use. Thread-safe. */
struct tls_config;

struct tls_options {
	const char *certificate; /* PEM chain; NULL for a client without */
	const char *key;
	/* Further ones, the files of each pair in the same place. A server shows the first of all that
	 * covers the name asked for (SNI), else CERTIFICATE; a client what tls_target says. */
	const char *const *more_certificates, *const *more_keys;
	size_t n_more;
	const char *ca_file;     /* PEM; NULL: the system's store */
	bool server;
	/* Server: ask for a certificate; a missing or bad one does not end the handshake. */
	bool ask_client;
	/*
	 * Server: octets of early data (RFC 8446 section 2.3) taken from a connection; each first
	 * flight is taken once. Client: not 0 if it may send any. 0: none.
	 */
	uint32_t early_octets;
};

/*
 * Reads the files now. 0; ERR_CONFIG with E filled (file unreadable, key does
 * not belong to certificate, ...), ERR_NOMEM.
 */
int tls_config_create(const struct tls_options *options, struct tls_config **out,
                      struct err_text *e);
struct tls_config *tls_config_hold(struct tls_config *c);
void tls_config_drop(struct tls_config *c); /* NULL is fine */

/* When the first of the configuration's own certificates ends (microseconds since 1970), and WHICH
 * that is (from 0 on; may be NULL). 0: there is none. */
uint64_t tls_config_expires_us(const struct tls_config *c, unsigned *which);
/* Whether one covers DOMAIN (a warning at start when not). */
bool tls_config_covers(const struct tls_config *c, const char *domain);
/* How many there are. */
size_t tls_config_count(const struct tls_config *c);
/* Which one is shown for DOMAIN: its number, from 0 on. */
unsigned tls_config_choose(const struct tls_config *c, const char *domain);

/*
 * Client: the tickets that an earlier run left in PATH, where they belong to the same CA file. One
 * that is missing, damaged, or not the user's alone (mode 0600) is as good as none.
 */
void tls_config_load_tickets(struct tls_config *c, const char *path);
/* Writes those that are left (at most 64, the newest) in place of PATH, where any came or went
 * since. 0, ERR_IO, ERR_NOMEM: nothing is lost but time. */
int tls_config_save_tickets(struct tls_config *c, const char *path);

/*
 * Server side of FD (taken over in any case). ALPN: the protocols this address
 * serves, NULL-terminated, static. No match: the handshake fails. The stream may
 * open by early data, see stream_is_early.
 */
int tls_accept(struct loop *l, int fd, struct tls_config *c, const char *const *alpn,
               struct stream **out);

/* Client side: DOMAIN is sent as SNI and must be covered by the server's certificate. */
int tls_connect(struct loop *l, int fd, struct tls_config *c, const char *domain,
                const char *alpn, struct stream **out);

struct tls_target {
	const char *domain; /* sent as SNI and must be covered by the server's certificate */
	const char *alpn;
	unsigned identity; /* the own certificate that is shown, see tls_config_choose */
	/*
	 * The first octets that the stream says, before all that is written to it. They go with the
	 * first flight where a ticket allows it, so that a server may act on them before the handshake
	 * is over, and more than once when somebody repeats them: see wire/early.h. Else, and when the
	 * server does not take them so, they go after the handshake.
	 */
	struct span early;
};
/* The same with more to say. */
int tls_connect_to(struct loop *l, int fd, struct tls_config *c, const struct tls_target *to,
                   struct stream **out);

#endif
