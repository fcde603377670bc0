/* Command lines of administration commands: what is taken, what is said of a wrong one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session/program.h"
#include "session/verb.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { TAKES_SENDER = VERB_TAKES_OWN, TAKES_QUOTA = VERB_TAKES_OWN << 1 };

/* What the verb saw, as text. */
static char seen[4096];

static int show(struct verb_place *p, const struct verb_words *w, struct err_text *e)
{
	const char *text;
	int n;

	(void)p;
	n = snprintf(seen, sizeof seen, "%s", w->json ? "json " : "");
	if (w->config != NULL) {
		n += snprintf(seen + n, sizeof seen - (size_t)n, "config=%s ", w->config);
	}
	if (w->password_file != NULL || w->token) {
		n += snprintf(seen + n, sizeof seen - (size_t)n, "secret=%s ",
		              w->token ? "token" : w->password_file);
	}
	for (size_t i = 0; (text = verb_value(w, TAKES_SENDER, i)) != NULL; i++) {
		n += snprintf(seen + n, sizeof seen - (size_t)n, "sender=%s ", text);
	}
	if ((text = verb_value(w, TAKES_QUOTA, 0)) != NULL) {
		n += snprintf(seen + n, sizeof seen - (size_t)n, "quota=%s ", text);
	}
	assert_null(verb_value(w, TAKES_QUOTA, 1));
	for (int i = 0; i < w->n_rest; i++) {
		n += snprintf(seen + n, sizeof seen - (size_t)n, "%s ", w->rest[i]);
	}
	return w->n_rest > 0 && strcmp(w->rest[0], "later") == 0
	           ? err_set(e, ERR_AGAIN, "not now")
	           : 0;
}

static int judge(const struct verb_words *w, struct err_text *e)
{
	return strcmp(w->rest[0], "bad") == 0 ? err_set(e, ERR_MALFORMED, "it is bad") : 0;
}

static int at_place(const struct verb *v, const struct verb_words *w, struct err_text *e)
{
	return v->run(NULL, w, e);
}

static const struct verb_option options[] = {
	{ "sender", TAKES_SENDER, .repeats = true },
	{ "quota", TAKES_QUOTA, .repeats = false },
	{ .name = NULL },
};
static const struct verb_program program = { "test", options, at_place };
static const struct verb verbs[] = {
	{ "add", "thing add", VERB_TAKES_SECRET | TAKES_SENDER | TAKES_QUOTA, 1, 2, "a thing or two",
	  judge, show },
	{ "list", "thing list", VERB_TAKES_JSON, 0, 0, "no name", NULL, show },
	{ .name = NULL },
};

/* WORDS, divided by blanks, as a command line. */
static int run(const char *words)
{
	char *argv[VERB_VALUES_MAX * 2 + 20], *text = strdup(words), *rest = NULL;
	int argc = 0, r;

	assert_non_null(text);
	for (char *word = strtok_r(text, " ", &rest); word != NULL;
	     word = strtok_r(NULL, " ", &rest)) {
		argv[argc++] = word;
	}
	argv[argc] = NULL;
	seen[0] = '\0';
	r = verb_choose(&program, "add or list", verbs, argc, argv);
	free(text);
	return r;
}

static void test_lines(void **state)
{
	static const struct {
		const char *line;
		int exit;
		const char *seen;
	} cases[] = {
		{ "thing list", PROGRAM_DONE, "" },
		{ "thing list --json -c x.conf", PROGRAM_DONE, "json config=x.conf " },
		{ "thing add a", PROGRAM_DONE, "a " },
		{ "thing add a b", PROGRAM_DONE, "a b " },
		{ "thing add --sender x a --sender y", PROGRAM_DONE, "sender=x sender=y a " },
		{ "thing add --quota 1 a --quota 2", PROGRAM_DONE, "quota=2 a " },
		{ "thing add --token a", PROGRAM_DONE, "secret=token a " },
		{ "thing add --password-file - a", PROGRAM_DONE, "secret=- a " },
		{ "thing", PROGRAM_USAGE, "" },
		{ "thing change", PROGRAM_USAGE, "" },
		{ "thing list a", PROGRAM_USAGE, "" },
		{ "thing list --token", PROGRAM_USAGE, "" },
		{ "thing add", PROGRAM_USAGE, "" },
		{ "thing add a b c", PROGRAM_USAGE, "" },
		{ "thing add --json a", PROGRAM_USAGE, "" },
		{ "thing add a --sender", PROGRAM_USAGE, "" },
		{ "thing add bad", PROGRAM_USAGE, "" },
		{ "thing add --token --password-file f a", PROGRAM_USAGE, "" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		int exit = run(cases[i].line);

		if (exit != cases[i].exit || strcmp(seen, cases[i].seen) != 0) {
			fail_msg("%s: exit %d, \"%s\"", cases[i].line, exit, seen);
		}
	}
	assert_int_equal(run("thing add later"), program_exit_code(ERR_AGAIN));
}

static void test_most_values(void **state)
{
	char line[VERB_VALUES_MAX * 12 + 64];
	int n = snprintf(line, sizeof line, "thing add a");

	(void)state;
	for (int i = 0; i < VERB_VALUES_MAX; i++) {
		n += snprintf(line + n, sizeof line - (size_t)n, " --sender s");
	}
	assert_int_equal(run(line), PROGRAM_DONE);
	snprintf(line + n, sizeof line - (size_t)n, " --sender s");
	assert_int_equal(run(line), PROGRAM_USAGE);
}

static void test_config(void **state)
{
	(void)state;
	unsetenv("IM2000_TEST_VERB");
	assert_string_equal(verb_config("a", "IM2000_TEST_VERB", "c"), "a");
	assert_string_equal(verb_config(NULL, "IM2000_TEST_VERB", "c"), "c");
	setenv("IM2000_TEST_VERB", "", 1);
	assert_string_equal(verb_config(NULL, "IM2000_TEST_VERB", "c"), "c");
	setenv("IM2000_TEST_VERB", "b", 1);
	assert_string_equal(verb_config(NULL, "IM2000_TEST_VERB", "c"), "b");
	assert_string_equal(verb_config("a", "IM2000_TEST_VERB", "c"), "a");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_most_values),
		cmocka_unit_test(test_config),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
