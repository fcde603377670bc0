/* agent.mdb: notifications, what was sent, submissions under way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mua-agent/db.h"
#include "mua-agent/entry.h"
#include "tests/unit/tempdir.h"

#define NOW (1000 * CLOCK_DAY_US)

struct fixture {
	char *dir;
	struct db *db;
	struct kv_txn *t;
	uint8_t der[2048];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	struct err_text e = { "" };

	f->dir = tempdir_make();
	assert_int_equal(db_open(f->dir, &f->db, &e), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	kv_write_abort(f->t);
	db_close(f->db);
	tempdir_remove(f->dir);
	free(f);
	return 0;
}

static struct kv_txn *begin(struct fixture *f)
{
	assert_int_equal(db_write_begin(f->db, &f->t), 0);
	return f->t;
}

static void commit(struct fixture *f)
{
	assert_int_equal(kv_write_commit(f->t), 0);
	f->t = NULL;
}

/* A notification of message ID at STORE (NULL: by no domain), encoded. */
static struct span notification(struct fixture *f, const char *store, uint8_t id)
{
	static const char header[] =
	    "From: =?utf-8?q?Al=C3=AFce?= <alice@a.example>\r\nSubject: a\x1b"
	    "b\r\n\r\n";
	uint8_t labels[WIRE_LABELS_MAX], recipient[WIRE_LABELS_MAX];
	struct wire_notification n = { .has_size = true, .size = 7, .id = { id } };
	struct mailbox bob;
	struct span out;

	assert_int_equal(name_parse_mailbox(span_str("bob@b.example"), &bob), 0);
	wire_mailbox_from_name(&bob, recipient, &n.recipient);
	n.sender = span_str("alice@a.example");
	n.has_header = true;
	n.header = span_str(header);
	n.has_store_tls = store != NULL;
	if (store != NULL) {
		assert_int_equal(wire_location_from_name(store, labels, &n.store_tls), 0);
	}
	assert_int_equal(wire_notification_encode(&n, f->der, sizeof f->der, &out), 0);
	return out;
}

static uint32_t put(struct fixture *f, const char *account, const char *store, uint8_t id)
{
	struct db_item item = { .account = span_str(account),
		                .verified = span_str("a.example"),
		                .received_us = NOW,
		                .cursor = id,
		                .der = notification(f, store, id) };

	assert_int_equal(db_item_put(f->db, f->t, &item), 0);
	return item.number;
}

static int find(struct fixture *f, const char *account, const char *store, uint8_t id,
                uint32_t *number)
{
	uint8_t octets[WIRE_ID_SIZE] = { id };

	return db_item_find(f->db, f->t, span_str(account), span_str(store), octets, number);
}

static void test_numbers(void **state)
{
	struct fixture *f = *state;
	struct db_item item;
	uint32_t number;

	begin(f);
	assert_int_equal(put(f, "bob", "a.example", 1), 1);
	assert_int_equal(put(f, "bob", "a.example", 2), 2);
	assert_int_equal(put(f, "bob", NULL, 2), 3);
	assert_int_equal(put(f, "carol", "a.example", 2), 4);
	commit(f);
	begin(f);
	assert_int_equal(find(f, "bob", "a.example", 2, &number), 0);
	assert_int_equal(number, 2);
	assert_int_equal(find(f, "bob", "", 2, &number), 0);
	assert_int_equal(number, 3);
	assert_int_equal(find(f, "carol", "a.example", 2, &number), 0);
	assert_int_equal(number, 4);
	assert_int_equal(find(f, "carol", "a.example", 1, &number), ERR_NOT_FOUND);
	assert_int_equal(find(f, "bob", "b.example", 1, &number), ERR_NOT_FOUND);

	/* In order; a removed number is not given again. */
	assert_int_equal(db_item_remove(f->db, f->t, 4, NOW), 0);
	assert_int_equal(db_item_remove(f->db, f->t, 4, NOW), ERR_NOT_FOUND);
	assert_int_equal(put(f, "bob", "a.example", 5), 5);
	number = 0;
	for (uint32_t wanted = 1; wanted <= 5; wanted++) {
		if (wanted != 4) {
			assert_int_equal(db_item_next(f->db, f->t, number, &item), 0);
			assert_int_equal(item.number, wanted);
			number = wanted;
		}
	}
	assert_int_equal(db_item_next(f->db, f->t, 5, &item), ERR_NOT_FOUND);
	assert_int_equal(db_item_next(f->db, f->t, UINT32_MAX, &item), ERR_NOT_FOUND);
	assert_int_equal(db_item_get(f->db, f->t, 4, &item), ERR_NOT_FOUND);
}

