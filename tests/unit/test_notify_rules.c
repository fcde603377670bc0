/* builds: plain asan tsan */
/* The policy's tables: values, what they say of a sender, the database, and RNAQP `policy`. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "notify/rules.h"
#include "notify_fixture.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void test_values(void **state)
{
	static const struct {
		enum rule_table table;
		const char *text, *value; /* NULL: none */
	} cases[] = {
		{ RULE_BLACKLIST, "eve@A.Example", "eve@a.example" },
		{ RULE_BLACKLIST, "Eve@a.example.", "Eve@a.example" },
		{ RULE_BLACKLIST, "\"e v\"@a.example", "\"e v\"@a.example" },
		{ RULE_BLACKLIST, "\"eve\"@a.example", "eve@a.example" },
		{ RULE_BLACKLIST, "\"@x\"@a.example", "\"@x\"@a.example" },
		{ RULE_WHITELIST, "@A.Example", "@a.example" },
		{ RULE_WHITELIST, "@.A.Example.", "@.a.example" },
		{ RULE_WHITELIST, "@b\xc3\xbc" "cher.example", "@xn--bcher-kva.example" },
		{ RULE_WHITELIST, "@.example", "@.example" },
		{ RULE_STRANGERS, "refuse", "refuse" },
		{ RULE_STRANGERS, "accept", NULL },
		{ RULE_STRANGERS, "Refuse", NULL },
		{ RULE_STRANGERS, "", NULL },
		{ RULE_BLACKLIST, "", NULL },
		{ RULE_BLACKLIST, "@", NULL },
		{ RULE_BLACKLIST, "@.", NULL },
		{ RULE_BLACKLIST, "@..a.example", NULL },
		{ RULE_BLACKLIST, "@x@a.example", NULL },
		{ RULE_BLACKLIST, "eve", NULL },
		{ RULE_BLACKLIST, "a.example", NULL },
		{ RULE_BLACKLIST, "eve@[127.0.0.1]", NULL },
		{ RULE_BLACKLIST, "eve@.a.example", NULL },
	};
	char value[RULE_VALUE_CAP];

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		int r = rule_value_parse(cases[i].table, span_str(cases[i].text), value);

		if (r != (cases[i].value == NULL ? ERR_MALFORMED : 0) ||
		    (r == 0 && strcmp(value, cases[i].value) != 0)) {
			fail_msg("\"%s\": %d \"%s\"", cases[i].text, r, value);
		}
	}
}

static void test_walk(void **state)
{
	static const char *const wanted[] = { "\"e v\"@c.b.example", "@c.b.example",
		                              "@.c.b.example", "@.b.example", "@.example" };
	struct mailbox sender;
	struct rule_walk w;

	(void)state;
	assert_int_equal(name_parse_mailbox(span_str("\"e v\"@c.b.example"), &sender), 0);
	rule_walk_begin(&w, &sender);
	for (size_t i = 0; i < COUNT(wanted); i++) {
		assert_true(rule_walk_next(&w));
		assert_string_equal(w.value, wanted[i]);
	}
	assert_false(rule_walk_next(&w));
}

/* --- the database ---------------------------------------------------------------------------- */

static void change(struct agent *a, uint32_t owner, enum wire_policy_action action,
                   const char *table, const char *value, int result)
{
	struct rules_command c;
	struct kv_txn *t;

	assert_int_equal(rules_read(action, span_str(table), span_str(value), &c, NULL), 0);
	assert_int_equal(kv_write_begin(db_kv(a->db), &t), 0);
	assert_int_equal(rules_apply(a->db, t, owner, &c), result);
	assert_int_equal(kv_write_commit(t), 0);
}

static void expect(struct agent *a, uint32_t owner, const char *from, enum rule_verdict wanted,
                   bool wanted_strangers)
{
	enum rule_verdict verdict;
	struct mailbox sender;
	struct kv_txn *t;
	bool strangers;

	assert_int_equal(name_parse_mailbox(span_str(from), &sender), 0);
	t = db_read_begin(a->db);
	assert_int_equal(db_rule_verdict(a->db, t, owner, &sender, &verdict, &strangers), 0);
	db_read_end(t);
	if (verdict != wanted || strangers != wanted_strangers) {
		fail_msg("%u, %s: %d, strangers %d", owner, from, verdict, strangers);
	}
}

