/* The notification agent's database, and the batches that fill it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "notify/db.h"
#include "notify/db_internal.h"
#include "notify/intake.h"
#include "wire/frame.h"
#include "inrig.h"

/* --- the cases -------------------------------------------------------------------------------- */

static void test_results(void **state)
{
	struct inrig *f = *state;
	const struct {
		struct note note;
		uint8_t result;
	} cases[] = {
		{ { "alice@a.example", "bob@b.example", 1, 0 }, WIRE_NOTIFY_ACCEPTED },
		{ { "alice@a.example", "bob@b.example", 1, 0 }, WIRE_NOTIFY_ACCEPTED }, /* again */
		{ { "alice@a.example", "nobody@b.example", 2, 0 }, WIRE_NOTIFY_NO_USER },
		{ { "mallory@evil.example", "bob@b.example", 3, 0 }, WIRE_NOTIFY_UNVERIFIED },
		{ { "mallory@evil.example", "nobody@b.example", 3, 0 }, WIRE_NOTIFY_UNVERIFIED },
		{ { "alice@a.example", "bob@b.example", 4, 999999 }, WIRE_NOTIFY_REFUSED },
		{ { "alice@a.example", "bob@b.example", 5, 0 }, WIRE_NOTIFY_ACCEPTED },
		{ { "alice@a.example", "bob@b.example", 6, 0 }, WIRE_NOTIFY_ACCEPTED },
		{ { "alice@a.example", "bob@b.example", 7, 0 }, WIRE_NOTIFY_FULL }, /* origin: 3 */
		{ { "carol@c.example", "bob@b.example", 1, 0 },
		  WIRE_NOTIFY_ACCEPTED }, /* same id */
		{ { "carol@c.example", "bob@b.example", 8, 0 }, WIRE_NOTIFY_ACCEPTED },
		{ { "carol@c.example", "bob@b.example", 9, 0 }, WIRE_NOTIFY_FULL }, /* mailbox: 5 */
		{ { "carol@c.example", "bob@b.example", 8, 0 }, WIRE_NOTIFY_ACCEPTED }, /* again */
	};
	uint32_t bob = inrig_mailbox(f, "bob@b.example");
	struct db_notice list[10];

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		uint8_t got = inrig_notify(f, &cases[i].note);

		if (got != cases[i].result) {
			fail_msg("case %zu: %s", i, wire_notify_result_name(got));
		}
	}
	assert_int_equal(inrig_notices(f, bob, list, 10), 5);
	inrig_sound(f);
}

/* A repeat changes the time and nothing else; it lasts over a restart. */
static void test_repeat(void **state)
{
	struct inrig *f = *state;
	uint32_t bob = inrig_mailbox(f, "bob@b.example");
	const struct note note = { "alice@a.example", "bob@b.example", 1, 0 };
	struct db_notice before, after;

	inrig_notify(f, &note);
	assert_int_equal(inrig_notices(f, bob, &before, 1), 1);
	inrig_now_us += 5000;
	inrig_reopen(f);
	inrig_notify(f, &note);
	assert_int_equal(inrig_notices(f, bob, &after, 1), 1);
	assert_int_equal(after.cursor, before.cursor);
	assert_int_equal(after.announcement, before.announcement);
	assert_int_equal(after.received_us, before.received_us + 5000);
	inrig_sound(f);
}

static void test_notify_many(void **state)
{
	struct inrig *f = *state;
	static const struct addressee to[] = { { "bob@b.example", 1 },
		                               { "nobody@b.example", 2 },
		                               { "eve@b.example", 3 } };
	static const uint8_t wanted[] = { WIRE_NOTIFY_ACCEPTED, WIRE_NOTIFY_NO_USER,
		                          WIRE_NOTIFY_ACCEPTED };
	const struct note note = { "alice@a.example", "bob@b.example", 1, 0 };
	struct db_notice b[2], e[2];
	struct db_stats stats;
	uint8_t results[3];
	uint32_t bob = inrig_mailbox(f, "bob@b.example"), eve = inrig_mailbox(f, "eve@b.example");

	inrig_notify_many(f, &note, to, 3, results);
	assert_memory_equal(results, wanted, 3);
	assert_int_equal(inrig_notices(f, bob, b, 2), 1);
	assert_int_equal(inrig_notices(f, eve, e, 2), 1);
	assert_int_equal(b[0].announcement, e[0].announcement);
	assert_int_equal(e[0].id[0], 3);
	assert_int_equal(db_stats(f->db, &stats), 0);
	assert_int_equal(stats.announcements, 1);
	assert_int_equal(stats.notices, 2);
	inrig_sound(f);
}

