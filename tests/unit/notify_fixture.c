#include "notify_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "notify/db_index.h"
#include "notify/db_internal.h"
#include "session/daemon.h"
#include "tempdir.h"
#include "wire/frame.h"

#define PATIENCE_S 120 /* for a peer that should answer: only a test that hangs waits so long */
#define FRAME_MAX ((size_t)512 << 10)

static uint8_t frame_in[FRAME_MAX], frame_out[FRAME_MAX];

/* --- workers ------------------------------------------------------------------------------- */

static void count(struct agent *a, unsigned *what)
{
	pthread_mutex_lock(&a->lock);
	(*what)++;
	pthread_cond_broadcast(&a->changed);
	pthread_mutex_unlock(&a->lock);
}

static void wait_for(struct agent *a, const unsigned *what, unsigned n)
{
	struct timespec end;
	int rc = 0;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += PATIENCE_S;
	pthread_mutex_lock(&a->lock);
	while (*what < n && rc == 0) {
		rc = pthread_cond_timedwait(&a->changed, &a->lock, &end);
	}
	pthread_mutex_unlock(&a->lock);
	assert_int_equal(rc, 0);
}

/* The protocols as they are, opened on the test's workers, with their commands counted. */
static int open_intake(struct server_session *s, void *app, void **state)
{
	return intake_open(s, app, state);
}

static int open_query(struct server_session *s, void *app, void **state)
{
	return query_open(s, app, state);
}

static struct agent *counting; /* the agent of the test at hand */

static void intake_command(void *state, struct span body, uint64_t total)
{
	intake_protocol.command(state, body, total);
	count(counting, &counting->commands);
}

static void query_command(void *state, struct span body, uint64_t total)
{
	query_protocol.command(state, body, total);
	count(counting, &counting->commands);
}

static struct server_protocol intake, query;

static void *work(void *ctx)
{
	struct agent_worker *w = ctx;
	void *attachment;

	/* What cannot fail but for memory: a crash here is the test's failure. */
	if (daemon_writer_attach(w->common.loop, w->agent->app.writer, &w->common.writer,
	                         &attachment) != 0 ||
	    waiters_loop_create(w->agent->app.waiters, w->common.loop, &w->common.waiters) != 0) {
		abort();
	}
	count(w->agent, &w->agent->acted);
	loop_run(w->common.loop);
	daemon_writer_detach(attachment);
	return NULL;
}

/* --- the agent ----------------------------------------------------------------------------- */

int agent_setup(void **state)
{
	const struct db_options db = { .create = true, .no_sync = true, .map_size = 64 << 20 };
	const struct login_options login = { 0 };
	struct app_settings *settings = calloc(1, sizeof *settings);
	struct agent *a = calloc(1, sizeof *a);

	assert_non_null(a);
	a->dir = tempdir_make();
	assert_int_equal(db_open(a->dir, &db, &a->db, NULL), 0);
	a->app.db = a->db;
	assert_non_null(settings);
	settings->policy = (struct policy_settings) {
		.keep_unverified = true,
		.mailbox_notices = 10000,
		.origin_notices = 10000,
		.retention_us = 86400ULL * 1000000,
	};
	app_settings_replace(&a->app, settings);
	assert_int_equal(writer_create(db_kv(a->db), &a->app.writer), 0);
	assert_int_equal(login_create(&login, &a->app.login), 0);
	assert_int_equal(waiters_create(&a->app.waiters), 0);
	server_limits_default(&a->limits);
	pthread_mutex_init(&a->lock, NULL);
	pthread_cond_init(&a->changed, NULL);
	counting = a;
	intake = intake_protocol;
	intake.open = open_intake;
	intake.command = intake_command;
	query = query_protocol;
	query.open = open_query;
	query.command = query_command;
	for (size_t i = 0; i < AGENT_WORKERS; i++) {
		struct agent_worker *w = &a->worker[i];

		w->agent = a;
		w->common.app = &a->app;
		assert_int_equal(loop_create(&w->common.loop), 0);
		assert_int_equal(pthread_create(&w->thread, NULL, work, w), 0);
	}
	wait_for(a, &a->acted, AGENT_WORKERS);
	*state = a;
	return 0;
}

static void print_line(void *ctx, const char *line)
{
	(void)ctx;
	print_error("%s\n", line);
}

