/*
 * The submission under way in a session: takes octets, hands them to the writer
 * in batches when they are many, and makes the message durable at the end. A
 * small message is one writer job and nothing before it.
 *
 * It outlives its session where a writer job is under way. All calls are on its
 * worker's thread.
 */
#ifndef IM2000_STORE_SUBMISSION_H
#define IM2000_STORE_SUBMISSION_H

#include "store/addressees.h"
#include "store/quota.h"
#include "store/service.h"
#include "wire/enums.h"

struct submission;

/* For people, with wouldExceedQuota. */
#define SUBMISSION_NO_QUOTA "the account's quota does not leave room for it"

enum submission_event {
	SUBMISSION_READY, /* resumed, and what was stored before has been read: octets may come */
	SUBMISSION_ROOM,  /* submission_full has become false */
	SUBMISSION_ENDED, /* after submission_end: durable with status ok */
};

struct submission_options {
	struct service_worker *worker;
	uint32_t account;
	uint64_t number; /* of the message */
	uint16_t key;    /* that its ids are made with */
	struct mailbox sender;
	bool has_submission_id, has_digest, held;
	uint8_t submission_id[16], digest[32];
	uint64_t expected_octets; /* 0: not said */
	uint64_t expires_us, release_us;
	uint64_t resume_us;   /* for how long octets are kept for a submission that is cut off */
	struct addressees to; /* taken over, also on failure; so is the share */
	struct quota_share *share; /* of its account's quota; may be NULL */
	bool resumed;         /* it is in the database already: READY follows */
	uint64_t stored;      /* with so many octets */
	/*
	 * Never from inside a call. STATUS other than ok, whatever the event: the submission cannot
	 * go on, submission_drop is all that is left. TEXT is for people.
	 */
	void (*event)(void *ctx, enum submission_event event, enum wire_status status,
	              const char *text);
	void *ctx;
};

/* 0 or ERR_NOMEM. */
int submission_create(const struct submission_options *options, struct submission **out);

/* Octets taken so far, with those stored before. */
uint64_t submission_received(const struct submission *s);
/* Takes OCTETS. 0, or ERR_NOMEM or another error: then only submission_drop is left. */
int submission_feed(struct submission *s, struct span octets);
/*
 * Octets will come until there are TOTAL with those taken. 0; ERR_TOO_BIG: that is over the
 * account's quota; or another error: then only submission_drop is left.
 */
int submission_expect(struct submission *s, uint64_t total);
/* No more should be fed until SUBMISSION_ROOM. */
bool submission_full(const struct submission *s);
/* That was all: ENDED follows. */
void submission_end(struct submission *s);
/* The digest, after ENDED. */
const uint8_t *submission_digest(const struct submission *s);

/*
 * The session needs it no more; no event follows. KEEP: whole blocks are kept for
 * resumption where the submission has an id; else all of it is taken back. What
 * is at the writer already lands. NULL is fine.
 */
void submission_drop(struct submission *s, bool keep);

#endif
