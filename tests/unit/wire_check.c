#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/text.h"
#include "wire/frame.h"
#include "wire_check.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define FRAME_MAX 4096  /* no vector is longer */
#define STRUCT_MAX 1024 /* nor any struct bigger */
#define PEEK_MAX 32     /* octets that tell the command */
#define PART_STEP 5     /* of the parts of a frame that a flipped bit is tried with */

static const struct {
	const char *name;
	const char *hex;
} vectors[] = {
#include "wire_vectors.inc"
};

static bool used[COUNT(vectors)];

/* ---- values ---- */

/* Memory for values, never given back: a test program lives short. */
static void *arena(size_t n)
{
	static union {
		uint8_t octets[1 << 20];
		max_align_t align;
	} memory;
	static size_t at;
	void *p = memory.octets + at;

	n = (n + 15) & ~(size_t)15;
	assert_true(n <= sizeof(memory.octets) - at);
	at += n;
	return p;
}

static void run_of(uint8_t *out, size_t count, unsigned first, unsigned step)
{
	for (size_t i = 0; i < count; i++)
		out[i] = (uint8_t)(first + step * i);
}

void check_id(uint8_t out[WIRE_ID_SIZE], unsigned first)
{
	run_of(out, WIRE_ID_SIZE, first, 7);
}

void check_digest(uint8_t out[WIRE_DIGEST_SIZE], unsigned first)
{
	run_of(out, WIRE_DIGEST_SIZE, first, 5);
}

struct span check_octets(size_t count, unsigned first)
{
	uint8_t *p = arena(count);

	run_of(p, count, first, 3);
	return span_of(p, count);
}

struct span check_fill(size_t count, char c)
{
	char *p = arena(count);

	memset(p, c, count);
	return span_of(p, count);
}

struct wire_list_writer *check_writer(void)
{
	struct wire_list_writer *w = arena(sizeof(*w));

	wire_list_writer_init(w, arena(FRAME_MAX), FRAME_MAX);
	return w;
}

struct wire_list check_list(const struct wire_list_writer *w)
{
	return wire_list_view(w);
}

/* Splits without judging: empty labels and local parts are values too. */
struct wire_list check_labels(const char *dotted)
{
	struct wire_list_writer *w = check_writer();

	while (*dotted != '\0') {
		size_t n = strcspn(dotted, ".");
		assert_int_equal(wire_text_append(w, span_of(dotted, n)), 0);
		dotted += n + (dotted[n] == '.');
	}
	return check_list(w);
}

struct wire_mailbox check_mailbox(const char *text)
{
	size_t n = strcspn(text, "@");

	return (struct wire_mailbox){ .local = span_of(text, n), .domain = check_labels(text + n + 1) };
}

struct wire_list check_mailboxes(const char *const *texts)
{
	struct wire_list_writer *w = check_writer();

	for (; *texts != NULL; texts++) {
		struct wire_mailbox m = check_mailbox(*texts);
		assert_int_equal(wire_mailbox_append(w, &m), 0);
	}
	return check_list(w);
}

struct wire_list check_texts(const char *const *texts)
{
	struct wire_list_writer *w = check_writer();

	for (; *texts != NULL; texts++)
		assert_int_equal(wire_text_append(w, span_str(*texts)), 0);
	return check_list(w);
}

struct wire_octets check_stream(struct span octets)
{
	return (struct wire_octets){ .size = octets.n, .here = octets };
}

struct wire_notification check_notification(void)
{
	struct wire_notification n = {
		.has_store_tls = true,
		.store_tls = { .kind = WIRE_LOCATION_DOMAIN, .u.domain = check_labels("a.example") },
		.recipient = check_mailbox("bob@b.example"), .sender = span_str("alice@a.example"),
		.has_size = true, .size = 40000000, .has_digest = true,
		.has_expires = true, .expires = CHECK_TIME + 86400000000ULL,
		.has_submitted = true, .submitted = CHECK_TIME, .has_header = true,
		.header = span_str("From: alice@a.example\r\nSubject: =?utf-8?q?x?=\r\n\r\n"),
		.has_structure = true,
		.structure = span_str("(\"text\" \"plain\" NIL NIL NIL \"7bit\" 5 1)"),
		.has_list = true, .list = span_str("news@a.example"),
	};

