#include "store/submission.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/deposit.h"
#include "store/inhand.h"

#define BATCH_MIN (4 * (size_t)DB_BLOCK)      /* handed to the writer when it is idle for us */
#define BATCH_MAX (16 * (size_t)DB_BLOCK)     /* collected at most while it is busy */
#define REREAD_STEP (64 * (uint64_t)DB_BLOCK) /* octets read again in one turn of the loop */

enum phase {
	REREADING, /* the task is posted: octets of a former session go through the scan */
	OPEN,      /* octets come; a job with blocks may be at the writer */
	ENDING,    /* all octets are here; waits for the job with blocks */
	LANDING,   /* the job that completes the message is at the writer */
	LANDED,    /* it is durable */
	FAILED,    /* an event told so */
	UNDOING    /* nobody's any more; the job that takes it back is at the writer */
};

struct submission {
	struct writer_job job; /* first */
	struct loop_task task;
	struct submission_options o;
	struct inhand_entry inhand; /* with a submissionId */
	enum phase phase;
	bool flying;         /* the job is at the writer */
	bool posted;         /* the task is at the loop */
	bool dropped, keep;  /* nobody's any more; see submission_drop */
	bool begun;          /* there may be something in the database */
	bool foreign;        /* and it has gone on without us: not ours to take back */
	uint64_t held;       /* octets in the database; of those, */
	uint64_t stored;     /* the whole blocks: those behind them are in `fill`, too */
	uint64_t reread;     /* of those, how many the scan knows */
	uint8_t *fill, *fly; /* what is collected; what is at the writer */
	size_t fill_n, fill_cap, fly_n;
	struct scan_leaves leaves; /* of the blocks in `fly` */
	struct scan *scan; /* NULL: nothing has left `fill` yet */
	bool have_result;
	struct scan_result result;
	uint64_t now_us; /* of the job: apply may run twice */
};

static void free_submission(struct submission *s)
{
	if (s->scan != NULL) {
		scan_cancel(s->scan);
		free(s->scan);
	}
	if (s->have_result)
		scan_result_free(&s->result);
	scan_leaves_free(&s->leaves);
	addressees_free(&s->o.to);
	quota_drop(s->o.share);
	if (s->o.has_submission_id)
		inhand_remove(s->o.worker->service->inhand, &s->inhand);
	free(s->fill);
	free(s->fly);
	free(s);
}

/* What the writer's answer is to the client. */
static enum wire_status status_of(int err, const char **text)
{
	switch (err) {
	case 0:
		*text = NULL;
		return WIRE_STATUS_OK;
	case ERR_TOO_BIG:
		*text = SUBMISSION_NO_QUOTA;
		return WIRE_STATUS_WOULD_EXCEED_QUOTA;
	case ERR_EXISTS:
		*text = "this submission goes on in another session: say it again";
		return WIRE_STATUS_TRY_LATER;
	case ERR_NOT_FOUND:
		*text = "the account is gone, or the submission was given up";
		return WIRE_STATUS_NOT_PERMITTED;
	case ERR_DENIED:
		*text = "the octets that came have another digest";
		return WIRE_STATUS_DIGEST_MISMATCH;
	case ERR_FULL:
	case ERR_NOMEM:
		*text = "the store has no room at the moment";
		return WIRE_STATUS_NOT_ENOUGH_ROOM;
	default:
		*text = NULL;
		return WIRE_STATUS_INTERNAL_PROBLEM;
	}
}

static void tell(struct submission *s, enum submission_event event, int err)
{
	const char *text;
	enum wire_status status = status_of(err, &text);

	if (err != 0) {
		s->phase = FAILED;
		s->foreign = s->foreign || err == ERR_EXISTS;
		if (status == WIRE_STATUS_INTERNAL_PROBLEM)
			log_error("submission", "account=%u error=\"%s\"", s->o.account,
			          err_phrase(err));
	}
	s->o.event(s->o.ctx, event, status, text);
}

