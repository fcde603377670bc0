/* A borrowed view of octets. It never owns; who hands it out says how long it lives. */
#ifndef IM2000_BASE_SPAN_H
#define IM2000_BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct span {
	const uint8_t *p; /* may be NULL when n is 0 */
	size_t n;         /* octets */
};

static inline struct span span_of(const void *p, size_t n)
{
	return (struct span){ .p = p, .n = n };
}

/* The octets of a NUL-terminated string, without the NUL. S may be NULL: empty. */
static inline struct span span_str(const char *s)
{
	return (struct span){ .p = (const uint8_t *)s, .n = s != NULL ? strlen(s) : 0 };
}

static inline bool span_eq(struct span a, struct span b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool span_eq_str(struct span a, const char *s)
{
	return span_eq(a, span_str(s));
}

/* ASCII letters compare without case (RFC 5234 strings, header field names). */
bool span_eq_nocase(struct span a, struct span b);

/* The first AT octets are cut off; AT over n gives an empty view. */
static inline struct span span_after(struct span s, size_t at)
{
	return at >= s.n ? span_of(NULL, 0) : span_of(s.p + at, s.n - at);
}

/* A fresh NUL-terminated copy (caller frees) or NULL when memory is out. */
char *span_dup(struct span s);

/*
 * Copies S into OUT[CAP] with a NUL. 0, or ERR_TOO_BIG when it does not fit
 * (OUT is then the empty string).
 */
int span_copy(struct span s, char *out, size_t cap);

#endif
