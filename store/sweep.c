#include "store/sweep.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/delivery.h"
#include "store/steps.h"

#define STEP 1000      /* deliveries of one transaction */
#define BLOCK_STEP 256 /* blocks of octets of one transaction */
#define CHANGE_STEP 1000
#define CHANGES_EVERY_US CLOCK_HOUR_US
#define PASS_MOST 100             /* entries that are passed over in one turn */
#define PASSED_EVERY_US CLOCK_HOUR_US /* when they are tried again */

struct sweep {
	struct writer_job job; /* first */
	struct service_worker *worker;
	bool busy, stopping;
	uint64_t now_us, keep_us;
	uint64_t message; /* in hand; 0: none */
	uint32_t account; /* whose it is */
	/*
	 * What cannot be swept (a damaged record) is passed over, so that it does not keep what comes
	 * after it: entries are looked for from FROM on, and from the first one on again after a time.
	 */
	struct db_expiry entry, from;
	uint64_t passed_us; /* mono, when one was passed over first since then; 0: none */
	uint32_t index;   /* first delivery of this step */
	/* What a step comes to. */
	uint32_t next;
	bool more;
	int count;
	uint64_t changes_us; /* when the change log was last trimmed */
};

/* --- a message whose time is over ---------------------------------------------------------- */

static bool expire_rule(struct mailroom_delivery *d, void *ctx)
{
	return mailroom_expired(d, *(const uint64_t *)ctx);
}

/* The lifetime is over: first the deliveries, step by step, then the octets. */
static int expire(struct db *db, struct kv_txn *t, struct db_message *m, uint64_t now_us,
                  uint64_t keep_us, uint32_t index, uint32_t *next)
{
	uint32_t end = m->recipients - index > STEP ? index + STEP : m->recipients;
	struct delivery_result result;
	uint64_t number = m->number;
	uint32_t account = m->account, lost = 0;
	int err;

	for (uint32_t i = index; i < end; i++) {
		err =
		    delivery_apply(db, t, account, number, i, expire_rule, &now_us, NULL, &result);
		if (err != 0 && err != ERR_NOT_FOUND && err != ERR_MALFORMED)
			return err;
		lost += result.lost_reader;
	}
	*next = end;
	if (end < m->recipients) {
		err = delivery_readers_gone(db, t, number, lost);
		return err != 0 ? err : ERR_AGAIN;
	}
	err = db_message_get(db, t, number, m); /* its views are old by now */
	if (err != 0)
		return err;
	m->state = DB_EXPIRED;
	m->freed = true;
	m->readers = 0;
	m->sweep_us = now_us + keep_us;
	return db_message_put(db, t, m);
}

/* The originator's command was cut off by a crash. */
static int carry_on(struct db *db, struct kv_txn *t, const struct db_message *m, uint64_t now_us,
                    uint32_t index, uint32_t *next)
{
	const struct steps s = { .db = db, .message = m->number, .now_us = now_us, .first = index };
	struct steps_result result;
	int err = steps_carry_on(&s, t, m, &result);

	if (err != 0)
		return err;
	*next = result.next;
	return result.more ? ERR_AGAIN : 0;
}

int sweep_message(struct db *db, struct kv_txn *t, uint64_t number, uint64_t now_us,
                  uint64_t keep_us, uint32_t index, uint32_t *next)
{
	struct db_message m;
	int err = db_message_get(db, t, number, &m);

	*next = 0;
	if (err == ERR_NOT_FOUND)
		return 0;
	if (err != 0)
		return err;
	if (m.sweep_us == 0 || m.sweep_us > now_us)
		return 0; /* it was given more time */
	if (m.state == DB_RECEIVING || m.state == DB_EXPIRED)
		return db_message_remove(db, t, number, STEP);
	if (m.expires_us > now_us)
		return carry_on(db, t, &m, now_us, index, next);
	return expire(db, t, &m, now_us, keep_us, index, next);
}

static int message_apply(struct writer_job *job, struct kv_txn *txn)
{
	struct sweep *s = (struct sweep *)job;
	int err = sweep_message(s->worker->service->db, txn, s->message, s->now_us, s->keep_us,
	                        s->index, &s->next);

	s->more = err == ERR_AGAIN;
	return s->more ? 0 : err;
}

/* Goes on behind the entry in hand. */
static void pass_over(struct sweep *s, const char *why)
{
	log_error("sweep", "message=%llu error=\"%s\" result=passed-over",
	          (unsigned long long)s->entry.message, why);
	s->from = db_expiry_behind(s->entry);
	if (s->passed_us == 0)
		s->passed_us = clock_mono_us();
}

