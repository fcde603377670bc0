#include "mua-agent/submit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/sha.h>

#include "base/clock.h"
#include "base/random.h"
#include "mua-agent/progress.h"
#include "mua-agent/talk.h"

#define ONE_FLIGHT ((uint64_t)16 << 10) /* octets of a message that goes with its envelope */
#define TRIES 3                         /* of a submission that is cut off */
#define PAUSE_US 500000                 /* before the second try; doubled for each after it */
#define MAILBOX_OCTETS 700              /* DER of a mailbox, at most */
#define CHUNK ((size_t)64 << 10)

/* One submission, over all its tries. */
struct submitting {
	struct app *app;
	const struct submit_request *q;
	struct submit_result *out;
	uint8_t submission_id[WIRE_ID_SIZE];
	bool resumed;      /* the store may have seen the id */
	uint64_t received; /* by the store, when it answered the envelope */
	bool complete;
	/* The message on its way. */
	uint64_t at;
	uint8_t *chunk;
	struct progress progress;
};

/* --- the envelope ------------------------------------------------------------------------- */

static int on_envelope(void *ctx, const struct msoap_response *r, struct err_text *why)
{
	const struct msoap_submit_envelope_done *done = &r->u.submit_envelope;
	struct wire_list rest = done->recipients;
	struct submitting *s = ctx;
	enum wire_submission_status status;

	if (done->recipients.count != s->q->n_recipients || done->received > s->q->message->size) {
		return err_set(why, ERR_PROTOCOL, "the answer does not belong to this envelope");
	}
	memcpy(s->out->id, done->id, WIRE_ID_SIZE);
	s->out->expires_us = done->expires;
	s->out->n_statuses = 0;
	while (msoap_submission_status_next(&rest, &status)) {
		s->out->statuses[s->out->n_statuses++] = status;
	}
	s->received = done->received;
	s->complete = done->complete;
	return 0;
}

static int encode_recipients(const struct submit_request *q, uint8_t *octets, size_t cap,
                             struct wire_list *out)
{
	uint8_t labels[WIRE_LABELS_MAX];
	struct wire_list_writer w;
	struct wire_mailbox m;
	int r = 0;

	wire_list_writer_init(&w, octets, cap);
	for (size_t i = 0; r == 0 && i < q->n_recipients; i++) {
		wire_mailbox_from_name(&q->recipients[i], labels, &m);
		r = wire_mailbox_append(&w, &m);
	}
	*out = wire_list_view(&w);
	return r;
}

static int send_envelope(struct submitting *s, struct line *l, struct talk *t, struct err_text *e)
{
	const struct submit_request *q = s->q;
	struct msoap_command c = { .kind = MSOAP_SUBMIT_ENVELOPE };
	struct msoap_submit_envelope *v = &c.u.submit_envelope;
	size_t cap = (q->n_recipients + 1) * MAILBOX_OCTETS;
	uint8_t labels[WIRE_LABELS_MAX], *octets = malloc(cap);
	int r;

	*t = (struct talk) { .msoap = on_envelope, .ctx = s };
	snprintf(t->doing, sizeof t->doing, "submit to %.150s", q->account->store_domain);
	if (octets == NULL || (r = encode_recipients(q, octets, cap, &v->recipients)) != 0) {
		free(octets);
		return err_set(e, ERR_NOMEM, "%s: the envelope cannot be made", t->doing);
	}
	v->has_recipients = q->n_recipients > 0;
	v->lifetime = q->lifetime_s;
	v->has_size = true;
	v->size = q->message->size;
	v->has_submission_id = true;
	memcpy(v->submission_id, s->submission_id, WIRE_ID_SIZE);
	v->has_sender = true;
	wire_mailbox_from_name(&q->message->sender, labels, &v->sender);
	v->has_digest = true;
	memcpy(v->digest, q->message->digest, WIRE_DIGEST_SIZE);
	v->has_release_at = q->release_at_us != 0;
	v->release_at = q->release_at_us;
	v->has_hold = q->hold;
	v->hold = q->hold;
	r = talk_msoap(l, t, &c, cap, e);
	free(octets);
	return r;
}

/* --- the data ----------------------------------------------------------------------------- */

/* Writes what the connection takes. */
static int write_data(void *ctx, struct client *c)
{
	struct submitting *s = ctx;
	size_t taken;
	ssize_t n;

	while (s->at < s->q->message->size) {
		if ((n = prepare_octets(s->q->message, s->at, s->chunk, CHUNK)) <= 0) {
			return ERR_IO;
		}
		taken = client_write(c, s->chunk, (size_t)n);
		s->at += taken;
		progress_at(&s->progress, s->at);
		if (taken < (size_t)n) {
			break;
		}
	}
	return 0;
}

static int on_chunk(void *ctx, const struct msoap_response *r, struct err_text *why)
{
	const struct submitting *s = ctx;

	return r->u.submit_chunk.received == s->q->message->size
	           ? 0
	           : err_set(why, ERR_PROTOCOL, "the store counts other octets than were sent");
}