/* --- writer jobs ------------------------------------------------------------------------- */

static void fill_deposit(const struct submission *s, struct deposit *d)
{
	*d = (struct deposit) {
		.db = s->o.worker->service->db,
		.number = s->o.number,
		.account = s->o.account,
		.key = s->o.key,
		.sender = span_str(s->o.sender.text),
		.expected_octets = s->o.expected_octets,
		.submission_id = s->o.has_submission_id ? s->o.submission_id : NULL,
		.now_us = s->now_us,
		.expires_us = s->o.expires_us,
		.held = s->held,
		.stored = s->stored,
		.octets = span_of(s->fly, s->fly_n),
		.leaves = s->have_result ? &s->result.leaves : &s->leaves,
	};
}

static int blocks_apply(struct writer_job *job, struct kv_txn *txn)
{
	struct submission *s = (struct submission *)job;
	struct deposit d;

	fill_deposit(s, &d);
	if (d.stored + d.octets.n == 0)
		d.expected_octets = 0; /* whoever may never come back reserves nothing */
	return deposit_blocks(&d, txn, s->o.resume_us);
}

static int land_apply(struct writer_job *job, struct kv_txn *txn)
{
	struct submission *s = (struct submission *)job;
	struct deposit_message d = {
		.to = &s->o.to,
		.result = &s->result,
		.release_us = s->o.release_us,
		.held = s->o.held,
	};

	fill_deposit(s, &d.part);
	return deposit_message(&d, txn);
}

static int undo_apply(struct writer_job *job, struct kv_txn *txn)
{
	struct submission *s = (struct submission *)job;
	int err = deposit_undo(s->o.worker->service->db, txn, s->o.number, s->held);

	/* More is left: what went is to be committed all the same; `done` comes again. */
	return err == ERR_AGAIN ? 0 : err;
}

static void submit(struct submission *s, int (*apply)(struct writer_job *, struct kv_txn *),
                   void (*done)(struct writer_job *, int))
{
	s->job.apply = apply;
	s->job.done = done;
	s->now_us = clock_now_us();
	s->flying = true;
	writer_submit(s->o.worker->writer, &s->job);
}

static void undo_done(struct writer_job *job, int result)
{
	struct submission *s = (struct submission *)job;

	/* A message that is still coming has no deliveries: one transaction took it all back. */
	if (result != 0)
		log_warn("submission-undo", "error=\"%s\"", err_phrase(result));
	atomic_store(&s->o.worker->service->blobs_to_sweep, true);
	s->flying = false;
	free_submission(s);
}

static void last_blocks_done(struct writer_job *job, int result)
{
	(void)result; /* they will be sent again */
	free_submission((struct submission *)job);
}

/* How many of the octets collected may go without the message's end. */
static size_t whole_blocks(const struct submission *s)
{
	return s->fill_n / DB_BLOCK * DB_BLOCK;
}

/* Moves the first N octets collected to where the writer takes them. 0 or ERR_NOMEM. */
static int load(struct submission *s, size_t n)
{
	size_t rest = s->fill_n - n;
	uint8_t *fresh = NULL;

	if (rest > 0) {
		fresh = malloc(rest);
		if (fresh == NULL)
			return ERR_NOMEM;
		memcpy(fresh, s->fill + n, rest);
	}
	free(s->fly);
	s->fly = s->fill;
	s->fly_n = n;
	s->fill = fresh;
	s->fill_n = s->fill_cap = rest;
	return 0;
}

/* Moves the whole blocks that are collected to where the writer takes them, or, when they are the
 * last before a cut, ALL that is. 0, ERR_NOMEM, ERR_INTERNAL. */
