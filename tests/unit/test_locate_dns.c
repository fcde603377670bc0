/*
 * Locating and dialling by a real DNS server: nsd with zones of its own on a
 * free port of loopback, started and ended by this program.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "net/dial.h"
#include "net/listen.h"
#include "tempdir.h"
#include "tls_pair.h"

/* --- the server --------------------------------------------------------------------------- */

static struct {
	pid_t pid;
	unsigned port;
	char *dir;
	char server[32]; /* "127.0.0.1:port" */
} nsd;

static const char zone[] =
	"$ORIGIN example.\n"
	"$TTL 300\n"
	"@ SOA ns hostmaster 1 3600 600 86400 60\n"
	"@ NS ns\n"
	"ns A 127.0.0.1\n"
	"_im2000-msoap._tcp.a SRV 20 0 4402 two.a\n"
	"_im2000-msoap._tcp.a SRV 10 0 4401 one.a\n"
	"one.a A 127.0.0.1\n"
	"one.a A 127.0.0.3\n"
	"one.a AAAA ::1\n"
	"two.a A 127.0.0.2\n"
	"two.a AAAA ::2\n"
	"_im2000-msoap._tcp.w SRV 5 75 1 one.a\n"
	"_im2000-msoap._tcp.w SRV 5 25 2 one.a\n"
	"_im2000-msrap._tcp.dot SRV 0 0 0 .\n"
	"_im2000-rnasp._tcp.dot SRV 0 0 0 .\n"
	"_im2000-rnasp._tcp.dot SRV 1 0 4403 two.a\n"
	"plain A 127.0.0.1\n"
	"_im2000-rnasp._tcp.deep SRV 0 0 4403 two.a\n"
	"_im2000-rnasp._tcp.empty TXT \"no SRV here\"\n"
	"_im2000-rnasp._tcp.alias CNAME _im2000-msoap._tcp.a\n"
	"_im2000-rnasp._tcp.dangling CNAME nothing.example.\n"
	"_im2000-msoap._tcp.host SRV 0 0 4401 www.host\n"
	"www.host CNAME two.a\n"
	"_im2000-rnasp._tcp.six SRV 0 0 4403 only.six\n"
	"only.six AAAA ::1\n"
	"_im2000-rnasp._tcp.zero SRV 0 0 0 one.a\n"
	"_im2000-rnasp._tcp.zero SRV 1 0 4403 two.a\n"
	"_im2000-msoap._tcp.zero SRV 0 0 0 one.a\n"
	"_im2000-rnasp._tcp.lost SRV 0 0 4403 nowhere.lost\n"
	"_im2000-rnasp._tcp.lost SRV 1 0 4403 two.a\n"
	"_im2000-msoap._tcp.lost SRV 0 0 4403 nowhere.lost\n"
	"_im2000-rnasp._tcp.short 1 SRV 0 0 4403 two.a\n"
	"_im2000-rnasp._tcp.long 604800 SRV 0 0 4403 only.long\n"
	"only.long 604800 A 127.0.0.2\n"
	"private A 10.0.0.1\n"
	"_im2000-msoap._tcp.inside SRV 0 0 4401 private\n";

static void write_text(const char *file, const char *format, ...)
{
	char path[256];
	va_list ap;
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", nsd.dir, file);
	f = fopen(path, "w");
	assert_non_null(f);
	va_start(ap, format);
	vfprintf(f, format, ap);
	va_end(ap);
	assert_int_equal(fclose(f), 0);
}

