/* Whom an address reaches: aliases, tags, catch-all; and what comes of a notification to one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "notify/db_internal.h"
#include "inrig.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ADDRESS stands for TARGETS, which are divided by blanks; none: it goes. */
static void alias(struct inrig *f, const char *address, const char *targets)
{
	struct db_alias a = { .n = 0 };
	struct kv_txn *t;
	size_t n;

	assert_int_equal(span_copy(span_str(address), a.address, sizeof a.address), 0);
	for (; *targets != '\0'; targets += n + (targets[n] == ' ')) {
		n = strcspn(targets, " ");
		assert_int_equal(name_parse_mailbox(span_of(targets, n), &a.target[a.n++]), 0);
	}
	assert_int_equal(kv_write_begin(db_kv(f->db), &t), 0);
	assert_int_equal(db_alias_put(f->db, t, &a), 0);
	assert_int_equal(kv_write_commit(t), 0);
}

/* The alias as db_alias_find has it: its targets, or "-". */
static const char *targets_of(struct inrig *f, const char *address)
{
	struct kv_txn *t = db_read_begin(f->db);
	static char text[1024];
	struct db_alias a;
	int r = db_alias_find(f->db, t, address, &a), n = 0;

	db_read_end(t);
	if (r == ERR_NOT_FOUND) {
		return "-";
	}
	assert_int_equal(r, 0);
	for (unsigned i = 0; i < a.n; i++) {
		n += snprintf(text + n, sizeof text - (size_t)n, "%s%s", i > 0 ? " " : "",
		              a.target[i].text);
	}
	return text;
}

static void remove_mailbox(struct inrig *f, const char *text)
{
	struct mailbox name;
	struct kv_txn *t;

	assert_int_equal(name_parse_mailbox(span_str(text), &name), 0);
	assert_int_equal(kv_write_begin(db_kv(f->db), &t), 0);
	assert_int_equal(db_mailbox_remove(f->db, t, &name), 0);
	assert_int_equal(kv_write_commit(t), 0);
}

/* --- the order of the look-up --------------------------------------------------------------- */

/* The numbers of the mailboxes that ADDRESS reaches, as "1 3"; "-": nobody. */
static const char *reached(struct inrig *f, const char *address, char tag, bool *named)
{
	struct kv_txn *t = db_read_begin(f->db);
	static char text[512];
	struct db_targets targets;
	struct mailbox name;
	int r, n = 0;

	assert_int_equal(name_parse_mailbox(span_str(address), &name), 0);
	r = db_address_find(f->db, t, &name, tag, &targets);
	db_read_end(t);
	*named = r == 0 && targets.named;
	if (r == ERR_NOT_FOUND) {
		return "-";
	}
	assert_int_equal(r, 0);
	for (unsigned i = 0; i < targets.n; i++) {
		n += snprintf(text + n, sizeof text - (size_t)n, "%s%u", i > 0 ? " " : "",
		              targets.item[i].mailbox);
	}
	return text;
}

