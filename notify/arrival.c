#include "notify/arrival.h"

#include <string.h>

/* An address may take so many octets more than the one it stands in place of. */
#define ADDRESSED_OCTETS (LIMIT_NOTIFICATION_OCTETS + NAME_LOCAL_MAX + WIRE_LABELS_MAX + 64)

void arrival_begin(struct arrival *a, struct intake_batch *batch, struct kv_txn *t,
                   const struct wire_notification *n, const struct intake_source *judged)
{
	struct span der;

	a->batch = batch;
	a->t = t;
	a->n = n;
	a->judged = *judged;
	a->source = (struct policy_source) { 0 };
	a->kept = (struct arrival_kept) { 0 };
	a->readable = policy_source(n, &a->source) == 0;
	a->fits = wire_notification_encode(n, a->der, sizeof a->der, &der) == 0 &&
	          policy_fits(batch->policy, n, der.n);
	a->kept.announcement = (struct db_announcement) {
		.der = a->fits ? der : span_of(NULL, 0),
		.verified = judged->verified,
	};
	if (a->readable) {
		a->kept.announcement.store = span_str(a->source.store);
		a->kept.announcement.origin = span_str(mailbox_domain(&a->source.sender));
	}
}

static int refer(struct arrival *a, const struct arrival_kept *k)
{
	return k->notices == 0 ? 0
	                       : db_announcement_refer(a->batch->db, a->t, k->announcement.number,
	                                               k->notices);
}

int arrival_end(struct arrival *a)
{
	return refer(a, &a->kept);
}

static int add_notice(struct arrival *a, struct arrival_kept *k, uint32_t mailbox,
                      const uint8_t id[WIRE_ID_SIZE])
{
	struct intake_batch *b = a->batch;
	struct db_notice notice = {
		.mailbox = mailbox,
		.received_us = b->now_us,
		.expires_us = policy_drop_us(b->policy, a->n, b->now_us),
		.submitter = b->submitter,
	};
	int r;

	memcpy(notice.id, id, WIRE_ID_SIZE);
	if (!k->there) {
		if ((r = db_announcement_add(b->db, a->t, &k->announcement)) != 0) {
			return r;
		}
		k->there = true;
	}
	if ((r = db_notice_add(b->db, a->t, &k->announcement, &notice)) != 0) {
		return r;
	}
	k->notices++;
	return intake_wake(b, mailbox);
}

/* What is known before the recipient is looked at. */
static struct policy_facts facts_of(const struct arrival *a)
{
	return (struct policy_facts) {
		.verified = a->judged.verified,
		.later = a->judged.later,
		.operators = a->judged.operators,
	};
}

/* What MAILBOX says of it. *NOTICE is the one it has already, its `announcement` 0 if none. */
static int ask(struct arrival *a, const struct db_target *target, const uint8_t id[WIRE_ID_SIZE],
               uint8_t *result, struct db_notice *notice)
{
	struct intake_batch *b = a->batch;
	struct policy_facts facts = facts_of(a);
	bool strangers;
	int r = db_notice_find(b->db, a->t, target->mailbox, a->kept.announcement.store, id,
	                       notice);

	if (r != 0 && r != ERR_NOT_FOUND) {
		return r;
	}
	facts.served = true;
	facts.repeated = r == 0;
	if (!facts.repeated) {
		notice->announcement = 0;
	}
	facts.kept = target->kept;
	facts.over = a->n->has_expires && a->n->expires <= b->now_us;
	if ((r = db_rule_verdict(b->db, a->t, target->mailbox, &a->source.sender, &facts.users,
	                         &strangers)) != 0 ||
	    (r = db_notice_count_origin(b->db, a->t, target->mailbox, a->kept.announcement.origin,
	                                &facts.kept_origin)) != 0) {
		return r;
	}
	facts.strangers = strangers || a->judged.strangers;
	*result = (uint8_t)policy_decide(b->policy, &facts);
	return 0;
}