static void test_replace(void **state)
{
	struct fixture *f = *state;
	struct db_item item = { .number = 1,
		                .flags = DB_READ | DB_WITHDRAWN,
		                .received_us = 5,
		                .cursor = UINT64_MAX,
		                .account = span_str("bob"),
		                .reason = span_str("because") },
		       found;

	begin(f);
	put(f, "bob", "a.example", 1);
	item.der = notification(f, "a.example", 1);
	assert_int_equal(db_item_put(f->db, f->t, &item), 0);
	assert_int_equal(db_item_get(f->db, f->t, 1, &found), 0);
	assert_int_equal(found.flags, item.flags);
	assert_int_equal(found.received_us, 5);
	assert_true(found.cursor == UINT64_MAX);
	assert_true(span_eq_str(found.reason, "because"));
	assert_int_equal(found.verified.n, 0);
	assert_int_equal(db_item_next(f->db, f->t, 1, &found), ERR_NOT_FOUND);
	item.der = span_str("nonsense");
	assert_int_equal(db_item_put(f->db, f->t, &item), ERR_MALFORMED);
}

/* What was dropped is known until its time is over. */
static void test_remembered(void **state)
{
	struct fixture *f = *state;
	uint32_t number;

	begin(f);
	put(f, "bob", "a.example", 1);
	put(f, "bob", "a.example", 2);
	put(f, "bob", "a.example", 3);
	assert_int_equal(db_item_remove(f->db, f->t, 1, NOW + 10 * CLOCK_DAY_US), 0);
	assert_int_equal(db_item_remove(f->db, f->t, 2, NOW + 2 * CLOCK_DAY_US), 0);
	assert_int_equal(db_tidy(f->db, f->t, NOW), 0);
	assert_int_equal(find(f, "bob", "a.example", 2, &number), 0);
	assert_int_equal(number, 2);
	assert_int_equal(db_tidy(f->db, f->t, NOW + 5 * CLOCK_DAY_US), 0);
	assert_int_equal(find(f, "bob", "a.example", 2, &number), ERR_NOT_FOUND);
	assert_int_equal(find(f, "bob", "a.example", 1, &number), 0);
	assert_int_equal(find(f, "bob", "a.example", 3, &number), 0);
	/* Once a day at most. */
	assert_int_equal(db_item_remove(f->db, f->t, 3, NOW), 0);
	assert_int_equal(db_tidy(f->db, f->t, NOW + 6 * CLOCK_DAY_US - 1), 0);
	assert_int_equal(find(f, "bob", "a.example", 3, &number), 0);
	assert_int_equal(db_tidy(f->db, f->t, NOW + 6 * CLOCK_DAY_US), 0);
	assert_int_equal(find(f, "bob", "a.example", 3, &number), ERR_NOT_FOUND);
	/* A clock that was set back does not stop it for good. */
	assert_int_equal(db_item_remove(f->db, f->t, 1, 1), ERR_NOT_FOUND);
	put(f, "bob", "a.example", 4);
	assert_int_equal(db_item_remove(f->db, f->t, 4, NOW - 9 * CLOCK_DAY_US), 0);
	assert_int_equal(db_tidy(f->db, f->t, NOW - CLOCK_DAY_US), 0);
	assert_int_equal(find(f, "bob", "a.example", 4, &number), ERR_NOT_FOUND);
}

