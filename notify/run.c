#include "notify/run.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/claim.h"
#include "base/clock.h"
#include "base/log.h"
#include "notify/admin.h"
#include "notify/app.h"
#include "notify/fetcher.h"
#include "session/daemon.h"
#include "wire/early.h"
#include "session/program.h"

#define SWEEP_US (60 * CLOCK_SECOND_US) /* between looks for notices whose time is over */
#define SWEEP_BATCH 1000                /* notices of one transaction */

/* --- the sweep of expired notices, and the counts: a job of worker 0, again and again -------- */

struct sweep {
	struct writer_job job; /* first */
	struct app_worker *worker;
	struct loop_timer *timer;
	uint64_t now_us;
	uint64_t counts[DB_COUNTS]; /* to be written */
	int swept;
	bool under_way;
};

static int sweep_apply(struct writer_job *job, struct kv_txn *t)
{
	struct sweep *s = (struct sweep *)job;
	struct db *db = s->worker->app->db;

	s->swept = db_notice_expire(db, t, s->now_us, SWEEP_BATCH);
	return s->swept < 0 ? s->swept : db_counts_add(db, t, s->counts);
}

static void sweep_done(struct writer_job *job, int result)
{
	struct sweep *s = (struct sweep *)job;
	bool more = result == 0 && s->swept >= SWEEP_BATCH;

	s->under_way = false;
	if (result != 0) {
		app_counts_back(s->worker->app, s->counts);
		log_error("sweep", "error=\"%s\"", err_phrase(result));
	} else if (s->swept > 0) {
		app_count(&s->worker->app->counts.expired, (unsigned long long)s->swept);
		log_info("sweep", "notices=%d", s->swept);
	}
	loop_timer_start(s->timer, more ? 0 : SWEEP_US);
}

static void sweep_fire(void *ctx)
{
	struct sweep *s = ctx;

	s->now_us = clock_now_us();
	s->under_way = true;
	app_counts_take(s->worker->app, s->counts);
	writer_submit(s->worker->writer, &s->job);
}

static int sweep_start(struct app_worker *w, struct sweep **out)
{
	struct sweep *s = calloc(1, sizeof *s);
	int r;

	if (s == NULL) {
		return ERR_NOMEM;
	}
	s->job.apply = sweep_apply;
	s->job.done = sweep_done;
	s->worker = w;
	if ((r = loop_timer_create(w->loop, sweep_fire, s, &s->timer)) != 0) {
		free(s);
		return r;
	}
	loop_timer_start(s->timer, 0);
	*out = s;
	return 0;
}

/* --- workers ------------------------------------------------------------------------------- */

struct worker {
	struct app_worker common; /* first: what sessions see */
	struct sweep *sweep;      /* worker 0's */
};

static void worker_stop(void *app, void *state)
{
	struct worker *w = state;

	(void)app;
	if (w == NULL) {
		return;
	}
	if (w->common.attachment != NULL) {
		/* Waits for the jobs of sessions that are gone, and for the sweep's. */
		daemon_writer_detach(w->common.attachment);
	}
	if (w->sweep != NULL) {
		loop_timer_free(w->sweep->timer);
		free(w->sweep);
	}
	free(w);
}

static int worker_start(void *app, struct daemon_worker *d, void **state, struct err_text *e)
{
	struct app *a = app;
	struct worker *w = calloc(1, sizeof *w);
	int r;

	if (w == NULL) {
		return err_set(e, ERR_NOMEM, "start a worker: out of memory");
	}
	w->common.app = a;
	w->common.loop = daemon_worker_loop(d);
	if ((r = daemon_writer_attach(w->common.loop, a->writer, &w->common.writer,
	                              &w->common.attachment)) != 0 ||
	    (r = waiters_loop_create(a->waiters, w->common.loop, &w->common.waiters)) != 0 ||
	    (r = fetcher_attach(a->fetcher, w->common.loop, &w->common.fetches)) != 0 ||
	    (daemon_worker_number(d) == 0 && (r = sweep_start(&w->common, &w->sweep)) != 0)) {
		worker_stop(app, w);
		return err_set(e, r, "start a worker: %s", err_phrase(r));
	}
	*state = w;
	return 0;
}

/* --- configuration to options -------------------------------------------------------------- */

