/*
 * RNAQP: a session with a recipient's mail program.
 *
 * States: no account yet (only authenticate is answered); an account; a login
 * under way, a job at the writer, a fetch, or a retrieve that waits (no further
 * command comes meanwhile). A login or job outlives its session only detached from it.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "notify/app.h"
#include "notify/fetch.h"
#include "notify/rules.h"
#include "session/daemon.h"
#include "wire/frame.h"
#include "wire/rnaqp.h"

#define RETRIEVE_DEFAULT 100
#define RETRIEVE_MAX 1000
#define RETRIEVE_OCTETS (256u << 10) /* of a response's list */
#define RECEIVED_OCTETS 3200         /* one ReceivedNotification at most: 2 KiB, verified, times */
#define ACKNOWLEDGE_MAX 10000
#define WAIT_MAX_S 86400

struct query {
	struct waiter waiter; /* first, so that the waiter is the session's */
	struct server_session *session;
	struct app_worker *worker;
	uint32_t mailbox; /* number; 0: not authenticated */
	struct mailbox name;
	struct login_check *login;
	uint32_t candidate; /* while LOGIN is under way: the mailbox whose password is checked */
	struct query_job *job;
	struct fetch *fetch;
	struct rnaqp_retrieve waiting; /* what a waiting retrieve asked for */
};

/* A list of received notifications under way. */
struct listing {
	struct wire_list_writer list;
	uint64_t next; /* cursor of the last one, or where it began */
	uint64_t cursors[RETRIEVE_MAX];
	uint64_t found[RETRIEVE_MAX];
	uint8_t octets[RETRIEVE_OCTETS];
};

/* acknowledge, retrieveAndClear, policy: something to write, then a response. */
struct query_job {
	struct writer_job job; /* first */
	struct query *query;   /* NULL once the session is gone */
	struct db *db;
	uint32_t mailbox;
	struct mailbox name;
	struct listing *listing; /* retrieveAndClear: what was forgotten; else NULL */
	struct rules_command rules;
	bool changed; /* policy: RULES changed something */
	size_t n;                /* acknowledge: how many CURSORS */
	uint64_t cursors[];
};

static void job_free(struct query_job *j)
{
	free(j->listing);
	free(j);
}

/* Answers that the database failed, or that the mailbox was removed meanwhile (ERR_DENIED). */
static void reply_failure(struct query *q, const char *doing, int error)
{
	if (error == ERR_DENIED) {
		q->mailbox = 0;
		server_reply_error(q->session, WIRE_STATUS_NOT_AUTHENTICATED, true,
		                   "the mailbox was removed", -1, false);
		return;
	}
	log_error(doing, "error=\"%s\"", err_phrase(error));
	server_reply_error(q->session,
	                   error == ERR_FULL    ? WIRE_STATUS_NOT_ENOUGH_ROOM
	                   : error == ERR_NOMEM ? WIRE_STATUS_TRY_LATER
	                                        : WIRE_STATUS_INTERNAL_PROBLEM,
	                   true, NULL, 60, false);
}

static void reply_empty(struct query *q, enum rnaqp_kind kind)
{
	struct rnaqp_response response = { .status = WIRE_STATUS_OK, .kind = kind };
	uint8_t buf[64];
	struct span frame;

	if (rnaqp_response_encode(&response, buf, sizeof buf, &frame) == 0) {
		server_reply(q->session, frame);
	} else {
		server_reply_error(q->session, WIRE_STATUS_INTERNAL_PROBLEM, true, NULL, -1, false);
	}
}

/* --- authenticate ------------------------------------------------------------------------- */

/* Who fails to log in is worth a line: to find who guesses, and who mistyped a configuration. */
static void log_refusal(struct query *q, const char *why)
{
	char account[256], peer[64];
	struct stream_info info;

	stream_info(server_stream(q->session), &info);
	log_info("login", "result=%s account=%s peer=%s", why,
	         log_quote(span_str(q->name.text), account, sizeof account),
	         address_format(&info.peer, peer, sizeof peer));
}