/* Withdrawn: marked, at a new cursor; by another's certificate or for another's id: nothing. */
static void test_withdraw(void **state)
{
	struct inrig *f = *state;
	uint32_t bob = inrig_mailbox(f, "bob@b.example");
	const struct note note = { "alice@a.example", "bob@b.example", 1, 0 };
	struct db_notice before, n[2];

	inrig_notify(f, &note);
	assert_int_equal(inrig_notices(f, bob, &before, 1), 1);
	inrig_withdraw(f, "bob@b.example", 2);
	inrig_withdraw(f, "nobody@b.example", 1);
	assert_int_equal(inrig_notices(f, bob, n, 2), 1);
	assert_false(n[0].withdrawn);
	inrig_withdraw(f, "bob@b.example", 1);
	assert_int_equal(inrig_notices(f, bob, n, 2), 1);
	assert_true(n[0].withdrawn);
	assert_true(n[0].cursor > before.cursor);
	assert_int_equal(n[0].received_us, before.received_us);
	inrig_sound(f);
}

/* A cursor is the time, or what follows the last one: what others get does not show in it. */
static void test_cursors(void **state)
{
	struct inrig *f = *state;
	uint32_t bob = inrig_mailbox(f, "bob@b.example");
	struct note note = { "alice@a.example", "bob@b.example", 1, 0 };
	const uint64_t began = inrig_now_us;
	struct db_notice n[4];

	inrig_mailbox(f, "eve@b.example");
	inrig_notify(f, &note);
	inrig_notify(f, &(struct note) { "alice@a.example", "eve@b.example", 1, 0 });
	inrig_notify(f, &(struct note) { "alice@a.example", "eve@b.example", 2, 0 });
	inrig_now_us = began + 5000;
	note.id = 2;
	inrig_notify(f, &note);
	inrig_now_us = began - 5000; /* set back: they rise all the same */
	note.id = 3;
	inrig_reopen(f);
	inrig_notify(f, &note);
	inrig_now_us = began + 9000;
	inrig_withdraw(f, "bob@b.example", 1);
	assert_int_equal(inrig_notices(f, bob, n, 4), 3);
	assert_int_equal(n[0].cursor, began + 5000);
	assert_int_equal(n[1].cursor, began + 5001);
	assert_int_equal(n[2].cursor, began + 9000);
	inrig_sound(f);
}

static void forget(struct inrig *f, uint32_t mailbox, uint64_t cursor, int wanted)
{
	struct kv_txn *t;

	assert_int_equal(kv_write_begin(db_kv(f->db), &t), 0);
	assert_int_equal(db_notice_remove(f->db, t, mailbox, cursor), wanted);
	assert_int_equal(kv_write_commit(t), 0);
}

/* What is forgotten makes room, its announcement goes with the last; cursors are never used again.
 */
static void test_forget(void **state)
{
	struct inrig *f = *state;
	uint32_t bob = inrig_mailbox(f, "bob@b.example");
	struct note note = { "alice@a.example", "bob@b.example", 0, 0 };
	struct db_notice n[10];
	struct db_stats stats;
	uint64_t last;

	for (note.id = 1; note.id <= 3; note.id++) {
		assert_int_equal(inrig_notify(f, &note), WIRE_NOTIFY_ACCEPTED);
	}
	assert_int_equal(inrig_notify(f, &note), WIRE_NOTIFY_FULL);
	assert_int_equal(inrig_notices(f, bob, n, 10), 3);
	last = n[2].cursor;
	forget(f, bob, last, 0);
	forget(f, bob, last, ERR_NOT_FOUND);
	forget(f, bob + 1, n[0].cursor, ERR_NOT_FOUND); /* another's cursor */
	inrig_reopen(f);
	assert_int_equal(inrig_notify(f, &note), WIRE_NOTIFY_ACCEPTED);
	assert_int_equal(inrig_notices(f, bob, n, 10), 3);
	assert_true(n[2].cursor > last);
	for (size_t i = 0; i < 3; i++) {
		forget(f, bob, n[i].cursor, 0);
	}
	assert_int_equal(db_stats(f->db, &stats), 0);
	assert_int_equal(stats.announcements, 0);
	assert_int_equal(stats.notices, 0);
	inrig_sound(f);
}

