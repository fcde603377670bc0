/* agent.conf, passwords, and what goes to standard output. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/password.h"
#include "mua-agent/config.h"
#include "mua-agent/shell.h"
#include "mua-agent/show.h"
#include "tests/unit/tempdir.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static char *dir;

static int make_dir(void **state)
{
	(void)state;
	dir = tempdir_make();
	return 0;
}

static int remove_dir(void **state)
{
	(void)state;
	tempdir_remove(dir);
	return 0;
}

static const char *write_file(const char *name, const char *text)
{
	static char path[4096];
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
	return path;
}

static void test_defaults(void **state)
{
	struct err_text e = { "" };
	struct config c;
	const struct config_account *a;

	(void)state;
	assert_int_equal(setenv("XDG_DATA_HOME", "/somewhere", 1), 0);
	assert_int_equal(config_read(write_file("a.conf", "[account home]\n"
	                                                  "mailbox = Bob@B\xc3\xbc.Example\n"),
	                             &c, &e),
	                 0);
	unsetenv("XDG_DATA_HOME");
	a = &c.accounts[0];
	assert_string_equal(c.data, "/somewhere/im2000");
	assert_false(c.allow_private);
	assert_int_equal(c.n_accounts, 1);
	assert_string_equal(a->title, "home");
	assert_string_equal(a->mailbox.text, "Bob@xn--b-eha.example");
	assert_string_equal(a->notify_domain, "xn--b-eha.example");
	assert_string_equal(a->store_domain, "xn--b-eha.example");
	assert_string_equal(a->notify_login, "Bob@xn--b-eha.example");
	assert_string_equal(a->store_login, "Bob");
	assert_string_equal(a->identity, "Bob@xn--b-eha.example xn--b-eha.example");
	assert_false(config_receives(a) || config_sends(a));
	config_free(&c);
}

static void test_all_keys(void **state)
{
	struct err_text e = { "" };
	const struct config_account *a;
	struct config c;
	char path[4096];

	(void)state;
	assert_int_equal(
	    config_read(write_file("a.conf", "data = here\nca-file = ca.pem\nallow-private = yes\n"
	                                     "route = a.example rnasp 127.0.0.1:4403\n"
	                                     "route = a.example rnaqp [::1]:4404\n"
	                                     "dns-server = 127.0.0.1:5353\ndns-server = ::1\n"
	                                     "fetch-via = agent\n"
	                                     "[account two words]\nmailbox = bob@b.example\n"
	                                     "notify-domain = n.example\nnotify-login = bobby\n"
	                                     "notify-password-file = secret\n"
	                                     "fetch-via = agent-or-store\n"
	                                     "store-domain = S.example.\nstore-login = robert\n"
	                                     "store-password-command = echo pass; echo more\n"
	                                     "[account b]\nmailbox = carol@c.example\n"),
	                &c, &e),
	    0);
	snprintf(path, sizeof path, "%s/here", dir);
	assert_string_equal(c.data, path);
	assert_int_equal(c.n_routes, 2);
	assert_int_equal(c.routes[1].port, 4404);
	assert_int_equal(c.dns_server.n, 2);
	a = &c.accounts[0];
	assert_string_equal(a->store_domain, "s.example");
	assert_string_equal(a->identity, "bobby n.example");
	assert_true(config_receives(a) && config_sends(a));
	assert_int_equal(a->fetch_via, CONFIG_VIA_AGENT_OR_STORE);
	assert_int_equal(c.accounts[1].fetch_via, CONFIG_VIA_AGENT);

	assert_int_equal(config_find(&c, NULL, &a, &e), 0);
	assert_ptr_equal(a, &c.accounts[0]);
	assert_int_equal(config_find(&c, "b", &a, &e), 0);
	assert_ptr_equal(a, &c.accounts[1]);
	assert_int_equal(config_find(&c, "bob@b.example", &a, &e), 0);
	assert_ptr_equal(a, &c.accounts[0]);
	assert_int_equal(config_find(&c, "two", &a, &e), ERR_CONFIG);
	config_free(&c);
}

static void test_passwords(void **state)
{
	char password[PASSWORD_MAX + 1], line[2000];
	struct err_text e = { "" };
	struct config c;

	(void)state;
	write_file("secret", "sesame\r\nsecond line\n");
	assert_int_equal(
	    config_read(write_file("a.conf", "[account home]\nmailbox = bob@b.example\n"
	                                     "notify-password-file = secret\n"
	                                     "store-password-command = printf 'a b\\nmore\\n'\n"
	                                     "[account none]\nmailbox = x@b.example\n"),
	                &c, &e),
	    0);
	assert_int_equal(c.accounts[0].fetch_via, CONFIG_VIA_STORE);
	assert_int_equal(config_notify_password(&c.accounts[0], password, &e), 0);
	assert_string_equal(password, "sesame");
	assert_int_equal(config_store_password(&c.accounts[0], password, &e), 0);
	assert_string_equal(password, "a b");
	assert_int_equal(config_store_password(&c.accounts[1], password, &e), ERR_CONFIG);
	assert_string_equal(e.text,
	                    "account none: no password is named: set store-password-file or "
	                    "store-password-command");
	config_free(&c);

	assert_int_equal(shell_ask("head -c 5000 /dev/zero | tr '\\0' x", line, sizeof line, &e),
	                 0);
	assert_int_equal(strlen(line), sizeof line - 1);
	assert_int_equal(shell_ask("exit 7", line, sizeof line, &e), ERR_CONFIG);
	assert_string_equal(e.text, "command \"exit 7\" ended with status 7");
	assert_int_equal(shell_ask("echo; echo x", line, sizeof line, &e), ERR_CONFIG);
	assert_int_equal(shell_ask("kill -9 $$", line, sizeof line, &e), ERR_CONFIG);
	assert_non_null(strstr(e.text, "status 137"));
	assert_int_equal(shell_run("true", &e), 0);
	assert_int_equal(shell_run("exit 3", &e), ERR_IO);
}

static void test_path(void **state)
{
	static const struct {
		const char *option, *named, *config_home, *wanted;
	} cases[] = {
		{ "x.conf", "/y", "/z", "x.conf" },
		{ NULL, "/y", "/z", "/y" },
		{ NULL, "", "/z", "/z/im2000/agent.conf" },
		{ NULL, NULL, "relative", "/home/bob/.config/im2000/agent.conf" },
		{ NULL, NULL, NULL, "/home/bob/.config/im2000/agent.conf" },
	};

	(void)state;
	assert_int_equal(setenv("HOME", "/home/bob", 1), 0);
	for (size_t i = 0; i < COUNT(cases); i++) {
		char *path;

		unsetenv("IM2000_CONFIG");
		unsetenv("XDG_CONFIG_HOME");
		if (cases[i].named != NULL) {
			setenv("IM2000_CONFIG", cases[i].named, 1);
		}
		if (cases[i].config_home != NULL) {
			setenv("XDG_CONFIG_HOME", cases[i].config_home, 1);
		}
		path = config_path(cases[i].option);
		assert_string_equal(path, cases[i].wanted);
		free(path);
	}
}

/* --- output ------------------------------------------------------------------------------- */