static void login_done(void *ctx, enum login_answer answer)
{
	struct query *q = ctx;
	struct db_mailbox mailbox;
	struct kv_txn *t;
	int r = ERR_NOT_FOUND;

	q->login = NULL;
	if (answer == LOGIN_LATER) {
		log_refusal(q, "later");
		server_reply_error(q->session, WIRE_STATUS_TRY_LATER, true,
		                   "too many failed logins", 60, false);
		return;
	}
	if (answer == LOGIN_RIGHT) {
		t = db_read_begin(q->worker->app->db);
		r = t == NULL ? ERR_NOMEM
		              : db_mailbox_find(q->worker->app->db, t, &q->name, &mailbox);
		db_read_end(t);
	}
	/* A mailbox that was removed, and maybe made anew, is another one. */
	if (r == ERR_NOT_FOUND || (r == 0 && mailbox.number != q->candidate)) {
		log_refusal(q, "wrong");
		server_reply_error(q->session, WIRE_STATUS_NOT_AUTHENTICATED, true,
		                   "no such mailbox, or the password is wrong", -1, false);
		return;
	}
	if (r != 0) {
		reply_failure(q, "login", r);
		return;
	}
	q->mailbox = mailbox.number;
	reply_empty(q, RNAQP_AUTHENTICATE);
}

static void authenticate(struct query *q, const struct rnaqp_authenticate *a)
{
	struct app *app = q->worker->app;
	struct span account = a->account;
	struct db_mailbox mailbox;
	struct stream_info info;
	struct kv_txn *t;
	int r = ERR_NOT_FOUND;

	q->mailbox = 0;
	q->candidate = 0;
	if (name_parse_mailbox(a->account, &q->name) == 0) {
		/* One account, one count of failures, however its domain is written. */
		account = span_str(q->name.text);
		t = db_read_begin(app->db);
		r = t == NULL ? ERR_NOMEM : db_mailbox_find(app->db, t, &q->name, &mailbox);
		db_read_end(t);
	} else {
		q->name = (struct mailbox) { 0 };
	}
	if (r != 0 && r != ERR_NOT_FOUND) {
		reply_failure(q, "login", r);
		return;
	}
	if (r == 0) {
		q->candidate = mailbox.number;
	}
	/* Whom the kernel vouches for needs no password; one that is given is checked. */
	if (r == 0 && a->password.n == 0 &&
	    local_users_allow(&app_settings(app)->local_users, server_stream(q->session),
	                      account)) {
		login_done(q, LOGIN_RIGHT);
		return;
	}
	stream_info(server_stream(q->session), &info);
	q->login = login_start(app->login, q->worker->loop, account, a->password,
	                       r == 0 ? &mailbox.hash : NULL, &info.peer, login_done, q);
	if (q->login == NULL) {
		reply_failure(q, "login", ERR_NOMEM);
	}
}

/* --- listing ------------------------------------------------------------------------------- */

static int append_notice(struct listing *l, const struct db_notice *notice,
                         const struct db_announcement *a, const struct mailbox *name)
{
	uint8_t recipient[WIRE_LABELS_MAX], verified[WIRE_LABELS_MAX];
	char origin[NAME_DOMAIN_MAX + 1];
	struct rnaqp_received received = {
		.submitter = notice->submitter,
		.received = notice->received_us,
		.cursor = notice->cursor,
		.has_withdrawn = notice->withdrawn,
		.withdrawn = notice->withdrawn,
	};
	int r = wire_notification_decode(a->der, &received.notification);

	if (r != 0) {
		return r;
	}
	if (!a->addressed) {
		wire_mailbox_from_name(name, recipient, &received.notification.recipient);
	}
	memcpy(received.notification.id, notice->id, WIRE_ID_SIZE);
	if (a->verified && span_copy(a->origin, origin, sizeof origin) == 0) {
		received.has_verified =
		    wire_domain_from_name(origin, verified, &received.verified) == 0;
	}
	return rnaqp_received_append(&l->list, &received);
}

