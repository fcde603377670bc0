/* Listening: streams handed over, limits, deadlines, lack of descriptors, UNIX sockets. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "net/listen.h"
#include "tempdir.h"
#include "tls_pair.h"

#define HELD_MAX 32

/* What the owner of a listener does: keeps the streams. */
struct host {
	struct listener *listener;
	struct listen_limits *limits;
	struct tls_config *config;
	struct stream *held[HELD_MAX];
	size_t n_held;
};

static struct tls_config *host_tls(void *ctx)
{
	struct host *h = ctx;

	return tls_config_hold(h->config);
}

static void host_accepted(void *ctx, struct stream *stream)
{
	struct host *h = ctx;

	assert_true(h->n_held < HELD_MAX);
	h->held[h->n_held++] = stream;
}

/* Ends the oldest session, as its owner does. */
static void host_end_one(struct host *h)
{
	struct stream_info info;

	assert_true(h->n_held > 0);
	stream_info(h->held[0], &info);
	if (h->limits != NULL)
		listen_limits_drop(h->limits, &info.peer);
	stream_free(h->held[0]);
	memmove(h->held, h->held + 1, --h->n_held * sizeof h->held[0]);
}

static struct listen_options host_options(struct host *h, const char *address)
{
	struct listen_options o = {
		.fd = -1,
		.alpn = pair_protocols,
		.tls = h->config != NULL ? host_tls : NULL,
		.limits = h->limits,
		.accepted = host_accepted,
		.ctx = h,
	};

	assert_int_equal(address_parse(address, &o.address), 0);
	return o;
}

static void host_open(struct host *h, const struct listen_options *o)
{
	struct err_text e;

	if (listener_create(l, o, &h->listener, &e) < 0)
		fail_msg("%s", e.text);
}

static void host_close(struct host *h)
{
	while (h->n_held > 0)
		host_end_one(h);
	listener_free(h->listener);
	if (h->limits != NULL)
		assert_int_equal(listen_limits_count(h->limits), 0);
	listen_limits_free(h->limits);
	tls_config_drop(h->config);
}

/* A connecting socket, from the address FROM (NULL: any). */
static int dial_fd(const struct host *h, const char *from)
{
	struct address to, source;
	int fd;

	listener_address(h->listener, &to);
	fd = socket(to.u.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_true(fd >= 0);
	if (from != NULL) {
		assert_int_equal(address_parse(from, &source), 0);
		assert_int_equal(bind(fd, &source.u.sa, source.n), 0);
	}
	if (connect(fd, &to.u.sa, to.n) < 0)
		assert_int_equal(errno, EINPROGRESS);
	return fd;
}

/* 1 octets wait, 0 the end (or a reset), -1 nothing yet */
static int fd_state(int fd)
{
	char octet;
	ssize_t n = recv(fd, &octet, 1, MSG_PEEK);

	return n < 0 && errno == EAGAIN ? -1 : n > 0;
}

static void wait_held(const struct host *h, size_t n)
{
	for (int ms = 0; ms < 5000 && h->n_held < n; ms++)
		run_for(1);
	assert_int_equal(h->n_held, n);
}

static void wait_end(int fd)
{
	for (int ms = 0; ms < 5000 && fd_state(fd) != 0; ms++)
		run_for(1);
	assert_int_equal(fd_state(fd), 0);
}

/* --- handing over ------------------------------------------------------------------------- */

static void test_tls_connections(void **state)
{
	static const char *const addresses[] = { "127.0.0.1:0", "[::1]:0" };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct host h = { .config = pair_config("right", true, false) };
		struct listen_options o = host_options(&h, addresses[i]);
		struct tls_config *client = pair_config(NULL, false, false);
		struct pair p = { .client.say = "hello" };
		struct stream_info info;
		char text[8];

		host_open(&h, &o);
		p.client.l = l;
		assert_int_equal(tls_connect(l, dial_fd(&h, NULL), client, "a.example",
		                             pair_protocols[1], &p.client.s), 0);
		stream_set_handler(p.client.s, &pair_handler, &p.client);
		wait_held(&h, 1);
		stream_info(h.held[0], &info);
		assert_string_equal(info.alpn, pair_protocols[1]);
		assert_string_equal(info.server_name, "a.example");
		run_for(5);
		assert_int_equal(stream_read(h.held[0], text, sizeof text), 5);
		end_free(&p.client);
		host_close(&h);
		tls_config_drop(client);
	}
}

