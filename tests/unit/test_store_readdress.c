/* builds: plain asan tsan */

/* MSOAP readdress: more recipients for a stored message, none of them twice. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "storerig.h"
#include "store/originator.h"
#include "store/recipient.h"

#define MANY 6000 /* more than one turn of the loop looks at */
#define PART 2000

static const char *const nobody[] = { NULL };
static const char *const two[] = { "anna@b.example", "carl@c.example", NULL };
static const char *const three[] = { "bob@b.example", "carl@c.example", "dora@c.example", NULL };

static struct rig r;
static struct buf b;
static struct msoap_response a;
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

static void expect(int fd, enum wire_status status)
{
	rig_answer(&r, fd, &a);
	assert_string_equal(wire_status_name(a.status), wire_status_name(status));
	assert_false(a.abort);
}

static void submit(const char *const *to, bool hold, uint64_t release_us)
{
	struct msoap_submit_envelope e = { .has_hold = hold,
		                           .hold = hold,
		                           .has_release_at = release_us != 0,
		                           .release_at = release_us };
	struct ids_name name;

	rig_envelope(&b, &e, to);
	rig_chunk(&b, 0, span_str("From: alice@a.example\r\n\r\nHello.\r\n"), true);
	rig_flush(out, &b);
	expect(out, WIRE_STATUS_OK);
	memcpy(id, a.u.submit_envelope.id, 16);
	expect(out, WIRE_STATUS_OK);
	assert_int_equal(ids_open(r.service.ids, id, &name), 0);
	number = name.message;
}

static void send_readdress(int fd, const char *const *to)
{
	struct msoap_command c = { .kind = MSOAP_READDRESS };

	memcpy(c.u.readdress.id, id, 16);
	c.u.readdress.recipients = rig_mailboxes(to);
	rig_msoap(&b, &c);
	rig_flush(fd, &b);
}

/* STATUSES has a letter for each recipient: acceptable, bad address, too many. */
static void expect_statuses(const char *statuses)
{
	struct wire_list rest = a.u.readdress.recipients;
	enum wire_submission_status status;

	assert_int_equal(a.kind, MSOAP_READDRESS);
	assert_memory_equal(a.u.readdress.id, id, 16);
	assert_true(a.u.readdress.complete);
	assert_int_equal(a.u.readdress.received, rig_used(&r));
	assert_int_equal(a.u.readdress.lists.count, 0);
	assert_int_equal(rest.count, strlen(statuses));
	for (; msoap_submission_status_next(&rest, &status); statuses++)
		assert_int_equal(status, *statuses == 'a'   ? WIRE_SUBMISSION_ACCEPTABLE
		                         : *statuses == 'b' ? WIRE_SUBMISSION_BAD_ADDRESS
		                                            : WIRE_SUBMISSION_TOO_MANY);
}

static void readdress(const char *const *to, const char *statuses)
{
	send_readdress(out, to);
	expect(out, WIRE_STATUS_OK);
	expect_statuses(statuses);
}

static void refused(const char *const *to, enum wire_status status)
{
	send_readdress(out, to);
	expect(out, status);
}

static void simple(enum msoap_kind kind)
{
	struct msoap_command c = { .kind = kind };

	memcpy(c.u.release.id, id, 16);
	rig_msoap(&b, &c);
	rig_flush(out, &b);
	expect(out, WIRE_STATUS_OK);
}

static struct db_message message(void)
{
	struct kv_txn *t = db_read_begin(r.service.db);
	struct db_message m;

	assert_int_equal(db_message_get(r.service.db, t, number, &m), 0);
	db_read_end(t);
	return m; /* its texts are gone */
}

/* The message's deliveries are to these, in order; each has STATUS. */
static void expect_deliveries(const char *const *to, enum wire_notification_status status)
{
	struct kv_txn *t = db_read_begin(r.service.db);
	struct db_delivery d;
	uint32_t i = 0;

	for (; to[i] != NULL; i++) {
		assert_int_equal(db_delivery_get(r.service.db, t, number, i, &d), 0);
		assert_true(span_eq_str(d.mailbox, to[i]));
		assert_int_equal(d.notification, status);
		assert_true(d.pinned);
	}
	db_read_end(t);
	assert_int_equal(message().recipients, i);
	assert_int_equal(message().readers, i);
}

/* Jobs: how many, and how many deliveries they cover; due at DUE_US, if that is not 0. */
static void expect_jobs(uint32_t jobs, uint32_t deliveries, uint64_t due_us)
{
	struct kv_txn *t = db_read_begin(r.service.db);
	struct db_job job;
	int err = db_job_next(r.service.db, t, NULL, &job);

	for (; err == 0; err = db_job_next(r.service.db, t, &job, &job)) {
		jobs--;
		deliveries -= job.count;
		if (due_us != 0)
			assert_int_equal(job.due_us, due_us);
	}
	db_read_end(t);
	assert_int_equal(jobs, 0);
	assert_int_equal(deliveries, 0);
}

