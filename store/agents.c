#include "store/agents.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "session/client.h"
#include "store/batch.h"
#include "store/delivery.h"

#define CONNECTIONS 64                    /* at once, idle ones included */
#define WINDOW 4                          /* batches of one domain whose results are not written */
#define IDLE_US (30 * CLOCK_SECOND_US)    /* that a connection is kept for more */
#define TROUBLE_US (10 * CLOCK_SECOND_US) /* that a failed write keeps us from sending more */
#define BUCKETS 1024                      /* a power of two */

enum flight_state {
	ON_WIRE,  /* sent, or queued in the client; its answer or its failure comes */
	AGAIN,    /* was on a kept connection that had died: to be sent on the next one */
	AT_WRITER /* its results are being written */
};

/* A batch on its way. */
struct flight {
	struct agent *agent;
	struct batch *batch;
	enum flight_state state;
	bool repeated; /* was AGAIN once */
	struct flight *next;
};

/*
 * One domain that something is due for. Its jobs are queued; batches of them
 * are in flight. There is a client while it is connected, or connecting.
 *   waiting  it wants a connection, but all are taken: it is on the list for one
 *   failing  its agent cannot be reached: all that is queued is noted so, a batch after
 *            another, without a connection
 * It is freed when nothing is queued, in flight, waiting or connected.
 */
struct agent {
	struct agents *all;
	char domain[NAME_DOMAIN_MAX + 1];
	struct agent *bucket_next, *waiting_next, *touched_next;
	struct round_job *first, *last; /* queued */
	struct flight *flights;
	unsigned n_flights;
	struct client *client;
	struct loop_timer *idle;
	bool proven; /* an answer came on this connection */
	bool waiting, failing, touched;
	enum mailroom_outcome outcome; /* failing */
	char why[DB_TEXT_MAX];
	size_t why_n;
};

struct agents {
	struct service_worker *worker;
	struct round *round;
	struct locator *locator;
	struct tls_config *tls;
	bool allow_private;
	bool stopping;
	unsigned connections;
	uint64_t trouble_us;   /* when a write failed last (monotonic), 0: never */
	struct agent *touched; /* something was queued since agents_work */
	struct agent *waiting, *waiting_last;
	struct agent *bucket[BUCKETS];
	uint8_t frame[BATCH_FRAME_OCTETS];
};

static void work(struct agent *g);

/* --- agents -------------------------------------------------------------------------------- */

static struct agent **bucket_of(struct agents *a, const char *domain)
{
	uint32_t h = 2166136261u; /* FNV-1a */

	for (; *domain != '\0'; domain++)
		h = (h ^ (uint8_t)*domain) * 16777619u;
	return &a->bucket[h & (BUCKETS - 1)];
}

static void disconnect(struct agent *g)
{
	if (g->client == NULL)
		return;
	client_free(g->client);
	g->client = NULL;
	g->proven = false;
	g->all->connections--;
}

static bool is_idle(const struct agent *g)
{
	return g->first == NULL && g->n_flights == 0;
}

static void agent_free(struct agent *g)
{
	struct agent **at = bucket_of(g->all, g->domain);

	while (*at != g)
		at = &(*at)->bucket_next;
	*at = g->bucket_next;
	loop_timer_free(g->idle);
	free(g);
}

/* Frees G when nothing is left of it. */
static void settle(struct agent *g)
{
	if (is_idle(g) && g->client == NULL && !g->waiting && !g->touched)
		agent_free(g);
}

/* Gives those who wait for a connection what is free. */
static void wake_waiting(struct agents *a)
{
	struct agent *list = a->waiting;

	a->waiting = a->waiting_last = NULL;
	while (list != NULL) {
		struct agent *g = list;

		list = g->waiting_next;
		g->waiting = false;
		work(g); /* which may wait again */
	}
}

static void on_idle(void *ctx)
{
	struct agent *g = ctx;
	struct agents *a = g->all;

	if (!is_idle(g))
		return;
	disconnect(g);
	settle(g);
	wake_waiting(a);
}

static struct agent *find_agent(struct agents *a, const char *domain)
{
	struct agent **at = bucket_of(a, domain), *g;

