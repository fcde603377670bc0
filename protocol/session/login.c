/*
 * Logins. One lock covers the queue, the memory and the counts; scrypt runs
 * outside of it. A check is, in turn: waiting in the queue, in hand of a thread,
 * posted to its loop. Who cancels one in hand leaves it to the thread: after
 * login_cancel nothing is posted, so that its loop may go.
 */
#include "session/login.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/random.h"

#define THREADS 1
#define THREADS_MAX 64
#define QUEUE 64
#define FAILURES_MINUTE 5
#define REMEMBER_US (10 * CLOCK_MINUTE_US)

#define KEY_SIZE 32
/* Both tables: sets of WAYS entries; a new entry takes the place of its set's oldest. */
#define SETS 512
#define WAYS 8

/* An entry of a table: a keyed hash, and when it loses its meaning (0: free). */
struct entry {
	uint8_t key[KEY_SIZE];
	uint64_t until_us;
};

struct table {
	struct entry entry[SETS][WAYS];
};

enum check_state { WAITING, IN_HAND, POSTED };

struct login_check {
	struct loop_task task;
	struct login_check *next;
	struct login *login;
	struct loop *loop;
	void (*done)(void *ctx, enum login_answer answer); /* NULL: cancelled after it was posted */
	void *ctx;
	enum check_state state;
	enum login_answer answer;
	bool orphan; /* cancelled in hand: the thread frees it */
	bool known;  /* HASH is one of an account */
	bool has_address;
	uint8_t memory_key[KEY_SIZE];
	uint8_t account_key[KEY_SIZE], address_key[KEY_SIZE];
	struct password_hash hash;
	size_t secret_n;
	uint8_t secret[]; /* wiped with all the rest */
};

struct login {
	uint8_t hmac_key[KEY_SIZE]; /* of this process: what is in the tables is of no use elsewhere */
	unsigned queue_max;
	uint64_t interval_us; /* one more failure is forgiven each */
	uint64_t burst_us;    /* so much of that may be owed before it is too much */
	uint64_t remember_us;
	pthread_t thread[THREADS_MAX];
	unsigned threads;
	pthread_mutex_t lock; /* covers what follows */
	pthread_cond_t work;
	bool ending;
	struct login_check *first, **last;
	unsigned waiting;
	struct login_counts counts;
	struct table right;    /* remembered right answers */
	struct table failures; /* until_us: when all failures are forgiven (a virtual schedule) */
};

/* --- tables ------------------------------------------------------------------------------ */

/* KIND and the N octets at P under the process's key. */
static void make_key(const struct login *g, uint8_t kind, const void *p, size_t n,
                     uint8_t out[KEY_SIZE])
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	uint8_t key[KEY_SIZE + 1];
	unsigned digest_n;

	memcpy(key, g->hmac_key, KEY_SIZE);
	key[KEY_SIZE] = kind;
	HMAC(EVP_sha256(), key, sizeof key, p, n, digest, &digest_n);
	memcpy(out, digest, KEY_SIZE);
	OPENSSL_cleanse(key, sizeof key);
	OPENSSL_cleanse(digest, sizeof digest);
}

static struct entry *set_of(struct table *t, const uint8_t key[KEY_SIZE])
{
	return t->entry[((size_t)key[0] << 8 | key[1]) % SETS];
}

static struct entry *table_find(struct table *t, const uint8_t key[KEY_SIZE])
{
	struct entry *set = set_of(t, key);
	size_t i;

	for (i = 0; i < WAYS; i++)
		if (set[i].until_us != 0 && memcmp(set[i].key, key, KEY_SIZE) == 0)
			return &set[i];
	return NULL;
}

/* KEY's entry, or its set's oldest made to be KEY's, with no time. */
static struct entry *table_get(struct table *t, const uint8_t key[KEY_SIZE])
{
	struct entry *set = set_of(t, key);
	struct entry *e = table_find(t, key);
	size_t i;

	if (e != NULL)
		return e;
	e = &set[0];
	for (i = 1; i < WAYS; i++)
		if (set[i].until_us < e->until_us)
			e = &set[i];
	memcpy(e->key, key, KEY_SIZE);
	e->until_us = 0;
	return e;
}

static bool remembered(struct login *g, const struct login_check *k)
{
	const struct entry *e = table_find(&g->right, k->memory_key);

	return e != NULL && e->until_us > clock_mono_us();
}

/*
 * Failures by a virtual schedule (GCRA): each puts the time at which all is
 * forgiven one interval off; N of them may be ahead of now.
 */
static bool over_limit(struct login *g, const uint8_t key[KEY_SIZE])
{
	const struct entry *e = table_find(&g->failures, key);

	return e != NULL && e->until_us > clock_mono_us() + g->burst_us;
}

static void count_failure(struct login *g, const uint8_t key[KEY_SIZE])
{
	struct entry *e = table_get(&g->failures, key);
	uint64_t now = clock_mono_us();

	e->until_us = (e->until_us > now ? e->until_us : now) + g->interval_us;
}

