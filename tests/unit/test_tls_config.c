/* TLS configurations: faults, facts, threads that share one, the memory of idle streams. */
#include <malloc.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <cmocka.h>

#include "base/clock.h"
#include "certs.h"
#include "net/tls_core.h"
#include "tls_pair.h"

/* --- configuration ------------------------------------------------------------------------ */

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void write_encrypted_key(const char *path)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(PEM_write_PKCS8PrivateKey(f, key, EVP_aes_256_cbc(), "secret", 6, NULL,
	                                           NULL), 1);
	fclose(f);
	EVP_PKEY_free(key);
}

static void test_config_errors(void **state)
{
	static const struct {
		const char *certificate, *key, *ca;
		bool server;
		const char *say[2];
	} cases[] = {
		{ NULL, NULL, "ca.pem", true, { "a TLS server needs a certificate", "" } },
		{ "none.pem", "right.key", "ca.pem", true, { "none.pem", "No such file" } },
		{ "right.pem", "none.key", "ca.pem", true, { "none.key", "No such file" } },
		{ "right.pem", NULL, "ca.pem", true, { "right.pem", "no key" } },
		{ "right.pem", "many.key", "ca.pem", true, { "many.key", "does not belong to" } },
		{ "bad.pem", "right.key", "ca.pem", true, { "bad.pem", "no PEM certificate" } },
		{ "right.pem", "bad.pem", "ca.pem", true, { "bad.pem", "no PEM private key" } },
		{ "right.pem", "right.pem", "ca.pem", true, { "right.pem", "no PEM private key" } },
		{ "right.pem", "encrypted.key", "ca.pem", true, { "encrypted.key", "is encrypted" } },
		{ NULL, NULL, "none.pem", false, { "ca-file", "No such file" } },
		{ NULL, NULL, "bad.pem", false, { "ca-file", "no PEM certificate" } },
	};

	(void)state;
	write_file(certs_path("bad.pem"), "this is no certificate\n");
	write_encrypted_key(certs_path("encrypted.key"));
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct tls_options options = {
			.certificate = cases[i].certificate ? certs_path(cases[i].certificate) : NULL,
			.key = cases[i].key ? certs_path(cases[i].key) : NULL,
			.ca_file = certs_path(cases[i].ca),
			.server = cases[i].server,
			.ask_client = true,
		};
		struct tls_config *c = NULL;
		struct err_text e = { "" };

		assert_int_equal(tls_config_create(&options, &c, &e), ERR_CONFIG);
		if (strstr(e.text, cases[i].say[0]) == NULL || strstr(e.text, cases[i].say[1]) == NULL)
			fail_msg("case %zu: %s", i, e.text);
		assert_int_equal(tls_config_create(&options, &c, NULL), ERR_CONFIG);
	}
}

static void test_config_facts(void **state)
{
	struct tls_config *right = pair_config("right", true, false);
	struct tls_config *wild = pair_config("wild", true, false);
	struct tls_config *none = pair_config(NULL, false, false);
	uint64_t month = clock_now_us() + 30 * CLOCK_DAY_US;
	struct tls_options system = { .server = false };
	struct tls_config *c;

	(void)state;
	assert_true(tls_config_expires_us(right, NULL) <= month);
	assert_true(tls_config_expires_us(right, NULL) >= month - 2 * CLOCK_MINUTE_US);
	assert_int_equal(tls_config_expires_us(none, NULL), 0);
	assert_true(tls_config_covers(right, "a.example"));
	assert_false(tls_config_covers(right, "b.example"));
	assert_true(tls_config_covers(wild, "x.b.example"));
	assert_false(tls_config_covers(none, "a.example"));
	/* The system's store, which must not be a condition of starting. */
	assert_int_equal(tls_config_create(&system, &c, NULL), 0);
	tls_config_drop(c);
	tls_config_drop(right);
	tls_config_drop(wild);
	tls_config_drop(none);
	tls_config_drop(NULL);
}

/* --- memory ------------------------------------------------------------------------------- */

#define IDLE 60

/* Octets that malloc has given out. */
static size_t held(void)
{
	struct mallinfo2 info = mallinfo2();

	return info.uordblks + info.hblkhd;
}

