/*
 * The notification agents that something is due for: one connection to each
 * domain, kept for a while, a few batches on their way, what came of them
 * written back. Accounts take turns, at each agent and for connections. Of the
 * notifier's loop.
 */
#ifndef IM2000_STORE_AGENTS_H
#define IM2000_STORE_AGENTS_H

#include "net/locate.h"
#include "net/tls.h"
#include "store/round.h"
#include "store/service.h"

struct agents_limits {
	unsigned connections; /* in all, idle ones included; at least 1 */
	unsigned for_each;    /* of those, to the servers of one address, whatever the domains */
};

struct agents;
/* All are borrowed for its life. 0 or ERR_NOMEM. */
int agents_create(struct service_worker *w, struct round *r, struct locator *locator,
                  const struct agents_limits *limits, struct agents **out);
/* For the connections to come. TLS is held. */
void agents_configure(struct agents *a, struct tls_config *tls, bool allow_private);

/* Queues J, which is given back to the round when all of it is written. */
void agents_take(struct agents *a, struct round_job *j);
/* Goes on with what was queued since the last call, and with what had to wait. */
void agents_work(struct agents *a);

/* Results could not be written lately: what is sent now would be sent again and again. */
bool agents_troubled(const struct agents *a);

/* Cuts off what is on the wire. What is at the writer still wants A. */
void agents_stop(struct agents *a);
/* After agents_stop, and after the worker's writer jobs are done. NULL is fine. */
void agents_free(struct agents *a);

#endif
