/*
 * Tickets by domain and protocol. A small table of slots, the oldest of which
 * gives way: what is lost costs a full handshake, nothing else.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "net/tls_core.h"

#define SETS 128 /* a power of two */
#define WAYS 8   /* tickets of one set: of one domain or of several */

struct slot {
	SSL_SESSION *session; /* NULL: free */
	char *domain;
	char *protocol;
	unsigned identity;
	uint64_t age; /* higher is newer */
};

struct tls_sessions {
	pthread_mutex_t lock;
	uint64_t clock;
	bool changed; /* since tls_sessions_changed was asked */
	struct slot slots[SETS][WAYS];
};

int tls_sessions_create(struct tls_sessions **out)
{
	struct tls_sessions *x = calloc(1, sizeof *x);

	if (x == NULL)
		return ERR_NOMEM;
	if (pthread_mutex_init(&x->lock, NULL) != 0) {
		free(x);
		return ERR_NOMEM;
	}
	*out = x;
	return 0;
}

static void slot_clear(struct slot *slot)
{
	SSL_SESSION_free(slot->session);
	free(slot->domain);
	free(slot->protocol);
	*slot = (struct slot){ 0 };
}

void tls_sessions_free(struct tls_sessions *x)
{
	if (x == NULL)
		return;
	for (size_t i = 0; i < SETS; i++)
		for (size_t j = 0; j < WAYS; j++)
			slot_clear(&x->slots[i][j]);
	pthread_mutex_destroy(&x->lock);
	free(x);
}

/* Which set: whom a client connects to is its own choice, so no keyed hash is needed. */
static struct slot *set_of(struct tls_sessions *x, const char *domain, const char *protocol)
{
	uint32_t hash = 2166136261U; /* FNV-1a */

	for (const char *p = domain; *p != '\0'; p++)
		hash = (hash ^ (unsigned char)*p) * 16777619U;
	for (const char *p = protocol; *p != '\0'; p++)
		hash = (hash ^ (unsigned char)*p) * 16777619U;
	return x->slots[(hash ^ hash >> 16) & (SETS - 1)];
}

void tls_sessions_put(struct tls_sessions *x, const char *domain, const char *protocol,
                      unsigned identity, SSL_SESSION *session)
{
	/* A copy: the connection that got the ticket goes on to use and change its own. */
	struct slot fresh = {
		.session = SSL_SESSION_dup(session),
		.domain = strdup(domain),
		.protocol = strdup(protocol),
		.identity = identity,
	};
	struct slot *set, *worst;

	if (fresh.session == NULL || fresh.domain == NULL || fresh.protocol == NULL) {
		slot_clear(&fresh);
		return;
	}
	pthread_mutex_lock(&x->lock);
	set = set_of(x, domain, protocol);
	worst = &set[0];
	for (size_t i = 1; i < WAYS; i++)
		if (set[i].age < worst->age)
			worst = &set[i];
	fresh.age = ++x->clock;
	slot_clear(worst);
	*worst = fresh;
	x->changed = true;
	pthread_mutex_unlock(&x->lock);
}

static bool usable(const SSL_SESSION *session)
{
	uint64_t now = clock_now_us() / CLOCK_SECOND_US;
	uint64_t made = (uint64_t)SSL_SESSION_get_time(session);
	uint64_t life = (uint64_t)SSL_SESSION_get_timeout(session);
	uint64_t hint = SSL_SESSION_get_ticket_lifetime_hint(session);
	X509 *peer = SSL_SESSION_get0_peer((SSL_SESSION *)session);

	if (hint < life)
		life = hint;
	return SSL_SESSION_is_resumable(session) && now >= made && now - made < life
	       && peer != NULL && tls_verify_in_time(peer);
}

SSL_SESSION *tls_sessions_take(struct tls_sessions *x, const char *domain, const char *protocol,
                               unsigned identity)
{
	SSL_SESSION *found = NULL;
	struct slot *set;

	pthread_mutex_lock(&x->lock);
	set = set_of(x, domain, protocol);
	while (found == NULL) {
		struct slot *best = NULL;

		for (size_t i = 0; i < WAYS; i++)
			if (set[i].session != NULL && (best == NULL || set[i].age > best->age)
			    && set[i].identity == identity
			    && strcmp(set[i].domain, domain) == 0
			    && strcmp(set[i].protocol, protocol) == 0)
				best = &set[i];
		if (best == NULL)
			break;
		if (usable(best->session)) {
			found = best->session;
			best->session = NULL;
		}
		slot_clear(best);
		x->changed = true;
	}
	pthread_mutex_unlock(&x->lock);
	return found;
}

bool tls_sessions_changed(struct tls_sessions *x, bool reset)
{
	bool changed;

	pthread_mutex_lock(&x->lock);
	changed = x->changed;
	if (reset)
		x->changed = false;
	pthread_mutex_unlock(&x->lock);
	return changed;
}

/* The oldest that is newer than AGE; NULL: none. Under the lock. */
static const struct slot *next_after(const struct tls_sessions *x, uint64_t age)
{
	const struct slot *best = NULL;

	for (size_t i = 0; i < SETS; i++)
		for (size_t j = 0; j < WAYS; j++) {
			const struct slot *slot = &x->slots[i][j];

			if (slot->session != NULL && slot->identity == 0 && slot->age > age
			    && (best == NULL || slot->age < best->age))
				best = slot;
		}
	return best;
}

void tls_sessions_show(struct tls_sessions *x, size_t n,
                       void (*show)(void *ctx, const char *domain, const char *protocol,
                                    SSL_SESSION *session),
                       void *ctx)
{
	const struct slot *slot = NULL;
	size_t held = 0;

	pthread_mutex_lock(&x->lock);
	while ((slot = next_after(x, slot == NULL ? 0 : slot->age)) != NULL)
		held++;
	while ((slot = next_after(x, slot == NULL ? 0 : slot->age)) != NULL) {
		if (held-- <= n && usable(slot->session))
			show(ctx, slot->domain, slot->protocol, slot->session);
	}
	pthread_mutex_unlock(&x->lock);
}
