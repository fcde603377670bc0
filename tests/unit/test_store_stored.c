/* builds: plain asan tsan */

/* What an originator does to a stored message: release, extend, forget; and what a crash leaves
 * half done is carried through by the sweep. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "storerig.h"
#include "store/originator.h"
#include "store/recipient.h"
#include "store/steps.h"
#include "store/sweep.h"

#define MANY 2500 /* recipients: three steps */

static const char *const three[] = { "anna@b.example", "bob@b.example", "carl@c.example", NULL };
static const char *const nobody[] = { NULL };

static struct rig r;
static struct buf b;
static struct msoap_response a;
static struct msrap_response p;
static uint8_t id[16];
static uint64_t number; /* of the message */
static int out;

static int setup(void **state)
{
	(void)state;
	rig_start(&r, 0);
	rig_limit(&r, 1 << 20, 10000);
	buf_init(&b, 0);
	out = rig_login(&r);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rig_check(&r);
	close(out);
	buf_free(&b);
	rig_stop(&r);
	return 0;
}

static void expect(enum wire_status status)
{
	rig_answer(&r, out, &a);
	assert_string_equal(wire_status_name(a.status), wire_status_name(status));
	assert_false(a.abort);
}

static void submit(struct msoap_submit_envelope *e, const char *const *to)
{
	struct ids_name name;

	rig_envelope(&b, e, to);
	rig_chunk(&b, 0, span_str("From: alice@a.example\r\n\r\nHello.\r\n"), true);
	rig_flush(out, &b);
	expect(WIRE_STATUS_OK);
	memcpy(id, a.u.submit_envelope.id, 16);
	expect(WIRE_STATUS_OK);
	assert_int_equal(ids_open(r.service.ids, id, &name), 0);
	number = name.message;
}

static void submit_draft(const char *const *to, uint64_t release_us)
{
	struct msoap_submit_envelope e = { .has_hold = true,
		                           .hold = true,
		                           .has_release_at = release_us != 0,
		                           .release_at = release_us };

	submit(&e, to);
}

/* Recipients r0000@c000.example, r0001@c000.example, ...: 1,200 of each domain. */
static const char *const *many(void)
{
	static char text[MANY][32];
	static const char *to[MANY + 1];

	for (int i = 0; i < MANY; i++) {
		snprintf(text[i], sizeof(text[i]), "r%04d@c%03d.example", i, i / 1200);
		to[i] = text[i];
	}
	to[MANY] = NULL;
	return to;
}

/* A command that names a message and no more. */
static void say(enum msoap_kind kind, const uint8_t name[16], enum wire_status status)
{
	struct msoap_command c = { .kind = kind };

	memcpy(c.u.release.id, name, 16);
	rig_msoap(&b, &c);
	rig_flush(out, &b);
	expect(status);
	if (status == WIRE_STATUS_OK)
		assert_int_equal(a.kind, kind);
}

/* How many deliveries have STATUS; those of them with a next attempt have it at NEXT_US. */
static uint32_t count(enum wire_notification_status status, uint64_t next_us)
{
	struct kv_txn *t = db_read_begin(r.service.db);
	struct db_message m;
	uint32_t n = 0;

	assert_int_equal(db_message_get(r.service.db, t, number, &m), 0);
	for (uint32_t i = 0; i < m.recipients; i++) {
		struct db_delivery d;

		assert_int_equal(db_delivery_get(r.service.db, t, number, i, &d), 0);
		n += d.notification == status;
		if (d.notification == status && d.next_us != 0 && next_us != 0)
			assert_int_equal(d.next_us, next_us);
	}
	db_read_end(t);
	return n;
}

static struct db_message message(void)
{
	struct kv_txn *t = db_read_begin(r.service.db);
	struct db_message m;

	assert_int_equal(db_message_get(r.service.db, t, number, &m), 0);
	db_read_end(t);
	return m; /* its texts are gone */
}

