/* What fetcher.c and flight.c share. Nothing else includes this. */
#ifndef IM2000_NOTIFY_FETCHER_CORE_H
#define IM2000_NOTIFY_FETCHER_CORE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "notify/failing.h"
#include "notify/fetcher.h"
#include "session/puller.h"

#define FETCHER_PLACES 1024 /* a power of two */

/*
 * A flight's own state is the thread's alone:
 *   QUEUED    waits for its turn
 *   CHECKING  the cache has the message from before the start: it is read, a piece
 *             each turn of the loop
 *   PULLING   the puller is at work
 * It serves its tickets from the source of the first of them. One that nobody
 * waits for any more is given up; only the thread takes it off the list.
 */
enum flight_state { QUEUED, CHECKING, PULLING };

struct flight {
	struct flight *next;
	struct fetcher *fetcher;
	struct cache_key key;
	struct fetch_ticket *first, *last; /* under the lock */
	/* The thread's. */
	enum flight_state state;
	uint64_t since_us; /* when it was made, then when it was begun */
	struct fetch_source source;
	struct puller *puller;
	struct cache_filling *filling;
	struct cache_file *file;   /* CHECKING */
	struct digest_tree digest; /* CHECKING */
	uint64_t at;               /* octets so far */
};

struct fetcher {
	struct loop *loop;
	pthread_t thread;
	struct locator *locator;
	struct loop_timer *timer;
	struct loop_task kick;
	atomic_bool kicked;
	struct waiters *waiters;
	struct cache *cache;
	uint8_t *room; /* of DIGEST_BLOCK octets; CHECKING */
	bool again;    /* the turn in hand is not the last */
	unsigned pulling;                      /* flights that pull */
	unsigned pulling_from[FETCHER_PLACES]; /* of those, by the hash of their store's domain */
	atomic_ullong hits, misses, pulled, failed, octets;
	pthread_mutex_t lock; /* for what follows */
	struct flight *flights, **flights_end;
	struct failing *failing;
	struct fetcher_settings settings;
	struct tls_config *tls;
	uint32_t last_number;
};

/* What tickets are told. */
struct answer {
	struct cache_file *file;
	enum wire_status status;
	unsigned retry_s;
	const char *text;
};


/* --- fetcher.c: under the lock -------------------------------------------------------------- */

void fetcher_unlink(struct fetch_ticket *t);
void fetcher_fill(struct fetcher *f, struct fetch_ticket *t, const struct answer *a);
/* US in seconds, rounded up. */
unsigned fetcher_seconds(uint64_t us);

/* --- flight.c: the thread ------------------------------------------------------------------- */

/* Does all that can be done now, and sets the timer for what comes. */
void flight_turn(struct fetcher *f);
/* Gives up what is under way. */
void flight_halt(struct flight *x);

#endif
