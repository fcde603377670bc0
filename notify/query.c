/*
 * RNAQP: a session with a recipient's mail program.
 *
 * States: no account yet (only authenticate is answered); an account; a login
 * under way, a job at the writer, or a retrieve that waits (no further command
 * comes meanwhile). A login or job outlives its session only detached from it.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "notify/app.h"
#include "wire/frame.h"
#include "wire/rnaqp.h"

#define RETRIEVE_DEFAULT 100
#define RETRIEVE_MAX 1000
#define RETRIEVE_OCTETS (256u << 10) /* of a response's list */
#define RECEIVED_OCTETS 3200         /* one ReceivedNotification at most: 2 KiB, verified, times */
#define ACKNOWLEDGE_MAX 10000

struct query {
	struct waiter waiter; /* first, so that the waiter is the session's */
	struct server_session *session;
	struct app_worker *worker;
	uint32_t mailbox; /* number; 0: not authenticated */
	struct mailbox name;
	struct login_check *login;
	struct query_job *job;
	struct rnaqp_retrieve waiting; /* what a waiting retrieve asked for */
};

/* acknowledge and retrieveAndClear: notices to forget, then a response. */
struct query_job {
	struct writer_job job; /* first */
	struct query *query;   /* NULL once the session is gone */
	struct db *db;
	uint32_t mailbox;
	uint8_t *response; /* memory of FRAME; NULL: an empty response of KIND */
	struct span frame;
	enum rnaqp_kind kind;
	size_t n;
	uint64_t cursors[];
};

static void job_free(struct query_job *j)
{
	free(j->response);
	free(j);
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

static void login_done(void *ctx, enum login_answer answer)
{
	struct query *q = ctx;
	struct db_mailbox mailbox;
	struct kv_txn *t;
	int r = ERR_NOT_FOUND;

	q->login = NULL;
	if (answer == LOGIN_LATER) {
		server_reply_error(q->session, WIRE_STATUS_TRY_LATER, true,
		                   "too many failed logins", 60, false);
		return;
	}
	if (answer == LOGIN_RIGHT && (t = db_read_begin(q->worker->app->db)) != NULL) {
		r = db_mailbox_find(q->worker->app->db, t, &q->name, &mailbox);
		db_read_end(t);
	}
	if (r != 0) {
		server_reply_error(q->session, WIRE_STATUS_NOT_AUTHENTICATED, true,
		                   "no such mailbox, or the password is wrong", -1, false);
		return;
	}
	q->mailbox = mailbox.number;
	reply_empty(q, RNAQP_AUTHENTICATE);
}

static void authenticate(struct query *q, const struct rnaqp_authenticate *a)
{
	struct app *app = q->worker->app;
	struct db_mailbox mailbox;
	struct stream_info info;
	bool known = false;
	struct kv_txn *t;

	q->mailbox = 0;
	if (name_parse_mailbox(a->account, &q->name) == 0 && (t = db_read_begin(app->db)) != NULL) {
		known = db_mailbox_find(app->db, t, &q->name, &mailbox) == 0;
		db_read_end(t);
	}
	stream_info(server_stream(q->session), &info);
	q->login = login_start(app->login, q->worker->loop, a->account, a->password,
	                       known ? &mailbox.hash : NULL, &info.peer, login_done, q);
	if (q->login == NULL) {
		server_reply_error(q->session, WIRE_STATUS_TRY_LATER, true, NULL, 60, false);
	}
}

/* --- retrieve ------------------------------------------------------------------------------ */

/* A list of received notifications under way. */
struct listing {
	struct wire_list_writer list;
	uint64_t next; /* cursor of the last one, or where it began */
	uint64_t cursors[RETRIEVE_MAX];
	uint8_t octets[RETRIEVE_OCTETS];
};

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
	wire_mailbox_from_name(name, recipient, &received.notification.recipient);
	memcpy(received.notification.id, notice->id, WIRE_ID_SIZE);
	if (a->verified && span_copy(a->origin, origin, sizeof origin) == 0) {
		received.has_verified =
		    wire_domain_from_name(origin, verified, &received.verified) == 0;
	}
	return rnaqp_received_append(&l->list, &received);
}