static void append_text(const char *file, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", nsd.dir, file);
	f = fopen(path, "a");
	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

/* A port that is free for UDP and TCP now. */
static unsigned free_port(void)
{
	for (int tries = 0; tries < 100; tries++) {
		struct sockaddr_in a = { .sin_family = AF_INET,
			                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
		socklen_t n = sizeof a;
		int udp = socket(AF_INET, SOCK_DGRAM, 0), tcp = socket(AF_INET, SOCK_STREAM, 0);
		bool both = bind(udp, (struct sockaddr *)&a, n) == 0
		            && getsockname(udp, (struct sockaddr *)&a, &n) == 0
		            && bind(tcp, (struct sockaddr *)&a, n) == 0;

		close(udp);
		close(tcp);
		if (both)
			return ntohs(a.sin_port);
	}
	fail_msg("no free port");
	return 0;
}

/* Whether nsd answers: the SOA of "example". */
static bool answers(void)
{
	static const uint8_t question[] = "\x12\x34\0\0\0\1\0\0\0\0\0\0\7example\0\0\6\0\1";
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)nsd.port),
		                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	struct timeval wait = { .tv_usec = 50000 };
	uint8_t answer[512];
	ssize_t n;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
	connect(fd, (struct sockaddr *)&a, sizeof a);
	send(fd, question, sizeof question - 1, 0);
	n = recv(fd, answer, sizeof answer, 0);
	close(fd);
	return n > 12 && (answer[3] & 15) == 0 && answer[7] > 0;
}

static void nsd_start(void)
{
	char config[256];
	const struct timespec pause = { .tv_nsec = 20000000 };

	snprintf(config, sizeof config, "%s/nsd.conf", nsd.dir);
	nsd.pid = fork();
	assert_true(nsd.pid >= 0);
	if (nsd.pid == 0) {
		int null = open("/dev/null", O_RDWR);

		dup2(null, 0);
		dup2(null, 1);
		dup2(null, 2);
		/* Its own group: nsd has children. */
		setpgid(0, 0);
		prctl(PR_SET_PDEATHSIG, SIGTERM); /* should this program end without nsd_stop */
		setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
		execlp("nsd", "nsd", "-d", "-c", config, (char *)NULL);
		_exit(127);
	}
	setpgid(nsd.pid, nsd.pid);
	for (int i = 0; i < 500; i++) {
		int status;

		if (answers())
			return;
		if (waitpid(nsd.pid, &status, WNOHANG) == nsd.pid) {
			nsd.pid = 0;
			fail_msg("nsd ended with status %d (Debian package nsd; its log: %s/log)",
			         WEXITSTATUS(status), nsd.dir);
		}
		nanosleep(&pause, NULL);
	}
	fail_msg("nsd does not answer (its log: %s/log)", nsd.dir);
}

static void nsd_stop(void)
{
	if (nsd.pid <= 0)
		return;
	kill(-nsd.pid, SIGTERM);
	waitpid(nsd.pid, NULL, 0);
	nsd.pid = 0;
}

static int group_setup(void **state)
{
	pair_group_setup(state);
	nsd.dir = tempdir_make();
	nsd.port = free_port();
	snprintf(nsd.server, sizeof nsd.server, "127.0.0.1:%u", nsd.port);
	write_text("example.zone", "%s", zone);
	write_text("nsd.conf",
	           "server:\n"
	           " server-count: 1\n ip-address: 127.0.0.1\n port: %u\n username: \"\"\n"
	           " zonesdir: \"%s\"\n database: \"\"\n logfile: \"%s/log\"\n"
	           " pidfile: \"%s/pid\"\n xfrdfile: \"%s/xfrd\"\n zonelistfile: \"%s/list\"\n"
	           " xfrdir: \"%s\"\n verbosity: 1\n refuse-any: no\n"
	           "remote-control:\n control-enable: no\n"
	           "zone:\n name: example\n zonefile: example.zone\n"
	           "zone:\n name: broken\n zonefile: absent.zone\n",
	           nsd.port, nsd.dir, nsd.dir, nsd.dir, nsd.dir, nsd.dir, nsd.dir);
	/* Over 512 octets, and over what is taken. */
	for (int i = 0; i < 40; i++) {
		char line[128];

		snprintf(line, sizeof line, "_im2000-msoap._tcp.crowd SRV %d 0 %d two.a\n", i,
		         1000 + i);
		append_text("example.zone", line);
	}
	nsd_start();
	return 0;
}

