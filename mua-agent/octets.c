#include "mua-agent/octets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mua-agent/progress.h"
#include "session/spool.h"

#define UNSAID_MAX ((uint64_t)1 << 30) /* of a message whose notification says no size */
#define WINDOW ((size_t)4 << 20)       /* octets that are asked for, and checked, at once */
#define TRIES 3                        /* of a pull that is cut off */

struct octets {
	const struct app *app;
	const struct entry *entry;
	struct source *source;
	const uint8_t *map; /* NULL: nothing is here yet */
	uint64_t n;         /* octets mapped: of the message */
	bool complete;
	/* Some of it: a file of the message's size with holes where nothing was pulled. */
	struct spool spool;
	bool *have; /* each block: it is there, and was checked */
	struct verify verify;
	uint8_t *room;
	struct progress progress;
};

/* --- files -------------------------------------------------------------------------------- */

static char *cache_path(const struct app *app, uint32_t number)
{
	char *path;

	return asprintf(&path, "%s/cache/%u.eml", app->config.data, number) < 0 ? NULL : path;
}

void octets_forget(const struct app *app, uint32_t number)
{
	char *path = cache_path(app, number);

	if (path != NULL) {
		unlink(path);
		free(path);
	}
}

static int open_spool(const struct octets *x, struct spool *out, struct err_text *e)
{
	char *dir;
	int r;

	if (asprintf(&dir, "%s/cache", x->app->config.data) < 0) {
		return err_set(e, ERR_NOMEM, "out of memory");
	}
	r = spool_open(out, dir, e);
	free(dir);
	return r;
}

static void unmap(struct octets *x)
{
	if (x->map != NULL && x->n > 0) {
		munmap((void *)x->map, x->n);
	}
	x->map = NULL;
}

/* Maps N octets of FD instead of what is mapped. */
static int map(struct octets *x, int fd, uint64_t n)
{
	void *at = n == 0 ? (void *)"" : mmap(NULL, n, PROT_READ, MAP_SHARED, fd, 0);

	if (at == MAP_FAILED) {
		return ERR_NOMEM;
	}
	unmap(x);
	x->map = at;
	x->n = n;
	return 0;
}

/* Maps the file of a whole message. ERR_NOT_FOUND: it is none. */
static int map_whole(struct octets *x, int fd)
{
	const struct wire_notification *n = &x->entry->notice;
	struct stat st;
	int r = ERR_NOT_FOUND;

	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	    (!n->has_size || (uint64_t)st.st_size == n->size)) {
		r = map(x, fd, (uint64_t)st.st_size);
	}
	x->complete = r == 0;
	return r;
}

static void map_cached(struct octets *x)
{
	char *path = cache_path(x->app, x->entry->item.number);
	int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd >= 0) {
		(void)map_whole(x, fd);
		close(fd);
	}
	free(path);
}

/* --- life --------------------------------------------------------------------------------- */

int octets_open(const struct app *app, const struct entry *entry, struct source *source,
                struct octets **out, struct err_text *e)
{
	struct octets *x = calloc(1, sizeof *x);

	if (x == NULL) {
		return err_set(e, ERR_NOMEM, "out of memory");
	}
	x->app = app;
	x->entry = entry;
	x->source = source;
	x->spool.fd = -1;
	progress_begin(&x->progress, "pulling");
	map_cached(x);
	*out = x;
	return 0;
}

void octets_close(struct octets *x)
{
	if (x != NULL) {
		unmap(x);
		spool_close(&x->spool);
		free(x->have);
		free(x->room);
		free(x);
	}
}

bool octets_complete(const struct octets *x)
{
	return x->complete;
}

uint64_t octets_size(const struct octets *x)
{
	return x->complete ? x->n : x->entry->notice.size;
}

struct span octets_view(const struct octets *x, uint64_t at, uint64_t n)
{
	return span_of(x->map + at, (size_t)n);
}

