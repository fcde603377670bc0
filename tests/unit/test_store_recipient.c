/* builds: plain asan tsan */

/* MSRAP sessions of the store, and MSOAP track and cancel: what an id opens, what is read and
 * how the sender sees it. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "storerig.h"
#include "store/originator.h"
#include "store/recipient.h"

static const char *const two[] = { "anna@b.example", "bob@b.example", NULL };

#define BODY_ONE "Hello,\r\nhere is the picture.\r\n"
#define BODY_TWO "iVBORw0KGgo=\r\n"
static const char header[] = "From: Alice <alice@a.example>\r\n"
			     "To: bob@b.example\r\n"
			     "Subject: The\r\n picture\r\n"
			     "Date: Sun, 22 Nov 2026 12:00:00 +0000\r\n"
			     "MIME-Version: 1.0\r\n"
			     "Content-Type: multipart/mixed; boundary=\"xx\"\r\n"
			     "\r\n";
static const char body[] = "--xx\r\n"
			   "Content-Type: text/plain; charset=us-ascii\r\n"
			   "\r\n" BODY_ONE "\r\n--xx\r\n"
			   "Content-Type: image/png\r\n"
			   "Content-Transfer-Encoding: base64\r\n"
			   "\r\n" BODY_TWO "\r\n--xx--\r\n";
static const char summary[] = "From: Alice <alice@a.example>\r\n"
			      "Subject: The\r\n picture\r\n"
			      "Date: Sun, 22 Nov 2026 12:00:00 +0000\r\n"
			      "\r\n";

static struct rig r;
static struct buf b;
static struct msoap_response a;
static struct msrap_response p;
static char message[2048];
static uint8_t own[16], anna[16], bob[16];
static int out, in; /* the originator's session, the recipient's */

static int setup(void **state)
{
	(void)state;
	rig_start(&r, 0);
	buf_init(&b, 0);
	snprintf(message, sizeof(message), "%s%s", header, body);
	out = rig_login(&r);
	rig_submit(&r, out, two, span_str(message), own);
	rig_recipient_id(&r, own, 0, anna);
	rig_recipient_id(&r, own, 1, bob);
	in = rig_connect(&r, &recipient_protocol);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	close(in);
	close(out);
	buf_free(&b);
	rig_stop(&r);
	return 0;
}

/* Sends C; the answer has STATUS. */
static void ask(const struct msrap_command *c, enum wire_status status)
{
	rig_msrap(&b, c);
	rig_flush(in, &b);
	rig_answer_msrap(&r, in, &p);
	assert_string_equal(wire_status_name(p.status), wire_status_name(status));
	assert_false(p.abort);
}

static void simple(enum msrap_kind kind, const uint8_t id[16], enum wire_status status)
{
	struct msrap_command c = { .kind = kind };

	memcpy(c.u.silence.id, id, 16);
	ask(&c, status);
}

static void retrieve(const uint8_t id[16], enum wire_retrieval type, const char *section,
                     uint64_t offset, uint64_t length, enum wire_status status)
{
	struct msrap_command c = { .kind = MSRAP_RETRIEVE };

	memcpy(c.u.retrieve.id, id, 16);
	c.u.retrieve.type = type;
	c.u.retrieve.offset = offset;
	c.u.retrieve.length = length;
	c.u.retrieve.has_section = section != NULL;
	c.u.retrieve.section = span_str(section);
	ask(&c, status);
}

/* The delivery as `track` tells it. */
static struct msoap_delivery tracked(uint64_t index)
{
	struct msoap_command c = { .kind = MSOAP_TRACK };
	struct msoap_delivery d;
	struct wire_list rest;

	memcpy(c.u.track.id, own, 16);
	c.u.track.has_after = true;
	c.u.track.after = index;
	c.u.track.has_limit = true;
	c.u.track.limit = 1;
	rig_msoap(&b, &c);
	rig_flush(out, &b);
	rig_answer(&r, out, &a);
	assert_int_equal(a.status, WIRE_STATUS_OK);
	assert_int_equal(a.u.track.has_next, index == 0);
	rest = a.u.track.deliveries;
	assert_int_equal(rest.count, 1);
	assert_true(msoap_delivery_next(&rest, &d));
	return d;
}

/* The read status settles a little after the answer. */
static void expect_read(uint64_t index, enum wire_read_status want)
{
	for (int i = 0; i < 400 && tracked(index).read != want; i++)
		usleep(5000);
	assert_string_equal(wire_read_status_name(tracked(index).read),
	                    wire_read_status_name(want));
}

