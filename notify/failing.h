/* Stores that failed lately, and why: a small table that forgets. No lock, no thread of its own. */
#ifndef IM2000_NOTIFY_FAILING_H
#define IM2000_NOTIFY_FAILING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct failing;

int failing_create(struct failing **out); /* 0 or ERR_NOMEM */
void failing_free(struct failing *f);     /* NULL is fine */

/*
 * The store of DOMAIN failed because of WHY, and is to be left alone for FOR_US. When the table is
 * full, the one whose time ends first is forgotten.
 */
void failing_note(struct failing *f, const char *domain, uint64_t for_us, const char *why);

/* Whether it is still to be left alone: *LEFT_US for how long, TEXT why. */
bool failing_look(const struct failing *f, const char *domain, uint64_t *left_us,
                  struct err_text *text);

#endif
