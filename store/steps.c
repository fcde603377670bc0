#include "store/steps.h"

#include <string.h>

#include "store/delivery.h"
#include "store/deposit.h"

/* --- jobs -------------------------------------------------------------------------------- */

/* A run of deliveries of one domain that are to be tried at one time: one job. */
struct run {
	struct db_job job; /* its domain is the text below */
	char domain[NAME_DOMAIN_MAX + 1];
};

static int put_run(const struct steps *s, struct kv_txn *t, struct run *run)
{
	struct db_job job = run->job;

	run->job.count = 0;
	job.domain = span_str(run->domain);
	return job.count == 0 ? 0 : db_job_put(s->db, t, &job);
}

/* Delivery I of MAILBOX is to be tried at D's next_us. */
static int add_to_run(const struct steps *s, struct kv_txn *t, uint32_t i, const char *mailbox,
                      const struct mailroom_delivery *d, struct run *run)
{
	enum db_job_kind kind = d->withdrawn ? DB_JOB_WITHDRAW : DB_JOB_NOTIFY;
	const char *domain = addressees_domain(mailbox);
	int err;

	if (run->job.count > 0 && run->job.kind == kind && run->job.due_us == d->next_us &&
	    i - run->job.first < DEPOSIT_JOB_DELIVERIES && strcmp(run->domain, domain) == 0) {
		run->job.count = i - run->job.first + 1;
		return 0;
	}
	err = put_run(s, t, run);
	run->job.kind = kind;
	run->job.due_us = d->next_us;
	run->job.first = i;
	run->job.count = 1;
	(void)span_copy(span_str(domain), run->domain, sizeof(run->domain));
	return err;
}

/* --- deliveries -------------------------------------------------------------------------- */

/* What is done to each delivery. */
struct change {
	delivery_rule rule;
	void *ctx;
	const struct addressees *names; /* NULL: to all */
};

/* Damage is db_check's to tell of: one bad record must not hold up the others. */
static bool goes_on(int err)
{
	return err == 0 || err == ERR_NOT_FOUND || err == ERR_MALFORMED;
}

static int change_one(const struct steps *s, struct kv_txn *t, uint32_t i,
                      const struct change *c, struct run *run, struct delivery_result *result)
{
	char mailbox[NAME_MAILBOX_MAX + 1];
	struct db_delivery d;
	int err = db_delivery_get(s->db, t, s->message, i, &d);

	memset(result, 0, sizeof(*result));
	if (err != 0)
		return err;
	if (span_copy(d.mailbox, mailbox, sizeof(mailbox)) != 0)
		return ERR_MALFORMED;
	if (c->names != NULL && addressees_find(c->names, mailbox) == c->names->n)
		return ERR_NOT_FOUND;
	err = delivery_apply(s->db, t, run->job.account, s->message, i, c->rule, c->ctx, NULL,
	                     result);
	if (err == 0 && result->changed && result->now.next_us != 0)
		err = add_to_run(s, t, i, mailbox, &result->now, run);
	return err;
}

/* Changes the deliveries of one step, puts the jobs that follow, counts the readers down. */
static int change_deliveries(const struct steps *s, struct kv_txn *t, uint32_t account,
                             const struct change *c, struct steps_result *out)
{
	struct run run = { .job = { .message = s->message, .account = account } };
	struct delivery_result result;
	uint32_t lost = 0;
	int err = 0;

	for (uint32_t i = s->first; i < out->next; i++) {
		err = change_one(s, t, i, c, &run, &result);
		if (!goes_on(err))
			return err;
		out->found += err == 0;
		lost += result.lost_reader;
	}
	err = put_run(s, t, &run);
	return err != 0 ? err : delivery_readers_gone(s->db, t, s->message, lost);
}

/* Which deliveries this step is of. */
static void measure(const struct steps *s, const struct db_message *m, struct steps_result *out)
{
	uint32_t left = m->recipients > s->first ? m->recipients - s->first : 0;

	memset(out, 0, sizeof(*out));
	out->more = left > STEPS_DELIVERIES;
	out->next = out->more ? s->first + STEPS_DELIVERIES : m->recipients;
}

/* Puts M when the sweep shall come at another time than it says, or CHANGED. */
static int put_message(const struct steps *s, struct kv_txn *t, struct db_message *m, bool changed,
                       const struct steps_result *out)
{
	uint64_t sweep_us = out->more ? s->now_us + STEPS_PATIENCE_US : m->expires_us;

	if (!changed && m->sweep_us == sweep_us)
		return 0;
	m->sweep_us = sweep_us;
	return db_message_put(s->db, t, m);
}

/* --- cancel ------------------------------------------------------------------------------ */

static bool cancel_rule(struct mailroom_delivery *d, void *ctx)
{
	return mailroom_cancelled(d, *(const uint64_t *)ctx);
}

/* The whole message M, or, with NAMES, those. Its views end. */
static int withdraw(const struct steps *s, struct kv_txn *t, struct db_message *m,
                    const struct addressees *names, bool forget, struct steps_result *out)
{
	uint64_t now_us = s->now_us;
	const struct change c = { .rule = cancel_rule, .ctx = &now_us, .names = names };
	uint32_t account = m->account;
	bool changed;
	int err = 0;

	measure(s, m, out);
	if (names == NULL) {
		changed = m->state != DB_WITHDRAWN || (forget && !m->forgotten);
		m->state = DB_WITHDRAWN;
		m->freed = true;
		m->forgotten = m->forgotten || forget;
		err = put_message(s, t, m, changed, out);
	}
	return err != 0 ? err : change_deliveries(s, t, account, &c, out);
}

