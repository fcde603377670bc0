/*
 * Whole sessions of the notification agent over socket pairs, on a real database:
 * first one of a store (RNASP), then one of a mail program (RNAQP). The input's
 * first octet is the size of the pieces that the rest comes in; the next two say
 * how much of the rest is the store's.
 *
 * Whatever comes: each session ends once its peer has ended, everything in the
 * database adds up afterwards, and nothing is left of a mailbox that is removed.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/random.h"
#include "notify/app.h"
#include "session/daemon.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct agent {
	char dir[64];
	struct app app;
	struct loop *loop;
	struct app_worker worker;
	void *attachment;
	struct server_limits limits;
	struct mailbox bob;
};

static void check(bool holds)
{
	if (!holds) {
		abort();
	}
}

/* The token is the same in each run, so that inputs can hold it. */
static void fixed_octets(void *out, size_t n)
{
	memset(out, 0x5a, n);
}

static void add_mailbox(struct agent *a)
{
	struct db_mailbox m = { .created_us = 1 };
	char token[PASSWORD_TOKEN_TEXT + 1];
	struct kv_txn *t;

	random_set_source(fixed_octets);
	password_token_make(token, &m.hash);
	random_set_source(NULL);
	check(name_parse_mailbox(span_str("bob@b.example"), &m.name) == 0);
	a->bob = m.name;
	check(kv_write_begin(db_kv(a->app.db), &t) == 0);
	check(db_mailbox_put(a->app.db, t, &m) == 0);
	check(kv_write_commit(t) == 0);
}

static void agent_open(struct agent *a)
{
	const struct db_options options = { .create = true, .map_size = 1u << 26, .no_sync = true };
	const struct login_options login = { .threads = 1 };
	struct err_text e;

	memset(a, 0, sizeof *a);
	snprintf(a->dir, sizeof a->dir, "%s", "/tmp/im2000-fuzz-XXXXXX");
	check(mkdtemp(a->dir) != NULL);
	check(db_open(a->dir, &options, &a->app.db, &e) == 0);
	add_mailbox(a);
	a->app.policy = (struct policy_settings) { .keep_unverified = true,
		                                   .mailbox_notices = 100,
		                                   .origin_notices = 50,
		                                   .retention_us = 86400ULL * 1000000 };
	check(writer_create(db_kv(a->app.db), &a->app.writer) == 0);
	check(login_create(&login, &a->app.login) == 0);
	check(waiters_create(&a->app.waiters) == 0);
	server_limits_default(&a->limits);
	check(loop_create(&a->loop) == 0);
	a->worker.app = &a->app;
	a->worker.loop = a->loop;
	check(daemon_writer_attach(a->loop, a->app.writer, &a->worker.writer, &a->attachment) == 0);
	check(waiters_loop_create(a->app.waiters, a->loop, &a->worker.waiters) == 0);
}

static void print_line(void *ctx, const char *line)
{
	(void)ctx;
	fprintf(stderr, "%s\n", line);
}

static void remove_mailbox(struct agent *a)
{
	struct db_stats stats;
	struct kv_txn *t;

	check(kv_write_begin(db_kv(a->app.db), &t) == 0);
	check(db_mailbox_remove(a->app.db, t, &a->bob) == 0);
	check(kv_write_commit(t) == 0);
	check(db_stats(a->app.db, &stats) == 0);
	check(stats.mailboxes == 0 && stats.announcements == 0 && stats.notices == 0);
}

static void agent_close(struct agent *a)
{
	static const char *const files[] = { "notify.mdb", "notify.mdb-lock" };
	char path[128];

	daemon_writer_detach(a->attachment);
	loop_free(a->loop);
	waiters_free(a->app.waiters);
	login_free(a->app.login);
	writer_free(a->app.writer);
	check(db_check(a->app.db, print_line, NULL) == 0);
	remove_mailbox(a);
	check(db_check(a->app.db, print_line, NULL) == 0);
	db_close(a->app.db);
	for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
		snprintf(path, sizeof path, "%s/%s", a->dir, files[i]);
		unlink(path);
	}
	check(rmdir(a->dir) == 0);
}

/* --- the peer: writes its part in pieces, ends its side, and reads all that comes ---------- */

struct peer {
	int fd;
	const uint8_t *data;
	size_t n, piece;
};

static void *peer_write(void *arg)
{
	struct peer *p = arg;

	for (size_t at = 0; at < p->n;) {
		size_t n = p->n - at < p->piece ? p->n - at : p->piece;
		ssize_t r = send(p->fd, p->data + at, n, MSG_NOSIGNAL);

		if (r <= 0) {
			break;
		}
		at += (size_t)r;
	}
	shutdown(p->fd, SHUT_WR);
	return NULL;
}

static void *peer_read(void *arg)
{
	struct peer *p = arg;
	uint8_t octets[65536];

	while (recv(p->fd, octets, sizeof octets, 0) > 0) {
	}
	return NULL;
}

static void on_ended(void *ctx, struct server_session *session)
{
	(void)session;
	loop_stop(((struct agent *)ctx)->loop);
}

static int open_intake(struct server_session *s, void *app, void **state)
{
	return intake_open(s, app, state);
}

static int open_query(struct server_session *s, void *app, void **state)
{
	return query_open(s, app, state);
}

static void run_session(struct agent *a, const struct server_protocol *protocol, struct peer *p)
{
	pthread_t writer, reader;
	struct server_session *session;
	struct stream *stream;
	int pair[2];

	check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
	p->fd = pair[1];
	check(fcntl(p->fd, F_SETFL, 0) == 0);
	check(stream_plain_create(a->loop, pair[0], &stream) == 0);
	check(server_start(a->loop, stream, protocol, &a->limits, &a->worker, on_ended, a,
	                   &session) == 0);
	check(pthread_create(&writer, NULL, peer_write, p) == 0);
	check(pthread_create(&reader, NULL, peer_read, p) == 0);
	loop_run(a->loop);
	pthread_join(writer, NULL);
	pthread_join(reader, NULL);
	close(p->fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct server_protocol intake = intake_protocol, query = query_protocol;
	struct agent a;
	struct peer p;
	size_t store;

	if (size < 3) {
		return 0;
	}
	log_set_level(LOG_LEVEL_ERROR);
	intake.open = open_intake;
	query.open = open_query;
	store = (size_t)data[1] << 8 | data[2];
	if (store > size - 3) {
		store = size - 3;
	}
	agent_open(&a);
	p = (struct peer) { .data = data + 3, .n = store, .piece = 1 + (size_t)data[0] * 16 };
	run_session(&a, &intake, &p);
	p.data += store;
	p.n = size - 3 - store;
	run_session(&a, &query, &p);
	agent_close(&a);
	return 0;
}
