/*
 * Which jobs of the notifier are due, and which of them it has in hand. Knows
 * the database and no sockets.
 */
#ifndef IM2000_STORE_ROUND_H
#define IM2000_STORE_ROUND_H

#include "base/name.h"
#include "store/db.h"

/* A job in hand. It stays in the database until all its deliveries were tried and written. */
struct round_job {
	struct db_job job; /* its domain is the text below */
	char domain[NAME_DOMAIN_MAX + 1];
	uint32_t next;                 /* first delivery that no batch has looked at yet */
	unsigned batches;              /* with its deliveries, whose results are not written yet */
	bool queued;                   /* the holder's: it waits for its turn */
	unsigned identity;             /* the holder's: the certificate that speaks for its sender */
	bool exhausted;                /* all deliveries were looked at */
	bool failed;                   /* something could not be written: the job must come again */
	bool retired;                  /* the database has it no more */
	struct round_job *queue_next;  /* the holder's */
	struct round_job *bucket_next; /* the round's own */
};

struct round;
/* Holds LIMIT jobs at most. 0 or ERR_NOMEM. */
int round_create(struct db *db, size_t limit, struct round **out);
void round_free(struct round *r); /* and all jobs in hand; NULL is fine */

/*
 * Takes in hand what is due at NOW_US and is not yet, earliest first, calling
 * FOUND for each; it is the caller's until round_forget. An account takes no
 * more than its share (share.h), nor more than a part of the whole for one
 * domain: what is over waits until a later call finds room for it, and holds up
 * no other's. A call looks at a limited number of jobs.
 *
 * *NEXT_US: when to call again: at most NOW_US when something due was left, 0
 * when nothing is known to come. How many were found, or an error of db.h.
 */
int round_collect(struct round *r, uint64_t now_us, void (*found)(void *ctx, struct round_job *j),
                  void *ctx, uint64_t *next_us);
/* Lets J go; when the database still has it, a later collect finds it again. */
void round_forget(struct round *r, struct round_job *j);
size_t round_count(const struct round *r);

#endif
