/*
 * A notification in the write transaction: whom its address reaches, what each
 * of them says of it, and what is kept. Used for one batch by intake.c alone.
 */
#ifndef IM2000_NOTIFY_ARRIVAL_H
#define IM2000_NOTIFY_ARRIVAL_H

#include "notify/intake.h"
#include "wire/frame.h"

/* What is alike for the recipients at hand. */
struct arrival {
	struct intake_batch *batch;
	struct kv_txn *t;
	const struct wire_notification *n;
	struct policy_source source;
	struct intake_source judged;
	bool readable, fits;
	struct db_posting kept; /* for those whom it names by their mailbox; when it is both */
	uint8_t der[LIMIT_NOTIFICATION_OCTETS + 64];
};

/* N arrives, from a source that was JUDGED. Views N and BATCH until arrival_end. */
void arrival_begin(struct arrival *a, struct intake_batch *batch, struct kv_txn *t,
                   const struct wire_notification *n, const struct intake_source *judged);
/*
 * One recipient of it, under ID. *RESULT (enum wire_notify_result) is set. An address of several
 * mailboxes: `full` when one of them is, and nobody gets it; else it is for those who accept, and
 * refused when nobody does. 0, or the database's error.
 */
int arrival_take(struct arrival *a, const struct wire_mailbox *recipient,
                 const uint8_t id[WIRE_ID_SIZE], uint8_t *result);
/* All its recipients are taken. 0, or the database's error. */
int arrival_end(struct arrival *a);

#endif
