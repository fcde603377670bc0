#include "mua-agent/pull.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "message/digest.h"
#include "message/header.h"
#include "message/mime.h"
#include "mua-agent/parts.h"
#include "mua-agent/progress.h"
#include "mua-agent/spool.h"
#include "mua-agent/talk.h"

#define STRUCTURE_MAX ((size_t)1 << 20) /* octets of a structure's text */
#define HEADER_MAX ((size_t)16 << 20)   /* octets of a header that is held in memory */
#define UNSAID_MAX ((uint64_t)1 << 30)  /* of a message whose notification says no size */
#define SLICE ((size_t)64 << 10)        /* octets of a cached message given at once */
#define TRIES 3                         /* of a pull that is cut off */

struct pull {
	struct app *app;
	struct entry entry;
	struct line *line;
	bool silence_sent, silenced;
	/* The whole message, where it is cached; mapped. */
	const uint8_t *map;
	size_t map_n;
	struct mime_part *mime;
	size_t n_mime;
	struct bodystructure_part *parts;
	size_t n_parts;
	struct buf header;
};

/* --- the cache ---------------------------------------------------------------------------- */

static char *cache_path(const struct app *app, uint32_t number)
{
	char *path;

	return asprintf(&path, "%s/cache/%u.eml", app->config.data, number) < 0 ? NULL : path;
}

void pull_forget(const struct app *app, uint32_t number)
{
	char *path = cache_path(app, number);

	if (path != NULL) {
		unlink(path);
		free(path);
	}
}

static int map_file(struct pull *p, int fd)
{
	struct stat st;
	void *at;

	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) ||
	    (p->entry.notice.has_size && (uint64_t)st.st_size != p->entry.notice.size)) {
		return ERR_NOT_FOUND;
	}
	if (st.st_size > 0) {
		at = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
		if (at == MAP_FAILED) {
			return ERR_NOMEM;
		}
		p->map = at;
	} else {
		p->map = (const uint8_t *)"";
	}
	p->map_n = (size_t)st.st_size;
	return 0;
}

static void map_cached(struct pull *p)
{
	char *path = cache_path(p->app, p->entry.item.number);
	int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd >= 0) {
		map_file(p, fd);
		close(fd);
	}
	free(path);
}

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
	buf_init(&p->header, HEADER_MAX);
	map_cached(p);
	*out = p;
	return 0;
}

void pull_close(struct pull *p)
{
	if (p == NULL) {
		return;
	}
	line_close(p->line);
	if (p->map_n > 0) {
		munmap((void *)p->map, p->map_n);
	}
	buf_free(&p->header);
	entry_free(&p->entry);
	free(p->mime);
	free(p->parts);
	free(p);
}

const struct entry *pull_entry(const struct pull *p)
{
	return &p->entry;
}

/* --- retrieve ----------------------------------------------------------------------------- */

/* One retrieve under way: where its octets go, and how many there may be. */
struct take {
	decode_sink sink;
	void *ctx;
	struct err_text *sink_text; /* where the sink says what went wrong */
	uint64_t limit;             /* octets of what is retrieved, whole */
	uint64_t begin;             /* offset asked for */
	uint64_t size;              /* by the answer: octets of what is retrieved, whole */
	uint64_t got;               /* octets so far, those before BEGIN too */
	struct progress *progress;
};

static int on_octets(void *ctx, struct span octets, struct err_text *why)
{
	struct take *k = ctx;
	int r = octets.n == 0 ? 0 : k->sink(k->ctx, octets);

	if (r != 0) {
		*why = *k->sink_text;
		return r;
	}
	k->got += octets.n;
	progress_at(k->progress, k->got);
	return 0;
}

static int on_retrieved(void *ctx, const struct msrap_response *response, struct err_text *why)
{
	const struct msrap_retrieve_done *done = &response->u.retrieve;
	struct take *k = ctx;

	if (done->size > k->limit) {
		return err_set(why, ERR_PROTOCOL,
		               "the store sends more than its notification announced");
	}
	if (done->offset != k->begin || done->offset > done->size ||
	    done->data.size != done->size - done->offset) {
		return err_set(why, ERR_PROTOCOL, "the store sends other octets than asked for");
	}
	k->size = done->size;
	progress_total(k->progress, done->size);
	return on_octets(k, done->data.here, why);
}