static int group_teardown(void **state)
{
	nsd_stop();
	tempdir_remove(nsd.dir);
	return pair_group_teardown(state);
}

/* --- looking up --------------------------------------------------------------------------- */

static struct locator *locator;
static uint64_t ahead_us;

static uint64_t mono_ahead(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * CLOCK_SECOND_US + (uint64_t)t.tv_nsec / 1000 + ahead_us;
}

static void open_locator(const char *server, unsigned timeout_ms)
{
	struct locate_options o = { .servers = &server, .n_servers = 1, .timeout_ms = timeout_ms };
	struct err_text e;

	if (locator_create(l, &o, &locator, &e) < 0)
		fail_msg("%s", e.text);
}

static int setup(void **state)
{
	int rc = pair_setup(state);

	ahead_us = 0;
	clock_set_source(NULL, mono_ahead);
	open_locator(nsd.server, 0);
	return rc;
}

static int teardown(void **state)
{
	locator_free(locator);
	locator = NULL;
	return pair_teardown(state);
}

struct found {
	int calls, error;
	char why[512];
	char list[2048]; /* "target address target address ..." */
	unsigned first_port;
};

static void on_found(void *ctx, int error, const struct located *list, size_t n, const char *why)
{
	struct found *f = ctx;
	size_t at = 0;

	f->calls++;
	f->error = error;
	snprintf(f->why, sizeof f->why, "%s", why);
	assert_true(error == 0 ? n > 0 : n == 0);
	f->first_port = n > 0 ? address_port(&list[0].address) : 0;
	for (size_t i = 0; i < n; i++) {
		char text[64];

		assert_false(list[i].pinned);
		at += (size_t)snprintf(f->list + at, sizeof f->list - at, "%s%s %s",
		                       i > 0 ? " " : "", list[i].target,
		                       address_format(&list[i].address, text, sizeof text));
		assert_true(at < sizeof f->list);
	}
	loop_stop(l);
}

static void look_up(const char *domain, enum locate_service service, struct found *f)
{
	memset(f, 0, sizeof *f);
	assert_non_null(locate_start(locator, domain, service, on_found, f));
	assert_int_equal(f->calls, 0);
	while (f->calls == 0)
		loop_run(l);
	assert_int_equal(f->calls, 1);
}