static int send_data(struct submitting *s, struct line *l, uint64_t offset, struct talk *t,
                     struct err_text *e)
{
	const struct msoap_command c = {
		.kind = MSOAP_SUBMIT_CHUNK,
		.u.submit_chunk = { .is_last = true,
		                    .offset = offset,
		                    .data.size = s->q->message->size - offset },
	};

	*t = (struct talk) {
		.msoap = on_chunk,
		.tail = write_data,
		.tail_octets = s->q->message->size - offset,
		.ctx = s,
	};
	snprintf(t->doing, sizeof t->doing, "submit to %.150s", s->q->account->store_domain);
	s->at = offset;
	if (t->tail_octets == 0) {
		t->tail = NULL;
	}
	return talk_msoap(l, t, &c, 0, e);
}

/* All of a small message, in one frame, which may be early data. */
static int send_whole(struct submitting *s, struct line *l, struct talk *t, struct err_text *e)
{
	struct msoap_command c = {
		.kind = MSOAP_SUBMIT_CHUNK,
		.u.submit_chunk = { .is_last = true, .data.size = s->q->message->size },
	};
	size_t n = 0;
	ssize_t got = 1;

	*t = (struct talk) { .msoap = on_chunk, .ctx = s };
	snprintf(t->doing, sizeof t->doing, "submit to %.150s", s->q->account->store_domain);
	while (got > 0 && n < s->q->message->size) {
		got = prepare_octets(s->q->message, n, s->chunk + n, CHUNK - n);
		n += got > 0 ? (size_t)got : 0;
	}
	if (n != s->q->message->size) {
		return err_set(e, ERR_IO, "%s: the message cannot be read", t->doing);
	}
	c.u.submit_chunk.data.here = span_of(s->chunk, n);
	return talk_msoap(l, t, &c, n, e);
}

/* --- one try ------------------------------------------------------------------------------ */

static int converse(struct submitting *s, struct line *l, struct err_text *e)
{
	bool at_once = !s->resumed && s->q->message->size <= ONE_FLIGHT;
	struct talk login, envelope, data;
	int r;

	if ((r = talk_login_store(l, &login, s->q->account, e)) != 0 ||
	    (r = send_envelope(s, l, &envelope, e)) != 0 ||
	    (at_once && (r = send_whole(s, l, &data, e)) != 0)) {
		return r;
	}
	if ((r = talk_finish(&login, e)) != 0 || (r = talk_finish(&envelope, e)) != 0 ||
	    s->complete) {
		return r;
	}
	if (!at_once && (r = send_data(s, l, s->received, &data, e)) != 0) {
		return r;
	}
	return talk_finish(&data, e);
}

static int try_once(struct submitting *s, struct err_text *e)
{
	struct lines *lines;
	struct line *l;
	int r;

	if ((r = app_lines(s->app, &lines, e)) != 0 ||
	    (r = line_open(lines, s->q->account->store_domain, LOCATE_MSOAP, true, &l, e)) != 0) {
		return r;
	}
	r = converse(s, l, e);
	line_close(l);
	return r;
}

/* What saying it again may help against. */
static bool cut_off(int error)
{
	return error == ERR_CLOSED || error == ERR_TIMEOUT;
}

static int try_until_answered(struct submitting *s, struct err_text *e)
{
	int r = ERR_INTERNAL;

	progress_begin(&s->progress, "sending");
	progress_total(&s->progress, s->q->message->size);
	for (unsigned i = 0; i < TRIES; i++) {
		if (i > 0) {
			usleep((useconds_t)(PAUSE_US << (i - 1)));
		}
		r = try_once(s, e);
		if (!cut_off(r)) {
			break;
		}
		s->resumed = true;
	}
	progress_end(&s->progress);
	return r;
}

/* --- remembering -------------------------------------------------------------------------- */

/* What tells one submission from another: the account, the envelope and the octets given. */
static void pending_key(const struct submit_request *q, uint8_t out[DB_KEY_SIZE])
{
	const char *names[] = { q->account->store_domain, q->account->store_login,
		                q->message->sender.text };
	uint8_t hold = q->hold, all[DB_KEY_SIZE * 2];
	struct buf b;

	buf_init(&b, 0);
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		if (buf_add(&b, names[i], strlen(names[i]) + 1) != 0) {
			abort(); /* a few hundred octets */
		}
	}
	SHA256(buf_view(&b).p, buf_view(&b).n, all);
	buf_free(&b);
	memcpy(all + DB_KEY_SIZE, q->message->digest, DB_KEY_SIZE);
	SHA256(all, sizeof all, out);
	for (size_t i = 0; i < q->n_recipients; i++) {
		const char *text = q->recipients[i].text;

		memcpy(all, out, DB_KEY_SIZE);
		SHA256((const uint8_t *)text, strlen(text), all + DB_KEY_SIZE);
		SHA256(all, sizeof all, out);
	}
	memcpy(all, out, DB_KEY_SIZE);
	all[DB_KEY_SIZE] = hold;
	SHA256(all, DB_KEY_SIZE + 1, out);
}