/* Every cut of what a type names is that cut of TEXT. */
static void expect_ranges(enum wire_retrieval type, const char *section, struct span text)
{
	static const uint64_t offset[] = { 0, 1, 7, UINT64_MAX };
	static const uint64_t length[] = { 0, 1, 5, UINT64_MAX };

	for (size_t i = 0; i < 4; i++) {
		for (size_t k = 0; k < 4; k++) {
			struct span want = span_after(text, (size_t)offset[i]);

			if (length[k] != 0 && length[k] < want.n)
				want.n = (size_t)length[k];
			retrieve(bob, type, section, offset[i], length[k], WIRE_STATUS_OK);
			assert_int_equal(p.kind, MSRAP_RETRIEVE);
			assert_int_equal(p.u.retrieve.size, text.n);
			assert_int_equal(p.u.retrieve.offset, offset[i]);
			assert_int_equal(p.u.retrieve.data.size, want.n);
			assert_true(span_eq(p.u.retrieve.data.here, want));
		}
	}
}

static void retrievals(void **state)
{
	static const struct {
		const char *section, *text;
	} parts[] = {
		{ "1", BODY_ONE },
		{ "2", BODY_TWO },
		{ "TEXT", body },
		{ "HEADER", header },
		{ "1.MIME", "Content-Type: text/plain; charset=us-ascii\r\n\r\n" },
	};
	struct msrap_command size = { .kind = MSRAP_QUERY_SIZE };

	(void)state;
	memcpy(size.u.query_size.id, bob, 16);
	ask(&size, WIRE_STATUS_OK);
	assert_int_equal(p.u.query_size.size, strlen(message));
	assert_int_equal(p.u.query_size.headers, strlen(header));

	expect_ranges(WIRE_RETRIEVAL_NOTHING, NULL, span_str(""));
	assert_int_equal(tracked(1).read, WIRE_READ_UNREAD);
	expect_ranges(WIRE_RETRIEVAL_SUMMARY, NULL, span_str(summary));
	expect_read(1, WIRE_READ_SUMMARISED);
	expect_ranges(WIRE_RETRIEVAL_HEADERS, NULL, span_str(header));
	expect_read(1, WIRE_READ_HEADERS);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		expect_ranges(WIRE_RETRIEVAL_PART, parts[i].section, span_str(parts[i].text));
	assert_int_equal(tracked(1).read, WIRE_READ_HEADERS);
	expect_ranges(WIRE_RETRIEVAL_ALL, NULL, span_str(message));
	expect_read(1, WIRE_READ_ALL);
	/* It only rises, and is nobody else's. */
	retrieve(bob, WIRE_RETRIEVAL_SUMMARY, NULL, 0, 0, WIRE_STATUS_OK);
	usleep(20000);
	assert_int_equal(tracked(1).read, WIRE_READ_ALL);
	assert_int_equal(tracked(0).read, WIRE_READ_UNREAD);

	retrieve(bob, WIRE_RETRIEVAL_STRUCTURE, NULL, 0, 0, WIRE_STATUS_OK);
	assert_int_equal(p.u.retrieve.data.here.p[0], '(');
	assert_non_null(memmem(p.u.retrieve.data.here.p, p.u.retrieve.data.here.n, "\"PNG\"", 5));
	retrieve(bob, WIRE_RETRIEVAL_PART, "3", 0, 0, WIRE_STATUS_NO_SUCH_MESSAGE);
	retrieve(bob, WIRE_RETRIEVAL_PART, "BODY", 0, 0, WIRE_STATUS_UNSUPPORTED);
	retrieve(bob, WIRE_RETRIEVAL_PART, NULL, 0, 0, WIRE_STATUS_UNSUPPORTED);
}