	for (g = *at; g != NULL; g = g->bucket_next)
		if (strcmp(g->domain, domain) == 0)
			return g;
	g = calloc(1, sizeof(*g));
	if (g == NULL)
		return NULL;
	if (loop_timer_create(a->worker->loop, on_idle, g, &g->idle) != 0) {
		free(g);
		return NULL;
	}
	g->all = a;
	(void)span_copy(span_str(domain), g->domain, sizeof(g->domain));
	g->bucket_next = *at;
	*at = g;
	return g;
}

/* --- flights ------------------------------------------------------------------------------- */

static struct flight *flight_create(struct agent *g, enum db_job_kind kind, bool encodes)
{
	struct flight *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return NULL;
	f->batch = batch_create(g->all->worker->service->db, kind, encodes);
	if (f->batch == NULL) {
		free(f);
		return NULL;
	}
	f->batch->holder = f;
	f->agent = g;
	f->next = g->flights;
	g->flights = f;
	g->n_flights++;
	return f;
}

static void flight_free(struct flight *f)
{
	struct flight **at = &f->agent->flights;

	while (*at != f)
		at = &(*at)->next;
	*at = f->next;
	f->agent->n_flights--;
	batch_free(f->batch);
	free(f);
}

static void release_job(struct agents *a, struct round_job *j);

static void write_done(struct writer_job *job, int result)
{
	struct batch *b = (struct batch *)job;
	struct flight *f = b->holder;
	struct agent *g = f->agent;

	if (result != 0) {
		g->all->trouble_us = clock_mono_us();
		log_error("notify", "domain=%s write error=\"%s\"", g->domain, err_phrase(result));
	}
	for (size_t i = 0; i < b->n_jobs; i++) {
		struct round_job *j = b->jobs[i].job;

		j->batches--;
		j->failed = j->failed || result != 0;
		j->retired = j->retired || (result == 0 && b->jobs[i].retire);
		if (result == 0)
			service_changed(g->all->worker->service, j->job.account);
		release_job(g->all, j);
	}
	flight_free(f);
	work(g);
}

/* Writes what is noted in the batch. */
static void write_back(struct flight *f)
{
	struct batch *b = f->batch;

	for (size_t i = 0; i < b->n_jobs; i++) {
		struct round_job *j = b->jobs[i].job;

		/* Only with the last results of a job, and when none before them is at risk. */
		b->jobs[i].retire = j->exhausted && !j->failed && j->batches == 1;
	}
	f->state = AT_WRITER;
	b->job.done = write_done;
	writer_submit(f->agent->all->worker->writer, &b->job);
}

/* All batches with deliveries of J are written: it goes, from the database too. */
static void release_job(struct agents *a, struct round_job *j)
{
	struct agent *g;
	struct flight *f;

	if (j->batches > 0 || !j->exhausted)
		return;
	g = j->retired || j->failed || a->stopping ? NULL : find_agent(a, j->domain);
	f = g == NULL ? NULL : flight_create(g, j->job.kind, false);
	if (f == NULL) {
		/* Where the database still has it, it is found again, with nothing due in it. */
		round_forget(a->round, j);
		return;
	}
	/* Its results were written in pieces: a writer job with nothing but the removal. */
	f->batch->jobs[0].job = j;
	f->batch->n_jobs = 1;
	j->batches = 1;
	write_back(f);
}

/*
 * A batch of what is queued first. NULL when memory is out: what is queued stays
 * so.
 */
static struct flight *load(struct agent *g, bool encodes)
{
	struct service *x = g->all->worker->service;
	enum db_job_kind kind = g->first->job.kind;
	struct kv_txn *t = db_read_begin(x->db);
	struct flight *f = t != NULL ? flight_create(g, kind, encodes) : NULL;
	struct settings *settings;
	uint64_t now = clock_now_us();

