/* MessageIds: what is made opens again, nothing else does; keys rotate and are kept to oneself. */
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

#include "base/text.h"
#include "store/ids.h"
#include "tests/unit/tempdir.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* The key of FIPS 197 appendix C.3: 00 01 ... 1f. */
#define FIPS_KEY "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
/* AES-256-ECB under it of 00112233445566778899aabb 02 01 0000. */
#define KNOWN_ID "0ed84d6c05d033c997be677feb3d3569"

static int setup(void **state)
{
	*state = tempdir_make();
	return 0;
}

static int teardown(void **state)
{
	tempdir_remove(*state);
	return 0;
}

static void write_keys(const char *dir, const char *text, size_t n, mode_t mode)
{
	char path[4096];
	FILE *f;

	snprintf(path, sizeof path, "%s/keys", dir);
	unlink(path);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(path, mode), 0);
}

static struct ids *load(const char *dir)
{
	struct err_text e = { "" };
	struct ids *s;

	if (ids_load(dir, &s, &e) != 0)
		fail_msg("%s", e.text);
	return s;
}

static void assert_name(const struct ids_name *a, const struct ids_name *b)
{
	assert_int_equal(a->message, b->message);
	assert_int_equal(a->index, b->index);
	assert_int_equal(a->kind, b->kind);
	assert_int_equal(a->key, b->key);
}

static const struct ids_name names[] = {
	{ 1, 0, IDS_ORIGINATOR, 1 },
	{ UINT64_MAX, 0, IDS_ORIGINATOR, 1 },
	{ 1, 0, IDS_RECIPIENT, 1 },
	{ 1, 1, IDS_RECIPIENT, 1 },
	{ 1, UINT32_MAX, IDS_RECIPIENT, 1 },
	{ UINT64_MAX, UINT32_MAX, IDS_RECIPIENT, 1 },
	{ 0x0123456789abcdef, 9999, IDS_LIST, 1 },
	{ 0x0123456789abcdef, 9999, IDS_GRANT, 1 },
};

static void test_every_kind(void **state)
{
	uint8_t ids[COUNT(names)][16];
	struct ids_name got;
	struct err_text e;
	struct ids *s;

	assert_int_equal(ids_init(*state, &e), 0);
	s = load(*state);
	assert_int_equal(ids_current(s), 1);
	for (size_t i = 0; i < COUNT(names); i++) {
		assert_int_equal(ids_make(s, &names[i], ids[i]), 0);
		assert_int_equal(ids_open(s, ids[i], &got), 0);
		assert_name(&got, &names[i]);
		for (size_t k = 0; k < i; k++)
			assert_memory_not_equal(ids[i], ids[k], 16);
	}
	ids_free(s);
	ids_free(NULL);
}

/* Each of the 128 bits flipped, alone and with each neighbour. */
static void test_flipped_bits(void **state)
{
	struct ids_name got;
	struct err_text e;
	struct ids *s;

	assert_int_equal(ids_init(*state, &e), 0);
	s = load(*state);
	for (size_t i = 0; i < COUNT(names); i++) {
		uint8_t id[16];

		assert_int_equal(ids_make(s, &names[i], id), 0);
		for (unsigned bit = 0; bit < 128; bit++) {
			id[bit / 8] ^= (uint8_t)(1 << bit % 8);
			assert_int_equal(ids_open(s, id, &got), ERR_NOT_FOUND);
			id[(bit + 1) % 128 / 8] ^= (uint8_t)(1 << (bit + 1) % 8);
			assert_int_equal(ids_open(s, id, &got), ERR_NOT_FOUND);
			id[bit / 8] ^= (uint8_t)(1 << bit % 8);
			assert_int_equal(ids_open(s, id, &got), ERR_NOT_FOUND);
			id[(bit + 1) % 128 / 8] ^= (uint8_t)(1 << (bit + 1) % 8);
		}
		assert_int_equal(ids_open(s, id, &got), 0);
	}
	ids_free(s);
}

