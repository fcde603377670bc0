/* store.conf: what a file gives, each default, and what each mistake says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/selfsign.h"
#include "store/config.h"
#include "store/db.h"
#include "store/ids.h"
#include "tests/unit/tempdir.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* The least that a file has; cases add to it. */
#define LEAST                                                                                      \
	"domain = a.example\n"                                                                     \
	"data = data\n"                                                                            \
	"certificate = cert.pem\n"                                                                 \
	"key = key.pem\n"                                                                          \
	"listen-msoap = 127.0.0.1:0\n"                                                             \
	"listen-msrap = 127.0.0.1:0\n"
#define LEAST_LINES 6

struct place {
	char *dir;
	char path[4096];
};

static int setup(void **state)
{
	struct place *p = calloc(1, sizeof *p);

	assert_non_null(p);
	p->dir = tempdir_make();
	snprintf(p->path, sizeof p->path, "%s/store.conf", p->dir);
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct place *p = *state;

	tempdir_remove(p->dir);
	free(p);
	return 0;
}

static void put(const struct place *p, const char *text)
{
	FILE *f = fopen(p->path, "w");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static void read_good(const struct place *p, const char *text, struct config *c)
{
	struct err_text e = { "" };

	put(p, text);
	if (config_read(p->path, c, &e) != 0)
		fail_msg("%s", e.text);
}

static void test_defaults(void **state)
{
	struct place *p = *state;
	char wanted[4200];
	struct config c;

	read_good(p, LEAST, &c);
	assert_int_equal(c.n_domains, 1);
	assert_string_equal(c.domains[0], "a.example");
	snprintf(wanted, sizeof wanted, "%s/data", p->dir);
	assert_string_equal(c.data, wanted);
	snprintf(wanted, sizeof wanted, "%s/cert.pem", p->dir);
	assert_string_equal(c.certificate.item[0], wanted);
	assert_null(c.ca_file);
	assert_int_equal(c.route.n, 0);
	assert_int_equal(c.n_routes, 0);
	assert_int_equal(c.dns_server.n, 0);
	/* protocol.md section 6 */
	assert_int_equal(c.max_message_octets, 256 << 20);
	assert_int_equal(c.max_recipients, 10000);
	assert_int_equal(c.max_command_octets, 64 << 10);
	assert_int_equal(c.max_envelope_octets, 1 << 20);
	assert_int_equal(c.idle_time_s, 60);
	assert_int_equal(c.first_command_time_s, 15);
	assert_int_equal(c.wait_time_s, 30 * 60);
	assert_int_equal(c.sessions, 10000);
	assert_int_equal(c.sessions_per_address, 100);
	assert_int_equal(c.login_failures, 5);
	assert_int_equal(c.default_lifetime_s, 90 * 86400);
	assert_int_equal(c.max_lifetime_s, 365 * 86400);
	assert_int_equal(c.resume_time_s, 86400);
	assert_int_equal(c.keep_status_s, 30 * 86400);
	assert_int_equal(c.workers, 0);
	assert_false(c.allow_private);
	assert_int_equal(c.log_level, LOG_LEVEL_INFO);
	config_release(&c);
	config_release(&c); /* zeroed: nothing more to free */
}

static void test_values(void **state)
{
	struct config c;

	read_good(*state,
	          "# a comment\n" LEAST
	          "domain = Bücher.Example.\n"
	          "listen-msoap = [::1]:4401\n"
	          "listen-msrap = unix:/run/store/msrap\n"
	          "ca-file = /etc/ca.pem\n"
	          "route = b.example rnasp 127.0.0.1:4403\n"
	          "route = c.example rnasp [::1]:4403\n"
	          "dns-server = 127.0.0.1:5353\n"
	          "dns-server = 127.0.0.1\n"
	          "dns-server = ::1\n"
	          "dns-server = [::1]:53\n"
	          "max-message = 1M\n"
	          "max-lifetime = 12h\n"
	          "default-lifetime = 5m\n"
	          "keep-status = 0\n"
	          "workers = 2\n"
	          "allow-private = yes\n"
	          "log-level = debug\n",
	          &c);
	assert_int_equal(c.n_domains, 2);
	assert_string_equal(c.domains[1], "xn--bcher-kva.example");
	assert_true(config_serves(&c, "a.example"));
	assert_true(config_serves(&c, "xn--bcher-kva.example"));
	assert_false(config_serves(&c, "x.a.example"));
	assert_int_equal(c.listen_msoap.n, 2);
	assert_string_equal(c.listen_msrap.item[1], "unix:/run/store/msrap");
	assert_string_equal(c.ca_file, "/etc/ca.pem");
	assert_int_equal(c.n_routes, 2);
	assert_string_equal(c.routes[0].domain, "b.example");
	assert_int_equal(c.routes[0].service, LOCATE_RNASP);
	assert_int_equal(c.routes[1].port, 4403);
	assert_int_equal(c.dns_server.n, 4);
	assert_int_equal(c.max_message_octets, 1 << 20);
	assert_int_equal(c.max_lifetime_s, 12 * 3600);
	assert_int_equal(c.default_lifetime_s, 300);
	assert_int_equal(c.keep_status_s, 0);
	assert_int_equal(c.workers, 2);
	assert_true(c.allow_private);
	assert_int_equal(c.log_level, LOG_LEVEL_DEBUG);
	config_release(&c);
}

/* Each is added to the least, and said to be wrong in its line with words that help. */
static void test_mistakes(void **state)
{
	static const struct {
		const char *line, *said;
	} cases[] = {
		{ "domain = -\n", "as in a.example" },
		{ "domain = 127.0.0.1:4\n", "is no domain" },
		{ "listen-msoap = 127.0.0.1\n", "127.0.0.1:4401" },
		{ "listen-msrap = localhost:4402\n", "127.0.0.1:4401" },
		{ "listen-msrap = 127.0.0.1:70000\n", "127.0.0.1:4401" },
		{ "listen-msrap = unix:relative\n", "unix:/path" },
		{ "route = b.example rnasp\n", "route" },
		{ "route = b.example smtp 127.0.0.1:1\n", "route" },
		{ "dns-server = ns.example\n", "is no address" },
		{ "dns-server = 1:2\n", "is no address" },
		{ "max-message = 1023\n", "1K" },
		{ "max-message = huge\n", "256M" },
		{ "max-recipients = 0\n", "max-recipients" },
		{ "max-command = 2M\n", "max-command" },
		{ "default-lifetime = 59s\n", "default-lifetime" },
		{ "sessions = -1\n", "sessions" },
		{ "workers = 257\n", "256" },
		{ "allow-private = maybe\n", "yes" },
		{ "log-level = loud\n", "debug" },
		{ "data = elsewhere\n", "data" },
		{ "colour = blue\n", "colour" },
		{ "[section]\n", "section" },
		{ "nonsense\n", "key = value" },
	};
	struct place *p = *state;
	char at[4200];
	struct config c;

	snprintf(at, sizeof at, "%s:%d:", p->path, LEAST_LINES + 1);
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct err_text e = { "" };
		char text[1000];

		snprintf(text, sizeof text, LEAST "%s", cases[i].line);
		put(p, text);
		assert_int_equal(config_read(p->path, &c, &e), ERR_CONFIG);
		if (strstr(e.text, at) == NULL || strstr(e.text, cases[i].said) == NULL)
			fail_msg("%s gives: %s", cases[i].line, e.text);
	}
}