/* 0, or ERR_DENIED: the mailbox NAME is no longer number MAILBOX. */
static int same_mailbox(struct db *db, struct kv_txn *t, uint32_t mailbox,
                        const struct mailbox *name)
{
	struct db_mailbox m;
	int r = db_mailbox_find(db, t, name, &m);

	return r == ERR_NOT_FOUND || (r == 0 && m.number != mailbox) ? ERR_DENIED : r;
}

/* The notice at CURSOR, unless it is only waiting for the sweep. Damaged: nothing may be missing
 * unsaid. */
static int list_one(struct db *db, struct kv_txn *t, uint32_t mailbox, const struct mailbox *name,
                    uint64_t cursor, uint64_t now_us, struct listing *l)
{
	struct db_announcement a;
	struct db_notice notice;
	int r = db_notice_get(db, t, mailbox, cursor, &notice);

	if (r == 0 && notice.expires_us > now_us &&
	    (r = db_announcement_get(db, t, notice.announcement, &a)) == 0 &&
	    (r = append_notice(l, &notice, &a, name)) == 0) {
		l->cursors[l->list.count - 1] = cursor;
	}
	l->next = cursor;
	return r == ERR_NOT_FOUND ? ERR_MALFORMED : r;
}

/*
 * Fills L with what stands after AFTER, LIMIT at most, without what is only
 * waiting for the sweep. How many, or an error; ERR_DENIED: the mailbox NAME
 * is no longer number MAILBOX.
 */
static int list_notices(struct db *db, struct kv_txn *t, uint32_t mailbox,
                        const struct mailbox *name, uint64_t after, size_t limit,
                        struct listing *l)
{
	uint64_t now_us = clock_now_us();
	int r = same_mailbox(db, t, mailbox, name);

	if (r != 0) {
		return r;
	}
	l->next = after;
	wire_list_writer_init(&l->list, l->octets, sizeof l->octets);
	while (l->list.count < limit && l->list.n + RECEIVED_OCTETS <= sizeof l->octets) {
		int n = db_notice_list(db, t, mailbox, l->next, l->found, limit - l->list.count);

		for (int i = 0; i < n && l->list.n + RECEIVED_OCTETS <= sizeof l->octets; i++) {
			if ((r = list_one(db, t, mailbox, name, l->found[i], now_us, l)) != 0) {
				return r;
			}
		}
		if (n <= 0) {
			return n < 0 ? n : (int)l->list.count;
		}
	}
	return (int)l->list.count;
}

static void reply_listing(struct query *q, const struct listing *l, enum rnaqp_kind kind)
{
	struct rnaqp_response response = { .status = WIRE_STATUS_OK, .kind = kind };
	size_t cap = l->list.n + 128;
	uint8_t *buf = malloc(cap);
	struct span frame;
	int r = ERR_NOMEM;

	app_count(&q->worker->app->counts.listed, l->list.count);
	/* The two kinds carry the same. */
	response.u.retrieve.notifications = wire_list_view(&l->list);
	response.u.retrieve.next = l->next;
	if (buf != NULL && (r = rnaqp_response_encode(&response, buf, cap, &frame)) == 0) {
		server_reply(q->session, frame);
	} else {
		reply_failure(q, "retrieve", r);
	}
	free(buf);
}

/* --- retrieve ------------------------------------------------------------------------------ */

static size_t limit_of(const struct rnaqp_retrieve *r)
{
	if (!r->has_limit) {
		return RETRIEVE_DEFAULT;
	}
	return r->limit > RETRIEVE_MAX ? RETRIEVE_MAX : (size_t)r->limit;
}

/*
 * Answers the retrieve in Q->waiting. When MAY_WAIT and nothing is there: does
 * not, and says false.
 */
