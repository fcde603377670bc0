/* Time. Everything asks here, so that tests can set it. */
#ifndef IM2000_BASE_CLOCK_H
#define IM2000_BASE_CLOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Microseconds since 1970-01-01T00:00:00Z (the wire's Time). */
uint64_t clock_now_us(void);

/* Microseconds of a clock that never goes back; its zero means nothing. For deadlines. */
uint64_t clock_mono_us(void);

/*
 * From now on clock_now_us and clock_mono_us call these (tests). NULL restores
 * the system's clock. Not thread-safe: call before threads start.
 */
void clock_set_source(uint64_t (*now_us)(void), uint64_t (*mono_us)(void));

/*
 * Waits on CHANGED, as pthread_cond_wait does, but for WAIT_US at most: by the system's clock even
 * in tests, threads wait by it. False when that time was over.
 */
bool clock_wait(pthread_cond_t *changed, pthread_mutex_t *lock, uint64_t wait_us);

/* "2026-11-22T16:32:19Z" into OUT (21 octets at least). */
void clock_format(uint64_t time_us, char *out, size_t cap);

/*
 * Reads "2026-11-22T16:32:19Z", the same with a space or without seconds or
 * with an offset (+01:00), a date alone, or "+2h" (from NOW_US on; units s m h d).
 * 0, or ERR_MALFORMED.
 */
int clock_parse(const char *text, uint64_t now_us, uint64_t *out_us);

#define CLOCK_SECOND_US 1000000ULL
#define CLOCK_MINUTE_US (60 * CLOCK_SECOND_US)
#define CLOCK_HOUR_US (60 * CLOCK_MINUTE_US)
#define CLOCK_DAY_US (24 * CLOCK_HOUR_US)

#endif
