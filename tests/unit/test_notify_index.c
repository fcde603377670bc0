/*
 * The index of notices against a plain list: many mailboxes and notices, so that runs are made
 * and merged over several levels; what was acknowledged at random is gone, what stays is found
 * in order of cursors, by id, and counted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "notify/db_index.h"
#include "notify/db_internal.h"
#include "tempdir.h"

#define MAILBOXES 300
#define LIST_MAX 4096

struct fixture {
	char *dir;
	struct db *db;
	uint64_t random;
	uint64_t next;        /* cursor */
	uint32_t *of;         /* whose the notice of a cursor is; 0: gone */
	size_t cap;
};

static const struct db_options options = { .create = true, .no_sync = true,
	                                   .map_size = 1ULL << 30 };

/* Long ago, so that each cursor is the one after the last. */
static uint64_t long_ago(void)
{
	return 1;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	clock_set_source(long_ago, NULL);
	f->dir = tempdir_make();
	f->random = 1;
	f->next = 1;
	f->cap = 400000;
	f->of = calloc(f->cap, sizeof *f->of);
	assert_int_equal(db_open(f->dir, &options, &f->db, NULL), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	clock_set_source(NULL, NULL);
	db_close(f->db);
	tempdir_remove(f->dir);
	free(f->of);
	free(f);
	return 0;
}

/* The same each time. */
static uint32_t dice(struct fixture *f, uint32_t below)
{
	f->random = f->random * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(f->random >> 33) % below;
}

static void id_of(uint64_t cursor, uint8_t id[WIRE_ID_SIZE])
{
	memset(id, 0, WIRE_ID_SIZE);
	kv_put_u64(id, cursor * 0x9e3779b97f4a7c15u);
}

static void add_mailboxes(struct fixture *f)
{
	struct kv_txn *t;
	char name[32];

	assert_int_equal(kv_write_begin(db_kv(f->db), &t), 0);
	for (unsigned i = 1; i <= MAILBOXES; i++) {
		struct db_mailbox m = { 0 };

		snprintf(name, sizeof name, "u%u@b.example", i);
		assert_int_equal(name_parse_mailbox(span_str(name), &m.name), 0);
		assert_int_equal(db_mailbox_put(f->db, t, &m), 0);
		assert_int_equal(m.number, i);
	}
	assert_int_equal(kv_write_commit(t), 0);
}

/* One announcement to N mailboxes, drawn by chance. */
static void post(struct fixture *f, struct kv_txn *t, size_t n)
{
	/* a Notification of nothing but what it must have does not matter here */
	struct db_announcement a = {
		.der = span_str("0"),
		.store = span_str("a.example"),
		.origin = span_str(dice(f, 2) ? "a.example" : "c.example"),
	};
	struct db_posting p = { .received_us = f->next, .expires_us = 1000000000 + f->next };
	uint8_t id[WIRE_ID_SIZE];

	db_posting_begin(&p, &a);
	for (size_t i = 0; i < n; i++) {
		uint32_t mailbox = 1 + dice(f, MAILBOXES);

		assert_true(f->next < f->cap);
		id_of(f->next, id);
		f->of[f->next++] = mailbox;
		assert_int_equal(db_posting_add(f->db, t, &p, mailbox, id), 0);
	}
	assert_int_equal(db_posting_end(f->db, t, &p), 0);
}

/* All that the plain list says is so. */
static void compare(struct fixture *f, uint32_t mailbox)
{
	static uint64_t cursors[LIST_MAX];
	struct kv_txn *t = db_read_begin(f->db);
	struct db_notice n;
	uint32_t kept, wanted = 0;
	uint8_t id[WIRE_ID_SIZE];
	int listed = db_notice_list(f->db, t, mailbox, 0, cursors, LIST_MAX);

	for (uint64_t c = 1; c < f->next; c++) {
		if (f->of[c] != mailbox) {
			continue;
		}
		assert_true((int)wanted < listed);
		assert_int_equal(cursors[wanted], c);
		wanted++;
	}
	assert_int_equal(listed, wanted);
	assert_int_equal(db_notice_count(f->db, t, mailbox, &kept), 0);
	assert_int_equal(kept, wanted);
	if (wanted > 2) {
		uint64_t middle = cursors[wanted / 2], after[2];

		assert_int_equal(db_notice_list(f->db, t, mailbox, middle - 1, after, 2), 2);
		assert_int_equal(after[0], middle);
		assert_int_equal(after[1], cursors[wanted / 2 + 1]);
		id_of(middle, id);
		assert_int_equal(db_notice_find_id(f->db, t, mailbox, id, 0, &n), 0);
		assert_int_equal(n.cursor, middle);
		assert_int_equal(db_notice_find_id(f->db, t, mailbox, id, 1, &n), ERR_NOT_FOUND);
	}
	db_read_end(t);
}

/* The notices that "a Notification" is not: only that is wrong. */
static void count_lines(void *ctx, const char *line)
{
	if (strstr(line, "announcement") == NULL || strstr(line, "cannot be read") == NULL) {
		print_message("%s\n", line);
		++*(int *)ctx;
	}
}

static void assert_sound(struct fixture *f)
{
	int wrong = 0;

	assert_true(db_check(f->db, count_lines, &wrong) >= 0);
	assert_int_equal(wrong, 0);
}

static void forget_some(struct fixture *f, struct kv_txn *t, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t c = 1 + dice(f, (uint32_t)f->next - 1);
		int wanted = f->of[c] == 0 ? ERR_NOT_FOUND : 0;
		uint32_t mailbox = f->of[c] == 0 ? 1 : f->of[c];

		assert_int_equal(db_notice_remove(f->db, t, mailbox, c), wanted);
		f->of[c] = 0;
	}
}