/* protocol.md and performance.md: an idle connection costs its daemon 20 KiB at most. */
static void test_idle_memory(void **state)
{
	struct tls_config *server = pair_config("right", true, true);
	struct tls_config *client = pair_config(NULL, false, false); /* a MUA that waits for mail */
	static struct pair pairs[IDLE];
	size_t before = 0, pair, server_only;

	(void)state;
	for (int i = 0; i < IDLE; i++) {
		pairs[i] = (struct pair){ .server.to_send = 300000, .client.to_send = 300000 };
		if (i == 10) /* what is made once is made by now */
			before = held();
		pair_run(&pairs[i], server, client, "a.example", pair_protocols[0]);
		end_run_until(&pairs[i].client, 300000);
		end_run_until(&pairs[i].server, 300000);
		run_for(2);
		buf_free(&pairs[i].client.got);
		buf_free(&pairs[i].server.got);
		assert_null(pairs[i].server.s->out.p);
		assert_null(((struct tls_stream *)pairs[i].server.s)->plain.p);
	}
	/* Both ends live here. A sanitizer's allocator counts nothing: then this says nothing. */
	pair = (held() - before) / (IDLE - 10);
	for (int i = 10; i < IDLE; i++)
		end_free(&pairs[i].client);
	server_only = (held() - before) / (IDLE - 10);
	print_message("idle: %zu octets the server, %zu with its client\n", server_only, pair);
	assert_true(server_only <= 20 * 1024);
	assert_true(pair <= 40 * 1024);
	for (int i = 0; i < IDLE; i++)
		pair_free(&pairs[i]);
	tls_config_drop(server);
	tls_config_drop(client);
}

/* A configuration is dropped (replaced) while its streams go on. */
static void test_config_outlives_its_owner(void **state)
{
	struct tls_config *server = pair_config("right", true, false);
	struct tls_config *client = pair_config(NULL, false, false);
	struct pair p = { .client.say = "x", .server.say = "y" };

	(void)state;
	pair_start(&p, server, client, "a.example", pair_protocols[0]);
	tls_config_drop(server);
	tls_config_drop(client);
	loop_run(l);
	run_for(5);
	assert_true(span_eq_str(buf_view(&p.client.got), "y"));
	pair_free(&p);
}

/* --- threads ------------------------------------------------------------------------------ */

struct worker {
	pthread_t thread;
	struct tls_config *server, *client;
	int opened;
};

static void *shake_hands(void *arg)
{
	struct worker *w = arg;
	struct loop *own;

	if (loop_create(&own) < 0)
		return NULL;
	for (int i = 0; i < 30; i++) {
		struct pair p = { .client.say = "x", .server.say = "y" };
		int fd[2];

		if (socketpair(AF_UNIX, SOCK_STREAM, 0, fd) != 0)
			break;
		p.client.l = p.server.l = own;
		p.client.waiting = p.server.waiting = &p.waiting;
		p.client.finish_at_end = true;
		p.server.finish_when_sent = true;
		p.waiting = 4;
		tls_accept(own, fd[0], w->server, pair_protocols, &p.server.s);
		tls_connect(own, fd[1], w->client, "a.example", pair_protocols[0], &p.client.s);
		stream_set_handler(p.server.s, &pair_handler, &p.server);
		stream_set_handler(p.client.s, &pair_handler, &p.client);
		loop_run(own);
		w->opened += p.client.opened && p.server.opened && p.client.error == 0
		             && p.server.error == 0;
		pair_free(&p);
	}
	loop_free(own);
	tls_config_drop(w->server);
	tls_config_drop(w->client);
	return NULL;
}

static void test_threads_share_a_configuration(void **state)
{
	struct tls_config *server = pair_config("right", true, true);
	struct tls_config *client = pair_config("server-only", false, false);
	struct worker workers[3];

	(void)state;
	for (int i = 0; i < 3; i++) {
		workers[i] = (struct worker){ .server = tls_config_hold(server),
			                      .client = tls_config_hold(client) };
		assert_int_equal(pthread_create(&workers[i].thread, NULL, shake_hands, &workers[i]),
		                 0);
	}
	tls_config_drop(server);
	tls_config_drop(client);
	for (int i = 0; i < 3; i++) {
		pthread_join(workers[i].thread, NULL);
		assert_int_equal(workers[i].opened, 30);
	}
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, pair_setup, pair_teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_config_errors),
		CASE(test_config_facts),
		CASE(test_idle_memory),
		CASE(test_config_outlives_its_owner),
		CASE(test_threads_share_a_configuration),
	};

	return cmocka_run_group_tests(tests, pair_group_setup, pair_group_teardown);
}
