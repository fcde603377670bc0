#include "store/retrieval.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "message/digest.h"
#include "message/excerpt.h"
#include "message/header.h"

#define SUMMARY_MAX 16384               /* octets of a summary */
#define STRUCTURE_MAX ((size_t)1 << 20) /* octets of a structure that is made when asked for */
#define LARGE (1u << 20)                /* what is longer is not kept resident once it is sent */

struct source {
	struct db *db;
	struct kv_txn *txn;
	const struct db_message *m;
};

static int read_octets(void *ctx, uint64_t at, uint8_t *buf, size_t n)
{
	const struct source *s = ctx;

	return db_octets_copy(s->db, s->txn, s->m, at, buf, n);
}

/* From, Subject and Date of the header, of which SCAN_HEADER_MAX octets are looked at. */
static int make_summary(struct source *s, struct retrieval *out)
{
	uint64_t all = s->m->header_octets;
	size_t n = all < SCAN_HEADER_MAX ? (size_t)all : SCAN_HEADER_MAX;
	struct span fields = { 0 };
	uint8_t *header = malloc(n + 1);
	int err = ERR_NOMEM;

	out->text = malloc(SUMMARY_MAX);
	if (header != NULL && out->text != NULL)
		err = read_octets(s, 0, header, n);
	if (err == 0) {
		fields = span_of(header, n);
		if (n < all)
			fields = header_whole_fields(fields);
		out->size = excerpt_summary(fields, out->text, SUMMARY_MAX);
	}
	free(header);
	return err;
}

static int make_structure(struct source *s, struct scan *scan, struct retrieval *out)
{
	size_t parts, used;
	char *text;
	int err;

	if (s->m->structure.n > 0) {
		out->size = s->m->structure.n;
		out->text = malloc(s->m->structure.n);
		if (out->text == NULL)
			return ERR_NOMEM;
		memcpy(out->text, s->m->structure.p, s->m->structure.n);
		return 0;
	}
	err = mime_unpack(s->m->parts, scan->parts, SCAN_PARTS, &parts);
	if (err != 0)
		return ERR_MALFORMED;
	text = malloc(STRUCTURE_MAX);
	if (text == NULL)
		return ERR_NOMEM;
	err = bodystructure_write(scan->parts, parts, read_octets, s, text, STRUCTURE_MAX, &used);
	if (err != 0) {
		free(text);
		return err;
	}
	out->size = used;
	out->text = realloc(text, used + 1);
	if (out->text == NULL)
		out->text = (uint8_t *)text;
	return 0;
}

/* *BEGIN: where the part begins in the message. */
static int find_part(const struct db_message *m, const struct msrap_retrieve *c, struct scan *scan,
                     uint64_t *begin, uint64_t *size)
{
	size_t parts;
	int err;

	if (!c->has_section)
		return ERR_UNSUPPORTED;
	if (mime_unpack(m->parts, scan->parts, SCAN_PARTS, &parts) != 0)
		return ERR_MALFORMED;
	err = mime_section(scan->parts, parts, c->section, begin, size);
	if (err == ERR_MALFORMED)
		return ERR_UNSUPPORTED;
	if (err == 0 && (*begin > m->size_octets || *size > m->size_octets - *begin))
		return ERR_MALFORMED;
	return err;
}

/* Widens what was found at AT, LEFT octets, to block borders of the message. */
static void widen(const struct db_message *m, struct retrieval *out)
{
	/* Where there are no octets the block is wanted in which they would be. */
	uint64_t length = out->left > 0 ? out->left : 1;

	digest_widen(m->size_octets, &out->at, &length);
	out->left = length;
	out->size = m->size_octets;
	out->offset = out->at;
}

static bool has_octets(enum wire_retrieval type)
{
	return type == WIRE_RETRIEVAL_HEADERS || type == WIRE_RETRIEVAL_ALL ||
	       type == WIRE_RETRIEVAL_PART;
}

int retrieval_find(struct db *db, struct kv_txn *t, const struct db_message *m,
                   const struct msrap_retrieve *c, struct scan *scan, struct retrieval *out)
{
	struct source source = { db, t, m };
	uint64_t begin = 0;
	int err = 0;

	memset(out, 0, sizeof(*out));
	out->message = m->number;
	out->proven = c->has_proof && c->proof;
	if (out->proven && !has_octets(c->type))
		return ERR_DENIED;
	switch (c->type) {
	case WIRE_RETRIEVAL_SUMMARY:
		err = make_summary(&source, out);
		break;
	case WIRE_RETRIEVAL_STRUCTURE:
		err = make_structure(&source, scan, out);
		break;
	case WIRE_RETRIEVAL_HEADERS:
		out->size = m->header_octets;
		break;
	case WIRE_RETRIEVAL_ALL:
		out->size = m->size_octets;
		break;
	case WIRE_RETRIEVAL_PART:
		err = find_part(m, c, scan, &begin, &out->size);
		break;
	default:
		break; /* nothing */
	}
	if (err != 0) {
		retrieval_release(out);
		return err;
	}
	out->offset = c->offset;
	out->at = begin + (c->offset < out->size ? c->offset : out->size);
	out->left = begin + out->size - out->at;
	out->to_end = c->length == 0 || c->length >= out->left;
	if (!out->to_end)
		out->left = c->length;
	if (out->proven)
		widen(m, out);
	return 0;
}

void retrieval_release(struct retrieval *r)
{
	free(r->text);
	r->text = NULL;
	r->left = 0;
}

/*
 * The octets were sent and will hardly be wanted again soon: the kernel keeps them
 * in its cache as it sees fit, but they count no longer as memory of ours.
 */
static void let_go(struct span octets)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t first = ((uintptr_t)octets.p + page - 1) / page * page;
	uintptr_t end = ((uintptr_t)octets.p + octets.n) / page * page;

	if (first < end)
		(void)madvise((void *)first, end - first, MADV_DONTNEED);
}

static int send_stored(struct db *db, struct kv_txn *t, struct retrieval *r,
                       size_t (*take)(void *ctx, struct span octets), void *ctx)
{
	struct db_message m;
	int err = db_message_get(db, t, r->message, &m);

	if (err == 0 && m.freed)
		err = ERR_NOT_FOUND;
	while (err == 0 && r->left > 0) {
		struct span piece;
		size_t n;

		err = db_octets(db, t, &m, r->at, &piece);
		if (err != 0)
			break;
		if (piece.n > r->left)
			piece.n = (size_t)r->left;
		n = take(ctx, piece);
		r->at += n;
		r->left -= n;
		if (r->size > LARGE)
			let_go(span_of(piece.p, n));
		if (n < piece.n)
			break;
	}
	return err;
}

int retrieval_send(struct db *db, struct retrieval *r,
                   size_t (*take)(void *ctx, struct span octets), void *ctx)
{
	struct kv_txn *t;
	int err;

	if (r->left == 0)
		return 0;
	if (r->text != NULL) {
		size_t n = take(ctx, span_of(r->text + r->at, (size_t)r->left));

		r->at += n;
		r->left -= n;
		return 0;
	}
	t = db_read_begin(db);
	if (t == NULL)
		return ERR_NOMEM;
	err = send_stored(db, t, r, take, ctx);
	db_read_end(t);
	return err;
}
