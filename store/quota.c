#include "store/quota.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 256 /* of accounts; a power of two */
#define ID_OCTETS 16

/* Submissions that count as one: those with a submissionId, else each for itself. */
struct group {
	struct group *next; /* of the account */
	struct holder *holder;
	bool has_id;
	uint8_t id[ID_OCTETS];
	struct quota_share *shares;
};

/* An account that has shares. */
struct holder {
	struct holder *next; /* of the bucket */
	uint32_t account;
	struct group *groups;
};

struct quota_share {
	struct quota *quota;
	struct db *db;
	struct group *group;
	struct quota_share *next; /* of the group */
	uint64_t number, octets;
};

struct quota {
	pthread_mutex_t lock; /* for all that follows, and all that hangs on it */
	struct holder *bucket[BUCKETS];
	uint64_t promised;
};

int quota_create(struct quota **out)
{
	struct quota *q = calloc(1, sizeof(*q));

	if (q == NULL)
		return ERR_NOMEM;
	if (pthread_mutex_init(&q->lock, NULL) != 0) {
		free(q);
		return ERR_INTERNAL;
	}
	*out = q;
	return 0;
}

void quota_free(struct quota *q)
{
	if (q == NULL)
		return;
	pthread_mutex_destroy(&q->lock);
	free(q);
}

/* --- holders and groups -------------------------------------------------------------------- */

static struct holder **holder_place(struct quota *q, uint32_t account)
{
	struct holder **at = &q->bucket[account % BUCKETS];

	while (*at != NULL && (*at)->account != account)
		at = &(*at)->next;
	return at;
}

static struct group *group_find(const struct holder *h, const uint8_t *id)
{
	struct group *g = h != NULL && id != NULL ? h->groups : NULL;

	while (g != NULL && !(g->has_id && memcmp(g->id, id, ID_OCTETS) == 0))
		g = g->next;
	return g;
}

/* The account's holder, made where there is none. NULL when memory is out. */
static struct holder *holder_make(struct quota *q, uint32_t account)
{
	struct holder **at = holder_place(q, account);

	if (*at == NULL) {
		*at = calloc(1, sizeof(**at));
		if (*at != NULL)
			(*at)->account = account;
	}
	return *at;
}

/* The group of ID, made where there is none. NULL when memory is out. */
static struct group *group_make(struct quota *q, uint32_t account, const uint8_t *id)
{
	struct group *fresh = calloc(1, sizeof(*fresh)), *g;
	struct holder *h = fresh == NULL ? NULL : holder_make(q, account);

	g = group_find(h, id);
	if (h == NULL || g != NULL) {
		free(fresh);
		return g;
	}
	if (id != NULL) {
		fresh->has_id = true;
		memcpy(fresh->id, id, ID_OCTETS);
	}
	fresh->holder = h;
	fresh->next = h->groups;
	h->groups = fresh;
	return fresh;
}

/* Takes an empty group away, and its holder with the last one. */
static void group_remove(struct quota *q, struct group *g)
{
	struct holder *h = g->holder, **place = holder_place(q, h->account);
	struct group **at = &h->groups;

	while (*at != g)
		at = &(*at)->next;
	*at = g->next;
	free(g);
	if (h->groups == NULL) {
		*place = h->next;
		free(h);
	}
}

/* --- what is promised ---------------------------------------------------------------------- */

/* What the message counts for in its account's use; 0 also when it is not there. */
static int usage_of(struct db *db, struct kv_txn *t, uint64_t number, uint64_t *out)
{
	struct db_message m;
	int err = number == 0 ? ERR_NOT_FOUND : db_message_get(db, t, number, &m);

	*out = err == 0 ? db_message_usage(&m) : 0;
	return err == ERR_NOT_FOUND ? 0 : err;
}

/* The most that one of G's submissions may come to, and what they count for in the database. */
static int group_sum(const struct group *g, struct db *db, struct kv_txn *t, uint64_t *need,
                     uint64_t *usage)
{
	int err = 0;

	*need = *usage = 0;
	for (const struct quota_share *s = g->shares; err == 0 && s != NULL; s = s->next) {
		uint64_t one;

		if (s->octets > *need)
			*need = s->octets;
		/* One of them at most is in the database: a submissionId leads to one message. */
		err = usage_of(db, t, s->number, &one);
		if (one > *usage)
			*usage = one;
	}
	return err;
}