static void test_order(void **state)
{
	static const struct {
		const char *address;
		char tag;
		const char *reached;
		bool named;
	} cases[] = {
		/* 1 bob, 2 eve, 3 bob+list, 4 ann */
		{ "bob@b.example", '+', "1", true },
		{ "bob@B.Example", '+', "1", true },
		{ "Bob@b.example", '+', "-", false },
		{ "bob@c.example", '+', "4", false }, /* the catch-all of another domain */
		{ "info@b.example", '+', "1 2", false },
		{ "bob+x@b.example", '+', "1", false },
		{ "bob+x+y@b.example", '+', "1", false },
		{ "bob+@b.example", '+', "1", false },
		{ "+bob@b.example", '+', "-", false },
		{ "bob-x@b.example", '+', "-", false },
		{ "bob-x@b.example", '-', "1", false },
		{ "bob+x@b.example", '\0', "-", false },
		/* What is more particular goes first. */
		{ "bob+list@b.example", '+', "3", true },
		{ "bob+list+x@b.example", '+', "1", false },
		{ "bob+eve@b.example", '+', "2", false },
		{ "bob+eve@b.example", '\0', "2", false },
		{ "info+x@b.example", '+', "1 2", false },
		{ "info+eve@b.example", '+', "2", false },
		{ "\"bob+x y\"@b.example", '+', "1", false },
		{ "nobody@b.example", '+', "-", false },
		/* The catch-all is last. */
		{ "nobody@c.example", '+', "4", false },
		{ "ann@c.example", '+', "4", false },
		{ "x+y@c.example", '+', "4", false },
		{ "sales@c.example", '+', "1", false },
		{ "sales+x@c.example", '+', "1", false },
		{ "nobody@mail.c.example", '+', "-", false },
	};
	struct inrig *f = *state;
	bool named;

	assert_int_equal(inrig_mailbox(f, "bob@b.example"), 1);
	assert_int_equal(inrig_mailbox(f, "eve@b.example"), 2);
	assert_int_equal(inrig_mailbox(f, "bob+list@b.example"), 3);
	assert_int_equal(inrig_mailbox(f, "ann@b.example"), 4);
	alias(f, "info@b.example", "bob@b.example eve@b.example");
	alias(f, "bob+eve@b.example", "eve@b.example");
	alias(f, "info+eve@b.example", "eve@b.example");
	alias(f, "@c.example", "ann@b.example");
	alias(f, "sales@c.example", "bob@b.example");
	for (size_t i = 0; i < COUNT(cases); i++) {
		const char *got = reached(f, cases[i].address, cases[i].tag, &named);

		if (strcmp(got, cases[i].reached) != 0 || named != cases[i].named) {
			fail_msg("%s by '%c': %s%s", cases[i].address, cases[i].tag, got,
			         named ? ", its own name" : "");
		}
	}
	inrig_sound(f);
}

/* --- keeping them ---------------------------------------------------------------------------- */

static void test_kept(void **state)
{
	struct inrig *f = *state;
	struct db_stats stats;
	struct db_alias a;
	struct kv_txn *t;

	inrig_mailbox(f, "bob@b.example");
	inrig_mailbox(f, "eve@b.example");
	alias(f, "info@b.example", "bob@b.example eve@b.example");
	alias(f, "@b.example", "eve@b.example");
	alias(f, "sales@b.example", "bob@b.example");
	inrig_reopen(f);
	assert_string_equal(targets_of(f, "info@b.example"), "bob@b.example eve@b.example");
	alias(f, "info@b.example", "eve@b.example bob@b.example");
	assert_string_equal(targets_of(f, "info@b.example"), "eve@b.example bob@b.example");
	t = db_read_begin(f->db);
	assert_int_equal(db_alias_next(f->db, t, NULL, &a), 0);
	assert_string_equal(a.address, "@b.example");
	assert_int_equal(db_alias_next(f->db, t, a.address, &a), 0);
	assert_string_equal(a.address, "info@b.example");
	assert_int_equal(db_alias_next(f->db, t, "j", &a), 0);
	assert_string_equal(a.address, "sales@b.example");
	assert_int_equal(db_alias_next(f->db, t, a.address, &a), ERR_NOT_FOUND);
	db_read_end(t);
	assert_int_equal(db_stats(f->db, &stats), 0);
	assert_int_equal(stats.aliases, 3);
	/* A mailbox leaves them all, and with the last one an alias goes. */
	remove_mailbox(f, "bob@b.example");
	assert_string_equal(targets_of(f, "info@b.example"), "eve@b.example");
	assert_string_equal(targets_of(f, "sales@b.example"), "-");
	inrig_sound(f);
	remove_mailbox(f, "eve@b.example");
	assert_string_equal(targets_of(f, "info@b.example"), "-");
	assert_string_equal(targets_of(f, "@b.example"), "-");
	assert_int_equal(db_stats(f->db, &stats), 0);
	assert_int_equal(stats.aliases, 0);
	inrig_sound(f);
}

static void count_gone(void *ctx, const char *address)
{
	assert_string_equal(address, "sales@b.example");
	++*(int *)ctx;
}

