/*
 * Two looks go over the table of jobs, which is in the order of due times. One
 * goes round and round over all that is due, LOOK jobs at a call. Where that does
 * not come to the end in a call, the other looks at what has become due since
 * the last call: so a backlog, of jobs whose account or domain has its share in
 * hand, does not hide what is new.
 *
 * A job may be put with a due time that has been passed (a submission that waited
 * for its commit): the first look finds it in its next time round.
 */
#include "store/round.h"

#include <stdlib.h>
#include <string.h>

#include "store/share.h"

#define BUCKETS 4096                  /* a power of two */
#define LOOK 4096                     /* jobs that one look goes over in a call */
#define PLACE_PART 8                  /* of the limit: one account's jobs for one domain */

struct round {
	struct db *db;
	size_t limit, n;
	struct share *accounts; /* jobs in hand, by account */
	struct share *places;   /* by account and domain */
	struct db_job at;       /* where the first look goes on; all zero: at the start */
	struct db_job seen;     /* the last job in order of keys that a look has come to */
	struct round_job *bucket[BUCKETS];
};

/* A look under way. */
struct look {
	struct round *round;
	uint64_t now_us, next_us;
	size_t budget;
	bool ended, left;       /* it came to what is not due; something due was not taken */
	struct db_job at;       /* the last job looked at */
	struct round_job *list, **end;
	int n, err;
};

int round_create(struct db *db, size_t limit, struct round **out)
{
	struct round *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return ERR_NOMEM;
	r->db = db;
	r->limit = limit;
	if (share_create(limit, &r->accounts) != 0 || share_create(limit, &r->places) != 0) {
		round_free(r);
		return ERR_NOMEM;
	}
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
	share_free(r->accounts);
	share_free(r->places);
	free(r);
}

size_t round_count(const struct round *r)
{
	return r->n;
}

/* --- what is in hand ----------------------------------------------------------------------- */

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

/* Of an account and a domain. Two that are alike by chance share what one could have. */
static uint64_t place_of(const struct db_job *job)
{
	uint64_t h = 14695981039346656037U ^ job->account; /* FNV-1a */

	for (size_t i = 0; i < job->domain.n; i++)
		h = (h ^ job->domain.p[i]) * 1099511628211U;
	return h;
}

static bool may_take(const struct round *r, const struct db_job *job)
{
	size_t most = r->limit / PLACE_PART > 0 ? r->limit / PLACE_PART : 1;

	return r->n < r->limit && share_allows(r->accounts, job->account) &&
	       share_held(r->places, place_of(job)) < most;
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
	share_take(r->accounts, job->account);
	share_take(r->places, place_of(job));
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
	share_give(r->accounts, j->job.account);
	share_give(r->places, place_of(&j->job));
	free(j);
}

/* --- looking ------------------------------------------------------------------------------- */

static bool look_at(void *ctx, const struct db_job *job)
{
	struct look *k = ctx;
	struct round_job *j;

	if (job->due_us > k->now_us) {
		k->next_us = job->due_us;
		k->ended = true;
		return false;
	}
	if (k->budget == 0)
		return false;
	k->budget--;
	k->at = *job;
	k->at.domain = span_of(NULL, 0);
	if (in_hand(k->round, job))
		return true;
	if (!may_take(k->round, job)) {
		k->left = true;
		return k->round->n < k->round->limit;
	}
	k->err = take(k->round, job, &j);
	if (k->err == ERR_MALFORMED) {
		k->err = 0; /* db_check tells of it */
		return true;
	}
	if (k->err != 0)
		return false;
	*k->end = j;
	k->end = &j->queue_next;
	k->n++;
	return true;
}

static bool is_after(const struct db_job *a, const struct db_job *b)
{
	if (a->due_us != b->due_us)
		return a->due_us > b->due_us;
	if (a->message != b->message)
		return a->message > b->message;
	return a->first != b->first ? a->first > b->first : a->kind > b->kind;
}

/* Looks on behind AFTER. 0 or an error. */
static int look_on(struct look *k, struct kv_txn *t, const struct db_job *after)
{
	struct round *r = k->round;
	int err;

	k->budget = LOOK;
	k->ended = false;
	k->at = *after;
	err = db_job_walk(r->db, t, after, look_at, k);
	if (err == 0)
		err = k->err;
	if (err == 0 && k->budget > 0 && r->n < r->limit)
		k->ended = true; /* there are no more at all */
	if (is_after(&k->at, &r->seen))
		r->seen = k->at;
	return err;
}

static int look(struct look *k, struct kv_txn *t)
{
	struct round *r = k->round;
	struct db_job from = { 0 };
	int err = look_on(k, t, &r->at);

	if (err != 0 || r->n >= r->limit)
		return err;
	if (k->ended) {
		r->at = from; /* all zero: round again */
		return 0;
	}
	r->at = k->at;
	k->left = true;
	if (r->seen.due_us > k->now_us)
		r->seen = r->at; /* the clock was set back */
	from = r->seen;
	return look_on(k, t, &from);
}

int round_collect(struct round *r, uint64_t now_us, void (*found)(void *ctx, struct round_job *j),
                  void *ctx, uint64_t *next_us)
{
	struct look k = { .round = r, .now_us = now_us };
	struct kv_txn *t = db_read_begin(r->db);
	struct round_job *j;
	int err;

	*next_us = 0;
	if (t == NULL)
		return ERR_NOMEM;
	k.end = &k.list;
	err = look(&k, t);
	db_read_end(t);
	/* No transaction is open while the holder is told. */
	while ((j = k.list) != NULL) {
		k.list = j->queue_next;
		j->queue_next = NULL;
		found(ctx, j);
	}
	*next_us = k.left ? now_us : k.next_us;
	return err != 0 ? err : k.n;
}
