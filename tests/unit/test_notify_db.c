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
#include "tempdir.h"

static uint64_t now_us = 1000000;

static uint64_t fake_now(void)
{
	return now_us;
}

struct fixture {
	char *dir;
	struct db *db;
	struct policy_settings policy;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	struct db_options options = { .create = true, .no_sync = true, .map_size = 64 << 20 };

	f->dir = tempdir_make();
	f->policy = (struct policy_settings) { .mailbox_notices = 5,
		                               .origin_notices = 3,
		                               .retention_us = CLOCK_DAY_US };
	now_us = 1000000;
	clock_set_source(fake_now, NULL);
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
	free(f);
	return 0;
}

static void reopen(struct fixture *f)
{
	struct db_options options = { .no_sync = true, .map_size = 64 << 20 };

	db_close(f->db);
	assert_int_equal(db_open(f->dir, &options, &f->db, NULL), 0);
}

static uint32_t add_mailbox(struct fixture *f, const char *name)
{
	struct db_mailbox m = { .created_us = now_us };
	struct kv_txn *t;

	assert_int_equal(name_parse_mailbox(span_str(name), &m.name), 0);
	assert_int_equal(kv_write_begin(db_kv(f->db), &t), 0);
	assert_int_equal(db_mailbox_put(f->db, t, &m), 0);
	assert_int_equal(kv_write_commit(t), 0);
	return m.number;
}

/* --- commands as a store would send them ------------------------------------------------------ */

struct note {
	const char *sender, *recipient;
	uint8_t id; /* fills all 16 octets */
	uint64_t expires;
};

/* Views into static memory, good until the next call. */
static void fill(const struct note *in, struct wire_notification *n)
{
	static uint8_t recipient[WIRE_LABELS_MAX], store[WIRE_LABELS_MAX];
	static struct mailbox name, sender;

	memset(n, 0, sizeof *n);
	assert_int_equal(name_parse_mailbox(span_str(in->recipient), &name), 0);
	assert_int_equal(name_parse_mailbox(span_str(in->sender), &sender), 0);
	wire_mailbox_from_name(&name, recipient, &n->recipient);
	n->has_store_tls = true;
	assert_int_equal(wire_location_from_name(mailbox_domain(&sender), store, &n->store_tls), 0);
	memset(n->id, in->id, sizeof n->id);
	n->sender = span_str(in->sender);
	n->has_expires = in->expires != 0;
	n->expires = in->expires;
	n->has_header = true;
	n->header = span_str("From: somebody\r\n\r\n");
}

/* Certificates of the tests cover every domain whose name ends in ".example" and is not
 * "evil.example". */
static bool covers(void *ctx, const char *domain)
{
	return ctx == NULL && strcmp(domain, "evil.example") != 0;
}

/* Sends COMMAND as a batch; results go to OUT. */
static void send_batch(struct fixture *f, const struct rnasp_command *command, uint8_t *out)
{
	const struct intake_place place = { f->db, &f->policy, NULL };
	static uint8_t buf[65536];
	struct intake_batch *b;
	struct rnasp_response response;
	struct span frame;
	struct kv_txn *t;

	assert_int_equal(rnasp_command_encode(command, buf, sizeof buf, &frame), 0);
	assert_int_equal(intake_create(&place, NULL, span_after(frame, FRAME_PREFIX), covers, NULL,
	                               &b),
	                 0);
	assert_int_equal(kv_write_begin(db_kv(f->db), &t), 0);
	assert_int_equal(intake_apply(&b->job, t), 0);
	kv_write_abort(t); /* a batch may be undone and applied again */
	assert_int_equal(kv_write_begin(db_kv(f->db), &t), 0);
	assert_int_equal(intake_apply(&b->job, t), 0);
	assert_int_equal(kv_write_commit(t), 0);
	memcpy(out, b->results, b->n);
	assert_int_equal(intake_response(b, 0, buf, sizeof buf, &frame), 0);
	frame = span_after(frame, FRAME_PREFIX);
	assert_int_equal(rnasp_response_decode(frame, frame.n, &response), 0);
	assert_int_equal(response.status, WIRE_STATUS_OK);
	assert_int_equal(response.kind, command->kind);
	if (command->kind != RNASP_WITHDRAW) {
		assert_int_equal(response.u.notify.results.count, b->n);
	}
	intake_free(b);
}

