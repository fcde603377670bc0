/*
 * Many MUAs that wait: --count connections to a notification agent, each logged in to a mailbox
 * of its own and in a `retrieve` with `wait`. When all are, prints a line and waits for one on
 * standard input (who started this looks at the daemon's memory meanwhile). Then notifies
 * --probes of the mailboxes, one after the other, and prints one JSON object: how long each took
 * from the sending of `notify` to the MUA. At last one message is for all (`notifyMany`, --batch in
 * a command): how long it took until each MUA had been told.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/random.h"
#include "tests/bench/load.h"
#include "tests/bench/ours.h"
#include "wire/enums.h"
#include "tests/bench/tool.h"

#define CONNECTING_MAX 32 /* that are not waiting yet, at once */

struct bench {
	struct address rnaqp, rnasp;
	const char *domain, *ca, *cert, *key, *sender, *to, *token;
	uint64_t count, probes, batch;
	struct load *load;
	struct target *readers, *store;
	struct mua *muas;
	struct conn *submitter;
	uint64_t connected, waiting, probed;
	struct mua *probe; /* who was notified; NULL: all */
	uint64_t posted, told; /* of the message for all */
	uint64_t sent_us, start_us;
	struct tool_times times;
};

struct mua {
	struct bench *bench;
	struct conn *conn;
	struct mailbox name;
	uint64_t cursor;
	bool logged_in;
};

static void connect_more(struct bench *b);

static void wait_for_next(struct mua *m)
{
	struct rnaqp_command c = { .kind = RNAQP_RETRIEVE };
	struct buf frame;

	buf_init(&frame, 0);
	c.u.retrieve.after = m->cursor;
	c.u.retrieve.has_wait = true;
	c.u.retrieve.wait = 1800;
	ours_rnaqp(&frame, &c);
	conn_write(m->conn, buf_view(&frame).p, frame.n);
	buf_free(&frame);
}

/* ---- notifying ---------------------------------------------------------------------- */

static void probe(struct bench *b)
{
	struct rnasp_command c = { .kind = RNASP_NOTIFY };
	uint8_t room[2048], id[WIRE_ID_SIZE];
	struct wire_notification n;
	struct wire_list_writer w;
	struct buf frame;

	b->probe = &b->muas[random_below(b->count)];
	random_octets(id, sizeof id);
	ours_notification(&n, b->sender, &b->probe->name, id);
	wire_list_writer_init(&w, room, sizeof room);
	if (wire_notification_append(&w, &n) != 0)
		tool_fatal("a notification cannot be encoded");
	c.u.notify.notifications = wire_list_view(&w);
	buf_init(&frame, 0);
	ours_rnasp(&frame, &c);
	b->sent_us = clock_mono_us();
	conn_write(b->submitter, buf_view(&frame).p, frame.n);
	buf_free(&frame);
}

static size_t on_accepted(void *ctx, struct conn *c, struct span octets)
{
	struct span body;
	size_t n = ours_frame(octets, &body);
	struct rnasp_response r;
	struct wire_list rest;
	enum wire_notify_result result;

	(void)ctx;
	(void)c;
	if (n == 0)
		return 0;
	ours_rnasp_ok(body, &r);
	rest = r.u.notify.results;
	if (!rnasp_result_next(&rest, &result) || result != WIRE_NOTIFY_ACCEPTED)
		tool_fatal("a notification was not accepted");
	return n;
}

static void on_notified(struct mua *m)
{
	struct bench *b = m->bench;

	if (b->posted > 0) {
		if (++b->told == b->count)
			load_stop(b->load);
		return;
	}
	if (b->probe == NULL)
		tool_fatal("the mailbox %s was not empty", m->name.text);
	if (m != b->probe)
		tool_fatal("%s heard of what was for %s", m->name.text, b->probe->name.text);
	/* The first one had to log in. */
	if (b->probed++ > 0)
		tool_times_add(&b->times, clock_mono_us() - b->sent_us);
	else
		b->start_us = clock_mono_us();
	if (b->probed == b->probes + 1)
		load_stop(b->load);
	else
		probe(b);
}

/* One command of the message for all: from mailbox POSTED on. */
static void post(struct bench *b)
{
	struct rnasp_command c = { .kind = RNASP_NOTIFY_MANY };
	static uint8_t room[64000];
	struct wire_list_writer w;
	struct buf frame;

	wire_list_writer_init(&w, room, sizeof room);
	for (uint64_t i = 0; i < b->batch && b->posted < b->count; i++) {
		struct mua *m = &b->muas[b->posted++];
		uint8_t labels[WIRE_LABELS_MAX];
		struct rnasp_addressee a;

		random_octets(a.id, sizeof a.id);
		wire_mailbox_from_name(&m->name, labels, &a.recipient);
		if (rnasp_addressee_append(&w, &a) != 0)
			tool_fatal("a command takes fewer mailboxes");
		if (i == 0)
			ours_notification(&c.u.notify_many.common, b->sender, &m->name, a.id);
	}
	c.u.notify_many.addressees = wire_list_view(&w);
	buf_init(&frame, 0);
	ours_rnasp(&frame, &c);
	conn_write(b->submitter, buf_view(&frame).p, frame.n);
	buf_free(&frame);
}

