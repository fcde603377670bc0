/*
 * Pulls from a message store by MSRAP: whole messages, one request each. Prints one JSON object.
 *
 * --ids FILE: the messages, as bench_submit --ids writes them, taken in turn.
 * --data DIR: the store's data directory; then the pull is the first recipient's, whose reading
 * the store notes. Without it, the originator's.
 * --depth N: requests that wait at once on the connection (1: each waits for the one before).
 * --new: a connection for each. --resume: with tickets. --early: and the request as early data.
 * Each connection pulls once before the clock starts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "store/ids.h"
#include "tests/bench/load.h"
#include "tests/bench/ours.h"
#include "tests/bench/tool.h"
#include "wire/frame.h"

struct bench {
	struct address address;
	const char *domain, *ca, *ids, *data;
	uint64_t count, depth, size;
	bool fresh, resume, early;
	struct load *load;
	struct target *target;
	struct conn *conn;
	uint8_t (*messages)[WIRE_ID_SIZE];
	size_t n_messages;
	uint64_t begun, done; /* pulls; the first is the warm one */
	uint64_t start_us;
	uint64_t left;        /* octets of the response in hand that are to come; 0: between two */
	uint64_t octets;      /* of all responses */
	uint64_t *began_us;   /* of those that wait: a ring of DEPTH */
	struct tool_times times;
};

/* ---- the messages ------------------------------------------------------------------- */

/* The id of the first recipient of the message that the originator's ID opens. */
static void to_recipient(const struct ids *ids, uint8_t id[WIRE_ID_SIZE])
{
	struct ids_name name;

	if (ids_open(ids, id, &name) != 0)
		tool_fatal("an id that the store's keys do not open");
	name.kind = IDS_RECIPIENT;
	name.index = 0;
	if (ids_make(ids, &name, id) != 0)
		tool_fatal("no id can be made");
}

static void read_ids(struct bench *b)
{
	FILE *file = fopen(b->ids, "r");
	struct ids *ids = NULL;
	struct err_text e;
	char line[64];
	size_t cap = 0;

	if (file == NULL)
		tool_fatal("%s cannot be read", b->ids);
	if (b->data != NULL && ids_load(b->data, &ids, &e) != 0)
		tool_fatal("%s", e.text);
	while (fgets(line, sizeof line, file) != NULL) {
		if (b->n_messages == cap) {
			cap = cap == 0 ? 1024 : 2 * cap;
			b->messages = realloc(b->messages, cap * sizeof *b->messages);
			if (b->messages == NULL)
				tool_fatal("memory is out");
		}
		if (text_parse_hex(span_of(line, strcspn(line, "\n")), b->messages[b->n_messages],
		                   WIRE_ID_SIZE) != 0)
			tool_fatal("%s: no id: %s", b->ids, line);
		if (ids != NULL)
			to_recipient(ids, b->messages[b->n_messages]);
		b->n_messages++;
	}
	fclose(file);
	ids_free(ids);
	if (b->n_messages == 0)
		tool_fatal("%s holds no id", b->ids);
}

/* ---- pulling ------------------------------------------------------------------------ */

static const struct conn_handler handler;

static void pull(struct bench *b)
{
	struct msrap_command c = { .kind = MSRAP_RETRIEVE };
	struct buf frame;

	if (b->conn == NULL)
		b->conn = conn_open(b->target, &handler, b);
	memcpy(c.u.retrieve.id, b->messages[b->begun % b->n_messages], WIRE_ID_SIZE);
	c.u.retrieve.type = WIRE_RETRIEVAL_ALL;
	buf_init(&frame, 0);
	ours_msrap(&frame, &c);
	b->began_us[b->begun++ % b->depth] = clock_mono_us();
	conn_write(b->conn, buf_view(&frame).p, frame.n);
	buf_free(&frame);
}

