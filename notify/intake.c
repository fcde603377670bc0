#include "notify/intake.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "wire/frame.h"

/* The most results of one command: the addressees of a notifyMany that fills a frame stay below. */
#define RESULTS_MAX 4096
/* Notices of one mailbox with the same id that a withdrawal looks at. Ids are random: more than
 * one is somebody's doing, and the work that it causes is bounded. */
#define SAME_ID_MAX 8

static size_t count_results(const struct rnasp_command *c)
{
	switch (c->kind) {
	case RNASP_NOTIFY:
		return c->u.notify.notifications.count;
	case RNASP_NOTIFY_MANY:
		return c->u.notify_many.addressees.count;
	case RNASP_WITHDRAW:
		return c->u.withdraw.notifications.count;
	default:
		return 0;
	}
}

/*
 * Proof of the sender's domain: the certificate covers it, and the store that
 * readers are sent to is that domain or covered too (protocol.md section 11).
 */
static bool verify(const struct policy_source *source, intake_covers *covers, void *ctx)
{
	return covers(ctx, mailbox_domain(&source->sender)) && covers(ctx, source->store);
}

/* What is known without the database of a source that N notifications come from. */
static void look(struct intake_batch *b, const struct policy_source *source, size_t n,
                 intake_covers *covers, void *ctx, struct intake_source *out)
{
	unsigned wait_s = 0;

	out->verified = verify(source, covers, ctx);
	if (out->verified && b->flood != NULL) {
		wait_s = flood_origin(b->flood, mailbox_domain(&source->sender), n);
	}
	out->later = wait_s > 0;
	b->retry_s = wait_s > b->retry_s ? wait_s : b->retry_s;
}

/* Takes the next notification, and how many recipients it has, of those that a command carries. */
static bool next_source(const struct intake_batch *b, struct wire_list *rest, size_t i,
                        struct wire_notification *n, size_t *recipients)
{
	if (b->command.kind == RNASP_NOTIFY_MANY) {
		*n = b->command.u.notify_many.common;
		*recipients = b->n;
		return i == 0;
	}
	*recipients = 1;
	return wire_notification_next(rest, n);
}

static bool in_question(const struct intake_batch *b, const struct intake_source *s)
{
	return !s->later && (s->verified || b->policy->keep_unverified);
}

/* What the operator's tables say, of those whom nothing else keeps out. */
static int look_up(struct intake_batch *b)
{
	struct wire_list rest = b->command.u.notify.notifications;
	struct kv_txn *t = db_read_begin(b->db);
	struct policy_source source;
	struct wire_notification n;
	size_t recipients;
	int r = t == NULL ? ERR_IO : 0;

	for (size_t i = 0; r == 0 && next_source(b, &rest, i, &n, &recipients); i++) {
		struct intake_source *s = &b->sources[i];

		if (in_question(b, s) && policy_source(&n, &source) == 0) {
			r = db_rule_verdict(b->db, t, DB_OPERATOR, &source.sender, &s->operators,
			                    &s->strangers);
		}
	}
	db_read_end(t);
	return r == 0 ? 0 : ERR_IO; /* a damaged record is not the command's fault */
}

static int judge(struct intake_batch *b, intake_covers *covers, void *ctx)
{
	struct wire_list rest = b->command.u.notify.notifications;
	struct policy_source source;
	struct wire_notification n;
	bool any = false;
	size_t recipients;

	for (size_t i = 0; next_source(b, &rest, i, &n, &recipients); i++) {
		if (policy_source(&n, &source) == 0) {
			look(b, &source, recipients, covers, ctx, &b->sources[i]);
		}
		any = any || in_question(b, &b->sources[i]);
	}
	return any ? look_up(b) : 0;
}

/*
 * A withdrawal names no store. The peer may withdraw what a store announced
 * that its certificate covers; what is not there is passed over.
 */