static unsigned top_level(struct fixture *f)
{
	struct kv_txn *t = db_read_begin(f->db);
	struct index_runs runs;
	unsigned top = 0;

	assert_int_equal(db_index_runs_get(f->db, t, &runs), 0);
	for (size_t i = 0; i < runs.n; i++) {
		top = runs.run[i].level > top ? runs.run[i].level : top;
	}
	db_read_end(t);
	return top;
}

static void test_against_list(void **state)
{
	struct fixture *f = *state;
	struct kv_txn *t;

	add_mailboxes(f);
	for (unsigned round = 0; round < 120; round++) {
		assert_int_equal(kv_write_begin(db_kv(f->db), &t), 0);
		while (f->next < (uint64_t)(round + 1) * 2500) {
			post(f, t, 1 + dice(f, dice(f, 4) == 0 ? 400 : 3));
		}
		forget_some(f, t, 300);
		/* a transaction that is undone leaves nothing of what it merged */
		if (round % 7 == 3) {
			struct kv_txn *again;

			assert_int_equal(kv_write_commit(t), 0);
			assert_int_equal(kv_write_begin(db_kv(f->db), &again), 0);
			t = again;
			for (unsigned i = 0; i < 30; i++) {
				uint64_t before = f->next;

				post(f, t, 90);
				memset(f->of + before, 0, (f->next - before) * sizeof f->of[0]);
				f->next = before;
			}
			kv_write_abort(t);
		} else {
			assert_int_equal(kv_write_commit(t), 0);
		}
		compare(f, 1 + dice(f, MAILBOXES));
		if (round % 40 == 39) {
			assert_sound(f);
		}
	}
	assert_true(top_level(f) >= 3);
	for (uint32_t mailbox = 1; mailbox <= MAILBOXES; mailbox += 17) {
		compare(f, mailbox);
	}
	/* All of it can be forgotten, in any order of mailboxes. */
	assert_int_equal(kv_write_begin(db_kv(f->db), &t), 0);
	for (uint32_t mailbox = 1; mailbox <= MAILBOXES; mailbox++) {
		assert_int_equal(
		    db_notice_remove_all(f->db, t, 1 + (mailbox * 7) % MAILBOXES), 0);
	}
	assert_int_equal(kv_write_commit(t), 0);
	t = db_read_begin(f->db);
	assert_int_equal(kv_count(t, f->db->table[TABLE_LOG]), 0);
	assert_int_equal(kv_count(t, f->db->table[TABLE_DUE]), 0);
	assert_int_equal(kv_count(t, f->db->table[TABLE_INDEX]), 1); /* the directory */
	db_read_end(t);
	assert_int_equal(db_check(f->db, count_lines, &(int) { 0 }), 0);
}

/* A time that is said again: of a notice that came alone, and of one among others. */
static void test_renew(void **state)
{
	struct fixture *f = *state;
	struct db_notice n;
	struct kv_txn *t;

	add_mailboxes(f);
	assert_int_equal(kv_write_begin(db_kv(f->db), &t), 0);
	post(f, t, 1);
	post(f, t, 95);
	for (uint64_t c = 1; c <= 96; c += 5) {
		assert_int_equal(db_notice_renew(f->db, t, f->of[c], c, 7000 + c), 0);
	}
	assert_int_equal(db_notice_renew(f->db, t, f->of[3], 97, 1), ERR_NOT_FOUND);
	assert_int_equal(db_notice_renew(f->db, t, f->of[3] + 1, 3, 1), ERR_NOT_FOUND);
	for (uint64_t c = 1; c <= 96; c++) {
		assert_int_equal(db_notice_get(f->db, t, f->of[c], c, &n), 0);
		assert_int_equal(n.received_us, c % 5 == 1 ? 7000 + c : 2);
	}
	forget_some(f, t, 50);
	assert_int_equal(kv_write_commit(t), 0);
	assert_sound(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_against_list, setup, teardown),
		cmocka_unit_test_setup_teardown(test_renew, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