static bool answer_retrieve(struct query *q, bool may_wait)
{
	struct db *db = q->worker->app->db;
	struct listing *l = malloc(sizeof *l);
	struct kv_txn *t = l == NULL ? NULL : db_read_begin(db);
	int n = t == NULL ? ERR_NOMEM
	                  : list_notices(db, t, q->mailbox, &q->name, q->waiting.after,
	                                 limit_of(&q->waiting), l);

	db_read_end(t);
	if (n < 0) {
		reply_failure(q, "retrieve", n);
	} else if (n > 0 || !may_wait) {
		reply_listing(q, l, RNAQP_RETRIEVE);
	}
	free(l);
	return n != 0 || !may_wait;
}

static void retrieve(struct query *q, const struct rnaqp_retrieve *r)
{
	uint64_t wait_s = r->has_wait ? r->wait : 0;

	q->waiting = *r;
	if (wait_s == 0) {
		answer_retrieve(q, false);
		return;
	}
	/* Registered before the look: what is committed after it wakes us. */
	waiters_add(q->worker->waiters, &q->waiter, q->mailbox);
	if (answer_retrieve(q, true)) {
		waiters_remove(&q->waiter);
		return;
	}
	/* The session's limits cut it further. */
	server_wait(q->session, (wait_s < WAIT_MAX_S ? wait_s : WAIT_MAX_S) * CLOCK_SECOND_US);
}

/* Something came. It may be acknowledged by another session before we look: then wait on. */
static void query_fire(struct waiter *x)
{
	struct query *q = (struct query *)x;

	waiters_add(q->worker->waiters, x, q->mailbox);
	if (answer_retrieve(q, true)) {
		waiters_remove(x);
	}
}

static void query_wake(void *state)
{
	struct query *q = state;

	if (q->fetch != NULL) {
		fetch_wake(q->fetch);
		return;
	}
	waiters_remove(&q->waiter);
	answer_retrieve(q, false);
}

/* --- acknowledge, retrieveAndClear ------------------------------------------------------------ */

static int forget(struct query_job *j, struct kv_txn *t, const uint64_t *cursors, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int r = db_notice_remove(j->db, t, j->mailbox, cursors[i]);

		if (r != 0 && r != ERR_NOT_FOUND) {
			kv_write_fail(t, r); /* those before it are gone already */
			return r;
		}
	}
	return 0;
}

static int acknowledge_apply(struct writer_job *job, struct kv_txn *t)
{
	struct query_job *j = (struct query_job *)job;

	return forget(j, t, j->cursors, j->n);
}

/* Listed in the transaction that forgets, so that of two who clear at once each gets its own. */
static int clear_apply(struct writer_job *job, struct kv_txn *t)
{
	struct query_job *j = (struct query_job *)job;
	struct listing *l = j->listing;
	int n = list_notices(j->db, t, j->mailbox, &j->name, 0, RETRIEVE_DEFAULT, l);

	return n < 0 ? n : forget(j, t, l->cursors, (size_t)n);
}

static void job_done(struct writer_job *job, int result)
{
	struct query_job *j = (struct query_job *)job;
	struct query *q = j->query;

	if (q != NULL) {
		q->job = NULL;
		if (result != 0) {
			reply_failure(q, "acknowledge", result);
		} else if (j->listing != NULL) {
			reply_listing(q, j->listing, RNAQP_RETRIEVE_AND_CLEAR);
		} else {
			reply_empty(q, RNAQP_ACKNOWLEDGE);
		}
	}
	job_free(j);
}

/* Room for N cursors. NULL when memory is out. */
static struct query_job *job_new(struct query *q, size_t n)
{
	struct query_job *j = calloc(1, sizeof *j + n * sizeof j->cursors[0]);

	if (j != NULL) {
		j->job.done = job_done;
		j->query = q;
		j->db = q->worker->app->db;
		j->mailbox = q->mailbox;
		j->name = q->name;
	}
	return j;
}

