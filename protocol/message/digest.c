/* The SHA-256 tree of a message, proofs of ranges and their check. */
#include "message/digest.h"

#include <openssl/evp.h>

#include "base/err.h"

#define LEAF_PREFIX 0x00
#define NODE_PREFIX 0x01

/* Begins a hash with PREFIX. OpenSSL looks the algorithm up only the first time of a context. */
static int hash_begin(EVP_MD_CTX *hash, uint8_t prefix)
{
	const EVP_MD *md = EVP_MD_CTX_get0_md(hash) == NULL ? EVP_sha256() : NULL;

	if (EVP_DigestInit_ex2(hash, md, NULL) != 1 || EVP_DigestUpdate(hash, &prefix, 1) != 1)
		return ERR_INTERNAL;
	return 0;
}

static int hash_end(EVP_MD_CTX *hash, uint8_t out[DIGEST_SIZE])
{
	return EVP_DigestFinal_ex(hash, out, NULL) == 1 ? 0 : ERR_INTERNAL;
}

/* OUT may be LEFT or RIGHT. */
static int hash_node(EVP_MD_CTX *hash, const uint8_t left[DIGEST_SIZE],
                     const uint8_t right[DIGEST_SIZE], uint8_t out[DIGEST_SIZE])
{
	int rc = hash_begin(hash, NODE_PREFIX);

	if (rc != 0)
		return rc;
	if (EVP_DigestUpdate(hash, left, DIGEST_SIZE) != 1 ||
	    EVP_DigestUpdate(hash, right, DIGEST_SIZE) != 1)
		return ERR_INTERNAL;
	return hash_end(hash, out);
}

/* Puts the next leaf on the stack and joins what it makes complete: 2^k blocks a subtree. */
static int push_leaf(struct digest_tree *t, const uint8_t hash[DIGEST_SIZE])
{
	if (t->depth >= DIGEST_LEVELS)
		return ERR_INTERNAL;
	memcpy(t->stack[t->depth++], hash, DIGEST_SIZE);
	t->blocks++;
	for (uint64_t n = t->blocks; (n & 1) == 0; n >>= 1) {
		uint8_t *left = t->stack[t->depth - 2];
		int rc = hash_node(t->hash, left, t->stack[t->depth - 1], left);

		if (rc != 0)
			return rc;
		t->depth--;
	}
	return 0;
}

/* The block in hand is whole. */
static int end_block(struct digest_tree *t)
{
	uint8_t hash[DIGEST_SIZE];
	int rc = hash_end(t->hash, hash);

	if (rc != 0)
		return rc;
	if (t->leaf != NULL)
		t->leaf(t->leaf_ctx, t->blocks, hash);
	return push_leaf(t, hash);
}

int digest_init(struct digest_tree *t,
                void (*leaf)(void *ctx, uint64_t index, const uint8_t hash[DIGEST_SIZE]),
                void *leaf_ctx)
{
	t->octets = 0;
	t->blocks = 0;
	t->depth = 0;
	t->leaf = leaf;
	t->leaf_ctx = leaf_ctx;
	t->hash = EVP_MD_CTX_new();
	return t->hash == NULL ? ERR_NOMEM : 0;
}

int digest_update(struct digest_tree *t, struct span data)
{
	while (data.n > 0) {
		size_t held = (size_t)(t->octets % DIGEST_BLOCK);
		size_t n = DIGEST_BLOCK - held;
		int rc = held == 0 ? hash_begin(t->hash, LEAF_PREFIX) : 0;

		if (rc != 0)
			return rc;
		if (n > data.n)
			n = data.n;
		if (EVP_DigestUpdate(t->hash, data.p, n) != 1)
			return ERR_INTERNAL;
		t->octets += n;
		data = span_after(data, n);
		if (held + n == DIGEST_BLOCK) {
			rc = end_block(t);
			if (rc != 0)
				return rc;
		}
	}
	return 0;
}

int digest_add_leaf(struct digest_tree *t, const uint8_t hash[DIGEST_SIZE])
{
	if (t->octets % DIGEST_BLOCK != 0)
		return ERR_INTERNAL;
	t->octets += DIGEST_BLOCK;
	return push_leaf(t, hash);
}

