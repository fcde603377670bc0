/* TLS: certificates at both ends, over full and over resumed handshakes. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "certs.h"
#include "net/tls_core.h"
#include "tls_pair.h"

static bool reused(const struct stream *s)
{
	return SSL_session_reused(((const struct tls_stream *)s)->ssl) == 1;
}

/* --- certificates ------------------------------------------------------------------------- */

static void test_server_certificates(void **state)
{
	static const struct {
		const char *name, *domain;
		const char *why; /* NULL: the handshake succeeds */
	} cases[] = {
		{ "right", "a.example", NULL },
		{ "server-only", "a.example", NULL },
		{ "chained", "a.example", NULL },
		{ "right", "b.example", "certificate is for a.example, not b.example" },
		{ "right", "x.a.example", "certificate is for a.example, not x.a.example" },
		{ "many", "b.example", "certificate is for x.example, y.example, z.example and 2 more, "
		                       "not b.example" },
		{ "expired", "a.example", "certificate expired on 2" },
		{ "future", "a.example", "certificate is not valid before 2" },
		{ "stranger", "a.example", "certificate was issued by /CN=other-ca, which is not "
		                           "trusted here: add that CA to ca-file" },
		{ "self", "a.example", "self-signed certificate: add its CA to ca-file" },
		{ "nameless", "a.example", "certificate is for no domain (it has no subjectAltName" },
		{ "client-only", "a.example", "certificate is not for a TLS server" },
		{ "wild", "x.b.example", NULL },
		{ "wild", "b.example", "certificate is for *.b.example, not b.example" },
		{ "wild", "y.x.b.example", "certificate is for *.b.example, not y.x.b.example" },
		{ "partial", "ax.b.example", "certificate is for a*.b.example, not ax.b.example" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct tls_config *server = pair_config(cases[i].name, true, false);
		struct tls_config *client = pair_config(NULL, false, false);
		struct pair p = { .client.say = "secret" };
		struct stream_info info;

		pair_start(&p, server, client, cases[i].domain, pair_protocols[1]);
		/* Kept until the server is known. */
		assert_int_equal(stream_write(p.client.s, "early ", 6), 6);
		loop_run(l);
		run_for(2);
		if (cases[i].why == NULL) {
			if (!p.client.opened || !p.server.opened)
				fail_msg("%s: %s", cases[i].name, p.client.why);
			assert_true(span_eq_str(buf_view(&p.server.got), "early secret"));
			stream_info(p.client.s, &info);
			assert_true(info.tls && info.peer_verified);
			assert_string_equal(info.alpn, pair_protocols[1]);
			assert_true(stream_peer_covers(p.client.s, cases[i].domain));
			assert_false(stream_peer_covers(p.client.s, "c.example"));
			stream_info(p.server.s, &info);
			assert_string_equal(info.alpn, pair_protocols[1]);
			assert_string_equal(info.server_name, cases[i].domain);
			assert_false(info.peer_verified);
			assert_false(stream_peer_covers(p.server.s, "a.example"));
		} else {
			assert_false(p.client.opened || p.server.opened);
			assert_int_equal(p.client.error, ERR_TLS);
			if (strncmp(p.client.why, cases[i].why, strlen(cases[i].why)) != 0)
				fail_msg("%s: %s", cases[i].name, p.client.why);
			/* The server is told by an alert, and never gets a word of what was to be said. */
			assert_int_equal(p.server.error, ERR_TLS);
			assert_non_null(strstr(p.server.why, "alert"));
			assert_int_equal(p.server.got.n, 0);
		}
		pair_free(&p);
		tls_config_drop(server);
		tls_config_drop(client);
	}
}

/* Each over a full handshake and over a resumed one: the proof must be the same. */
static void test_client_certificates(void **state)
{
	static const struct {
		const char *name;
		bool verified, covers;
	} cases[] = {
		{ NULL, false, false },
		{ "right", true, true },
		{ "server-only", true, true }, /* all that public CAs issue */
		{ "chained", true, true },
		{ "client-only", false, false },
		{ "expired", false, false },
		{ "future", false, false },
		{ "stranger", false, false },
		{ "self", false, false },
		{ "nameless", true, false },
		{ "wild", true, false },
	};
	struct tls_config *server = pair_config("many", true, true);

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct tls_config *client = pair_config(cases[i].name, false, false);

		for (int again = 0; again < 3; again++) {
			struct pair p = { .client.say = "x", .server.say = "y" };
			struct stream_info info;

			pair_run(&p, server, client, "x.example", pair_protocols[0]);
			run_for(5);
			if (!p.server.opened || !p.client.opened)
				fail_msg("%s: %s", cases[i].name, p.server.why);
			assert_int_equal(reused(p.client.s), again > 0);
			assert_int_equal(reused(p.server.s), again > 0);
			stream_info(p.server.s, &info);
			if (info.peer_verified != cases[i].verified)
				fail_msg("%s: verified is %d", cases[i].name, info.peer_verified);
			assert_int_equal(stream_peer_covers(p.server.s, "a.example"), cases[i].covers);
			assert_false(stream_peer_covers(p.server.s, "b.example"));
			assert_false(stream_peer_covers(p.server.s, ".example"));
			assert_false(stream_peer_covers(p.server.s, ""));
			assert_true(span_eq_str(buf_view(&p.server.got), "x"));
			assert_true(span_eq_str(buf_view(&p.client.got), "y"));
			pair_free(&p);
		}
		tls_config_drop(client);
	}
	tls_config_drop(server);
}