	check_id(n.id, 1);
	check_digest(n.digest, 2);
	return n;
}

struct wire_notification check_notification_bare(void)
{
	struct wire_notification n = { .recipient = check_mailbox("c@d"), .sender = span_str("a@b") };

	check_id(n.id, 3);
	return n;
}

struct wire_notification check_notification_literal(void)
{
	struct wire_notification n = check_notification_bare();
	struct wire_endpoint e = { .address.kind = WIRE_ADDRESS_V6 };
	struct wire_list_writer *w = check_writer();

	run_of(e.address.u.v6, sizeof(e.address.u.v6), 1, 1);
	assert_int_equal(wire_endpoint_append(w, &e), 0);
	n.has_store_tls = true;
	n.store_tls.u.literals = check_list(w);
	return n;
}

/* ---- vectors ---- */

static size_t find_vector(const char *name)
{
	for (size_t i = 0; i < COUNT(vectors); i++)
		if (strcmp(vectors[i].name, name) == 0)
			return i;
	fail_msg("no vector %s: run tests/tools/wire_vectors.pl", name);
	return 0;
}

struct span check_vector(const char *name)
{
	const char *hex = vectors[find_vector(name)].hex;
	size_t n = strlen(hex) / 2;
	uint8_t *p = arena(n);

	assert_int_equal(text_parse_hex(span_str(hex), p, n), 0);
	return span_of(p, n);
}

void check_all_used(const char *prefix)
{
	for (size_t i = 0; i < COUNT(vectors); i++)
		if (strncmp(vectors[i].name, prefix, strlen(prefix)) == 0 && !used[i])
			fail_msg("vector %s was not checked", vectors[i].name);
}

/* ---- comparing structs ---- */

static bool field_is(const struct schema_field *f, const uint8_t *base)
{
	bool has = true;

	if (f->has != SCHEMA_MANDATORY)
		memcpy(&has, base + f->has, sizeof(has));
	return has;
}

static bool value_eq(const struct schema_field *f, const uint8_t *a, const uint8_t *b)
{
	struct wire_octets sa, sb;
	struct wire_list la, lb;
	struct span oa, ob;

	switch ((enum schema_type)f->type) {
	case SCHEMA_BOOL:
		return memcmp(a, b, sizeof(bool)) == 0;
	case SCHEMA_UINT:
		return memcmp(a, b, sizeof(uint64_t)) == 0;
	case SCHEMA_PORT:
		return memcmp(a, b, sizeof(uint16_t)) == 0;
	case SCHEMA_ENUM:
		return memcmp(a, b, sizeof(uint32_t)) == 0;
	case SCHEMA_FIXED:
		return memcmp(a, b, f->n) == 0;
	case SCHEMA_TEXT:
	case SCHEMA_OCTETS:
		memcpy(&oa, a, sizeof(oa));
		memcpy(&ob, b, sizeof(ob));
		return span_eq(oa, ob);
	case SCHEMA_STREAM:
		memcpy(&sa, a, sizeof(sa));
		memcpy(&sb, b, sizeof(sb));
		return sa.size == sb.size && span_eq(sa.here, sb.here);
	case SCHEMA_LIST:
		memcpy(&la, a, sizeof(la));
		memcpy(&lb, b, sizeof(lb));
		return la.count == lb.count && span_eq(la.der, lb.der);
	default:
		return false;
	}
}

static void same_alternative(const struct schema *s, const uint8_t *a, const uint8_t *b,
                             const char *path);

static void same_field(const struct schema_field *f, const uint8_t *a, const uint8_t *b,
                       const char *path)
{
	char under[160];

	snprintf(under, sizeof(under), "%s[%u]", path, f->tag);
	if (f->type == SCHEMA_SEQUENCE)
		check_same(f->sub, a + f->at, b + f->at, under);
	else if (f->type == SCHEMA_CHOICE)
		same_alternative(f->sub, a + f->at, b + f->at, under);
	else if (!value_eq(f, a + f->at, b + f->at))
		fail_msg("%s differs", under);
}