static void test_forget_tells(void **state)
{
	struct inrig *f = *state;
	struct mailbox bob;
	struct kv_txn *t;
	int gone = 0;

	inrig_mailbox(f, "bob@b.example");
	inrig_mailbox(f, "eve@b.example");
	alias(f, "info@b.example", "bob@b.example eve@b.example");
	alias(f, "sales@b.example", "bob@b.example");
	assert_int_equal(name_parse_mailbox(span_str("bob@b.example"), &bob), 0);
	assert_int_equal(kv_write_begin(db_kv(f->db), &t), 0);
	assert_int_equal(db_alias_forget(f->db, t, &bob, count_gone, &gone), 0);
	assert_int_equal(kv_write_commit(t), 0);
	assert_int_equal(gone, 1);
	assert_string_equal(targets_of(f, "info@b.example"), "eve@b.example");
}

static void test_check_finds(void **state)
{
	static const struct {
		const char *key;
		struct span value;
	} cases[] = {
		{ "info@b.example", { (const uint8_t *)"\1nobody@b.example", 18 } },
		{ "info@b.example", { (const uint8_t *)"\1bob@b.example\0x", 16 } },
		{ "info@b.example", { (const uint8_t *)"\1bob@b.example", 14 } }, /* not ended */
		{ "info@b.example", { (const uint8_t *)"\2bob@b.example", 15 } },
		{ "info@b.example", { (const uint8_t *)"\1bob", 5 } },
		{ "info@b.example", { (const uint8_t *)"\1", 1 } },
		{ "info@b.example", { (const uint8_t *)"", 0 } },
		{ "info", { (const uint8_t *)"\1bob@b.example", 15 } },
	};
	struct inrig *f = *state;
	struct kv_txn *t;

	inrig_mailbox(f, "bob@b.example");
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct span key = span_str(cases[i].key);

		assert_int_equal(kv_write_begin(db_kv(f->db), &t), 0);
		assert_int_equal(kv_put(t, f->db->table[TABLE_ALIAS], key, cases[i].value), 0);
		assert_int_equal(kv_write_commit(t), 0);
		if (db_check(f->db, inrig_print, NULL) != 1) {
			fail_msg("case %zu was not found", i);
		}
		/* What is damaged can be taken away. */
		assert_int_equal(kv_write_begin(db_kv(f->db), &t), 0);
		assert_int_equal(db_alias_remove(f->db, t, cases[i].key), 0);
		assert_int_equal(kv_write_commit(t), 0);
	}
	inrig_sound(f);
}

/* --- notifications --------------------------------------------------------------------------- */

static size_t kept(struct inrig *f, uint32_t mailbox)
{
	struct db_notice list[20];

	return inrig_notices(f, mailbox, list, COUNT(list));
}

static uint64_t announcements(struct inrig *f)
{
	struct db_stats stats;

	assert_int_equal(db_stats(f->db, &stats), 0);
	return stats.announcements;
}

/* The address that the mailbox's notice at AT was kept for; "-": its own name. */
static const char *address_of(struct inrig *f, uint32_t mailbox, size_t at)
{
	struct kv_txn *t = db_read_begin(f->db);
	struct wire_notification n;
	struct db_announcement a;
	struct db_notice list[20];
	static struct mailbox name;

	assert_true(inrig_notices(f, mailbox, list, at + 1) == at + 1);
	assert_int_equal(db_announcement_get(f->db, t, list[at].announcement, &a), 0);
	assert_int_equal(wire_notification_decode(a.der, &n), 0);
	assert_int_equal(wire_mailbox_to_name(&n.recipient, &name), 0);
	db_read_end(t);
	return a.addressed ? name.text : "-";
}

