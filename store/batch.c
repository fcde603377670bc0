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
#define FRAME_HEAD 64 /* of a command, with everything but its lists and notifications */

struct batch *batch_create(struct db *db, enum batch_form form, struct batch_room *room)
{
	struct batch *b = calloc(1, sizeof(*b));

	if (b == NULL)
		return NULL;
	b->job.apply = batch_apply;
	b->db = db;
	b->form = form;
	b->room = room;
	if (room != NULL)
		wire_list_writer_init(&room->list, room->octets, sizeof(room->octets) - FRAME_HEAD);
	return b;
}

void batch_free(struct batch *b)
{
	if (b == NULL)
		return;
	free(b->items);
	free(b->jobs);
	free(b);
}

enum db_job_kind batch_kind(enum batch_form form)
{
	return form == BATCH_WITHDRAW ? DB_JOB_WITHDRAW : DB_JOB_NOTIFY;
}

/* Sees to it that *AT, of CAP things of SIZE octets, has room for one more than N. */
static int grow(void **at, size_t n, size_t *cap, size_t size)
{
	size_t more = *cap == 0 ? 4 : *cap * 2;
	void *p;

	if (n < *cap)
		return 0;
	p = reallocarray(*at, more, size);
	if (p == NULL)
		return ERR_NOMEM;
	*at = p;
	*cap = more;
	return 0;
}

/* One more delivery, with no outcome yet. 0 or ERR_NOMEM. */
static int add_item(struct batch *b, uint32_t index)
{
	void *items = b->items;
	int err = grow(&items, b->n, &b->items_cap, sizeof(*b->items));

	b->items = items;
	if (err == 0)
		b->items[b->n++] = (struct batch_item) { .index = index };
	return err;
}

/* One more job, with no deliveries yet. It counts only with b->n_jobs. 0 or ERR_NOMEM. */
static int begin_job(struct batch *b, struct round_job *j)
{
	void *jobs = b->jobs;
	int err = grow(&jobs, b->n_jobs, &b->jobs_cap, sizeof(*b->jobs));

	b->jobs = jobs;
	if (err == 0)
		b->jobs[b->n_jobs] = (struct batch_job) {
			.job = j,
			.first = b->n,
			.jitter = (uint32_t)random_below(MAILROOM_JITTER),
		};
	return err;
}

static void end_job(struct batch *b)
{
	struct batch_job *entry = &b->jobs[b->n_jobs++];

	entry->n = b->n - entry->first;
	entry->job->batches++;
}

/* --- choosing ---------------------------------------------------------------------------- */

static bool is_due(const struct round_job *j, const struct db_delivery *d)
{
	if (d->next_us == 0 || d->next_us > j->job.due_us)
		return false;
	return j->job.kind == DB_JOB_NOTIFY ? !d->withdrawn : d->withdrawn && !d->told_withdrawn;
}

/* Appends N, without what takes it over the limit of one notification. */
static int append_whole(struct wire_list_writer *w, struct wire_notification *n)
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

/* One of many, the first of which says what is alike. */
static int append_one_of_many(struct batch_room *x, const struct settings *s,
                              const struct ids *ids, const struct db_message *m,
                              const struct db_delivery *d)
{
	struct wire_list_writer *w = &x->list, before = *w;
	struct rnasp_addressee a;
	struct notice notice;
	size_t octets;
	int err;

	if (w->count == 0) {
		err = notice_make(s, ids, m, d->index, d->mailbox, &x->notice, &x->common);
		if (err == 0)
			err = append_whole(w, &x->common);
		if (err != 0)
			return err;
		/* It was put there to be measured, and leaves less room for addressees. */
		x->common_octets = w->n;
		wire_list_writer_init(w, x->octets,
		                      sizeof(x->octets) - FRAME_HEAD - x->common_octets);
		before = *w;
		a.recipient = x->common.recipient;
		memcpy(a.id, x->common.id, sizeof(a.id));
	} else {
		err = notice_addressee(ids, m, d->index, d->mailbox, &notice, &a.recipient, a.id);
		if (err != 0)
			return err;
	}
	err = rnasp_addressee_append(w, &a);
	if (err != 0)
		return err;
	octets = w->n - before.n;
	if (before.count == 0) {
		x->common_octets -= octets < x->common_octets ? octets : x->common_octets;
	} else if (x->common_octets + octets + 4 > LIMIT_NOTIFICATION_OCTETS) {
		/* Its notification would be over the limit: it is the first of another batch, which
		 * leaves something out. */
		*w = before;
		return ERR_TOO_BIG;
	}
	return 0;
}

