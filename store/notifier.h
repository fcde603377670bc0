/*
 * The notifier: tells notification agents of deliveries that are due (RNASP,
 * protocol.md sections 8, 10 and 11), and does the sweep. A thread of its own
 * with its own loop.
 */
#ifndef IM2000_STORE_NOTIFIER_H
#define IM2000_STORE_NOTIFIER_H

#include "net/locate.h"
#include "net/tls.h"
#include "store/agents.h"
#include "store/service.h"

struct notifier_options {
	struct service *service;
	struct locate_options locate; /* what it points to is borrowed for the notifier's life */
	struct tls_options tls;       /* client side: the store shows its own certificate */
	struct agents_limits limits;
	bool allow_private;
};

/* Starts the thread. 0, or an error with E filled. */
int notifier_start(const struct notifier_options *options, struct notifier **out,
                   struct err_text *e);
/* Ends it: what is at the writer lands, what is on the wire is cut off. NULL is fine. */
void notifier_stop(struct notifier *n);

/* New work may be due. Any thread. */
void notifier_kick(struct notifier *n);
/* A new certificate (TLS is taken over) and rules for the connections to come. Any thread. */
void notifier_configure(struct notifier *n, struct tls_config *tls, bool allow_private);

#endif