/* Jobs of KIND: how many deliveries they cover; they are due at DUE_US, if that is not 0. */
static uint32_t covered(enum db_job_kind kind, uint64_t due_us)
{
	struct kv_txn *t = db_read_begin(r.service.db);
	struct db_job job;
	uint32_t n = 0;
	int err = db_job_next(r.service.db, t, NULL, &job);

	for (; err == 0; err = db_job_next(r.service.db, t, &job, &job)) {
		assert_true(job.count <= 1000);
		if (job.kind == kind)
			n += job.count;
		if (due_us != 0)
			assert_int_equal(job.due_us, due_us);
	}
	assert_int_equal(err, ERR_NOT_FOUND);
	db_read_end(t);
	return n;
}

static uint64_t changes(void)
{
	struct db_stats s;

	assert_int_equal(db_stats(r.service.db, &s), 0);
	return s.changes;
}

/* What the recipient's id opens. */
static void query(uint32_t index, enum wire_status status)
{
	struct msrap_command c = { .kind = MSRAP_QUERY_SIZE };
	int in = rig_connect(&r, &recipient_protocol);

	rig_recipient_id(&r, id, index, c.u.query_size.id);
	rig_msrap(&b, &c);
	rig_flush(in, &b);
	rig_answer_msrap(&r, in, &p);
	assert_string_equal(wire_status_name(p.status), wire_status_name(status));
	close(in);
}

/* What the sweep does AHEAD_US from now. How many transactions it needs. */
static int sweep(uint64_t ahead_us)
{
	uint64_t now = clock_now_us() + ahead_us;
	struct db_expiry due = { 0, 0 };
	uint32_t index = 0;
	int err = ERR_AGAIN, steps;
	struct kv_txn *t = db_read_begin(r.service.db);

	int found = db_expiry_due(r.service.db, t, NULL, now, &due);

	db_read_end(t);
	if (found != 0)
		return 0;
	assert_int_equal(due.message, number);
	for (steps = 0; err == ERR_AGAIN; steps++) {
		assert_int_equal(kv_write_begin(db_kv(r.service.db), &t), 0);
		err = sweep_message(r.service.db, t, number, now, 0, index, &index);
		assert_int_equal(kv_write_commit(t), 0);
		rig_check(&r);
	}
	assert_int_equal(err, 0);
	return steps;
}

/* --- release -------------------------------------------------------------------------------- */

static void released(void **state)
{
	uint8_t unknown[16] = { 0 };

	(void)state;
	submit_draft(three, 0);
	assert_int_equal(message().state, DB_HELD);
	assert_int_equal(count(WIRE_NOTIFICATION_HELD, 0), 3);
	assert_int_equal(covered(DB_JOB_NOTIFY, 0), 0);
	query(1, WIRE_STATUS_NO_SUCH_MESSAGE);
	say(MSOAP_RELEASE, unknown, WIRE_STATUS_NO_SUCH_MESSAGE);
	rig_recipient_id(&r, id, 0, unknown);
	say(MSOAP_RELEASE, unknown, WIRE_STATUS_NO_SUCH_MESSAGE);

	say(MSOAP_RELEASE, id, WIRE_STATUS_OK);
	assert_int_equal(message().state, DB_STORED);
	assert_int_equal(message().sweep_us, message().expires_us);
	assert_int_equal(count(WIRE_NOTIFICATION_UNPROCESSED, 0), 3);
	assert_int_equal(covered(DB_JOB_NOTIFY, 0), 3);
	assert_int_equal(changes(), 3);
	query(1, WIRE_STATUS_OK);
	/* Again: nothing more happens. */
	say(MSOAP_RELEASE, id, WIRE_STATUS_OK);
	assert_int_equal(covered(DB_JOB_NOTIFY, 0), 3);
	assert_int_equal(changes(), 3);
}

