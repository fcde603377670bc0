/*
 * The group commit. Whoever wants to change an environment hands the writer a
 * job; everything that waits is applied in one write transaction and committed
 * once, so one flush serves all. No done callback comes before the commit.
 *
 * A job checks before it writes: when its apply function returns an error it
 * must have changed nothing, and the other jobs of the transaction still land.
 * When the transaction fails as a whole (ERR_FULL, ERR_IO), it is aborted and
 * its jobs are applied and committed one by one; those that fail again are
 * told so.
 *
 * Each thread that submits has a writer_client. Done callbacks run on that
 * thread, inside writer_client_collect.
 */
#ifndef IM2000_BASE_WRITER_H
#define IM2000_BASE_WRITER_H

#include "base/kv.h"

#define WRITER_PATIENT_US 20000

struct writer;
struct writer_client;

struct writer_job {
	/* Runs in the write transaction, on whatever thread commits. May run more than once (retried
	 * alone): it must not change JOB's inputs. 0, or an error with nothing changed. */
	int (*apply)(struct writer_job *job, struct kv_txn *txn);
	/* Runs on the submitting thread after the commit, once; RESULT is apply's, or the commit's
	 * error. The job is the caller's again from its beginning on. */
	void (*done)(struct writer_job *job, int result);
	/* Nobody waits for it: it goes with the next commit that somebody waits for, or after
	 * WRITER_PATIENT_US. It keeps its place among the others. */
	bool patient;
	/* The writer's own. */
	struct writer_client *client;
	struct writer_job *next;
	int result;
};

/* Starts the writer of KV, which takes its reserve (kv_claim). 0, ERR_NOMEM, ERR_IO. */
int writer_create(struct kv *kv, struct writer **out);
/* Commits all that waits, ends the writer, frees. All clients must be collected and freed. */
void writer_free(struct writer *w);

/*
 * WAKE is called on any thread when jobs of this client are done: it must make the client's
 * thread call writer_client_collect, and take a turn, soon (uv_async_send). It must not call
 * the writer. 0 or ERR_NOMEM.
 */
int writer_client_create(struct writer *w, void (*wake)(void *ctx), void *ctx,
                         struct writer_client **out);
/* Waits for the client's jobs that are under way, runs their done callbacks, frees. */
void writer_client_free(struct writer_client *c);

/*
 * Hands JOB over; it belongs to the writer until its done callback. Never blocks for I/O.
 * Jobs of one client are applied, and done, in the order of their submission. Nothing
 * happens to them before the client's turn ends: see writer_client_turn.
 */
void writer_submit(struct writer_client *c, struct writer_job *job);

/*
 * To be called at the end of each turn of the client's loop, when all that was ready has
 * been handled: what was submitted is set in motion. A job that waits alone, or with none but
 * patient ones, is committed here and its done callback runs, which takes one flush's time; else
 * the writer's thread does it.
 */
void writer_client_turn(struct writer_client *c);

/* Runs the done callbacks that are ready. What they submit waits for the turn after it. */
void writer_client_collect(struct writer_client *c);

/* What the writer did so far. */
#define WRITER_SIZES 10 /* at most 1, 2, 4 ... 512 jobs; then more */
struct writer_counts {
	uint64_t jobs;                    /* that were given back */
	uint64_t sizes[WRITER_SIZES + 1]; /* commits by their number of jobs */
	uint64_t failed;                  /* commits whose jobs were then tried one by one */
	uint64_t busy_us;                 /* the time of all commits */
};
/* Any thread. */
void writer_counts(struct writer *w, struct writer_counts *out);

#endif
