/* A file's name is its digest, a hyphen and its tag, in hexadecimal. */
#include "notify/cache_name.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"

#define TAG_AT (2 * (size_t)DIGEST_SIZE + 1)
#define NAME_LENGTH (TAG_AT + 2 * (size_t)CACHE_TAG_SIZE)
#define BLOCK_OCTETS 65536

static void make_name(const struct cache_key *key, char out[NAME_LENGTH + 1])
{
	text_hex(key->digest, DIGEST_SIZE, out);
	out[TAG_AT - 1] = '-';
	text_hex(key->tag, CACHE_TAG_SIZE, out + TAG_AT);
}

static bool read_name(const char *name, struct cache_key *out)
{
	struct span text = span_str(name);
	char made[NAME_LENGTH + 1];

	if (text.n != NAME_LENGTH ||
	    text_parse_hex(span_of(text.p, TAG_AT - 1), out->digest, DIGEST_SIZE) != 0 ||
	    text_parse_hex(span_after(text, TAG_AT), out->tag, CACHE_TAG_SIZE) != 0) {
		return false;
	}
	make_name(out, made);
	return strcmp(made, name) == 0; /* a key has one name */
}

int cache_name_path(const char *dir, const struct cache_key *key, char out[PATH_MAX])
{
	char name[NAME_LENGTH + 1];

	make_name(key, name);
	return file_path(dir, name, out, NULL);
}

/* --- what is there -------------------------------------------------------------------------- */

struct scan {
	const char *dir;
	int fd; /* of it */
	bool clean;
	void (*found)(void *ctx, const char *line);
	void *ctx;
	struct cache_seen *seen;
	size_t n, cap;
	int strange; /* things that do not belong there */
};

static void complain(struct scan *s, const char *name, const char *what)
{
	char line[512];

	s->strange++;
	if (s->found != NULL) {
		snprintf(line, sizeof line, "%s %.200s: %s", CACHE_FOLDER, name, what);
		s->found(s->ctx, line);
	}
}

static int add(struct scan *s, const struct cache_key *key, const struct stat *st)
{
	if (s->n == s->cap) {
		size_t cap = s->cap == 0 ? 64 : 2 * s->cap;
		struct cache_seen *more = realloc(s->seen, cap * sizeof *more);

		if (more == NULL) {
			return ERR_NOMEM;
		}
		s->seen = more;
		s->cap = cap;
	}
	s->seen[s->n++] = (struct cache_seen) {
		.key = *key,
		.size = (uint64_t)st->st_size,
		.used_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec,
	};
	return 0;
}

static int look(struct scan *s, const char *name)
{
	struct cache_key key;
	struct stat st;

	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
		return 0;
	}
	if (strncmp(name, ".spool-", 7) == 0) { /* unfinished: session/spool.c */
		if (s->clean) {
			(void)unlinkat(s->fd, name, 0);
		}
		return 0;
	}
	if (!read_name(name, &key) || fstatat(s->fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
	    !S_ISREG(st.st_mode)) {
		complain(s, name, "does not belong there");
		return 0;
	}
	return add(s, &key, &st);
}

static int by_use(const void *a, const void *b)
{
	const struct cache_seen *x = a, *y = b;

	return (x->used_ns > y->used_ns) - (x->used_ns < y->used_ns);
}

int cache_name_scan(const char *dir, bool clean, void (*found)(void *ctx, const char *line),
                    void *ctx, struct cache_seen **out, size_t *n, struct err_text *e)
{
	struct scan s = { .dir = dir, .clean = clean, .found = found, .ctx = ctx };
	DIR *d = opendir(dir);
	struct dirent *entry;
	int r = 0;

	*out = NULL;
	*n = 0;
	if (d == NULL) {
		return errno == ENOENT
		           ? 0
		           : err_set(e, ERR_IO, "open %s: %s", dir, strerror(errno));
	}
	s.fd = dirfd(d);
	while (r == 0 && (entry = readdir(d)) != NULL) {
		r = look(&s, entry->d_name);
	}
	closedir(d);
	if (r != 0) {
		err_set(e, r, "read %s: %s", dir, err_phrase(r));
	}
	if (s.n > 0) {
		qsort(s.seen, s.n, sizeof *s.seen, by_use);
	}
	*out = s.seen;
	*n = s.n;
	return r != 0 ? r : s.strange;
}

int cache_count(const char *dir, struct cache_stats *out)
{
	struct cache_seen *seen;
	size_t n;
	int r = cache_name_scan(dir, false, NULL, NULL, &seen, &n, NULL);

	*out = (struct cache_stats) { .files = n };
	for (size_t i = 0; i < n; i++) {
		out->octets += seen[i].size;
	}
	free(seen);
	return r < 0 ? r : 0;
}

/* --- what is in it -------------------------------------------------------------------------- */

static int digest_of(int fd, uint8_t root[DIGEST_SIZE])
{
	uint8_t *block = malloc(BLOCK_OCTETS);
	struct digest_tree t = { 0 };
	ssize_t got = 1;
	int r = block == NULL ? ERR_NOMEM : digest_init(&t, NULL, NULL);

	while (r == 0 && got > 0) {
		got = read(fd, block, BLOCK_OCTETS);
		if (got > 0) {
			r = digest_update(&t, span_of(block, (size_t)got));
		} else if (got < 0) {
			r = ERR_IO;
		}
	}
	if (r == 0) {
		r = digest_final(&t, root);
	}
	digest_free(&t);
	free(block);
	return r;
}

/* Whether it is what its name says. One that is gone meanwhile was evicted: nothing is wrong. */
static void check_one(struct scan *s, const struct cache_seen *seen)
{
	char path[PATH_MAX], name[NAME_LENGTH + 1];
	uint8_t root[DIGEST_SIZE];
	int fd, r;

	make_name(&seen->key, name);
	if (cache_name_path(s->dir, &seen->key, path) != 0) {
		return;
	}
	if ((fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)) < 0) {
		if (errno != ENOENT) {
			complain(s, name, strerror(errno));
		}
		return;
	}
	r = digest_of(fd, root);
	close(fd);
	if (r != 0) {
		complain(s, name, err_phrase(r));
	} else if (memcmp(root, seen->key.digest, DIGEST_SIZE) != 0) {
		complain(s, name, "its octets are not those of its digest: remove it");
	}
}

int cache_check(const char *dir, void (*found)(void *ctx, const char *line), void *ctx)
{
	struct scan s = { .dir = dir, .found = found, .ctx = ctx };
	int r = cache_name_scan(dir, false, found, ctx, &s.seen, &s.n, NULL);

	for (size_t i = 0; r >= 0 && i < s.n; i++) {
		check_one(&s, &s.seen[i]);
	}
	free(s.seen);
	return r < 0 ? r : r + s.strange;
}
