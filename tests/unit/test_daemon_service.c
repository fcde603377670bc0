/*
 * A daemon and what runs it: metrics by HTTP, sockets that a service manager
 * hands over, and what it is told.
 * builds: plain asan tsan
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "certs.h"
#include "daemon_fixture.h"
#include "session_toy.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* --- metrics ----------------------------------------------------------------------------- */

/* A connection to the address that WORD= in the ready line says. */
static int dial(const struct fixture *f, const char *word)
{
	const char *at = strstr(f->ready, word);
	struct address a;
	char text[128];
	int fd;

	assert_non_null(at);
	assert_int_equal(sscanf(at + strlen(word), "%127s", text), 1);
	if (strncmp(text, "unix:", 5) == 0) {
		struct sockaddr_un *un = (struct sockaddr_un *)&a.u;

		memset(un, 0, sizeof *un);
		un->sun_family = AF_UNIX;
		snprintf(un->sun_path, sizeof un->sun_path, "%.107s", text + 5);
		a.n = sizeof *un;
	} else {
		assert_int_equal(address_parse(text, &a), 0);
	}
	fd = socket(a.u.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(connect(fd, &a.u.sa, a.n), 0);
	return fd;
}

/* All that comes after REQUEST. */
static const char *ask(int fd, const char *request)
{
	static char got[1 << 17];
	size_t n = 0;
	ssize_t r;

	assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
	while (n < sizeof got - 1 && (r = read(fd, got + n, sizeof got - 1 - n)) > 0)
		n += (size_t)r;
	got[n] = '\0';
	close(fd);
	return got;
}

static void has(const char *text, const char *line)
{
	char with_newline[300];

	snprintf(with_newline, sizeof with_newline, "\n%s\n", line);
	if (strstr(text, with_newline) == NULL)
		fail_msg("no line \"%s\" in:\n%s", line, text);
}

static void measure(void *ctx, struct metrics *m)
{
	struct app *app = ctx;

	metrics_one(m, METRICS_COUNTER, "test_reloads_total", "Reloads.", app->reloads);
}

static void test_metrics(void **state)
{
	static const char request[] = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
	char unix_text[160];
	struct fixture f;
	struct link k, second;
	const char *got;

	(void)state;
	for (int local = 0; local < 2; local++) {
		daemon_setup(&f);
		snprintf(unix_text, sizeof unix_text, "unix:%s/metrics", f.dir);
		f.options.metrics = local ? unix_text : "127.0.0.1:0";
		f.options.measure = measure;
		f.options.max_per_address = 2;
		daemon_start(&f);
		assert_true(daemon_dial(&f, &k, "im2000-alpha/1", "first.example"));
		assert_true(daemon_dial(&f, &second, "im2000-alpha/1", "first.example"));
		daemon_say(&k, 'e', "0123456789");
		daemon_hear(&k);
		daemon_say(&k, 'x', "");
		daemon_hear(&k);
		daemon_hang_up(&k);
		daemon_dial_local(&f, &k); /* and one that stays */
		daemon_say(&k, 'e', "");
		daemon_hear(&k);

		got = ask(dial(&f, " metrics="), request);
		assert_memory_equal(got, "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; "
		                    "charset=utf-8\r\nContent-Length: ", 85);
		has(got, "# TYPE im2000_sessions_total counter");
		has(got, "im2000_sessions_total{protocol=\"alpha\"} 2");
		has(got, "im2000_sessions_total{protocol=\"beta\"} 0");
		has(got, "im2000_sessions_total{protocol=\"local\"} 1");
		has(got, "im2000_sessions{protocol=\"local\"} 1");
		has(got, "im2000_octets_total{protocol=\"alpha\",direction=\"in\"} 22");
		has(got, "im2000_octets_total{protocol=\"local\",direction=\"in\"} 6");
		has(got, "im2000_octets_total{protocol=\"local\",direction=\"out\"} 6");
		/* The toy's commands have no kind, and only its errors are responses of the wire's. */
		has(got, "im2000_commands_total{protocol=\"alpha\",kind=\"\",status=\"tryLater\"} 1");
		has(got, "im2000_connections_total 3");
		has(got, "im2000_connections_refused_total{limit=\"sessions\"} 0");
		has(got, "im2000_connections_limit 1000");
		has(got, "im2000_reloads_total{result=\"done\"} 0");
		has(got, "im2000_workers 2");
		has(got, "test_reloads_total 0");
		assert_non_null(strstr(got, "\nprocess_resident_memory_bytes "));
		assert_non_null(strstr(got, "\nim2000_certificate_expires_timestamp_seconds "));
		daemon_hang_up(&k);
		daemon_hang_up(&second);
		daemon_stop(&f);
		daemon_teardown(&f);
	}
}

static void test_refusals_are_counted(void **state)
{
	static const char request[] = "GET /metrics HTTP/1.0\n\n";
	struct fixture f;
	struct link k[2], more;
	const char *got;
	int fd;

	(void)state;
	daemon_setup(&f);
	f.options.metrics = "[::1]:0";
	f.options.max_per_address = 2;
	daemon_start(&f);
	for (int i = 0; i < 2; i++)
		assert_true(daemon_dial(&f, &k[i], "im2000-alpha/1", "first.example"));
	assert_false(daemon_dial(&f, &more, "im2000-alpha/1", "first.example"));
	daemon_hang_up(&k[1]);
	/* Then there is room for one without a handshake. */
	for (int tries = 0;; tries++) {
		char octet;

		fd = dial(&f, "alpha=");
		assert_int_equal(send(fd, "nonsense, at some length\r\n\r\n", 28, MSG_NOSIGNAL), 28);
		while (read(fd, &octet, 1) > 0)
			;
		close(fd);
		got = ask(dial(&f, " metrics="), request);
		if (strstr(got, "\nim2000_handshakes_failed_total 0\n") == NULL)
			break;
		assert_in_range(tries, 0, 5000);
		usleep(1000);
	}
	assert_null(strstr(got, "im2000_connections_refused_total{limit=\"sessions-per-address\"} 0"));
	has(got, "im2000_connections_refused_total{limit=\"sessions\"} 0");
	kill(f.pid, SIGHUP);
	for (int tries = 0; strstr(got, "_reloads_total{result=\"done\"} 1\n") == NULL; tries++) {
		assert_in_range(tries, 0, 5000);
		usleep(1000);
		got = ask(dial(&f, " metrics="), request);
	}
	daemon_hang_up(&k[0]);
	daemon_stop(&f);
	daemon_teardown(&f);
}

static void test_requests(void **state)
{
	static const struct {
		const char *request;
		const char *status; /* "": closed without a word */
		bool body;
	} cases[] = {
		{ "GET /metrics HTTP/1.1\r\n\r\n", "200 OK", true },
		{ "GET /metrics HTTP/1.0\n\n", "200 OK", true },
		{ "GET /metrics?x=y HTTP/1.1\r\nA: b\r\n\r\n", "200 OK", true },
		{ "HEAD /metrics HTTP/1.1\r\n\r\n", "200 OK", false },
		{ "GET / HTTP/1.1\r\n\r\n", "404 Not Found", true },
		{ "HEAD / HTTP/1.1\r\n\r\n", "404 Not Found", false },
		{ "GET /metricsx HTTP/1.1\r\n\r\n", "404 Not Found", true },
		{ "POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "405 Method Not Allowed",
		  true },
		{ "GET\r\n\r\n", "400 Bad Request", true },
		{ "GET /metrics\r\n\r\n", "400 Bad Request", true },
		{ "GET /metrics HTTP/2\r\n\r\n", "400 Bad Request", true },
		{ "\r\n\r\n", "400 Bad Request", true },
		{ "\n\n", "400 Bad Request", true },
		{ "  \n\n", "400 Bad Request", true },
	};
	static char long_one[20000];
	struct fixture f;
	char want[64];
	int fd;

	(void)state;
	daemon_setup(&f);
	f.options.metrics = "127.0.0.1:0";
	daemon_start(&f);
	for (size_t i = 0; i < COUNT(cases); i++) {
		const char *got = ask(dial(&f, " metrics="), cases[i].request), *end;

		snprintf(want, sizeof want, "HTTP/1.1 %s\r\n", cases[i].status);
		if (strncmp(got, want, strlen(want)) != 0)
			fail_msg("%s: %s", cases[i].request, got);
		end = strstr(got, "\r\n\r\n");
		assert_non_null(end);
		assert_int_equal(end[4] != '\0', cases[i].body);
	}
	memset(long_one, 'x', sizeof long_one - 1);
	assert_non_null(strstr(ask(dial(&f, " metrics="), long_one), "431 Request"));
	/* One who never ends his request, and one who goes, keep nobody. */
	fd = dial(&f, " metrics=");
	assert_int_equal(send(fd, "GET", 3, 0), 3);
	close(dial(&f, " metrics="));
	has(ask(dial(&f, " metrics="), cases[0].request), "im2000_workers 2");
	daemon_stop(&f);
	close(fd);
	daemon_teardown(&f);
}

static void test_where_metrics_may_be(void **state)
{
	static const struct {
		const char *text;
		bool allowed;
	} cases[] = {
		{ "127.0.0.1:9400", true },   { "127.1.2.3:1", true },
		{ "[::1]:9400", true },       { "unix:/run/metrics", true },
		{ "0.0.0.0:9400", false },    { "192.168.1.1:9400", false },
		{ "[::]:9400", false },       { "[::ffff:127.0.0.1]:9400", false },
		{ "128.0.0.1:9400", false },  { "localhost:9400", false },
		{ "unix:metrics", false },    { "unix:", false },
		{ "127.0.0.1", false },       { "", false },
	};
	struct fixture f;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		if (daemon_metrics_allowed(cases[i].text) != cases[i].allowed)
			fail_msg("%s", cases[i].text);
	daemon_setup(&f);
	f.options.metrics = "0.0.0.0:0";
	daemon_start(&f);
	assert_int_equal(daemon_finish(&f), EXIT_STARTED_NOT);
	assert_non_null(strstr(f.ready, "metrics at 0.0.0.0:0: only a loopback address"));
	daemon_teardown(&f);
	daemon_setup(&f);
	f.options.metrics = "unix:/nonexistent/metrics";
	daemon_start(&f);
	assert_int_equal(daemon_finish(&f), EXIT_STARTED_NOT);
	assert_non_null(strstr(f.ready, "metrics: listen on /nonexistent/metrics"));
	daemon_teardown(&f);
}

/* --- sockets that are handed over -------------------------------------------------------- */

/* A listening socket at ADDRESS, or at the UNIX socket PATH; TEXT gets where it is. */
static int listening(const char *address, const char *path, char text[160])
{
	struct address a;
	int fd;

	if (path != NULL) {
		struct sockaddr_un *un = (struct sockaddr_un *)&a.u;

		memset(un, 0, sizeof *un);
		un->sun_family = AF_UNIX;
		snprintf(un->sun_path, sizeof un->sun_path, "%s", path);
		a.n = sizeof *un;
		snprintf(text, 160, "unix:%s", path);
	} else {
		assert_int_equal(address_parse(address, &a), 0);
	}
	fd = socket(a.u.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, &a.u.sa, a.n), 0);
	assert_int_equal(listen(fd, 16), 0);
	if (path == NULL) {
		a.n = sizeof a.u;
		assert_int_equal(getsockname(fd, &a.u.sa, &a.n), 0);
		address_format(&a, text, 160);
	}
	return fd;
}

