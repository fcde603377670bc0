/*
 * The locator. For each (domain, service) there is one entry, which asks DNS
 * once and answers all who wait for it and, until it expires, all who come. The
 * lot of SRV weights is drawn for each who asks.
 */
#include "net/locate.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/name.h"
#include "base/random.h"
#include "net/locate_srv.h"
#include "net/resolver.h"

#define ENTRIES_MAX 4096
#define CHAINS 1024              /* a power of two */
#define RECORDS_READ 64          /* SRV records that are looked at */
#define TARGETS_MAX 16           /* and whose addresses are asked for: the first by priority */
#define TTL_MIN 1U
#define TTL_MAX 3600U
#define TTL_FAILED 30U
#define TIMEOUT_MS 2000

enum entry_state {
	ENTRY_SRV,       /* waits for the SRV records */
	ENTRY_DOMAIN,    /* there are none: waits to hear whether the domain exists */
	ENTRY_ADDRESSES, /* waits for the addresses of PENDING targets */
	ENTRY_READY,     /* ERROR or the targets hold, until EXPIRES_US */
};

struct target {
	struct locate_srv srv; /* of a route: priority is its place among the routes */
	struct entry *entry;
	struct address *list; /* IPv6 and IPv4 in turn */
	size_t n;
};

struct entry {
	struct entry *chain;         /* next of the hash chain */
	struct entry *older, *newer; /* READY entries in the order of their making */
	struct locator *locator;
	char domain[NAME_DOMAIN_MAX + 1];
	enum locate_service service;
	enum entry_state state;
	bool pinned;
	bool shaky; /* some question failed for now: not to be believed for long */
	unsigned users; /* lookups that will be answered from here */
	struct locate_lookup *waiting;
	struct target *targets;
	size_t n_targets, pending;
	uint32_t ttl_s;
	uint64_t expires_us;
	int error;
	char *why;
};

struct locate_lookup {
	struct locate_lookup *next, **prev; /* in entry->waiting or locator->answers */
	struct entry *entry;
	void (*done)(void *ctx, int error, const struct located *list, size_t n, const char *why);
	void *ctx;
};

struct locator {
	struct loop *loop;
	struct resolver *resolver;
	const struct locate_route *routes;
	size_t n_routes;
	struct entry *chains[CHAINS];
	struct entry *oldest, *newest;
	size_t n_entries;
	struct locate_lookup *answers, **answers_end; /* those to be called next */
	struct loop_timer *timer;                     /* runs while there are some */
	bool *freed; /* set by locator_free, for the delivery that called it */
};

/* --- entries ------------------------------------------------------------------------------ */

static struct entry **chain_of(struct locator *r, const char *domain, enum locate_service service)
{
	uint32_t hash = 2166136261U ^ (uint32_t)service; /* FNV-1a */

	for (const char *p = domain; *p != '\0'; p++)
		hash = (hash ^ (unsigned char)*p) * 16777619U;
	return &r->chains[(hash ^ hash >> 16) & (CHAINS - 1)];
}

static void unlink_by_age(struct entry *n)
{
	struct locator *r = n->locator;

	*(n->older != NULL ? &n->older->newer : &r->oldest) = n->newer;
	*(n->newer != NULL ? &n->newer->older : &r->newest) = n->older;
	n->older = n->newer = NULL;
}

static void free_targets(struct entry *n)
{
	for (size_t i = 0; i < n->n_targets; i++)
		free(n->targets[i].list);
	free(n->targets);
	n->targets = NULL;
	n->n_targets = 0;
}

static void entry_free(struct entry *n)
{
	struct entry **at = chain_of(n->locator, n->domain, n->service);

	while (*at != n)
		at = &(*at)->chain;
	*at = n->chain;
	if (n->state == ENTRY_READY)
		unlink_by_age(n);
	n->locator->n_entries--;
	free_targets(n);
	free(n->why);
	free(n);
}