/* What PRINT writes to standard output. */
static const char *printed(int (*print)(void))
{
	static char text[4096];
	int kept = dup(STDOUT_FILENO);
	FILE *file = tmpfile();
	size_t n;

	assert_non_null(file);
	fflush(stdout);
	assert_true(dup2(fileno(file), STDOUT_FILENO) >= 0);
	assert_int_equal(print(), 0);
	fflush(stdout);
	assert_true(dup2(kept, STDOUT_FILENO) >= 0);
	close(kept);
	rewind(file);
	n = fread(text, 1, sizeof text - 1, file);
	text[n] = '\0';
	fclose(file);
	return text;
}

static int print_object(void)
{
	struct show_json j;

	show_json_begin(&j);
	show_json_text(&j, "text", span_str("a\"b\\c\n\x1b\xc3\xbc\xff"));
	show_json_number(&j, "number", UINT64_MAX);
	show_json_bool(&j, "yes", true);
	show_json_time(&j, "time", 1795368376000000);
	show_json_time(&j, "never", 0);
	show_json_list(&j, "none");
	show_json_list_end(&j);
	show_json_list(&j, "some");
	show_json_item(&j, span_str("x"));
	show_json_item(&j, span_str(""));
	show_json_list_end(&j);
	show_json_bool(&j, "no", false);
	return show_json_end(&j);
}

static void test_json(void **state)
{
	(void)state;
	assert_string_equal(
	    printed(print_object),
	    "{\"text\":\"a\\\"b\\\\c\\n\\u001b\xc3\xbc\xef\xbf\xbd\","
	    "\"number\":18446744073709551615,\"yes\":true,\"time\":\"2026-11-22T17:26:16Z\","
	    "\"never\":null,\"none\":[],\"some\":[\"x\",\"\"],\"no\":false}\n");
}

static int print_text(void)
{
	show_begin();
	show_format(stdout, "%s %d\n",
	            "Gr\xc3\xbc\xc3\x9f"
	            "e",
	            5);
	return 0;
}

static void test_charset(void **state)
{
	(void)state;
	setenv("LC_ALL", "C.UTF-8", 1);
	assert_string_equal(printed(print_text), "Gr\xc3\xbc\xc3\x9f"
	                                         "e 5\n");
	assert_null(show_charset());
	setenv("LC_ALL", "C", 1); /* no terminal: as it is */
	assert_string_equal(printed(print_text), "Gr\xc3\xbc\xc3\x9f"
	                                         "e 5\n");
}

static void test_times(void **state)
{
	char text[SHOW_TIME];

	(void)state;
	setenv("TZ", "UTC", 1);
	assert_string_equal(show_time(1795368376000000, text), "2026-11-22 17:26");
	assert_string_equal(show_time(0, text), "-");
	assert_string_equal(show_time(UINT64_MAX, text), "-");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),  cmocka_unit_test(test_all_keys),
		cmocka_unit_test(test_passwords), cmocka_unit_test(test_path),
		cmocka_unit_test(test_json),      cmocka_unit_test(test_charset),
		cmocka_unit_test(test_times),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
