#include "store/recipient.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/delivery.h"
#include "store/proving.h"
#include "store/retrieval.h"
#include "store/service.h"

struct recipient_job;

/* No state but the answer in hand: every command stands for itself. */
struct recipient {
	struct server_session *session;
	struct service_worker *worker;
	struct recipient_job *job;  /* the command in hand waits for it */
	struct proving *proving;    /* the command in hand waits for it */
	struct retrieval retrieval; /* the long answer in hand */
};

/* --- answers ----------------------------------------------------------------------------- */

static void answer_error(struct recipient *r, enum wire_status status, const char *text)
{
	server_reply_error(r->session, status, false, text,
	                   status == WIRE_STATUS_TRY_LATER ? 1 : -1, false);
}

/* ERR_NOT_FOUND: the id opens nothing; ERR_CLOSED: what it opened is over. */
static void answer_failure(struct recipient *r, int err)
{
	switch (err) {
	case ERR_NOT_FOUND:
		answer_error(r, WIRE_STATUS_NO_SUCH_MESSAGE, NULL);
		break;
	case ERR_CLOSED:
		answer_error(r, WIRE_STATUS_WITHDRAWN, NULL);
		break;
	case ERR_FULL:
	case ERR_NOMEM:
		answer_error(r, WIRE_STATUS_NOT_ENOUGH_ROOM, NULL);
		break;
	default:
		log_error("msrap", "error=\"%s\"", err_phrase(err));
		answer_error(r, WIRE_STATUS_INTERNAL_PROBLEM, NULL);
		break;
	}
}

static void answer(struct recipient *r, const struct msrap_response *response)
{
	struct span frame;
	int err =
	    msrap_response_encode(response, r->worker->frame_room, SERVICE_FRAME_OCTETS, &frame);

	if (err != 0)
		answer_failure(r, err);
	else
		server_reply(r->session, frame);
}

static void answer_done(struct recipient *r, enum msrap_kind kind)
{
	struct msrap_response response = { .kind = kind };

	answer(r, &response);
}

/* --- what an id opens -------------------------------------------------------------------- */

struct opened {
	struct db_message m;
	bool originator; /* the originator's own id: no delivery */
	struct db_delivery d;
	struct mailroom_delivery rules;
};

/*
 * Opens ID. 0; ERR_NOT_FOUND for all that opens nothing; ERR_CLOSED when it was
 * cancelled or its lifetime is over; or an error of db.h.
 */
static int open_id(struct recipient *r, struct kv_txn *t, const uint8_t id[16], struct opened *out)
{
	struct service *x = r->worker->service;
	struct db_message *m = &out->m;
	uint64_t now = clock_now_us();
	struct ids_name name;
	int err = ids_open(x->ids, id, &name);

	if (err == 0)
		err = db_message_get(x->db, t, name.message, m);
	if (err != 0)
		return err;
	if (m->key != name.key || m->state == DB_RECEIVING)
		return ERR_NOT_FOUND;
	out->originator = name.kind == IDS_ORIGINATOR;
	if (out->originator) {
		if (name.index != 0 || m->forgotten)
			return ERR_NOT_FOUND;
	} else {
		if (name.kind != IDS_RECIPIENT || name.index >= m->recipients ||
		    m->state == DB_HELD || m->release_us > now)
			return ERR_NOT_FOUND;
		err = db_delivery_get(x->db, t, m->number, name.index, &out->d);
		if (err != 0)
			return err;
		delivery_rules(&out->d, &out->rules);
		if (out->rules.withdrawn)
			return ERR_CLOSED;
	}
	if (m->state == DB_WITHDRAWN || m->state == DB_EXPIRED || now >= m->expires_us)
		return ERR_CLOSED;
	return 0;
}

/* Opens ID for reading: what was un-pinned is given up. */
static int open_to_read(struct recipient *r, struct kv_txn *t, const uint8_t id[16],
                        struct opened *out)
{
	int err = open_id(r, t, id, out);

	if (err != 0)
		return err;
	if (!out->originator && !mailroom_may_read(&out->rules))
		return ERR_NOT_FOUND;
	return out->m.freed ? ERR_CLOSED : 0;
}

