/* A hash table with linear probing, at most half full. A slot with a count of 0 is empty. */
#include "store/share.h"

#include <stdlib.h>

struct slot {
	uint64_t key;
	size_t count;
};

struct share {
	size_t limit, total;
	size_t mask; /* slots less one: a power of two less one */
	struct slot slot[];
};

int share_create(size_t limit, struct share **out)
{
	size_t n = 2;
	struct share *s;

	while (n < 2 * limit)
		n *= 2;
	s = calloc(1, sizeof(*s) + n * sizeof(s->slot[0]));
	if (s == NULL)
		return ERR_NOMEM;
	s->limit = limit;
	s->mask = n - 1;
	*out = s;
	return 0;
}

void share_free(struct share *s)
{
	free(s);
}

/* Where KEY belongs when no other is in its way. */
static size_t home(const struct share *s, uint64_t key)
{
	key *= 0x9E3779B97F4A7C15U; /* 2^64 / golden ratio: keys may follow one another */
	return (size_t)(key >> 32) & s->mask;
}

/* The slot of KEY, or the empty one where it would be put. */
static size_t find(const struct share *s, uint64_t key)
{
	size_t i = home(s, key);

	while (s->slot[i].count != 0 && s->slot[i].key != key)
		i = (i + 1) & s->mask;
	return i;
}

size_t share_held(const struct share *s, uint64_t key)
{
	return s->slot[find(s, key)].count;
}

size_t share_total(const struct share *s)
{
	return s->total;
}

bool share_allows(const struct share *s, uint64_t key)
{
	return share_held(s, key) < s->limit - s->total;
}

void share_take(struct share *s, uint64_t key)
{
	struct slot *slot = &s->slot[find(s, key)];

	slot->key = key;
	slot->count++;
	s->total++;
}

void share_give(struct share *s, uint64_t key)
{
	size_t hole = find(s, key);

	if (s->slot[hole].count == 0)
		return;
	s->total--;
	if (--s->slot[hole].count > 0)
		return;
	/* Those behind the hole that it kept from their home move up. */
	for (size_t i = (hole + 1) & s->mask; s->slot[i].count != 0; i = (i + 1) & s->mask) {
		size_t from_home = (i - home(s, s->slot[i].key)) & s->mask;

		if (from_home < ((i - hole) & s->mask))
			continue;
		s->slot[hole] = s->slot[i];
		s->slot[i].count = 0;
		hole = i;
	}
}
