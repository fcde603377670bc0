/* MSOAP submitEnvelope and submitChunk: from the first check to the durable message. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "message/digest.h"
#include "store/inhand.h"
#include "store/mailroom.h"
#include "store/originator_state.h"

/* Recipients and lists whose statuses fit into the answer, at 3 octets each. */
#define MAX_NAMED (SERVICE_LIST_OCTETS / 3)

/* How often, and after how many microseconds, an envelope looks whether the session that had its
 * submissionId before is done: together the time in which a store sees that a connection was
 * closed, and writes what came on it. A client that vanished without a word is not waited for. */
#define PAUSES_MAX 200
#define PAUSE_US 5000

#define OTHER_MESSAGE "another message was submitted with this submissionId"

/* --- the end of a submission ------------------------------------------------------------- */

/* KEEP: what a client may come back for stays, where it gave a submissionId. */
static void give_up(struct submitting *s, struct service_worker *w, bool keep)
{
	if (s->waits_number)
		service_number_forget(w, &s->waiter);
	s->waits_number = false;
	loop_timer_free(s->pause);
	s->pause = NULL;
	submission_drop(s->submission, keep);
	s->submission = NULL;
	addressees_free(&s->options.to);
	quota_drop(s->options.share);
	s->options.share = NULL;
	free(s->statuses);
	s->statuses = NULL;
	s->phase = NO_SUBMISSION;
}

bool submitting_busy(const struct originator *o)
{
	return o->submitting.phase != NO_SUBMISSION;
}

void submitting_close(struct originator *o)
{
	give_up(&o->submitting, o->worker, true);
}

/* The session gives us what is left of the chunk, or throws it away once that is answered. */
static void unhold(struct originator *o)
{
	if (!o->submitting.held)
		return;
	o->submitting.held = false;
	server_go_on(o->session);
}

/* Answers an error that ends the submission. */
static void refuse(struct originator *o, enum wire_status status, const char *text)
{
	struct submitting *s = &o->submitting;
	/* A digest that does not fit, or too many octets, will not be right the next time. */
	bool keep = status != WIRE_STATUS_DIGEST_MISMATCH && status != WIRE_STATUS_TOO_BIG;

	unhold(o);
	give_up(s, o->worker, keep);
	originator_error(o, status, true, text);
}

static void refuse_trouble(struct originator *o, int err)
{
	unhold(o);
	give_up(&o->submitting, o->worker, true);
	originator_trouble(o, err, true);
}

/* --- the envelope: checks ---------------------------------------------------------------- */

/* Who sends: in the envelope, or the account's first. 0, ERR_DENIED, ERR_MALFORMED. */
static int find_sender(const struct msoap_submit_envelope *e, const struct db_account *account,
                       struct mailbox *out)
{
	if (!e->has_sender) {
		size_t n = account->senders.n;
		const uint8_t *end = n > 0 ? memchr(account->senders.p, 0, n) : NULL;

		if (end == NULL || account->senders.p[0] == '@')
			return ERR_MALFORMED;
		return name_parse_mailbox(
		    span_of(account->senders.p, (size_t)(end - account->senders.p)), out);
	}
	if (wire_mailbox_to_name(&e->sender, out) != 0)
		return ERR_DENIED;
	return mailroom_may_send_as(account->senders, out) ? 0 : ERR_DENIED;
}

/* A refusal: ok when there is none. */
struct verdict {
	enum wire_status status;
	const char *text;
};

static struct verdict check_account(struct originator *o, const struct msoap_submit_envelope *e,
                                    struct mailbox *sender)
{
	struct service *x = o->worker->service;
	struct kv_txn *t = db_read_begin(x->db);
	struct verdict v = { WIRE_STATUS_OK, NULL };
	struct db_account a = { 0 };
	int err = t == NULL ? ERR_NOMEM : db_account_by_number(x->db, t, o->account, &a);

	if (err == ERR_NOT_FOUND) {
		v = (struct verdict) { WIRE_STATUS_NOT_AUTHENTICATED, "the account is gone" };
	} else if (err != 0) {
		v = (struct verdict) { WIRE_STATUS_INTERNAL_PROBLEM, NULL };
	} else {
		err = find_sender(e, &a, sender);
		if (err == ERR_MALFORMED)
			v = (struct verdict) { WIRE_STATUS_NOT_PERMITTED,
				               "name a sender: the account has no default" };
		else if (err != 0)
			v = (struct verdict) { WIRE_STATUS_NOT_PERMITTED,
				               "the account may not send as this sender" };
	}
	db_read_end(t);
	return v;
}

