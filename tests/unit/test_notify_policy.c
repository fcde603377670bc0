/* The rules of the notification agent, as tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "notify/policy.h"

static const struct policy_settings strict = { .mailbox_notices = 10,
	                                       .origin_notices = 3,
	                                       .retention_us = 1000 };
static const struct policy_settings lenient = {
	.keep_unverified = true, .mailbox_notices = 10, .origin_notices = 3, .retention_us = 1000
};

static const struct policy_settings closed = { .keep_unverified = true,
	                                       .refuse_strangers = true,
	                                       .mailbox_notices = 10,
	                                       .origin_notices = 3,
	                                       .retention_us = 1000 };

struct decision {
	const char *what;
	const struct policy_settings *settings;
	struct policy_facts facts;
	enum wire_notify_result result;
};

static void check_decisions(const struct decision *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		enum wire_notify_result got = policy_decide(cases[i].settings, &cases[i].facts);

		if (got != cases[i].result) {
			fail_msg("%s: %s", cases[i].what, wire_notify_result_name(got));
		}
	}
}

static void test_decide(void **state)
{
	static const struct decision cases[] = {
		{ "all is well",
		  &strict,
		  { .verified = true, .served = true },
		  WIRE_NOTIFY_ACCEPTED },
		{ "unproved", &strict, { .served = true }, WIRE_NOTIFY_UNVERIFIED },
		{ "unproved, kept", &lenient, { .served = true }, WIRE_NOTIFY_ACCEPTED },
		{ "unproved learns no names",
		  &strict,
		  { .served = false },
		  WIRE_NOTIFY_UNVERIFIED },
		{ "nobody here", &strict, { .verified = true }, WIRE_NOTIFY_NO_USER },
		{ "one below the mailbox's limit",
		  &strict,
		  { .verified = true, .served = true, .kept = 9 },
		  WIRE_NOTIFY_ACCEPTED },
		{ "at the mailbox's limit",
		  &strict,
		  { .verified = true, .served = true, .kept = 10 },
		  WIRE_NOTIFY_FULL },
		{ "one below the origin's limit",
		  &strict,
		  { .verified = true, .served = true, .kept_origin = 2 },
		  WIRE_NOTIFY_ACCEPTED },
		{ "at the origin's limit",
		  &strict,
		  { .verified = true, .served = true, .kept_origin = 3 },
		  WIRE_NOTIFY_FULL },
		{ "a repeat is no more",
		  &strict,
		  { .verified = true,
		    .served = true,
		    .repeated = true,
		    .kept = 10,
		    .kept_origin = 3 },
		  WIRE_NOTIFY_ACCEPTED },
		{ "an unproved repeat",
		  &strict,
		  { .served = true, .repeated = true },
		  WIRE_NOTIFY_UNVERIFIED },
		{ "over already",
		  &strict,
		  { .verified = true, .served = true, .over = true },
		  WIRE_NOTIFY_REFUSED },
	};

	(void)state;
	check_decisions(cases, sizeof cases / sizeof cases[0]);
}

static void test_tables(void **state)
{
	static const struct decision cases[] = {
		{ "refused by the mailbox",
		  &strict,
		  { .verified = true, .served = true, .users = RULE_REFUSE },
		  WIRE_NOTIFY_REFUSED },
		{ "refused by the operator, whoever it is for",
		  &strict,
		  { .verified = true, .operators = RULE_REFUSE, .users = RULE_ADMIT },
		  WIRE_NOTIFY_REFUSED },
		{ "who is refused and proves nothing hears the latter",
		  &strict,
		  { .served = true, .operators = RULE_REFUSE },
		  WIRE_NOTIFY_UNVERIFIED },
		{ "a mailbox's tables are nobody's business where there is none",
		  &strict,
		  { .verified = true, .users = RULE_REFUSE },
		  WIRE_NOTIFY_NO_USER },
		{ "let in by the operator against the mailbox",
		  &strict,
		  { .verified = true, .served = true, .operators = RULE_ADMIT, .users = RULE_REFUSE },
		  WIRE_NOTIFY_ACCEPTED },
		{ "a repeat of what is refused now",
		  &strict,
		  { .verified = true, .served = true, .repeated = true, .users = RULE_REFUSE },
		  WIRE_NOTIFY_REFUSED },
		{ "a stranger by the tables",
		  &strict,
		  { .verified = true, .served = true, .strangers = true },
		  WIRE_NOTIFY_REFUSED },
		{ "a stranger by the configuration",
		  &closed,
		  { .verified = true, .served = true },
		  WIRE_NOTIFY_REFUSED },
		{ "a stranger to nobody", &closed, { .verified = true }, WIRE_NOTIFY_NO_USER },
		{ "no stranger to the mailbox",
		  &closed,
		  { .verified = true, .served = true, .users = RULE_ADMIT },
		  WIRE_NOTIFY_ACCEPTED },
		{ "no stranger to the operator",
		  &closed,
		  { .verified = true, .served = true, .strangers = true, .operators = RULE_ADMIT },
		  WIRE_NOTIFY_ACCEPTED },
		{ "a friend's name that nobody proved",
		  &closed,
		  { .served = true, .users = RULE_ADMIT },
		  WIRE_NOTIFY_REFUSED },
		{ "nor does it help against the mailbox's word",
		  &lenient,
		  { .served = true, .operators = RULE_ADMIT, .users = RULE_REFUSE },
		  WIRE_NOTIFY_REFUSED },
		{ "a foe's name that nobody proved",
		  &lenient,
		  { .served = true, .users = RULE_REFUSE },
		  WIRE_NOTIFY_REFUSED },
		{ "a friend may fill the mailbox no more than others",
		  &closed,
		  { .verified = true, .served = true, .users = RULE_ADMIT, .kept_origin = 3 },
		  WIRE_NOTIFY_FULL },
		{ "unproved, kept, nobody here",
		  &lenient,
		  { .served = false },
		  WIRE_NOTIFY_NO_USER },
	};

	(void)state;
	check_decisions(cases, sizeof cases / sizeof cases[0]);
}

static void test_source(void **state)
{
	static const struct {
		const char *sender, *store; /* store NULL: not said */
		int result;
	} cases[] = {
		{ "alice@a.example", "a.example", 0 },
		{ "alice@a.example", "store.other.example",
		  0 }, /* whether it may: by certificate */
		{ "alice@A.Example", "a.example", 0 },
		{ "alice", "a.example", ERR_MALFORMED },
		{ "", "a.example", ERR_MALFORMED },
		{ "Alice <alice@a.example>", "a.example", ERR_MALFORMED },
		{ "alice@a.example", NULL, ERR_MALFORMED },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct wire_notification n = { .sender = span_str(cases[i].sender) };
		uint8_t labels[WIRE_LABELS_MAX];
		struct policy_source source;

		if (cases[i].store != NULL) {
			n.has_store_tls = true;
			assert_int_equal(
			    wire_location_from_name(cases[i].store, labels, &n.store_tls), 0);
		}
		if (policy_source(&n, &source) != cases[i].result) {
			fail_msg("sender %s store %s", cases[i].sender,
			         cases[i].store != NULL ? cases[i].store : "(none)");
		}
		if (cases[i].result == 0) {
			assert_string_equal(mailbox_domain(&source.sender), "a.example");
			assert_string_equal(source.store, cases[i].store);
		}
	}
}

