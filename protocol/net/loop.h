/*
 * The event loop: libuv, one loop a thread. Everything made on a loop is used
 * and freed on the loop'"'"'s thread; only loop_post and loop_stop may be called
 * from others.
 */
#ifndef IM2000_NET_LOOP_H
#define IM2000_NET_LOOP_H

#include <stdint.h>
#include <uv.h>

struct loop;

/* 0, ERR_NOMEM, ERR_IO. */
int loop_create(struct loop **out);
/* Everything on the loop must be freed before; closes what libuv still holds. NULL is fine. */
void loop_free(struct loop *l);

/* Runs until loop_stop. May be called again. */
void loop_run(struct loop *l);
/* Makes loop_run return after the turn in hand. Any thread. */
void loop_stop(struct loop *l);

/* The libuv loop, for net/ and session/ only. */
uv_loop_t *loop_uv(struct loop *l);

/* A call handed to the loop'"'"'s thread. The struct is the caller'"'"'s and must stay until RUN. */
struct loop_task {
	void (*run)(struct loop_task *task);
	struct loop_task *next; /* the loop'"'"'s own */
};
/* Any thread. RUN comes once, on the loop'"'"'s thread. */
void loop_post(struct loop *l, struct loop_task *task);

/*
 * Called at the end of every turn, when all that was ready has been handled and
 * before the loop sleeps: what collects work over a turn (output of streams,
 * the writer) acts there. Hooks run in the order of RANK: what produces output
 * (the writer: 0) before what sends it (streams: 10).
 */
struct loop_hook {
	void (*run)(struct loop_hook *hook);
	int rank;
	struct loop_hook *next; /* the loop'"'"'s own */
};
void loop_hook_add(struct loop *l, struct loop_hook *hook);
void loop_hook_remove(struct loop *l, struct loop_hook *hook);

/* A timer that fires once. */
struct loop_timer;
/* 0 or ERR_NOMEM. FIRE may free or restart the timer. It is not running yet. */
int loop_timer_create(struct loop *l, void (*fire)(void *ctx), void *ctx, struct loop_timer **out);
/* (Re)starts it: fires once after DELAY_US microseconds (rounded up to milliseconds). */
void loop_timer_start(struct loop_timer *t, uint64_t delay_us);
void loop_timer_stop(struct loop_timer *t);
/* No FIRE after this. NULL is fine. */
void loop_timer_free(struct loop_timer *t);

#endif
E
cat > protocol/net/address.h <<'"'"'E'"'"'
/* Socket addresses: parse, print, and which ones a stranger must not make us connect to. */
#ifndef IM2000_NET_ADDRESS_H
#define IM2000_NET_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <netinet/in.h>

#include "base/err.h"

struct address {
	union {
		struct sockaddr sa;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
		struct sockaddr_storage any;
	} u;
	socklen_t n;
};

/* "127.0.0.1:4401", "[::1]:4401" (numeric only). 0 or ERR_MALFORMED. */
int address_parse(const char *text, struct address *out);
/* The same form; "unix" for a UNIX socket. OUT of 64 octets is enough. */
const char *address_format(const struct address *a, char *out, size_t cap);
unsigned address_port(const struct address *a);
void address_set_port(struct address *a, unsigned port);
/* From 4 or 16 raw octets in network order. 0 or ERR_MALFORMED. */
int address_from_octets(const void *p, size_t n, unsigned port, struct address *out);
/* Raw address octets into OUT (16 at least); how many (4 or 16; a v4-mapped v6 gives 4). */
size_t address_octets(const struct address *a, unsigned char out[16]);

/*
 * Loopback, private (RFC 1918, RFC 4193), link-local, shared (RFC 6598),
 * unspecified, multicast, broadcast, documentation, v4-mapped and NAT64 forms of those: what
 * `allow-private` guards.
 */
bool address_is_private(const struct address *a);