static int load_blocks(struct submission *s, bool all)
{
	size_t whole = whole_blocks(s);
	int err = 0;

	if (s->scan == NULL && whole > 0) {
		s->scan = malloc(sizeof(*s->scan));
		if (s->scan == NULL)
			return ERR_NOMEM;
		err = scan_begin(s->scan);
		if (err != 0) {
			free(s->scan);
			s->scan = NULL;
			return err;
		}
	}
	err = load(s, all ? s->fill_n : whole);
	if (err == 0 && whole > 0)
		err = scan_feed(s->scan, span_of(s->fly, whole));
	scan_leaves_free(&s->leaves);
	if (whole > 0)
		scan_take_leaves(s->scan, &s->leaves);
	return err;
}

/* Whether a cut leaves something to write: octets, or that this submissionId has its message. */
static bool worth_keeping(struct submission *s)
{
	if (s->phase != OPEN)
		return false;
	if (s->begun || s->fill_n > 0)
		return s->stored + s->fill_n > s->held;
	return inhand_alone(s->o.worker->service->inhand, &s->inhand);
}

/* Nobody's any more, and nothing is under way: keeps, takes back, or just goes. */
static void dispose(struct submission *s)
{
	if (s->phase == LANDED) {
		free_submission(s);
	} else if (s->keep && s->o.has_submission_id && s->phase != FAILED) {
		if (worth_keeping(s) && load_blocks(s, true) == 0)
			submit(s, blocks_apply, last_blocks_done);
		else
			free_submission(s);
	} else if (s->begun && !s->foreign && !(s->keep && s->o.has_submission_id)) {
		s->phase = UNDOING;
		submit(s, undo_apply, undo_done);
	} else {
		free_submission(s);
	}
}

/* --- collecting -------------------------------------------------------------------------- */

static void land(struct submission *s);
static int launch(struct submission *s);

static void blocks_done(struct writer_job *job, int result)
{
	struct submission *s = (struct submission *)job;
	bool was_full = submission_full(s);

	s->flying = false;
	if (result == 0) {
		s->stored += s->fly_n;
		s->held = s->stored;
		s->fly_n = 0;
	}
	if (s->dropped) {
		s->foreign = s->foreign || result == ERR_EXISTS;
		dispose(s);
		return;
	}
	if (result != 0) {
		tell(s, s->phase == ENDING ? SUBMISSION_ENDED : SUBMISSION_ROOM, result);
		return;
	}
	if (s->phase == ENDING) {
		land(s);
		return;
	}
	if (s->fill_n >= BATCH_MIN)
		result = launch(s);
	if (result != 0 || was_full)
		tell(s, SUBMISSION_ROOM, result);
}

/* Hands the whole blocks that are collected to the writer. 0, ERR_NOMEM, ERR_INTERNAL. */
static int launch(struct submission *s)
{
	int err = load_blocks(s, false);

	if (err != 0)
		return err;
	s->begun = true;
	submit(s, blocks_apply, blocks_done);
	return 0;
}

/* Room for N more octets. 0 or ERR_NOMEM. */
static int grow(struct submission *s, size_t n)
{
	size_t need = s->fill_n + n, cap = s->fill_cap;
	uint8_t *p;

	if (need <= cap)
		return 0;
	/* A chunk that is whole takes just its size; what comes in pieces grows by half. */
	cap = s->fill_n == 0 ? need : need + need / 2;
	if (s->scan != NULL && cap < BATCH_MIN + DB_BLOCK)
		cap = BATCH_MIN + DB_BLOCK; /* one of the large ones */
	p = realloc(s->fill, cap);
	if (p == NULL)
		return ERR_NOMEM;
	s->fill = p;
	s->fill_cap = cap;
	return 0;
}

int submission_feed(struct submission *s, struct span octets)
{
	int err;

	if (s->phase != OPEN)
		return ERR_INTERNAL;
	if (octets.n == 0)
		return 0;
	err = grow(s, octets.n);
	if (err != 0)
		return err;
	memcpy(s->fill + s->fill_n, octets.p, octets.n);
	s->fill_n += octets.n;
	if (!s->flying && s->fill_n >= BATCH_MIN)
		return launch(s);
	return 0;
}

int submission_expect(struct submission *s, uint64_t total)
{
	return quota_grow(s->o.share, total);
}