int agent_teardown(void **state)
{
	struct agent *a = *state;

	for (size_t i = 0; i < a->n_sessions; i++) {
		agent_hang_up(&a->session[i]);
	}
	wait_for(a, &a->ended, (unsigned)a->n_sessions);
	for (size_t i = 0; i < AGENT_WORKERS; i++) {
		loop_stop(a->worker[i].common.loop);
		pthread_join(a->worker[i].thread, NULL);
		loop_free(a->worker[i].common.loop);
	}
	waiters_free(a->app.waiters);
	app_settings_free(&a->app);
	login_free(a->app.login);
	writer_free(a->app.writer);
	assert_int_equal(db_check(a->db, print_line, NULL), 0);
	db_close(a->db);
	pthread_cond_destroy(&a->changed);
	pthread_mutex_destroy(&a->lock);
	tempdir_remove(a->dir);
	free(a);
	return 0;
}

/* --- sessions ------------------------------------------------------------------------------ */

static void on_ended(void *ctx, struct server_session *s)
{
	struct agent_session *x = ctx;

	(void)s;
	x->session = NULL;
	count(x->agent, &x->agent->ended);
}

static void run_act(struct loop_task *task)
{
	struct agent_session *x = (struct agent_session *)task;

	x->result = x->act(x);
	count(x->agent, &x->agent->acted);
}

/* Has ACT run on the session's worker, and waits for it. */
static int act(struct agent_session *x, int (*what)(struct agent_session *x))
{
	unsigned before;

	pthread_mutex_lock(&x->agent->lock);
	before = x->agent->acted;
	pthread_mutex_unlock(&x->agent->lock);
	x->task.run = run_act;
	x->act = what;
	loop_post(x->worker->common.loop, &x->task);
	wait_for(x->agent, &x->agent->acted, before + 1);
	return x->result;
}

static int start(struct agent_session *x)
{
	struct stream *stream;
	int r = stream_plain_create(x->worker->common.loop, x->fd, &stream);

	return r != 0 ? r
	              : server_start(x->worker->common.loop, stream, x->protocol, &x->agent->limits,
	                             x->worker, on_ended, x, &x->session);
}