/* What is wrong with a file as a whole, so that no line can be named. */
static void test_whole_file(void **state)
{
	static const struct {
		const char *text, *said;
	} cases[] = {
		{ "", "domain" },
		{ "domain = a.example\n", "data" },
		{ LEAST "max-lifetime = 1d\n", "default-lifetime" },
		{ LEAST "max-command = 1M\nmax-envelope = 512K\n", "max-envelope" },
	};
	struct place *p = *state;
	struct config c;
	struct err_text e;

	for (size_t i = 0; i < COUNT(cases); i++) {
		put(p, cases[i].text);
		assert_int_equal(config_read(p->path, &c, &e), ERR_CONFIG);
		assert_non_null(strstr(e.text, p->path));
		if (strstr(e.text, cases[i].said) == NULL)
			fail_msg("case %zu: %s", i, e.text);
	}
	assert_int_equal(unlink(p->path), 0);
	assert_true(config_read(p->path, &c, &e) < 0);
	assert_non_null(strstr(e.text, p->path));
}

/* Every key has what a manual and a person need. */
static void test_keys(void **state)
{
	(void)state;
	for (const struct conf_key *k = config_keys(); k->name != NULL; k++) {
		assert_non_null(k->help);
		for (const struct conf_key *other = config_keys(); other != k; other++)
			assert_string_not_equal(other->name, k->name);
		if (k->type == CONF_SIZE || k->type == CONF_NUMBER || k->type == CONF_DURATION)
			assert_true(k->initial != NULL && k->max != 0);
	}
}

/* --- the files that a configuration names ---------------------------------------------------- */

static void test_check(void **state)
{
	struct place *p = *state;
	char data[4200], certificate[4200], key[4200], keys[4300];
	struct selfsign_options sign = { .ca_dir = p->dir, .domain = "a.example",
		                         .certificate = certificate, .key = key };
	const struct db_options create = { .create = true };
	struct err_text e = { "" };
	struct config c;
	struct db *db;

	snprintf(data, sizeof data, "%s/data", p->dir);
	snprintf(certificate, sizeof certificate, "%s/cert.pem", p->dir);
	snprintf(key, sizeof key, "%s/key.pem", p->dir);
	snprintf(keys, sizeof keys, "%s/keys", data);

	read_good(p, LEAST, &c);
	assert_int_not_equal(config_check(&c, &e), 0);
	assert_non_null(strstr(e.text, "cert.pem"));
	assert_int_equal(selfsign_make(&sign, &e), 0);
	assert_int_equal(config_check(&c, &e), ERR_NOT_FOUND);
	assert_non_null(strstr(e.text, data));
	assert_int_equal(mkdir(data, 0700), 0);
	assert_int_equal(config_check(&c, &e), ERR_NOT_FOUND);
	assert_non_null(strstr(e.text, "store.mdb"));
	assert_int_equal(db_open(data, &create, &db, &e), 0);
	db_close(db);
	assert_int_equal(config_check(&c, &e), ERR_NOT_FOUND);
	assert_non_null(strstr(e.text, "keys"));
	assert_int_equal(ids_init(data, &e), 0);
	assert_int_equal(config_check(&c, &e), 0);

	assert_int_equal(chmod(data, 0750), 0);
	assert_int_equal(config_check(&c, &e), ERR_DENIED);
	assert_int_equal(chmod(data, 0700), 0);
	assert_int_equal(chmod(keys, 0644), 0);
	assert_int_equal(config_check(&c, &e), ERR_CONFIG);
	assert_int_equal(chmod(keys, 0600), 0);
	config_release(&c);

	read_good(p, LEAST "domain = b.example\n", &c);
	assert_int_equal(config_check(&c, &e), ERR_CONFIG);
	assert_non_null(strstr(e.text, "does not cover domain b.example"));
	config_release(&c);
	tempdir_remove(strdup(data));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		TEST(test_defaults),   TEST(test_values), TEST(test_mistakes),
		TEST(test_whole_file), TEST(test_keys),   TEST(test_check),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
