/*
 * Whole sessions of the notification agent over socket pairs, on a real database:
 * first one of a store (RNASP), then one of a mail program (RNAQP). The input's
 * first octet is the size of the pieces that the rest comes in; the next two say
 * how much of the rest is the store's.
 *
 * Whatever comes: each session ends once its peer has ended, everything in the
 * database adds up afterwards, and nothing is left of a mailbox that is removed.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/random.h"
#include "notify/app.h"
#include "session/daemon.h"
#include "tests/fuzz/serving.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct agent {
	char dir[SERVING_DIR_SIZE];
	struct app app;
	struct loop *loop;
	struct app_worker worker;
	void *attachment;
	struct server_limits limits;
	struct mailbox bob;
};

static void add_mailbox(struct agent *a)
{
	struct db_mailbox m = { .created_us = 1 };
	char token[PASSWORD_TOKEN_TEXT + 1];
	struct kv_txn *t;

	random_set_source(serving_fixed_octets);
	password_token_make(token, &m.hash);
	random_set_source(NULL);
	serving_check(name_parse_mailbox(span_str("bob@b.example"), &m.name) == 0);
	a->bob = m.name;
	serving_check(kv_write_begin(db_kv(a->app.db), &t) == 0);
	serving_check(db_mailbox_put(a->app.db, t, &m) == 0);
	serving_check(kv_write_commit(t) == 0);
}

static void agent_open(struct agent *a)
{
	const struct db_options options = { .create = true, .map_size = 1u << 26, .no_sync = true };
	const struct login_options login = { .threads = 1 };
	struct app_settings *settings = calloc(1, sizeof *settings);
	struct err_text e;

	memset(a, 0, sizeof *a);
	serving_dir_make(a->dir);
	serving_check(db_open(a->dir, &options, &a->app.db, &e) == 0);
	add_mailbox(a);
	serving_check(settings != NULL);
	settings->policy = (struct policy_settings) {
		.keep_unverified = true,
		.mailbox_notices = 100,
		.origin_notices = 50,
		.retention_us = 86400ULL * 1000000,
	};
	app_settings_replace(&a->app, settings);
	serving_check(writer_create(db_kv(a->app.db), &a->app.writer) == 0);
	serving_check(login_create(&login, &a->app.login) == 0);
	serving_check(waiters_create(&a->app.waiters) == 0);
	server_limits_default(&a->limits);
	serving_check(loop_create(&a->loop) == 0);
	a->worker.app = &a->app;
	a->worker.loop = a->loop;
	serving_check(daemon_writer_attach(a->loop, a->app.writer, &a->worker.writer,
	                                   &a->attachment) == 0);
	serving_check(waiters_loop_create(a->app.waiters, a->loop, &a->worker.waiters) == 0);
}

static void remove_mailbox(struct agent *a)
{
	struct db_stats stats;
	struct kv_txn *t;

	serving_check(kv_write_begin(db_kv(a->app.db), &t) == 0);
	serving_check(db_mailbox_remove(a->app.db, t, &a->bob) == 0);
	serving_check(kv_write_commit(t) == 0);
	serving_check(db_stats(a->app.db, &stats) == 0);
	serving_check(stats.mailboxes == 0 && stats.announcements == 0 && stats.notices == 0);
}

static void agent_close(struct agent *a)
{
	static const char *const files[] = { "notify.mdb", "notify.mdb-lock", NULL };

	daemon_writer_detach(a->attachment);
	loop_free(a->loop);
	waiters_free(a->app.waiters);
	app_settings_free(&a->app);
	login_free(a->app.login);
	writer_free(a->app.writer);
	serving_check(db_check(a->app.db, serving_print_line, NULL) == 0);
	remove_mailbox(a);
	serving_check(db_check(a->app.db, serving_print_line, NULL) == 0);
	db_close(a->app.db);
	serving_dir_remove(a->dir, files);
}

static int open_intake(struct server_session *s, void *app, void **state)
{
	return intake_open(s, app, state);
}

static int open_query(struct server_session *s, void *app, void **state)
{
	return query_open(s, app, state);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct server_protocol intake = intake_protocol, query = query_protocol;
	struct agent a;
	struct span rest;
	size_t store, piece;

	if (size < 3) {
		return 0;
	}
	log_set_level(LOG_LEVEL_ERROR);
	intake.open = open_intake;
	query.open = open_query;
	piece = 1 + (size_t)data[0] * 16;
	store = (size_t)data[1] << 8 | data[2];
	rest = span_of(data + 3, size - 3);
	if (store > rest.n) {
		store = rest.n;
	}
	agent_open(&a);
	serving_session(a.loop, &intake, &a.limits, &a.worker, span_of(rest.p, store), piece);
	serving_session(a.loop, &query, &a.limits, &a.worker, span_after(rest, store), piece);
	agent_close(&a);
	return 0;
}
