#include "store/run.h"

#include <string.h>

#include "base/claim.h"
#include "base/clock.h"
#include "base/log.h"
#include "session/daemon.h"
#include "store/config.h"
#include "store/notifier.h"
#include "store/originator.h"
#include "store/recipient.h"
#include "store/service.h"
#include "wire/early.h"
#include "wire/frame.h"

#define MIN_LIFETIME_S 60 /* a message that lives shorter could hardly be pulled */

/* One running store. What the configuration points to lives as long. */
struct running {
	const char *path;     /* of the configuration */
	struct config config; /* as it was at start; a reload changes settings alone */
	struct service service;
	struct server_protocol msoap, msrap;
	struct claim *claim;  /* on the data directory */
};

/* --- configuration to options -------------------------------------------------------------- */

/* Takes what it can keep out of C. */
static struct settings *make_settings(struct config *c)
{
	struct settings *s = settings_create(c->n_domains);

	if (s == NULL)
		return NULL;
	memcpy(s->domains, c->domains, c->n_domains * sizeof(*s->domains));
	s->max_message = c->max_message_octets;
	s->max_recipients = (uint32_t)c->max_recipients;
	s->default_lifetime_s = c->default_lifetime_s;
	s->max_lifetime_s = c->max_lifetime_s;
	s->min_lifetime_s = MIN_LIFETIME_S;
	s->resume_s = c->resume_time_s;
	s->keep_status_s = c->keep_status_s;
	s->local_users = c->local_users;
	c->local_users = (struct local_users) { 0 };
	return s;
}

static struct server_limits limits_of(const struct config *c)
{
	struct server_limits l;

	server_limits_default(&l);
	l.command_octets = (uint32_t)c->max_command_octets;
	l.large_octets = (uint32_t)c->max_envelope_octets;
	l.stream_octets = c->max_message_octets + LIMIT_DATA_EXTRA_OCTETS;
	l.idle_us = c->idle_time_s * CLOCK_SECOND_US;
	l.first_us = c->first_command_time_s * CLOCK_SECOND_US;
	l.wait_us = c->wait_time_s * CLOCK_SECOND_US;
	return l;
}

static struct tls_options server_tls(const struct config *c)
{
	struct tls_options tls = {
		.ca_file = c->ca_file,
		.server = true,
		.early_octets = c->early_data ? EARLY_OCTETS : 0,
	};

	daemon_name_certificates(&c->certificate, &c->key, &tls);
	return tls;
}

/* The same certificates prove senders' domains to the agents (protocol.md section 11). */
static struct tls_options client_tls(const struct config *c)
{
	struct tls_options tls = { .ca_file = c->ca_file };

	daemon_name_certificates(&c->certificate, &c->key, &tls);
	return tls;
}

/* --- workers ------------------------------------------------------------------------------- */

static int worker_start(void *app, struct daemon_worker *w, void **state, struct err_text *e)
{
	struct running *run = app;
	struct service_worker *worker;
	int err = service_worker_create(&run->service, daemon_worker_loop(w), &worker);

	if (err != 0)
		return err_set(e, err, "start a worker: %s", err_phrase(err));
	*state = worker;
	return 0;
}

static void worker_stop(void *app, void *state)
{
	(void)app;
	service_worker_free(state);
}

/* The protocols want the store's worker, the daemon gives its own. */
static int open_msoap(struct server_session *s, void *app, void **state)
{
	return originator_protocol.open(s, daemon_worker_state(app), state);
}

static int open_msrap(struct server_session *s, void *app, void **state)
{
	return recipient_protocol.open(s, daemon_worker_state(app), state);
}

static void measure(void *app, struct metrics *m)
{
	struct running *run = app;

	service_measure(&run->service, m);
}

/* All that can fail comes before the first thing that changes. */
static int apply(struct running *run, struct daemon *d, struct config *c, struct err_text *e)
{
	const struct tls_options server = server_tls(c), client = client_tls(c);
	const struct server_limits limits = limits_of(c);
	struct settings *settings = make_settings(c);
	struct tls_config *tls = NULL;
	struct ids *ids = NULL;
	int err = settings != NULL ? 0 : err_set(e, ERR_NOMEM, "reload: out of memory");

	if (err == 0)
		err = config_check_certificate(c, false, e);
	if (err == 0)
		err = ids_load(run->config.data, &ids, e);
	if (err == 0)
		err = ids_compare(run->service.ids, ids, run->config.data, e);
	if (err == 0)
		err = tls_config_create(&client, &tls, e);
	if (err == 0)
		err = daemon_reconfigure(d, &server, &limits, e);
	if (err != 0) {
		tls_config_drop(tls);
		settings_drop(settings);
		ids_free(ids);
		return err;
	}
	ids_adopt(run->service.ids, ids);
	ids_free(ids);
	notifier_configure(run->service.notifier, tls, c->allow_private);
	service_settings_replace(&run->service, settings);
	log_set_level((enum log_level)c->log_level);
	daemon_warn_restart(config_keys(), &run->config, c);
	return 0;
}

