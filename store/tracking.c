/* MSOAP track and cancel: what became of a message, and taking it back. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "store/delivery.h"
#include "store/mailroom.h"
#include "store/originator_state.h"

#define TRACK_DEFAULT 1000 /* deliveries that are answered when the client says nothing */
#define CANCEL_STEP 1000   /* deliveries that one transaction changes */

/* --- track ------------------------------------------------------------------------------- */

static int append_delivery(struct wire_list_writer *w, const struct db_delivery *d)
{
	uint8_t labels[WIRE_LABELS_MAX];
	struct mailbox name;
	struct msoap_delivery out = {
		.notification = (enum wire_notification_status)d->notification,
		.read = (enum wire_read_status)d->read,
		.pinned = d->pinned,
		.attempts = d->attempts,
		.changed = d->changed_us,
		.has_next_attempt = d->next_us != 0 && !d->withdrawn,
		.next_attempt = d->next_us,
		.has_text = d->text.n > 0,
		.text = d->text,
	};
	const uint8_t *at = memrchr(d->mailbox.p, '@', d->mailbox.n);

	if (at == NULL)
		return ERR_MALFORMED;
	if (span_copy(d->mailbox, name.text, sizeof(name.text)) != 0)
		return ERR_MALFORMED;
	name.local_n = (size_t)(at - d->mailbox.p);
	wire_mailbox_from_name(&name, labels, &out.recipient);
	return msoap_delivery_append(w, &out);
}

/* The deliveries from index FIRST on, as many as there is room and LIMIT for. */
static int list_deliveries(struct originator *o, struct kv_txn *t, const struct db_message *m,
                           uint64_t first, uint64_t limit, struct msoap_track_done *out)
{
	struct db *db = o->worker->service->db;
	struct wire_list_writer w;
	struct db_delivery d;
	uint64_t i;
	int err;

	wire_list_writer_init(&w, o->worker->list_room, SERVICE_LIST_OCTETS);
	for (i = first; i < m->recipients && w.count < limit; i++) {
		err = db_delivery_get(db, t, m->number, (uint32_t)i, &d);
		if (err != 0)
			return err;
		err = append_delivery(&w, &d);
		if (err == ERR_TOO_BIG)
			break;
		if (err != 0)
			return err;
	}
	out->deliveries = wire_list_view(&w);
	out->has_next = i < m->recipients;
	out->next = i;
	return 0;
}

void tracking_track(struct originator *o, const struct msoap_command *c)
{
	const struct msoap_track *k = &c->u.track;
	struct msoap_response r = { .kind = MSOAP_TRACK };
	struct kv_txn *t = db_read_begin(o->worker->service->db);
	struct db_message m;
	int err = ERR_NOMEM;

	if (t != NULL)
		err = originator_message(o, t, k->id, &m);
	if (err == 0) {
		/* The cursor is the index of the first delivery that was not told yet. */
		err = list_deliveries(o, t, &m, k->after, k->has_limit ? k->limit : TRACK_DEFAULT,
		                      &r.u.track);
		if (err == ERR_NOT_FOUND)
			err = ERR_MALFORMED; /* a delivery is missing: not the client's affair */
	}
	/* The list is a copy: nothing of the transaction is needed any more. */
	db_read_end(t);
	if (err == 0)
		originator_reply(o, &r);
	else if (err == ERR_NOT_FOUND)
		originator_error(o, WIRE_STATUS_NO_SUCH_MESSAGE, false, NULL);
	else
		originator_trouble(o, err, false);
}

/* --- cancel ------------------------------------------------------------------------------ */

struct tracking_job {
	struct writer_job job; /* first */
	struct originator *o;  /* NULL: the session is over */
	struct service_worker *worker;
	uint64_t message, now_us;
	bool whole;
	struct addressees names; /* when not WHOLE */
	uint32_t next;           /* first delivery of this step */
	/* What a step comes to. */
	uint32_t end; /* first delivery of the next step */
	bool last;
	uint32_t step_found;
	uint32_t found; /* of all steps */
};

static bool cancel_rule(struct mailroom_delivery *d, void *ctx)
{
	return mailroom_cancelled(d, *(const uint64_t *)ctx);
}

/* A run of deliveries of one domain whose agents are to be told. */
struct run {
	uint32_t first, count;
	uint64_t due_us;
	char domain[NAME_DOMAIN_MAX + 1];
};

static int put_run(struct tracking_job *k, struct kv_txn *t, uint32_t account, struct run *run)
{
	struct db_job job = {
		.due_us = run->due_us,
		.message = k->message,
		.first = run->first,
		.count = run->count,
		.kind = DB_JOB_WITHDRAW,
		.account = account,
		.domain = span_str(run->domain),
	};

	if (run->count == 0)
		return 0;
	run->count = 0;
	return db_job_put(k->worker->service->db, t, &job);
}

/* Delivery I of MAILBOX is to be told of at DUE_US. */
static int add_to_run(struct tracking_job *k, struct kv_txn *t, uint32_t account, uint32_t i,
                      const char *mailbox, uint64_t due_us, struct run *run)
{
	const char *domain = addressees_domain(mailbox);
	int err;

	if (run->count > 0 && strcmp(run->domain, domain) == 0 && run->due_us == due_us) {
		run->count = i - run->first + 1;
		return 0;
	}
	err = put_run(k, t, account, run);
	run->first = i;
	run->count = 1;
	run->due_us = due_us;
	(void)span_copy(span_str(domain), run->domain, sizeof(run->domain));
	return err;
}

