/*
 * Quota, reserved at the envelope (protocol.md section 5): what a submission was promised counts
 * for its account from then on, so that two at once are never promised more than the quota has.
 *
 * What a submission has in the database counts there (db_message_usage: the larger of octets held
 * and expected), which lasts over a restart as the submission does. A share is the rest of the
 * promise, in memory; it goes with its submission. Both are looked at in one state of the
 * database, so that octets that land between two looks count once.
 *
 * Submissions with one submissionId count as one, for one of them can land: whoever was cut off
 * comes again while the session of before is still waiting. Accounts without a quota have no
 * shares.
 */
#ifndef IM2000_STORE_QUOTA_H
#define IM2000_STORE_QUOTA_H

#include <stdint.h>

#include "store/db.h"

struct quota;       /* one a process; thread-safe */
struct quota_share; /* one submission's; one thread uses it at a time */

int quota_create(struct quota **out); /* 0, ERR_NOMEM, ERR_INTERNAL */
void quota_free(struct quota *q);     /* no share may be left; NULL is fine */

struct quota_want {
	uint32_t account;
	const uint8_t *submission_id; /* 16 octets; NULL: none */
	uint64_t number;              /* of the message; 0: not known yet */
	uint64_t octets;              /* that the submission may come to; 0: not known */
};
/*
 * 0, and *OUT is the share (quota_drop), NULL where the account has no quota; ERR_TOO_BIG: there is
 * no room for so many octets, or for none at all; ERR_NOT_FOUND: there is no such account;
 * ERR_NOMEM, or an error of db.h.
 */
int quota_take(struct quota *q, struct db *db, const struct quota_want *want,
               struct quota_share **out);
/* The number of the message is known. SHARE may be NULL, here and below. */
void quota_number(struct quota_share *share, uint64_t number);
/* The submission may come to OCTETS, if that is more than was promised. Errors as above. */
int quota_grow(struct quota_share *share, uint64_t octets);
/* The submission is over: it landed, was taken back, or what is left of it is in the database. */
void quota_drop(struct quota_share *share);

/* Octets that all shares together were promised. */
uint64_t quota_promised(struct quota *q);

#endif
