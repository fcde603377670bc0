/* MSOAP's PDUs against tests/unit/wire_vectors.inc. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "wire/msoap.h"
#include "wire_check.h"

CHECK_MODULE(msoap)

static const char *const three[] = {
	"bob@b.example", "\xc3\xa7" "elik@xn--bcher-kva.example", "c@d", NULL,
};
static const char *const one[] = { "bob@b.example", NULL };

static void test_authenticate(void **state)
{
	(void)state;
	command("authenticate", (struct msoap_command){
	    .kind = MSOAP_AUTHENTICATE,
	    .u.authenticate = { .account = span_str("alice"), .password = span_str("x") } });
	command("authenticate.long", (struct msoap_command){
	    .kind = MSOAP_AUTHENTICATE,
	    .u.authenticate = { .account = span_str("\xc3\xa4lice"),
	                        .password = check_fill(300, 'p') } });
	response("authenticate", (struct msoap_response){ .kind = MSOAP_AUTHENTICATE });
}

/* The example of protocol.md section 4, with its frame length. */
static void test_example(void **state)
{
	static const uint8_t frame[] = {
		0x00, 0x00, 0x00, 0x10, 0xa1, 0x0e, 0xa0, 0x0c, 0xa0, 0x0a,
		0x80, 0x05, 0x61, 0x6c, 0x69, 0x63, 0x65, 0x81, 0x01, 0x78,
	};
	struct msoap_command c = {
		.kind = MSOAP_AUTHENTICATE,
		.u.authenticate = { .account = span_str("alice"), .password = span_str("x") },
	};
	uint8_t buf[sizeof(frame)];
	struct span out;

	(void)state;
	assert_int_equal(msoap_command_encode(&c, buf, sizeof(buf), &out), 0);
	assert_int_equal(out.n, sizeof(frame));
	assert_memory_equal(out.p, frame, sizeof(frame));
	memset(&c, 0xff, sizeof(c));
	assert_int_equal(msoap_command_decode(span_of(frame + 4, 16), 16, &c), 0);
	assert_int_equal(c.kind, MSOAP_AUTHENTICATE);
	assert_true(span_eq_str(c.u.authenticate.account, "alice"));
	assert_true(span_eq_str(c.u.authenticate.password, "x"));
}

static void test_submit_envelope(void **state)
{
	static const char *const lists[] = { "news@a.example", "\xc3\xbcnion@a.example", NULL };
	static const char *const none[] = { NULL };
	struct msoap_command c = { .kind = MSOAP_SUBMIT_ENVELOPE };

	(void)state;
	command("submitEnvelope", c);
	c.u.submit_envelope = (struct msoap_submit_envelope){
		.has_recipients = true, .recipients = check_mailboxes(three),
		.has_lists = true, .lists = check_texts(lists),
		.lifetime = 2592000, .has_size = true, .size = 65536,
		.has_submission_id = true,
		.has_sender = true, .sender = check_mailbox("alice@a.example"),
		.has_digest = true, .has_release_at = true, .release_at = CHECK_TIME,
		.has_hold = true, .hold = true,
	};
	check_id(c.u.submit_envelope.submission_id, 1);
	check_digest(c.u.submit_envelope.digest, 2);
	command("submitEnvelope.full", c);
	c.u.submit_envelope = (struct msoap_submit_envelope){
		.has_recipients = true, .recipients = check_mailboxes(none),
		.has_lists = true, .lists = check_texts(none),
		.lifetime = 127, .has_hold = true,
	};
	command("submitEnvelope.none", c);
}

static struct msoap_submit_envelope_done envelope_done(void)
{
	static const enum wire_submission_status statuses[] = {
		WIRE_SUBMISSION_ACCEPTABLE, WIRE_SUBMISSION_BAD_ADDRESS, WIRE_SUBMISSION_TOO_MANY,
	};
	struct wire_list_writer *recipients = check_writer(), *lists = check_writer();
	struct msoap_submit_envelope_done done = {
		.received = 255, .expires = CHECK_TIME, .complete = true,
	};

	for (size_t i = 0; i < 3; i++)
		assert_int_equal(msoap_submission_status_append(recipients, statuses[i]), 0);
	assert_int_equal(msoap_submission_status_append(lists, WIRE_SUBMISSION_ACCESS_DENIED), 0);
	check_id(done.id, 10);
	done.recipients = check_list(recipients);
	done.lists = check_list(lists);
	return done;
}

