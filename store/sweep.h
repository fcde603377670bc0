/*
 * The sweep: what has outlived its time goes, a bounded piece in each
 * transaction. Lifetimes that end, submissions that nobody resumed, records that
 * `track` needs no more, octets without a reader.
 */
#ifndef IM2000_STORE_SWEEP_H
#define IM2000_STORE_SWEEP_H

#include "base/clock.h"
#include "store/service.h"

/* How long the account's log of changes goes back, for `watch`. */
#define SWEEP_CHANGES_KEPT_US (30 * CLOCK_DAY_US)

struct sweep;
/* 0 or ERR_NOMEM. */
int sweep_create(struct service_worker *w, struct sweep **out);
/* Looks for something to do, unless it is at it. To be called now and then. */
void sweep_turn(struct sweep *s);
/* Begins nothing more. */
void sweep_stop(struct sweep *s);
/* After the worker's writer jobs are done. NULL is fine. */
void sweep_free(struct sweep *s);

/*
 * One step of what is due for message NUMBER at NOW_US, deliveries from INDEX
 * on. 0: done; ERR_AGAIN: call again in another transaction, with *NEXT. For an
 * apply function.
 */
int sweep_message(struct db *db, struct kv_txn *t, uint64_t number, uint64_t now_us,
                  uint64_t keep_us, uint32_t index, uint32_t *next);

#endif