/* A new configuration is used from the next connection on. */
static void test_configuration_replaced(void **state)
{
	struct host h = { .config = pair_config("right", true, false) };
	struct listen_options o = host_options(&h, "127.0.0.1:0");
	struct tls_config *client = pair_config(NULL, false, false);

	(void)state;
	host_open(&h, &o);
	for (int i = 0; i < 2; i++) {
		struct end e = { .l = l };
		const char *domain = i == 0 ? "a.example" : "x.example";

		assert_int_equal(tls_connect(l, dial_fd(&h, NULL), client, domain,
		                             pair_protocols[0], &e.s), 0);
		stream_set_handler(e.s, &pair_handler, &e);
		wait_held(&h, (size_t)i + 1);
		assert_true(stream_peer_covers(e.s, domain));
		end_free(&e);
		tls_config_drop(h.config);
		h.config = pair_config("many", true, false);
	}
	host_close(&h);
	tls_config_drop(client);
}

static void test_socket_taken_over(void **state)
{
	struct host h = { 0 };
	struct listen_options o = host_options(&h, "127.0.0.1:0");
	struct address a;
	int fd;

	(void)state;
	assert_int_equal(address_parse("127.0.0.1:0", &a), 0);
	o.fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(o.fd, &a.u.sa, a.n), 0);
	assert_int_equal(listen(o.fd, 5), 0);
	host_open(&h, &o);
	listener_address(h.listener, &a);
	assert_true(address_port(&a) > 0);
	fd = dial_fd(&h, NULL);
	wait_held(&h, 1);
	close(fd);
	host_close(&h);
}

/* Several listeners of one process on one port; v4 and v6 wildcards side by side. */
static void test_ports_are_shared(void **state)
{
	struct host a = { 0 }, b = { 0 }, c = { 0 };
	struct listen_options o = host_options(&a, "0.0.0.0:0");
	struct address at;
	int fd[10];

	(void)state;
	host_open(&a, &o);
	listener_address(a.listener, &at);
	o = host_options(&b, "0.0.0.0:0");
	o.address = at;
	host_open(&b, &o);
	o = host_options(&c, "[::]:0");
	address_set_port(&o.address, address_port(&at));
	host_open(&c, &o);
	for (int i = 0; i < 10; i++)
		fd[i] = dial_fd(&a, NULL);
	for (int ms = 0; ms < 5000 && a.n_held + b.n_held < 10; ms++)
		run_for(1);
	assert_int_equal(a.n_held + b.n_held, 10);
	assert_int_equal(c.n_held, 0);
	for (int i = 0; i < 10; i++)
		close(fd[i]);
	host_close(&a);
	host_close(&b);
	host_close(&c);
}

static void test_listen_errors(void **state)
{
	struct host h = { 0 };
	struct listen_options o = host_options(&h, "127.0.0.1:0");
	struct address a = o.address;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct err_text e;
	char text[64];

	(void)state;
	assert_int_equal(bind(fd, &a.u.sa, a.n), 0);
	assert_int_equal(listen(fd, 5), 0);
	assert_int_equal(getsockname(fd, &a.u.sa, &a.n), 0);
	o.address = a;
	assert_int_equal(listener_create(l, &o, &h.listener, &e), ERR_IO);
	assert_non_null(strstr(e.text, address_format(&a, text, sizeof text)));
	assert_non_null(strstr(e.text, "Address already in use"));
	close(fd);
	assert_int_equal(address_parse("192.0.2.1:4401", &o.address), 0);
	assert_int_equal(listener_create(l, &o, &h.listener, &e), ERR_IO);
	assert_string_equal(e.text, "listen on 192.0.2.1:4401: Cannot assign requested address");
	listener_free(NULL);
}

/* --- limits ------------------------------------------------------------------------------- */

