/* A worker of a daemon: a thread with a loop, listeners and sessions. See daemon_state.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "session/daemon_state.h"

/* How long sessions may finish what is in hand when the daemon ends. */
#define PATIENCE_US (10 * CLOCK_SECOND_US)

/* --- sessions ---------------------------------------------------------------------------- */

static void end_if_done(struct daemon_worker *w)
{
	if (w->stopping && w->sessions == NULL)
		loop_stop(w->loop);
}

static void on_ended(void *ctx, struct server_session *s)
{
	struct daemon_session *x = ctx;
	struct daemon_worker *w = x->worker;
	struct stream_info info;

	stream_info(server_stream(s), &info);
	listen_limits_drop(w->daemon->listen_limits, &info.peer);
	*(x->prev != NULL ? &x->prev->next : &w->sessions) = x->next;
	if (x->next != NULL)
		x->next->prev = x->prev;
	free(x);
	end_if_done(w);
}

static const struct server_protocol *protocol_of(const struct daemon_worker *w,
                                                 const struct daemon_endpoint *p,
                                                 const char *alpn)
{
	const struct daemon_service *all = w->daemon->options->services;

	for (size_t i = 0; i < p->n; i++)
		if (p->unix_path != NULL || strcmp(p->alpn[i], alpn) == 0)
			return &w->served[p->services[i] - all].protocol;
	return NULL;
}

static void on_accepted(void *ctx, struct stream *stream)
{
	struct daemon_spot *spot = ctx;
	struct daemon_worker *w = spot->worker;
	struct daemon_session *x = calloc(1, sizeof *x);
	const struct server_protocol *protocol;
	struct stream_info info;

	stream_info(stream, &info);
	protocol = protocol_of(w, spot->endpoint, info.alpn);
	if (x == NULL || protocol == NULL) {
		stream_free(stream);
		goto refused;
	}
	x->worker = w;
	/* ENDED may come only later, from the loop. */
	if (server_start(w->loop, stream, protocol, daemon_current_limits(w->daemon), w, on_ended, x,
	                 &x->session) < 0)
		goto refused;
	x->next = w->sessions;
	if (x->next != NULL)
		x->next->prev = x;
	w->sessions = x;
	return;
refused:
	listen_limits_drop(w->daemon->listen_limits, &info.peer);
	free(x);
}

/* --- starting and stopping --------------------------------------------------------------- */

static void on_patience(void *ctx)
{
	struct daemon_worker *w = ctx;

	if (w->sessions != NULL)
		log_warn("stop", "worker=%u what=\"sessions are cut off\"", w->number);
	while (w->sessions != NULL)
		server_kill(w->sessions->session);
}

static void close_listeners(struct daemon_worker *w)
{
	size_t i;

	for (i = 0; i < w->daemon->n_endpoints; i++) {
		listener_free(w->spots[i].listener);
		w->spots[i].listener = NULL;
	}
}

#define WORKER_OF(task_, member) \
	((struct daemon_worker *)(void *)((char *)(task_) - offsetof(struct daemon_worker, member)))

static void on_stop(struct loop_task *task)
{
	struct daemon_worker *w = WORKER_OF(task, stop);
	struct daemon_session *x;

	w->stopping = true;
	close_listeners(w);
	loop_timer_start(w->patience, PATIENCE_US);
	for (x = w->sessions; x != NULL; x = x->next)
		server_shutdown(x->session);
	end_if_done(w);
}

static void on_hurry(struct loop_task *task)
{
	on_patience(WORKER_OF(task, hurry));
}

/*
 * Worker 0 binds first; the others join it at the port that the kernel gave. A
 * UNIX socket cannot be shared in this way: all its sessions are worker 0's. A
 * socket that was handed over is shared by all: who comes first accepts.
 */
static int listen_everywhere(struct daemon_worker *w, struct err_text *e)
{
	struct daemon *d = w->daemon;
	size_t i;
	int rc;

	for (i = 0; i < d->n_endpoints; i++) {
		struct daemon_endpoint *p = &d->endpoints[i];
		struct daemon_spot *spot = &w->spots[i];
		const struct listen_options options = {
			.address = p->address,
			.unix_path = p->unix_path,
			.fd = p->fd < 0 ? -1 : fcntl(p->fd, F_DUPFD_CLOEXEC, 0),
			.alpn = p->alpn,
			.tls = daemon_hold_tls,
			.limits = d->listen_limits,
			.accepted = on_accepted,
			.ctx = spot,
		};

		spot->worker = w;
		spot->endpoint = p;
		if (p->unix_path != NULL && w->number > 0)
			continue;
		if (p->fd >= 0 && options.fd < 0)
			return err_set(e, ERR_IO, "listen on %s: %s", p->text,
			               strerrordesc_np(errno));
		rc = listener_create(w->loop, &options, &spot->listener, e);
		if (rc < 0)
			return rc;
		/* The other workers, and the main thread, wait for this one's report. */
		if (w->number == 0 && p->unix_path == NULL)
			listener_address(spot->listener, &p->address);
	}
	return 0;
}

