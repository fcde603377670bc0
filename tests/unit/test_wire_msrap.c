/* MSRAP's PDUs against tests/unit/wire_vectors.inc. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "wire/msrap.h"
#include "wire_check.h"

CHECK_MODULE(msrap)

#define NEWS span_str("news@a.example")

static void test_scan_list(void **state)
{
	struct msrap_command c = { .kind = MSRAP_SCAN_LIST, .u.scan_list.list = NEWS };
	struct msrap_response r = { .kind = MSRAP_SCAN_LIST, .u.scan_list.end = CHECK_TIME };
	struct msrap_list_post full = {
		.posted = CHECK_TIME, .sender = span_str("alice@a.example"), .size = 1234,
		.has_subject = true, .subject = span_str("Gr\xc3\xbc\xc3\x9f" "e"), .has_digest = true,
	}, bare = { 0 }, back;
	struct wire_list_writer *w = check_writer();
	struct wire_list rest;

	(void)state;
	command("scanList", c);
	c.u.scan_list = (struct msrap_scan_list){
		.list = NEWS, .begin = CHECK_TIME, .has_limit = true, .limit = 50,
		.has_key = true, .key = check_octets(16, 1),
	};
	command("scanList.full", c);
	response("scanList", r);
	check_id(full.id, 8);
	check_digest(full.digest, 9);
	check_id(bare.id, 10);
	assert_int_equal(msrap_list_post_append(w, &full), 0);
	assert_int_equal(msrap_list_post_append(w, &bare), 0);
	r.u.scan_list = (struct msrap_scan_list_done){ .posts = check_list(w), .end = 77 };
	response("scanList.full", r);
	rest = r.u.scan_list.posts;
	assert_true(msrap_list_post_next(&rest, &back));
	assert_true(span_eq(back.subject, full.subject));
	assert_true(msrap_list_post_next(&rest, &back));
	assert_memory_equal(back.id, bare.id, sizeof(bare.id));
	assert_false(back.has_subject || back.has_digest);
	assert_false(msrap_list_post_next(&rest, &back));
}

/* Commands and answers with nothing but an id. */
static void test_ids(void **state)
{
	struct msrap_command c = { .kind = MSRAP_SILENCE };

	(void)state;
	check_id(c.u.silence.id, 1);
	command("silence", c);
	response("silence", (struct msrap_response){ .kind = MSRAP_SILENCE });
	c = (struct msrap_command){ .kind = MSRAP_UNPIN };
	check_id(c.u.unpin.id, 2);
	command("unPin", c);
	response("unPin", (struct msrap_response){ .kind = MSRAP_UNPIN });
	c = (struct msrap_command){ .kind = MSRAP_QUERY_SIZE };
	check_id(c.u.query_size.id, 3);
	command("querySize", c);
	response("querySize", (struct msrap_response){
	    .kind = MSRAP_QUERY_SIZE, .u.query_size = { .size = 40000000, .headers = 812 } });
}

static void test_retrieve(void **state)
{
	struct msrap_command c = { .kind = MSRAP_RETRIEVE, .u.retrieve.type = WIRE_RETRIEVAL_ALL };

	(void)state;
	check_id(c.u.retrieve.id, 4);
	command("retrieve", c);
	c.u.retrieve = (struct msrap_retrieve){
		.type = WIRE_RETRIEVAL_PART, .offset = 65536, .length = 2048, .has_section = true,
		.section = span_str("2.1.MIME"), .has_proof = true, .proof = true,
	};
	check_id(c.u.retrieve.id, 4);
	command("retrieve.full", c);
}

static void test_retrieve_done(void **state)
{
	struct msrap_response r = {
		.kind = MSRAP_RETRIEVE,
		.u.retrieve = { .size = 300, .data = check_stream(check_octets(300, 11)) },
	};
	uint8_t digests[2][WIRE_DIGEST_SIZE], back[WIRE_DIGEST_SIZE];
	struct wire_list_writer *w = check_writer();
	struct wire_list rest;

	(void)state;
	response("retrieve", r);
	for (unsigned i = 0; i < 2; i++) {
		check_digest(digests[i], 12 + i);
		assert_int_equal(wire_digest_append(w, digests[i]), 0);
	}
	r.u.retrieve = (struct msrap_retrieve_done){
		.size = 5000000, .offset = 65536, .has_proof = true, .proof = check_list(w),
		.data = check_stream(check_octets(20, 14)),
	};
	response("retrieve.proof", r);
	rest = r.u.retrieve.proof;
	for (unsigned i = 0; i < 2; i++) {
		assert_true(wire_digest_next(&rest, back));
		assert_memory_equal(back, digests[i], sizeof(back));
	}
	assert_false(wire_digest_next(&rest, back));
	r.u.retrieve = (struct msrap_retrieve_done){ .has_proof = true };
	response("retrieve.empty", r);
}