static int connect_store(struct pull *p, struct err_text *e)
{
	const struct entry *x = &p->entry;
	struct lines *lines;
	int r;

	if (p->line != NULL && !line_is_closed(p->line)) {
		return 0;
	}
	line_close(p->line);
	p->line = NULL;
	if (x->store[0] == '\0') {
		return err_set(e, ERR_UNSUPPORTED,
		               "read message %u: its notification names no store by domain",
		               x->item.number);
	}
	if ((r = app_lines(p->app, &lines, e)) != 0) {
		return r;
	}
	return line_open(lines, x->store, LOCATE_MSRAP, app_by_store(p->app, x->store) != NULL,
	                 &p->line, e);
}

/* That the notification arrived is said in the same flight as the first request. */
static int send_silence(struct pull *p, struct talk *t, struct err_text *e)
{
	struct msrap_command c = { .kind = MSRAP_SILENCE };

	*t = (struct talk) { 0 };
	snprintf(t->doing, sizeof t->doing, "tell %.150s of it", p->entry.store);
	memcpy(c.u.silence.id, p->entry.notice.id, WIRE_ID_SIZE);
	return talk_msrap(p->line, t, &c, e);
}

static int retrieve(struct pull *p, enum wire_retrieval type, const char *section, struct take *k,
                    struct err_text *e)
{
	bool silence = (p->entry.item.flags & DB_SILENCED) == 0 && !p->silence_sent;
	struct msrap_command c = { .kind = MSRAP_RETRIEVE };
	struct talk t = { .msrap = on_retrieved, .data = on_octets, .ctx = k }, quiet;
	struct err_text ignored = { "" };
	int r;

	if ((r = connect_store(p, e)) != 0) {
		return r;
	}
	snprintf(t.doing, sizeof t.doing, "read message %u", p->entry.item.number);
	memcpy(c.u.retrieve.id, p->entry.notice.id, WIRE_ID_SIZE);
	c.u.retrieve.type = type;
	c.u.retrieve.offset = k->begin;
	c.u.retrieve.has_section = section != NULL;
	c.u.retrieve.section = span_str(section);
	if ((r = talk_msrap(p->line, &t, &c, e)) != 0) {
		return r;
	}
	silence = silence && send_silence(p, &quiet, &ignored) == 0;
	r = talk_finish(&t, e);
	if (silence) {
		p->silence_sent = true;
		p->silenced = talk_finish(&quiet, &ignored) == 0;
	}
	return r;
}

/* --- the whole message -------------------------------------------------------------------- */

struct whole {
	struct spool spool;
	struct digest_tree digest;
	struct err_text *e;
};

static int whole_sink(void *ctx, struct span octets)
{
	struct whole *w = ctx;
	int r = spool_write(w->spool.fd, octets, w->e);

	if (r == 0 && (r = digest_update(&w->digest, octets)) != 0) {
		err_set(w->e, r, "%s", err_phrase(r));
	}
	return r;
}

/* Pulls into W; what is cut off goes on where it was. */
static int pull_octets(struct pull *p, struct whole *w, struct take *k, struct err_text *e)
{
	int r = ERR_INTERNAL;

	for (unsigned i = 0; i < TRIES; i++) {
		k->begin = k->got;
		w->e->text[0] = '\0';
		r = retrieve(p, WIRE_RETRIEVAL_ALL, NULL, k, e);
		if (r != ERR_CLOSED) {
			break;
		}
	}
	return r;
}

static int check_whole(struct pull *p, struct whole *w, uint64_t got, struct err_text *e)
{
	const struct wire_notification *n = &p->entry.notice;
	uint8_t root[DIGEST_SIZE];
	int r = digest_final(&w->digest, root);

	if (r != 0) {
		return err_set(e, r, "%s", err_phrase(r));
	}
	if ((n->has_size && got != n->size) ||
	    (n->has_digest && memcmp(root, n->digest, DIGEST_SIZE) != 0)) {
		return err_set(e, ERR_PROTOCOL,
		               "message %u is not what was announced: what %s sent does not match "
		               "its notification; it is not shown",
		               p->entry.item.number, p->entry.store);
	}
	return 0;
}