/* A store named by addresses is not named at all. */
static void test_source_literals(void **state)
{
	struct wire_endpoint endpoint = { .port = 4402 };
	struct wire_notification n = { .sender = span_str("alice@a.example"),
		                       .has_store_tls = true };
	struct wire_list_writer w;
	struct policy_source source;
	uint8_t list[64];

	(void)state;
	wire_list_writer_init(&w, list, sizeof list);
	assert_int_equal(wire_endpoint_append(&w, &endpoint), 0);
	n.store_tls.kind = WIRE_LOCATION_LITERALS;
	n.store_tls.u.literals = wire_list_view(&w);
	assert_int_equal(policy_source(&n, &source), ERR_MALFORMED);
}

static void test_fits(void **state)
{
	static const uint8_t octets[2048];
	static const struct {
		size_t der, header, structure;
		bool fits;
	} cases[] = {
		{ 2048, 1280, 512, true },
		{ 2049, 0, 0, false },
		{ 2000, 1281, 0, false },
		{ 2000, 0, 513, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct wire_notification n = {
			.has_header = true,
			.header = span_of(octets, cases[i].header),
			.has_structure = true,
			.structure = span_of(octets, cases[i].structure),
		};

		assert_int_equal(policy_fits(&strict, &n, cases[i].der), cases[i].fits);
	}
}

static void test_drop(void **state)
{
	static const struct {
		bool has_expires;
		uint64_t expires, now, drop;
	} cases[] = {
		{ false, 0, 500, 1500 },
		{ true, 900, 500, 900 },
		{ true, 1500, 500, 1500 },
		{ true, 9000, 500, 1500 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct wire_notification n = { .has_expires = cases[i].has_expires,
			                       .expires = cases[i].expires };

		assert_int_equal(policy_drop_us(&strict, &n, cases[i].now), cases[i].drop);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_decide),
		cmocka_unit_test(test_tables),
		cmocka_unit_test(test_source),
		cmocka_unit_test(test_source_literals),
		cmocka_unit_test(test_fits),
		cmocka_unit_test(test_drop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
