#include "store/agents.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/agents_core.h"
#include "store/delivery.h"

#define WINDOW 4                          /* batches of one domain whose results are not written */
#define WINDOW_WIRE 2                     /* of those, on the wire: one at work, one behind it */
#define WRITING 4096                      /* results at the writer: others want it too */
#define PATIENT 64                        /* results at most that wait for another's flush */
#define MANY_FROM 8                       /* recipients whose notifyMany does not wait for others */
#define TROUBLE_US (10 * CLOCK_SECOND_US) /* that a failed write keeps us from sending more */

/* --- agents -------------------------------------------------------------------------------- */

static struct agent **bucket_of(struct agents *a, const char *domain)
{
	uint32_t h = 2166136261u; /* FNV-1a */

	for (; *domain != '\0'; domain++)
		h = (h ^ (uint8_t)*domain) * 16777619u;
	return &a->bucket[h & (AGENTS_BUCKETS - 1)];
}

static void agent_free(struct agent *g)
{
	struct agent **at = bucket_of(g->all, g->domain);

	while (*at != g)
		at = &(*at)->bucket_next;
	*at = g->bucket_next;
	lines_clear(&g->lines);
	loop_timer_free(g->link.timer);
	free(g);
}

void agents_settle(struct agent *g)
{
	if (lines_first(&g->lines) == NULL && g->n_flights == 0 && g->link.state == LINK_NONE &&
	    !g->link.waiting && !g->touched)
		agent_free(g);
}

static struct agent *find_agent(struct agents *a, const char *domain, unsigned identity)
{
	struct agent **at = bucket_of(a, domain), *g;

	for (g = *at; g != NULL; g = g->bucket_next)
		if (g->identity == identity && strcmp(g->domain, domain) == 0)
			return g;
	g = calloc(1, sizeof(*g));
	if (g == NULL)
		return NULL;
	g->all = a;
	if (link_create(g) != 0) {
		free(g);
		return NULL;
	}
	(void)span_copy(span_str(domain), g->domain, sizeof(g->domain));
	g->identity = identity;
	g->many = traits_get(a->traits, domain, clock_mono_us());
	g->bucket_next = *at;
	*at = g;
	return g;
}

/* G is gone on with at the next agents_work. */
static void touch(struct agent *g)
{
	if (g->touched)
		return;
	g->touched = true;
	g->touched_next = g->all->touched;
	g->all->touched = g;
}

static void learn(struct agent *g, enum traits_many many)
{
	g->probing = false;
	if (g->many == many)
		return;
	g->many = many;
	traits_set(g->all->traits, g->domain, many, clock_mono_us());
	if (many == TRAITS_NO_MANY)
		log_info("notify", "domain=%s takes no notifyMany", g->domain);
}

/* --- flights ------------------------------------------------------------------------------- */