	if (f == NULL) {
		db_read_end(t);
		return NULL;
	}
	settings = service_settings(x);
	while (g->first != NULL && g->first->job.kind == kind) {
		struct round_job *j = g->first;

		if (batch_add(f->batch, t, settings, x->ids, j, now) == ERR_AGAIN)
			break;
		g->first = j->queue_next;
		if (g->first == NULL)
			g->last = NULL;
	}
	settings_drop(settings);
	db_read_end(t);
	return f;
}

/* --- the wire ------------------------------------------------------------------------------ */

static void log_batch(const struct agent *g, const struct batch *b)
{
	size_t accepted = 0;

	for (size_t i = 0; i < b->n; i++)
		accepted += b->items[i].outcome == MAILROOM_ACCEPTED;
	log_debug(b->kind == DB_JOB_NOTIFY ? "notify" : "withdraw", "domain=%s n=%zu accepted=%zu",
	          g->domain, b->n, accepted);
}

static void on_response(void *ctx, struct span body, uint64_t total)
{
	struct flight *f = ctx;
	struct agent *g = f->agent;

	(void)total;
	g->proven = true;
	if (batch_answer(f->batch, body) != 0)
		log_warn("notify", "domain=%s error=\"the answer breaks the protocol\"", g->domain);
	log_batch(g, f->batch);
	write_back(f);
	work(g);
}

static void on_failed(void *ctx, int error, const char *why)
{
	struct flight *f = ctx;
	struct agent *g = f->agent;

	/* The agent may have ended a connection that was kept: that says nothing about it. */
	if (error == ERR_CLOSED && g->proven && !f->repeated) {
		f->repeated = true;
		f->state = AGAIN;
		return;
	}
	batch_outcome(f->batch, batch_failure(error), span_str(why));
	log_batch(g, f->batch);
	write_back(f);
}

/* The connection is over. Comes after all that was under way has failed. */
static void on_closed(void *ctx, int error, const char *why)
{
	struct agent *g = ctx;
	struct agents *a = g->all;
	char quoted[256];

	if (!g->proven && error != 0) {
		struct span text = delivery_text(span_str(why), g->why);

		g->why_n = text.n;
		g->outcome = batch_failure(error);
		g->failing = true;
		log_info("unreachable", "domain=%s why=%s", g->domain,
		         log_quote(span_str(why), quoted, sizeof(quoted)));
	}
	disconnect(g);
	work(g);
	wake_waiting(a);
}

static int connect_agent(struct agent *g)
{
	struct agents *a = g->all;
	struct client_options options = {
		.domain = g->domain,
		.service = LOCATE_RNASP,
		.dial = {
			.locator = a->locator,
			.tls = a->tls,
			.allow_private = a->allow_private,
		},
		.closed = on_closed,
		.ctx = g,
	};
	int err = client_create(a->worker->loop, &options, &g->client);

	if (err != 0) {
		g->client = NULL;
		return err;
	}
	g->proven = false;
	a->connections++;
	return 0;
}

static void wait_for_connection(struct agent *g)
{
	struct agents *a = g->all;

	g->waiting = true;
	g->waiting_next = NULL;
	if (a->waiting_last != NULL)
		a->waiting_last->waiting_next = g;
	else
		a->waiting = g;
	a->waiting_last = g;
}

/* Ends an idle connection of another domain. False: all are at work. */
static bool make_room(struct agents *a)
{
	for (size_t i = 0; i < BUCKETS; i++) {
		for (struct agent *g = a->bucket[i]; g != NULL; g = g->bucket_next) {
			if (g->client != NULL && is_idle(g) && !g->touched) {
				disconnect(g);
				settle(g);
				return true;
			}
		}
	}
	return false;
}

/* Makes sure of a client. False: G waits for one. */
static bool have_client(struct agent *g)
{
	struct agents *a = g->all;

	if (g->client != NULL)
		return true;
	if ((a->connections < CONNECTIONS || make_room(a)) && connect_agent(g) == 0)
		return true;
	wait_for_connection(g);
	return false;
}

