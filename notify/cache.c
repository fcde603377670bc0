/*
 * The index is a hash of names and a list by use, under one lock, which no
 * reading or writing of octets holds. A file is one of:
 *   idle    in the index and in the list, closed; may be evicted
 *   held    in the index, open; in no list
 *   doomed  held, and in no index: condemned, or evicted while the limit fell.
 *           Its name is gone; it goes with the last hold
 * The octets of all of them count, and those that fillings have reserved.
 */
#include "notify/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/random.h"
#include "notify/cache_name.h"
#include "session/program.h"
#include "session/spool.h"

#define BUCKET_BITS 14
#define EVICT_BATCH 64  /* files that are removed while others wait for the lock */
#define DISK_BLOCK 4096 /* what a file takes is counted in these */

struct cache_file {
	struct cache_file *bucket_next;
	struct cache_file *older, *newer; /* idle */
	struct cache_key key;
	uint64_t size;
	unsigned holds;
	int fd; /* held */
	struct timespec used; /* as the file says since it was let go; else somebody wrote to it */
	bool checked, doomed;
};

struct cache_filling {
	struct cache *cache;
	struct cache_key key;
	struct spool spool;
	uint64_t reserved, written;
	bool sized;
};

struct cache {
	char *dir;
	uint64_t salt;        /* odd */
	pthread_mutex_t lock; /* for all that follows */
	uint64_t limit, octets, files, evicted;
	struct cache_file *oldest, *newest;
	struct cache_file *bucket[1 << BUCKET_BITS];
};

/* --- the index: under the lock -------------------------------------------------------------- */

static uint64_t room_of(uint64_t octets)
{
	return (octets + DISK_BLOCK - 1) / DISK_BLOCK * DISK_BLOCK;
}

static struct cache_file **slot_of(struct cache *c, const struct cache_key *key)
{
	struct cache_file **at;
	uint64_t h;

	/* Strangers choose digests, but not how they fall into buckets. */
	memcpy(&h, key->digest, sizeof h);
	at = &c->bucket[h * c->salt >> (64 - BUCKET_BITS)];
	while (*at != NULL && memcmp(&(*at)->key, key, sizeof *key) != 0) {
		at = &(*at)->bucket_next;
	}
	return at;
}

static void list_add(struct cache *c, struct cache_file *x)
{
	x->newer = NULL;
	x->older = c->newest;
	*(c->newest != NULL ? &c->newest->newer : &c->oldest) = x;
	c->newest = x;
}

static void list_remove(struct cache *c, struct cache_file *x)
{
	*(x->older != NULL ? &x->older->newer : &c->oldest) = x->newer;
	*(x->newer != NULL ? &x->newer->older : &c->newest) = x->older;
}

static void unlink_name(struct cache *c, const struct cache_key *key)
{
	char path[PATH_MAX];

	if (cache_name_path(c->dir, key, path) == 0 && unlink(path) != 0 && errno != ENOENT) {
		log_warn("cache", "remove=%s error=\"%s\"", path, strerror(errno));
	}
}

/* X is found no more, and has no name any more. */
static void forget(struct cache *c, struct cache_file *x)
{
	struct cache_file **at = slot_of(c, &x->key);

	*at = x->bucket_next;
	unlink_name(c, &x->key);
	x->doomed = true;
}

static void release(struct cache *c, struct cache_file *x)
{
	c->octets -= room_of(x->size);
	c->files--;
	free(x);
}

static void evict(struct cache *c)
{
	struct cache_file *x = c->oldest;

	list_remove(c, x);
	forget(c, x);
	release(c, x);
	c->evicted++;
}

/*
 * Idle files go until OCTETS more fit, and FILES more. 0; ERR_FULL: what is left is in use;
 * ERR_AGAIN: there is more to do, and others want the lock.
 */
static int make_room(struct cache *c, uint64_t octets, uint64_t files)
{
	for (unsigned i = 0; i < EVICT_BATCH; i++) {
		if (c->octets + octets <= c->limit && c->files + files <= CACHE_FILES_MAX) {
			return 0;
		}
		if (c->oldest == NULL) {
			return ERR_FULL;
		}
		evict(c);
	}
	return ERR_AGAIN;
}

/* The same to its end; the lock, which is held, is let go between batches. */
static int make_all_room(struct cache *c, uint64_t octets, uint64_t files)
{
	int r;

	while ((r = make_room(c, octets, files)) == ERR_AGAIN) {
		pthread_mutex_unlock(&c->lock);
		pthread_mutex_lock(&c->lock);
	}
	return r;
}

/* The next start finds by a file's time which were used last. */
static void note_use(struct cache_file *x)
{
	struct stat st;

	if (futimens(x->fd, NULL) != 0 || fstat(x->fd, &st) != 0) {
		x->checked = false;
		return;
	}
	x->used = st.st_mtim;
}

