#include "notify/intake.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "notify/arrival.h"
#include "wire/frame.h"

/* The most results of one command: the addressees of a notifyMany that fills a frame stay below. */
#define RESULTS_MAX 4096
/* Notices of one mailbox with the same id that a withdrawal looks at. Ids are random: more than
 * one is somebody's doing, and the work that it causes is bounded. */
#define SAME_ID_MAX 8
/* Of one mailbox's notice: keys and values in all tables, without the announcement. */
#define NOTICE_OCTETS 320

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

static bool same_source(const struct policy_source *a, const struct policy_source *b)
{
	return strcmp(mailbox_domain(&a->sender), mailbox_domain(&b->sender)) == 0 &&
	       strcmp(a->store, b->store) == 0;
}

/*
 * What is known without the database of a source that N notifications come from. BEFORE: what was
 * found of the same one in this batch, or NULL; a flood of one source is looked at once a command.
 */
static void look(struct intake_batch *b, const struct policy_source *source, size_t n,
                 intake_covers *covers, void *ctx, const struct intake_source *before,
                 struct intake_source *out)
{
	const char *origin = mailbox_domain(&source->sender);
	unsigned wait_s = 0;

	out->verified = before != NULL ? before->verified : verify(source, covers, ctx);
	if (before != NULL && (before->later || !before->verified)) {
		out->later = before->later;
		return;
	}
	if (b->flood != NULL && (out->verified || !b->local)) {
		wait_s = flood_unknown_wait(b->flood, out->verified ? origin : NULL,
		                            &b->submitter.address);
	}
	if (wait_s == 0 && out->verified && b->flood != NULL) {
		wait_s = flood_origin(b->flood, origin, n);
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
	const struct intake_source *before = NULL;
	struct policy_source source, last;
	struct wire_notification n;
	bool any = false;
	size_t recipients;

	for (size_t i = 0; next_source(b, &rest, i, &n, &recipients); i++) {
		if (policy_source(&n, &source) == 0) {
			bool same = before != NULL && same_source(&source, &last);

			look(b, &source, recipients, covers, ctx, same ? before : NULL,
			     &b->sources[i]);
			before = &b->sources[i];
			last = source;
		}
		any = any || in_question(b, &b->sources[i]);
	}
	return any ? look_up(b) : 0;
}

static int add_mark(struct intake_batch *b, const struct db_notice *notice)
{
	if (b->n_marks == b->cap_marks) {
		size_t cap = b->cap_marks == 0 ? 64 : b->cap_marks * 2;
		struct intake_mark *more = realloc(b->marks, cap * sizeof *more);

		if (more == NULL) {
			return ERR_NOMEM;
		}
		b->marks = more;
		b->cap_marks = cap;
	}
	b->marks[b->n_marks++] = (struct intake_mark) { notice->mailbox, notice->cursor };
	return 0;
}

/*
 * A withdrawal names no store. The peer may withdraw what a store announced
 * that its certificate covers; what is not there is passed over.
 */
static int find_mark(struct intake_batch *b, struct kv_txn *t, uint32_t mailbox,
                     const uint8_t id[WIRE_ID_SIZE], intake_covers *covers, void *ctx)
{
	char store[NAME_DOMAIN_MAX + 1];
	struct db_announcement announcement;
	struct db_notice notice;
	int r = 0;

	for (unsigned skip = 0; r == 0 && skip < SAME_ID_MAX; skip++) {
		if ((r = db_notice_find_id(b->db, t, mailbox, id, skip, &notice)) != 0 ||
		    (r = db_announcement_get(b->db, t, notice.announcement, &announcement)) != 0) {
			break;
		}
		if (span_copy(announcement.store, store, sizeof store) == 0 && covers(ctx, store)) {
			return add_mark(b, &notice);
		}
	}
	return r == ERR_NOT_FOUND ? 0 : r;
}

/* Whom its address reaches now, as when it was notified. */
static int find_marks_of(struct intake_batch *b, struct kv_txn *t, const struct rnasp_addressee *a,
                         intake_covers *covers, void *ctx)
{
	struct db_targets targets;
	struct mailbox name;
	int r;

	if (wire_mailbox_to_name(&a->recipient, &name) != 0) {
		return 0;
	}
	r = db_address_find(b->db, t, &name, b->policy->tag, &targets);
	for (unsigned i = 0; r == 0 && i < targets.n; i++) {
		r = find_mark(b, t, targets.item[i].mailbox, a->id, covers, ctx);
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
		r = find_marks_of(b, t, &a, covers, ctx);
	}
	db_read_end(t);
	return r == 0 ? 0 : ERR_IO; /* a damaged record is not the command's fault */
}

static int prepare(struct intake_batch *b, struct span body, intake_covers *covers, void *ctx)
{
	int r = rnasp_command_decode(span_of(b->octets, body.n), body.n, &b->command);

	if (r != 0) {
		return r == ERR_AGAIN ? ERR_MALFORMED : r;
	}
	if (b->command.kind == RNASP_UNKNOWN) {
		return ERR_UNSUPPORTED;
	}
	b->n = count_results(&b->command);
	/* Of a notifyMany the frame is the limit. */
	if (b->n > RESULTS_MAX || (b->command.kind != RNASP_NOTIFY_MANY &&
	                           !policy_fits_count(b->policy, b->n))) {
		return ERR_TOO_BIG;
	}
	b->sources = calloc(b->n + 1, sizeof *b->sources);
	b->results = calloc(b->n + 1, 1);
	if (b->flood != NULL && !b->local) {
		flood_address_charge(b->flood, &b->submitter.address, b->n);
	}
	if (b->sources == NULL || b->results == NULL) {
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
	b->body_n = body.n;
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

int intake_wake(struct intake_batch *b, uint32_t mailbox)
{
	if (b->n_mailboxes == b->cap_mailboxes) {
		size_t cap = b->cap_mailboxes == 0 ? b->n + 1 : b->cap_mailboxes * 2;
		uint32_t *more = realloc(b->mailboxes, cap * sizeof *more);

		if (more == NULL) {
			return ERR_NOMEM;
		}
		b->mailboxes = more;
		b->cap_mailboxes = cap;
	}
	b->mailboxes[b->n_mailboxes++] = mailbox;
	return 0;
}

static int apply_notify(struct intake_batch *b, struct kv_txn *t)
{
	struct wire_list rest = b->command.u.notify.notifications;
	struct wire_notification n;
	struct arrival a;
	size_t i = 0;
	int r;

	while (wire_notification_next(&rest, &n)) {
		arrival_begin(&a, b, t, &n, &b->sources[i]);
		if ((r = arrival_take(&a, &n.recipient, n.id, &b->results[i])) != 0 ||
		    (r = arrival_end(&a)) != 0) {
			return r;
		}
		i++;
	}
	return 0;
}

static int apply_notify_many(struct intake_batch *b, struct kv_txn *t)
{
	struct wire_list rest = b->command.u.notify_many.addressees;
	struct rnasp_addressee to;
	struct arrival a;
	size_t i = 0;
	int r;

	arrival_begin(&a, b, t, &b->command.u.notify_many.common, &b->sources[0]);
	while (rnasp_addressee_next(&rest, &to)) {
		if ((r = arrival_take(&a, &to.recipient, to.id, &b->results[i])) != 0) {
			return r;
		}
		i++;
	}
	return arrival_end(&a);
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
		if (r != 0 || (r = db_notice_withdraw(b->db, t, &notice)) != 0 ||
		    (r = intake_wake(b, notice.mailbox)) != 0) {
			return r;
		}
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
	if (b->command.kind != RNASP_WITHDRAW &&
	    (r = kv_claim(t, b->body_n + b->n * NOTICE_OCTETS)) != 0) {
		return r;
	}
	if ((r = apply_command(b, t)) != 0) {
		kv_write_fail(t, r); /* notifications before the one that failed are written */
	}
	return r;
}

void intake_charge_unknown(const struct intake_batch *b)
{
	struct wire_list rest = b->command.u.notify.notifications;
	bool many = b->command.kind == RNASP_NOTIFY_MANY;
	struct policy_source source;
	struct wire_notification n;
	size_t recipients, unknown = 0;

	for (size_t i = 0; i < b->n; i++) {
		unknown += b->results[i] == WIRE_NOTIFY_NO_USER;
	}
	if (unknown == 0 || b->flood == NULL) {
		return;
	}
	for (size_t i = 0; next_source(b, &rest, i, &n, &recipients); i++) {
		bool verified = b->sources[i].verified;

		if ((many || b->results[i] == WIRE_NOTIFY_NO_USER) && (verified || !b->local) &&
		    policy_source(&n, &source) == 0) {
			flood_unknown_charge(b->flood,
			                     verified ? mailbox_domain(&source.sender) : NULL,
			                     &b->submitter.address, many ? unknown : 1);
		}
	}
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
		                           span_str("too many notifications, or for nobody"),
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