static void test_submit_envelope_done(void **state)
{
	struct msoap_response r = { .kind = MSOAP_SUBMIT_ENVELOPE };
	struct wire_list rest = envelope_done().recipients;
	enum wire_submission_status status;

	(void)state;
	assert_int_equal(rest.count, 3);
	assert_true(msoap_submission_status_next(&rest, &status));
	assert_int_equal(status, WIRE_SUBMISSION_ACCEPTABLE);
	assert_true(msoap_submission_status_next(&rest, &status));
	assert_int_equal(status, WIRE_SUBMISSION_BAD_ADDRESS);
	assert_int_equal(rest.count, 1);
	assert_true(msoap_submission_status_next(&rest, &status));
	assert_int_equal(status, WIRE_SUBMISSION_TOO_MANY);
	assert_false(msoap_submission_status_next(&rest, &status));

	r.u.submit_envelope = envelope_done();
	response("submitEnvelope", r);
	r.kind = MSOAP_READDRESS;
	r.u.readdress = envelope_done();
	response("readdress", r);
	r = (struct msoap_response){
		.kind = MSOAP_SUBMIT_ENVELOPE, .abort = true, .status = WIRE_STATUS_NOT_PERMITTED,
		.has_text = true, .text = span_str("nobody left"), .u.submit_envelope.expires = 1,
	};
	check_id(r.u.submit_envelope.id, 11);
	response("submitEnvelope.none", r);
}

static void test_submit_chunk(void **state)
{
	struct msoap_command c = {
		.kind = MSOAP_SUBMIT_CHUNK,
		.u.submit_chunk = { .is_last = true, .data = check_stream(check_octets(300, 1)) },
	};
	struct msoap_response r = { .kind = MSOAP_SUBMIT_CHUNK, .u.submit_chunk.received = 65536 };

	(void)state;
	command("submitChunk", c);
	c.u.submit_chunk = (struct msoap_submit_chunk){ .offset = UINT64_MAX };
	command("submitChunk.empty", c);
	c.u.submit_chunk.offset = 128;
	c.u.submit_chunk.data = check_stream(check_octets(128, 9));
	command("submitChunk.128", c);
	response("submitChunk", r);
	r.u.submit_chunk = (struct msoap_submit_chunk_done){ .received = 256, .has_digest = true };
	check_digest(r.u.submit_chunk.digest, 12);
	response("submitChunk.last", r);
}

static void test_submit_reference(void **state)
{
	static const uint8_t loopback[] = { 127, 0, 0, 1 };
	struct msoap_command c = { .kind = MSOAP_SUBMIT_REFERENCE, .u.submit_reference.offset = 5 };
	struct msoap_response r = { .kind = MSOAP_SUBMIT_REFERENCE };
	struct wire_endpoint v4 = { .port = 4401 }, v6 = { .address.kind = WIRE_ADDRESS_V6,
	                                                   .port = 65535 };
	struct wire_list_writer *w = check_writer();

	(void)state;
	check_id(c.u.submit_reference.id, 5);
	command("submitReference", c);
	c.u.submit_reference = (struct msoap_submit_reference){
		.is_last = true, .offset = 128, .has_store = true,
		.store = { .kind = WIRE_LOCATION_DOMAIN, .u.domain = check_labels("store.a.example") },
		.has_section = true, .section = span_str("1.2"), .has_from = true, .from = 32768,
		.has_length = true, .length = 40000000,
		.has_encoding = true, .encoding = WIRE_ENCODING_BASE64,
	};
	check_id(c.u.submit_reference.id, 5);
	command("submitReference.full", c);
	memcpy(v4.address.u.v4, loopback, sizeof(loopback));
	for (size_t i = 0; i < 16; i++)
		v6.address.u.v6[i] = (uint8_t)(0x20 + i);
	assert_int_equal(wire_endpoint_append(w, &v4), 0);
	assert_int_equal(wire_endpoint_append(w, &v6), 0);
	c.u.submit_reference = (struct msoap_submit_reference){
		.is_last = true, .offset = 128, .has_store = true,
		.store = { .kind = WIRE_LOCATION_LITERALS, .u.literals = check_list(w) },
		.has_encoding = true, .encoding = WIRE_ENCODING_AS_STORED,
	};
	check_id(c.u.submit_reference.id, 5);
	command("submitReference.literals", c);
	r.u.submit_reference = (struct msoap_submit_chunk_done){ .received = 40000000,
	                                                         .has_digest = true };
	check_digest(r.u.submit_reference.digest, 13);
	response("submitReference", r);
}

static struct msoap_delivery delivery(void)
{
	return (struct msoap_delivery){
		.notification = WIRE_NOTIFICATION_NOTIFYING, .read = WIRE_READ_UNREAD,
		.pinned = true, .recipient = check_mailbox("bob@b.example"), .attempts = 3,
		.changed = CHECK_TIME, .has_next_attempt = true,
		.next_attempt = CHECK_TIME + 60000000, .has_text = true,
		.text = span_str("connection refused"),
	};
}

