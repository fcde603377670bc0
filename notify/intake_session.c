/* RNASP: a session with a store. Each command is one batch for the writer. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "notify/app.h"
#include "notify/intake.h"
#include "session/daemon.h"
#include "wire/frame.h"

/*
 * So many commands of which nothing is taken, beyond those of which something is, are answered at
 * once; each further one this late, and none is read meanwhile. So a flood costs next to nothing,
 * and the other sessions of the worker keep their latency.
 */
#define REFUSALS_AT_ONCE 16
#define REFUSAL_LATE_US 250000

/* What refuses a command: the results in BATCH, or else ERROR. */
struct refusal {
	struct intake_batch *batch;
	int error;       /* of intake_create; ERR_AGAIN: too much from this address */
	unsigned wait_s; /* with ERR_AGAIN: for how long */
};

struct intake {
	struct server_session *session;
	struct app_worker *worker;
	struct intake_batch *pending; /* at the writer, or NULL */
	unsigned refusals;            /* commands refused beyond those taken, at least 0 */
	struct refusal late;          /* is said when TIMER fires */
	struct loop_timer *timer;     /* NULL until it is needed */
};

int intake_open(struct server_session *s, struct app_worker *worker, void **state)
{
	struct intake *in = calloc(1, sizeof *in);

	if (in == NULL) {
		return ERR_NOMEM;
	}
	in->session = s;
	in->worker = worker;
	*state = in;
	return 0;
}

static int open_on_worker(struct server_session *s, void *app, void **state)
{
	return intake_open(s, daemon_worker_state(app), state);
}

/* A batch at the writer goes on without its session: what was sent may be kept. */
static void intake_close(void *state)
{
	struct intake *in = state;

	if (in->pending != NULL) {
		in->pending->session = NULL;
	}
	loop_timer_free(in->timer);
	intake_free(in->late.batch); /* was counted when it came */
	free(in);
}

static enum server_frame intake_classify(void *state, struct span head, uint64_t total)
{
	(void)state, (void)head, (void)total;
	return SERVER_TOO_BIG;
}

static bool covers(void *ctx, const char *domain)
{
	return stream_peer_covers(ctx, domain);
}

/* False: a local one, which has no address. */
static bool submitter_of(struct server_session *s, struct wire_endpoint *out)
{
	struct stream_info info;
	unsigned char octets[16];
	size_t n;

	*out = (struct wire_endpoint) { 0 };
	stream_info(server_stream(s), &info);
	if (info.local) {
		return false; /* 0.0.0.0:0 */
	}
	n = address_octets(&info.peer, octets);
	out->address.kind = n == 4 ? WIRE_ADDRESS_V4 : WIRE_ADDRESS_V6;
	memcpy(out->address.u.v6, octets, n);
	out->port = (uint16_t)address_port(&info.peer);
	return true;
}

static void reply(struct server_session *s, const struct intake_batch *b, int result)
{
	size_t cap = b->n * 3 + 512;
	uint8_t *buf = malloc(cap);
	struct span frame;

	if (buf == NULL || intake_response(b, result, buf, cap, &frame) != 0) {
		server_reply_error(s, WIRE_STATUS_INTERNAL_PROBLEM, true, NULL, -1, false);
	} else {
		server_reply(s, frame);
	}
	free(buf);
}

static void log_batch(const struct intake_batch *b, int result)
{
	const char *kind = rnasp_kind_name(b->command.kind);
	struct address address;
	size_t accepted = 0, refused = 0;
	char peer[64] = "unix";

	if (b->submitter.port != 0 &&
	    address_from_octets(b->submitter.address.u.v6,
	                        b->submitter.address.kind == WIRE_ADDRESS_V4 ? 4 : 16,
	                        b->submitter.port, &address) == 0) {
		address_format(&address, peer, sizeof peer);
	}
	if (result != 0) {
		log_error("intake", "peer=%s kind=%s n=%zu error=\"%s\"", peer, kind, b->n,
		          err_phrase(result));
	} else if (b->command.kind == RNASP_WITHDRAW) {
		log_info("intake", "peer=%s kind=%s n=%zu withdrawn=%zu", peer, kind, b->n,
		         b->n_mailboxes);
	} else {
		for (size_t i = 0; i < b->n; i++) {
			accepted += b->results[i] == WIRE_NOTIFY_ACCEPTED;
			refused += b->results[i] == WIRE_NOTIFY_REFUSED;
		}
		log_info("intake", "peer=%s kind=%s n=%zu accepted=%zu refused=%zu", peer, kind,
		         b->n, accepted, refused);
	}
}

static void count(struct app *app, const struct intake_batch *b)
{
	if (b->command.kind == RNASP_WITHDRAW) {
		app_count(&app->counts.withdrawn, b->n_mailboxes);
		return;
	}
	intake_charge_unknown(b);
	for (size_t i = 0; i < b->n; i++) {
		atomic_fetch_add_explicit(&app->counts.results[b->results[i]], 1,
		                          memory_order_relaxed);
		app_count(&app->counts.answered[b->results[i]], 1);
	}
}