/* MAILBOX accepts it: a repeat has its time renewed. */
static int keep(struct arrival *a, struct arrival_kept *k, const struct db_target *target,
                const uint8_t id[WIRE_ID_SIZE], struct db_notice *notice)
{
	if (notice->announcement == 0) {
		return add_notice(a, k, target->mailbox, id);
	}
	notice->received_us = a->batch->now_us;
	return db_notice_put(a->batch->db, a->t, notice);
}

/*
 * For an address that is not the mailbox's own name: it is kept as it was
 * addressed, since the reader shall see where it was sent to.
 */
static int keep_addressed(struct arrival *a, const struct wire_mailbox *recipient,
                          const uint8_t id[WIRE_ID_SIZE], const struct db_targets *targets,
                          const uint8_t *results)
{
	struct arrival_kept own = { .announcement = a->kept.announcement };
	struct wire_notification n = *a->n;
	uint8_t der[ADDRESSED_OCTETS];
	struct db_notice notice;
	uint8_t result;
	int r;

	n.recipient = *recipient;
	memcpy(n.id, id, WIRE_ID_SIZE);
	own.announcement.addressed = true;
	r = wire_notification_encode(&n, der, sizeof der, &own.announcement.der);
	for (unsigned i = 0; r == 0 && i < targets->n; i++) {
		if (results[i] == WIRE_NOTIFY_ACCEPTED &&
		    (r = ask(a, &targets->item[i], id, &result, &notice)) == 0) {
			r = keep(a, &own, &targets->item[i], id, &notice);
		}
	}
	return r != 0 ? r : refer(a, &own);
}

/* What several say, as one: who is full has it sent again later, to all. */
static uint8_t join(const uint8_t *results, unsigned n)
{
	uint8_t joint = results[0];

	for (unsigned i = 0; i < n; i++) {
		if (results[i] == WIRE_NOTIFY_FULL) {
			return WIRE_NOTIFY_FULL;
		}
		if (results[i] == WIRE_NOTIFY_ACCEPTED) {
			joint = WIRE_NOTIFY_ACCEPTED;
		}
	}
	return joint;
}

static int give(struct arrival *a, const struct wire_mailbox *recipient,
                const uint8_t id[WIRE_ID_SIZE], const struct db_targets *targets, uint8_t *result)
{
	uint8_t results[DB_ALIAS_TARGETS];
	struct db_notice notice;
	int r = 0;

	for (unsigned i = 0; r == 0 && i < targets->n; i++) {
		r = ask(a, &targets->item[i], id, &results[i], &notice);
	}
	if (r != 0) {
		return r;
	}
	*result = join(results, targets->n);
	if (*result != WIRE_NOTIFY_ACCEPTED) {
		return 0;
	}
	return targets->named ? keep(a, &a->kept, &targets->item[0], id, &notice)
	                      : keep_addressed(a, recipient, id, targets, results);
}

int arrival_take(struct arrival *a, const struct wire_mailbox *recipient,
                 const uint8_t id[WIRE_ID_SIZE], uint8_t *result)
{
	const struct policy_settings *policy = a->batch->policy;
	const struct policy_facts facts = facts_of(a);
	struct db_targets targets;
	struct mailbox name;
	int r = ERR_NOT_FOUND;

	/* Who proves nothing, or is refused whoever it is for, costs no look at a mailbox: so
	 * nothing can be learnt of mailboxes, by the time it takes either. */
	*result = (uint8_t)policy_decide(policy, &facts);
	if (*result == WIRE_NOTIFY_NO_USER && (!a->readable || !a->fits)) {
		*result = WIRE_NOTIFY_REFUSED;
	}
	if (*result != WIRE_NOTIFY_NO_USER) {
		return 0;
	}
	if (wire_mailbox_to_name(recipient, &name) == 0) {
		r = db_address_find(a->batch->db, a->t, &name, policy->tag, &targets);
	}
	if (r != 0) {
		return r == ERR_NOT_FOUND ? 0 : r;
	}
	return give(a, recipient, id, &targets, result);
}
