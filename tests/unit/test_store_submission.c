/* builds: plain asan tsan */

/* MSOAP sessions of the store, over a socket pair: from the first frame to what the database
 * has at the end. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "message/digest.h"
#include "storerig.h"
#include "store/originator.h"

static const char *const bob[] = { "bob@b.example", NULL };
static const char *const nobody[] = { NULL };

static struct rig r;
static struct buf b;
static struct msoap_response a;

static int setup(void **state)
{
	(void)state;
	rig_start(&r, 0);
	buf_init(&b, 0);
	return 0;
}

static int setup_quota(void **state)
{
	(void)state;
	rig_start(&r, 100000);
	buf_init(&b, 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
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

static void expect_received(int fd, uint64_t received)
{
	expect(fd, WIRE_STATUS_OK, false);
	assert_int_equal(a.kind, MSOAP_SUBMIT_CHUNK);
	assert_int_equal(a.u.submit_chunk.received, received);
}

/* Leaf hashes are kept of all blocks of M, where it has more than one. */
static void expect_leaves(struct kv_txn *t, const struct db_message *m, struct span message)
{
	uint8_t want[DIGEST_SIZE], got[DIGEST_SIZE];
	uint64_t blob, blocks = digest_blocks(message.n);

	if (message.n == 0)
		return;
	assert_int_equal(db_leaf_blob(r.service.db, t, m, &blob), 0);
	for (uint64_t i = 0; i < blocks; i++) {
		struct span block = span_after(message, (size_t)i * DB_BLOCK);

		if (block.n > DB_BLOCK)
			block.n = DB_BLOCK;
		assert_int_equal(digest_leaf(block, want), 0);
		assert_int_equal(db_leaf_get(r.service.db, t, blob, i, 1, got),
		                 blocks > 1 ? 0 : ERR_NOT_FOUND);
		if (blocks > 1)
			assert_memory_equal(got, want, DIGEST_SIZE);
	}
	assert_int_equal(db_leaf_get(r.service.db, t, blob, blocks, 1, got), ERR_NOT_FOUND);
}

/* The database has MESSAGE whole, with its digest. */
static void expect_stored(const uint8_t id[16], struct span message)
{
	struct kv_txn *t = db_read_begin(r.service.db);
	uint8_t digest[DIGEST_SIZE];
	struct db_message m;
	uint64_t at = 0;

	assert_int_equal(rig_find(&r, t, id, &m), 0);
	assert_int_equal(m.state, DB_STORED);
	assert_int_equal(m.size_octets, message.n);
	assert_int_equal(digest_octets(message, digest), 0);
	assert_memory_equal(m.digest, digest, DIGEST_SIZE);
	while (at < message.n) {
		struct span piece;

		assert_int_equal(db_octets(r.service.db, t, &m, at, &piece), 0);
		assert_memory_equal(piece.p, message.p + at, piece.n);
		at += piece.n;
	}
	expect_leaves(t, &m, message);
	db_read_end(t);
}

static void expect_nothing_stored(void)
{
	struct db_stats s;

	rig_wait_used(&r, 0);
	assert_int_equal(db_stats(r.service.db, &s), 0);
	assert_int_equal(s.messages, 0);
	assert_int_equal(s.deliveries, 0);
	assert_int_equal(s.jobs, 0);
}

/* --- the way it goes ------------------------------------------------------------------------ */

