/*
 * Who commits (docs/storage.md, "Group commit", has the measurements):
 * - A job that waits alone while nobody commits is committed by its own thread at the end of
 *   its turn: handing it to another thread and back costs more than it gains.
 * - Everything else is the writer thread's: it takes all that waits, applies it in one
 *   transaction and commits once, while the workers go on and the next batch gathers. It does
 *   not sleep as long as something waits.
 * - Where the last commit was slow, the thread does all of them: a worker has other sessions.
 * - Patient jobs alone are no reason to commit, until their time is over or they are many.
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
/* So many patient jobs are worth a flush. */
#define PATIENT_MAX 64

struct queue {
	struct writer_job *first, **end;
};

struct writer {
	struct kv *kv;
	pthread_t thread;
	pthread_mutex_t lock; /* for what follows */
	pthread_cond_t work;  /* for the thread: something waits and nobody commits, or stop */
	struct queue waiting;
	size_t n_waiting, n_patient; /* in all; that are patient */
	uint64_t since_us;           /* when the first of them came, or one before it */
	uint64_t wakes_us;  /* the thread sleeps till then at most; NEVER: until it is told */
	bool hurry;         /* a client waits for all that waits */
	bool committing;    /* the thread, or a client in its turn */
	uint64_t commit_us; /* how long the last commit took */
	struct writer_counts counts;
	bool stop;
};

#define NEVER UINT64_MAX

struct writer_client {
	struct writer *writer;
	void (*wake)(void *ctx);
	void *ctx;
	size_t under_way;     /* submitted and not collected; the client's thread alone knows */
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
	if (!kv_failed(kv))
		log_warn("batch", "error=\"%s\" next=\"each job alone\"", err_phrase(rc));
	/* On a disk that failed none will do. */
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

/* With the writer's lock held: BATCH_MAX jobs at most; NULL-terminated. */
static struct writer_job *take_waiting(struct writer *w, size_t *n)
{
	struct writer_job *jobs = queue_take(&w->waiting, BATCH_MAX);

	*n = 0;
	for (const struct writer_job *job = jobs; job != NULL; job = job->next) {
		(*n)++;
		w->n_patient -= job->patient;
	}
	w->n_waiting -= *n;
	if (w->n_waiting == 0)
		w->hurry = false;
	return jobs;
}

/* With the writer's lock held: whether somebody is to commit now. */
static bool is_due(const struct writer *w)
{
	if (w->committing || w->n_waiting == 0)
		return false;
	return w->hurry || w->n_waiting > w->n_patient || w->n_patient >= PATIENT_MAX ||
	       clock_mono_us() >= w->since_us + WRITER_PATIENT_US;
}

/* With the writer's lock held: makes the thread commit now, or when patience ends. */
static void rouse(struct writer *w)
{
	if (is_due(w) ||
	    (!w->committing && w->n_waiting > 0 && w->wakes_us > w->since_us + WRITER_PATIENT_US))
		pthread_cond_signal(&w->work);
}

/*
 * Takes what waits, commits it and gives it back. With the writer's lock held, which is given
 * up meanwhile; something waits, and nobody commits.
 */
static void commit_some(struct writer *w, const struct writer_client *by)
{
	uint64_t start_us = clock_mono_us();
	bool together;
	size_t n;
	struct writer_job *jobs = take_waiting(w, &n);

	w->committing = true;
	pthread_mutex_unlock(&w->lock);
	together = commit_batch(w->kv, jobs);
	pthread_mutex_lock(&w->lock);
	w->commit_us = clock_mono_us() - start_us;
	count_commit(w, n, together); /* who has his job back finds it counted */
	pthread_mutex_unlock(&w->lock);
	/* Before the next may commit: a client's jobs come back in order. */
	give_back(jobs, by);
	pthread_mutex_lock(&w->lock);
	w->committing = false;
	rouse(w);
}

/* The thread has nothing to commit yet. With the writer's lock held, which is given up. */
static void sleep_for_work(struct writer *w)
{
	uint64_t now_us;

	if (w->committing || w->n_waiting == 0) {
		pthread_cond_wait(&w->work, &w->lock);
		return;
	}
	w->wakes_us = w->since_us + WRITER_PATIENT_US;
	now_us = clock_mono_us();
	if (w->wakes_us > now_us)
		clock_wait(&w->work, &w->lock, w->wakes_us - now_us);
	w->wakes_us = NEVER;
}

static void *run(void *arg)
{
	struct writer *w = arg;

	pthread_mutex_lock(&w->lock);
	while (!w->stop) {
		if (is_due(w))
			commit_some(w, NULL);
		else
			sleep_for_work(w);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

/* ---- what callers see ------------------------------------------------------------- */

/* While there is room for it, not when it is wanted. What is missing is found by the first job. */
static void take_reserve(struct kv *kv)
{
	struct kv_txn *txn;

	if (kv_write_begin(kv, &txn) != 0)
		return;
	if (kv_claim(txn, 0) == ERR_FULL)
		log_warn("kv", "op=reserve error=\"the disk has no room left: nothing new is taken\"");
	kv_write_abort(txn);
}

int writer_create(struct kv *kv, struct writer **out)
{
	struct writer *w = calloc(1, sizeof *w);

	*out = NULL;
	if (w == NULL)
		return ERR_NOMEM;
	w->kv = kv;
	take_reserve(kv);
	queue_clear(&w->waiting);
	w->wakes_us = NEVER;
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
	if (w->n_waiting == 0)
		w->since_us = clock_mono_us();
	queue_add(&w->waiting, job);
	w->n_waiting++;
	w->n_patient += job->patient;
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
	bool commit;

	if (c->under_way == 0)
		return;
	pthread_mutex_lock(&w->lock);
	/* Whoever is committing will look at the queue again. */
	commit =
	    is_due(w) && w->n_waiting - w->n_patient <= 1 && w->commit_us <= TURN_COMMIT_MAX_US;
	if (commit)
		commit_some(w, c);
	else
		rouse(w);
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
		c->writer->hurry = c->writer->n_waiting > 0;
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