static uint8_t notify_one(struct fixture *f, const struct note *note)
{
	struct rnasp_command c = { .kind = RNASP_NOTIFY };
	struct wire_notification n;
	struct wire_list_writer w;
	uint8_t list[4096], result;

	fill(note, &n);
	wire_list_writer_init(&w, list, sizeof list);
	assert_int_equal(wire_notification_append(&w, &n), 0);
	c.u.notify.notifications = wire_list_view(&w);
	send_batch(f, &c, &result);
	return result;
}

static void withdraw_one(struct fixture *f, const char *recipient, uint8_t id)
{
	struct rnasp_command c = { .kind = RNASP_WITHDRAW };
	uint8_t list[1024], labels[WIRE_LABELS_MAX], result[1];
	struct rnasp_addressee a;
	struct wire_list_writer w;
	struct mailbox name;

	assert_int_equal(name_parse_mailbox(span_str(recipient), &name), 0);
	wire_mailbox_from_name(&name, labels, &a.recipient);
	memset(a.id, id, sizeof a.id);
	wire_list_writer_init(&w, list, sizeof list);
	assert_int_equal(rnasp_addressee_append(&w, &a), 0);
	c.u.withdraw.notifications = wire_list_view(&w);
	send_batch(f, &c, result);
}

/* The mailbox's notices in order; how many. */
static size_t notices(struct fixture *f, uint32_t mailbox, struct db_notice *out, size_t cap)
{
	struct kv_txn *t = db_read_begin(f->db);
	uint64_t after = 0;
	size_t n = 0;

	while (n < cap && db_notice_next(f->db, t, mailbox, after, &out[n]) == 0) {
		after = out[n++].cursor;
	}
	db_read_end(t);
	return n;
}

static void print_line(void *ctx, const char *line)
{
	(void)ctx;
	print_message("%s\n", line);
}

static void assert_sound(struct fixture *f)
{
	assert_int_equal(db_check(f->db, print_line, NULL), 0);
}

/* --- the cases -------------------------------------------------------------------------------- */

static void test_results(void **state)
{
	struct fixture *f = *state;
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
	uint32_t bob = add_mailbox(f, "bob@b.example");
	struct db_notice list[10];

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		uint8_t got = notify_one(f, &cases[i].note);

		if (got != cases[i].result) {
			fail_msg("case %zu: %s", i, wire_notify_result_name(got));
		}
	}
	assert_int_equal(notices(f, bob, list, 10), 5);
	assert_sound(f);
}

/* A repeat changes the time and nothing else; it lasts over a restart. */
static void test_repeat(void **state)
{
	struct fixture *f = *state;
	uint32_t bob = add_mailbox(f, "bob@b.example");
	const struct note note = { "alice@a.example", "bob@b.example", 1, 0 };
	struct db_notice before, after;

	notify_one(f, &note);
	assert_int_equal(notices(f, bob, &before, 1), 1);
	now_us += 5000;
	reopen(f);
	notify_one(f, &note);
	assert_int_equal(notices(f, bob, &after, 1), 1);
	assert_int_equal(after.cursor, before.cursor);
	assert_int_equal(after.announcement, before.announcement);
	assert_int_equal(after.received_us, before.received_us + 5000);
	assert_sound(f);
}

