/*
 * Adds many mailboxes to a notification agent that does not run, in one transaction: --to with
 * the numbers 0 to --count less one. All have the same token, which is printed. Those of one
 * domain ('%' in --to) come one after the other, as a domain's do that moves to an agent.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "notify/db.h"
#include "tests/bench/ours.h"
#include "tests/bench/tool.h"

struct bench {
	const char *data, *to;
	uint64_t count;
	struct db *db;
};

/* The number of the mailbox that is added as the I-th. */
static uint64_t number_of(const struct bench *b, uint64_t i)
{
	uint64_t each = b->count / OURS_DOMAINS;

	if (strchr(b->to, '%') == NULL || i >= each * OURS_DOMAINS)
		return i;
	return i % each * OURS_DOMAINS + i / each;
}

static void add_all(struct bench *b, struct kv_txn *t)
{
	struct db_mailbox m = { .created_us = clock_now_us() };
	char token[PASSWORD_TOKEN_TEXT + 1];

	password_token_make(token, &m.hash);
	for (uint64_t i = 0; i < b->count; i++) {
		int err;

		m.number = 0;
		ours_mailbox(b->to, number_of(b, i), &m.name);
		err = db_mailbox_put(b->db, t, &m);
		if (err != 0)
			tool_fatal("%s: %s", m.name.text, err_phrase(err));
	}
	puts(token);
}

int main(int argc, char **argv)
{
	struct bench b = { .count = 1 };
	const struct tool_option options[] = {
		{ "data", TOOL_TEXT, &b.data, true },
		{ "to", TOOL_TEXT, &b.to, true },
		{ "count", TOOL_NUMBER, &b.count, false },
		{ NULL, 0, NULL, false },
	};
	const struct db_options db = { 0 };
	struct kv_txn *t;
	struct err_text e;

	tool_options(argc, argv, options);
	if (db_open(b.data, &db, &b.db, &e) != 0)
		tool_fatal("%s", e.text);
	if (kv_write_begin(db_kv(b.db), &t) != 0)
		tool_fatal("no transaction");
	add_all(&b, t);
	if (kv_write_commit(t) != 0)
		tool_fatal("the mailboxes cannot be written");
	db_close(b.db);
	return 0;
}
