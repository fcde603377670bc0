#include "mua-agent/pull.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "message/excerpt.h"
#include "mua-agent/octets.h"
#include "mua-agent/parts.h"
#include "mua-agent/progress.h"
#include "mua-agent/walk.h"

#define SLICE ((uint64_t)64 << 10) /* octets given at once */

struct pull {
	struct app *app;
	struct entry entry;
	struct source *source;
	struct octets *octets;
	struct walk *walk;
	struct bodystructure_part *announced; /* NULL: not looked at yet */
	size_t n_announced;
	struct bodystructure_part *own; /* what the octets so far say */
	size_t n_own;
	bool checked; /* what was announced, against the octets up to CHECKED_TO */
	uint64_t checked_to;
};

/* --- life --------------------------------------------------------------------------------- */

int pull_open(struct app *app, uint32_t number, struct pull **out, struct err_text *e)
{
	struct pull *p = calloc(1, sizeof *p);
	int r;

	if (p == NULL) {
		return err_set(e, ERR_NOMEM, "out of memory");
	}
	p->app = app;
	if ((r = entry_get(app->db, number, &p->entry, e)) != 0) {
		free(p);
		return r;
	}
	if ((r = source_create(app, &p->entry, &p->source, e)) != 0 ||
	    (r = octets_open(app, &p->entry, p->source, &p->octets, e)) != 0 ||
	    (r = walk_create(p->octets, number, &p->walk, e)) != 0) {
		pull_close(p);
		return r;
	}
	*out = p;
	return 0;
}

void pull_close(struct pull *p)
{
	if (p == NULL) {
		return;
	}
	walk_free(p->walk);
	octets_close(p->octets);
	source_free(p->source);
	entry_free(&p->entry);
	free(p->announced);
	free(p->own);
	free(p);
}

const struct entry *pull_entry(const struct pull *p)
{
	return &p->entry;
}

/* --- what was announced, and what is ------------------------------------------------------- */

static struct bodystructure_part *parts_room(void)
{
	return calloc(PARTS_MAX, sizeof(struct bodystructure_part));
}

static int structure_failed(const struct pull *p, int r, struct err_text *e)
{
	uint32_t number = p->entry.item.number;

	if (r != ERR_TOO_BIG && r != ERR_MALFORMED) {
		return err_set(e, r, "find the parts of message %u: %s", number, err_phrase(r));
	}
	return err_set(e, r, "the structure of message %u is %s (im2000 read %u --raw shows all)",
	               number, r == ERR_TOO_BIG ? "too deep or too long" : "broken", number);
}

/* What the notification says of the parts; none: it says nothing, or nothing that can be read. */
static int read_announced(struct pull *p, struct err_text *e)
{
	const struct wire_notification *n = &p->entry.notice;

	if (p->announced != NULL || !n->has_structure) {
		return 0;
	}
	if ((p->announced = parts_room()) == NULL) {
		return err_set(e, ERR_NOMEM, "out of memory");
	}
	if (bodystructure_parse(n->structure, p->announced, PARTS_MAX, &p->n_announced) != 0) {
		p->n_announced = 0;
	}
	return 0;
}

/* What the octets so far say. */
static int read_own(struct pull *p, struct err_text *e)
{
	int r;

	if (p->own == NULL && (p->own = parts_room()) == NULL) {
		return err_set(e, ERR_NOMEM, "out of memory");
	}
	r = walk_parts(p->walk, p->own, &p->n_own);
	return r == 0 ? 0 : structure_failed(p, r, e);
}

/* Lines are no matter: nobody is shown them. */
static bool same_part(const struct bodystructure_part *own,
                      const struct bodystructure_part *announced)
{
	return own->depth == announced->depth && strcmp(own->section, announced->section) == 0 &&
	       strcmp(own->type, announced->type) == 0 &&
	       strcmp(own->encoding, announced->encoding) == 0 &&
	       strcmp(own->charset, announced->charset) == 0 &&
	       strcmp(own->disposition, announced->disposition) == 0 &&
	       strcmp(own->filename, announced->filename) == 0 &&
	       (own->octets == WALK_OPEN || own->octets == announced->octets);
}

static bool same_parts(const struct pull *p)
{
	if (p->n_own > p->n_announced ||
	    (walk_is_over(p->walk) && p->n_own != p->n_announced)) {
		return false;
	}
	for (size_t i = 0; i < p->n_own; i++) {
		if (!same_part(&p->own[i], &p->announced[i])) {
			return false;
		}
	}
	return true;
}

static int find_header(struct pull *p, struct span *out, struct err_text *e)
{
	uint64_t at, length;
	int r = walk_section(p->walk, "HEADER", &at, &length, e);

	if (r == 0) {
		*out = octets_view(p->octets, at, length);
	}
	return r;
}

/*
 * That the notification tells the truth about the message, as far as the octets that were pulled
 * and checked so far show it: nothing that it says is shown beside octets that say otherwise.
 */
static int check_announced(struct pull *p, struct err_text *e)
{
	const struct wire_notification *n = &p->entry.notice;
	const char *lie = NULL;
	struct span header;
	int r;

	if (p->checked && p->checked_to == walk_octets(p->walk)) {
		return 0;
	}
	if ((r = find_header(p, &header, e)) != 0 || (r = read_announced(p, e)) != 0 ||
	    (p->n_announced > 0 && (r = read_own(p, e)) != 0)) {
		return r;
	}
	if (n->has_header && !excerpt_fits(header, n->header)) {
		lie = "header";
	} else if (p->n_announced > 0 && !same_parts(p)) {
		lie = "parts";
	}
	p->checked = lie == NULL;
	p->checked_to = walk_octets(p->walk);
	return lie == NULL ? 0
	                   : err_set(e, ERR_PROTOCOL,
	                             "message %u is not what was announced: %s says something else "
	                             "of its %s than the message itself (im2000 read %u --raw shows "
	                             "all)",
	                             p->entry.item.number, p->entry.store, lie,
	                             p->entry.item.number);
}

