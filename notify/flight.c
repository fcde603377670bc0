/* The fetcher's thread: flights from the wish to the file. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "notify/fetcher_core.h"

#define PULLS_MAX 64            /* at once, in all */
#define PULLS_STORE 8           /* and from one store: a slow one does not take them all */
#define LATER_S 5               /* when those were taken for too long */
#define CHECK_OCTETS (1u << 20) /* read in one turn */
#define TICK_US CLOCK_SECOND_US /* between looks at who waits for too long */
#define WAKE_BATCH 64

/* --- flights: the thread -------------------------------------------------------------------- */

/* Pulls from the store of X. Those of another one may be counted with them, which does no harm. */
static unsigned *pulls_from(struct flight *x)
{
	uint32_t h = 2166136261u; /* FNV-1a */

	for (const char *p = x->source.domain; *p != '\0'; p++) {
		h = (h ^ (uint8_t)*p) * 16777619u;
	}
	return &x->fetcher->pulling_from[h & (FETCHER_PLACES - 1)];
}

void flight_halt(struct flight *x)
{
	if (x->state == PULLING) {
		x->fetcher->pulling--;
		(*pulls_from(x))--;
	}
	puller_cancel(x->puller);
	x->puller = NULL;
	cache_drop(x->filling);
	x->filling = NULL;
	cache_let_go(x->fetcher->cache, x->file);
	x->file = NULL;
	digest_free(&x->digest);
	x->at = 0;
	x->state = QUEUED;
}

static void log_pull(const struct flight *x, const char *result, const char *why)
{
	char id[16], quoted[256];

	log_info("pull", "result=%s domain=%s id=%s octets=%llu ms=%llu%s%s", result,
	         x->source.domain, log_id(x->source.id, id, sizeof id), (unsigned long long)x->at,
	         (unsigned long long)(clock_mono_us() - x->since_us) / 1000,
	         why[0] != '\0' ? " why=" : "",
	         why[0] != '\0' ? log_quote(span_str(why), quoted, sizeof quoted) : "");
}

/* Takes X, which nobody waits for, off the list. False: somebody does now. */
static bool flight_end(struct flight *x)
{
	struct fetcher *f = x->fetcher;
	struct flight **at;
	bool ends;

	pthread_mutex_lock(&f->lock);
	ends = x->first == NULL;
	if (ends) {
		for (at = &f->flights; *at != x; at = &(*at)->next) {
		}
		*at = x->next;
		if (x->next == NULL) {
			f->flights_end = at;
		}
	}
	pthread_mutex_unlock(&f->lock);
	if (ends) {
		if (x->state == PULLING) {
			log_pull(x, "dropped", "nobody waits for it");
		}
		flight_halt(x);
		free(x);
	}
	return ends;
}

/* A ticket of X that A is for: with the id ONLY, where that is not NULL. Under the lock. */
static struct fetch_ticket *next_to_answer(const struct flight *x, const uint8_t *only)
{
	struct fetch_ticket *t = x->first;

	while (t != NULL && only != NULL && memcmp(t->source.id, only, WIRE_ID_SIZE) != 0) {
		t = t->next;
	}
	return t;
}

/* Once a ticket is off the flight its owner may free it: it is woken by its number alone. */
static void answer(struct flight *x, const struct answer *a, const uint8_t *only)
{
	struct fetcher *f = x->fetcher;
	uint32_t numbers[WAKE_BATCH];
	struct fetch_ticket *t;
	size_t n;

	do {
		pthread_mutex_lock(&f->lock);
		for (n = 0; n < WAKE_BATCH && (t = next_to_answer(x, only)) != NULL; n++) {
			fetcher_unlink(t);
			fetcher_fill(f, t, a);
			numbers[n] = t->number;
		}
		pthread_mutex_unlock(&f->lock);
		waiters_wake(f->waiters, numbers, n);
	} while (n == WAKE_BATCH);
}