static void job_submit(struct query *q, struct query_job *j,
                       int (*apply)(struct writer_job *job, struct kv_txn *t))
{
	j->job.apply = apply;
	q->job = j;
	writer_submit(q->worker->writer, &j->job);
}

static void acknowledge(struct query *q, const struct rnaqp_acknowledge *a)
{
	struct wire_list rest = a->cursors;
	struct query_job *j;

	if (rest.count > ACKNOWLEDGE_MAX) {
		server_reply_error(q->session, WIRE_STATUS_TOO_BIG, true, "at most 10000 cursors",
		                   -1, false);
		return;
	}
	if ((j = job_new(q, rest.count)) == NULL) {
		reply_failure(q, "acknowledge", ERR_NOMEM);
		return;
	}
	while (j->n < a->cursors.count && wire_cursor_next(&rest, &j->cursors[j->n])) {
		j->n++;
	}
	job_submit(q, j, acknowledge_apply);
}

static void retrieve_and_clear(struct query *q)
{
	struct query_job *j = job_new(q, 0);

	if (j != NULL && (j->listing = malloc(sizeof *j->listing)) != NULL) {
		job_submit(q, j, clear_apply);
		return;
	}
	if (j != NULL) {
		job_free(j);
	}
	reply_failure(q, "retrieve", ERR_NOMEM);
}

/* --- policy ---------------------------------------------------------------------------------- */

static void reply_policy(struct query *q, const struct wire_list_writer *values)
{
	struct rnaqp_response response = { .status = WIRE_STATUS_OK, .kind = RNAQP_POLICY };
	size_t cap = values->n + 128;
	uint8_t *buf = malloc(cap);
	struct span frame;
	int r = ERR_NOMEM;

	response.u.policy.values = wire_list_view(values);
	if (buf != NULL && (r = rnaqp_response_encode(&response, buf, cap, &frame)) == 0) {
		server_reply(q->session, frame);
	} else {
		reply_failure(q, "policy", r);
	}
	free(buf);
}

static void show_policy(struct query *q, enum rule_table table)
{
	struct db *db = q->worker->app->db;
	uint8_t *octets = malloc(RULES_LIST_OCTETS);
	struct kv_txn *t = octets == NULL ? NULL : db_read_begin(db);
	struct wire_list_writer values;
	int r = t == NULL ? ERR_NOMEM : 0;

	if (r == 0) {
		wire_list_writer_init(&values, octets, RULES_LIST_OCTETS);
		r = same_mailbox(db, t, q->mailbox, &q->name);
	}
	if (r == 0) {
		r = rules_show(db, t, q->mailbox, table, &values);
	}
	db_read_end(t);
	if (r == 0) {
		reply_policy(q, &values);
	} else {
		reply_failure(q, "policy", r);
	}
	free(octets);
}

static int policy_apply(struct writer_job *job, struct kv_txn *t)
{
	struct query_job *j = (struct query_job *)job;
	int r = same_mailbox(j->db, t, j->mailbox, &j->name);

	if (r == 0) {
		r = rules_apply(j->db, t, j->mailbox, &j->rules);
	}
	j->changed = r == 1;
	return r < 0 ? r : 0;
}

/* What was changed is said: a value that was there already, or not at all, is not. */
static void policy_done(struct writer_job *job, int result)
{
	struct query_job *j = (struct query_job *)job;
	uint8_t octets[RULE_VALUE_CAP + 8];
	struct wire_list_writer values;
	struct query *q = j->query;

	if (q != NULL) {
		q->job = NULL;
		wire_list_writer_init(&values, octets, sizeof octets);
		if (j->changed) {
			(void)wire_text_append(&values, span_str(j->rules.value));
		}
		if (result == 0) {
			reply_policy(q, &values);
		} else if (result == ERR_TOO_BIG) {
			server_reply_error(q->session, WIRE_STATUS_WOULD_EXCEED_QUOTA, false,
			                   "at most 1000 values in a table", -1, false);
		} else {
			reply_failure(q, "policy", result);
		}
	}
	job_free(j);
}

