/*
 * Databases of older im2000-notify programs. Schema 1 had no table `policy`, 2 no `alias`: one
 * is made of the records of today, which are the same, with the tables of then, and opened.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/claim.h"
#include "notify/db.h"
#include "notify/db_internal.h"
#include "tests/unit/tempdir.h"

#define OLD_TABLES(schema) (4 + (schema)) /* each added one, at the end */

static struct db *open_today(const char *dir, bool create)
{
	const struct db_options options = { .create = create, .no_sync = true };
	struct err_text e = { "" };
	struct db *db;

	if (db_open(dir, &options, &db, &e) != 0)
		fail_msg("%s", e.text);
	return db;
}

/* bob with one notification. */
static uint32_t put_mail(struct db *db)
{
	uint8_t recipient[WIRE_LABELS_MAX], store[WIRE_LABELS_MAX], der[1024];
	struct wire_notification w = { .has_store_tls = true, .sender = span_str("alice@a.example") };
	struct db_mailbox bob = { .created_us = 5 };
	struct db_announcement a = { .store = span_str("a.example"),
		                     .origin = span_str("a.example"),
		                     .verified = true };
	struct db_notice n = { .received_us = 7, .expires_us = UINT64_MAX / 2 };
	struct kv_txn *t;

	assert_int_equal(name_parse_mailbox(span_str("bob@b.example"), &bob.name), 0);
	memset(n.id, 3, sizeof n.id);
	wire_mailbox_from_name(&bob.name, recipient, &w.recipient);
	assert_int_equal(wire_location_from_name("a.example", store, &w.store_tls), 0);
	assert_int_equal(wire_notification_encode(&w, der, sizeof der, &a.der), 0);
	assert_int_equal(kv_write_begin(db_kv(db), &t), 0);
	assert_int_equal(db_mailbox_put(db, t, &bob), 0);
	assert_int_equal(db_announcement_add(db, t, &a), 0);
	n.mailbox = bob.number;
	n.announcement = a.number;
	assert_int_equal(db_notice_add(db, t, &a, &n), 0);
	assert_int_equal(db_announcement_refer(db, t, a.number, 1), 0);
	assert_int_equal(kv_write_commit(t), 0);
	return bob.number;
}

/* DB's tables of SCHEMA, into a database in the folder TO. */
static void copy_old(struct db *db, unsigned schema, const char *to)
{
	const struct kv_options options = { .create = true, .no_sync = true };
	const char *names[TABLES + 1] = { NULL };
	kv_table table[TABLES];
	struct kv_txn *in, *out;
	uint8_t number[4];
	struct kv *kv;

	for (size_t i = 0; i < OLD_TABLES(schema); i++)
		names[i] = db_tables(db)[i];
	assert_string_equal(db_tables(db)[OLD_TABLES(schema)], schema == 1 ? "policy" : "alias");
	assert_int_equal(kv_open(to, "notify.mdb", &options, names, table, &kv, NULL), 0);
	in = db_read_begin(db);
	assert_int_equal(kv_write_begin(kv, &out), 0);
	for (size_t i = 0; i < OLD_TABLES(schema); i++) {
		struct span key, value;
		struct kv_cursor *c;
		int rc;

		assert_int_equal(kv_cursor_open(in, db_handles(db)[i], &c), 0);
		for (rc = kv_cursor_first(c, &key, &value); rc == 0;
		     rc = kv_cursor_next(c, &key, &value))
			assert_int_equal(kv_put(out, table[i], key, value), 0);
		assert_int_equal(rc, ERR_NOT_FOUND);
		kv_cursor_close(c);
	}
	kv_put_u32(number, schema);
	assert_int_equal(kv_put(out, table[TABLE_META], span_str("schema"), span_of(number, 4)),
	                 0);
	assert_int_equal(kv_write_commit(out), 0);
	db_read_end(in);
	kv_close(kv);
}

