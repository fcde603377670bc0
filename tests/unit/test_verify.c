/* A reader of ranges against stores that lie: in any octet, hash, count or size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "message/verify.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define B DIGEST_BLOCK
#define OCTETS_MAX (9 * B + 5)

static const size_t sizes[] = { 0, 1, 63, B - 1, B, B + 1, 2 * B, 3 * B + 7, 7 * B, OCTETS_MAX };

static uint8_t message[OCTETS_MAX], sent[OCTETS_MAX + 1], room[10 * B];

static int make_message(void **state)
{
	uint32_t x = 4711;

	(void)state;
	for (size_t i = 0; i < sizeof message; i++) {
		x = x * 1664525 + 1013904223;
		message[i] = (uint8_t)(x >> 24);
	}
	return 0;
}

/* What a store answers; honest at first, then bent by the test. */
struct answer {
	uint64_t size, offset, octets; /* as its head says */
	size_t n;                      /* octets that are sent, from SENT */
	size_t piece;                  /* in pieces of so many */
	uint8_t hash[DIGEST_PROOF_MAX + 1][DIGEST_SIZE];
	size_t hashes;
};

static int leaf_of(void *ctx, uint64_t first, uint64_t count, uint8_t hash[DIGEST_SIZE])
{
	size_t size = *(const size_t *)ctx, at = (size_t)first * B;

	if (count > 1)
		return ERR_NOT_FOUND;
	return digest_leaf(span_of(message + at, size - at < B ? size - at : B), hash);
}

static void answer_honestly(size_t size, uint64_t offset, uint64_t length, struct answer *a)
{
	a->size = size;
	a->offset = offset;
	a->octets = a->n = (size_t)length;
	a->piece = 10000;
	memcpy(sent, message + offset, (size_t)length);
	assert_int_equal(digest_proof_make(size, offset, length, leaf_of, &size, a->hash,
	                                   DIGEST_PROOF_MAX, &a->hashes), 0);
}

/* Feeds A as it comes over the wire. */
static int feed(struct verify *v, const struct answer *a, struct err_text *why)
{
	int rc = verify_head(v, a->size, a->offset, a->octets, why);

	for (size_t i = 0; rc == 0 && i < a->hashes; i++)
		rc = verify_hash(v, a->hash[i], why);
	for (size_t at = 0; rc == 0 && at < a->n; at += a->piece)
		rc = verify_octets(v, span_of(sent + at, a->n - at < a->piece ? a->n - at : a->piece),
		                   why);
	return rc != 0 ? rc : verify_end(v, why);
}

static void expect_nothing(const struct verify *v)
{
	for (uint64_t at = 0; at <= OCTETS_MAX; at += 1000)
		assert_int_equal(verify_take(v, at, OCTETS_MAX).n, 0);
	assert_int_equal(verify_take(v, v->offset, v->offset + v->length).n, 0);
}

static void expect_caught(struct verify *v, uint64_t at, uint64_t end, const struct answer *a)
{
	struct err_text why = { "" };

	verify_ask(v, at, end);
	assert_int_equal(feed(v, a, &why), ERR_PROTOCOL);
	assert_int_not_equal(why.text[0], '\0');
	expect_nothing(v);
}

static void expect_content(struct verify *v, uint64_t at, uint64_t end, const struct answer *a)
{
	struct err_text why = { "" };
	struct span got;

	verify_ask(v, at, end);
	expect_nothing(v);
	if (feed(v, a, &why) != 0)
		fail_msg("%s", why.text);
	got = verify_take(v, at, end);
	assert_true(got.n > 0 || at >= end || at >= v->size);
	assert_true(got.n <= end - at);
	if (got.n > 0)
		assert_memory_equal(got.p, message + at, got.n);
	/* No more than is there, and nothing from before it. */
	got = verify_take(v, v->offset, UINT64_MAX);
	assert_int_equal(got.n, v->length);
	if (v->offset > 0)
		assert_int_equal(verify_take(v, v->offset - 1, UINT64_MAX).n, 0);
}

static void begin(struct verify *v, size_t size, size_t cap)
{
	uint8_t root[DIGEST_SIZE];

	assert_int_equal(digest_octets(span_of(message, size), root), 0);
	verify_begin(v, root, size, room, cap);
}

/* A range is read window by window, whatever the room. */
static void test_honest(void **state)
{
	static const size_t caps[] = { B, 2 * B + 100, 4 * B, sizeof room };
	struct verify v;
	struct answer a;

	(void)state;
	for (size_t i = 0; i < COUNT(sizes); i++) {
		for (size_t k = 0; k < COUNT(caps); k++) {
			uint64_t at = sizes[i] / 3, end = sizes[i];

			begin(&v, sizes[i], caps[k]);
			do {
				struct span got;

				verify_ask(&v, at, end);
				assert_true(v.length <= caps[k]);
				assert_int_equal(v.offset % B, 0);
				answer_honestly(sizes[i], v.offset, v.length, &a);
				expect_content(&v, at, end, &a);
				got = verify_take(&v, at, end);
				at += got.n;
			} while (at < end);
		}
	}
}