static void one_flight(void **state)
{
	const char *const to[] = { "carl@c.example", "bob@b.example", "anna@b.example", NULL };
	struct msoap_submit_envelope e = { 0 };
	int fd = rig_connect(&r, &originator_protocol);
	uint8_t *message = rig_message(4096);
	uint8_t id[16];
	struct db_message m;
	struct db_delivery d;
	struct db_job job;
	struct kv_txn *t;

	(void)state;
	rig_authenticate(&r, &b);
	rig_envelope(&b, &e, to);
	rig_chunk(&b, 0, span_of(message, 4096), true);
	rig_flush(fd, &b);
	expect(fd, WIRE_STATUS_OK, false);
	assert_int_equal(a.kind, MSOAP_AUTHENTICATE);
	expect(fd, WIRE_STATUS_OK, false);
	assert_int_equal(a.u.submit_envelope.recipients.count, 3);
	assert_int_equal(a.u.submit_envelope.received, 0);
	assert_false(a.u.submit_envelope.complete);
	memcpy(id, a.u.submit_envelope.id, 16);
	expect_received(fd, 4096);
	assert_true(a.u.submit_chunk.has_digest);
	expect_stored(id, span_of(message, 4096));

	t = db_read_begin(r.service.db);
	assert_int_equal(rig_find(&r, t, id, &m), 0);
	assert_int_equal(m.recipients, 3);
	assert_int_equal(m.readers, 3);
	assert_true(span_eq_str(m.sender, RIG_SENDER));
	assert_non_null(memmem(m.excerpt.p, m.excerpt.n, "Subject: A letter", 17));
	assert_true(m.structure.n > 0);
	/* By domain, then by mailbox; one job for each domain. */
	assert_int_equal(db_delivery_get(r.service.db, t, m.number, 0, &d), 0);
	assert_true(span_eq_str(d.mailbox, "anna@b.example"));
	assert_true(d.pinned);
	assert_int_equal(db_delivery_get(r.service.db, t, m.number, 2, &d), 0);
	assert_true(span_eq_str(d.mailbox, "carl@c.example"));
	assert_int_equal(db_job_next(r.service.db, t, NULL, &job), 0);
	assert_int_equal(job.count, 2);
	assert_true(span_eq_str(job.domain, "b.example"));
	assert_int_equal(db_job_next(r.service.db, t, &job, &job), 0);
	assert_int_equal(job.first, 2);
	assert_int_equal(job.count, 1);
	assert_int_equal(db_job_next(r.service.db, t, &job, &job), ERR_NOT_FOUND);
	db_read_end(t);
	rig_check(&r);
	free(message);
	close(fd);
}

static void octet_by_octet(void **state)
{
	struct msoap_submit_envelope e = { 0 };
	int fd = rig_connect(&r, &originator_protocol);
	uint8_t *message = rig_message(700);
	uint8_t id[16];

	(void)state;
	rig_authenticate(&r, &b);
	rig_envelope(&b, &e, bob);
	rig_chunk(&b, 0, span_of(message, 300), false);
	rig_chunk(&b, 300, span_of(message + 300, 400), true);
	while (b.n > 0) {
		rig_send(fd, span_of(buf_view(&b).p, 1));
		buf_consume(&b, 1);
	}
	expect(fd, WIRE_STATUS_OK, false);
	expect(fd, WIRE_STATUS_OK, false);
	memcpy(id, a.u.submit_envelope.id, 16);
	expect_received(fd, 300);
	expect_received(fd, 700);
	expect_stored(id, span_of(message, 700));
	free(message);
	close(fd);
}

/* Sizes around what is held in memory and what a batch and a block are. */
static void sizes(void **state)
{
	static const size_t size[] = { 0,      1,      65535,        65536,  65537,
		                       262144, 262145, 1048576 + 77, 5000001 };
	int fd = rig_login(&r);
	uint64_t all = 0;
	uint8_t id[16];

	(void)state;
	for (size_t i = 0; i < sizeof(size) / sizeof(size[0]); i++) {
		uint8_t *message = rig_message(size[i]);

		rig_submit(&r, fd, bob, span_of(message, size[i]), id);
		expect_stored(id, span_of(message, size[i]));
		all += size[i];
		free(message);
	}
	assert_int_equal(rig_used(&r), all);
	rig_check(&r);
	close(fd);
}

/* Many chunks of every size, all sent ahead. */
static void many_chunks(void **state)
{
	struct msoap_submit_envelope e = { 0 };
	int fd = rig_login(&r);
	size_t n = 3000000, at = 0, step = 1, chunks = 0;
	uint8_t *message = rig_message(n);
	uint8_t id[16];

	(void)state;
	rig_envelope(&b, &e, bob);
	rig_flush(fd, &b);
	expect(fd, WIRE_STATUS_OK, false);
	memcpy(id, a.u.submit_envelope.id, 16);
	while (at < n) {
		size_t k = n - at < step ? n - at : step;

		rig_chunk(&b, at, span_of(message + at, k), at + k == n);
		rig_flush(fd, &b);
		at += k;
		step = step * 3 % 150001 + 1;
		chunks++;
	}
	for (at = 0, step = 1; chunks > 0; chunks--) {
		at += n - at < step ? n - at : step;
		expect_received(fd, at);
		step = step * 3 % 150001 + 1;
	}
	expect_stored(id, span_of(message, n));
	free(message);
	close(fd);
}

