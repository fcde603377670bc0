/*
 * Listening sockets. Several loops listen on one address (SO_REUSEPORT); the
 * kernel spreads connections over them. Limits over all listeners of a process
 * (sessions in all, from one address) are counted in one shared table.
 */
#ifndef IM2000_NET_LISTEN_H
#define IM2000_NET_LISTEN_H

#include "net/tls.h"

/*
 * Shared by all loops; thread-safe. An address is a v4 address or a v6 /64; UNIX
 * sockets count in all only. A limit of 0 is none.
 */
struct listen_limits;
/* 0 or ERR_NOMEM. */
int listen_limits_create(unsigned max_sessions, unsigned max_per_address,
                         struct listen_limits **out);
void listen_limits_free(struct listen_limits *x);
/* Counts one more session; false when that is over a limit. listen_limits_drop when it ends. */
bool listen_limits_take(struct listen_limits *x, const struct address *peer);
void listen_limits_drop(struct listen_limits *x, const struct address *peer);
unsigned listen_limits_count(const struct listen_limits *x);

/* What became of connections so far. */
struct listen_counts {
	uint64_t taken;
	uint64_t refused_all, refused_address; /* by each of the two limits */
	uint64_t failed;                       /* taken, but their handshake was not done in time */
};
void listen_limits_counts(const struct listen_limits *x, struct listen_counts *out);
/* A handshake has failed. */
void listen_limits_failed(struct listen_limits *x);

struct listen_options {
	struct address address;      /* port 0: any free one */
	const char *unix_path;       /* not NULL: a UNIX socket there (mode 0660) instead */
	int fd;                      /* >= 0: this listening socket, taken over (LISTEN_FDS) */
	const char *const *alpn;     /* NULL-terminated, borrowed: the protocols of this address */
	/* The TLS configuration for the next connection, held for the caller: it can be replaced. */
	struct tls_config *(*tls)(void *ctx);
	struct listen_limits *limits; /* NULL: none */
	/*
	 * A connection whose handshake is done within HANDSHAKE_US; the stream is now the caller's,
	 * who calls listen_limits_drop for its peer when it ends.
	 */
	void (*accepted)(void *ctx, struct stream *stream);
	void *ctx;
	uint64_t handshake_us;       /* 0: 15 s */
};

struct listener;
/*
 * 0; ERR_IO with E filled ("listen on 127.0.0.1:25: Permission denied"), ERR_NOMEM. A UNIX socket
 * that a dead process left behind is replaced. Whether another process of the same user has the
 * port is not seen here (SO_REUSEPORT).
 */
int listener_create(struct loop *l, const struct listen_options *options, struct listener **out,
                    struct err_text *e);
/* The address with the port the kernel gave. */
void listener_address(const struct listener *x, struct address *out);
/* Stops accepting; handshakes under way are dropped. NULL is fine. */
void listener_free(struct listener *x);

#endif