/* What is asked for lies on block borders, and is no more than is needed. */
static void test_ask(void **state)
{
	static const struct {
		size_t size, cap;
		uint64_t at, end, offset, length;
	} cases[] = {
		{ 0, B, 0, 0, 0, 0 },
		{ 0, B, 5, 9, 0, 0 },
		{ 1, B, 0, 1, 0, 1 },
		{ 5 * B, 9 * B, 0, 1, 0, B },
		{ 5 * B, 9 * B, 0, 0, 0, B },
		{ 5 * B, 9 * B, B - 1, B + 1, 0, 2 * B },
		{ 5 * B, 9 * B, B, 2 * B, B, B },
		{ 5 * B, 9 * B, B + 1, 2 * B + 1, B, 2 * B },
		{ 5 * B, 2 * B, 0, 5 * B, 0, 2 * B },
		{ 5 * B, 3 * B - 1, B + 5, 5 * B, B, 2 * B },
		{ 5 * B + 3, 9 * B, 4 * B + 9, UINT64_MAX, 4 * B, B + 3 },
		{ 5 * B + 3, 9 * B, UINT64_MAX, UINT64_MAX, 5 * B, 3 },
	};
	struct verify v;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		begin(&v, cases[i].size, cases[i].cap);
		verify_ask(&v, cases[i].at, cases[i].end);
		assert_int_equal(v.offset, cases[i].offset);
		assert_int_equal(v.length, cases[i].length);
	}
}

/* Octets: each of a short block, and the borders of every block in a long window. */
static void test_octets(void **state)
{
	struct verify v;
	struct answer a;

	(void)state;
	for (size_t i = 0; i < COUNT(sizes); i++) {
		size_t last = sizes[i] > 0 ? (sizes[i] - 1) / B * B : 0;

		begin(&v, sizes[i], sizeof room);
		answer_honestly(sizes[i], last, sizes[i] - last, &a);
		for (size_t k = 0; k < a.n; k += a.n > 100 ? 6553 : 1) {
			sent[k] ^= (uint8_t)(1 << k % 8);
			expect_caught(&v, last, sizes[i], &a);
			sent[k] ^= (uint8_t)(1 << k % 8);
		}
		expect_content(&v, last, sizes[i], &a);
		answer_honestly(sizes[i], 0, sizes[i], &a);
		for (size_t k = 0; k < a.n; k += B) {
			size_t end = a.n - k < B ? a.n : k + B;

			sent[k] ^= 1;
			expect_caught(&v, 0, sizes[i], &a);
			sent[k] ^= 1;
			sent[end - 1] ^= 0x80;
			expect_caught(&v, 0, sizes[i], &a);
			sent[end - 1] ^= 0x80;
		}
		expect_content(&v, 0, sizes[i], &a);
	}
}

/* Every hash of every one-block proof: changed, left out, said twice, in another order. */
static void test_hashes(void **state)
{
	struct verify v;
	struct answer a, bent;

	(void)state;
	for (size_t i = 0; i < COUNT(sizes); i++) {
		begin(&v, sizes[i], B);
		for (uint64_t at = 0; at == 0 || at < sizes[i]; at += B) {
			verify_ask(&v, at, at + 1);
			answer_honestly(sizes[i], v.offset, v.length, &a);
			for (size_t k = 0; k < a.hashes; k++) {
				for (size_t octet = 0; octet < DIGEST_SIZE; octet += 31) {
					bent = a;
					bent.hash[k][octet] ^= 0x20;
					expect_caught(&v, at, at + 1, &bent);
				}
				bent = a;
				memmove(bent.hash[k], bent.hash[k + 1],
				        (a.hashes - k - 1) * DIGEST_SIZE);
				bent.hashes--;
				expect_caught(&v, at, at + 1, &bent);
				bent = a;
				memmove(bent.hash[k + 1], bent.hash[k], (a.hashes - k) * DIGEST_SIZE);
				bent.hashes++;
				expect_caught(&v, at, at + 1, &bent);
				if (k > 0) {
					bent = a;
					memcpy(bent.hash[k - 1], a.hash[k], DIGEST_SIZE);
					memcpy(bent.hash[k], a.hash[k - 1], DIGEST_SIZE);
					expect_caught(&v, at, at + 1, &bent);
				}
			}
			bent = a;
			bent.hashes = 0;
			if (a.hashes > 0)
				expect_caught(&v, at, at + 1, &bent);
			bent.hashes = DIGEST_PROOF_MAX + 1;
			expect_caught(&v, at, at + 1, &bent);
			expect_content(&v, at, at + 1, &a);
		}
	}
}

