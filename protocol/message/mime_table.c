/* What can be done with a table of parts: find sections in it, keep it in a record. */
#include "base/err.h"
#include "message/lex.h"
#include "message/mime.h"

#define PACK_VERSION 1
#define NUMBER_MAX 0xffff /* of a section; no table has more parts */

/* The CHILD-th (from 1) part that stands in PARTS[PARENT]; 0: none. */
static size_t child_of(const struct mime_part *parts, size_t n, size_t parent, unsigned child)
{
	for (size_t i = parent + 1; i < n; i++)
		if (parts[i].parent == parent && --child == 0)
			return i;
	return 0;
}

/* Takes a number without leading zeros off the front of *S. */
static int take_number(struct span *s, unsigned *number)
{
	size_t n = 0;

	*number = 0;
	while (n < s->n && s->p[n] >= '0' && s->p[n] <= '9') {
		*number = *number * 10 + (s->p[n] - '0');
		if (*number > NUMBER_MAX)
			*number = NUMBER_MAX;
		n++;
	}
	if (n == 0 || s->p[0] == '0')
		return ERR_MALFORMED;
	*s = span_after(*s, n);
	return 0;
}

/*
 * Goes from part *INDEX to its part NUMBER. A message that is no multipart has
 * one part, its own body (RFC 9051 section 6.4.5): so has the one that WHOLE
 * says *INDEX to be, and so has the one inside of a message part.
 */
static int step(const struct mime_part *parts, size_t n, size_t *index, unsigned number, bool whole)
{
	size_t in = *index;

	if (!whole && parts[in].kind == MIME_MESSAGE) {
		in = child_of(parts, n, in, 1);
		whole = true;
	}
	if (parts[in].kind == MIME_MULTIPART) {
		*index = child_of(parts, n, in, number);
		return *index == 0 ? ERR_NOT_FOUND : 0;
	}
	*index = in;
	return whole && number == 1 ? 0 : ERR_NOT_FOUND;
}

/*
 * Takes the numbers off the front of *SECTION, and the dot behind them. *NUMBERS of
 * them; *INDEX is the part. A section that is none wins over a part that is missing,
 * so the missing part goes to *FOUND.
 */
static int take_numbers(const struct mime_part *parts, size_t n, struct span *section,
                        size_t *index, unsigned *numbers, int *found)
{
	*index = 0;
	*numbers = 0;
	*found = 0;
	while (section->n > 0 && section->p[0] >= '0' && section->p[0] <= '9') {
		unsigned number;

		if (take_number(section, &number) != 0)
			return ERR_MALFORMED;
		if (*found == 0)
			*found = step(parts, n, index, number, *numbers == 0);
		++*numbers;
		if (section->n == 0)
			return 0;
		if (section->p[0] != '.' || section->n == 1)
			return ERR_MALFORMED;
		*section = span_after(*section, 1);
	}
	return 0;
}

int mime_part_find(const struct mime_part *parts, size_t n, struct span section, size_t *index)
{
	unsigned numbers;
	int found, rc = take_numbers(parts, n, &section, index, &numbers, &found);

	return rc != 0 || section.n > 0 ? ERR_MALFORMED : found;
}

int mime_section(const struct mime_part *parts, size_t n, struct span section, uint64_t *at,
                 uint64_t *length)
{
	bool header = false, text = false, mime = false;
	size_t index;
	unsigned numbers;
	int found;

	if (take_numbers(parts, n, &section, &index, &numbers, &found) != 0)
		return ERR_MALFORMED;
	if (section.n > 0) {
		header = span_eq_nocase(section, span_str("HEADER"));
		text = span_eq_nocase(section, span_str("TEXT"));
		mime = numbers > 0 && span_eq_nocase(section, span_str("MIME"));
		if (!header && !text && !mime)
			return ERR_MALFORMED;
	}
	if (found != 0)
		return found;
	if ((header || text) && numbers > 0) {
		if (parts[index].kind != MIME_MESSAGE)
			return ERR_NOT_FOUND;
		index = child_of(parts, n, index, 1);
	}
	*at = header || mime || numbers == 0 ? parts[index].header_at : parts[index].body_at;
	if (text)
		*at = parts[index].body_at;
	*length = (header || mime ? parts[index].body_at : parts[index].end_at) - *at;
	return 0;
}