/* Another turn comes at once. */
static void again(struct fetcher *f)
{
	f->again = true;
	loop_timer_start(f->timer, 0);
}

/* X failed, or has its file; who is not told yet is served in another turn. */
static void conclude(struct flight *x, const struct answer *a, const uint8_t *only)
{
	answer(x, a, only);
	flight_halt(x);
	again(x->fetcher);
}

/* --- what a pull comes to ------------------------------------------------------------------- */

/* What a reader is told, and whether it is the store's fault. */
struct verdict {
	enum wire_status status;
	bool store; /* it is left alone for a while */
	bool alone; /* it says nothing about others with another id */
};

static struct verdict judge_answer(enum wire_status status)
{
	switch (status) {
	case WIRE_STATUS_NO_SUCH_MESSAGE:
	case WIRE_STATUS_WITHDRAWN:
		return (struct verdict) { status, false, true };
	case WIRE_STATUS_COMMAND_TIMEOUT:
	case WIRE_STATUS_SERVICE_SHUTDOWN:
	case WIRE_STATUS_INTERNAL_PROBLEM:
	case WIRE_STATUS_NOT_ENOUGH_ROOM:
	case WIRE_STATUS_TRY_LATER:
		return (struct verdict) { WIRE_STATUS_TRY_LATER, true, false };
	default:
		return (struct verdict) { WIRE_STATUS_NOT_PERMITTED, false, true };
	}
}

static struct verdict judge(const struct puller_end *end)
{
	switch (end->error) {
	case ERR_AGAIN:
		return judge_answer(end->status);
	case ERR_PROTOCOL:
		return (struct verdict) { WIRE_STATUS_DIGEST_MISMATCH, true, false };
	case ERR_TOO_BIG:
		return (struct verdict) { WIRE_STATUS_TOO_BIG, false, false };
	case ERR_DENIED:
		return (struct verdict) { WIRE_STATUS_NOT_PERMITTED, false, false };
	case ERR_FULL:
		return (struct verdict) { WIRE_STATUS_NOT_ENOUGH_ROOM, false, false };
	case ERR_NOMEM:
	case ERR_IO:
	case ERR_EXISTS:
	case ERR_INTERNAL:
		return (struct verdict) { WIRE_STATUS_INTERNAL_PROBLEM, false, false };
	default:
		return (struct verdict) { WIRE_STATUS_TRY_LATER, true, false };
	}
}

static void fail(struct flight *x, const struct puller_end *end)
{
	struct fetcher *f = x->fetcher;
	struct verdict v = judge(end);
	struct answer a = { NULL, v.status, 0, end->why };
	uint64_t again_us;

	atomic_fetch_add(&f->failed, 1);
	log_pull(x, wire_status_name(v.status), end->why);
	pthread_mutex_lock(&f->lock);
	again_us = f->settings.again_us;
	if (v.store) {
		failing_note(f->failing, x->source.domain, again_us, end->why);
	}
	pthread_mutex_unlock(&f->lock);
	if (v.status == WIRE_STATUS_TRY_LATER || v.status == WIRE_STATUS_NOT_ENOUGH_ROOM) {
		a.retry_s = fetcher_seconds(again_us);
	}
	conclude(x, &a, v.alone ? x->source.id : NULL);
}

static void fail_here(struct flight *x, int error, const char *why)
{
	const struct puller_end end = { .error = error, .why = why };

	fail(x, &end);
}

static int on_size(void *ctx, uint64_t octets, struct err_text *why)
{
	struct flight *x = ctx;

	return cache_reserve(x->filling, octets, why);
}

static int on_octets(void *ctx, struct span octets, struct err_text *why)
{
	struct flight *x = ctx;

	x->at += octets.n;
	atomic_fetch_add(&x->fetcher->octets, octets.n);
	return cache_write(x->filling, octets, why);
}

