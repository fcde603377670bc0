/*
 * Charsets of strangers' text turned into UTF-8 (iconv). What comes out is
 * always valid UTF-8 in whole characters; what is broken comes out as U+FFFD.
 */
#ifndef IM2000_MESSAGE_CHARSET_H
#define IM2000_MESSAGE_CHARSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

#define CHARSET_REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */
#define CHARSET_CARRY_MAX 16               /* no character is longer */

enum charset_kind {
	CHARSET_UTF8,    /* and US-ASCII, and none said: checked, passed on */
	CHARSET_ICONV,
	CHARSET_UNKNOWN, /* ASCII passes, each other octet is U+FFFD */
};

struct charset {
	enum charset_kind kind;
	void *cd; /* iconv_t */
};

/*
 * Makes ready for NAME (empty: UTF-8). ISO-8859-1 is read as windows-1252, which
 * has letters where the former has control characters and is often what was meant.
 * Never fails: see kind.
 */
void charset_open(struct charset *c, struct span name);
void charset_close(struct charset *c);

/*
 * Converts octets of IN into OUT[CAP], CAP >= 16. *USED of them were taken: not
 * all when OUT is full, and, unless LAST, when the end of IN is the beginning of
 * a character (fewer than CHARSET_CARRY_MAX octets). Returns the octets written.
 * Either *USED or the result is above 0 when IN has CHARSET_CARRY_MAX octets.
 */
size_t charset_utf8(struct charset *c, struct span in, bool last, uint8_t *out, size_t cap,
                    size_t *used);

/* UTF-8 to another charset: 0 and *CD (for charset_to_close), or ERR_UNSUPPORTED. */
int charset_to_open(const char *name, void **cd);
void charset_to_close(void *cd); /* NULL is fine */

/* Converts valid UTF-8; what the charset lacks becomes '?'. Results as charset_utf8. */
size_t charset_to(void *cd, struct span in, uint8_t *out, size_t cap, size_t *used);

#endif