/* Reserves what the account's quota is to have room for. */
static struct verdict check_quota(struct originator *o, const struct msoap_submit_envelope *e,
                                  uint64_t number, struct quota_share **out)
{
	const struct quota_want want = {
		.account = o->account,
		.submission_id = e->has_submission_id ? e->submission_id : NULL,
		.number = number,
		.octets = e->size,
	};
	int err = quota_take(o->worker->service->quota, o->worker->service->db, &want, out);

	if (err == 0)
		return (struct verdict) { WIRE_STATUS_OK, NULL };
	if (err == ERR_TOO_BIG)
		return (struct verdict) { WIRE_STATUS_WOULD_EXCEED_QUOTA, SUBMISSION_NO_QUOTA };
	if (err == ERR_NOT_FOUND)
		return (struct verdict) { WIRE_STATUS_NOT_AUTHENTICATED, "the account is gone" };
	if (err == ERR_NOMEM)
		return (struct verdict) { WIRE_STATUS_NOT_ENOUGH_ROOM, NULL };
	return (struct verdict) { WIRE_STATUS_INTERNAL_PROBLEM, NULL };
}

static struct verdict check_times(struct originator *o, const struct msoap_submit_envelope *e,
                                  struct submission_options *out)
{
	const struct settings *s = o->settings;
	uint64_t now = clock_now_us(), begin = now;
	uint64_t lifetime_s =
	    mailroom_lifetime_s(e->lifetime, s->default_lifetime_s, s->max_lifetime_s);

	if (lifetime_s < s->min_lifetime_s)
		return (struct verdict) { WIRE_STATUS_LIFETIME_TOO_SHORT,
			                  "the store keeps nothing for so short a time" };
	if (e->has_release_at && e->release_at > now) {
		if (e->release_at - now > s->max_lifetime_s * CLOCK_SECOND_US)
			return (struct verdict) { WIRE_STATUS_NOT_PERMITTED,
				                  "releaseAt is too far ahead" };
		begin = out->release_us = e->release_at;
	}
	out->expires_us = begin + lifetime_s * CLOCK_SECOND_US;
	return (struct verdict) { WIRE_STATUS_OK, NULL };
}

static struct verdict check_addressees(const struct msoap_submit_envelope *e,
                                       const struct addressees *to)
{
	struct verdict no = { WIRE_STATUS_NOT_PERMITTED, NULL };

	if (to->n > 0)
		return (struct verdict) { WIRE_STATUS_OK, NULL };
	if (to->recipients + to->lists == 0) {
		if (e->has_hold && e->hold)
			return (struct verdict) { WIRE_STATUS_OK, NULL };
		no.text = "the envelope names no recipient";
	} else if (to->recipients == 0) {
		no.text = "the store serves no lists";
	} else {
		no.text = "none of the recipients is acceptable";
	}
	return no;
}

static int read_addressees(const struct originator *o, const struct msoap_submit_envelope *e,
                           struct addressees *out)
{
	const struct wire_list none = { .count = 0 };

	return addressees_read(e->has_recipients ? e->recipients : none,
	                       e->has_lists ? e->lists : none, o->settings->max_recipients, out);
}

/* What the store has of a submissionId: all 0 when nothing. */
struct known {
	bool complete;
	uint64_t number, size, expires_us;
	uint16_t key;
	uint8_t digest[DIGEST_SIZE];
};

/*
 * All checks of an envelope whose submission is not finished. Fills OUT, but for what is known
 * later (number, key).
 */
static struct verdict check(struct originator *o, const struct msoap_submit_envelope *e,
                            const struct known *k, struct submission_options *out)
{
	struct verdict v;

	if (e->size > o->settings->max_message)
		return (struct verdict) { WIRE_STATUS_TOO_BIG,
			                  "the message is over the store's limit" };
	if (e->has_size && e->size < k->size)
		return (struct verdict) { WIRE_STATUS_DIGEST_MISMATCH,
			                  "more octets than that came with this submissionId" };
	v = check_account(o, e, &out->sender);
	if (v.status == WIRE_STATUS_OK)
		v = check_quota(o, e, k->number, &out->share);
	if (v.status == WIRE_STATUS_OK)
		v = check_times(o, e, out);
	if (v.status != WIRE_STATUS_OK)
		return v;
	if (read_addressees(o, e, &out->to) != 0)
		return (struct verdict) { WIRE_STATUS_NOT_ENOUGH_ROOM, NULL };
	return check_addressees(e, &out->to);
}