/* --- what changes a delivery ------------------------------------------------------------- */

enum change { SILENCE, UNPIN, REFUSE, READ };

struct recipient_job {
	struct writer_job job; /* first */
	struct recipient *r;   /* who waits for it; NULL: nobody (any more) */
	struct service_worker *worker;
	uint64_t message, now_us;
	uint32_t account, index;
	enum change change;
	enum wire_retrieval type; /* READ */
	enum msrap_kind kind;     /* of the answer */
	bool has_text;
	struct span text;
	char room[DB_TEXT_MAX];
};

static bool change_rule(struct mailroom_delivery *d, void *ctx)
{
	const struct recipient_job *k = ctx;

	switch (k->change) {
	case SILENCE:
		return mailroom_silenced(d, k->now_us);
	case UNPIN:
		return mailroom_unpinned(d, k->now_us);
	case REFUSE:
		return mailroom_refused(d, k->now_us);
	case READ:
		break;
	}
	return mailroom_read(d, k->type, k->now_us);
}

static int change_apply(struct writer_job *job, struct kv_txn *txn)
{
	struct recipient_job *k = (struct recipient_job *)job;
	struct db *db = k->worker->service->db;
	struct delivery_result result;
	int err = delivery_apply(db, txn, k->account, k->message, k->index, change_rule, k,
	                         k->has_text ? &k->text : NULL, &result);

	if (err == 0 && result.lost_reader)
		err = delivery_readers_gone(db, txn, k->message, 1);
	return err;
}

static void change_done(struct writer_job *job, int result)
{
	struct recipient_job *k = (struct recipient_job *)job;

	if (k->change == UNPIN || k->change == REFUSE)
		atomic_store(&k->worker->service->blobs_to_sweep, true);
	if (result == 0)
		service_changed(k->worker->service, k->account);
	if (k->r != NULL) {
		k->r->job = NULL;
		if (result == 0)
			answer_done(k->r, k->kind);
		else
			answer_failure(k->r, result);
	} else if (result != 0 && result != ERR_NOT_FOUND) {
		log_warn("read-status", "error=\"%s\"", err_phrase(result));
	}
	free(k);
}

/*
 * A job that makes CHANGE to the delivery; NULL when memory is out. *NEEDED false
 * (and NULL) when it would change nothing.
 */
static struct recipient_job *change_create(struct recipient *r, const struct opened *o,
                                           enum change change, enum wire_retrieval type,
                                           bool *needed)
{
	struct mailroom_delivery copy = o->rules;
	struct recipient_job draft = {
		.job = { .apply = change_apply, .done = change_done },
		.worker = r->worker,
		.message = o->m.number,
		.account = o->m.account,
		.index = o->d.index,
		.now_us = clock_now_us(),
		.change = change,
		.type = type,
	};
	struct recipient_job *k;

	*needed = change_rule(&copy, &draft);
	if (!*needed)
		return NULL;
	k = malloc(sizeof(*k));
	if (k != NULL)
		*k = draft;
	return k;
}

/* silence, unPin, refuse. */
static void change_status(struct recipient *r, const uint8_t id[16], enum change change,
                          enum msrap_kind kind, const struct span *reason)
{
	struct kv_txn *t = db_read_begin(r->worker->service->db);
	struct recipient_job *k = NULL;
	struct opened o;
	bool needed = false;
	int err = t == NULL ? ERR_NOMEM : open_id(r, t, id, &o);

	if (err == 0 && o.originator)
		err = ERR_NOT_FOUND; /* it is no recipient */
	if (err == 0)
		k = change_create(r, &o, change, WIRE_RETRIEVAL_NOTHING, &needed);
	db_read_end(t);
	if (err == 0 && needed && k == NULL)
		err = ERR_NOMEM;
	if (err != 0) {
		answer_failure(r, err);
	} else if (!needed) {
		answer_done(r, kind); /* said before */
	} else {
		k->r = r;
		k->kind = kind;
		if (reason != NULL) {
			k->has_text = true;
			k->text = delivery_text(*reason, k->room);
		}
		r->job = k;
		writer_submit(r->worker->writer, &k->job);
	}
}