static int append(struct batch *b, const struct settings *s, const struct ids *ids,
                  const struct db_message *m, const struct db_delivery *d)
{
	struct wire_notification n;
	struct rnasp_addressee a;
	struct notice notice;
	int err;

	if (b->room == NULL)
		return 0;
	switch (b->form) {
	case BATCH_NOTIFY_MANY:
		return append_one_of_many(b->room, s, ids, m, d);
	case BATCH_NOTIFY:
		err = notice_make(s, ids, m, d->index, d->mailbox, &notice, &n);
		return err != 0 ? err : append_whole(&b->room->list, &n);
	default:
		err = notice_addressee(ids, m, d->index, d->mailbox, &notice, &a.recipient, a.id);
		return err != 0 ? err : rnasp_addressee_append(&b->room->list, &a);
	}
}

static size_t items_max(const struct batch *b)
{
	return b->form == BATCH_NOTIFY_MANY || b->room == NULL ? BATCH_MANY : LIMIT_NOTIFICATIONS;
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
		if (b->n == items_max(b))
			return ERR_AGAIN;
		err = add_item(b, j->next);
		if (err != 0)
			return err;
		err = append(b, s, ids, m, &d);
		if (err == 0)
			continue;
		b->n--;
		if (err == ERR_TOO_BIG && b->n > 0)
			return ERR_AGAIN;
		/* No later attempt would go better: it is passed over. */
		log_error("notice", "message=%llu index=%u error=\"%s\"",
		          (unsigned long long)m->number, j->next, err_phrase(err));
	}
	return 0;
}

/* Whether J may go into B beside what is in it. */
static bool goes_with(const struct batch *b, const struct round_job *j)
{
	if (j->job.kind != batch_kind(b->form) || b->n_jobs == BATCH_JOBS || b->n == items_max(b))
		return false;
	return b->form != BATCH_NOTIFY_MANY || b->n_jobs == 0 ||
	       b->jobs[0].job->job.message == j->job.message;
}

int batch_add(struct batch *b, struct kv_txn *t, const struct settings *s, const struct ids *ids,
              struct round_job *j, uint64_t now_us)
{
	struct db_message m;
	int err;

	if (!goes_with(b, j))
		return ERR_AGAIN;
	err = begin_job(b, j);
	if (err != 0) {
		j->failed = j->exhausted = true;
		return err;
	}
	err = db_message_get(b->db, t, j->job.message, &m);
	if (err == 0)
		err = check_message(&m, batch_kind(b->form), now_us);
	if (err == 0)
		err = add_items(b, t, s, ids, j, &m);
	else if (err == ERR_NOT_FOUND)
		err = 0; /* nothing to tell: the job goes */
	if (err != 0 && err != ERR_AGAIN)
		j->failed = true;
	j->exhausted = err != ERR_AGAIN;
	if (err == ERR_AGAIN && b->n == b->jobs[b->n_jobs].first)
		return err; /* it begins with the next batch */
	end_job(b);
	return err;
}

