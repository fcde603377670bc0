/* One message to many of an agent's mailboxes in one command, and what was not told after all. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "storejobs.h"
#include "store/recipient.h"

static const char letters[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/* Adds more of J to B, which stays to be sent. */
static int add(struct batch *b, struct round_job *j)
{
	struct settings *s = service_settings(&r.service);
	struct kv_txn *t = db_read_begin(r.service.db);
	int err = batch_add(b, t, s, r.service.ids, j, clock_now_us());

	if (err == 0 || b->n_jobs > 1)
		assert_int_equal(batch_encode(b, &frame), 0);
	db_read_end(t);
	settings_drop(s);
	return err;
}

/* A batch that is not encoded yet. */
static struct batch *begin(struct round_job *j, enum batch_form form, int result)
{
	struct settings *s = service_settings(&r.service);
	struct batch *b = batch_create(r.service.db, form, &room);
	struct kv_txn *t = db_read_begin(r.service.db);

	assert_int_equal(batch_add(b, t, s, r.service.ids, j, clock_now_us()), result);
	db_read_end(t);
	settings_drop(s);
	return b;
}

/* The answer that says `accepted` to each. */
static void accept_all(struct batch *b)
{
	char text[BATCH_MANY + 1];

	memset(text, 'a', b->n);
	text[b->n] = '\0';
	answer(b, text, 0);
}

/* The addressees of FRAME are recipients FIRST and up. */
static void expect_addressees(struct wire_list rest, uint32_t first)
{
	struct rnasp_addressee a;
	struct mailbox name;
	uint8_t want[16];
	char text[32];

	while (rnasp_addressee_next(&rest, &a)) {
		snprintf(text, sizeof(text), "r%04u@b.example", first);
		assert_int_equal(wire_mailbox_to_name(&a.recipient, &name), 0);
		assert_string_equal(name.text, text);
		rig_recipient_id(&r, id, first, want);
		assert_memory_equal(a.id, want, 16);
		first++;
	}
}

static void one_command(void **state)
{
	struct rnasp_command c;
	struct wire_notification *n = &c.u.notify_many.common;
	char domain[NAME_DOMAIN_MAX + 1];
	struct mailbox name;
	struct batch *b;
	uint8_t want[16];

	(void)state;
	submit_many(1500, "b.example");
	assert_int_equal(collect(0), 2);
	/* A job of a thousand, and what there is room for of the next one of the same message. */
	b = begin(job[0], BATCH_NOTIFY_MANY, 0);
	assert_int_equal(b->n, 1000);
	assert_int_equal(add(b, job[1]), ERR_AGAIN);
	assert_int_equal(b->n, BATCH_MANY);
	assert_int_equal(job[1]->next, 1000 + 24);
	assert_true(frame.n <= LIMIT_NOTIFY_OCTETS);
	decode_frame(&c);
	assert_int_equal(c.kind, RNASP_NOTIFY_MANY);
	assert_int_equal(wire_notification_store(n, domain), 0);
	assert_string_equal(domain, "a.example");
	assert_int_equal(wire_mailbox_to_name(&n->recipient, &name), 0);
	assert_string_equal(name.text, "r0000@b.example");
	rig_recipient_id(&r, id, 0, want);
	assert_memory_equal(n->id, want, 16);
	assert_true(span_eq_str(n->sender, RIG_SENDER));
	assert_true(n->has_size && n->has_digest && n->has_expires && n->has_submitted);
	assert_true(
	    span_eq_str(n->header, "From: Alice <alice@a.example>\r\nSubject: Hello\r\n\r\n"));
	assert_true(n->has_structure);
	assert_int_equal(c.u.notify_many.addressees.count, BATCH_MANY);
	expect_addressees(c.u.notify_many.addressees, 0);
	accept_all(b);
	apply(b);
	expect_status(0, WIRE_NOTIFICATION_NOTIFYING);
	expect_status(1023, WIRE_NOTIFICATION_NOTIFYING);
	expect_status(1024, WIRE_NOTIFICATION_UNPROCESSED);
	rig_check(&r);
	b = load_as(job[1], BATCH_NOTIFY_MANY, true, 0);
	assert_int_equal(b->n, 476);
	decode_frame(&c);
	expect_addressees(c.u.notify_many.addressees, 1024);
	accept_all(b);
	apply(b);
	assert_int_equal(collect(0), 0);
	rig_check(&r);
}

