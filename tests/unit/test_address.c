/* Addresses: text and octet forms, and what counts as private. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <cmocka.h>

#include "net/address.h"

static void test_parse_and_format(void **state)
{
	static const struct {
		const char *text;
		const char *same; /* NULL: malformed */
	} cases[] = {
		{ "127.0.0.1:4401", "127.0.0.1:4401" },
		{ "0.0.0.0:0", "0.0.0.0:0" },
		{ "255.255.255.255:65535", "255.255.255.255:65535" },
		{ "[::1]:4401", "[::1]:4401" },
		{ "[2001:DB8:0:0::7]:25", "[2001:db8::7]:25" },
		{ "[::ffff:1.2.3.4]:1", "[::ffff:1.2.3.4]:1" },
		{ "127.0.0.1", NULL },
		{ "127.0.0.1:", NULL },
		{ "127.0.0.1:65536", NULL },
		{ "127.0.0.1:-1", NULL },
		{ "127.0.0.1:1x", NULL },
		{ "127.0.0:1", NULL },
		{ "127.0.0.256:1", NULL },
		{ "::1:4401", NULL },
		{ "[::1]", NULL },
		{ "[::1:4401", NULL },
		{ "[127.0.0.1]:1", NULL },
		{ "[::1]4401", NULL },
		{ "[fe80::1%lo]:1", NULL },
		{ "localhost:4401", NULL },
		{ ":4401", NULL },
		{ "", NULL },
		{ "[1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc]:1", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct address a;
		char out[64];
		int rc = address_parse(cases[i].text, &a);

		if (rc != (cases[i].same != NULL ? 0 : ERR_MALFORMED))
			fail_msg("%s: %d", cases[i].text, rc);
		if (rc == 0)
			assert_string_equal(address_format(&a, out, sizeof out), cases[i].same);
	}
}

static void test_unix(void **state)
{
	struct address a = { .n = sizeof(struct sockaddr_un) };
	unsigned char octets[16];
	char out[64];

	(void)state;
	a.u.sa.sa_family = AF_UNIX;
	assert_string_equal(address_format(&a, out, sizeof out), "unix");
	assert_int_equal(address_port(&a), 0);
	assert_int_equal(address_octets(&a, octets), 0);
}

static void test_octets_and_port(void **state)
{
	static const struct {
		const char *text;
		unsigned char octets[16];
		size_t n;
	} cases[] = {
		{ "1.2.3.4:9", { 1, 2, 3, 4 }, 4 },
		{ "[::ffff:1.2.3.4]:9", { 1, 2, 3, 4 }, 4 },
		{ "[fd00::1]:9", { 0xfd, [15] = 1 }, 16 },
	};
	struct address a;
	unsigned char octets[16] = { 0 };
	char out[64];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_int_equal(address_parse(cases[i].text, &a), 0);
		assert_int_equal(address_port(&a), 9);
		assert_int_equal(address_octets(&a, octets), cases[i].n);
		assert_memory_equal(octets, cases[i].octets, cases[i].n);
		address_set_port(&a, 65535);
		assert_int_equal(address_port(&a), 65535);
	}
	assert_int_equal(address_from_octets("\12\0\0\1", 4, 4401, &a), 0);
	assert_string_equal(address_format(&a, out, sizeof out), "10.0.0.1:4401");
	assert_int_equal(address_from_octets(cases[2].octets, 16, 1, &a), 0);
	assert_string_equal(address_format(&a, out, sizeof out), "[fd00::1]:1");
	assert_int_equal(address_from_octets("abcdef", 6, 1, &a), ERR_MALFORMED);
	assert_int_equal(address_from_octets("abcd", 4, 65536, &a), ERR_MALFORMED);
}

/* The first and last address of each network, and their neighbours outside. */
static void test_private(void **state)
{
	static const struct {
		const char *host;
		bool is_private;
	} cases[] = {
		{ "0.0.0.0", true },          { "0.255.255.255", true },
		{ "1.0.0.0", false },         { "9.255.255.255", false },
		{ "10.0.0.0", true },         { "10.255.255.255", true },
		{ "11.0.0.0", false },        { "100.63.255.255", false },
		{ "100.64.0.0", true },       { "100.127.255.255", true },
		{ "100.128.0.0", false },     { "126.255.255.255", false },
		{ "127.0.0.0", true },        { "127.255.255.255", true },
		{ "128.0.0.0", false },       { "169.253.255.255", false },
		{ "169.254.0.0", true },      { "169.254.255.255", true },
		{ "169.255.0.0", false },     { "172.15.255.255", false },
		{ "172.16.0.0", true },       { "172.31.255.255", true },
		{ "172.32.0.0", false },      { "192.0.0.8", true },
		{ "192.0.1.0", false },       { "192.0.2.1", true },
		{ "192.167.255.255", false }, { "192.168.0.0", true },
		{ "192.168.255.255", true },  { "192.169.0.0", false },
		{ "198.17.255.255", false },  { "198.18.0.0", true },
		{ "198.19.255.255", true },   { "198.20.0.0", false },
		{ "198.51.100.7", true },     { "203.0.113.7", true },
		{ "203.0.114.0", false },     { "223.255.255.255", false },
		{ "224.0.0.0", true },        { "239.255.255.255", true },
		{ "240.0.0.0", true },        { "255.255.255.255", true },
		{ "8.8.8.8", false },
		{ "::", true },               { "::1", true },
		{ "::2", true },              { "::8.8.8.8", false },
		{ "::10.0.0.1", true },
		{ "::ffff:127.0.0.1", true }, { "::ffff:10.1.2.3", true },
		{ "::ffff:8.8.8.8", false },
		{ "64:ff9b::10.0.0.1", true }, { "64:ff9b::8.8.8.8", false },
		{ "64:ff9b::169.254.169.254", true }, { "64:ff9b:1::8.8.8.8", true },
		{ "2002:7f00:1::1", true },   { "2002:808:808::1", false },
		{ "2002:c0a8:1::1", true },
		{ "100::1", true },           { "100:0:0:1::", false },
		{ "2001::1", true },          { "2001:1ff:ffff::", true },
		{ "2001:200::", false },      { "2001:4860:4860::8888", false },
		{ "2001:db8::1", true },      { "2001:db9::", false },
		{ "3fff::1", true },          { "3fff:1000::", false },
		{ "fbff:ffff::", false },     { "fc00::", true },
		{ "fdff:ffff::1", true },     { "fe00::", false },
		{ "fe7f:ffff::", false },     { "fe80::1", true },
		{ "febf:ffff::", true },      { "fec0::1", true },
		{ "feff:ffff::", true },      { "ff00::", true },
		{ "ff02::1", true },          { "2a00::1", false },
	};
	struct address a = { .n = sizeof(struct sockaddr_un) };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char text[64];

		snprintf(text, sizeof text, strchr(cases[i].host, ':') != NULL ? "[%s]:1" : "%s:1",
		         cases[i].host);
		assert_int_equal(address_parse(text, &a), 0);
		if (address_is_private(&a) != cases[i].is_private)
			fail_msg("%s must %sbe private", cases[i].host,
			         cases[i].is_private ? "" : "not ");
	}
	a.u.sa.sa_family = AF_UNIX;
	assert_true(address_is_private(&a));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_and_format),
		cmocka_unit_test(test_unix),
		cmocka_unit_test(test_octets_and_port),
		cmocka_unit_test(test_private),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