bool batch_wants(struct db *db, struct kv_txn *t, struct round_job *j, uint64_t now_us)
{
	uint32_t end = j->job.first + j->job.count;
	struct db_delivery d;
	struct db_message m;

	if (db_message_get(db, t, j->job.message, &m) != 0 ||
	    check_message(&m, j->job.kind, now_us) != 0)
		return false;
	if (end > m.recipients)
		end = m.recipients;
	for (; j->next < end; j->next++) {
		int err = db_delivery_get(db, t, m.number, j->next, &d);

		if (err == 0 && is_due(j, &d))
			return true;
		if (err != 0 && err != ERR_NOT_FOUND && err != ERR_MALFORMED)
			return false; /* batch_add will meet it */
	}
	return false;
}

int batch_add_empty(struct batch *b, struct round_job *j)
{
	int err = begin_job(b, j);

	if (err == 0)
		end_job(b);
	return err;
}

int batch_encode(struct batch *b, struct span *out)
{
	struct batch_room *x = b->room;
	struct rnasp_command c = { 0 };

	switch (b->form) {
	case BATCH_NOTIFY:
		c.kind = RNASP_NOTIFY;
		c.u.notify.notifications = wire_list_view(&x->list);
		break;
	case BATCH_NOTIFY_MANY:
		c.kind = RNASP_NOTIFY_MANY;
		c.u.notify_many.common = x->common;
		c.u.notify_many.addressees = wire_list_view(&x->list);
		break;
	default:
		c.kind = RNASP_WITHDRAW;
		c.u.withdraw.notifications = wire_list_view(&x->list);
		break;
	}
	b->room = NULL;
	return rnasp_command_encode(&c, x->frame, sizeof(x->frame), out);
}

void batch_give_back(struct batch *b)
{
	for (size_t i = 0; i < b->n_jobs; i++) {
		const struct batch_job *entry = &b->jobs[i];
		struct round_job *j = entry->job;

		j->batches--;
		j->exhausted = false;
		if (entry->n > 0 && b->items[entry->first].index < j->next)
			j->next = b->items[entry->first].index;
	}
	b->n = b->n_jobs = 0;
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

void batch_count(const struct batch *b, struct service_counts *counts)
{
	atomic_ullong *by = b->form == BATCH_WITHDRAW ? counts->told : counts->notified;

	for (size_t i = 0; i < b->n; i++)
		service_count(&by[b->items[i].outcome], 1);
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

/* What an agent says that does not know notifyMany, or not with so many. */
static bool takes_no_many(enum wire_status s)
{
	return s == WIRE_STATUS_UNSUPPORTED || s == WIRE_STATUS_TOO_BIG ||
	       s == WIRE_STATUS_MALFORMED_PDU;
}

int batch_answer(struct batch *b, struct span body)
{
	static const enum rnasp_kind kinds[] = {
		[BATCH_NOTIFY] = RNASP_NOTIFY,
		[BATCH_NOTIFY_MANY] = RNASP_NOTIFY_MANY,
		[BATCH_WITHDRAW] = RNASP_WITHDRAW,
	};
	enum rnasp_kind kind = kinds[b->form];
	enum wire_notify_result result;
	struct rnasp_response r;
	struct wire_list rest;

	if (rnasp_response_decode(body, body.n, &r) != 0) {
		batch_outcome(b, MAILROOM_PROTOCOL_ERROR,
		              span_str("the agent's answer is malformed"));
		return ERR_PROTOCOL;
	}
	if (kind == RNASP_NOTIFY_MANY && takes_no_many(r.status))
		return ERR_UNSUPPORTED;
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

	if (a->b->form == BATCH_WITHDRAW) {
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

static int apply_items(struct batch *b, struct kv_txn *t, const struct batch_job *entry)
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
	b->lost = b->lost || lost > 0;
	err = delivery_readers_gone(b->db, t, j->job.message, lost);
	return goes_on(err) ? 0 : err;
}

int batch_apply(struct writer_job *job, struct kv_txn *txn)
{
	struct batch *b = (struct batch *)job;
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
