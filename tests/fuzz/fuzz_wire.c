/*
 * The body of a frame, read as a command and as a response of each module.
 * What decodes must encode again to the same octets (or, where unknown elements
 * were skipped, to something that then stays the same); every part of the frame
 * must be answered in agreement with the whole; every list must be walkable.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/name.h"
#include "wire/frame.h"
#include "wire/schema.h"

#define STRUCT_MAX 1024
#define PARTS 9 /* prefixes tried of each input */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct {
	const struct schema *schema;
	enum wire_pdu pdu;
} readers[] = {
	{ &msoap_command_schema, WIRE_PDU_COMMAND }, { &msoap_response_schema, WIRE_PDU_RESPONSE },
	{ &msrap_command_schema, WIRE_PDU_COMMAND }, { &msrap_response_schema, WIRE_PDU_RESPONSE },
	{ &rnasp_command_schema, WIRE_PDU_COMMAND }, { &rnasp_response_schema, WIRE_PDU_RESPONSE },
	{ &rnaqp_command_schema, WIRE_PDU_COMMAND }, { &rnaqp_response_schema, WIRE_PDU_RESPONSE },
};

static void check(bool holds)
{
	if (!holds)
		abort();
}

static void walk_fields(const struct schema *s, const uint8_t *base);

/* A name that is read from the wire and put back is the same name. */
static void check_mailbox(const struct wire_mailbox *m)
{
	struct mailbox name, again;
	struct wire_mailbox back;
	uint8_t scratch[WIRE_LABELS_MAX];

	if (wire_mailbox_to_name(m, &name) != 0)
		return;
	wire_mailbox_from_name(&name, scratch, &back);
	check(wire_mailbox_to_name(&back, &again) == 0);
	check(mailbox_eq(&name, &again));
}

static void walk_list(const struct schema_field *element, const struct wire_list *list)
{
	_Alignas(max_align_t) uint8_t out[STRUCT_MAX];
	struct wire_list rest = *list;
	size_t count = 0;

	while (schema_next(element, &rest, out)) {
		count++;
		if (element->sub != NULL)
			walk_fields(element->sub, out);
		if (element->sub == &schema_mailbox)
			check_mailbox((const struct wire_mailbox *)(const void *)out);
	}
	check(count == list->count && rest.count == 0 && rest.der.n == 0);
}

static void walk_field(const struct schema_field *f, const uint8_t *base)
{
	struct wire_list list;
	uint32_t kind;

	base += f->at;
	if (f->type == SCHEMA_LIST) {
		memcpy(&list, base, sizeof(list));
		walk_list(f->element, &list);
	} else if (f->type == SCHEMA_SEQUENCE) {
		walk_fields(f->sub, base);
	} else if (f->type == SCHEMA_CHOICE) {
		memcpy(&kind, base + f->sub->kind_at, sizeof(kind));
		for (size_t i = 0; i < f->sub->count; i++)
			if (f->sub->fields[i].kind == kind)
				walk_field(&f->sub->fields[i], base);
	}
}

/* What is not there is zero, and an empty list is one too. */
static void walk_fields(const struct schema *s, const uint8_t *base)
{
	for (size_t i = 0; i < s->count; i++)
		walk_field(&s->fields[i], base);
}

static void check_again(const struct schema *s, enum wire_pdu pdu, const void *decoded,
                        struct span body, unsigned skipped)
{
	_Alignas(max_align_t) uint8_t out[STRUCT_MAX];
	size_t cap = body.n + FRAME_PREFIX;
	uint8_t *buf = malloc(cap), *buf2 = malloc(cap);
	struct span frame, frame2;
	int err;

	if (buf == NULL || buf2 == NULL)
		abort();
	err = schema_encode(s, pdu, decoded, buf, cap, &frame);
	if (err == ERR_UNSUPPORTED) {
		check(skipped > 0); /* an unknown alternative */
	} else {
		check(err == 0 && frame_length(frame.p) == frame.n - FRAME_PREFIX);
		frame = span_after(frame, FRAME_PREFIX);
		check(skipped > 0 || span_eq(frame, body));
		check(schema_decode(s, pdu, frame, frame.n, out, NULL) == 0);
		check(schema_encode(s, pdu, out, buf2, cap, &frame2) == 0);
		check(span_eq(frame, span_after(frame2, FRAME_PREFIX)));
	}
	free(buf);
	free(buf2);
}

/* The first N octets of BODY in memory of just that size. */
static int decode_part(const struct schema *s, enum wire_pdu pdu, struct span body, size_t n)
{
	_Alignas(max_align_t) uint8_t out[STRUCT_MAX];
	uint8_t *part = malloc(n > 0 ? n : 1);
	uint32_t kind;
	int err, peek;

	if (part == NULL)
		abort();
	memcpy(part, body.p, n);
	err = schema_decode(s, pdu, span_of(part, n), body.n, out, NULL);
	if (pdu == WIRE_PDU_COMMAND) {
		peek = schema_peek(s, span_of(part, n), body.n, &kind);
		check(err != 0 || peek == 0);
	}
	free(part);
	return err;
}

static void check_reader(const struct schema *s, enum wire_pdu pdu, struct span body)
{
	_Alignas(max_align_t) uint8_t out[STRUCT_MAX];
	unsigned skipped;
	int err = schema_decode(s, pdu, body, body.n, out, &skipped);

	check(err == 0 || err == ERR_MALFORMED);
	if (err == 0) {
		walk_fields(s, out);
		check_again(s, pdu, out, body, skipped);
	}
	for (size_t i = 0; i < PARTS && body.n > 0; i++) {
		int part = decode_part(s, pdu, body, body.n * i / PARTS);
		check(part == ERR_AGAIN || part == err);
	}
	/* More to come than there is: never past the end. */
	schema_decode(s, pdu, body, (uint64_t)body.n * 2 + 1, out, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span body = span_of(data, size);
	struct wire_notification n;
	enum wire_pdu pdu;

	for (size_t i = 0; i < sizeof(readers) / sizeof(readers[0]); i++) {
		check(readers[i].schema->size <= STRUCT_MAX);
		check_reader(readers[i].schema, readers[i].pdu, body);
	}
	wire_pdu_kind(body, size, &pdu);
	wire_notification_decode(body, &n);
	return 0;
}