static void test_verdicts(void **state)
{
	static const struct {
		const char *from;
		enum rule_verdict verdict;
	} cases[] = {
		{ "eve@a.example", RULE_REFUSE },          /* by name */
		{ "Eve@a.example", RULE_ADMIT },           /* local parts are as they are: @a.example */
		{ "bob@a.example", RULE_ADMIT },           /* @a.example */
		{ "bob@deep.a.example", RULE_REFUSE },     /* @.a.example */
		{ "ada@deep.a.example", RULE_ADMIT },      /* by name, against it */
		{ "bob@ok.a.example", RULE_ADMIT },        /* @.ok.a.example, nearer */
		{ "bob@very.ok.a.example", RULE_ADMIT },   /* the same, below */
		{ "bob@both.example", RULE_REFUSE },       /* in both tables */
		{ "bob@xa.example", RULE_SILENT },         /* no label's end */
		{ "bob@example", RULE_SILENT },
	};
	struct agent *a = *state;
	uint32_t bob = agent_mailbox(a, "bob"), eve = agent_mailbox(a, "eve");

	for (size_t i = 0; i < COUNT(cases); i++) {
		expect(a, bob, cases[i].from, RULE_SILENT, false);
	}
	change(a, bob, WIRE_POLICY_ADD, "blacklist", "eve@a.example", 1);
	change(a, bob, WIRE_POLICY_ADD, "blacklist", "eve@A.example", 0);
	change(a, bob, WIRE_POLICY_ADD, "whitelist", "@a.example", 1);
	change(a, bob, WIRE_POLICY_ADD, "blacklist", "@.a.example", 1);
	change(a, bob, WIRE_POLICY_ADD, "whitelist", "ada@deep.a.example", 1);
	change(a, bob, WIRE_POLICY_ADD, "whitelist", "@.ok.a.example", 1);
	change(a, bob, WIRE_POLICY_ADD, "whitelist", "@both.example", 1);
	change(a, bob, WIRE_POLICY_ADD, "blacklist", "@both.example", 1);
	for (size_t i = 0; i < COUNT(cases); i++) {
		expect(a, bob, cases[i].from, cases[i].verdict, false);
		/* Of the tables of one nothing shows at another. */
		expect(a, eve, cases[i].from, RULE_SILENT, false);
		expect(a, DB_OPERATOR, cases[i].from, RULE_SILENT, false);
	}
	change(a, bob, WIRE_POLICY_ADD, "strangers", "refuse", 1);
	expect(a, bob, "bob@example", RULE_SILENT, true);
	expect(a, eve, "bob@example", RULE_SILENT, false);
	change(a, bob, WIRE_POLICY_REMOVE, "strangers", "refuse", 1);
	change(a, bob, WIRE_POLICY_REMOVE, "strangers", "refuse", 0);
	expect(a, bob, "bob@example", RULE_SILENT, false);
	/* A mailbox that is made anew begins without. (The teardown checks the database.) */
	agent_mailbox_remove(a, "bob");
	bob = agent_mailbox(a, "bob");
	expect(a, bob, "eve@a.example", RULE_SILENT, false);
}

static void test_limit(void **state)
{
	struct agent *a = *state;
	uint32_t bob = agent_mailbox(a, "bob");
	char value[40];

	for (unsigned i = 0; i < RULES_MAX; i++) {
		snprintf(value, sizeof value, "@a%u.example", i);
		change(a, bob, WIRE_POLICY_ADD, "blacklist", value, 1);
		change(a, DB_OPERATOR, WIRE_POLICY_ADD, "blacklist", value, 1);
	}
	change(a, bob, WIRE_POLICY_ADD, "blacklist", "@more.example", ERR_TOO_BIG);
	change(a, bob, WIRE_POLICY_ADD, "blacklist", "@a7.example", 0); /* there already */
	change(a, bob, WIRE_POLICY_ADD, "whitelist", "@more.example", 1);
	change(a, DB_OPERATOR, WIRE_POLICY_ADD, "blacklist", "@more.example", 1);
	change(a, bob, WIRE_POLICY_REMOVE, "blacklist", "@a7.example", 1);
	change(a, bob, WIRE_POLICY_ADD, "blacklist", "@more.example", 1);
}

/* --- RNAQP ------------------------------------------------------------------------------------ */

