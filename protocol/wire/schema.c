#include "wire/schema.h"

#include <string.h>

#include "base/err.h"
#include "wire/frame.h"

#define CLASS_MASK 0xc0
#define CLASS_CONTEXT 0x80

_Static_assert(sizeof(enum wire_status) == sizeof(uint32_t), "enums are kept as 32 bits");

/* The identifier octet of an element with its context tag. */
static uint8_t context_id(const struct schema_field *f)
{
	switch ((enum schema_type)f->type) {
	case SCHEMA_LIST:
	case SCHEMA_SEQUENCE:
	case SCHEMA_CHOICE:
		return DER_CONTEXT_WRAP(f->tag);
	default:
		return DER_CONTEXT(f->tag);
	}
}

/* The identifier octet of a list's element, which has no tag of its own. */
static uint8_t universal_id(const struct schema_field *f)
{
	switch ((enum schema_type)f->type) {
	case SCHEMA_UINT:
	case SCHEMA_PORT:
		return DER_INTEGER;
	case SCHEMA_ENUM:
		return DER_ENUMERATED;
	case SCHEMA_TEXT:
		return DER_TEXT;
	case SCHEMA_OCTETS:
	case SCHEMA_FIXED:
		return DER_OCTETS;
	default:
		return DER_SEQUENCE;
	}
}

/* ---- decoding ---- */

struct decoder {
	struct der_reader r;
	bool closed; /* an ENUMERATED number that is not known is malformed */
};

static void decode_value(struct decoder *d, const struct der_header *h,
                         const struct schema_field *f, uint8_t *base);

/* Copies N octets of a scalar into the struct, unless it is only being checked. */
static void store(uint8_t *to, const void *from, size_t n)
{
	if (to != NULL)
		memcpy(to, from, n);
}

/*
 * Goes into H. Only what holds a stream may be there in part: anything else waits until it is
 * whole, or each octet that comes would have all before it read again.
 */
static uint64_t enter(struct decoder *d, const struct der_header *h, bool streams)
{
	if (!streams && d->r.err == 0 && h->length > d->r.have - d->r.at)
		der_fail(&d->r, ERR_AGAIN);
	return der_enter(&d->r, h);
}

/* The elements of a SEQUENCE that was entered. BASE NULL: check only. */
static void decode_sequence(struct decoder *d, const struct schema *s, uint8_t *base)
{
	struct der_header h;
	uint64_t least = 0; /* tags rise, unknown ones too */
	size_t i = 0;       /* fields before this one are done */

	while (der_next(&d->r, &h)) {
		const struct schema_field *f;

		if ((h.first & CLASS_MASK) != CLASS_CONTEXT || h.number < least)
			der_fail(&d->r, ERR_MALFORMED);
		least = h.number + 1;
		for (; i < s->count && s->fields[i].tag < h.number; i++)
			if (s->fields[i].has == SCHEMA_MANDATORY)
				der_fail(&d->r, ERR_MALFORMED);
		if (i == s->count || s->fields[i].tag != h.number) {
			der_skip(&d->r, &h);
			continue;
		}
		f = &s->fields[i++];
		if (h.first != context_id(f))
			der_fail(&d->r, ERR_MALFORMED);
		if (base != NULL && f->has != SCHEMA_MANDATORY)
			store(base + f->has, &(bool){ true }, sizeof(bool));
		decode_value(d, &h, f, base);
	}
	for (; i < s->count; i++)
		if (s->fields[i].has == SCHEMA_MANDATORY)
			der_fail(&d->r, ERR_MALFORMED);
}

static const struct schema_field *alternative_by_tag(const struct schema *s, uint64_t tag)
{
	for (size_t i = 0; i < s->count; i++)
		if (s->fields[i].tag == tag)
			return &s->fields[i];
	return NULL;
}