/* A draft that is to be sent later still is, when it is released. */
static void released_for_later(void **state)
{
	uint64_t later = clock_now_us() + CLOCK_HOUR_US;

	(void)state;
	submit_draft(three, later);
	assert_int_equal(message().expires_us / CLOCK_SECOND_US,
	                 later / CLOCK_SECOND_US + 90 * 86400);
	say(MSOAP_RELEASE, id, WIRE_STATUS_OK);
	assert_int_equal(count(WIRE_NOTIFICATION_UNPROCESSED, later), 3);
	assert_int_equal(covered(DB_JOB_NOTIFY, later), 3);
	query(1, WIRE_STATUS_NO_SUCH_MESSAGE);
}

static void not_released(void **state)
{
	struct msoap_submit_envelope e = { 0 };

	(void)state;
	submit_draft(nobody, 0);
	say(MSOAP_RELEASE, id, WIRE_STATUS_NOT_PERMITTED);
	assert_int_equal(message().state, DB_HELD);

	submit_draft(three, 0);
	say(MSOAP_CANCEL, id, WIRE_STATUS_OK);
	say(MSOAP_RELEASE, id, WIRE_STATUS_WITHDRAWN);
	assert_int_equal(count(WIRE_NOTIFICATION_WITHDRAWN, 0), 3);
	/* No agent ever heard of it. */
	assert_int_equal(covered(DB_JOB_WITHDRAW, 0), 0);

	/* What was no draft is released already. */
	submit(&e, three);
	say(MSOAP_RELEASE, id, WIRE_STATUS_OK);
	assert_int_equal(changes(), 3);
}

static void released_many(void **state)
{
	(void)state;
	submit_draft(many(), 0);
	say(MSOAP_RELEASE, id, WIRE_STATUS_OK);
	assert_int_equal(message().sweep_us, message().expires_us);
	assert_int_equal(count(WIRE_NOTIFICATION_UNPROCESSED, 0), MANY);
	assert_int_equal(covered(DB_JOB_NOTIFY, 0), MANY);
	assert_int_equal(changes(), MANY);
}

/* --- extend --------------------------------------------------------------------------------- */

static void extend(uint64_t lifetime_s, enum wire_status status)
{
	struct msoap_command c = { .kind = MSOAP_EXTEND };

	memcpy(c.u.extend.id, id, 16);
	c.u.extend.lifetime = lifetime_s;
	rig_msoap(&b, &c);
	rig_flush(out, &b);
	expect(status);
	if (status == WIRE_STATUS_OK) {
		assert_int_equal(a.kind, MSOAP_EXTEND);
		assert_int_equal(a.u.extend.expires, message().expires_us);
		assert_int_equal(message().sweep_us, message().expires_us);
	}
}

/* The message lives for DAYS from FROM_US on, but for the minute that the test may have taken. */
static void expect_days(uint64_t from_us, unsigned days)
{
	uint64_t left_us = message().expires_us - from_us;

	assert_in_range(left_us, days * CLOCK_DAY_US, days * CLOCK_DAY_US + CLOCK_MINUTE_US);
}

static void extended(void **state)
{
	struct msoap_submit_envelope e = { .lifetime = 3600 };
	uint64_t now = clock_now_us(), before;
	uint8_t unknown[16];

	(void)state;
	submit(&e, three);
	before = message().expires_us;
	extend(59, WIRE_STATUS_LIFETIME_TOO_SHORT);
	extend(60, WIRE_STATUS_OK); /* it lives longer as it is */
	assert_int_equal(message().expires_us, before);
	assert_int_equal(changes(), 0);
	extend(10 * 86400, WIRE_STATUS_OK);
	expect_days(now, 10);
	extend(0, WIRE_STATUS_OK);
	expect_days(now, 90);
	extend(UINT64_MAX, WIRE_STATUS_OK);
	expect_days(now, 365);
	/* It is not swept at its old end. */
	assert_int_equal(sweep(2 * CLOCK_HOUR_US), 0);
	assert_int_equal(count(WIRE_NOTIFICATION_UNPROCESSED, 0), 3);
	assert_int_equal(covered(DB_JOB_NOTIFY, 0), 3);

	memcpy(unknown, id, 16);
	rig_recipient_id(&r, id, 0, id);
	extend(0, WIRE_STATUS_NO_SUCH_MESSAGE);
	memcpy(id, unknown, 16);
	say(MSOAP_CANCEL, id, WIRE_STATUS_OK);
	extend(0, WIRE_STATUS_WITHDRAWN);
}