/* A server that does not ask learns nothing of the client. */
static void test_client_certificate_not_asked(void **state)
{
	struct tls_config *server = pair_config("right", true, false);
	struct tls_config *client = pair_config("many", false, false);
	struct pair p = { 0 };
	struct stream_info info;

	(void)state;
	pair_run(&p, server, client, "a.example", pair_protocols[0]);
	assert_true(p.server.opened);
	stream_info(p.server.s, &info);
	assert_false(info.peer_verified);
	assert_false(stream_peer_covers(p.server.s, "x.example"));
	pair_free(&p);
	tls_config_drop(server);
	tls_config_drop(client);
}

static uint64_t clock_ahead_us;

static uint64_t ahead_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * CLOCK_SECOND_US + clock_ahead_us;
}

/* A ticket does not outlive the certificate that it stands for. */
static void test_resumption_after_the_certificate_ended(void **state)
{
	static const struct {
		const char *server, *client;
		uint64_t ahead_s;
		bool opened, resumed, verified;
	} cases[] = {
		{ "right", "ends-soon", 0, true, true, true },
		{ "right", "ends-soon", 3700, true, true, false },
		{ "ends-soon", "right", 3700, false, false, false },
		{ "right", "right", 3700, true, true, true },
		{ "right", "right", 7300, true, false, true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct tls_config *server = pair_config(cases[i].server, true, true);
		struct tls_config *client = pair_config(cases[i].client, false, false);
		struct pair first = { .server.say = "y" }, second = { .server.say = "y" };
		struct stream_info info;

		clock_ahead_us = 0;
		clock_set_source(ahead_now, NULL);
		pair_run(&first, server, client, "a.example", pair_protocols[0]);
		run_for(5);
		stream_info(first.server.s, &info);
		assert_true(info.peer_verified);
		clock_ahead_us = cases[i].ahead_s * CLOCK_SECOND_US;
		pair_run(&second, server, client, "a.example", pair_protocols[0]);
		assert_int_equal(second.client.opened, cases[i].opened);
		if (cases[i].opened) {
			assert_int_equal(reused(second.server.s), cases[i].resumed);
			stream_info(second.server.s, &info);
			assert_int_equal(info.peer_verified, cases[i].verified);
			assert_int_equal(stream_peer_covers(second.server.s, "a.example"),
			                 cases[i].verified);
		} else {
			assert_non_null(strstr(second.client.why, "expired"));
		}
		pair_free(&first);
		pair_free(&second);
		tls_config_drop(server);
		tls_config_drop(client);
	}
}

/* --- several certificates ------------------------------------------------------------------ */

static struct tls_config *many_config(bool server, bool ask_client, const char *const names[],
                                      size_t n)
{
	static char paths[8][256];
	const char *certificates[4], *keys[4];
	struct tls_options options = {
		.ca_file = certs_path("ca.pem"),
		.server = server,
		.ask_client = ask_client,
		.more_certificates = certificates + 1,
		.more_keys = keys + 1,
		.n_more = n - 1,
	};
	struct tls_config *c;
	struct err_text e;

	for (size_t i = 0; i < n; i++) {
		char file[64];

		snprintf(file, sizeof file, "%s.pem", names[i]);
		snprintf(paths[2 * i], sizeof paths[0], "%s", certs_path(file));
		snprintf(file, sizeof file, "%s.key", names[i]);
		snprintf(paths[2 * i + 1], sizeof paths[0], "%s", certs_path(file));
		certificates[i] = paths[2 * i];
		keys[i] = paths[2 * i + 1];
	}
	options.certificate = certificates[0];
	options.key = keys[0];
	if (tls_config_create(&options, &c, &e) < 0)
		fail_msg("%s", e.text);
	return c;
}

/* The server has one for each domain; the client asks by name, and meets that one alone. */
static void test_server_chooses_by_name(void **state)
{
	static const char *const names[] = { "many", "chained", "wild", "other" };
	static const struct {
		const char *domain;
		const char *why; /* NULL: it is the right one */
	} cases[] = {
		{ "x.example", NULL },   { "v.example", NULL },     { "a.example", NULL },
		{ "A.Example", NULL },   { "mail.b.example", NULL }, { "o.example", NULL },
		{ "b.example", "certificate is for x.example, y.example, z.example and 2 more" },
		{ "q.o.example", "certificate is for x.example" },
	};
	struct tls_config *server = many_config(true, false, names, 4);
	struct tls_config *client = pair_config(NULL, false, false);

	(void)state;
	assert_int_equal(tls_config_count(server), 4);
	for (int again = 0; again < 2; again++) /* then by tickets */
		for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
			struct pair p = { .server.say = "y" };

			pair_run(&p, server, client, cases[i].domain, pair_protocols[0]);
			if (cases[i].why == NULL) {
				if (!p.client.opened)
					fail_msg("%s: %s", cases[i].domain, p.client.why);
				assert_int_equal(reused(p.client.s), again);
				run_for(5);
			} else if (strstr(p.client.why, cases[i].why) != p.client.why) {
				fail_msg("%s: %s", cases[i].domain, p.client.why);
			}
			pair_free(&p);
		}
	tls_config_drop(server);
	tls_config_drop(client);
}