static int find_mark(struct intake_batch *b, struct kv_txn *t, const struct rnasp_addressee *a,
                     intake_covers *covers, void *ctx)
{
	char store[NAME_DOMAIN_MAX + 1];
	struct db_announcement announcement;
	struct db_mailbox mailbox;
	struct db_notice notice;
	struct mailbox name;
	int r;

	if (wire_mailbox_to_name(&a->recipient, &name) != 0) {
		return 0;
	}
	r = db_mailbox_find(b->db, t, &name, &mailbox);
	for (unsigned skip = 0; r == 0 && skip < SAME_ID_MAX; skip++) {
		if ((r = db_notice_find_id(b->db, t, mailbox.number, a->id, skip, &notice)) != 0 ||
		    (r = db_announcement_get(b->db, t, notice.announcement, &announcement)) != 0) {
			break;
		}
		if (span_copy(announcement.store, store, sizeof store) == 0 && covers(ctx, store)) {
			b->marks[b->n_marks++] =
			    (struct intake_mark) { mailbox.number, notice.cursor };
			return 0;
		}
	}
	return r == ERR_NOT_FOUND ? 0 : r;
}

static int find_marks(struct intake_batch *b, intake_covers *covers, void *ctx)
{
	struct wire_list rest = b->command.u.withdraw.notifications;
	struct kv_txn *t = db_read_begin(b->db);
	struct rnasp_addressee a;
	int r = t == NULL ? ERR_IO : 0;

	while (r == 0 && rnasp_addressee_next(&rest, &a)) {
		r = find_mark(b, t, &a, covers, ctx);
	}
	db_read_end(t);
	return r == 0 ? 0 : ERR_IO; /* a damaged record is not the command's fault */
}

static int prepare(struct intake_batch *b, struct span body, intake_covers *covers, void *ctx)
{
	size_t limit;
	int r = rnasp_command_decode(span_of(b->octets, body.n), body.n, &b->command);

	if (r != 0) {
		return r == ERR_AGAIN ? ERR_MALFORMED : r;
	}
	if (b->command.kind == RNASP_UNKNOWN) {
		return ERR_UNSUPPORTED;
	}
	b->n = count_results(&b->command);
	limit = b->command.kind == RNASP_NOTIFY_MANY ? RESULTS_MAX : LIMIT_NOTIFICATIONS;
	if (b->n > limit) {
		return ERR_TOO_BIG;
	}
	b->sources = calloc(b->n + 1, sizeof *b->sources);
	b->results = calloc(b->n + 1, 1);
	b->mailboxes = calloc(b->n + 1, sizeof *b->mailboxes);
	b->marks = calloc(b->n + 1, sizeof *b->marks);
	if (b->flood != NULL && !b->local) {
		flood_address_charge(b->flood, &b->submitter.address, b->n);
	}
	if (b->sources == NULL || b->results == NULL || b->mailboxes == NULL || b->marks == NULL) {
		return ERR_NOMEM;
	}
	return b->command.kind == RNASP_WITHDRAW ? find_marks(b, covers, ctx)
	                                         : judge(b, covers, ctx);
}

int intake_create(const struct intake_place *place, const struct wire_endpoint *submitter,
                  struct span body, intake_covers *covers, void *ctx, struct intake_batch **out)
{
	struct intake_batch *b = calloc(1, sizeof *b + body.n);
	int r;

	if (b == NULL) {
		return ERR_NOMEM;
	}
	memcpy(b->octets, body.p, body.n);
	b->job.apply = intake_apply;
	b->db = place->db;
	b->policy = place->policy;
	b->flood = place->flood;
	b->local = submitter == NULL;
	b->submitter = submitter == NULL ? (struct wire_endpoint) { 0 } : *submitter;
	b->now_us = clock_now_us();
	if ((r = prepare(b, body, covers, ctx)) != 0) {
		intake_free(b);
		return r;
	}
	*out = b;
	return 0;
}

void intake_free(struct intake_batch *b)
{
	if (b != NULL) {
		free(b->sources);
		free(b->results);
		free(b->mailboxes);
		free(b->marks);
		free(b);
	}
}

bool intake_settled(struct intake_batch *b)
{
	if (b->command.kind == RNASP_WITHDRAW) {
		return b->n_marks == 0;
	}
	for (size_t i = 0; i < b->n; i++) {
		const struct intake_source *source =
		    &b->sources[b->command.kind == RNASP_NOTIFY_MANY ? 0 : i];
		const struct policy_facts facts = { .operators = source->operators };

		if (!source->verified && !b->policy->keep_unverified) {
			b->results[i] = WIRE_NOTIFY_UNVERIFIED;
		} else if (source->later) {
			b->results[i] = WIRE_NOTIFY_TRY_LATER;
		} else if (policy_refuses(&facts)) {
			b->results[i] = WIRE_NOTIFY_REFUSED;
		} else {
			return false;
		}
	}
	return true;
}