static void test_notify_many(void **state)
{
	struct fixture *f = *state;
	static const char *const names[] = { "bob@b.example", "nobody@b.example", "eve@b.example" };
	static const uint8_t wanted[] = { WIRE_NOTIFY_ACCEPTED, WIRE_NOTIFY_NO_USER,
		                          WIRE_NOTIFY_ACCEPTED };
	const struct note note = { "alice@a.example", "bob@b.example", 1, 0 };
	struct rnasp_command c = { .kind = RNASP_NOTIFY_MANY };
	uint8_t list[4096], labels[WIRE_LABELS_MAX], results[3];
	struct rnasp_addressee a;
	struct wire_list_writer w;
	struct db_notice b[2], e[2];
	struct db_stats stats;
	struct mailbox name;
	uint32_t bob = add_mailbox(f, "bob@b.example"), eve = add_mailbox(f, "eve@b.example");

	fill(&note, &c.u.notify_many.common);
	wire_list_writer_init(&w, list, sizeof list);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(name_parse_mailbox(span_str(names[i]), &name), 0);
		wire_mailbox_from_name(&name, labels, &a.recipient);
		memset(a.id, (int)i + 1, sizeof a.id);
		assert_int_equal(rnasp_addressee_append(&w, &a), 0);
	}
	c.u.notify_many.addressees = wire_list_view(&w);
	send_batch(f, &c, results);
	assert_memory_equal(results, wanted, 3);
	assert_int_equal(notices(f, bob, b, 2), 1);
	assert_int_equal(notices(f, eve, e, 2), 1);
	assert_int_equal(b[0].announcement, e[0].announcement);
	assert_int_equal(e[0].id[0], 3);
	assert_int_equal(db_stats(f->db, &stats), 0);
	assert_int_equal(stats.announcements, 1);
	assert_int_equal(stats.notices, 2);
	assert_sound(f);
}

/* Withdrawn: marked, at a new cursor; by another's certificate or for another's id: nothing. */
static void test_withdraw(void **state)
{
	struct fixture *f = *state;
	uint32_t bob = add_mailbox(f, "bob@b.example");
	const struct note note = { "alice@a.example", "bob@b.example", 1, 0 };
	struct db_notice before, n[2];

	notify_one(f, &note);
	assert_int_equal(notices(f, bob, &before, 1), 1);
	withdraw_one(f, "bob@b.example", 2);
	withdraw_one(f, "nobody@b.example", 1);
	assert_int_equal(notices(f, bob, n, 2), 1);
	assert_false(n[0].withdrawn);
	withdraw_one(f, "bob@b.example", 1);
	assert_int_equal(notices(f, bob, n, 2), 1);
	assert_true(n[0].withdrawn);
	assert_true(n[0].cursor > before.cursor);
	assert_int_equal(n[0].received_us, before.received_us);
	assert_sound(f);
}

static void forget(struct fixture *f, uint32_t mailbox, uint64_t cursor, int wanted)
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
	struct fixture *f = *state;
	uint32_t bob = add_mailbox(f, "bob@b.example");
	struct note note = { "alice@a.example", "bob@b.example", 0, 0 };
	struct db_notice n[10];
	struct db_stats stats;
	uint64_t last;

	for (note.id = 1; note.id <= 3; note.id++) {
		assert_int_equal(notify_one(f, &note), WIRE_NOTIFY_ACCEPTED);
	}
	assert_int_equal(notify_one(f, &note), WIRE_NOTIFY_FULL);
	assert_int_equal(notices(f, bob, n, 10), 3);
	last = n[2].cursor;
	forget(f, bob, last, 0);
	forget(f, bob, last, ERR_NOT_FOUND);
	forget(f, bob + 1, n[0].cursor, ERR_NOT_FOUND); /* another's cursor */
	reopen(f);
	assert_int_equal(notify_one(f, &note), WIRE_NOTIFY_ACCEPTED);
	assert_int_equal(notices(f, bob, n, 10), 3);
	assert_true(n[2].cursor > last);
	for (size_t i = 0; i < 3; i++) {
		forget(f, bob, n[i].cursor, 0);
	}
	assert_int_equal(db_stats(f->db, &stats), 0);
	assert_int_equal(stats.announcements, 0);
	assert_int_equal(stats.notices, 0);
	assert_sound(f);
}

static void test_expire(void **state)
{
	struct fixture *f = *state;
	uint32_t bob = add_mailbox(f, "bob@b.example");
	const struct note early = { "alice@a.example", "bob@b.example", 1, 2000000 },
			  late = { "alice@a.example", "bob@b.example", 2, 0 };
	struct db_notice n[10];
	struct kv_txn *t;

	notify_one(f, &late);
	notify_one(f, &early);
	assert_int_equal(kv_write_begin(db_kv(f->db), &t), 0);
	assert_int_equal(db_notice_expire(f->db, t, 1999999, 100), 0);
	assert_int_equal(db_notice_expire(f->db, t, 2000000, 100), 1);
	assert_int_equal(db_notice_expire(f->db, t, 2000000, 100), 0);
	assert_int_equal(kv_write_commit(t), 0);
	assert_int_equal(notices(f, bob, n, 10), 1);
	assert_int_equal(n[0].id[0], 2);
	assert_sound(f);
}