static struct tls_options tls_of(const struct config *c)
{
	struct tls_options tls = {
		.ca_file = c->ca_file,
		.server = true,
		.ask_client = true, /* stores show whom they speak for */
		.early_octets = c->early_data ? EARLY_OCTETS : 0,
	};

	daemon_name_certificates(&c->certificate, &c->key, &tls);
	return tls;
}

/* To senders' stores: they are not told whose agent this is. */
static struct tls_options pull_tls_of(const struct config *c)
{
	return (struct tls_options) {
		.ca_file = c->ca_file,
		.early_octets = c->early_data ? EARLY_OCTETS : 0,
	};
}

static struct fetcher_settings pull_settings_of(const struct config *c)
{
	return (struct fetcher_settings) {
		.cache_octets = c->pull_cache_octets,
		.limit = c->pull_limit_octets,
		.whole_us = c->pull_time_s * CLOCK_SECOND_US,
		.silence_us = c->pull_silence_s * CLOCK_SECOND_US,
		.again_us = c->pull_again_s * CLOCK_SECOND_US,
		.allow_private = c->allow_private,
	};
}

static struct server_limits limits_of(const struct config *c)
{
	struct server_limits l;

	server_limits_default(&l);
	l.command_octets = (uint32_t)c->max_command_octets;
	l.idle_us = c->idle_s * CLOCK_SECOND_US;
	l.first_us = c->first_command_s * CLOCK_SECOND_US;
	l.wait_us = c->wait_s * CLOCK_SECOND_US;
	return l;
}

static struct flood_limits flood_limits_of(const struct config *c)
{
	return (struct flood_limits) {
		.origin_minute = (uint32_t)c->origin_rate,
		.address_minute = (uint32_t)c->address_rate,
		.unknown_minute = (uint32_t)c->unknown_rate,
	};
}

static int check_certificate(const struct config *c, bool strict, struct err_text *e)
{
	const struct tls_options options = tls_of(c);

	return daemon_check_certificate(&options, (const char *const *)c->domains.item,
	                                c->domains.n, strict, e);
}

int notify_check(const char *config_path, struct err_text *e)
{
	struct config c;
	int r = config_read(config_path, &c, e);

	if (r == 0 && (r = program_check_data(ADMIN_PROGRAM, c.data, e)) == 0) {
		r = check_certificate(&c, true, e);
	}
	config_free(&c);
	return r;
}

/* --- serving --------------------------------------------------------------------------------- */

struct running {
	struct app app;
	const char *config_path;
	struct config config; /* as it was at start; a reload changes settings alone */
};

static void measure(void *app, struct metrics *m)
{
	struct running *run = app;

	app_measure(&run->app, m);
}

/* All that can fail comes before the first thing that changes. */
static int apply(struct running *run, struct daemon *d, struct config *c, struct err_text *e)
{
	const struct tls_options tls = tls_of(c), pull_tls = pull_tls_of(c);
	const struct fetcher_settings pull = pull_settings_of(c);
	const struct server_limits limits = limits_of(c);
	const struct flood_limits flood = flood_limits_of(c);
	struct tls_config *pull_config = NULL;
	struct app_settings *settings;
	int r = check_certificate(c, false, e);

	if (r != 0) {
		return r;
	}
	if ((settings = app_settings_create(c)) == NULL) {
		return err_set(e, ERR_NOMEM, "reload: out of memory");
	}
	if ((r = tls_config_create(&pull_tls, &pull_config, e)) != 0 ||
	    (r = daemon_reconfigure(d, &tls, &limits, e)) != 0) {
		tls_config_drop(pull_config);
		local_users_free(&settings->local_users);
		free(settings);
		return r;
	}
	app_settings_replace(&run->app, settings);
	flood_change(run->app.flood, &flood);
	fetcher_configure(run->app.fetcher, pull_config, &pull);
	log_set_level((enum log_level)c->log_level);
	daemon_warn_restart(config_keys, &run->config, c);
	return 0;
}

/* SIGHUP. Which keys want a restart instead stands in the table of keys. */
static int reload(void *app, struct daemon *d, struct err_text *e)
{
	struct running *run = app;
	struct config c;
	int r = config_read(run->config_path, &c, e);

	if (r == 0) {
		r = apply(run, d, &c, e);
	}
	config_free(&c);
	return r == 0 ? 0 : conf_blame(e, r, run->config_path);
}

