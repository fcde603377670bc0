/* TLS streams: ALPN, versions, octets both ways, truncation, flights. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "net/tls_core.h"
#include "tls_pair.h"

/* --- protocols ----------------------------------------------------------------------------- */

static void test_alpn_mismatch(void **state)
{
	struct tls_config *server = pair_config("right", true, false);
	struct tls_config *client = pair_config(NULL, false, false);
	struct pair p = { .client.say = "x" };

	(void)state;
	pair_run(&p, server, client, "a.example", "im2000-rnasp/1");
	assert_false(p.client.opened || p.server.opened);
	assert_int_equal(p.client.error, ERR_TLS);
	assert_string_equal(p.client.why, "the server does not speak im2000-rnasp/1 there");
	assert_int_equal(p.server.error, ERR_TLS);
	assert_string_equal(p.server.why, "the client offers none of our protocols (ALPN)");
	pair_free(&p);
	tls_config_drop(server);
	tls_config_drop(client);
}

/* A pair over TCP whose client has sent nothing yet, so that its SSL can still be bent. */
static void start_bent(struct pair *p, struct tls_config *server, struct tls_config *client,
                       SSL **ssl)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof a;
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	assert_int_equal(bind(listener, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&a, &n), 0);
	p->client.l = p->server.l = l;
	p->client.waiting = p->server.waiting = &p->waiting;
	p->waiting = 2;
	assert_int_equal(tls_connect(l, fd, client, "a.example", pair_protocols[0], &p->client.s), 0);
	stream_set_handler(p->client.s, &pair_handler, &p->client);
	*ssl = ((struct tls_stream *)p->client.s)->ssl;
	connect(fd, (struct sockaddr *)&a, sizeof a);
	fd = accept(listener, NULL, NULL);
	assert_true(fd >= 0);
	assert_int_equal(tls_accept(l, fd, server, pair_protocols, &p->server.s), 0);
	stream_set_handler(p->server.s, &pair_handler, &p->server);
	close(listener);
}

static void test_client_without_alpn(void **state)
{
	struct tls_config *server = pair_config("right", true, false);
	struct tls_config *client = pair_config(NULL, false, false);
	struct pair p = { 0 };
	SSL *ssl;

	(void)state;
	start_bent(&p, server, client, &ssl);
	SSL_set_alpn_protos(ssl, NULL, 0);
	loop_run(l);
	assert_false(p.client.opened || p.server.opened);
	assert_string_equal(p.server.why, "the client offers none of our protocols (ALPN)");
	assert_string_equal(p.client.why, "the server does not speak im2000-msoap/1 there");
	pair_free(&p);
	tls_config_drop(server);
	tls_config_drop(client);
}

static void test_server_without_alpn(void **state)
{
	struct tls_config *server = pair_config("right", true, false);
	struct tls_config *client = pair_config(NULL, false, false);
	struct pair p = { .client.say = "x" };

	(void)state;
	SSL_CTX_set_alpn_select_cb(server->ctx, NULL, NULL);
	pair_run(&p, server, client, "a.example", pair_protocols[0]);
	assert_false(p.client.opened);
	assert_int_equal(p.client.error, ERR_TLS);
	assert_string_equal(p.client.why,
	                    "the server does not say that it speaks im2000-msoap/1 (ALPN)");
	pair_free(&p);
	tls_config_drop(server);
	tls_config_drop(client);
}

static void test_old_tls_is_refused(void **state)
{
	struct tls_config *server = pair_config("right", true, false);
	struct tls_config *client = pair_config(NULL, false, false);
	struct pair p = { 0 };
	SSL *ssl;

	(void)state;
	start_bent(&p, server, client, &ssl);
	SSL_set_min_proto_version(ssl, TLS1_2_VERSION);
	SSL_set_max_proto_version(ssl, TLS1_2_VERSION);
	loop_run(l);
	assert_false(p.client.opened || p.server.opened);
	assert_int_equal(p.server.error, ERR_TLS);
	assert_string_equal(p.server.why, "the peer does not speak TLS 1.3");
	assert_string_equal(p.client.why, "the peer does not speak TLS 1.3");
	pair_free(&p);
	tls_config_drop(server);
	tls_config_drop(client);
}

