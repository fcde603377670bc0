/*
 * Fills a message store that does not run: --count messages of --size octets with a recipient
 * each, as submissions would have left them, a thousand to a transaction and not flushed one by
 * one. They are due to be notified in a month. --ids FILE: the originator's ids of --sample of
 * them, evenly chosen, in hex. It ends early after --seconds; what it reports is how many it wrote.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "store/deposit.h"
#include "store/ids.h"
#include "tests/bench/ours.h"
#include "tests/bench/tool.h"

#define BATCH 1000

struct bench {
	const char *data, *account, *to, *ids_path;
	uint64_t count, size, sample, seconds, done;
	struct db *db;
	struct ids *ids;
	FILE *ids_file;
	uint32_t account_number;
	char *message;
	struct scan_result result;
};

static int read_message(void *ctx, uint64_t at, uint8_t *out, size_t n)
{
	const struct bench *b = ctx;

	memcpy(out, b->message + at, n);
	return 0;
}

static void scan_message(struct bench *b)
{
	struct scan *s = tool_zero(sizeof *s);

	b->message = tool_message(b->size, "alice@a.example", b->to);
	if (scan_begin(s) != 0 || scan_feed(s, span_of(b->message, b->size)) != 0 ||
	    scan_end(s, read_message, b, &b->result) != 0)
		tool_fatal("the message cannot be scanned");
	free(s);
}

static void need(int err, const char *what)
{
	if (err != 0)
		tool_fatal("%s: %s", what, err_phrase(err));
}

static void find_account(struct bench *b)
{
	struct kv_txn *t = db_read_begin(b->db);
	struct db_account a;

	if (t == NULL)
		tool_fatal("no transaction");
	need(db_account_find(b->db, t, span_str(b->account), &a), b->account);
	b->account_number = a.number;
	db_read_end(t);
}

static void keep_id(struct bench *b, uint64_t number)
{
	const struct ids_name name = {
		.message = number, .kind = IDS_ORIGINATOR, .key = ids_current(b->ids)
	};
	char hex[2 * WIRE_ID_SIZE + 1];
	uint8_t id[WIRE_ID_SIZE];

	need(ids_make(b->ids, &name, id), "an id");
	text_hex(id, sizeof id, hex);
	fprintf(b->ids_file, "%s\n", hex);
}

/* Message I of COUNT. ERR_AGAIN: its number wants to be reserved first. */
static int add(struct bench *b, struct kv_txn *t, uint64_t i)
{
	struct mailbox to;
	uint32_t at = 0;
	struct addressees addressees = { .texts = to.text, .at = &at, .n = 1 };
	uint64_t number, now_us = clock_now_us();
	struct deposit_message d = { .to = &addressees, .result = &b->result };
	int err = db_number_take(b->db, &number);

	if (err != 0)
		return err;
	ours_mailbox(b->to, i, &to);
	d.release_us = now_us + 30 * CLOCK_DAY_US;
	d.part = (struct deposit) {
		.db = b->db,
		.number = number,
		.account = b->account_number,
		.key = ids_current(b->ids),
		.sender = span_str("alice@a.example"),
		.expected_octets = b->size,
		.now_us = now_us,
		.expires_us = d.release_us + 90 * CLOCK_DAY_US,
		.octets = span_of(b->message, b->size),
	};
	if (b->ids_file != NULL && i % (b->count / b->sample + 1) == 0)
		keep_id(b, number);
	return deposit_message(&d, t);
}

static void fill(struct bench *b, uint64_t start_us)
{
	const uint64_t limit_us = b->seconds * CLOCK_SECOND_US;

	while (b->done < b->count && (limit_us == 0 || clock_mono_us() - start_us < limit_us)) {
		struct kv_txn *t;
		bool reserved = db_numbers_low(b->db);
		int err;

		need(kv_write_begin(db_kv(b->db), &t), "a transaction");
		if (reserved)
			need(db_numbers_reserve(b->db, t), "message numbers");
		for (int i = 0; i < BATCH && b->done < b->count; i++) {
			err = add(b, t, b->done);
			if (err == ERR_AGAIN)
				break;
			need(err, "a message");
			b->done++;
		}
		need(kv_write_commit(t), "a commit");
		if (reserved)
			db_numbers_committed(b->db);
	}
}

int main(int argc, char **argv)
{
	struct bench b = { .count = 10000, .size = 4096, .sample = 1000, .to = "u#@d%.example" };
	const struct tool_option options[] = {
		{ "data", TOOL_TEXT, &b.data, true },
		{ "account", TOOL_TEXT, &b.account, true },
		{ "to", TOOL_TEXT, &b.to, false },
		{ "ids", TOOL_TEXT, &b.ids_path, false },
		{ "sample", TOOL_NUMBER, &b.sample, false },
		{ "count", TOOL_NUMBER, &b.count, false },
		{ "size", TOOL_SIZE, &b.size, false },
		{ "seconds", TOOL_NUMBER, &b.seconds, false },
		{ NULL, 0, NULL, false },
	};
	const struct db_options db = { .no_sync = true };
	uint64_t start_us;
	struct err_text e;

	tool_options(argc, argv, options);
	if (b.sample == 0)
		tool_fatal("--sample is at least 1");
	if (ids_load(b.data, &b.ids, &e) != 0 || db_open(b.data, &db, &b.db, &e) != 0)
		tool_fatal("%s", e.text);
	if (b.ids_path != NULL && (b.ids_file = fopen(b.ids_path, "w")) == NULL)
		tool_fatal("%s cannot be written", b.ids_path);
	find_account(&b);
	scan_message(&b);
	start_us = clock_mono_us();
	fill(&b, start_us);
	tool_report(b.done, clock_mono_us() - start_us, NULL);
	tool_report_end();
	if (b.ids_file != NULL && fclose(b.ids_file) != 0)
		tool_fatal("%s cannot be written", b.ids_path);
	scan_result_free(&b.result);
	free(b.message);
	db_close(b.db);
	ids_free(b.ids);
	return 0;
}