void octets_let_go(const struct octets *x, uint64_t at, uint64_t n)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t first = ((uintptr_t)x->map + at) / page * page;
	uintptr_t end = ((uintptr_t)x->map + at + n) / page * page;

	if (first < end) {
		(void)madvise((void *)first, end - first, MADV_DONTNEED);
	}
}

/* --- all of it ---------------------------------------------------------------------------- */

struct whole {
	struct spool spool;
	struct digest_tree digest;
	uint64_t got;
	struct progress *progress;
};

static int take_rest(void *ctx, uint64_t size, struct span octets, struct err_text *why)
{
	struct whole *w = ctx;
	int r = spool_write(w->spool.fd, octets, why);

	if (r == 0 && (r = digest_update(&w->digest, octets)) != 0) {
		err_set(why, r, "%s", err_phrase(r));
	}
	w->got += octets.n;
	progress_total(w->progress, size);
	progress_at(w->progress, w->got);
	return r;
}

/* Pulls into W; what is cut off goes on where it was. */
static int pull_rest(struct octets *x, struct whole *w, struct err_text *e)
{
	const struct wire_notification *n = &x->entry->notice;
	const struct source_sink sink = { take_rest, w };
	int r = ERR_INTERNAL;

	for (unsigned i = 0; i < TRIES; i++) {
		r = source_rest(x->source, w->got, n->has_size ? n->size : UNSAID_MAX, &sink, e);
		if (r != ERR_CLOSED) {
			break;
		}
	}
	return r;
}

static int check_whole(const struct octets *x, struct whole *w, struct err_text *e)
{
	const struct wire_notification *n = &x->entry->notice;
	uint8_t root[DIGEST_SIZE];
	int r = digest_final(&w->digest, root);

	if (r != 0) {
		return err_set(e, r, "%s", err_phrase(r));
	}
	if ((n->has_size && w->got != n->size) ||
	    (n->has_digest && memcmp(root, n->digest, DIGEST_SIZE) != 0)) {
		return err_set(e, ERR_PROTOCOL,
		               "message %u is not what was announced: what %s sent does not match "
		               "its notification; it is not shown",
		               x->entry->item.number, source_name(x->source));
	}
	if (!n->has_digest) {
		fprintf(stderr,
		        "%s: message %u was announced without a digest: what %s sent could not be "
		        "checked\n",
		        APP_PROGRAM, x->entry->item.number, source_name(x->source));
	}
	return 0;
}

static int keep_whole(struct octets *x, struct whole *w, struct err_text *e)
{
	char *path = cache_path(x->app, x->entry->item.number);
	int r =
	    path == NULL ? err_set(e, ERR_NOMEM, "out of memory") : spool_keep(&w->spool, path, e);

	if (r == 0 && (r = map_whole(x, w->spool.fd)) != 0) {
		err_set(e, r, "read %s: %s", path, err_phrase(r));
	}
	free(path);
	return r;
}

static int pull_all(struct octets *x, struct err_text *e)
{
	struct whole w = { .progress = &x->progress };
	int r;

	if ((r = open_spool(x, &w.spool, e)) != 0) {
		return r;
	}
	if ((r = digest_init(&w.digest, NULL, NULL)) != 0) {
		spool_close(&w.spool);
		return err_set(e, r, "%s", err_phrase(r));
	}
	if ((r = pull_rest(x, &w, e)) == 0 && (r = check_whole(x, &w, e)) == 0) {
		r = keep_whole(x, &w, e);
	}
	progress_end(&x->progress);
	digest_free(&w.digest);
	spool_close(&w.spool);
	return r;
}

int octets_need_all(struct octets *x, struct err_text *e)
{
	int r = x->complete ? 0 : pull_all(x, e);

	return r != 0 && source_fall_back(x->source, e) ? pull_all(x, e) : r;
}

/* --- some of it --------------------------------------------------------------------------- */

