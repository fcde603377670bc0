/*
 * The digest of a message: a SHA-256 tree (protocol.md section 7) in the shape
 * of RFC 6962 section 2.1. Blocks are 65,536 octets, the last one is what is
 * left; leaf = H(00 || block), node = H(01 || left || right), and the left
 * subtree takes the largest power of two of blocks that is smaller than their
 * count. A message of no octets has one block of no octets: its digest is
 * H(00) (RFC 6962 would say H("") for an empty tree; here there is none).
 */
#ifndef IM2000_MESSAGE_DIGEST_H
#define IM2000_MESSAGE_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

#define DIGEST_SIZE 32
#define DIGEST_BLOCK 65536
#define DIGEST_LEVELS 49                    /* enough for 2^64 octets */
#define DIGEST_PROOF_MAX (2 * DIGEST_LEVELS) /* hashes that any proof can have */

/* Plain data except for the hash context; 1.6 KiB. Not to be copied while in use. */
struct digest_tree {
	uint64_t octets;   /* given so far */
	uint64_t blocks;   /* whole blocks on the stack */
	void *hash;        /* OpenSSL's context, of the block that is not whole yet */
	unsigned depth;    /* subtrees on the stack, the largest first */
	uint8_t stack[DIGEST_LEVELS][DIGEST_SIZE];
	/* Told each block's leaf hash as the block is whole (the last one by digest_final), in
	 * order; may be NULL. A store keeps them to make proofs, a reader to check one. */
	void (*leaf)(void *ctx, uint64_t index, const uint8_t hash[DIGEST_SIZE]);
	void *leaf_ctx;
};

/* Makes ready for a message. LEAF may be NULL. 0 or ERR_NOMEM (nothing to free then). */
int digest_init(struct digest_tree *t,
                void (*leaf)(void *ctx, uint64_t index, const uint8_t hash[DIGEST_SIZE]),
                void *leaf_ctx);

/* The message's next octets, any number. 0 or ERR_INTERNAL (the hash failed). */
int digest_update(struct digest_tree *t, struct span data);

/*
 * Instead of the octets of the next whole block, its leaf hash: how a store goes
 * on with a submission that was cut off, from the hashes it kept. Only where a
 * block begins: ERR_INTERNAL otherwise. The leaf callback is not called. 0 too.
 */
int digest_add_leaf(struct digest_tree *t, const uint8_t hash[DIGEST_SIZE]);

/* The root. T takes no more data; it still needs digest_free. 0 or ERR_INTERNAL. */
int digest_final(struct digest_tree *t, uint8_t root[DIGEST_SIZE]);

/* Frees the hash context. A zeroed T and a T freed before are fine. */
void digest_free(struct digest_tree *t);

/* The digest of a whole message in memory. 0, ERR_NOMEM, ERR_INTERNAL. */
int digest_octets(struct span message, uint8_t root[DIGEST_SIZE]);

/* The leaf hash of one block (DIGEST_BLOCK octets or fewer). 0, ERR_TOO_BIG, ERR_NOMEM. */
int digest_leaf(struct span block, uint8_t hash[DIGEST_SIZE]);

/* Blocks of a message of SIZE octets: at least 1. */
uint64_t digest_blocks(uint64_t size);

/*
 * Widens a range to block borders (retrieve with proof). LENGTH 0 is "to the
 * end"; what lies behind SIZE is cut off. An offset at or behind the end gives
 * the last block. After it, OFFSET / DIGEST_BLOCK is the first block.
 */
void digest_widen(uint64_t size, uint64_t *offset, uint64_t *length);

/*
 * Gives the leaf hash of block INDEX. 0, or an error that ends the work and is
 * passed on. It is called once for each block it is needed for, in rising order.
 */
typedef int (*digest_leaf_fn)(void *ctx, uint64_t index, uint8_t hash[DIGEST_SIZE]);

/*
 * A proof is the roots of the outermost subtrees that have no block in the
 * range (never two where their parent would do), from left to right as they
 * stand in the message: those before the range, then those behind it. This is
 * the order in which a walk of the tree from the root, left child first, comes
 * to them. The whole message needs none.
 */

/*
 * Gives the root of the subtree of the COUNT blocks from FIRST on; with COUNT 1
 * that is a leaf hash. ERR_NOT_FOUND for a larger COUNT: not at hand, it is made from
 * its two halves. 0, or an error that ends the work and is passed on.
 */
typedef int (*digest_subtree_fn)(void *ctx, uint64_t first, uint64_t count,
                                 uint8_t hash[DIGEST_SIZE]);

/*
 * Makes the proof of the range [OFFSET, OFFSET + LENGTH) after digest_widen.
 * SUBTREE is asked for what is outside of the range, from left to right. *N hashes in
 * OUT[CAP]; CAP DIGEST_PROOF_MAX is always enough. 0, ERR_TOO_BIG (CAP), ERR_MALFORMED
 * (a range off the block borders), ERR_NOMEM, or SUBTREE's error.
 */
int digest_proof_make(uint64_t size, uint64_t offset, uint64_t length, digest_subtree_fn subtree,
                      void *ctx, uint8_t (*out)[DIGEST_SIZE], size_t cap, size_t *n);

/* The root of the subtree of the N leaf hashes in LEAF (at least 1). 0, ERR_NOMEM, ERR_INTERNAL. */
int digest_join(const uint8_t (*leaf)[DIGEST_SIZE], size_t n, uint8_t root[DIGEST_SIZE]);

/*
 * Checks that the blocks of the range belong to the message of SIZE octets whose
 * digest is ROOT. LEAF is asked for the blocks inside of the range, as hashed by
 * the caller from what it received. 0 when they do; ERR_DENIED when not, the
 * number of hashes being wrong too; ERR_MALFORMED (range), ERR_NOMEM, LEAF's error.
 */
int digest_proof_check(const uint8_t root[DIGEST_SIZE], uint64_t size, uint64_t offset,
                       uint64_t length, digest_leaf_fn leaf, void *ctx,
                       const uint8_t (*proof)[DIGEST_SIZE], size_t n);

#endif