static void test_expire(void **state)
{
	struct inrig *f = *state;
	uint32_t bob = inrig_mailbox(f, "bob@b.example");
	const struct note early = { "alice@a.example", "bob@b.example", 1, 2000000 },
			  late = { "alice@a.example", "bob@b.example", 2, 0 };
	struct db_notice n[10];
	struct kv_txn *t;

	inrig_notify(f, &late);
	inrig_notify(f, &early);
	assert_int_equal(kv_write_begin(db_kv(f->db), &t), 0);
	assert_int_equal(db_notice_expire(f->db, t, 1999999, 100), 0);
	assert_int_equal(db_notice_expire(f->db, t, 2000000, 100), 1);
	assert_int_equal(db_notice_expire(f->db, t, 2000000, 100), 0);
	assert_int_equal(kv_write_commit(t), 0);
	assert_int_equal(inrig_notices(f, bob, n, 10), 1);
	assert_int_equal(n[0].id[0], 2);
	inrig_sound(f);
}

static void test_mailboxes(void **state)
{
	struct inrig *f = *state;
	struct db_mailbox m = { 0 }, found;
	uint32_t kept;
	struct kv_txn *t;
	uint32_t bob = inrig_mailbox(f, "bob@b.example"), eve = inrig_mailbox(f, "eve@b.example");

	inrig_notify(f, &(struct note) { "alice@a.example", "bob@b.example", 1, 0 });
	assert_int_equal(name_parse_mailbox(span_str("bob@b.example"), &m.name), 0);
	assert_int_equal(kv_write_begin(db_kv(f->db), &t), 0);
	assert_int_equal(db_mailbox_put(f->db, t, &m), ERR_EXISTS);
	m.number = 0;
	assert_int_equal(db_mailbox_find(f->db, t, &m.name, &found), 0);
	assert_int_equal(found.number, bob);
	assert_int_equal(db_notice_count(f->db, t, bob, &kept), 0);
	assert_int_equal(kept, 1);
	assert_int_equal(db_mailbox_next(f->db, t, &m.name, &found), 0);
	assert_int_equal(found.number, eve);
	assert_int_equal(db_mailbox_remove(f->db, t, &m.name), 0);
	assert_int_equal(db_mailbox_remove(f->db, t, &m.name), ERR_NOT_FOUND);
	assert_int_equal(db_mailbox_next(f->db, t, NULL, &found), 0);
	assert_int_equal(found.number, eve);
	assert_int_equal(kv_write_commit(t), 0);
	inrig_sound(f);
	assert_true(inrig_mailbox(f, "bob@b.example") > eve); /* a number is never used again */
}

/* Something in every table. */
static void fill_tables(struct inrig *f)
{
	struct db_rule rule = { .table = RULE_BLACKLIST, .value = "@a.example" };
	struct db_alias alias = { .address = "@b.example", .n = 1 };
	struct kv_txn *t;

	rule.owner = inrig_mailbox(f, "bob@b.example");
	assert_int_equal(name_parse_mailbox(span_str("bob@b.example"), &alias.target[0]), 0);
	inrig_notify(f, &(struct note) { "alice@a.example", "bob@b.example", 1, 0 });
	assert_int_equal(kv_write_begin(db_kv(f->db), &t), 0);
	assert_int_equal(db_rule_add(f->db, t, &rule), 0);
	assert_int_equal(db_rule_add(f->db, t, &rule), ERR_EXISTS);
	assert_int_equal(db_alias_put(f->db, t, &alias), 0);
	assert_int_equal(kv_write_commit(t), 0);
}