/* A structure that is too long to be kept with the message is made from it. */
static void long_structure(void **state)
{
	size_t cap = 200000, n = 0;
	char *text = malloc(cap);
	uint8_t id[16];
	int parts = 300;

	(void)state;
	assert_non_null(text);
	n += (size_t)snprintf(text, cap, "Content-Type: multipart/mixed; boundary=q\r\n\r\n");
	for (int i = 0; i < parts; i++)
		n += (size_t)snprintf(text + n, cap - n,
		                      "--q\r\nContent-Type: application/x-%d\r\n\r\n%0100d\r\n", i,
		                      i);
	n += (size_t)snprintf(text + n, cap - n, "--q--\r\n");
	rig_submit(&r, out, two, span_of(text, n), id);
	rig_recipient_id(&r, id, 0, id);
	retrieve(id, WIRE_RETRIEVAL_STRUCTURE, NULL, 0, 0, WIRE_STATUS_OK);
	assert_true(p.u.retrieve.size > 10000);
	assert_non_null(memmem(p.u.retrieve.data.here.p, p.u.retrieve.data.here.n, "\"X-299\"", 7));
	retrieve(id, WIRE_RETRIEVAL_PART, "300", 98, 0, WIRE_STATUS_OK);
	assert_true(span_eq_str(p.u.retrieve.data.here, "99"));
	free(text);
}

/* Much, to a reader who takes it in small bites; and not all of it. */
static void large(void **state)
{
	size_t n = 7000000, at = 0;
	uint8_t *text = rig_message(n), id[16], prefix[256];
	struct msrap_command c = { .kind = MSRAP_RETRIEVE };
	uint64_t from;

	(void)state;
	rig_submit(&r, out, two, span_of(text, n), id);
	rig_recipient_id(&r, id, 1, c.u.retrieve.id);
	c.u.retrieve.type = WIRE_RETRIEVAL_ALL;
	c.u.retrieve.offset = from = 70001;
	rig_msrap(&b, &c);
	rig_flush(in, &b);
	/* The frame ends with the octets asked for. */
	assert_int_equal(recv(in, prefix, 4, MSG_WAITALL), 4);
	at = ((size_t)prefix[0] << 24 | (size_t)prefix[1] << 16 | (size_t)prefix[2] << 8 |
	      prefix[3]);
	assert_true(at > n - from && at < n - from + sizeof(prefix));
	at -= n - from;
	assert_int_equal(recv(in, prefix, at, MSG_WAITALL), at);
	for (at = from; at < n;) {
		uint8_t bite[30000];
		ssize_t got = recv(in, bite, sizeof(bite), 0);

		assert_true(got > 0 && (size_t)got <= n - at);
		assert_memory_equal(bite, text + at, (size_t)got);
		at += (size_t)got;
	}
	/* The session goes on. */
	retrieve(bob, WIRE_RETRIEVAL_HEADERS, NULL, 0, 0, WIRE_STATUS_OK);
	/* One who goes away in the middle hurts nobody. */
	rig_msrap(&b, &c);
	rig_flush(in, &b);
	assert_int_equal(recv(in, prefix, 4, MSG_WAITALL), 4);
	close(in);
	in = rig_connect(&r, &recipient_protocol);
	retrieve(bob, WIRE_RETRIEVAL_HEADERS, NULL, 0, 0, WIRE_STATUS_OK);
	free(text);
}

/* --- ids ------------------------------------------------------------------------------------ */

static const enum msrap_kind by_id[] = { MSRAP_SILENCE, MSRAP_UNPIN, MSRAP_QUERY_SIZE,
	                                 MSRAP_RETRIEVE, MSRAP_REFUSE };

static void make_id(enum ids_kind kind, uint32_t index, uint64_t ahead, uint8_t id[16])
{
	struct ids_name name;

	assert_int_equal(ids_open(r.service.ids, own, &name), 0);
	name.message += ahead;
	name.kind = kind;
	name.index = index;
	assert_int_equal(ids_make(r.service.ids, &name, id), 0);
}

/* Every id that opens nothing answers alike. */
static void wrong_ids(void **state)
{
	uint8_t id[16], first[64];
	size_t first_n = 0;

	(void)state;
	for (int i = 0; i < 128 + 5; i++) {
		static const struct {
			enum ids_kind kind;
			uint32_t index;
			uint64_t ahead;
		} other[] = {
			{ IDS_RECIPIENT, 2, 0 }, { IDS_RECIPIENT, 0, 1 },  { IDS_LIST, 0, 0 },
			{ IDS_GRANT, 0, 0 },     { IDS_ORIGINATOR, 1, 0 },
		};

		memcpy(id, bob, 16);
		if (i < 128)
			id[i / 8] ^= (uint8_t)(1 << i % 8);
		else
			make_id(other[i - 128].kind, other[i - 128].index, other[i - 128].ahead,
			        id);
		for (size_t k = 0; k < sizeof(by_id) / sizeof(by_id[0]); k++) {
			struct msrap_command c = { .kind = by_id[k] };
			uint8_t frame[64];
			ssize_t n;

			memcpy(c.u.silence.id, id, 16);
			rig_msrap(&b, &c);
			rig_flush(in, &b);
			n = recv(in, frame, sizeof(frame), 0);
			assert_true(n > 0);
			if (first_n == 0) {
				first_n = (size_t)n;
				memcpy(first, frame, first_n);
			}
			assert_int_equal(n, first_n);
			assert_memory_equal(frame, first, first_n);
		}
	}
	simple(MSRAP_SILENCE, id, WIRE_STATUS_NO_SUCH_MESSAGE);
	assert_int_equal(tracked(1).notification, WIRE_NOTIFICATION_UNPROCESSED);
}

