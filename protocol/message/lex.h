/*
 * Pieces of structured header fields (RFC 5322 section 3.2) for the modules
 * beside this one. Each takes its piece off the front of *S. An end that is
 * missing is the end of *S; so work is linear. Nesting is counted, not recursed.
 */
#ifndef IM2000_MESSAGE_LEX_H
#define IM2000_MESSAGE_LEX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"
#include "message/fill.h"

static inline bool lex_is_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static inline uint8_t lex_lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c;
}

/* The value of a hexadecimal digit, -1 for what is none. */
static inline int lex_hex_digit(uint8_t c)
{
	c = lex_lower(c);
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* White space and line ends. */
void lex_skip_blank(struct span *s);

/* *S begins with '(' or '"': the inside goes to *INSIDE. False when the end is missing. */
bool lex_comment(struct span *s, struct span *inside);
bool lex_quoted(struct span *s, struct span *inside);

/* White space and comments. False when a comment has no end. */
bool lex_skip_cfws(struct span *s);

/* Takes white space off the end. */
struct span lex_trim_end(struct span s);

/* Writes the inside of a quoted string or a comment without backslashes and line ends. */
void lex_fill_unquoted(struct fill *f, struct span inside);

#endif
