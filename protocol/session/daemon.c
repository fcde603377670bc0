/* A daemon's process: its addresses, its signals, its start and its end. See daemon_state.h. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "session/daemon_state.h"

#define UNIX_PREFIX "unix:"
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

/* --- addresses --------------------------------------------------------------------------- */

static struct daemon_endpoint *find_endpoint(struct daemon *d, const char *text)
{
	size_t i;

	for (i = 0; i < d->n_endpoints; i++)
		if (strcmp(d->endpoints[i].text, text) == 0)
			return &d->endpoints[i];
	return NULL;
}

static int new_endpoint(struct daemon *d, const char *text, struct daemon_endpoint **out,
                        struct err_text *e)
{
	size_t services = d->options->n_services;
	struct daemon_endpoint *p = &d->endpoints[d->n_endpoints];

	p->text = text;
	if (strncmp(text, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0) {
		p->unix_path = text + strlen(UNIX_PREFIX);
	} else if (address_parse(text, &p->address) < 0) {
		return err_set(e, ERR_CONFIG,
		               "listen on \"%s\": not an address and a port (as in 127.0.0.1:4401, "
		               "[::1]:4401), nor a socket's path (unix:/run/store.sock)", text);
	}
	p->services = calloc(services, sizeof(void *));
	p->alpn = calloc(services + 1, sizeof(void *));
	d->n_endpoints++; /* from here on it is freed with the rest */
	if (p->services == NULL || p->alpn == NULL)
		return err_set(e, ERR_NOMEM, "out of memory");
	*out = p;
	return 0;
}

static int add_service(struct daemon *d, const struct daemon_service *s, const char *text,
                       struct err_text *e)
{
	struct daemon_endpoint *p = find_endpoint(d, text);
	int rc;

	if (p == NULL) {
		rc = new_endpoint(d, text, &p, e);
		if (rc < 0)
			return rc;
	}
	if (p->n > 0 && p->services[p->n - 1] == s)
		return 0; /* named twice */
	if (p->n > 0 && p->unix_path != NULL)
		return err_set(e, ERR_CONFIG,
		               "listen on %s: both %s and %s, but a UNIX socket has one service", text,
		               p->services[0]->name, s->name);
	p->services[p->n] = s;
	p->alpn[p->n] = s->protocol->alpn;
	p->n++;
	return 0;
}

/* Which services share which address: ALPN tells them apart. */
static int collect_endpoints(struct daemon *d, struct err_text *e)
{
	const struct daemon_options *o = d->options;
	size_t n = 0;
	size_t i, k;
	int rc;

	for (i = 0; i < o->n_services; i++)
		n += o->services[i].n_addresses;
	if (n == 0)
		return err_set(e, ERR_CONFIG, "%s has no address to listen on", o->program);
	d->endpoints = calloc(n, sizeof *d->endpoints);
	if (d->endpoints == NULL)
		return err_set(e, ERR_NOMEM, "out of memory");
	for (i = 0; i < o->n_services; i++) {
		for (k = 0; k < o->services[i].n_addresses; k++) {
			rc = add_service(d, &o->services[i], o->services[i].addresses[k], e);
			if (rc < 0)
				return rc;
		}
	}
	return 0;
}

/*
 * The workers share a port (SO_REUSEPORT), and the kernel lets a second daemon of
 * the same user share it too. So the port is tried without sharing first.
 */
static int check_free(const struct daemon_endpoint *p, struct err_text *e)
{
	int on = 1;
	int rc = 0;
	int fd;

	if (p->unix_path != NULL || address_port(&p->address) == 0)
		return 0;
	fd = socket(p->address.u.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return 0; /* the listener will say what is wrong */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (p->address.u.sa.sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on); /* as listeners do */
	if (bind(fd, &p->address.u.sa, p->address.n) < 0 && errno == EADDRINUSE)
		rc = err_set(e, ERR_IO,
		             "listen on %s: address already in use: another program (or another "
		             "one of these daemons) listens there", p->text);
	close(fd);
	return rc;
}

static void free_endpoints(struct daemon *d)
{
	size_t i;

	for (i = 0; i < d->n_endpoints; i++) {
		free(d->endpoints[i].services);
		free(d->endpoints[i].alpn);
	}
	free(d->endpoints);
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
	uint64_t expires = tls_config_expires_us(tls);
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
	rc = d->options->reload(d->options->app, d, &e);
	if (rc < 0)
		log_error("reload", "result=\"the old configuration stays\" why=%s",
		          log_quote(span_str(e.text[0] != '\0' ? e.text : err_phrase(rc)), why,
		                    sizeof why));
	else
		log_info("reload", "result=done");
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

static void on_workers_ended(struct loop_task *task)
{
	struct daemon *d = (struct daemon *)(void *)((char *)task - offsetof(struct daemon, ended));

	loop_stop(d->loop);
}

static void print_ready(const struct daemon *d)
{
	const struct daemon_options *o = d->options;
	char address[64];
	size_t i, k;

	fputs("ready", stdout);
	for (i = 0; i < o->n_services; i++) {
		const struct daemon_service *s = &o->services[i];

		for (k = 0; s->n_addresses > 0 && k < d->n_endpoints; k++) {
			const struct daemon_endpoint *p = &d->endpoints[k];

			if (strcmp(p->text, s->addresses[0]) != 0)
				continue;
			printf(" %s=%s", s->name,
			       p->unix_path != NULL
			           ? p->text
			           : address_format(&p->address, address, sizeof address));
		}
	}
	putchar('\n');
	fflush(stdout);
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
	size_t i;
	int rc = collect_endpoints(d, e);

	for (i = 0; rc == 0 && i < d->n_endpoints; i++)
		rc = check_free(&d->endpoints[i], e);
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
	for (i = 0; i < n && rc == 0; i++) {
		d->workers[i].number = i;
		rc = daemon_worker_create(d, &d->workers[i], e);
	}
	if (rc == 0)
		print_ready(d);
	else
		stop_workers(d, true);
	pthread_mutex_lock(&d->lock);
	if (--d->alive == 0)
		loop_post(d->loop, &d->ended);
	pthread_mutex_unlock(&d->lock);
	loop_run(d->loop);
	for (i = 0; i < d->n_workers; i++)
		daemon_worker_join(&d->workers[i]);
	loop_free(d->loop);
	return rc;
}

int daemon_run(const struct daemon_options *options, struct err_text *e)
{
	struct daemon d = { .options = options };
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
	free_endpoints(&d);
	pthread_cond_destroy(&d.reported);
	pthread_mutex_destroy(&d.lock);
	return rc;
}
