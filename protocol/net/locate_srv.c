/* SRV records: reading them, and the order to try them. */
#include "net/locate_srv.h"

#include <ares.h>
#include <string.h>
#include <strings.h>

#include "base/name.h"

#define TYPE_CNAME 5
#define TYPE_SRV 33
#define CLASS_IN 1
#define HEADER 12
#define CNAMES_MAX 8    /* a longer chain, or a ring, leads nowhere */
#define RECORDS_MAX 512 /* of one answer; more than 64 KiB of UDP or TCP can sensibly hold */

struct record {
	char owner[256];
	unsigned type, class;
	uint32_t ttl;
	const uint8_t *data;
	size_t data_n;
};

static unsigned get16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

/* Reads the name at *AT and moves behind it. Names over 255 octets as text are no host's. */
static int read_name(const uint8_t *answer, size_t n, size_t *at, char out[256])
{
	char *text;
	long used;

	if (*at >= n || ares_expand_name(answer + *at, answer, (int)n, &text, &used) != ARES_SUCCESS)
		return ERR_MALFORMED;
	*at += (size_t)used;
	if (span_copy(span_str(text), out, 256) < 0)
		out[0] = '\0';
	ares_free_string(text);
	return 0;
}

static int read_record(const uint8_t *answer, size_t n, size_t *at, struct record *r)
{
	int rc = read_name(answer, n, at, r->owner);

	if (rc < 0)
		return rc;
	if (n - *at < 10)
		return ERR_MALFORMED;
	r->type = get16(answer + *at);
	r->class = get16(answer + *at + 2);
	r->ttl = (uint32_t)get16(answer + *at + 4) << 16 | get16(answer + *at + 6);
	if (r->ttl > INT32_MAX) /* RFC 2181 section 8 */
		r->ttl = 0;
	r->data_n = get16(answer + *at + 8);
	*at += 10;
	if (n - *at < r->data_n)
		return ERR_MALFORMED;
	r->data = answer + *at;
	*at += r->data_n;
	return 0;
}

/* Where the answer section begins, and how many records it says it has. */
static int find_records(const uint8_t *answer, size_t n, size_t *at, unsigned *count)
{
	char name[256];

	if (n < HEADER || n > 65535)
		return ERR_MALFORMED;
	*at = HEADER;
	for (unsigned left = get16(answer + 4); left > 0; left--) {
		if (read_name(answer, n, at, name) < 0 || n - *at < 4)
			return ERR_MALFORMED;
		*at += 4;
	}
	*count = get16(answer + 6);
	return *count <= RECORDS_MAX ? 0 : ERR_MALFORMED;
}

/* If a CNAME stands at NAME: its target into NAME, 1; else 0. */
static int follow_cname(const uint8_t *answer, size_t n, size_t at, unsigned count, char name[256],
                        uint32_t *ttl)
{
	struct record r;

	while (count-- > 0) {
		size_t target;

		if (read_record(answer, n, &at, &r) < 0)
			return ERR_MALFORMED;
		if (r.type != TYPE_CNAME || r.class != CLASS_IN || strcasecmp(r.owner, name) != 0)
			continue;
		target = (size_t)(r.data - answer);
		if (read_name(answer, n, &target, name) < 0)
			return ERR_MALFORMED;
		if (r.ttl < *ttl)
			*ttl = r.ttl;
		return 1;
	}
	return 0;
}

/* 1: it counts, 0: it is left out. */
static int read_srv(const uint8_t *answer, size_t n, const struct record *r,
                    struct locate_srv *out)
{
	char target[256], canonical[NAME_DOMAIN_MAX + 1];
	size_t at;

	if (r->data_n < 7)
		return ERR_MALFORMED;
	out->priority = (uint16_t)get16(r->data);
	out->weight = (uint16_t)get16(r->data + 2);
	out->port = (uint16_t)get16(r->data + 4);
	at = (size_t)(r->data - answer) + 6;
	if (read_name(answer, n, &at, target) < 0)
		return ERR_MALFORMED;
	out->target[0] = '\0';
	if (target[0] == '\0')
		return 1;
	if (out->port == 0 || name_parse_domain(span_str(target), canonical) < 0)
		return 0;
	memcpy(out->target, canonical, strlen(canonical) + 1);
	return 1;
}

int locate_read_srv(const uint8_t *answer, size_t n, const char *name, struct locate_srv *out,
                    size_t max, uint32_t *ttl_s)
{
	char at_name[256];
	struct record r;
	unsigned count;
	size_t start, at, found = 0;
	int rc;

	*ttl_s = UINT32_MAX;
	if (find_records(answer, n, &start, &count) < 0
	    || span_copy(span_str(name), at_name, sizeof at_name) < 0)
		return ERR_MALFORMED;
	rc = 1;
	for (int i = 0; i < CNAMES_MAX && rc == 1; i++)
		rc = follow_cname(answer, n, start, count, at_name, ttl_s);
	if (rc < 0)
		return rc;
	at = start;
	while (count-- > 0 && found < max) {
		if (read_record(answer, n, &at, &r) < 0)
			return ERR_MALFORMED;
		if (r.type != TYPE_SRV || r.class != CLASS_IN || strcasecmp(r.owner, at_name) != 0)
			continue;
		rc = read_srv(answer, n, &r, &out[found]);
		if (rc < 0)
			return rc;
		if (r.ttl < *ttl_s)
			*ttl_s = r.ttl;
		found += (size_t)rc;
	}
	return (int)found;
}

/* --- order -------------------------------------------------------------------------------- */

/* ORDER[FROM] moves to TO <= FROM; those between keep their order. */
static void move_up(size_t *order, size_t from, size_t to)
{
	size_t moved = order[from];

	memmove(order + to + 1, order + to, (from - to) * sizeof order[0]);
	order[to] = moved;
}

/* RFC 2782: lower priorities first; of one priority those of weight 0 first, for the lot. */
static bool before(const struct locate_srv *a, const struct locate_srv *b)
{
	if (a->priority != b->priority)
		return a->priority < b->priority;
	return a->weight == 0 && b->weight != 0;
}

void locate_order(const struct locate_srv *records, size_t n, uint64_t (*below)(uint64_t limit),
                  size_t *order)
{
	for (size_t i = 0; i < n; i++) {
		size_t to = i;

		order[i] = i;
		while (to > 0 && before(&records[i], &records[order[to - 1]]))
			to--;
		move_up(order, i, to);
	}
	for (size_t at = 0; at < n; at++) {
		unsigned priority = records[order[at]].priority;
		uint64_t sum = 0, lot, run = 0;
		size_t end, i;

		for (end = at; end < n && records[order[end]].priority == priority; end++)
			sum += records[order[end]].weight;
		if (sum == 0) {
			/* No weights: the standard leaves the order open; so the load is spread. */
			move_up(order, at + (size_t)below(end - at), at);
			continue;
		}
		lot = below(sum + 1);
		for (i = at; run + records[order[i]].weight < lot; i++)
			run += records[order[i]].weight;
		move_up(order, i, at);
	}
}
