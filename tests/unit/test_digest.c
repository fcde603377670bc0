/* The digest tree against a recomputation by the definition, and proofs of ranges. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/evp.h>

#include "base/err.h"
#include "base/text.h"
#include "message/digest.h"

#define B DIGEST_BLOCK
#define OCTETS_MAX (9 * B + 5)

static uint8_t octets[OCTETS_MAX];

/* Octets that differ in every block, and at no short distance repeat. */
static int make_octets(void **state)
{
	uint32_t x = 12345;

	(void)state;
	for (size_t i = 0; i < sizeof octets; i++) {
		x = x * 1664525 + 1013904223;
		octets[i] = (uint8_t)(x >> 24);
	}
	return 0;
}

static void sha256(uint8_t prefix, const void *a, size_t an, const void *b, size_t bn,
                   uint8_t out[32])
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();

	assert_int_equal(EVP_DigestInit_ex(md, EVP_sha256(), NULL), 1);
	EVP_DigestUpdate(md, &prefix, 1);
	EVP_DigestUpdate(md, a, an);
	EVP_DigestUpdate(md, b, bn);
	EVP_DigestFinal_ex(md, out, NULL);
	EVP_MD_CTX_free(md);
}

/* RFC 6962 section 2.1, word for word, over blocks. */
static void naive(const uint8_t *p, size_t n, uint8_t out[32])
{
	size_t left = B;
	uint8_t l[32], r[32];

	if (n <= B) {
		sha256(0, p, n, "", 0, out);
		return;
	}
	while (left * 2 < n)
		left *= 2;
	naive(p, left, l);
	naive(p + left, n - left, r);
	sha256(1, l, 32, r, 32, out);
}

static const size_t sizes[] = {
	0, 1, 63, 64, B - 1, B, B + 1, 2 * B - 1, 2 * B, 2 * B + 1, 3 * B, 3 * B + 7, 4 * B,
	4 * B + 1, 5 * B, 6 * B + 1, 7 * B - 1, 8 * B, 8 * B + 1, OCTETS_MAX,
};
#define SIZES (sizeof sizes / sizeof sizes[0])

static void test_known(void **state)
{
	/* printf '\0' | sha256sum; printf '\0abc' | sha256sum */
	static const struct {
		const char *message, *hex;
	} cases[] = {
		{ "", "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d" },
		{ "abc", "609f6e36d2405585188d5cfd761f407c7cc46a7d3f314c88270469dde315fcd1" },
	};
	uint8_t root[32];
	char hex[65];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_int_equal(digest_octets(span_str(cases[i].message), root), 0);
		text_hex(root, 32, hex);
		assert_string_equal(hex, cases[i].hex);
	}
}

static void test_against_naive(void **state)
{
	(void)state;
	for (size_t i = 0; i < SIZES; i++) {
		uint8_t want[32], got[32];

		naive(octets, sizes[i], want);
		assert_int_equal(digest_octets(span_of(octets, sizes[i]), got), 0);
		assert_memory_equal(got, want, 32);
	}
}

struct leaves {
	uint8_t hash[16][32];
	uint64_t n;
};

static void keep_leaf(void *ctx, uint64_t index, const uint8_t hash[32])
{
	struct leaves *l = ctx;

	assert_int_equal(index, l->n);
	memcpy(l->hash[l->n++], hash, 32);
}

/* In pieces of any size the root is the same, and every leaf is told once. */
static void test_pieces(void **state)
{
	static const size_t pieces[] = { 1000, 4096, B - 1, B, B + 1, 3 * B };

	(void)state;
	for (size_t i = 0; i < SIZES; i++) {
		for (size_t k = 0; k < sizeof pieces / sizeof pieces[0]; k++) {
			struct leaves l = { .n = 0 };
			struct digest_tree t;
			uint8_t want[32], got[32];

			naive(octets, sizes[i], want);
			assert_int_equal(digest_init(&t, keep_leaf, &l), 0);
			for (size_t at = 0; at < sizes[i]; at += pieces[k]) {
				size_t n = sizes[i] - at < pieces[k] ? sizes[i] - at : pieces[k];

				assert_int_equal(digest_update(&t, span_of(octets + at, n)), 0);
			}
			assert_int_equal(digest_final(&t, got), 0);
			digest_free(&t);
			assert_memory_equal(got, want, 32);
			assert_int_equal(l.n, digest_blocks(sizes[i]));
			for (uint64_t b = 0; b < l.n; b++) {
				size_t at = (size_t)b * B;
				size_t n = sizes[i] - at < B ? sizes[i] - at : B;
				uint8_t hash[32];

				assert_int_equal(digest_leaf(span_of(octets + at, n), hash), 0);
				assert_memory_equal(hash, l.hash[b], 32);
			}
		}
	}
}

