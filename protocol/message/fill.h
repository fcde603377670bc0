/* Text written into a caller's buffer, cut where it ends. For the modules beside this one. */
#ifndef IM2000_MESSAGE_FILL_H
#define IM2000_MESSAGE_FILL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"
#include "base/span.h"

struct fill {
	char *p;
	size_t cap; /* with room for the NUL */
	size_t n;
	bool cut; /* something did not fit; nothing is written after it */
};

static inline struct fill fill_into(char *p, size_t cap)
{
	return (struct fill){ .p = p, .cap = cap };
}

/* All of S or nothing. */
static inline void fill_span(struct fill *f, struct span s)
{
	if (f->cut || s.n >= f->cap - f->n) {
		f->cut = f->cut || s.n > 0;
		return;
	}
	if (s.n > 0)
		memcpy(f->p + f->n, s.p, s.n);
	f->n += s.n;
}

static inline void fill_str(struct fill *f, const char *s)
{
	fill_span(f, span_str(s));
}

static inline void fill_octet(struct fill *f, uint8_t c)
{
	if (f->cut || f->cap - f->n <= 1) {
		f->cut = true;
		return;
	}
	f->p[f->n++] = (char)c;
}

/* Puts the NUL, sets *RESULT (may be NULL). 0 or ERR_TOO_BIG. */
static inline int fill_end(struct fill *f, struct span *result)
{
	if (f->cap > 0)
		f->p[f->n] = '\0';
	if (result != NULL)
		*result = span_of(f->p, f->n);
	return f->cut ? ERR_TOO_BIG : 0;
}

#endif
