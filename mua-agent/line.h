/*
 * Talking to stores and agents one answer at a time: a client session
 * (session/client.h) driven until the answer at hand is complete. For the command line;
 * requests may still be sent ahead, so that they share a round trip.
 */
#ifndef IM2000_AGENT_LINE_H
#define IM2000_AGENT_LINE_H

#include "mua-agent/config.h"
#include "session/client.h"

/* What all connections share: loop, names, trust. */
struct lines;
int lines_create(const struct config *c, struct lines **out, struct err_text *e);
void lines_free(struct lines *x); /* NULL is fine; all lines must be closed */
struct loop *lines_loop(struct lines *x);
/* How to dial a service that the account names, for what is no session. */
struct dial_options lines_dial(struct lines *x);

struct line;
/*
 * Starts a connection to DOMAIN (copied); it is open when the first request is answered. OWN: a
 * service that the account names, which may be at a private address; a store
 * that a stranger names may not, unless allow-private. 0 or ERR_NOMEM.
 */
int line_open(struct lines *x, const char *domain, enum locate_service service, bool own,
              struct line **out, struct err_text *e);
void line_close(struct line *l); /* NULL is fine. Requests that wait are forgotten. */
struct client *line_client(struct line *l);
/* Whether it has ended; no request gets an answer any more. */
bool line_is_closed(const struct line *l);

/*
 * A request under way; the caller's memory, which must stay until line_finish.
 * ANSWER takes the response's body (its first octets when DATA is set and it is
 * long): it decodes and copies what it needs. What either returns but 0 is the
 * request's failure, with WHY set by it; when more of the response was to come, the
 * connection is closed.
 */
struct line_request {
	int (*answer)(void *ctx, struct span body, uint64_t total, struct err_text *why);
	int (*data)(void *ctx, struct span octets, struct err_text *why); /* NULL: no streaming */
	int (*tail)(void *ctx, struct client *c); /* with tail_octets: as in session/client.h */
	uint64_t tail_octets;
	void *ctx;
	uint64_t timeout_us; /* as in session/client.h; 0: the default */
	/* Set by line_send and by what comes. */
	struct line *line;
	struct client_request *handle;
	bool done;
	int result;
	struct err_text why;
};

/* Queues FRAME. 0 or an error with E filled; after an error R is finished. */
int line_send(struct line *l, struct line_request *r, struct span frame, struct err_text *e);
/* Waits for the answer. 0, or the connection's or the request's failure with E filled. */
int line_finish(struct line_request *r, struct err_text *e);
/* Both. */
int line_call(struct line *l, struct line_request *r, struct span frame, struct err_text *e);

/*
 * The error that belongs to a response's status (0 for ok), with WHY saying it in words and with
 * what the peer said.
 */
int line_status(enum wire_status status, bool has_text, struct span text, struct err_text *why);

#endif
