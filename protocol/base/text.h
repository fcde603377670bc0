/* Text forms of octets: hex, base32hex (RFC 4648 section 7), base64url (section 5), UTF-8. */
#ifndef IM2000_BASE_TEXT_H
#define IM2000_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

/* Valid UTF-8 (RFC 3629: shortest form, no surrogates) without U+0000 (protocol.md section 4). */
bool text_is_utf8(struct span s);

/*
 * The well-formed UTF-8 character at the front of S: its octets (1 to 4) and *CODE, or 0 when
 * none stands there (*CODE then means nothing). U+0000 is one.
 */
size_t text_utf8_char(struct span s, uint32_t *code);

/* Lower-case base32hex without padding; OUT needs (N*8+4)/5 + 1 octets (27 for 16). */
void text_base32hex(const uint8_t *p, size_t n, char *out);
/* Either case; wants exactly N octets and zero padding bits. 0 or ERR_MALFORMED. */
int text_parse_base32hex(struct span s, uint8_t *out, size_t n);

/* base64url without padding; OUT needs (N*4+2)/3 + 1 octets. */
void text_base64url(const uint8_t *p, size_t n, char *out);

/* Lower-case hex; OUT needs 2*N + 1 octets. */
void text_hex(const uint8_t *p, size_t n, char *out);
int text_parse_hex(struct span s, uint8_t *out, size_t n); /* 0 or ERR_MALFORMED */

/* "17", "64K", "256M", "2G", "1T" (1024 each). 0, ERR_MALFORMED or ERR_TOO_BIG. */
int text_parse_size(const char *s, uint64_t *octets);
/* "90d", "12h", "5m", "30s", "30": seconds. 0, ERR_MALFORMED or ERR_TOO_BIG. */
int text_parse_duration(const char *s, uint64_t *seconds);
/* Decimal digits only, whole string. 0, ERR_MALFORMED or ERR_TOO_BIG (over MAX). */
int text_parse_number(const char *s, uint64_t max, uint64_t *out);
/* "812", "4.0K", "25M": a size for people. OUT of 16 octets is enough. */
const char *text_size(uint64_t octets, char *out, size_t cap);

/* A JSON string literal with its quotes (RFC 8259 section 7); invalid UTF-8 becomes U+FFFD. */
struct buf;
int text_json(struct buf *out, struct span s);

#endif
