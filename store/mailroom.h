/*
 * The rules of the store, as functions: who may, which status follows which,
 * when the next attempt is. No sockets, no database, no clock of its own.
 * protocol.md section 8.
 */
#ifndef IM2000_STORE_MAILROOM_H
#define IM2000_STORE_MAILROOM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/name.h"
#include "wire/msoap.h"
#include "wire/msrap.h"

/* What stands of a delivery for the rules. */
struct mailroom_delivery {
	enum wire_notification_status notification;
	enum wire_read_status read;
	bool pinned, withdrawn, told_withdrawn, notified;
	uint16_t attempts, failures;
	uint64_t changed_us, next_us;
};

/* What an attempt to notify came to. */
enum mailroom_outcome {
	MAILROOM_ACCEPTED,
	MAILROOM_NO_DOMAIN,      /* badDomain */
	MAILROOM_NO_SERVICE,
	MAILROOM_NO_SERVER,
	MAILROOM_PROTOCOL_ERROR,
	MAILROOM_NO_USER,
	MAILROOM_REFUSED,        /* by the recipient's policy, or unverified */
	MAILROOM_FULL,
	MAILROOM_TRY_LATER
};

/*
 * The delivery after an attempt at NOW_US: its status, and next_us by the
 * schedule (0: no further attempt). JITTER is uniform in [0, 1000000): ± 20 % for
 * retries. EXPIRES_US ends everything. True when something that the originator sees has changed.
 */
bool mailroom_notified(struct mailroom_delivery *d, enum mailroom_outcome outcome, uint64_t now_us,
                       uint64_t expires_us, uint32_t jitter);

/* The recipient's side. Each: true when something changed. */
bool mailroom_silenced(struct mailroom_delivery *d, uint64_t now_us);
bool mailroom_refused(struct mailroom_delivery *d, uint64_t now_us);
bool mailroom_unpinned(struct mailroom_delivery *d, uint64_t now_us);
bool mailroom_read(struct mailroom_delivery *d, enum wire_retrieval_type type, uint64_t now_us);
/* The originator's: cancelled; its lifetime is over. */
bool mailroom_cancelled(struct mailroom_delivery *d, uint64_t now_us);
bool mailroom_expired(struct mailroom_delivery *d, uint64_t now_us);

/* Whether this recipient may still read (so that the octets must stay). */
bool mailroom_may_read(const struct mailroom_delivery *d);

/* Whether SENDER is among the account's SENDERS (mailbox texts and "@domain", each with a NUL; db.h). */
bool mailroom_may_send_as(struct span senders, const struct mailbox *sender);

/* Seconds that a message asked for WANTED_S lives: 0 gives the default; over MAX_S is cut. */
uint64_t mailroom_lifetime_s(uint64_t wanted_s, uint64_t default_s, uint64_t max_s);

#endif
