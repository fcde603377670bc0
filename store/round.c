#include "store/round.h"

#include <stdlib.h>
#include <string.h>

#define BUCKETS 4096 /* a power of two */

struct round {
	struct db *db;
	size_t limit, n;
	struct round_job *bucket[BUCKETS];
};

int round_create(struct db *db, size_t limit, struct round **out)
{
	struct round *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return ERR_NOMEM;
	r->db = db;
	r->limit = limit;
	*out = r;
	return 0;
}

void round_free(struct round *r)
{
	if (r == NULL)
		return;
	for (size_t i = 0; i < BUCKETS; i++)
		while (r->bucket[i] != NULL)
			round_forget(r, r->bucket[i]);
	free(r);
}

size_t round_count(const struct round *r)
{
	return r->n;
}

/* Numbers of messages follow one another, and so do a message's jobs: they spread by themselves. */
static struct round_job **bucket_of(struct round *r, const struct db_job *job)
{
	uint64_t h = job->message * 31 + job->first + (uint64_t)job->kind * 7 + job->due_us;

	return &r->bucket[(h ^ h >> 12) & (BUCKETS - 1)];
}

static bool same_key(const struct db_job *a, const struct db_job *b)
{
	return a->due_us == b->due_us && a->message == b->message && a->first == b->first &&
	       a->kind == b->kind;
}

static bool in_hand(struct round *r, const struct db_job *job)
{
	for (struct round_job *j = *bucket_of(r, job); j != NULL; j = j->bucket_next)
		if (same_key(&j->job, job))
			return true;
	return false;
}

/* 0, ERR_NOMEM, or ERR_MALFORMED for a domain that can be none. */
static int take(struct round *r, const struct db_job *job, struct round_job **out)
{
	struct round_job **at = bucket_of(r, job);
	struct round_job *j = calloc(1, sizeof(*j));

	if (j == NULL)
		return ERR_NOMEM;
	if (span_copy(job->domain, j->domain, sizeof(j->domain)) != 0) {
		free(j);
		return ERR_MALFORMED;
	}
	j->job = *job;
	j->job.domain = span_str(j->domain);
	j->next = job->first;
	j->bucket_next = *at;
	*at = j;
	r->n++;
	*out = j;
	return 0;
}

void round_forget(struct round *r, struct round_job *j)
{
	struct round_job **at = bucket_of(r, &j->job);

	while (*at != NULL && *at != j)
		at = &(*at)->bucket_next;
	if (*at == NULL)
		return;
	*at = j->bucket_next;
	r->n--;
	free(j);
}

int round_collect(struct round *r, uint64_t now_us, void (*found)(void *ctx, struct round_job *j),
                  void *ctx, uint64_t *next_us)
{
	struct round_job *list = NULL, **end = &list, *j;
	struct kv_txn *t = db_read_begin(r->db);
	struct db_job last, job;
	bool first = true;
	int n = 0, err = 0;

	*next_us = 0;
	if (t == NULL)
		return ERR_NOMEM;
	while (r->n < r->limit) {
		err = db_job_next(r->db, t, first ? NULL : &last, &job);
		if (err != 0)
			break;
		if (job.due_us > now_us) {
			*next_us = job.due_us;
			break;
		}
		last = job;
		first = false;
		if (in_hand(r, &job))
			continue;
		err = take(r, &job, &j);
		if (err == ERR_MALFORMED)
			continue; /* db_check tells of it */
		if (err != 0)
			break;
		*end = j;
		end = &j->queue_next;
		n++;
	}
	db_read_end(t);
	/* No transaction is open while the holder is told. */
	while ((j = list) != NULL) {
		list = j->queue_next;
		j->queue_next = NULL;
		found(ctx, j);
	}
	return err != 0 && err != ERR_NOT_FOUND ? err : n;
}
