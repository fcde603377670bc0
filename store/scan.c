#include "store/scan.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "message/header.h"

#define LEAVES_FIRST 16

static void keep_leaf(void *ctx, uint64_t index, const uint8_t hash[DIGEST_SIZE])
{
	struct scan *s = ctx;
	struct scan_leaves *l = &s->leaves;

	(void)index;
	if (l->n == l->cap) {
		size_t cap = l->cap > 0 ? 2 * l->cap : LEAVES_FIRST;
		uint8_t(*more)[DIGEST_SIZE] = reallocarray(l->hash, cap, sizeof(*more));

		if (more == NULL) {
			s->leaf_lost = true;
			return;
		}
		l->hash = more;
		l->cap = cap;
	}
	memcpy(l->hash[l->n++], hash, DIGEST_SIZE);
}

void scan_take_leaves(struct scan *s, struct scan_leaves *out)
{
	*out = s->leaves;
	s->leaves = (struct scan_leaves){ 0 };
}

void scan_leaves_free(struct scan_leaves *l)
{
	free(l->hash);
	*l = (struct scan_leaves){ 0 };
}

int scan_begin(struct scan *s)
{
	int err = digest_init(&s->digest, keep_leaf, s);

	if (err != 0)
		return err;
	s->leaves = (struct scan_leaves){ 0 };
	s->leaf_lost = false;
	s->octets = 0;
	s->have_excerpt = false;
	s->excerpt_n = 0;
	mime_begin(&s->mime, s->parts, SCAN_PARTS);
	return 0;
}

int scan_feed(struct scan *s, struct span octets)
{
	int err;

	if (!s->have_excerpt && octets.n > 0) {
		struct span head = octets;

		/* Less than that is all of the message: then its last field is whole. */
		if (head.n >= SCAN_HEADER_MAX)
			head = header_whole_fields(span_of(head.p, SCAN_HEADER_MAX));
		s->excerpt_n = excerpt_make(head, s->excerpt);
		s->have_excerpt = true;
	}
	err = digest_update(&s->digest, octets);
	if (err != 0)
		return err;
	mime_feed(&s->mime, octets);
	s->octets += octets.n;
	return s->leaf_lost ? ERR_NOMEM : 0;
}

void scan_cancel(struct scan *s)
{
	digest_free(&s->digest);
	scan_leaves_free(&s->leaves);
}

/* The parts in packed form, in memory of just their size. */
static int pack_parts(const struct scan *s, size_t n, struct scan_result *r)
{
	size_t cap = MIME_PACK_MAX(n), used;
	uint8_t *p = malloc(cap), *less;
	int err;

	if (p == NULL)
		return ERR_NOMEM;
	err = mime_pack(s->parts, n, p, cap, &used);
	if (err != 0) {
		free(p);
		return err;
	}
	less = realloc(p, used);
	r->parts = less != NULL ? less : p;
	r->parts_n = used;
	return 0;
}

int scan_end(struct scan *s, bodystructure_read read, void *ctx, struct scan_result *r)
{
	size_t n = mime_end(&s->mime);
	int err;

	memset(r, 0, offsetof(struct scan_result, excerpt));
	r->parts = NULL;
	r->octets = s->octets;
	r->header_octets = s->parts[0].body_at;
	r->excerpt_n = s->excerpt_n;
	memcpy(r->excerpt, s->excerpt, s->excerpt_n);
	err = digest_final(&s->digest, r->digest);
	digest_free(&s->digest);
	scan_take_leaves(s, &r->leaves);
	if (err == 0 && s->leaf_lost)
		err = ERR_NOMEM;
	if (err == 0)
		err = bodystructure_write(s->parts, n, read, ctx, r->structure,
		                          sizeof(r->structure), &r->structure_n);
	if (err == ERR_TOO_BIG) {
		r->structure_n = 0;
		err = 0;
	}
	if (err == 0)
		err = pack_parts(s, n, r);
	if (err != 0)
		scan_leaves_free(&r->leaves);
	return err;
}

void scan_result_free(struct scan_result *r)
{
	free(r->parts);
	r->parts = NULL;
	scan_leaves_free(&r->leaves);
}