/* Entries whose questions are under way stay: they are as many as their callers ask for. */
static void make_room(struct locator *r)
{
	struct entry *n = r->oldest;

	while (r->n_entries >= ENTRIES_MAX && n != NULL) {
		struct entry *newer = n->newer;

		if (n->users == 0)
			entry_free(n);
		n = newer;
	}
}

static struct entry *entry_find(struct locator *r, const char *domain,
                                enum locate_service service)
{
	struct entry *n = *chain_of(r, domain, service);

	while (n != NULL && (n->service != service || strcmp(n->domain, domain) != 0))
		n = n->chain;
	if (n == NULL || n->state != ENTRY_READY || clock_mono_us() < n->expires_us || n->users > 0)
		return n;
	entry_free(n);
	return NULL;
}

static struct entry *entry_new(struct locator *r, const char *domain, enum locate_service service)
{
	struct entry **chain = chain_of(r, domain, service);
	struct entry *n = calloc(1, sizeof *n);

	if (n == NULL)
		return NULL;
	if (span_copy(span_str(domain), n->domain, sizeof n->domain) < 0) {
		free(n); /* no domain is that long */
		return NULL;
	}
	n->locator = r;
	n->service = service;
	n->ttl_s = TTL_MAX;
	make_room(r);
	n->chain = *chain;
	*chain = n;
	r->n_entries++;
	return n;
}

/* --- answering ---------------------------------------------------------------------------- */

static void lookup_unlink(struct locate_lookup *k)
{
	struct locator *r = k->entry->locator;

	*k->prev = k->next;
	if (k->next != NULL)
		k->next->prev = k->prev;
	else if (r->answers_end == &k->next)
		r->answers_end = k->prev;
}

static void answer_soon(struct locate_lookup *k)
{
	struct locator *r = k->entry->locator;

	if (r->answers == NULL)
		loop_timer_start(r->timer, 0);
	k->next = NULL;
	k->prev = r->answers_end;
	*r->answers_end = k;
	r->answers_end = &k->next;
}

static size_t count_addresses(const struct entry *n)
{
	size_t sum = 0;

	for (size_t i = 0; i < n->n_targets; i++)
		sum += n->targets[i].n;
	return sum;
}

/* The addresses of N in an order drawn now, N_LIST of them, in a fresh array. */
static struct located *draw_list(const struct entry *n, size_t n_list)
{
	struct located *list = calloc(n_list > 0 ? n_list : 1, sizeof *list);
	struct locate_srv records[TARGETS_MAX];
	size_t order[TARGETS_MAX];
	size_t at = 0;

	if (list == NULL)
		return NULL;
	for (size_t i = 0; i < n->n_targets; i++)
		records[i] = n->targets[i].srv;
	locate_order(records, n->n_targets, random_below, order);
	for (size_t i = 0; i < n->n_targets; i++) {
		const struct target *t = &n->targets[order[i]];

		for (size_t j = 0; j < t->n; j++) {
			list[at].address = t->list[j];
			list[at].pinned = n->pinned;
			memcpy(list[at++].target, t->srv.target, sizeof t->srv.target);
		}
	}
	return list;
}

/* Calls one who waits. False: the locator is gone. */
static bool answer_one(struct locator *r)
{
	struct locate_lookup *first = r->answers, k = *first;
	struct entry *n = k.entry;
	size_t n_list = n->error == 0 ? count_addresses(n) : 0;
	struct located *list = n->error == 0 ? draw_list(n, n_list) : NULL;
	bool freed = false;

	lookup_unlink(first);
	free(first);
	r->freed = &freed;
	if (n->error == 0 && list == NULL)
		k.done(k.ctx, ERR_NOMEM, NULL, 0, "out of memory");
	else
		k.done(k.ctx, n->error, list, n_list, n->why != NULL ? n->why : err_phrase(n->error));
	free(list);
	if (freed)
		return false;
	r->freed = NULL;
	n->users--;
	return true;
}

