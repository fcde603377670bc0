/*
 * A daemon in a process of its own: ready line, services that share an address,
 * workers, signals, reloading, limits, and what makes a start fail.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "certs.h"
#include "daemon_fixture.h"
#include "session_toy.h"

/* "ready alpha=... beta=... local=...": the first two addresses. */
static void read_ready(const struct fixture *f, char alpha[64], char beta[64])
{
	char want[600];

	assert_int_equal(sscanf(f->ready, "ready alpha=%63s beta=%63s", alpha, beta), 2);
	snprintf(want, sizeof want, "ready alpha=%s beta=%s local=%s", alpha, beta, f->unix_text);
	assert_string_equal(f->ready, want);
}

/* What is said twice as port 0 is two ports, and neither serves the other's protocol. */
static void test_any_port_is_one_each(void **state)
{
	char alpha[64], beta[64];
	struct fixture f;
	struct link k;

	(void)state;
	daemon_setup(&f);
	daemon_start(&f);
	read_ready(&f, alpha, beta);
	assert_int_equal(strncmp(alpha, "127.0.0.1:", 10), 0);
	assert_string_not_equal(alpha, "127.0.0.1:0");
	assert_string_not_equal(beta, "127.0.0.1:0");
	assert_string_not_equal(alpha, beta);
	assert_true(daemon_dial(&f, &k, "im2000-alpha/1", "first.example"));
	daemon_hang_up(&k);
	assert_true(daemon_dial(&f, &k, "im2000-beta/1", "first.example"));
	daemon_hang_up(&k);
	snprintf(f.ready, sizeof f.ready, "ready alpha=%s beta=%s", beta, alpha);
	assert_false(daemon_dial(&f, &k, "im2000-beta/1", "first.example"));
	daemon_stop(&f);
	daemon_teardown(&f);
}

static void test_services_share_an_address(void **state)
{
	char alpha[64], beta[64];
	struct fixture f;
	struct link k;

	(void)state;
	daemon_setup(&f);
	daemon_start(&f);
	daemon_stop(&f);
	f.addresses[0] = f.address; /* a port that is free */
	daemon_start(&f);
	read_ready(&f, alpha, beta);
	assert_string_equal(alpha, beta);

	assert_true(daemon_dial(&f, &k, "im2000-alpha/1", "first.example"));
	daemon_say(&k, 'i', "");
	assert_memory_equal(daemon_hear(&k), "ialpha ", 7);
	daemon_hang_up(&k);
	assert_true(daemon_dial(&f, &k, "im2000-beta/1", "first.example"));
	daemon_say(&k, 'i', "");
	assert_memory_equal(daemon_hear(&k), "ibeta ", 6);
	daemon_hang_up(&k);
	assert_false(daemon_dial(&f, &k, "im2000-gamma/1", "first.example"));
	daemon_dial_local(&f, &k);
	daemon_say(&k, 'i', "");
	daemon_say(&k, 'e', "echo");
	assert_string_equal(daemon_hear(&k), "ibeta 0");
	assert_string_equal(daemon_hear(&k), "eecho");
	daemon_hang_up(&k);
	daemon_stop(&f);
	daemon_teardown(&f);
}

/* What is larger than any buffer on the way, in both directions, through TLS. */
static void test_large_bodies(void **state)
{
	struct fixture f;
	struct link k;
	struct buf out, want;
	uint8_t *got;

	(void)state;
	daemon_setup(&f);
	daemon_start(&f);
	assert_true(daemon_dial(&f, &k, "im2000-alpha/1", "first.example"));
	buf_init(&out, 0);
	buf_init(&want, 0);
	toy_add_stream(&out, &want, 's', 3 << 20);
	toy_add_stream(&out, &want, 'W', 200000);
	toy_add_stream(&out, &want, 'h', 300000);
	toy_add_long(&out, &want, 3 << 20);
	toy_add_stream(&out, &want, 's', 100000);
	assert_int_equal(SSL_write(k.ssl, out.p, (int)out.n), (int)out.n);
	got = malloc(want.n);
	assert_non_null(got);
	assert_int_equal(daemon_hear_octets(&k, got, want.n), want.n);
	assert_memory_equal(got, want.p, want.n);
	free(got);
	buf_free(&out);
	buf_free(&want);
	daemon_hang_up(&k);
	daemon_stop(&f);
	daemon_teardown(&f);
}

