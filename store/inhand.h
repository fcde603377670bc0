/*
 * The submissions with a submissionId that sessions have in hand, or that are on their way to the
 * disk after their session's end: so that a client which comes back at once finds what it sent
 * before, and does not begin anew beside it (protocol.md 8.2).
 */
#ifndef IM2000_STORE_INHAND_H
#define IM2000_STORE_INHAND_H

#include <stdbool.h>
#include <stdint.h>

struct inhand; /* one a process; thread-safe */

/* One submission's; its owner fills it and keeps it until inhand_remove. */
struct inhand_entry {
	uint32_t account;
	uint8_t submission_id[16];
	struct inhand_entry *next; /* inhand's own */
};

int inhand_create(struct inhand **out); /* 0, ERR_NOMEM, ERR_INTERNAL */
void inhand_free(struct inhand *h);     /* no entry may be left; NULL is fine */
void inhand_add(struct inhand *h, struct inhand_entry *e);
void inhand_remove(struct inhand *h, struct inhand_entry *e);
/* True when some submission of ACCOUNT has this id. What a submission left in the database stands
 * there before its entry goes. */
bool inhand_has(struct inhand *h, uint32_t account, const uint8_t submission_id[16]);
/* True when no other submission than E has its id. */
bool inhand_alone(struct inhand *h, const struct inhand_entry *e);

#endif
