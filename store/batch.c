#include "store/batch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "store/delivery.h"
#include "store/notice.h"

#define CLASSES 16 /* times of next attempts of one job that are told apart */

struct batch *batch_create(struct db *db, enum db_job_kind kind, bool encodes)
{
	struct batch *b = malloc(sizeof(*b) + (encodes ? BATCH_LIST_OCTETS : 0));

	if (b == NULL)
		return NULL;
	memset(b, 0, sizeof(*b));
	b->job.apply = batch_apply;
	b->db = db;
	b->kind = kind;
	b->encodes = encodes;
	if (encodes)
		wire_list_writer_init(&b->list, b->room, BATCH_LIST_OCTETS);
	return b;
}

void batch_free(struct batch *b)
{
	free(b);
}

/* --- choosing ---------------------------------------------------------------------------- */

static bool is_due(const struct round_job *j, const struct db_delivery *d)
{
	if (d->next_us == 0 || d->next_us > j->job.due_us)
		return false;
	return j->job.kind == DB_JOB_NOTIFY ? !d->withdrawn : d->withdrawn && !d->told_withdrawn;
}

/* Appends N, without what takes it over the limit of one notification. */
static int append_notification(struct wire_list_writer *w, struct wire_notification *n)
{
	struct wire_list_writer before = *w;
	int err = wire_notification_append(w, n);

	if (err == 0 && w->n - before.n > LIMIT_NOTIFICATION_OCTETS && n->has_structure) {
		*w = before;
		n->has_structure = false;
		err = wire_notification_append(w, n);
	}
	if (err == 0 && w->n - before.n > LIMIT_NOTIFICATION_OCTETS) {
		*w = before;
		n->has_header = false;
		err = wire_notification_append(w, n);
	}
	return err;
}

static int append(struct batch *b, const struct settings *s, const struct ids *ids,
                  const struct db_message *m, const struct db_delivery *d)
{
	struct wire_notification n;
	struct rnasp_addressee a;
	struct notice notice;
	int err;

	if (!b->encodes)
		return 0;
	if (b->kind == DB_JOB_NOTIFY) {
		err = notice_make(s, ids, m, d->index, d->mailbox, &notice, &n);
		return err != 0 ? err : append_notification(&b->list, &n);
	}
	err = notice_addressee(ids, m, d->index, d->mailbox, &notice, &a.recipient, a.id);
	return err != 0 ? err : rnasp_addressee_append(&b->list, &a);
}

/*
 * Whether deliveries of M are to be told of now. ERR_NOT_FOUND: never, the job is
 * idle; ERR_CLOSED: its lifetime has just ended, the sweep will settle it.
 */
static int check_message(const struct db_message *m, enum db_job_kind kind, uint64_t now_us)
{
	if (m->state == DB_EXPIRED || (kind == DB_JOB_NOTIFY && m->state != DB_STORED))
		return ERR_NOT_FOUND;
	return now_us >= m->expires_us ? ERR_CLOSED : 0;
}

static int add_items(struct batch *b, struct kv_txn *t, const struct settings *s,
                     const struct ids *ids, struct round_job *j, const struct db_message *m)
{
	uint32_t end = j->job.first + j->job.count;
	struct db_delivery d;
	int err;

	if (end > m->recipients)
		end = m->recipients;
	for (; j->next < end; j->next++) {
		err = db_delivery_get(b->db, t, m->number, j->next, &d);
		if (err != 0 && err != ERR_NOT_FOUND && err != ERR_MALFORMED)
			return err;
		if (err != 0 || !is_due(j, &d))
			continue;
		if (b->n == BATCH_ITEMS)
			return ERR_AGAIN;
		err = append(b, s, ids, m, &d);
		if (err == ERR_TOO_BIG && b->n > 0)
			return ERR_AGAIN;
		if (err != 0) {
			log_error("notice", "message=%llu index=%u error=\"%s\"",
			          (unsigned long long)m->number, j->next, err_phrase(err));
			continue; /* no later attempt would go better */
		}
		b->items[b->n++].index = j->next;
	}
	return 0;
}

int batch_add(struct batch *b, struct kv_txn *t, const struct settings *s, const struct ids *ids,
              struct round_job *j, uint64_t now_us)
{
	struct batch_job *entry;
	struct db_message m;
	int err;

	if (b->n_jobs == BATCH_JOBS || b->n == BATCH_ITEMS)
		return ERR_AGAIN;
	entry = &b->jobs[b->n_jobs];
	*entry = (struct batch_job) {
		.job = j,
		.first = b->n,
		.jitter = (uint32_t)random_below(MAILROOM_JITTER),
	};
	err = db_message_get(b->db, t, j->job.message, &m);
	if (err == 0)
		err = check_message(&m, b->kind, now_us);
	if (err == 0)
		err = add_items(b, t, s, ids, j, &m);
	else if (err == ERR_NOT_FOUND)
		err = 0; /* nothing to tell: the job goes */
	if (err != 0 && err != ERR_AGAIN)
		j->failed = true;
	j->exhausted = err != ERR_AGAIN;
	entry->n = b->n - entry->first;
	if (err == ERR_AGAIN && entry->n == 0)
		return err; /* it begins with the next batch */
	b->n_jobs++;
	j->batches++;
	return err;
}

