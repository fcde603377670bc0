/* The files of the pull cache by their names; for cache*.c alone. */
#ifndef IM2000_NOTIFY_CACHE_NAME_H
#define IM2000_NOTIFY_CACHE_NAME_H

#include <limits.h>

#include "notify/cache.h"

/* What a file tells without being read. */
struct cache_seen {
	struct cache_key key;
	uint64_t size;
	int64_t used_ns; /* when it was used last, since 1970 */
};

/* The file of KEY in folder DIR. 0, or ERR_IO: the path is too long. */
int cache_name_path(const char *dir, const struct cache_key *key, char out[PATH_MAX]);

/*
 * The messages in folder DIR, the one unused for longest first: *N of them in *OUT, for the
 * caller to free (after an error too). A folder that is not there has none. CLEAN: what was left
 * unfinished is removed. FOUND (may be NULL) gets a line for each thing that does not belong
 * there. How many of those, or ERR_IO, ERR_NOMEM with E filled.
 */
int cache_name_scan(const char *dir, bool clean, void (*found)(void *ctx, const char *line),
                    void *ctx, struct cache_seen **out, size_t *n, struct err_text *e);

#endif