/* The one element of an explicit tag that was entered. */
static void decode_choice(struct decoder *d, const struct schema *s, uint8_t *base)
{
	const struct schema_field *f;
	struct der_header h;
	uint32_t kind;

	if (!der_next(&d->r, &h)) {
		der_fail(&d->r, ERR_MALFORMED); /* empty */
		return;
	}
	f = alternative_by_tag(s, h.number);
	if ((h.first & CLASS_MASK) != CLASS_CONTEXT || (f == NULL && !s->open) ||
	    (f != NULL && h.first != context_id(f))) {
		der_fail(&d->r, ERR_MALFORMED);
		return;
	}
	kind = f != NULL ? f->kind : 0;
	if (base != NULL)
		store(base + s->kind_at, &kind, sizeof(kind));
	if (f != NULL)
		decode_value(d, &h, f, base);
	else
		der_skip(&d->r, &h);
}

/* Checks every element; what is kept is where they stand. */
static struct wire_list decode_list(struct decoder *d, const struct schema_field *element)
{
	struct wire_list list = { .der = span_of(d->r.p + d->r.at, 0) };
	uint64_t start = d->r.at;
	struct der_header h;

	while (der_next(&d->r, &h)) {
		if (h.first != universal_id(element))
			der_fail(&d->r, ERR_MALFORMED);
		decode_value(d, &h, element, NULL);
		list.count++;
	}
	if (d->r.err != 0)
		return (struct wire_list){ 0 };
	list.der.n = (size_t)(d->r.at - start);
	return list;
}

static void decode_constructed(struct decoder *d, const struct der_header *h,
                               const struct schema_field *f, uint8_t *to)
{
	uint64_t outer = enter(d, h, f->sub != NULL && f->sub->streams);

	if (f->type == SCHEMA_LIST) {
		struct wire_list list = decode_list(d, f->element);
		store(to, &list, sizeof(list));
	} else if (f->type == SCHEMA_CHOICE) {
		decode_choice(d, f->sub, to);
	} else {
		decode_sequence(d, f->sub, to);
	}
	der_leave(&d->r, outer);
}

static void decode_number(struct decoder *d, const struct der_header *h,
                          const struct schema_field *f, uint8_t *to)
{
	if (f->type == SCHEMA_ENUM) {
		uint32_t number = der_take_enum(&d->r, h);
		if (d->closed && number >= f->n)
			der_fail(&d->r, ERR_MALFORMED);
		store(to, &number, sizeof(number));
	} else if (f->type == SCHEMA_PORT) {
		uint64_t number = der_take_uint(&d->r, h);
		uint16_t port = (uint16_t)number;
		if (number > UINT16_MAX)
			der_fail(&d->r, ERR_MALFORMED);
		store(to, &port, sizeof(port));
	} else {
		uint64_t number = der_take_uint(&d->r, h);
		if (number < f->n)
			der_fail(&d->r, ERR_MALFORMED);
		store(to, &number, sizeof(number));
	}
}

/* The content of H as F says, into the struct at BASE (NULL: check only). */
static void decode_value(struct decoder *d, const struct der_header *h,
                         const struct schema_field *f, uint8_t *base)
{
	uint8_t *to = base != NULL ? base + f->at : NULL;
	struct span octets;

	switch ((enum schema_type)f->type) {
	case SCHEMA_BOOL:
		store(to, &(bool){ der_take_bool(&d->r, h) }, sizeof(bool));
		return;
	case SCHEMA_UINT:
	case SCHEMA_PORT:
	case SCHEMA_ENUM:
		decode_number(d, h, f, to);
		return;
	case SCHEMA_TEXT:
		octets = der_take_text(&d->r, h);
		store(to, &octets, sizeof(octets));
		return;
	case SCHEMA_OCTETS:
		octets = der_take_octets(&d->r, h);
		store(to, &octets, sizeof(octets));
		return;
	case SCHEMA_FIXED:
		octets = der_take_octets(&d->r, h);
		if (octets.n != f->n)
			der_fail(&d->r, ERR_MALFORMED);
		else
			store(to, octets.p, octets.n);
		return;
	case SCHEMA_STREAM: {
		struct wire_octets stream = der_take_stream(&d->r, h);
		store(to, &stream, sizeof(stream));
		return;
	}
	case SCHEMA_LIST:
	case SCHEMA_SEQUENCE:
	case SCHEMA_CHOICE:
		decode_constructed(d, h, f, to);
		return;
	}
	der_fail(&d->r, ERR_INTERNAL);
}