/* --- finding -------------------------------------------------------------------------------- */

/* Opens X, which is idle. 0; ERR_NOT_FOUND: what was put there is not there; ERR_IO. */
static int open_idle(struct cache *c, struct cache_file *x)
{
	char path[PATH_MAX];
	struct stat st;

	if (cache_name_path(c->dir, &x->key, path) != 0 ||
	    (x->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)) < 0) {
		return errno == ENOENT || errno == ELOOP ? ERR_NOT_FOUND : ERR_IO;
	}
	if (fstat(x->fd, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == x->size) {
		/* Somebody else wrote to it, or nobody has checked it yet. */
		x->checked = x->checked && st.st_mtim.tv_sec == x->used.tv_sec &&
		             st.st_mtim.tv_nsec == x->used.tv_nsec;
		return 0;
	}
	close(x->fd);
	return ERR_NOT_FOUND;
}

struct cache_file *cache_find(struct cache *c, const struct cache_key *key)
{
	struct cache_file *x;
	int r = 0;

	pthread_mutex_lock(&c->lock);
	x = c->limit == 0 ? NULL : *slot_of(c, key);
	if (x != NULL && x->holds == 0) {
		r = open_idle(c, x);
		if (r != ERR_IO) {
			list_remove(c, x);
		}
		if (r == ERR_NOT_FOUND) {
			forget(c, x);
			release(c, x);
		}
		x = r == 0 ? x : NULL;
	}
	if (x != NULL) {
		x->holds++;
	}
	pthread_mutex_unlock(&c->lock);
	return x;
}

struct cache_file *cache_hold(struct cache *c, struct cache_file *x)
{
	pthread_mutex_lock(&c->lock);
	x->holds++;
	pthread_mutex_unlock(&c->lock);
	return x;
}

void cache_let_go(struct cache *c, struct cache_file *x)
{
	if (x == NULL) {
		return;
	}
	pthread_mutex_lock(&c->lock);
	if (--x->holds == 0) {
		if (!x->doomed) {
			note_use(x);
		}
		close(x->fd);
		if (x->doomed) {
			release(c, x);
		} else {
			list_add(c, x);
			(void)make_room(c, 0, 0); /* the limit may have fallen since */
		}
	}
	pthread_mutex_unlock(&c->lock);
}

uint64_t cache_size(const struct cache_file *x)
{
	return x->size;
}

ssize_t cache_read(const struct cache_file *x, uint64_t at, void *to, size_t n)
{
	ssize_t r;

	do {
		r = pread(x->fd, to, n, (off_t)at);
	} while (r < 0 && errno == EINTR);
	return r < 0 ? ERR_IO : r;
}

bool cache_is_checked(struct cache *c, struct cache_file *x)
{
	bool checked;

	pthread_mutex_lock(&c->lock);
	checked = x->checked;
	pthread_mutex_unlock(&c->lock);
	return checked;
}

void cache_set_checked(struct cache *c, struct cache_file *x)
{
	pthread_mutex_lock(&c->lock);
	x->checked = true;
	pthread_mutex_unlock(&c->lock);
}

void cache_condemn(struct cache *c, struct cache_file *x)
{
	pthread_mutex_lock(&c->lock);
	if (!x->doomed) {
		forget(c, x);
	}
	pthread_mutex_unlock(&c->lock);
}

/* --- filling -------------------------------------------------------------------------------- */

int cache_begin(struct cache *c, const struct cache_key *key, struct cache_filling **out,
                struct err_text *e)
{
	struct cache_filling *f = calloc(1, sizeof *f);
	int r;

	if (f == NULL) {
		return err_set(e, ERR_NOMEM, "out of memory");
	}
	f->cache = c;
	f->key = *key;
	if ((r = spool_open(&f->spool, c->dir, e)) != 0) {
		free(f);
		return r;
	}
	*out = f;
	return 0;
}

int cache_reserve(struct cache_filling *f, uint64_t octets, struct err_text *e)
{
	struct cache *c = f->cache;
	uint64_t room = room_of(octets);
	int r = 0;

	pthread_mutex_lock(&c->lock);
	if (room < octets || room > c->limit) {
		r = err_set(e, ERR_TOO_BIG,
		            "the message has %llu octets, more than the agent's cache takes (%llu)",
		            (unsigned long long)octets, (unsigned long long)c->limit);
	} else if (make_all_room(c, room, 1) != 0) {
		r = err_set(e, ERR_FULL, "all of the agent's cache is in use");
	} else {
		c->octets += room;
		c->files++;
		f->reserved = octets;
		f->sized = true;
	}
	pthread_mutex_unlock(&c->lock);
	return r;
}

int cache_write(struct cache_filling *f, struct span octets, struct err_text *e)
{
	int r;

	if (octets.n > f->reserved - f->written) {
		return err_set(e, ERR_TOO_BIG, "more octets than were announced");
	}
	if ((r = spool_write(f->spool.fd, octets, e)) == 0) {
		f->written += octets.n;
	}
	return r;
}

