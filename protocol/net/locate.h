/*
 * Where a domain offers a service: pinned routes, then SRV records (RFC 2782:
 * order and weights), then A and AAAA of each target, by c-ares. protocol.md
 * section 2. One locator a loop; answers are cached for their TTL (1 s to 1 h),
 * failures for 30 s.
 */
#ifndef IM2000_NET_LOCATE_H
#define IM2000_NET_LOCATE_H

#include "base/conf.h"
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
/* Reads "b.example rnasp 127.0.0.1:4403". 0, or ERR_MALFORMED with E filled. Several routes of one
 * domain and service are tried in their order. */
int locate_parse_route(const char *text, struct locate_route *out, struct err_text *e);

/*
 * The same of all values of `route` in file PATH. *OUT is the caller's to free, after an error too.
 * 0, or ERR_CONFIG, ERR_NOMEM with E filled.
 */
int locate_read_routes(const char *path, const struct conf_list *list, struct locate_route **out,
                       size_t *n, struct err_text *e);

struct locate_options {
	const char *const *servers; /* "127.0.0.1:5353"; n of them; 0: the system's */
	size_t n_servers;
	const struct locate_route *routes; /* borrowed for the locator's life */
	size_t n_routes;
	unsigned timeout_ms; /* of one try; 0: 2000, tried 3 times */
};

struct locator;
/* 0, ERR_NOMEM, ERR_CONFIG with E filled. */
int locator_create(struct loop *l, const struct locate_options *options, struct locator **out,
                   struct err_text *e);
void locator_free(struct locator *r); /* lookups under way are cancelled without callback */

struct located {
	struct address address;
	char target[256]; /* the SRV target or the route's host, for messages */
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
void locate_cancel(struct locate_lookup *k); /* no DONE after this; NULL is fine */

/* The order of SRV records (RFC 2782), as a function: indexes of RECORDS in the order to try them.
 * BELOW gives a random number in [0, LIMIT). */
struct locate_srv {
	uint16_t priority, weight, port;
	char target[256];
};
void locate_order(const struct locate_srv *records, size_t n, uint64_t (*below)(uint64_t limit),
                  size_t *order);

#endif