static int keep_whole(struct pull *p, struct whole *w, struct err_text *e)
{
	char *path = cache_path(p->app, p->entry.item.number);
	int r =
	    path == NULL ? err_set(e, ERR_NOMEM, "out of memory") : spool_keep(&w->spool, path, e);

	if (r == 0 && (r = map_file(p, w->spool.fd)) != 0) {
		err_set(e, r, "read %s: %s", path, err_phrase(r));
	}
	free(path);
	return r;
}

static int fetch_whole(struct pull *p, struct err_text *e)
{
	const struct wire_notification *n = &p->entry.notice;
	struct err_text sink_text = { "" };
	struct whole w = { .e = &sink_text };
	struct progress progress;
	struct take k = { .sink = whole_sink,
		          .ctx = &w,
		          .sink_text = &sink_text,
		          .limit = n->has_size ? n->size : UNSAID_MAX,
		          .progress = &progress };
	char *dir;
	int r;

	if (asprintf(&dir, "%s/cache", p->app->config.data) < 0) {
		return err_set(e, ERR_NOMEM, "out of memory");
	}
	r = spool_open(&w.spool, dir, e);
	free(dir);
	if (r != 0) {
		return r;
	}
	if ((r = digest_init(&w.digest, NULL, NULL)) != 0) {
		spool_close(&w.spool);
		return err_set(e, r, "%s", err_phrase(r));
	}
	progress_begin(&progress, "pulling");
	if ((r = pull_octets(p, &w, &k, e)) == 0 && (r = check_whole(p, &w, k.got, e)) == 0) {
		r = keep_whole(p, &w, e);
	}
	progress_end(&progress);
	digest_free(&w.digest);
	spool_close(&w.spool);
	return r;
}

int pull_whole(struct pull *p, struct err_text *e)
{
	return p->map != NULL ? 0 : fetch_whole(p, e);
}

/* --- structure and pieces ----------------------------------------------------------------- */

static int buf_sink(void *ctx, struct span octets)
{
	return buf_add(ctx, octets.p, octets.n);
}

/* Retrieves something into memory, LIMIT octets at most. */
static int retrieve_buf(struct pull *p, enum wire_retrieval type, size_t limit, struct buf *out,
                        struct err_text *e)
{
	struct err_text none = { "" };
	struct take k = { .sink = buf_sink, .ctx = out, .sink_text = &none, .limit = limit };

	return retrieve(p, type, NULL, &k, e);
}

static int map_read(void *ctx, uint64_t at, uint8_t *buf, size_t n)
{
	const struct pull *p = ctx;

	if (at > p->map_n || n > p->map_n - at) {
		return ERR_INTERNAL;
	}
	memcpy(buf, p->map + at, n);
	return 0;
}

/* Octets that will hardly be looked at again need not count as memory of ours. */
static void let_go(const struct pull *p, uint64_t at, size_t n)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t first = ((uintptr_t)p->map + at) / page * page;
	uintptr_t end = ((uintptr_t)p->map + at + n) / page * page;

	if (first < end) {
		(void)madvise((void *)first, end - first, MADV_DONTNEED);
	}
}

/* Gives LENGTH octets at AT to SINK, a slice at a time. */
static int each_slice(const struct pull *p, uint64_t at, uint64_t length, decode_sink sink,
                      void *ctx)
{
	int r = 0;

	while (r == 0 && length > 0) {
		size_t n = length < SLICE ? (size_t)length : SLICE;

		r = sink(ctx, span_of(p->map + at, n));
		let_go(p, at, n);
		at += n;
		length -= n;
	}
	return r;
}

static int parse_sink(void *ctx, struct span octets)
{
	mime_feed(ctx, octets);
	return 0;
}

static int parse_map(struct pull *p)
{
	struct mime_parser *parser;

	if (p->mime != NULL) {
		return 0;
	}
	p->mime = calloc(PARTS_MAX, sizeof *p->mime);
	parser = malloc(sizeof *parser);
	if (p->mime == NULL || parser == NULL) {
		free(p->mime);
		free(parser);
		p->mime = NULL;
		return ERR_NOMEM;
	}
	mime_begin(parser, p->mime, PARTS_MAX);
	each_slice(p, 0, p->map_n, parse_sink, parser);
	p->n_mime = mime_end(parser);
	free(parser);
	return 0;
}

