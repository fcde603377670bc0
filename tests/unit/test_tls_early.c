/* TLS early data: who takes it, in which flight it goes, and what its repetition does. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "certs.h"
#include "net/tls_core.h"
#include "tls_wire.h"

#define MOST WIRE_EARLY_MOST
#define ASK "a request that may be repeated"

/* --- helpers -------------------------------------------------------------------------------- */

static bool taken(const struct pair *p)
{
	return SSL_get_early_data_status(((struct tls_stream *)p->client.s)->ssl)
	       == SSL_EARLY_DATA_ACCEPTED;
}

/* A connection on its own; *TAKEN whether its ASK was early data. It arrives once in any case. */
static void ask(struct tls_config *server, struct tls_config *client, bool *was_taken)
{
	struct pair p = { .client.say = "!", .server.say = "y" };
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	wire_connect_early(&p, server, client, fd, span_str(ASK));
	end_run_until(&p.server, strlen(ASK) + 1);
	end_run_until(&p.client, 1);
	run_for(5);
	assert_true(span_eq_str(buf_view(&p.server.got), ASK "!"));
	assert_false(stream_is_early(p.server.s));
	*was_taken = taken(&p);
	pair_free(&p);
}

/* --- who takes it --------------------------------------------------------------------------- */

static void test_is_taken_when_both_agree(void **state)
{
	static const struct {
		uint32_t server, client;
		bool tickets, taken;
	} cases[] = {
		{ MOST, MOST, true, true },
		{ MOST, MOST, false, false },
		{ MOST, 0, true, false },
		{ 0, MOST, true, false },
		{ 10, MOST, true, false }, /* less than it would be */
		{ (uint32_t)strlen(ASK), MOST, true, true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct tls_config *server =
		    pair_config_early("right", "ca.pem", true, false, cases[i].server);
		struct tls_config *client =
		    pair_config_early(NULL, "ca.pem", false, false, cases[i].client);
		bool was_taken;

		if (cases[i].tickets)
			wire_get_tickets(server, client);
		ask(server, client, &was_taken);
		if (was_taken != cases[i].taken)
			fail_msg("case %zu: taken is %d", i, was_taken);
		tls_config_drop(server);
		tls_config_drop(client);
	}
}

/* A full handshake gives tickets for several connections that hang up early. */
static void test_several_tickets(void **state)
{
	struct tls_config *server = wire_server_config(), *client = wire_client_config();

	(void)state;
	wire_get_tickets(server, client);
	for (int i = 0; i < 4; i++) {
		struct pair p = { .client.say = "" };
		int fd[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
		wire_connect_early(&p, server, client, fd, span_str(ASK));
		end_run_until(&p.server, strlen(ASK));
		stream_free(p.client.s); /* the answer is enough */
		p.client.s = NULL;
		pair_free(&p);
	}
	tls_config_drop(server);
	tls_config_drop(client);
}

/* Of another process, or after SIGHUP: the ticket opens nothing, the octets come all the same. */
static void test_server_with_other_keys(void **state)
{
	struct tls_config *server = wire_server_config(), *other = wire_server_config();
	struct tls_config *client = wire_client_config();
	bool was_taken;

	(void)state;
	wire_get_tickets(server, client);
	ask(other, client, &was_taken);
	assert_false(was_taken);
	ask(server, client, &was_taken); /* by the other's ticket, the newest */
	assert_false(was_taken);
	tls_config_drop(server);
	tls_config_drop(other);
	tls_config_drop(client);
}

static void test_many_octets(void **state)
{
	static const struct {
		size_t octets;
		bool taken;
	} cases[] = { { MOST, true }, { MOST + 1, false }, { 100000, false }, { 0, false } };
	static uint8_t octets[100000];
	struct tls_config *server = wire_server_config(), *client = wire_client_config();

	(void)state;
	for (size_t i = 0; i < sizeof octets; i++)
		octets[i] = (uint8_t)(i * 13 >> 3);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct pair p = { .client = { .sent = cases[i].octets, .to_send = 300000 } };
		int fd[2];

		wire_get_tickets(server, client);
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
		wire_connect_early(&p, server, client, fd, span_of(octets, cases[i].octets));
		end_run_until(&p.server, 300000);
		end_check(&p.server, 300000);
		assert_int_equal(taken(&p), cases[i].taken);
		pair_free(&p);
	}
	tls_config_drop(server);
	tls_config_drop(client);
}

/* --- flights ---------------------------------------------------------------------------------- */

/* The client has said one thing, and has the answer; only its next flight proves that it lives. */
static void test_answer_after_one_flight(void **state)
{
	struct tls_config *server = wire_server_config(), *client = wire_client_config();
	struct pair p = { .server.say = "an answer" };
	struct stream_info info;
	struct wire w;
	int ends[2];

	(void)state;
	wire_get_tickets(server, client);
	wire_ends(&w, ends);
	wire_connect_early(&p, server, client, ends, span_str(ASK));
	assert_true(wire_collect(&w));
	wire_pass(&w, 0, w.server);
	assert_true(span_eq_str(buf_view(&p.server.got), ASK));
	assert_true(stream_is_early(p.server.s));
	stream_info(p.server.s, &info);
	assert_string_equal(info.alpn, pair_protocols[0]);
	assert_false(info.peer_verified); /* not proved by this connection yet */
	assert_false(stream_peer_covers(p.server.s, "a.example"));
	wire_answer(&w);
	assert_true(p.client.opened);
	assert_true(span_eq_str(buf_view(&p.client.got), "an answer"));
	assert_true(wire_collect(&w));
	wire_pass(&w, 1, w.server);
	assert_false(stream_is_early(p.server.s));
	stream_info(p.server.s, &info);
	assert_true(info.peer_verified);
	assert_true(stream_peer_covers(p.server.s, "a.example"));
	/* From then on as any other. */
	p.client.to_send = p.server.to_send = 10000;
	end_send(&p.client);
	assert_true(wire_collect(&w));
	wire_pass(&w, 2, w.server);
	assert_int_equal(p.server.got.n, strlen(ASK) + 10000);
	wire_close(&w);
	pair_free(&p);
	tls_config_drop(server);
	tls_config_drop(client);
}

/* A server that closes before the handshake is over, and one whose client is gone. */
static void test_ends_while_early(void **state)
{
	struct tls_config *server = wire_server_config(), *client = wire_client_config();

	(void)state;
	for (int how = 0; how < 3; how++) {
		struct pair p = { .server.say = "an answer", .server.finish_when_sent = how == 0 };
		struct wire w;
		int ends[2];

		wire_get_tickets(server, client);
		wire_ends(&w, ends);
		wire_connect_early(&p, server, client, ends, span_str(ASK));
		assert_true(wire_collect(&w));
		wire_pass(&w, 0, w.server);
		if (how == 0) {
			wire_answer(&w);
			assert_true(span_eq_str(buf_view(&p.client.got), "an answer"));
			shutdown(w.server, SHUT_WR);
			run_for(5);
			assert_true(p.server.closed);
			assert_int_equal(p.server.error, 0);
		} else if (how == 1) {
			assert_true(stream_is_early(p.server.s));
			shutdown(w.server, SHUT_WR);
			run_for(5);
			assert_true(p.server.closed);
			assert_int_equal(p.server.error, ERR_CLOSED);
		} else {
			const char garbage[] = "what is no record of anybody";

			assert_int_equal(send(w.server, garbage, sizeof garbage, 0), sizeof garbage);
			run_for(5);
			assert_true(p.server.closed);
			assert_int_equal(p.server.error, ERR_TLS);
		}
		wire_close(&w);
		pair_free(&p);
	}
	tls_config_drop(server);
	tls_config_drop(client);
}

/* --- repetition ------------------------------------------------------------------------------- */

/* FLIGHT to a new connection of SERVER on the loop ON: how many octets it hands up. */
static size_t replay(struct loop *on, struct tls_config *server, struct span flight)
{
	struct end e = { .l = on };
	struct loop_timer *t;
	size_t n;
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	assert_int_equal(send(fd[0], flight.p, flight.n, 0), flight.n);
	assert_int_equal(tls_accept(on, fd[1], server, pair_protocols, &e.s), 0);
	stream_set_handler(e.s, &pair_handler, &e);
	assert_int_equal(loop_timer_create(on, (void (*)(void *))loop_stop, on, &t), 0);
	loop_timer_start(t, 20000);
	loop_run(on);
	loop_timer_free(t);
	n = e.got.n;
	assert_int_equal(e.opened, n > 0);
	end_free(&e);
	close(fd[0]);
	return n;
}

struct elsewhere {
	struct tls_config *server;
	struct span flight;
	size_t got;
};

/* Another worker of the same daemon. */
static void *replay_elsewhere(void *ctx)
{
	struct elsewhere *x = ctx;
	struct loop *own;

	assert_int_equal(loop_create(&own), 0);
	x->got = replay(own, x->server, x->flight);
	loop_free(own);
	return NULL;
}

/* A flight is heard once: by its first receiver, whoever brought it. */
static void test_replay(void **state)
{
	struct tls_config *server = wire_server_config(), *other = wire_server_config();
	struct tls_config *client = wire_client_config();

	(void)state;
	for (int held_back = 0; held_back < 2; held_back++) {
		struct pair p = { .server.say = "y" };
		struct elsewhere x = { .server = server };
		pthread_t thread;
		struct wire w;
		int ends[2];

		wire_get_tickets(server, client);
		wire_ends(&w, ends);
		wire_connect_early(&p, held_back ? NULL : server, client, ends, span_str(ASK));
		assert_true(wire_collect(&w));
		x.flight = buf_view(&w.flights[0]);
		if (held_back) {
			/* It never came to the server: who recorded it brings it first. */
			close(ends[1]);
			assert_int_equal(replay(l, server, x.flight), strlen(ASK));
		} else {
			wire_pass(&w, 0, w.server);
			assert_int_equal(p.server.got.n, strlen(ASK));
		}
		/* To the same worker, another, with other keys, half of it, and again. */
		assert_int_equal(replay(l, server, x.flight), 0);
		assert_int_equal(pthread_create(&thread, NULL, replay_elsewhere, &x), 0);
		pthread_join(thread, NULL);
		assert_int_equal(x.got, 0);
		assert_int_equal(replay(l, other, x.flight), 0);
		assert_int_equal(replay(l, server, span_of(x.flight.p, x.flight.n - 10)), 0);
		assert_int_equal(replay(l, server, x.flight), 0);
		if (!held_back) {
			assert_int_equal(p.server.got.n, strlen(ASK));
			/* None of that disturbs the one whose flight it was. */
			wire_answer(&w);
			assert_true(wire_collect(&w));
			wire_pass(&w, 1, w.server);
			assert_false(stream_is_early(p.server.s));
			assert_false(p.server.closed || p.client.closed);
		}
		wire_close(&w);
		pair_free(&p);
	}
	tls_config_drop(server);
	tls_config_drop(other);
	tls_config_drop(client);
}

/* Another octet anywhere in a hello makes it nobody's. */
static void test_changed_flight(void **state)
{
	struct tls_config *server = wire_server_config(), *client = wire_client_config();
	struct pair p = { 0 };
	struct span flight;
	struct wire w;
	int ends[2];

	(void)state;
	wire_get_tickets(server, client);
	wire_ends(&w, ends);
	wire_connect_early(&p, NULL, client, ends, span_str(ASK));
	close(ends[1]);
	assert_true(wire_collect(&w));
	flight = buf_view(&w.flights[0]);
	for (size_t at = 11; at < 43; at++) { /* the random, by which hellos are told apart */
		uint8_t changed[65536];

		memcpy(changed, flight.p, flight.n);
		changed[at] ^= 1;
		assert_int_equal(replay(l, server, span_of(changed, flight.n)), 0);
	}
	assert_int_equal(replay(l, server, flight), strlen(ASK));
	wire_close(&w);
	pair_free(&p);
	tls_config_drop(server);
	tls_config_drop(client);
}

/* --- tickets on disk ---------------------------------------------------------------------- */

static bool resumes_from(const char *path, const char *ca, struct tls_config *server)
{
	struct tls_config *client = pair_config_early(NULL, ca, false, false, MOST);
	bool was_taken = false;

	tls_config_load_tickets(client, path);
	if (strcmp(ca, "ca.pem") == 0) {
		ask(server, client, &was_taken);
	} else {
		SSL_SESSION *session =
		    tls_sessions_take(client->sessions, "a.example", pair_protocols[0], 0);

		was_taken = session != NULL;
		SSL_SESSION_free(session);
	}
	tls_config_drop(client);
	return was_taken;
}

static void test_tickets_in_a_file(void **state)
{
	struct tls_config *server = pair_config_early("right", "ca.pem", true, false, MOST);
	struct tls_config *client = pair_config_early(NULL, "ca.pem", false, false, MOST);
	char path[256];
	struct stat st;

	(void)state;
	snprintf(path, sizeof path, "%s", certs_path("tickets"));
	assert_false(resumes_from(path, "ca.pem", server));
	assert_int_equal(tls_config_save_tickets(client, path), 0);
	assert_int_equal(stat(path, &st), -1); /* nothing to keep */
	wire_get_tickets(server, client);
	assert_int_equal(tls_config_save_tickets(client, path), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_true(resumes_from(path, "ca.pem", server));
	assert_false(resumes_from(path, "other-ca.pem", server));
	/* Somebody else's eyes may have been on it. */
	assert_int_equal(chmod(path, 0640), 0);
	assert_false(resumes_from(path, "ca.pem", server));
	assert_int_equal(chmod(path, 0600), 0);
	assert_true(resumes_from(path, "ca.pem", server));
	/* All tickets used: the file says so. */
	for (int i = 0; i < 8; i++)
		SSL_SESSION_free(
		    tls_sessions_take(client->sessions, "a.example", pair_protocols[0], 0));
	assert_int_equal(tls_config_save_tickets(client, path), 0);
	assert_false(resumes_from(path, "ca.pem", server));
	assert_int_equal(tls_config_save_tickets(client, "/nowhere/tickets"), 0); /* nothing new */
	wire_get_tickets(server, client);
	assert_int_equal(tls_config_save_tickets(client, "/nowhere/tickets"), ERR_IO);
	tls_config_drop(server);
	tls_config_drop(client);
}

/* A file that was cut off or has other octets gives fewer tickets, or none. */
static void test_damaged_file(void **state)
{
	struct tls_config *server = pair_config_early("right", "ca.pem", true, false, MOST);
	struct tls_config *client = pair_config_early(NULL, "ca.pem", false, false, MOST);
	uint8_t octets[32768];
	char path[256];
	ssize_t n;
	int fd;

	(void)state;
	snprintf(path, sizeof path, "%s", certs_path("tickets"));
	wire_get_tickets(server, client);
	assert_int_equal(tls_config_save_tickets(client, path), 0);
	fd = open(path, O_RDWR);
	n = read(fd, octets, sizeof octets);
	assert_true(n > 100 && n < (ssize_t)sizeof octets);
	for (ssize_t at = 0; at < n; at += at < 120 ? 1 : 37) {
		octets[at] ^= 0x81;
		assert_int_equal(pwrite(fd, octets, (size_t)n, 0), n);
		tls_config_load_tickets(client, path);
		octets[at] ^= 0x81;
		assert_int_equal(ftruncate(fd, at), 0);
		tls_config_load_tickets(client, path);
	}
	close(fd);
	tls_config_drop(server);
	tls_config_drop(client);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, pair_setup, pair_teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_is_taken_when_both_agree),
		CASE(test_several_tickets),
		CASE(test_server_with_other_keys),
		CASE(test_many_octets),
		CASE(test_answer_after_one_flight),
		CASE(test_ends_while_early),
		CASE(test_replay),
		CASE(test_changed_flight),
		CASE(test_tickets_in_a_file),
		CASE(test_damaged_file),
	};

	return cmocka_run_group_tests(tests, pair_group_setup, pair_group_teardown);
}