/* What is no TLS at all, to a server and to a client. */
static void test_plain_text(void **state)
{
	struct tls_config *configs[2] = { pair_config("right", true, false),
	                                  pair_config(NULL, false, false) };
	static const char *const words[] = { "GET /mail HTTP/1.0\r\n\r\n", "220 mail.example ESMTP\r\n",
		                             "\0\0\0\20\241\16\240\14\240\12\200\5alice\201\1x" };

	(void)state;
	for (int side = 0; side < 2; side++)
		for (size_t i = 0; i < 3; i++) {
			int waiting = 1, fd[2];
			struct end e = { .l = l, .waiting = &waiting };

			assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
			assert_int_equal(send(fd[0], words[i], 20, 0), 20); /* all are that long */
			if (side == 0)
				assert_int_equal(tls_accept(l, fd[1], configs[0], pair_protocols, &e.s), 0);
			else
				assert_int_equal(tls_connect(l, fd[1], configs[1], "a.example",
				                             pair_protocols[0], &e.s), 0);
			stream_set_handler(e.s, &pair_handler, &e);
			loop_run(l);
			assert_false(e.opened);
			assert_int_equal(e.error, ERR_TLS);
			assert_string_equal(e.why, "the peer does not speak TLS");
			end_free(&e);
			close(fd[0]);
		}
	tls_config_drop(configs[0]);
	tls_config_drop(configs[1]);
}

static void test_closed_in_the_handshake(void **state)
{
	struct tls_config *c = pair_config(NULL, false, false);
	int waiting = 1, fd[2];
	struct end e = { .l = l, .waiting = &waiting };

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	assert_int_equal(tls_connect(l, fd[1], c, "a.example", pair_protocols[0], &e.s), 0);
	stream_set_handler(e.s, &pair_handler, &e);
	shutdown(fd[0], SHUT_WR);
	loop_run(l);
	assert_int_equal(e.error, ERR_CLOSED);
	assert_string_equal(e.why, "the peer closed in the TLS handshake");
	end_free(&e);
	close(fd[0]);
	tls_config_drop(c);
}

/* --- data --------------------------------------------------------------------------------- */

static void test_both_ways(void **state)
{
	static const size_t sizes[] = { 1, 8191, 8192, 16384, 16385, 65536, 200000, 4000000 };
	struct tls_config *server = pair_config("right", true, false);
	struct tls_config *client = pair_config(NULL, false, false);

	(void)state;
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		struct pair p = {
			.client = { .to_send = sizes[i], .finish_at_end = true },
			.server = { .to_send = sizes[i], .finish_when_sent = true },
		};

		pair_start(&p, server, client, "a.example", pair_protocols[0]);
		end_send(&p.client); /* before `opened`: what fits is kept */
		p.waiting = 4;        /* both opened, both closed */
		loop_run(l);
		assert_int_equal(p.client.error, 0);
		assert_int_equal(p.server.error, 0);
		end_check(&p.client, sizes[i]);
		assert_true(p.client.ended);
		pair_free(&p);

		/* And the other direction whole. */
		p = (struct pair){
			.client = { .to_send = sizes[i], .finish_when_sent = true },
			.server = { .finish_at_end = true },
		};
		pair_start(&p, server, client, "a.example", pair_protocols[0]);
		p.waiting = 4;
		loop_run(l);
		end_check(&p.server, sizes[i]);
		assert_int_equal(p.server.error, 0);
		assert_int_equal(p.client.error, 0);
		pair_free(&p);
	}
	tls_config_drop(server);
	tls_config_drop(client);
}

static void test_holding_back(void **state)
{
	struct tls_config *server = pair_config("right", true, false);
	struct tls_config *client = pair_config(NULL, false, false);
	struct pair p = { .server.to_send = 3000000 };
	size_t held;

	(void)state;
	pair_start(&p, server, client, "a.example", pair_protocols[0]);
	stream_want_read(p.client.s, false);
	loop_run(l);
	do {
		held = p.server.sent;
		run_for(20);
	} while (p.server.sent > held);
	assert_true(held < 3000000);
	assert_int_equal(p.client.got.n, 0);
	stream_want_read(p.client.s, true);
	end_run_until(&p.client, 3000000);
	end_check(&p.client, 3000000);
	pair_free(&p);
	tls_config_drop(server);
	tls_config_drop(client);
}

/* A FIN without close_notify may come from anyone on the way. */
static void test_truncation_is_an_error(void **state)
{
	struct tls_config *server = pair_config("right", true, false);
	struct tls_config *client = pair_config(NULL, false, false);
	struct pair p = { .server.say = "half a messa" };

	(void)state;
	pair_run(&p, server, client, "a.example", pair_protocols[0]);
	end_run_until(&p.client, strlen("half a messa"));
	p.waiting = 1;
	stream_free(p.server.s);
	p.server.s = NULL;
	loop_run(l);
	assert_true(span_eq_str(buf_view(&p.client.got), "half a messa"));
	assert_false(p.client.ended);
	assert_int_equal(p.client.error, ERR_CLOSED);
	assert_string_equal(p.client.why, "connection cut off (no TLS close_notify)");
	pair_free(&p);
	tls_config_drop(server);
	tls_config_drop(client);
}

