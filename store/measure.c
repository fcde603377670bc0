/* The store's metrics. */
#include "base/clock.h"
#include "session/daemon.h"
#include "store/quota.h"
#include "store/service.h"

static unsigned long long load(atomic_ullong *count)
{
	return atomic_load_explicit(count, memory_order_relaxed);
}

static void measure_work(struct service *x, struct metrics *m)
{
	static const char *const outcomes[MAILROOM_OUTCOMES] = {
		[MAILROOM_ACCEPTED] = "accepted",
		[MAILROOM_NO_DOMAIN] = "badDomain",
		[MAILROOM_NO_SERVICE] = "noService",
		[MAILROOM_NO_SERVER] = "noServer",
		[MAILROOM_PROTOCOL_ERROR] = "protocolError",
		[MAILROOM_NO_USER] = "noUser",
		[MAILROOM_REFUSED] = "refused",
		[MAILROOM_FULL] = "full",
		[MAILROOM_TRY_LATER] = "tryLater",
	};
	struct service_counts *c = &x->counts;

	metrics_one(m, METRICS_COUNTER, "im2000_store_submissions_total",
	            "Messages that were submitted whole.", load(&c->submissions));
	metrics_one(m, METRICS_COUNTER, "im2000_store_submitted_octets_total", "Octets of those.",
	            load(&c->submitted_octets));
	metrics_one(m, METRICS_GAUGE, "im2000_store_promised_octets",
	            "Octets that submissions under way of accounts with a quota may come to.",
	            quota_promised(x->quota));
	metrics_family(m, METRICS_COUNTER, "im2000_store_notifications_total",
	               "Tries to notify a recipient, by what came of them.");
	for (unsigned i = 0; i < MAILROOM_OUTCOMES; i++)
		metrics_add(m, load(&c->notified[i]), "result", outcomes[i], NULL);
	metrics_family(m, METRICS_COUNTER, "im2000_store_withdrawals_total",
	               "Tries to tell an agent of a withdrawal, by what came of them.");
	for (unsigned i = 0; i < MAILROOM_OUTCOMES; i++)
		metrics_add(m, load(&c->told[i]), "result", outcomes[i], NULL);
}

static void measure_jobs(struct service *x, struct metrics *m)
{
	uint64_t now_us = clock_now_us();
	struct db_due due;

	if (db_jobs_due(x->db, now_us, &due) != 0)
		return;
	metrics_family(m, METRICS_GAUGE, "im2000_store_jobs",
	               "Jobs of the notifier: due (100000 are counted at most), or waiting for "
	               "their time.");
	metrics_add(m, due.due, "state", "due", NULL);
	metrics_add(m, due.waiting, "state", "waiting", NULL);
	metrics_family(m, METRICS_GAUGE, "im2000_store_jobs_late_seconds",
	               "For how long the job that is due longest is due.");
	metrics_add_us(m, due.due > 0 && due.first_us < now_us ? now_us - due.first_us : 0, NULL);
}

void service_measure(struct service *x, struct metrics *m)
{
	measure_work(x, m);
	measure_jobs(x, m);
	daemon_measure_writer(m, x->writer);
	daemon_measure_logins(m, x->login);
	daemon_measure_database(m, db_kv(x->db), db_tables(x->db), db_handles(x->db));
}
