/*
 * The MIME structure of a message by offsets (RFC 2045, 2046), found in one pass
 * over its octets as they come, in bounded memory. Any octets are a message:
 * 8-bit, bare LF, headers without an empty line, boundaries that are missing or
 * wrong, lines of any length. Time is linear in the octets.
 *
 * The table has the message itself as part 0, and every part before its
 * children. A multipart's children are its parts; a message part (message/rfc822,
 * message/global) has one child, the message inside. Boundaries are compared as
 * RFC 2046 section 5.1.1 says: the beginning of the line, the longest match,
 * the innermost of equals.
 */
#ifndef IM2000_MESSAGE_MIME_H
#define IM2000_MESSAGE_MIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

#define MIME_PARENT_NONE 0xffff /* parent of part 0 */
#define MIME_PARTS_MAX 0xfffe   /* the largest table that makes sense */
#define MIME_DEPTH 64           /* a multipart or message nested deeper is a leaf */
#define MIME_BOUNDARY_MAX 200   /* octets of a boundary (RFC 2046: 70); longer: no multipart */
#define MIME_LINE_MAX 2048      /* octets at a line's beginning that are looked at */
#define MIME_FIELD_MAX 4096     /* octets of a Content-Type field that are looked at */
#define MIME_ENCODING_MAX 128   /* the same of Content-Transfer-Encoding */

enum mime_kind { MIME_LEAF, MIME_MULTIPART, MIME_MESSAGE };

enum mime_flag {
	MIME_OPAQUE = 1, /* a leaf that says it is multipart or message, but was not looked into:
	                  * too deep, or encoded, or the table was full */
	MIME_DIGEST = 2, /* a child of multipart/digest: message/rfc822 unless it says otherwise */
	MIME_CUT = 4,    /* part 0: the table was full; the last part runs to the message's end */
};

/* Offsets count from the message's first octet. */
struct mime_part {
	uint64_t header_at; /* first octet of the part's header */
	uint64_t body_at;   /* first of its body, behind the header's empty line */
	uint64_t end_at;    /* behind its last; the line end before a boundary is not the part's */
	uint32_t lines;     /* lines of the body, a last one without line end too; stops at the top */
	uint16_t parent;    /* index of the part it stands in */
	uint8_t kind;       /* enum mime_kind */
	uint8_t flags;      /* of enum mime_flag */
};

/* An open part; the parser's own. */
struct mime_level {
	uint64_t line_feeds;  /* seen before its body */
	uint16_t part;
	uint8_t boundary_n;   /* 0: no multipart, or its last boundary was seen */
	bool digest;          /* multipart/digest */
	uint8_t boundary[MIME_BOUNDARY_MAX];
};

/* A parser, about 20 KiB, plain data: nothing to free. The members are the parser's own. */
struct mime_parser {
	struct mime_part *parts;
	size_t cap, n;
	uint64_t at;         /* octets taken so far */
	uint64_t line_at;    /* where the line in hand began */
	uint64_t line_feeds; /* before it */
	size_t line_n;       /* octets held in line */
	uint8_t state;       /* in a header or a body */
	uint8_t eol;         /* octets of the line end before line_at: 0, 1, 2 */
	bool blank;          /* the line before line_at was empty */
	bool last_cr;        /* the last octet taken was CR */
	bool merged;         /* the table is full: boundaries mean nothing any more */
	uint8_t field;       /* which field's lines are being collected */
	bool have_type, have_encoding;
	unsigned depth;      /* open parts; level[depth - 1] is the innermost */
	size_t type_n, encoding_n;
	struct mime_level level[MIME_DEPTH];
	uint8_t line[MIME_LINE_MAX];
	uint8_t type[MIME_FIELD_MAX];
	uint8_t encoding[MIME_ENCODING_MAX];
};

/*
 * PARTS[CAP] is the caller's and is filled while the parser works (1 <= CAP <=
 * MIME_PARTS_MAX). When there are more parts, the last one takes the rest.
 */
void mime_begin(struct mime_parser *p, struct mime_part *parts, size_t cap);

/* The message's next octets; where they are split makes no difference to the result. */
void mime_feed(struct mime_parser *p, struct span data);

/* The message is over. Returns the number of parts: at least 1. */
size_t mime_end(struct mime_parser *p);

/*
 * For who reads a message of SIZE octets by ranges, from its beginning: the table as far as what
 * was fed decides it. ROOM has room for as many parts as the table; the first mime_so_far of them
 * stay as they are now, whatever comes, but that more follow, that end_at is UINT64_MAX where it is
 * not known, and but for lines. Not after mime_end.
 */
size_t mime_so_far(const struct mime_parser *p, uint64_t size, struct mime_part *room);

/*
 * What mime_section will answer when the message of SIZE octets is over, as far as what was fed
 * decides it. ROOM as above. 0 or ERR_MALFORMED as there; ERR_AGAIN: octets to come decide, or all
 * were fed (mime_end). Not after mime_end.
 */
int mime_section_so_far(const struct mime_parser *p, uint64_t size, struct mime_part *room,
                        struct span section, uint64_t *at, uint64_t *length);

/*
 * The octets that an IMAP section names (RFC 9051 section 6.4.5, without
 * HEADER.FIELDS and <partial>): "" is the message; "HEADER", "TEXT"; "1.2" a
 * part's body; "1.2.MIME" its header; "2.HEADER", "2.TEXT" of a message part.
 * Words without case. 0, ERR_NOT_FOUND (no such part), ERR_MALFORMED (no section).
 */
int mime_section(const struct mime_part *parts, size_t n, struct span section, uint64_t *at,
                 uint64_t *length);

/*
 * The index of the part that a section like "1.2" (numbers only) names: *INDEX,
 * whose body is the section. Errors as above.
 */
int mime_part_find(const struct mime_part *parts, size_t n, struct span section, size_t *index);

/* Octets that mime_pack needs at most for N parts. */
#define MIME_PACK_MAX(n) (8 + (size_t)(n) * 48)

/*
 * The table as octets for a database record: a version octet (1), then numbers
 * in LEB128. Typical parts take 10 octets. *USED octets of OUT[CAP]. 0, ERR_TOO_BIG.
 */
int mime_pack(const struct mime_part *parts, size_t n, uint8_t *out, size_t cap, size_t *used);

/*
 * Reads it back. Whatever RECORD is, the parts that come out hold together:
 * header_at <= body_at <= end_at, children inside of their parents' bodies and
 * behind them in the table. *N parts in PARTS[CAP]. 0, ERR_MALFORMED, ERR_TOO_BIG
 * (CAP), ERR_UNSUPPORTED (another version).
 */
int mime_unpack(struct span record, struct mime_part *parts, size_t cap, size_t *n);

#endif
