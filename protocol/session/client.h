/*
 * The client's side of a session: a queue of requests on one connection.
 * Requests may be queued before the connection is open, and go out in order
 * without waiting (pipelining is implicit, protocol.md section 5); responses
 * come in the same order.
 */
#ifndef IM2000_SESSION_CLIENT_H
#define IM2000_SESSION_CLIENT_H

#include "net/dial.h"
#include "wire/common.h"

struct client;
struct client_request;

struct client_options {
	const char *domain; /* canonical; copied */
	enum locate_service service;
	/* What it points to: as dial_start wants it. `early` is the client's own: what is queued when
	 * the first address has its turn and may be early data (wire/early.h) goes with the handshake
	 * where `tls` has tickets and allows it. */
	struct dial_options dial;
	uint32_t response_octets; /* a response that is collected whole: at most this; 0: 1 MiB */
	/*
	 * The connection ended (or was never made). Comes once, after each queued request has
	 * failed; the client still wants client_free. ERROR as for `failed`. WHY: for people. NULL:
	 * nobody asks.
	 */
	void (*closed)(void *ctx, int error, const char *why);
	void *ctx;
};

/* Starts dialling. 0, ERR_NOMEM. */
int client_create(struct loop *l, const struct client_options *options, struct client **out);
/* Closes at once. No callback follows. Allowed in every callback. NULL is fine. */
void client_free(struct client *c);
/* Whether the connection is open. */
bool client_is_open(const struct client *c);
/* How many requests are queued or unanswered, with the cancelled whose response is to come. */
size_t client_pending(const struct client *c);

struct client_call {
	struct span frame;    /* the command with its length (copied); its head, when TAIL_OCTETS > 0 */
	uint64_t tail_octets; /* octets that follow the head */
	/*
	 * Called when there is room: write with client_write until it takes less than offered.
	 * Whoever has no octets at hand writes none, and goes on with client_write when there are.
	 * An error ends the connection. When the server answers before it had all, `response` comes
	 * and `tail` no more.
	 */
	int (*tail)(void *ctx, struct client *c);
	/*
	 * The response's body whole; or, when it is over RESPONSE_OCTETS and DATA is set,
	 * its first octets (at least 4,096 or all), the rest following by DATA (at least once,
	 * LAST). TOTAL: octets of the whole body. The view lives for the call.
	 */
	void (*response)(void *ctx, struct span body, uint64_t total);
	void (*data)(void *ctx, struct span octets, bool last);
	/* No response will come, or not all of it: ERR_TIMEOUT, ERR_CLOSED, ERR_PROTOCOL,
	 * ERR_TOO_BIG, what the tail or the dialling answered. */
	void (*failed)(void *ctx, int error, const char *why);
	void *ctx;
	uint64_t timeout_us; /* the longest time with no octet either way, from now on; 0: 60 s */
};

/*
 * Queues a request. Exactly one of: `response` (and the last `data`), or
 * `failed` -- never from inside this call. The handle is valid until that call
 * begins. OUT may be NULL. 0, ERR_NOMEM, ERR_CLOSED.
 */
int client_send(struct client *c, const struct client_call *call, struct client_request **out);
/*
 * No callback of it follows; its response, when it comes, is thrown away. Cancelled
 * while its tail is being sent, it ends the connection (the others fail with
 * ERR_CLOSED, later). NULL is fine.
 */
void client_cancel(struct client_request *r);

/* For `tail`: how many of N octets were taken. */
size_t client_write(struct client *c, const void *p, size_t n);

/* The open stream (peer, certificate), NULL before and after. */
struct stream *client_stream(struct client *c);

#endif