/* Enters the PDU's outer element. False on an error or when it is not PDU. */
static bool enter_pdu(struct decoder *d, enum wire_pdu pdu, uint64_t *outer)
{
	struct der_header h;

	if (!der_next(&d->r, &h) || h.first != DER_CONTEXT_WRAP(pdu)) {
		der_fail(&d->r, ERR_MALFORMED);
		return false;
	}
	*outer = der_enter(&d->r, &h);
	if (*outer != d->r.end)
		der_fail(&d->r, ERR_MALFORMED); /* octets after the PDU */
	return d->r.err == 0;
}

int schema_decode(const struct schema *s, enum wire_pdu pdu, struct span body, uint64_t total,
                  void *out, unsigned *skipped)
{
	struct decoder d = { .closed = pdu == WIRE_PDU_COMMAND };
	uint64_t outer;

	memset(out, 0, s->size);
	der_reader_init(&d.r, body, total);
	if (enter_pdu(&d, pdu, &outer)) {
		decode_sequence(&d, s, out);
		der_leave(&d.r, outer);
	}
	if (d.r.err != 0)
		memset(out, 0, s->size);
	if (skipped != NULL)
		*skipped = d.r.skipped;
	return d.r.err;
}

int schema_peek(const struct schema *s, struct span body, uint64_t total, uint32_t *kind)
{
	const struct schema *choice = s->fields[0].sub;
	const struct schema_field *f;
	struct decoder d = { 0 };
	struct der_header h;
	uint64_t outer;

	*kind = 0;
	der_reader_init(&d.r, body, total);
	if (!enter_pdu(&d, WIRE_PDU_COMMAND, &outer))
		return d.r.err;
	if (!der_next(&d.r, &h) || h.first != context_id(&s->fields[0])) {
		der_fail(&d.r, ERR_MALFORMED);
		return d.r.err;
	}
	der_enter(&d.r, &h);
	if (!der_next(&d.r, &h) || (h.first & CLASS_MASK) != CLASS_CONTEXT) {
		der_fail(&d.r, ERR_MALFORMED);
		return d.r.err;
	}
	f = alternative_by_tag(choice, h.number);
	*kind = f != NULL ? f->kind : 0;
	return 0;
}

bool schema_next(const struct schema_field *element, struct wire_list *rest, void *out)
{
	struct decoder d = { .closed = false };
	struct der_header h;

	der_reader_init(&d.r, rest->der, rest->der.n);
	if (rest->der.n == 0)
		return false;
	if (!der_next(&d.r, &h) || h.first != universal_id(element))
		der_fail(&d.r, ERR_MALFORMED);
	if (element->sub != NULL)
		memset(out, 0, element->sub->size);
	decode_value(&d, &h, element, out);
	if (d.r.err != 0) {
		*rest = (struct wire_list){ 0 }; /* was never checked: it ends here */
		return false;
	}
	rest->der = span_after(rest->der, (size_t)d.r.at);
	if (rest->count > 0)
		rest->count--;
	return true;
}

/* ---- encoding ---- */

struct encoder {
	struct der_writer w;
	bool closed; /* an ENUMERATED number that is not known is malformed */
};

static void encode_value(struct encoder *e, const struct schema_field *f, uint8_t id,
                         const uint8_t *base);

/* The elements, last one first, as the writer wants them. */
static void encode_sequence(struct encoder *e, const struct schema *s, const uint8_t *base)
{
	for (size_t i = s->count; i-- > 0;) {
		const struct schema_field *f = &s->fields[i];
		bool has = true;

		if (f->has != SCHEMA_MANDATORY)
			memcpy(&has, base + f->has, sizeof(has));
		if (has)
			encode_value(e, f, context_id(f), base);
	}
}

static void encode_choice(struct encoder *e, const struct schema *s, const uint8_t *base)
{
	uint32_t kind;

	memcpy(&kind, base + s->kind_at, sizeof(kind));
	for (size_t i = 0; i < s->count; i++)
		if (s->fields[i].kind == kind) {
			encode_value(e, &s->fields[i], context_id(&s->fields[i]), base);
			return;
		}
	der_writer_fail(&e->w, s->open ? ERR_UNSUPPORTED : ERR_MALFORMED);
}