static void on_answers(void *ctx)
{
	struct locator *r = ctx;

	while (r->answers != NULL)
		if (!answer_one(r))
			return;
}

/* Everything is known: ERROR 0, or an error with WHY. */
static void entry_ready(struct entry *n, int error, const char *why)
{
	struct locator *r = n->locator;
	uint32_t ttl = n->ttl_s;

	n->state = ENTRY_READY;
	n->error = error;
	if (error != 0) {
		free_targets(n);
		n->why = strdup(why);
	}
	if (error != 0 || (n->shaky && ttl > TTL_FAILED))
		ttl = TTL_FAILED;
	ttl = ttl < TTL_MIN ? TTL_MIN : ttl > TTL_MAX ? TTL_MAX : ttl;
	n->expires_us = clock_mono_us() + ttl * CLOCK_SECOND_US;
	n->older = r->newest;
	*(r->newest != NULL ? &r->newest->newer : &r->oldest) = n;
	r->newest = n;
	while (n->waiting != NULL) {
		struct locate_lookup *k = n->waiting;

		lookup_unlink(k);
		answer_soon(k);
	}
}

static void entry_fail(struct entry *n, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void entry_fail(struct entry *n, int error, const char *format, ...)
{
	char why[512];
	va_list ap;

	va_start(ap, format);
	vsnprintf(why, sizeof why, format, ap);
	va_end(ap);
	entry_ready(n, error, why);
}

/* --- addresses ---------------------------------------------------------------------------- */

/* LIST's IPv6 and IPv4 addresses in turn (RFC 8305 section 4), v6 first, with the target's port. */
static int target_keep(struct target *t, const struct address *list, size_t n)
{
	size_t next[2] = { 0, 0 }; /* v6, v4 */

	t->list = calloc(n > 0 ? n : 1, sizeof *t->list);
	if (t->list == NULL)
		return ERR_NOMEM;
	for (int turn = 0; t->n < n; turn = !turn) {
		sa_family_t family = turn == 0 ? AF_INET6 : AF_INET;
		size_t *i = &next[turn];

		while (*i < n && list[*i].u.sa.sa_family != family)
			++*i;
		if (*i < n) {
			t->list[t->n] = list[(*i)++];
			address_set_port(&t->list[t->n++], t->srv.port);
		}
		if (next[0] >= n && next[1] >= n)
			break;
	}
	return 0;
}

static void all_addresses(struct entry *n)
{
	if (count_addresses(n) > 0)
		entry_ready(n, 0, NULL);
	else
		entry_fail(n, ERR_NO_SERVER, "%s %s: no address of %s%s could be found", n->domain,
		           locate_service_name(n->service), n->targets[0].srv.target,
		           n->n_targets > 1 ? " and the others" : "");
}

static void on_addresses(void *ctx, enum resolver_result result, const struct address *list,
                         size_t count, uint32_t ttl_s, const char *why)
{
	struct target *t = ctx;
	struct entry *n = t->entry;

	(void)why;
	if (result == RESOLVER_CANCELLED)
		return;
	if (result == RESOLVER_OK && target_keep(t, list, count) == 0) {
		if (ttl_s < n->ttl_s)
			n->ttl_s = ttl_s;
	} else {
		n->shaky = true;
	}
	if (--n->pending == 0)
		all_addresses(n);
}

/* A host that is written as an address needs no DNS. */
static bool is_address(const char *host, struct address *out)
{
	unsigned char octets[16];

	if (inet_pton(AF_INET, host, octets) == 1)
		return address_from_octets(octets, 4, 0, out) == 0;
	return inet_pton(AF_INET6, host, octets) == 1 && address_from_octets(octets, 16, 0, out) == 0;
}

/* Takes up to TARGETS_MAX of RECORDS and asks for their addresses. */
static void ask_addresses(struct entry *n, const struct locate_srv *records, size_t count)
{
	size_t order[RECORDS_READ];
	struct address a;

	locate_order(records, count, random_below, order);
	if (count > TARGETS_MAX)
		count = TARGETS_MAX;
	n->targets = calloc(count, sizeof *n->targets);
	if (n->targets == NULL) {
		entry_fail(n, ERR_NOMEM, "out of memory");
		return;
	}
	n->state = ENTRY_ADDRESSES;
	n->n_targets = count;
	/* One more, so that answers from inside the calls do not end it before all are asked. */
	n->pending = count + 1;
	for (size_t i = 0; i < count; i++) {
		struct target *t = &n->targets[i];

		t->srv = records[order[i]];
		t->entry = n;
		if (n->pinned && is_address(t->srv.target, &a))
			on_addresses(t, RESOLVER_OK, &a, 1, TTL_MAX, "");
		else
			resolver_addresses(n->locator->resolver, t->srv.target, on_addresses, t);
	}
	if (--n->pending == 0)
		all_addresses(n);
}

/* --- services ----------------------------------------------------------------------------- */

static void on_domain(void *ctx, enum resolver_result result, const uint8_t *answer, size_t size,
                      const char *why)
{
	struct entry *n = ctx;

	(void)answer;
	(void)size;
	switch (result) {
	case RESOLVER_CANCELLED:
		break;
	case RESOLVER_NO_NAME:
		entry_fail(n, ERR_NO_DOMAIN, "%s: no such domain", n->domain);
		break;
	case RESOLVER_OK:
	case RESOLVER_NO_DATA:
		entry_fail(n, ERR_NO_SERVICE, "%s does not offer %s (DNS has no _im2000-%s._tcp.%s)",
		           n->domain, locate_service_name(n->service), locate_service_name(n->service),
		           n->domain);
		break;
	case RESOLVER_FAILED:
		entry_fail(n, ERR_NO_SERVER, "%s: DNS: %s", n->domain, why);
		break;
	}
}

static void service_name(const struct entry *n, char out[320])
{
	snprintf(out, 320, "_im2000-%s._tcp.%s", locate_service_name(n->service), n->domain);
}

static void read_records(struct entry *n, const uint8_t *answer, size_t size)
{
	struct locate_srv records[RECORDS_READ];
	char name[320];
	size_t kept = 0;
	int count;

	service_name(n, name);
	count = locate_read_srv(answer, size, name, records, RECORDS_READ, &n->ttl_s);
	if (count < 0) {
		entry_fail(n, ERR_NO_SERVER, "%s %s: DNS: the answer is broken", n->domain,
		           locate_service_name(n->service));
		return;
	}
	if (count == 1 && records[0].target[0] == '\0') {
		entry_fail(n, ERR_NO_SERVICE, "%s says in DNS that it does not offer %s", n->domain,
		           locate_service_name(n->service));
		return;
	}
	for (int i = 0; i < count; i++)
		if (records[i].target[0] != '\0')
			records[kept++] = records[i];
	if (kept == 0)
		entry_fail(n, ERR_NO_SERVER, "%s %s: DNS names no server that could be used", n->domain,
		           locate_service_name(n->service));
	else
		ask_addresses(n, records, kept);
}

static void on_srv(void *ctx, enum resolver_result result, const uint8_t *answer, size_t size,
                   const char *why)
{
	struct entry *n = ctx;

	switch (result) {
	case RESOLVER_CANCELLED:
		break;
	case RESOLVER_OK:
		read_records(n, answer, size);
		break;
	case RESOLVER_NO_NAME:
		n->state = ENTRY_DOMAIN;
		resolver_query(n->locator->resolver, n->domain, RESOLVER_SOA, on_domain, n);
		break;
	case RESOLVER_NO_DATA:
		entry_fail(n, ERR_NO_SERVER, "%s %s: DNS gives an empty answer", n->domain,
		           locate_service_name(n->service));
		break;
	case RESOLVER_FAILED:
		entry_fail(n, ERR_NO_SERVER, "%s %s: DNS: %s", n->domain, locate_service_name(n->service),
		           why);
		break;
	}
}

static void entry_start(struct entry *n)
{
	const struct locator *r = n->locator;
	struct locate_srv records[TARGETS_MAX];
	char name[320];
	size_t count = 0;

	for (size_t i = 0; i < r->n_routes && count < TARGETS_MAX; i++) {
		const struct locate_route *route = &r->routes[i];

		if (route->service != n->service || strcmp(route->domain, n->domain) != 0)
			continue;
		records[count] = (struct locate_srv){ .priority = (uint16_t)count,
			                              .port = (uint16_t)route->port };
		memcpy(records[count++].target, route->host, sizeof route->host);
	}
	if (count > 0) {
		n->pinned = true;
		ask_addresses(n, records, count);
		return;
	}
	service_name(n, name);
	n->state = ENTRY_SRV;
	resolver_query(r->resolver, name, RESOLVER_SRV, on_srv, n);
}

/* --- what users call ---------------------------------------------------------------------- */

int locator_create(struct loop *l, const struct locate_options *options, struct locator **out,
                   struct err_text *e)
{
	struct locator *r = calloc(1, sizeof *r);
	int rc;

	if (r == NULL)
		return err_set(e, ERR_NOMEM, "out of memory");
	r->loop = l;
	r->routes = options->routes;
	r->n_routes = options->n_routes;
	r->answers_end = &r->answers;
	rc = resolver_create(l, options->servers, options->n_servers,
	                     options->timeout_ms != 0 ? options->timeout_ms : TIMEOUT_MS,
	                     &r->resolver, e);
	if (rc == 0 && loop_timer_create(l, on_answers, r, &r->timer) < 0) {
		resolver_free(r->resolver);
		rc = err_set(e, ERR_NOMEM, "out of memory");
	}
	if (rc < 0) {
		free(r);
		return rc;
	}
	*out = r;
	return 0;
}

static void free_lookups(struct locate_lookup *k)
{
	while (k != NULL) {
		struct locate_lookup *next = k->next;

		free(k);
		k = next;
	}
}

void locator_free(struct locator *r)
{
	if (r == NULL)
		return;
	if (r->freed != NULL)
		*r->freed = true;
	resolver_free(r->resolver); /* its last callbacks only return */
	loop_timer_free(r->timer);
	free_lookups(r->answers);
	for (size_t i = 0; i < CHAINS; i++)
		while (r->chains[i] != NULL) {
			free_lookups(r->chains[i]->waiting);
			entry_free(r->chains[i]);
		}
	free(r);
}

struct locate_lookup *locate_start(struct locator *r, const char *domain,
                                   enum locate_service service,
                                   void (*done)(void *ctx, int error, const struct located *list,
                                                size_t n, const char *why),
                                   void *ctx)
{
	struct locate_lookup *k = calloc(1, sizeof *k);
	struct entry *n;
	bool fresh;

	if (k == NULL)
		return NULL;
	n = entry_find(r, domain, service);
	fresh = n == NULL;
	if (fresh)
		n = entry_new(r, domain, service);
	if (n == NULL) {
		free(k);
		return NULL;
	}
	k->entry = n;
	k->done = done;
	k->ctx = ctx;
	n->users++;
	if (n->state == ENTRY_READY) {
		answer_soon(k);
		return k;
	}
	k->next = n->waiting;
	k->prev = &n->waiting;
	if (n->waiting != NULL)
		n->waiting->prev = &k->next;
	n->waiting = k;
	if (fresh)
		entry_start(n);
	return k;
}

void locate_cancel(struct locate_lookup *k)
{
	if (k == NULL)
		return;
	lookup_unlink(k);
	k->entry->users--;
	free(k);
}