/* The submission under KEY as it was begun before, or begun now; durable when it returns 0. */
static int begin(struct submitting *s, const uint8_t key[DB_KEY_SIZE], struct buf *added)
{
	struct db *db = s->app->db;
	uint64_t now = clock_now_us();
	struct db_pending pending;
	struct kv_txn *t;
	int r = db_write_begin(db, &t);

	if (r != 0) {
		return r;
	}
	r = db_pending_get(db, t, key, &pending);
	if (r == 0 && pending.begun_us <= now && now - pending.begun_us < DB_PENDING_US) {
		s->resumed = true;
		memcpy(s->submission_id, pending.id, WIRE_ID_SIZE);
		r = buf_add(added, pending.added.p, pending.added.n);
		kv_write_abort(t);
		return r;
	}
	random_uuid7(s->submission_id, now);
	if ((r == 0 || r == ERR_NOT_FOUND) &&
	    (r = prepare_missing(s->q->message, now, added)) == 0) {
		memcpy(pending.id, s->submission_id, WIRE_ID_SIZE);
		pending.begun_us = now;
		pending.added = buf_view(added);
		if ((r = db_pending_put(db, t, key, &pending)) == 0) {
			r = db_tidy(db, t, now);
		}
	}
	return kv_write_end(t, r);
}

/* The recipients that were accepted, as the record of what was sent has them. */
static int accepted_names(const struct submitting *s, struct buf *out)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < s->q->n_recipients; i++) {
		const char *text = s->q->recipients[i].text;

		if (s->out->statuses[i] == WIRE_SUBMISSION_ACCEPTABLE) {
			r = buf_add(out, text, strlen(text) + 1);
		}
	}
	return r;
}

static int put_sent(struct submitting *s, struct kv_txn *t, struct span names)
{
	const struct submit_request *q = s->q;
	struct db_sent sent = {
		.submitted_us = clock_now_us(),
		.expires_us = s->out->expires_us,
		.size = q->message->size,
		.held = q->hold,
		.account = span_str(q->account->identity),
		.store = span_str(q->account->store_domain),
		.subject = span_str(q->message->subject),
		.recipients = names,
	};
	struct db_sent known;
	int r = db_sent_find(s->app->db, t, sent.store, s->out->id, &known);

	if (r == 0) { /* a try before this one got as far */
		s->out->number = known.number;
		return 0;
	}
	memcpy(sent.id, s->out->id, WIRE_ID_SIZE);
	if (r == ERR_NOT_FOUND && (r = db_sent_put(s->app->db, t, &sent)) == 0) {
		s->out->number = sent.number;
	}
	return r;
}

/* The store has the message: nothing is pending. */
static int finish(struct submitting *s, const uint8_t key[DB_KEY_SIZE])
{
	struct buf names;
	struct kv_txn *t;
	int r;

	buf_init(&names, 0);
	if ((r = accepted_names(s, &names)) != 0 || (r = db_write_begin(s->app->db, &t)) != 0) {
		buf_free(&names);
		return r;
	}
	r = db_pending_remove(s->app->db, t, key);
	if (r == 0) {
		r = put_sent(s, t, buf_view(&names));
	}
	buf_free(&names);
	return kv_write_end(t, r);
}

static int submit(struct submitting *s, struct err_text *e)
{
	uint8_t key[DB_KEY_SIZE];
	struct buf added;
	int r, kept;

	pending_key(s->q, key);
	buf_init(&added, 0);
	if ((r = begin(s, key, &added)) != 0) {
		err_set(e, r, "keep the submission in %s/agent.mdb: %s", s->app->config.data,
		        err_phrase(r));
	} else {
		r = prepare_add(s->q->message, buf_view(&added), e);
	}
	buf_free(&added);
	if (r != 0) {
		return r;
	}
	r = try_until_answered(s, e);
	if (r == 0 && (kept = finish(s, key)) != 0) {
		r = err_set(e, kept, "the message was sent, but %s/agent.mdb cannot keep that: %s",
		            s->app->config.data, err_phrase(kept));
	}
	return r;
}

int submit_message(struct app *app, const struct submit_request *q, struct submit_result *out,
                   struct err_text *e)
{
	struct submitting s = { .app = app, .q = q, .out = out };
	int r;

	*out = (struct submit_result) { 0 };
	out->statuses = calloc(q->n_recipients + 1, sizeof *out->statuses);
	s.chunk = malloc(CHUNK);
	r = out->statuses == NULL || s.chunk == NULL ? err_set(e, ERR_NOMEM, "out of memory")
	                                             : submit(&s, e);
	free(s.chunk);
	return r;
}

void submit_result_free(struct submit_result *r)
{
	free(r->statuses);
	r->statuses = NULL;
}

const char *submit_status_words(enum wire_submission_status status)
{
	switch (status) {
	case WIRE_SUBMISSION_ACCEPTABLE:
		return "accepted";
	case WIRE_SUBMISSION_ACCESS_DENIED:
		return "refused: the store does not let this account send there";
	case WIRE_SUBMISSION_BAD_ADDRESS:
		return "refused: it is no usable address";
	case WIRE_SUBMISSION_TOO_MANY:
		return "refused: too many recipients";
	default:
		return "refused";
	}
}