static void test_answers(void **state)
{
	static const struct {
		const char *domain;
		enum locate_service service;
		int error;
		const char *say; /* the list, or part of why */
	} cases[] = {
		{ "a.example", LOCATE_MSOAP, 0,
		  "one.a.example [::1]:4401 one.a.example 127.0.0.1:4401 "
		  "one.a.example 127.0.0.3:4401 two.a.example [::2]:4402 "
		  "two.a.example 127.0.0.2:4402" },
		{ "alias.example", LOCATE_RNASP, 0,
		  "one.a.example [::1]:4401 one.a.example 127.0.0.1:4401 "
		  "one.a.example 127.0.0.3:4401 two.a.example [::2]:4402 "
		  "two.a.example 127.0.0.2:4402" },
		{ "host.example", LOCATE_MSOAP, 0,
		  "www.host.example [::2]:4401 www.host.example 127.0.0.2:4401" },
		{ "six.example", LOCATE_RNASP, 0, "only.six.example [::1]:4403" },
		{ "deep.example", LOCATE_RNASP, 0,
		  "two.a.example [::2]:4403 two.a.example 127.0.0.2:4403" },
		/* Not every record can be used. */
		{ "dot.example", LOCATE_RNASP, 0,
		  "two.a.example [::2]:4403 two.a.example 127.0.0.2:4403" },
		{ "zero.example", LOCATE_RNASP, 0,
		  "two.a.example [::2]:4403 two.a.example 127.0.0.2:4403" },
		{ "lost.example", LOCATE_RNASP, 0,
		  "two.a.example [::2]:4403 two.a.example 127.0.0.2:4403" },
		{ "zero.example", LOCATE_MSOAP, ERR_NO_SERVER,
		  "zero.example msoap: DNS names no server that could be used" },
		{ "lost.example", LOCATE_MSOAP, ERR_NO_SERVER,
		  "lost.example msoap: no address of nowhere.lost.example could be found" },
		/* Permanently absent. */
		{ "dot.example", LOCATE_MSRAP, ERR_NO_SERVICE,
		  "dot.example says in DNS that it does not offer msrap" },
		{ "plain.example", LOCATE_RNASP, ERR_NO_SERVICE,
		  "plain.example does not offer rnasp (DNS has no _im2000-rnasp._tcp.plain.example)" },
		{ "deep.example", LOCATE_RNAQP, ERR_NO_SERVICE, "does not offer rnaqp" },
		{ "dangling.example", LOCATE_RNASP, ERR_NO_SERVICE, "does not offer rnasp" },
		{ "missing.example", LOCATE_RNASP, ERR_NO_DOMAIN, "missing.example: no such domain" },
		{ "deep.missing.example", LOCATE_MSOAP, ERR_NO_DOMAIN, "no such domain" },
		/* For now. */
		{ "empty.example", LOCATE_RNASP, ERR_NO_SERVER,
		  "empty.example rnasp: DNS gives an empty answer" },
		{ "x.broken", LOCATE_RNASP, ERR_NO_SERVER, "x.broken rnasp: DNS: " }, /* SERVFAIL */
		{ "b.elsewhere", LOCATE_RNASP, ERR_NO_SERVER, "b.elsewhere rnasp: DNS: " }, /* REFUSED */
	};

	(void)state;
	for (int again = 0; again < 2; again++) /* from DNS, then as it is remembered */
		for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
			struct found f;

			look_up(cases[i].domain, cases[i].service, &f);
			if (f.error != cases[i].error)
				fail_msg("%s: %d %s", cases[i].domain, f.error, f.why);
			if (f.error == 0)
				assert_string_equal(f.list, cases[i].say);
			else if (strstr(f.why, cases[i].say) == NULL)
				fail_msg("%s: %s", cases[i].domain, f.why);
		}
}

/* The lot is drawn for each who asks, not for each answer of DNS. */
static void test_weights(void **state)
{
	unsigned first[3] = { 0 };

	(void)state;
	for (int i = 0; i < 2000; i++) {
		struct found f;

		look_up("w.example", LOCATE_MSOAP, &f);
		assert_true(f.first_port == 1 || f.first_port == 2);
		first[f.first_port]++;
	}
	/* 76 of 101; ten standard deviations. */
	assert_true(first[1] > 1500 - 200 && first[1] < 1500 + 200);
}

/* An answer over the size of a datagram; sixteen targets are enough for anyone. */
static void test_many_records(void **state)
{
	struct found f;

	(void)state;
	look_up("crowd.example", LOCATE_MSOAP, &f);
	assert_int_equal(f.error, 0);
	assert_int_equal(f.first_port, 1000);
	assert_non_null(strstr(f.list, "127.0.0.2:1015"));
	assert_null(strstr(f.list, ":1016"));
}

/* --- remembering -------------------------------------------------------------------------- */