/* Makes ready for blocks. Again is fine. */
static int open_blocks(struct octets *x, struct err_text *e)
{
	const struct wire_notification *n = &x->entry->notice;
	uint64_t blocks = digest_blocks(n->size);
	size_t room = blocks < WINDOW / DIGEST_BLOCK ? (size_t)blocks * DIGEST_BLOCK : WINDOW;
	int r;

	if (x->have != NULL) {
		return 0;
	}
	if ((x->spool.fd < 0 && (r = open_spool(x, &x->spool, e)) != 0)) {
		return r;
	}
	if (n->size > INT64_MAX || ftruncate(x->spool.fd, (off_t)n->size) != 0) {
		return err_set(e, ERR_TOO_BIG,
		               "read message %u: its %llu octets are more than a file may have",
		               x->entry->item.number, (unsigned long long)n->size);
	}
	free(x->room);
	if ((x->room = malloc(room)) == NULL ||
	    (r = map(x, x->spool.fd, n->size)) != 0 ||
	    (x->have = calloc(blocks, sizeof *x->have)) == NULL) {
		return err_set(e, ERR_NOMEM, "out of memory");
	}
	verify_begin(&x->verify, n->digest, n->size, x->room, room);
	return 0;
}

/* Puts the window in hand, which was checked, to the others. */
static int keep_window(struct octets *x, struct err_text *e)
{
	const struct verify *v = &x->verify;
	struct span octets = verify_take(v, v->offset, v->offset + v->length);
	int r;

	if (lseek(x->spool.fd, (off_t)v->offset, SEEK_SET) < 0) {
		return err_set(e, ERR_IO, "write a file: %s", strerror(errno));
	}
	if ((r = spool_write(x->spool.fd, octets, e)) != 0) {
		return r;
	}
	for (uint64_t at = v->offset; at < v->offset + v->length; at += DIGEST_BLOCK) {
		x->have[at / DIGEST_BLOCK] = true;
	}
	return 0;
}

/* Pulls one window of what is missing from AT to END, both at borders of blocks or the end. */
static int pull_window(struct octets *x, uint64_t at, uint64_t end, struct err_text *e)
{
	int r = ERR_INTERNAL;

	for (unsigned i = 0; i < TRIES; i++) {
		verify_ask(&x->verify, at, end);
		r = source_window(x->source, &x->verify, e);
		if (r != ERR_CLOSED) {
			break;
		}
	}
	return r == 0 ? keep_window(x, e) : r;
}

/* Behind the block of AT. */
static uint64_t block_end(const struct octets *x, uint64_t at)
{
	uint64_t size = x->entry->notice.size, end = (at / DIGEST_BLOCK + 1) * DIGEST_BLOCK;

	return end < size ? end : size;
}

int octets_need(struct octets *x, uint64_t at, uint64_t end, struct err_text *e)
{
	const struct wire_notification *n = &x->entry->notice;
	int r = 0;

	if (x->complete) {
		return 0;
	}
	if (!n->has_size || !n->has_digest || n->size == 0) {
		return octets_need_all(x, e);
	}
	/* Through the agent a message comes whole. */
	if (source_is_agent(x->source) &&
	    ((r = pull_all(x, e)) == 0 || !source_fall_back(x->source, e))) {
		return r;
	}
	if ((r = open_blocks(x, e)) != 0) {
		return r;
	}
	end = end < n->size ? end : n->size;
	at -= at % DIGEST_BLOCK;
	progress_total(&x->progress, end - at);
	for (uint64_t begin = at; r == 0 && at < end; at = block_end(x, at)) {
		uint64_t missing = at;

		while (missing < end && !x->have[missing / DIGEST_BLOCK]) {
			missing = block_end(x, missing);
		}
		if (missing > at) {
			r = pull_window(x, at, missing, e);
			progress_at(&x->progress, at - begin);
		}
	}
	progress_end(&x->progress);
	return r;
}