/* --- in the write transaction ------------------------------------------------------------- */

/* What is alike for the recipients at hand: kept on the first that needs it. */
struct common {
	const struct wire_notification *n;
	struct policy_source source;
	struct intake_source judged;
	bool readable, fits, kept;
	struct db_announcement announcement;
	int notices; /* added of it */
	uint8_t der[LIMIT_NOTIFICATION_OCTETS + 64];
};

static void common_init(struct common *c, const struct wire_notification *n,
                        const struct intake_source *judged)
{
	struct span der;

	c->n = n;
	c->judged = *judged;
	c->kept = false;
	c->notices = 0;
	c->source = (struct policy_source) { 0 };
	c->readable = policy_source(n, &c->source) == 0;
	c->fits =
	    wire_notification_encode(n, c->der, sizeof c->der, &der) == 0 && policy_fits(n, der.n);
	c->announcement = (struct db_announcement) {
		.der = c->fits ? der : span_of(NULL, 0),
		.verified = judged->verified,
	};
	if (c->readable) {
		c->announcement.store = span_str(c->source.store);
		c->announcement.origin = span_str(mailbox_domain(&c->source.sender));
	}
}

static int common_done(struct intake_batch *b, struct kv_txn *t, const struct common *c)
{
	return c->notices == 0
	           ? 0
	           : db_announcement_refer(b->db, t, c->announcement.number, c->notices);
}

static int add_notice(struct intake_batch *b, struct kv_txn *t, struct common *c, uint32_t mailbox,
                      const uint8_t id[WIRE_ID_SIZE])
{
	struct db_notice notice = {
		.mailbox = mailbox,
		.received_us = b->now_us,
		.expires_us = policy_drop_us(b->policy, c->n, b->now_us),
		.submitter = b->submitter,
	};
	int r;

	memcpy(notice.id, id, WIRE_ID_SIZE);
	if (!c->kept) {
		if ((r = db_announcement_add(b->db, t, &c->announcement)) != 0) {
			return r;
		}
		c->kept = true;
	}
	if ((r = db_notice_add(b->db, t, &c->announcement, &notice)) != 0) {
		return r;
	}
	c->notices++;
	b->mailboxes[b->n_mailboxes++] = mailbox;
	return 0;
}

/* One recipient of what C announces. *RESULT is set; an error is the database's. */
static int take(struct intake_batch *b, struct kv_txn *t, struct common *c,
                const struct wire_mailbox *recipient, const uint8_t id[WIRE_ID_SIZE],
                uint8_t *result)
{
	struct policy_facts facts = { .verified = c->judged.verified,
		                      .later = c->judged.later,
		                      .operators = c->judged.operators };
	bool strangers;
	struct db_notice notice = { 0 };
	struct db_mailbox mailbox;
	struct mailbox name;
	int r;

	if (!c->readable || !c->fits) {
		*result = c->judged.verified || b->policy->keep_unverified ? WIRE_NOTIFY_REFUSED
		                                                    : WIRE_NOTIFY_UNVERIFIED;
		return 0;
	}
	if (wire_mailbox_to_name(recipient, &name) == 0) {
		r = db_mailbox_find(b->db, t, &name, &mailbox);
		if (r != 0 && r != ERR_NOT_FOUND) {
			return r;
		}
		facts.served = r == 0;
	}
	if (facts.served) {
		r = db_notice_find(b->db, t, mailbox.number, c->announcement.store, id, &notice);
		if (r != 0 && r != ERR_NOT_FOUND) {
			return r;
		}
		facts.repeated = r == 0;
		facts.kept = mailbox.kept;
		facts.over = c->n->has_expires && c->n->expires <= b->now_us;
		r = db_rule_verdict(b->db, t, mailbox.number, &c->source.sender, &facts.users,
		                    &strangers);
		if (r != 0) {
			return r;
		}
		facts.strangers = strangers || c->judged.strangers;
		r = db_notice_count_origin(b->db, t, mailbox.number, c->announcement.origin,
		                           &facts.kept_origin);
		if (r != 0) {
			return r;
		}
	}
	*result = (uint8_t)policy_decide(b->policy, &facts);
	if (*result != WIRE_NOTIFY_ACCEPTED) {
		return 0;
	}
	if (facts.repeated) {
		notice.received_us = b->now_us;
		return db_notice_put(b->db, t, &notice);
	}
	return add_notice(b, t, c, mailbox.number, id);
}