/* The originator's own id reads, changes nothing, and speaks for no recipient. */
static void own_id(void **state)
{
	(void)state;
	retrieve(own, WIRE_RETRIEVAL_ALL, NULL, 0, 0, WIRE_STATUS_OK);
	assert_true(span_eq_str(p.u.retrieve.data.here, message));
	simple(MSRAP_QUERY_SIZE, own, WIRE_STATUS_OK);
	simple(MSRAP_SILENCE, own, WIRE_STATUS_NO_SUCH_MESSAGE);
	simple(MSRAP_UNPIN, own, WIRE_STATUS_NO_SUCH_MESSAGE);
	simple(MSRAP_REFUSE, own, WIRE_STATUS_NO_SUCH_MESSAGE);
	usleep(20000);
	assert_int_equal(tracked(0).read, WIRE_READ_UNREAD);
	assert_int_equal(tracked(1).read, WIRE_READ_UNREAD);
}

static void unsupported(void **state)
{
	struct msrap_command c = { .kind = MSRAP_LIST_INFO };
	struct msoap_command e = { .kind = MSOAP_SUBMIT_REFERENCE };

	(void)state;
	c.u.list_info.list = span_str("news@a.example");
	ask(&c, WIRE_STATUS_UNSUPPORTED);
	simple(MSRAP_GRANT, bob, WIRE_STATUS_UNSUPPORTED);
	memcpy(e.u.submit_reference.id, own, 16);
	rig_msoap(&b, &e);
	rig_flush(out, &b);
	rig_answer(&r, out, &a);
	assert_int_equal(a.status, WIRE_STATUS_UNSUPPORTED);
}

/* --- status --------------------------------------------------------------------------------- */

static void said(void **state)
{
	struct msrap_command c = { .kind = MSRAP_REFUSE };
	struct msoap_delivery d;

	(void)state;
	simple(MSRAP_SILENCE, bob, WIRE_STATUS_OK);
	d = tracked(1);
	assert_int_equal(d.notification, WIRE_NOTIFICATION_SILENCED);
	assert_true(d.pinned);
	simple(MSRAP_SILENCE, bob, WIRE_STATUS_OK); /* again */
	simple(MSRAP_UNPIN, bob, WIRE_STATUS_OK);
	assert_false(tracked(1).pinned);
	simple(MSRAP_UNPIN, bob, WIRE_STATUS_OK);
	simple(MSRAP_QUERY_SIZE, bob, WIRE_STATUS_NO_SUCH_MESSAGE);
	retrieve(bob, WIRE_RETRIEVAL_ALL, NULL, 0, 0, WIRE_STATUS_NO_SUCH_MESSAGE);

	memcpy(c.u.refuse.id, anna, 16);
	c.u.refuse.has_reason = true;
	c.u.refuse.reason = span_str("no pictures\x1b[31m");
	ask(&c, WIRE_STATUS_OK);
	d = tracked(0);
	assert_int_equal(d.notification, WIRE_NOTIFICATION_REFUSED);
	assert_true(d.has_text);
	assert_true(span_eq_str(d.text, "no pictures?[31m"));
	/* The sender has its copy all the same. */
	retrieve(own, WIRE_RETRIEVAL_HEADERS, NULL, 0, 0, WIRE_STATUS_OK);
}

static void cancel(const uint8_t id[16], const char *recipient, enum wire_status status)
{
	struct msoap_command c = { .kind = MSOAP_CANCEL };
	uint8_t list[400], labels[WIRE_LABELS_MAX];
	struct wire_list_writer w;
	struct wire_mailbox mailbox;
	struct mailbox name;

	memcpy(c.u.cancel.id, id, 16);
	wire_list_writer_init(&w, list, sizeof(list));
	if (recipient != NULL) {
		assert_int_equal(name_parse_mailbox(span_str(recipient), &name), 0);
		wire_mailbox_from_name(&name, labels, &mailbox);
		assert_int_equal(wire_mailbox_append(&w, &mailbox), 0);
		c.u.cancel.has_recipients = true;
		c.u.cancel.recipients = wire_list_view(&w);
	}
	rig_msoap(&b, &c);
	rig_flush(out, &b);
	rig_answer(&r, out, &a);
	assert_string_equal(wire_status_name(a.status), wire_status_name(status));
}

