/* Ranges of a message against what was announced. */
#include "message/verify.h"

void verify_begin(struct verify *v, const uint8_t root[DIGEST_SIZE], uint64_t size, uint8_t *room,
                  size_t cap)
{
	*v = (struct verify){ .size = size, .room = room, .cap = cap - cap % DIGEST_BLOCK };
	memcpy(v->root, root, DIGEST_SIZE);
}

void verify_ask(struct verify *v, uint64_t at, uint64_t end)
{
	uint64_t length = end > at ? end - at : 1;

	v->offset = at;
	digest_widen(v->size, &v->offset, &length);
	v->length = length < v->cap ? length : v->cap;
	v->answered = v->fits = false;
	v->got = 0;
	v->n_proof = 0;
}

int verify_head(struct verify *v, uint64_t size, uint64_t offset, uint64_t octets,
                struct err_text *why)
{
	if (size != v->size)
		return err_set(why, ERR_PROTOCOL,
		               "the store says that the message has %llu octets, its notification "
		               "announced %llu",
		               (unsigned long long)size, (unsigned long long)v->size);
	if (offset != v->offset || octets != v->length)
		return err_set(why, ERR_PROTOCOL, "the store sends other octets than asked for");
	v->answered = true;
	return 0;
}

int verify_hash(struct verify *v, const uint8_t hash[DIGEST_SIZE], struct err_text *why)
{
	if (v->n_proof == DIGEST_PROOF_MAX)
		return err_set(why, ERR_PROTOCOL, "the store's proof is longer than any can be");
	memcpy(v->proof[v->n_proof++], hash, DIGEST_SIZE);
	return 0;
}

int verify_octets(struct verify *v, struct span octets, struct err_text *why)
{
	if (!v->answered || octets.n > v->length - v->got)
		return err_set(why, ERR_PROTOCOL, "the store sends other octets than asked for");
	if (octets.n > 0)
		memcpy(v->room + v->got, octets.p, octets.n);
	v->got += octets.n;
	return 0;
}

static int received_leaf(void *ctx, uint64_t index, uint8_t hash[DIGEST_SIZE])
{
	const struct verify *v = ctx;
	struct span rest = span_of(v->room, v->got);

	rest = span_after(rest, (size_t)(index * DIGEST_BLOCK - v->offset));
	return digest_leaf(span_of(rest.p, rest.n < DIGEST_BLOCK ? rest.n : DIGEST_BLOCK), hash);
}

int verify_end(struct verify *v, struct err_text *why)
{
	int rc;

	if (!v->answered || v->got != v->length)
		return err_set(why, ERR_PROTOCOL, "the store sends fewer octets than it said");
	rc = digest_proof_check(v->root, v->size, v->offset, v->length, received_leaf, v,
	                        (const uint8_t(*)[DIGEST_SIZE])v->proof, v->n_proof);
	if (rc == ERR_DENIED)
		return err_set(why, ERR_PROTOCOL,
		               "what the store sends does not match its notification");
	if (rc != 0)
		return err_set(why, rc, "check what the store sent: %s", err_phrase(rc));
	v->fits = true;
	return 0;
}

struct span verify_take(const struct verify *v, uint64_t at, uint64_t end)
{
	uint64_t have = v->offset + v->got;

	if (end > have)
		end = have;
	if (!v->fits || at < v->offset || at >= end)
		return span_of(NULL, 0);
	return span_of(v->room + (at - v->offset), (size_t)(end - at));
}
