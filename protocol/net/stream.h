/*
 * An octet stream on a loop. Plain and TLS streams keep one contract, so that
 * nothing above can tell them apart.
 *
 * A stream calls its handler from the loop, never from inside a call made on
 * it. Reading is by pull: `readable` comes in every turn in which octets (or
 * the end) wait and reading is wanted. Writing takes what fits into the
 * stream's output buffer (256 KiB at most); all that a turn of the loop wrote
 * leaves in one system call at the turn's end.
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
/*
 * While HOLD, what was written waits beyond the end of the turn as long as it is little: more
 * comes soon, and both leave together. True: something waits. It leaves when it is more than
 * 4 KiB, when HOLD ends, and with stream_finish.
 */
bool stream_hold(struct stream *s, bool hold);

/*
 * Sends what was written, then close_notify and FIN, then `closed` with 0. No more writing;
 * what the peer still sends is thrown away, so that a last answer is not lost to a reset.
 */
void stream_finish(struct stream *s);
/* At once, without a word to the peer if something waits. No callback after this. NULL is fine. */
void stream_free(struct stream *s);

/*
 * A server's stream that has opened by early data of TLS (RFC 8446 section 2.3), whose handshake is
 * not over: what was read so far may have been recorded elsewhere and sent again, and the peer's
 * certificate does not count yet. Reading goes on with the handshake, and ends this.
 */
bool stream_is_early(const struct stream *s);

struct stream_info {
	struct address peer;
	uint64_t octets_in, octets_out; /* on the wire */
	const char *alpn;               /* protocol agreed on, "" for none; as long as the stream */
	const char *server_name;        /* SNI, "" for none */
	bool tls;
	bool local;                     /* a UNIX socket */
	uid_t uid;                      /* its peer's user, by SO_PEERCRED, where local */
	bool peer_verified;             /* the peer showed a certificate with a valid chain */
};
void stream_info(const struct stream *s, struct stream_info *out);

/* Whether the peer's verified certificate covers DOMAIN as a DNS-ID (RFC 9525 section 6.3). */
bool stream_peer_covers(const struct stream *s, const char *domain);

/* --- for net/ only: how streams are made ------------------------------------------------- */

/* Takes over the connected (or connecting) socket FD in any case. 0, ERR_NOMEM, ERR_IO. */
int stream_plain_create(struct loop *l, int fd, struct stream **out);

#endif