/* A submission cut off after any number of whole blocks goes on from their hashes. */
static void test_resume(void **state)
{
	(void)state;
	for (size_t held = 0; held <= 9; held++) {
		struct digest_tree t;
		uint8_t want[32], got[32], hash[32];

		naive(octets, OCTETS_MAX, want);
		assert_int_equal(digest_init(&t, NULL, NULL), 0);
		for (size_t i = 0; i < held; i++) {
			assert_int_equal(digest_leaf(span_of(octets + i * B, B), hash), 0);
			assert_int_equal(digest_add_leaf(&t, hash), 0);
		}
		assert_int_equal(digest_update(&t, span_of(octets + held * B, 3)), 0);
		assert_int_equal(digest_add_leaf(&t, hash), ERR_INTERNAL);
		assert_int_equal(
		    digest_update(&t, span_of(octets + held * B + 3, OCTETS_MAX - held * B - 3)), 0);
		assert_int_equal(digest_final(&t, got), 0);
		digest_free(&t);
		digest_free(&t);
		assert_memory_equal(got, want, 32);
	}
}

static void test_widen(void **state)
{
	static const struct {
		uint64_t size, offset, length, offset_out, length_out;
	} cases[] = {
		{ 0, 0, 0, 0, 0 },
		{ 0, 5, 5, 0, 0 },
		{ 10, 3, 2, 0, 10 },
		{ B, 0, 0, 0, B },
		{ B + 1, B, 1, B, 1 },
		{ B + 1, B - 1, 1, 0, B },
		{ B + 1, B - 1, 2, 0, B + 1 },
		{ 10 * B, 3 * B, B, 3 * B, B },
		{ 10 * B, 3 * B + 1, B, 3 * B, 2 * B },
		{ 10 * B, 3 * B + 1, 0, 3 * B, 7 * B },
		{ 10 * B, 20 * B, 0, 9 * B, B },
		{ 10 * B, 20 * B, 7, 9 * B, B },
		{ 10 * B + 5, 10 * B + 5, 1, 10 * B, 5 },
		{ 10 * B + 5, 9 * B + 1, UINT64_MAX, 9 * B, B + 5 },
		{ 10 * B + 5, 9 * B + 1, 5 * B, 9 * B, B + 5 },
		{ 10 * B + 5, 9 * B + 1, B + 4, 9 * B, B + 5 },
		{ UINT64_MAX, UINT64_MAX - 1, 1, UINT64_MAX - B + 1, B - 1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		uint64_t offset = cases[i].offset, length = cases[i].length;

		digest_widen(cases[i].size, &offset, &length);
		assert_int_equal(offset, cases[i].offset_out);
		assert_int_equal(length, cases[i].length_out);
	}
}

static int leaf_of_octets(void *ctx, uint64_t index, uint8_t hash[32])
{
	size_t size = *(const size_t *)ctx, at = (size_t)index * B;

	return digest_leaf(span_of(octets + at, size - at < B ? size - at : B), hash);
}

/* Leaf hashes as kept while octets came in; COUNT asked for. */
struct asked {
	const struct leaves *leaves;
	uint64_t next;
	unsigned count;
};

static int leaf_kept(void *ctx, uint64_t index, uint8_t hash[32])
{
	struct asked *a = ctx;

	assert_true(index >= a->next); /* rising */
	a->next = index + 1;
	a->count++;
	memcpy(hash, a->leaves->hash[index], 32);
	return 0;
}

/* As a store that keeps leaves alone. */
static int subtree_kept(void *ctx, uint64_t first, uint64_t count, uint8_t hash[32])
{
	return count > 1 ? ERR_NOT_FOUND : leaf_kept(ctx, first, hash);
}

/* As a store that keeps the roots of pairs too, where both blocks are there. */
static int pair_kept(void *ctx, uint64_t first, uint64_t count, uint8_t hash[32])
{
	struct asked *a = ctx;

	if (count == 1)
		return leaf_kept(ctx, first, hash);
	if (count > 2)
		return ERR_NOT_FOUND;
	assert_int_equal(first % 2, 0);
	a->next = first + 2;
	return digest_join(a->leaves->hash + first, 2, hash);
}

static void keep_all(size_t size, struct leaves *l, uint8_t root[32])
{
	struct digest_tree t;

	l->n = 0;
	assert_int_equal(digest_init(&t, keep_leaf, l), 0);
	assert_int_equal(digest_update(&t, span_of(octets, size)), 0);
	assert_int_equal(digest_final(&t, root), 0);
	digest_free(&t);
}

/* Checks the proof of blocks [FIRST, END), then with every hash and bit count broken. */
static void check_range(size_t size, const struct leaves *l, const uint8_t root[32], size_t first,
                        size_t end)
{
	uint64_t offset = first * B, length = (end * B < size ? end * B : size) - offset;
	uint8_t proof[DIGEST_PROOF_MAX + 1][32];
	struct leaves broken = *l;
	struct asked outside = { .leaves = l }, inside = { .leaves = l }, pairs = { .leaves = l };
	uint8_t same[DIGEST_PROOF_MAX][32];
	size_t n, n_same;

	assert_int_equal(digest_proof_make(size, offset, length, subtree_kept, &outside, proof,
	                                   DIGEST_PROOF_MAX, &n), 0);
	assert_int_equal(outside.count, l->n - (end - first));
	assert_int_equal(digest_proof_make(size, offset, length, pair_kept, &pairs, same,
	                                   DIGEST_PROOF_MAX, &n_same), 0);
	assert_int_equal(n_same, n);
	assert_memory_equal(same, proof, n * 32);
	assert_int_equal(digest_proof_check(root, size, offset, length, leaf_kept, &inside, proof, n),
	                 0);
	assert_int_equal(inside.count, end - first);

	for (size_t i = 0; i < n; i++) {
		proof[i][i % 32] ^= (uint8_t)(1 << i % 8);
		inside = (struct asked){ .leaves = l };
		assert_int_equal(digest_proof_check(root, size, offset, length, leaf_kept, &inside,
		                                    proof, n), ERR_DENIED);
		proof[i][i % 32] ^= (uint8_t)(1 << i % 8);
	}
	for (size_t i = first; i < end; i++) {
		broken.hash[i][31] ^= 0x80;
		inside = (struct asked){ .leaves = &broken };
		assert_int_equal(digest_proof_check(root, size, offset, length, leaf_kept, &inside,
		                                    proof, n), ERR_DENIED);
		broken.hash[i][31] ^= 0x80;
	}
	memset(proof[n], 0, 32);
	for (size_t other = 0; other <= n + 1; other++) { /* a hash too many, any too few */
		inside = (struct asked){ .leaves = l };
		assert_int_equal(digest_proof_check(root, size, offset, length, leaf_kept, &inside,
		                                    proof, other), other == n ? 0 : ERR_DENIED);
	}
	if (n > 0) {
		outside = (struct asked){ .leaves = l };
		assert_int_equal(digest_proof_make(size, offset, length, subtree_kept, &outside, proof,
		                                   n - 1, &n), ERR_TOO_BIG);
	}
}

static void test_proof_every_range(void **state)
{
	(void)state;
	for (size_t i = 0; i < SIZES; i++) {
		struct leaves l;
		uint8_t root[32], joined[32];

		keep_all(sizes[i], &l, root);
		assert_int_equal(digest_join(l.hash, (size_t)l.n, joined), 0);
		assert_memory_equal(joined, root, 32);
		for (size_t first = 0; first < l.n; first++)
			for (size_t end = first + 1; end <= l.n; end++)
				check_range(sizes[i], &l, root, first, end);
	}
}

static int subtree_of_octets(void *ctx, uint64_t first, uint64_t count, uint8_t hash[32])
{
	return count > 1 ? ERR_NOT_FOUND : leaf_of_octets(ctx, first, hash);
}

/* Every octet of the block matters, and of the hashes. */
static void test_proof_octets(void **state)
{
	size_t size = 3 * B + 9;
	uint8_t root[32], proof[DIGEST_PROOF_MAX][32];
	struct leaves l;
	size_t n;

	(void)state;
	keep_all(size, &l, root);
	assert_int_equal(digest_proof_make(size, 3 * B, 9, subtree_of_octets, &size, proof,
	                                   DIGEST_PROOF_MAX, &n), 0);
	assert_int_equal(n, 2);
	for (size_t i = 0; i < 9; i++) {
		octets[3 * B + i] ^= 1;
		assert_int_equal(digest_proof_check(root, size, 3 * B, 9, leaf_of_octets, &size, proof, n),
		                 ERR_DENIED);
		octets[3 * B + i] ^= 1;
	}
	for (size_t i = 0; i < 32; i++) {
		uint8_t wrong[32];

		memcpy(wrong, root, 32);
		wrong[i] ^= 0x10;
		assert_int_equal(digest_proof_check(wrong, size, 3 * B, 9, leaf_of_octets, &size, proof,
		                                    n), ERR_DENIED);
		for (size_t k = 0; k < n; k++) {
			proof[k][i] ^= 0x10;
			assert_int_equal(digest_proof_check(root, size, 3 * B, 9, leaf_of_octets, &size,
			                                    proof, n), ERR_DENIED);
			proof[k][i] ^= 0x10;
		}
	}
	assert_int_equal(digest_proof_check(root, size, 3 * B, 9, leaf_of_octets, &size, proof, n), 0);
}

/* The order of a proof is on the wire: 7 blocks, the range is block 2. */
static void test_proof_order(void **state)
{
	struct leaves l;
	uint8_t root[32], proof[DIGEST_PROOF_MAX][32], want[32];
	struct asked a = { .leaves = &l };
	size_t n;

	(void)state;
	keep_all(7 * B, &l, root);
	assert_int_equal(digest_proof_make(7 * B, 2 * B, B, subtree_kept, &a, proof,
	                                   DIGEST_PROOF_MAX, &n), 0);
	assert_int_equal(n, 3);
	naive(octets, 2 * B, want); /* blocks 0 and 1 */
	assert_memory_equal(proof[0], want, 32);
	assert_memory_equal(proof[1], l.hash[3], 32);
	naive(octets + 4 * B, 3 * B, want); /* 4 to 6 */
	assert_memory_equal(proof[2], want, 32);
}

static int leaf_fails(void *ctx, uint64_t index, uint8_t hash[32])
{
	(void)ctx;
	(void)hash;
	return index == 1 ? ERR_IO : 0;
}

static int subtree_fails(void *ctx, uint64_t first, uint64_t count, uint8_t hash[32])
{
	return count > 1 ? ERR_NOT_FOUND : leaf_fails(ctx, first, hash);
}

static void test_proof_refused(void **state)
{
	static const struct {
		uint64_t size, offset, length;
	} cases[] = {
		{ 3 * B, 1, B },         { 3 * B, 0, B - 1 },          { 3 * B, B, 0 },
		{ 3 * B, 3 * B + 1, 1 }, { 3 * B, B, UINT64_MAX - 5 }, { 3 * B, 2 * B, B + 1 },
		{ 3 * B, 3 * B, 0 },
	};
	uint8_t proof[DIGEST_PROOF_MAX][32], root[32] = { 0 };
	size_t n;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_int_equal(digest_proof_make(cases[i].size, cases[i].offset, cases[i].length,
		                                   subtree_fails, NULL, proof, DIGEST_PROOF_MAX, &n),
		                 ERR_MALFORMED);
		assert_int_equal(digest_proof_check(root, cases[i].size, cases[i].offset,
		                                    cases[i].length, leaf_fails, NULL, proof, 0),
		                 ERR_MALFORMED);
	}
	assert_int_equal(digest_proof_make(4 * B, 3 * B, B, subtree_fails, NULL, proof, 9, &n), ERR_IO);
	assert_int_equal(digest_proof_check(root, 2 * B, 0, 2 * B, leaf_fails, NULL, proof, 0), ERR_IO);
	assert_int_equal(digest_leaf(span_of(octets, B + 1), root), ERR_TOO_BIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known),
		cmocka_unit_test(test_against_naive),
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_resume),
		cmocka_unit_test(test_widen),
		cmocka_unit_test(test_proof_every_range),
		cmocka_unit_test(test_proof_octets),
		cmocka_unit_test(test_proof_order),
		cmocka_unit_test(test_proof_refused),
	};

	return cmocka_run_group_tests(tests, make_octets, NULL);
}