static void give_room_back(struct cache_filling *f)
{
	struct cache *c = f->cache;

	if (f->sized) {
		pthread_mutex_lock(&c->lock);
		c->octets -= room_of(f->reserved);
		c->files--;
		pthread_mutex_unlock(&c->lock);
	}
	f->sized = false;
}

void cache_drop(struct cache_filling *f)
{
	if (f == NULL) {
		return;
	}
	give_room_back(f);
	spool_close(&f->spool);
	free(f);
}

int cache_keep(struct cache_filling *f, struct cache_file **out, struct err_text *e)
{
	struct cache *c = f->cache;
	struct cache_file *x, **at;
	char path[PATH_MAX];
	int r = 0;

	if (!f->sized || f->written != f->reserved) {
		return err_set(e, ERR_INTERNAL, "a message is not complete");
	}
	if ((x = calloc(1, sizeof *x)) == NULL) {
		return err_set(e, ERR_NOMEM, "out of memory");
	}
	*x = (struct cache_file) { .key = f->key, .size = f->reserved, .checked = true };
	x->holds = 1;
	pthread_mutex_lock(&c->lock);
	at = slot_of(c, &f->key);
	if (*at != NULL || cache_name_path(c->dir, &f->key, path) != 0) {
		r = err_set(e, ERR_EXISTS, "the message is there already");
	} else if ((r = spool_keep(&f->spool, path, e)) == 0) {
		x->fd = f->spool.fd; /* writable, and never written again */
		f->spool.fd = -1;
		*at = x;
		f->sized = false; /* the room is the file's now */
	}
	pthread_mutex_unlock(&c->lock);
	if (r != 0) {
		free(x);
		return r;
	}
	cache_drop(f);
	*out = x;
	return 0;
}

/* --- life ----------------------------------------------------------------------------------- */

/* What a file that was found becomes. */
static int adopt(struct cache *c, const struct cache_seen *seen)
{
	struct cache_file *x = calloc(1, sizeof *x);

	if (x == NULL) {
		return ERR_NOMEM;
	}
	x->key = seen->key;
	x->size = seen->size;
	x->fd = -1;
	*slot_of(c, &x->key) = x;
	c->octets += room_of(x->size);
	c->files++;
	list_add(c, x);
	return 0;
}

static int adopt_all(struct cache *c, struct err_text *e)
{
	struct cache_seen *seen;
	size_t n;
	int r = cache_name_scan(c->dir, true, NULL, NULL, &seen, &n, e);

	for (size_t i = 0; r >= 0 && i < n; i++) {
		if ((r = adopt(c, &seen[i])) != 0) {
			err_set(e, r, "out of memory");
		}
	}
	free(seen);
	pthread_mutex_lock(&c->lock);
	(void)make_all_room(c, 0, 0);
	pthread_mutex_unlock(&c->lock);
	c->evicted = 0;
	return r < 0 ? r : 0;
}

int cache_open(const char *dir, uint64_t limit, struct cache **out, struct err_text *e)
{
	struct cache *c = calloc(1, sizeof *c);
	int r;

	if (c == NULL || (c->dir = strdup(dir)) == NULL) {
		free(c);
		return err_set(e, ERR_NOMEM, "open the cache: out of memory");
	}
	pthread_mutex_init(&c->lock, NULL);
	c->limit = limit;
	random_octets(&c->salt, sizeof c->salt);
	c->salt |= 1;
	r = limit == 0 ? 0 : program_make_dir(dir, e);
	if (r == 0) {
		r = adopt_all(c, e);
	}
	if (r != 0) {
		cache_close(c);
		return r;
	}
	*out = c;
	return 0;
}

void cache_close(struct cache *c)
{
	struct cache_file *x, *next;

	if (c == NULL) {
		return;
	}
	for (x = c->oldest; x != NULL; x = next) {
		next = x->newer;
		free(x);
	}
	pthread_mutex_destroy(&c->lock);
	free(c->dir);
	free(c);
}

void cache_resize(struct cache *c, uint64_t limit)
{
	pthread_mutex_lock(&c->lock);
	c->limit = limit;
	(void)make_all_room(c, 0, 0);
	pthread_mutex_unlock(&c->lock);
}

uint64_t cache_limit(struct cache *c)
{
	uint64_t limit;

	pthread_mutex_lock(&c->lock);
	limit = c->limit;
	pthread_mutex_unlock(&c->lock);
	return limit;
}

void cache_stats(struct cache *c, struct cache_stats *out)
{
	pthread_mutex_lock(&c->lock);
	*out = (struct cache_stats) { c->files, c->octets, c->evicted };
	pthread_mutex_unlock(&c->lock);
}
