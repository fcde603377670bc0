/*
 * Databases of older im2000-notify programs, written here as those did. Schema 1 had no table
 * `policy`, 2 no `alias`; 1 to 3 kept notices by mailbox, in `announcement`, `notice` and `expiry`.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/claim.h"
#include "base/clock.h"
#include "notify/db.h"
#include "notify/db_internal.h"
#include "tests/unit/tempdir.h"

#define MAILBOXES 3
#define LAST 1000000 /* cursor that was given */

/* Each schema added one at the end. */
enum { OLD_META, OLD_MAILBOX, OLD_ANNOUNCEMENT, OLD_NOTICE, OLD_EXPIRY, OLD_POLICY, OLD_ALIAS,
       OLD_TABLES };

/* --- as it was written then ------------------------------------------------------------------- */

struct old {
	struct kv *kv;
	struct kv_txn *t;
	kv_table table[OLD_TABLES];
};

static void put(struct old *o, int table, struct span key, struct span value)
{
	assert_int_equal(kv_put(o->t, o->table[table], key, value), 0);
}

static void put_number(struct old *o, const char *key, uint64_t number, size_t octets)
{
	uint8_t value[8];

	kv_put_u64(value, number);
	put(o, OLD_META, span_str(key), span_of(value + 8 - octets, octets));
}

static void put_mailbox(struct old *o, uint32_t number)
{
	uint8_t record[65] = { 1 };
	char name[32];

	kv_put_u32(record + 1, number);
	snprintf(name, sizeof name, "u%u@b.example", number);
	put(o, OLD_MAILBOX, span_str(name), span_of(record, sizeof record));
}

static void put_announcement(struct old *o, uint64_t number, uint32_t notices)
{
	uint8_t recipient[WIRE_LABELS_MAX], store[WIRE_LABELS_MAX], key[8], record[1024] = { 1 };
	struct wire_notification w = { .has_store_tls = true, .sender = span_str("alice@a.example") };
	struct mailbox bob;
	struct span der;

	assert_int_equal(name_parse_mailbox(span_str("bob@b.example"), &bob), 0);
	wire_mailbox_from_name(&bob, recipient, &w.recipient);
	assert_int_equal(wire_location_from_name("a.example", store, &w.store_tls), 0);
	kv_put_u64(key, number);
	kv_put_u32(record + 1, notices);
	record[5] = 1;
	record[6] = record[7] = 9;
	memcpy(record + 8, "a.examplea.example", 18);
	assert_int_equal(wire_notification_encode(&w, record + 26, sizeof record - 26, &der), 0);
	memmove(record + 26, der.p, der.n);
	put(o, OLD_ANNOUNCEMENT, span_of(key, 8), span_of(record, 26 + der.n));
}

/* The notice of cursor C: its mailbox, and its announcement, which each three share. */
static uint32_t mailbox_of(uint64_t c)
{
	return 1 + (uint32_t)(c % MAILBOXES);
}

static uint64_t announcement_of(uint64_t c)
{
	return 1 + (c - 1) / 3;
}

static void id_of(uint64_t c, uint8_t id[WIRE_ID_SIZE])
{
	memset(id, 7, WIRE_ID_SIZE);
	kv_put_u64(id, c * 0x9e3779b97f4a7c15u);
}

static void put_notice(struct old *o, uint64_t c)
{
	uint8_t key[21], p[61] = { 1 };

	kv_put_u32(key, mailbox_of(c));
	key[4] = 'n';
	kv_put_u64(key + 5, c);
	kv_put_u64(p + 1, announcement_of(c));
	id_of(c, p + 9);
	kv_put_u64(p + 25, 500 + c);
	kv_put_u64(p + 33, 900000000 + c);
	p[41] = c % 5 == 4;
	kv_put_u16(p + 59, 2525);
	put(o, OLD_NOTICE, span_of(key, 13), span_of(p, sizeof p));
	/* By id, by expiry and by origin: whatever stands there is not asked for any more. */
	key[4] = 'd';
	put(o, OLD_NOTICE, span_of(key, 21), span_of(p, 8));
	put(o, OLD_EXPIRY, span_of(p + 33, 20), span_of(NULL, 0));
	key[4] = 'o';
	put(o, OLD_NOTICE, span_of(key, 5), span_of(p, 4));
}