static void test_mailboxes(void **state)
{
	struct fixture *f = *state;
	struct db_mailbox m = { 0 }, found;
	struct kv_txn *t;
	uint32_t bob = add_mailbox(f, "bob@b.example"), eve = add_mailbox(f, "eve@b.example");

	notify_one(f, &(struct note) { "alice@a.example", "bob@b.example", 1, 0 });
	assert_int_equal(name_parse_mailbox(span_str("bob@b.example"), &m.name), 0);
	assert_int_equal(kv_write_begin(db_kv(f->db), &t), 0);
	assert_int_equal(db_mailbox_put(f->db, t, &m), ERR_EXISTS);
	m.number = 0;
	assert_int_equal(db_mailbox_find(f->db, t, &m.name, &found), 0);
	assert_int_equal(found.number, bob);
	assert_int_equal(found.kept, 1);
	assert_int_equal(db_mailbox_next(f->db, t, &m.name, &found), 0);
	assert_int_equal(found.number, eve);
	assert_int_equal(db_mailbox_remove(f->db, t, &m.name), 0);
	assert_int_equal(db_mailbox_remove(f->db, t, &m.name), ERR_NOT_FOUND);
	assert_int_equal(db_mailbox_next(f->db, t, NULL, &found), 0);
	assert_int_equal(found.number, eve);
	assert_int_equal(kv_write_commit(t), 0);
	assert_sound(f);
	assert_true(add_mailbox(f, "bob@b.example") > eve); /* a number is never used again */
}

/* Something in every table. */
static void fill_tables(struct fixture *f)
{
	struct db_rule rule = { .table = RULE_BLACKLIST, .value = "@a.example" };
	struct kv_txn *t;

	rule.owner = add_mailbox(f, "bob@b.example");
	notify_one(f, &(struct note) { "alice@a.example", "bob@b.example", 1, 0 });
	assert_int_equal(kv_write_begin(db_kv(f->db), &t), 0);
	assert_int_equal(db_rule_add(f->db, t, &rule), 0);
	assert_int_equal(db_rule_add(f->db, t, &rule), ERR_EXISTS);
	assert_int_equal(kv_write_commit(t), 0);
}

/* Damage made by hand in each table is found. */
static void test_check_finds(void **state)
{
	struct fixture *f = *state;
	uint8_t wrong[64] = { 9 };
	struct span key, value;
	struct kv_cursor *c;
	struct kv_txn *t;

	fill_tables(f);
	assert_sound(f);
	for (int table = TABLE_MAILBOX; table < TABLES; table++) {
		uint8_t copy[128];
		size_t n;

		assert_int_equal(kv_write_begin(db_kv(f->db), &t), 0);
		assert_int_equal(kv_cursor_open(t, f->db->table[table], &c), 0);
		assert_int_equal(kv_cursor_last(c, &key, &value), 0);
		memcpy(copy, key.p, n = key.n);
		kv_cursor_close(c);
		if (table == TABLE_EXPIRY) {
			assert_int_equal(kv_delete(t, f->db->table[table], span_of(copy, n)), 0);
		} else {
			assert_int_equal(kv_put(t, f->db->table[table], span_of(copy, n),
			                        span_of(wrong, sizeof wrong)),
			                 0);
		}
		assert_int_equal(kv_write_commit(t), 0);
		if (db_check(f->db, print_line, NULL) <= 0) {
			fail_msg("damage in table %d was not found", table);
		}
		teardown(state);
		setup(state);
		f = *state;
		fill_tables(f);
	}
}

