/* MessageIds: what is made opens again, nothing else does; keys rotate and are kept to oneself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
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

/* --- a new key ---------------------------------------------------------------------------- */

static void read_keys(const char *dir, char *out, size_t cap)
{
	char path[4096];
	size_t n;
	FILE *f;

	snprintf(path, sizeof path, "%s/keys", dir);
	f = fopen(path, "r");
	assert_non_null(f);
	n = fread(out, 1, cap - 1, f);
	out[n] = '\0';
	fclose(f);
}

/* DIR's ids make and open ids of KEY. */
static void expect_key(const char *dir, uint16_t key)
{
	struct ids_name name = { 7, 3, IDS_RECIPIENT, key }, got;
	struct ids *s = load(dir);
	uint8_t id[16];

	assert_int_equal(ids_make(s, &name, id), 0);
	assert_int_equal(ids_open(s, id, &got), 0);
	assert_name(&got, &name);
	ids_free(s);
}

static void test_rotate(void **state)
{
	static const char *const starts[] = {
		"1 " FIPS_KEY "\n",
		"1 " FIPS_KEY, /* no newline at the end: a line of its own all the same */
	};
	struct err_text e = { "" };
	char before[300], text[600], path[4096];
	uint16_t number;
	struct stat st;

	for (size_t i = 0; i < COUNT(starts); i++) {
		write_keys(*state, starts[i], strlen(starts[i]), 0600);
		assert_int_equal(ids_rotate(*state, &number, &e), 0);
		assert_int_equal(number, 2);
		read_keys(*state, before, sizeof before);
		assert_memory_equal(before, "1 " FIPS_KEY "\n2 ", 69);
		assert_int_equal(ids_rotate(*state, &number, &e), 0);
		assert_int_equal(number, 3);
		read_keys(*state, text, sizeof text);
		assert_memory_equal(text, before, strlen(before));
		for (uint16_t key = 1; key <= 3; key++)
			expect_key(*state, key);
		snprintf(path, sizeof path, "%s/keys", (const char *)*state);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_mode & 07777, 0600);
	}
	/* The next number is above the highest, wherever that stands. */
	write_keys(*state, "9 " FIPS_KEY "\n", 67, 0600);
	assert_int_equal(ids_rotate(*state, &number, &e), 0);
	assert_int_equal(number, 10);
}

/* What cannot be read, or has no number left, stays as it is. */
static void test_rotate_refused(void **state)
{
	static const struct {
		const char *text;
		mode_t mode;
		int result;
		const char *said;
	} cases[] = {
		{ "1 " FIPS_KEY "\n", 0640, ERR_CONFIG, "chmod 600" },
		{ "1 " FIPS_KEY "\n2\n", 0600, ERR_CONFIG, ":2:" },
		{ "", 0600, ERR_CONFIG, "no key" },
		{ "255 " FIPS_KEY "\n", 0600, ERR_FULL, "no number is above it" },
	};
	char text[300], path[4096];
	uint16_t number;

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct err_text e = { "" };

		write_keys(*state, cases[i].text, strlen(cases[i].text), cases[i].mode);
		assert_int_equal(ids_rotate(*state, &number, &e), cases[i].result);
		assert_non_null(strstr(e.text, cases[i].said));
		read_keys(*state, text, sizeof text);
		assert_string_equal(text, cases[i].text);
	}
	snprintf(path, sizeof path, "%s/keys", (const char *)*state);
	assert_int_equal(remove(path), 0);
	assert_int_equal(ids_rotate(*state, &number, NULL), ERR_NOT_FOUND);
	assert_int_equal(ids_rotate("/nonexistent/store", &number, NULL), ERR_IO);
}

/* In a process of its own that can write LIMIT octets to a file: answers its end. */
static int rotate_limited(const char *dir, rlim_t limit, bool killed)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		const struct rlimit r = { limit, limit };
		uint16_t number;

		signal(SIGXFSZ, killed ? SIG_DFL : SIG_IGN);
		setrlimit(RLIMIT_FSIZE, &r);
		_exit(ids_rotate(dir, &number, NULL) == ERR_IO ? 3 : 4);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