static void silence(struct recipient *r, const struct msrap_command *c)
{
	change_status(r, c->u.silence.id, SILENCE, MSRAP_SILENCE, NULL);
}

static void unpin(struct recipient *r, const struct msrap_command *c)
{
	change_status(r, c->u.unpin.id, UNPIN, MSRAP_UNPIN, NULL);
}

static void refuse(struct recipient *r, const struct msrap_command *c)
{
	const struct msrap_refuse *e = &c->u.refuse;

	change_status(r, e->id, REFUSE, MSRAP_REFUSE, e->has_reason ? &e->reason : NULL);
}

/* --- what reads -------------------------------------------------------------------------- */

static void query_size(struct recipient *r, const struct msrap_command *c)
{
	struct msrap_response response = { .kind = MSRAP_QUERY_SIZE };
	struct kv_txn *t = db_read_begin(r->worker->service->db);
	struct opened o;
	int err = t == NULL ? ERR_NOMEM : open_to_read(r, t, c->u.query_size.id, &o);

	if (err == 0) {
		response.u.query_size.size = o.m.size_octets;
		response.u.query_size.headers = o.m.header_octets;
	}
	db_read_end(t);
	if (err == 0)
		answer(r, &response);
	else
		answer_failure(r, err);
}

static size_t take(void *ctx, struct span octets)
{
	struct recipient *r = ctx;

	return server_write(r->session, octets.p, octets.n);
}

/* Sends on with the long answer in hand. */
static void pump(struct recipient *r)
{
	int err = retrieval_send(r->worker->service->db, &r->retrieval, take, r);

	if (err != 0) {
		retrieval_release(&r->retrieval);
		server_abort(r->session, "the message is gone");
	} else if (r->retrieval.left == 0) {
		retrieval_release(&r->retrieval);
	}
}

/* PROOF as a list in the worker's room. 0 or ERR_TOO_BIG. */
static int write_proof(struct recipient *r, const struct proving_proof *proof,
                       struct wire_list *out)
{
	struct wire_list_writer w;
	int err = 0;

	wire_list_writer_init(&w, r->worker->list_room, SERVICE_LIST_OCTETS);
	for (size_t i = 0; err == 0 && i < proof->n; i++)
		err = wire_digest_append(&w, proof->hash[i]);
	*out = wire_list_view(&w);
	return err;
}

/* Answers with what r->retrieval names; PROOF goes before it, where it is proven. */
static void answer_retrieval(struct recipient *r, const struct proving_proof *proof)
{
	struct msrap_response response = { .kind = MSRAP_RETRIEVE };
	struct msrap_retrieve_done *d = &response.u.retrieve;
	struct span head;
	int err = 0;

	d->size = r->retrieval.size;
	d->offset = r->retrieval.offset;
	d->data.size = r->retrieval.left;
	d->has_proof = r->retrieval.proven;
	if (d->has_proof)
		err = write_proof(r, proof, &d->proof);
	if (err == 0)
		err = msrap_response_encode(&response, r->worker->frame_room,
		                            SERVICE_FRAME_OCTETS, &head);
	if (err != 0) {
		retrieval_release(&r->retrieval);
		answer_failure(r, err);
	} else if (r->retrieval.left == 0) {
		retrieval_release(&r->retrieval);
		server_reply(r->session, head);
	} else {
		server_reply_start(r->session, head, r->retrieval.left);
		pump(r);
	}
}

static void retrieve_failure(struct recipient *r, int err, bool opened)
{
	if (opened && err == ERR_NOT_FOUND)
		answer_error(r, WIRE_STATUS_NO_SUCH_MESSAGE, "the message has no such part");
	else if (opened && err == ERR_UNSUPPORTED)
		answer_error(r, WIRE_STATUS_UNSUPPORTED, "no such kind of section");
	else if (opened && err == ERR_DENIED)
		answer_error(r, WIRE_STATUS_UNSUPPORTED,
		             "a proof is of headers, all or part: of octets of the message");
	else if (opened && err == ERR_TOO_BIG)
		answer_error(r, WIRE_STATUS_TOO_BIG, "the structure is too long to be told");
	else
		answer_failure(r, err);
}

