/*
 * What the store wants to know of a message, found in one pass over its octets
 * as they come: digest, parts, where the header ends, the header excerpt, the
 * structure text.
 */
#ifndef IM2000_STORE_SCAN_H
#define IM2000_STORE_SCAN_H

#include "message/bodystructure.h"
#include "message/digest.h"
#include "message/excerpt.h"
#include "message/mime.h"

#define SCAN_PARTS 1024        /* parts that are told apart; the last one takes the rest */
#define SCAN_HEADER_MAX 65536  /* octets of a header that the excerpt looks at */
#define SCAN_STRUCTURE_MAX 512 /* a longer structure is made anew whenever it is asked for */

/* Leaf hashes of a message's blocks (message/digest.h), one after another; owned. */
struct scan_leaves {
	uint8_t (*hash)[DIGEST_SIZE];
	size_t n, cap;
};

/* About 70 KiB; only what a message needs of it is touched. */
struct scan {
	struct digest_tree digest;
	struct scan_leaves leaves; /* of blocks that are whole, and not taken yet */
	bool leaf_lost;            /* for want of memory */
	uint64_t octets;
	bool have_excerpt;
	size_t excerpt_n;
	uint8_t excerpt[EXCERPT_MAX];
	struct mime_parser mime;
	struct mime_part parts[SCAN_PARTS];
};

/* What scan_end found. */
struct scan_result {
	uint64_t octets, header_octets;
	uint8_t digest[DIGEST_SIZE];
	struct scan_leaves leaves; /* of the blocks since scan_take_leaves; scan_result_free */
	size_t excerpt_n, structure_n, parts_n;
	uint8_t excerpt[EXCERPT_MAX];
	char structure[SCAN_STRUCTURE_MAX + 1]; /* structure_n 0: it is longer */
	uint8_t *parts;                         /* packed; scan_result_free */
};

/* 0 or ERR_NOMEM. After 0, scan_end or scan_cancel must follow. */
int scan_begin(struct scan *s);
/*
 * The next octets. The first call must bring SCAN_HEADER_MAX octets, or all
 * that there are. 0, ERR_NOMEM, ERR_INTERNAL.
 */
int scan_feed(struct scan *s, struct span octets);
/* The leaf hashes of the blocks that became whole since the last call; OUT is to be freed. */
void scan_take_leaves(struct scan *s, struct scan_leaves *out);
void scan_leaves_free(struct scan_leaves *l); /* zeroed, or freed before, is fine */
void scan_cancel(struct scan *s);
/*
 * The message is over. READ gives octets of it, for the structure. 0,
 * ERR_INTERNAL, ERR_NOMEM or READ's error; R is to be freed after 0 only.
 */
int scan_end(struct scan *s, bodystructure_read read, void *ctx, struct scan_result *r);
void scan_result_free(struct scan_result *r);

#endif