/* No name: the first. Such a client is not ours, but it may be met. */
static void test_client_without_a_name(void **state)
{
	static const char *const names[] = { "many", "right" };
	static const unsigned char alpn[] = "\016im2000-msoap/1";
	struct tls_config *server = many_config(true, false, names, 2);
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl = SSL_new(ctx);
	struct end e = { .l = l };
	X509 *met;
	int fd[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	assert_int_equal(tls_accept(l, fd[0], server, pair_protocols, &e.s), 0);
	stream_set_handler(e.s, &pair_handler, &e);
	fcntl(fd[1], F_SETFL, O_NONBLOCK);
	assert_int_equal(SSL_set_fd(ssl, fd[1]), 1);
	assert_int_equal(SSL_set_alpn_protos(ssl, alpn, sizeof alpn - 1), 0);
	SSL_set_connect_state(ssl);
	for (int i = 0; i < 20000 && SSL_do_handshake(ssl) != 1; i++)
		run_for(1);
	met = SSL_get0_peer_certificate(ssl);
	assert_non_null(met);
	assert_true(tls_verify_covers(met, "x.example"));
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	close(fd[1]);
	end_free(&e);
	tls_config_drop(server);
}

/* A store shows the one that speaks for its sender, over full handshakes and resumed ones. */
static void test_client_shows_the_one_wanted(void **state)
{
	static const char *const names[] = { "right", "wild", "other" };
	static const struct {
		const char *speaks_for, *covers, *not;
	} cases[] = {
		{ "a.example", "a.example", "o.example" },
		{ "x.b.example", "y.b.example", "a.example" },
		{ "o.example", "o.example", "a.example" },
		{ "stranger.example", "a.example", "o.example" }, /* the first */
	};
	struct tls_config *server = pair_config("many", true, true);
	struct tls_config *client = many_config(false, false, names, 3);

	(void)state;
	for (int again = 0; again < 2; again++)
		for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
			const struct tls_target to = {
				.domain = "x.example",
				.alpn = pair_protocols[0],
				.identity = tls_config_choose(client, cases[i].speaks_for),
			};
			struct pair p = { .server.say = "y", .waiting = 2 };
			int fd[2];

			p.client.l = p.server.l = l;
			p.client.waiting = p.server.waiting = &p.waiting;
			assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
			assert_int_equal(tls_accept(l, fd[0], server, pair_protocols, &p.server.s), 0);
			stream_set_handler(p.server.s, &pair_handler, &p.server);
			assert_int_equal(tls_connect_to(l, fd[1], client, &to, &p.client.s), 0);
			stream_set_handler(p.client.s, &pair_handler, &p.client);
			loop_run(l);
			run_for(5);
			/* The ticket of the last case is that of the first: the same certificate. */
			assert_int_equal(reused(p.server.s), again > 0 || i == 3);
			assert_true(stream_peer_covers(p.server.s, cases[i].covers));
			assert_false(stream_peer_covers(p.server.s, cases[i].not));
			pair_free(&p);
		}
	tls_config_drop(server);
	tls_config_drop(client);
}