/* A lifetime begins when the message is sent, as at its submission. */
static void extended_for_later(void **state)
{
	uint64_t now = clock_now_us(), later = now + 10 * CLOCK_DAY_US;

	(void)state;
	submit_draft(three, later);
	extend(20 * 86400, WIRE_STATUS_OK);
	expect_days(later, 90);
	extend(100 * 86400, WIRE_STATUS_OK);
	expect_days(later, 100);
	assert_int_equal(message().state, DB_HELD);
	assert_int_equal(count(WIRE_NOTIFICATION_HELD, 0), 3);
	assert_int_equal(covered(DB_JOB_NOTIFY, 0), 0);
}

/* Delivery INDEX has STATUS, and no next attempt. */
static void give_up(uint32_t index, enum wire_notification_status status, uint16_t failures)
{
	struct db_delivery d;
	struct kv_txn *t;

	assert_int_equal(kv_write_begin(db_kv(r.service.db), &t), 0);
	assert_int_equal(db_delivery_get(r.service.db, t, number, index, &d), 0);
	d.notification = (uint8_t)status;
	d.failures = failures;
	d.notified = status == WIRE_NOTIFICATION_NOTIFYING;
	d.next_us = 0;
	assert_int_equal(db_delivery_put(r.service.db, t, &d), 0);
	assert_int_equal(kv_write_commit(t), 0);
}

/* What was given up for the old end has an attempt again. */
static void extended_in_time(void **state)
{
	struct msoap_submit_envelope e = { .lifetime = 86400 };
	uint64_t end;

	(void)state;
	submit(&e, three);
	end = message().expires_us;
	give_up(0, WIRE_NOTIFICATION_NO_SERVER, 9);
	give_up(1, WIRE_NOTIFICATION_NO_USER, 3);
	give_up(2, WIRE_NOTIFICATION_NOTIFYING, 5);
	extend(2 * 86400, WIRE_STATUS_OK);
	assert_int_equal(count(WIRE_NOTIFICATION_NO_USER, 0), 1);
	assert_int_equal(covered(DB_JOB_NOTIFY, 0), 3 + 2); /* the first ones are there still */
	assert_int_equal(count(WIRE_NOTIFICATION_NOTIFYING, end + CLOCK_HOUR_US), 1);
	assert_int_equal(changes(), 2);
}

/* --- forget --------------------------------------------------------------------------------- */

/* How many messages the archive has. */
static size_t archived(void)
{
	struct msoap_command c = { .kind = MSOAP_ARCHIVE };

	rig_msoap(&b, &c);
	rig_flush(out, &b);
	expect(WIRE_STATUS_OK);
	return a.u.archive.messages.count;
}

/* The originator's own id opens what STATUS says. */
static void query_own(enum wire_status status)
{
	struct msrap_command c = { .kind = MSRAP_QUERY_SIZE };
	int in = rig_connect(&r, &recipient_protocol);

	memcpy(c.u.query_size.id, id, 16);
	rig_msrap(&b, &c);
	rig_flush(in, &b);
	rig_answer_msrap(&r, in, &p);
	assert_string_equal(wire_status_name(p.status), wire_status_name(status));
	close(in);
}

static void unpin(uint32_t index)
{
	struct msrap_command c = { .kind = MSRAP_UNPIN };
	int in = rig_connect(&r, &recipient_protocol);

	rig_recipient_id(&r, id, index, c.u.unpin.id);
	rig_msrap(&b, &c);
	rig_flush(in, &b);
	rig_answer_msrap(&r, in, &p);
	assert_int_equal(p.status, WIRE_STATUS_OK);
	close(in);
}