/* --- the way it goes ------------------------------------------------------------------------ */

static void added(void **state)
{
	const char *const all[] = { "anna@b.example", "carl@c.example", "bob@b.example",
		                    "dora@c.example", NULL };
	const char *const some[] = { "dora@c.example", "x@bad..example", "bob@b.example",
		                     "carl@c.example", "bob@b.example",  NULL };
	struct msrap_command c = { .kind = MSRAP_QUERY_SIZE };
	struct msrap_response p;
	int in = rig_connect(&r, &recipient_protocol);
	uint64_t used;

	(void)state;
	submit(two, false, 0);
	used = rig_used(&r);
	expect_jobs(2, 2, 0);
	for (int i = 0; i < 2; i++) {
		readdress(some, "abaaa"); /* said again: nothing more */
		expect_deliveries(all, WIRE_NOTIFICATION_UNPROCESSED);
		expect_jobs(4, 4, 0);
		assert_int_equal(rig_used(&r), used);
	}
	readdress(two, "aa");
	expect_deliveries(all, WIRE_NOTIFICATION_UNPROCESSED);
	/* The new ones can read it. */
	rig_recipient_id(&r, id, 3, c.u.query_size.id);
	rig_msrap(&b, &c);
	rig_flush(in, &b);
	rig_answer_msrap(&r, in, &p);
	assert_int_equal(p.status, WIRE_STATUS_OK);
	close(in);
}

static void draft(void **state)
{
	(void)state;
	submit(nobody, true, 0);
	readdress(three, "aaa");
	expect_deliveries(three, WIRE_NOTIFICATION_HELD);
	expect_jobs(0, 0, 0);
	simple(MSOAP_RELEASE);
	expect_deliveries(three, WIRE_NOTIFICATION_UNPROCESSED);
	expect_jobs(2, 3, 0);
}

static void for_later(void **state)
{
	const char *const dora[] = { "dora@d.example", NULL };
	uint64_t later = clock_now_us() + CLOCK_HOUR_US;

	(void)state;
	submit(three, false, later);
	readdress(dora, "a");
	expect_jobs(3, 4, later);
}

/* Who was cancelled, or is done with it, gets it once more. */
static void again(void **state)
{
	struct msoap_command c = { .kind = MSOAP_CANCEL };
	const char *const carl[] = { "carl@c.example", NULL };
	struct msrap_command u = { .kind = MSRAP_UNPIN };
	struct msrap_response p;
	int in = rig_connect(&r, &recipient_protocol);

	(void)state;
	submit(two, false, 0);
	memcpy(c.u.cancel.id, id, 16);
	c.u.cancel.has_recipients = true;
	c.u.cancel.recipients = rig_mailboxes(carl);
	rig_msoap(&b, &c);
	rig_flush(out, &b);
	expect(out, WIRE_STATUS_OK);
	rig_recipient_id(&r, id, 0, u.u.unpin.id);
	rig_msrap(&b, &u);
	rig_flush(in, &b);
	rig_answer_msrap(&r, in, &p);
	assert_int_equal(p.status, WIRE_STATUS_OK);
	assert_int_equal(message().readers, 0);
	for (int i = 0; i < 2; i++) {
		readdress(two, "aa");
		assert_int_equal(message().recipients, 4);
		assert_int_equal(message().readers, 2);
	}
	close(in);
}

/* --- what is refused ------------------------------------------------------------------------ */

static void not_added(void **state)
{
	const char *const bad[] = { "x@bad..example", "y@", NULL };
	const char *const four[] = { "a@b.example", "b@b.example", "c@b.example", "d@b.example",
		                     NULL };
	uint8_t own[16];

	(void)state;
	submit(two, false, 0);
	refused(nobody, WIRE_STATUS_NOT_PERMITTED);
	refused(bad, WIRE_STATUS_NOT_PERMITTED);
	memcpy(own, id, 16);
	rig_recipient_id(&r, id, 0, id);
	refused(three, WIRE_STATUS_NO_SUCH_MESSAGE);
	memset(id, 7, 16);
	refused(three, WIRE_STATUS_NO_SUCH_MESSAGE);
	memcpy(id, own, 16);
	expect_deliveries(two, WIRE_NOTIFICATION_UNPROCESSED);

	/* The limit is of one command. */
	rig_limit(&r, 1 << 20, 3);
	close(out);
	out = rig_login(&r);
	readdress(four, "aaat");
	readdress(four + 3, "a");
	assert_int_equal(message().recipients, 6);

	simple(MSOAP_FORGET);
	refused(three, WIRE_STATUS_NO_SUCH_MESSAGE);
	submit(two, false, 0);
	simple(MSOAP_CANCEL);
	refused(three, WIRE_STATUS_WITHDRAWN);
	assert_int_equal(message().recipients, 2);
}