/* --- what is refused ------------------------------------------------------------------------ */

static void login_wrong(void **state)
{
	struct msoap_command c = { .kind = MSOAP_AUTHENTICATE };
	struct msoap_submit_envelope e = { 0 };
	int fd = rig_connect(&r, &originator_protocol);

	(void)state;
	c.u.authenticate.account = span_str("nobody");
	c.u.authenticate.password = span_str(r.token);
	rig_msoap(&b, &c);
	c.u.authenticate.account = span_str(RIG_ACCOUNT);
	c.u.authenticate.password = span_str("wrong");
	rig_msoap(&b, &c);
	rig_envelope(&b, &e, bob);
	rig_chunk(&b, 0, span_str("x"), true);
	rig_authenticate(&r, &b);
	rig_envelope(&b, &e, bob);
	rig_flush(fd, &b);
	expect(fd, WIRE_STATUS_NOT_AUTHENTICATED, false);
	expect(fd, WIRE_STATUS_NOT_AUTHENTICATED, false);
	expect(fd, WIRE_STATUS_NOT_AUTHENTICATED, true);
	expect(fd, WIRE_STATUS_NOT_AUTHENTICATED, false);
	expect(fd, WIRE_STATUS_OK, false);
	expect(fd, WIRE_STATUS_OK, false);
	close(fd);
}

static void statuses(void **state)
{
	const char *const to[] = { "bob@b.example",  "x@bad..example", "bob@b.example",
		                   "carl@c.example", "dora@d.example", NULL };
	static const enum wire_submission_status want[] = {
		WIRE_SUBMISSION_ACCEPTABLE, WIRE_SUBMISSION_BAD_ADDRESS, WIRE_SUBMISSION_ACCEPTABLE,
		WIRE_SUBMISSION_ACCEPTABLE, WIRE_SUBMISSION_TOO_MANY
	};
	struct msoap_submit_envelope e = { 0 };
	uint8_t list[64], id[16];
	struct wire_list_writer w;
	enum wire_submission_status status;
	struct wire_list rest;
	struct db_message m;
	struct kv_txn *t;
	int fd = rig_login(&r);

	(void)state;
	wire_list_writer_init(&w, list, sizeof(list));
	assert_int_equal(wire_text_append(&w, span_str("news@a.example")), 0);
	e.has_lists = true;
	e.lists = wire_list_view(&w);
	rig_envelope(&b, &e, to);
	rig_chunk(&b, 0, span_str("A: b\r\n\r\n"), true);
	rig_flush(fd, &b);
	expect(fd, WIRE_STATUS_OK, false);
	rest = a.u.submit_envelope.recipients;
	assert_int_equal(rest.count, 5);
	for (size_t i = 0; i < 5; i++) {
		assert_true(msoap_submission_status_next(&rest, &status));
		assert_int_equal(status, want[i]);
	}
	rest = a.u.submit_envelope.lists;
	assert_true(msoap_submission_status_next(&rest, &status));
	assert_int_equal(status, WIRE_SUBMISSION_TOO_MANY);
	memcpy(id, a.u.submit_envelope.id, 16);
	expect_received(fd, 8);
	t = db_read_begin(r.service.db);
	assert_int_equal(rig_find(&r, t, id, &m), 0);
	assert_int_equal(m.recipients, 2);
	db_read_end(t);
	close(fd);
}

/* Envelopes that are refused, each with what was wrong, while data is on its way. */
static void envelope_refused(void **state)
{
	const char *const bad[] = { "x@bad..example", NULL };
	struct msoap_submit_envelope e;
	struct mailbox name;
	uint8_t labels[WIRE_LABELS_MAX], id[16];
	uint8_t *message = rig_message(200000);
	int fd = rig_login(&r);

	(void)state;
	for (int i = 0; i < 6; i++) {
		static const enum wire_status want[] = {
			WIRE_STATUS_NOT_PERMITTED,      WIRE_STATUS_NOT_PERMITTED,
			WIRE_STATUS_NOT_PERMITTED,      WIRE_STATUS_TOO_BIG,
			WIRE_STATUS_LIFETIME_TOO_SHORT, WIRE_STATUS_NOT_PERMITTED
		};

		memset(&e, 0, sizeof(e));
		if (i == 2) { /* a sender of another domain */
			e.has_sender = true;
			assert_int_equal(name_parse_mailbox(span_str("eve@e.example"), &name), 0);
			wire_mailbox_from_name(&name, labels, &e.sender);
		}
		e.has_size = i == 3;
		e.size = (8u << 20) + 1;
		e.lifetime = i == 4 ? 59 : 0;
		e.has_release_at = i == 5;
		e.release_at = UINT64_MAX / 2;
		rig_envelope(&b, &e, i == 0 ? nobody : i == 1 ? bad : bob);
		rig_chunk(&b, 0, span_of(message, 1000), false);     /* collected */
		rig_chunk(&b, 1000, span_of(message, 200000), true); /* streamed */
		rig_flush(fd, &b);
		expect(fd, want[i], true);
		expect(fd, WIRE_STATUS_UNEXPECTED_COMMAND, false);
		expect(fd, WIRE_STATUS_UNEXPECTED_COMMAND, false);
	}
	expect_nothing_stored();
	rig_submit(&r, fd, bob, span_of(message, 200000), id);
	expect_stored(id, span_of(message, 200000));
	free(message);
	close(fd);
}

