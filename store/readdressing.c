/*
 * MSOAP readdress: more recipients for a stored message, as further deliveries
 * behind those that it has. Who is named again and may still read it gets no
 * second one, so the command may be said again.
 *
 *   LOOKING  who of the named has a delivery is found out, a piece in each turn of the loop
 *   WRITING  the job is at the writer; it looks at what was added since, and outlives the session
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "store/delivery.h"
#include "store/deposit.h"
#include "store/mailroom.h"
#include "store/originator_state.h"

#define LOOK_STEP 4096 /* deliveries of one turn */
#define MAX_NAMED (SERVICE_LIST_OCTETS / 3) /* recipients whose statuses fit into the answer */

struct readdressing {
	struct originator_job base; /* first */
	struct loop_timer *turn;    /* LOOKING */
	uint64_t message, now_us;
	uint32_t account;
	struct addressees to;
	uint32_t looked;   /* deliveries that were looked at */
	bool *there;       /* of each of `to`: it has one */
	bool *there_now;   /* the same at the time of the job, which may run twice */
	uint32_t *at;      /* room for the `at` of those who are new */
	/* What the job has found, for the answer. */
	uint64_t size, expires_us;
	uint16_t key;
};

static void readdress_free(struct readdressing *k)
{
	loop_timer_free(k->turn);
	addressees_free(&k->to);
	free(k->there);
	free(k->there_now);
	free(k->at);
	free(k);
}

/* --- the answer -------------------------------------------------------------------------- */

static void answer(struct originator *o, const struct readdressing *k)
{
	struct msoap_response r = { .kind = MSOAP_READDRESS };
	struct msoap_submit_envelope_done *d = &r.u.readdress;
	struct ids_name name = { .message = k->message, .kind = IDS_ORIGINATOR, .key = k->key };
	struct wire_list_writer w;
	int err = ids_make(o->worker->service->ids, &name, d->id);

	wire_list_writer_init(&w, o->worker->list_room, SERVICE_LIST_OCTETS);
	for (uint32_t i = 0; err == 0 && i < k->to.recipients; i++)
		err = msoap_submission_status_append(
		    &w, (enum wire_submission_status)k->to.statuses[i]);
	if (err != 0) {
		originator_trouble(o, err, false);
		return;
	}
	d->recipients = wire_list_view(&w);
	d->received = k->size;
	d->expires = k->expires_us;
	d->complete = true;
	originator_reply(o, &r);
}

static void answer_failure(struct originator *o, int err)
{
	if (err == ERR_NOT_FOUND)
		originator_error(o, WIRE_STATUS_NO_SUCH_MESSAGE, false, NULL);
	else if (err == ERR_CLOSED)
		originator_error(o, WIRE_STATUS_WITHDRAWN, false,
		                 "it was cancelled, or its lifetime is over");
	else if (err == ERR_DENIED)
		originator_error(o, WIRE_STATUS_NOT_PERMITTED, false,
		                 "the account may not send as the message's sender any more");
	else if (err == ERR_TOO_BIG)
		originator_error(o, WIRE_STATUS_TOO_BIG, false,
		                 "the message has too many recipients");
	else
		originator_trouble(o, err, false);
}

/* --- who has it already ------------------------------------------------------------------ */

/* Marks in THERE who of the named has one of the deliveries FIRST to END-1. */
static int look(const struct readdressing *k, struct kv_txn *t, uint32_t first, uint32_t end,
                bool *there)
{
	struct db *db = k->base.worker->service->db;
	char mailbox[NAME_MAILBOX_MAX + 1];
	struct mailroom_delivery rules;
	struct db_delivery d;
	uint32_t at;
	int err;

	for (uint32_t i = first; i < end; i++) {
		err = db_delivery_get(db, t, k->message, i, &d);
		if (err == ERR_NOT_FOUND || err == ERR_MALFORMED)
			continue; /* db_check tells of it */
		if (err != 0)
			return err;
		delivery_rules(&d, &rules);
		if (!mailroom_may_read(&rules) ||
		    span_copy(d.mailbox, mailbox, sizeof(mailbox)) != 0)
			continue;
		at = addressees_find(&k->to, mailbox);
		if (at < k->to.n)
			there[at] = true;
	}
	return 0;
}

/* --- the job ----------------------------------------------------------------------------- */

/* Whether M may get more recipients. */
static int check(const struct readdressing *k, struct kv_txn *t, const struct db_message *m)
{
	struct db_account account;
	struct mailbox sender;
	int err;

	if (m->account != k->account || m->forgotten)
		return ERR_NOT_FOUND;
	if ((m->state != DB_STORED && m->state != DB_HELD) || m->freed ||
	    m->expires_us <= k->now_us)
		return ERR_CLOSED;
	err = db_account_by_number(k->base.worker->service->db, t, k->account, &account);
	if (err != 0)
		return err == ERR_NOT_FOUND ? ERR_DENIED : err;
	if (name_parse_mailbox(m->sender, &sender) != 0 ||
	    !mailroom_may_send_as(account.senders, &sender))
		return ERR_DENIED;
	return m->recipients > UINT32_MAX - k->to.n ? ERR_TOO_BIG : 0;
}

