/* Passwords and tokens: form, checking, reading from files. */
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
#include "base/random.h"
#include "tests/unit/tempdir.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/*
 * RFC 7914's vectors have salts of other lengths, so this one was made by Python's hashlib:
 * scrypt(b"pleaseletmein", salt=b"SodiumChloride16", n=16384, r=8, p=1, dklen=32).
 */
static const struct password_hash known = { {
	PASSWORD_SCRYPT, 14, 8, 1,
	'S', 'o', 'd', 'i', 'u', 'm', 'C', 'h', 'l', 'o', 'r', 'i', 'd', 'e', '1', '6',
	0xcb, 0x07, 0x77, 0x2a, 0xe1, 0xb9, 0x37, 0xbe, 0x7e, 0xff, 0xe9,
	0xff, 0x0a, 0x37, 0xea, 0x77, 0x8a, 0xa3, 0xcd, 0x04, 0x1a, 0x9d,
	0x1d, 0x63, 0x23, 0x54, 0x8f, 0x7e, 0xb1, 0x4a, 0x5c, 0xd6,
} };

static void test_known(void **state)
{
	struct password_hash bad;

	(void)state;
	assert_true(password_check(span_str("pleaseletmein"), &known));
	assert_false(password_check(span_str("pleaseletmeim"), &known));
	assert_false(password_check(span_str("pleaseletmein "), &known));
	assert_false(password_check(span_str(""), &known));
	/* Parameters that are none, or that would cost too much, match nothing. */
	static const struct {
		size_t at;
		uint8_t value;
	} cases[] = {
		{ 0, 0 }, { 0, 2 },  { 0, 3 }, { 1, 0 }, { 1, 13 }, { 1, 20 }, { 1, 255 },
		{ 2, 0 }, { 2, 7 },  { 2, 9 }, { 3, 0 }, { 3, 2 },  { 3, 5 },  { 4, 's' },
		{ 19, '7' },
	};
	for (size_t i = 0; i < COUNT(cases); i++) {
		bad = known;
		bad.octets[cases[i].at] = cases[i].value;
		assert_false(password_check(span_str("pleaseletmein"), &bad));
	}
	for (size_t i = 20; i < PASSWORD_HASH_SIZE; i += 31) { /* the digest's first and last octet */
		bad = known;
		bad.octets[i] ^= 1;
		assert_false(password_check(span_str("pleaseletmein"), &bad));
	}
}

static void test_make(void **state)
{
	struct password_hash a, b;
	char longest[PASSWORD_MAX + 1];

	(void)state;
	assert_int_equal(password_hash_make(span_str("secret"), &a), 0);
	assert_int_equal(password_hash_make(span_str("secret"), &b), 0);
	assert_memory_equal(a.octets, "\x01\x0f\x08\x01", 4); /* scrypt, 2^15, 8, 1 */
	assert_memory_not_equal(a.octets + 4, b.octets + 4, 16);
	assert_memory_not_equal(a.octets + 20, b.octets + 20, 32);
	assert_true(password_check(span_str("secret"), &a));
	assert_false(password_check(span_str("Secret"), &a));
	assert_int_equal(password_hash_make(span_str(""), &a), ERR_MALFORMED);
	memset(longest, 'x', sizeof longest);
	assert_int_equal(password_hash_make(span_of(longest, PASSWORD_MAX + 1), &a), ERR_TOO_BIG);
	assert_int_equal(password_hash_make(span_of(longest, PASSWORD_MAX), &a), 0);
	assert_true(password_check(span_of(longest, PASSWORD_MAX), &a));
	assert_false(password_check(span_of(longest, PASSWORD_MAX + 1), &a));
	password_hash_none(&a);
	assert_memory_equal(a.octets, "\x01\x0f\x08\x01", 4);
	assert_false(password_check(span_str("secret"), &a));
}

static void fill_ff(void *out, size_t n)
{
	memset(out, 0xff, n);
}

