#include "store/originator.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "store/originator_state.h"
#include "wire/frame.h"

/* --- answers ----------------------------------------------------------------------------- */

void originator_reply(struct originator *o, const struct msoap_response *r)
{
	struct span frame;
	int err = msoap_response_encode(r, o->worker->frame_room, SERVICE_FRAME_OCTETS, &frame);

	if (err != 0)
		originator_trouble(o, err, r->abort);
	else
		server_reply(o->session, frame);
}

void originator_error(struct originator *o, enum wire_status status, bool abort, const char *text)
{
	server_reply_error(o->session, status, abort, text,
	                   status == WIRE_STATUS_TRY_LATER ? 1 : -1, false);
}

void originator_trouble(struct originator *o, int err, bool abort)
{
	if (err == ERR_FULL || err == ERR_NOMEM) {
		originator_error(o, WIRE_STATUS_NOT_ENOUGH_ROOM, abort,
		                 "the store has no room at the moment");
		return;
	}
	log_error("msoap", "account=%u error=\"%s\"", o->account, err_phrase(err));
	originator_error(o, WIRE_STATUS_INTERNAL_PROBLEM, abort, NULL);
}

/* --- authenticate ------------------------------------------------------------------------ */

static void login_done(void *ctx, enum login_answer answer)
{
	struct originator *o = ctx;
	struct msoap_response r = { .kind = MSOAP_AUTHENTICATE };

	o->login = NULL;
	switch (answer) {
	case LOGIN_RIGHT:
		o->authenticated = true;
		o->account = o->login_account;
		originator_reply(o, &r);
		break;
	case LOGIN_WRONG:
		originator_error(o, WIRE_STATUS_NOT_AUTHENTICATED, false,
		                 "wrong account or password");
		break;
	case LOGIN_LATER:
		server_reply_error(o->session, WIRE_STATUS_TRY_LATER, false,
		                   "too many attempts failed", 60, false);
		break;
	}
}

static void authenticate(struct originator *o, const struct msoap_command *c)
{
	struct service *x = o->worker->service;
	const struct msoap_authenticate *a = &c->u.authenticate;
	struct password_hash hash;
	struct db_account account;
	struct stream_info info;
	struct stream *stream;
	struct kv_txn *t;
	int err;

	if (submitting_busy(o)) {
		originator_error(o, WIRE_STATUS_UNEXPECTED_COMMAND, false,
		                 "a submission is under way");
		return;
	}
	o->authenticated = false;
	t = db_read_begin(x->db);
	err = t == NULL ? ERR_NOMEM : db_account_find(x->db, t, a->account, &account);
	if (err == 0) {
		hash = account.hash;
		o->login_account = account.number;
	}
	db_read_end(t);
	if (err != 0 && err != ERR_NOT_FOUND) {
		originator_trouble(o, err, false);
		return;
	}
	stream = server_stream(o->session);
	/* Whom the kernel vouches for needs no password; one that is given is checked. */
	if (err == 0 && a->password.n == 0 &&
	    local_users_allow(&o->settings->local_users, stream, a->account)) {
		login_done(o, LOGIN_RIGHT);
		return;
	}
	stream_info(stream, &info);
	o->login = login_start(x->login, o->worker->loop, a->account, a->password,
	                       err == 0 ? &hash : NULL, &info.peer, login_done, o);
	if (o->login == NULL)
		originator_trouble(o, ERR_NOMEM, false);
}

/* --- commands ---------------------------------------------------------------------------- */

int originator_message(const struct originator *o, struct kv_txn *t, const uint8_t id[16],
                       struct db_message *out)
{
	struct service *x = o->worker->service;
	struct ids_name name;
	int err = ids_open(x->ids, id, &name);

	if (err != 0 || name.kind != IDS_ORIGINATOR)
		return ERR_NOT_FOUND;
	err = db_message_get(x->db, t, name.message, out);
	if (err != 0)
		return err;
	if (out->account != o->account || out->key != name.key || out->state == DB_RECEIVING)
		return ERR_NOT_FOUND;
	return 0;
}

int originator_number(const struct originator *o, const uint8_t id[16], uint64_t *number)
{
	struct kv_txn *t = db_read_begin(o->worker->service->db);
	struct db_message m;
	int err = t == NULL ? ERR_NOMEM : originator_message(o, t, id, &m);

	if (err == 0)
		*number = m.number;
	db_read_end(t);
	return err;
}