static void message_done(struct writer_job *job, int result)
{
	struct sweep *s = (struct sweep *)job;

	s->busy = false;
	if (result != 0) {
		s->message = 0;
		if (result == ERR_FULL || result == ERR_NOMEM)
			log_error("sweep", "message=%llu error=\"%s\"",
			          (unsigned long long)s->entry.message, err_phrase(result));
		else
			pass_over(s, err_phrase(result));
		return; /* to the next turn */
	}
	service_changed(s->worker->service, s->account);
	s->index = s->more ? s->next : 0;
	if (!s->more) {
		log_debug("sweep", "message=%llu", (unsigned long long)s->message);
		s->message = 0;
		atomic_store(&s->worker->service->blobs_to_sweep, true);
	}
	sweep_turn(s);
}

/* --- octets and changes -------------------------------------------------------------------- */

static int blobs_apply(struct writer_job *job, struct kv_txn *txn)
{
	struct sweep *s = (struct sweep *)job;

	s->count = db_blob_sweep(s->worker->service->db, txn, BLOCK_STEP);
	return s->count < 0 ? s->count : 0;
}

static void blobs_done(struct writer_job *job, int result)
{
	struct sweep *s = (struct sweep *)job;

	s->busy = false;
	if (result != 0) {
		log_error("sweep", "blobs error=\"%s\"", err_phrase(result));
		atomic_store(&s->worker->service->blobs_to_sweep, true); /* the next turn tries again */
		return;
	}
	if (s->count > 0) {
		atomic_store(&s->worker->service->blobs_to_sweep, true);
		sweep_turn(s);
	}
}

static int changes_apply(struct writer_job *job, struct kv_txn *txn)
{
	struct sweep *s = (struct sweep *)job;

	int n = db_change_trim(s->worker->service->db, txn, s->now_us - SWEEP_CHANGES_KEPT_US,
	                       CHANGE_STEP, &s->more);

	return n < 0 ? n : 0;
}

static void changes_done(struct writer_job *job, int result)
{
	struct sweep *s = (struct sweep *)job;

	s->busy = false;
	if (result != 0) {
		log_error("sweep", "changes error=\"%s\"", err_phrase(result));
	} else if (s->more) {
		s->changes_us = 0;
		sweep_turn(s);
	}
}

/* --- what is to do ------------------------------------------------------------------------- */

static void submit(struct sweep *s, int (*apply)(struct writer_job *, struct kv_txn *),
                   void (*done)(struct writer_job *, int))
{
	s->busy = true;
	s->job.apply = apply;
	s->job.done = done;
	writer_submit(s->worker->writer, &s->job);
}

/* Whether the entry in hand is the one of its message, which then is in hand too. NULL, or why not.
 */
static const char *take_entry(struct sweep *s, struct kv_txn *t)
{
	struct db_message m;
	int err = db_message_get(s->worker->service->db, t, s->entry.message, &m);

	if (err != 0)
		return err_phrase(err);
	if (m.sweep_us != s->entry.time_us)
		return "the message has another time";
	s->message = m.number;
	s->account = m.account;
	s->index = 0;
	return NULL;
}

/* Takes in hand a message that is due, if there is one that can be read. */
static void take_message(struct sweep *s)
{
	struct db *db = s->worker->service->db;
	struct kv_txn *t = db_read_begin(db);

	for (int i = 0; t != NULL && i < PASS_MOST && s->message == 0; i++) {
		int err = db_expiry_due(db, t, &s->from, s->now_us, &s->entry);
		const char *why;

		if (err == ERR_MALFORMED) {
			s->from = s->entry; /* logged with its key */
			if (s->passed_us == 0)
				s->passed_us = clock_mono_us();
			continue;
		}
		if (err != 0)
			break;
		why = take_entry(s, t);
		if (why != NULL)
			pass_over(s, why);
	}
	db_read_end(t);
}

void sweep_turn(struct sweep *s)
{
	struct settings *settings;
	uint64_t mono = clock_mono_us();

	if (s->busy || s->stopping)
		return;
	s->now_us = clock_now_us();
	if (s->passed_us != 0 && mono - s->passed_us >= PASSED_EVERY_US) {
		s->from = (struct db_expiry){ 0, 0 };
		s->passed_us = 0;
	}
	if (s->message == 0)
		take_message(s);
	if (s->message != 0) {
		settings = service_settings(s->worker->service);
		s->keep_us = settings->keep_status_s * CLOCK_SECOND_US;
		settings_drop(settings);
		submit(s, message_apply, message_done);
	} else if (atomic_exchange(&s->worker->service->blobs_to_sweep, false)) {
		submit(s, blobs_apply, blobs_done);
	} else if (s->changes_us == 0 || mono - s->changes_us >= CHANGES_EVERY_US) {
		s->changes_us = mono;
		if (s->now_us > SWEEP_CHANGES_KEPT_US)
			submit(s, changes_apply, changes_done);
	}
}

int sweep_create(struct service_worker *w, struct sweep **out)
{
	struct sweep *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return ERR_NOMEM;
	s->worker = w;
	*out = s;
	return 0;
}

void sweep_stop(struct sweep *s)
{
	s->stopping = true;
}

void sweep_free(struct sweep *s)
{
	free(s);
}