/* The head alone is encoded and decoded; the string's rest goes past the buffer. */
static void test_streaming(void **state)
{
	const uint64_t whole = 256ULL << 20;
	struct msrap_response r = {
		.kind = MSRAP_RETRIEVE,
		.u.retrieve = { .size = whole, .data = { .size = whole } },
	}, back;
	uint8_t buf[WIRE_HEAD_MAX + 10];
	struct span head;
	uint64_t total;

	(void)state;
	for (size_t here = 0; here <= 10; here += 10) {
		r.u.retrieve.data.here = check_octets(here, 1);
		assert_int_equal(msrap_response_encode(&r, buf, sizeof(buf), &head), 0);
		total = (uint64_t)head.p[0] << 24 | (uint64_t)head.p[1] << 16 |
		        (uint64_t)head.p[2] << 8 | head.p[3];
		assert_int_equal(total, head.n - 4 - here + whole);
		head = span_after(head, 4);
		assert_int_equal(msrap_response_decode(head, total, &back), 0);
		assert_int_equal(back.u.retrieve.data.size, whole);
		assert_int_equal(back.u.retrieve.data.here.n, here);
		assert_ptr_equal(back.u.retrieve.data.here.p + here, head.p + head.n);
		/* The string must end where the frame ends. */
		assert_int_equal(msrap_response_decode(head, total + 1, &back), ERR_MALFORMED);
		assert_int_equal(msrap_response_decode(head, total - 1, &back), ERR_MALFORMED);
	}
	/* Nothing may follow it. */
	r.has_text = true;
	assert_int_equal(msrap_response_encode(&r, buf, sizeof(buf), &head), ERR_MALFORMED);
	r.has_text = false;
	/* Nor more be there than there is, nor a frame be longer than its length can say. */
	r.u.retrieve.data = (struct wire_octets){ .size = 9, .here = check_octets(10, 1) };
	assert_int_equal(msrap_response_encode(&r, buf, sizeof(buf), &head), ERR_MALFORMED);
	r.u.retrieve.data = (struct wire_octets){ .size = UINT32_MAX };
	assert_int_equal(msrap_response_encode(&r, buf, sizeof(buf), &head), ERR_TOO_BIG);
	r.u.retrieve.data = (struct wire_octets){ .size = UINT64_MAX };
	assert_int_equal(msrap_response_encode(&r, buf, sizeof(buf), &head), ERR_TOO_BIG);
}

/* Text after the string, each length right, is malformed wherever the frame is cut. */
static void test_after_stream(void **state)
{
	static const uint8_t body[] = {
		0xa2, 0x18, 0x80, 0x01, 0x00, 0x81, 0x01, 0x00, 0xa2, 0x0d, 0xa4, 0x0b, 0x80,
		0x01, 0x03, 0x81, 0x01, 0x00, 0x83, 0x03, 'a', 'b', 'c', 0x83, 0x01, 'x',
	};
	struct msrap_response r;

	(void)state;
	for (size_t n = 0; n <= sizeof(body); n++)
		assert_int_equal(msrap_response_decode(span_of(body, n), sizeof(body), &r),
		                 n < 20 ? ERR_AGAIN : ERR_MALFORMED);
}

static void test_refuse(void **state)
{
	struct msrap_command c = { .kind = MSRAP_REFUSE };

	(void)state;
	check_id(c.u.refuse.id, 5);
	command("refuse", c);
	c.u.refuse.has_reason = true;
	c.u.refuse.reason = span_str("nicht f\xc3\xbcr mich");
	command("refuse.full", c);
	response("refuse", (struct msrap_response){ .kind = MSRAP_REFUSE });
}

static void test_grant(void **state)
{
	struct msrap_command c = { .kind = MSRAP_GRANT };
	struct msrap_response r = { .kind = MSRAP_GRANT, .u.grant.expires = CHECK_TIME };

	(void)state;
	check_id(c.u.grant.id, 6);
	command("grant", c);
	c.u.grant.has_expires = c.u.grant.has_uses = true;
	c.u.grant.expires = CHECK_TIME;
	c.u.grant.uses = 1;
	command("grant.full", c);
	check_id(r.u.grant.id, 15);
	response("grant", r);
}

static void test_lists(void **state)
{
	struct msrap_command c = {
		.kind = MSRAP_SUBSCRIBE,
		.u.subscribe = { .list = NEWS, .mailbox = check_mailbox("bob@b.example") },
	};

	(void)state;
	command("subscribe", c);
	c.u.subscribe.has_key = true;
	c.u.subscribe.key = check_octets(32, 7);
	command("subscribe.full", c);
	response("subscribe", (struct msrap_response){ .kind = MSRAP_SUBSCRIBE,
	                                               .u.subscribe.key = check_octets(16, 16) });
	command("unsubscribe", (struct msrap_command){ .kind = MSRAP_UNSUBSCRIBE,
	                                               .u.unsubscribe.list = NEWS });
	response("unsubscribe", (struct msrap_response){ .kind = MSRAP_UNSUBSCRIBE });
	command("listInfo", (struct msrap_command){ .kind = MSRAP_LIST_INFO,
	                                            .u.list_info.list = NEWS });
	response("listInfo", (struct msrap_response){ .kind = MSRAP_LIST_INFO });
	response("listInfo.full", (struct msrap_response){
	    .kind = MSRAP_LIST_INFO,
	    .u.list_info = { .has_title = true,
	                     .title = span_str("News \xe2\x80\x94 \xe6\x96\xb0\xe8\x81\x9e"),
	                     .open = true, .posting = WIRE_POSTING_OWNERS, .posts = 128,
	                     .has_subscribers = true, .subscribers = 100000 } });
}

static void test_names(void **state)
{
	(void)state;
	assert_string_equal(msrap_kind_name(MSRAP_UNPIN), "unPin");
	assert_string_equal(msrap_kind_name(MSRAP_LIST_INFO), "listInfo");
	assert_string_equal(msrap_kind_name(MSRAP_KIND_COUNT), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alike),
		cmocka_unit_test(test_peek),
		cmocka_unit_test(test_scan_list),
		cmocka_unit_test(test_ids),
		cmocka_unit_test(test_retrieve),
		cmocka_unit_test(test_retrieve_done),
		cmocka_unit_test(test_streaming),
		cmocka_unit_test(test_after_stream),
		cmocka_unit_test(test_refuse),
		cmocka_unit_test(test_grant),
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_all_used),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests_name("wire_msrap", tests, NULL, NULL);
}