/* With the server gone, what still comes was remembered. */
static void test_answers_are_kept_for_their_ttl(void **state)
{
	static const struct {
		const char *domain;
		uint64_t ttl_s;
	} cases[] = {
		{ "short.example", 1 },
		{ "deep.example", 300 },
		{ "long.example", 3600 }, /* says a week: an hour is the most */
	};
	struct found f;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		look_up(cases[i].domain, LOCATE_RNASP, &f);
		assert_int_equal(f.error, 0);
	}
	nsd_stop();
	for (size_t i = 0; i < 3; i++) {
		if (cases[i].ttl_s > 1) {
			ahead_us = (cases[i].ttl_s - 5) * CLOCK_SECOND_US;
			look_up(cases[i].domain, LOCATE_RNASP, &f);
			assert_int_equal(f.error, 0);
		}
		ahead_us = (cases[i].ttl_s + 5) * CLOCK_SECOND_US;
		look_up(cases[i].domain, LOCATE_RNASP, &f);
		assert_int_equal(f.error, ERR_NO_SERVER);
	}
	nsd_start();
	/* The failure is believed for half a minute, then asked again. */
	ahead_us += 20 * CLOCK_SECOND_US;
	look_up("long.example", LOCATE_RNASP, &f);
	assert_int_equal(f.error, ERR_NO_SERVER);
	ahead_us += 11 * CLOCK_SECOND_US;
	look_up("long.example", LOCATE_RNASP, &f);
	assert_int_equal(f.error, 0);
}

/* --- silence ------------------------------------------------------------------------------ */

static int silent_server(char text[32])
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof a;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
	snprintf(text, 32, "127.0.0.1:%u", ntohs(a.sin_port));
	return fd;
}

static unsigned questions(int fd)
{
	char octets[512];
	unsigned n = 0;

	while (recv(fd, octets, sizeof octets, 0) > 0)
		n++;
	return n;
}

static void test_no_answer(void **state)
{
	struct found f[50] = { 0 };
	char server[32];
	int fd = silent_server(server);
	int calls = 0;

	(void)state;
	locator_free(locator);
	open_locator(server, 100);
	/* All who ask the same wait for one question. */
	for (int i = 0; i < 50; i++)
		assert_non_null(locate_start(locator, "a.example", LOCATE_MSOAP, on_found, &f[i]));
	run_for(30);
	assert_int_equal(questions(fd), 1);
	while (calls < 50) {
		calls = 0;
		for (int i = 0; i < 50; i++)
			calls += f[i].calls;
		if (calls < 50)
			loop_run(l);
	}
	for (int i = 0; i < 50; i++) {
		assert_int_equal(f[i].calls, 1);
		assert_int_equal(f[i].error, ERR_NO_SERVER);
		assert_non_null(strstr(f[i].why, "a.example msoap: DNS: "));
	}
	assert_int_equal(questions(fd), 2); /* tried three times in all */
	close(fd);
}

static void free_locator(void *ctx, int error, const struct located *list, size_t n,
                         const char *why)
{
	(void)ctx;
	(void)error;
	(void)list;
	(void)n;
	(void)why;
	locator_free(locator);
	locator = NULL;
	loop_stop(l);
}

static void test_freed_while_asking(void **state)
{
	struct found f = { 0 };
	char server[32];
	int fd = silent_server(server);

	(void)state;
	locator_free(locator);
	open_locator(server, 100);
	locate_start(locator, "a.example", LOCATE_MSOAP, on_found, &f);
	run_for(10);
	locator_free(locator);
	run_for(10);
	assert_int_equal(f.calls, 0);
	close(fd);

	/* And from inside an answer, with others waiting. */
	open_locator(nsd.server, 0);
	locate_start(locator, "a.example", LOCATE_MSOAP, free_locator, NULL);
	locate_start(locator, "a.example", LOCATE_MSOAP, free_locator, NULL);
	locate_start(locator, "b.example", LOCATE_MSOAP, on_found, &f);
	loop_run(l);
	run_for(10);
	assert_null(locator);
	assert_int_equal(f.calls, 0);
}

/* --- dialling ----------------------------------------------------------------------------- */

static struct {
	int error;
	char why[512];
	struct end end;
	struct end session;
	struct tls_config *config;
} dialled;

static struct tls_config *server_tls(void *ctx)
{
	(void)ctx;
	return tls_config_hold(dialled.config);
}