static struct flight *flight_create(struct agent *g, enum batch_form form, struct batch_room *room)
{
	struct flight *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return NULL;
	f->batch = batch_create(g->all->worker->service->db, form, room);
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

static void leave_wire(struct flight *f)
{
	f->agent->n_wire--;
	if (f->batch->form == BATCH_NOTIFY_MANY)
		f->agent->probing = false;
}

static void release_job(struct agents *a, struct round_job *j);

/* What F should have told stands in line again, before the others. */
static void give_back(struct flight *f)
{
	struct batch *b = f->batch;
	struct agent *g = f->agent;
	size_t n = b->n_jobs;

	batch_give_back(b);
	while (n-- > 0) {
		struct round_job *j = b->jobs[n].job;

		if (!j->queued)
			j->queued = lines_return(&g->lines, j) == 0;
		if (j->queued)
			continue;
		/* Memory is out: it goes, and is found again. */
		j->failed = j->exhausted = true;
		release_job(g->all, j);
	}
	flight_free(f);
}

/* --- writing back -------------------------------------------------------------------------- */

static void write_answered(struct agents *a);

static void write_done(struct writer_job *job, int result)
{
	struct batch *b = (struct batch *)job;
	struct flight *f = b->holder;
	struct agent *g = f->agent;
	struct agents *a = g->all;

	if (result != 0) {
		a->trouble_us = clock_mono_us();
		log_error("notify", "domain=%s write error=\"%s\"", g->domain, err_phrase(result));
	}
	a->writing -= b->n;
	if (b->lost)
		atomic_store(&a->worker->service->blobs_to_sweep, true);
	for (size_t i = 0; i < b->n_jobs; i++) {
		struct round_job *j = b->jobs[i].job;

		j->batches--;
		j->failed = j->failed || result != 0;
		j->retired = j->retired || (result == 0 && b->jobs[i].retire);
		if (result == 0)
			service_changed(a->worker->service, j->job.account);
		release_job(a, j);
	}
	flight_free(f);
	write_answered(a);
	agents_go_on(g);
}

/* Hands the results of F to the writer. */
static void submit(struct flight *f)
{
	struct batch *b = f->batch;
	struct agents *a = f->agent->all;

	for (size_t i = 0; i < b->n_jobs; i++) {
		struct round_job *j = b->jobs[i].job;

		/* Only with the last results of a job, and when none before them is at risk. */
		b->jobs[i].retire = j->exhausted && !j->failed && j->batches == 1;
	}
	batch_count(b, &a->worker->service->counts);
	f->state = AT_WRITER;
	a->writing += b->n;
	b->job.done = write_done;
	/* A result that is lost only means that its recipient is told again. But a domain holds its
	 * connection until its results are written. */
	b->job.patient = b->n <= PATIENT && a->waiting.first == NULL && !a->stopping;
	writer_submit(a->worker->writer, &b->job);
}

/*
 * Results are written a limited number at a time: what comes to the writer from
 * submissions meanwhile does not wait for all of them.
 */
static void write_answered(struct agents *a)
{
	struct flight *f;

	while ((f = a->answered) != NULL &&
	       (a->stopping || a->writing == 0 || a->writing + f->batch->n <= WRITING)) {
		a->answered = f->answer_next;
		if (a->answered == NULL)
			a->answered_end = &a->answered;
		submit(f);
	}
}

/* What is noted in the batch is to be written. */
static void write_back(struct flight *f)
{
	struct agents *a = f->agent->all;

	f->state = ANSWERED;
	f->answer_next = NULL;
	*a->answered_end = f;
	a->answered_end = &f->answer_next;
	write_answered(a);
}

/* All batches with deliveries of J are written: it goes, from the database too. */
static void release_job(struct agents *a, struct round_job *j)
{
	struct agent *g;
	struct flight *f;

	if (j->batches > 0 || !j->exhausted)
		return;
	g = j->retired || j->failed || a->stopping ? NULL : find_agent(a, j->domain, j->identity);
	f = g == NULL ? NULL : flight_create(g, BATCH_NOTIFY, NULL);
	/* Its results were written in pieces: a writer job with nothing but the removal. */
	if (f != NULL && batch_add_empty(f->batch, j) == 0) {
		write_back(f);
		return;
	}
	if (f != NULL)
		flight_free(f);
	/* Where the database still has it, it is found again, with nothing due in it. */
	round_forget(a->round, j);
}

/* --- batches ------------------------------------------------------------------------------- */

/* The command for J, which is among others or ALONE. Few recipients of each of several messages go
 * together in one notify. */
static enum batch_form form_of(const struct agent *g, const struct round_job *j, bool alone)
{
	uint32_t left = j->job.first + j->job.count - j->next;

