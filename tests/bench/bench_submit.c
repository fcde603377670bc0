/*
 * Load on a message store: submissions over kept or new connections, so many at
 * once, durable before each answer. Prints one JSON object.
 *
 * Each connection sends one message that is not counted; the clock starts when all have.
 *
 * --new: a connection for each message. --resume: with the tickets of earlier ones. --early: and
 * what is said at once as early data, as im2000 does.
 * --wait: the octets wait for the envelope's answer; else envelope and octets are one flight.
 * --exactly-once: with a submissionId each, as a client does that may have to say it again.
 * --recipients N: N of them a message; --to then has a '#', which becomes a number.
 * --later: the recipients are to be notified in an hour (releaseAt).
 * --ids FILE: the originator's ids of what was submitted, in hex, a line each.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/random.h"
#include "base/text.h"
#include "tests/bench/load.h"
#include "tests/bench/ours.h"
#include "tests/bench/tool.h"

struct bench {
	struct address address;
	const char *domain, *ca, *account, *password, *to, *ids;
	uint64_t at_once, count, size, seconds, recipients;
	bool fresh, resume, early, wait, exactly_once, later;
	struct load *load;
	struct target *target;
	struct buf login, envelope, chunk;
	uint64_t warm, begun, done, start_us, end_us;
	struct tool_times times;
	FILE *ids_file;
};

/* One connection: a message at a time. */
struct lane {
	struct bench *bench;
	struct conn *conn;
	uint64_t started_us;
	bool warm;        /* its first message is in */
	bool logging_in;  /* the next response is to authenticate */
	bool in_envelope; /* the next one is to submitEnvelope */
};

static const struct conn_handler handler;

static void send_envelope(struct lane *l)
{
	struct bench *b = l->bench;
	struct span view = buf_view(&b->envelope);

	if (b->exactly_once) {
		uint8_t id[WIRE_ID_SIZE];
		const struct ours_envelope e = { b->to, 0, b->recipients, b->size, id, b->later };

		random_uuid7(id, clock_now_us());
		buf_consume(&b->envelope, b->envelope.n);
		ours_envelope(&b->envelope, &e);
		view = buf_view(&b->envelope);
	}
	conn_write(l->conn, view.p, view.n);
}

static void send_chunk(struct lane *l)
{
	struct span view = buf_view(&l->bench->chunk);

	conn_write(l->conn, view.p, view.n);
}

static void lane_next(struct lane *l)
{
	struct bench *b = l->bench;
	struct span login = buf_view(&b->login);

	if (l->warm)
		b->begun++;
	l->started_us = clock_mono_us();
	if (l->conn == NULL) {
		l->conn = conn_open(b->target, &handler, l);
		conn_write(l->conn, login.p, login.n);
		l->logging_in = true;
	}
	l->in_envelope = true;
	send_envelope(l);
	if (!b->wait)
		send_chunk(l);
}

static bool is_over(struct bench *b)
{
	return b->begun == b->count || (b->seconds > 0 && clock_mono_us() >= b->end_us);
}

/* Its message is durable. */
static void on_stored(struct lane *l, struct lane *lanes)
{
	struct bench *b = l->bench;

	if (b->fresh) {
		conn_close(l->conn);
		l->conn = NULL;
	}
	if (!l->warm) {
		l->warm = true;
		if (++b->warm < b->at_once)
			return;
		b->start_us = clock_mono_us();
		b->end_us = b->start_us + b->seconds * CLOCK_SECOND_US;
		for (uint64_t i = 0; i < b->at_once && !is_over(b); i++)
			lane_next(&lanes[i]);
		return;
	}
	tool_times_add(&b->times, clock_mono_us() - l->started_us);
	b->done++;
	if (!is_over(b))
		lane_next(l);
	else if (b->done == b->begun)
		load_stop(b->load);
}

static void keep_id(struct bench *b, const uint8_t id[WIRE_ID_SIZE])
{
	char hex[2 * WIRE_ID_SIZE + 1];

	text_hex(id, WIRE_ID_SIZE, hex);
	fprintf(b->ids_file, "%s\n", hex);
}

static struct lane *all_lanes;

