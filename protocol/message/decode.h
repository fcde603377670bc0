/*
 * Content for people: transfer encodings (RFC 2045 section 6), charsets, encoded
 * words (RFC 2047), and strangers' text made harmless for a terminal. Charsets
 * are iconv's; what iconv_open takes is given back by decode_body_end.
 */
#ifndef IM2000_MESSAGE_DECODE_H
#define IM2000_MESSAGE_DECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"
#include "message/charset.h"

#define DECODE_PENDING_MAX 80 /* octets that transfer decoding holds back at most */

enum decode_encoding { DECODE_PLAIN, DECODE_BASE64, DECODE_QUOTED };

/* From a Content-Transfer-Encoding's token; what is not base64 or quoted-printable is plain. */
enum decode_encoding decode_encoding_of(struct span token);

/*
 * Transfer decoding as octets come; plain data. Broken input never fails: octets
 * that are no base64 are skipped, a broken "=XX" stays as it stands.
 */
struct decode_transfer {
	enum decode_encoding encoding;
	uint32_t bits; /* base64: bits held */
	unsigned held; /* base64: sextets held; quoted: octets held in pending */
	uint8_t pending[DECODE_PENDING_MAX]; /* quoted: blanks that may end a line, "=", "=X" */
};

void decode_transfer_begin(struct decode_transfer *d, enum decode_encoding encoding);
/* Decodes DATA into OUT, which has room for DATA.n + DECODE_PENDING_MAX octets. Returns the octets
 * written. */
size_t decode_transfer_feed(struct decode_transfer *d, struct span data, uint8_t *out);
/* What is still held, DECODE_PENDING_MAX octets at most. Returns the octets written. */
size_t decode_transfer_end(struct decode_transfer *d, uint8_t *out);

/* Takes decoded octets; they live for the call. 0, or an error that ends the work. */
typedef int (*decode_sink)(void *ctx, struct span data);

/* How a body is decoded. */
struct decode_options {
	enum decode_encoding encoding;
	bool text;             /* charset and safety; false: the octets of an attachment */
	struct span charset;   /* of the part; empty: UTF-8 (and so US-ASCII) */
	const char *terminal;  /* charset to come out, as nl_langinfo(CODESET) says; NULL: UTF-8 */
	bool raw;              /* text: keep control characters (output is no terminal) */
};

/*
 * A body on its way to a person: transfer encoding, charset to UTF-8, CRLF to
 * LF, control characters made visible, the terminal's charset. A charset that
 * iconv does not know passes ASCII and shows every other octet as U+FFFD; so does
 * whatever is broken in a known one. What the terminal's charset lacks is '?'.
 */
struct decode_body {
	struct decode_options options;
	struct decode_transfer transfer;
	struct charset charset;      /* kind CHARSET_UNKNOWN is worth a word to the reader */
	void *terminal;              /* for charset_to; NULL: not needed */
	bool last_cr;
	uint8_t carry[CHARSET_CARRY_MAX]; /* octets of a character that was split */
	size_t carry_n;
	decode_sink sink;
	void *ctx;
};

/* 0, or ERR_UNSUPPORTED: the terminal's charset is not known to iconv. */
int decode_body_begin(struct decode_body *d, const struct decode_options *options,
                      decode_sink sink, void *ctx);
/* 0 or the sink's error; after one, only decode_body_end may follow. */
int decode_body_feed(struct decode_body *d, struct span data);
/* Flushes when FLUSH, gives everything back. 0 or the sink's error. */
int decode_body_end(struct decode_body *d, bool flush);

/*
 * Text of an unstructured field or a display name (RFC 2047): unfolded, encoded
 * words decoded, white space between two of them dropped; UTF-8. A word of an
 * unknown charset stays as it stands; broken octets become U+FFFD. Characters
 * are NOT made safe. Into OUT[CAP] with a NUL; *RESULT is the view. 0, or
 * ERR_TOO_BIG with as many whole characters as fit.
 */
int decode_words(struct span text, char *out, size_t cap, struct span *result);

/* Octets of CHARSET as UTF-8, broken or unknown ones as U+FFFD. Results as above. */
int decode_charset(struct span octets, struct span charset, char *out, size_t cap,
                   struct span *result);

/*
 * One line of a stranger's text, safe for a terminal: valid UTF-8 in which
 * control characters (C0, DEL, C1, the bidirectional and line separators) are
 * replaced by visible ones (U+2400 and on for C0 and DEL, else U+FFFD). Results
 * as decode_words.
 */
int decode_safe_text(struct span text, char *out, size_t cap, struct span *result);

/* decode_words and decode_safe_text in one: a Subject for a list on the terminal. */
int decode_safe_words(struct span text, char *out, size_t cap, struct span *result);

/*
 * A name for a file in a folder of the reader's choosing: the last component of
 * NAME ('/' and '\\' divide), no control characters, no '.' at the beginning, 200
 * octets at most; PREFIX ("part-1.2") when nothing is left. Always NUL-terminated
 * in OUT (256 octets).
 */
void decode_filename(struct span name, const char *prefix, char out[256]);

#endif