static void report(struct daemon_worker *w, int error, const struct err_text *why)
{
	struct daemon *d = w->daemon;

	pthread_mutex_lock(&d->lock);
	w->reported = true;
	w->error = error;
	w->why = *why;
	pthread_cond_signal(&d->reported);
	pthread_mutex_unlock(&d->lock);
}

/* The loop is there: serves until told to stop. Reports once. */
static void serve(struct daemon_worker *w)
{
	const struct daemon_options *o = w->daemon->options;
	struct err_text e = { "" };
	int rc;

	rc = loop_timer_create(w->loop, on_patience, w, &w->patience);
	if (rc < 0) {
		report(w, rc, &e);
		return;
	}
	if (o->worker_start != NULL)
		rc = o->worker_start(o->app, w, &w->state, &e);
	if (rc < 0) {
		report(w, rc, &e);
		goto no_state;
	}
	rc = listen_everywhere(w, &e);
	report(w, rc, &e);
	/* loop_run may also end by a stop that the program asked for. */
	while (rc == 0 && !(w->stopping && w->sessions == NULL))
		loop_run(w->loop);
	close_listeners(w);
	if (o->worker_stop != NULL)
		o->worker_stop(o->app, w->state);
no_state:
	loop_timer_free(w->patience);
}

static void *work(void *ctx)
{
	struct daemon_worker *w = ctx;
	struct daemon *d = w->daemon;
	struct loop *loop;
	struct err_text e;

	if (loop_create(&loop) < 0) {
		err_set(&e, ERR_NOMEM, "no event loop: out of memory or file descriptors");
		report(w, ERR_NOMEM, &e);
		loop = NULL;
	} else {
		pthread_mutex_lock(&d->lock);
		w->loop = loop;
		pthread_mutex_unlock(&d->lock);
		serve(w);
	}
	/* From here on nothing is posted to the loop. */
	pthread_mutex_lock(&d->lock);
	w->loop = NULL;
	pthread_mutex_unlock(&d->lock);
	loop_free(loop);

	pthread_mutex_lock(&d->lock);
	if (--d->alive == 0)
		loop_post(d->loop, &d->ended);
	pthread_mutex_unlock(&d->lock);
	return NULL;
}

static void free_parts(struct daemon_worker *w)
{
	free(w->spots);
	free(w->served);
}

int daemon_worker_create(struct daemon *d, struct daemon_worker *w, struct err_text *e)
{
	int rc;

	w->daemon = d;
	w->stop.run = on_stop;
	w->hurry.run = on_hurry;
	w->spots = calloc(d->n_endpoints, sizeof *w->spots);
	w->served = calloc(d->options->n_services, sizeof *w->served);
	if (w->spots == NULL || w->served == NULL) {
		free_parts(w);
		return err_set(e, ERR_NOMEM, "out of memory");
	}
	for (size_t i = 0; i < d->options->n_services; i++) {
		w->served[i].protocol = *d->options->services[i].protocol;
		w->served[i].protocol.counts = &w->served[i].counts;
	}
	pthread_mutex_lock(&d->lock);
	d->alive++;
	pthread_mutex_unlock(&d->lock);
	if (pthread_create(&w->thread, NULL, work, w) != 0) {
		pthread_mutex_lock(&d->lock);
		d->alive--;
		pthread_mutex_unlock(&d->lock);
		free_parts(w);
		return err_set(e, ERR_IO, "worker %u: no more threads are allowed", w->number);
	}
	d->n_workers++;
	pthread_mutex_lock(&d->lock);
	while (!w->reported)
		pthread_cond_wait(&d->reported, &d->lock);
	rc = w->error;
	if (rc < 0)
		err_set(e, rc, "%s", w->why.text[0] != '\0' ? w->why.text : err_phrase(rc));
	pthread_mutex_unlock(&d->lock);
	return rc;
}

void daemon_worker_stop(struct daemon_worker *w, bool hurry)
{
	pthread_mutex_lock(&w->daemon->lock);
	/* A task is its loop's until it has run: each is posted once. */
	if (w->loop != NULL && !w->stop_sent) {
		w->stop_sent = true;
		loop_post(w->loop, &w->stop);
	}
	if (w->loop != NULL && hurry && !w->hurry_sent) {
		w->hurry_sent = true;
		loop_post(w->loop, &w->hurry);
	}
	pthread_mutex_unlock(&w->daemon->lock);
}

void daemon_worker_join(struct daemon_worker *w)
{
	pthread_join(w->thread, NULL);
	free_parts(w);
}

/* --- what programs ask ------------------------------------------------------------------- */

struct loop *daemon_worker_loop(struct daemon_worker *w)
{
	return w->loop;
}

void *daemon_worker_state(struct daemon_worker *w)
{
	return w->state;
}

void *daemon_worker_app(struct daemon_worker *w)
{
	return w->daemon->options->app;
}

unsigned daemon_worker_number(const struct daemon_worker *w)
{
	return w->number;
}