static void on_pulled(struct bench *b)
{
	uint64_t now_us = clock_mono_us();

	if (b->done > 0)
		tool_times_add(&b->times, now_us - b->began_us[b->done % b->depth]);
	if (b->fresh) {
		conn_close(b->conn);
		b->conn = NULL;
	}
	b->done++;
	if (b->done == 1) {
		b->start_us = clock_mono_us();
		b->octets = 0;
	}
	if (b->done == b->count + 1) {
		load_stop(b->load);
		return;
	}
	while (b->begun < b->count + 1 && b->begun < b->done + b->depth)
		pull(b);
}

/* The head of a response: checks it, and says in LEFT how long the response is. */
static size_t on_head(struct bench *b, struct span octets)
{
	struct msrap_response r;
	uint64_t total;
	int err;

	if (octets.n < FRAME_PREFIX)
		return 0;
	total = frame_length(octets.p);
	octets = span_after(octets, FRAME_PREFIX);
	if (octets.n > total)
		octets.n = (size_t)total; /* behind it stands the next */
	err = msrap_response_decode(octets, total, &r);
	if (err == ERR_AGAIN)
		return 0;
	if (err != 0 || r.status != WIRE_STATUS_OK || r.kind != MSRAP_RETRIEVE)
		tool_fatal("a pull failed: %s", err != 0 ? err_phrase(err) :
		                                           wire_status_name(r.status));
	if (b->size > 0 && r.u.retrieve.data.size != b->size)
		tool_fatal("a pull gave %llu octets", (unsigned long long)r.u.retrieve.data.size);
	b->left = total;
	return FRAME_PREFIX;
}

static size_t on_received(void *ctx, struct conn *c, struct span octets)
{
	struct bench *b = ctx;
	size_t all = 0;

	while (b->conn == c && all < octets.n) {
		struct span rest = span_after(octets, all);
		size_t n;

		if (b->left == 0) {
			n = on_head(b, rest.n > FRAME_PREFIX + 256 ? span_of(rest.p, FRAME_PREFIX + 256) :
			                                             rest);
			if (n == 0)
				break;
			all += n;
			continue;
		}
		n = rest.n < b->left ? rest.n : (size_t)b->left;
		b->left -= n;
		b->octets += n;
		all += n;
		if (b->left == 0)
			on_pulled(b);
	}
	return all;
}

static const struct conn_handler handler = { .received = on_received };

int main(int argc, char **argv)
{
	struct bench b = { .count = 1000, .depth = 1 };
	const struct tool_option options[] = {
		{ "address", TOOL_ADDRESS, &b.address, true },
		{ "domain", TOOL_TEXT, &b.domain, true },
		{ "ca", TOOL_TEXT, &b.ca, true },
		{ "ids", TOOL_TEXT, &b.ids, true },
		{ "data", TOOL_TEXT, &b.data, false },
		{ "count", TOOL_NUMBER, &b.count, false },
		{ "depth", TOOL_NUMBER, &b.depth, false },
		{ "size", TOOL_SIZE, &b.size, false },
		{ "new", TOOL_FLAG, &b.fresh, false },
		{ "resume", TOOL_FLAG, &b.resume, false },
		{ "early", TOOL_FLAG, &b.early, false },
		{ NULL, 0, NULL, false },
	};
	struct target_options target = { .alpn = "im2000-msrap/1" };

	tool_options(argc, argv, options);
	if (b.count == 0 || b.depth == 0 || (b.fresh && b.depth > 1))
		tool_fatal("--count and --depth are at least 1, --depth with --new 1");
	read_ids(&b);
	target.address = b.address;
	target.domain = b.domain;
	target.ca_file = b.ca;
	target.resume = b.resume || b.early;
	target.early = b.early;
	b.began_us = tool_zero(b.depth * sizeof *b.began_us);
	b.load = load_create();
	b.target = target_create(b.load, &target);
	pull(&b);
	load_run(b.load, 0);
	tool_report(b.done - 1, clock_mono_us() - b.start_us, &b.times);
	tool_report_number("octets", b.octets);
	tool_report_number("resumed", target_resumed(b.target));
	tool_report_number("early", target_early(b.target));
	tool_report_end();
	target_free(b.target);
	load_free(b.load);
	free(b.began_us);
	free(b.messages);
	return 0;
}