/* ---- waiting ------------------------------------------------------------------------ */

static void on_response(struct mua *m, struct span body)
{
	struct bench *b = m->bench;
	struct rnaqp_response r;

	ours_rnaqp_ok(body, &r);
	if (!m->logged_in) {
		m->logged_in = true;
		b->waiting++;
		connect_more(b);
		if (b->waiting == b->count)
			load_stop(b->load);
		return;
	}
	if (r.u.retrieve.notifications.count == 0)
		tool_fatal("a wait of half an hour ended before");
	m->cursor = r.u.retrieve.next;
	wait_for_next(m);
	on_notified(m);
}

static size_t on_received(void *ctx, struct conn *c, struct span octets)
{
	struct span body;
	size_t all = 0, n;

	(void)c;
	while ((n = ours_frame(span_after(octets, all), &body)) > 0) {
		all += n;
		on_response(ctx, body);
	}
	return all;
}

static void connect_more(struct bench *b)
{
	static const struct conn_handler handler = { .received = on_received };

	while (b->connected < b->count && b->connected < b->waiting + CONNECTING_MAX) {
		struct mua *m = &b->muas[b->connected];
		struct buf login;

		m->bench = b;
		ours_mailbox(b->to, b->connected, &m->name);
		m->conn = conn_open(b->readers, &handler, m);
		buf_init(&login, 0);
		ours_rnaqp_login(&login, m->name.text, b->token);
		conn_write(m->conn, buf_view(&login).p, login.n);
		buf_free(&login);
		wait_for_next(m);
		b->connected++;
	}
}

static void allow_files(uint64_t n)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		tool_fatal("getrlimit");
	limit.rlim_cur = limit.rlim_max;
	if (limit.rlim_max < n + 64 || setrlimit(RLIMIT_NOFILE, &limit) != 0)
		tool_fatal("%llu connections at once are not allowed here (ulimit -n)",
		           (unsigned long long)n);
}

static void run(struct bench *b)
{
	static const struct conn_handler handler = { .received = on_accepted };
	char line[8];
	uint64_t began_us = clock_mono_us();

	allow_files(b->count);
	b->muas = tool_zero(b->count * sizeof *b->muas);
	connect_more(b);
	load_run(b->load, 0);
	/* Their `retrieve` is under way: that it has come takes no answer. */
	load_run(b->load, 300000);
	printf("%llu wait after %llu ms\n", (unsigned long long)b->waiting,
	       (unsigned long long)(clock_mono_us() - began_us) / 1000);
	fflush(stdout);
	if (fgets(line, sizeof line, stdin) == NULL)
		tool_fatal("nobody says go on");
	b->submitter = conn_open(b->store, &handler, b);
	probe(b);
	load_run(b->load, 0);
	tool_report(b->probes, clock_mono_us() - b->start_us, &b->times);
	b->sent_us = clock_mono_us();
	while (b->posted < b->count)
		post(b);
	load_run(b->load, 0);
	tool_report_number("all_us", clock_mono_us() - b->sent_us);
	tool_report_end();
	target_free(b->readers);
	target_free(b->store);
	load_free(b->load);
	free(b->muas);
}

int main(int argc, char **argv)
{
	struct bench b = { .count = 1000, .probes = 500, .batch = 1000 };
	const struct tool_option options[] = {
		{ "rnaqp", TOOL_ADDRESS, &b.rnaqp, true },
		{ "rnasp", TOOL_ADDRESS, &b.rnasp, true },
		{ "domain", TOOL_TEXT, &b.domain, true },
		{ "ca", TOOL_TEXT, &b.ca, true },
		{ "cert", TOOL_TEXT, &b.cert, true },
		{ "key", TOOL_TEXT, &b.key, true },
		{ "sender", TOOL_TEXT, &b.sender, true },
		{ "to", TOOL_TEXT, &b.to, true },
		{ "token", TOOL_TEXT, &b.token, true },
		{ "count", TOOL_NUMBER, &b.count, false },
		{ "probes", TOOL_NUMBER, &b.probes, false },
		{ "batch", TOOL_NUMBER, &b.batch, false },
		{ NULL, 0, NULL, false },
	};
	struct target_options readers = { .alpn = "im2000-rnaqp/1" };
	struct target_options store = { .alpn = "im2000-rnasp/1" };

	tool_options(argc, argv, options);
	readers.address = b.rnaqp;
	store.address = b.rnasp;
	readers.domain = store.domain = b.domain;
	readers.ca_file = store.ca_file = b.ca;
	store.certificate = b.cert;
	store.key = b.key;
	b.load = load_create();
	b.readers = target_create(b.load, &readers);
	b.store = target_create(b.load, &store);
	run(&b);
	return 0;
}
