/*
 * The rules of the notification agent, as functions: which notification is
 * kept, which is refused and how. No sockets, no database. protocol.md
 * sections 10 and 11.
 */
#ifndef IM2000_NOTIFY_POLICY_H
#define IM2000_NOTIFY_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/name.h"
#include "notify/rule.h"
#include "wire/common.h"

struct policy_settings {
	bool keep_unverified;     /* unverified = keep */
	bool refuse_strangers;    /* strangers = refuse */
	uint32_t mailbox_notices; /* kept for a mailbox at most */
	uint32_t origin_notices;  /* of those, from one origin domain */
	/* 0: as protocol.md section 6 has them. */
	uint32_t max_notifications; /* or withdrawals, of one command */
	uint32_t max_octets;        /* of one notification, encoded; never more than protocol.md's */
	uint64_t retention_us;    /* kept at most this long */
	char tag;                 /* what divides a tag from a name (user+tag); 0: there are none */
};

/* What a notification says of its source, read once. */
struct policy_source {
	struct mailbox sender;
	char store[NAME_DOMAIN_MAX + 1]; /* domain of storeTls */
};

/*
 * Reads sender and store of N. 0, or ERR_MALFORMED: the sender is no mailbox or the store is not
 * named by its domain; no agent may keep that.
 */
int policy_source(const struct wire_notification *n, struct policy_source *out);

/* Whether a `notify` or `withdraw` of N is within the limit. */
bool policy_fits_count(const struct policy_settings *s, size_t n);
/* Whether N itself is within S and the limits of protocol.md section 10 (DER_OCTETS: its encoding).
 */
bool policy_fits(const struct policy_settings *s, const struct wire_notification *n,
                 size_t der_octets);

/* What is known when the decision is made. */
struct policy_facts {
	bool verified; /* the store proved the sender's domain, and may be named in storeTls */
	bool later;    /* too many come from the sender's domain */
	bool served;   /* the recipient is a mailbox of this agent */
	bool repeated; /* (store, id, mailbox) is kept already */
	bool over;     /* its expiry has passed */
	/* What the operator's tables and the mailbox's say of the sender, and whether one of them
	 * refuses strangers. */
	enum rule_verdict operators, users;
	bool strangers;
	uint32_t kept, kept_origin;
};

/*
 * Whether the operator's tables alone refuse the sender, whoever the recipient is: of F,
 * only `operators` counts. Needs no look at a mailbox.
 */
bool policy_refuses(const struct policy_facts *f);

/*
 * The result for one notification. The operator's word goes over the mailbox's; a word that lets
 * in counts for a proved sender only, since anybody can write a name. Who is not verified learns
 * nothing of mailboxes: `unverified` comes before `noUser`.
 */
enum wire_notify_result policy_decide(const struct policy_settings *s,
                                      const struct policy_facts *f);

/* When a notice received at NOW_US is dropped: its expiry or the retention, whichever is first. */
uint64_t policy_drop_us(const struct policy_settings *s, const struct wire_notification *n,
                        uint64_t now_us);

#endif
