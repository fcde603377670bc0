/*
 * Structured MIME header values (RFC 2045 section 5.1, RFC 2183), their
 * parameters with RFC 2231 continuations and charsets. Values are a field's as
 * they stand, with folding and comments; all spans are views of them.
 */
#ifndef IM2000_MESSAGE_PARAM_H
#define IM2000_MESSAGE_PARAM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/span.h"

struct param_type {
	struct span type;    /* "text" as it stands */
	struct span subtype; /* "plain" */
	struct span params;  /* for param_begin */
};

/* Reads a Content-Type value. 0, or ERR_MALFORMED when there is no type/subtype. */
int param_parse_type(struct span value, struct param_type *out);

/* Reads one token and the parameters behind it (Content-Disposition, Content-Transfer-Encoding,
 * the latter without parameters). 0 or ERR_MALFORMED. */
int param_parse_token(struct span value, struct span *token, struct span *params);

struct param {
	struct span name;  /* as it stands, with a 2231 '*' */
	struct span value; /* token, or the inside of a quoted string, backslashes kept */
	bool quoted;
};

struct param_iter {
	struct span rest;
};

/* Goes through parameters; what is none is skipped up to the next ';'. False at the end. */
void param_begin(struct param_iter *it, struct span params);
bool param_next(struct param_iter *it, struct param *out);

/* The value without backslashes and line ends into OUT[CAP] with a NUL. 0, or ERR_TOO_BIG
 * with as much as fits. */
int param_plain(const struct param *p, char *out, size_t cap, struct span *result);

/*
 * The parameter NAME (letters without case), raw octets: no charset is looked
 * at. 0, ERR_NOT_FOUND, ERR_TOO_BIG with as much as fits. For boundary, charset.
 */
int param_get(struct span params, const char *name, char *out, size_t cap, struct span *result);

/*
 * The parameter NAME as text: NAME*, NAME*0, NAME*1* … put together (RFC 2231)
 * and turned into UTF-8; else NAME with encoded words decoded, which mail
 * programs send although RFC 2047 forbids it. Errors as above. For filename, name.
 */
int param_get_text(struct span params, const char *name, char *out, size_t cap,
                   struct span *result);

#endif