/* A database with three mailboxes and notices 1 to N; N is a multiple of three. */
static void make_old(const char *dir, unsigned schema, uint64_t n)
{
	static const char *const names[] = { "meta",   "mailbox", "announcement", "notice",
		                             "expiry", "policy",  "alias",        NULL };
	const struct kv_options options = { .create = true, .no_sync = true };
	const char *of_schema[OLD_TABLES + 1] = { NULL };
	struct old o;

	memcpy(of_schema, names, (OLD_EXPIRY + schema) * sizeof names[0]);
	assert_int_equal(kv_open(dir, "notify.mdb", &options, of_schema, o.table, &o.kv, NULL), 0);
	assert_int_equal(kv_write_begin(o.kv, &o.t), 0);
	put_number(&o, "schema", schema, 4);
	put_number(&o, "cursor", LAST, 8);
	put_number(&o, "announcement", n / 3, 8);
	put_number(&o, "mailbox", MAILBOXES, 8);
	for (uint32_t i = 1; i <= MAILBOXES; i++)
		put_mailbox(&o, i);
	for (uint64_t i = 1; i <= n / 3; i++)
		put_announcement(&o, i, 3);
	for (uint64_t c = 1; c <= n; c++)
		put_notice(&o, c);
	assert_int_equal(kv_write_commit(o.t), 0);
	kv_close(o.kv);
}

/* --- as it is read now ------------------------------------------------------------------------ */

static struct db *open_today(const char *dir)
{
	const struct db_options options = { .no_sync = true };
	struct err_text e = { "" };
	struct db *db;

	if (db_open(dir, &options, &db, &e) != 0)
		fail_msg("%s", e.text);
	return db;
}

static void print_line(void *ctx, const char *line)
{
	(void)ctx;
	print_message("%s\n", line);
}

/* Notices 1 to N are there, and nothing else. */
static void assert_there(struct db *db, uint64_t n)
{
	struct db_stats stats;
	struct kv_txn *t;
	uint64_t next;

	assert_int_equal(db_check(db, print_line, NULL), 0);
	assert_int_equal(db_stats(db, &stats), 0);
	assert_int_equal(stats.notices, n);
	assert_int_equal(stats.announcements, n / 3);
	t = db_read_begin(db);
	for (uint64_t c = 1; c <= n; c++) {
		uint8_t id[WIRE_ID_SIZE];
		struct db_announcement a;
		struct db_notice notice;

		id_of(c, id);
		assert_int_equal(db_notice_find_id(db, t, mailbox_of(c), id, 0, &notice), 0);
		assert_int_equal(notice.cursor, c);
		assert_int_equal(notice.received_us, 500 + c);
		assert_int_equal(notice.expires_us, 900000000 + c);
		assert_int_equal(notice.withdrawn, c % 5 == 4);
		assert_int_equal(notice.submitter.port, 2525);
		assert_int_equal(notice.announcement, announcement_of(c));
		assert_int_equal(db_announcement_get(db, t, notice.announcement, &a), 0);
		assert_true(a.verified);
		if (c > MAILBOXES) {
			assert_int_equal(db_notice_list(db, t, mailbox_of(c), c - MAILBOXES, &next, 1),
			                 1);
			assert_int_equal(next, c);
		}
	}
	db_read_end(t);
}

static void test_upgrade(void **state)
{
	(void)state;
	for (unsigned schema = 1; schema <= 3; schema++) {
		const struct db_options under_daemon = { 0 };
		struct db_rule rule = { .table = RULE_BLACKLIST, .value = "@a.example" };
		struct db_alias alias = { .address = "@b.example", .n = 1 };
		char *dir = tempdir_make();
		struct err_text e = { "" };
		struct claim *daemon;
		struct kv_txn *t;
		struct db *db;

		make_old(dir, schema, 9);
		/* Not while a daemon, which must be an older one, works on it. */
		assert_int_equal(claim_take(dir, DB_CLAIM, &daemon, NULL), 0);
		assert_int_equal(db_open(dir, &under_daemon, &db, &e), ERR_EXISTS);
		assert_non_null(strstr(e.text, "made by an older im2000-notify"));
		claim_drop(daemon);

		for (int again = 0; again < 2; again++) {
			db = open_today(dir);
			assert_there(db, 9);
			db_close(db);
		}
		db = open_today(dir);
		assert_int_equal(kv_write_begin(db_kv(db), &t), 0);
		assert_int_equal(db_rule_add(db, t, &rule), 0);
		assert_int_equal(name_parse_mailbox(span_str("u1@b.example"), &alias.target[0]), 0);
		assert_int_equal(db_alias_put(db, t, &alias), 0);
		assert_int_equal(db_notice_expire(db, t, 900000006, 100), 6);
		assert_int_equal(kv_write_commit(t), 0);
		assert_int_equal(db_check(db, print_line, NULL), 0);
		db_close(db);
		tempdir_remove(dir);
	}
}