/* --- parts -------------------------------------------------------------------------------- */

static int walk_to_end(struct pull *p, struct err_text *e)
{
	int r = 0;

	while (r == 0 && !walk_is_over(p->walk)) {
		r = walk_on(p->walk, e);
	}
	return r;
}

int pull_parts(struct pull *p, const char *section, const struct bodystructure_part **parts,
               size_t *n, struct err_text *e)
{
	uint64_t at, length;
	int r;

	if ((r = read_announced(p, e)) != 0) {
		return r;
	}
	if (p->n_announced > 0 && !octets_complete(p->octets)) {
		*parts = p->announced;
		*n = p->n_announced;
		return 0;
	}
	r = section == NULL ? walk_to_end(p, e) : walk_section(p->walk, section, &at, &length, e);
	if (r == 0 && (r = check_announced(p, e)) == 0) {
		r = read_own(p, e);
	}
	*parts = p->own;
	*n = p->n_own;
	return r;
}

int pull_text(struct pull *p, struct pull_text *out, struct err_text *e)
{
	int r;

	*out = (struct pull_text) { .all = true };
	if ((r = read_announced(p, e)) != 0) {
		return r;
	}
	if (p->n_announced > 0 && !octets_complete(p->octets)) {
		out->parts = p->announced;
		out->n = p->n_announced;
		out->text = parts_text(out->parts, out->n);
		return 0;
	}
	/* The first text/plain is it, whatever follows. */
	while ((r = read_own(p, e)) == 0) {
		out->text = parts_text(p->own, p->n_own);
		if (walk_is_over(p->walk) || (out->text < p->n_own &&
		                              parts_is_plain(&p->own[out->text]))) {
			break;
		}
		if ((r = walk_on(p->walk, e)) != 0) {
			return r;
		}
	}
	out->parts = p->own;
	out->n = p->n_own;
	out->all = walk_is_over(p->walk);
	return r;
}

int pull_header(struct pull *p, struct span *out, struct err_text *e)
{
	int r = find_header(p, out, e);

	return r == 0 ? check_announced(p, e) : r;
}

/* Gives LENGTH octets at AT to SINK, a slice at a time. */
static int each_slice(const struct pull *p, uint64_t at, uint64_t length, decode_sink sink,
                      void *ctx)
{
	int r = 0;

	while (r == 0 && length > 0) {
		uint64_t n = length < SLICE ? length : SLICE;

		r = sink(ctx, octets_view(p->octets, at, n));
		octets_let_go(p->octets, at, n);
		at += n;
		length -= n;
	}
	return r;
}

/* Whether SECTION is none by what was announced: then no octets are pulled to find that out. */
static bool announced_lacks(const struct pull *p, const char *section)
{
	static const char *const words[] = { "HEADER", "TEXT", "MIME" };
	char part[BODYSTRUCTURE_SECTION_MAX];
	size_t n = strlen(section);

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		size_t w = strlen(words[i]);

		if (n >= w && strcasecmp(section + n - w, words[i]) == 0) {
			n -= w + (n > w);
			break;
		}
	}
	if (p->n_announced == 0 || n == 0 || n >= sizeof part) {
		return false;
	}
	memcpy(part, section, n);
	part[n] = '\0';
	return parts_find(p->announced, p->n_announced, part) == p->n_announced;
}

/* Where SECTION lies. What was announced and is not there is a lie rather than a wrong question. */
static int find_section(struct pull *p, const char *section, uint64_t *at, uint64_t *length,
                        struct err_text *e)
{
	struct err_text lie;
	int r = read_announced(p, e);

	if (r != 0) {
		return r;
	}
	if (!octets_complete(p->octets) && announced_lacks(p, section)) {
		return walk_no_section(p->walk, section, e);
	}
	r = walk_section(p->walk, section, at, length, e);
	if (r == ERR_NOT_FOUND && walk_is_over(p->walk) && check_announced(p, &lie) != 0) {
		*e = lie;
		r = ERR_PROTOCOL;
	}
	return r;
}

int pull_section(struct pull *p, const char *section, decode_sink sink, void *ctx,
                 struct err_text *e)
{
	uint64_t at, length;
	int r;

	if ((r = find_section(p, section, &at, &length, e)) != 0 ||
	    (r = octets_need(p->octets, at, at + length, e)) != 0 ||
	    (r = check_announced(p, e)) != 0) {
		return r;
	}
	return each_slice(p, at, length, sink, ctx);
}

/* --- all of it ---------------------------------------------------------------------------- */

bool pull_is_cached(const struct pull *p)
{
	return octets_complete(p->octets);
}

int pull_whole(struct pull *p, struct err_text *e)
{
	return octets_need_all(p->octets, e);
}

int pull_raw(struct pull *p, decode_sink sink, void *ctx, struct err_text *e)
{
	int r = octets_need_all(p->octets, e);

	return r == 0 ? each_slice(p, 0, octets_size(p->octets), sink, ctx) : r;
}

void pull_forget(const struct app *app, uint32_t number)
{
	octets_forget(app, number);
}

int pull_done(struct pull *p, bool read, struct err_text *e)
{
	unsigned flags = (read ? DB_READ : 0u) | (source_silenced(p->source) ? DB_SILENCED : 0u);

	if ((p->entry.item.flags & flags) == flags) {
		return 0;
	}
	p->entry.item.flags |= flags;
	return entry_mark(p->app->db, p->entry.item.number, flags, e);
}