static void policy(struct query *q, const struct rnaqp_policy *p)
{
	struct span value = p->has_value ? p->value : span_of(NULL, 0);
	struct rules_command c;
	struct err_text e = { "" };
	struct query_job *j;
	int r = rules_read(p->action, p->table, value, &c, &e);

	if (r != 0) {
		server_reply_error(q->session,
		                   r == ERR_UNSUPPORTED ? WIRE_STATUS_UNSUPPORTED
		                                        : WIRE_STATUS_NOT_PERMITTED,
		                   false, e.text, -1, false);
		return;
	}
	if (c.action == WIRE_POLICY_SHOW) {
		show_policy(q, c.table);
		return;
	}
	if ((j = job_new(q, 0)) == NULL) {
		reply_failure(q, "policy", ERR_NOMEM);
		return;
	}
	j->rules = c;
	j->job.done = policy_done;
	job_submit(q, j, policy_apply);
}

/* --- the session --------------------------------------------------------------------------- */

int query_open(struct server_session *s, struct app_worker *worker, void **state)
{
	struct query *q = calloc(1, sizeof *q);

	if (q == NULL) {
		return ERR_NOMEM;
	}
	q->waiter.fire = query_fire;
	q->session = s;
	q->worker = worker;
	*state = q;
	return 0;
}

static int open_on_worker(struct server_session *s, void *app, void **state)
{
	return query_open(s, daemon_worker_state(app), state);
}

static void query_close(void *state)
{
	struct query *q = state;

	waiters_remove(&q->waiter);
	login_cancel(q->login);
	fetch_cancel(q->fetch);
	if (q->job != NULL) {
		q->job->query = NULL; /* it lands all the same */
	}
	free(q);
}

static enum server_frame query_classify(void *state, struct span head, uint64_t total)
{
	(void)state, (void)head, (void)total;
	return SERVER_TOO_BIG;
}

static void query_command(void *state, struct span body, uint64_t total)
{
	struct query *q = state;
	struct rnaqp_command command;

	if (rnaqp_command_decode(body, total, &command) != 0) {
		server_reply_error(q->session, WIRE_STATUS_MALFORMED_PDU, true, NULL, -1, true);
		return;
	}
	if (command.kind == RNAQP_AUTHENTICATE) {
		authenticate(q, &command.u.authenticate);
		return;
	}
	if (q->mailbox == 0 && command.kind != RNAQP_UNKNOWN) {
		server_reply_error(q->session, WIRE_STATUS_NOT_AUTHENTICATED, true,
		                   "authenticate first", -1, false);
		return;
	}
	switch (command.kind) {
	case RNAQP_RETRIEVE:
		retrieve(q, &command.u.retrieve);
		break;
	case RNAQP_RETRIEVE_AND_CLEAR:
		retrieve_and_clear(q);
		break;
	case RNAQP_ACKNOWLEDGE:
		acknowledge(q, &command.u.acknowledge);
		break;
	case RNAQP_POLICY:
		policy(q, &command.u.policy);
		break;
	case RNAQP_FETCH:
		fetch_start(&q->fetch, q->session, q->worker, q->mailbox, &command.u.fetch);
		break;
	default:
		server_reply_error(q->session, WIRE_STATUS_UNSUPPORTED, false, NULL, -1, false);
	}
}

static void query_writable(void *state)
{
	struct query *q = state;

	if (q->fetch != NULL) {
		fetch_go_on(q->fetch);
	}
}

const struct server_protocol query_protocol = {
	.alpn = "im2000-rnaqp/1",
	.open = open_on_worker,
	.classify = query_classify,
	.command = query_command,
	.wake = query_wake,
	.writable = query_writable,
	.close = query_close,
};