/* Entries that cannot be read by themselves, and those that only disagree with others. */
static void test_check_finds_sums(void **state)
{
	const struct {
		const char *what;
		enum db_table table;
		uint8_t key[32];
		size_t key_n;
		uint8_t value[12];
		size_t value_n; /* 0: the entry is removed */
	} cases[] = {
		{ "a mailbox's counter", TABLE_NOTICE, { 0, 0, 0, 1, 'c' }, 5, { 0, 0, 0, 2 }, 4 },
		{ "no counter", TABLE_NOTICE, { 0, 0, 0, 1, 'c' }, 5, { 0 }, 0 },
		{ "an origin's counter", TABLE_NOTICE, "\0\0\0\1oa.example", 14, { 0, 0, 0, 2 }, 4 },
		{ "no origin", TABLE_NOTICE, "\0\0\0\1oa.example", 14, { 0 }, 0 },
		{ "another origin", TABLE_NOTICE, "\0\0\0\1ox.example", 14, { 0, 0, 0, 1 }, 4 },
		{ "no such mailbox", TABLE_NOTICE, { 0, 0, 0, 9, 'c' }, 5, { 0, 0, 0, 1 }, 4 },
		{ "an unknown kind", TABLE_NOTICE, { 0, 0, 0, 1, 'x' }, 5, { 0, 0, 0, 1 }, 4 },
		{ "the last cursor", TABLE_META, "cursor", 6, { 0, 0, 0, 0, 0, 0, 0, 1 }, 8 },
		{ "no last cursor", TABLE_META, "cursor", 6, { 0 }, 0 },
		{ "the last mailbox", TABLE_META, "mailbox", 7, { 0 }, 8 },
		{ "the last announcement", TABLE_META, "announcement", 12, { 0 }, 8 },
		{ "a policy of nobody", TABLE_POLICY, "\0\0\0\t\1@a.example", 15, { 1 }, 9 },
		{ "no value of a policy", TABLE_POLICY, "\0\0\0\1\1a.example", 14, { 1 }, 9 },
		{ "no such table", TABLE_POLICY, "\0\0\0\0\7@a.example", 15, { 1 }, 9 },
		{ "an expiry of nothing", TABLE_EXPIRY, { 0, 0, 0, 0, 0, 0, 0, 7 }, 20, { 0 }, 1 },
	};
	struct fixture *f;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct kv_txn *t;
		struct span key = span_of(cases[i].key, cases[i].key_n);

		f = *state;
		add_mailbox(f, "bob@b.example");
		notify_one(f, &(struct note) { "alice@a.example", "bob@b.example", 1, 0 });
		notify_one(f, &(struct note) { "alice@a.example", "bob@b.example", 2, 0 });
		forget(f, 1, 1, 0); /* one notification is left: number 2, of announcement 2 */
		assert_sound(f);
		assert_int_equal(kv_write_begin(db_kv(f->db), &t), 0);
		assert_int_equal(cases[i].value_n == 0
		                     ? kv_delete(t, f->db->table[cases[i].table], key)
		                     : kv_put(t, f->db->table[cases[i].table], key,
		                              span_of(cases[i].value, cases[i].value_n)),
		                 0);
		assert_int_equal(kv_write_commit(t), 0);
		if (db_check(f->db, print_line, NULL) <= 0) {
			fail_msg("%s: was not found", cases[i].what);
		}
		teardown(state);
		setup(state);
	}
}

/* Too many references, and too few. */
static void test_check_finds_references(void **state)
{
	struct fixture *f = *state;
	struct kv_txn *t;

	add_mailbox(f, "bob@b.example");
	notify_one(f, &(struct note) { "alice@a.example", "bob@b.example", 1, 0 });
	notify_one(f, &(struct note) { "alice@a.example", "bob@b.example", 2, 0 });
	assert_int_equal(kv_write_begin(db_kv(f->db), &t), 0);
	assert_int_equal(db_announcement_refer(f->db, t, 1, 1), 0);
	assert_int_equal(kv_write_commit(t), 0);
	assert_int_equal(db_check(f->db, print_line, NULL), 1);
	assert_int_equal(kv_write_begin(db_kv(f->db), &t), 0);
	assert_int_equal(db_announcement_refer(f->db, t, 1, -2), 0); /* it goes, its notice stays */
	assert_int_equal(kv_write_commit(t), 0);
	assert_true(db_check(f->db, print_line, NULL) > 0);
}