static int structure_of_map(struct pull *p, struct buf *out)
{
	uint8_t *at;
	size_t used;
	int r = parse_map(p);

	if (r == 0 && (r = buf_reserve(out, STRUCTURE_MAX, &at)) == 0 &&
	    (r = bodystructure_write(p->mime, p->n_mime, map_read, p, (char *)at, STRUCTURE_MAX,
	                             &used)) == 0) {
		buf_commit(out, used);
	}
	return r;
}

static int structure_text(struct pull *p, struct buf *out, struct err_text *e)
{
	const struct wire_notification *n = &p->entry.notice;
	int r;

	if (p->map != NULL) {
		r = structure_of_map(p, out);
	} else if (n->has_structure) {
		r = buf_add(out, n->structure.p, n->structure.n);
	} else {
		return retrieve_buf(p, WIRE_RETRIEVAL_STRUCTURE, STRUCTURE_MAX, out, e);
	}
	return r == 0 ? 0
	              : err_set(e, r, "find the parts of message %u: %s", p->entry.item.number,
	                        err_phrase(r));
}

int pull_parts(struct pull *p, const struct bodystructure_part **parts, size_t *n,
               struct err_text *e)
{
	struct buf text;
	int r = 0;

	if (p->parts == NULL) {
		buf_init(&text, 0);
		if ((r = structure_text(p, &text, e)) == 0 &&
		    (p->parts = calloc(PARTS_MAX, sizeof *p->parts)) == NULL) {
			r = err_set(e, ERR_NOMEM, "out of memory");
		}
		if (r == 0 && (r = bodystructure_parse(buf_view(&text), p->parts, PARTS_MAX,
		                                       &p->n_parts)) != 0) {
			free(p->parts);
			p->parts = NULL;
			err_set(
			    e, r,
			    "the structure of message %u is %s (im2000 read %u --raw shows all)",
			    p->entry.item.number,
			    r == ERR_TOO_BIG ? "too deep or too long" : "broken",
			    p->entry.item.number);
		}
		buf_free(&text);
	}
	*parts = p->parts;
	*n = p->n_parts;
	return r;
}

int pull_header(struct pull *p, struct span *out, struct err_text *e)
{
	uint64_t limit = p->entry.notice.has_size ? p->entry.notice.size : HEADER_MAX;
	int r = 0;

	if (p->map != NULL) {
		*out = span_of(p->map, header_size(span_of(p->map, p->map_n)));
		return 0;
	}
	if (p->header.n == 0) {
		r = retrieve_buf(p, WIRE_RETRIEVAL_HEADERS,
		                 limit < HEADER_MAX ? (size_t)limit : HEADER_MAX, &p->header, e);
	}
	*out = buf_view(&p->header);
	return r;
}

static int section_of_map(struct pull *p, const char *section, decode_sink sink, void *ctx,
                          struct err_text *e)
{
	uint64_t at, length;
	int r = parse_map(p);

	if (r == 0 &&
	    (r = mime_section(p->mime, p->n_mime, span_str(section), &at, &length)) != 0) {
		return err_set(e, ERR_NOT_FOUND,
		               "message %u has no part \"%.100s\" (see im2000 "
		               "structure %u)",
		               p->entry.item.number, section, p->entry.item.number);
	}
	return r != 0 ? r : each_slice(p, at, length, sink, ctx);
}

int pull_section(struct pull *p, const char *section, decode_sink sink, void *ctx,
                 struct err_text *e)
{
	const struct wire_notification *n = &p->entry.notice;
	struct err_text none = { "" };
	struct progress progress;
	struct take k = { .sink = sink,
		          .ctx = ctx,
		          .sink_text = &none,
		          .limit = n->has_size ? n->size : UNSAID_MAX,
		          .progress = &progress };
	int r;

	if (p->map != NULL) {
		return section_of_map(p, section, sink, ctx, e);
	}
	progress_begin(&progress, "pulling");
	r = retrieve(p, WIRE_RETRIEVAL_PART, section, &k, e);
	progress_end(&progress);
	return r;
}

int pull_done(struct pull *p, struct err_text *e)
{
	unsigned flags = DB_READ | (p->silenced ? DB_SILENCED : 0);

	if ((p->entry.item.flags & flags) == flags) {
		return 0;
	}
	p->entry.item.flags |= flags;
	return entry_mark(p->app->db, p->entry.item.number, flags, e);
}