/* Tickets are kept apart by domain and protocol, and each is used once. */
static void test_tickets_are_kept_apart(void **state)
{
	struct tls_config *server = pair_config("many", true, false);
	struct tls_config *client = pair_config(NULL, false, false);
	static const struct {
		const char *domain;
		int protocol;
		bool resumed;
	} steps[] = {
		{ "x.example", 0, false }, { "x.example", 1, false }, { "y.example", 0, false },
		{ "x.example", 0, true },  { "x.example", 1, true },  { "y.example", 0, true },
	};
	struct pair a = { 0 }, b = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
		struct pair p = { .server.say = "y" };

		pair_run(&p, server, client, steps[i].domain, pair_protocols[steps[i].protocol]);
		run_for(5);
		assert_int_equal(reused(p.server.s), steps[i].resumed);
		pair_free(&p);
	}
	/* One ticket is there: of two connections at once one resumes. */
	pair_start(&a, server, client, "x.example", pair_protocols[0]);
	pair_run(&b, server, client, "x.example", pair_protocols[0]);
	run_for(20);
	assert_true(a.server.opened && b.server.opened);
	assert_true(reused(a.server.s));
	assert_false(reused(b.server.s));
	pair_free(&a);
	pair_free(&b);
	tls_config_drop(server);
	tls_config_drop(client);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, pair_setup, pair_teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_server_chooses_by_name),
		CASE(test_client_without_a_name),
		CASE(test_client_shows_the_one_wanted),
		CASE(test_server_certificates),
		CASE(test_client_certificates),
		CASE(test_client_certificate_not_asked),
		CASE(test_resumption_after_the_certificate_ended),
		CASE(test_tickets_are_kept_apart),
	};

	return cmocka_run_group_tests(tests, pair_group_setup, pair_group_teardown);
}
