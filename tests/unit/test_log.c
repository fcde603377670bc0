/* The log: quoting, levels, one line a record from any thread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/text.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define LITERAL(s) { (const uint8_t *)(s), sizeof(s) - 1 }
#define CUT "\xe2\x80\xa6"

static uint64_t fixed_now(void)
{
	return 1795451539ULL * CLOCK_SECOND_US;
}

static int stderr_saved = -1;

/* From here on stderr goes to the temporary file that is returned. */
static FILE *capture_begin(void)
{
	FILE *f = tmpfile();

	assert_non_null(f);
	fflush(stderr);
	stderr_saved = dup(STDERR_FILENO);
	assert_true(stderr_saved >= 0);
	assert_true(dup2(fileno(f), STDERR_FILENO) >= 0);
	return f;
}

static void capture_end(FILE *f)
{
	dup2(stderr_saved, STDERR_FILENO);
	close(stderr_saved);
	rewind(f);
}

static void test_quote(void **state)
{
	static const struct {
		struct span plain;
		const char *text;
	} cases[] = {
		{ LITERAL("plain-1.example/x:@"), "plain-1.example/x:@" },
		{ LITERAL(""), "\"\"" },
		{ LITERAL("two words"), "\"two words\"" },
		{ LITERAL("a=b"), "\"a=b\"" },
		{ LITERAL("say \"hi\" \\"), "\"say \\\"hi\\\" \\\\\"" },
		{ LITERAL("a\nlevel=error"), "\"a\\x0alevel=error\"" },
		{ LITERAL("\0\x1b[2J\x7f"), "\"\\x00\\x1b[2J\\x7f\"" },
		{ LITERAL("\xc2\x9b"), "\"\\u009b\"" },
		{ LITERAL("gr\xc3\xbc\xc3\x9f"), "\"gr\xc3\xbc\xc3\x9f\"" },
		{ LITERAL("\xff\xc3"), "\"\\xff\\xc3\"" },
	};
	char out[256];
	char in[1000];

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		assert_string_equal(log_quote(cases[i].plain, out, sizeof out), cases[i].text);

	/* Cut at 200 octets, whatever stands there; 256 octets are enough for the worst. */
	memset(in, 'x', sizeof in);
	log_quote(span_of(in, 200), out, sizeof out);
	assert_int_equal(strlen(out), 200);
	log_quote(span_of(in, 201), out, sizeof out);
	assert_int_equal(strlen(out), 200 + strlen(CUT));
	assert_string_equal(out + 200, CUT);
	memset(in, '\x01', sizeof in);
	log_quote(span_of(in, sizeof in), out, sizeof out);
	assert_int_equal(strlen(out), 200 + strlen(CUT) + 2);
	assert_string_equal(out + 197, "\\x01" CUT "\"");

	/* Small room: never over it, never half a character. */
	for (size_t cap = 0; cap < 40; cap++) {
		char small[40];

		memset(small, 'z', sizeof small);
		log_quote(span_str("\xc3\xbc\xc3\xbc\xc3\xbc \"\x01\xe2\x82\xac\xe2\x82\xac end"), small,
		          cap);
		assert_true(cap == 0 || memchr(small, '\0', cap) != NULL);
		assert_true(cap == 0 || text_is_utf8(span_str(small)));
		for (size_t i = cap; i < sizeof small; i++)
			assert_int_equal(small[i], 'z');
	}
}

static void test_id(void **state)
{
	static const uint8_t id[16] = { 0x0f, 0xa0, 0x00, 0xff, 0x11, 0x22 };
	char out[12];

	(void)state;
	assert_string_equal(log_id(id, out, sizeof out), "0fa000ff" CUT);
}

static void test_levels(void **state)
{
	enum log_level level = LOG_LEVEL_ERROR;

	(void)state;
	assert_int_equal(log_parse_level("debug", &level), 0);
	assert_int_equal(level, LOG_LEVEL_DEBUG);
	assert_int_equal(log_parse_level("warn", &level), 0);
	assert_int_equal(level, LOG_LEVEL_WARN);
	assert_int_equal(log_parse_level("Warn", &level), ERR_MALFORMED);
	assert_int_equal(log_parse_level("", &level), ERR_MALFORMED);
	assert_int_equal(level, LOG_LEVEL_WARN);
}

static void test_records(void **state)
{
	static const char *const want[] = {
		"2026-11-23T16:32:19Z level=error event=stop\n",
		"2026-11-23T16:32:19Z level=warn event=slow peer=127.0.0.1 octets=17\n",
		"2026-11-23T16:32:19Z level=warn event=trick a=b?level=error\n",
		"2026-11-23T16:32:19Z level=debug event=more x=1\n",
	};
	char line[4096];
	char big[5000];
	FILE *f;

	(void)state;
	clock_set_source(fixed_now, NULL);
	f = capture_begin();
	log_error("stop", "%s", "");
	log_warn("slow", "peer=%s octets=%d", "127.0.0.1", 17);
	log_warn("trick", "a=%s", "b\nlevel=error");
	log_info("dropped", "x=%d", 1); /* warn is the default */
	log_set_level(LOG_LEVEL_DEBUG);
	log_debug("more", "x=%d", 1);
	log_set_level(LOG_LEVEL_ERROR);
	log_warn("dropped", "x=%d", 1);
	memset(big, 'x', sizeof big - 1);
	big[sizeof big - 1] = '\0';
	log_error("big", "v=%s", big);
	log_set_level(LOG_LEVEL_WARN);
	capture_end(f);
	clock_set_source(NULL, NULL);
	for (size_t i = 0; i < COUNT(want); i++) {
		assert_non_null(fgets(line, sizeof line, f));
		assert_string_equal(line, want[i]);
	}
	/* A record that is too long ends with the sign of a cut. */
	assert_non_null(fgets(line, sizeof line, f));
	assert_true(strlen(line) <= 2048);
	assert_string_equal(line + strlen(line) - 5, "x" CUT "\n");
	assert_null(fgets(line, sizeof line, f));
	fclose(f);
}

#define THREADS 4
#define RECORDS 200

static void *write_records(void *arg)
{
	for (int i = 0; i < RECORDS; i++)
		log_warn("many", "thread=%d n=%d end=1", *(int *)arg, i);
	return NULL;
}

static void test_threads(void **state)
{
	pthread_t threads[THREADS];
	int number[THREADS];
	int next[THREADS] = { 0 };
	char line[256];
	FILE *f = capture_begin();

	(void)state;
	for (int i = 0; i < THREADS; i++) {
		number[i] = i;
		assert_int_equal(pthread_create(&threads[i], NULL, write_records, &number[i]), 0);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	capture_end(f);
	while (fgets(line, sizeof line, f) != NULL) {
		int thread = -1, n = -1, end = 0;

		assert_int_equal(sscanf(line, "%*s level=warn event=many thread=%d n=%d end=%d\n",
		                        &thread, &n, &end), 3);
		assert_in_range(thread, 0, THREADS - 1);
		assert_int_equal(n, next[thread]++);
	}
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(next[i], RECORDS);
	fclose(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_quote),
		cmocka_unit_test(test_id),
		cmocka_unit_test(test_levels),
		cmocka_unit_test(test_records),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
