/*
 * What an originator does to all deliveries of a message: cancel, release,
 * extend, forget. At most STEPS_DELIVERIES of them change in one transaction, so
 * that others do not wait long for the writer; the caller comes again until no
 * more are left.
 *
 * While steps are missing, the message's sweep_us stands STEPS_PATIENCE_US ahead
 * instead of at its expiry. So what a crash left half done is found by the sweep
 * and carried through; every step may be done twice.
 */
#ifndef IM2000_STORE_STEPS_H
#define IM2000_STORE_STEPS_H

#include "base/clock.h"
#include "store/addressees.h"
#include "store/db.h"

#define STEPS_DELIVERIES 1000
#define STEPS_PATIENCE_US CLOCK_MINUTE_US

struct steps {
	struct db *db;
	uint64_t message;
	uint64_t now_us; /* alike for all steps of one command */
	uint32_t first;  /* delivery that this step begins with */
	/* extend: how long it shall live from now, or from its release, when that is to come; and,
	 * from the second step on, the end that it had. */
	uint64_t lifetime_us, ended_us;
};

struct steps_result {
	bool more;
	uint32_t next;  /* where the next step begins */
	uint32_t found; /* deliveries of this step that were meant */
	uint64_t expires_us, ended_us; /* extend: the message's end, now and before */
};

/*
 * For apply functions. Each: 0 with OUT filled; ERR_CLOSED when the message's
 * lifetime is over; ERR_NOT_FOUND; or another error of db.h.
 */

/* NAMES: whom to cancel for; NULL: the whole message, which nobody can read any more from the
 * first step on. Cancelled before: carried through again. */
int steps_cancel(const struct steps *s, struct kv_txn *t, const struct addressees *names,
                 struct steps_result *out);
/* A draft is sent to whom it names: ERR_DENIED when that is nobody, ERR_CLOSED also when it was
 * cancelled. Released before: nothing is left to do. */
int steps_release(const struct steps *s, struct kv_txn *t, struct steps_result *out);

/* The message lives as long as is wanted, if that is longer than it did; ERR_CLOSED also when it
 * was cancelled or its octets are gone. What was given up for the old end is tried again. */
int steps_extend(const struct steps *s, struct kv_txn *t, struct steps_result *out);
/* The originator drops its copy: the octets stay for those who may still read them. Nobody may
 * read a draft: it is cancelled as a whole. Never ERR_CLOSED. */
int steps_forget(const struct steps *s, struct kv_txn *t, struct steps_result *out);

/* For the sweep: what M's sweep_us says is due before its expiry. As above. */
int steps_carry_on(const struct steps *s, struct kv_txn *t, const struct db_message *m,
                   struct steps_result *out);

#endif