bool submission_full(const struct submission *s)
{
	return s->flying && s->fill_n >= BATCH_MAX;
}

uint64_t submission_received(const struct submission *s)
{
	return s->stored + (s->flying ? s->fly_n : 0) + s->fill_n;
}

const uint8_t *submission_digest(const struct submission *s)
{
	return s->result.digest;
}

/* --- the end ----------------------------------------------------------------------------- */

/* Octets of the message wherever they are, for the structure. */
struct reader {
	struct submission *s;
	struct kv_txn *txn;
	struct db_message m;
};

static int read_stored(struct reader *r, uint64_t at, uint8_t *buf, size_t n)
{
	struct db *db = r->s->o.worker->service->db;
	int err;

	if (r->txn == NULL) {
		r->txn = db_read_begin(db);
		if (r->txn == NULL)
			return ERR_NOMEM;
		err = db_message_get(db, r->txn, r->s->o.number, &r->m);
		if (err != 0)
			return err;
	}
	return db_octets_copy(db, r->txn, &r->m, at, buf, n);
}

static int read_message(void *ctx, uint64_t at, uint8_t *buf, size_t n)
{
	struct reader *r = ctx;
	struct submission *s = r->s;
	size_t first = 0;
	int err;

	if (at < s->stored) {
		first = s->stored - at < n ? (size_t)(s->stored - at) : n;
		err = read_stored(r, at, buf, first);
		if (err != 0)
			return err;
	}
	at += first;
	n -= first;
	if (n == 0)
		return 0;
	if (n > s->fill_n || at - s->stored > s->fill_n - n)
		return ERR_INTERNAL;
	memcpy(buf + first, s->fill + (at - s->stored), n);
	return 0;
}

/* Scans what has not been yet, and finds out all about the message. */
static int conclude(struct submission *s)
{
	struct reader r = { .s = s };
	struct scan *scan = s->scan;
	int err;

	if (scan == NULL) {
		/* All of it is in memory: no scan of its own is needed. */
		scan = s->o.worker->scan;
		err = scan_begin(scan);
		if (err != 0)
			return err;
	}
	err = scan_feed(scan, span_of(s->fill, s->fill_n));
	if (err == 0)
		err = scan_end(scan, read_message, &r, &s->result);
	else
		scan_cancel(scan);
	db_read_end(r.txn);
	free(s->scan);
	s->scan = NULL;
	if (err != 0)
		return err;
	s->have_result = true;
	if (s->o.has_digest && memcmp(s->o.digest, s->result.digest, DIGEST_SIZE) != 0)
		return ERR_DENIED;
	return 0;
}

static void land_done(struct writer_job *job, int result)
{
	struct submission *s = (struct submission *)job;

	s->flying = false;
	if (result == 0) {
		s->phase = LANDED;
		s->stored += s->fly_n;
		s->fly_n = 0;
		service_count(&s->o.worker->service->counts.submissions, 1);
		service_count(&s->o.worker->service->counts.submitted_octets, s->stored);
		if (!s->o.held && s->o.to.n > 0)
			service_kick(s->o.worker->service);
	}
	if (!s->dropped) {
		tell(s, SUBMISSION_ENDED, result);
		return;
	}
	if (result != 0)
		s->phase = FAILED;
	s->foreign = s->foreign || result == ERR_EXISTS;
	dispose(s);
}

/* An error found at the end is told in the loop's next turn, as all events are. */
static void land_failed(struct loop_task *task)
{
	struct submission *s =
	    (struct submission *)((char *)task - offsetof(struct submission, task));

	s->posted = false;
	if (s->dropped)
		dispose(s);
	else
		tell(s, SUBMISSION_ENDED, s->job.result);
}

static void land(struct submission *s)
{
	int err = conclude(s);

	if (err == 0) {
		err = load(s, s->fill_n);
		if (err == 0) {
			s->phase = LANDING;
			submit(s, land_apply, land_done);
			return;
		}
	}
	s->phase = FAILED;
	s->job.result = err;
	s->posted = true;
	s->task.run = land_failed;
	loop_post(s->o.worker->loop, &s->task);
}

