/*
 * The recipients of an envelope: read, judged one by one, sorted by domain and
 * then by mailbox, each once. Pure but for memory.
 */
#ifndef IM2000_STORE_ADDRESSEES_H
#define IM2000_STORE_ADDRESSEES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/name.h"
#include "wire/msoap.h"

struct addressees {
	char *texts; /* mailbox texts, each with its NUL */
	size_t texts_n;
	uint32_t *at; /* of each mailbox, in order, its offset in texts */
	uint32_t n;   /* mailboxes to deliver to */
	/* enum wire_submission_status of each recipient, then of each list, in the order named. */
	uint8_t *statuses;
	uint32_t recipients, lists; /* named */
};

/*
 * Reads RECIPIENTS and LISTS (either may be empty). Of both together those
 * beyond MAX get tooMany. A mailbox that is named twice is delivered to once,
 * and both get a status. Lists are not served: submissionAccessDenied.
 * 0 or ERR_NOMEM. OUT needs addressees_free in any case.
 */
int addressees_read(struct wire_list recipients, struct wire_list lists, uint32_t max,
                    struct addressees *out);
void addressees_free(struct addressees *a);

static inline const char *addressees_mailbox(const struct addressees *a, uint32_t i)
{
	return a->texts + a->at[i];
}

/* The domain of a mailbox text. */
const char *addressees_domain(const char *mailbox);

/* How many mailboxes from index FIRST on have its domain; at most LIMIT. */
uint32_t addressees_run(const struct addressees *a, uint32_t first, uint32_t limit);

/* The index of MAILBOX; a->n when it is not among them. */
uint32_t addressees_find(const struct addressees *a, const char *mailbox);

#endif
