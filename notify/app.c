/* What sessions share: settings in force, counts, metrics. */
#include "notify/app.h"

#include <stdlib.h>

#include "base/clock.h"
#include "notify/fetcher.h"
#include "session/daemon.h"

/* --- settings ------------------------------------------------------------------------------- */

struct app_settings *app_settings_create(struct config *c)
{
	struct app_settings *s = calloc(1, sizeof *s);

	if (s == NULL) {
		return NULL;
	}
	s->policy = (struct policy_settings) {
		.refuse_strangers = c->strangers == CONFIG_STRANGERS_REFUSE,
		.keep_unverified = c->unverified == CONFIG_UNVERIFIED_KEEP,
		.mailbox_notices = (uint32_t)c->mailbox_notices,
		.origin_notices = (uint32_t)c->origin_notices,
		.max_notifications = (uint32_t)c->max_notifications,
		.max_octets = (uint32_t)c->max_notification_octets,
		.retention_us = c->retention_s * CLOCK_SECOND_US,
		.tag = c->tag,
	};
	s->local_users = c->local_users;
	c->local_users = (struct local_users) { 0 };
	return s;
}

void app_settings_replace(struct app *app, struct app_settings *s)
{
	s->older = atomic_load(&app->settings);
	atomic_store(&app->settings, s);
}

void app_settings_free(struct app *app)
{
	struct app_settings *s = atomic_load(&app->settings), *older;

	for (; s != NULL; s = older) {
		older = s->older;
		local_users_free(&s->local_users);
		free(s);
	}
	atomic_store(&app->settings, NULL);
}

const struct app_settings *app_settings(struct app *app)
{
	return atomic_load_explicit(&app->settings, memory_order_acquire);
}

/* --- counts --------------------------------------------------------------------------------- */

/* What the fetcher counted since this was called last. */
static void take_fetched(struct app *app, uint64_t out[DB_COUNTS])
{
	struct fetcher_counts c;

	fetcher_count(app->fetcher, &c);
	const uint64_t now[DB_COUNTS] = {
		[DB_FETCH_HITS] = c.hits,
		[DB_FETCH_MISSES] = c.misses,
		[DB_PULLED] = c.pulled,
		[DB_PULLS_FAILED] = c.failed,
		[DB_PULLED_OCTETS] = c.octets,
		[DB_CACHE_EVICTED] = c.cache.evicted,
	};
	for (size_t i = WIRE_NOTIFY_COUNT; i < DB_COUNTS; i++) {
		out[i] += now[i] - app->counts.fetched[i];
		app->counts.fetched[i] = now[i];
	}
}

void app_counts_take(struct app *app, uint64_t out[DB_COUNTS])
{
	for (size_t i = 0; i < DB_COUNTS; i++) {
		out[i] = atomic_exchange(&app->counts.results[i], 0);
	}
	if (app->fetcher != NULL) {
		take_fetched(app, out);
	}
}

void app_counts_back(struct app *app, const uint64_t counts[DB_COUNTS])
{
	for (size_t i = 0; i < DB_COUNTS; i++) {
		atomic_fetch_add(&app->counts.results[i], counts[i]);
	}
}

/* --- metrics -------------------------------------------------------------------------------- */

static unsigned long long load(atomic_ullong *count)
{
	return atomic_load_explicit(count, memory_order_relaxed);
}

void app_count(atomic_ullong *count, unsigned long long n)
{
	atomic_fetch_add_explicit(count, n, memory_order_relaxed);
}

void app_measure(struct app *app, struct metrics *m)
{
	struct app_counts *c = &app->counts;

	metrics_family(m, METRICS_COUNTER, "im2000_notify_notifications_total",
	               "Notifications that stores brought, by what came of them.");
	for (unsigned i = 0; i < WIRE_NOTIFY_COUNT; i++) {
		metrics_add(m, load(&c->answered[i]), "result",
		            wire_notify_result_name((enum wire_notify_result)i), NULL);
	}
	metrics_one(m, METRICS_COUNTER, "im2000_notify_withdrawn_total",
	            "Notifications that stores withdrew.", load(&c->withdrawn));
	metrics_one(m, METRICS_COUNTER, "im2000_notify_listed_total",
	            "Notifications handed out to mail programs.", load(&c->listed));
	metrics_one(m, METRICS_COUNTER, "im2000_notify_expired_total",
	            "Notifications dropped because their time was over.", load(&c->expired));
	metrics_one(m, METRICS_COUNTER, "im2000_notify_fetched_octets_total",
	            "Octets of messages handed out to mail programs.", load(&c->fetched_octets));
	if (app->fetcher != NULL) {
		fetcher_measure(app->fetcher, m);
	}
	daemon_measure_writer(m, app->writer);
	daemon_measure_logins(m, app->login);
	daemon_measure_database(m, db_kv(app->db), db_tables(app->db), db_handles(app->db));
}
