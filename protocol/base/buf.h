/* An owned run of octets that grows at its end and is consumed at its front. */
#ifndef IM2000_BASE_BUF_H
#define IM2000_BASE_BUF_H

#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

struct buf {
	uint8_t *p;    /* start of the memory, NULL when none is held */
	size_t start;  /* first octet not yet consumed */
	size_t n;      /* octets held from start on */
	size_t cap;    /* octets of memory */
	size_t limit;  /* never holds more than this; 0 = no limit */
};

/* An empty buffer that holds LIMIT octets at most (0: no limit). No memory is taken yet. */
void buf_init(struct buf *b, size_t limit);

/* Gives the memory back and leaves an empty buffer with the same limit. */
void buf_free(struct buf *b);

/* Appends. 0, ERR_TOO_BIG over the limit, ERR_NOMEM; on failure nothing changed. */
int buf_add(struct buf *b, const void *p, size_t n);
int buf_add_str(struct buf *b, const char *s);
int buf_addf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * Room for N more octets at the end: sets *AT to it. The octets count once
 * buf_commit says how many were written. 0, ERR_TOO_BIG, ERR_NOMEM.
 */
int buf_reserve(struct buf *b, size_t n, uint8_t **at);
void buf_commit(struct buf *b, size_t n);

/* The octets held; lives until the next call on B that is not buf_view. */
static inline struct span buf_view(const struct buf *b)
{
	return span_of(b->p == NULL ? NULL : b->p + b->start, b->n);
}

/* Drops N octets from the front (N <= n). An emptied buffer keeps its memory. */
void buf_consume(struct buf *b, size_t n);

/* Gives back memory that an empty buffer still keeps (for idle sessions). */
void buf_shrink(struct buf *b);

/* Appends a NUL that is not counted and returns the text; NULL when memory is out. */
const char *buf_cstr(struct buf *b);

#endif
