/* RNAQP's PDUs against tests/unit/wire_vectors.inc. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "wire/rnaqp.h"
#include "wire_check.h"

CHECK_MODULE(rnaqp)

static void test_authenticate(void **state)
{
	(void)state;
	command("authenticate", (struct rnaqp_command){
	    .kind = RNAQP_AUTHENTICATE,
	    .u.authenticate = { .account = span_str("bob"), .password = span_str("imt_secret") } });
	response("authenticate", (struct rnaqp_response){ .kind = RNAQP_AUTHENTICATE });
}

static struct rnaqp_received received(void)
{
	static const uint8_t v4[] = { 0xc0, 0, 2, 1 };
	struct rnaqp_received r = {
		.notification = check_notification(), .submitter.port = 49152,
		.received = CHECK_TIME, .cursor = 17,
		.has_verified = true, .verified = check_labels("a.example"),
		.has_withdrawn = true, .withdrawn = true,
	};

	memcpy(r.submitter.address.u.v4, v4, sizeof(v4));
	return r;
}

static struct rnaqp_received received_bare(void)
{
	struct rnaqp_received r = {
		.notification = check_notification_literal(),
		.submitter = { .address.kind = WIRE_ADDRESS_V6, .port = 1 },
	};

	for (size_t i = 0; i < 16; i++)
		r.submitter.address.u.v6[i] = (uint8_t)(0x20 + i);
	return r;
}

static void test_retrieve(void **state)
{
	struct rnaqp_command c = { .kind = RNAQP_RETRIEVE };
	struct rnaqp_response r = { .kind = RNAQP_RETRIEVE };
	struct rnaqp_received full = received(), bare = received_bare(), back;
	struct wire_list_writer *w = check_writer();
	struct wire_list rest;

	(void)state;
	command("retrieve", c);
	c.u.retrieve = (struct rnaqp_retrieve){ .after = 4294967296, .has_limit = true, .limit = 200,
	                                        .has_wait = true, .wait = 1800 };
	command("retrieve.full", c);
	response("retrieve", r);
	assert_int_equal(rnaqp_received_append(w, &full), 0);
	assert_int_equal(rnaqp_received_append(w, &bare), 0);
	r.u.retrieve = (struct rnaqp_retrieve_done){ .notifications = check_list(w), .next = 18 };
	response("retrieve.full", r);
	rest = r.u.retrieve.notifications;
	assert_true(rnaqp_received_next(&rest, &back));
	check_same(&schema_notification, &full.notification, &back.notification, "full");
	check_same(&schema_endpoint, &full.submitter, &back.submitter, "submitter");
	assert_true(back.has_verified && back.withdrawn);
	assert_true(rnaqp_received_next(&rest, &back));
	check_same(&schema_notification, &bare.notification, &back.notification, "bare");
	check_same(&schema_endpoint, &bare.submitter, &back.submitter, "submitter");
	assert_false(back.has_verified || back.has_withdrawn || back.withdrawn);
	assert_false(rnaqp_received_next(&rest, &back));
}

static void test_retrieve_and_clear(void **state)
{
	struct rnaqp_response r = { .kind = RNAQP_RETRIEVE_AND_CLEAR };
	struct rnaqp_received bare = received_bare();
	struct wire_list_writer *w = check_writer();

	(void)state;
	command("retrieveAndClear", (struct rnaqp_command){ .kind = RNAQP_RETRIEVE_AND_CLEAR });
	assert_int_equal(rnaqp_received_append(w, &bare), 0);
	r.u.retrieve_and_clear = (struct rnaqp_retrieve_done){ .notifications = check_list(w),
	                                                       .next = 1 };
	response("retrieveAndClear", r);
}

static void test_acknowledge(void **state)
{
	static const uint64_t cursors[] = { 1, 128, UINT64_MAX };
	struct rnaqp_command c = { .kind = RNAQP_ACKNOWLEDGE };
	struct wire_list_writer *w = check_writer();
	struct wire_list rest;
	uint64_t back;

	(void)state;
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(wire_cursor_append(w, cursors[i]), 0);
	c.u.acknowledge.cursors = check_list(w);
	command("acknowledge", c);
	rest = c.u.acknowledge.cursors;
	for (size_t i = 0; i < 3; i++) {
		assert_true(wire_cursor_next(&rest, &back));
		assert_int_equal(back, cursors[i]);
	}
	assert_false(wire_cursor_next(&rest, &back));
	response("acknowledge", (struct rnaqp_response){ .kind = RNAQP_ACKNOWLEDGE });
}

static void test_policy(void **state)
{
	static const char *const values[] = { "eve@e.example", "@f.example", "@.g.example", NULL };
	struct rnaqp_command c = { .kind = RNAQP_POLICY, .u.policy.table = span_str("blacklist") };
	struct span value;
	struct wire_list rest;

	(void)state;
	command("policy", c);
	c.u.policy = (struct rnaqp_policy){
		.action = WIRE_POLICY_REMOVE, .table = span_str("whitelist"),
		.has_value = true, .value = span_str("@a.example"),
	};
	command("policy.full", c);
	response("policy", (struct rnaqp_response){ .kind = RNAQP_POLICY,
	                                            .u.policy.values = check_texts(values) });
	rest = check_texts(values);
	for (size_t i = 0; values[i] != NULL; i++) {
		assert_true(wire_text_next(&rest, &value));
		assert_true(span_eq_str(value, values[i]));
	}
	assert_false(wire_text_next(&rest, &value));
}

static void test_fetch(void **state)
{
	struct rnaqp_command c = { .kind = RNAQP_FETCH,
	                           .u.fetch = { .cursor = 1, .type = WIRE_RETRIEVAL_ALL } };
	struct rnaqp_response r = { .kind = RNAQP_FETCH };

	(void)state;
	command("fetch", c);
	c.u.fetch = (struct rnaqp_fetch){
		.cursor = 1, .type = WIRE_RETRIEVAL_PART, .offset = 1, .length = 2,
		.has_section = true, .section = span_str("1"),
	};
	command("fetch.full", c);
	r.u.fetch = (struct rnaqp_fetch_done){ .size = 12,
	                                       .data = check_stream(check_octets(12, 4)) };
	response("fetch", r);
	r.u.fetch = (struct rnaqp_fetch_done){ .size = 70000, .offset = 69000,
	                                       .data = check_stream(check_octets(1000, 5)) };
	response("fetch.long", r);
}

static void test_names(void **state)
{
	(void)state;
	assert_string_equal(rnaqp_kind_name(RNAQP_RETRIEVE_AND_CLEAR), "retrieveAndClear");
	assert_string_equal(rnaqp_kind_name(RNAQP_KIND_COUNT), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alike),
		cmocka_unit_test(test_peek),
		cmocka_unit_test(test_authenticate),
		cmocka_unit_test(test_retrieve),
		cmocka_unit_test(test_retrieve_and_clear),
		cmocka_unit_test(test_acknowledge),
		cmocka_unit_test(test_policy),
		cmocka_unit_test(test_fetch),
		cmocka_unit_test(test_all_used),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests_name("wire_rnaqp", tests, NULL, NULL);
}