/* Stored once, listed for each; a repeat by whatever way is one; a withdrawal reaches all. */
static void test_several(void **state)
{
	const struct note note = { "alice@a.example", "info@b.example", 1, 0 };
	const struct note direct = { "alice@a.example", "bob@b.example", 1, 0 };
	const struct note tagged = { "alice@a.example", "eve+x@b.example", 1, 0 };
	struct inrig *f = *state;
	uint32_t bob = inrig_mailbox(f, "bob@b.example"), eve = inrig_mailbox(f, "eve@b.example");
	struct db_notice n;

	alias(f, "info@b.example", "bob@b.example eve@b.example");
	for (int i = 0; i < 2; i++) {
		assert_int_equal(inrig_notify(f, &note), WIRE_NOTIFY_ACCEPTED);
		assert_int_equal(inrig_notify(f, &direct), WIRE_NOTIFY_ACCEPTED);
		assert_int_equal(inrig_notify(f, &tagged), WIRE_NOTIFY_ACCEPTED);
		assert_int_equal(kept(f, bob), 1);
		assert_int_equal(kept(f, eve), 1);
		assert_int_equal(announcements(f), 1);
	}
	assert_string_equal(address_of(f, bob, 0), "info@b.example");
	assert_string_equal(address_of(f, eve, 0), "info@b.example");
	inrig_withdraw(f, "info@b.example", 1);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(inrig_notices(f, i == 0 ? bob : eve, &n, 1), 1);
		assert_true(n.withdrawn);
	}
	assert_int_equal(announcements(f), 1);
	assert_string_equal(address_of(f, eve, 0), "info@b.example");
	inrig_sound(f);
	/* Who joins later gets what is said again, and the others not twice. */
	inrig_mailbox(f, "ann@b.example");
	alias(f, "info@b.example", "bob@b.example eve@b.example ann@b.example");
	assert_int_equal(inrig_notify(f, &note), WIRE_NOTIFY_ACCEPTED);
	assert_int_equal(kept(f, 3), 1);
	assert_int_equal(kept(f, bob) + kept(f, eve), 2);
	inrig_sound(f);
}

/* What is common to many is kept once, what was addressed otherwise by itself. */
static void test_many(void **state)
{
	static const struct addressee to[] = {
		{ "bob@b.example", 1 },    { "info@b.example", 2 }, { "eve@b.example", 3 },
		{ "nobody@b.example", 4 }, { "bob+x@b.example", 5 }, { "eve@b.example", 3 },
	};
	static const uint8_t wanted[] = { WIRE_NOTIFY_ACCEPTED, WIRE_NOTIFY_ACCEPTED,
		                          WIRE_NOTIFY_ACCEPTED, WIRE_NOTIFY_NO_USER,
		                          WIRE_NOTIFY_ACCEPTED, WIRE_NOTIFY_ACCEPTED };
	const struct note note = { "alice@a.example", "bob@b.example", 1, 0 };
	struct inrig *f = *state;
	uint32_t bob = inrig_mailbox(f, "bob@b.example"), eve = inrig_mailbox(f, "eve@b.example");
	uint8_t results[COUNT(to)];

	alias(f, "info@b.example", "bob@b.example eve@b.example");
	for (int i = 0; i < 2; i++) {
		inrig_notify_many(f, &note, to, COUNT(to), results);
		assert_memory_equal(results, wanted, sizeof wanted);
		assert_int_equal(kept(f, bob), 3);
		assert_int_equal(kept(f, eve), 2);
		assert_int_equal(announcements(f), 3);
	}
	assert_string_equal(address_of(f, bob, 0), "-");
	assert_string_equal(address_of(f, bob, 1), "info@b.example");
	assert_string_equal(address_of(f, bob, 2), "bob+x@b.example");
	assert_string_equal(address_of(f, eve, 1), "-");
	inrig_sound(f);
}

/* One that is full: nobody gets it, and the store comes again. */
static void test_full(void **state)
{
	struct note note = { "alice@a.example", "eve@b.example", 1, 0 };
	struct inrig *f = *state;
	uint32_t bob = inrig_mailbox(f, "bob@b.example"), eve = inrig_mailbox(f, "eve@b.example");

	alias(f, "info@b.example", "bob@b.example eve@b.example");
	for (note.id = 1; note.id <= 3; note.id++) {
		assert_int_equal(inrig_notify(f, &note), WIRE_NOTIFY_ACCEPTED);
	}
	note.recipient = "info@b.example";
	assert_int_equal(inrig_notify(f, &note), WIRE_NOTIFY_FULL);
	assert_int_equal(kept(f, bob), 0);
	assert_int_equal(announcements(f), 3);
	/* What she has is no more for her. */
	note.id = 3;
	assert_int_equal(inrig_notify(f, &note), WIRE_NOTIFY_ACCEPTED);
	assert_int_equal(kept(f, bob), 1);
	assert_int_equal(kept(f, eve), 3);
	inrig_sound(f);
}

