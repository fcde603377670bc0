/* What the notifier does without its connections: jobs that are due, batches, results, and what
 * the sweep makes of messages whose time is over. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "storejobs.h"
#include "store/originator.h"
#include "store/sweep.h"

/* --- choosing ------------------------------------------------------------------------------- */

static void collected(void **state)
{
	const char *const to[] = { "anna@b.example", "bob@b.example", "carl@c.example", NULL };
	struct msoap_submit_envelope e = { .has_release_at = true };
	const char *const later[] = { "dora@d.example", NULL };
	struct msoap_response a;
	struct buf b;

	(void)state;
	assert_int_equal(collect(0), 0);
	assert_int_equal(next_us, 0);
	submit(to);
	assert_int_equal(collect(0), 2);
	assert_string_equal(job[0]->domain, "b.example");
	assert_int_equal(job[0]->job.count, 2);
	assert_string_equal(job[1]->domain, "c.example");
	assert_int_equal(collect(0), 0); /* they are in hand */
	assert_int_equal(round_count(round_), 2);
	round_forget(round_, job[0]);
	assert_int_equal(round_count(round_), 1);
	assert_int_equal(collect(0), 1); /* and now one is not */

	/* To be released in an hour. */
	e.release_at = clock_now_us() + CLOCK_HOUR_US;
	buf_init(&b, 0);
	rig_envelope(&b, &e, later);
	rig_chunk(&b, 0, span_str("A: b\r\n\r\n"), true);
	rig_flush(out, &b);
	buf_free(&b);
	rig_answer(&r, out, &a);
	assert_int_equal(a.status, WIRE_STATUS_OK);
	rig_answer(&r, out, &a);
	assert_int_equal(a.status, WIRE_STATUS_OK);
	assert_int_equal(collect(0), 0);
	assert_int_equal(next_us, e.release_at);
	assert_int_equal(collect(CLOCK_HOUR_US), 1);
}

static void notification(void **state)
{
	const char *const to[] = { "bob@b.example", NULL };
	struct wire_notification n;
	struct rnasp_command c;
	uint8_t want[16];
	char domain[NAME_DOMAIN_MAX + 1];
	struct wire_list rest;
	struct mailbox name;
	struct batch *b;

	(void)state;
	submit(to);
	assert_int_equal(collect(0), 1);
	b = load(job[0], true, 0);
	assert_int_equal(b->n, 1);
	decode_frame(&c);
	assert_int_equal(c.kind, RNASP_NOTIFY);
	rest = c.u.notify.notifications;
	assert_int_equal(rest.count, 1);
	assert_true(wire_notification_next(&rest, &n));
	assert_int_equal(n.store_clear.kind, WIRE_LOCATION_LITERALS);
	assert_int_equal(n.store_clear.u.literals.count, 0);
	assert_int_equal(wire_notification_store(&n, domain), 0);
	assert_string_equal(domain, "a.example");
	assert_int_equal(wire_mailbox_to_name(&n.recipient, &name), 0);
	assert_string_equal(name.text, "bob@b.example");
	rig_recipient_id(&r, id, 0, want);
	assert_memory_equal(n.id, want, 16);
	assert_true(span_eq_str(n.sender, RIG_SENDER));
	assert_true(n.has_size && n.has_digest && n.has_expires && n.has_submitted);
	assert_true(
	    span_eq_str(n.header, "From: Alice <alice@a.example>\r\nSubject: Hello\r\n\r\n"));
	assert_true(n.has_structure);
	assert_int_equal(n.structure.p[0], '(');
	answer(b, "a", 0);
	apply(b);
	expect_status(0, WIRE_NOTIFICATION_NOTIFYING);
	rig_check(&r);
}

