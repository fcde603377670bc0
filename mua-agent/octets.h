/*
 * A message's octets in a file of the person's own, mapped: all of it, cached, or those blocks that
 * were pulled so far. Nothing gets in here that does not lead to the digest in the notification.
 */
#ifndef IM2000_AGENT_OCTETS_H
#define IM2000_AGENT_OCTETS_H

#include "mua-agent/source.h"

struct octets;

/* Of message ENTRY, from the cache or by SOURCE; both must stay. Contacts nobody yet. 0 or an error
 * with E filled. */
int octets_open(const struct app *app, const struct entry *entry, struct source *source,
                struct octets **out, struct err_text *e);
void octets_close(struct octets *x); /* NULL is fine */

/* Whether all of it is here, so that nothing below contacts anybody. */
bool octets_complete(const struct octets *x);

/*
 * Pulls what is missing of the octets from AT to END, and checks it. Where the notification
 * announces no size or no digest, that is the whole message: a range would prove nothing. So it is
 * where the account's agent pulls it. 0 or an
 * error with E filled; then, and before, none of what is missing can be seen.
 */
int octets_need(struct octets *x, uint64_t at, uint64_t end, struct err_text *e);

/* Pulls all of it at once, checks it, and keeps it in the cache. 0 or an error with E filled. */
int octets_need_all(struct octets *x, struct err_text *e);

/* Octets of the message: known at once or after octets_need. */
uint64_t octets_size(const struct octets *x);

/* A view of N octets from AT on, all of which octets_need has seen to; until octets_close or the
 * next octets_need_all. */
struct span octets_view(const struct octets *x, uint64_t at, uint64_t n);

/* These octets will hardly be looked at again: they need not count as memory of ours. */
void octets_let_go(const struct octets *x, uint64_t at, uint64_t n);

/* Removes message NUMBER from the cache. */
void octets_forget(const struct app *app, uint32_t number);

#endif
