/* Randomness from getrandom(2), or from a test's source. */
#include "base/random.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static void (*source)(void *out, size_t n);

void random_set_source(void (*fill)(void *out, size_t n))
{
	source = fill;
}

void random_octets(void *out, size_t n)
{
	uint8_t *p = out;

	if (source != NULL) {
		source(out, n);
		return;
	}
	while (n > 0) {
		ssize_t got = getrandom(p, n, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			fprintf(stderr, "the system gives no random octets (%s): cannot go on\n",
			        strerror(errno));
			abort();
		}
		p += got;
		n -= (size_t)got;
	}
}

uint64_t random_below(uint64_t limit)
{
	/* The first values are dropped that would make the low remainders likelier. */
	uint64_t drop = (UINT64_MAX - limit + 1) % limit;
	uint64_t value;

	do {
		random_octets(&value, sizeof value);
	} while (value < drop);
	return value % limit;
}

void random_uuid7(uint8_t out[16], uint64_t now_us)
{
	uint64_t ms = now_us / 1000;

	random_octets(out + 6, 10);
	for (int i = 0; i < 6; i++)
		out[i] = (uint8_t)(ms >> (40 - 8 * i));
	out[6] = (uint8_t)(0x70 | (out[6] & 0x0f)); /* version 7 */
	out[8] = (uint8_t)(0x80 | (out[8] & 0x3f)); /* variant 10 */
}
