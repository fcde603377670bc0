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
#include "base/span.h"
#include "wire/enums.h"

/* What stands of a delivery for the rules. */
struct mailroom_delivery {
	enum wire_notification_status notification;
	enum wire_read_status read;
	bool pinned, withdrawn, told_withdrawn, notified;
	uint16_t attempts; /* tries made, in all */
	/* Of the present kind, in a row: times accepted (notifying), tries that failed for
	 * now, tries that were denied, tries to tell a withdrawal. */
	uint16_t failures;
	uint64_t changed_us;
	uint64_t next_us; /* next attempt (withdrawn: to tell the agent so); 0: none */
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
	MAILROOM_TRY_LATER,
	MAILROOM_OUTCOMES        /* how many there are */
};

/* JITTER of the functions below is uniform in [0, MAILROOM_JITTER): ± 20 % for retries. */
#define MAILROOM_JITTER 1000000u

/*
 * A new delivery: unprocessed, pinned, due at NOW_US or, when that is later, at
 * RELEASE_US (0: none). HELD: a draft, due never.
 */
void mailroom_begin(struct mailroom_delivery *d, bool held, uint64_t release_us, uint64_t now_us);

/*
 * The delivery after an attempt at NOW_US: its status, and next_us by the
 * schedule (0: no further attempt). EXPIRES_US ends everything: nothing is tried
 * at or after it. True when something that the originator sees has changed. An
 * answer that comes after the recipient silenced or refused, or after a
 * withdrawal, leaves the status as it is; an accepted one then sets next_us, so
 * that the agent is told of the withdrawal.
 *
 * accepted: notifying, repeated after 1, 3, 7 and 14 days; a repeat that fails
 * for now stays notifying and is tried again after an hour. noServer,
 * protocolError, full, tryLater (whose status stays): after a minute, doubling
 * to 4 hours. badDomain, noService, noUser, refused: after an hour, then a day;
 * after that it is final, and lets go of the octets, for nobody has a capability.
 */
bool mailroom_notified(struct mailroom_delivery *d, enum mailroom_outcome outcome, uint64_t now_us,
                       uint64_t expires_us, uint32_t jitter);

/*
 * The same for an attempt to tell the agent of a withdrawal. Accepted, noUser
 * and refused mean that it knows (told_withdrawn); the rest is retried as a
 * notification is.
 */
bool mailroom_told(struct mailroom_delivery *d, enum mailroom_outcome outcome, uint64_t now_us,
                   uint64_t expires_us, uint32_t jitter);

/*
 * The recipient's side. Each: true when something changed. Who refuses or
 * un-pins has the notification: it is not repeated. A part counts as much as
 * the headers; the read status never falls.
 */
bool mailroom_silenced(struct mailroom_delivery *d, uint64_t now_us);
bool mailroom_refused(struct mailroom_delivery *d, uint64_t now_us);
bool mailroom_unpinned(struct mailroom_delivery *d, uint64_t now_us);
bool mailroom_read(struct mailroom_delivery *d, enum wire_retrieval type, uint64_t now_us);

/*
 * The originator's: a draft is released; cancelled (an agent that accepted it is to be told at
 * once: next_us); its lifetime is over (what was denied or settled stays so).
 * Each: true when something changed.
 *
 * Extended: the lifetime has become longer, and no attempt was due before the
 * old end. What failed for now, or has second thoughts left, is tried at once;
 * what an agent had accepted is told again at AGAIN_US.
 */
bool mailroom_released(struct mailroom_delivery *d, uint64_t release_us, uint64_t now_us);
bool mailroom_extended(struct mailroom_delivery *d, uint64_t again_us, uint64_t now_us);
bool mailroom_cancelled(struct mailroom_delivery *d, uint64_t now_us);
bool mailroom_expired(struct mailroom_delivery *d, uint64_t now_us);

/* Whether this recipient may still read, so that the octets must stay: pinned, not withdrawn. */
bool mailroom_may_read(const struct mailroom_delivery *d);

/* Whether SENDER is among the account's SENDERS (mailbox texts and "@domain", each with a NUL;
 * db.h). */
bool mailroom_may_send_as(struct span senders, const struct mailbox *sender);

/* Seconds that a message asked for WANTED_S lives: 0 gives the default; over MAX_S is cut. */
uint64_t mailroom_lifetime_s(uint64_t wanted_s, uint64_t default_s, uint64_t max_s);

#endif