static struct agent_session *open_session(struct agent *a, unsigned worker,
                                          const struct server_protocol *protocol)
{
	const struct timeval patience = { .tv_sec = PATIENCE_S };
	struct agent_session *x = &a->session[a->n_sessions];
	int pair[2];

	assert_true(a->n_sessions++ < AGENT_SESSIONS);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(setsockopt(pair[1], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
	*x = (struct agent_session) { .agent = a,
		                      .worker = &a->worker[worker],
		                      .protocol = protocol,
		                      .fd = pair[0],
		                      .peer = pair[1] };
	assert_int_equal(act(x, start), 0);
	return x;
}

struct agent_session *agent_intake(struct agent *a, unsigned worker)
{
	return open_session(a, worker, &intake);
}

struct agent_session *agent_query(struct agent *a, unsigned worker)
{
	return open_session(a, worker, &query);
}

struct agent_session *agent_reader(struct agent *a, unsigned worker, const char *name)
{
	struct agent_session *x = agent_query(a, worker);
	char account[NAME_MAILBOX_MAX + 1];

	snprintf(account, sizeof account, "%s@b.example", name);
	assert_int_equal(peer_authenticate(x, account, agent_token(name)), WIRE_STATUS_OK);
	return x;
}

void agent_hang_up(struct agent_session *x)
{
	if (x->peer >= 0) {
		close(x->peer);
	}
	x->peer = -1;
}

static int kill_session(struct agent_session *x)
{
	if (x->session != NULL) {
		server_kill(x->session);
	}
	return 0;
}

static int shut_session_down(struct agent_session *x)
{
	if (x->session != NULL) {
		server_shutdown(x->session);
	}
	return 0;
}

void agent_kill(struct agent_session *x)
{
	act(x, kill_session);
}

void agent_shutdown(struct agent_session *x)
{
	act(x, shut_session_down);
}

struct kv_txn *agent_hold_writer(struct agent *a)
{
	struct kv_txn *t;

	assert_int_equal(kv_write_begin(db_kv(a->db), &t), 0);
	return t;
}

/* A run of the index with one entry. */
static const struct index_runs damaged_runs = {
	.last = INDEX_RECENT + 1,
	.n = 1,
	.run = { { .number = INDEX_RECENT + 1, .level = 1, .last = UINT64_MAX, .entries = 1 } },
};

void agent_damage(struct agent *a, uint32_t mailbox, uint32_t mark)
{
	struct index_entry e = { .mailbox = mailbox, .cursor = UINT64_MAX - 1 };
	uint8_t key[INDEX_KEY_SIZE], octets[INDEX_ENTRY_SIZE];
	struct kv_txn *t = agent_hold_writer(a);

	kv_put_u32(e.id, mark); /* with which ids begin here */
	db_index_write(&e, octets);
	db_index_key(key, INDEX_RECENT + 1, mailbox, e.cursor);
	assert_int_equal(db_index_runs_put(a->db, t, &damaged_runs), 0);
	assert_int_equal(kv_put(t, a->db->table[TABLE_INDEX], span_of(key, sizeof key),
	                        span_of(octets, sizeof octets)),
	                 0);
	assert_int_equal(kv_write_commit(t), 0);
}

void agent_mend(struct agent *a, uint32_t mailbox)
{
	uint8_t key[INDEX_KEY_SIZE];
	struct kv_txn *t = agent_hold_writer(a);

	db_index_key(key, INDEX_RECENT + 1, mailbox, UINT64_MAX - 1);
	assert_int_equal(kv_delete(t, a->db->table[TABLE_INDEX], span_of(key, sizeof key)), 0);
	assert_int_equal(kv_write_commit(t), 0);
}

void agent_let_writer(struct kv_txn *t)
{
	kv_write_abort(t);
}

/*
 * Two jobs, since one that waits alone would be committed by the test's own
 * thread. The first one's apply waits until the test lets it go.
 */
struct occupation {
	struct writer_job jobs[2]; /* first */
	struct writer_client *client;
	sem_t begun, go_on;
};

static int occupy(struct writer_job *job, struct kv_txn *t)
{
	struct occupation *o = (struct occupation *)job;

	(void)t;
	sem_post(&o->begun);
	sem_wait(&o->go_on);
	return 0;
}

static int nothing(struct writer_job *job, struct kv_txn *t)
{
	(void)job, (void)t;
	return 0;
}

static void is_done(struct writer_job *job, int result)
{
	(void)job;
	assert_int_equal(result, 0);
}

static void no_wake(void *ctx)
{
	(void)ctx;
}

struct occupation *agent_occupy_writer(struct agent *a)
{
	struct occupation *o = calloc(1, sizeof *o);

	assert_non_null(o);
	sem_init(&o->begun, 0, 0);
	sem_init(&o->go_on, 0, 0);
	o->jobs[0].apply = occupy;
	o->jobs[1].apply = nothing;
	o->jobs[0].done = o->jobs[1].done = is_done;
	assert_int_equal(writer_client_create(a->app.writer, no_wake, NULL, &o->client), 0);
	writer_submit(o->client, &o->jobs[0]);
	writer_submit(o->client, &o->jobs[1]);
	writer_client_turn(o->client);
	sem_wait(&o->begun);
	return o;
}

void agent_free_writer(struct occupation *o)
{
	sem_post(&o->go_on);
	writer_client_free(o->client);
	sem_destroy(&o->begun);
	sem_destroy(&o->go_on);
	free(o);
}

void agent_wait_commands(struct agent *a, unsigned n)
{
	wait_for(a, &a->commands, n);
}

void agent_wait_ended(struct agent *a, unsigned n)
{
	wait_for(a, &a->ended, n);
}

/* --- mailboxes ----------------------------------------------------------------------------- */

static struct {
	char name[32], token[PASSWORD_TOKEN_TEXT + 1];
} tokens[16];

static char *token_of(const char *name)
{
	size_t i = 0;

	while (tokens[i].name[0] != '\0' && strcmp(tokens[i].name, name) != 0) {
		i++;
		assert_true(i < sizeof tokens / sizeof tokens[0]);
	}
	snprintf(tokens[i].name, sizeof tokens[i].name, "%s", name);
	return tokens[i].token;
}

const char *agent_token(const char *name)
{
	return token_of(name);
}

static uint32_t put_mailbox(struct agent *a, const char *name, const struct password_hash *hash)
{
	struct db_mailbox m = { .hash = *hash };
	char text[NAME_MAILBOX_MAX + 1];
	struct kv_txn *t;

	snprintf(text, sizeof text, "%s@b.example", name);
	assert_int_equal(name_parse_mailbox(span_str(text), &m.name), 0);
	assert_int_equal(kv_write_begin(db_kv(a->db), &t), 0);
	assert_int_equal(db_mailbox_put(a->db, t, &m), 0);
	assert_int_equal(kv_write_commit(t), 0);
	return m.number;
}

uint32_t agent_mailbox(struct agent *a, const char *name)
{
	struct password_hash hash;

	password_token_make(token_of(name), &hash);
	return put_mailbox(a, name, &hash);
}

uint32_t agent_mailbox_password(struct agent *a, const char *name, const char *password)
{
	struct password_hash hash;

	assert_int_equal(password_hash_make(span_str(password), &hash), 0);
	return put_mailbox(a, name, &hash);
}

void agent_mailbox_remove(struct agent *a, const char *name)
{
	struct mailbox whole;
	char text[NAME_MAILBOX_MAX + 1];
	struct kv_txn *t;

	snprintf(text, sizeof text, "%s@b.example", name);
	assert_int_equal(name_parse_mailbox(span_str(text), &whole), 0);
	assert_int_equal(kv_write_begin(db_kv(a->db), &t), 0);
	assert_int_equal(db_mailbox_remove(a->db, t, &whole), 0);
	assert_int_equal(kv_write_commit(t), 0);
}

/* --- the peer's side ----------------------------------------------------------------------- */

void peer_send_raw(struct agent_session *x, const void *p, size_t n)
{
	while (n > 0) {
		ssize_t r = send(x->peer, p, n, MSG_NOSIGNAL);

		assert_true(r > 0);
		p = (const uint8_t *)p + r;
		n -= (size_t)r;
	}
}

/* How many of N octets came before the end. */
static size_t read_octets(struct agent_session *x, uint8_t *p, size_t n)
{
	size_t have = 0;

	while (have < n) {
		ssize_t r = recv(x->peer, p + have, n - have, 0);

		if (r == 0 || (r < 0 && errno == ECONNRESET)) {
			break;
		}
		assert_true(r > 0);
		have += (size_t)r;
	}
	return have;
}

struct span peer_receive(struct agent_session *x)
{
	uint32_t n;

	assert_int_equal(read_octets(x, frame_in, FRAME_PREFIX), FRAME_PREFIX);
	n = frame_length(frame_in);
	assert_true(n <= sizeof frame_in);
	assert_int_equal(read_octets(x, frame_in, n), n);
	return span_of(frame_in, n);
}

void peer_expect_end(struct agent_session *x)
{
	uint8_t octet;

	assert_int_equal(read_octets(x, &octet, 1), 0);
	agent_hang_up(x);
}

void peer_send_query(struct agent_session *x, const struct rnaqp_command *c)
{
	struct span frame;

	assert_int_equal(rnaqp_command_encode(c, frame_out, sizeof frame_out, &frame), 0);
	peer_send_raw(x, frame.p, frame.n);
}

void peer_receive_query(struct agent_session *x, struct rnaqp_response *out)
{
	struct span body = peer_receive(x);

	assert_int_equal(rnaqp_response_decode(body, body.n, out), 0);
}

void peer_query(struct agent_session *x, const struct rnaqp_command *c, struct rnaqp_response *out)
{
	peer_send_query(x, c);
	peer_receive_query(x, out);
}

enum wire_status peer_authenticate(struct agent_session *x, const char *account,
                                   const char *password)
{
	struct rnaqp_command c = { .kind = RNAQP_AUTHENTICATE };
	struct rnaqp_response r;

	c.u.authenticate.account = span_str(account);
	c.u.authenticate.password = span_str(password);
	peer_query(x, &c, &r);
	assert_int_equal(r.kind, r.status == WIRE_STATUS_OK ? RNAQP_AUTHENTICATE : RNAQP_NONE);
	return r.status;
}

void peer_send_retrieve(struct agent_session *x, uint64_t after, uint64_t limit, uint64_t wait)
{
	struct rnaqp_command c = { .kind = RNAQP_RETRIEVE };

	c.u.retrieve = (struct rnaqp_retrieve) { .after = after,
		                                 .has_limit = limit != 0,
		                                 .limit = limit,
		                                 .has_wait = wait != 0,
		                                 .wait = wait };
	peer_send_query(x, &c);
}

void peer_send_acknowledge(struct agent_session *x, const uint64_t *cursors, size_t n)
{
	static uint8_t octets[128 << 10];
	struct rnaqp_command c = { .kind = RNAQP_ACKNOWLEDGE };
	struct wire_list_writer list;

	wire_list_writer_init(&list, octets, sizeof octets);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(wire_cursor_append(&list, cursors[i]), 0);
	}
	c.u.acknowledge.cursors = wire_list_view(&list);
	peer_send_query(x, &c);
}

enum wire_status peer_acknowledge(struct agent_session *x, const uint64_t *cursors, size_t n)
{
	struct rnaqp_response r;

	peer_send_acknowledge(x, cursors, n);
	peer_receive_query(x, &r);
	assert_int_equal(r.kind, r.status == WIRE_STATUS_OK ? RNAQP_ACKNOWLEDGE : RNAQP_NONE);
	return r.status;
}

size_t peer_list(const struct rnaqp_response *r, struct seen *out, size_t cap, uint64_t *next)
{
	struct wire_list rest = r->u.retrieve.notifications;
	struct rnaqp_received received;
	size_t n = 0;

	assert_int_equal(r->status, WIRE_STATUS_OK);
	assert_true(r->kind == RNAQP_RETRIEVE || r->kind == RNAQP_RETRIEVE_AND_CLEAR);
	while (rnaqp_received_next(&rest, &received)) {
		assert_true(n < cap);
		assert_false(received.has_verified);
		out[n].cursor = received.cursor;
		out[n].mark = frame_length(received.notification.id);
		out[n].withdrawn = received.withdrawn;
		n++;
	}
	if (next != NULL) {
		*next = r->u.retrieve.next;
	}
	return n;
}

void peer_expect_mark(struct agent_session *x, uint32_t mark)
{
	struct rnaqp_response r;
	struct seen list[2];

	peer_receive_query(x, &r);
	assert_int_equal(peer_list(&r, list, 2, NULL), 1);
	assert_int_equal(list[0].mark, mark);
}

size_t peer_retrieve(struct agent_session *x, uint64_t after, uint64_t limit, struct seen *out,
                     size_t cap, uint64_t *next)
{
	struct rnaqp_response r;

	peer_send_retrieve(x, after, limit, 0);
	peer_receive_query(x, &r);
	return peer_list(&r, out, cap, next);
}

void peer_send_notify(struct agent_session *x, const struct note *notes, size_t n)
{
	static uint8_t octets[256 << 10], header[LIMIT_HEADER_OCTETS];
	static const char store[] = "a.example";
	struct rnasp_command c = { .kind = RNASP_NOTIFY };
	struct wire_list_writer list;
	struct span frame;

	wire_list_writer_init(&list, octets, sizeof octets);
	for (size_t i = 0; i < n; i++) {
		struct wire_notification w = { .has_store_tls = true,
			                       .sender = span_str("alice@a.example"),
			                       .has_header = true,
			                       .header = span_of(header, notes[i].header) };
		uint8_t labels[WIRE_LABELS_MAX], recipient[WIRE_LABELS_MAX];
		char text[NAME_MAILBOX_MAX + 1];
		struct mailbox name;

		snprintf(text, sizeof text, "%s@b.example", notes[i].name);
		assert_int_equal(name_parse_mailbox(span_str(text), &name), 0);
		wire_mailbox_from_name(&name, recipient, &w.recipient);
		assert_int_equal(wire_location_from_name(store, labels, &w.store_tls), 0);
		frame_put_length(w.id, notes[i].mark);
		assert_int_equal(wire_notification_append(&list, &w), 0);
	}
	c.u.notify.notifications = wire_list_view(&list);
	assert_int_equal(rnasp_command_encode(&c, frame_out, sizeof frame_out, &frame), 0);
	peer_send_raw(x, frame.p, frame.n);
}

void peer_receive_results(struct agent_session *x, uint8_t *out, size_t n)
{
	struct span body = peer_receive(x);
	enum wire_notify_result result;
	struct rnasp_response r;
	struct wire_list rest;

	assert_int_equal(rnasp_response_decode(body, body.n, &r), 0);
	assert_int_equal(r.status, WIRE_STATUS_OK);
	assert_int_equal(r.kind, RNASP_NOTIFY);
	rest = r.u.notify.results;
	assert_int_equal(rest.count, n);
	for (size_t i = 0; i < n; i++) {
		assert_true(rnasp_result_next(&rest, &result));
		out[i] = (uint8_t)result;
	}
}

void peer_notify(struct agent_session *x, const char *name, uint32_t mark)
{
	const struct note note = { name, mark, 0 };
	uint8_t result;

	peer_send_notify(x, &note, 1);
	peer_receive_results(x, &result, 1);
	assert_int_equal(result, WIRE_NOTIFY_ACCEPTED);
}
