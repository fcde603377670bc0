#include "wire/der.h"

#include <string.h>

#include "base/err.h"
#include "base/text.h"

#define NUMBER_MASK 0x1f
#define LONG_LENGTH 0x80
#define LENGTH_OCTETS_MAX 8  /* of a long length: what fits into 64 bits */
#define NUMBER_OCTETS_MAX 9  /* of a high tag number: 63 bits */
#define INTEGER_OCTETS_MAX 9 /* 64 bits and a sign octet */

/* ---- reader ---- */

void der_reader_init(struct der_reader *r, struct span body, uint64_t total)
{
	*r = (struct der_reader){ .p = body.p, .have = body.n, .end = total };
	if (body.n > total)
		r->err = ERR_MALFORMED;
}

void der_fail(struct der_reader *r, int err)
{
	if (r->err == 0)
		r->err = err;
}

/* One octet of an identifier or length; 0 after an error. */
static uint8_t next_octet(struct der_reader *r)
{
	if (r->err != 0)
		return 0;
	if (r->at >= r->end) {
		r->err = ERR_MALFORMED;
		return 0;
	}
	if (r->at >= r->have) {
		r->err = ERR_AGAIN;
		return 0;
	}
	return r->p[r->at++];
}

/* X.690 section 8.1.2.4: base 128, no leading zero septets, only for numbers from 31 on. */
static uint64_t read_high_number(struct der_reader *r)
{
	uint64_t number = 0;

	for (unsigned i = 0; i < NUMBER_OCTETS_MAX; i++) {
		uint8_t octet = next_octet(r);

		if (i == 0 && octet == 0x80)
			break; /* a leading zero septet */
		number = number << 7 | (octet & 0x7f);
		if ((octet & 0x80) == 0) {
			if (number <= 30)
				break; /* the low form would do */
			return number;
		}
	}
	der_fail(r, ERR_MALFORMED);
	return 0;
}

/* X.690 section 10.1: definite, in the fewest octets. */
static uint64_t read_length(struct der_reader *r)
{
	uint8_t first = next_octet(r);
	unsigned count = first & 0x7f;
	uint64_t length = 0;

	if ((first & LONG_LENGTH) == 0)
		return first;
	if (count == 0 || count > LENGTH_OCTETS_MAX) {
		der_fail(r, ERR_MALFORMED);
		return 0;
	}
	for (unsigned i = 0; i < count; i++) {
		uint8_t octet = next_octet(r);

		if (i == 0 && octet == 0)
			der_fail(r, ERR_MALFORMED);
		length = length << 8 | octet;
	}
	if (length < LONG_LENGTH)
		der_fail(r, ERR_MALFORMED);
	return length;
}

bool der_next(struct der_reader *r, struct der_header *h)
{
	*h = (struct der_header){ 0 };
	if (der_at_end(r))
		return false;
	h->first = next_octet(r);
	h->number = h->first & NUMBER_MASK;
	if (h->number == NUMBER_MASK)
		h->number = read_high_number(r);
	h->length = read_length(r);
	if (r->err == 0 && h->length > r->end - r->at)
		r->err = ERR_MALFORMED;
	return r->err == 0;
}

/* Takes the content of H when it is in memory whole, else an empty view and an error. */
static struct span take(struct der_reader *r, const struct der_header *h)
{
	struct span content = span_of(NULL, 0);

	if (r->err != 0)
		return content;
	if (h->length > r->end - r->at) {
		r->err = ERR_MALFORMED;
		return content;
	}
	if (r->at > r->have || h->length > r->have - r->at) {
		r->err = ERR_AGAIN;
		return content;
	}
	content = span_of(r->p + r->at, (size_t)h->length);
	r->at += h->length;
	return content;
}

bool der_take_bool(struct der_reader *r, const struct der_header *h)
{
	struct span content = take(r, h);

	if (r->err != 0)
		return false;
	if (content.n != 1 || (content.p[0] != 0x00 && content.p[0] != 0xff)) {
		r->err = ERR_MALFORMED;
		return false;
	}
	return content.p[0] == 0xff;
}

uint64_t der_take_uint(struct der_reader *r, const struct der_header *h)
{
	struct span content = take(r, h);
	uint64_t value = 0;
	bool good;

	if (r->err != 0)
		return 0;
	good = content.n >= 1 && content.n <= INTEGER_OCTETS_MAX && content.p[0] < 0x80;
	if (good && content.n > 1 && content.p[0] == 0)
		good = content.p[1] >= 0x80; /* the sign octet is needed */
	else if (good)
		good = content.n < INTEGER_OCTETS_MAX;
	if (!good) {
		r->err = ERR_MALFORMED;
		return 0;
	}
	for (size_t i = 0; i < content.n; i++)
		value = value << 8 | content.p[i];
	return value;
}

uint32_t der_take_enum(struct der_reader *r, const struct der_header *h)
{
	uint64_t value = der_take_uint(r, h);

	if (value > INT32_MAX) {
		der_fail(r, ERR_MALFORMED);
		return 0;
	}
	return (uint32_t)value;
}

