/* Random octets from the system's CSPRNG. */
#ifndef IM2000_BASE_RANDOM_H
#define IM2000_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* Fills OUT. Ends the process when the system has no randomness (nothing could go on safely). */
void random_octets(void *out, size_t n);

/* Uniform in [0, LIMIT); LIMIT > 0. */
uint64_t random_below(uint64_t limit);

/* A UUIDv7 (RFC 9562 section 5.7): 48 bits of NOW_US in milliseconds, then random. */
void random_uuid7(uint8_t out[16], uint64_t now_us);

/* From now on random_octets calls FILL (tests). NULL restores the system's. */
void random_set_source(void (*fill)(void *out, size_t n));

#endif
