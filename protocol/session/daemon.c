/* A daemon's process: its addresses, its signals, its start and its end. See daemon_state.h. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/conf.h"
#include "base/log.h"
#include "session/daemon_state.h"

#define WORKERS_MAX 64U
#define SPARE_FILES 256                     /* descriptors for anything but sessions */
#define EXPIRY_WARNING_US (14 * CLOCK_DAY_US)

int daemon_refuse_root(const char *program, struct err_text *e)
{
	if (getuid() != 0 && geteuid() != 0)
		return 0;
	return err_set(e, ERR_DENIED,
	               "%s does not run as root: start it as an ordinary user, for example: "
	               "setpriv --reuid=mail --regid=mail --init-groups %s ...",
	               program, program);
}

/* --- TLS and limits ---------------------------------------------------------------------- */

struct tls_config *daemon_hold_tls(void *ctx)
{
	struct daemon_spot *spot = ctx;
	struct daemon *d = spot->worker->daemon;
	struct tls_config *tls;

	pthread_mutex_lock(&d->lock);
	tls = tls_config_hold(d->tls);
	pthread_mutex_unlock(&d->lock);
	return tls;
}

const struct server_limits *daemon_current_limits(struct daemon *d)
{
	const struct server_limits *limits;

	pthread_mutex_lock(&d->lock);
	limits = &d->limits->limits;
	pthread_mutex_unlock(&d->lock);
	return limits;
}

static bool needs_tls(const struct daemon *d)
{
	size_t i;

	for (i = 0; i < d->n_endpoints; i++)
		if (d->endpoints[i].unix_path == NULL)
			return true;
	return false;
}

static void warn_of_expiry(const struct tls_config *tls)
{
	uint64_t expires = tls_config_expires_us(tls, NULL);
	char text[32];

	if (expires == 0 || expires > clock_now_us() + EXPIRY_WARNING_US)
		return;
	clock_format(expires, text, sizeof text);
	log_warn("certificate", "expires=%s", text);
}

int daemon_reconfigure(struct daemon *d, const struct tls_options *tls,
                       const struct server_limits *limits, struct err_text *e)
{
	struct tls_config *fresh = NULL;
	struct tls_config *old;
	struct daemon_limits *newest = malloc(sizeof *newest);
	int rc;

	if (newest == NULL)
		return err_set(e, ERR_NOMEM, "out of memory");
	if (needs_tls(d)) {
		rc = tls_config_create(tls, &fresh, e);
		if (rc < 0) {
			free(newest);
			return rc;
		}
		warn_of_expiry(fresh);
	}
	newest->limits = *limits;
	pthread_mutex_lock(&d->lock);
	old = d->tls;
	d->tls = fresh;
	newest->older = d->limits;
	d->limits = newest;
	pthread_mutex_unlock(&d->lock);
	tls_config_drop(old);
	return 0;
}

void daemon_warn_restart(const struct conf_key *keys, const void *in_force, const void *fresh)
{
	const char *key;
	size_t at = 0;

	while ((key = conf_next_changed(keys, in_force, fresh, &at)) != NULL)
		log_warn("restart-wanted", "key=%s what=\"changed: takes effect at the next start\"",
		         key);
}

static void free_configuration(struct daemon *d)
{
	tls_config_drop(d->tls);
	while (d->limits != NULL) {
		struct daemon_limits *x = d->limits;

		d->limits = x->older;
		free(x);
	}
}

/* Each session is a file descriptor. */
static void raise_file_limit(unsigned sessions)
{
	struct rlimit limit;
	rlim_t wanted = (rlim_t)sessions + SPARE_FILES;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= wanted)
		return;
	limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur < wanted)
		log_warn("limits", "max_sessions=%u open_files=%llu", sessions,
		         (unsigned long long)limit.rlim_cur);
}

/* --- the main thread --------------------------------------------------------------------- */

/* libuv's handlers are the process's: it does not matter which thread a signal meets. */
struct signals {
	uv_signal_t term, interrupt, hangup;
	struct daemon *daemon;
	bool stopping;
};

static void stop_workers(struct daemon *d, bool hurry)
{
	unsigned i;

	for (i = 0; i < d->n_workers; i++)
		daemon_worker_stop(&d->workers[i], hurry);
}

static void on_stop_signal(uv_signal_t *handle, int number)
{
	struct signals *s = handle->data;

	log_info("stop", "signal=%s hurry=%s", number == SIGINT ? "INT" : "TERM",
	         s->stopping ? "yes" : "no");
	supervisor_tell("STOPPING=1\nSTATUS=finishing what is in hand");
	/* Who asks twice does not want to wait. */
	stop_workers(s->daemon, s->stopping);
	s->stopping = true;
}

static void on_hangup(uv_signal_t *handle, int number)
{
	struct signals *s = handle->data;
	struct daemon *d = s->daemon;
	struct err_text e = { "" };
	char why[256];
	int rc;

	(void)number;
	if (d->options->reload == NULL || s->stopping)
		return;
	supervisor_tell("RELOADING=1\nMONOTONIC_USEC=%llu\nSTATUS=reading the configuration",
	                (unsigned long long)clock_mono_us());
	rc = d->options->reload(d->options->app, d, &e);
	d->reloads[rc == 0]++;
	if (rc < 0) {
		const char *text = e.text[0] != '\0' ? e.text : err_phrase(rc);

		log_error("reload", "result=\"the old configuration stays\" why=%s",
		          log_quote(span_str(text), why, sizeof why));
		supervisor_tell("READY=1\nSTATUS=the old configuration stays: %s", text);
	} else {
		log_info("reload", "result=done");
		supervisor_tell("READY=1\nSTATUS=serving");
	}
}