static void print_line(void *ctx, const char *line)
{
	(void)ctx;
	print_message("%s\n", line);
}

static void check_schema(unsigned schema)
{
	char *today = tempdir_make(), *old = tempdir_make();
	const struct db_options under_daemon = { 0 };
	struct db_rule rule = { .table = RULE_BLACKLIST, .value = "@a.example", .added_us = 9 };
	struct db_alias alias = { .address = "@b.example", .n = 1 };
	struct db *db = open_today(today, true);
	uint32_t bob = put_mail(db);
	struct err_text e = { "" };
	struct db_notice n;
	struct claim *daemon;
	struct kv_txn *t;

	assert_int_equal(name_parse_mailbox(span_str("bob@b.example"), &alias.target[0]), 0);
	copy_old(db, schema, old);
	db_close(db);

	/* Not while a daemon, which must be an older one, works on it. */
	assert_int_equal(claim_take(old, DB_CLAIM, &daemon, NULL), 0);
	assert_int_equal(db_open(old, &under_daemon, &db, &e), ERR_EXISTS);
	assert_non_null(strstr(e.text, "made by an older im2000-notify"));
	claim_drop(daemon);

	db = open_today(old, false);
	assert_int_equal(db_check(db, print_line, NULL), 0);
	t = db_read_begin(db);
	assert_int_equal(db_notice_next(db, t, bob, 0, &n), 0);
	assert_int_equal(n.received_us, 7);
	db_read_end(t);
	assert_int_equal(kv_write_begin(db_kv(db), &t), 0);
	assert_int_equal(db_rule_add(db, t, &rule), 0);
	assert_int_equal(db_alias_put(db, t, &alias), 0);
	assert_int_equal(kv_write_commit(t), 0);
	db_close(db);

	db = open_today(old, false);
	t = db_read_begin(db);
	assert_int_equal(db_rule_has(db, t, DB_OPERATOR, RULE_BLACKLIST, "@a.example"), 1);
	assert_int_equal(db_alias_find(db, t, "@b.example", &alias), 0);
	db_read_end(t);
	db_close(db);
	tempdir_remove(today);
	tempdir_remove(old);
}

static void test_older(void **state)
{
	(void)state;
	check_schema(1);
	check_schema(2);
}

/* A newer one, none, and one whose number is of another size. */
static void test_refused(void **state)
{
	static const struct {
		uint8_t octets[8];
		size_t n;
		int result;
		const char *said;
	} cases[] = {
		{ { 0, 0, 0, 4 }, 4, ERR_UNSUPPORTED,
		  "notify.mdb was made by a newer im2000-notify (schema 4, this program knows 3)" },
		{ { 0 }, 0, ERR_MALFORMED, "notify.mdb is no database of im2000-notify" },
		{ { 0, 0, 0, 0, 0, 0, 0, 2 }, 8, ERR_MALFORMED, "cannot be read" },
		{ { 0, 0, 0, 0 }, 4, ERR_MALFORMED, "cannot be read" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const struct db_options options = { 0 };
		char *dir = tempdir_make();
		struct db *db = open_today(dir, true);
		struct err_text e = { "" };
		struct kv_txn *t;

		assert_int_equal(kv_write_begin(db_kv(db), &t), 0);
		if (cases[i].n == 0)
			assert_int_equal(kv_delete(t, db->table[TABLE_META], span_str("schema")), 0);
		else
			assert_int_equal(kv_put(t, db->table[TABLE_META], span_str("schema"),
			                        span_of(cases[i].octets, cases[i].n)),
			                 0);
		assert_int_equal(kv_write_commit(t), 0);
		db_close(db);
		assert_int_equal(db_open(dir, &options, &db, &e), cases[i].result);
		if (strstr(e.text, cases[i].said) == NULL)
			fail_msg("case %zu: \"%s\"", i, e.text);
		tempdir_remove(dir);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_older),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
