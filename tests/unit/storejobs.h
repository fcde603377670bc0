/*
 * For tests of the notifier without its connections: a store with a message,
 * the jobs that are due, batches of them, and what an agent answers.
 */
#ifndef IM2000_TESTS_STOREJOBS_H
#define IM2000_TESTS_STOREJOBS_H

#include "storerig.h"
#include "store/batch.h"

extern struct rig r;
extern struct round *round_;
extern uint8_t id[16];        /* of the message submitted last */
extern uint64_t number;       /* the same */
extern int out;               /* a session that has logged in */
extern uint64_t next_us;      /* that the last look answered */
extern struct round_job *job[64]; /* that were found, in order */
extern size_t n_jobs;
extern struct batch_room room;
extern struct span frame;     /* the command of the batch that was loaded last */

int storejobs_setup(void **state);
int storejobs_teardown(void **state);

/* Looks for what is due in AHEAD_US. How many. */
int collect(uint64_t ahead_us);
void submit(const char *const *to);
/* Recipients r0000@DOMAIN to rN-1@DOMAIN, 2000 at most. */
void submit_many(size_t n, const char *domain);

/* A batch of J's deliveries, in FORM, to be SENT or not; what batch_add answered is RESULT. */
struct batch *load_as(struct round_job *j, enum batch_form form, bool sent, int result);
/* The same, by notify or withdraw. */
struct batch *load(struct round_job *j, bool sent, int result);
/* The command in `frame`. */
void decode_frame(struct rnasp_command *c);
/* The agent's answer, RESULTS being one letter for each: accepted, no user, refused, full, later,
 * unverified. WANT: what batch_answer answers. */
void answer(struct batch *b, const char *results, int want);
/* Writes the results, and does with the jobs as the notifier does. */
void apply(struct batch *b);

struct db_delivery delivery(struct kv_txn *t, uint32_t index);
void expect_status(uint32_t index, enum wire_notification_status want);

#endif