	if (j->job.kind == DB_JOB_WITHDRAW)
		return BATCH_WITHDRAW;
	if (g->many == TRAITS_NO_MANY || left < 2 || (left < MANY_FROM && !alone))
		return BATCH_NOTIFY;
	return BATCH_NOTIFY_MANY;
}

static void take_first(struct agent *g)
{
	lines_first(&g->lines)->queued = false;
	lines_take(&g->lines);
}

/*
 * Fills F with what stands in line: of one account where it is one message for
 * many, else of all accounts in turn. Then it is another account's turn.
 */
static void fill(struct flight *f, struct kv_txn *t, const struct settings *s, uint64_t now)
{
	struct agent *g = f->agent;
	const struct ids *ids = g->all->worker->service->ids;
	struct batch *b = f->batch;
	uint32_t account = 0;
	struct round_job *j;

	while ((j = lines_first(&g->lines)) != NULL) {
		if (b->form == BATCH_NOTIFY_MANY && b->n_jobs > 0 && j->job.account != account)
			return;
		if (b->form == BATCH_NOTIFY && b->room != NULL && b->n_jobs > 0 &&
		    form_of(g, j, false) != BATCH_NOTIFY)
			return;
		account = j->job.account;
		if (batch_add(b, t, s, ids, j, now) == ERR_AGAIN)
			break;
		take_first(g);
		j = lines_first(&g->lines);
		if (b->form != BATCH_NOTIFY_MANY && j != NULL && j->job.account == account)
			lines_pass(&g->lines);
	}
	if (j != NULL && j->job.account == account)
		lines_pass(&g->lines);
}

/*
 * A batch of what stands in line: to be SENT, then FRAME is the command unless
 * nothing was due; or only to be noted. NULL when memory is out: what stands in
 * line stays so.
 */
static struct flight *load(struct agent *g, bool sent, struct span *frame, int *error)
{
	struct service *x = g->all->worker->service;
	struct round_job *first = lines_first(&g->lines);
	enum batch_form form = form_of(g, first, lines_single(&g->lines));
	struct kv_txn *t = db_read_begin(x->db);
	struct flight *f = NULL;
	struct settings *settings;