static bool is_over(struct login *g, const struct login_check *k)
{
	return over_limit(g, k->account_key) || (k->has_address && over_limit(g, k->address_key));
}

static void count(struct login *g, const struct login_check *k)
{
	count_failure(g, k->account_key);
	if (k->has_address)
		count_failure(g, k->address_key);
}

/* --- checks ------------------------------------------------------------------------------ */

static void check_free(struct login_check *k)
{
	OPENSSL_cleanse(k, sizeof *k + k->secret_n);
	free(k);
}

static void deliver(struct loop_task *task)
{
	struct login_check *k = (struct login_check *)(void *)((char *)task
	                                                       - offsetof(struct login_check, task));
	void (*done)(void *ctx, enum login_answer answer) = k->done;
	enum login_answer answer = k->answer;
	void *ctx = k->ctx;

	check_free(k);
	if (done != NULL)
		done(ctx, answer);
}

static void count_answer(struct login_counts *c, enum login_answer answer)
{
	c->right += answer == LOGIN_RIGHT;
	c->wrong += answer == LOGIN_WRONG;
	c->later += answer == LOGIN_LATER;
}

/* With the lock held, so that login_cancel cannot come between. */
static void post(struct login_check *k, enum login_answer answer)
{
	count_answer(&k->login->counts, answer);
	if (k->orphan) {
		check_free(k);
		return;
	}
	k->state = POSTED;
	k->answer = answer;
	loop_post(k->loop, &k->task);
}

/* What can be said of K without scrypt. With the lock held. False: nothing. */
static bool known_already(struct login *g, const struct login_check *k, enum login_answer *answer)
{
	if (remembered(g, k))
		*answer = LOGIN_RIGHT;
	else if (is_over(g, k))
		*answer = LOGIN_LATER;
	else
		return false;
	return true;
}

/* With the lock held, which it leaves for a while. */
static void check(struct login *g, struct login_check *k)
{
	enum login_answer answer;
	bool right;

	k->state = IN_HAND;
	/* The check before this one may have been the same, or one failure too many. */
	if (known_already(g, k, &answer)) {
		post(k, answer);
		return;
	}
	pthread_mutex_unlock(&g->lock);
	right = password_check(span_of(k->secret, k->secret_n), &k->hash) && k->known;
	pthread_mutex_lock(&g->lock);
	if (right)
		table_get(&g->right, k->memory_key)->until_us = clock_mono_us() + g->remember_us;
	else
		count(g, k);
	post(k, right ? LOGIN_RIGHT : LOGIN_WRONG);
}

static void *serve(void *ctx)
{
	struct login *g = ctx;

	pthread_mutex_lock(&g->lock);
	while (!g->ending) {
		struct login_check *k = g->first;

		if (k == NULL) {
			pthread_cond_wait(&g->work, &g->lock);
			continue;
		}
		g->first = k->next;
		if (g->first == NULL)
			g->last = &g->first;
		g->waiting--;
		check(g, k);
	}
	pthread_mutex_unlock(&g->lock);
	return NULL;
}

/* --- what users call --------------------------------------------------------------------- */

int login_create(const struct login_options *options, struct login **out)
{
	static const struct login_options defaults;
	const struct login_options *o = options != NULL ? options : &defaults;
	struct login *g = calloc(1, sizeof *g);
	unsigned threads = o->threads != 0 ? o->threads : THREADS;
	unsigned failures = o->failures_minute != 0 ? o->failures_minute : FAILURES_MINUTE;

	if (g == NULL)
		return ERR_NOMEM;
	random_octets(g->hmac_key, sizeof g->hmac_key);
	g->queue_max = o->queue != 0 ? o->queue : QUEUE;
	g->interval_us = CLOCK_MINUTE_US / failures;
	g->burst_us = (failures - 1) * g->interval_us;
	g->remember_us = o->remember_us != 0 ? o->remember_us : REMEMBER_US;
	g->last = &g->first;
	if (pthread_mutex_init(&g->lock, NULL) != 0)
		goto no_lock;
	if (pthread_cond_init(&g->work, NULL) != 0)
		goto no_cond;
	while (g->threads < threads && g->threads < THREADS_MAX) {
		if (pthread_create(&g->thread[g->threads], NULL, serve, g) != 0) {
			login_free(g);
			return ERR_IO;
		}
		g->threads++;
	}
	*out = g;
	return 0;
no_cond:
	pthread_mutex_destroy(&g->lock);
no_lock:
	free(g);
	return ERR_NOMEM;
}