static void on_done(void *ctx, const struct puller_end *end)
{
	struct flight *x = ctx;
	struct fetcher *f = x->fetcher;
	struct answer a = { .status = WIRE_STATUS_OK, .text = "" };
	struct err_text why = { "" };
	int r;

	x->puller = NULL;
	if (end->error != 0) {
		fail(x, end);
	} else if ((r = cache_keep(x->filling, &a.file, &why)) != 0) {
		fail_here(x, r, why.text);
	} else {
		x->filling = NULL;
		atomic_fetch_add(&f->pulled, 1);
		log_pull(x, "ok", "");
		conclude(x, &a, NULL);
		cache_let_go(f->cache, a.file);
	}
}

/* --- beginning one -------------------------------------------------------------------------- */

static void begin_pull(struct flight *x)
{
	static const struct puller_calls calls = { on_size, on_octets, on_done };
	struct fetcher *f = x->fetcher;
	const struct fetch_source *s = &x->source;
	struct puller_options options = { .domain = s->domain,
		                          .has_size = s->has_size,
		                          .size = s->size };
	struct err_text why = { "" };
	struct tls_config *tls;
	int r;

	memcpy(options.id, s->id, WIRE_ID_SIZE);
	memcpy(options.digest, s->key.digest, WIRE_DIGEST_SIZE);
	pthread_mutex_lock(&f->lock);
	tls = tls_config_hold(f->tls);
	options.limit = f->settings.limit;
	options.silence_us = f->settings.silence_us;
	options.whole_us = f->settings.whole_us;
	options.dial.allow_private = f->settings.allow_private;
	pthread_mutex_unlock(&f->lock);
	options.dial.locator = f->locator;
	options.dial.tls = tls;
	options.dial.timeout_us = options.silence_us;
	x->state = PULLING;
	f->pulling++;
	(*pulls_from(x))++;
	x->since_us = clock_mono_us();
	if ((r = cache_begin(f->cache, &x->key, &x->filling, &why)) != 0 ||
	    (r = puller_start(f->loop, &options, &calls, x, &x->puller)) != 0) {
		fail_here(x, r, why.text);
	}
	tls_config_drop(tls);
}

static void begin_check(struct flight *x, struct cache_file *file)
{
	x->state = CHECKING;
	x->file = file;
	x->since_us = clock_mono_us();
	if (digest_init(&x->digest, NULL, NULL) != 0) {
		fail_here(x, ERR_NOMEM, err_phrase(ERR_NOMEM));
	}
}

/* A message that cannot be kept need not be asked for. */
static bool is_too_big(struct flight *x, struct err_text *why)
{
	struct fetcher *f = x->fetcher;
	uint64_t room = cache_limit(f->cache), limit;

	pthread_mutex_lock(&f->lock);
	limit = f->settings.limit;
	pthread_mutex_unlock(&f->lock);
	if (room < limit) {
		limit = room;
	}
	if (!x->source.has_size || x->source.size <= limit) {
		return false;
	}
	err_set(why, ERR_TOO_BIG, "the message has %llu octets, this agent fetches at most %llu",
	        (unsigned long long)x->source.size, (unsigned long long)limit);
	return true;
}

/* X is QUEUED. */
static void begin(struct flight *x)
{
	struct fetcher *f = x->fetcher;
	struct cache_file *file = cache_find(f->cache, &x->key);
	struct answer a = { .file = file, .status = WIRE_STATUS_OK, .text = "" };
	struct err_text why;
	uint64_t left_us;
	bool wanted, failing;

	if (file != NULL && !cache_is_checked(f->cache, file)) {
		begin_check(x, file);
		return;
	}
	pthread_mutex_lock(&f->lock);
	if (x->first != NULL) {
		x->source = x->first->source;
	}
	wanted = x->first != NULL;
	failing = failing_look(f->failing, x->source.domain, &left_us, &why);
	pthread_mutex_unlock(&f->lock);
	if (file != NULL) {
		conclude(x, &a, NULL);
		cache_let_go(f->cache, file);
	} else if (is_too_big(x, &why)) {
		a = (struct answer) { NULL, WIRE_STATUS_TOO_BIG, 0, why.text };
		conclude(x, &a, NULL);
	} else if (failing) {
		a = (struct answer) { NULL, WIRE_STATUS_TRY_LATER, fetcher_seconds(left_us), why.text };
		conclude(x, &a, NULL);
	} else if (wanted && f->pulling < PULLS_MAX && *pulls_from(x) < PULLS_STORE) {
		begin_pull(x);
	}
}