/* Damage made by hand in each table is found. */
static void test_check_finds(void **state)
{
	struct inrig *f = *state;
	uint8_t wrong[64] = { 9 };
	struct span key, value;
	struct kv_cursor *c;
	struct kv_txn *t;

	fill_tables(f);
	inrig_sound(f);
	for (int table = TABLE_MAILBOX; table < TABLES; table++) {
		uint8_t copy[128];
		size_t n;

		assert_int_equal(kv_write_begin(db_kv(f->db), &t), 0);
		assert_int_equal(kv_cursor_open(t, f->db->table[table], &c), 0);
		assert_int_equal(kv_cursor_last(c, &key, &value), 0);
		memcpy(copy, key.p, n = key.n);
		kv_cursor_close(c);
		if (table == TABLE_DUE) {
			assert_int_equal(kv_delete(t, f->db->table[table], span_of(copy, n)), 0);
		} else {
			assert_int_equal(kv_put(t, f->db->table[table], span_of(copy, n),
			                        span_of(wrong, sizeof wrong)),
			                 0);
		}
		assert_int_equal(kv_write_commit(t), 0);
		if (db_check(f->db, inrig_print, NULL) <= 0) {
			fail_msg("damage in table %d was not found", table);
		}
		inrig_teardown(state);
		inrig_setup(state);
		f = *state;
		fill_tables(f);
	}
}

/* Cursors of 8 octets: the time at which they begin, 1,000,000, and so on. */
#define AT1 0, 0, 0, 0, 0, 0x0f, 0x42, 0x40
#define AT2 0, 0, 0, 0, 0, 0x0f, 0x42, 0x41
#define AT3 0, 0, 0, 0, 0, 0x0f, 0x42, 0x42

/* Entries that cannot be read by themselves, and those that only disagree with others. */
static void test_check_finds_sums(void **state)
{
	const struct {
		const char *what;
		enum db_table table;
		uint8_t key[32];
		size_t key_n;
		uint8_t value[24];
		size_t value_n; /* 0: the entry is removed */
	} cases[] = {
		{ "no such mailbox", TABLE_MAILBOX, "bob@b.example", 13, { 0 }, 0 },
		{ "an announcement that is not there", TABLE_LOG, { AT2, 1 }, 9, { 0 }, 0 },
		{ "an announcement of nothing", TABLE_LOG, { AT2, 2 }, 9, { 0 }, 0 },
		{ "an unknown kind", TABLE_LOG, { AT2, 3 }, 9, { 1 }, 4 },
		{ "a directory", TABLE_INDEX, { 0 }, 4, { 7 }, 5 },
		{ "no index", TABLE_INDEX, { 0, 0, 0, 1, 0, 0, 0, 0, AT1 }, 16, { 0 }, 0 },
		{ "an index of nothing", TABLE_INDEX, { 0, 0, 0, 1, 0, 0, 0, 0, AT3 }, 16,
		  { 0, 0, 0, 1, AT3 }, 24 },
		{ "the same again", TABLE_INDEX, { 0, 0, 0, 1, 0, 0, 0, 0, AT3 }, 16,
		  { 0, 0, 0, 1, AT2, 2, 2, 2, 2 }, 24 },
		{ "another's id", TABLE_INDEX, { 0, 0, 0, 1, 0, 0, 0, 0, AT1 }, 16,
		  { 0, 0, 0, 1, AT2, 2, 2, 2, 9 }, 24 },
		{ "an unknown run", TABLE_INDEX, { 0, 0, 0, 5, 0, 0, 0, 1, AT2 }, 16,
		  { 0, 0, 0, 1, AT2, 2, 2, 2, 2 }, 24 },
		{ "how many there are", TABLE_META, "notices", 7, { 0, 0, 0, 0, 0, 0, 0, 7 }, 8 },
		{ "the last cursor", TABLE_META, "cursor", 6, { 0, 0, 0, 0, 0, 0, 0, 1 }, 8 },
		{ "no last cursor", TABLE_META, "cursor", 6, { 0 }, 0 },
		{ "the last mailbox", TABLE_META, "mailbox", 7, { 0 }, 8 },
		{ "a policy of nobody", TABLE_POLICY, "\0\0\0\t\1@a.example", 15, { 1 }, 9 },
		{ "no value of a policy", TABLE_POLICY, "\0\0\0\1\1a.example", 14, { 1 }, 9 },
		{ "no such table", TABLE_POLICY, "\0\0\0\0\7@a.example", 15, { 1 }, 9 },
		{ "a due time of nothing", TABLE_DUE, { AT1, AT2 }, 16, { 0 }, 1 },
	};
	struct inrig *f;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct kv_txn *t;
		struct span key = span_of(cases[i].key, cases[i].key_n);

		struct db_notice first;

		f = *state;
		inrig_mailbox(f, "bob@b.example");
		inrig_notify(f, &(struct note) { "alice@a.example", "bob@b.example", 1, 0 });
		inrig_notices(f, 1, &first, 1);
		inrig_notify(f, &(struct note) { "alice@a.example", "bob@b.example", 2, 0 });
		forget(f, 1, first.cursor, 0); /* the second is left, in the value that this one began */
		inrig_sound(f);
		assert_int_equal(kv_write_begin(db_kv(f->db), &t), 0);
		assert_int_equal(cases[i].value_n == 0
		                     ? kv_delete(t, f->db->table[cases[i].table], key)
		                     : kv_put(t, f->db->table[cases[i].table], key,
		                              span_of(cases[i].value, cases[i].value_n)),
		                 0);
		assert_int_equal(kv_write_commit(t), 0);
		if (db_check(f->db, inrig_print, NULL) <= 0) {
			fail_msg("%s: was not found", cases[i].what);
		}
		inrig_teardown(state);
		inrig_setup(state);
	}
}