/* Asks; the status, and the values one after the other in OUT. */
static enum wire_status ask(struct agent_session *x, enum wire_policy_action action,
                            const char *table, const char *value, char *out, size_t cap)
{
	struct rnaqp_command c = { .kind = RNAQP_POLICY };
	struct rnaqp_response r;
	struct wire_list rest;
	struct span text;
	size_t n = 0;

	c.u.policy.action = action;
	c.u.policy.table = span_str(table);
	c.u.policy.has_value = value != NULL;
	c.u.policy.value = span_str(value);
	peer_query(x, &c, &r);
	out[0] = '\0';
	assert_int_equal(r.kind, r.status == WIRE_STATUS_OK ? RNAQP_POLICY : RNAQP_NONE);
	assert_false(r.abort);
	if (r.status == WIRE_STATUS_OK) {
		rest = r.u.policy.values;
		while (wire_text_next(&rest, &text)) {
			n += (size_t)snprintf(out + n, cap - n, "%.*s ", (int)text.n,
			                      (const char *)text.p);
			assert_true(n < cap);
		}
	}
	return r.status;
}

static void test_commands(void **state)
{
	static const struct {
		enum wire_policy_action action;
		const char *table, *value;
		enum wire_status status;
		const char *values;
	} cases[] = {
		{ WIRE_POLICY_SHOW, "blacklist", NULL, WIRE_STATUS_OK, "" },
		{ WIRE_POLICY_ADD, "blacklist", "eve@A.example", WIRE_STATUS_OK, "eve@a.example " },
		{ WIRE_POLICY_ADD, "blacklist", "eve@a.example", WIRE_STATUS_OK, "" },
		{ WIRE_POLICY_ADD, "blacklist", "@c.example", WIRE_STATUS_OK, "@c.example " },
		{ WIRE_POLICY_SHOW, "blacklist", NULL, WIRE_STATUS_OK, "@c.example eve@a.example " },
		{ WIRE_POLICY_SHOW, "whitelist", NULL, WIRE_STATUS_OK, "" },
		{ WIRE_POLICY_REMOVE, "whitelist", "@c.example", WIRE_STATUS_OK, "" },
		{ WIRE_POLICY_REMOVE, "blacklist", "@c.example", WIRE_STATUS_OK, "@c.example " },
		{ WIRE_POLICY_SHOW, "blacklist", NULL, WIRE_STATUS_OK, "eve@a.example " },
		{ WIRE_POLICY_ADD, "strangers", "refuse", WIRE_STATUS_OK, "refuse " },
		{ WIRE_POLICY_ADD, "strangers", "accept", WIRE_STATUS_NOT_PERMITTED, "" },
		{ WIRE_POLICY_ADD, "blacklist", "nonsense", WIRE_STATUS_NOT_PERMITTED, "" },
		{ WIRE_POLICY_ADD, "blacklist", NULL, WIRE_STATUS_NOT_PERMITTED, "" },
		{ WIRE_POLICY_REMOVE, "blacklist", NULL, WIRE_STATUS_NOT_PERMITTED, "" },
		{ WIRE_POLICY_SHOW, "blacklist", "@c.example", WIRE_STATUS_NOT_PERMITTED, "" },
		{ WIRE_POLICY_SHOW, "greylist", NULL, WIRE_STATUS_UNSUPPORTED, "" },
		{ WIRE_POLICY_ADD, "", "@c.example", WIRE_STATUS_UNSUPPORTED, "" },
	};
	struct agent *a = *state;
	struct agent_session *x, *y;
	char values[200];

	agent_mailbox(a, "bob");
	agent_mailbox(a, "eve");
	x = agent_reader(a, 0, "bob");
	y = agent_reader(a, 1, "eve");
	for (size_t i = 0; i < COUNT(cases); i++) {
		enum wire_status got = ask(x, cases[i].action, cases[i].table, cases[i].value,
		                           values, sizeof values);

		if (got != cases[i].status || strcmp(values, cases[i].values) != 0) {
			fail_msg("case %zu: %s, %s", i, wire_status_name(got), values);
		}
	}
	assert_int_equal(ask(y, WIRE_POLICY_SHOW, "blacklist", NULL, values, sizeof values), 0);
	assert_string_equal(values, "");
	agent_mailbox_remove(a, "bob");
	agent_mailbox(a, "bob");
	peer_send_query(x, &(struct rnaqp_command) {
	    .kind = RNAQP_POLICY,
	    .u.policy = { .action = WIRE_POLICY_ADD, .table = span_str("blacklist"),
	                  .has_value = true, .value = span_str("@c.example") } });
	struct rnaqp_response r;
	peer_receive_query(x, &r);
	assert_int_equal(r.status, WIRE_STATUS_NOT_AUTHENTICATED);
}