static struct msoap_delivery delivery_bare(void)
{
	return (struct msoap_delivery){
		.notification = WIRE_NOTIFICATION_HELD, .read = WIRE_READ_ALL,
		.recipient = check_mailbox("c@d"),
	};
}

static void test_track(void **state)
{
	struct msoap_command c = { .kind = MSOAP_TRACK };
	struct msoap_response r = { .kind = MSOAP_TRACK };
	struct msoap_delivery full = delivery(), bare = delivery_bare(), back;
	struct wire_list_writer *w = check_writer();
	struct wire_list rest;

	(void)state;
	check_id(c.u.track.id, 3);
	command("track", c);
	c.u.track.has_after = c.u.track.has_limit = true;
	c.u.track.after = 7;
	c.u.track.limit = 1;
	command("track.full", c);
	response("track", r);
	assert_int_equal(msoap_delivery_append(w, &full), 0);
	assert_int_equal(msoap_delivery_append(w, &bare), 0);
	r.u.track = (struct msoap_track_done){ .deliveries = check_list(w), .has_next = true,
	                                       .next = 2 };
	response("track.full", r);
	rest = r.u.track.deliveries;
	assert_true(msoap_delivery_next(&rest, &back));
	assert_int_equal(back.notification, WIRE_NOTIFICATION_NOTIFYING);
	assert_int_equal(back.next_attempt, CHECK_TIME + 60000000);
	assert_true(span_eq_str(back.recipient.local, "bob"));
	assert_true(span_eq_str(back.text, "connection refused"));
	assert_true(msoap_delivery_next(&rest, &back));
	assert_int_equal(back.read, WIRE_READ_ALL);
	assert_false(back.has_next_attempt);
	assert_false(back.has_text);
	assert_int_equal(back.text.n, 0);
	assert_false(msoap_delivery_next(&rest, &back));
}

static void test_cancel(void **state)
{
	struct msoap_command c = { .kind = MSOAP_CANCEL };

	(void)state;
	check_id(c.u.cancel.id, 4);
	command("cancel", c);
	c.u.cancel.has_recipients = true;
	c.u.cancel.recipients = check_mailboxes(one);
	command("cancel.full", c);
	response("cancel", (struct msoap_response){ .kind = MSOAP_CANCEL });
}

static void test_archive(void **state)
{
	struct msoap_command c = { .kind = MSOAP_ARCHIVE };
	struct msoap_response r = { .kind = MSOAP_ARCHIVE };
	struct msoap_archived full = {
		.size = 1000, .submitted = CHECK_TIME, .expires = CHECK_TIME + 1, .held = true,
		.has_header = true, .header = check_octets(40, 16),
		.has_structure = true, .structure = span_str("(\"text\" \"plain\")"),
	}, bare = { 0 }, back;
	struct wire_list_writer *w = check_writer();
	struct wire_list rest;

	(void)state;
	command("archive", c);
	c.u.archive = (struct msoap_archive){ .after = 8388608, .has_limit = true, .limit = 100 };
	command("archive.full", c);
	response("archive", r);
	check_id(full.id, 14);
	check_digest(full.digest, 15);
	check_id(bare.id, 17);
	check_digest(bare.digest, 18);
	assert_int_equal(msoap_archived_append(w, &full), 0);
	assert_int_equal(msoap_archived_append(w, &bare), 0);
	r.u.archive = (struct msoap_archive_done){ .messages = check_list(w), .has_next = true,
	                                           .next = 99 };
	response("archive.full", r);
	rest = r.u.archive.messages;
	assert_true(msoap_archived_next(&rest, &back));
	assert_memory_equal(back.digest, full.digest, sizeof(full.digest));
	assert_true(back.held && span_eq(back.header, full.header));
	assert_true(msoap_archived_next(&rest, &back));
	assert_memory_equal(back.id, bare.id, sizeof(bare.id));
	assert_false(back.held || back.has_header || back.has_structure);
	assert_false(msoap_archived_next(&rest, &back));
}

static void test_watch(void **state)
{
	struct msoap_change first = { .delivery = delivery() };
	struct msoap_change second = { .delivery = delivery_bare() };
	struct msoap_response r = { .kind = MSOAP_WATCH, .u.watch.next = 21 };
	struct wire_list_writer *w = check_writer();
	struct msoap_change back;
	struct wire_list rest;

	(void)state;
	command("watch", (struct msoap_command){ .kind = MSOAP_WATCH,
	                                         .u.watch = { .after = UINT64_MAX, .wait = 1800 } });
	check_id(first.id, 19);
	check_id(second.id, 20);
	assert_int_equal(msoap_change_append(w, &first), 0);
	assert_int_equal(msoap_change_append(w, &second), 0);
	r.u.watch.changes = check_list(w);
	response("watch", r);
	rest = r.u.watch.changes;
	assert_true(msoap_change_next(&rest, &back));
	assert_memory_equal(back.id, first.id, sizeof(first.id));
	assert_int_equal(back.delivery.attempts, 3);
	assert_true(msoap_change_next(&rest, &back));
	assert_int_equal(back.delivery.notification, WIRE_NOTIFICATION_HELD);
	assert_false(msoap_change_next(&rest, &back));
}