/*
 * Whether the ACCOUNT of H has room for WANT in place of what its group OWN (NULL: none yet) has. T
 * is the state of the database that ACCOUNT is of. 0, ERR_TOO_BIG, or an error.
 */
static int fits(const struct holder *h, const struct group *own, struct db *db, struct kv_txn *t,
                const struct db_account *account, const struct quota_want *want)
{
	uint64_t taken = account->used_octets, wanted = want->octets, quota = account->quota_octets;
	uint64_t already; /* of what it used, the octets of WANT's submission */
	int err = usage_of(db, t, want->number, &already);

	for (const struct group *g = h != NULL ? h->groups : NULL; err == 0 && g != NULL;
	     g = g->next) {
		uint64_t need, usage;

		err = group_sum(g, db, t, &need, &usage);
		if (g != own) {
			taken += need > usage ? need - usage : 0;
			continue;
		}
		wanted = need > wanted ? need : wanted;
		already = usage > already ? usage : already;
	}
	if (err != 0)
		return err;
	taken -= already < taken ? already : taken;
	return taken >= quota || wanted > quota - taken ? ERR_TOO_BIG : 0;
}

/* Whether there is room for WANT of the group OWN, under the lock. *LIMITED: there is a quota. */
static int look(struct quota *q, struct db *db, const struct group *own,
                const struct quota_want *want, bool *limited)
{
	/* Begun under the lock: what landed before a share went is in it. */
	struct kv_txn *t = db_read_begin(db);
	struct db_account account;
	int err = t == NULL ? ERR_NOMEM : db_account_by_number(db, t, want->account, &account);

	*limited = err == 0 && account.quota_octets != 0;
	if (*limited)
		err = fits(*holder_place(q, want->account), own, db, t, &account, want);
	db_read_end(t);
	return err;
}

static int share_add(struct quota *q, struct db *db, const struct quota_want *want,
                     struct quota_share **out)
{
	struct quota_share *s = calloc(1, sizeof(*s));

	if (s != NULL)
		s->group = group_make(q, want->account, want->submission_id);
	if (s == NULL || s->group == NULL) {
		free(s);
		return ERR_NOMEM;
	}
	s->quota = q;
	s->db = db;
	s->number = want->number;
	s->octets = want->octets;
	s->next = s->group->shares;
	s->group->shares = s;
	q->promised += s->octets;
	*out = s;
	return 0;
}

int quota_take(struct quota *q, struct db *db, const struct quota_want *want,
               struct quota_share **out)
{
	const struct group *own;
	bool limited;
	int err;

	*out = NULL;
	pthread_mutex_lock(&q->lock);
	own = group_find(*holder_place(q, want->account), want->submission_id);
	err = look(q, db, own, want, &limited);
	if (err == 0 && limited)
		err = share_add(q, db, want, out);
	pthread_mutex_unlock(&q->lock);
	return err;
}

void quota_number(struct quota_share *share, uint64_t number)
{
	if (share == NULL)
		return;
	pthread_mutex_lock(&share->quota->lock);
	share->number = number;
	pthread_mutex_unlock(&share->quota->lock);
}

int quota_grow(struct quota_share *share, uint64_t octets)
{
	struct quota_want want;
	bool limited;
	int err;

	/* Nobody else changes it. */
	if (share == NULL || octets <= share->octets)
		return 0;
	pthread_mutex_lock(&share->quota->lock);
	want = (struct quota_want){
		.account = share->group->holder->account,
		.number = share->number,
		.octets = octets,
	};
	err = look(share->quota, share->db, share->group, &want, &limited);
	if (err == 0) {
		share->quota->promised += octets - share->octets;
		share->octets = octets;
	}
	pthread_mutex_unlock(&share->quota->lock);
	return err;
}

void quota_drop(struct quota_share *share)
{
	struct quota_share **at;
	struct quota *q;

	if (share == NULL)
		return;
	q = share->quota;
	pthread_mutex_lock(&q->lock);
	for (at = &share->group->shares; *at != share; at = &(*at)->next)
		;
	*at = share->next;
	q->promised -= share->octets;
	if (share->group->shares == NULL)
		group_remove(q, share->group);
	pthread_mutex_unlock(&q->lock);
	free(share);
}

uint64_t quota_promised(struct quota *q)
{
	uint64_t promised;

	pthread_mutex_lock(&q->lock);
	promised = q->promised;
	pthread_mutex_unlock(&q->lock);
	return promised;
}
