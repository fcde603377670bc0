/* The values of listen-* and dns-server keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "net/address_list.h"

static void test_values(void **state)
{
	static const struct {
		char *text;
		bool listens, serves_dns;
	} cases[] = {
		{ "127.0.0.1:4401", true, true },
		{ "127.0.0.1", false, true },
		{ "[::1]:4401", true, true },
		{ "::1", false, true },
		{ "[::1]", false, true },
		{ "[::1", false, false },
		{ "unix:/run/store.sock", true, false },
		{ "unix:store.sock", false, false },
		{ "unix:", false, false },
		{ "localhost:4401", false, false },
		{ "127.0.0.1:65536", false, false },
		{ "127.0.0.1:", false, false },
		{ "-", false, false },
		{ "127.0.0.1000000000000000000000000000000000000000000000000000000000000000000000"
		  "0000000000",
		  false, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char *item[] = { cases[i].text };
		unsigned line[] = { 3 };
		const struct conf_list list = { .item = item, .line = line, .n = 1 };
		struct err_text e = { "" };

		assert_int_equal(address_list_is_dns_server(item[0]), cases[i].serves_dns);
		assert_int_equal(address_list_check_dns("x.conf", &list, &e),
		                 cases[i].serves_dns ? 0 : ERR_CONFIG);
		assert_int_equal(address_list_check_listen("x.conf", "listen-x", &list, 7, &e),
		                 cases[i].listens ? 0 : ERR_CONFIG);
	}
}

/* The item that is wrong is named with its line, and what is allowed with the program's port. */
static void test_message(void **state)
{
	char *item[] = { "::1", "here" };
	unsigned line[] = { 3, 9 };
	const struct conf_list list = { .item = item, .line = line, .n = 2 };
	struct err_text e = { "" };

	(void)state;
	address_list_check_dns("x.conf", &list, &e);
	assert_string_equal(e.text, "x.conf:9: dns-server: \"here\" is no address (allowed: "
	                            "127.0.0.1, 127.0.0.1:53, [::1]:53)");
	address_list_check_listen("x.conf", "listen-x", &list, 4403, &e);
	assert_string_equal(e.text, "x.conf:3: listen-x: \"::1\" is no address (allowed: "
	                            "127.0.0.1:4403, [::1]:4403, unix:/path)");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_message),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