static void test_kept_messages(void **state)
{
	static const char *const odd[] = { "bob@b.example", "@", NULL };
	struct msoap_command c = { .kind = MSOAP_RELEASE };

	(void)state;
	check_id(c.u.release.id, 6);
	command("release", c);
	response("release", (struct msoap_response){ .kind = MSOAP_RELEASE });
	c = (struct msoap_command){ .kind = MSOAP_READDRESS };
	check_id(c.u.readdress.id, 7);
	c.u.readdress.recipients = check_mailboxes(odd);
	command("readdress", c);
	c = (struct msoap_command){ .kind = MSOAP_EXTEND, .u.extend.lifetime = 86400 };
	check_id(c.u.extend.id, 8);
	command("extend", c);
	response("extend", (struct msoap_response){ .kind = MSOAP_EXTEND,
	                                            .u.extend.expires = CHECK_TIME });
	c = (struct msoap_command){ .kind = MSOAP_FORGET };
	check_id(c.u.forget.id, 9);
	command("forget", c);
	response("forget", (struct msoap_response){ .kind = MSOAP_FORGET });
}

/* Values that the module does not allow are not sent. */
static void test_refused(void **state)
{
	struct msoap_command c = { .kind = MSOAP_UNKNOWN };
	struct msoap_response r = { .kind = MSOAP_UNKNOWN };
	uint8_t buf[200];
	struct span out;

	(void)state;
	assert_int_equal(msoap_command_encode(&c, buf, sizeof(buf), &out), ERR_UNSUPPORTED);
	assert_int_equal(msoap_response_encode(&r, buf, sizeof(buf), &out), ERR_UNSUPPORTED);
	c.kind = MSOAP_NONE;
	assert_int_equal(msoap_command_encode(&c, buf, sizeof(buf), &out), ERR_UNSUPPORTED);
	c = (struct msoap_command){ .kind = MSOAP_AUTHENTICATE,
	                            .u.authenticate.account = span_str("\xff") };
	assert_int_equal(msoap_command_encode(&c, buf, sizeof(buf), &out), ERR_MALFORMED);
	assert_int_equal(out.n, 0);
	c.u.authenticate.account = span_of("a\0b", 3);
	assert_int_equal(msoap_command_encode(&c, buf, sizeof(buf), &out), ERR_MALFORMED);
	c = (struct msoap_command){ .kind = MSOAP_TRACK, .u.track = { .has_limit = true } };
	assert_int_equal(msoap_command_encode(&c, buf, sizeof(buf), &out), ERR_MALFORMED);
	c = (struct msoap_command){ .kind = MSOAP_SUBMIT_REFERENCE,
	                            .u.submit_reference = { .has_encoding = true, .encoding = 2 } };
	assert_int_equal(msoap_command_encode(&c, buf, sizeof(buf), &out), ERR_MALFORMED);
	c.u.submit_reference = (struct msoap_submit_reference){ .has_store = true, .store.kind = 2 };
	assert_int_equal(msoap_command_encode(&c, buf, sizeof(buf), &out), ERR_MALFORMED);
}

static void test_names(void **state)
{
	(void)state;
	assert_string_equal(msoap_kind_name(MSOAP_SUBMIT_ENVELOPE), "submitEnvelope");
	assert_string_equal(msoap_kind_name(MSOAP_NONE), "none");
	assert_string_equal(msoap_kind_name(MSOAP_FORGET), "forget");
	assert_string_equal(msoap_kind_name(MSOAP_KIND_COUNT), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alike),
		cmocka_unit_test(test_peek),
		cmocka_unit_test(test_example),
		cmocka_unit_test(test_authenticate),
		cmocka_unit_test(test_submit_envelope),
		cmocka_unit_test(test_submit_envelope_done),
		cmocka_unit_test(test_submit_chunk),
		cmocka_unit_test(test_submit_reference),
		cmocka_unit_test(test_track),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_archive),
		cmocka_unit_test(test_watch),
		cmocka_unit_test(test_kept_messages),
		cmocka_unit_test(test_all_used),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests_name("wire_msoap", tests, NULL, NULL);
}