/* The batch is done with RESULT: answers, tells who waits, frees. */
static void finish(struct intake_batch *b, int result)
{
	struct intake *in = b->session;
	struct app *app = b->app;

	log_batch(b, result);
	if (result == 0) {
		count(app, b);
	}
	if (result == 0 && b->n_mailboxes > 0) {
		waiters_wake(app->waiters, b->mailboxes, b->n_mailboxes);
	}
	if (in != NULL) {
		in->pending = NULL;
		reply(in->session, b, result);
	}
	intake_free(b);
}

static void batch_done(struct writer_job *job, int result)
{
	finish((struct intake_batch *)job, result);
}

/* --- refusals ------------------------------------------------------------------------------- */

static void refuse(struct server_session *s, int error, unsigned wait_s)
{
	switch (error) {
	case ERR_MALFORMED:
		server_reply_error(s, WIRE_STATUS_MALFORMED_PDU, true, NULL, -1, true);
		break;
	case ERR_UNSUPPORTED:
		server_reply_error(s, WIRE_STATUS_UNSUPPORTED, false, NULL, -1, false);
		break;
	case ERR_TOO_BIG:
		server_reply_error(s, WIRE_STATUS_TOO_BIG, true,
		                   "at most 256 notifications in one command", -1, false);
		break;
	case ERR_AGAIN:
		server_reply_error(s, WIRE_STATUS_TRY_LATER, true,
		                   "too many notifications from your address", (int)wait_s, false);
		break;
	default:
		server_reply_error(s, WIRE_STATUS_TRY_LATER, true, NULL, 60, false);
	}
}

/* The timer's; or at once. */
static void say_refusal(void *ctx)
{
	struct intake *in = ctx;
	struct refusal r = in->late;

	in->late = (struct refusal) { 0 };
	if (r.batch != NULL) {
		reply(in->session, r.batch, 0);
		intake_free(r.batch);
	} else {
		refuse(in->session, r.error, r.wait_s);
	}
}

/* Nothing of the command is taken: says so, now or late. R's batch is taken over. */
static void turn_away(struct intake *in, struct refusal r)
{
	in->late = r;
	if (in->refusals < REFUSALS_AT_ONCE) {
		in->refusals++;
		say_refusal(in);
	} else if (in->timer == NULL && loop_timer_create(server_loop(in->session), say_refusal,
	                                                  in, &in->timer) != 0) {
		say_refusal(in);
	} else {
		loop_timer_start(in->timer, REFUSAL_LATE_US);
	}
}

/* --- commands ------------------------------------------------------------------------------- */

/* B needs no writer. A withdrawal of what is not there any more is no refusal. */
static void settled(struct intake *in, struct intake_batch *b)
{
	if (b->command.kind == RNASP_WITHDRAW && b->n > 0) {
		finish(b, 0);
		return;
	}
	log_batch(b, 0);
	count(b->app, b);
	turn_away(in, (struct refusal) { .batch = b });
}

static void intake_command(void *state, struct span body, uint64_t total)
{
	struct intake *in = state;
	struct app *app = in->worker->app;
	const struct intake_place place = { app->db, &app_settings(app)->policy, app->flood };
	struct wire_endpoint submitter;
	bool remote = submitter_of(in->session, &submitter);
	struct intake_batch *b;
	unsigned wait_s;
	int r;

	(void)total;
	/* Before anything else: of whom too much came, nothing is even read. */
	if (remote && app->flood != NULL &&
	    (wait_s = flood_address_wait(app->flood, &submitter.address)) > 0) {
		atomic_fetch_add_explicit(&app->counts.results[WIRE_NOTIFY_TRY_LATER], 1,
		                          memory_order_relaxed);
		app_count(&app->counts.answered[WIRE_NOTIFY_TRY_LATER], 1);
		turn_away(in, (struct refusal) { .error = ERR_AGAIN, .wait_s = wait_s });
		return;
	}
	r = intake_create(&place, remote ? &submitter : NULL, body, covers,
	                  server_stream(in->session), &b);
	if (r != 0) {
		turn_away(in, (struct refusal) { .error = r });
		return;
	}
	b->app = app;
	b->session = in;
	if (intake_settled(b)) {
		settled(in, b);
		return;
	}
	in->refusals -= in->refusals > 0; /* no more: an origin at its rate has a little taken */
	b->job.done = batch_done;
	in->pending = b;
	writer_submit(in->worker->writer, &b->job);
}

const struct server_protocol intake_protocol = {
	.alpn = "im2000-rnasp/1",
	.open = open_on_worker,
	.classify = intake_classify,
	.command = intake_command,
	.close = intake_close,
};
