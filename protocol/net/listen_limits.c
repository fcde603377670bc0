/* How many sessions there are, in all and from one address: a hash table under one lock. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "net/listen.h"

struct counted {
	struct counted *next;
	uint64_t key;
	bool v6;
	unsigned sessions;
};

struct listen_limits {
	pthread_mutex_t lock;
	unsigned max_sessions, max_per_address;
	unsigned sessions;
	struct listen_counts counts;
	uint64_t secret; /* so that nobody can choose addresses that share a chain */
	size_t n_chains; /* a power of two */
	struct counted **chains;
};

int listen_limits_create(unsigned max_sessions, unsigned max_per_address,
                         struct listen_limits **out)
{
	struct listen_limits *x = calloc(1, sizeof *x);

	if (x == NULL)
		return ERR_NOMEM;
	x->max_sessions = max_sessions;
	x->max_per_address = max_per_address;
	x->n_chains = 64;
	while (x->n_chains < max_sessions && x->n_chains < 65536)
		x->n_chains *= 2;
	random_octets(&x->secret, sizeof x->secret);
	x->chains = calloc(x->n_chains, sizeof *x->chains);
	if (x->chains == NULL || pthread_mutex_init(&x->lock, NULL) != 0) {
		free(x->chains);
		free(x);
		return ERR_NOMEM;
	}
	*out = x;
	return 0;
}

void listen_limits_free(struct listen_limits *x)
{
	if (x == NULL)
		return;
	for (size_t i = 0; i < x->n_chains; i++)
		while (x->chains[i] != NULL) {
			struct counted *next = x->chains[i]->next;

			free(x->chains[i]);
			x->chains[i] = next;
		}
	free(x->chains);
	pthread_mutex_destroy(&x->lock);
	free(x);
}

/* Where the entry of PEER hangs or would hang; NULL for a peer without an address. */
static struct counted **find(struct listen_limits *x, const struct address *peer,
                             uint64_t *key, bool *v6)
{
	unsigned char octets[16];
	size_t n = address_octets(peer, octets);
	struct counted **at;
	uint64_t hash;

	if (n == 0)
		return NULL;
	/* Who has a v6 address has at least a /64 of them (RFC 6177). */
	*key = 0;
	*v6 = n == 16;
	memcpy(key, octets, *v6 ? 8 : 4);
	hash = (*key ^ x->secret) * 0x9e3779b97f4a7c15ULL;
	hash = (hash ^ hash >> 29 ^ x->secret) * 0xbf58476d1ce4e5b9ULL;
	at = &x->chains[(hash >> 32) & (x->n_chains - 1)];
	while (*at != NULL && ((*at)->key != *key || (*at)->v6 != *v6))
		at = &(*at)->next;
	return at;
}

static bool take(struct listen_limits *x, const struct address *peer)
{
	struct counted **at;
	uint64_t key;
	bool v6;

	if (x->max_sessions != 0 && x->sessions >= x->max_sessions) {
		x->counts.refused_all++;
		return false;
	}
	at = find(x, peer, &key, &v6);
	if (at != NULL) {
		if (*at == NULL) {
			*at = calloc(1, sizeof **at);
			if (*at == NULL)
				return false;
			(*at)->key = key;
			(*at)->v6 = v6;
		}
		if (x->max_per_address != 0 && (*at)->sessions >= x->max_per_address) {
			x->counts.refused_address++;
			return false;
		}
		(*at)->sessions++;
	}
	x->sessions++;
	x->counts.taken++;
	return true;
}

bool listen_limits_take(struct listen_limits *x, const struct address *peer)
{
	bool taken;

	pthread_mutex_lock(&x->lock);
	taken = take(x, peer);
	pthread_mutex_unlock(&x->lock);
	return taken;
}

void listen_limits_drop(struct listen_limits *x, const struct address *peer)
{
	struct counted **at;
	uint64_t key;
	bool v6;

	pthread_mutex_lock(&x->lock);
	x->sessions--;
	at = find(x, peer, &key, &v6);
	if (at != NULL && *at != NULL && --(*at)->sessions == 0) {
		struct counted *gone = *at;

		*at = gone->next;
		free(gone);
	}
	pthread_mutex_unlock(&x->lock);
}

/* The lock is no part of what a reader may not change. */
static pthread_mutex_t *lock_of(const struct listen_limits *x)
{
	return (pthread_mutex_t *)&x->lock;
}

unsigned listen_limits_count(const struct listen_limits *x)
{
	unsigned sessions;

	pthread_mutex_lock(lock_of(x));
	sessions = x->sessions;
	pthread_mutex_unlock(lock_of(x));
	return sessions;
}

void listen_limits_counts(const struct listen_limits *x, struct listen_counts *out)
{
	pthread_mutex_lock(lock_of(x));
	*out = x->counts;
	pthread_mutex_unlock(lock_of(x));
}

void listen_limits_failed(struct listen_limits *x)
{
	pthread_mutex_lock(&x->lock);
	x->counts.failed++;
	pthread_mutex_unlock(&x->lock);
}