/* --- the envelope: what becomes of it ---------------------------------------------------- */

/* Those of FIRST to END-1. */
static int append_statuses(const uint8_t *statuses, uint32_t first, uint32_t end,
                           struct wire_list_writer *w)
{
	int err = 0;

	for (uint32_t i = first; err == 0 && i < end; i++)
		err = msoap_submission_status_append(w, (enum wire_submission_status)statuses[i]);
	return err;
}

static void answer_envelope(struct originator *o, uint64_t received)
{
	struct submitting *s = &o->submitting;
	struct msoap_response r = { .kind = MSOAP_SUBMIT_ENVELOPE };
	struct msoap_submit_envelope_done *d = &r.u.submit_envelope;
	struct ids_name name = { .message = s->number, .kind = IDS_ORIGINATOR, .key = s->key };
	struct wire_list_writer recipients, lists;
	int err = ids_make(o->worker->service->ids, &name, d->id);

	wire_list_writer_init(&recipients, o->worker->list_room, SERVICE_LIST_OCTETS);
	if (err == 0)
		err = append_statuses(s->statuses, 0, s->recipients, &recipients);
	wire_list_writer_init(&lists, o->worker->list_room + recipients.n,
	                      SERVICE_LIST_OCTETS - recipients.n);
	if (err == 0)
		err = append_statuses(s->statuses, s->recipients, s->recipients + s->lists, &lists);
	if (err != 0) {
		refuse_trouble(o, err);
		return;
	}
	d->recipients = wire_list_view(&recipients);
	d->lists = wire_list_view(&lists);
	d->received = received;
	d->expires = s->expires_us;
	d->complete = s->complete;
	free(s->statuses);
	s->statuses = NULL;
	s->phase = s->complete ? NO_SUBMISSION : TAKING;
	originator_reply(o, &r);
}

static void on_event(void *ctx, enum submission_event event, enum wire_status status,
                     const char *text);

/* The number is known: the submission begins, or goes on where it was cut off. */
static void begin(struct originator *o)
{
	struct submitting *s = &o->submitting;
	int err;

	s->number = s->options.number;
	s->key = s->options.key;
	s->expires_us = s->options.expires_us;
	s->options.event = on_event;
	s->options.ctx = o;
	quota_number(s->options.share, s->number);
	err = submission_create(&s->options, &s->submission);
	memset(&s->options.to, 0, sizeof(s->options.to)); /* taken over */
	s->options.share = NULL;
	if (err != 0)
		refuse_trouble(o, err);
	else if (!s->options.resumed)
		answer_envelope(o, 0);
	/* else READY follows */
}

static void number_ready(struct service_waiter *waiter, int error);

static void take_number(struct originator *o)
{
	struct submitting *s = &o->submitting;
	int err;

	s->waiter.ready = number_ready;
	err = service_number_take(o->worker, &s->waiter, &s->options.number);
	s->waits_number = err == ERR_AGAIN;
	if (err == 0)
		begin(o);
	else if (err != ERR_AGAIN)
		refuse_trouble(o, err);
}

static void number_ready(struct service_waiter *waiter, int error)
{
	struct originator *o =
	    (struct originator *)((char *)waiter - offsetof(struct originator, submitting.waiter));

	o->submitting.waits_number = false;
	if (error != 0)
		refuse_trouble(o, error);
	else
		take_number(o);
}

/* Looks for the submissionId. 0, ERR_NOT_FOUND: a new one, or another error. */
static int look_up(struct originator *o, const uint8_t id[16], struct known *k)
{
	struct service *x = o->worker->service;
	struct kv_txn *t = db_read_begin(x->db);
	struct db_message m;
	uint64_t number;
	int err;

	if (t == NULL)
		return ERR_NOMEM;
	err = db_submission_find(x->db, t, o->account, id, &number);
	if (err == 0)
		err = db_message_get(x->db, t, number, &m);
	if (err == 0) {
		*k = (struct known) {
			.complete = m.state != DB_RECEIVING,
			.number = number,
			.size = m.size_octets,
			.expires_us = m.expires_us,
			.key = m.key,
		};
		memcpy(k->digest, m.digest, sizeof(k->digest));
	}
	db_read_end(t);
	return err;
}

/* Nothing is left to send. */
static void answer_complete(struct originator *o, const struct known *k)
{
	struct submitting *s = &o->submitting;

	addressees_free(&s->options.to);
	quota_drop(s->options.share);
	s->options.share = NULL;
	s->complete = true;
	s->number = k->number;
	s->key = k->key;
	s->expires_us = k->expires_us;
	answer_envelope(o, k->size);
}