static void test_all_workers_serve(void **state)
{
	struct fixture f;
	struct link k[40];
	unsigned seen[2] = { 0, 0 };
	int i;

	(void)state;
	daemon_setup(&f);
	daemon_start(&f);
	for (i = 0; i < 40; i++) {
		const char *got;

		assert_true(daemon_dial(&f, &k[i], "im2000-alpha/1", "first.example"));
		daemon_say(&k[i], 'i', "");
		got = daemon_hear(&k[i]);
		assert_memory_equal(got, "ialpha ", 7);
		assert_in_range(got[7], '0', '1');
		seen[got[7] - '0']++;
	}
	/* The kernel spreads them by a hash: one chance in 2^39 that it is not so. */
	assert_true(seen[0] > 0 && seen[1] > 0);
	for (i = 0; i < 40; i++)
		daemon_hang_up(&k[i]);
	daemon_stop(&f);
	daemon_teardown(&f);
}

static void test_limits_of_sessions(void **state)
{
	struct fixture f;
	struct link k[3], more;
	int i, tries;

	(void)state;
	daemon_setup(&f);
	f.options.max_per_address = 3;
	daemon_start(&f);
	for (i = 0; i < 3; i++)
		assert_true(daemon_dial(&f, &k[i], "im2000-alpha/1", "first.example"));
	assert_false(daemon_dial(&f, &more, "im2000-alpha/1", "first.example"));
	/* Places are given back, however often. */
	for (i = 0; i < 12; i++) {
		daemon_say(&k[i % 3], i % 2 != 0 ? 'c' : 'a', "");
		while (daemon_hear(&k[i % 3])[0] != '\0')
			;
		daemon_hang_up(&k[i % 3]);
		/* The daemon's end of it may come a little later. */
		for (tries = 0; !daemon_dial(&f, &k[i % 3], "im2000-alpha/1", "first.example"); tries++) {
			assert_in_range(tries, 0, 5000);
			usleep(1000);
		}
	}
	for (i = 0; i < 3; i++)
		daemon_hang_up(&k[i]);
	daemon_stop(&f);
	daemon_teardown(&f);
}

/* The last word of a session that a stopping daemon ends: serviceShutdown, abort true. */
static void hear_shutdown(struct link *k)
{
	static const uint8_t want[] = { 0x80, 0x01, 0xff, 0x81, 0x01, 0x04 };
	const char *heard = daemon_hear(k);

	assert_memory_equal(heard + 1, want, sizeof want);
	assert_string_equal(daemon_hear(k), "");
}

static void test_stop_finishes_what_is_in_hand(void **state)
{
	static const int signals[] = { SIGTERM, SIGINT };
	struct fixture f;
	struct link busy, idle, waiting, local;
	int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		daemon_setup(&f);
		daemon_start(&f);
		assert_true(daemon_dial(&f, &busy, "im2000-alpha/1", "first.example"));
		assert_true(daemon_dial(&f, &idle, "im2000-alpha/1", "first.example"));
		assert_true(daemon_dial(&f, &waiting, "im2000-beta/1", "first.example"));
		daemon_dial_local(&f, &local);
		daemon_say(&waiting, 'e', "");
		daemon_hear(&waiting);
		daemon_say(&waiting, 'w', "");
		/* Both sides know that these are there. */
		daemon_say(&idle, 'e', "");
		daemon_hear(&idle);
		daemon_say(&local, 'e', "");
		daemon_hear(&local);
		daemon_say(&busy, 'e', "");
		daemon_hear(&busy);
		daemon_say(&busy, 'l', "late");
		daemon_say(&busy, 'e', "too late");
		usleep(1000); /* 'l' takes 3 ms: most likely it is in hand now */
		kill(f.pid, signals[i]);
		assert_string_equal(daemon_hear(&busy), "llate");
		while (daemon_hear(&busy)[0] != '\0')
			;
		assert_string_equal(daemon_hear(&waiting), "wwoken");
		hear_shutdown(&waiting);
		hear_shutdown(&idle);
		hear_shutdown(&local);
		daemon_hang_up(&busy);
		daemon_hang_up(&idle);
		daemon_hang_up(&waiting);
		daemon_hang_up(&local);
		assert_int_equal(daemon_finish(&f), EXIT_GOOD);
		assert_int_equal(access(f.unix_text + strlen("unix:"), F_OK), -1);
		daemon_teardown(&f);
	}
}