static void on_accepted(void *ctx, struct stream *stream)
{
	(void)ctx;
	dialled.session = (struct end){ .l = l, .s = stream, .opened = true };
	stream_set_handler(stream, &pair_handler, &dialled.session);
}

static void on_dialled(void *ctx, int error, struct stream *stream, const char *why)
{
	(void)ctx;
	dialled.error = error;
	snprintf(dialled.why, sizeof dialled.why, "%s", why);
	if (error == 0) {
		dialled.end = (struct end){ .l = l, .s = stream, .opened = true };
		stream_set_handler(stream, &pair_handler, &dialled.end);
	}
	loop_stop(l);
}

static void dial(const char *domain, enum locate_service service, struct tls_config *client,
                 bool allow_private)
{
	struct dial_options o = { .locator = locator, .tls = client,
		                  .allow_private = allow_private };

	assert_non_null(dial_start(l, domain, service, &o, on_dialled, NULL));
	loop_run(l);
}

/* The first server by priority is down: the second is reached, under the domain's name. */
static void test_dial_with_the_first_server_down(void **state)
{
	struct listen_options lo = { .fd = -1, .alpn = pair_protocols, .tls = server_tls,
		                     .accepted = on_accepted };
	struct tls_config *client = pair_config(NULL, false, false);
	struct listener *listener;
	struct address a;
	struct stream_info info;
	char text[256];
	unsigned dead = free_port();

	(void)state;
	memset(&dialled, 0, sizeof dialled);
	dialled.config = pair_config("right", true, false);
	assert_int_equal(address_parse("127.0.0.2:0", &lo.address), 0);
	assert_int_equal(listener_create(l, &lo, &listener, NULL), 0);
	listener_address(listener, &a);
	nsd_stop();
	snprintf(text, sizeof text, "_im2000-msrap._tcp.a SRV 1 0 %u one.a\n"
	         "_im2000-msrap._tcp.a SRV 2 0 %u one.a\n_im2000-msrap._tcp.a SRV 3 0 %u two.a\n",
	         dead, dead, address_port(&a));
	append_text("example.zone", text);
	nsd_start();

	dial("a.example", LOCATE_MSRAP, client, true);
	if (dialled.error != 0)
		fail_msg("%s", dialled.why);
	stream_info(dialled.end.s, &info);
	assert_string_equal(info.alpn, "im2000-msrap/1");
	assert_true(stream_peer_covers(dialled.end.s, "a.example"));
	assert_int_equal(stream_write(dialled.end.s, "hello", 5), 5);
	for (int ms = 0; ms < 5000 && dialled.session.s == NULL; ms++)
		run_for(1);
	end_run_until(&dialled.session, 5);
	end_free(&dialled.end);
	end_free(&dialled.session);

	/* Unless it is allowed, no name of DNS leads to a private address. */
	dial("a.example", LOCATE_MSRAP, client, false);
	assert_int_equal(dialled.error, ERR_DENIED);
	assert_non_null(strstr(dialled.why, "private address [::1]:"));
	dial("inside.example", LOCATE_MSOAP, client, false);
	assert_int_equal(dialled.error, ERR_DENIED);
	assert_non_null(strstr(dialled.why, "private address 10.0.0.1:4401"));

	/* And what the locator says is handed on. */
	dial("missing.example", LOCATE_MSOAP, client, true);
	assert_int_equal(dialled.error, ERR_NO_DOMAIN);
	assert_string_equal(dialled.why, "missing.example: no such domain");
	listener_free(listener);
	tls_config_drop(dialled.config);
	tls_config_drop(client);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_answers),
		CASE(test_weights),
		CASE(test_many_records),
		CASE(test_answers_are_kept_for_their_ttl),
		CASE(test_no_answer),
		CASE(test_freed_while_asking),
		CASE(test_dial_with_the_first_server_down),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