#endif
E
cat > protocol/net/stream.h <<'"'"'E'"'"'
/*
 * An octet stream on a loop. Plain and TLS streams keep one contract, so that
 * nothing above can tell them apart.
 *
 * A stream calls its handler from the loop, never from inside a call made on
 * it. Reading is by pull: `readable` comes in every turn in which octets (or
 * the end) wait and reading is wanted. Writing takes what fits into the
 * stream'"'"'s output buffer (256 KiB at most); all that a turn of the loop wrote
 * leaves in one system call at the turn'"'"'s end.
 */
#ifndef IM2000_NET_STREAM_H
#define IM2000_NET_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/span.h"
#include "net/address.h"
#include "net/loop.h"

struct stream;

struct stream_handler {
	/* Connected, and for TLS the handshake is done. Comes once, first. */
	void (*opened)(void *ctx);
	void (*readable)(void *ctx);
	/* Room again, after stream_write took less than it was offered. */
	void (*writable)(void *ctx);
	/*
	 * Comes once, last: nothing more can be read or written; the stream
	 * waits for stream_free. ERROR 0: closed in order, by stream_finish. WHY: for people.
	 */
	void (*closed)(void *ctx, int error, const char *why);
};

/* Whom a stream calls; may be changed at any time (a session takes over from the listener). */
void stream_set_handler(struct stream *s, const struct stream_handler *handler, void *ctx);

/*
 * Up to N octets into P. >0: how many; 0: the peer has ended its side in order;
 * ERR_AGAIN: nothing now; else the stream is broken (closed follows).
 */
ssize_t stream_read(struct stream *s, void *p, size_t n);

/* While false (it starts true) `readable` does not come and the peer is held back. */
void stream_want_read(struct stream *s, bool want);

/*
 * Takes as many of the N octets as there is room for: that number (> 0), or
 * ERR_AGAIN (then `writable` comes), or the stream is broken. Octets written
 * before `opened` are kept and leave as soon as they may.
 */
ssize_t stream_write(struct stream *s, const void *p, size_t n);
/* How many octets stream_write would take now. */
size_t stream_room(const struct stream *s);

/* Sends what was written, then close_notify and FIN, then `closed` with 0. No more writing. */
void stream_finish(struct stream *s);
/* At once, without a word to the peer if something still waits. No callback after this. NULL is fine. */
void stream_free(struct stream *s);

struct stream_info {
	struct address peer;
	uint64_t octets_in, octets_out; /* on the wire */
	const char *alpn;               /* protocol agreed on, "" for none; lives as long as the stream */
	const char *server_name;        /* SNI, "" for none */
	bool tls;
	bool local;                     /* a UNIX socket */
	uid_t uid;                      /* its peer'"'"'s user, by SO_PEERCRED, where local */
	bool peer_verified;             /* the peer showed a certificate with a valid chain */
};
void stream_info(const struct stream *s, struct stream_info *out);

/* Whether the peer'"'"'s verified certificate covers DOMAIN as a DNS-ID (RFC 9525 section 6.3). */
bool stream_peer_covers(const struct stream *s, const char *domain);

/* --- for net/ only: how streams are made ------------------------------------------------- */

/* Takes over the connected (or connecting) socket FD in any case. 0, ERR_NOMEM, ERR_IO. */
int stream_plain_create(struct loop *l, int fd, struct stream **out);

#endif
E
cat > protocol/net/tls.h <<'"'"'E'"'"'
/*
 * TLS 1.3 (RFC 8446) as protocol.md section 3 wants it: ALPN (RFC 7301)
 * required, SNI, DNS-ID checks, a client certificate where the configuration
 * has one, tickets. Certificates of a peer are checked for the purpose of a
 * TLS server at both ends, since public CAs issue nothing else.
 */
#ifndef IM2000_NET_TLS_H
#define IM2000_NET_TLS_H

#include "net/stream.h"

struct tls_config; /* counted: every stream holds one reference, so it can be replaced while in use */

struct tls_options {
	const char *certificate; /* PEM chain; NULL for a client without */
	const char *key;
	const char *ca_file;     /* PEM; NULL: the system'"'"'s store */
	bool server;
	bool ask_client;         /* server: ask for a certificate; a missing or bad one does not end the handshake */
};

