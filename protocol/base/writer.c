/*
 * Who commits (docs/storage.md, "Group commit", has the measurements):
 * - A job that waits alone while nobody commits is committed by its own thread at the end of
 *   its turn: handing it to another thread and back costs more than it gains.
 * - Everything else is the writer thread's: it takes all that waits, applies it in one
 *   transaction and commits once, while the workers go on and the next batch gathers. It does
 *   not sleep as long as something waits.
 * - Where the last commit was slow, the thread does all of them: a worker has other sessions.
 * One at a time commits, and looks at the queue again before it stops, so nothing is left.
 *
 * Locks: the writer's covers the queue; a client's covers its list of jobs that are done. The
 * two are never held together.
 */
#include "base/writer.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"

/* Jobs of one transaction at most: beyond, a flush is shared by enough, and pages get many. */
#define BATCH_MAX 512
/* A worker's loop may stand still for a commit that takes no longer than this. */
#define TURN_COMMIT_MAX_US 2000

struct queue {
	struct writer_job *first, **end;
};

struct writer {
	struct kv *kv;
	pthread_t thread;
	pthread_mutex_t lock; /* for what follows */
	pthread_cond_t work;  /* for the thread: something waits and nobody commits, or stop */
	struct queue waiting;
	bool committing;     /* the thread, or a client in its turn */
	uint64_t commit_us;  /* how long the last commit took */
	struct writer_counts counts;
	bool stop;
};

struct writer_client {
	struct writer *writer;
	void (*wake)(void *ctx);
	void *ctx;
	size_t under_way; /* submitted and not collected; the client's thread alone knows */
	pthread_mutex_t lock; /* for what follows */
	pthread_cond_t ready; /* DONE is not empty any more */
	struct queue done;
};

static void queue_clear(struct queue *q)
{
	q->first = NULL;
	q->end = &q->first;
}

static void queue_add(struct queue *q, struct writer_job *job)
{
	job->next = NULL;
	*q->end = job;
	q->end = &job->next;
}

/* Takes MAX jobs at most from the front of Q; NULL-terminated. */
static struct writer_job *queue_take(struct queue *q, size_t max)
{
	struct writer_job *first = q->first;
	struct writer_job **at = &q->first;

	while (*at != NULL && max-- > 0)
		at = &(*at)->next;
	if (*at == NULL) {
		queue_clear(q);
	} else {
		q->first = *at;
		*at = NULL;
	}
	return first;
}

/* ---- transactions ----------------------------------------------------------------- */

/*
 * Applies JOBS in one transaction and commits it. 0 when their results stand; else what broke
 * the transaction, and nothing of it has happened.
 */
static int commit_together(struct kv *kv, struct writer_job *jobs)
{
	struct kv_txn *txn;
	int rc = kv_write_begin(kv, &txn);

	if (rc < 0)
		return rc;
	for (struct writer_job *job = jobs; job != NULL; job = job->next) {
		job->result = job->apply(job, txn);
		rc = kv_write_failed(txn);
		if (rc < 0) {
			kv_write_abort(txn);
			return rc;
		}
	}
	return kv_write_commit(txn);
}

/* Applies JOB in a transaction of its own. */
static void commit_alone(struct kv *kv, struct writer_job *job)
{
	struct writer_job *next = job->next;
	int rc;

	job->next = NULL;
	rc = commit_together(kv, job);
	job->next = next;
	if (rc < 0)
		job->result = rc;
}

/* Answers whether all went in together. */
static bool commit_batch(struct kv *kv, struct writer_job *jobs)
{
	int rc = commit_together(kv, jobs);

	if (rc == 0)
		return true;
	if (jobs->next == NULL) { /* it was alone */
		jobs->result = rc;
		return false;
	}
	log_warn("batch", "error=\"%s\" next=\"each job alone\"", err_phrase(rc));
	for (struct writer_job *job = jobs; job != NULL; job = job->next)
		commit_alone(kv, job);
	return false;
}

/* ---- giving back ------------------------------------------------------------------ */

/*
 * Each of JOBS to its client, which is woken unless it is BY, the one that committed. The wake
 * comes under the client's lock, so that the client cannot be freed before it returned.
 */
static void give_back(struct writer_job *jobs, const struct writer_client *by)
{
	while (jobs != NULL) {
		struct writer_job *next = jobs->next;
		struct writer_client *c = jobs->client;
		bool first;

		pthread_mutex_lock(&c->lock);
		first = c->done.first == NULL;
		queue_add(&c->done, jobs);
		if (first && c != by) {
			pthread_cond_signal(&c->ready);
			c->wake(c->ctx);
		}
		pthread_mutex_unlock(&c->lock);
		jobs = next;
	}
}

/* With the writer's lock held: a commit of N jobs. */
static void count_commit(struct writer *w, size_t n, bool together)
{
	size_t i = 0;

	while (i < WRITER_SIZES && n > (size_t)1 << i)
		i++;
	w->counts.sizes[i]++;
	w->counts.jobs += n;
	w->counts.failed += !together;
	w->counts.busy_us += w->commit_us;
}