/* Fills L with what stands after AFTER, LIMIT at most. How many, or an error. */
static int list_notices(struct query *q, uint64_t after, size_t limit, struct listing *l)
{
	struct db *db = q->worker->app->db;
	struct kv_txn *t = db_read_begin(db);
	struct db_announcement a;
	struct db_notice notice;
	int r = t == NULL ? ERR_NOMEM : 0;

	l->next = after;
	wire_list_writer_init(&l->list, l->octets, sizeof l->octets);
	while (r == 0 && l->list.count < limit && l->list.n + RECEIVED_OCTETS <= sizeof l->octets) {
		if ((r = db_notice_next(db, t, q->mailbox, l->next, &notice)) != 0 ||
		    (r = db_announcement_get(db, t, notice.announcement, &a)) != 0 ||
		    (r = append_notice(l, &notice, &a, &q->name)) != 0) {
			break;
		}
		l->cursors[l->list.count - 1] = notice.cursor;
		l->next = notice.cursor;
	}
	db_read_end(t);
	return r != 0 && r != ERR_NOT_FOUND ? r : (int)l->list.count;
}

/* The response with L's list; *BUF is the caller's to free. */
static int encode_listing(const struct listing *l, enum rnaqp_kind kind, uint8_t **buf,
                          struct span *frame)
{
	struct rnaqp_response response = { .status = WIRE_STATUS_OK, .kind = kind };
	size_t cap = l->list.n + 128;

	response.u.retrieve.notifications = wire_list_view(&l->list);
	response.u.retrieve.next = l->next;
	*buf = malloc(cap);
	return *buf == NULL ? ERR_NOMEM : rnaqp_response_encode(&response, *buf, cap, frame);
}

static size_t limit_of(const struct rnaqp_retrieve *r)
{
	if (!r->has_limit) {
		return RETRIEVE_DEFAULT;
	}
	return r->limit > RETRIEVE_MAX ? RETRIEVE_MAX : (size_t)r->limit;
}

/* Answers the retrieve in Q->waiting. When MAY_WAIT and nothing is there: does not, and says false.
 */
static bool answer_retrieve(struct query *q, bool may_wait)
{
	struct listing *l = malloc(sizeof *l);
	uint8_t *buf = NULL;
	struct span frame;
	int n = l == NULL ? ERR_NOMEM : list_notices(q, q->waiting.after, limit_of(&q->waiting), l);

	if (n == 0 && may_wait) {
		free(l);
		return false;
	}
	if (n < 0 || encode_listing(l, RNAQP_RETRIEVE, &buf, &frame) != 0) {
		server_reply_error(q->session, WIRE_STATUS_INTERNAL_PROBLEM, true, NULL, 60, false);
	} else {
		server_reply(q->session, frame);
	}
	free(buf);
	free(l);
	return true;
}

static void retrieve(struct query *q, const struct rnaqp_retrieve *r)
{
	uint64_t longest = q->worker->app->wait_us / CLOCK_SECOND_US;
	uint64_t wait = r->has_wait ? r->wait : 0;

	q->waiting = *r;
	if (wait == 0) {
		answer_retrieve(q, false);
		return;
	}
	/* Registered before the look: what is committed after it wakes us. */
	waiters_add(q->worker->waiters, &q->waiter, q->mailbox);
	if (answer_retrieve(q, true)) {
		waiters_remove(&q->waiter);
		return;
	}
	server_wait(q->session, (wait < longest ? wait : longest) * CLOCK_SECOND_US);
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

	waiters_remove(&q->waiter);
	answer_retrieve(q, false);
}