/* Those who have no delivery yet, in order; their texts are those of K's. */
static struct addressees new_ones(const struct readdressing *k)
{
	struct addressees add = { .texts = k->to.texts, .at = k->at };

	for (uint32_t i = 0; i < k->to.n; i++)
		if (!k->there_now[i])
			add.at[add.n++] = k->to.at[i];
	return add;
}

static int readdress_apply(struct writer_job *job, struct kv_txn *txn)
{
	struct readdressing *k = (struct readdressing *)job;
	struct db *db = k->base.worker->service->db;
	struct deposit_recipients more = { .db = db, .now_us = k->now_us };
	struct addressees add;
	struct db_message m;
	int err = db_message_get(db, txn, k->message, &m);

	if (err == 0)
		err = check(k, txn, &m);
	if (err != 0)
		return err;
	memcpy(k->there_now, k->there, k->to.n * sizeof(*k->there));
	err = look(k, txn, k->looked, m.recipients, k->there_now);
	if (err != 0)
		return err;
	k->size = m.size_octets;
	k->expires_us = m.expires_us;
	k->key = m.key;
	add = new_ones(k);
	if (add.n == 0)
		return 0;
	err = kv_claim(txn, deposit_octets(add.n));
	if (err != 0)
		return err;
	more.message = m.number;
	more.account = m.account;
	more.first = m.recipients;
	more.to = &add;
	more.release_us = m.release_us;
	more.held = m.state == DB_HELD;
	m.recipients += add.n;
	m.readers += add.n;
	err = db_message_put(db, txn, &m);
	return err != 0 ? err : deposit_recipients(&more, txn);
}

static void readdress_done(struct writer_job *job, int result)
{
	struct readdressing *k = (struct readdressing *)job;
	struct originator *o = originator_done(&k->base);

	if (result == 0)
		service_kick(k->base.worker->service);
	if (o != NULL && result == 0)
		answer(o, k);
	else if (o != NULL)
		answer_failure(o, result);
	readdress_free(k);
}

/* --- the command ------------------------------------------------------------------------- */

/* The command ends without a job: ERR is answered. */
static void give_up(struct originator *o, int err)
{
	struct readdressing *k = o->readdressing;

	o->readdressing = NULL;
	answer_failure(o, err);
	readdress_free(k);
}

static void turn(void *ctx)
{
	struct originator *o = ctx;
	struct readdressing *k = o->readdressing;
	struct kv_txn *t = db_read_begin(o->worker->service->db);
	struct db_message m;
	uint32_t end = 0;
	int err = t == NULL ? ERR_NOMEM
	                    : db_message_get(o->worker->service->db, t, k->message, &m);

	if (err == 0) {
		end = m.recipients - k->looked > LOOK_STEP ? k->looked + LOOK_STEP : m.recipients;
		err = look(k, t, k->looked, end, k->there);
	}
	db_read_end(t);
	if (err != 0) {
		give_up(o, err);
		return;
	}
	k->looked = end;
	if (end < m.recipients) {
		loop_timer_start(k->turn, 0);
		return;
	}
	o->readdressing = NULL;
	originator_submit(o, &k->base);
}

static int prepare(struct originator *o, struct readdressing *k, struct wire_list recipients)
{
	const struct wire_list none = { .count = 0 };
	int err = addressees_read(recipients, none, o->settings->max_recipients, &k->to);

	if (err != 0)
		return err;
	k->there = calloc(k->to.n + 1, sizeof(*k->there));
	k->there_now = calloc(k->to.n + 1, sizeof(*k->there_now));
	k->at = calloc(k->to.n + 1, sizeof(*k->at));
	if (k->there == NULL || k->there_now == NULL || k->at == NULL)
		return ERR_NOMEM;
	return loop_timer_create(o->worker->loop, turn, o, &k->turn);
}

void readdressing_readdress(struct originator *o, const struct msoap_command *c)
{
	const struct msoap_readdress *e = &c->u.readdress;
	struct readdressing *k;
	uint64_t number;
	int err;

	if (e->recipients.count > MAX_NAMED) {
		originator_error(o, WIRE_STATUS_TOO_BIG, false, "the command names too many");
		return;
	}
	err = originator_number(o, e->id, &number);
	k = err == 0 ? calloc(1, sizeof(*k)) : NULL;
	if (k == NULL) {
		answer_failure(o, err != 0 ? err : ERR_NOMEM);
		return;
	}
	k->base.worker = o->worker;
	k->base.job.apply = readdress_apply;
	k->base.job.done = readdress_done;
	k->message = number;
	k->account = o->account;
	k->now_us = clock_now_us();
	o->readdressing = k;
	err = prepare(o, k, e->recipients);
	if (err != 0) {
		give_up(o, err);
	} else if (k->to.n == 0) {
		o->readdressing = NULL;
		readdress_free(k);
		originator_error(o, WIRE_STATUS_NOT_PERMITTED, false,
		                 e->recipients.count == 0 ? "the command names no recipient"
		                                          : "none of the recipients is acceptable");
	} else {
		turn(o);
	}
}

void readdressing_close(struct originator *o)
{
	if (o->readdressing != NULL)
		readdress_free(o->readdressing);
}