/* With a long header, structure and name the largest parts are left out: 2 KiB is the limit. */
static void notification_limit(void **state)
{
	static const size_t name_n[] = { 20, 100, 253 };
	char text[4096], mailbox[256], label[64];

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		const char *const to[] = { mailbox, NULL };
		size_t n, at = 0;
		struct batch *b;

		/* r@aaa.aaa. ...; each label at most 40 octets. */
		memset(label, 'a', sizeof(label));
		at += (size_t)snprintf(mailbox, sizeof(mailbox), "r@");
		while (at + 42 < name_n[i])
			at += (size_t)snprintf(mailbox + at, sizeof(mailbox) - at, "%.40s.", label);
		snprintf(mailbox + at, sizeof(mailbox) - at, "%.*s", (int)(name_n[i] - at), label);
		n = (size_t)snprintf(text, sizeof(text),
		                     "Subject: %01150d\r\n"
		                     "Content-Type: multipart/mixed; boundary=q\r\n\r\n",
		                     1);
		for (int k = 0; k < 3; k++)
			n += (size_t)snprintf(text + n, sizeof(text) - n,
			                      "--q\r\nContent-Type: text/%0100d\r\n\r\nx\r\n", k);
		rig_submit(&r, out, to, span_of(text, n), id);
		assert_int_equal(collect(0), 1);
		b = load(job[0], true, 0);
		assert_int_equal(b->n, 1);
		assert_true(room.list.n <= LIMIT_NOTIFICATION_OCTETS);
		assert_true(room.list.n > 1300); /* the header is there */
		if (i == 0)
			assert_true(room.list.n > 1700); /* and the structure */
		else if (i == 2)
			assert_true(room.list.n < 1800); /* no more */
		answer(b, "a", 0);
		apply(b);
	}
}

/* --- results -------------------------------------------------------------------------------- */

static void results(void **state)
{
	static const struct {
		const char *to, *text;
		enum wire_notification_status status;
	} want[] = {
		{ "a@b.example", "", WIRE_NOTIFICATION_NOTIFYING },
		{ "f@b.example", "full", WIRE_NOTIFICATION_FULL },
		{ "l@b.example", "later", WIRE_NOTIFICATION_UNPROCESSED },
		{ "n@b.example", "no such mailbox", WIRE_NOTIFICATION_NO_USER },
		{ "r@b.example", "policy", WIRE_NOTIFICATION_REFUSED },
		{ "u@b.example", "not verified", WIRE_NOTIFICATION_REFUSED },
	};
	const char *to[7] = { NULL };
	uint64_t now = clock_now_us();
	struct kv_txn *t;

	(void)state;
	for (size_t i = 0; i < 6; i++)
		to[i] = want[i].to;
	submit(to);
	assert_int_equal(collect(0), 1);
	struct batch *b = load(job[0], true, 0);

	answer(b, "aflnru", 0);
	apply(b);
	t = db_read_begin(r.service.db);
	for (uint32_t i = 0; i < 6; i++) {
		struct db_delivery d = delivery(t, i);

		assert_int_equal(d.notification, want[i].status);
		assert_int_equal(d.attempts, 1);
		assert_true(d.next_us > now);
		assert_true(d.notified == (i == 0));
		if (i > 0)
			assert_non_null(
			    memmem(d.text.p, d.text.n, want[i].text, strlen(want[i].text)));
	}
	db_read_end(t);
	rig_check(&r); /* each next attempt has its job */
	assert_int_equal(collect(0), 0);
	/* In two minutes those are tried again that failed for now: they stay together. */
	assert_int_equal(collect(2 * CLOCK_MINUTE_US), 1);
	b = load(job[0], false, 0);
	assert_int_equal(b->n, 2);
	assert_int_equal(b->items[0].index, 1);
	assert_int_equal(b->items[1].index, 2);
	batch_outcome(b, MAILROOM_NO_SERVER, span_str("b.example rnasp: refused\nX"));
	apply(b);
	expect_status(1, WIRE_NOTIFICATION_NO_SERVER);
	t = db_read_begin(r.service.db);
	assert_true(span_eq_str(delivery(t, 2).text, "b.example rnasp: refused?X"));
	db_read_end(t);
	/* In an hour those whom the agent does not know or want. */
	assert_int_equal(collect(CLOCK_HOUR_US), 2);
	rig_check(&r);
}