/*
 * Cut off while it writes, by a signal and by an error; and between writing and renaming: the
 * keys of before are there, and the next rotation goes through.
 */
static void test_rotate_cut_off(void **state)
{
	static const char start[] = "1 " FIPS_KEY "\n";
	char text[300], rest[4096];
	uint16_t number;
	int status;
	FILE *f;

	snprintf(rest, sizeof rest, "%s/keys.new", (const char *)*state);
	write_keys(*state, start, strlen(start), 0600);
	for (rlim_t limit = 0; limit < 134; limit += 33) {
		status = rotate_limited(*state, limit, true);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGXFSZ);
		assert_int_equal(access(rest, F_OK), 0);
		read_keys(*state, text, sizeof text);
		assert_string_equal(text, start);
		status = rotate_limited(*state, limit, false);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), 3);
		assert_int_not_equal(access(rest, F_OK), 0);
		read_keys(*state, text, sizeof text);
		assert_string_equal(text, start);
	}
	/* All was written, the power went. */
	f = fopen(rest, "w");
	assert_non_null(f);
	assert_true(fputs("1 " FIPS_KEY "\n2 " FIPS_KEY "\n", f) >= 0);
	fclose(f);
	assert_int_equal(ids_rotate(*state, &number, NULL), 0);
	assert_int_equal(number, 2);
	assert_int_not_equal(access(rest, F_OK), 0);
	expect_key(*state, 1);
	expect_key(*state, 2);
}

/* What a daemon does at SIGHUP: takes new keys, keeps those that it has, refuses another's. */
static void test_adopt(void **state)
{
	static const char other[] = "2 000102030405060708090a0b0c0d0e0f"
	                            "00000000000000000000000000000000\n";
	struct ids_name name = { 7, 3, IDS_RECIPIENT, 1 }, got;
	struct ids *used, *fresh;
	struct err_text e = { "" };
	uint8_t first[16], second[16];
	uint16_t number;

	write_keys(*state, "1 " FIPS_KEY "\n", 67, 0600);
	used = load(*state);
	assert_int_equal(ids_make(used, &name, first), 0);
	assert_int_equal(ids_rotate(*state, &number, &e), 0);
	assert_int_equal(ids_current(used), 1);
	fresh = load(*state);
	assert_int_equal(ids_compare(used, fresh, *state, &e), 0);
	ids_adopt(used, fresh);
	ids_free(fresh);
	assert_int_equal(ids_current(used), 2);
	name.key = 2;
	assert_int_equal(ids_make(used, &name, second), 0);
	assert_int_equal(ids_open(used, second, &got), 0);
	assert_name(&got, &name);
	assert_int_equal(ids_open(used, first, &got), 0);
	assert_int_equal(got.key, 1);

	/* A line that went: its key goes with the process. */
	write_keys(*state, "1 " FIPS_KEY "\n", 67, 0600);
	fresh = load(*state);
	assert_int_equal(ids_compare(used, fresh, *state, &e), 0);
	ids_adopt(used, fresh);
	ids_free(fresh);
	assert_int_equal(ids_current(used), 2);
	assert_int_equal(ids_open(used, second, &got), 0);

	/* Another key of a number that is in use. */
	write_keys(*state, other, strlen(other), 0600);
	fresh = load(*state);
	assert_int_equal(ids_compare(used, fresh, *state, &e), ERR_CONFIG);
	assert_non_null(strstr(e.text, "/keys: key 2 is another than the one in use"));
	ids_free(fresh);
	ids_free(used);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		TEST(test_every_kind),     TEST(test_flipped_bits), TEST(test_known_answer),
		TEST(test_malformed_blocks), TEST(test_rotation),   TEST(test_bad_files),
		TEST(test_init_and_backup), TEST(test_rotate),      TEST(test_rotate_refused),
		TEST(test_rotate_cut_off), TEST(test_adopt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
