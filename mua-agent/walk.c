#include "mua-agent/walk.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "message/mime.h"
#include "mua-agent/parts.h"

#define STRUCTURE_MAX ((size_t)1 << 20) /* octets of a structure's text */
#define STEP_MIN ((uint64_t)DIGEST_BLOCK)
#define STEP_MAX ((uint64_t)4 << 20)
#define SLICE ((uint64_t)64 << 10) /* octets that are looked at before they are let go */

struct walk {
	struct octets *octets;
	uint32_t number; /* of the message, for people */
	uint64_t fed;
	bool over;
	size_t n_parts; /* when it is over */
	struct mime_part *parts, *room;
	struct mime_parser parser;
};

int walk_create(struct octets *x, uint32_t number, struct walk **out, struct err_text *e)
{
	struct walk *w = calloc(1, sizeof *w);

	if (w != NULL) {
		w->octets = x;
		w->number = number;
		w->parts = calloc(PARTS_MAX, sizeof *w->parts);
		w->room = calloc(PARTS_MAX, sizeof *w->room);
	}
	if (w == NULL || w->parts == NULL || w->room == NULL) {
		walk_free(w);
		return err_set(e, ERR_NOMEM, "out of memory");
	}
	mime_begin(&w->parser, w->parts, PARTS_MAX);
	*out = w;
	return 0;
}

void walk_free(struct walk *w)
{
	if (w != NULL) {
		free(w->parts);
		free(w->room);
		free(w);
	}
}

bool walk_is_over(const struct walk *w)
{
	return w->over;
}

int walk_on(struct walk *w, struct err_text *e)
{
	uint64_t step = w->fed < STEP_MIN ? STEP_MIN : w->fed, end;
	int r;

	if (w->over) {
		return 0;
	}
	end = w->fed + (step < STEP_MAX ? step : STEP_MAX);
	if ((r = octets_need(w->octets, w->fed, end, e)) != 0) {
		return r;
	}
	end = end < octets_size(w->octets) ? end : octets_size(w->octets);
	while (w->fed < end) {
		uint64_t n = end - w->fed < SLICE ? end - w->fed : SLICE;

		mime_feed(&w->parser, octets_view(w->octets, w->fed, n));
		octets_let_go(w->octets, w->fed, n);
		w->fed += n;
	}
	if (w->fed == octets_size(w->octets)) {
		w->n_parts = mime_end(&w->parser);
		w->over = true;
	}
	return 0;
}

uint64_t walk_octets(const struct walk *w)
{
	return w->fed;
}

int walk_no_section(const struct walk *w, const char *section, struct err_text *e)
{
	return err_set(e, ERR_NOT_FOUND,
	               "message %u has no part \"%.100s\" (see im2000 structure %u)", w->number,
	               section, w->number);
}

int walk_section(struct walk *w, const char *section, uint64_t *at, uint64_t *length,
                 struct err_text *e)
{
	struct span name = span_str(section);
	int r = ERR_AGAIN, failed;

	while (r == ERR_AGAIN) {
		if (w->over) {
			r = mime_section(w->parts, w->n_parts, name, at, length);
		} else if (w->fed > 0) {
			r = mime_section_so_far(&w->parser, octets_size(w->octets), w->room, name,
			                        at, length);
		}
		if (r == ERR_AGAIN && (failed = walk_on(w, e)) != 0) {
			return failed;
		}
	}
	return r == 0 ? 0 : walk_no_section(w, section, e);
}

static int read_octets(void *ctx, uint64_t at, uint8_t *buf, size_t n)
{
	const struct walk *w = ctx;

	if (at > w->fed || n > w->fed - at) {
		return ERR_INTERNAL;
	}
	memcpy(buf, octets_view(w->octets, at, n).p, n);
	return 0;
}

/* ROOM's first N parts, in words. */
static int describe(struct walk *w, size_t n, struct bodystructure_part *out, size_t *n_out)
{
	struct buf text;
	uint8_t *at;
	size_t used;
	int r;

	buf_init(&text, 0);
	if ((r = buf_reserve(&text, STRUCTURE_MAX, &at)) == 0 &&
	    (r = bodystructure_write(w->room, n, read_octets, w, (char *)at, STRUCTURE_MAX,
	                             &used)) == 0) {
		r = bodystructure_parse(span_of(at, used), out, PARTS_MAX, n_out);
	}
	buf_free(&text);
	return r;
}

int walk_parts(struct walk *w, struct bodystructure_part *out, size_t *n)
{
	size_t parts;
	int r;

	*n = 0;
	if (w->over) {
		memcpy(w->room, w->parts, w->n_parts * sizeof *w->room);
		return describe(w, w->n_parts, out, n);
	}
	parts = w->fed == 0 ? 0 : mime_so_far(&w->parser, octets_size(w->octets), w->room);
	if (parts == 0) {
		return 0;
	}
	for (size_t i = 0; i < parts; i++) { /* lengths that are not known count for nothing */
		w->room[i].end_at = w->room[i].end_at == UINT64_MAX ? w->fed : w->room[i].end_at;
	}
	if ((r = describe(w, parts, out, n)) != 0) {
		return r;
	}
	/* The text has a part for each, in the same order. */
	mime_so_far(&w->parser, octets_size(w->octets), w->room);
	for (size_t i = 0; i < *n && i < parts; i++) {
		if (w->room[i].end_at == UINT64_MAX) {
			out[i].octets = WALK_OPEN;
		}
	}
	return 0;
}