/* Each result is its addressee's. */
static void each_result(void **state)
{
	struct batch *b;

	(void)state;
	submit_many(6, "b.example");
	assert_int_equal(collect(0), 1);
	b = load_as(job[0], BATCH_NOTIFY_MANY, true, 0);
	answer(b, "anrflu", 0);
	apply(b);
	expect_status(0, WIRE_NOTIFICATION_NOTIFYING);
	expect_status(1, WIRE_NOTIFICATION_NO_USER);
	expect_status(2, WIRE_NOTIFICATION_REFUSED);
	expect_status(3, WIRE_NOTIFICATION_FULL);
	expect_status(4, WIRE_NOTIFICATION_UNPROCESSED);
	expect_status(5, WIRE_NOTIFICATION_REFUSED);
	rig_check(&r);
}

static void what_goes_together(void **state)
{
	struct rnasp_command c;
	struct batch *b;

	(void)state;
	submit_many(3, "b.example");
	submit_many(4, "b.example");
	assert_int_equal(collect(0), 2);
	/* Another message does not go with it, but into the same notify. */
	b = begin(job[0], BATCH_NOTIFY_MANY, 0);
	assert_int_equal(add(b, job[1]), ERR_AGAIN);
	assert_int_equal(b->n, 3);
	assert_false(job[1]->exhausted);
	assert_int_equal(job[1]->batches, 0);
	batch_give_back(b);
	batch_free(b);
	b = begin(job[0], BATCH_NOTIFY, 0);
	assert_int_equal(add(b, job[1]), 0);
	assert_int_equal(b->n, 7);
	decode_frame(&c);
	assert_int_equal(c.u.notify.notifications.count, 7);
	accept_all(b);
	apply(b);
	/* Nor does a withdrawal. */
	b = batch_create(r.service.db, BATCH_WITHDRAW, NULL);
	assert_int_equal(collect(CLOCK_DAY_US + CLOCK_MINUTE_US), 2);
	assert_int_equal(batch_add(b, NULL, NULL, r.service.ids, job[0], clock_now_us()),
	                 ERR_AGAIN);
	batch_free(b);
}

/* The agent does not take the command: nothing is noted, and all goes by notify. */
static void unsupported(void **state)
{
	static const enum wire_status said[] = { WIRE_STATUS_UNSUPPORTED, WIRE_STATUS_TOO_BIG,
		                                 WIRE_STATUS_MALFORMED_PDU };
	uint8_t octets[256];
	struct batch *b;
	struct span s;

	(void)state;
	submit_many(10, "b.example");
	assert_int_equal(collect(0), 1);
	for (size_t i = 0; i < 3; i++) {
		b = load_as(job[0], BATCH_NOTIFY_MANY, true, 0);
		assert_true(job[0]->exhausted);
		assert_int_equal(wire_error_response(said[i], false, span_str(""), false, 0, octets,
		                                     sizeof(octets), &s),
		                 0);
		assert_int_equal(batch_answer(b, span_after(s, 4)), ERR_UNSUPPORTED);
		batch_give_back(b);
		assert_int_equal(b->n, 0);
		assert_int_equal(b->n_jobs, 0);
		batch_free(b);
		assert_false(job[0]->exhausted);
		assert_int_equal(job[0]->batches, 0);
		assert_int_equal(job[0]->next, 0);
		expect_status(0, WIRE_NOTIFICATION_UNPROCESSED);
	}
	b = load(job[0], true, 0);
	assert_int_equal(b->n, 10);
	answer(b, "aaaaaaaaaa", 0);
	apply(b);
	expect_status(9, WIRE_NOTIFICATION_NOTIFYING);
	rig_check(&r);
}

/* The connection ended with several commands on it: what was answered stays so. */
static void given_back(void **state)
{
	struct batch *b[3];
	struct kv_txn *t;

	(void)state;
	submit_many(1000, "b.example");
	assert_int_equal(collect(0), 1);
	for (int i = 0; i < 3; i++) {
		b[i] = load(job[0], true, ERR_AGAIN);
		assert_true(b[i]->n > 30);
	}
	uint32_t first = b[1]->items[0].index;

	accept_all(b[0]);
	batch_give_back(b[1]);
	batch_give_back(b[2]);
	batch_free(b[1]);
	batch_free(b[2]);
	assert_int_equal(job[0]->next, first);
	assert_int_equal(job[0]->batches, 1);
	apply(b[0]);
	assert_int_equal(round_count(round_), 1);
	while (!job[0]->exhausted) {
		bool last;

		b[0] = load_as(job[0], BATCH_NOTIFY_MANY, true, 0);
		last = job[0]->exhausted;
		accept_all(b[0]);
		apply(b[0]);
		if (last)
			break;
	}
	assert_int_equal(round_count(round_), 0);
	t = db_read_begin(r.service.db);
	for (uint32_t i = 0; i < 1000; i++) {
		assert_int_equal(delivery(t, i).attempts, 1);
		assert_int_equal(delivery(t, i).notification, WIRE_NOTIFICATION_NOTIFYING);
	}
	db_read_end(t);
	assert_int_equal(collect(0), 0);
	rig_check(&r);
}