struct span der_take_octets(struct der_reader *r, const struct der_header *h)
{
	return take(r, h);
}

struct span der_take_text(struct der_reader *r, const struct der_header *h)
{
	struct span content = take(r, h);

	if (r->err == 0 && content.n > 0 && !text_is_utf8(content)) {
		r->err = ERR_MALFORMED;
		return span_of(NULL, 0);
	}
	return content;
}

void der_skip(struct der_reader *r, const struct der_header *h)
{
	take(r, h);
	if (r->err == 0)
		r->skipped++;
}

struct wire_octets der_take_stream(struct der_reader *r, const struct der_header *h)
{
	struct wire_octets octets = { 0 };
	uint64_t here;

	if (r->err != 0)
		return octets;
	if (h->length != r->end - r->at) {
		r->err = ERR_MALFORMED;
		return octets;
	}
	here = r->have - r->at; /* the header was read, so at <= have */
	if (here > h->length)
		here = h->length;
	octets.size = h->length;
	octets.here = span_of(r->p + r->at, (size_t)here);
	r->at = r->end;
	r->streamed = true;
	return octets;
}

uint64_t der_enter(struct der_reader *r, const struct der_header *h)
{
	uint64_t outer_end = r->end;

	if (r->err != 0)
		return outer_end;
	if (h->length > r->end - r->at || r->depth >= DER_NESTING_MAX) {
		r->err = ERR_MALFORMED;
		return outer_end;
	}
	r->depth++;
	r->end = r->at + h->length;
	return outer_end;
}

void der_leave(struct der_reader *r, uint64_t outer_end)
{
	if (r->err != 0)
		return;
	if (r->at != r->end || (r->streamed && r->end != outer_end)) {
		r->err = ERR_MALFORMED;
		return;
	}
	r->depth--;
	r->end = outer_end;
}

/* ---- writer ---- */

void der_writer_init(struct der_writer *w, uint8_t *buf, size_t cap)
{
	*w = (struct der_writer){ .p = buf, .cap = cap, .at = cap };
}

void der_writer_fail(struct der_writer *w, int err)
{
	if (w->err == 0)
		w->err = err;
}

static void put_octet(struct der_writer *w, uint8_t octet)
{
	if (w->err != 0)
		return;
	if (w->at == 0) {
		w->err = ERR_TOO_BIG;
		return;
	}
	w->p[--w->at] = octet;
}

void der_put_raw(struct der_writer *w, struct span octets)
{
	if (w->err != 0 || octets.n == 0)
		return;
	if (octets.n > w->at) {
		w->err = ERR_TOO_BIG;
		return;
	}
	w->at -= octets.n;
	memcpy(w->p + w->at, octets.p, octets.n);
}

static void put_header(struct der_writer *w, uint8_t id, uint64_t length)
{
	uint8_t count = 0;

	if (length < LONG_LENGTH) {
		put_octet(w, (uint8_t)length);
	} else {
		for (; length > 0; length >>= 8, count++)
			put_octet(w, (uint8_t)length);
		put_octet(w, LONG_LENGTH | count);
	}
	put_octet(w, id);
}

void der_put_bool(struct der_writer *w, uint8_t id, bool value)
{
	put_octet(w, value ? 0xff : 0x00);
	put_header(w, id, 1);
}

void der_put_uint(struct der_writer *w, uint8_t id, uint64_t value)
{
	uint64_t mark = der_mark(w);
	uint8_t last;

	do {
		last = (uint8_t)value;
		put_octet(w, last);
		value >>= 8;
	} while (value > 0);
	if (last >= 0x80)
		put_octet(w, 0); /* or it would be negative */
	put_header(w, id, der_mark(w) - mark);
}

void der_put_octets(struct der_writer *w, uint8_t id, struct span octets)
{
	der_put_raw(w, octets);
	put_header(w, id, octets.n);
}

void der_put_text(struct der_writer *w, uint8_t id, struct span text)
{
	if (text.n > 0 && !text_is_utf8(text))
		der_writer_fail(w, ERR_MALFORMED);
	der_put_octets(w, id, text);
}

void der_put_stream(struct der_writer *w, uint8_t id, struct wire_octets octets)
{
	if (der_mark(w) != 0 || octets.here.n > octets.size)
		der_writer_fail(w, ERR_MALFORMED);
	if (octets.size > UINT32_MAX)
		der_writer_fail(w, ERR_TOO_BIG); /* no frame is that long */
	if (w->err != 0)
		return;
	w->tail = octets.size - octets.here.n;
	der_put_raw(w, octets.here);
	put_header(w, id, octets.size);
}

void der_wrap(struct der_writer *w, uint8_t id, uint64_t mark)
{
	if (w->err == 0)
		put_header(w, id, der_mark(w) - mark);
}

struct span der_written(const struct der_writer *w)
{
	return w->err != 0 ? span_of(NULL, 0) : span_of(w->p + w->at, w->cap - w->at);
}
