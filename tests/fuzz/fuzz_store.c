/*
 * Whole sessions of the store over socket pairs, on a real database. The input's
 * first octet chooses the protocol (bit 0: MSOAP, else MSRAP) and the size of the pieces
 * that the rest comes in.
 *
 * Whatever comes: the session ends once its peer has ended, and everything in
 * the database adds up afterwards.
 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/random.h"
#include "session/server.h"
#include "store/originator.h"
#include "store/recipient.h"
#include "store/service.h"
#include "tests/fuzz/serving.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct store {
	char dir[SERVING_DIR_SIZE];
	struct service service;
	struct loop *loop;
	struct service_worker *worker;
	struct server_limits limits;
};

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
	serving_check(kv_write_begin(db_kv(s->service.db), &t) == 0);
	serving_check(db_account_put(s->service.db, t, &a) == 0);
	serving_check(kv_write_commit(t) == 0);
}

static struct settings *make_settings(void)
{
	struct settings *s = settings_create(1);

	serving_check(s != NULL);
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
	serving_dir_make(s->dir);
	random_set_source(serving_fixed_octets);
	serving_check(service_init(&s->service, make_settings()) == 0);
	serving_check(ids_init(s->dir, &e) == 0 && ids_load(s->dir, &s->service.ids, &e) == 0);
	serving_check(db_open(s->dir, &options, &s->service.db, &e) == 0);
	serving_check(service_numbers_prepare(s->service.db) == 0);
	add_account(s);
	random_set_source(NULL);
	serving_check(writer_create(db_kv(s->service.db), &s->service.writer) == 0);
	serving_check(login_create(&login, &s->service.login) == 0);
	server_limits_default(&s->limits);
	s->limits.stream_octets = (1 << 20) + (64 << 10);
	serving_check(loop_create(&s->loop) == 0);
	serving_check(service_worker_create(&s->service, s->loop, &s->worker) == 0);
}

static void store_close(struct store *s)
{
	static const char *const files[] = { "store.mdb", "store.mdb-lock", "keys", NULL };

	service_worker_free(s->worker);
	loop_free(s->loop);
	login_free(s->service.login);
	writer_free(s->service.writer);
	serving_check(db_check(s->service.db, serving_print_line, NULL) == 0);
	db_close(s->service.db);
	ids_free(s->service.ids);
	service_release(&s->service);
	serving_dir_remove(s->dir, files);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct store s;
	size_t piece;

	if (size == 0) {
		return 0;
	}
	log_set_level(LOG_LEVEL_ERROR);
	piece = 1 + (size_t)(data[0] >> 1) * 64;
	store_open(&s);
	serving_session(s.loop, (data[0] & 1) != 0 ? &originator_protocol : &recipient_protocol,
	                &s.limits, s.worker, span_of(data + 1, size - 1), piece);
	store_close(&s);
	return 0;
}