static void wrong_offset(void **state)
{
	struct msoap_submit_envelope e = { 0 };
	uint8_t *message = rig_message(300000);
	uint8_t id[16];
	int fd = rig_login(&r);

	(void)state;
	rig_envelope(&b, &e, bob);
	rig_chunk(&b, 5, span_of(message, 100), false);
	rig_chunk(&b, 0, span_of(message, 100), false);
	rig_chunk(&b, 0, span_of(message, 200000), false); /* streamed, and thrown away */
	rig_chunk(&b, 100, span_of(message + 100, 299900), true);
	rig_flush(fd, &b);
	expect(fd, WIRE_STATUS_OK, false);
	memcpy(id, a.u.submit_envelope.id, 16);
	expect(fd, WIRE_STATUS_UNEXPECTED_COMMAND, false);
	assert_non_null(memmem(a.text.p, a.text.n, " 0", 2));
	expect_received(fd, 100);
	expect(fd, WIRE_STATUS_UNEXPECTED_COMMAND, false);
	assert_non_null(memmem(a.text.p, a.text.n, " 100", 4));
	expect_received(fd, 300000);
	expect_stored(id, span_of(message, 300000));
	free(message);
	close(fd);
}

static void digest_mismatch(void **state)
{
	static const size_t size[] = { 100, 900000 };
	struct msoap_submit_envelope e = { .has_digest = true, .has_submission_id = true };
	uint8_t *message = rig_message(900000);
	int fd = rig_login(&r);

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		e.submission_id[0] = (uint8_t)i;
		rig_envelope(&b, &e, bob);
		rig_chunk(&b, 0, span_of(message, size[i]), true);
		rig_chunk(&b, size[i], span_str("x"), true);
		rig_flush(fd, &b);
		expect(fd, WIRE_STATUS_OK, false);
		expect(fd, WIRE_STATUS_DIGEST_MISMATCH, true);
		expect(fd, WIRE_STATUS_UNEXPECTED_COMMAND, false);
		expect_nothing_stored();
	}
	/* With the right one it lands. */
	assert_int_equal(digest_octets(span_of(message, 900000), e.digest), 0);
	rig_envelope(&b, &e, bob);
	rig_chunk(&b, 0, span_of(message, 900000), true);
	rig_flush(fd, &b);
	expect(fd, WIRE_STATUS_OK, false);
	expect_received(fd, 900000);
	rig_check(&r);
	free(message);
	close(fd);
}

static void too_big(void **state)
{
	struct msoap_submit_envelope e = { 0 };
	uint8_t *message = rig_message(1 << 20);
	int fd = rig_login(&r);
	uint64_t at;

	(void)state;
	rig_envelope(&b, &e, bob);
	rig_flush(fd, &b);
	expect(fd, WIRE_STATUS_OK, false);
	for (at = 0; at < 8; at++) {
		rig_chunk(&b, at << 20, span_of(message, 1 << 20), false);
		rig_flush(fd, &b);
		expect_received(fd, (at + 1) << 20);
	}
	rig_chunk(&b, at << 20, span_str("x"), true);
	rig_flush(fd, &b);
	expect(fd, WIRE_STATUS_TOO_BIG, true);
	expect_nothing_stored();
	free(message);
	close(fd);
}