/* Writes V in LEB128; OUT has room for 10 octets. */
static size_t put_number(uint8_t *out, uint64_t v)
{
	size_t n = 0;

	while (v >= 0x80) {
		out[n++] = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	out[n++] = (uint8_t)v;
	return n;
}

int mime_pack(const struct mime_part *parts, size_t n, uint8_t *out, size_t cap, size_t *used)
{
	uint8_t *p = out;

	if (cap < 8)
		return ERR_TOO_BIG;
	*p++ = PACK_VERSION;
	p += put_number(p, n);
	for (size_t i = 0; i < n; i++) {
		const struct mime_part *part = &parts[i];
		uint64_t base = i == 0 ? 0 : parts[part->parent].body_at;

		if (cap - (size_t)(p - out) < MIME_PACK_MAX(1) - MIME_PACK_MAX(0))
			return ERR_TOO_BIG;
		*p++ = (uint8_t)(part->kind | part->flags << 2);
		if (i > 0)
			p += put_number(p, i - part->parent);
		p += put_number(p, part->header_at - base);
		p += put_number(p, part->body_at - part->header_at);
		p += put_number(p, part->end_at - part->body_at);
		p += put_number(p, part->lines);
	}
	*used = (size_t)(p - out);
	return 0;
}

/* Takes a number of at most MAX. */
static bool get_number(struct span *s, uint64_t max, uint64_t *out)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < 10 && i < s->n; i++) {
		uint64_t bits = s->p[i] & 0x7f;

		if (i == 9 && bits > 1)
			return false;
		v |= bits << (7 * i);
		if ((s->p[i] & 0x80) == 0) {
			*s = span_after(*s, i + 1);
			*out = v;
			return v <= max;
		}
	}
	return false;
}

/* Whether PARENT, further out than the part I - 1 or that itself, may take part I. */
static bool may_stand_in(const struct mime_part *parts, size_t i, size_t parent)
{
	size_t open = i - 1;
	unsigned depth = 2; /* of part I in a child of part 0 */

	if (parts[parent].kind == MIME_LEAF)
		return false;
	if (parts[parent].kind == MIME_MESSAGE && parent != i - 1)
		return false;
	while (open != parent) {
		if (open == 0)
			return false;
		open = parts[open].parent;
	}
	for (; open != 0; open = parts[open].parent)
		depth++;
	return depth <= MIME_DEPTH;
}

/* Reads part I; the parts before it hold together. */
static bool unpack_part(struct span *s, struct mime_part *parts, size_t i)
{
	struct mime_part *part = &parts[i];
	uint64_t base = 0, room = UINT64_MAX, v;
	uint8_t first;

	if (s->n == 0)
		return false;
	first = s->p[0];
	*s = span_after(*s, 1);
	part->kind = first & 3;
	part->flags = first >> 2;
	part->parent = MIME_PARENT_NONE;
	if (part->kind > MIME_MESSAGE || part->flags > (MIME_OPAQUE | MIME_DIGEST | MIME_CUT))
		return false;
	if (i > 0) {
		if (!get_number(s, i, &v) || v == 0 || !may_stand_in(parts, i, i - (size_t)v))
			return false;
		part->parent = (uint16_t)(i - (size_t)v);
		base = parts[part->parent].body_at;
		room = parts[part->parent].end_at - base;
	}
	if (!get_number(s, room, &v))
		return false;
	part->header_at = base + v;
	room -= v;
	if (!get_number(s, room, &v))
		return false;
	part->body_at = part->header_at + v;
	room -= v;
	if (!get_number(s, room, &v))
		return false;
	part->end_at = part->body_at + v;
	if (!get_number(s, UINT32_MAX, &v))
		return false;
	part->lines = (uint32_t)v;
	return true;
}

int mime_unpack(struct span record, struct mime_part *parts, size_t cap, size_t *n)
{
	uint64_t count;

	if (record.n == 0)
		return ERR_MALFORMED;
	if (record.p[0] != PACK_VERSION)
		return ERR_UNSUPPORTED;
	record = span_after(record, 1);
	if (!get_number(&record, MIME_PARTS_MAX, &count) || count == 0)
		return ERR_MALFORMED;
	if (count > cap)
		return ERR_TOO_BIG;
	for (size_t i = 0; i < count; i++) {
		if (!unpack_part(&record, parts, i))
			return ERR_MALFORMED;
		/* What is no leaf has a child, and that comes next. */
		if (i > 0 && parts[i - 1].kind != MIME_LEAF && parts[i].parent != i - 1)
			return ERR_MALFORMED;
	}
	if (record.n > 0 || parts[count - 1].kind != MIME_LEAF)
		return ERR_MALFORMED;
	*n = (size_t)count;
	return 0;
}
