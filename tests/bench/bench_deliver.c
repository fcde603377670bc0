/*
 * From accepted to listed: submits --count messages, one after the other, and waits at the
 * recipient's agent (RNAQP retrieve with `wait`) until each is in the recipient's list. The time
 * is from the store's answer, or from the notification if that came first (then it is 0).
 * Prints one JSON object.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tests/bench/load.h"
#include "tests/bench/ours.h"
#include "tests/bench/tool.h"

struct bench {
	struct address store_address, agent_address;
	const char *store, *agent, *ca, *account, *password, *to, *token;
	uint64_t count, size;
	struct load *load;
	struct target *store_target, *agent_target;
	struct conn *originator, *reader;
	struct buf envelope, chunk;
	unsigned store_answers;    /* of the message in hand: envelope, chunk */
	bool store_ready, logged_in;
	bool accepted, listed;     /* the message in hand */
	uint64_t accepted_us, listed_us, start_us;
	uint64_t acknowledging;    /* responses to acknowledge that are to come */
	uint64_t cursor, done;
	struct tool_times times;
};

static void submit(struct bench *b)
{
	struct span envelope = buf_view(&b->envelope), chunk = buf_view(&b->chunk);

	b->accepted = b->listed = false;
	b->store_answers = 0;
	conn_write(b->originator, envelope.p, envelope.n);
	conn_write(b->originator, chunk.p, chunk.n);
}

static void wait_for_next(struct bench *b)
{
	struct rnaqp_command c = { .kind = RNAQP_RETRIEVE };
	struct buf frame;

	buf_init(&frame, 0);
	c.u.retrieve.after = b->cursor;
	c.u.retrieve.has_wait = true;
	c.u.retrieve.wait = 60;
	ours_rnaqp(&frame, &c);
	conn_write(b->reader, buf_view(&frame).p, frame.n);
	buf_free(&frame);
}

static void acknowledge(struct bench *b, uint64_t cursor)
{
	struct rnaqp_command c = { .kind = RNAQP_ACKNOWLEDGE };
	struct wire_list_writer w;
	uint8_t room[32];
	struct buf frame;

	wire_list_writer_init(&w, room, sizeof room);
	if (wire_cursor_append(&w, cursor) != 0)
		tool_fatal("a cursor cannot be encoded");
	c.u.acknowledge.cursors = wire_list_view(&w);
	buf_init(&frame, 0);
	ours_rnaqp(&frame, &c);
	conn_write(b->reader, buf_view(&frame).p, frame.n);
	buf_free(&frame);
	b->acknowledging++;
}

/* Accepted and listed, and the list is waited for again: the next one. */
static void go_on(struct bench *b)
{
	if (!b->accepted || !b->listed || b->acknowledging > 0)
		return;
	/* The first one found its way (look-up, handshake) for all. */
	if (b->done++ > 0)
		tool_times_add(&b->times,
		               b->listed_us > b->accepted_us ? b->listed_us - b->accepted_us : 0);
	else
		b->start_us = clock_mono_us();
	if (b->done == b->count + 1)
		load_stop(b->load);
	else
		submit(b);
}

static void on_store_response(struct bench *b, struct span body)
{
	struct msoap_response r;

	if (!b->store_ready) {
		ours_msoap_ok(body, MSOAP_AUTHENTICATE, &r);
		b->store_ready = true;
		if (b->logged_in)
			submit(b);
	} else if (b->store_answers++ == 0) {
		ours_msoap_ok(body, MSOAP_SUBMIT_ENVELOPE, &r);
	} else {
		ours_msoap_ok(body, MSOAP_SUBMIT_CHUNK, &r);
		b->accepted = true;
		b->accepted_us = clock_mono_us();
		go_on(b);
	}
}