/* The published vector: the layout of the block and the cipher are what the header says. Its plain
 * text ends in ee ff, which is no name; one that is was encrypted with the openssl command. */
static void test_known_answer(void **state)
{
	static const struct ids_name name = { 0x0011223344556677, 0x8899aabb, IDS_RECIPIENT, 1 };
	uint8_t id[16], wanted[16];
	struct ids_name got;
	struct ids *s;

	write_keys(*state, "1 " FIPS_KEY "\n", 67, 0600);
	s = load(*state);
	assert_int_equal(
	    text_parse_hex(span_str("8ea2b7ca516745bfeafc49904b496089"), wanted, 16), 0);
	assert_int_equal(ids_open(s, wanted, &got), ERR_NOT_FOUND);
	assert_int_equal(text_parse_hex(span_str(KNOWN_ID), wanted, 16), 0);
	assert_int_equal(ids_make(s, &name, id), 0);
	assert_memory_equal(id, wanted, 16);
	assert_int_equal(ids_open(s, wanted, &got), 0);
	assert_name(&got, &name);
	ids_free(s);
}

/* Plain texts that are no names, encrypted under the loaded key. */
static void test_malformed_blocks(void **state)
{
	/* A recipient, and what is wrong with the other ones. */
	static const struct ids_name bad[] = {
		{ 1, 1, IDS_ORIGINATOR, 1 }, /* an originator has no index */
		{ 1, 0, (enum ids_kind)0, 1 },
		{ 1, 0, (enum ids_kind)5, 1 },
		{ 1, 0, (enum ids_kind)255, 1 },
	};
	struct ids_name got;
	struct err_text e;
	struct ids *s;
	uint8_t id[16];

	assert_int_equal(ids_init(*state, &e), 0);
	s = load(*state);
	for (size_t i = 0; i < COUNT(bad); i++) {
		assert_int_equal(ids_make(s, &bad[i], id), 0);
		assert_int_equal(ids_open(s, id, &got), ERR_NOT_FOUND);
	}
	assert_int_equal(ids_make(s, &(struct ids_name){ 1, 0, IDS_RECIPIENT, 2 }, id),
	                 ERR_NOT_FOUND);
	assert_int_equal(ids_make(s, &(struct ids_name){ 1, 0, IDS_RECIPIENT, 300 }, id),
	                 ERR_NOT_FOUND);
	ids_free(s);
}

static void test_rotation(void **state)
{
	static const char other[] = "000102030405060708090a0b0c0d0e0f"
	                            "00000000000000000000000000000000";
	struct ids_name name = { 7, 3, IDS_RECIPIENT, 1 }, got;
	uint8_t old_id[16], new_id[16];
	struct ids *before, *both, *after;
	char text[300];
	int n;

	write_keys(*state, "1 " FIPS_KEY "\n", 67, 0600);
	before = load(*state);
	/* Written in any order, without a newline at the end. */
	n = snprintf(text, sizeof text, "200 %s\n1 " FIPS_KEY, other);
	write_keys(*state, text, (size_t)n, 0600);
	both = load(*state);
	assert_int_equal(ids_current(both), 200);
	assert_int_equal(ids_make(before, &name, old_id), 0);
	assert_int_equal(ids_open(both, old_id, &got), 0);
	assert_name(&got, &name);
	name.key = 200;
	assert_int_equal(ids_make(both, &name, new_id), 0);
	assert_int_equal(ids_open(both, new_id, &got), 0);
	assert_name(&got, &name);
	assert_int_equal(ids_open(before, new_id, &got), ERR_NOT_FOUND);
	n = snprintf(text, sizeof text, "200 %s\n", other);
	write_keys(*state, text, (size_t)n, 0600);
	after = load(*state);
	assert_int_equal(ids_open(after, new_id, &got), 0);
	assert_int_equal(ids_open(after, old_id, &got), ERR_NOT_FOUND);
	/* The same key under another number opens nothing of the first one. */
	n = snprintf(text, sizeof text, "2 " FIPS_KEY "\n");
	write_keys(*state, text, (size_t)n, 0600);
	ids_free(after);
	after = load(*state);
	assert_int_equal(ids_open(after, old_id, &got), ERR_NOT_FOUND);
	ids_free(before);
	ids_free(both);
	ids_free(after);
}