static void block(struct inrig *f, uint32_t owner, const char *value)
{
	struct db_rule rule = { .owner = owner, .table = RULE_BLACKLIST };
	struct kv_txn *t;

	assert_int_equal(span_copy(span_str(value), rule.value, sizeof rule.value), 0);
	assert_int_equal(kv_write_begin(db_kv(f->db), &t), 0);
	assert_int_equal(db_rule_add(f->db, t, &rule), 0);
	assert_int_equal(kv_write_commit(t), 0);
}

static void test_policies(void **state)
{
	struct note note = { "alice@a.example", "info@b.example", 1, 0 };
	const struct note evil = { "x@evil.example", "info@b.example", 9, 0 };
	const struct note over = { "alice@a.example", "info@b.example", 9, 999999 };
	struct inrig *f = *state;
	uint32_t bob = inrig_mailbox(f, "bob@b.example"), eve = inrig_mailbox(f, "eve@b.example");

	alias(f, "info@b.example", "bob@b.example eve@b.example");
	assert_int_equal(inrig_notify(f, &evil), WIRE_NOTIFY_UNVERIFIED);
	assert_int_equal(inrig_notify(f, &over), WIRE_NOTIFY_REFUSED);
	block(f, bob, "@a.example");
	assert_int_equal(inrig_notify(f, &note), WIRE_NOTIFY_ACCEPTED);
	assert_int_equal(kept(f, bob), 0);
	assert_int_equal(kept(f, eve), 1);
	block(f, eve, "alice@a.example");
	note.id = 2;
	assert_int_equal(inrig_notify(f, &note), WIRE_NOTIFY_REFUSED);
	assert_int_equal(kept(f, eve), 1);
	block(f, DB_OPERATOR, "@c.example");
	note.sender = "carol@c.example";
	assert_int_equal(inrig_notify(f, &note), WIRE_NOTIFY_REFUSED);
	inrig_sound(f);
}

/* An alias of as many mailboxes as it may have. */
static void test_most(void **state)
{
	const struct note note = { "alice@a.example", "all@b.example", 1, 0 };
	struct inrig *f = *state;
	struct db_alias a = { .address = "all@b.example" };
	char text[40];
	struct kv_txn *t;

	for (a.n = 0; a.n < DB_ALIAS_TARGETS; a.n++) {
		snprintf(text, sizeof text, "m%u@b.example", a.n);
		assert_int_equal(name_parse_mailbox(span_str(text), &a.target[a.n]), 0);
		inrig_mailbox(f, text);
	}
	assert_int_equal(kv_write_begin(db_kv(f->db), &t), 0);
	assert_int_equal(db_alias_put(f->db, t, &a), 0);
	assert_int_equal(kv_write_commit(t), 0);
	assert_int_equal(inrig_notify(f, &note), WIRE_NOTIFY_ACCEPTED);
	assert_int_equal(announcements(f), 1);
	for (uint32_t i = 1; i <= DB_ALIAS_TARGETS; i++) {
		assert_int_equal(kept(f, i), 1);
	}
	inrig_withdraw(f, "all@b.example", 1);
	inrig_sound(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define CASE(test) cmocka_unit_test_setup_teardown(test, inrig_setup, inrig_teardown)
		CASE(test_order),
		CASE(test_kept),
		CASE(test_forget_tells),
		CASE(test_check_finds),
		CASE(test_several),
		CASE(test_many),
		CASE(test_full),
		CASE(test_policies),
		CASE(test_most),
#undef CASE
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
