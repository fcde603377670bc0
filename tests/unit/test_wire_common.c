/* What the four modules share: how a SEQUENCE grows, lists, names, the plain response. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/err.h"
#include "base/text.h"
#include "wire/frame.h"
#include "wire/msoap.h"
#include "wire/rnaqp.h"
#include "wire_check.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct span octets(const char *hex, uint8_t *out, size_t cap)
{
	size_t n = strlen(hex) / 2;

	assert_true(strlen(hex) % 2 == 0 && n <= cap);
	assert_int_equal(text_parse_hex(span_str(hex), out, n), 0);
	return span_of(out, n);
}

/* authenticate is [0] {[0] text, [1] text}, archive is [6] {[0] uint, [1] uint OPTIONAL}. */
static void test_sequences(void **state)
{
	static const struct {
		const char *why;
		const char *hex;
		int err;
		enum msoap_kind kind;
		unsigned skipped;
	} cases[] = {
		{ "plain", "a10aa008a006800161810178", 0, MSOAP_AUTHENTICATE, 0 },
		{ "OPTIONAL there", "a10aa008a606800105810101", 0, MSOAP_ARCHIVE, 0 },
		{ "unknown at the end", "a10ca00aa0088001618101788200", 0, MSOAP_AUTHENTICATE, 1 },
		{ "two unknown", "a10fa00da00b800161810178820083017f", 0, MSOAP_AUTHENTICATE, 2 },
		{ "constructed unknown", "a10ea00ca00a800161810178a2023000", 0, MSOAP_AUTHENTICATE, 1 },
		{ "high tag number", "a10da00ba0098001618101789f1f00", 0, MSOAP_AUTHENTICATE, 1 },
		{ "unknown beside data", "a10ca008a0068001618101788100", 0, MSOAP_AUTHENTICATE, 1 },
		{ "high number not minimal", "a10ea00ca00a8001618101789f800200", ERR_MALFORMED, 0, 0 },
		{ "low number in high form", "a10da00ba0098001618101789f0200", ERR_MALFORMED, 0, 0 },
		{ "out of order", "a10aa008a006810178800161", ERR_MALFORMED, 0, 0 },
		{ "twice", "a10da00ba009800161800161810178", ERR_MALFORMED, 0, 0 },
		{ "unknown twice", "a10ea00ca00a80016181017882008200", ERR_MALFORMED, 0, 0 },
		{ "unknown out of order", "a10ea00ca00a80016181017883008200", ERR_MALFORMED, 0, 0 },
		{ "missing", "a107a005a003800161", ERR_MALFORMED, 0, 0 },
		{ "missing first", "a107a005a003810161", ERR_MALFORMED, 0, 0 },
		{ "empty", "a104a002a000", ERR_MALFORMED, 0, 0 },
		{ "universal tag", "a10aa008a0060c0161810178", ERR_MALFORMED, 0, 0 },
		{ "application tag", "a10ca00aa0088001618101784200", ERR_MALFORMED, 0, 0 },
		{ "private tag", "a10ca00aa008800161810178c200", ERR_MALFORMED, 0, 0 },
		{ "constructed text", "a10ca00aa008a0030c0161810178", ERR_MALFORMED, 0, 0 },
		{ "primitive SEQUENCE", "a10aa0088006800161810178", ERR_MALFORMED, 0, 0 },
		{ "primitive data", "a10a8008a006800161810178", ERR_MALFORMED, 0, 0 },
		{ "primitive command", "810aa008a006800161810178", ERR_MALFORMED, 0, 0 },
		{ "octets after", "a10aa008a00680016181017800", ERR_MALFORMED, 0, 0 },
		{ "a response", "a20aa008a006800161810178", ERR_MALFORMED, 0, 0 },
		{ "unknown alternative", "a104a0028c00", 0, MSOAP_UNKNOWN, 1 },
		{ "unknown, constructed", "a106a004ac028000", 0, MSOAP_UNKNOWN, 1 },
		{ "unknown, high number", "a105a0039f6300", 0, MSOAP_UNKNOWN, 1 },
		{ "alternative not context", "a104a0023000", ERR_MALFORMED, 0, 0 },
		{ "no alternative", "a102a000", ERR_MALFORMED, 0, 0 },
		{ "two alternatives", "a10ea00ca606800105810101a602800105", ERR_MALFORMED, 0, 0 },
		{ "no data", "a100", ERR_MALFORMED, 0, 0 },
		{ "data elsewhere", "a106a104a602800105", ERR_MALFORMED, 0, 0 },
		{ "nothing", "", ERR_MALFORMED, 0, 0 },
		{ "limit of 0", "a10aa008a606800105810100", ERR_MALFORMED, 0, 0 },
		{ "id of 15", "a115a013a811800f000102030405060708090a0b0c0d0e", ERR_MALFORMED, 0, 0 },
		{ "id of 17", "a117a015a8138011000102030405060708090a0b0c0d0e0f10", ERR_MALFORMED, 0,
		  0 },
		{ "list of text", "a10ca00aa108a1030c0161820100", 0, MSOAP_SUBMIT_ENVELOPE, 0 },
		{ "list of octets", "a10ca00aa108a103040161820100", ERR_MALFORMED, 0, 0 },
		{ "list of half a mailbox", "a10ca00aa108a003300161820100", ERR_MALFORMED, 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		uint8_t raw[64];
		struct span body = octets(cases[i].hex, raw, sizeof(raw));
		struct msoap_command c;
		unsigned skipped;
		int err = schema_decode(&msoap_command_schema, WIRE_PDU_COMMAND, body, body.n, &c,
		                        &skipped);

		if (err != cases[i].err)
			fail_msg("%s: %d", cases[i].why, err);
		if (err == 0 && (c.kind != cases[i].kind || skipped != cases[i].skipped))
			fail_msg("%s: kind %d, %u skipped", cases[i].why, c.kind, skipped);
		assert_int_equal(err != 0 ? c.kind : 0, 0);
	}
}

/* A number that is not known: malformed in a command, kept in a response. */
static void test_enumerated(void **state)
{
	static const uint8_t fetch[] = {
		0xa1, 0x10, 0xa0, 0x0e, 0xa5, 0x0c, 0x80, 0x01, 0x01,
		0x81, 0x01, 0x05, 0x82, 0x01, 0x00, 0x83, 0x01, 0x00,
	};
	static const uint8_t future[] = {
		0xa2, 0x0a, 0x80, 0x01, 0xff, 0x81, 0x01, 0x63, 0xa2, 0x02, 0xa0, 0x00,
	};
	uint8_t copy[sizeof(fetch)];
	struct rnaqp_command c;
	struct rnaqp_response r;

	(void)state;
	memcpy(copy, fetch, sizeof(fetch));
	for (unsigned type = 0; type < 128; type++) {
		copy[11] = (uint8_t)type;
		assert_int_equal(rnaqp_command_decode(span_of(copy, sizeof(copy)), sizeof(copy), &c),
		                 type < WIRE_RETRIEVAL_COUNT ? 0 : ERR_MALFORMED);
	}
	assert_int_equal(rnaqp_response_decode(span_of(future, 12), 12, &r), 0);
	assert_int_equal(r.status, 0x63);
	assert_true(r.abort);
	assert_string_equal(wire_status_name(r.status), "unknown");
}

/* A response whose data is an alternative of a later version. */
static void test_unknown_data(void **state)
{
	uint8_t raw[32];
	struct span body = octets("a20e800100810100a203bf6300830161", raw, sizeof(raw));
	struct rnaqp_response r;

	(void)state;
	assert_int_equal(rnaqp_response_decode(body, body.n, &r), 0);
	assert_int_equal(r.kind, RNAQP_UNKNOWN);
	assert_true(r.has_text && span_eq_str(r.text, "a"));
}

static void test_lists(void **state)
{
	uint8_t buf[10];
	struct wire_list_writer w;
	struct wire_list list, broken;
	struct span text;

	(void)state;
	wire_list_writer_init(&w, buf, sizeof(buf));
	assert_int_equal(wire_list_view(&w).count, 0);
	assert_int_equal(wire_text_append(&w, span_str("ab")), 0);
	assert_int_equal(wire_text_append(&w, span_str("\xff")), ERR_MALFORMED);
	assert_int_equal(wire_text_append(&w, span_str("")), 0);
	assert_int_equal(wire_text_append(&w, span_str("abc")), ERR_TOO_BIG);
	assert_int_equal(wire_text_append(&w, span_str("xy")), 0);
	assert_int_equal(wire_text_append(&w, span_str("")), ERR_TOO_BIG);
	list = wire_list_view(&w);
	assert_int_equal(list.count, 3);
	assert_int_equal(list.der.n, 10);
	assert_true(wire_text_next(&list, &text) && span_eq_str(text, "ab"));
	assert_true(wire_text_next(&list, &text) && text.n == 0);
	assert_true(wire_text_next(&list, &text) && span_eq_str(text, "xy"));
	assert_false(wire_text_next(&list, &text));
	assert_int_equal(list.count, 0);
	/* What was never checked ends at its first fault. */
	broken = (struct wire_list){ .der = span_of("\x0c\x01" "a\x0c\x02" "b", 6), .count = 2 };
	assert_true(wire_text_next(&broken, &text));
	assert_false(wire_text_next(&broken, &text));
	assert_false(wire_text_next(&broken, &text));
	assert_int_equal(broken.count, 0);
}

static void test_mailbox_names(void **state)
{
	static const struct {
		const char *local;
		const char *labels[4];
		int err;
		const char *text;
	} cases[] = {
		{ "bob", { "b", "example" }, 0, "bob@b.example" },
		{ "Bob", { "B", "Example" }, 0, "Bob@b.example" },
		{ "b b", { "xn--bcher-kva", "example" }, 0, "b b@xn--bcher-kva.example" },
		{ "\xc3\xa7", { "b", "example" }, 0, "\xc3\xa7@b.example" },
		{ "", { "b", "example" }, ERR_MALFORMED, "" },
		{ "bob", { NULL }, ERR_MALFORMED, "" },
		{ "bob", { "" }, ERR_MALFORMED, "" },
		{ "bob", { "b", "" }, ERR_MALFORMED, "" },
		{ "bob", { "", "b" }, ERR_MALFORMED, "" },
		{ "bob", { "b.example" }, ERR_MALFORMED, "" },
		{ "bob", { "b", ".", "c" }, ERR_MALFORMED, "" },
		{ "bob", { "b\xc3\xbc" "cher", "example" }, ERR_MALFORMED, "" }, /* no A-label */
		{ "bob", { "b c", "example" }, ERR_MALFORMED, "" },
		{ "bob", { "b@c" }, ERR_MALFORMED, "" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct wire_list_writer *w = check_writer();
		struct wire_mailbox m = { .local = span_str(cases[i].local) }, back;
		struct mailbox name, again;
		uint8_t scratch[WIRE_LABELS_MAX];

		for (size_t k = 0; cases[i].labels[k] != NULL; k++)
			assert_int_equal(wire_text_append(w, span_str(cases[i].labels[k])), 0);
		m.domain = check_list(w);
		if (wire_mailbox_to_name(&m, &name) != cases[i].err)
			fail_msg("case %zu: not %d", i, cases[i].err);
		if (cases[i].err != 0)
			continue;
		assert_string_equal(name.text, cases[i].text);
		wire_mailbox_from_name(&name, scratch, &back);
		assert_true(span_eq_str(back.local, cases[i].local));
		assert_int_equal(back.domain.count, m.domain.count);
		assert_int_equal(wire_mailbox_to_name(&back, &again), 0);
		assert_true(mailbox_eq(&name, &again));
	}
}

/* The longest of each kind, and one octet more. */
static void test_domain_sizes(void **state)
{
	char shortest[NAME_DOMAIN_MAX + 3], text[NAME_DOMAIN_MAX + 1];
	uint8_t scratch[WIRE_LABELS_MAX];
	struct wire_list labels;
	struct wire_list_writer *w = check_writer();

	(void)state;
	for (size_t i = 0; i < sizeof(shortest); i++)
		shortest[i] = i % 2 == 0 ? 'a' : '.';
	shortest[NAME_DOMAIN_MAX] = '\0'; /* 127 labels of one letter */
	assert_int_equal(wire_domain_from_name(shortest, scratch, &labels), 0);
	assert_int_equal(labels.count, 127);
	assert_int_equal(wire_domain_to_name(&labels, text), 0);
	assert_string_equal(text, shortest);
	shortest[NAME_DOMAIN_MAX] = '.';
	shortest[NAME_DOMAIN_MAX + 2] = '\0'; /* 128 */
	for (size_t i = 0; i < 128; i++)
		assert_int_equal(wire_text_append(w, span_str("a")), 0);
	labels = check_list(w);
	assert_int_equal(wire_domain_to_name(&labels, text), ERR_TOO_BIG);
	assert_string_equal(text, "");
	assert_int_equal(wire_domain_from_name("", scratch, &labels), ERR_MALFORMED);
	assert_int_equal(wire_domain_from_name("a..b", scratch, &labels), ERR_MALFORMED);
	assert_int_equal(wire_domain_from_name("a.", scratch, &labels), ERR_MALFORMED);
	assert_int_equal(labels.count, 0);
}

static void test_locations(void **state)
{
	struct wire_location l;
	uint8_t scratch[WIRE_LABELS_MAX];
	char text[NAME_DOMAIN_MAX + 1];

	(void)state;
	assert_int_equal(wire_location_from_name("store.a.example", scratch, &l), 0);
	assert_int_equal(l.kind, WIRE_LOCATION_DOMAIN);
	assert_int_equal(l.u.domain.count, 3);
	assert_int_equal(wire_location_to_name(&l, text), 0);
	assert_string_equal(text, "store.a.example");
	l = (struct wire_location){ 0 };
	assert_int_equal(wire_location_to_name(&l, text), ERR_NOT_FOUND);
}

static void test_pdu_kind(void **state)
{
	static const uint8_t first[] = { 0xa1, 0xa2, 0xa0, 0x30, 0x81 };
	enum wire_pdu pdu;

	(void)state;
	assert_int_equal(wire_pdu_kind(span_of(first, 1), 9, &pdu), 0);
	assert_int_equal(pdu, WIRE_PDU_COMMAND);
	assert_int_equal(wire_pdu_kind(span_of(first + 1, 1), 9, &pdu), 0);
	assert_int_equal(pdu, WIRE_PDU_RESPONSE);
	for (size_t i = 2; i < sizeof(first); i++)
		assert_int_equal(wire_pdu_kind(span_of(first + i, 1), 9, &pdu), ERR_MALFORMED);
	assert_int_equal(wire_pdu_kind(span_of(first, 0), 9, &pdu), ERR_AGAIN);
	assert_int_equal(wire_pdu_kind(span_of(first, 0), 0, &pdu), ERR_MALFORMED);
}

/* Of any response, from the first 16 octets of it and from all. */
static void test_response_status(void **state)
{
	static const struct {
		const char *why, *hex;
		int err;
		unsigned status;
	} cases[] = {
		{ "ok", "a20c8001008101" "00" "a204a0020000", 0, 0 },
		{ "withdrawn", "a20c8001ff8101" "12" "a204a0020000", 0, 18 },
		{ "a command", "a10c800100810100a204a0020000", ERR_MALFORMED, 0 },
		{ "no abort", "a209810100a204a0020000", ERR_MALFORMED, 0 },
		{ "no status", "a209800100a204a0020000", ERR_MALFORMED, 0 },
		{ "abort is no BOOLEAN", "a20c800101810100a204a0020000", ERR_MALFORMED, 0 },
		{ "empty", "a200", ERR_MALFORMED, 0 },
	};
	uint8_t buf[64];
	enum wire_status status;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct span body = octets(cases[i].hex, buf, sizeof(buf));

		assert_int_equal(wire_response_status(body, body.n, &status), cases[i].err);
		if (cases[i].err == 0)
			assert_int_equal(status, cases[i].status);
	}
	/* The head of a long answer, and too little of it. */
	octets("a283100000800100810112a2830ffff5", buf, sizeof(buf));
	assert_int_equal(wire_response_status(span_of(buf, 11), 0x100005, &status), 0);
	assert_int_equal(status, WIRE_STATUS_WITHDRAWN);
	assert_int_equal(wire_response_status(span_of(buf, 10), 0x100005, &status), ERR_AGAIN);
}

/* The same octets as the module's encoder makes, read by all four. */
static void test_error_response(void **state)
{
	struct span text = span_str("no such message \xc3\xa9"), frame, body;
	struct span vector = check_vector("msrap.response.none");
	struct msoap_response r;
	uint8_t buf[128];

	(void)state;
	assert_int_equal(wire_error_response(WIRE_STATUS_NO_SUCH_MESSAGE, true, text, true, 300, buf,
	                                     sizeof(buf), &frame), 0);
	assert_int_equal(frame_length(frame.p), frame.n - FRAME_PREFIX);
	body = span_after(frame, FRAME_PREFIX);
	assert_true(span_eq(body, vector));
	assert_int_equal(wire_error_response(WIRE_STATUS_OK, false, span_of(NULL, 0), false, 300, buf,
	                                     sizeof(buf), &frame), 0);
	body = span_after(frame, FRAME_PREFIX);
	assert_true(span_eq(body, check_vector("msrap.response.none.bare")));
	assert_int_equal(msoap_response_decode(body, body.n, &r), 0);
	assert_int_equal(r.kind, MSOAP_NONE);
	assert_false(r.abort || r.has_text || r.has_retry_after);
	/* What the header says is enough. */
	assert_int_equal(wire_error_response(INT32_MAX, true, text, true, UINT64_MAX, buf,
	                                     64 + text.n, &frame), 0);
	for (size_t cap = 0; cap < 16; cap++)
		assert_int_equal(wire_error_response(WIRE_STATUS_OK, false, span_of(NULL, 0), false, 0,
		                                     buf, cap, &frame), ERR_TOO_BIG);
	assert_int_equal(wire_error_response(WIRE_STATUS_OK, false, span_str("\xff"), false, 0, buf,
	                                     sizeof(buf), &frame), ERR_MALFORMED);
}

static void test_names(void **state)
{
	(void)state;
	assert_string_equal(wire_status_name(WIRE_STATUS_NO_SUCH_MESSAGE), "noSuchMessage");
	assert_string_equal(wire_status_name(WIRE_STATUS_WITHDRAWN), "withdrawn");
	assert_string_equal(wire_status_name(WIRE_STATUS_COUNT), "unknown");
	assert_string_equal(wire_submission_status_name(WIRE_SUBMISSION_TOO_MANY), "tooMany");
	assert_string_equal(wire_notification_status_name(WIRE_NOTIFICATION_HELD), "held");
	assert_string_equal(wire_read_status_name(WIRE_READ_ALL), "readAll");
	assert_string_equal(wire_encoding_name(WIRE_ENCODING_BASE64), "base64");
	assert_string_equal(wire_retrieval_name(WIRE_RETRIEVAL_STRUCTURE), "structure");
	assert_string_equal(wire_posting_name(WIRE_POSTING_OWNERS), "owners");
	assert_string_equal(wire_notify_result_name(WIRE_NOTIFY_UNVERIFIED), "unverified");
	assert_string_equal(wire_policy_action_name(WIRE_POLICY_REMOVE), "remove");
	assert_string_equal(wire_policy_action_name(WIRE_POLICY_COUNT), "unknown");
}

static void test_frame(void **state)
{
	uint8_t prefix[FRAME_PREFIX];

	(void)state;
	frame_put_length(prefix, 0x01020384);
	assert_memory_equal(prefix, "\x01\x02\x03\x84", 4);
	assert_int_equal(frame_length(prefix), 0x01020384);
	frame_put_length(prefix, UINT32_MAX);
	assert_int_equal(frame_length(prefix), UINT32_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sequences),
		cmocka_unit_test(test_enumerated),
		cmocka_unit_test(test_unknown_data),
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_mailbox_names),
		cmocka_unit_test(test_domain_sizes),
		cmocka_unit_test(test_locations),
		cmocka_unit_test(test_pdu_kind),
		cmocka_unit_test(test_response_status),
		cmocka_unit_test(test_error_response),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_frame),
	};

	return cmocka_run_group_tests_name("wire_common", tests, NULL, NULL);
}