int digest_final(struct digest_tree *t, uint8_t root[DIGEST_SIZE])
{
	int rc = 0;

	if (t->octets == 0)
		rc = hash_begin(t->hash, LEAF_PREFIX);
	if (rc == 0 && (t->octets == 0 || t->octets % DIGEST_BLOCK != 0))
		rc = end_block(t);
	/* What is left on the stack are the right edge's subtrees: joined from the smallest. */
	while (rc == 0 && t->depth > 1) {
		uint8_t *left = t->stack[t->depth - 2];

		rc = hash_node(t->hash, left, t->stack[t->depth - 1], left);
		t->depth--;
	}
	if (rc == 0)
		memcpy(root, t->stack[0], DIGEST_SIZE);
	return rc;
}

void digest_free(struct digest_tree *t)
{
	EVP_MD_CTX_free(t->hash);
	t->hash = NULL;
}

int digest_octets(struct span message, uint8_t root[DIGEST_SIZE])
{
	struct digest_tree t;
	int rc = digest_init(&t, NULL, NULL);

	if (rc != 0)
		return rc;
	rc = digest_update(&t, message);
	if (rc == 0)
		rc = digest_final(&t, root);
	digest_free(&t);
	return rc;
}

int digest_leaf(struct span block, uint8_t hash[DIGEST_SIZE])
{
	return block.n > DIGEST_BLOCK ? ERR_TOO_BIG : digest_octets(block, hash);
}

uint64_t digest_blocks(uint64_t size)
{
	return size == 0 ? 1 : (size - 1) / DIGEST_BLOCK + 1;
}

void digest_widen(uint64_t size, uint64_t *offset, uint64_t *length)
{
	uint64_t first = *offset / DIGEST_BLOCK;
	uint64_t last = digest_blocks(size) - 1;
	uint64_t begin, end = size;

	if (first > last)
		first = last;
	begin = first * DIGEST_BLOCK;
	if (*length > 0 && *offset < size && *length < size - *offset) {
		uint64_t over = (*offset + *length) % DIGEST_BLOCK;

		end = *offset + *length;
		if (over != 0 && size - end > DIGEST_BLOCK - over)
			end += DIGEST_BLOCK - over;
		else if (over != 0)
			end = size;
	}
	*offset = begin;
	*length = end - begin;
}

/*
 * A walk of the tree, root first, left child first. Subtrees that have no block
 * in [first, end) come from `outside`, those inside from their leaves.
 */
struct walk {
	EVP_MD_CTX *hash;
	uint64_t first, end; /* blocks of the range */
	/* Gives the root of the outermost subtree that has nothing in the range. */
	int (*outside)(struct walk *w, uint64_t at, uint64_t n, uint8_t out[DIGEST_SIZE]);
	bool want_inside;    /* the hashes of the range's blocks matter */
	digest_leaf_fn leaf;       /* checking: the blocks inside */
	digest_subtree_fn at_hand; /* making: what is outside */
	void *ctx;
	uint8_t (*out)[DIGEST_SIZE];         /* being made */
	const uint8_t (*proof)[DIGEST_SIZE]; /* being checked */
	size_t cap, n;                       /* hashes there is room for, hashes done */
};

/* Blocks of the left child of a tree of N > 1 blocks. */
static uint64_t left_blocks(uint64_t n)
{
	return (uint64_t)1 << (63 - __builtin_clzll(n - 1));
}

/* The root of the N blocks from AT on, all of them from the callbacks. */
static int subtree(struct walk *w, uint64_t at, uint64_t n, uint8_t out[DIGEST_SIZE])
{
	uint8_t right[DIGEST_SIZE];
	uint64_t left;
	int rc;

	if (w->at_hand != NULL) {
		rc = w->at_hand(w->ctx, at, n, out);
		if (rc != ERR_NOT_FOUND || n == 1)
			return rc;
	} else if (n == 1) {
		return w->leaf(w->ctx, at, out);
	}
	left = left_blocks(n);
	rc = subtree(w, at, left, out);
	if (rc == 0)
		rc = subtree(w, at + left, n - left, right);
	return rc == 0 ? hash_node(w->hash, out, right, out) : rc;
}

