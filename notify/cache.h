/*
 * The pull cache: whole messages in files of one folder, bounded by their
 * octets and their number, those unused for longest out first. It knows nothing
 * of mailboxes or stores: who may read what is decided above it (notify/fetch.c).
 *
 * A file appears under its name only once it is complete, and is not synced: it
 * can be pulled again. So one that was found at start is `unchecked` until its octets
 * have been held against its name. Thread-safe.
 */
#ifndef IM2000_NOTIFY_CACHE_H
#define IM2000_NOTIFY_CACHE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/span.h"
#include "message/digest.h"

#define CACHE_FOLDER "cache"  /* in the data directory */
#define CACHE_FILES_MAX 65536 /* 200 octets of memory each */
#define CACHE_TAG_SIZE 16

/* The digest of the message, and a tag that tells apart who may see the same octets. */
struct cache_key {
	uint8_t digest[DIGEST_SIZE];
	uint8_t tag[CACHE_TAG_SIZE];
};

struct cache;
struct cache_file;    /* a message in it, held open by who found it */
struct cache_filling; /* one on its way in */

/*
 * The cache in folder DIR, for at most LIMIT octets (0: none are kept). What is there
 * stays as far as there is room; what was left unfinished goes. With LIMIT 0 the
 * folder is not made. 0, or ERR_NOMEM, ERR_IO with E filled.
 */
int cache_open(const char *dir, uint64_t limit, struct cache **out, struct err_text *e);
/* Nothing may be held any more. NULL is fine. */
void cache_close(struct cache *c);
/* Another limit; what is over it goes, what is held as soon as it is let go. */
void cache_resize(struct cache *c, uint64_t limit);
uint64_t cache_limit(struct cache *c);

/* Holds the message KEY. NULL: it is not there. */
struct cache_file *cache_find(struct cache *c, const struct cache_key *key);
/* Holds X, which is held, once more. */
struct cache_file *cache_hold(struct cache *c, struct cache_file *x);
/* Another hold less. NULL is fine. */
void cache_let_go(struct cache *c, struct cache_file *x);

uint64_t cache_size(const struct cache_file *x); /* octets of the message */
/* As many of N octets from AT on as there are. How many, or ERR_IO. */
ssize_t cache_read(const struct cache_file *x, uint64_t at, void *to, size_t n);

/* Whether X was pulled, or checked, since the cache was opened; and nobody else wrote to it. */
bool cache_is_checked(struct cache *c, struct cache_file *x);
/* X was read and is what its name says. */
void cache_set_checked(struct cache *c, struct cache_file *x);
/* X is not: nobody finds it any more. It is still to be let go. */
void cache_condemn(struct cache *c, struct cache_file *x);

/* --- filling: one thread for each ----------------------------------------------------------- */

/* Begins a message. 0, or ERR_NOMEM, ERR_IO with E filled. */
int cache_begin(struct cache *c, const struct cache_key *key, struct cache_filling **out,
                struct err_text *e);
/*
 * Makes room for the OCTETS that it will have. Once. ERR_TOO_BIG: the cache is
 * smaller; ERR_FULL: what is there is being read or pulled.
 */
int cache_reserve(struct cache_filling *f, uint64_t octets, struct err_text *e);
/* The next octets, no more in all than were reserved. 0, ERR_FULL (the disk), ERR_IO. */
int cache_write(struct cache_filling *f, struct span octets, struct err_text *e);
/* All are there: frees F; *OUT is held. After an error F is still to be dropped. */
int cache_keep(struct cache_filling *f, struct cache_file **out, struct err_text *e);
/* Frees F and what it wrote. NULL is fine. */
void cache_drop(struct cache_filling *f);

/* --- for administration --------------------------------------------------------------------- */

struct cache_stats {
	uint64_t files, octets; /* that are there, or on their way in */
	uint64_t evicted;       /* files, since it was opened */
};
void cache_stats(struct cache *c, struct cache_stats *out);
/* The same of folder DIR, whoever uses it. One that is not there has none. 0 or ERR_IO. */
int cache_count(const char *dir, struct cache_stats *out);
/*
 * Reads all of the folder DIR; FOUND gets a line for each file that is not what its name says.
 * How many, or an error.
 */
int cache_check(const char *dir, void (*found)(void *ctx, const char *line), void *ctx);

#endif
