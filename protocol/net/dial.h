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
	unsigned identity;            /* which of its certificates is shown (tls_config_choose) */
	/* May connect to private addresses that DNS names (a pinned route always may). */
	bool allow_private;
	uint64_t timeout_us;          /* for all of it; 0: 20 s */
	const char *unix_path;        /* not NULL: this UNIX socket, plain, instead of all that */
	/*
	 * The peer's notification names endpoints instead of a domain (copied); then DOMAIN is
	 * only the name checked. What DNS names and these are alike to ALLOW_PRIVATE.
	 */
	const struct address *literals;
	size_t n_literals;
	/*
	 * Asked at each address's turn: the first octets that the stream says, which may be repeated
	 * (struct tls_target); the same each time, whichever address answers. NULL: none.
	 */
	struct span (*early)(void *ctx);
	void *early_ctx;
};

struct dial;
/*
 * DONE comes exactly once, never from inside this call: with an opened stream that is now the
 * caller's (set its handler at once; `opened` has come), or ERROR (ERR_NO_DOMAIN, ERR_NO_SERVICE,
 * ERR_NO_SERVER, ERR_TLS, ERR_TIMEOUT, ERR_DENIED for private addresses) and WHY for people
 * ("b.example rnasp: 127.0.0.1:4403: connection refused"). NULL when memory is out.
 */
struct dial *dial_start(struct loop *l, const char *domain, enum locate_service service,
                        const struct dial_options *options,
                        void (*done)(void *ctx, int error, struct stream *stream, const char *why),
                        void *ctx);
void dial_cancel(struct dial *d); /* before DONE only; none follows. NULL is fine */

#endif