static void answers_that_break(void **state)
{
	const char *const to[] = { "anna@b.example", "bob@b.example", NULL };
	struct batch *b;

	(void)state;
	submit(to);
	assert_int_equal(collect(0), 1);
	b = load(job[0], true, 0);
	answer(b, "a", ERR_PROTOCOL);
	assert_int_equal(b->items[0].outcome, MAILROOM_PROTOCOL_ERROR);
	answer(b, "aaa", ERR_PROTOCOL);
	assert_int_equal(batch_answer(b, span_str("nonsense")), ERR_PROTOCOL);
	assert_int_equal(b->items[1].outcome, MAILROOM_PROTOCOL_ERROR);
	/* Refused as a whole. */
	for (int i = 0; i < 2; i++) {
		uint8_t octets[256];
		struct span s;

		assert_int_equal(
		    wire_error_response(i == 0 ? WIRE_STATUS_TRY_LATER : WIRE_STATUS_UNSUPPORTED,
		                        true, span_str("busy"), false, 0, octets, sizeof(octets), &s),
		    0);
		assert_int_equal(batch_answer(b, span_after(s, 4)), 0);
		assert_int_equal(b->items[1].outcome,
		                 i == 0 ? MAILROOM_TRY_LATER : MAILROOM_PROTOCOL_ERROR);
		assert_non_null(memmem(b->items[1].text.p, b->items[1].text.n, "busy", 4));
	}
	apply(b);
	expect_status(0, WIRE_NOTIFICATION_PROTOCOL_ERROR);
	rig_check(&r);
}

/* More deliveries than one command may carry: the job goes with the last of them. */
static void in_pieces(void **state)
{
	struct batch *b;
	size_t seen = 0;

	(void)state;
	submit_many(1500, "b.example");
	assert_int_equal(collect(0), 2); /* a thousand to a job */
	assert_int_equal(job[0]->job.count, 1000);
	assert_int_equal(job[1]->job.count, 500);
	while (!job[0]->exhausted) {
		char letters[LIMIT_NOTIFICATIONS + 1] = "";

		b = load(job[0], true, seen + LIMIT_NOTIFICATIONS < 1000 ? ERR_AGAIN : 0);
		assert_true(b->n > 0);
		assert_true(frame.n <= LIMIT_NOTIFY_OCTETS);
		assert_int_equal(b->items[0].index, seen);
		seen += b->n;
		memset(letters, 'a', b->n);
		answer(b, letters, 0);
		if (job[0]->exhausted) {
			apply(b);
			break;
		}
		apply(b);
		/* Killed here, the job would come again, with what is left of it. */
		struct db_job first;
		struct kv_txn *t = db_read_begin(r.service.db);

		assert_int_equal(db_job_next(r.service.db, t, NULL, &first), 0);
		assert_int_equal(first.first, 0);
		db_read_end(t);
	}
	assert_int_equal(seen, 1000);
	rig_check(&r);
	assert_int_equal(collect(0), 0);
}