/*
 * Reads the files now. 0; ERR_CONFIG with E filled (file unreadable, key does
 * not belong to certificate, ...), ERR_NOMEM.
 */
int tls_config_create(const struct tls_options *options, struct tls_config **out, struct err_text *e);
struct tls_config *tls_config_hold(struct tls_config *c);
void tls_config_drop(struct tls_config *c); /* NULL is fine */

/* When the configuration'"'"'s own certificate ends (microseconds since 1970), 0 for none. */
uint64_t tls_config_expires_us(const struct tls_config *c);
/* Whether it covers DOMAIN (a warning at start when not). */
bool tls_config_covers(const struct tls_config *c, const char *domain);

/*
 * Server side of FD (taken over in any case). ALPN: the protocols this address
 * serves, NULL-terminated, static. No match: the handshake fails.
 */
int tls_accept(struct loop *l, int fd, struct tls_config *c, const char *const *alpn,
               struct stream **out);

/* Client side: DOMAIN is sent as SNI and must be covered by the server'"'"'s certificate. */
int tls_connect(struct loop *l, int fd, struct tls_config *c, const char *domain,
                const char *alpn, struct stream **out);

#endif
E
cat > protocol/net/locate.h <<'"'"'E'"'"'
/*
 * Where a domain offers a service: pinned routes, then SRV records (RFC 2782:
 * order and weights), then A and AAAA of each target, by c-ares. protocol.md
 * section 2. One locator a loop; answers are cached for their TTL (1 s to 1 h),
 * failures for 30 s.
 */
#ifndef IM2000_NET_LOCATE_H
#define IM2000_NET_LOCATE_H

#include "base/err.h"
#include "net/address.h"
#include "net/loop.h"

enum locate_service { LOCATE_MSOAP, LOCATE_MSRAP, LOCATE_RNASP, LOCATE_RNAQP };
const char *locate_service_name(enum locate_service s); /* "msoap" */
const char *locate_alpn(enum locate_service s);         /* "im2000-msoap/1" */

struct locate_route {
	char domain[256];
	enum locate_service service;
	char host[256]; /* name or address */
	unsigned port;
};
/* Reads "b.example rnasp 127.0.0.1:4403". 0, or ERR_MALFORMED with E filled. */
int locate_parse_route(const char *text, struct locate_route *out, struct err_text *e);

struct locate_options {
	const char *const *servers; /* "127.0.0.1:5353"; n of them; 0: the system'"'"'s */
	size_t n_servers;
	const struct locate_route *routes; /* borrowed for the locator'"'"'s life */
	size_t n_routes;
	unsigned timeout_ms; /* of one try; 0: 2000, tried 3 times */
};

struct locator;
int locator_create(struct loop *l, const struct locate_options *options, struct locator **out,
                   struct err_text *e);
void locator_free(struct locator *r); /* lookups under way are cancelled without callback */

struct located {
	struct address address;
	char target[256]; /* the SRV target or the route'"'"'s host, for messages */
	bool pinned;      /* by a route, not by DNS */
};

struct locate_lookup;
/*
 * Looks DOMAIN up (canonical form, base/name.h). DONE comes exactly once, never
 * from inside this call: ERROR 0 with N addresses in the order to try them
 * (borrowed for the call), or ERR_NO_DOMAIN, ERR_NO_SERVICE, ERR_NO_SERVER
 * with WHY for people. NULL when memory is out.
 */
struct locate_lookup *locate_start(struct locator *r, const char *domain,
                                   enum locate_service service,
                                   void (*done)(void *ctx, int error, const struct located *list,
                                                size_t n, const char *why),
                                   void *ctx);
void locate_cancel(struct locate_lookup *k); /* no DONE after this */

/* Order of SRV records (RFC 2782), as a function: indexes of RECORDS in the order to try. RAND in [0,LIMIT). */
struct locate_srv {
	uint16_t priority, weight, port;
	char target[256];
};
void locate_order(const struct locate_srv *records, size_t n, uint64_t (*below)(uint64_t limit),
                  size_t *order);