static void same_alternative(const struct schema *s, const uint8_t *a, const uint8_t *b,
                             const char *path)
{
	uint32_t ka, kb;

	memcpy(&ka, a + s->kind_at, sizeof(ka));
	memcpy(&kb, b + s->kind_at, sizeof(kb));
	if (ka != kb)
		fail_msg("%s: kinds %u and %u", path, ka, kb);
	for (size_t i = 0; i < s->count; i++)
		if (s->fields[i].kind == ka)
			same_field(&s->fields[i], a, b, path);
}

void check_same(const struct schema *s, const void *a, const void *b, const char *path)
{
	for (size_t i = 0; i < s->count; i++) {
		const struct schema_field *f = &s->fields[i];

		if (field_is(f, a) != field_is(f, b))
			fail_msg("%s[%u]: there and not there", path, f->tag);
		if (field_is(f, a))
			same_field(f, a, b, path);
	}
}

/* ---- the checks ---- */

/* A copy of just this size, so that the address sanitizer sees a read past it. */
static uint8_t *exact(struct span s)
{
	uint8_t *p = malloc(s.n > 0 ? s.n : 1);

	assert_non_null(p);
	if (s.n > 0)
		memcpy(p, s.p, s.n);
	return p;
}

/* BODY cut to N octets, of TOTAL, is decoded into OUT. */
static int decode_part(struct span body, size_t n, uint64_t total, check_decode_fn *decode,
                       void *out)
{
	uint8_t *p = exact(span_of(body.p, n));
	int err = decode(span_of(p, n), total, out);

	free(p);
	return err;
}

/* A frame that is there in part is never malformed, and never decoded before its head is there. */
static void check_parts(const char *name, const struct schema *s, struct span body,
                        check_decode_fn *decode)
{
	_Alignas(max_align_t) uint8_t out[STRUCT_MAX];
	bool done = false;

	for (size_t n = 0; n < body.n; n++) {
		int err = decode_part(body, n, body.n, decode, out);

		if (err != ERR_AGAIN && !(err == 0 && s->streams))
			fail_msg("%s: %d for %zu octets of %zu", name, err, n, body.n);
		if (err != 0 && done)
			fail_msg("%s: decoded with fewer than %zu octets", name, n);
		done = err == 0;
		err = decode_part(body, n, n, decode, out);
		if (err != ERR_MALFORMED)
			fail_msg("%s: %d for a frame cut to %zu octets", name, err, n);
	}
	assert_int_equal(decode_part(body, body.n, body.n + 1, decode, out), ERR_MALFORMED);
	assert_int_equal(decode_part(body, body.n, body.n - 1, decode, out), ERR_MALFORMED);
}

/* The kind is known from PEEK_MAX octets on, and never said wrongly before. */
static void check_peek(const char *name, const struct schema *s, struct span body, uint32_t kind)
{
	for (size_t n = 0; n <= body.n; n++) {
		uint8_t *p = exact(span_of(body.p, n));
		uint32_t peeked;
		int err = schema_peek(s, span_of(p, n), body.n, &peeked);

		free(p);
		if (err == 0 && peeked != kind)
			fail_msg("%s: peeked %u for %u", name, peeked, kind);
		if (err != 0 && (err != ERR_AGAIN || n >= PEEK_MAX || n == body.n || peeked != 0))
			fail_msg("%s: peek returns %d for %zu octets", name, err, n);
	}
}

/*
 * BODY has one flipped bit. It is refused, or it decodes to what encodes to
 * these very octets; where the flip made an element unknown, to what encodes to
 * something shorter that says the same.
 */
static bool check_flipped(const char *name, const struct schema *s, enum wire_pdu pdu,
                          struct span body)
{
	_Alignas(max_align_t) uint8_t out[STRUCT_MAX], again[STRUCT_MAX];
	uint8_t buf[FRAME_MAX], buf2[FRAME_MAX];
	struct span frame, frame2;
	unsigned skipped = 0;
	uint32_t kind;
	int err = schema_decode(s, pdu, body, body.n, out, &skipped);