static void test_cursor(void **state)
{
	struct fixture *f = *state;
	uint64_t cursor = 9;

	begin(f);
	assert_int_equal(db_cursor_get(f->db, f->t, span_str("bob"), &cursor), 0);
	assert_int_equal(cursor, 0);
	assert_int_equal(db_cursor_put(f->db, f->t, span_str("bob"), 1ULL << 60), 0);
	assert_int_equal(db_cursor_put(f->db, f->t, span_str("carol"), 7), 0);
	commit(f);
	begin(f);
	assert_int_equal(db_cursor_get(f->db, f->t, span_str("bob"), &cursor), 0);
	assert_true(cursor == 1ULL << 60);
}

static void test_sent(void **state)
{
	struct fixture *f = *state;
	struct db_sent sent = { .submitted_us = 1,
		                .expires_us = 2,
		                .size = 3,
		                .id = { 4 },
		                .held = true,
		                .account = span_str("bob"),
		                .store = span_str("a.example"),
		                .subject = span_str("hello"),
		                .recipients = span_of("a@b\0c@d", 8) },
		       found;

	begin(f);
	assert_int_equal(db_sent_put(f->db, f->t, &sent), 0);
	assert_int_equal(sent.number, 1);
	sent.id[0] = 5;
	sent.number = 0;
	sent.held = false;
	sent.recipients = span_of(NULL, 0);
	assert_int_equal(db_sent_put(f->db, f->t, &sent), 0);
	assert_int_equal(sent.number, 2);
	assert_int_equal(db_sent_get(f->db, f->t, 1, &found), 0);
	assert_true(found.held && found.submitted_us == 1 && found.expires_us == 2 &&
	            found.size == 3 && found.id[0] == 4);
	assert_true(span_eq_str(found.subject, "hello"));
	assert_int_equal(found.recipients.n, 8);
	assert_int_equal(db_sent_find(f->db, f->t, sent.store, sent.id, &found), 0);
	assert_int_equal(found.number, 2);
	assert_int_equal(db_sent_find(f->db, f->t, span_str("b.example"), sent.id, &found),
	                 ERR_NOT_FOUND);
	assert_int_equal(db_sent_get(f->db, f->t, 3, &found), ERR_NOT_FOUND);
	assert_int_equal(db_sent_next(f->db, f->t, 2, &found), ERR_NOT_FOUND);
	sent.expires_us = 7;
	assert_int_equal(db_sent_put(f->db, f->t, &sent), 0);
	assert_int_equal(db_sent_get(f->db, f->t, 2, &found), 0);
	assert_true(!found.held && found.expires_us == 7 && found.id[0] == 5);
	assert_int_equal(db_sent_next(f->db, f->t, 2, &found), ERR_NOT_FOUND);
}

static void test_pending(void **state)
{
	struct fixture *f = *state;
	const uint8_t key[DB_KEY_SIZE] = { 1 }, other[DB_KEY_SIZE] = { 2 };
	struct db_pending pending = { .id = { 3 },
		                      .begun_us = NOW,
		                      .added = span_str("Date: x\r\n") },
			  found;

	begin(f);
	assert_int_equal(db_pending_get(f->db, f->t, key, &found), ERR_NOT_FOUND);
	assert_int_equal(db_pending_put(f->db, f->t, key, &pending), 0);
	pending.added = span_of(NULL, 0);
	assert_int_equal(db_pending_put(f->db, f->t, other, &pending), 0);
	commit(f);
	begin(f);
	assert_int_equal(db_pending_get(f->db, f->t, key, &found), 0);
	assert_true(found.begun_us == NOW && found.id[0] == 3);
	assert_true(span_eq_str(found.added, "Date: x\r\n"));
	assert_int_equal(db_pending_get(f->db, f->t, other, &found), 0);
	assert_int_equal(found.added.n, 0);
	assert_int_equal(db_pending_remove(f->db, f->t, key), 0);
	assert_int_equal(db_pending_remove(f->db, f->t, key), 0);
	assert_int_equal(db_pending_get(f->db, f->t, key, &found), ERR_NOT_FOUND);
	assert_int_equal(db_tidy(f->db, f->t, NOW + DB_PENDING_US), 0);
	assert_int_equal(db_pending_get(f->db, f->t, other, &found), 0);
	assert_int_equal(db_tidy(f->db, f->t, NOW + 2 * DB_PENDING_US), 0);
	assert_int_equal(db_pending_get(f->db, f->t, other, &found), ERR_NOT_FOUND);
}