#endif
E
cat > protocol/net/dial.h <<'"'"'E'"'"'
/*
 * From a domain and a service to an open TLS stream: locate, then TCP to each
 * address with a head start of 250 ms (RFC 8305 style), then TLS with the
 * domain checked.
 */
#ifndef IM2000_NET_DIAL_H
#define IM2000_NET_DIAL_H

#include "net/locate.h"
#include "net/tls.h"

struct dial_options {
	struct locator *locator;
	struct tls_config *tls;       /* client side; held while dialling and by the stream */
	bool allow_private;           /* may connect to private addresses that DNS names (a pinned route always may) */
	uint64_t timeout_us;          /* for all of it; 0: 20 s */
	const char *unix_path;        /* not NULL: this UNIX socket, plain, instead of all that */
	/* The peer'"'"'s notification names endpoints instead of a domain; then DOMAIN is only the name checked. */
	const struct address *literals;
	size_t n_literals;
};

struct dial;
/*
 * DONE comes exactly once, never from inside this call: with an opened stream that is now the caller'"'"'s
 * (set its handler at once), or ERROR (ERR_NO_DOMAIN, ERR_NO_SERVICE, ERR_NO_SERVER, ERR_TLS,
 * ERR_TIMEOUT, ERR_DENIED for private addresses) and WHY for people ("b.example rnasp: 127.0.0.1:4403:
 * connection refused"). NULL when memory is out.
 */
struct dial *dial_start(struct loop *l, const char *domain, enum locate_service service,
                        const struct dial_options *options,
                        void (*done)(void *ctx, int error, struct stream *stream, const char *why),
                        void *ctx);
void dial_cancel(struct dial *d); /* no DONE after this; NULL is fine */

#endif
E
cat > protocol/net/listen.h <<'"'"'E'"'"'
/*
 * Listening sockets. Several loops listen on one address (SO_REUSEPORT); the
 * kernel spreads connections over them. Limits over all listeners of a process
 * (sessions in all, from one address) are counted in one shared table.
 */
#ifndef IM2000_NET_LISTEN_H
#define IM2000_NET_LISTEN_H

#include "net/tls.h"

/* Shared by all loops; thread-safe. An address is a v4 address or a v6 /64. */
struct listen_limits;
int listen_limits_create(unsigned max_sessions, unsigned max_per_address,
                         struct listen_limits **out);
void listen_limits_free(struct listen_limits *x);
/* Counts one more session; false when that is over a limit. listen_limits_drop when it ends. */
bool listen_limits_take(struct listen_limits *x, const struct address *peer);
void listen_limits_drop(struct listen_limits *x, const struct address *peer);
unsigned listen_limits_count(const struct listen_limits *x);

struct listen_options {
	struct address address;      /* port 0: any free one */
	const char *unix_path;       /* not NULL: a UNIX socket there (mode 0660) instead */
	int fd;                      /* >= 0: this listening socket, taken over (LISTEN_FDS) */
	const char *const *alpn;     /* NULL-terminated, borrowed: the protocols of this address */
	/* The TLS configuration for the next connection, held for the caller (so that it can be replaced). */
	struct tls_config *(*tls)(void *ctx);
	struct listen_limits *limits; /* NULL: none */
	/* A connection whose handshake is done within HANDSHAKE_US; the stream is now the caller'"'"'s. The caller
	 * calls listen_limits_drop for its peer when it ends. */
	void (*accepted)(void *ctx, struct stream *stream);
	void *ctx;
	uint64_t handshake_us;       /* 0: 15 s */
};

struct listener;
/* 0; ERR_IO with E filled ("listen on 127.0.0.1:25: permission denied"). */
int listener_create(struct loop *l, const struct listen_options *options, struct listener **out,
                    struct err_text *e);
/* The address with the port the kernel gave. */
void listener_address(const struct listener *x, struct address *out);
/* Stops accepting; handshakes under way are dropped. NULL is fine. */
void listener_free(struct listener *x);

#endif
E