/* --- checking ------------------------------------------------------------------------------- */

/* The octets are read to their end. */
static void end_check(struct flight *x, bool read)
{
	struct fetcher *f = x->fetcher;
	struct answer a = { .file = x->file, .status = WIRE_STATUS_OK, .text = "" };
	uint8_t root[DIGEST_SIZE];
	char digest[16];

	if (read && x->at == cache_size(x->file) && digest_final(&x->digest, root) == 0 &&
	    memcmp(root, x->key.digest, DIGEST_SIZE) == 0) {
		cache_set_checked(f->cache, x->file);
		conclude(x, &a, NULL);
		return;
	}
	log_warn("cache", "damaged=%s it is pulled again",
	         log_id(x->key.digest, digest, sizeof digest));
	cache_condemn(f->cache, x->file);
	flight_halt(x);
	again(f);
}

static void check_on(struct flight *x)
{
	struct fetcher *f = x->fetcher;
	uint64_t until = x->at + CHECK_OCTETS;
	ssize_t got = 1;

	while (x->at < until && got > 0) {
		got = cache_read(x->file, x->at, f->room, DIGEST_BLOCK);
		if (got > 0 && digest_update(&x->digest, span_of(f->room, (size_t)got)) != 0) {
			got = ERR_INTERNAL;
		}
		x->at += got > 0 ? (size_t)got : 0;
	}
	if (got <= 0) {
		end_check(x, got == 0);
	}
}

/* --- turns ---------------------------------------------------------------------------------- */

/* The flight after X, or the first; *WANTED: whether anybody waits for it. */
static struct flight *next_flight(struct fetcher *f, struct flight *x, bool *wanted)
{
	pthread_mutex_lock(&f->lock);
	x = x == NULL ? f->flights : x->next;
	*wanted = x != NULL && x->first != NULL;
	pthread_mutex_unlock(&f->lock);
	return x;
}

/* Nobody waits for longer than a pull may take before his own begins. */
static bool is_late(struct flight *x)
{
	struct fetcher *f = x->fetcher;
	uint64_t whole_us;

	pthread_mutex_lock(&f->lock);
	whole_us = f->settings.whole_us;
	pthread_mutex_unlock(&f->lock);
	return x->state == QUEUED && clock_mono_us() - x->since_us > whole_us;
}

static void move(struct flight *x)
{
	const struct answer late = { NULL, WIRE_STATUS_TRY_LATER, LATER_S,
		                     "too many messages are being pulled" };

	if (is_late(x)) {
		conclude(x, &late, NULL);
	} else if (x->state == QUEUED) {
		begin(x);
	} else if (x->state == CHECKING) {
		check_on(x);
	}
}

void flight_turn(struct fetcher *f)
{
	struct flight *x, *next;
	bool wanted, wanted_next, any = false;

	loop_timer_stop(f->timer);
	f->again = false;
	for (x = next_flight(f, NULL, &wanted); x != NULL; x = next, wanted = wanted_next) {
		next = next_flight(f, x, &wanted_next);
		if (!wanted && flight_end(x)) {
			continue;
		}
		move(x);
		any = true;
		f->again = f->again || x->state == CHECKING;
	}
	if (any) {
		loop_timer_start(f->timer, f->again ? 0 : TICK_US);
	}
}

