#include "store/traits.h"

#include <stdlib.h>

#include "base/clock.h"

#define SETS 1024 /* a power of two */
#define WAYS 4
#define KEPT_US CLOCK_DAY_US /* then an agent may have been replaced by a newer one */

/* Two domains with one hash share an entry: one of them is spoken to in the wrong form first. */
struct trait {
	uint64_t hash;
	uint64_t since_us;
	enum traits_many many; /* TRAITS_UNKNOWN: free */
};

struct traits {
	struct trait trait[SETS][WAYS];
};

int traits_create(struct traits **out)
{
	*out = calloc(1, sizeof(**out));
	return *out != NULL ? 0 : ERR_NOMEM;
}

void traits_free(struct traits *x)
{
	free(x);
}

static uint64_t hash_of(const char *domain)
{
	uint64_t h = 14695981039346656037U; /* FNV-1a */

	for (; *domain != '\0'; domain++)
		h = (h ^ (uint8_t)*domain) * 1099511628211U;
	return h ^ h >> 32;
}

enum traits_many traits_get(const struct traits *x, const char *domain, uint64_t now_us)
{
	uint64_t hash = hash_of(domain);
	const struct trait *set = x->trait[hash & (SETS - 1)];

	for (size_t i = 0; i < WAYS; i++)
		if (set[i].many != TRAITS_UNKNOWN && set[i].hash == hash)
			return now_us - set[i].since_us < KEPT_US ? set[i].many : TRAITS_UNKNOWN;
	return TRAITS_UNKNOWN;
}

void traits_set(struct traits *x, const char *domain, enum traits_many many, uint64_t now_us)
{
	uint64_t hash = hash_of(domain);
	struct trait *set = x->trait[hash & (SETS - 1)], *at = &set[0];

	for (size_t i = 0; i < WAYS; i++) {
		if (set[i].many != TRAITS_UNKNOWN && set[i].hash == hash) {
			at = &set[i];
			break;
		}
		if (set[i].many == TRAITS_UNKNOWN || set[i].since_us < at->since_us)
			at = &set[i];
	}
	*at = (struct trait) { .hash = hash, .since_us = now_us, .many = many };
}