static void quota(void **state)
{
	struct msoap_submit_envelope e = { .has_size = true, .size = 100001 };
	uint8_t *message = rig_message(1 << 20);
	uint8_t id[16];
	int fd = rig_login(&r);

	(void)state;
	rig_envelope(&b, &e, bob);
	rig_flush(fd, &b);
	expect(fd, WIRE_STATUS_WOULD_EXCEED_QUOTA, true);
	/* Sizes that were not said: found at the end, and on the way. */
	e.has_size = false;
	e.size = 0;
	rig_envelope(&b, &e, bob);
	rig_chunk(&b, 0, span_of(message, 100001), true);
	rig_envelope(&b, &e, bob);
	rig_chunk(&b, 0, span_of(message, 1 << 20), true);
	rig_flush(fd, &b);
	expect(fd, WIRE_STATUS_OK, false);
	expect(fd, WIRE_STATUS_WOULD_EXCEED_QUOTA, true);
	expect(fd, WIRE_STATUS_OK, false);
	expect(fd, WIRE_STATUS_WOULD_EXCEED_QUOTA, true);
	expect_nothing_stored();
	rig_submit(&r, fd, bob, span_of(message, 100000), id);
	assert_int_equal(rig_used(&r), 100000);
	rig_envelope(&b, &e, bob);
	rig_flush(fd, &b);
	expect(fd, WIRE_STATUS_WOULD_EXCEED_QUOTA, true);
	free(message);
	close(fd);
}

static void malformed(void **state)
{
	static const uint8_t frame[] = { 0, 0, 0, 3, 0xa1, 0x01, 0xff };
	int fd = rig_login(&r);

	(void)state;
	rig_send(fd, span_of(frame, sizeof(frame)));
	expect(fd, WIRE_STATUS_MALFORMED_PDU, true);
	rig_expect_end(fd);
	close(fd);
}

/* --- what is cut off ------------------------------------------------------------------------ */

static void cut(void **state)
{
	struct msoap_submit_envelope e = { 0 };
	uint8_t *message = rig_message(1 << 20);
	int fd = rig_login(&r);

	(void)state;
	rig_envelope(&b, &e, bob);
	rig_chunk(&b, 0, span_of(message, 1 << 20), false);
	rig_flush(fd, &b);
	expect(fd, WIRE_STATUS_OK, false);
	expect_received(fd, 1 << 20);
	close(fd);
	expect_nothing_stored();
	free(message);
}

static void resumed(void **state)
{
	struct msoap_submit_envelope e = { .has_submission_id = true, .submission_id = "resumed" };
	size_t n = 3000000, came;
	uint8_t *message = rig_message(n);
	uint8_t id[16];
	uint64_t received;
	int fd = rig_login(&r);

	(void)state;
	rig_envelope(&b, &e, bob);
	rig_chunk(&b, 0, span_of(message, n), true);
	came = 1000000 - (b.n - n); /* without the envelope and the chunk's own head */
	rig_send(fd, span_of(buf_view(&b).p, 1000000)); /* and then the line goes dead */
	buf_consume(&b, b.n);
	expect(fd, WIRE_STATUS_OK, false);
	memcpy(id, a.u.submit_envelope.id, 16);
	close(fd);
	rig_wait_used(&r, came);

	fd = rig_login(&r);
	rig_envelope(&b, &e, bob);
	rig_flush(fd, &b);
	expect(fd, WIRE_STATUS_OK, false);
	assert_memory_equal(a.u.submit_envelope.id, id, 16);
	assert_false(a.u.submit_envelope.complete);
	received = a.u.submit_envelope.received;
	assert_int_equal(received, came);
	rig_chunk(&b, received, span_of(message + received, n - received), true);
	rig_flush(fd, &b);
	expect_received(fd, n);
	expect_stored(id, span_of(message, n));
	rig_check(&r);

	/* Once more: it is finished, exactly once. */
	rig_envelope(&b, &e, bob);
	rig_chunk(&b, 0, span_of(message, n), true);
	rig_flush(fd, &b);
	expect(fd, WIRE_STATUS_OK, false);
	assert_memory_equal(a.u.submit_envelope.id, id, 16);
	assert_true(a.u.submit_envelope.complete);
	assert_int_equal(a.u.submit_envelope.received, n);
	expect(fd, WIRE_STATUS_UNEXPECTED_COMMAND, false);
	assert_int_equal(rig_used(&r), n);
	free(message);
	close(fd);
}