/* Too many references, and too few. */
static void test_check_finds_references(void **state)
{
	struct inrig *f = *state;
	const uint64_t first = inrig_now_us; /* the number of the first announcement */
	struct kv_txn *t;

	inrig_mailbox(f, "bob@b.example");
	inrig_notify(f, &(struct note) { "alice@a.example", "bob@b.example", 1, 0 });
	inrig_notify(f, &(struct note) { "alice@a.example", "bob@b.example", 2, 0 });
	assert_int_equal(kv_write_begin(db_kv(f->db), &t), 0);
	assert_int_equal(db_announcement_refer(f->db, t, first, 1), 0);
	assert_int_equal(kv_write_commit(t), 0);
	assert_int_equal(db_check(f->db, inrig_print, NULL), 1);
	assert_int_equal(kv_write_begin(db_kv(f->db), &t), 0);
	assert_int_equal(db_announcement_refer(f->db, t, first, -2), 0); /* it goes, its notice stays */
	assert_int_equal(kv_write_commit(t), 0);
	assert_true(db_check(f->db, inrig_print, NULL) > 0);
}

/* The sweep passes over what is damaged, and over entries that lead to nothing. */
static void test_sweep_passes_damage(void **state)
{
	static const uint8_t nothing[16] = { 0, 0, 0, 0, 0, 0, 0, 1 };
	struct inrig *f = *state;
	uint32_t bob = inrig_mailbox(f, "bob@b.example");
	struct note note = { "alice@a.example", "bob@b.example", 0, 2000000 };
	struct db_notice n[4];
	uint8_t key[9] = { AT2, 1 };
	struct kv_txn *t;

	for (note.id = 1; note.id <= 3; note.id++) {
		inrig_notify(f, &note);
	}
	assert_int_equal(kv_write_begin(db_kv(f->db), &t), 0);
	assert_int_equal(kv_delete(t, f->db->table[TABLE_LOG], span_of(key, sizeof key)), 0);
	assert_int_equal(kv_put(t, f->db->table[TABLE_DUE], span_of(nothing, 16),
	                        span_of(NULL, 0)),
	                 0);
	assert_int_equal(kv_write_commit(t), 0);

	assert_int_equal(kv_write_begin(db_kv(f->db), &t), 0);
	assert_int_equal(db_notice_expire(f->db, t, 2000000, 100), 2);
	assert_int_equal(kv_write_commit(t), 0);
	assert_int_equal(inrig_notices(f, bob, n, 4), 1);
	/* It cannot be removed without the announcement that says whose it is, and says so. */
	forget(f, bob, n[0].cursor, ERR_MALFORMED);
}