void originator_submit(struct originator *o, struct originator_job *k)
{
	k->o = o;
	k->worker = o->worker;
	o->job = k;
	writer_submit(o->worker->writer, &k->job);
}

struct originator *originator_done(struct originator_job *k)
{
	struct originator *o = k->o;

	if (o != NULL)
		o->job = NULL;
	return o;
}

/* One file for each group of commands; what is not here is answered `unsupported`. */
static const struct {
	void (*run)(struct originator *o, const struct msoap_command *c);
	bool open;  /* may come before authenticate */
	bool abort; /* belongs to a submission: an error before it began ends that for the client */
} commands[MSOAP_KIND_COUNT] = {
	[MSOAP_AUTHENTICATE] = { .run = authenticate, .open = true },
	[MSOAP_SUBMIT_ENVELOPE] = { .run = submitting_envelope, .abort = true },
	[MSOAP_SUBMIT_CHUNK] = { .run = submitting_chunk },
	[MSOAP_TRACK] = { .run = tracking_track },
	[MSOAP_ARCHIVE] = { .run = tracking_archive },
	[MSOAP_CANCEL] = { .run = changing_cancel },
	[MSOAP_RELEASE] = { .run = changing_release },
	[MSOAP_WATCH] = { .run = watching_watch },
	[MSOAP_EXTEND] = { .run = changing_extend },
	[MSOAP_READDRESS] = { .run = readdressing_readdress },
	[MSOAP_FORGET] = { .run = changing_forget },
};

static void command(void *state, struct span body, uint64_t total)
{
	struct originator *o = state;
	struct msoap_command c;
	int err = msoap_command_decode(body, total, &c);

	if (err != 0) {
		server_reply_error(o->session, WIRE_STATUS_MALFORMED_PDU, true, NULL, -1, true);
		return;
	}
	if ((size_t)c.kind >= MSOAP_KIND_COUNT || commands[c.kind].run == NULL) {
		originator_error(o, WIRE_STATUS_UNSUPPORTED, false, NULL);
		return;
	}
	if (!o->authenticated && !commands[c.kind].open) {
		originator_error(o, WIRE_STATUS_NOT_AUTHENTICATED, commands[c.kind].abort,
		                 "authenticate first");
		return;
	}
	commands[c.kind].run(o, &c);
}

static enum server_frame classify(void *state, struct span head, uint64_t total)
{
	enum msoap_kind kind;
	struct msoap_command c;
	int err = msoap_command_peek(head, total, &kind);

	(void)state;
	if (err == ERR_AGAIN)
		return SERVER_MORE;
	if (err != 0)
		return SERVER_STREAM; /* `command` will find it malformed */
	switch (kind) {
	case MSOAP_SUBMIT_ENVELOPE:
	case MSOAP_READDRESS:
		return SERVER_WHOLE;
	case MSOAP_SUBMIT_CHUNK:
		return msoap_command_decode(head, total, &c) == ERR_AGAIN ? SERVER_MORE
		                                                          : SERVER_STREAM;
	default:
		return SERVER_TOO_BIG;
	}
}

static void data(void *state, struct span octets, bool last)
{
	submitting_data(state, octets, last);
}

static void wake(void *state)
{
	watching_wake(state); /* no other command waits for something to happen */
}

static void writable(void *state)
{
	(void)state; /* no answer is a long one */
}

static int open_session(struct server_session *s, void *app, void **state)
{
	struct originator *o = calloc(1, sizeof(*o));

	if (o == NULL)
		return ERR_NOMEM;
	o->session = s;
	o->worker = app;
	o->settings = service_settings(o->worker->service);
	*state = o;
	return 0;
}

static void close_session(void *state)
{
	struct originator *o = state;

	login_cancel(o->login);
	submitting_close(o);
	watching_close(o);
	readdressing_close(o);
	if (o->job != NULL)
		o->job->o = NULL;
	settings_drop(o->settings);
	free(o);
}

const struct server_protocol originator_protocol = {
	.alpn = "im2000-msoap/1",
	.open = open_session,
	.classify = classify,
	.command = command,
	.data = data,
	.wake = wake,
	.writable = writable,
	.close = close_session,
};
