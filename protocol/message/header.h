/*
 * Header fields by offsets (RFC 5322 section 2.2; UTF-8 in them by RFC 6532).
 * Nothing is copied: all spans are views of the caller's octets. Lines end in
 * CRLF or a bare LF; a bare CR is an octet like another. Cost is linear in the
 * octets, however long the lines are.
 */
#ifndef IM2000_MESSAGE_HEADER_H
#define IM2000_MESSAGE_HEADER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/span.h"

struct header_field {
	struct span name;  /* without the colon and white space before it; empty: no field, see below */
	struct span value; /* all behind the colon as it stands, folding too, last line end not */
	struct span whole; /* the field with its line ends */
};

struct header_iter {
	struct span rest; /* what was not looked at yet */
};

/* HEADER may be a header alone, with or without its empty line, or a whole message. */
void header_begin(struct header_iter *it, struct span header);

/*
 * The next field; false at the header's end: the empty line or the last octet.
 * Lines that are no field (no colon, a name with spaces, a continuation of
 * nothing) come with an empty name and all of the line as value, so that who
 * copies fields loses nothing; they never end the header.
 */
bool header_next(struct header_iter *it, struct header_field *out);

/* The first field called NAME, letters without case. 0 or ERR_NOT_FOUND. */
int header_find(struct span header, const char *name, struct header_field *out);

/*
 * The value on one line: line ends taken out, white space at both ends too;
 * NUL and bare CR become spaces. Written to OUT[CAP] with a NUL behind it;
 * *RESULT is the view of it. 0, or ERR_TOO_BIG with as much as fits.
 */
int header_unfold(struct span value, char *out, size_t cap, struct span *result);

/* Octets of the header with its empty line: where the body begins. No empty line: all. */
size_t header_size(struct span message);

/*
 * For a header of which only the first octets were read: the view without the
 * last field, which may be cut, unless the empty line is there.
 */
struct span header_whole_fields(struct span cut);

#endif