/* An octet changed on the way ends the stream; none of what it says is handed up. */
static void test_forged_octets(void **state)
{
	struct tls_config *server = pair_config("right", true, false);
	struct tls_config *client = pair_config(NULL, false, false);
	static const uint8_t forged[] = { 23, 3, 3, 0, 30, 1, 2, 3, [34] = 9 };
	struct pair p = { .server.say = "y" };

	(void)state;
	pair_run(&p, server, client, "a.example", pair_protocols[0]);
	/* Nothing is left on the way, which would make a reset of the client's end. */
	end_run_until(&p.client, 1);
	p.waiting = 2;
	assert_int_equal(send(p.server.s->fd, forged, sizeof forged, 0), sizeof forged);
	loop_run(l);
	assert_int_equal(p.client.error, ERR_TLS);
	assert_int_equal(p.client.got.n, 1);
	assert_int_equal(p.server.error, ERR_TLS); /* the alert */
	pair_free(&p);
	tls_config_drop(server);
	tls_config_drop(client);
}

static void test_free_inside_callbacks(void **state)
{
	struct tls_config *server = pair_config("right", true, false);
	struct tls_config *client = pair_config(NULL, false, false);
	static const char where[] = "orwc";

	(void)state;
	for (size_t i = 0; i < 4; i++)
		for (int side = 0; side < 2; side++) {
			struct pair p = { 0 };
			struct end *e = side == 0 ? &p.client : &p.server;
			struct end *other = side == 0 ? &p.server : &p.client;

			e->free_in = where[i];
			e->to_send = where[i] == 'w' ? 2000000 : 0;
			other->say = "x";
			e->finish_at_end = true;
			other->finish_when_sent = where[i] == 'c';
			pair_start(&p, server, client, "a.example", pair_protocols[0]);
			p.waiting = 100;
			for (int ms = 0; ms < 20000 && e->s != NULL; ms++)
				run_for(1);
			assert_null(e->s);
			pair_free(&p);
		}
	tls_config_drop(server);
	tls_config_drop(client);
}

/* --- flights ------------------------------------------------------------------------------ */

/* Between the two ends: passes on what each system call sent, and counts. */
struct relay {
	struct stream *s;
	struct relay *other;
	int packets;
};

static void relay_readable(void *ctx)
{
	struct relay *r = ctx;
	uint8_t octets[32768];
	ssize_t n;

	while ((n = stream_read(r->s, octets, sizeof octets)) > 0) {
		r->packets++;
		assert_int_equal(stream_write(r->other->s, octets, (size_t)n), n);
	}
}

/*
 * Sequenced packets show the system calls. A client sends its hello, then the
 * last of the handshake with its request; a server sends its part, then tickets
 * with the response.
 */
static void test_flights(void **state)
{
	static const struct stream_handler relaying = { .readable = relay_readable };
	struct tls_config *server = pair_config("right", true, false);
	struct tls_config *client = pair_config(NULL, false, false);
	struct relay left = { 0 }, right = { 0 };
	struct pair p = { .client.say = "a request", .server.say = "a response" };
	int near[2], far[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, near), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, far), 0);
	left.other = &right;
	right.other = &left;
	assert_int_equal(stream_plain_create(l, near[1], &left.s), 0);
	assert_int_equal(stream_plain_create(l, far[1], &right.s), 0);
	stream_set_handler(left.s, &relaying, &left);
	stream_set_handler(right.s, &relaying, &right);
	p.client.l = p.server.l = l;
	assert_int_equal(tls_connect(l, near[0], client, "a.example", pair_protocols[0],
	                             &p.client.s), 0);
	assert_int_equal(tls_accept(l, far[0], server, pair_protocols, &p.server.s), 0);
	stream_set_handler(p.server.s, &pair_handler, &p.server);
	stream_set_handler(p.client.s, &pair_handler, &p.client);
	assert_int_equal(stream_write(p.client.s, "early ", 6), 6);
	end_run_until(&p.client, strlen("a response"));
	end_run_until(&p.server, strlen("early a request"));
	assert_true(span_eq_str(buf_view(&p.server.got), "early a request"));
	assert_true(span_eq_str(buf_view(&p.client.got), "a response"));
	assert_int_equal(left.packets, 2);
	assert_int_equal(right.packets, 2);
	/* Many small writes of one turn: one system call. */
	for (int i = 0; i < 1000; i++)
		assert_int_equal(stream_write(p.server.s, "123", 3), 3);
	end_run_until(&p.client, 10 + 3000);
	assert_int_equal(right.packets, 3);
	pair_free(&p);
	stream_free(left.s);
	stream_free(right.s);
	tls_config_drop(server);
	tls_config_drop(client);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, pair_setup, pair_teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_alpn_mismatch),
		CASE(test_client_without_alpn),
		CASE(test_server_without_alpn),
		CASE(test_old_tls_is_refused),
		CASE(test_plain_text),
		CASE(test_closed_in_the_handshake),
		CASE(test_both_ways),
		CASE(test_holding_back),
		CASE(test_truncation_is_an_error),
		CASE(test_forged_octets),
		CASE(test_free_inside_callbacks),
		CASE(test_flights),
	};

	return cmocka_run_group_tests(tests, pair_group_setup, pair_group_teardown);
}