/* Counts: what the head says, and what comes. */
static void test_counts(void **state)
{
	const size_t size = 7 * B + 9;
	static const uint64_t other_sizes[] = { 0, 7 * B + 8, 7 * B + 10, 7 * B, 8 * B, 4 * B,
		                                UINT64_MAX };
	static const uint64_t offsets[] = { 0, 2 * B, B + 1, UINT64_MAX };
	struct verify v;
	struct answer a, bent;

	(void)state;
	begin(&v, size, sizeof room);
	answer_honestly(size, B, 2 * B, &a);
	for (size_t i = 0; i < COUNT(other_sizes); i++) {
		bent = a;
		bent.size = other_sizes[i];
		expect_caught(&v, B, 3 * B, &bent);
	}
	for (size_t i = 0; i < COUNT(offsets); i++) {
		bent = a;
		bent.offset = offsets[i];
		expect_caught(&v, B, 3 * B, &bent);
	}
	for (size_t off = 0; off < 4; off++) {
		bent = a;
		bent.octets = off == 0 ? 2 * B - 1 : off == 1 ? 2 * B + 1 : off == 2 ? 0 : UINT64_MAX;
		expect_caught(&v, B, 3 * B, &bent);
		bent = a;
		bent.n = off == 0 ? 2 * B - 1 : off == 1 ? 2 * B + 1 : off == 2 ? 0 : B;
		expect_caught(&v, B, 3 * B, &bent);
		bent.piece = 1 << off;
		expect_caught(&v, B, 3 * B, &bent);
	}
	expect_content(&v, B, 3 * B, &a);
}

/*
 * Octets of the message itself, at the wrong place: the same proof, the proof of where they
 * are, and a store that says another size so that the tree has another shape.
 */
static void test_places(void **state)
{
	const size_t size = 3 * B;
	struct verify v;
	struct answer a;

	(void)state;
	begin(&v, size, B);
	for (uint64_t other = 0; other < 3; other++) {
		for (uint64_t at = 0; at < 3; at++) {
			if (other == at)
				continue;
			answer_honestly(size, at * B, B, &a);
			memcpy(sent, message + other * B, B);
			expect_caught(&v, at * B, at * B + B, &a);
			answer_honestly(size, other * B, B, &a);
			a.offset = at * B;
			expect_caught(&v, at * B, at * B + B, &a);
		}
	}
	/* Block 2 of three would be block 1 of two: the announced size forbids it. */
	answer_honestly(size, 2 * B, B, &a);
	assert_int_equal(a.hashes, 1);
	a.size = 2 * B;
	a.offset = B;
	expect_caught(&v, B, 2 * B, &a);
}

/* The announcement is of another message. */
static void test_other_message(void **state)
{
	uint8_t root[DIGEST_SIZE];
	struct verify v;
	struct answer a;

	(void)state;
	for (size_t i = 0; i < COUNT(sizes); i++) {
		assert_int_equal(digest_octets(span_of(message, sizes[i]), root), 0);
		for (size_t k = 0; k < DIGEST_SIZE; k++) {
			root[k] ^= 4;
			verify_begin(&v, root, sizes[i], room, sizeof room);
			answer_honestly(sizes[i], 0, sizes[i], &a);
			expect_caught(&v, 0, sizes[i], &a);
			root[k] ^= 4;
		}
	}
}

/* Octets that come without a head, or go on from the window before, are nothing. */
static void test_order(void **state)
{
	struct err_text why = { "" };
	struct verify v;
	struct answer a;

	(void)state;
	begin(&v, 3 * B, B);
	verify_ask(&v, 0, B);
	assert_int_equal(verify_octets(&v, span_of(message, 1), &why), ERR_PROTOCOL);
	assert_int_equal(verify_end(&v, &why), ERR_PROTOCOL);
	answer_honestly(3 * B, 0, B, &a);
	expect_content(&v, 0, B, &a);
	verify_ask(&v, B, 2 * B);
	expect_nothing(&v);
	assert_int_equal(verify_end(&v, &why), ERR_PROTOCOL);
	expect_nothing(&v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_honest),  cmocka_unit_test(test_ask),
		cmocka_unit_test(test_octets),  cmocka_unit_test(test_hashes),
		cmocka_unit_test(test_counts),  cmocka_unit_test(test_places),
		cmocka_unit_test(test_order),   cmocka_unit_test(test_other_message),
	};

	return cmocka_run_group_tests(tests, make_message, NULL);
}
