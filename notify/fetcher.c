/*
 * Any worker asks, one thread fetches. The lock guards the list of flights, their
 * tickets, the stores that failed and the settings.
 */
#include "notify/fetcher_core.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"

#define TICKETS_MAILBOX 16 /* of one mailbox that wait */
#define LATER_S 5          /* when those are taken */

unsigned fetcher_seconds(uint64_t us)
{
	return (unsigned)((us + CLOCK_SECOND_US - 1) / CLOCK_SECOND_US);
}

static void kick(struct fetcher *f)
{
	if (!atomic_exchange(&f->kicked, true)) {
		loop_post(f->loop, &f->kick);
	}
}

/* --- tickets: under the lock ---------------------------------------------------------------- */

static void ticket_link(struct flight *x, struct fetch_ticket *t)
{
	t->flight = x;
	t->next = NULL;
	t->prev = x->last;
	*(x->last != NULL ? &x->last->next : &x->first) = t;
	x->last = t;
}

void fetcher_unlink(struct fetch_ticket *t)
{
	struct flight *x = t->flight;

	*(t->prev != NULL ? &t->prev->next : &x->first) = t->next;
	*(t->next != NULL ? &t->next->prev : &x->last) = t->prev;
	t->flight = NULL;
}

void fetcher_fill(struct fetcher *f, struct fetch_ticket *t, const struct answer *a)
{
	t->file = a->file == NULL ? NULL : cache_hold(f->cache, a->file);
	t->status = a->status;
	t->retry_s = a->retry_s;
	err_set(&t->text, 0, "%s", a->text);
}

static unsigned waiting_of(const struct fetcher *f, uint32_t mailbox)
{
	unsigned n = 0;

	for (const struct flight *x = f->flights; x != NULL; x = x->next) {
		for (const struct fetch_ticket *t = x->first; t != NULL; t = t->next) {
			n += t->source.mailbox == mailbox;
		}
	}
	return n;
}

static struct flight *flight_of(struct fetcher *f, const struct cache_key *key)
{
	struct flight *x;

	for (x = f->flights; x != NULL; x = x->next) {
		if (memcmp(&x->key, key, sizeof *key) == 0) {
			return x;
		}
	}
	if ((x = calloc(1, sizeof *x)) == NULL) {
		return NULL;
	}
	x->fetcher = f;
	x->key = *key;
	x->since_us = clock_mono_us();
	*f->flights_end = x;
	f->flights_end = &x->next;
	return x;
}

/* --- asking: any worker --------------------------------------------------------------------- */

/* Whether T can be answered without a flight. FOUND: the cache has it, unchecked. */
static bool answer_at_once(struct fetcher *f, struct fetch_ticket *t, bool found,
                           struct answer *a, struct err_text *text)
{
	uint64_t left_us;

	if (!found && failing_look(f->failing, t->source.domain, &left_us, text)) {
		*a = (struct answer) { NULL, WIRE_STATUS_TRY_LATER, fetcher_seconds(left_us), text->text };
		return true;
	}
	if (waiting_of(f, t->source.mailbox) >= TICKETS_MAILBOX) {
		*a = (struct answer) { NULL, WIRE_STATUS_TRY_LATER, LATER_S,
			               "the mailbox waits for enough messages already" };
		return true;
	}
	return false;
}

bool fetcher_ask(struct fetcher *f, struct waiters_loop *wl, struct fetch_ticket *t)
{
	struct cache_file *x = cache_find(f->cache, &t->source.key);
	struct answer a = { NULL, WIRE_STATUS_TRY_LATER, LATER_S, "out of memory" };
	struct err_text text;
	struct flight *flight = NULL;

	if (x != NULL && cache_is_checked(f->cache, x)) {
		atomic_fetch_add(&f->hits, 1);
		t->file = x;
		return true;
	}
	pthread_mutex_lock(&f->lock);
	if (!answer_at_once(f, t, x != NULL, &a, &text)) {
		flight = flight_of(f, &t->source.key);
	}
	if (flight != NULL) {
		t->number = ++f->last_number;
		waiters_add(wl, &t->waiter, t->number);
		ticket_link(flight, t);
	} else {
		fetcher_fill(f, t, &a);
	}
	pthread_mutex_unlock(&f->lock);
	cache_let_go(f->cache, x);
	atomic_fetch_add(x != NULL ? &f->hits : &f->misses, 1);
	if (flight != NULL) {
		kick(f);
	}
	return flight == NULL;
}

void fetcher_forget(struct fetcher *f, struct fetch_ticket *t)
{
	bool was_linked;

	pthread_mutex_lock(&f->lock);
	was_linked = t->flight != NULL;
	if (was_linked) {
		fetcher_unlink(t);
	}
	pthread_mutex_unlock(&f->lock);
	waiters_remove(&t->waiter);
	cache_let_go(f->cache, t->file);
	t->file = NULL;
	if (was_linked) {
		kick(f);
	}
}

static void on_timer(void *ctx)
{
	flight_turn(ctx);
}

static void on_kick(struct loop_task *task)
{
	struct fetcher *f =
	    (struct fetcher *)(void *)((char *)task - offsetof(struct fetcher, kick));

	atomic_store(&f->kicked, false);
	flight_turn(f);
}

/* --- life ----------------------------------------------------------------------------------- */