static void close_handed(struct fixture *f)
{
	for (unsigned i = 0; i < f->n_handed; i++)
		close(f->handed[i]);
}

static void expect_served(struct fixture *f, const char *alpn, const char *want)
{
	struct link k;

	assert_true(daemon_dial(f, &k, alpn, "first.example"));
	daemon_say(&k, 'i', "");
	assert_memory_equal(daemon_hear(&k), want, strlen(want));
	daemon_hang_up(&k);
}

/* By name: they go before what is configured, which is not opened. */
static void test_handed_over_by_name(void **state)
{
	char both[160], local[160], metrics[160], path[128], want[800];
	struct fixture f;
	struct link k;

	(void)state;
	daemon_setup(&f);
	f.addresses[0] = "203.0.113.1:1"; /* nobody can listen there */
	f.options.metrics = "127.0.0.1:1";
	snprintf(path, sizeof path, "%s/handed", f.dir);
	f.handed[0] = listening("127.0.0.1:0", NULL, both);
	f.handed[1] = listening(NULL, path, local);
	f.handed[2] = listening("127.0.0.1:0", NULL, metrics);
	f.n_handed = 3;
	f.handed_names = "alpha,beta:local:metrics";
	daemon_start(&f);
	snprintf(want, sizeof want, "ready alpha=%s beta=%s local=%s metrics=%s", both, both, local,
	         metrics);
	assert_string_equal(f.ready, want);
	for (int i = 0; i < 10; i++) {
		expect_served(&f, "im2000-alpha/1", "ialpha ");
		expect_served(&f, "im2000-beta/1", "ibeta ");
	}
	snprintf(f.unix_text, sizeof f.unix_text, "%.120s", local);
	daemon_dial_local(&f, &k);
	daemon_say(&k, 'e', "here");
	assert_string_equal(daemon_hear(&k), "ehere");
	daemon_hang_up(&k);
	has(ask(dial(&f, " metrics="), "GET /metrics HTTP/1.1\r\n\r\n"), "im2000_workers 2");
	daemon_stop(&f);
	/* The socket is the manager's: it stays. */
	assert_int_equal(access(path, F_OK), 0);
	close_handed(&f);
	daemon_teardown(&f);
}

