/* builds: plain asan tsan */

/* The submissionId: a submission that was cut off, wherever, is finished exactly once by saying
 * it again. */
#include <stdlib.h>
#include <unistd.h>

#include "message/digest.h"
#include "storerig.h"
#include "store/originator.h"

#define QUOTA 1000000

static const char *const bob[] = { "bob@b.example", NULL };

static struct rig r;
static struct buf b;
static struct msoap_response a;
static uint8_t *message;

static int setup(void **state)
{
	(void)state;
	rig_start(&r, QUOTA);
	buf_init(&b, 0);
	message = rig_message(QUOTA);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	free(message);
	buf_free(&b);
	rig_stop(&r);
	return 0;
}

/* The next answer has STATUS and ABORT. */
static void expect(int fd, enum wire_status status, bool abort)
{
	rig_answer(&r, fd, &a);
	assert_string_equal(wire_status_name(a.status), wire_status_name(status));
	assert_int_equal(a.abort, abort);
}

static void say(int fd, struct msoap_submit_envelope *e, const char *const *to,
                enum wire_status status)
{
	rig_envelope(&b, e, to);
	rig_flush(fd, &b);
	expect(fd, status, status != WIRE_STATUS_OK);
}

/* Octets from AT to END; the answer has STATUS. */
static void send_chunk(int fd, size_t at, size_t end, bool last, enum wire_status status)
{
	rig_chunk(&b, at, span_of(message + at, end - at), last);
	rig_flush(fd, &b);
	expect(fd, status, status != WIRE_STATUS_OK);
	if (status == WIRE_STATUS_OK)
		assert_int_equal(a.u.submit_chunk.received, end);
}

/* The envelope's answer: RECEIVED octets are there. */
static void expect_resumed(uint64_t received, bool complete)
{
	assert_int_equal(a.kind, MSOAP_SUBMIT_ENVELOPE);
	assert_int_equal(a.u.submit_envelope.received, received);
	assert_int_equal(a.u.submit_envelope.complete, complete);
}

/* There is one message, the first N octets. */
static void expect_one(const uint8_t id[16], size_t n)
{
	struct kv_txn *t = db_read_begin(r.service.db);
	uint8_t digest[DIGEST_SIZE];
	struct db_message m;
	struct db_stats s;

	assert_non_null(t);
	assert_int_equal(rig_find(&r, t, id, &m), 0);
	assert_int_equal(m.state, DB_STORED);
	assert_int_equal(m.size_octets, n);
	assert_int_equal(digest_octets(span_of(message, n), digest), 0);
	assert_memory_equal(m.digest, digest, DIGEST_SIZE);
	db_read_end(t);
	assert_int_equal(db_stats(r.service.db, &s), 0);
	assert_int_equal(s.messages, 1);
	assert_int_equal(rig_used(&r), n);
	rig_check(&r);
}

/* What is finished is answered so, although its own octets leave no room for it again. */
static void finished(void **state)
{
	struct msoap_submit_envelope e = { .has_submission_id = true,
		                           .submission_id = "finished",
		                           .has_size = true,
		                           .size = 600000,
		                           .has_digest = true };
	uint8_t id[16];
	int fd = rig_login(&r);

	(void)state;
	assert_int_equal(digest_octets(span_of(message, 600000), e.digest), 0);
	say(fd, &e, bob, WIRE_STATUS_OK);
	expect_resumed(0, false);
	memcpy(id, a.u.submit_envelope.id, 16);
	send_chunk(fd, 0, 600000, true, WIRE_STATUS_OK);
	for (int i = 0; i < 2; i++) {
		say(fd, &e, bob, WIRE_STATUS_OK);
		expect_resumed(600000, true);
		assert_memory_equal(a.u.submit_envelope.id, id, 16);
		assert_true(a.u.submit_envelope.expires > 0);
		/* Nothing is under way after it, and it takes no chunk. */
		rig_chunk(&b, 0, span_str("x"), true);
		rig_authenticate(&r, &b);
		rig_flush(fd, &b);
		expect(fd, WIRE_STATUS_UNEXPECTED_COMMAND, false);
		expect(fd, WIRE_STATUS_OK, false);
		/* Nor do limits matter that are tighter by now. */
		rig_limit(&r, 1000, 4);
		close(fd);
		fd = rig_login(&r);
	}
	/* Another message is not taken for it. */
	e.size--;
	say(fd, &e, bob, WIRE_STATUS_DIGEST_MISMATCH);
	e.size++;
	e.digest[0]++;
	say(fd, &e, bob, WIRE_STATUS_DIGEST_MISMATCH);
	expect_one(id, 600000);
	close(fd);
}

