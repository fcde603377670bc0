/*
 * Checks ranges of a message against the digest and the size that its
 * notification announced (protocol.md section 7). A reader asks for a window of
 * whole blocks, feeds what the store answers, and has octets only when all of
 * the window is there and its hashes lead to the announced root. Whatever the
 * store does, nothing else comes out: not other octets, not those of another
 * place, not fewer or more. No allocation, no I/O.
 *
 *     verify_begin(&v, digest, size, room, sizeof room);
 *     for (at = begin; at < end; at += octets.n) {
 *         verify_ask(&v, at, end);
 *         ... retrieve `all`, offset v.offset, length v.length, proof ...
 *         verify_head, verify_hash for each, verify_octets as they come, verify_end;
 *         octets = what verify_take(&v, at, end) gives;
 *     }
 *
 * Both digest and size must have been announced: a size that the store may choose
 * moves blocks to other places under the same root.
 */
#ifndef IM2000_MESSAGE_VERIFY_H
#define IM2000_MESSAGE_VERIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"
#include "message/digest.h"

/* Plain data, nothing to free; 3.2 KiB. */
struct verify {
	uint64_t offset, length; /* what to ask for; length 0: the message has no octets */
	/* Its own from here on. */
	uint8_t root[DIGEST_SIZE];
	uint64_t size;
	uint8_t *room;
	size_t cap, got;
	bool answered; /* verify_head was content */
	bool fits;     /* verify_end was */
	uint8_t proof[DIGEST_PROOF_MAX][DIGEST_SIZE];
	size_t n_proof;
};

/*
 * For a message of SIZE octets with digest ROOT. ROOM[CAP] is the caller's, for as long
 * as V is used: a window has as many blocks as fit into it, at least one (CAP >=
 * DIGEST_BLOCK).
 */
void verify_begin(struct verify *v, const uint8_t root[DIGEST_SIZE], uint64_t size, uint8_t *room,
                  size_t cap);

/*
 * The next window: from the block of octet AT to that of octet END - 1, or as much of it as
 * there is room for. AT and END that lie behind the message's end are the end.
 */
void verify_ask(struct verify *v, uint64_t at, uint64_t end);

/*
 * The answer, in the order in which it comes; after an error V must be asked anew. All of
 * them: 0; ERR_PROTOCOL (the store lies, or does not do what it was asked), with WHY said
 * for people. verify_end also ERR_NOMEM, ERR_INTERNAL.
 */
int verify_head(struct verify *v, uint64_t size, uint64_t offset, uint64_t octets,
                struct err_text *why);
int verify_hash(struct verify *v, const uint8_t hash[DIGEST_SIZE], struct err_text *why);
int verify_octets(struct verify *v, struct span octets, struct err_text *why);
/* The answer is complete: do its octets belong to the message? */
int verify_end(struct verify *v, struct err_text *why);

/* The octets from AT to END that this window has; none before verify_end was content. A view of
 * the room, until the next verify_ask. */
struct span verify_take(const struct verify *v, uint64_t at, uint64_t end);

#endif