static void watch_signals(struct daemon *d, struct signals *s)
{
	uv_loop_t *loop = loop_uv(d->loop);

	s->daemon = d;
	uv_signal_init(loop, &s->term);
	uv_signal_init(loop, &s->interrupt);
	uv_signal_init(loop, &s->hangup);
	s->term.data = s->interrupt.data = s->hangup.data = s;
	uv_signal_start(&s->term, on_stop_signal, SIGTERM);
	uv_signal_start(&s->interrupt, on_stop_signal, SIGINT);
	uv_signal_start(&s->hangup, on_hangup, SIGHUP);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a file over its limit is an error like a full disk */
}

/* On whichever thread found out. */
static void on_kv_failed(void *ctx)
{
	struct daemon *d = ctx;

	loop_post(d->loop, &d->kv_failed);
}

static void end_failed(struct loop_task *task)
{
	struct daemon *d =
	    (struct daemon *)(void *)((char *)task - offsetof(struct daemon, kv_failed));

	log_error("stop", "why=\"the database cannot be written any more\"");
	supervisor_tell("STOPPING=1\nSTATUS=the database cannot be written any more");
	d->failed = true;
	stop_workers(d, false);
}

static void watch_kv(struct daemon *d, bool on)
{
	d->kv_failed.run = end_failed;
	if (d->options->kv != NULL)
		kv_watch(d->options->kv, on ? on_kv_failed : NULL, d);
}

static void on_workers_ended(struct loop_task *task)
{
	struct daemon *d = (struct daemon *)(void *)((char *)task - offsetof(struct daemon, ended));

	loop_stop(d->loop);
}

static void say_ready(const struct daemon *d)
{
	const struct daemon_options *o = d->options;
	char address[64], metrics[160];

	fputs("ready", stdout);
	for (size_t i = 0; i < o->n_services; i++) {
		const struct daemon_endpoint *p = daemon_addresses_first(d, &o->services[i]);

		if (p == NULL)
			continue;
		printf(" %s=%s", o->services[i].name,
		       p->unix_path != NULL ? p->text
		                            : address_format(&p->address, address, sizeof address));
	}
	daemon_metrics_ready(d->metrics, metrics, sizeof metrics);
	printf("%s\n", metrics);
	fflush(stdout);
	supervisor_tell("READY=1\nSTATUS=serving");
}

static unsigned count_workers(const struct daemon_options *o)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned n = o->workers;

	if (n == 0)
		n = cores > 0 ? (unsigned)cores : 1;
	return n < WORKERS_MAX ? n : WORKERS_MAX;
}

/* All that is needed but the workers. */
static int prepare(struct daemon *d, struct err_text *e)
{
	const struct daemon_options *o = d->options;
	int rc = daemon_addresses_collect(d, e);

	if (rc == 0)
		rc = daemon_addresses_check(d, e);
	if (rc == 0)
		rc = daemon_reconfigure(d, &o->tls, &o->limits, e);
	if (rc < 0)
		return rc;
	raise_file_limit(o->max_sessions);
	if (listen_limits_create(o->max_sessions, o->max_per_address, &d->listen_limits) < 0)
		return err_set(e, ERR_NOMEM, "out of memory");
	return 0;
}

/* Starts the workers, serves, and returns when all their threads have ended. */
static int run_workers(struct daemon *d, struct err_text *e)
{
	struct signals signals = { 0 };
	unsigned n = count_workers(d->options);
	unsigned i;
	int rc = 0;

	d->workers = calloc(n, sizeof *d->workers);
	if (d->workers == NULL)
		return err_set(e, ERR_NOMEM, "out of memory");
	if (loop_create(&d->loop) < 0)
		return err_set(e, ERR_NOMEM, "no event loop: out of memory or file descriptors");
	d->ended.run = on_workers_ended;
	watch_signals(d, &signals);
	/* Held by this thread until all are there, so that a start that fails ends like any other. */
	d->alive = 1;
	rc = daemon_metrics_start(d, e);
	for (i = 0; i < n && rc == 0; i++) {
		d->workers[i].number = i;
		rc = daemon_worker_create(d, &d->workers[i], e);
	}
	if (rc == 0)
		say_ready(d);
	else
		stop_workers(d, true);
	watch_kv(d, true);
	pthread_mutex_lock(&d->lock);
	if (--d->alive == 0)
		loop_post(d->loop, &d->ended);
	pthread_mutex_unlock(&d->lock);
	loop_run(d->loop);
	watch_kv(d, false);
	daemon_metrics_stop(d->metrics);
	for (i = 0; i < d->n_workers; i++)
		daemon_worker_join(&d->workers[i]);
	loop_free(d->loop);
	if (rc == 0 && d->failed)
		rc = err_set(e, ERR_IO, "the disk failed: what was answered is there, and nothing more "
		                        "was written; see to the disk and start again");
	return rc;
}

int daemon_run(const struct daemon_options *options, struct err_text *e)
{
	struct daemon d = {
		.options = options,
		.metrics_fd = -1,
		.started_us = clock_now_us(),
	};
	int rc;

	if (pthread_mutex_init(&d.lock, NULL) != 0)
		return err_set(e, ERR_NOMEM, "out of memory");
	if (pthread_cond_init(&d.reported, NULL) != 0) {
		pthread_mutex_destroy(&d.lock);
		return err_set(e, ERR_NOMEM, "out of memory");
	}
	rc = prepare(&d, e);
	if (rc == 0)
		rc = run_workers(&d, e);
	free(d.workers);
	listen_limits_free(d.listen_limits);
	free_configuration(&d);
	daemon_addresses_free(&d);
	pthread_cond_destroy(&d.reported);
	pthread_mutex_destroy(&d.lock);
	return rc;
}