int batch_encode(const struct batch *b, uint8_t *buf, size_t cap, struct span *out)
{
	struct rnasp_command c = { 0 };

	if (b->kind == DB_JOB_NOTIFY) {
		c.kind = RNASP_NOTIFY;
		c.u.notify.notifications = wire_list_view(&b->list);
	} else {
		c.kind = RNASP_WITHDRAW;
		c.u.withdraw.notifications = wire_list_view(&b->list);
	}
	return rnasp_command_encode(&c, buf, cap, out);
}

/* --- results ----------------------------------------------------------------------------- */

void batch_outcome(struct batch *b, enum mailroom_outcome outcome, struct span text)
{
	struct span safe = delivery_text(text, b->text);

	for (size_t i = 0; i < b->n; i++) {
		b->items[i].outcome = outcome;
		b->items[i].text = safe;
	}
	b->now_us = clock_now_us();
}

enum mailroom_outcome batch_failure(int error)
{
	switch (error) {
	case ERR_NO_DOMAIN:
		return MAILROOM_NO_DOMAIN;
	case ERR_NO_SERVICE:
		return MAILROOM_NO_SERVICE;
	case ERR_TLS:
	case ERR_PROTOCOL:
	case ERR_MALFORMED:
	case ERR_TOO_BIG:
		return MAILROOM_PROTOCOL_ERROR;
	case ERR_NOMEM:
		return MAILROOM_TRY_LATER; /* ours */
	default:
		return MAILROOM_NO_SERVER;
	}
}

/* What one result of `notify` means. */
static void note_result(struct batch_item *item, enum wire_notify_result result)
{
	static const struct {
		enum mailroom_outcome outcome;
		const char *text;
	} meaning[WIRE_NOTIFY_COUNT] = {
		[WIRE_NOTIFY_ACCEPTED] = { MAILROOM_ACCEPTED, "" },
		[WIRE_NOTIFY_NO_USER] = { MAILROOM_NO_USER, "the agent has no such mailbox" },
		[WIRE_NOTIFY_REFUSED] = { MAILROOM_REFUSED, "refused by the recipient's policy" },
		[WIRE_NOTIFY_FULL] = { MAILROOM_FULL, "the mailbox is full" },
		[WIRE_NOTIFY_TRY_LATER] = { MAILROOM_TRY_LATER, "the agent says: later" },
		[WIRE_NOTIFY_UNVERIFIED] = { MAILROOM_REFUSED,
		                             "not verified: the agent does not take this store's "
		                             "certificate for the "
		                             "sender's domain" },
	};

	if ((size_t)result < WIRE_NOTIFY_COUNT) {
		item->outcome = meaning[result].outcome;
		item->text = span_str(meaning[result].text);
	} else {
		item->outcome = MAILROOM_TRY_LATER;
		item->text = span_str("the agent gave a result that this store does not know");
	}
}

/* An answer to the command as a whole that is not ok. */
static void note_status(struct batch *b, const struct rnasp_response *r)
{
	enum mailroom_outcome outcome = MAILROOM_PROTOCOL_ERROR;
	char text[256];

	switch (r->status) {
	case WIRE_STATUS_TRY_LATER:
	case WIRE_STATUS_SERVICE_SHUTDOWN:
	case WIRE_STATUS_INTERNAL_PROBLEM:
	case WIRE_STATUS_NOT_ENOUGH_ROOM:
	case WIRE_STATUS_COMMAND_TIMEOUT:
		outcome = MAILROOM_TRY_LATER;
		break;
	default:
		break;
	}
	snprintf(text, sizeof(text), "the agent answered %s%s%.*s", wire_status_name(r->status),
	         r->text.n > 0 ? ": " : "", (int)(r->text.n < 150 ? r->text.n : 150),
	         r->text.n > 0 ? (const char *)r->text.p : "");
	batch_outcome(b, outcome, span_str(text));
}