/* --- entries ------------------------------------------------------------------------------ */

static void test_entry(void **state)
{
	struct fixture *f = *state;
	struct err_text e = { "" };
	char text[100];
	struct entry x;

	begin(f);
	put(f, "bob", "a.example", 1);
	put(f, "bob", NULL, 2);
	commit(f);
	assert_int_equal(entry_get(f->db, 1, &x, &e), 0);
	assert_true(x.verified);
	assert_string_equal(x.store, "a.example");
	assert_string_equal(entry_field(&x, "from", text, sizeof text), "Al\xc3\xaf"
	                                                                "ce <alice@a.example>");
	assert_string_equal(entry_field(&x, "Subject", text, sizeof text), "a\xe2\x90\x9b"
	                                                                   "b");
	assert_string_equal(entry_field(&x, "Cc", text, sizeof text), "");
	entry_free(&x);
	assert_int_equal(entry_get(f->db, 2, &x, &e), 0);
	assert_string_equal(x.store, "");
	entry_free(&x);

	assert_int_equal(entry_mark(f->db, 1, DB_READ, &e), 0);
	assert_int_equal(entry_mark(f->db, 1, DB_DROPPED, &e), 0);
	assert_int_equal(entry_get(f->db, 1, &x, &e), ERR_NOT_FOUND);
	assert_string_equal(e.text, "there is no message 1 (see im2000 list)");
	assert_int_equal(entry_next(f->db, 0, &x), 0);
	assert_int_equal(x.item.flags, DB_READ | DB_DROPPED);
	entry_free(&x);
	assert_int_equal(entry_next(f->db, 2, &x), ERR_NOT_FOUND);
	assert_int_equal(entry_mark(f->db, 3, DB_READ, &e), ERR_NOT_FOUND);
}

static void test_flags(void **state)
{
	static const struct {
		unsigned flags;
		uint64_t expires;
		const char *type, *structure, *wanted;
	} cases[] = {
		{ 0, 0, NULL, NULL, "N" },
		{ DB_READ | DB_SILENCED, 0, NULL, NULL, "R" },
		{ DB_WITHDRAWN, NOW, NULL, NULL, "NWE" },
		{ DB_READ, NOW + 1, NULL, NULL, "R" },
		{ 0, 0, "multipart/mixed; boundary=x", NULL, "NA" },
		{ 0, 0, " Multipart/Mixed", NULL, "NA" },
		{ 0, 0, "multipart/alternative; boundary=x", NULL, "N" },
		{ 0, 0, "multipart", NULL, "N" },
		{ 0, 0, "multipart/mixed",
		  "(\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 1 1 NIL NIL NIL NIL)", "N" },
		{ 0, 0, NULL, "(\"IMAGE\" \"PNG\" NIL NIL NIL \"7BIT\" 1 NIL NIL NIL NIL)", "NA" },
		{ 0, 0, NULL, "((((broken", "N" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct entry x = { .item.flags = cases[i].flags };
		char header[200] = "\r\n", out[ENTRY_FLAGS];

		if (cases[i].type != NULL) {
			snprintf(header, sizeof header, "Content-Type:%s\r\n\r\n", cases[i].type);
		}
		x.notice.has_header = true;
		x.notice.header = span_str(header);
		x.notice.has_expires = cases[i].expires != 0;
		x.notice.expires = cases[i].expires;
		x.notice.has_structure = cases[i].structure != NULL;
		x.notice.structure = span_str(cases[i].structure);
		assert_string_equal(entry_flags(&x, NOW, out), cases[i].wanted);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_numbers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_replace, setup, teardown),
		cmocka_unit_test_setup_teardown(test_remembered, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cursor, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sent, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pending, setup, teardown),
		cmocka_unit_test_setup_teardown(test_entry, setup, teardown),
		cmocka_unit_test(test_flags),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
