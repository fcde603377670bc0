#include "notify/arrival.h"

#include <string.h>

/* An address may take so many octets more than the one it stands in place of. */
#define ADDRESSED_OCTETS (LIMIT_NOTIFICATION_OCTETS + NAME_LOCAL_MAX + WIRE_LABELS_MAX + 64)

static void post(const struct arrival *a, const struct db_announcement *announcement,
                 struct db_posting *out)
{
	db_posting_begin(out, announcement);
	out->received_us = a->batch->now_us;
	out->expires_us = policy_drop_us(a->batch->policy, a->n, a->batch->now_us);
	out->submitter = a->batch->submitter;
}

void arrival_begin(struct arrival *a, struct intake_batch *batch, struct kv_txn *t,
                   const struct wire_notification *n, const struct intake_source *judged)
{
	struct db_announcement announcement = { .verified = judged->verified };

	a->batch = batch;
	a->t = t;
	a->n = n;
	a->judged = *judged;
	a->source = (struct policy_source) { 0 };
	a->readable = policy_source(n, &a->source) == 0;
	a->fits = wire_notification_encode(n, a->der, sizeof a->der, &announcement.der) == 0 &&
	          policy_fits(batch->policy, n, announcement.der.n);
	if (a->readable && a->fits) {
		announcement.store = span_str(a->source.store);
		announcement.origin = span_str(mailbox_domain(&a->source.sender));
		post(a, &announcement, &a->kept);
	}
}

int arrival_end(struct arrival *a)
{
	return a->readable && a->fits ? db_posting_end(a->batch->db, a->t, &a->kept) : 0;
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

/* What MAILBOX says of it, and what it has. */
static int ask(struct arrival *a, const struct db_target *target, const uint8_t id[WIRE_ID_SIZE],
               uint8_t *result, struct db_look *look)
{
	struct intake_batch *b = a->batch;
	struct policy_facts facts = facts_of(a);
	bool strangers;
	int r = db_posting_look(b->db, a->t, &a->kept, target->mailbox, id, look);

	if (r != 0 || (r = db_rule_verdict(b->db, a->t, target->mailbox, &a->source.sender,
	                                   &facts.users, &strangers)) != 0) {
		return r;
	}
	facts.served = true;
	facts.repeated = look->repeated;
	facts.kept = look->kept;
	facts.kept_origin = look->kept_origin;
	facts.over = a->n->has_expires && a->n->expires <= b->now_us;
	facts.strangers = strangers || a->judged.strangers;
	*result = (uint8_t)policy_decide(b->policy, &facts);
	return 0;
}

/* MAILBOX accepts it: a repeat has its time renewed. */
static int keep(struct arrival *a, struct db_posting *p, const struct db_target *target,
                const uint8_t id[WIRE_ID_SIZE], const struct db_look *look)
{
	struct intake_batch *b = a->batch;
	int r;

	if (look->repeated) {
		return look->cursor == 0 ? 0
		                         : db_notice_renew(b->db, a->t, target->mailbox,
		                                           look->cursor, b->now_us);
	}
	r = db_posting_add(b->db, a->t, p, target->mailbox, id);
	return r != 0 ? r : intake_wake(b, target->mailbox);
}

/*
 * For an address that is not the mailbox's own name: it is kept as it was
 * addressed, since the reader shall see where it was sent to.
 */
static int keep_addressed(struct arrival *a, const struct wire_mailbox *recipient,
                          const uint8_t id[WIRE_ID_SIZE], const struct db_targets *targets,
                          const uint8_t *results)
{
	struct db_announcement announcement = a->kept.a;
	struct wire_notification n = *a->n;
	uint8_t der[ADDRESSED_OCTETS];
	struct db_posting own;
	struct db_look look;
	uint8_t result;
	int r;

	n.recipient = *recipient;
	memcpy(n.id, id, WIRE_ID_SIZE);
	announcement.addressed = true;
	if ((r = wire_notification_encode(&n, der, sizeof der, &announcement.der)) != 0) {
		return r;
	}
	post(a, &announcement, &own);
	for (unsigned i = 0; r == 0 && i < targets->n; i++) {
		if (results[i] == WIRE_NOTIFY_ACCEPTED &&
		    (r = ask(a, &targets->item[i], id, &result, &look)) == 0) {
			r = keep(a, &own, &targets->item[i], id, &look);
		}
	}
	return r != 0 ? r : db_posting_end(a->batch->db, a->t, &own);
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
	struct db_look look;
	int r = 0;

	/* What is kept otherwise is seen when the posting of those who are named has ended. */
	if (!targets->named) {
		r = db_posting_end(a->batch->db, a->t, &a->kept);
	}
	for (unsigned i = 0; r == 0 && i < targets->n; i++) {
		r = ask(a, &targets->item[i], id, &results[i], &look);
	}
	if (r != 0) {
		return r;
	}
	*result = join(results, targets->n);
	if (*result != WIRE_NOTIFY_ACCEPTED) {
		return 0;
	}
	return targets->named ? keep(a, &a->kept, &targets->item[0], id, &look)
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
