/* RNASP: a session with a store. Each command is one batch for the writer. */
#include <stdlib.h>

#include "base/log.h"
#include "notify/app.h"
#include "notify/intake.h"
#include "wire/frame.h"

struct intake {
	struct server_session *session;
	struct app_worker *worker;
	struct intake_batch *pending; /* at the writer, or NULL */
};

static int intake_open(struct server_session *s, void *app, void **state)
{
	struct intake *in = calloc(1, sizeof *in);

	if (in == NULL) {
		return ERR_NOMEM;
	}
	in->session = s;
	in->worker = app_worker_of(app);
	*state = in;
	return 0;
}

/* A batch at the writer goes on without its session: what was sent may be kept. */
static void intake_close(void *state)
{
	struct intake *in = state;

	if (in->pending != NULL) {
		in->pending->session = NULL;
	}
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

static void submitter_of(struct server_session *s, struct wire_endpoint *out)
{
	struct stream_info info;
	unsigned char octets[16];
	size_t n;

	*out = (struct wire_endpoint) { 0 };
	stream_info(server_stream(s), &info);
	if (info.local) {
		return; /* 0.0.0.0:0 */
	}
	n = address_octets(&info.peer, octets);
	out->address.kind = n == 4 ? WIRE_ADDRESS_V4 : WIRE_ADDRESS_V6;
	memcpy(out->address.u.v6, octets, n);
	out->port = (uint16_t)address_port(&info.peer);
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
	size_t accepted = 0;

	for (size_t i = 0; i < b->n; i++) {
		accepted +=
		    b->command.kind != RNASP_WITHDRAW && b->results[i] == WIRE_NOTIFY_ACCEPTED;
	}
	if (result != 0) {
		log_error("intake", "kind=%s n=%zu error=%d", rnasp_kind_name(b->command.kind),
		          b->n, result);
	} else {
		log_info("intake", "kind=%s n=%zu accepted=%zu", rnasp_kind_name(b->command.kind),
		         b->n, accepted);
	}
}

static void batch_done(struct writer_job *job, int result)
{
	struct intake_batch *b = (struct intake_batch *)job;
	struct intake *in = b->session;
	struct app *app = b->app;

	log_batch(b, result);
	if (result == 0 && b->n_mailboxes > 0) {
		waiters_wake(app->waiters, b->mailboxes, b->n_mailboxes);
	}
	if (in != NULL) {
		in->pending = NULL;
		reply(in->session, b, result);
	}
	intake_free(b);
}

static void refuse(struct server_session *s, int error)
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
	default:
		server_reply_error(s, WIRE_STATUS_TRY_LATER, true, NULL, 60, false);
	}
}

static void intake_command(void *state, struct span body, uint64_t total)
{
	struct intake *in = state;
	struct app *app = in->worker->app;
	struct intake_batch *b;
	int r;

	(void)total;
	r = intake_create(app->db, &app->policy, body, covers, server_stream(in->session), &b);
	if (r != 0) {
		refuse(in->session, r);
		return;
	}
	submitter_of(in->session, &b->submitter);
	b->app = app;
	b->session = in;
	b->job.done = batch_done;
	in->pending = b;
	writer_submit(in->worker->writer, &b->job);
}

const struct server_protocol intake_protocol = {
	.alpn = "im2000-rnasp/1",
	.open = intake_open,
	.classify = intake_classify,
	.command = intake_command,
	.close = intake_close,
};
