/*
 * Proofs of ranges of a message (protocol.md section 7), made from the leaf
 * hashes that are kept; and those hashes computed from the octets, a little in
 * each turn of the loop, for a message of which they are not.
 */
#ifndef IM2000_STORE_PROVING_H
#define IM2000_STORE_PROVING_H

#include "message/digest.h"
#include "store/service.h"

struct proving_proof {
	uint8_t hash[DIGEST_PROOF_MAX][DIGEST_SIZE];
	size_t n;
};

/*
 * Makes the proof of LENGTH octets of M from OFFSET on, after digest_widen. 0; ERR_NOT_FOUND (a
 * leaf that it takes is not kept: proving_start), or an error of db.h.
 */
int proving_make(struct db *db, struct kv_txn *t, const struct db_message *m, uint64_t offset,
                 uint64_t length, struct proving_proof *out);

struct proving;

/*
 * Computes the leaf hashes of message NUMBER of SIZE octets on W's loop, and has them
 * kept where that can be. DONE comes once, never from inside this call, with 0 and the proof of the
 * range, or an error of db.h (the message is gone: ERR_NOT_FOUND). 0 or ERR_NOMEM.
 */
int proving_start(struct service_worker *w, uint64_t number, uint64_t size, uint64_t offset,
                  uint64_t length,
                  void (*done)(void *ctx, int error, const struct proving_proof *proof), void *ctx,
                  struct proving **out);
/* No DONE after this. Until then only. NULL is fine. */
void proving_cancel(struct proving *p);

#endif
