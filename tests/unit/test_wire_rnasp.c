/* RNASP's PDUs against tests/unit/wire_vectors.inc. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "wire/rnasp.h"
#include "wire_check.h"

CHECK_MODULE(rnasp)

static void test_notify(void **state)
{
	struct rnasp_command c = { .kind = RNASP_NOTIFY };
	struct wire_notification full = check_notification(), bare = check_notification_bare(),
	                         literal = check_notification_literal(), back;
	struct wire_list_writer *w = check_writer();
	struct wire_list rest;
	char domain[NAME_DOMAIN_MAX + 1];

	(void)state;
	command("notify", c);
	assert_int_equal(wire_notification_append(w, &full), 0);
	assert_int_equal(wire_notification_append(w, &bare), 0);
	assert_int_equal(wire_notification_append(w, &literal), 0);
	c.u.notify.notifications = check_list(w);
	command("notify.full", c);
	rest = c.u.notify.notifications;
	assert_true(wire_notification_next(&rest, &back));
	check_same(&schema_notification, &full, &back, "full");
	assert_int_equal(wire_notification_store(&back, domain), 0);
	assert_string_equal(domain, "a.example");
	assert_true(wire_notification_next(&rest, &back));
	check_same(&schema_notification, &bare, &back, "bare");
	assert_int_equal(wire_notification_store(&back, domain), ERR_NOT_FOUND);
	assert_string_equal(domain, "");
	assert_true(wire_notification_next(&rest, &back));
	check_same(&schema_notification, &literal, &back, "literal");
	assert_int_equal(wire_notification_store(&back, domain), ERR_NOT_FOUND);
	assert_false(wire_notification_next(&rest, &back));
}

/* By itself, as a program keeps it: whole, alone, with no octet more or less. */
static void test_notification_alone(void **state)
{
	struct wire_notification full = check_notification(), back;
	uint8_t buf[1024];
	struct span der;

	(void)state;
	assert_int_equal(wire_notification_encode(&full, buf, sizeof(buf), &der), 0);
	assert_int_equal(der.p[0], 0x30);
	assert_int_equal(wire_notification_decode(der, &back), 0);
	check_same(&schema_notification, &full, &back, "alone");
	for (size_t n = 0; n < der.n; n++) {
		assert_int_equal(wire_notification_decode(span_of(der.p, n), &back), ERR_MALFORMED);
		assert_int_equal(back.sender.n, 0);
	}
	memmove(buf, der.p, der.n);
	buf[der.n] = 0;
	assert_int_equal(wire_notification_decode(span_of(buf, der.n + 1), &back), ERR_MALFORMED);
	for (size_t cap = 0; cap < der.n; cap++)
		assert_int_equal(wire_notification_encode(&full, buf, cap, &der), ERR_TOO_BIG);
}

static void test_addressees(void **state)
{
	struct rnasp_command c = { .kind = RNASP_WITHDRAW };
	struct rnasp_addressee bob = { .recipient = check_mailbox("bob@b.example") },
	                       other = { .recipient = check_mailbox("c@d") }, back;
	struct wire_list_writer *w = check_writer();
	struct wire_list rest;

	(void)state;
	check_id(bob.id, 4);
	assert_int_equal(rnasp_addressee_append(w, &bob), 0);
	c.u.withdraw.notifications = check_list(w);
	command("withdraw", c);
	response("withdraw", (struct rnasp_response){ .kind = RNASP_WITHDRAW });

	c = (struct rnasp_command){ .kind = RNASP_NOTIFY_MANY };
	c.u.notify_many.common = check_notification();
	w = check_writer();
	check_id(bob.id, 1);
	check_id(other.id, 5);
	assert_int_equal(rnasp_addressee_append(w, &bob), 0);
	assert_int_equal(rnasp_addressee_append(w, &other), 0);
	c.u.notify_many.addressees = check_list(w);
	command("notifyMany", c);
	rest = c.u.notify_many.addressees;
	assert_true(rnasp_addressee_next(&rest, &back));
	assert_memory_equal(back.id, bob.id, sizeof(bob.id));
	assert_true(rnasp_addressee_next(&rest, &back));
	assert_true(span_eq_str(back.recipient.local, "c"));
	assert_false(rnasp_addressee_next(&rest, &back));
}

static void test_results(void **state)
{
	static const unsigned future[] = { 6, 127, 128, INT32_MAX };
	struct rnasp_response r = { .kind = RNASP_NOTIFY };
	struct wire_list_writer *w = check_writer();
	enum wire_notify_result back;
	struct wire_list rest;

	(void)state;
	for (unsigned i = 0; i < WIRE_NOTIFY_COUNT; i++)
		assert_int_equal(rnasp_result_append(w, (enum wire_notify_result)i), 0);
	r.u.notify.results = check_list(w);
	response("notify", r);
	rest = r.u.notify.results;
	for (unsigned i = 0; i < WIRE_NOTIFY_COUNT; i++) {
		assert_true(rnasp_result_next(&rest, &back));
		assert_int_equal(back, i);
	}
	assert_false(rnasp_result_next(&rest, &back));
	/* Numbers of a later version are kept. */
	w = check_writer();
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(rnasp_result_append(w, (enum wire_notify_result)future[i]), 0);
	r.u.notify.results = check_list(w);
	response("notify.future", r);
	assert_int_equal(rnasp_result_append(w, (enum wire_notify_result)0x80000000U), ERR_MALFORMED);
	assert_int_equal(w->count, 4);
	response("notifyMany", (struct rnasp_response){ .kind = RNASP_NOTIFY_MANY });
}

static void test_names(void **state)
{
	(void)state;
	assert_string_equal(rnasp_kind_name(RNASP_NOTIFY_MANY), "notifyMany");
	assert_string_equal(rnasp_kind_name(RNASP_KIND_COUNT), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alike),
		cmocka_unit_test(test_peek),
		cmocka_unit_test(test_notify),
		cmocka_unit_test(test_notification_alone),
		cmocka_unit_test(test_addressees),
		cmocka_unit_test(test_results),
		cmocka_unit_test(test_all_used),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests_name("wire_rnasp", tests, NULL, NULL);
}
