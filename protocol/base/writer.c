/*
 * The writer thread: takes all that waits, applies it in one transaction, commits once, and
 * hands each job back to its client.
 *
 * Locks: the writer's covers the queue; a client's covers its list of jobs that are done. The
 * two are never held together.
 */
#include "base/writer.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/log.h"

/* Jobs of one transaction at most: beyond, a flush is shared by enough, and pages get many. */
#define BATCH_MAX 512

struct queue {
	struct writer_job *first, **end;
};

struct writer {
	struct kv *kv;
	pthread_t thread;
	pthread_mutex_t lock; /* for what follows */
	pthread_cond_t work;  /* the queue is not empty any more, or stop */
	struct queue waiting;
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

static void commit_batch(struct kv *kv, struct writer_job *jobs)
{
	int rc = commit_together(kv, jobs);

	if (rc == 0)
		return;
	if (jobs->next == NULL) { /* it was alone */
		jobs->result = rc;
		return;
	}
	log_warn("batch", "error=\"%s\" next=\"each job alone\"", err_phrase(rc));
	for (struct writer_job *job = jobs; job != NULL; job = job->next)
		commit_alone(kv, job);
}

/* ---- giving back ------------------------------------------------------------------ */

/* With LOCK of the client held, so that the client is not freed before its wake returned. */
static void give_back(struct writer_job *job)
{
	struct writer_client *c = job->client;
	bool first;

	pthread_mutex_lock(&c->lock);
	first = c->done.first == NULL;
	queue_add(&c->done, job);
	if (first) {
		pthread_cond_signal(&c->ready);
		c->wake(c->ctx);
	}
	pthread_mutex_unlock(&c->lock);
}

static void *run(void *arg)
{
	struct writer *w = arg;

	pthread_mutex_lock(&w->lock);
	for (;;) {
		struct writer_job *jobs = queue_take(&w->waiting, BATCH_MAX);

		if (jobs == NULL) {
			if (w->stop)
				break;
			pthread_cond_wait(&w->work, &w->lock);
			continue;
		}
		pthread_mutex_unlock(&w->lock);
		commit_batch(w->kv, jobs);
		while (jobs != NULL) {
			struct writer_job *next = jobs->next;

			give_back(jobs);
			jobs = next;
		}
		pthread_mutex_lock(&w->lock);
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
	if (w->waiting.first == NULL)
		pthread_cond_signal(&w->work);
	queue_add(&w->waiting, job);
	pthread_mutex_unlock(&w->lock);
}

void writer_client_turn(struct writer_client *c)
{
	(void)c; /* the thread commits */
}

static void run_done(struct writer_client *c, struct writer_job *jobs)
{
	while (jobs != NULL) {
		struct writer_job *next = jobs->next;

		c->under_way--;
		jobs->done(jobs, jobs->result);
		jobs = next;
	}
}

void writer_client_collect(struct writer_client *c)
{
	struct writer_job *jobs;

	pthread_mutex_lock(&c->lock);
	jobs = queue_take(&c->done, SIZE_MAX);
	pthread_mutex_unlock(&c->lock);
	run_done(c, jobs);
}

void writer_client_free(struct writer_client *c)
{
	if (c == NULL)
		return;
	while (c->under_way > 0) {
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