static void on_response(struct lane *l, struct span body)
{
	struct msoap_response r;

	if (l->logging_in) {
		ours_msoap_ok(body, MSOAP_AUTHENTICATE, &r);
		l->logging_in = false;
	} else if (l->in_envelope) {
		ours_msoap_ok(body, MSOAP_SUBMIT_ENVELOPE, &r);
		l->in_envelope = false;
		if (l->bench->ids_file != NULL)
			keep_id(l->bench, r.u.submit_envelope.id);
		if (l->bench->wait)
			send_chunk(l);
	} else {
		ours_msoap_ok(body, MSOAP_SUBMIT_CHUNK, &r);
		on_stored(l, all_lanes);
	}
}

static size_t on_received(void *ctx, struct conn *c, struct span octets)
{
	struct lane *l = ctx;
	size_t all = 0, n;
	struct span body;

	while (l->conn == c && (n = ours_frame(span_after(octets, all), &body)) > 0) {
		all += n;
		on_response(l, body);
	}
	return all;
}

static const struct conn_handler handler = { .received = on_received };

static void run(struct bench *b)
{
	char *message = tool_message(b->size, "alice@a.example", b->to);
	const struct ours_envelope e = { b->to, 0, b->recipients, b->size, NULL, b->later };
	struct lane *lanes = tool_zero(b->at_once * sizeof *lanes);

	all_lanes = lanes;
	ours_msoap_login(&b->login, b->account, b->password);
	ours_envelope(&b->envelope, &e);
	ours_chunk(&b->chunk, span_of(message, b->size));
	free(message);
	for (uint64_t i = 0; i < b->at_once; i++) {
		lanes[i].bench = b;
		lane_next(&lanes[i]);
	}
	load_run(b->load, 0);
	tool_report(b->done, clock_mono_us() - b->start_us, &b->times);
	tool_report_number("handshakes", target_handshakes(b->target));
	tool_report_number("resumed", target_resumed(b->target));
	tool_report_number("early", target_early(b->target));
	tool_report_end();
	target_free(b->target);
	load_free(b->load);
	buf_free(&b->login);
	buf_free(&b->envelope);
	buf_free(&b->chunk);
	free(lanes);
}

int main(int argc, char **argv)
{
	struct bench b = { .at_once = 1, .count = 1000, .size = 4096, .recipients = 1 };
	const struct tool_option options[] = {
		{ "address", TOOL_ADDRESS, &b.address, true },
		{ "domain", TOOL_TEXT, &b.domain, true },
		{ "ca", TOOL_TEXT, &b.ca, true },
		{ "account", TOOL_TEXT, &b.account, true },
		{ "password", TOOL_TEXT, &b.password, true },
		{ "to", TOOL_TEXT, &b.to, true },
		{ "recipients", TOOL_NUMBER, &b.recipients, false },
		{ "at-once", TOOL_NUMBER, &b.at_once, false },
		{ "count", TOOL_NUMBER, &b.count, false },
		{ "seconds", TOOL_NUMBER, &b.seconds, false },
		{ "size", TOOL_SIZE, &b.size, false },
		{ "ids", TOOL_TEXT, &b.ids, false },
		{ "new", TOOL_FLAG, &b.fresh, false },
		{ "resume", TOOL_FLAG, &b.resume, false },
		{ "early", TOOL_FLAG, &b.early, false },
		{ "wait", TOOL_FLAG, &b.wait, false },
		{ "exactly-once", TOOL_FLAG, &b.exactly_once, false },
		{ "later", TOOL_FLAG, &b.later, false },
		{ NULL, 0, NULL, false },
	};
	struct target_options target = { .alpn = "im2000-msoap/1" };

	tool_options(argc, argv, options);
	if (b.at_once == 0 || b.count == 0)
		tool_fatal("nothing to do");
	target.address = b.address;
	target.domain = b.domain;
	target.ca_file = b.ca;
	target.resume = b.resume || b.early;
	target.early = b.early;
	if (b.ids != NULL && (b.ids_file = fopen(b.ids, "w")) == NULL)
		tool_fatal("%s cannot be written", b.ids);
	b.load = load_create();
	b.target = target_create(b.load, &target);
	run(&b);
	if (b.ids_file != NULL && fclose(b.ids_file) != 0)
		tool_fatal("%s cannot be written", b.ids);
	return 0;
}