/* By address, without names that say something. */
static void test_handed_over_by_address(void **state)
{
	char text[160], path[160], metrics[160], want[800];
	struct fixture f;

	(void)state;
	daemon_setup(&f);
	f.handed[0] = listening("[::1]:0", NULL, text);
	f.handed[1] = listening(NULL, f.unix_text + strlen("unix:"), path);
	f.handed[2] = listening("127.0.0.1:0", NULL, metrics);
	f.n_handed = 3;
	f.handed_names = "test.socket:unknown";
	f.addresses[0] = text;
	f.addresses[1] = "127.0.0.1:0";
	f.services[1].n_addresses = 2; /* beta has another one, too */
	f.options.metrics = metrics;
	daemon_start(&f);
	snprintf(want, sizeof want, "ready alpha=%s beta=%s local=%s metrics=%s", text, text, path,
	         metrics);
	assert_string_equal(f.ready, want);
	expect_served(&f, "im2000-alpha/1", "ialpha ");
	expect_served(&f, "im2000-beta/1", "ibeta ");
	daemon_stop(&f);
	close_handed(&f);
	daemon_teardown(&f);
}

static void test_handed_over_wrongly(void **state)
{
	static const struct {
		const char *names;
		const char *address; /* NULL: a UNIX socket */
		const char *text;
	} cases[] = {
		{ "gamma", "127.0.0.1:0", "socket \"gamma\" was handed over: neither its name nor its" },
		{ "", NULL, "/other is one of this configuration's" },
		{ "alpha,local", NULL, "both alpha and local" },
		{ "metrics", "0.0.0.0:0", "at no loopback address" },
	};
	char text[160], path[160];
	struct fixture f;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		daemon_setup(&f);
		f.options.metrics = "127.0.0.1:0";
		snprintf(path, sizeof path, "%s/other", f.dir);
		f.handed[0] = listening(cases[i].address, cases[i].address != NULL ? NULL : path, text);
		f.n_handed = 1;
		f.handed_names = cases[i].names;
		daemon_start(&f);
		assert_int_equal(daemon_finish(&f), EXIT_STARTED_NOT);
		if (strstr(f.ready, cases[i].text) == NULL)
			fail_msg("the error is \"%s\"", f.ready);
		close_handed(&f);
		daemon_teardown(&f);
	}
}

