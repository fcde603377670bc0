/* builds: plain asan tsan */

/* What an originator does to a stored message: a draft is released, and what a crash leaves half
 * done is carried through by the sweep. */
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

/* What the sweep does AHEAD_US from now. How many transactions it needs. */
static int sweep(uint64_t ahead_us)
{
	uint64_t now = clock_now_us() + ahead_us, time_us, due;
	uint32_t index = 0;
	int err = ERR_AGAIN, steps;
	struct kv_txn *t = db_read_begin(r.service.db);

	if (db_expiry_due(r.service.db, t, now, &time_us, &due) != 0)
		due = 0;
	db_read_end(t);
	if (due == 0)
		return 0;
	assert_int_equal(due, number);
	for (steps = 0; err == ERR_AGAIN; steps++) {
		assert_int_equal(kv_write_begin(db_kv(r.service.db), &t), 0);
		err = sweep_message(r.service.db, t, number, now, 0, index, &index);
		assert_int_equal(kv_write_commit(t), 0);
		rig_check(&r);
	}
	assert_int_equal(err, 0);
	return steps;
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(released, setup, teardown),
		cmocka_unit_test_setup_teardown(released_for_later, setup, teardown),
		cmocka_unit_test_setup_teardown(not_released, setup, teardown),
		cmocka_unit_test_setup_teardown(released_many, setup, teardown),
		cmocka_unit_test_setup_teardown(release_cut_off, setup, teardown),
		cmocka_unit_test_setup_teardown(release_said_again, setup, teardown),
		cmocka_unit_test_setup_teardown(cancel_cut_off, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