/* The recipient speaks, or the sender takes it back, while the notification is on its way. */
static void meanwhile(void **state)
{
	const char *const to[] = { "anna@b.example", "bob@b.example", NULL };
	struct msoap_command c = { .kind = MSOAP_CANCEL };
	struct msoap_response a;
	struct batch *b;
	struct buf frames;
	struct db_delivery d;
	struct kv_txn *t;

	(void)state;
	submit(to);
	assert_int_equal(collect(0), 1);
	b = load(job[0], true, 0);
	memcpy(c.u.cancel.id, id, 16);
	buf_init(&frames, 0);
	rig_msoap(&frames, &c);
	rig_flush(out, &frames);
	buf_free(&frames);
	rig_answer(&r, out, &a);
	assert_int_equal(a.status, WIRE_STATUS_OK);
	answer(b, "an", 0);
	apply(b);
	expect_status(0, WIRE_NOTIFICATION_WITHDRAWN);
	expect_status(1, WIRE_NOTIFICATION_WITHDRAWN);
	/* Anna's agent has it: it is to be told. */
	assert_int_equal(collect(CLOCK_SECOND_US), 1);
	assert_int_equal(job[0]->job.kind, DB_JOB_WITHDRAW);
	b = load(job[0], true, 0);
	assert_int_equal(b->n, 1);
	assert_int_equal(b->items[0].index, 0);
	batch_outcome(b, MAILROOM_NO_SERVER, span_str("down"));
	apply(b);
	assert_int_equal(collect(0), 0);
	assert_int_equal(collect(2 * CLOCK_MINUTE_US), 1);
	b = load(job[0], true, 0);
	assert_int_equal(b->n, 1);
	batch_outcome(b, MAILROOM_ACCEPTED, span_str(""));
	apply(b);
	t = db_read_begin(r.service.db);
	d = delivery(t, 0);
	assert_true(d.told_withdrawn);
	assert_int_equal(d.next_us, 0);
	db_read_end(t);
	assert_int_equal(collect(CLOCK_DAY_US), 0);
	rig_check(&r);
}

/* Failures to reach an agent. */
static void failures(void **state)
{
	static const struct {
		int error;
		enum mailroom_outcome outcome;
	} c[] = {
		{ ERR_NO_DOMAIN, MAILROOM_NO_DOMAIN },    { ERR_NO_SERVICE, MAILROOM_NO_SERVICE },
		{ ERR_NO_SERVER, MAILROOM_NO_SERVER },    { ERR_TIMEOUT, MAILROOM_NO_SERVER },
		{ ERR_CLOSED, MAILROOM_NO_SERVER },       { ERR_DENIED, MAILROOM_NO_SERVER },
		{ ERR_TLS, MAILROOM_PROTOCOL_ERROR },     { ERR_PROTOCOL, MAILROOM_PROTOCOL_ERROR },
		{ ERR_TOO_BIG, MAILROOM_PROTOCOL_ERROR }, { ERR_NOMEM, MAILROOM_TRY_LATER },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++)
		assert_int_equal(batch_failure(c[i].error), c[i].outcome);
}

/* --- the sweep ------------------------------------------------------------------------------ */

/* Steps of the sweep until all is done at NOW. How many transactions. */
static int sweep(uint64_t now, uint64_t keep)
{
	uint32_t index = 0;
	int err = ERR_AGAIN, steps;

	for (steps = 0; err == ERR_AGAIN; steps++) {
		struct kv_txn *t;

		assert_int_equal(kv_write_begin(db_kv(r.service.db), &t), 0);
		err = sweep_message(r.service.db, t, number, now, keep, index, &index);
		assert_int_equal(kv_write_commit(t), 0);
	}
	assert_int_equal(err, 0);
	return steps;
}