int steps_cancel(const struct steps *s, struct kv_txn *t, const struct addressees *names,
                 struct steps_result *out)
{
	struct db_message m;
	int err = db_message_get(s->db, t, s->message, &m);

	if (err != 0)
		return err;
	if (m.state == DB_EXPIRED)
		return ERR_CLOSED;
	return withdraw(s, t, &m, names, false, out);
}

int steps_forget(const struct steps *s, struct kv_txn *t, struct steps_result *out)
{
	struct db_message m;
	int err = db_message_get(s->db, t, s->message, &m);

	if (err != 0)
		return err;
	/* A second step follows only where the first one has cancelled a draft. */
	if (m.state == DB_HELD || s->first > 0)
		return withdraw(s, t, &m, NULL, true, out);
	memset(out, 0, sizeof(*out));
	if (m.forgotten)
		return 0;
	m.forgotten = true;
	m.freed = m.freed || m.readers == 0;
	return db_message_put(s->db, t, &m);
}

/* --- release ----------------------------------------------------------------------------- */

struct release {
	uint64_t now_us, release_us;
};

static bool release_rule(struct mailroom_delivery *d, void *ctx)
{
	const struct release *r = ctx;

	return mailroom_released(d, r->release_us, r->now_us);
}

/* Something can still become of M. */
static bool goes_on_living(const struct db_message *m, uint64_t now_us)
{
	return (m->state == DB_HELD || m->state == DB_STORED) && m->expires_us > now_us;
}

int steps_release(const struct steps *s, struct kv_txn *t, struct steps_result *out)
{
	struct release r = { .now_us = s->now_us };
	const struct change c = { .rule = release_rule, .ctx = &r };
	struct db_message m;
	uint32_t account;
	bool changed;
	int err = db_message_get(s->db, t, s->message, &m);

	if (err != 0)
		return err;
	if (!goes_on_living(&m, s->now_us))
		return ERR_CLOSED;
	if (m.state == DB_HELD && m.recipients == 0)
		return ERR_DENIED;
	measure(s, &m, out);
	changed = m.state == DB_HELD;
	if (!changed && m.sweep_us == m.expires_us) {
		out->more = false; /* released long ago, to the last delivery */
		return 0;
	}
	r.release_us = m.release_us;
	account = m.account;
	m.state = DB_STORED;
	err = put_message(s, t, &m, changed, out);
	return err != 0 ? err : change_deliveries(s, t, account, &c, out);
}

/* --- extend ------------------------------------------------------------------------------ */

/* After the old end, by when an agent has dropped the notification and takes it anew. */
#define AGAIN_US CLOCK_HOUR_US

struct extend {
	uint64_t now_us, again_us;
};

static bool extend_rule(struct mailroom_delivery *d, void *ctx)
{
	const struct extend *e = ctx;

	return mailroom_extended(d, e->again_us, e->now_us);
}

int steps_extend(const struct steps *s, struct kv_txn *t, struct steps_result *out)
{
	struct extend e = { .now_us = s->now_us };
	const struct change c = { .rule = extend_rule, .ctx = &e };
	struct db_message m;
	uint32_t account;
	uint64_t ended, wanted;
	bool changed;
	int err = db_message_get(s->db, t, s->message, &m);

	if (err != 0)
		return err;
	if (!goes_on_living(&m, s->now_us) || m.freed)
		return ERR_CLOSED;
	ended = s->first > 0 ? s->ended_us : m.expires_us;
	wanted = (m.release_us > s->now_us ? m.release_us : s->now_us) + s->lifetime_us;
	changed = wanted > m.expires_us;
	if (changed)
		m.expires_us = wanted;
	measure(s, &m, out);
	out->expires_us = m.expires_us;
	out->ended_us = ended;
	e.again_us = m.expires_us > ended + AGAIN_US ? ended + AGAIN_US : s->now_us;
	if (m.state == DB_HELD || m.expires_us == ended)
		out->more = false; /* nothing was given up */
	account = m.account;
	err = put_message(s, t, &m, changed, out);
	if (err != 0 || m.state == DB_HELD || m.expires_us == ended)
		return err;
	return change_deliveries(s, t, account, &c, out);
}

/* --- after a crash ----------------------------------------------------------------------- */

struct carry {
	struct release release;
	struct extend extend;
};

/* Released and extended, in whichever of the two it was cut off. */
static bool carry_rule(struct mailroom_delivery *d, void *ctx)
{
	struct carry *k = ctx;

	return release_rule(d, &k->release) || extend_rule(d, &k->extend);
}

int steps_carry_on(const struct steps *s, struct kv_txn *t, const struct db_message *m,
                   struct steps_result *out)
{
	struct carry k = {
		.release = { .now_us = s->now_us, .release_us = m->release_us },
		.extend = { .now_us = s->now_us, .again_us = s->now_us },
	};
	uint64_t now_us = s->now_us;
	struct change c = { .rule = carry_rule, .ctx = &k };
	struct db_message copy = *m;
	enum db_message_state state = m->state;
	uint32_t account = m->account;
	int err = 0;

	measure(s, m, out);
	/* The mark stays till the last step: the sweep comes to it again until then. */
	if (!out->more)
		err = put_message(s, t, &copy, false, out);
	if (err != 0 || state == DB_HELD)
		return err;
	if (state == DB_WITHDRAWN)
		c = (struct change) { .rule = cancel_rule, .ctx = &now_us };
	return change_deliveries(s, t, account, &c, out);
}