/* SIGHUP. Which keys want a restart instead stands in the table of keys. */
static int reload(void *app, struct daemon *d, struct err_text *e)
{
	struct running *run = app;
	struct config c;
	int err = config_read(run->path, &c, e);

	if (err != 0)
		return err;
	err = apply(run, d, &c, e);
	config_release(&c);
	return err == 0 ? 0 : conf_blame(e, err, run->path);
}

/* --- the store ----------------------------------------------------------------------------- */

static int serve(struct running *run, struct err_text *e)
{
	const struct config *c = &run->config;
	const struct daemon_service services[] = {
		{ &run->msoap, "msoap", (const char *const *)c->listen_msoap.item,
		  c->listen_msoap.n },
		{ &run->msrap, "msrap", (const char *const *)c->listen_msrap.item,
		  c->listen_msrap.n },
	};
	const struct daemon_options options = {
		.program = "im2000-store",
		.services = services,
		.n_services = sizeof(services) / sizeof(services[0]),
		.workers = (unsigned)c->workers,
		.limits = limits_of(c),
		.max_sessions = (unsigned)c->sessions,
		.max_per_address = (unsigned)c->sessions_per_address,
		.tls = server_tls(c),
		.worker_start = worker_start,
		.worker_stop = worker_stop,
		.reload = reload,
		.metrics = c->metrics,
		.measure = measure,
		.kv = db_kv(run->service.db),
		.app = run,
	};

	run->msoap = originator_protocol;
	run->msoap.open = open_msoap;
	run->msrap = recipient_protocol;
	run->msrap.open = open_msrap;
	return daemon_run(&options, e);
}

static int start_notifier(struct running *run, struct err_text *e)
{
	const struct config *c = &run->config;
	const struct notifier_options options = {
		.service = &run->service,
		.locate = {
			.servers = (const char *const *)c->dns_server.item,
			.n_servers = c->dns_server.n,
			.routes = c->routes,
			.n_routes = c->n_routes,
		},
		.tls = client_tls(c),
		.limits = {
			.connections = (unsigned)c->notify_connections,
			.for_each = (unsigned)c->notify_connections_each,
		},
		.allow_private = c->allow_private,
	};

	return notifier_start(&options, &run->service.notifier, e);
}

static int open_data(struct running *run, struct err_text *e)
{
	const struct config *c = &run->config;
	const struct login_options login = { .failures_minute = (unsigned)c->login_failures };
	/* What is not there was lost: an empty store in its place would hide that. */
	const struct db_options db = { .create = false, .claimed = true };
	struct service *x = &run->service;
	int err = ids_load(c->data, &x->ids, e);

	if (err == 0)
		err = claim_take(c->data, DB_CLAIM, &run->claim, e);
	if (err == 0)
		err = db_open(c->data, &db, &x->db, e);
	if (err != 0)
		return err;
	err = service_numbers_prepare(x->db);
	if (err != 0)
		return err_set(e, err, "write to the database in %s: %s", c->data, err_phrase(err));
	err = writer_create(db_kv(x->db), &x->writer);
	if (err == 0)
		err = login_create(&login, &x->login);
	return err != 0 ? err_set(e, err, "start im2000-store: %s", err_phrase(err)) : 0;
}

int store_run(const char *config_path, struct err_text *e)
{
	struct running run = { .path = config_path };
	struct service *x = &run.service;
	struct settings *settings;
	int err = config_read(config_path, &run.config, e);

	if (err != 0)
		return err;
	log_set_level((enum log_level)run.config.log_level);
	err = config_check_certificate(&run.config, false, e);
	if (err != 0)
		goto no_service;
	settings = make_settings(&run.config);
	err = settings == NULL ? ERR_NOMEM : service_init(x, settings);
	if (err != 0) {
		settings_drop(settings);
		err_set(e, err, "start im2000-store: %s", err_phrase(err));
		goto no_service;
	}
	err = open_data(&run, e);
	if (err == 0)
		err = start_notifier(&run, e);
	if (err == 0)
		err = serve(&run, e);
	notifier_stop(x->notifier);
	login_free(x->login);
	writer_free(x->writer);
	db_close(x->db);
	claim_drop(run.claim);
	ids_free(x->ids);
	service_release(x);
no_service:
	config_release(&run.config);
	return err;
}
