/*
 * Load on a notification agent: RNASP `notify` commands of --batch notifications each, over
 * --at-once connections with a command under way on each. Prints one JSON object; an operation
 * is a notification.
 *
 * The notifications go to --to with the numbers 0 to --mailboxes less one in turn; each is of a
 * message of its own. --many: `notifyMany` instead, one message to --batch mailboxes. --hostile:
 * goes on at full speed whatever the agent answers.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/random.h"
#include "tests/bench/load.h"
#include "tests/bench/ours.h"
#include "wire/enums.h"
#include "tests/bench/tool.h"

struct bench {
	struct address address;
	const char *domain, *ca, *cert, *key, *sender, *to;
	uint64_t at_once, count, mailboxes, batch, seconds;
	bool many, hostile;
	struct load *load;
	struct target *target;
	struct mailbox *names;
	uint8_t *room;
	size_t room_octets;
	uint64_t next, begun, done; /* notifications */
	uint64_t warm, start_us, end_us;
	struct tool_times times; /* of commands */
};

struct lane {
	struct bench *bench;
	struct lane *all;
	struct conn *conn;
	bool warm;
	uint64_t started_us;
};

static void add_notify(struct bench *b, struct buf *out)
{
	struct rnasp_command c = { .kind = RNASP_NOTIFY };
	struct wire_list_writer w;

	wire_list_writer_init(&w, b->room, b->room_octets);
	for (uint64_t i = 0; i < b->batch; i++) {
		struct wire_notification n;
		uint8_t id[WIRE_ID_SIZE];

		random_octets(id, sizeof id);
		ours_notification(&n, b->sender, &b->names[b->next++ % b->mailboxes], id);
		if (wire_notification_append(&w, &n) != 0)
			tool_fatal("a notification cannot be encoded");
	}
	c.u.notify.notifications = wire_list_view(&w);
	ours_rnasp(out, &c);
}

static void add_notify_many(struct bench *b, struct buf *out)
{
	struct rnasp_command c = { .kind = RNASP_NOTIFY_MANY };
	struct wire_list_writer w;
	struct mailbox *first = &b->names[b->next % b->mailboxes];

	wire_list_writer_init(&w, b->room, b->room_octets);
	for (uint64_t i = 0; i < b->batch; i++) {
		struct rnasp_addressee a;
		uint8_t labels[WIRE_LABELS_MAX];

		random_octets(a.id, sizeof a.id);
		wire_mailbox_from_name(&b->names[b->next++ % b->mailboxes], labels, &a.recipient);
		if (rnasp_addressee_append(&w, &a) != 0)
			tool_fatal("an addressee cannot be encoded");
		if (i == 0)
			ours_notification(&c.u.notify_many.common, b->sender, first, a.id);
	}
	c.u.notify_many.addressees = wire_list_view(&w);
	ours_rnasp(out, &c);
}

static void lane_next(struct lane *l)
{
	struct bench *b = l->bench;
	struct buf frame;

	buf_init(&frame, 0);
	if (b->many)
		add_notify_many(b, &frame);
	else
		add_notify(b, &frame);
	if (l->warm)
		b->begun += b->batch;
	l->started_us = clock_mono_us();
	conn_write(l->conn, buf_view(&frame).p, frame.n);
	buf_free(&frame);
}

static bool is_over(struct bench *b)
{
	return b->begun >= b->count || (b->seconds > 0 && clock_mono_us() >= b->end_us);
}

static void on_response(struct lane *l, struct span body)
{
	struct bench *b = l->bench;
	struct rnasp_response r;
	struct wire_list rest;
	enum wire_notify_result result;

	if (!b->hostile)
		ours_rnasp_ok(body, &r);
	else if (rnasp_response_decode(body, body.n, &r) != 0)
		tool_fatal("an answer cannot be read");
	rest = b->many ? r.u.notify_many.results : r.u.notify.results;
	while (!b->hostile && rnasp_result_next(&rest, &result))
		if (result != WIRE_NOTIFY_ACCEPTED)
			tool_fatal("a notification was not accepted: %s",
			           wire_notify_result_name(result));
	if (!l->warm) {
		l->warm = true;
		if (++b->warm < b->at_once)
			return;
		b->start_us = clock_mono_us();
		b->end_us = b->start_us + b->seconds * CLOCK_SECOND_US;
		for (uint64_t i = 0; i < b->at_once && !is_over(b); i++)
			lane_next(&l->all[i]);
		return;
	}
	tool_times_add(&b->times, clock_mono_us() - l->started_us);
	b->done += b->batch;
	if (!is_over(b))
		lane_next(l);
	else if (b->done == b->begun)
		load_stop(b->load);
}

static size_t on_received(void *ctx, struct conn *c, struct span octets)
{
	struct lane *l = ctx;
	struct span body;
	size_t all = 0, n;

	(void)c;
	while ((n = ours_frame(span_after(octets, all), &body)) > 0) {
		all += n;
		on_response(l, body);
	}
	return all;
}

static const struct conn_handler handler = { .received = on_received };

static void run(struct bench *b)
{
	struct lane *lanes = tool_zero(b->at_once * sizeof *lanes);

	b->names = tool_zero(b->mailboxes * sizeof *b->names);
	for (uint64_t i = 0; i < b->mailboxes; i++)
		ours_mailbox(b->to, i, &b->names[i]);
	b->room_octets = 2048 * b->batch;
	b->room = tool_zero(b->room_octets);
	for (uint64_t i = 0; i < b->at_once; i++) {
		lanes[i] = (struct lane) { .bench = b, .all = lanes };
		lanes[i].conn = conn_open(b->target, &handler, &lanes[i]);
		lane_next(&lanes[i]);
	}
	load_run(b->load, 0);
	tool_report(b->done, clock_mono_us() - b->start_us, &b->times);
	tool_report_number("all", b->next);
	tool_report_end();
	target_free(b->target);
	load_free(b->load);
	free(b->names);
	free(b->room);
	free(lanes);
}

int main(int argc, char **argv)
{
	struct bench b = { .at_once = 1, .count = 1000, .mailboxes = 1, .batch = 1 };
	const struct tool_option options[] = {
		{ "address", TOOL_ADDRESS, &b.address, true },
		{ "domain", TOOL_TEXT, &b.domain, true },
		{ "ca", TOOL_TEXT, &b.ca, true },
		{ "cert", TOOL_TEXT, &b.cert, true },
		{ "key", TOOL_TEXT, &b.key, true },
		{ "sender", TOOL_TEXT, &b.sender, true },
		{ "to", TOOL_TEXT, &b.to, true },
		{ "mailboxes", TOOL_NUMBER, &b.mailboxes, false },
		{ "batch", TOOL_NUMBER, &b.batch, false },
		{ "at-once", TOOL_NUMBER, &b.at_once, false },
		{ "count", TOOL_NUMBER, &b.count, false },
		{ "seconds", TOOL_NUMBER, &b.seconds, false },
		{ "many", TOOL_FLAG, &b.many, false },
		{ "hostile", TOOL_FLAG, &b.hostile, false },
		{ NULL, 0, NULL, false },
	};
	struct target_options target = { .alpn = "im2000-rnasp/1" };

	tool_options(argc, argv, options);
	if (b.at_once == 0 || b.count == 0 || b.mailboxes == 0 || b.batch == 0)
		tool_fatal("nothing to do");
	target.address = b.address;
	target.domain = b.domain;
	target.ca_file = b.ca;
	target.certificate = b.cert;
	target.key = b.key;
	b.load = load_create();
	b.target = target_create(b.load, &target);
	run(&b);
	return 0;
}