/* Cancels the deliveries of one step. *LOST: how many of them may no longer read. */
static int cancel_deliveries(struct tracking_job *k, struct kv_txn *t, uint32_t account,
                             uint32_t end, uint32_t *lost)
{
	struct db *db = k->worker->service->db;
	struct run run = { .count = 0 };
	struct delivery_result result;
	struct db_delivery d;
	char mailbox[NAME_MAILBOX_MAX + 1];
	int err = 0;

	for (uint32_t i = k->next; err == 0 && i < end; i++) {
		err = db_delivery_get(db, t, k->message, i, &d);
		if (err == ERR_NOT_FOUND || err == ERR_MALFORMED) {
			err = 0; /* db_check tells of it; the others are cancelled */
			continue;
		}
		if (err != 0)
			break;
		(void)span_copy(d.mailbox, mailbox, sizeof(mailbox));
		if (!k->whole && !addressees_has(&k->names, mailbox))
			continue;
		k->step_found++;
		err = delivery_apply(db, t, account, k->message, i, cancel_rule, &k->now_us, NULL,
		                     &result);
		*lost += result.lost_reader;
		if (err == 0 && result.changed && result.now.next_us != 0)
			err = add_to_run(k, t, account, i, mailbox, result.now.next_us, &run);
	}
	return err == 0 ? put_run(k, t, account, &run) : err;
}

static int cancel_apply(struct writer_job *job, struct kv_txn *txn)
{
	struct tracking_job *k = (struct tracking_job *)job;
	struct db *db = k->worker->service->db;
	struct db_message m;
	uint32_t lost = 0, account;
	int err = db_message_get(db, txn, k->message, &m);

	if (err != 0)
		return err;
	if (m.state == DB_EXPIRED)
		return ERR_CLOSED;
	k->step_found = 0;
	k->end = m.recipients - k->next > CANCEL_STEP ? k->next + CANCEL_STEP : m.recipients;
	k->last = k->end == m.recipients;
	account = m.account;
	if (k->whole && m.state != DB_WITHDRAWN) {
		/* From here on nobody can read it, whatever the steps to come. */
		m.state = DB_WITHDRAWN;
		m.readers = 0;
		m.freed = true;
		err = db_message_put(db, txn, &m);
	}
	if (err == 0)
		err = cancel_deliveries(k, txn, account, k->end, &lost);
	if (err == 0 && !k->whole)
		err = delivery_readers_gone(db, txn, k->message, lost);
	return err;
}

static void cancel_free(struct tracking_job *k)
{
	addressees_free(&k->names);
	free(k);
}

static void cancel_answer(struct originator *o, const struct tracking_job *k, int result)
{
	struct msoap_response r = { .kind = MSOAP_CANCEL };

	if (result == ERR_CLOSED)
		originator_error(o, WIRE_STATUS_WITHDRAWN, false, "its lifetime is over");
	else if (result == ERR_NOT_FOUND)
		originator_error(o, WIRE_STATUS_NO_SUCH_MESSAGE, false, NULL);
	else if (result != 0)
		originator_trouble(o, result, false);
	else if (!k->whole && k->found == 0)
		originator_error(o, WIRE_STATUS_NO_SUCH_MAILBOX, false,
		                 "the message has no such recipient");
	else
		originator_reply(o, &r);
}

static void cancel_done(struct writer_job *job, int result)
{
	struct tracking_job *k = (struct tracking_job *)job;
	struct originator *o = k->o;

	if (result == 0) {
		k->found += k->step_found;
		k->next = k->end;
		/* A cancellation that was begun is carried through, with or without its session. */
		if (!k->last) {
			writer_submit(k->worker->writer, &k->job);
			return;
		}
		atomic_store(&k->worker->service->blobs_to_sweep, true);
		service_kick(k->worker->service);
	}
	if (o != NULL) {
		o->job = NULL;
		cancel_answer(o, k, result);
	}
	cancel_free(k);
}

/* The message's number, which the capability names. 0, ERR_NOT_FOUND or another error. */
static int find_message(struct originator *o, const uint8_t id[16], uint64_t *number)
{
	struct kv_txn *t = db_read_begin(o->worker->service->db);
	struct db_message m;
	int err = t == NULL ? ERR_NOMEM : originator_message(o, t, id, &m);

	if (err == 0)
		*number = m.number;
	db_read_end(t);
	return err;
}

void tracking_cancel(struct originator *o, const struct msoap_command *c)
{
	const struct wire_list none = { .count = 0 };
	const struct msoap_cancel *e = &c->u.cancel;
	struct tracking_job *k;
	uint64_t number;
	int err = find_message(o, e->id, &number);

	if (err == ERR_NOT_FOUND) {
		originator_error(o, WIRE_STATUS_NO_SUCH_MESSAGE, false, NULL);
		return;
	}
	k = err == 0 ? calloc(1, sizeof(*k)) : NULL;
	if (k == NULL) {
		originator_trouble(o, err != 0 ? err : ERR_NOMEM, false);
		return;
	}
	if (e->has_recipients)
		err = addressees_read(e->recipients, none, UINT32_MAX, &k->names);
	if (err != 0) {
		cancel_free(k);
		originator_trouble(o, err, false);
		return;
	}
	k->job.apply = cancel_apply;
	k->job.done = cancel_done;
	k->o = o;
	k->worker = o->worker;
	k->message = number;
	k->whole = !e->has_recipients;
	k->now_us = clock_now_us();
	o->job = k;
	writer_submit(o->worker->writer, &k->job);
}

void tracking_close(struct originator *o)
{
	if (o->job != NULL)
		o->job->o = NULL;
}