static void test_limits_table(void **state)
{
	static const struct {
		const char *peer;
		bool take, works;
		unsigned count;
	} steps[] = {
		{ "192.0.2.1:1", true, true, 1 },
		{ "192.0.2.1:2", true, true, 2 },
		{ "192.0.2.1:3", true, false, 2 }, /* two from one address */
		{ "[::ffff:192.0.2.1]:4", true, false, 2 },
		{ "192.0.2.2:1", true, true, 3 },
		{ "192.0.2.1:9", false, true, 2 }, /* any of its ports */
		{ "192.0.2.1:3", true, true, 3 },
		{ "[2001:db8::1]:1", true, true, 4 },
		{ "[2001:db8::ffff:2]:1", true, true, 5 },
		{ "[2001:db8:0:0:5::]:1", true, false, 5 }, /* one /64 */
		{ "[2001:db8:0:1::]:1", true, true, 6 },
		{ "192.0.2.3:1", true, false, 6 }, /* six in all */
		{ "[2001:db8:0:0:9::]:1", false, true, 5 },
		{ "192.0.2.3:1", true, true, 6 },
	};
	struct listen_limits *x;
	struct address a;

	(void)state;
	assert_int_equal(listen_limits_create(6, 2, &x), 0);
	for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
		assert_int_equal(address_parse(steps[i].peer, &a), 0);
		if (!steps[i].take)
			listen_limits_drop(x, &a);
		else if (listen_limits_take(x, &a) != steps[i].works)
			fail_msg("step %zu", i);
		assert_int_equal(listen_limits_count(x), steps[i].count);
	}
	listen_limits_free(x);

	/* No limits; UNIX peers in all only; many addresses come and go. */
	assert_int_equal(listen_limits_create(3, 1, &x), 0);
	memset(&a, 0, sizeof a);
	a.u.sa.sa_family = AF_UNIX;
	for (int i = 0; i < 4; i++)
		assert_int_equal(listen_limits_take(x, &a), i < 3);
	listen_limits_free(x);
	assert_int_equal(listen_limits_create(0, 0, &x), 0);
	for (uint32_t round = 0; round < 2; round++)
		for (uint32_t i = 0; i < 20000; i++) {
			uint32_t octets = htonl(i);

			assert_int_equal(address_from_octets(&octets, 4, 1, &a), 0);
			if (round == 0)
				assert_true(listen_limits_take(x, &a));
			else
				listen_limits_drop(x, &a);
		}
	assert_int_equal(listen_limits_count(x), 0);
	listen_limits_free(x);
	listen_limits_free(NULL);
}

static void test_connections_over_the_limits(void **state)
{
	struct host h = { 0 };
	struct listen_options o;
	int fd[6];

	(void)state;
	assert_int_equal(listen_limits_create(5, 3, &h.limits), 0);
	o = host_options(&h, "127.0.0.1:0");
	host_open(&h, &o);
	for (int i = 0; i < 4; i++)
		fd[i] = dial_fd(&h, "127.0.0.1:0");
	wait_end(fd[3]); /* closed at once, without a word */
	wait_held(&h, 3);
	fd[4] = dial_fd(&h, "127.0.0.2:0");
	wait_held(&h, 4);
	for (int i = 0; i < 3; i++)
		assert_int_equal(fd_state(fd[i]), -1);
	host_end_one(&h);
	fd[5] = dial_fd(&h, "127.0.0.1:0");
	wait_held(&h, 4);
	assert_int_equal(listen_limits_count(h.limits), 4);
	for (int i = 0; i < 6; i++)
		close(fd[i]);
	host_close(&h);
}

/* --- handshakes that do not end ------------------------------------------------------------ */

static void test_handshake_deadline(void **state)
{
	struct host h = { .config = pair_config("right", true, false) };
	struct listen_options o;
	int fd[3];

	(void)state;
	assert_int_equal(listen_limits_create(2, 0, &h.limits), 0);
	o = host_options(&h, "127.0.0.1:0");
	o.handshake_us = 60000;
	host_open(&h, &o);
	fd[0] = dial_fd(&h, NULL);
	run_for(20);
	fd[1] = dial_fd(&h, NULL);
	run_for(10);
	/* Half-open connections count too. */
	assert_int_equal(listen_limits_count(h.limits), 2);
	fd[2] = dial_fd(&h, NULL);
	wait_end(fd[2]);
	wait_end(fd[0]);
	wait_end(fd[1]);
	assert_int_equal(listen_limits_count(h.limits), 0);
	assert_int_equal(h.n_held, 0);
	for (int i = 0; i < 3; i++)
		close(fd[i]);
	host_close(&h);
}

static void test_handshake_broken_off(void **state)
{
	struct host h = { .config = pair_config("right", true, false) };
	struct listen_options o;
	int fd[2];

	(void)state;
	assert_int_equal(listen_limits_create(5, 0, &h.limits), 0);
	o = host_options(&h, "127.0.0.1:0");
	host_open(&h, &o);
	fd[0] = dial_fd(&h, NULL);
	fd[1] = dial_fd(&h, NULL);
	run_for(10);
	assert_int_equal(listen_limits_count(h.limits), 2);
	close(fd[0]);
	assert_int_equal(send(fd[1], "EHLO x\r\n", 8, 0), 8);
	for (int ms = 0; ms < 5000 && listen_limits_count(h.limits) > 0; ms++)
		run_for(1);
	assert_int_equal(listen_limits_count(h.limits), 0);
	close(fd[1]);
	/* And freed while one is under way. */
	fd[0] = dial_fd(&h, NULL);
	run_for(10);
	assert_int_equal(listen_limits_count(h.limits), 1);
	host_close(&h);
	close(fd[0]);
}

