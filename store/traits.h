/*
 * What agents are like, remembered beyond their connections: a table of fixed
 * size, whose oldest entries give way. What is forgotten costs a round trip.
 */
#ifndef IM2000_STORE_TRAITS_H
#define IM2000_STORE_TRAITS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum traits_many {
	TRAITS_UNKNOWN,
	TRAITS_TAKES_MANY, /* it has answered a notifyMany */
	TRAITS_NO_MANY     /* it has answered `unsupported` */
};

struct traits;
int traits_create(struct traits **out); /* 0 or ERR_NOMEM */
void traits_free(struct traits *x);     /* NULL is fine */

/* Of DOMAIN's agent, as was said at most a day before NOW_US (a clock that never goes back). */
enum traits_many traits_get(const struct traits *x, const char *domain, uint64_t now_us);
void traits_set(struct traits *x, const char *domain, enum traits_many many, uint64_t now_us);

#endif