/* Frees what there is. On the loop's thread, or before there is one. */
static void release(struct fetcher *f)
{
	struct flight *x, *next;

	for (x = f->flights; x != NULL; x = next) {
		next = x->next;
		flight_halt(x);
		free(x);
	}
	loop_timer_free(f->timer);
	if (f->locator != NULL) {
		locator_free(f->locator);
	}
	loop_free(f->loop);
	waiters_free(f->waiters);
	cache_close(f->cache);
	failing_free(f->failing);
	tls_config_drop(f->tls);
	free(f->room);
	pthread_mutex_destroy(&f->lock);
}

static void *thread_main(void *arg)
{
	struct fetcher *f = arg;

	loop_run(f->loop);
	release(f);
	return NULL;
}

static int create_parts(struct fetcher *f, const struct fetcher_options *o, struct err_text *e)
{
	char dir[PATH_MAX];
	int r = file_path(o->data, CACHE_FOLDER, dir, e);

	if (r != 0 || (r = cache_open(dir, o->settings.cache_octets, &f->cache, e)) != 0 ||
	    (r = tls_config_create(&o->tls, &f->tls, e)) != 0) {
		return r;
	}
	f->room = malloc(DIGEST_BLOCK);
	r = f->room == NULL ? ERR_NOMEM : 0;
	if (r != 0 || (r = loop_create(&f->loop)) != 0 ||
	    (r = loop_timer_create(f->loop, on_timer, f, &f->timer)) != 0 ||
	    (r = failing_create(&f->failing)) != 0 || (r = waiters_create(&f->waiters)) != 0) {
		return err_set(e, r, "start fetching: %s", err_phrase(r));
	}
	return locator_create(f->loop, &o->locate, &f->locator, e);
}

int fetcher_start(const struct fetcher_options *options, struct fetcher **out, struct err_text *e)
{
	struct fetcher *f = calloc(1, sizeof *f);
	int r;

	if (f == NULL) {
		return err_set(e, ERR_NOMEM, "start fetching: out of memory");
	}
	pthread_mutex_init(&f->lock, NULL);
	f->flights_end = &f->flights;
	f->kick.run = on_kick;
	f->settings = options->settings;
	r = create_parts(f, options, e);
	/* What was made on the loop so far is the thread's from here on. */
	if (r == 0 && pthread_create(&f->thread, NULL, thread_main, f) != 0) {
		r = err_set(e, ERR_NOMEM, "start the thread that fetches");
	}
	if (r != 0) {
		release(f);
		free(f);
		return r;
	}
	*out = f;
	return 0;
}

void fetcher_stop(struct fetcher *f)
{
	if (f == NULL) {
		return;
	}
	loop_stop(f->loop);
	pthread_join(f->thread, NULL);
	free(f);
}

void fetcher_configure(struct fetcher *f, struct tls_config *tls,
                       const struct fetcher_settings *settings)
{
	struct tls_config *old;

	pthread_mutex_lock(&f->lock);
	old = f->tls;
	f->tls = tls;
	f->settings = *settings;
	pthread_mutex_unlock(&f->lock);
	tls_config_drop(old);
	cache_resize(f->cache, settings->cache_octets);
}

bool fetcher_is_on(struct fetcher *f)
{
	return cache_limit(f->cache) > 0;
}

struct cache *fetcher_cache(struct fetcher *f)
{
	return f->cache;
}

int fetcher_attach(struct fetcher *f, struct loop *l, struct waiters_loop **out)
{
	return waiters_loop_create(f->waiters, l, out);
}

/* --- counts --------------------------------------------------------------------------------- */

void fetcher_count(struct fetcher *f, struct fetcher_counts *out)
{
	*out = (struct fetcher_counts) {
		.hits = atomic_load(&f->hits),
		.misses = atomic_load(&f->misses),
		.pulled = atomic_load(&f->pulled),
		.failed = atomic_load(&f->failed),
		.octets = atomic_load(&f->octets),
	};
	cache_stats(f->cache, &out->cache);
}

void fetcher_measure(struct fetcher *f, struct metrics *m)
{
	struct fetcher_counts c;

	fetcher_count(f, &c);
	metrics_family(m, METRICS_COUNTER, "im2000_notify_fetches_total",
	               "Messages that mail programs fetched, by whether the cache had them.");
	metrics_add(m, c.hits, "result", "hit", NULL);
	metrics_add(m, c.misses, "result", "miss", NULL);
	metrics_family(m, METRICS_COUNTER, "im2000_notify_pulls_total",
	               "Messages pulled from senders' stores, by what came of it.");
	metrics_add(m, c.pulled, "result", "ok", NULL);
	metrics_add(m, c.failed, "result", "failed", NULL);
	metrics_one(m, METRICS_COUNTER, "im2000_notify_pulled_octets_total",
	            "Octets pulled from senders' stores.", c.octets);
	metrics_one(m, METRICS_COUNTER, "im2000_notify_cache_evicted_total",
	            "Messages that left the cache to make room.", c.cache.evicted);
	metrics_one(m, METRICS_GAUGE, "im2000_notify_cache_messages",
	            "Messages in the cache, with those on their way in.", c.cache.files);
	metrics_one(m, METRICS_GAUGE, "im2000_notify_cache_octets",
	            "Octets that they take.", c.cache.octets);
}