/* Goes through the tree of the N blocks from AT on. OUT is its root where inside is wanted. */
static int walk(struct walk *w, uint64_t at, uint64_t n, uint8_t out[DIGEST_SIZE])
{
	uint8_t right[DIGEST_SIZE];
	uint64_t left;
	int rc;

	if (at + n <= w->first || at >= w->end)
		return w->outside(w, at, n, out);
	if (at >= w->first && at + n <= w->end)
		return w->want_inside ? subtree(w, at, n, out) : 0;
	left = left_blocks(n);
	rc = walk(w, at, left, out);
	if (rc == 0)
		rc = walk(w, at + left, n - left, right);
	if (rc == 0 && w->want_inside)
		rc = hash_node(w->hash, out, right, out);
	return rc;
}

/* Sets the range of W. It must be what digest_widen makes. */
static int walk_range(struct walk *w, uint64_t size, uint64_t offset, uint64_t length)
{
	if (offset > size || length > size - offset || (length == 0 && size != 0))
		return ERR_MALFORMED;
	if (offset % DIGEST_BLOCK != 0)
		return ERR_MALFORMED;
	if (offset + length != size && (offset + length) % DIGEST_BLOCK != 0)
		return ERR_MALFORMED;
	w->first = offset / DIGEST_BLOCK;
	w->end = w->first + digest_blocks(length);
	return 0;
}

static int keep_hash(struct walk *w, uint64_t at, uint64_t n, uint8_t out[DIGEST_SIZE])
{
	(void)out;
	if (w->n >= w->cap)
		return ERR_TOO_BIG;
	return subtree(w, at, n, w->out[w->n++]);
}

int digest_proof_make(uint64_t size, uint64_t offset, uint64_t length, digest_subtree_fn at_hand,
                      void *ctx, uint8_t (*out)[DIGEST_SIZE], size_t cap, size_t *n)
{
	struct walk w = { .outside = keep_hash, .at_hand = at_hand, .ctx = ctx, .out = out,
		          .cap = cap };
	uint8_t unused[DIGEST_SIZE];
	int rc = walk_range(&w, size, offset, length);

	if (rc != 0)
		return rc;
	w.hash = EVP_MD_CTX_new();
	if (w.hash == NULL)
		return ERR_NOMEM;
	rc = walk(&w, 0, digest_blocks(size), unused);
	EVP_MD_CTX_free(w.hash);
	*n = w.n;
	return rc;
}

struct leaves {
	const uint8_t (*hash)[DIGEST_SIZE];
};

static int leaf_in_memory(void *ctx, uint64_t index, uint8_t hash[DIGEST_SIZE])
{
	const struct leaves *l = ctx;

	memcpy(hash, l->hash[index], DIGEST_SIZE);
	return 0;
}

int digest_join(const uint8_t (*leaf)[DIGEST_SIZE], size_t n, uint8_t root[DIGEST_SIZE])
{
	struct leaves l = { .hash = leaf };
	struct walk w = { .leaf = leaf_in_memory, .ctx = &l };
	int rc;

	w.hash = EVP_MD_CTX_new();
	if (w.hash == NULL)
		return ERR_NOMEM;
	rc = subtree(&w, 0, n, root);
	EVP_MD_CTX_free(w.hash);
	return rc;
}

static int take_hash(struct walk *w, uint64_t at, uint64_t n, uint8_t out[DIGEST_SIZE])
{
	(void)at;
	(void)n;
	if (w->n >= w->cap)
		return ERR_DENIED;
	memcpy(out, w->proof[w->n++], DIGEST_SIZE);
	return 0;
}

int digest_proof_check(const uint8_t root[DIGEST_SIZE], uint64_t size, uint64_t offset,
                       uint64_t length, digest_leaf_fn leaf, void *ctx,
                       const uint8_t (*proof)[DIGEST_SIZE], size_t n)
{
	struct walk w = { .outside = take_hash, .want_inside = true, .leaf = leaf, .ctx = ctx,
		          .proof = proof, .cap = n };
	uint8_t found[DIGEST_SIZE];
	int rc = walk_range(&w, size, offset, length);

	if (rc != 0)
		return rc;
	w.hash = EVP_MD_CTX_new();
	if (w.hash == NULL)
		return ERR_NOMEM;
	rc = walk(&w, 0, digest_blocks(size), found);
	EVP_MD_CTX_free(w.hash);
	if (rc != 0)
		return rc;
	return w.n == n && memcmp(found, root, DIGEST_SIZE) == 0 ? 0 : ERR_DENIED;
}