/* The statuses of the envelope's recipients are the answer's from here on. */
static void take_statuses(struct submitting *s)
{
	s->statuses = s->options.to.statuses;
	s->options.to.statuses = NULL;
	s->recipients = s->options.to.recipients;
	s->lists = s->options.to.lists;
}

/*
 * The submission was finished before, maybe without the client's knowing. Nothing is checked
 * that was then, for the message itself may have used up the quota since.
 */
static void repeat(struct originator *o, const struct msoap_submit_envelope *e,
                   const struct known *k)
{
	int err;

	if ((e->has_size && e->size != k->size) ||
	    (e->has_digest && memcmp(e->digest, k->digest, sizeof(k->digest)) != 0)) {
		refuse(o, WIRE_STATUS_DIGEST_MISMATCH, OTHER_MESSAGE);
		return;
	}
	err = read_addressees(o, e, &o->submitting.options.to);
	if (err != 0) {
		refuse_trouble(o, err);
		return;
	}
	take_statuses(&o->submitting);
	answer_complete(o, k);
}

/* All is checked: to the submission. */
static void go_on(struct originator *o, const struct known *k)
{
	struct submitting *s = &o->submitting;

	s->options.number = k->number;
	s->options.resumed = k->number != 0;
	s->options.stored = k->size;
	s->options.key = k->number != 0 ? k->key : ids_current(o->worker->service->ids);
	if (k->number != 0)
		begin(o);
	else
		take_number(o);
}

static bool in_other_hands(const struct originator *o)
{
	const struct submission_options *p = &o->submitting.options;

	return p->has_submission_id &&
	       inhand_has(o->worker->service->inhand, p->account, p->submission_id);
}

/* Looks again at what another session, which may be over now, had of the submissionId. */
static void pause_over(void *ctx)
{
	struct originator *o = ctx;
	struct submitting *s = &o->submitting;
	struct known k = { 0 };
	uint64_t size = s->options.expected_octets;
	int err;

	if (++s->pauses < PAUSES_MAX && in_other_hands(o)) {
		loop_timer_start(s->pause, PAUSE_US);
		return;
	}
	err = look_up(o, s->options.submission_id, &k);
	if (err != 0 && err != ERR_NOT_FOUND)
		refuse_trouble(o, err);
	else if (size != 0 && (size < k.size || (k.complete && size != k.size)))
		refuse(o, WIRE_STATUS_DIGEST_MISMATCH, "that submissionId had another size");
	else if (k.complete && s->options.has_digest &&
	         memcmp(s->options.digest, k.digest, sizeof(k.digest)) != 0)
		refuse(o, WIRE_STATUS_DIGEST_MISMATCH, OTHER_MESSAGE);
	else if (k.complete)
		answer_complete(o, &k);
	else
		go_on(o, &k);
}

/* A submission that is new, or that goes on. */
static void start(struct originator *o, const struct msoap_submit_envelope *e,
                  const struct known *k)
{
	struct submitting *s = &o->submitting;
	struct verdict v = check(o, e, k, &s->options);

	if (v.status != WIRE_STATUS_OK) {
		refuse(o, v.status, v.text);
		return;
	}
	take_statuses(s);
	s->pauses = 0;
	if (in_other_hands(o) && loop_timer_create(o->worker->loop, pause_over, o, &s->pause) == 0)
		loop_timer_start(s->pause, PAUSE_US);
	else
		go_on(o, k);
}

void submitting_envelope(struct originator *o, const struct msoap_command *c)
{
	const struct msoap_submit_envelope *e = &c->u.submit_envelope;
	struct submitting *s = &o->submitting;
	struct known k = { 0 };
	int err = ERR_NOT_FOUND;

	/* An earlier one that was not finished is over. */
	give_up(s, o->worker, true);
	s->phase = PREPARING;
	s->complete = false;
	s->options = (struct submission_options) {
		.worker = o->worker,
		.account = o->account,
		.has_submission_id = e->has_submission_id,
		.has_digest = e->has_digest,
		.held = e->has_hold && e->hold,
		.expected_octets = e->size,
		.resume_us = o->settings->resume_s * CLOCK_SECOND_US,
	};
	memcpy(s->options.submission_id, e->submission_id, sizeof(e->submission_id));
	memcpy(s->options.digest, e->digest, sizeof(e->digest));
	if (e->recipients.count + e->lists.count > MAX_NAMED) {
		refuse(o, WIRE_STATUS_TOO_BIG, "the envelope names too many");
		return;
	}
	if (e->has_submission_id)
		err = look_up(o, e->submission_id, &k);
	if (err != 0 && err != ERR_NOT_FOUND)
		refuse_trouble(o, err);
	else if (k.complete)
		repeat(o, e, &k);
	else
		start(o, e, &k);
}

