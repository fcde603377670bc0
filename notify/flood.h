/*
 * How many notifications an origin and an address may send in a time: token
 * buckets in memory of a fixed size. Thread-safe. Who sends more is told when to
 * come again, before the database hears of it.
 *
 * A bucket holds the notifications of one minute. What is let in is paid afterwards, so that a
 * command larger than a bucket is let in too, once the bucket is in credit.
 */
#ifndef IM2000_NOTIFY_FLOOD_H
#define IM2000_NOTIFY_FLOOD_H

#include "base/err.h"
#include "base/span.h"
#include "wire/common.h"

struct flood;

struct flood_limits {
	uint32_t origin_minute;  /* notifications a minute of one proved domain; 0: no limit */
	uint32_t address_minute; /* from one address, an IPv6 network of 64 bits counting as one */
	uint32_t unknown_minute; /* of either, to addresses that nobody has; 0: no limit */
};

int flood_create(const struct flood_limits *limits, struct flood **out); /* 0 or ERR_NOMEM */
/* From now on these. What was sent is owed as it was charged. Any thread. */
void flood_change(struct flood *f, const struct flood_limits *limits);
void flood_free(struct flood *f);                                        /* NULL is fine */

/* How long ADDRESS has to wait, in seconds; 0: it may send. Charges nothing. */
unsigned flood_address_wait(struct flood *f, const struct wire_address *address);
/* ADDRESS has sent N. */
void flood_address_charge(struct flood *f, const struct wire_address *address, size_t n);

/*
 * DOMAIN (canonical) wants to send N: 0 and they are charged, or the seconds to wait. For origins
 * that are proved: another could use up what is theirs.
 */
unsigned flood_origin(struct flood *f, const char *domain, size_t n);

/*
 * Who names addresses that nobody has may be guessing: how long everything from there has to wait,
 * in seconds; 0: it may send. DOMAIN is the proved origin; NULL: none is, ADDRESS counts.
 */
unsigned flood_unknown_wait(struct flood *f, const char *domain,
                            const struct wire_address *address);
/* N notifications from there were for nobody. */
void flood_unknown_charge(struct flood *f, const char *domain, const struct wire_address *address,
                          size_t n);

#endif