static uint64_t long_ago(void)
{
	return 1;
}

/* What comes afterwards has a cursor above all that was given. */
static void test_goes_on(void **state)
{
	struct db_announcement a = { .store = span_str("a.example"),
		                     .origin = span_str("a.example"),
		                     .der = span_str("any") };
	struct db_posting p = { .expires_us = 1 };
	const uint8_t id[WIRE_ID_SIZE] = { 1 };
	char *dir = tempdir_make();
	struct db_notice notice;
	struct kv_txn *t;
	struct db *db;

	(void)state;
	clock_set_source(long_ago, NULL);
	make_old(dir, 3, 3);
	db = open_today(dir);
	assert_int_equal(kv_write_begin(db_kv(db), &t), 0);
	db_posting_begin(&p, &a);
	assert_int_equal(db_posting_add(db, t, &p, 1, id), 0);
	assert_int_equal(db_posting_end(db, t, &p), 0);
	assert_int_equal(db_notice_get(db, t, 1, LAST + 1, &notice), 0);
	assert_int_equal(db_notice_expire(db, t, 1, 10), 1);
	assert_int_equal(kv_write_commit(t), 0);
	assert_there(db, 3);
	db_close(db);
	tempdir_remove(dir);
	clock_set_source(NULL, NULL);
}

/*
 * Many, so that it takes several transactions, with too little room at first, so that it stops
 * between two of them.
 */
static void test_in_pieces(void **state)
{
	const uint64_t n = 9000;
	char *dir = tempdir_make();
	struct err_text e = { "" };
	unsigned stopped = 0;
	struct db *db = NULL;

	(void)state;
	make_old(dir, 3, n);
	for (uint64_t map = 4 << 20; db == NULL; map += 400 << 10) {
		const struct db_options options = { .no_sync = true, .map_size = map };

		if (db_open(dir, &options, &db, &e) != 0) {
			assert_non_null(strstr(e.text, "it goes on where it stopped"));
			db = NULL;
			stopped++;
		}
	}
	assert_true(stopped > 0);
	assert_there(db, n);
	db_close(db);
	tempdir_remove(dir);
}

/* What cannot be read is not left out. */
static void test_damaged(void **state)
{
	static const char *const names[] = { "notice", NULL };
	const struct kv_options options = { .no_sync = true };
	const struct db_options today = { .no_sync = true };
	char *dir = tempdir_make();
	struct err_text e = { "" };
	struct kv_txn *t;
	kv_table table;
	struct kv *kv;
	struct db *db;

	(void)state;
	make_old(dir, 3, 9);
	assert_int_equal(kv_open(dir, "notify.mdb", &options, names, &table, &kv, NULL), 0);
	assert_int_equal(kv_write_begin(kv, &t), 0);
	assert_int_equal(kv_put(t, table, span_of("\0\0\0\2n\0\0\0\0\0\0\0\2", 13), span_str("x")), 0);
	assert_int_equal(kv_write_commit(t), 0);
	kv_close(kv);
	for (int again = 0; again < 2; again++) {
		assert_int_equal(db_open(dir, &today, &db, &e), ERR_MALFORMED);
		assert_non_null(strstr(e.text, "from schema 3 to 4"));
	}
	tempdir_remove(dir);
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
		{ { 0, 0, 0, 5 }, 4, ERR_UNSUPPORTED,
		  "notify.mdb was made by a newer im2000-notify (schema 5, this program knows 4)" },
		{ { 0 }, 0, ERR_MALFORMED, "notify.mdb is no database of im2000-notify" },
		{ { 0, 0, 0, 0, 0, 0, 0, 2 }, 8, ERR_MALFORMED, "cannot be read" },
		{ { 0, 0, 0, 0 }, 4, ERR_MALFORMED, "cannot be read" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const struct db_options make = { .create = true, .no_sync = true }, options = { 0 };
		char *dir = tempdir_make();
		struct err_text e = { "" };
		struct kv_txn *t;
		struct db *db;

		assert_int_equal(db_open(dir, &make, &db, &e), 0);
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
		cmocka_unit_test(test_upgrade), cmocka_unit_test(test_goes_on),
		cmocka_unit_test(test_in_pieces), cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