/* --- chunks ------------------------------------------------------------------------------ */

/* All of the chunk's octets are taken. */
static void chunk_taken(struct originator *o)
{
	struct submitting *s = &o->submitting;
	struct msoap_response r = { .kind = MSOAP_SUBMIT_CHUNK };

	if (s->chunk_last) {
		s->phase = FINISHING;
		submission_end(s->submission);
		return;
	}
	if (submission_full(s->submission))
		return; /* answered when there is room: so the client waits, and nothing piles up */
	s->phase = TAKING;
	r.u.submit_chunk.received = submission_received(s->submission);
	originator_reply(o, &r);
}

void submitting_data(struct originator *o, struct span octets, bool last)
{
	struct submitting *s = &o->submitting;
	int err;

	(void)last; /* chunk_left tells */
	if (s->phase != CHUNK || s->chunk_left == 0)
		return; /* refused already */
	err = submission_feed(s->submission, octets);
	if (err != 0) {
		refuse_trouble(o, err);
		return;
	}
	s->chunk_left -= octets.n;
	if (s->chunk_left == 0) {
		chunk_taken(o);
	} else if (submission_full(s->submission)) {
		s->held = true;
		server_hold(o->session);
	}
}

void submitting_chunk(struct originator *o, const struct msoap_command *c)
{
	const struct msoap_submit_chunk *k = &c->u.submit_chunk;
	struct submitting *s = &o->submitting;
	uint64_t received;
	char text[80];
	int err;

	if (s->phase == BROKEN) {
		refuse(o, s->status, s->text);
		return;
	}
	if (s->phase != TAKING) {
		originator_error(o, WIRE_STATUS_UNEXPECTED_COMMAND, false,
		                 "no submission is under way");
		return;
	}
	received = submission_received(s->submission);
	if (k->offset != received) {
		snprintf(text, sizeof(text), "the next octet wanted is that at offset %llu",
		         (unsigned long long)received);
		originator_error(o, WIRE_STATUS_UNEXPECTED_COMMAND, false, text);
		return;
	}
	if (received > o->settings->max_message ||
	    k->data.size > o->settings->max_message - received) {
		refuse(o, WIRE_STATUS_TOO_BIG, "the message is over the store's limit");
		return;
	}
	err = submission_expect(s->submission, received + k->data.size);
	if (err == ERR_TOO_BIG) {
		refuse(o, WIRE_STATUS_WOULD_EXCEED_QUOTA, SUBMISSION_NO_QUOTA);
		return;
	}
	if (err != 0) {
		refuse_trouble(o, err);
		return;
	}
	s->phase = CHUNK;
	s->chunk_last = k->is_last;
	s->chunk_left = k->data.size;
	if (k->data.size == 0)
		chunk_taken(o);
	else
		submitting_data(o, k->data.here, k->data.here.n == k->data.size);
}

static void finished(struct originator *o)
{
	struct submitting *s = &o->submitting;
	struct msoap_response r = { .kind = MSOAP_SUBMIT_CHUNK };

	r.u.submit_chunk.received = submission_received(s->submission);
	r.u.submit_chunk.has_digest = true;
	memcpy(r.u.submit_chunk.digest, submission_digest(s->submission), WIRE_DIGEST_SIZE);
	submission_drop(s->submission, true);
	s->submission = NULL;
	s->phase = NO_SUBMISSION;
	originator_reply(o, &r);
}

static void on_event(void *ctx, enum submission_event event, enum wire_status status,
                     const char *text)
{
	struct originator *o = ctx;
	struct submitting *s = &o->submitting;

	if (status != WIRE_STATUS_OK) {
		if (s->phase == TAKING) {
			/* No command is in hand that could be told. */
			s->phase = BROKEN;
			s->status = status;
			s->text = text;
		} else {
			refuse(o, status, text);
		}
		return;
	}
	switch (event) {
	case SUBMISSION_READY:
		answer_envelope(o, submission_received(s->submission));
		break;
	case SUBMISSION_ENDED:
		finished(o);
		break;
	case SUBMISSION_ROOM:
		if (s->phase != CHUNK)
			break;
		if (s->chunk_left == 0) {
			chunk_taken(o);
		} else {
			unhold(o);
		}
		break;
	}
}
