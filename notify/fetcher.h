/*
 * Gets messages from senders' stores into the pull cache (cache.h), in the
 * place of readers, on a thread of its own. Readers who want the same message at once
 * are one flight, and cause one pull. A store that fails is not asked again for
 * a while.
 */
#ifndef IM2000_NOTIFY_FETCHER_H
#define IM2000_NOTIFY_FETCHER_H

#include "base/metrics.h"
#include "net/locate.h"
#include "net/tls.h"
#include "notify/cache.h"
#include "session/waiters.h"
#include "wire/common.h"

struct fetcher;

struct fetcher_settings {
	uint64_t cache_octets; /* 0: nothing is fetched */
	uint64_t limit;        /* octets of a message */
	uint64_t whole_us;     /* that a pull may take */
	uint64_t silence_us;   /* that a store may say nothing */
	uint64_t again_us;     /* that a store which failed is left alone */
	bool allow_private;
};

struct fetcher_options {
	const char *data; /* the cache is a folder in it */
	struct locate_options locate; /* what it points to: borrowed for the fetcher's life */
	struct tls_options tls;       /* client side */
	struct fetcher_settings settings;
};

/* Starts the thread. 0, or an error with E filled. */
int fetcher_start(const struct fetcher_options *options, struct fetcher **out, struct err_text *e);
/* Ends it. No ticket may be left, and all loops must be gone. NULL is fine. */
void fetcher_stop(struct fetcher *f);
/* For what is begun from now on. TLS is taken over. */
void fetcher_configure(struct fetcher *f, struct tls_config *tls,
                       const struct fetcher_settings *settings);
/* Whether there is a cache. Any thread. */
bool fetcher_is_on(struct fetcher *f);
struct cache *fetcher_cache(struct fetcher *f);

/* Where tickets of loop L are called. As waiters_loop_create. */
int fetcher_attach(struct fetcher *f, struct loop *l, struct waiters_loop **out);

/* What a notification says of its message. */
struct fetch_source {
	struct cache_key key;
	char domain[NAME_DOMAIN_MAX + 1]; /* of the store */
	uint8_t id[WIRE_ID_SIZE];
	bool has_size;
	uint64_t size;
	uint32_t mailbox; /* who asks */
};

struct flight;

/* One reader's wish; the caller's memory. Zeroed but for waiter.fire and the source. */
struct fetch_ticket {
	struct waiter waiter; /* first; `fire` comes when there is an answer */
	struct fetch_source source;
	/* The answer. */
	struct cache_file *file; /* held for the caller; NULL: the rest says why not */
	enum wire_status status;
	unsigned retry_s; /* 0: nothing is said of that */
	struct err_text text;
	/* The fetcher's own. */
	struct flight *flight;
	struct fetch_ticket *prev, *next;
	uint32_t number;
};

/* True: there is an answer. False: `fire` will come. On the thread of the loop of WL. */
bool fetcher_ask(struct fetcher *f, struct waiters_loop *wl, struct fetch_ticket *t);
/* No `fire` after this; lets go of the file that it may have. Same thread. */
void fetcher_forget(struct fetcher *f, struct fetch_ticket *t);

/* What it counts. Since the agent started, and of the cache now. Any thread. */
struct fetcher_counts {
	uint64_t hits, misses;   /* readers who found it there, and who did not */
	uint64_t pulled, failed; /* from stores: messages; attempts that got none */
	uint64_t octets;         /* that were pulled */
	struct cache_stats cache;
};
void fetcher_count(struct fetcher *f, struct fetcher_counts *out);
void fetcher_measure(struct fetcher *f, struct metrics *m);

#endif