static void encode_constructed(struct encoder *e, const struct schema_field *f, uint8_t id,
                               const uint8_t *from)
{
	uint64_t mark = der_mark(&e->w);

	if (f->type == SCHEMA_LIST) {
		struct wire_list list;
		memcpy(&list, from, sizeof(list));
		der_put_raw(&e->w, list.der);
	} else if (f->type == SCHEMA_CHOICE) {
		encode_choice(e, f->sub, from);
	} else {
		encode_sequence(e, f->sub, from);
	}
	der_wrap(&e->w, id, mark);
}

static void encode_number(struct encoder *e, const struct schema_field *f, uint8_t id,
                          const uint8_t *from)
{
	uint64_t value;
	uint32_t number;
	uint16_t port;
	bool good = true;

	if (f->type == SCHEMA_ENUM) {
		memcpy(&number, from, sizeof(number));
		good = e->closed ? number < f->n : number <= INT32_MAX;
		value = number;
	} else if (f->type == SCHEMA_PORT) {
		memcpy(&port, from, sizeof(port));
		value = port;
	} else {
		memcpy(&value, from, sizeof(value));
		good = value >= f->n;
	}
	if (!good)
		der_writer_fail(&e->w, ERR_MALFORMED);
	der_put_uint(&e->w, id, value);
}

/* The value that F says, in the struct at BASE, with the identifier octet ID. */
static void encode_value(struct encoder *e, const struct schema_field *f, uint8_t id,
                         const uint8_t *base)
{
	const uint8_t *from = base + f->at;
	struct wire_octets stream;
	struct span octets;
	bool truth;

	switch ((enum schema_type)f->type) {
	case SCHEMA_BOOL:
		memcpy(&truth, from, sizeof(truth));
		der_put_bool(&e->w, id, truth);
		return;
	case SCHEMA_UINT:
	case SCHEMA_PORT:
	case SCHEMA_ENUM:
		encode_number(e, f, id, from);
		return;
	case SCHEMA_TEXT:
		memcpy(&octets, from, sizeof(octets));
		der_put_text(&e->w, id, octets);
		return;
	case SCHEMA_OCTETS:
		memcpy(&octets, from, sizeof(octets));
		der_put_octets(&e->w, id, octets);
		return;
	case SCHEMA_FIXED:
		der_put_octets(&e->w, id, span_of(from, f->n));
		return;
	case SCHEMA_STREAM:
		memcpy(&stream, from, sizeof(stream));
		der_put_stream(&e->w, id, stream);
		return;
	case SCHEMA_LIST:
	case SCHEMA_SEQUENCE:
	case SCHEMA_CHOICE:
		encode_constructed(e, f, id, from);
		return;
	}
	der_writer_fail(&e->w, ERR_INTERNAL);
}

int schema_encode(const struct schema *s, enum wire_pdu pdu, const void *in, uint8_t *buf,
                  size_t cap, struct span *out)
{
	struct encoder e = { .closed = pdu == WIRE_PDU_COMMAND };
	uint8_t prefix[FRAME_PREFIX];

	der_writer_init(&e.w, buf, cap);
	encode_sequence(&e, s, in);
	der_wrap(&e.w, DER_CONTEXT_WRAP(pdu), 0);
	if (der_mark(&e.w) > UINT32_MAX)
		der_writer_fail(&e.w, ERR_TOO_BIG);
	frame_put_length(prefix, (uint32_t)der_mark(&e.w));
	der_put_raw(&e.w, span_of(prefix, sizeof(prefix)));
	*out = der_written(&e.w);
	return e.w.err;
}

int schema_encode_element(const struct schema_field *element, const void *in, uint8_t *buf,
                          size_t cap, struct span *out)
{
	struct encoder e = { .closed = false };

	der_writer_init(&e.w, buf, cap);
	encode_value(&e, element, universal_id(element), in);
	*out = der_written(&e.w);
	return e.w.err;
}

int schema_append(const struct schema_field *element, struct wire_list_writer *w, const void *in)
{
	struct span added;
	int err = schema_encode_element(element, in, w->p + w->n, w->cap - w->n, &added);

	if (err != 0)
		return err;
	memmove(w->p + w->n, added.p, added.n); /* from the end of the free room to its front */
	w->n += added.n;
	w->count++;
	return 0;
}