static int apply_notify(struct intake_batch *b, struct kv_txn *t)
{
	struct wire_list rest = b->command.u.notify.notifications;
	struct wire_notification n;
	struct common c;
	size_t i = 0;
	int r;

	while (wire_notification_next(&rest, &n)) {
		common_init(&c, &n, &b->sources[i]);
		if ((r = take(b, t, &c, &n.recipient, n.id, &b->results[i])) != 0 ||
		    (r = common_done(b, t, &c)) != 0) {
			return r;
		}
		i++;
	}
	return 0;
}

static int apply_notify_many(struct intake_batch *b, struct kv_txn *t)
{
	struct wire_list rest = b->command.u.notify_many.addressees;
	struct rnasp_addressee a;
	struct common c;
	size_t i = 0;
	int r;

	common_init(&c, &b->command.u.notify_many.common, &b->sources[0]);
	while (rnasp_addressee_next(&rest, &a)) {
		if ((r = take(b, t, &c, &a.recipient, a.id, &b->results[i])) != 0) {
			return r;
		}
		i++;
	}
	return common_done(b, t, &c);
}

static int apply_withdraw(struct intake_batch *b, struct kv_txn *t)
{
	struct db_notice notice;
	int r;

	for (size_t i = 0; i < b->n_marks; i++) {
		r = db_notice_get(b->db, t, b->marks[i].mailbox, b->marks[i].cursor, &notice);
		if (r == ERR_NOT_FOUND || (r == 0 && notice.withdrawn)) {
			continue; /* acknowledged meanwhile, or said twice */
		}
		notice.withdrawn = true;
		if (r != 0 || (r = db_notice_move(b->db, t, &notice)) != 0) {
			return r;
		}
		b->mailboxes[b->n_mailboxes++] = notice.mailbox;
	}
	return 0;
}

static int apply_command(struct intake_batch *b, struct kv_txn *t)
{
	switch (b->command.kind) {
	case RNASP_NOTIFY:
		return apply_notify(b, t);
	case RNASP_NOTIFY_MANY:
		return apply_notify_many(b, t);
	case RNASP_WITHDRAW:
		return apply_withdraw(b, t);
	default:
		return ERR_INTERNAL;
	}
}

int intake_apply(struct writer_job *job, struct kv_txn *t)
{
	struct intake_batch *b = (struct intake_batch *)job;
	int r;

	b->n_mailboxes = 0; /* an attempt before this one may have been undone */
	if ((r = apply_command(b, t)) != 0) {
		kv_write_fail(t, r); /* notifications before the one that failed are written */
	}
	return r;
}

/* Whether all notifications are too many: then it is said once, with the time to wait. */
static bool all_later(const struct intake_batch *b)
{
	for (size_t i = 0; i < b->n; i++) {
		if (b->results[i] != WIRE_NOTIFY_TRY_LATER) {
			return false;
		}
	}
	return b->retry_s > 0;
}

int intake_response(const struct intake_batch *b, int result, uint8_t *buf, size_t cap,
                    struct span *out)
{
	uint8_t octets[RESULTS_MAX * 3 + 16]; /* a result is three octets of DER */
	struct rnasp_response response = { .status = WIRE_STATUS_OK, .kind = b->command.kind };
	struct wire_list_writer list;

	if (result != 0) {
		return wire_error_response(result == ERR_FULL ? WIRE_STATUS_NOT_ENOUGH_ROOM
		                                              : WIRE_STATUS_INTERNAL_PROBLEM,
		                           true, span_str("the notifications could not be stored"),
		                           true, 60, buf, cap, out);
	}
	if (all_later(b)) {
		return wire_error_response(WIRE_STATUS_TRY_LATER, true,
		                           span_str("the domain sends too many notifications"),
		                           true, b->retry_s, buf, cap, out);
	}
	wire_list_writer_init(&list, octets, sizeof octets);
	for (size_t i = 0; i < b->n && b->command.kind != RNASP_WITHDRAW; i++) {
		int r = rnasp_result_append(&list, b->results[i]);

		if (r != 0) {
			return r;
		}
	}
	response.u.notify.results = wire_list_view(&list);
	return rnasp_response_encode(&response, buf, cap, out);
}