/* --- lack of descriptors ------------------------------------------------------------------ */

static void test_out_of_descriptors(void **state)
{
	struct host h = { 0 };
	struct listen_options o = host_options(&h, "127.0.0.1:0");
	struct rlimit before, low;
	struct address to;
	int fd[4], probe, ended = 0;

	(void)state;
	host_open(&h, &o);
	run_for(1); /* whatever libuv opens when it first runs */
	listener_address(h.listener, &to);
	for (int i = 0; i < 4; i++)
		fd[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	probe = dup(fd[0]);
	close(probe);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	low = before;
	low.rlim_cur = (rlim_t)probe;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	for (int i = 0; i < 4; i++)
		connect(fd[i], &to.u.sa, to.n);
	run_for(20);
	/* One was dropped, so that its client knows; the others wait for better times. */
	for (int i = 0; i < 4; i++)
		ended += fd_state(fd[i]) == 0;
	assert_int_equal(ended, 1);
	assert_int_equal(h.n_held, 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	wait_held(&h, 3);
	for (int i = 0; i < 4; i++)
		close(fd[i]);
	host_close(&h);
}

/* --- UNIX sockets ------------------------------------------------------------------------- */

static int dial_unix(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	assert_int_equal(span_copy(span_str(path), a.sun_path, sizeof a.sun_path), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
	return fd;
}

static void test_unix_socket(void **state)
{
	struct host h = { .config = pair_config("right", true, false) };
	struct listen_options o = host_options(&h, "127.0.0.1:0");
	char *dir = tempdir_make();
	struct listener *second;
	struct stream_info info;
	struct err_text e;
	char path[100], text[64];
	struct address a;
	struct stat st;
	int fd;

	(void)state;
	snprintf(path, sizeof path, "%s/socket", dir);
	o.unix_path = path;
	host_open(&h, &o);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
	listener_address(h.listener, &a);
	assert_string_equal(address_format(&a, text, sizeof text), "unix");
	fd = dial_unix(path);
	wait_held(&h, 1);
	/* Plain, whatever the TLS configuration. */
	stream_info(h.held[0], &info);
	assert_true(info.local);
	assert_false(info.tls);
	assert_int_equal(info.uid, getuid());
	close(fd);
	/* It is in use: nobody takes it away. */
	assert_int_equal(listener_create(l, &o, &second, &e), ERR_IO);
	assert_non_null(strstr(e.text, "another process listens there"));
	fd = dial_unix(path);
	wait_held(&h, 3); /* the question whether somebody listens was a connection too */
	close(fd);
	host_close(&h);
	assert_int_equal(stat(path, &st), -1);
	tempdir_remove(dir);
}

static void test_unix_socket_left_behind(void **state)
{
	struct host h = { 0 };
	struct listen_options o = host_options(&h, "127.0.0.1:0");
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	char *dir = tempdir_make();
	char path[100], longer[200];
	struct err_text e;
	struct stat st;
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	FILE *f;

	(void)state;
	snprintf(path, sizeof path, "%s/socket", dir);
	o.unix_path = path;
	assert_int_equal(span_copy(span_str(path), a.sun_path, sizeof a.sun_path), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	close(fd);
	host_open(&h, &o);
	fd = dial_unix(path);
	wait_held(&h, 1);
	close(fd);
	/* What stands there in the end is not the listener's own: it stays. */
	unlink(path);
	f = fopen(path, "w");
	fclose(f);
	host_close(&h);
	assert_int_equal(stat(path, &st), 0);
	/* And a plain file is never taken for a socket. */
	assert_int_equal(listener_create(l, &o, &h.listener, &e), ERR_IO);
	assert_non_null(strstr(e.text, "Address already in use"));
	assert_int_equal(stat(path, &st), 0);
	snprintf(longer, sizeof longer, "%s/%0120d", dir, 0);
	o.unix_path = longer;
	assert_int_equal(listener_create(l, &o, &h.listener, &e), ERR_IO);
	assert_non_null(strstr(e.text, "at most 107 octets"));
	tempdir_remove(dir);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, pair_setup, pair_teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_tls_connections),
		CASE(test_configuration_replaced),
		CASE(test_socket_taken_over),
		CASE(test_ports_are_shared),
		CASE(test_listen_errors),
		CASE(test_limits_table),
		CASE(test_connections_over_the_limits),
		CASE(test_handshake_deadline),
		CASE(test_handshake_broken_off),
		CASE(test_out_of_descriptors),
		CASE(test_unix_socket),
		CASE(test_unix_socket_left_behind),
	};

	return cmocka_run_group_tests(tests, pair_group_setup, pair_group_teardown);
}
