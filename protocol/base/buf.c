/* The growing buffer: doubled when full, moved to its front when that is cheaper. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

#define FIRST_CAP 256

void buf_init(struct buf *b, size_t limit)
{
	*b = (struct buf){ .limit = limit };
}

void buf_free(struct buf *b)
{
	free(b->p);
	buf_init(b, b->limit);
}

/*
 * Makes room for EXTRA octets behind those held; limits are the callers' part.
 * Octets move, in place or to new memory, only when that gains room for half as
 * many: so an octet costs three moves at most on average.
 */
static int make_room(struct buf *b, size_t extra)
{
	size_t need;
	size_t cap = b->cap < FIRST_CAP ? FIRST_CAP : b->cap;
	uint8_t *fresh;

	if (extra <= b->cap - b->start - b->n)
		return 0;
	if (extra <= b->cap - b->n && b->start >= b->n / 2) {
		memmove(b->p, b->p + b->start, b->n);
		b->start = 0;
		return 0;
	}
	if (extra > SIZE_MAX / 4 - b->n)
		return ERR_NOMEM;
	need = b->n + extra + b->n / 2;
	while (cap < need)
		cap *= 2;
	if (b->start == 0) {
		fresh = realloc(b->p, cap);
		if (fresh == NULL)
			return ERR_NOMEM;
	} else {
		fresh = malloc(cap);
		if (fresh == NULL)
			return ERR_NOMEM;
		if (b->n > 0)
			memcpy(fresh, b->p + b->start, b->n);
		free(b->p);
	}
	b->p = fresh;
	b->start = 0;
	b->cap = cap;
	return 0;
}

static bool over_limit(const struct buf *b, size_t n)
{
	return b->limit != 0 && (b->n > b->limit || n > b->limit - b->n);
}

int buf_reserve(struct buf *b, size_t n, uint8_t **at)
{
	int rc;

	if (over_limit(b, n))
		return ERR_TOO_BIG;
	/* One octet at least, so that *AT is never NULL on success. */
	rc = make_room(b, n > 0 ? n : 1);
	if (rc < 0)
		return rc;
	*at = b->p + b->start + b->n;
	return 0;
}

void buf_commit(struct buf *b, size_t n)
{
	b->n += n;
}

int buf_add(struct buf *b, const void *p, size_t n)
{
	uint8_t *at;
	int rc;

	if (n == 0)
		return 0;
	rc = buf_reserve(b, n, &at);
	if (rc < 0)
		return rc;
	memcpy(at, p, n);
	buf_commit(b, n);
	return 0;
}

int buf_add_str(struct buf *b, const char *s)
{
	return buf_add(b, s, strlen(s));
}

int buf_addf(struct buf *b, const char *format, ...)
{
	va_list ap;
	int wanted;
	int rc;

	va_start(ap, format);
	wanted = vsnprintf(NULL, 0, format, ap);
	va_end(ap);
	if (wanted < 0)
		return ERR_NOMEM;
	if (over_limit(b, (size_t)wanted))
		return ERR_TOO_BIG;
	rc = make_room(b, (size_t)wanted + 1); /* vsnprintf writes a NUL, which does not count */
	if (rc < 0)
		return rc;
	va_start(ap, format);
	vsnprintf((char *)b->p + b->start + b->n, (size_t)wanted + 1, format, ap);
	va_end(ap);
	buf_commit(b, (size_t)wanted);
	return 0;
}

void buf_consume(struct buf *b, size_t n)
{
	b->start += n;
	b->n -= n;
	if (b->n == 0)
		b->start = 0;
}

void buf_shrink(struct buf *b)
{
	if (b->n == 0)
		buf_free(b);
}

const char *buf_cstr(struct buf *b)
{
	if (make_room(b, 1) < 0)
		return NULL;
	b->p[b->start + b->n] = '\0';
	return (const char *)b->p + b->start;
}