static void test_token(void **state)
{
	static const struct {
		const char *text;
		bool form;
	} cases[] = {
		{ "imt_ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmno-_", true },
		{ "imt_0123456789012345678901234567890123456789012", true },
		{ "imt_012345678901234567890123456789012345678901", false },
		{ "imt_01234567890123456789012345678901234567890123", false },
		{ "IMT_0123456789012345678901234567890123456789012", false },
		{ "imt_012345678901234567890123456789012345678901=", false },
		{ "imt_012345678901234567890123456789012345678901+", false },
		{ "imt_012345678901234567890123456789012345678901\xc3", false },
		{ "", false },
		{ "secret", false },
	};
	struct password_hash a, b;
	char one[PASSWORD_TOKEN_TEXT + 1], two[PASSWORD_TOKEN_TEXT + 1];

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		assert_int_equal(password_is_token(span_str(cases[i].text)), cases[i].form);
	password_token_make(one, &a);
	password_token_make(two, &b);
	assert_int_equal(strlen(one), PASSWORD_TOKEN_TEXT);
	assert_true(password_is_token(span_str(one)));
	assert_string_not_equal(one, two);
	assert_int_equal(a.octets[0], PASSWORD_TOKEN);
	assert_true(password_check(span_str(one), &a));
	assert_false(password_check(span_str(one), &b));
	assert_false(password_check(span_str("secret"), &a));
	assert_false(password_check(span_str(""), &a));
	a.octets[51] ^= 1;
	assert_false(password_check(span_str(one), &a));
	/* The text is all that is hashed: SHA-256 of it, by sha256sum. */
	random_set_source(fill_ff);
	password_token_make(one, &a);
	random_set_source(NULL);
	assert_string_equal(one, "imt___________________________________________8");
	static const uint8_t want[32] = {
		0x75, 0x3e, 0xe8, 0x21, 0x76, 0x26, 0xeb, 0xa8, 0x1e, 0xb7, 0xa8,
		0xaf, 0x92, 0x04, 0x0f, 0x85, 0xe6, 0xf4, 0x9d, 0xfb, 0x42, 0xa4,
		0x87, 0x29, 0x01, 0x3f, 0x4a, 0x85, 0xef, 0x55, 0xcf, 0xdb,
	};
	assert_memory_equal(a.octets + 20, want, 32);
}

static void test_read_file(void **state)
{
	char long_line[PASSWORD_MAX + 3];
	struct {
		const char *content;
		size_t n;
		int rc;
		const char *password; /* or a part of the error */
	} cases[] = {
		{ "secret\n", 7, 0, "secret" },
		{ "secret", 6, 0, "secret" },
		{ " two words \nmore\n", 17, 0, " two words " },
		{ "secret\r\n", 8, 0, "secret" },
		{ "se\rcret\n", 8, 0, "se\rcret" },
		{ "", 0, ERR_MALFORMED, "its first line is empty" },
		{ "\nsecret\n", 8, ERR_MALFORMED, "its first line is empty" },
		{ "\r\n", 2, ERR_MALFORMED, "its first line is empty" },
		{ "se\0cret\n", 8, ERR_MALFORMED, "holds a NUL" },
		{ long_line, PASSWORD_MAX, 0, NULL },
		{ long_line, PASSWORD_MAX + 1, ERR_TOO_BIG, "1024 octets at most" },
	};
	char *dir = tempdir_make();
	char path[512], out[PASSWORD_MAX + 1];
	struct err_text e;

	(void)state;
	memset(long_line, 'x', sizeof long_line);
	snprintf(path, sizeof path, "%s/password", dir);
	for (size_t i = 0; i < COUNT(cases); i++) {
		FILE *f = fopen(path, "w");
		int rc;

		assert_non_null(f);
		fwrite(cases[i].content, 1, cases[i].n, f);
		fclose(f);
		e.text[0] = '\0';
		rc = password_read_file(path, out, &e);
		assert_int_equal(rc, cases[i].rc);
		if (rc < 0)
			assert_non_null(strstr(e.text, cases[i].password));
		else if (cases[i].password != NULL)
			assert_string_equal(out, cases[i].password);
		else
			assert_int_equal(strlen(out), PASSWORD_MAX);
		if (rc < 0)
			assert_non_null(strstr(e.text, path));
	}
	unlink(path);
	assert_int_equal(password_read_file(path, out, &e), ERR_IO);
	assert_non_null(strstr(e.text, "No such file"));
	assert_int_equal(password_read_file(dir, out, NULL), ERR_IO);
	tempdir_remove(dir);
}

/* From a pipe only the first line is taken. */
static void test_read_standard_input(void **state)
{
	char out[PASSWORD_MAX + 1], rest[8] = "";
	int saved = dup(STDIN_FILENO);
	int ends[2];

	(void)state;
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], "secret\nrest", 11), 11);
	close(ends[1]);
	assert_true(dup2(ends[0], STDIN_FILENO) >= 0);
	close(ends[0]);
	assert_int_equal(password_read_file("-", out, NULL), 0);
	assert_string_equal(out, "secret");
	assert_int_equal(read(STDIN_FILENO, rest, sizeof rest), 4);
	assert_memory_equal(rest, "rest", 4);
	if (saved >= 0) {
		dup2(saved, STDIN_FILENO);
		close(saved);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known),
		cmocka_unit_test(test_make),
		cmocka_unit_test(test_token),
		cmocka_unit_test(test_read_file),
		cmocka_unit_test(test_read_standard_input),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