static void cancelled(void **state)
{
	(void)state;
	cancel(bob, NULL, WIRE_STATUS_NO_SUCH_MESSAGE); /* not with a recipient's id */
	cancel(own, "eve@b.example", WIRE_STATUS_NO_SUCH_MAILBOX);
	cancel(own, "anna@b.example", WIRE_STATUS_OK);
	assert_int_equal(tracked(0).notification, WIRE_NOTIFICATION_WITHDRAWN);
	assert_int_equal(tracked(1).notification, WIRE_NOTIFICATION_UNPROCESSED);
	for (size_t i = 0; i < sizeof(by_id) / sizeof(by_id[0]); i++)
		simple(by_id[i], anna, WIRE_STATUS_WITHDRAWN);
	retrieve(bob, WIRE_RETRIEVAL_ALL, NULL, 0, 0, WIRE_STATUS_OK);

	cancel(own, NULL, WIRE_STATUS_OK);
	cancel(own, NULL, WIRE_STATUS_OK);
	assert_int_equal(tracked(1).notification, WIRE_NOTIFICATION_WITHDRAWN);
	for (size_t i = 0; i < sizeof(by_id) / sizeof(by_id[0]); i++)
		simple(by_id[i], bob, WIRE_STATUS_WITHDRAWN);
	retrieve(own, WIRE_RETRIEVAL_ALL, NULL, 0, 0, WIRE_STATUS_WITHDRAWN);
	assert_int_equal(rig_used(&r), 0);
	rig_check(&r);
}

/* A thousand recipients and more are cancelled in several transactions. */
static void cancelled_many(void **state)
{
	static char text[2500][24];
	static const char *to[2501];
	struct msoap_submit_envelope e = { 0 };
	struct wire_list rest;
	struct msoap_delivery d;
	struct msoap_command c = { .kind = MSOAP_TRACK };
	size_t seen = 0;

	(void)state;
	for (size_t i = 0; i < 2500; i++) {
		snprintf(text[i], sizeof(text[i]), "r%zu@c%zu.example", i, i % 3);
		to[i] = text[i];
	}
	rig_limit(&r, 1 << 20, 10000);
	close(out);
	out = rig_login(&r);
	rig_envelope(&b, &e, to);
	rig_chunk(&b, 0, span_str("A: b\r\n\r\n"), true);
	rig_flush(out, &b);
	rig_answer(&r, out, &a);
	assert_int_equal(a.status, WIRE_STATUS_OK);
	memcpy(own, a.u.submit_envelope.id, 16);
	rig_answer(&r, out, &a);
	assert_int_equal(a.status, WIRE_STATUS_OK);
	cancel(own, "r7@c1.example", WIRE_STATUS_OK);
	cancel(own, NULL, WIRE_STATUS_OK);
	memcpy(c.u.track.id, own, 16);
	do {
		rig_msoap(&b, &c);
		rig_flush(out, &b);
		rig_answer(&r, out, &a);
		assert_int_equal(a.status, WIRE_STATUS_OK);
		for (rest = a.u.track.deliveries; msoap_delivery_next(&rest, &d); seen++)
			assert_int_equal(d.notification, WIRE_NOTIFICATION_WITHDRAWN);
		c.u.track.has_after = true;
		c.u.track.after = a.u.track.next;
	} while (a.u.track.has_next);
	assert_int_equal(seen, 2500);
	rig_check(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(retrievals, setup, teardown),
		cmocka_unit_test_setup_teardown(long_structure, setup, teardown),
		cmocka_unit_test_setup_teardown(large, setup, teardown),
		cmocka_unit_test_setup_teardown(wrong_ids, setup, teardown),
		cmocka_unit_test_setup_teardown(own_id, setup, teardown),
		cmocka_unit_test_setup_teardown(unsupported, setup, teardown),
		cmocka_unit_test_setup_teardown(said, setup, teardown),
		cmocka_unit_test_setup_teardown(cancelled, setup, teardown),
		cmocka_unit_test_setup_teardown(cancelled_many, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