static void on_agent_response(struct bench *b, struct span body)
{
	struct rnaqp_response r;
	struct rnaqp_received n;
	struct wire_list rest;

	ours_rnaqp_ok(body, &r);
	if (!b->logged_in) {
		b->logged_in = true;
		wait_for_next(b);
		if (b->store_ready)
			submit(b);
		return;
	}
	if (r.kind != RNAQP_RETRIEVE) {
		b->acknowledging--;
		go_on(b);
		return;
	}
	b->listed_us = clock_mono_us();
	b->cursor = r.u.retrieve.next;
	rest = r.u.retrieve.notifications;
	while (rnaqp_received_next(&rest, &n)) {
		b->listed = true;
		acknowledge(b, n.cursor);
	}
	wait_for_next(b);
}

static size_t on_octets(struct bench *b, struct span octets,
                        void (*response)(struct bench *b, struct span body))
{
	struct span body;
	size_t all = 0, n;

	while ((n = ours_frame(span_after(octets, all), &body)) > 0) {
		all += n;
		response(b, body);
	}
	return all;
}

static size_t on_store_octets(void *ctx, struct conn *c, struct span octets)
{
	(void)c;
	return on_octets(ctx, octets, on_store_response);
}

static size_t on_agent_octets(void *ctx, struct conn *c, struct span octets)
{
	(void)c;
	return on_octets(ctx, octets, on_agent_response);
}

static void run(struct bench *b)
{
	static const struct conn_handler store_handler = { .received = on_store_octets };
	static const struct conn_handler agent_handler = { .received = on_agent_octets };
	char *message = tool_message(b->size, "alice@a.example", b->to);
	const struct ours_envelope e = { b->to, 0, 1, b->size, NULL, false };
	struct buf login;

	ours_envelope(&b->envelope, &e);
	ours_chunk(&b->chunk, span_of(message, b->size));
	free(message);
	b->originator = conn_open(b->store_target, &store_handler, b);
	b->reader = conn_open(b->agent_target, &agent_handler, b);
	buf_init(&login, 0);
	ours_msoap_login(&login, b->account, b->password);
	conn_write(b->originator, buf_view(&login).p, login.n);
	buf_consume(&login, login.n);
	ours_rnaqp_login(&login, b->to, b->token);
	conn_write(b->reader, buf_view(&login).p, login.n);
	buf_free(&login);
	load_run(b->load, 0);
	tool_report(b->done - 1, clock_mono_us() - b->start_us, &b->times);
	tool_report_end();
	target_free(b->store_target);
	target_free(b->agent_target);
	load_free(b->load);
	buf_free(&b->envelope);
	buf_free(&b->chunk);
}

int main(int argc, char **argv)
{
	struct bench b = { .count = 100, .size = 4096 };
	const struct tool_option options[] = {
		{ "store-address", TOOL_ADDRESS, &b.store_address, true },
		{ "store", TOOL_TEXT, &b.store, true },
		{ "agent-address", TOOL_ADDRESS, &b.agent_address, true },
		{ "agent", TOOL_TEXT, &b.agent, true },
		{ "ca", TOOL_TEXT, &b.ca, true },
		{ "account", TOOL_TEXT, &b.account, true },
		{ "password", TOOL_TEXT, &b.password, true },
		{ "to", TOOL_TEXT, &b.to, true },
		{ "token", TOOL_TEXT, &b.token, true },
		{ "count", TOOL_NUMBER, &b.count, false },
		{ "size", TOOL_SIZE, &b.size, false },
		{ NULL, 0, NULL, false },
	};
	struct target_options store = { .alpn = "im2000-msoap/1" };
	struct target_options agent = { .alpn = "im2000-rnaqp/1" };

	tool_options(argc, argv, options);
	store.address = b.store_address;
	store.domain = b.store;
	agent.address = b.agent_address;
	agent.domain = b.agent;
	store.ca_file = agent.ca_file = b.ca;
	b.load = load_create();
	b.store_target = target_create(b.load, &store);
	b.agent_target = target_create(b.load, &agent);
	run(&b);
	return 0;
}
