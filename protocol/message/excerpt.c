/* The header fields that travel ahead of a message. */
#include "message/excerpt.h"

#include <stdbool.h>

#include "message/header.h"

#define FIELDS_MAX 64 /* fields of the wanted names that are looked at */

/* A kind of field, by rank. Of the chained ones, one that stays out takes all behind it along. */
struct wanted {
	const char *name;
	bool chained;
};

static const struct wanted excerpt_fields[] = {
	{ "From", false },        { "Sender", false },     { "Reply-To", false },
	{ "Subject", false },     { "Date", false },       { "Message-ID", false },
	{ "In-Reply-To", false }, { "Content-Type", false }, { "List-Id", false },
	{ "To", true },           { "Cc", true },          { "References", true },
};

static const struct wanted summary_fields[] = {
	{ "From", false },
	{ "Subject", false },
	{ "Date", false },
};

struct found {
	struct span whole;
	size_t rank;
	bool taken;
};

static bool ends_line(struct span s)
{
	return s.n > 0 && s.p[s.n - 1] == '\n';
}

static size_t find_fields(struct span header, const struct wanted *wanted, size_t wanted_n,
                          struct found found[FIELDS_MAX])
{
	struct header_iter it;
	struct header_field f;
	size_t n = 0;

	header_begin(&it, header);
	while (n < FIELDS_MAX && header_next(&it, &f))
		for (size_t rank = 0; rank < wanted_n; rank++)
			if (span_eq_nocase(f.name, span_str(wanted[rank].name))) {
				found[n++] = (struct found){ .whole = f.whole, .rank = rank };
				break;
			}
	return n;
}

/* Lets fields in by rank while they fit into ROOM octets. */
static void choose(struct found *found, size_t n, const struct wanted *wanted, size_t wanted_n,
                   size_t room)
{
	bool chain_broken = false;

	for (size_t rank = 0; rank < wanted_n; rank++)
		for (size_t i = 0; i < n; i++) {
			size_t size = found[i].whole.n + (ends_line(found[i].whole) ? 0 : 2);

			if (found[i].rank != rank || (wanted[rank].chained && chain_broken))
				continue;
			found[i].taken = size <= room;
			if (found[i].taken)
				room -= size;
			else if (wanted[rank].chained)
				chain_broken = true;
		}
}

static size_t make(struct span header, const struct wanted *wanted, size_t wanted_n, uint8_t *out,
                   size_t cap)
{
	struct found found[FIELDS_MAX];
	size_t count = find_fields(header, wanted, wanted_n, found), used = 0;

	choose(found, count, wanted, wanted_n, cap - 2);
	for (size_t i = 0; i < count; i++) {
		if (!found[i].taken)
			continue;
		memcpy(out + used, found[i].whole.p, found[i].whole.n);
		used += found[i].whole.n;
		if (!ends_line(found[i].whole)) {
			memcpy(out + used, "\r\n", 2);
			used += 2;
		}
	}
	memcpy(out + used, "\r\n", 2);
	return used + 2;
}

size_t excerpt_make(struct span header, uint8_t out[EXCERPT_MAX])
{
	return make(header, excerpt_fields, sizeof excerpt_fields / sizeof excerpt_fields[0], out,
	            EXCERPT_MAX);
}

size_t excerpt_summary(struct span header, uint8_t *out, size_t cap)
{
	return make(header, summary_fields, sizeof summary_fields / sizeof summary_fields[0], out,
	            cap);
}

bool excerpt_fits(struct span header, struct span excerpt)
{
	struct header_iter have, want;
	struct header_field f, wanted;

	header_begin(&have, header);
	header_begin(&want, excerpt);
	while (header_next(&want, &wanted)) {
		do {
			if (!header_next(&have, &f))
				return false;
			/* Not the field's whole: a last line may have got a line end. */
		} while (!span_eq(f.name, wanted.name) || !span_eq(f.value, wanted.value));
	}
	return true;
}