	if (err != 0) {
		assert_int_equal(err, ERR_MALFORMED);
		return false;
	}
	memcpy(&kind, out + s->fields[s->count > 1 ? 2 : 0].sub->kind_at, sizeof(kind));
	err = schema_encode(s, pdu, out, buf, sizeof(buf), &frame);
	if (kind == 0) {
		assert_int_equal(err, ERR_UNSUPPORTED);
		assert_true(skipped > 0);
		return true;
	}
	assert_int_equal(err, 0);
	frame = span_after(frame, FRAME_PREFIX);
	if (skipped == 0 && !span_eq(frame, body))
		fail_msg("%s: decodes, but encodes to other octets", name);
	assert_true(frame.n <= body.n);
	assert_int_equal(schema_decode(s, pdu, frame, frame.n, again, NULL), 0);
	assert_int_equal(schema_encode(s, pdu, again, buf2, sizeof(buf2), &frame2), 0);
	assert_true(span_eq(frame, span_after(frame2, FRAME_PREFIX)));
	return true;
}

static void check_flips(const char *name, const struct schema *s, enum wire_pdu pdu,
                        struct span body, check_decode_fn *decode)
{
	_Alignas(max_align_t) uint8_t out[STRUCT_MAX];
	struct span flipped = { .p = exact(body), .n = body.n };

	for (size_t bit = 0; bit < body.n * 8; bit++) {
		uint8_t *octet = (uint8_t *)(uintptr_t)flipped.p + bit / 8;
		bool good;

		*octet ^= (uint8_t)(1 << bit % 8);
		good = check_flipped(name, s, pdu, flipped);
		/* What a part says must not be taken back when the rest comes. */
		for (size_t n = bit % PART_STEP; n < body.n; n += PART_STEP) {
			int err = schema_decode(s, pdu, span_of(flipped.p, n), body.n, out, NULL);

			if ((good && err == ERR_MALFORMED) || (!good && err == 0))
				fail_msg("%s: bit %zu, %zu octets: %d", name, bit, n, err);
		}
		*octet ^= (uint8_t)(1 << bit % 8);
	}
	assert_int_equal(decode(flipped, body.n, out), 0); /* all bits are back */
	free((void *)(uintptr_t)flipped.p);
}

void check_pdu(const char *name, const struct schema *s, enum wire_pdu pdu, const void *in,
               check_encode_fn *encode, check_decode_fn *decode)
{
	_Alignas(max_align_t) uint8_t out[STRUCT_MAX];
	uint8_t buf[FRAME_MAX];
	struct span frame, body = check_vector(name);
	enum wire_pdu kind;
	uint32_t alternative;

	used[find_vector(name)] = true;
	assert_true(s->size <= sizeof(out));
	assert_int_equal(encode(in, buf, sizeof(buf), &frame), 0);
	assert_ptr_equal(frame.p + frame.n, buf + sizeof(buf));
	assert_int_equal(frame_length(frame.p), frame.n - FRAME_PREFIX);
	if (!span_eq(span_after(frame, FRAME_PREFIX), body)) {
		char hex[2 * FRAME_MAX + 1];
		text_hex(frame.p + FRAME_PREFIX, frame.n - FRAME_PREFIX, hex);
		fail_msg("%s encodes to\n%s", name, hex);
	}
	assert_int_equal(decode(body, body.n, out), 0);
	check_same(s, in, out, name);
	assert_int_equal(wire_pdu_kind(body, body.n, &kind), 0);
	assert_int_equal(kind, pdu);
	for (size_t cap = 0; cap < frame.n; cap++) {
		struct span none;
		uint8_t *small = exact(span_of(buf, cap));
		assert_int_equal(encode(in, small, cap, &none), ERR_TOO_BIG);
		assert_int_equal(none.n, 0);
		free(small);
	}
	check_parts(name, s, body, decode);
	if (pdu == WIRE_PDU_COMMAND) {
		memcpy(&alternative, (const uint8_t *)in + s->fields[0].sub->kind_at, sizeof(alternative));
		check_peek(name, s, body, alternative);
	}
	check_flips(name, s, pdu, body, decode);
}