static int serve(struct running *run, struct err_text *e)
{
	const struct config *c = &run->config;
	const struct daemon_service services[] = {
		{ &intake_protocol, "rnasp", (const char *const *)c->listen_rnasp.item,
		  c->listen_rnasp.n },
		{ &query_protocol, "rnaqp", (const char *const *)c->listen_rnaqp.item,
		  c->listen_rnaqp.n },
	};
	const struct daemon_options options = {
		.program = "im2000-notify",
		.services = services,
		.n_services = 2,
		.workers = (unsigned)c->workers,
		.limits = limits_of(c),
		.max_sessions = (unsigned)c->max_sessions,
		.max_per_address = (unsigned)c->sessions_per_address,
		.tls = tls_of(c),
		.worker_start = worker_start,
		.worker_stop = worker_stop,
		.reload = reload,
		.metrics = c->metrics,
		.measure = measure,
		.kv = db_kv(run->app.db),
		.app = run,
	};

	return daemon_run(&options, e);
}

static int start_fetcher(struct app *app, const struct config *c, struct err_text *e)
{
	const struct fetcher_options options = {
		.data = c->data,
		.locate = {
			.servers = (const char *const *)c->dns_servers.item,
			.n_servers = c->dns_servers.n,
			.routes = c->routes,
			.n_routes = c->n_routes,
		},
		.tls = pull_tls_of(c),
		.settings = pull_settings_of(c),
	};

	return fetcher_start(&options, &app->fetcher, e);
}

static int start(struct app *app, struct config *c, struct err_text *e)
{
	/* Never made here: who has no mailboxes answers `noUser`, and senders give up on that. */
	const struct db_options db = { .create = false, .claimed = true };
	const struct flood_limits flood = flood_limits_of(c);
	struct login_options login = { .failures_minute = (unsigned)c->login_failures };
	struct app_settings *settings = app_settings_create(c);
	int r;

	if (settings == NULL) {
		return err_set(e, ERR_NOMEM, "start im2000-notify: out of memory");
	}
	app_settings_replace(app, settings);
	if ((r = db_open(c->data, &db, &app->db, e)) != 0) {
		return r;
	}
	if ((r = writer_create(db_kv(app->db), &app->writer)) != 0 ||
	    (r = login_create(&login, &app->login)) != 0 ||
	    (r = flood_create(&flood, &app->flood)) != 0 ||
	    (r = waiters_create(&app->waiters)) != 0) {
		return err_set(e, r, "start im2000-notify: %s", err_phrase(r));
	}
	return start_fetcher(app, c, e);
}

/* What was counted since the last sweep. A failure costs the counts of a minute at most. */
static void keep_counts(struct app *app)
{
	uint64_t counts[DB_COUNTS];
	struct kv_txn *t;

	app_counts_take(app, counts);
	if (kv_write_begin(db_kv(app->db), &t) != 0) {
		return;
	}
	if (db_counts_add(app->db, t, counts) == 0) {
		(void)kv_write_commit(t);
	} else {
		kv_write_abort(t);
	}
}

static void stop(struct app *app)
{
	waiters_free(app->waiters);
	flood_free(app->flood);
	login_free(app->login);
	writer_free(app->writer);
	if (app->db != NULL) {
		keep_counts(app);
	}
	fetcher_stop(app->fetcher);
	db_close(app->db);
	app_settings_free(app);
}

int notify_run(const char *config_path, struct err_text *e)
{
	struct running run = { .config_path = config_path };
	struct config *c = &run.config;
	struct claim *claim;
	int r = config_read(config_path, c, e);

	if (r == 0) {
		log_set_level((enum log_level)c->log_level);
	}
	if (r == 0 && (r = program_check_data(ADMIN_PROGRAM, c->data, e)) == 0 &&
	    (r = check_certificate(c, false, e)) == 0 &&
	    (r = claim_take(c->data, DB_CLAIM, &claim, e)) == 0) {
		if ((r = start(&run.app, c, e)) == 0) {
			r = serve(&run, e);
		}
		stop(&run.app);
		claim_drop(claim);
	}
	config_free(c);
	return r;
}