void login_free(struct login *g)
{
	unsigned i;

	if (g == NULL)
		return;
	pthread_mutex_lock(&g->lock);
	g->ending = true;
	pthread_cond_broadcast(&g->work);
	pthread_mutex_unlock(&g->lock);
	for (i = 0; i < g->threads; i++)
		pthread_join(g->thread[i], NULL);
	while (g->first != NULL) {
		struct login_check *k = g->first;

		g->first = k->next;
		check_free(k);
	}
	pthread_cond_destroy(&g->work);
	pthread_mutex_destroy(&g->lock);
	OPENSSL_cleanse(g, sizeof *g);
	free(g);
}

/* Account, secret and hash together: a changed password is not remembered. 0 or ERR_NOMEM. */
static int make_memory_key(const struct login *g, struct span account, struct login_check *k)
{
	size_t n = sizeof account.n + account.n + sizeof k->hash + k->secret_n;
	uint8_t *all = malloc(n);
	uint8_t *p = all;

	if (all == NULL)
		return ERR_NOMEM;
	memcpy(p, &account.n, sizeof account.n); /* where the account ends is part of it */
	p += sizeof account.n;
	if (account.n > 0)
		memcpy(p, account.p, account.n);
	p += account.n;
	memcpy(p, &k->hash, sizeof k->hash);
	p += sizeof k->hash;
	memcpy(p, k->secret, k->secret_n);
	make_key(g, 'm', all, n, k->memory_key);
	OPENSSL_cleanse(all, n);
	free(all);
	return 0;
}

static void set_address(const struct login *g, const struct address *peer, struct login_check *k)
{
	unsigned char octets[16];
	size_t n = peer != NULL ? address_octets(peer, octets) : 0;

	k->has_address = n > 0;
	if (k->has_address)
		make_key(g, 'p', octets, n == 16 ? 8 : n, k->address_key);
}

/* An answer that costs nothing. False: it wants scrypt. */
static bool answer_token(struct login *g, struct login_check *k)
{
	struct span secret = span_of(k->secret, k->secret_n);
	bool cheap = password_is_token(secret) || secret.n == 0 || secret.n > PASSWORD_MAX;

	if (!cheap)
		return false;
	if (k->hash.octets[0] == PASSWORD_TOKEN && k->known && password_check(secret, &k->hash)) {
		post(k, LOGIN_RIGHT);
	} else if (is_over(g, k)) {
		post(k, LOGIN_LATER);
	} else {
		count(g, k);
		post(k, LOGIN_WRONG);
	}
	return true;
}

/* With the lock held. */
static void begin(struct login *g, struct login_check *k)
{
	enum login_answer answer;

	if (answer_token(g, k))
		return;
	if (k->hash.octets[0] != PASSWORD_SCRYPT) {
		/* No password of this account: as slow as a wrong one. */
		k->known = false;
		password_hash_none(&k->hash);
	}
	if (known_already(g, k, &answer)) {
		post(k, answer);
	} else if (g->waiting >= g->queue_max) {
		g->counts.busy++;
		post(k, LOGIN_LATER);
	} else {
		*g->last = k;
		g->last = &k->next;
		g->waiting++;
		pthread_cond_signal(&g->work);
	}
}

struct login_check *login_start(struct login *g, struct loop *l, struct span account,
                                struct span secret, const struct password_hash *hash,
                                const struct address *peer,
                                void (*done)(void *ctx, enum login_answer answer), void *ctx)
{
	struct login_check *k = calloc(1, sizeof *k + secret.n);

	if (k == NULL)
		return NULL;
	k->task.run = deliver;
	k->login = g;
	k->loop = l;
	k->done = done;
	k->ctx = ctx;
	k->known = hash != NULL;
	k->secret_n = secret.n;
	if (secret.n > 0)
		memcpy(k->secret, secret.p, secret.n);
	if (hash != NULL)
		k->hash = *hash;
	else
		password_hash_none(&k->hash);
	if (make_memory_key(g, account, k) < 0) {
		check_free(k);
		return NULL;
	}
	make_key(g, 'a', account.p, account.n, k->account_key);
	set_address(g, peer, k);
	pthread_mutex_lock(&g->lock);
	begin(g, k);
	pthread_mutex_unlock(&g->lock);
	return k;
}

void login_counts(struct login *g, struct login_counts *out)
{
	pthread_mutex_lock(&g->lock);
	*out = g->counts;
	out->waiting = g->waiting;
	pthread_mutex_unlock(&g->lock);
}

static void unqueue(struct login *g, struct login_check *k)
{
	struct login_check **at = &g->first;

	while (*at != k)
		at = &(*at)->next;
	*at = k->next;
	if (*at == NULL)
		g->last = at;
	g->waiting--;
}

void login_cancel(struct login_check *k)
{
	struct login *g;

	if (k == NULL)
		return;
	g = k->login;
	pthread_mutex_lock(&g->lock);
	switch (k->state) {
	case WAITING:
		unqueue(g, k);
		check_free(k);
		break;
	case IN_HAND:
		k->orphan = true;
		break;
	case POSTED:
		k->done = NULL;
		break;
	}
	pthread_mutex_unlock(&g->lock);
}