/*
 * Takes MAX jobs at most, commits them and gives them back. With the writer's lock held, which
 * is given up meanwhile; something waits, and nobody commits.
 */
static void commit_some(struct writer *w, size_t max, const struct writer_client *by)
{
	struct writer_job *jobs = queue_take(&w->waiting, max);
	uint64_t start_us = clock_mono_us();
	bool together;
	size_t n = 0;

	w->committing = true;
	pthread_mutex_unlock(&w->lock);
	for (const struct writer_job *job = jobs; job != NULL; job = job->next)
		n++;
	together = commit_batch(w->kv, jobs);
	pthread_mutex_lock(&w->lock);
	w->commit_us = clock_mono_us() - start_us;
	count_commit(w, n, together); /* who has his job back finds it counted */
	pthread_mutex_unlock(&w->lock);
	/* Before the next may commit: a client's jobs come back in order. */
	give_back(jobs, by);
	pthread_mutex_lock(&w->lock);
	w->committing = false;
	if (w->waiting.first != NULL)
		pthread_cond_signal(&w->work);
}

static void *run(void *arg)
{
	struct writer *w = arg;

	pthread_mutex_lock(&w->lock);
	while (!w->stop) {
		if (w->waiting.first != NULL && !w->committing)
			commit_some(w, BATCH_MAX, NULL);
		else
			pthread_cond_wait(&w->work, &w->lock);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

/* ---- what callers see ------------------------------------------------------------- */

int writer_create(struct kv *kv, struct writer **out)
{
	struct writer *w = calloc(1, sizeof *w);

	*out = NULL;
	if (w == NULL)
		return ERR_NOMEM;
	w->kv = kv;
	queue_clear(&w->waiting);
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->work, NULL);
	if (pthread_create(&w->thread, NULL, run, w) != 0) {
		pthread_cond_destroy(&w->work);
		pthread_mutex_destroy(&w->lock);
		free(w);
		return ERR_IO;
	}
	*out = w;
	return 0;
}

void writer_free(struct writer *w)
{
	if (w == NULL)
		return;
	pthread_mutex_lock(&w->lock);
	w->stop = true;
	pthread_cond_signal(&w->work);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	pthread_cond_destroy(&w->work);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

int writer_client_create(struct writer *w, void (*wake)(void *ctx), void *ctx,
                         struct writer_client **out)
{
	struct writer_client *c = calloc(1, sizeof *c);

	*out = c;
	if (c == NULL)
		return ERR_NOMEM;
	c->writer = w;
	c->wake = wake;
	c->ctx = ctx;
	queue_clear(&c->done);
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->ready, NULL);
	return 0;
}

void writer_submit(struct writer_client *c, struct writer_job *job)
{
	struct writer *w = c->writer;

	job->client = c;
	c->under_way++;
	pthread_mutex_lock(&w->lock);
	queue_add(&w->waiting, job);
	pthread_mutex_unlock(&w->lock);
}

void writer_client_collect(struct writer_client *c)
{
	struct writer_job *jobs;

	pthread_mutex_lock(&c->lock);
	jobs = queue_take(&c->done, SIZE_MAX);
	pthread_mutex_unlock(&c->lock);
	while (jobs != NULL) {
		struct writer_job *next = jobs->next;

		c->under_way--;
		jobs->done(jobs, jobs->result);
		jobs = next;
	}
}

void writer_client_turn(struct writer_client *c)
{
	struct writer *w = c->writer;
	bool commit = false;

	if (c->under_way == 0)
		return;
	pthread_mutex_lock(&w->lock);
	/* Whoever is committing will look at the queue again. */
	if (w->waiting.first != NULL && !w->committing) {
		commit = w->waiting.first->next == NULL && w->commit_us <= TURN_COMMIT_MAX_US;
		if (commit)
			commit_some(w, 1, c);
		else
			pthread_cond_signal(&w->work);
	}
	pthread_mutex_unlock(&w->lock);
	if (!commit)
		return;
	writer_client_collect(c);
	/* What the callbacks submitted has no turn yet. */
	if (c->under_way > 0)
		c->wake(c->ctx);
}

void writer_counts(struct writer *w, struct writer_counts *out)
{
	pthread_mutex_lock(&w->lock);
	*out = w->counts;
	pthread_mutex_unlock(&w->lock);
}

void writer_client_free(struct writer_client *c)
{
	if (c == NULL)
		return;
	while (c->under_way > 0) {
		pthread_mutex_lock(&c->writer->lock);
		pthread_cond_signal(&c->writer->work); /* no turn comes any more */
		pthread_mutex_unlock(&c->writer->lock);
		pthread_mutex_lock(&c->lock);
		while (c->done.first == NULL)
			pthread_cond_wait(&c->ready, &c->lock);
		pthread_mutex_unlock(&c->lock);
		writer_client_collect(c);
	}
	pthread_cond_destroy(&c->ready);
	pthread_mutex_destroy(&c->lock);
	free(c);
}