/* --- what the manager is told ------------------------------------------------------------ */

static void hears(int fd, const char *want)
{
	char got[4096];
	ssize_t n = recv(fd, got, sizeof got - 1, 0); /* comes, or the test is ended */

	assert_true(n >= 0);
	got[n] = '\0';
	if (strncmp(got, want, strlen(want)) != 0)
		fail_msg("\"%s\" instead of \"%s\"", got, want);
}

static void test_news(void **state)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct fixture f;
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)state;
	daemon_setup(&f);
	f.app.bad_reload = true; /* the first of two */
	snprintf(a.sun_path, sizeof a.sun_path, "%s/manager", f.dir);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	f.manager = a.sun_path;
	daemon_start(&f);
	hears(fd, "READY=1\nSTATUS=serving");
	kill(f.pid, SIGHUP);
	hears(fd, "RELOADING=1\nMONOTONIC_USEC=");
	hears(fd, "READY=1\nSTATUS=the old configuration stays: ");
	kill(f.pid, SIGHUP);
	hears(fd, "RELOADING=1\nMONOTONIC_USEC=");
	hears(fd, "READY=1\nSTATUS=serving");
	daemon_stop(&f);
	hears(fd, "STOPPING=1\n");
	close(fd);
	daemon_teardown(&f);
}

static int setup_group(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	certs_create();
	certs_make(&(struct cert_spec){ .name = "first", .dns = "first.example" });
	certs_make(&(struct cert_spec){ .name = "second", .dns = "second.example" });
	return 0;
}

static int teardown_group(void **state)
{
	(void)state;
	certs_remove();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_metrics),
		cmocka_unit_test(test_refusals_are_counted),
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_where_metrics_may_be),
		cmocka_unit_test(test_handed_over_by_name),
		cmocka_unit_test(test_handed_over_by_address),
		cmocka_unit_test(test_handed_over_wrongly),
		cmocka_unit_test(test_news),
	};

	return cmocka_run_group_tests(tests, setup_group, teardown_group);
}