/* The largest table is shown whole. */
static void test_largest(void **state)
{
	static char values[RULES_LIST_OCTETS];
	struct agent *a = *state;
	uint32_t bob = agent_mailbox(a, "bob");
	struct agent_session *x = agent_reader(a, 0, "bob");
	char value[RULE_VALUE_CAP], label[64] = "";
	size_t n;

	memset(label, 'a', sizeof label - 1);
	for (unsigned i = 0; i < RULES_MAX; i++) {
		/* 64 octets that want quotes, of 254 in all. */
		snprintf(value, sizeof value, "\"%058u      \"@%s.%s.%s", i, label, label, label + 2);
		change(a, bob, WIRE_POLICY_ADD, "whitelist", value, 1);
	}
	assert_int_equal(ask(x, WIRE_POLICY_SHOW, "whitelist", NULL, values, sizeof values), 0);
	for (n = 0; n < RULES_MAX; n++) {
		snprintf(value, sizeof value, "\"%058zu      \"@", n);
		assert_non_null(strstr(values, value));
	}
	assert_int_equal(ask(x, WIRE_POLICY_ADD, "whitelist", "@more.example", values, sizeof values),
	                 WIRE_STATUS_WOULD_EXCEED_QUOTA);
}

/* What a store hears. */
static void test_refusals(void **state)
{
	static const struct note notes[] = { { "bob", 1, 0 }, { "eve", 1, 0 }, { "nobody", 1, 0 } };
	struct agent *a = *state;
	struct agent_session *in = agent_intake(a, 0);
	uint32_t bob = agent_mailbox(a, "bob");
	uint8_t results[COUNT(notes)];
	struct kv_txn *t;

	agent_mailbox(a, "eve");
	change(a, bob, WIRE_POLICY_ADD, "blacklist", "@a.example", 1);
	peer_send_notify(in, notes, COUNT(notes));
	peer_receive_results(in, results, COUNT(notes));
	assert_int_equal(results[0], WIRE_NOTIFY_REFUSED);
	assert_int_equal(results[1], WIRE_NOTIFY_ACCEPTED);
	assert_int_equal(results[2], WIRE_NOTIFY_NO_USER);
	assert_int_equal(a->app.counts.results[WIRE_NOTIFY_REFUSED], 1);
	/* The operator's word needs neither a mailbox nor the writer. */
	change(a, DB_OPERATOR, WIRE_POLICY_ADD, "blacklist", "@a.example", 1);
	t = agent_hold_writer(a);
	peer_send_notify(in, notes, COUNT(notes));
	peer_receive_results(in, results, COUNT(notes));
	agent_let_writer(t);
	for (size_t i = 0; i < COUNT(notes); i++) {
		assert_int_equal(results[i], WIRE_NOTIFY_REFUSED);
	}
	change(a, DB_OPERATOR, WIRE_POLICY_REMOVE, "blacklist", "@a.example", 1);
	change(a, DB_OPERATOR, WIRE_POLICY_ADD, "strangers", "refuse", 1);
	peer_send_notify(in, notes, COUNT(notes));
	peer_receive_results(in, results, COUNT(notes));
	assert_int_equal(results[1], WIRE_NOTIFY_REFUSED);
	assert_int_equal(results[2], WIRE_NOTIFY_NO_USER);
	assert_int_equal(a->app.counts.results[WIRE_NOTIFY_REFUSED], 6);
	assert_int_equal(a->app.counts.results[WIRE_NOTIFY_ACCEPTED], 1);
	assert_int_equal(a->app.counts.results[WIRE_NOTIFY_NO_USER], 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define CASE(test) cmocka_unit_test_setup_teardown(test, agent_setup, agent_teardown)
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_walk),
		CASE(test_verdicts),
		CASE(test_limit),
		CASE(test_commands),
		CASE(test_largest),
		CASE(test_refusals),
#undef CASE
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
