/*
 * Whole sessions of the store over socket pairs, on a real database. The input's
 * first octet chooses the protocol (bit 0: MSOAP, else MSRAP) and the size of the pieces
 * that the rest comes in.
 *
 * Whatever comes: the session ends once its peer has ended, and everything in
 * the database adds up afterwards.
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
#include "session/server.h"
#include "store/originator.h"
#include "store/recipient.h"
#include "store/service.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct store {
	char dir[64];
	struct service service;
	struct loop *loop;
	struct service_worker *worker;
	struct server_limits limits;
};

static void check(bool holds)
{
	if (!holds) {
		abort();
	}
}

/* The token and the store key are the same in each run, so that inputs can hold them. */
static void fixed_octets(void *out, size_t n)
{
	memset(out, 0x5a, n);
}

static void add_account(struct store *s)
{
	static const char senders[] = "alice@a.example";
	struct db_account a = {
		.name = span_str("alice"),
		.senders = span_of(senders, sizeof senders),
		.quota_octets = 1 << 20,
	};
	char token[PASSWORD_TOKEN_TEXT + 1];
	struct kv_txn *t;

	password_token_make(token, &a.hash);
	check(kv_write_begin(db_kv(s->service.db), &t) == 0);
	check(db_account_put(s->service.db, t, &a) == 0);
	check(kv_write_commit(t) == 0);
}

static struct settings *make_settings(void)
{
	struct settings *s = settings_create(1);

	check(s != NULL);
	snprintf(s->domains[0], sizeof s->domains[0], "a.example");
	s->max_message = 1 << 20;
	s->max_recipients = 100;
	s->default_lifetime_s = s->max_lifetime_s = 90 * 86400;
	s->min_lifetime_s = 60;
	s->resume_s = s->keep_status_s = 86400;
	return s;
}

static void store_open(struct store *s)
{
	const struct db_options options = { .create = true, .map_size = 1u << 26, .no_sync = true };
	const struct login_options login = { .threads = 1 };
	struct err_text e;

	memset(s, 0, sizeof *s);
	snprintf(s->dir, sizeof s->dir, "%s", "/tmp/im2000-fuzz-XXXXXX");
	check(mkdtemp(s->dir) != NULL);
	random_set_source(fixed_octets);
	check(service_init(&s->service, make_settings()) == 0);
	check(ids_init(s->dir, &e) == 0 && ids_load(s->dir, &s->service.ids, &e) == 0);
	check(db_open(s->dir, &options, &s->service.db, &e) == 0);
	check(service_numbers_prepare(s->service.db) == 0);
	add_account(s);
	random_set_source(NULL);
	check(writer_create(db_kv(s->service.db), &s->service.writer) == 0);
	check(login_create(&login, &s->service.login) == 0);
	server_limits_default(&s->limits);
	s->limits.stream_octets = (1 << 20) + (64 << 10);
	check(loop_create(&s->loop) == 0);
	check(service_worker_create(&s->service, s->loop, &s->worker) == 0);
}

static void print_line(void *ctx, const char *line)
{
	(void)ctx;
	fprintf(stderr, "%s\n", line);
}

static void store_close(struct store *s)
{
	static const char *const files[] = { "store.mdb", "store.mdb-lock", "keys" };
	char path[128];

	service_worker_free(s->worker);
	loop_free(s->loop);
	login_free(s->service.login);
	writer_free(s->service.writer);
	check(db_check(s->service.db, print_line, NULL) == 0);
	db_close(s->service.db);
	ids_free(s->service.ids);
	service_release(&s->service);
	for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
		snprintf(path, sizeof path, "%s/%s", s->dir, files[i]);
		unlink(path);
	}
	check(rmdir(s->dir) == 0);
}

/* --- the peer: writes the input in pieces, then ends its side, and reads all that comes --------
 */

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
	loop_stop(((struct store *)ctx)->loop);
}

static void run_session(struct store *s, const struct server_protocol *protocol, struct peer *p)
{
	pthread_t writer, reader;
	struct server_session *session;
	struct stream *stream;
	int pair[2];

	check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
	p->fd = pair[1];
	check(fcntl(p->fd, F_SETFL, 0) == 0);
	check(stream_plain_create(s->loop, pair[0], &stream) == 0);
	check(server_start(s->loop, stream, protocol, &s->limits, s->worker, on_ended, s,
	                   &session) == 0);
	check(pthread_create(&writer, NULL, peer_write, p) == 0);
	check(pthread_create(&reader, NULL, peer_read, p) == 0);
	loop_run(s->loop);
	pthread_join(writer, NULL);
	pthread_join(reader, NULL);
	close(p->fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct store s;
	struct peer p;

	if (size == 0) {
		return 0;
	}
	log_set_level(LOG_LEVEL_ERROR);
	p = (struct peer) { .data = data + 1,
		            .n = size - 1,
		            .piece = 1 + (size_t)(data[0] >> 1) * 64 };
	store_open(&s);
	run_session(&s, (data[0] & 1) != 0 ? &originator_protocol : &recipient_protocol, &p);
	store_close(&s);
	return 0;
}