/* A command that is never answered would keep the daemon for 10 s. */
static void test_a_second_signal_hurries(void **state)
{
	struct fixture f;
	struct link k;
	struct timespec before, after;

	(void)state;
	daemon_setup(&f);
	daemon_start(&f);
	daemon_dial_local(&f, &k);
	daemon_say(&k, 'e', "");
	daemon_hear(&k);
	daemon_say(&k, 'n', "");
	usleep(20000);
	clock_gettime(CLOCK_MONOTONIC, &before);
	kill(f.pid, SIGTERM);
	usleep(100000); /* two signals, not one twice pending */
	kill(f.pid, SIGTERM);
	assert_string_equal(daemon_hear(&k), "");
	daemon_hang_up(&k);
	assert_int_equal(daemon_finish(&f), EXIT_GOOD);
	clock_gettime(CLOCK_MONOTONIC, &after);
	assert_true(after.tv_sec - before.tv_sec < 9);
	daemon_teardown(&f);
}

static void test_reload(void **state)
{
	struct fixture f;
	struct link old, k;
	int bad, tries;

	(void)state;
	for (bad = 0; bad < 2; bad++) {
		daemon_setup(&f);
		f.app.bad_reload = bad;
		daemon_start(&f);
		assert_true(daemon_dial(&f, &old, "im2000-alpha/1", "first.example"));
		daemon_say(&old, 'e', "0123456789");
		assert_string_equal(daemon_hear(&old), "e0123456789");
		kill(f.pid, SIGHUP);
		if (bad) {
			/* The certificate cannot be read: nothing changes, until it can. */
			usleep(50000);
			assert_true(daemon_dial(&f, &k, "im2000-alpha/1", "first.example"));
			daemon_say(&k, 'e', "0123456789");
			assert_string_equal(daemon_hear(&k), "e0123456789");
			daemon_hang_up(&k);
			kill(f.pid, SIGHUP);
		}
		for (tries = 0; !daemon_dial(&f, &k, "im2000-alpha/1", "second.example"); tries++) {
			assert_in_range(tries, 0, 5000);
			usleep(1000);
		}
		/* The new limit: 8 octets are asked about, and refused. */
		daemon_say(&k, 'e', "012345");
		assert_string_equal(daemon_hear(&k), "e012345");
		daemon_say(&k, 'e', "0123456");
		assert_int_not_equal(daemon_hear(&k)[0], 'e');
		assert_string_equal(daemon_hear(&k), "");
		daemon_hang_up(&k);
		/* Who was there before goes on as before. */
		daemon_say(&old, 'e', "0123456789");
		assert_string_equal(daemon_hear(&old), "e0123456789");
		daemon_hang_up(&old);
		daemon_stop(&f);
		daemon_teardown(&f);
	}
}

