/*
 * DNS answers with SRV records, read with room for few and for many. What comes
 * out must be what locate.h promises; the order must hold each record once.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/name.h"
#include "net/locate_srv.h"

static const char question[] = "_im2000-rnasp._tcp.a.example";

static uint64_t last_of(uint64_t limit)
{
	return limit - 1;
}

static void check(const uint8_t *octets, size_t n, size_t max)
{
	struct locate_srv records[64];
	char canonical[NAME_DOMAIN_MAX + 1];
	size_t order[64];
	uint64_t seen = 0;
	uint32_t ttl;
	int count = locate_read_srv(octets, n, question, records, max, &ttl);

	if (count < 0)
		return;
	if ((size_t)count > max)
		abort();
	for (int i = 0; i < count; i++) {
		const char *target = records[i].target;

		if (target[0] == '\0')
			continue;
		if (records[i].port == 0 || name_parse_domain(span_str(target), canonical) < 0
		    || strcmp(target, canonical) != 0)
			abort();
	}
	locate_order(records, (size_t)count, last_of, order);
	for (int i = 0; i < count; i++)
		seen |= 1ULL << order[i];
	if (count > 0 && seen != UINT64_MAX >> (64 - count))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	check(data, n, 64);
	check(data, n, 1);
	return 0;
}