/* --- acknowledge, retrieveAndClear ------------------------------------------------------------ */

static int forget_apply(struct writer_job *job, struct kv_txn *t)
{
	struct query_job *j = (struct query_job *)job;

	for (size_t i = 0; i < j->n; i++) {
		int r = db_notice_remove(j->db, t, j->mailbox, j->cursors[i]);

		if (r != 0 && r != ERR_NOT_FOUND) {
			return r;
		}
	}
	return 0;
}

static void forget_done(struct writer_job *job, int result)
{
	struct query_job *j = (struct query_job *)job;
	struct query *q = j->query;

	if (q != NULL) {
		q->job = NULL;
		if (result != 0) {
			log_error("acknowledge", "error=%d", result);
			server_reply_error(q->session,
			                   result == ERR_FULL ? WIRE_STATUS_NOT_ENOUGH_ROOM
			                                      : WIRE_STATUS_INTERNAL_PROBLEM,
			                   true, NULL, 60, false);
		} else if (j->response != NULL) {
			server_reply(q->session, j->frame);
		} else {
			reply_empty(q, j->kind);
		}
	}
	job_free(j);
}

static struct query_job *job_new(struct query *q, enum rnaqp_kind kind, size_t n)
{
	struct query_job *j = calloc(1, sizeof *j + n * sizeof j->cursors[0]);

	if (j != NULL) {
		j->job.apply = forget_apply;
		j->job.done = forget_done;
		j->query = q;
		j->db = q->worker->app->db;
		j->mailbox = q->mailbox;
		j->kind = kind;
	}
	return j;
}

static void job_submit(struct query *q, struct query_job *j)
{
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
	if ((j = job_new(q, RNAQP_ACKNOWLEDGE, rest.count)) == NULL) {
		server_reply_error(q->session, WIRE_STATUS_TRY_LATER, true, NULL, 60, false);
		return;
	}
	while (wire_cursor_next(&rest, &j->cursors[j->n])) {
		j->n++;
	}
	job_submit(q, j);
}

/* What is listed is forgotten first, and the list leaves after the commit. */
static void retrieve_and_clear(struct query *q)
{
	struct listing *l = malloc(sizeof *l);
	struct query_job *j = NULL;
	int n = l == NULL ? ERR_NOMEM : list_notices(q, 0, RETRIEVE_DEFAULT, l);

	if (n >= 0 && (j = job_new(q, RNAQP_RETRIEVE_AND_CLEAR, (size_t)n)) != NULL &&
	    encode_listing(l, RNAQP_RETRIEVE_AND_CLEAR, &j->response, &j->frame) == 0) {
		j->n = (size_t)n;
		memcpy(j->cursors, l->cursors, j->n * sizeof j->cursors[0]);
		job_submit(q, j);
	} else {
		if (j != NULL) {
			job_free(j);
		}
		server_reply_error(q->session, WIRE_STATUS_INTERNAL_PROBLEM, true, NULL, 60, false);
	}
	free(l);
}

/* --- the session -------------------------------------------------------------------------------
 */

static int query_open(struct server_session *s, void *app, void **state)
{
	struct query *q = calloc(1, sizeof *q);

	if (q == NULL) {
		return ERR_NOMEM;
	}
	q->waiter.fire = query_fire;
	q->session = s;
	q->worker = app_worker_of(app);
	*state = q;
	return 0;
}

static void query_close(void *state)
{
	struct query *q = state;

	waiters_remove(&q->waiter);
	login_cancel(q->login);
	if (q->job != NULL) {
		q->job->query = NULL;
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
	default:
		server_reply_error(q->session, WIRE_STATUS_UNSUPPORTED, false, NULL, -1, false);
	}
}

const struct server_protocol query_protocol = {
	.alpn = "im2000-rnaqp/1",
	.open = query_open,
	.classify = query_classify,
	.command = query_command,
	.wake = query_wake,
	.close = query_close,
};