/* A client that goes while it is written to: no signal, and the daemon goes on. */
static void test_clients_that_vanish(void **state)
{
	struct fixture f;
	struct link k;
	int i;

	(void)state;
	daemon_setup(&f);
	daemon_start(&f);
	for (i = 0; i < 10; i++) {
		struct linger at_once = { .l_onoff = 1 };

		assert_true(daemon_dial(&f, &k, "im2000-alpha/1", "first.example"));
		if (i % 2 != 0) {
			struct buf b, none;

			buf_init(&b, 0);
			buf_init(&none, 0);
			toy_add_long(&b, &none, 4 << 20);
			assert_int_equal(SSL_write(k.ssl, b.p, (int)b.n), (int)b.n);
			buf_free(&b);
			buf_free(&none);
		}
		setsockopt(k.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
		daemon_hang_up(&k);
	}
	assert_true(daemon_dial(&f, &k, "im2000-alpha/1", "first.example"));
	daemon_say(&k, 'e', "still here");
	assert_string_equal(daemon_hear(&k), "estill here");
	daemon_hang_up(&k);
	daemon_stop(&f);
	daemon_teardown(&f);
}

static void test_starts_that_fail(void **state)
{
	static const char *const two[] = { "unix:/nonexistent/a", "unix:/nonexistent/a" };
	static const char *const bad_path[] = { "unix:/nonexistent/folder/socket" };
	static const char *const words[] = { "localhost:4401" };
	static const char *const no_port[] = { "127.0.0.1" };
	static const char *const any[] = { "127.0.0.1:0" };
	static const struct {
		const char *what;
		const char *const *addresses; /* of alpha and beta; NULL: none at all */
		const char *certificate;
		unsigned fail_worker;
		const char *text; /* stands in the error */
	} cases[] = {
		{ "no address", NULL, NULL, 0, "no address to listen on" },
		{ "two services, one UNIX socket", two, NULL, 0, "both alpha and beta" },
		{ "no such folder", bad_path, NULL, 0, "/nonexistent/folder/socket" },
		{ "a host's name", words, NULL, 0, "listen on \"localhost:4401\": not an address" },
		{ "no port", no_port, NULL, 0, "listen on \"127.0.0.1\": not an address" },
		{ "no certificate", any, "/nonexistent.pem", 0,
		  "/nonexistent.pem" },
		{ "the first worker", any, NULL, 1,
		  "worker 0 has a bad day" },
		{ "the second worker", any, NULL, 2,
		  "worker 1 has a bad day" },
	};
	struct fixture f;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		print_message("%s\n", cases[i].what);
		daemon_setup(&f);
		f.services[0].addresses = f.services[1].addresses = cases[i].addresses;
		f.services[0].n_addresses = cases[i].addresses != NULL;
		f.services[1].n_addresses = cases[i].addresses == two;
		f.options.n_services = 2;
		if (cases[i].certificate != NULL)
			f.options.tls.certificate = cases[i].certificate;
		f.app.fail_worker = cases[i].fail_worker;
		daemon_start(&f);
		assert_int_equal(daemon_finish(&f), EXIT_STARTED_NOT);
		if (strstr(f.ready, cases[i].text) == NULL)
			fail_msg("the error is \"%s\"", f.ready);
		daemon_teardown(&f);
	}
}

/* Sharing ports between workers must not let two daemons share one. */
static void test_an_address_in_use(void **state)
{
	struct fixture f, second;

	(void)state;
	daemon_setup(&f);
	daemon_start(&f);
	daemon_setup(&second);
	second.addresses[0] = f.address;
	daemon_start(&second);
	assert_int_equal(daemon_finish(&second), EXIT_STARTED_NOT);
	assert_non_null(strstr(second.ready, f.address));
	assert_non_null(strstr(second.ready, "already in use"));
	daemon_teardown(&second);
	daemon_setup(&second);
	second.local[0] = f.unix_text;
	daemon_start(&second);
	assert_int_equal(daemon_finish(&second), EXIT_STARTED_NOT);
	assert_non_null(strstr(second.ready, f.unix_text + strlen("unix:")));
	daemon_teardown(&second);
	daemon_stop(&f);
	daemon_teardown(&f);
}

static void test_refuses_root(void **state)
{
	struct err_text e = { "" };

	(void)state;
	if (geteuid() != 0) {
		assert_int_equal(daemon_refuse_root("im2000-test", &e), 0);
		assert_string_equal(e.text, "");
		return;
	}
	assert_int_equal(daemon_refuse_root("im2000-test", &e), ERR_DENIED);
	assert_non_null(strstr(e.text, "im2000-test does not run as root"));
	assert_non_null(strstr(e.text, "setpriv"));
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
		cmocka_unit_test(test_any_port_is_one_each),
		cmocka_unit_test(test_services_share_an_address),
		cmocka_unit_test(test_large_bodies),
		cmocka_unit_test(test_all_workers_serve),
		cmocka_unit_test(test_limits_of_sessions),
		cmocka_unit_test(test_stop_finishes_what_is_in_hand),
		cmocka_unit_test(test_a_second_signal_hurries),
		cmocka_unit_test(test_reload),
		cmocka_unit_test(test_clients_that_vanish),
		cmocka_unit_test(test_starts_that_fail),
		cmocka_unit_test(test_an_address_in_use),
		cmocka_unit_test(test_refuses_root),
	};

	return cmocka_run_group_tests(tests, setup_group, teardown_group);
}