static void swept(void **state)
{
	uint64_t now = clock_now_us(), end = now + 90 * CLOCK_DAY_US + CLOCK_MINUTE_US;
	struct db_expiry due;
	struct db_message m;
	struct kv_txn *t;
	struct batch *b;

	(void)state;
	submit_many(1200, "b.example");
	assert_int_equal(collect(0), 2);
	/* Not yet. */
	assert_int_equal(sweep(now + 89 * CLOCK_DAY_US, CLOCK_DAY_US), 1);
	expect_status(0, WIRE_NOTIFICATION_UNPROCESSED);
	/* Over: nobody is told any more, even before the sweep has come. */
	b = batch_create(r.service.db, BATCH_NOTIFY, &room);
	struct settings *s = service_settings(&r.service);

	t = db_read_begin(r.service.db);
	assert_int_equal(db_expiry_due(r.service.db, t, NULL, end, &due), 0);
	assert_int_equal(due.message, number);
	assert_true(batch_add(b, t, s, r.service.ids, job[0], end) != 0);
	assert_int_equal(b->n, 0);
	assert_true(job[0]->failed);
	db_read_end(t);
	settings_drop(s);
	apply(b);

	assert_int_equal(sweep(end, CLOCK_DAY_US), 2);
	expect_status(0, WIRE_NOTIFICATION_EXPIRED);
	expect_status(1199, WIRE_NOTIFICATION_EXPIRED);
	t = db_read_begin(r.service.db);
	assert_int_equal(rig_find(&r, t, id, &m), 0);
	assert_int_equal(m.state, DB_EXPIRED);
	assert_true(m.freed);
	db_read_end(t);
	assert_int_equal(rig_used(&r), 0);
	rig_check(&r);
	/* Its jobs have nothing to do and go. */
	assert_int_equal(collect(0), 1);
	b = load(job[0], true, 0);
	assert_int_equal(b->n, 0);
	apply(b);

	/* A day later nothing is left of it. */
	assert_int_equal(sweep(end + CLOCK_DAY_US - 1, CLOCK_DAY_US), 1);
	assert_int_equal(sweep(end + CLOCK_DAY_US, CLOCK_DAY_US), 2);
	t = db_read_begin(r.service.db);
	assert_int_equal(rig_find(&r, t, id, &m), ERR_NOT_FOUND);
	assert_int_equal(db_expiry_due(r.service.db, t, NULL, UINT64_MAX, &due), ERR_NOT_FOUND);
	db_read_end(t);
	rig_check(&r);
}

/* A submission that was cut off and not resumed goes with what it held. */
static void swept_submission(void **state)
{
	const char *const to[] = { "bob@b.example", NULL };
	struct msoap_submit_envelope e = { .has_submission_id = true, .has_size = true };
	uint8_t *text = rig_message(500000);
	struct msoap_response a;
	struct ids_name name;
	struct buf b;

	(void)state;
	buf_init(&b, 0);
	e.size = 600000;
	rig_envelope(&b, &e, to);
	rig_chunk(&b, 0, span_of(text, 500000), false);
	rig_flush(out, &b);
	rig_answer(&r, out, &a);
	assert_int_equal(ids_open(r.service.ids, a.u.submit_envelope.id, &name), 0);
	number = name.message;
	rig_answer(&r, out, &a);
	close(out);
	rig_wait_used(&r, 600000); /* what was said ahead stays reserved */
	assert_int_equal(sweep(clock_now_us() + CLOCK_HOUR_US, 0), 1);
	assert_int_equal(rig_used(&r), 600000);
	assert_int_equal(sweep(clock_now_us() + CLOCK_DAY_US, 0), 1);
	assert_int_equal(rig_used(&r), 0);
	rig_check(&r);
	/* The submissionId is free again. */
	out = rig_login(&r);
	rig_envelope(&b, &e, to);
	rig_flush(out, &b);
	rig_answer(&r, out, &a);
	assert_int_equal(a.status, WIRE_STATUS_OK);
	assert_int_equal(a.u.submit_envelope.received, 0);
	buf_free(&b);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(collected, storejobs_setup,
		                                storejobs_teardown),
		cmocka_unit_test_setup_teardown(notification, storejobs_setup,
		                                storejobs_teardown),
		cmocka_unit_test_setup_teardown(notification_limit, storejobs_setup,
		                                storejobs_teardown),
		cmocka_unit_test_setup_teardown(results, storejobs_setup,
		                                storejobs_teardown),
		cmocka_unit_test_setup_teardown(answers_that_break, storejobs_setup,
		                                storejobs_teardown),
		cmocka_unit_test_setup_teardown(in_pieces, storejobs_setup,
		                                storejobs_teardown),
		cmocka_unit_test_setup_teardown(meanwhile, storejobs_setup,
		                                storejobs_teardown),
		cmocka_unit_test(failures),
		cmocka_unit_test_setup_teardown(swept, storejobs_setup,
		                                storejobs_teardown),
		cmocka_unit_test_setup_teardown(swept_submission, storejobs_setup,
		                                storejobs_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