	if (!sent && form == BATCH_NOTIFY_MANY)
		form = BATCH_NOTIFY;
	if (t != NULL)
		f = flight_create(g, form, sent ? &g->all->room : NULL);
	if (f == NULL) {
		db_read_end(t);
		return NULL;
	}
	settings = service_settings(x);
	fill(f, t, settings, clock_now_us());
	*error = sent && f->batch->n > 0 ? batch_encode(f->batch, frame) : 0;
	f->batch->room = NULL;
	settings_drop(settings);
	db_read_end(t);
	return f;
}

/* --- the wire ------------------------------------------------------------------------------ */

static void log_batch(const struct agent *g, const struct batch *b)
{
	static const char *const names[] = {
		[BATCH_NOTIFY] = "notify",
		[BATCH_NOTIFY_MANY] = "notify-many",
		[BATCH_WITHDRAW] = "withdraw",
	};
	size_t accepted = 0;

	for (size_t i = 0; i < b->n; i++)
		accepted += b->items[i].outcome == MAILROOM_ACCEPTED;
	log_debug(names[b->form], "domain=%s n=%zu accepted=%zu", g->domain, b->n, accepted);
}

static void on_response(void *ctx, struct span body, uint64_t total)
{
	struct flight *f = ctx;
	struct agent *g = f->agent;
	int err = batch_answer(f->batch, body);

	(void)total;
	g->link.proven = true;
	leave_wire(f);
	if (err == ERR_UNSUPPORTED) {
		learn(g, TRAITS_NO_MANY);
		give_back(f);
		agents_go_on(g);
		return;
	}
	if (err != 0)
		log_warn("notify", "domain=%s error=\"the answer breaks the protocol\"", g->domain);
	else if (f->batch->form == BATCH_NOTIFY_MANY)
		learn(g, TRAITS_TAKES_MANY);
	log_batch(g, f->batch);
	write_back(f);
	agents_go_on(g);
}

static void on_failed(void *ctx, int error, const char *why)
{
	struct flight *f = ctx;
	struct agent *g = f->agent;

	if (g->probing && error == ERR_CLOSED)
		learn(g, TRAITS_NO_MANY); /* some break at what they do not know */
	leave_wire(f);
	/* The agent may have ended a connection that was kept: that says nothing about it. Each time
	 * there was an answer before, so this comes to an end. */
	if (error == ERR_CLOSED && g->link.proven) {
		give_back(f);
		return;
	}
	batch_outcome(f->batch, batch_failure(error), span_str(why));
	log_batch(g, f->batch);
	write_back(f);
}

/* Sends what stands in line, or writes back why not. False: memory is out. */
static bool send_one(struct agent *g)
{
	struct client_call call = { .response = on_response, .failed = on_failed };
	int err;
	struct flight *f = load(g, true, &call.frame, &err);

	if (f == NULL)
		return false;
	if (f->batch->n == 0) {
		write_back(f); /* jobs with nothing due (any more) only go */
		return true;
	}
	call.ctx = f;
	if (err == 0)
		err = client_send(g->link.client, &call, NULL);
	if (err != 0) {
		batch_outcome(f->batch, batch_failure(err), span_str(err_phrase(err)));
		write_back(f);
		return true;
	}
	f->state = ON_WIRE;
	g->n_wire++;
	g->probing = f->batch->form == BATCH_NOTIFY_MANY && g->many == TRAITS_UNKNOWN;
	return true;
}

/* --- work ---------------------------------------------------------------------------------- */

void agents_unreachable(struct agent *g, int error, const char *why)
{
	struct span text = delivery_text(span_str(why), g->why);
	char quoted[256];

	g->why_n = text.n;
	g->outcome = batch_failure(error);
	g->failing = true;
	log_info("unreachable", "domain=%s why=%s", g->domain,
	         log_quote(span_str(why), quoted, sizeof(quoted)));
}

/* Notes what stands in line without sending it. False: memory is out. */
static bool note_one(struct agent *g)
{
	struct span frame;
	int err;
	struct flight *f = load(g, false, &frame, &err);

	if (f == NULL)
		return false;
	batch_outcome(f->batch, g->outcome, span_of(g->why, g->why_n));
	write_back(f);
	return true;
}

/*
 * Lets jobs at the front go in which nothing is due (any more): nobody is
 * connected to for that. False: the first has something to tell.
 */
static bool drop_idle(struct agent *g)
{
	struct service *x = g->all->worker->service;
	struct round_job *j = lines_first(&g->lines);
	enum batch_form form = form_of(g, j, true) == BATCH_WITHDRAW ? BATCH_WITHDRAW : BATCH_NOTIFY;
	struct kv_txn *t = db_read_begin(x->db);
	uint64_t now = clock_now_us();
	struct flight *f = NULL;

	if (t != NULL && !batch_wants(x->db, t, j, now))
		f = flight_create(g, form, NULL);
	while (f != NULL && (j = lines_first(&g->lines)) != NULL) {
		if (batch_wants(x->db, t, j, now) ||
		    batch_add(f->batch, t, NULL, x->ids, j, now) == ERR_AGAIN)
			break;
		take_first(g);
	}
	db_read_end(t);
	if (f != NULL)
		write_back(f);
	return f != NULL;
}

static void work(struct agent *g)
{
	while (lines_first(&g->lines) != NULL && g->n_flights < WINDOW) {
		bool goes;

		if (g->failing)
			goes = note_one(g);
		else if (g->link.state == LINK_NONE && drop_idle(g))
			goes = true;
		else if (!link_ready(g) || g->probing || g->n_wire == WINDOW_WIRE)
			return;
		else
			goes = send_one(g);
		if (!goes) {
			touch(g); /* memory is out: in the next turn */
			return;
		}
	}
	if (lines_first(&g->lines) == NULL)
		g->failing = false;
}

void agents_go_on(struct agent *g)
{
	if (g->all->stopping)
		return;
	work(g);
	if (lines_first(&g->lines) == NULL && g->n_flights == 0)
		link_rest(g);
	agents_settle(g);
}

/* --- the whole ----------------------------------------------------------------------------- */

static void on_wake(void *ctx)
{
	link_wake(ctx);
}

int agents_create(struct service_worker *w, struct round *r, struct locator *locator,
                  const struct agents_limits *limits, struct agents **out)
{
	struct agents *a = calloc(1, sizeof(*a));
	int err;

	if (a == NULL)
		return ERR_NOMEM;
	a->worker = w;
	a->round = r;
	a->locator = locator;
	a->limits = *limits;
	a->answered_end = &a->answered;
	err = traits_create(&a->traits);
	if (err == 0)
		err = share_create(limits->connections, &a->accounts);
	if (err == 0)
		err = share_create(limits->connections, &a->places);
	if (err == 0)
		err = loop_timer_create(w->loop, on_wake, a, &a->wake);
	if (err != 0) {
		agents_free(a);
		return err;
	}
	*out = a;
	return 0;
}

void agents_configure(struct agents *a, struct tls_config *tls, bool allow_private)
{
	struct tls_config *old = a->tls;

	/* What is in line goes on under the number that it has: the worst that comes of another order
	 * of certificates is that an agent does not believe it yet. */
	a->tls = tls_config_hold(tls);
	a->allow_private = allow_private;
	tls_config_drop(old);
}

/* Which certificate speaks for the sender of J; where nothing can be known, the first. */
static unsigned identity_of(struct agents *a, const struct round_job *j)
{
	struct db *db = a->worker->service->db;
	struct mailbox sender;
	struct db_message m;
	struct kv_txn *t;
	unsigned identity = 0;

	if (tls_config_count(a->tls) < 2)
		return 0;
	t = db_read_begin(db);
	if (t != NULL && db_message_get(db, t, j->job.message, &m) == 0 &&
	    name_parse_mailbox(m.sender, &sender) == 0)
		identity = tls_config_choose(a->tls, mailbox_domain(&sender));
	db_read_end(t);
	return identity;
}

void agents_take(struct agents *a, struct round_job *j)
{
	struct agent *g;

	j->identity = identity_of(a, j);
	g = find_agent(a, j->domain, j->identity);
	if (g == NULL || lines_add(&g->lines, j) != 0) {
		round_forget(a->round, j);
		if (g != NULL)
			agents_settle(g);
		return;
	}
	j->queued = true;
	/* Jobs that are found together go together: worked on when all are there. */
	touch(g);
}

void agents_work(struct agents *a)
{
	struct agent *list, *g;

	link_wake(a);
	list = a->touched;
	a->touched = NULL;
	while ((g = list) != NULL) {
		list = g->touched_next;
		g->touched = false;
		agents_go_on(g);
	}
}

bool agents_troubled(const struct agents *a)
{
	return a->trouble_us != 0 && clock_mono_us() - a->trouble_us < TROUBLE_US;
}

void agents_stop(struct agents *a)
{
	a->stopping = true;
	loop_timer_stop(a->wake);
	for (size_t i = 0; i < AGENTS_BUCKETS; i++) {
		for (struct agent *g = a->bucket[i]; g != NULL; g = g->bucket_next) {
			struct flight *next;

			link_close(g);
			for (struct flight *f = g->flights; f != NULL; f = next) {
				next = f->next;
				if (f->state == ON_WIRE)
					flight_free(f);
			}
		}
	}
	write_answered(a);
}

void agents_free(struct agents *a)
{
	if (a == NULL)
		return;
	for (size_t i = 0; i < AGENTS_BUCKETS; i++)
		while (a->bucket[i] != NULL)
			agent_free(a->bucket[i]);
	tls_config_drop(a->tls);
	traits_free(a->traits);
	share_free(a->accounts);
	share_free(a->places);
	loop_timer_free(a->wake);
	free(a);
}