/* The sweep passes over what is damaged, and over entries that lead to nothing. */
static void test_sweep_passes_damage(void **state)
{
	static const uint8_t nothing[20] = { 0, 0, 0, 0, 0, 0, 0, 1 };
	struct fixture *f = *state;
	uint32_t bob = add_mailbox(f, "bob@b.example");
	struct note note = { "alice@a.example", "bob@b.example", 0, 2000000 };
	struct db_notice n[4];
	uint8_t key[8];
	struct kv_txn *t;

	for (note.id = 1; note.id <= 3; note.id++) {
		notify_one(f, &note);
	}
	assert_int_equal(kv_write_begin(db_kv(f->db), &t), 0);
	kv_put_u64(key, 2);
	assert_int_equal(kv_delete(t, f->db->table[TABLE_ANNOUNCEMENT], span_of(key, 8)), 0);
	assert_int_equal(kv_put(t, f->db->table[TABLE_EXPIRY], span_of(nothing, 20),
	                        span_of(NULL, 0)),
	                 0);
	assert_int_equal(kv_write_commit(t), 0);

	assert_int_equal(kv_write_begin(db_kv(f->db), &t), 0);
	assert_int_equal(db_notice_expire(f->db, t, 2000000, 100), 2);
	assert_int_equal(kv_write_commit(t), 0);
	assert_int_equal(notices(f, bob, n, 4), 1);
	assert_int_equal(n[0].cursor, 2);
	/* It cannot be removed without the announcement that says whose it is, and says so. */
	forget(f, bob, 2, ERR_MALFORMED);
}

/* LIMIT is how many are looked at; the next call goes on. */
static void test_sweep_in_pieces(void **state)
{
	struct fixture *f = *state;
	uint32_t bob = add_mailbox(f, "bob@b.example");
	struct note note = { "alice@a.example", "bob@b.example", 0, 2000000 };
	struct db_notice n[4];
	struct kv_txn *t;

	for (note.id = 1; note.id <= 3; note.id++) {
		notify_one(f, &note);
	}
	assert_int_equal(kv_write_begin(db_kv(f->db), &t), 0);
	assert_int_equal(db_notice_expire(f->db, t, 3000000, 2), 2);
	assert_int_equal(db_notice_expire(f->db, t, 3000000, 2), 1);
	assert_int_equal(db_notice_expire(f->db, t, 3000000, 2), 0);
	assert_int_equal(kv_write_commit(t), 0);
	assert_int_equal(notices(f, bob, n, 4), 0);
	assert_sound(f);
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
	struct fixture *f = *state;
	uint8_t list[4096], buf[8192];

	add_mailbox(f, "bob@b.example");
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const struct note note = { cases[i].sender, "bob@b.example", 1, 0 };
		struct rnasp_command c = { .kind = RNASP_NOTIFY };
		struct wire_notification n;
		struct wire_list_writer w;
		const struct intake_place place = { f->db, &f->policy, NULL };
		struct intake_batch *b;
		struct span frame;

		f->policy.keep_unverified = cases[i].keep;
		fill(&note, &n);
		wire_list_writer_init(&w, list, sizeof list);
		assert_int_equal(wire_notification_append(&w, &n), 0);
		c.u.notify.notifications = wire_list_view(&w);
		assert_int_equal(rnasp_command_encode(&c, buf, sizeof buf, &frame), 0);
		assert_int_equal(intake_create(&place, NULL, span_after(frame, FRAME_PREFIX), covers,
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
		cmocka_unit_test_setup_teardown(test_results, setup, teardown),
		cmocka_unit_test_setup_teardown(test_repeat, setup, teardown),
		cmocka_unit_test_setup_teardown(test_notify_many, setup, teardown),
		cmocka_unit_test_setup_teardown(test_withdraw, setup, teardown),
		cmocka_unit_test_setup_teardown(test_forget, setup, teardown),
		cmocka_unit_test_setup_teardown(test_expire, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mailboxes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_check_finds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_check_finds_sums, setup, teardown),
		cmocka_unit_test_setup_teardown(test_check_finds_references, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sweep_passes_damage, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sweep_in_pieces, setup, teardown),
		cmocka_unit_test_setup_teardown(test_settled, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