void submission_end(struct submission *s)
{
	if (s->phase != OPEN)
		return;
	s->phase = ENDING;
	if (!s->flying)
		land(s);
}

/* --- beginning --------------------------------------------------------------------------- */

/* The octets behind the last whole block, which are collected again. */
static int reread_rest(struct submission *s, struct kv_txn *t, const struct db_message *m)
{
	size_t n = (size_t)(s->held - s->stored);
	int err = grow(s, n);

	if (err == 0)
		err = db_octets_copy(s->o.worker->service->db, t, m, s->stored, s->fill, n);
	if (err == 0)
		s->fill_n = n;
	return err;
}

/* Reads on in what a former session stored. *MORE: it is not all yet. */
static int reread_step(struct submission *s, bool *more)
{
	struct db *db = s->o.worker->service->db;
	uint64_t end = s->reread + REREAD_STEP;
	struct kv_txn *t = db_read_begin(db);
	struct scan_leaves known;
	struct db_message m;
	struct span piece;
	int err;

	if (t == NULL)
		return ERR_NOMEM;
	err = db_message_get(db, t, s->o.number, &m);
	if (err == 0 && (m.state != DB_RECEIVING || m.size_octets != s->held))
		err = ERR_EXISTS;
	while (err == 0 && s->reread < end && s->reread < s->stored) {
		err = db_octets(db, t, &m, s->reread, &piece);
		if (err == 0)
			err = scan_feed(s->scan, piece);
		if (err == 0)
			s->reread += piece.n;
	}
	if (s->scan != NULL) {
		/* Their leaf hashes are stored with them. */
		scan_take_leaves(s->scan, &known);
		scan_leaves_free(&known);
	}
	*more = s->reread < s->stored;
	if (err == 0 && !*more && s->held > s->stored)
		err = reread_rest(s, t, &m);
	db_read_end(t);
	return err;
}

static void reread(struct loop_task *task)
{
	struct submission *s =
	    (struct submission *)((char *)task - offsetof(struct submission, task));
	bool more = false;
	int err;

	s->posted = false;
	if (s->dropped) {
		dispose(s);
		return;
	}
	err = reread_step(s, &more);
	if (err == 0 && more) {
		s->posted = true;
		loop_post(s->o.worker->loop, &s->task);
		return;
	}
	s->phase = OPEN;
	tell(s, SUBMISSION_READY, err);
}

int submission_create(const struct submission_options *options, struct submission **out)
{
	struct submission *s = calloc(1, sizeof(*s));
	int err = ERR_NOMEM;

	if (s == NULL)
		goto fail;
	s->phase = OPEN;
	s->held = options->stored;
	s->stored = options->stored / DB_BLOCK * DB_BLOCK;
	if (s->stored > 0) {
		s->scan = malloc(sizeof(*s->scan));
		if (s->scan == NULL)
			goto fail;
		err = scan_begin(s->scan);
		if (err != 0)
			goto fail_scan;
	}
	if (options->resumed) {
		s->begun = true;
		s->phase = REREADING;
		s->posted = true;
		s->task.run = reread;
		loop_post(options->worker->loop, &s->task);
	}
	s->o = *options;
	if (options->has_submission_id) {
		s->inhand.account = options->account;
		memcpy(s->inhand.submission_id, options->submission_id,
		       sizeof(s->inhand.submission_id));
		inhand_add(options->worker->service->inhand, &s->inhand);
	}
	*out = s;
	return 0;
fail_scan:
	free(s->scan);
fail:
	free(s);
	struct addressees to = options->to;
	addressees_free(&to);
	quota_drop(options->share);
	return err;
}

void submission_drop(struct submission *s, bool keep)
{
	if (s == NULL)
		return;
	s->dropped = true;
	s->keep = keep;
	if (!s->flying && !s->posted)
		dispose(s);
}