/* Sends the batch, or writes back why not. */
static void send_flight(struct flight *f)
{
	struct agents *a = f->agent->all;
	struct client_call call = {
		.response = on_response,
		.failed = on_failed,
		.ctx = f,
	};
	int err = batch_encode(f->batch, a->frame, sizeof(a->frame), &call.frame);

	if (err == 0)
		err = client_send(f->agent->client, &call, NULL);
	if (err == 0) {
		f->state = ON_WIRE;
		return;
	}
	batch_outcome(f->batch, batch_failure(err), span_str(err_phrase(err)));
	write_back(f);
}

/* --- work ---------------------------------------------------------------------------------- */

/* All that is queued has failed: notes it, a batch at a time. */
static void work_failing(struct agent *g)
{
	struct flight *f;

	while (g->n_flights < WINDOW && g->first != NULL) {
		f = load(g, false);
		if (f == NULL)
			return;
		batch_outcome(f->batch, g->outcome, span_of(g->why, g->why_n));
		write_back(f);
	}
	g->failing = g->first != NULL;
}

static struct flight *find_again(const struct agent *g)
{
	for (struct flight *f = g->flights; f != NULL; f = f->next)
		if (f->state == AGAIN)
			return f;
	return NULL;
}

static void work_sending(struct agent *g)
{
	struct flight *f;

	while ((f = find_again(g)) != NULL) {
		if (!have_client(g))
			return;
		send_flight(f);
	}
	while (g->first != NULL && g->n_flights < WINDOW) {
		if (!have_client(g))
			return;
		f = load(g, true);
		if (f == NULL)
			return;
		if (f->batch->n > 0)
			send_flight(f);
		else
			write_back(f); /* jobs with nothing due (any more) only go */
	}
}

/* Does what can be done for G now, and lets it go when that was all. */
static void work(struct agent *g)
{
	if (g->all->stopping || g->waiting)
		return;
	if (g->failing && find_again(g) == NULL)
		work_failing(g);
	else
		work_sending(g);
	if (g->client != NULL && is_idle(g))
		loop_timer_start(g->idle, IDLE_US);
	settle(g);
}

/* --- the whole ----------------------------------------------------------------------------- */

int agents_create(struct service_worker *w, struct round *r, struct locator *locator,
                  struct agents **out)
{
	struct agents *a = calloc(1, sizeof(*a));

	if (a == NULL)
		return ERR_NOMEM;
	a->worker = w;
	a->round = r;
	a->locator = locator;
	*out = a;
	return 0;
}

void agents_configure(struct agents *a, struct tls_config *tls, bool allow_private)
{
	struct tls_config *old = a->tls;

	a->tls = tls_config_hold(tls);
	a->allow_private = allow_private;
	tls_config_drop(old);
}

void agents_take(struct agents *a, struct round_job *j)
{
	struct agent *g = find_agent(a, j->domain);

	if (g == NULL) {
		round_forget(a->round, j);
		return;
	}
	if (g->last != NULL)
		g->last->queue_next = j;
	else
		g->first = j;
	g->last = j;
	/* Jobs that are found together go together: worked on when all are there. */
	if (!g->touched) {
		g->touched = true;
		g->touched_next = a->touched;
		a->touched = g;
	}
}

void agents_work(struct agents *a)
{
	struct agent *g;

	wake_waiting(a);
	while ((g = a->touched) != NULL) {
		a->touched = g->touched_next;
		g->touched = false;
		work(g);
	}
}

bool agents_troubled(const struct agents *a)
{
	return a->trouble_us != 0 && clock_mono_us() - a->trouble_us < TROUBLE_US;
}

void agents_stop(struct agents *a)
{
	a->stopping = true;
	for (size_t i = 0; i < BUCKETS; i++) {
		for (struct agent *g = a->bucket[i]; g != NULL; g = g->bucket_next) {
			struct flight *next;

			disconnect(g);
			loop_timer_stop(g->idle);
			for (struct flight *f = g->flights; f != NULL; f = next) {
				next = f->next;
				if (f->state != AT_WRITER)
					flight_free(f);
			}
		}
	}
}

void agents_free(struct agents *a)
{
	if (a == NULL)
		return;
	for (size_t i = 0; i < BUCKETS; i++)
		while (a->bucket[i] != NULL)
			agent_free(a->bucket[i]);
	tls_config_drop(a->tls);
	free(a);
}
