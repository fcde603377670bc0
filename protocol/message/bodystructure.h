/*
 * IMAP BODYSTRUCTURE text (RFC 9051 section 7.5.2, with extension data), as it
 * stands in a notification's and a retrieval's structure. It is all quoted
 * strings: no literals; UTF-8; never NUL, CR or LF. What in a header is no
 * UTF-8 becomes U+FFFD.
 */
#ifndef IM2000_MESSAGE_BODYSTRUCTURE_H
#define IM2000_MESSAGE_BODYSTRUCTURE_H

#include <stddef.h>
#include <stdint.h>

#include "base/span.h"
#include "message/mime.h"

#define BODYSTRUCTURE_HEADER_MAX 16384 /* octets of each part's header that are looked at */

/* Reads N octets of the message from AT into BUF. 0, or an error that is passed on. */
typedef int (*bodystructure_read)(void *ctx, uint64_t at, uint8_t *buf, size_t n);

/*
 * Writes the structure of PARTS[N] (mime_end's or mime_unpack's) to OUT[CAP]
 * with a NUL; *USED octets without it. Each header is read once, a multipart's
 * twice. Content-MD5 is always NIL. Parts that were not looked into (MIME_OPAQUE)
 * are APPLICATION OCTET-STREAM; a multipart without a single boundary is TEXT
 * PLAIN. 0, ERR_TOO_BIG (CAP), or READ's error. Uses 20 KiB of stack.
 */
int bodystructure_write(const struct mime_part *parts, size_t n, bodystructure_read read,
                        void *ctx, char *out, size_t cap, size_t *used);

#define BODYSTRUCTURE_DEPTH 32        /* parts in parts that are read */
#define BODYSTRUCTURE_SECTION_MAX 192 /* with a NUL */

/* One part of a parsed structure; texts are NUL-terminated UTF-8 as the stranger wrote them:
 * decode_safe_text before they go to a terminal, decode_filename before they name a file. */
struct bodystructure_part {
	/* What mime_section takes: "1.2"; of a message's own multipart: "TEXT", "2.TEXT". */
	char section[BODYSTRUCTURE_SECTION_MAX];
	char type[48];        /* "text/plain", lower case */
	char encoding[24];    /* "base64", lower case; multipart: empty */
	char charset[48];     /* empty: none said */
	char disposition[24]; /* "attachment", lower case; empty: none */
	char filename[256];   /* decoded (RFC 2231, RFC 2047); empty: none */
	uint64_t octets;      /* of the body as encoded; multipart: 0 */
	uint64_t lines;       /* text and message/rfc822; else 0 */
	unsigned depth;       /* 0: the message itself */
};

/*
 * Reads a structure that a stranger wrote into PARTS[CAP], multiparts too, in
 * document order; *N of them. Sections are what mime_section and retrieve take.
 * Fields longer than their room are cut at a character. 0, ERR_MALFORMED,
 * ERR_TOO_BIG (more than CAP parts, or deeper than BODYSTRUCTURE_DEPTH).
 */
int bodystructure_parse(struct span text, struct bodystructure_part *parts, size_t cap,
                        size_t *n);

#endif