/* The octets that it has reserved are its own. */
static void reserved(void **state)
{
	struct msoap_submit_envelope e = { .has_submission_id = true,
		                           .submission_id = "reserved",
		                           .has_size = true,
		                           .size = 900000 };
	size_t held = 600000;
	uint8_t id[16];
	int fd = rig_login(&r);

	(void)state;
	say(fd, &e, bob, WIRE_STATUS_OK);
	memcpy(id, a.u.submit_envelope.id, 16);
	send_chunk(fd, 0, 600000, false, WIRE_STATUS_OK);
	close(fd);
	rig_wait_used(&r, 900000);

	fd = rig_login(&r);
	/* What the session before had in memory is put a little after its end. */
	a.u.submit_envelope.received = 0;
	for (int i = 0; i < 400 && a.u.submit_envelope.received != held; i++) {
		usleep(5000);
		say(fd, &e, bob, WIRE_STATUS_OK);
	}
	expect_resumed(held, false);
	assert_memory_equal(a.u.submit_envelope.id, id, 16);
	e.size = 500000; /* fewer than there are */
	say(fd, &e, bob, WIRE_STATUS_DIGEST_MISMATCH);
	e.size = QUOTA + 1;
	say(fd, &e, bob, WIRE_STATUS_WOULD_EXCEED_QUOTA);
	e.size = 900000;
	say(fd, &e, bob, WIRE_STATUS_OK);
	expect_resumed(held, false);
	send_chunk(fd, held, 900000, true, WIRE_STATUS_OK);
	expect_one(id, 900000);
	close(fd);
}

/* Everything had come but the word that it was all. */
static void only_the_end_missing(void **state)
{
	struct msoap_submit_envelope e = { .has_submission_id = true, .submission_id = "end" };
	size_t n = 8 * DB_BLOCK;
	uint8_t id[16];
	int fd = rig_login(&r);

	(void)state;
	say(fd, &e, bob, WIRE_STATUS_OK);
	memcpy(id, a.u.submit_envelope.id, 16);
	send_chunk(fd, 0, n, false, WIRE_STATUS_OK);
	close(fd);
	rig_wait_used(&r, n);

	fd = rig_login(&r);
	say(fd, &e, bob, WIRE_STATUS_OK);
	expect_resumed(n, false);
	assert_memory_equal(a.u.submit_envelope.id, id, 16);
	send_chunk(fd, n, n, true, WIRE_STATUS_OK);
	assert_true(a.u.submit_chunk.has_digest);
	expect_one(id, n);
	close(fd);
}

/* Its octets are not those that the digest is of: all is taken back, and it begins anew. */
static void resumed_wrong(void **state)
{
	struct msoap_submit_envelope e = { .has_submission_id = true,
		                           .submission_id = "wrong",
		                           .has_digest = true };
	size_t n = 700000, held = 600000;
	uint8_t id[16];
	int fd = rig_login(&r);

	(void)state;
	assert_int_equal(digest_octets(span_of(message, n), e.digest), 0);
	message[3] ^= 1;
	say(fd, &e, bob, WIRE_STATUS_OK);
	send_chunk(fd, 0, 600000, false, WIRE_STATUS_OK);
	message[3] ^= 1;
	close(fd);
	rig_wait_used(&r, held);
	fd = rig_login(&r);
	say(fd, &e, bob, WIRE_STATUS_OK);
	expect_resumed(held, false);
	send_chunk(fd, held, n, true, WIRE_STATUS_DIGEST_MISMATCH);
	rig_wait_used(&r, 0);
	say(fd, &e, bob, WIRE_STATUS_OK);
	expect_resumed(0, false);
	memcpy(id, a.u.submit_envelope.id, 16);
	send_chunk(fd, 0, n, true, WIRE_STATUS_OK);
	expect_one(id, n);
	close(fd);
}

/* Some recipients are refused: the rest get it, and a repeat says the same. */
static void partly_refused(void **state)
{
	const char *const to[] = { "x@bad..example", "bob@b.example", NULL };
	const char *const bad[] = { "x@bad..example", NULL };
	struct msoap_submit_envelope e = { .has_submission_id = true, .submission_id = "partly" };
	static const enum wire_submission_status want[] = { WIRE_SUBMISSION_BAD_ADDRESS,
		                                            WIRE_SUBMISSION_ACCEPTABLE };
	enum wire_submission_status status;
	int fd = rig_login(&r);
	struct wire_list rest;
	struct db_message m;
	struct kv_txn *t;
	uint8_t id[16];

	(void)state;
	say(fd, &e, bad, WIRE_STATUS_NOT_PERMITTED);
	for (int i = 0; i < 2; i++) {
		say(fd, &e, to, WIRE_STATUS_OK);
		rest = a.u.submit_envelope.recipients;
		assert_int_equal(rest.count, 2);
		for (size_t k = 0; k < 2; k++) {
			assert_true(msoap_submission_status_next(&rest, &status));
			assert_int_equal(status, want[k]);
		}
		if (i == 0) {
			memcpy(id, a.u.submit_envelope.id, 16);
			send_chunk(fd, 0, 1000, true, WIRE_STATUS_OK);
		}
	}
	expect_one(id, 1000);
	t = db_read_begin(r.service.db);
	assert_int_equal(rig_find(&r, t, id, &m), 0);
	assert_int_equal(m.recipients, 1);
	db_read_end(t);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(finished, setup, teardown),
		cmocka_unit_test_setup_teardown(reserved, setup, teardown),
		cmocka_unit_test_setup_teardown(only_the_end_missing, setup, teardown),
		cmocka_unit_test_setup_teardown(resumed_wrong, setup, teardown),
		cmocka_unit_test_setup_teardown(partly_refused, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