/* A name so long that its notification would be over 2 KiB begins a command of its own. */
static void long_name(void **state)
{
	char near[NAME_MAILBOX_MAX + 1], far[NAME_MAILBOX_MAX + 1], text[4096];
	const char *const to[] = { near, far, NULL };
	struct rnasp_command c;
	struct batch *b;
	size_t n;

	(void)state;
	snprintf(near, sizeof(near), "a@%.50s.%.50s.%.50s.example", letters, letters, letters);
	snprintf(far, sizeof(far), "%.60s%.190s", letters, near + 1);
	n = (size_t)snprintf(text, sizeof(text),
	                     "Subject: %01150d\r\nContent-Type: multipart/mixed; boundary=q\r\n\r\n",
	                     1);
	for (int k = 0; k < 3; k++)
		n += (size_t)snprintf(text + n, sizeof(text) - n,
		                      "--q\r\nContent-Type: text/%0100d\r\n\r\nx\r\n", k);
	rig_submit(&r, out, to, span_of(text, n), id);
	assert_int_equal(collect(0), 1);
	b = load_as(job[0], BATCH_NOTIFY_MANY, true, ERR_AGAIN);
	assert_int_equal(b->n, 1);
	decode_frame(&c);
	assert_true(c.u.notify_many.common.has_structure);
	answer(b, "a", 0);
	apply(b);
	b = load_as(job[0], BATCH_NOTIFY_MANY, true, 0);
	assert_int_equal(b->n, 1);
	decode_frame(&c);
	assert_false(c.u.notify_many.common.has_structure);
	assert_true(c.u.notify_many.common.has_header);
	answer(b, "a", 0);
	apply(b);
	assert_int_equal(collect(0), 0);
}

/* Recipients who have all they want: the agent is not bothered. */
static void nothing_due(void **state)
{
	struct msrap_command c = { .kind = MSRAP_SILENCE };
	struct msrap_response a;
	struct batch *b;
	struct buf frames;
	struct kv_txn *t;
	int in;

	(void)state;
	submit_many(3, "b.example");
	assert_int_equal(collect(0), 1);
	b = load_as(job[0], BATCH_NOTIFY_MANY, true, 0);
	answer(b, "aaa", 0);
	apply(b);
	in = rig_connect(&r, &recipient_protocol);
	buf_init(&frames, 0);
	for (uint32_t i = 0; i < 3; i++) {
		if (i == 2) {
			/* One is left. */
			assert_int_equal(collect(CLOCK_DAY_US + CLOCK_MINUTE_US), 1);
			t = db_read_begin(r.service.db);
			assert_true(batch_wants(r.service.db, t, job[0], clock_now_us()));
			assert_int_equal(job[0]->next, 2);
			db_read_end(t);
			round_forget(round_, job[0]);
		}
		rig_recipient_id(&r, id, i, c.u.silence.id);
		rig_msrap(&frames, &c);
		rig_flush(in, &frames);
		rig_answer_msrap(&r, in, &a);
		assert_int_equal(a.status, WIRE_STATUS_OK);
	}
	buf_free(&frames);
	close(in);
	assert_int_equal(collect(CLOCK_DAY_US + CLOCK_MINUTE_US), 1);
	t = db_read_begin(r.service.db);
	assert_false(batch_wants(r.service.db, t, job[0], clock_now_us()));
	db_read_end(t);
	b = load(job[0], false, 0);
	assert_int_equal(b->n, 0);
	apply(b);
	assert_int_equal(collect(100 * CLOCK_DAY_US), 0);
	rig_check(&r);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, storejobs_setup, storejobs_teardown)
	const struct CMUnitTest tests[] = {
		TEST(one_command), TEST(each_result), TEST(what_goes_together), TEST(unsupported),
		TEST(given_back),  TEST(long_name),   TEST(nothing_due),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