static void on_proven(void *ctx, int error, const struct proving_proof *proof)
{
	struct recipient *r = ctx;

	r->proving = NULL;
	if (error == 0) {
		answer_retrieval(r, proof);
	} else {
		retrieval_release(&r->retrieval);
		answer_failure(r, error == ERR_NOT_FOUND ? ERR_CLOSED : error);
	}
}

/* Says that it was read, where that is news. It need not be durable before the octets go. */
static void say_read(struct recipient *r, const struct opened *o, enum wire_retrieval type)
{
	struct recipient_job *k = NULL;
	bool needed;

	/* All but its end is a part. */
	if (type == WIRE_RETRIEVAL_ALL && !r->retrieval.to_end)
		type = WIRE_RETRIEVAL_PART;
	if (!o->originator)
		k = change_create(r, o, READ, type, &needed);
	if (k != NULL)
		writer_submit(r->worker->writer, &k->job);
}

static void retrieve(struct recipient *r, const struct msrap_command *c)
{
	const struct msrap_retrieve *e = &c->u.retrieve;
	struct service *x = r->worker->service;
	struct retrieval *v = &r->retrieval;
	struct kv_txn *t = db_read_begin(x->db);
	struct proving_proof proof;
	bool opened = false, kept = true;
	struct opened o;
	int err = t == NULL ? ERR_NOMEM : open_to_read(r, t, e->id, &o);

	if (err == 0) {
		opened = true;
		err = retrieval_find(x->db, t, &o.m, e, r->worker->scan, v);
	}
	if (err == 0 && v->proven) {
		err = proving_make(x->db, t, &o.m, v->at, v->left, &proof);
		kept = err != ERR_NOT_FOUND;
		if (!kept)
			err = proving_start(r->worker, v->message, v->size, v->at, v->left, on_proven,
			                    r, &r->proving);
	}
	db_read_end(t);
	if (err == 0)
		say_read(r, &o, e->type);
	if (err != 0) {
		retrieval_release(v);
		retrieve_failure(r, err, opened);
	} else if (kept) {
		answer_retrieval(r, &proof);
	}
}

/* --- the session ------------------------------------------------------------------------- */

/* What is not here is answered `unsupported`: lists and grants. */
static void (*const commands[MSRAP_KIND_COUNT])(struct recipient *,
                                                const struct msrap_command *) = {
	[MSRAP_SILENCE] = silence,   [MSRAP_UNPIN] = unpin,   [MSRAP_QUERY_SIZE] = query_size,
	[MSRAP_RETRIEVE] = retrieve, [MSRAP_REFUSE] = refuse,
};

static void command(void *state, struct span body, uint64_t total)
{
	struct recipient *r = state;
	struct msrap_command c;

	if (msrap_command_decode(body, total, &c) != 0)
		server_reply_error(r->session, WIRE_STATUS_MALFORMED_PDU, true, NULL, -1, true);
	else if ((size_t)c.kind >= MSRAP_KIND_COUNT || commands[c.kind] == NULL)
		answer_error(r, WIRE_STATUS_UNSUPPORTED, NULL);
	else
		commands[c.kind](r, &c);
}

static enum server_frame classify(void *state, struct span head, uint64_t total)
{
	(void)state;
	(void)head;
	(void)total;
	return SERVER_TOO_BIG; /* no command of this protocol is large */
}

static void data(void *state, struct span octets, bool last)
{
	(void)state;
	(void)octets;
	(void)last;
}

static void wake(void *state)
{
	(void)state; /* no command waits for something to happen */
}

static void writable(void *state)
{
	pump(state);
}

static int open_session(struct server_session *s, void *app, void **state)
{
	struct recipient *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return ERR_NOMEM;
	r->session = s;
	r->worker = app;
	*state = r;
	return 0;
}

static void close_session(void *state)
{
	struct recipient *r = state;

	if (r->job != NULL)
		r->job->r = NULL;
	proving_cancel(r->proving);
	retrieval_release(&r->retrieval);
	free(r);
}

const struct server_protocol recipient_protocol = {
	.alpn = "im2000-msrap/1",
	.open = open_session,
	.classify = classify,
	.command = command,
	.data = data,
	.wake = wake,
	.writable = writable,
	.close = close_session,
};
