/*
 * Who holds how many of a limited number of things (jobs in hand, connections),
 * so that one who wants many leaves some for those who come later.
 */
#ifndef IM2000_STORE_SHARE_H
#define IM2000_STORE_SHARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct share;
/* LIMIT things in all, at least 1. 0 or ERR_NOMEM. */
int share_create(size_t limit, struct share **out);
void share_free(struct share *s); /* NULL is fine */

size_t share_held(const struct share *s, uint64_t key);
size_t share_total(const struct share *s);

/*
 * Whether KEY may have one more: while it holds fewer than are free. So one
 * alone gets half of them, N who want all come to LIMIT / (N + 1) each, and who
 * holds none gets the next one that is free.
 */
bool share_allows(const struct share *s, uint64_t key);

/* One more for KEY. The total must be below LIMIT. */
void share_take(struct share *s, uint64_t key);
/* One of those that KEY holds is free again. */
void share_give(struct share *s, uint64_t key);

#endif