static void test_bad_files(void **state)
{
	static const struct {
		const char *text;
		mode_t mode;
		const char *said;
	} cases[] = {
		{ "1 " FIPS_KEY "\n", 0640, "chmod 600" },
		{ "1 " FIPS_KEY "\n", 0604, "chmod 600" },
		{ "1 " FIPS_KEY "\n", 0620, "chmod 600" },
		{ "", 0600, "no key" },
		{ "\n", 0600, ":1:" },
		{ "1\n", 0600, ":1:" },
		{ "1 \n", 0600, ":1:" },
		{ "0 " FIPS_KEY "\n", 0600, ":1:" },
		{ "256 " FIPS_KEY "\n", 0600, ":1:" },
		{ "-1 " FIPS_KEY "\n", 0600, ":1:" },
		{ " 1 " FIPS_KEY "\n", 0600, ":1:" },
		{ "1 " FIPS_KEY " \n", 0600, ":1:" },
		{ "1 " FIPS_KEY "00\n", 0600, ":1:" },
		{ "001 " FIPS_KEY "00\n", 0600, ":1:" },
		{ "1 0" FIPS_KEY "\n", 0600, ":1:" },
		{ "1 x" FIPS_KEY "\n", 0600, ":1:" },
		{ "1 " FIPS_KEY "\n1 " FIPS_KEY "\n", 0600, ":2:" },
		{ "1 " FIPS_KEY "\n2 " FIPS_KEY "\n\n", 0600, ":3:" },
	};
	struct ids *s;

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct err_text e = { "" };

		write_keys(*state, cases[i].text, strlen(cases[i].text), cases[i].mode);
		assert_int_equal(ids_load(*state, &s, &e), ERR_CONFIG);
		if (strstr(e.text, cases[i].said) == NULL)
			fail_msg("case %zu: \"%s\" does not say \"%s\"", i, e.text, cases[i].said);
		/* A key is a secret, also where it is written wrongly. */
		assert_null(strstr(e.text, "0001020304"));
	}
}

static void test_init_and_backup(void **state)
{
	const char *dir = *state;
	char *to = tempdir_make(), path[4096];
	struct ids_name name = { 7, 3, IDS_RECIPIENT, 1 }, got;
	struct ids *a, *b;
	struct err_text e;
	struct stat st;
	uint8_t id[16];

	assert_int_equal(ids_load(dir, &a, &e), ERR_NOT_FOUND);
	assert_int_equal(ids_backup(dir, to, &e), ERR_NOT_FOUND);
	assert_int_equal(ids_init(dir, &e), 0);
	assert_int_equal(ids_init(dir, &e), ERR_EXISTS);
	assert_int_equal(ids_init("/nonexistent/store", &e), ERR_IO);
	snprintf(path, sizeof path, "%s/keys", dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(ids_backup(dir, to, &e), 0);
	assert_int_equal(ids_backup(dir, to, &e), ERR_EXISTS);
	snprintf(path, sizeof path, "%s/keys", to);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	a = load(dir);
	b = load(to);
	assert_int_equal(ids_make(a, &name, id), 0);
	assert_int_equal(ids_open(b, id, &got), 0);
	assert_name(&got, &name);
	ids_free(a);
	ids_free(b);
	tempdir_remove(to);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		TEST(test_every_kind),     TEST(test_flipped_bits), TEST(test_known_answer),
		TEST(test_malformed_blocks), TEST(test_rotation),   TEST(test_bad_files),
		TEST(test_init_and_backup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