/* LIMIT is how many are looked at; the next call goes on. */
static void test_sweep_in_pieces(void **state)
{
	struct inrig *f = *state;
	uint32_t bob = inrig_mailbox(f, "bob@b.example");
	struct note note = { "alice@a.example", "bob@b.example", 0, 2000000 };
	struct db_notice n[4];
	struct kv_txn *t;

	for (note.id = 1; note.id <= 3; note.id++) {
		inrig_notify(f, &note);
	}
	assert_int_equal(kv_write_begin(db_kv(f->db), &t), 0);
	assert_int_equal(db_notice_expire(f->db, t, 3000000, 2), 2);
	assert_int_equal(db_notice_expire(f->db, t, 3000000, 2), 1);
	assert_int_equal(db_notice_expire(f->db, t, 3000000, 2), 0);
	assert_int_equal(kv_write_commit(t), 0);
	assert_int_equal(inrig_notices(f, bob, n, 4), 0);
	inrig_sound(f);
}

/* Whether a batch can be answered without the writer. */
static void test_settled(void **state)
{
	const struct {
		const char *sender;
		bool keep, settled;
	} cases[] = {
		{ "alice@a.example", false, false },
		{ "mallory@evil.example", false, true },
		{ "mallory@evil.example", true, false },
	};
	struct inrig *f = *state;
	uint8_t list[4096], buf[8192];

	inrig_mailbox(f, "bob@b.example");
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const struct note note = { cases[i].sender, "bob@b.example", 1, 0 };
		struct rnasp_command c = { .kind = RNASP_NOTIFY };
		struct wire_notification n;
		struct wire_list_writer w;
		const struct intake_place place = { f->db, &f->policy, NULL };
		struct intake_batch *b;
		struct span frame;

		f->policy.keep_unverified = cases[i].keep;
		inrig_fill(&note, &n);
		wire_list_writer_init(&w, list, sizeof list);
		assert_int_equal(wire_notification_append(&w, &n), 0);
		c.u.notify.notifications = wire_list_view(&w);
		assert_int_equal(rnasp_command_encode(&c, buf, sizeof buf, &frame), 0);
		assert_int_equal(intake_create(&place, NULL, span_after(frame, FRAME_PREFIX), inrig_covers,
		                               NULL, &b),
		                 0);
		assert_int_equal(intake_settled(b), cases[i].settled);
		assert_true(!cases[i].settled || b->results[0] == WIRE_NOTIFY_UNVERIFIED);
		intake_free(b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_results, inrig_setup, inrig_teardown),
		cmocka_unit_test_setup_teardown(test_repeat, inrig_setup, inrig_teardown),
		cmocka_unit_test_setup_teardown(test_notify_many, inrig_setup, inrig_teardown),
		cmocka_unit_test_setup_teardown(test_cursors, inrig_setup, inrig_teardown),
		cmocka_unit_test_setup_teardown(test_withdraw, inrig_setup, inrig_teardown),
		cmocka_unit_test_setup_teardown(test_forget, inrig_setup, inrig_teardown),
		cmocka_unit_test_setup_teardown(test_expire, inrig_setup, inrig_teardown),
		cmocka_unit_test_setup_teardown(test_mailboxes, inrig_setup, inrig_teardown),
		cmocka_unit_test_setup_teardown(test_check_finds, inrig_setup, inrig_teardown),
		cmocka_unit_test_setup_teardown(test_check_finds_sums, inrig_setup, inrig_teardown),
		cmocka_unit_test_setup_teardown(test_check_finds_references, inrig_setup, inrig_teardown),
		cmocka_unit_test_setup_teardown(test_sweep_passes_damage, inrig_setup, inrig_teardown),
		cmocka_unit_test_setup_teardown(test_sweep_in_pieces, inrig_setup, inrig_teardown),
		cmocka_unit_test_setup_teardown(test_settled, inrig_setup, inrig_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
