/*
 * DER (X.690), strictly: minimal lengths, minimal integers, BOOLEAN 00 or FF,
 * text of valid UTF-8 without U+0000. A reader and a writer over octets that
 * the caller owns; neither allocates. Both have a sticky error: after a failure
 * every call does nothing and returns zeros, so a caller may check once.
 */
#ifndef IM2000_WIRE_DER_H
#define IM2000_WIRE_DER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

/* Identifier octets (X.690 section 8.1.2). */
#define DER_INTEGER 0x02
#define DER_OCTETS 0x04
#define DER_ENUMERATED 0x0a
#define DER_TEXT 0x0c
#define DER_SEQUENCE 0x30
#define DER_CONSTRUCTED 0x20
#define DER_CONTEXT(number) ((uint8_t)(0x80 | (number))) /* primitive; number 0 to 30 */
#define DER_CONTEXT_WRAP(number) ((uint8_t)(0xa0 | (number)))

/*
 * Constructed elements may stand this deep: 3 levels down to the alternative of
 * data, 8 below it (protocol.md section 4). The deepest that the modules have is
 * an address literal in a notification that RNAQP hands out, at 3 and 7.
 */
#define DER_NESTING_MAX 11

/* A large OCTET STRING that may extend past the octets that are in memory. */
struct wire_octets {
	uint64_t size;    /* octets of the whole string */
	struct span here; /* the first of them, as far as they are in memory */
};

/*
 * A cursor over the first HAVE octets of a run whose declared length may be
 * more. err is ERR_MALFORMED, or ERR_AGAIN when all that is there is well
 * formed so far and more octets are needed to go on.
 */
struct der_reader {
	const uint8_t *p;   /* the run's first octet */
	uint64_t have;      /* octets in memory at p */
	uint64_t at;        /* next octet to read */
	uint64_t end;       /* where the element that was entered last ends */
	int err;            /* 0, ERR_MALFORMED, ERR_AGAIN */
	unsigned depth;     /* constructed elements entered */
	unsigned skipped;   /* elements passed over by der_skip */
	bool streamed;      /* der_take_stream was called: nothing may follow */
};

/* Identifier and length of one element. */
struct der_header {
	uint8_t first;   /* identifier octet */
	uint64_t number; /* tag number, of the high form too */
	uint64_t length; /* octets of the content */
};

/*
 * Starts at the beginning of BODY, the first octets of a run of TOTAL octets
 * (BODY.n <= TOTAL; otherwise the error is ERR_MALFORMED). The octets must live
 * as long as the reader and the views it gives.
 */
void der_reader_init(struct der_reader *r, struct span body, uint64_t total);

/* Whether the element that was entered last (or the run) has no more elements. */
static inline bool der_at_end(const struct der_reader *r)
{
	return r->err != 0 || r->at == r->end;
}

/* Notes ERR unless an error is noted already. */
void der_fail(struct der_reader *r, int err);

/*
 * Reads identifier and length of the next element and stops at its content.
 * False at the end or on an error. The content lies inside what was entered,
 * but perhaps not in memory.
 */
bool der_next(struct der_reader *r, struct der_header *h);

/*
 * Each of these reads the content that H announced and goes on to the next
 * element. On failure they return zeros (the error is in R). An identifier is
 * not checked here, only content.
 */
bool der_take_bool(struct der_reader *r, const struct der_header *h);
uint64_t der_take_uint(struct der_reader *r, const struct der_header *h); /* 0 to 2^64-1 */
uint32_t der_take_enum(struct der_reader *r, const struct der_header *h); /* 0 to 2^31-1 */
struct span der_take_octets(struct der_reader *r, const struct der_header *h);
struct span der_take_text(struct der_reader *r, const struct der_header *h);
void der_skip(struct der_reader *r, const struct der_header *h); /* counted in skipped */

/*
 * A string that may extend past the octets in memory. It must end where
 * everything that was entered ends, and the run too.
 */
struct wire_octets der_take_stream(struct der_reader *r, const struct der_header *h);

/*
 * Goes into the content of H, and out of it again with what der_enter returned.
 * Leaving before the content's end is an error.
 */
uint64_t der_enter(struct der_reader *r, const struct der_header *h);
void der_leave(struct der_reader *r, uint64_t outer_end);

/*
 * Writes from the end of a buffer to its front, so that a length is known when
 * it is written. `tail` octets that are not in the buffer count as following it.
 */
struct der_writer {
	uint8_t *p;    /* the buffer */
	size_t cap;    /* its octets */
	size_t at;     /* first octet written; cap: none yet */
	uint64_t tail; /* octets that follow, written by the caller elsewhere */
	int err;       /* 0, ERR_TOO_BIG, ERR_MALFORMED, ERR_UNSUPPORTED */
};

/* BUF[CAP] is the caller's and holds what der_written returns. */
void der_writer_init(struct der_writer *w, uint8_t *buf, size_t cap);

void der_writer_fail(struct der_writer *w, int err);

/* All octets so far with the tail: a mark for der_wrap. */
static inline uint64_t der_mark(const struct der_writer *w)
{
	return w->cap - w->at + w->tail;
}

/* One element before all that was written. ID is the identifier octet (tag number 0 to 30). */
void der_put_bool(struct der_writer *w, uint8_t id, bool value);
void der_put_uint(struct der_writer *w, uint8_t id, uint64_t value); /* ENUMERATED too */
void der_put_octets(struct der_writer *w, uint8_t id, struct span octets);
void der_put_text(struct der_writer *w, uint8_t id, struct span text); /* checked */

/*
 * A string of OCTETS.size octets of which OCTETS.here are written now; the rest
 * becomes the tail. Must be the first thing written (ERR_MALFORMED).
 */
void der_put_stream(struct der_writer *w, uint8_t id, struct wire_octets octets);

/* Octets as they are, no identifier or length. */
void der_put_raw(struct der_writer *w, struct span octets);

/* Identifier and length around all that was written since MARK. */
void der_wrap(struct der_writer *w, uint8_t id, uint64_t mark);

/* What was written, inside the caller's buffer; without the tail. Empty after an error. */
struct span der_written(const struct der_writer *w);

#endif