/* Two sessions with one submissionId: one lands, the other is told to say it again. */
static void raced(void **state)
{
	struct msoap_submit_envelope e = { .has_submission_id = true, .submission_id = "raced" };
	static const size_t size[] = { 1000, 800000 };
	uint8_t *message = rig_message(800000);
	int one = rig_login(&r), two = rig_login(&r);
	uint8_t id[16];

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		e.submission_id[15] = (uint8_t)i;
		rig_envelope(&b, &e, bob);
		rig_send(one, buf_view(&b));
		rig_flush(two, &b);
		expect(one, WIRE_STATUS_OK, false);
		memcpy(id, a.u.submit_envelope.id, 16);
		expect(two, WIRE_STATUS_OK, false);
		rig_chunk(&b, 0, span_of(message, size[i]), true);
		rig_send(one, buf_view(&b));
		expect_received(one, size[i]);
		rig_flush(two, &b);
		expect(two, WIRE_STATUS_TRY_LATER, true);
		expect_stored(id, span_of(message, size[i]));
		rig_envelope(&b, &e, bob);
		rig_flush(two, &b);
		expect(two, WIRE_STATUS_OK, false);
		assert_memory_equal(a.u.submit_envelope.id, id, 16);
		assert_true(a.u.submit_envelope.complete);
	}
	assert_int_equal(rig_used(&r), 801000);
	rig_check(&r);
	free(message);
	close(one);
	close(two);
}

/* An envelope in the middle of a submission gives that up. */
static void begun_anew(void **state)
{
	struct msoap_submit_envelope e = { 0 };
	uint8_t *message = rig_message(600000);
	uint8_t id[16];
	int fd = rig_login(&r);

	(void)state;
	rig_envelope(&b, &e, bob);
	rig_chunk(&b, 0, span_of(message, 600000), false);
	rig_authenticate(&r, &b); /* not now */
	rig_flush(fd, &b);
	expect(fd, WIRE_STATUS_OK, false);
	expect_received(fd, 600000);
	expect(fd, WIRE_STATUS_UNEXPECTED_COMMAND, false);
	rig_submit(&r, fd, bob, span_of(message, 1000), id);
	rig_wait_used(&r, 1000);
	expect_stored(id, span_of(message, 1000));
	free(message);
	close(fd);
}

/* Drafts: nobody is notified, and no recipient is needed. */
static void held(void **state)
{
	struct msoap_submit_envelope e = { .has_hold = true, .hold = true };
	struct db_message m;
	struct db_job job;
	struct kv_txn *t;
	uint8_t id[16];
	int fd = rig_login(&r);

	(void)state;
	for (int i = 0; i < 2; i++) {
		rig_envelope(&b, &e, i == 0 ? nobody : bob);
		rig_chunk(&b, 0, span_str("A: b\r\n\r\n"), true);
		rig_flush(fd, &b);
		expect(fd, WIRE_STATUS_OK, false);
		memcpy(id, a.u.submit_envelope.id, 16);
		expect_received(fd, 8);
		t = db_read_begin(r.service.db);
		assert_int_equal(rig_find(&r, t, id, &m), 0);
		assert_int_equal(m.state, DB_HELD);
		assert_int_equal(db_job_next(r.service.db, t, NULL, &job), ERR_NOT_FOUND);
		db_read_end(t);
	}
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_flight, setup, teardown),
		cmocka_unit_test_setup_teardown(octet_by_octet, setup, teardown),
		cmocka_unit_test_setup_teardown(sizes, setup, teardown),
		cmocka_unit_test_setup_teardown(many_chunks, setup, teardown),
		cmocka_unit_test_setup_teardown(login_wrong, setup, teardown),
		cmocka_unit_test_setup_teardown(statuses, setup, teardown),
		cmocka_unit_test_setup_teardown(envelope_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(wrong_offset, setup, teardown),
		cmocka_unit_test_setup_teardown(digest_mismatch, setup, teardown),
		cmocka_unit_test_setup_teardown(too_big, setup, teardown),
		cmocka_unit_test_setup_teardown(quota, setup_quota, teardown),
		cmocka_unit_test_setup_teardown(malformed, setup, teardown),
		cmocka_unit_test_setup_teardown(cut, setup, teardown),
		cmocka_unit_test_setup_teardown(resumed, setup, teardown),
		cmocka_unit_test_setup_teardown(raced, setup, teardown),
		cmocka_unit_test_setup_teardown(begun_anew, setup, teardown),
		cmocka_unit_test_setup_teardown(held, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