/* The octets stay while a recipient pins them, and count as long. */
static void forgotten(void **state)
{
	struct msoap_submit_envelope e = { 0 };
	uint64_t size;

	(void)state;
	submit(&e, three);
	size = rig_used(&r);
	assert_true(size > 0);
	assert_int_equal(archived(), 1);
	query_own(WIRE_STATUS_OK);
	unpin(0);
	say(MSOAP_FORGET, id, WIRE_STATUS_OK);
	assert_int_equal(archived(), 0);
	query_own(WIRE_STATUS_NO_SUCH_MESSAGE);
	query(1, WIRE_STATUS_OK);
	assert_int_equal(rig_used(&r), size);
	say(MSOAP_TRACK, id, WIRE_STATUS_OK);
	assert_int_equal(a.u.track.deliveries.count, 3);
	say(MSOAP_FORGET, id, WIRE_STATUS_OK);
	unpin(1);
	assert_int_equal(rig_used(&r), size);
	unpin(2);
	assert_int_equal(rig_used(&r), 0);
	assert_true(message().freed);
	extend(0, WIRE_STATUS_WITHDRAWN);
}

/* Nobody else needs it. */
static void forgotten_last(void **state)
{
	struct msoap_submit_envelope e = { 0 };

	(void)state;
	submit(&e, three);
	for (uint32_t i = 0; i < 3; i++)
		unpin(i);
	assert_true(rig_used(&r) > 0);
	say(MSOAP_FORGET, id, WIRE_STATUS_OK);
	assert_int_equal(rig_used(&r), 0);
	assert_true(message().freed);

	/* After its end, which came first. */
	e.lifetime = 3600;
	submit(&e, three);
	assert_int_equal(sweep(2 * CLOCK_HOUR_US), 1);
	say(MSOAP_FORGET, id, WIRE_STATUS_OK);
	say(MSOAP_CANCEL, id, WIRE_STATUS_WITHDRAWN);
}

static void draft_forgotten(void **state)
{
	(void)state;
	submit_draft(many(), 0);
	say(MSOAP_FORGET, id, WIRE_STATUS_OK);
	assert_int_equal(archived(), 0);
	assert_int_equal(rig_used(&r), 0);
	assert_int_equal(count(WIRE_NOTIFICATION_WITHDRAWN, 0), MANY);
	assert_int_equal(message().readers, 0);
	assert_true(message().forgotten);
	assert_int_equal(message().sweep_us, message().expires_us);
	say(MSOAP_RELEASE, id, WIRE_STATUS_WITHDRAWN);
	query_own(WIRE_STATUS_NO_SUCH_MESSAGE);
}

/* --- cut off in the middle ------------------------------------------------------------------ */

/* One step of a command that is not carried through. */
static void one_step(int (*step)(const struct steps *, struct kv_txn *, struct steps_result *))
{
	const struct steps s = { .db = r.service.db, .message = number, .now_us = clock_now_us() };
	struct steps_result result;
	struct kv_txn *t;

	assert_int_equal(kv_write_begin(db_kv(r.service.db), &t), 0);
	assert_int_equal(step(&s, t, &result), 0);
	assert_int_equal(kv_write_commit(t), 0);
	assert_true(result.more);
	assert_int_equal(result.next, STEPS_DELIVERIES);
	rig_check(&r);
}

static int cancel_whole(const struct steps *s, struct kv_txn *t, struct steps_result *result)
{
	return steps_cancel(s, t, NULL, result);
}

