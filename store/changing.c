/* MSOAP cancel, release, extend, forget: what the originator does to a stored message. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "store/mailroom.h"
#include "store/originator_state.h"
#include "store/steps.h"

/* One command, over all its steps. It is carried through with or without its session. */
struct changing {
	struct originator_job base; /* first */
	enum msoap_kind kind;
	uint32_t account;
	uint64_t message, now_us;
	bool whole;              /* cancel: all recipients */
	struct addressees names; /* cancel: when not WHOLE */
	uint64_t lifetime_us;    /* extend: that is wanted */
	uint32_t first;          /* delivery that the step begins with */
	uint64_t ended_us;       /* extend: the end that it had */
	struct steps_result step;
	uint32_t found; /* deliveries of all steps that were meant */
};

static int change_apply(struct writer_job *job, struct kv_txn *txn)
{
	struct changing *k = (struct changing *)job;
	const struct steps s = {
		.db = k->base.worker->service->db,
		.message = k->message,
		.now_us = k->now_us,
		.first = k->first,
		.lifetime_us = k->lifetime_us,
		.ended_us = k->ended_us,
	};

	switch (k->kind) {
	case MSOAP_CANCEL:
		return steps_cancel(&s, txn, k->whole ? NULL : &k->names, &k->step);
	case MSOAP_EXTEND:
		return steps_extend(&s, txn, &k->step);
	case MSOAP_FORGET:
		return steps_forget(&s, txn, &k->step);
	default:
		return steps_release(&s, txn, &k->step);
	}
}

static void change_free(struct changing *k)
{
	addressees_free(&k->names);
	free(k);
}

static void change_answer(struct originator *o, const struct changing *k, int result)
{
	struct msoap_response r = { .kind = k->kind };

	if (k->kind == MSOAP_EXTEND)
		r.u.extend.expires = k->step.expires_us;
	if (result == ERR_CLOSED)
		originator_error(o, WIRE_STATUS_WITHDRAWN, false,
		                 k->kind == MSOAP_CANCEL
		                     ? "its lifetime is over"
		                     : "it was cancelled, or its lifetime is over");
	else if (result == ERR_DENIED)
		originator_error(o, WIRE_STATUS_NOT_PERMITTED, false,
		                 "the draft names no recipient: readdress it first");
	else if (result == ERR_NOT_FOUND)
		originator_error(o, WIRE_STATUS_NO_SUCH_MESSAGE, false, NULL);
	else if (result != 0)
		originator_trouble(o, result, false);
	else if (k->kind == MSOAP_CANCEL && !k->whole && k->found == 0)
		originator_error(o, WIRE_STATUS_NO_SUCH_MAILBOX, false,
		                 "the message has no such recipient");
	else
		originator_reply(o, &r);
}

static void change_done(struct writer_job *job, int result)
{
	struct changing *k = (struct changing *)job;
	struct service *x = k->base.worker->service;
	struct originator *o;

	if (result == 0) {
		k->found += k->step.found;
		k->first = k->step.next;
		k->ended_us = k->step.ended_us;
		if (k->kind == MSOAP_CANCEL || k->kind == MSOAP_FORGET)
			atomic_store(&x->blobs_to_sweep, true);
		service_kick(x);
		service_changed(x, k->account);
		if (k->step.more) {
			writer_submit(k->base.worker->writer, &k->base.job);
			return;
		}
	}
	o = originator_done(&k->base);
	if (o != NULL)
		change_answer(o, k, result);
	change_free(k);
}

/* What changes the message of ID, to be completed and begun. NULL: that is answered already. */
static struct changing *change_create(struct originator *o, enum msoap_kind kind,
                                      const uint8_t id[16])
{
	struct changing *k;
	uint64_t number;
	int err = originator_number(o, id, &number);

	if (err == ERR_NOT_FOUND) {
		originator_error(o, WIRE_STATUS_NO_SUCH_MESSAGE, false, NULL);
		return NULL;
	}
	k = err == 0 ? calloc(1, sizeof(*k)) : NULL;
	if (k == NULL) {
		originator_trouble(o, err != 0 ? err : ERR_NOMEM, false);
		return NULL;
	}
	k->base.job.apply = change_apply;
	k->base.job.done = change_done;
	k->kind = kind;
	k->account = o->account;
	k->message = number;
	k->now_us = clock_now_us();
	return k;
}

void changing_cancel(struct originator *o, const struct msoap_command *c)
{
	const struct wire_list none = { .count = 0 };
	const struct msoap_cancel *e = &c->u.cancel;
	struct changing *k = change_create(o, MSOAP_CANCEL, e->id);
	int err = 0;

	if (k == NULL)
		return;
	k->whole = !e->has_recipients;
	if (!k->whole)
		err = addressees_read(e->recipients, none, UINT32_MAX, &k->names);
	if (err != 0) {
		change_free(k);
		originator_trouble(o, err, false);
		return;
	}
	originator_submit(o, &k->base);
}

void changing_release(struct originator *o, const struct msoap_command *c)
{
	struct changing *k = change_create(o, MSOAP_RELEASE, c->u.release.id);

	if (k != NULL)
		originator_submit(o, &k->base);
}

void changing_extend(struct originator *o, const struct msoap_command *c)
{
	const struct settings *s = o->settings;
	uint64_t lifetime_s =
	    mailroom_lifetime_s(c->u.extend.lifetime, s->default_lifetime_s, s->max_lifetime_s);
	struct changing *k;

	if (lifetime_s < s->min_lifetime_s) {
		originator_error(o, WIRE_STATUS_LIFETIME_TOO_SHORT, false,
		                 "the store keeps nothing for so short a time");
		return;
	}
	k = change_create(o, MSOAP_EXTEND, c->u.extend.id);
	if (k == NULL)
		return;
	k->lifetime_us = lifetime_s * CLOCK_SECOND_US;
	originator_submit(o, &k->base);
}

void changing_forget(struct originator *o, const struct msoap_command *c)
{
	struct changing *k = change_create(o, MSOAP_FORGET, c->u.forget.id);

	if (k != NULL)
		originator_submit(o, &k->base);
}
