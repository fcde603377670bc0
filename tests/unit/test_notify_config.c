/* notify.conf: its defaults, its limits, and what is said of a bad one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "notify/config.h"
#include "tempdir.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* What must stand in every file: 6 lines. */
#define REQUIRED                                                                                   \
	"domain = b.example\n"                                                                     \
	"data = data\n"                                                                            \
	"certificate = /etc/b/cert.pem\n"                                                          \
	"key = b/key.pem\n"                                                                        \
	"listen-rnasp = 127.0.0.1:4403\n"                                                          \
	"listen-rnaqp = [::1]:4404\n"

static char *dir;
static char path[512];

static int setup(void **state)
{
	(void)state;
	dir = tempdir_make();
	snprintf(path, sizeof path, "%s/notify.conf", dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	tempdir_remove(dir);
	return 0;
}

static void write_file(const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void test_defaults(void **state)
{
	struct config c;
	struct err_text e = { "" };
	char data[600], key[600];

	(void)state;
	write_file(REQUIRED);
	assert_int_equal(config_read(path, &c, &e), 0);
	snprintf(data, sizeof data, "%s/data", dir);
	snprintf(key, sizeof key, "%s/b/key.pem", dir);
	assert_int_equal(c.domains.n, 1);
	assert_string_equal(c.domains.item[0], "b.example");
	assert_string_equal(c.data, data);
	assert_string_equal(c.certificate.item[0], "/etc/b/cert.pem");
	assert_string_equal(c.key.item[0], key);
	assert_null(c.ca_file);
	assert_int_equal(c.dns_servers.n, 0);
	assert_int_equal(c.workers, 0);
	assert_int_equal(c.unverified, CONFIG_UNVERIFIED_REFUSE);
	assert_int_equal(c.tag, '+');
	assert_int_equal(c.unknown_rate, 300);
	assert_int_equal(c.retention_s, 90 * 86400);
	assert_int_equal(c.mailbox_notices, 10000);
	assert_int_equal(c.origin_notices, 500);
	assert_int_equal(c.max_sessions, 10000);
	assert_int_equal(c.sessions_per_address, 100);
	assert_int_equal(c.idle_s, 60);
	assert_int_equal(c.first_command_s, 15);
	assert_int_equal(c.wait_s, 1800);
	assert_int_equal(c.login_failures, 5);
	assert_int_equal(c.log_level, LOG_LEVEL_INFO);
	config_free(&c);
}

static void test_all_said(void **state)
{
	struct config c;
	struct err_text e = { "" };

	(void)state;
	write_file("# comments, and a key that repeats\n" REQUIRED "domain = B\xc3\xbc"
	           "cher.Example.\n"
	           "listen-rnasp = unix:/run/b.sock\n"
	           "listen-rnaqp = 127.0.0.1:0\n"
	           "ca-file = ca.pem\n"
	           "dns-server = 127.0.0.1\ndns-server = ::1\ndns-server = [::1]:53\n"
	           "workers = 2\nunverified = keep\nstrangers = accept\nretention = 12h\n"
	           "plus-tags = =\nunknown-rate = 8\n"
	           "mailbox-notifications = 3\norigin-notifications = 2\n"
	           "sessions = 7\nsessions-per-address = 6\n"
	           "idle-time = 2m\nfirst-command-time = 3s\nwait-time = 1d\n"
	           "login-failures = 9\nlog-level = debug\n");
	if (config_read(path, &c, &e) != 0) {
		fail_msg("%s", e.text);
	}
	assert_int_equal(c.domains.n, 2);
	assert_string_equal(c.domains.item[1], "xn--bcher-kva.example");
	assert_int_equal(c.listen_rnasp.n, 2);
	assert_string_equal(c.listen_rnasp.item[1], "unix:/run/b.sock");
	assert_int_equal(c.listen_rnaqp.n, 2);
	assert_int_equal(c.dns_servers.n, 3);
	assert_int_equal(c.workers, 2);
	assert_int_equal(c.unverified, CONFIG_UNVERIFIED_KEEP);
	assert_int_equal(c.tag, '=');
	assert_int_equal(c.unknown_rate, 8);
	assert_int_equal(c.retention_s, 12 * 3600);
	assert_int_equal(c.mailbox_notices, 3);
	assert_int_equal(c.origin_notices, 2);
	assert_int_equal(c.max_sessions, 7);
	assert_int_equal(c.sessions_per_address, 6);
	assert_int_equal(c.idle_s, 120);
	assert_int_equal(c.first_command_s, 3);
	assert_int_equal(c.wait_s, 86400);
	assert_int_equal(c.login_failures, 9);
	assert_int_equal(c.log_level, LOG_LEVEL_DEBUG);
	config_free(&c);
}

static void test_no_tags(void **state)
{
	struct config c;

	(void)state;
	write_file(REQUIRED "plus-tags = none\n");
	assert_int_equal(config_read(path, &c, NULL), 0);
	assert_int_equal(c.tag, 0);
	config_free(&c);
}

/* Each is one line more than what is required, and the error names that line. */
static void test_bad_lines(void **state)
{
	static const struct {
		const char *line, *said;
	} cases[] = {
		{ "domian = c.example", "\"domian\" is no key here" },
		{ "domain = -.example", "domain: \"-.example\" is no domain" },
		{ "domain = [127.0.0.1]", "is no domain" },
		{ "domain =", "domain: has no value" },
		{ "data = elsewhere", "data: stands in line 2 already" },
		{ "listen-rnasp = 127.0.0.1", "listen-rnasp: \"127.0.0.1\" is no address" },
		{ "listen-rnasp = localhost:4403", "is no address (allowed: 127.0.0.1:4403" },
		{ "listen-rnaqp = unix:relative", "unix:/path" },
		{ "listen-rnaqp = 127.0.0.1:65536", "is no address" },
		{ "dns-server = ns.example", "dns-server: \"ns.example\" is no address" },
		{ "dns-server = unix:/run/dns", "is no address" },
		{ "workers = 257", "workers: \"257\" is too large (allowed: 0 to 256)" },
		{ "workers = -1", "workers: \"-1\" is no number" },
		{ "unverified = yes", "unverified: \"yes\" is none of: refuse, keep" },
		{ "strangers = keep", "strangers: \"keep\" is none of: accept, refuse" },
		{ "plus-tags = ++", "plus-tags \"++\" divides nothing (allowed: none, or one of !#" },
		{ "plus-tags = a", "plus-tags \"a\" divides nothing" },
		{ "plus-tags = @", "divides nothing" },
		{ "unknown-rate = -1", "unknown-rate: \"-1\" is no number" },
		{ "retention = 59s", "retention: \"59s\" is too small" },
		{ "retention = 90w", "retention: \"90w\" is no duration" },
		{ "mailbox-notifications = 0", "too small (allowed: 1 to 100000000)" },
		{ "origin-notifications = 1K", "is no number" },
		{ "sessions = 0", "sessions: \"0\" is too small" },
		{ "idle-time = 2d", "idle-time: \"2d\" is too large" },
		{ "wait-time = soon", "wait-time: \"soon\" is no duration" },
		{ "login-failures = 0", "login-failures: \"0\" is too small" },
		{ "pull-cache = lots", "pull-cache: \"lots\" is no size" },
		{ "pull-limit = 1", "pull-limit: \"1\" is too small" },
		{ "pull-time = 0s", "pull-time: \"0s\" is too small" },
		{ "pull-silence = 2d", "pull-silence: \"2d\" is too large" },
		{ "allow-private = maybe", "allow-private: \"maybe\" is none of: no, yes" },
		{ "route = a.example msrap", "route \"a.example msrap\": not three words" },
		{ "log-level = loud", "none of: error, warn, info, debug" },
		{ "[account]", "this file has no sections" },
		{ "just words", "neither \"key = value\"" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct err_text e = { "" };
		char text[1024], where[600];
		struct config c;
		int r;

		snprintf(text, sizeof text, REQUIRED "%s\n", cases[i].line);
		snprintf(where, sizeof where, "%s:7: ", path);
		write_file(text);
		r = config_read(path, &c, &e);
		config_free(&c);
		if (r != ERR_CONFIG || strncmp(e.text, where, strlen(where)) != 0 ||
		    strstr(e.text, cases[i].said) == NULL) {
			fail_msg("%s: %d: %s", cases[i].line, r, e.text);
		}
	}
}

/* Each key that is required, left out. */
static void test_missing(void **state)
{
	static const char *const keys[] = { "domain", "data", "certificate",
		                            "key",    "listen-rnasp", "listen-rnaqp" };
	char text[1024];

	(void)state;
	for (size_t i = 0; i < COUNT(keys); i++) {
		char *line, *end, said[80];
		struct err_text e = { "" };
		struct config c;

		snprintf(text, sizeof text, "\n%s", REQUIRED);
		snprintf(said, sizeof said, "\n%s =", keys[i]);
		line = strstr(text, said);
		assert_non_null(line);
		end = strchr(line + 1, '\n');
		memmove(line, end, strlen(end) + 1);
		write_file(text);
		assert_int_equal(config_read(path, &c, &e), ERR_CONFIG);
		config_free(&c);
		snprintf(said, sizeof said, "%s: must be set", keys[i]);
		if (strstr(e.text, said) == NULL) {
			fail_msg("%s: %s", keys[i], e.text);
		}
	}
}

static void test_no_file(void **state)
{
	struct err_text e = { "" };
	struct config c;

	(void)state;
	assert_int_equal(config_read(path, &c, &e), ERR_IO);
	config_free(&c);
	assert_non_null(strstr(e.text, path));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_defaults, setup, teardown),
		cmocka_unit_test_setup_teardown(test_all_said, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_tags, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_lines, setup, teardown),
		cmocka_unit_test_setup_teardown(test_missing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_file, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