static void release_cut_off(void **state)
{
	(void)state;
	submit_draft(many(), 0);
	assert_int_equal(sweep(CLOCK_HOUR_US), 0);
	one_step(steps_release);
	assert_int_equal(count(WIRE_NOTIFICATION_HELD, 0), MANY - STEPS_DELIVERIES);
	assert_int_equal(sweep(0), 0); /* it may be going on */
	assert_int_equal(sweep(CLOCK_HOUR_US), 3);
	assert_int_equal(count(WIRE_NOTIFICATION_UNPROCESSED, 0), MANY);
	assert_int_equal(covered(DB_JOB_NOTIFY, 0), MANY);
	assert_int_equal(sweep(CLOCK_HOUR_US), 0);
}

/* The originator says it again before the sweep comes. */
static void release_said_again(void **state)
{
	(void)state;
	submit_draft(many(), 0);
	one_step(steps_release);
	say(MSOAP_RELEASE, id, WIRE_STATUS_OK);
	assert_int_equal(count(WIRE_NOTIFICATION_UNPROCESSED, 0), MANY);
	assert_int_equal(covered(DB_JOB_NOTIFY, 0), MANY);
	assert_int_equal(sweep(CLOCK_HOUR_US), 0);
}

static void cancel_cut_off(void **state)
{
	struct msoap_submit_envelope e = { 0 };

	(void)state;
	submit(&e, many());
	one_step(cancel_whole);
	/* Nobody can read it from here on. */
	query(MANY - 1, WIRE_STATUS_WITHDRAWN);
	assert_int_equal(rig_used(&r), 0);
	assert_int_equal(count(WIRE_NOTIFICATION_WITHDRAWN, 0), STEPS_DELIVERIES);
	assert_int_equal(sweep(CLOCK_HOUR_US), 3);
	assert_int_equal(count(WIRE_NOTIFICATION_WITHDRAWN, 0), MANY);
	assert_int_equal(message().readers, 0);
	assert_int_equal(sweep(CLOCK_HOUR_US), 0);
}

/* Extended after the sweep would have come; the rest is given its attempt by the sweep. */
static int extend_long(const struct steps *s, struct kv_txn *t, struct steps_result *result)
{
	struct steps more = *s;

	more.lifetime_us = 200 * CLOCK_DAY_US;
	return steps_extend(&more, t, result);
}

static void extend_cut_off(void **state)
{
	struct msoap_submit_envelope e = { .lifetime = 3600 };

	(void)state;
	submit(&e, many());
	for (uint32_t i = 0; i < MANY; i++)
		give_up(i, WIRE_NOTIFICATION_NO_SERVER, 2);
	one_step(extend_long);
	assert_int_equal(sweep(2 * CLOCK_HOUR_US), 3);
	assert_int_equal(count(WIRE_NOTIFICATION_NO_SERVER, 0), MANY);
	assert_int_equal(changes(), MANY);
	assert_true(message().expires_us > clock_now_us() + 199 * CLOCK_DAY_US);
	assert_int_equal(sweep(2 * CLOCK_HOUR_US), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(released, setup, teardown),
		cmocka_unit_test_setup_teardown(released_for_later, setup, teardown),
		cmocka_unit_test_setup_teardown(not_released, setup, teardown),
		cmocka_unit_test_setup_teardown(released_many, setup, teardown),
		cmocka_unit_test_setup_teardown(extended, setup, teardown),
		cmocka_unit_test_setup_teardown(extended_for_later, setup, teardown),
		cmocka_unit_test_setup_teardown(extended_in_time, setup, teardown),
		cmocka_unit_test_setup_teardown(forgotten, setup, teardown),
		cmocka_unit_test_setup_teardown(forgotten_last, setup, teardown),
		cmocka_unit_test_setup_teardown(draft_forgotten, setup, teardown),
		cmocka_unit_test_setup_teardown(release_cut_off, setup, teardown),
		cmocka_unit_test_setup_teardown(release_said_again, setup, teardown),
		cmocka_unit_test_setup_teardown(cancel_cut_off, setup, teardown),
		cmocka_unit_test_setup_teardown(extend_cut_off, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