int batch_answer(struct batch *b, struct span body)
{
	enum rnasp_kind kind = b->kind == DB_JOB_NOTIFY ? RNASP_NOTIFY : RNASP_WITHDRAW;
	enum wire_notify_result result;
	struct rnasp_response r;
	struct wire_list rest;

	if (rnasp_response_decode(body, body.n, &r) != 0) {
		batch_outcome(b, MAILROOM_PROTOCOL_ERROR,
		              span_str("the agent's answer is malformed"));
		return ERR_PROTOCOL;
	}
	if (r.status != WIRE_STATUS_OK) {
		note_status(b, &r);
		return 0;
	}
	batch_outcome(b, MAILROOM_ACCEPTED, span_of(NULL, 0));
	if (kind == RNASP_WITHDRAW)
		return 0;
	if (r.kind != kind || r.u.notify.results.count != b->n) {
		batch_outcome(b, MAILROOM_PROTOCOL_ERROR,
		              span_str("the agent's answer is not to this command"));
		return ERR_PROTOCOL;
	}
	rest = r.u.notify.results;
	for (size_t i = 0; i < b->n && rnasp_result_next(&rest, &result); i++)
		note_result(&b->items[i], result);
	return 0;
}

/* --- writing ----------------------------------------------------------------------------- */

/* For the rule: what was tried. */
struct attempt {
	const struct batch *b;
	const struct batch_job *entry;
	const struct batch_item *item;
	uint64_t expires_us;
};

static bool attempt_rule(struct mailroom_delivery *d, void *ctx)
{
	const struct attempt *a = ctx;

	if (a->b->kind == DB_JOB_WITHDRAW) {
		if (!d->withdrawn || d->told_withdrawn)
			return false;
		return mailroom_told(d, a->item->outcome, a->b->now_us, a->expires_us,
		                     a->entry->jitter);
	}
	/* Another job with this delivery was quicker. */
	if (!d->withdrawn && d->next_us > a->entry->job->job.due_us)
		return false;
	return mailroom_notified(d, a->item->outcome, a->b->now_us, a->expires_us,
	                         a->entry->jitter);
}

/* Times of next attempts for which a job was put already. */
struct classes {
	size_t n;
	struct {
		uint64_t due_us;
		enum db_job_kind kind;
	} seen[CLASSES];
};

/* A job for the range of J at the delivery's next attempt, once for all that share it. */
static int put_next(struct db *db, struct kv_txn *t, const struct round_job *j,
                    const struct mailroom_delivery *d, struct classes *c)
{
	struct db_job next = j->job;

	if (d->next_us == 0)
		return 0;
	/* Never this job again, even when the clock was set back: it may be removed. */
	next.due_us = d->next_us > j->job.due_us ? d->next_us : j->job.due_us + 1;
	next.kind = d->withdrawn ? DB_JOB_WITHDRAW : DB_JOB_NOTIFY;
	next.attempts = (uint16_t)(j->job.attempts < UINT16_MAX ? j->job.attempts + 1 : UINT16_MAX);
	for (size_t i = 0; i < c->n; i++)
		if (c->seen[i].due_us == next.due_us && c->seen[i].kind == next.kind)
			return 0;
	if (c->n < CLASSES) {
		c->seen[c->n].due_us = next.due_us;
		c->seen[c->n++].kind = next.kind;
	}
	return db_job_put(db, t, &next);
}

/* Damage is db_check's to tell: one bad record must not hold up the others. */
static bool goes_on(int err)
{
	return err == 0 || err == ERR_NOT_FOUND || err == ERR_MALFORMED;
}

static int apply_items(const struct batch *b, struct kv_txn *t, const struct batch_job *entry)
{
	const struct round_job *j = entry->job;
	struct attempt a = { .b = b, .entry = entry };
	struct classes classes = { .n = 0 };
	struct delivery_result result;
	struct db_message m;
	uint32_t lost = 0;
	int err = db_message_get(b->db, t, j->job.message, &m);

	if (err != 0)
		return goes_on(err) ? 0 : err;
	a.expires_us = m.expires_us;
	for (size_t i = entry->first; i < entry->first + entry->n; i++) {
		a.item = &b->items[i];
		err = delivery_apply(b->db, t, j->job.account, j->job.message, a.item->index,
		                     attempt_rule, &a, &a.item->text, &result);
		if (!goes_on(err))
			return err;
		if (err != 0)
			continue;
		lost += result.lost_reader;
		err = put_next(b->db, t, j, &result.now, &classes);
		if (err != 0)
			return err;
	}
	err = delivery_readers_gone(b->db, t, j->job.message, lost);
	return goes_on(err) ? 0 : err;
}

int batch_apply(struct writer_job *job, struct kv_txn *txn)
{
	const struct batch *b = (const struct batch *)job;
	int err = 0;

	for (size_t i = 0; err == 0 && i < b->n_jobs; i++) {
		const struct batch_job *entry = &b->jobs[i];

		if (entry->n > 0)
			err = apply_items(b, txn, entry);
		if (err == 0 && entry->retire) {
			err = db_job_remove(b->db, txn, &entry->job->job);
			if (err == ERR_NOT_FOUND)
				err = 0;
		}
	}
	return err;
}
