/*
 * What comes from stores, as database work: the jobs behind RNASP's commands,
 * without sockets. intake.c's session fills a batch from a command, hands it to
 * the writer, and answers with its results.
 */
#ifndef IM2000_NOTIFY_INTAKE_H
#define IM2000_NOTIFY_INTAKE_H

#include "notify/db.h"
#include "notify/flood.h"
#include "notify/policy.h"
#include "wire/rnasp.h"

struct intake_mark {
	uint32_t mailbox;
	uint64_t cursor;
};

/* What is known of a notification's source before the writer has it. */
struct intake_source {
	bool verified; /* the peer proved it */
	bool later;    /* its domain sends too much: no more of it now */
	bool strangers;
	enum rule_verdict operators; /* the operator's tables of the sender; STRANGERS: theirs too */
};

/* Where batches are made. */
struct intake_place {
	struct db *db;
	const struct policy_settings *policy;
	struct flood *flood; /* NULL: no limits by rate */
};

/* Tells whether the peer's certificate covers DOMAIN. */
typedef bool intake_covers(void *ctx, const char *domain);

struct intake_batch {
	struct writer_job job; /* first: the writer's handle */
	struct db *db;
	const struct policy_settings *policy;
	struct flood *flood;
	bool local;
	struct rnasp_command command; /* views into OCTETS */
	struct wire_endpoint submitter;
	uint64_t now_us;
	unsigned retry_s;          /* how long an origin that sends too much has to wait; or 0 */
	size_t n;                  /* results: notifications or addressees */
	/* notify, notifyMany: of each notification, or once of what is alike for all */
	struct intake_source *sources;
	uint8_t *results;          /* enum wire_notify_result, for each */
	struct intake_mark *marks; /* withdraw: the notices that the peer may withdraw */
	size_t n_marks, cap_marks;
	uint32_t *mailboxes; /* those with something new, to be woken */
	size_t n_mailboxes, cap_mailboxes;
	void *app, *session; /* the session's own; session is NULL once it is gone */
	size_t body_n;
	uint8_t octets[];    /* the command's body */
};

/*
 * A batch for the command in BODY, which is copied; the database is read for what may be
 * withdrawn and for the operator's tables. SUBMITTER (NULL: a local one) and the origins are
 * charged for what they send. 0; ERR_MALFORMED; ERR_TOO_BIG (over max-notifications);
 * ERR_UNSUPPORTED (an unknown command); ERR_NOMEM, ERR_IO. *OUT is the caller's to free with
 * intake_free.
 */
int intake_create(const struct intake_place *place, const struct wire_endpoint *submitter,
                  struct span body, intake_covers *covers, void *ctx, struct intake_batch **out);
void intake_free(struct intake_batch *b);

/*
 * Whether B changes nothing whoever the recipients are (all unproved, too many, or refused by the
 * operator's tables; nothing to withdraw): then
 * its results are set, and it can be answered without the writer.
 */
bool intake_settled(struct intake_batch *b);

/* The job's apply. After an error the transaction is broken (kv_write_fail): nothing lands. */
int intake_apply(struct writer_job *job, struct kv_txn *t);

/* Charges the sources of what was for nobody. Once B is committed; no withdrawal. */
void intake_charge_unknown(const struct intake_batch *b);

/* MAILBOX has something new. In the apply; 0 or ERR_NOMEM. */
int intake_wake(struct intake_batch *b, uint32_t mailbox);

/* The response to a batch that was committed with RESULT. */
int intake_response(const struct intake_batch *b, int result, uint8_t *buf, size_t cap,
                    struct span *out);

#endif
