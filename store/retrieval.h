/*
 * What a retrieve names: a range of the message's octets, or a text made from
 * them. And how such a range is sent straight from the database's map.
 */
#ifndef IM2000_STORE_RETRIEVAL_H
#define IM2000_STORE_RETRIEVAL_H

#include "store/db.h"
#include "store/scan.h"
#include "wire/msrap.h"

struct retrieval {
	uint64_t message; /* its number */
	uint64_t size;    /* octets of what the type names; proven: of the message */
	uint64_t offset;  /* where the octets begin in it */
	uint64_t at;      /* next octet to send: of the message, or of TEXT */
	uint64_t left;    /* octets to send */
	uint8_t *text;    /* not NULL: it is this, owned, and not in the message as it stands */
	bool proven;      /* octets of the message, from block border to block border */
	bool to_end;      /* what was asked for reaches the end of what the type names */
};

/*
 * Finds what C asks of message M, cut to its offset and length; with `proof`
 * widened to block borders of the message. SCAN is room to work in. 0 and OUT is to be
 * released; ERR_NOT_FOUND (the message has no such part), ERR_UNSUPPORTED (no section that is
 * known), ERR_DENIED (a proof of what does not stand in the message), ERR_TOO_BIG (a structure
 * that goes beyond all reason), ERR_NOMEM, or an error of db.h.
 */
int retrieval_find(struct db *db, struct kv_txn *t, const struct db_message *m,
                   const struct msrap_retrieve *c, struct scan *scan, struct retrieval *out);
void retrieval_release(struct retrieval *r); /* zeroed is fine */

/*
 * Offers what is left to TAKE, piece by piece, until it takes less than it is
 * offered or nothing is left. Opens a read transaction for it and closes it. 0,
 * or an error: the octets are gone.
 */
int retrieval_send(struct db *db, struct retrieval *r,
                   size_t (*take)(void *ctx, struct span octets), void *ctx);

#endif