/* The account has lost the right to send as the message's sender, or is gone. */
static void no_sender(void **state)
{
	static const char other[] = "alice@c.example";
	struct db_account account;
	struct kv_txn *t;

	(void)state;
	submit(two, false, 0);
	assert_int_equal(kv_write_begin(db_kv(r.service.db), &t), 0);
	assert_int_equal(db_account_find(r.service.db, t, span_str(RIG_ACCOUNT), &account), 0);
	account.senders = span_of(other, sizeof(other));
	assert_int_equal(db_account_put(r.service.db, t, &account), 0);
	assert_int_equal(kv_write_commit(t), 0);
	refused(three, WIRE_STATUS_NOT_PERMITTED);
	assert_int_equal(kv_write_begin(db_kv(r.service.db), &t), 0);
	assert_int_equal(db_account_remove(r.service.db, t, span_str(RIG_ACCOUNT)), 0);
	assert_int_equal(kv_write_commit(t), 0);
	refused(three, WIRE_STATUS_NOT_PERMITTED);
	expect_deliveries(two, WIRE_NOTIFICATION_UNPROCESSED);
}

/* --- many ----------------------------------------------------------------------------------- */

/* Recipients FIRST to FIRST+N-1, of six domains in turn. */
static const char *const *some(unsigned first, unsigned n)
{
	static char text[MANY][32];
	static const char *to[MANY + 1];

	for (unsigned i = 0; i < n; i++) {
		snprintf(text[i], sizeof(text[i]), "r%04u@c%u.example", first + i, (first + i) % 6);
		to[i] = text[i];
	}
	to[n] = NULL;
	return to;
}

/* Each of the MANY has one delivery, by domain in each part that was added. */
static void expect_all(void)
{
	static char seen[MANY];
	struct kv_txn *t = db_read_begin(r.service.db);
	struct db_delivery d;

	memset(seen, 0, sizeof(seen));
	assert_int_equal(message().recipients, MANY);
	assert_int_equal(message().readers, MANY);
	for (uint32_t i = 0; i < MANY; i++) {
		unsigned n;

		assert_int_equal(db_delivery_get(r.service.db, t, number, i, &d), 0);
		n = (unsigned)strtoul((const char *)d.mailbox.p + 1, NULL, 10);
		assert_true(n < MANY && seen[n] == 0);
		seen[n] = 1;
	}
	db_read_end(t);
}

static void series(void **state)
{
	(void)state;
	submit(some(0, PART), false, 0);
	for (unsigned first = PART / 2; first + PART <= MANY; first += PART / 2) {
		send_readdress(out, some(first, PART)); /* the first half is there already */
		expect(out, WIRE_STATUS_OK);
		assert_int_equal(a.u.readdress.recipients.count, PART);
		assert_int_equal(message().recipients, first + PART);
	}
	expect_all();
	expect_jobs(5 * 6, MANY, 0);
}

/* Two sessions add the same: what one of them adds while the other looks is found by its job. */
static void raced(void **state)
{
	int other = rig_login(&r);

	(void)state;
	submit(some(0, MANY - PART), false, 0);
	send_readdress(out, some(MANY - PART, PART));
	send_readdress(other, some(MANY - PART, PART));
	expect(out, WIRE_STATUS_OK);
	expect(other, WIRE_STATUS_OK);
	expect_all();
	close(other);
}

/* The client goes away while the store looks, or while it writes. */
static void cut_off(void **state)
{
	(void)state;
	submit(some(0, MANY - PART), false, 0);
	send_readdress(out, some(MANY - PART, PART));
	close(out);
	out = rig_login(&r);
	send_readdress(out, some(MANY - PART, PART));
	expect(out, WIRE_STATUS_OK);
	expect_all();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(added, setup, teardown),
		cmocka_unit_test_setup_teardown(draft, setup, teardown),
		cmocka_unit_test_setup_teardown(for_later, setup, teardown),
		cmocka_unit_test_setup_teardown(again, setup, teardown),
		cmocka_unit_test_setup_teardown(not_added, setup, teardown),
		cmocka_unit_test_setup_teardown(no_sender, setup, teardown),
		cmocka_unit_test_setup_teardown(series, setup, teardown),
		cmocka_unit_test_setup_teardown(raced, setup, teardown),
		cmocka_unit_test_setup_teardown(cut_off, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
