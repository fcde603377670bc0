/* Jobs of one agent in lines by account, and what is remembered of agents. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "store/lines.h"
#include "store/traits.h"

static struct round_job jobs[64];

/* A job for each letter of WHO, of the account of that letter. */
static void add_all(struct lines *l, const char *who)
{
	memset(jobs, 0, sizeof(jobs));
	for (size_t i = 0; who[i] != '\0'; i++) {
		jobs[i].job.account = (uint32_t)who[i];
		assert_int_equal(lines_add(l, &jobs[i]), 0);
	}
}

/* Takes one and passes the turn on, as long as there is one: the accounts in their order. */
static const char *order(struct lines *l)
{
	static char out[65];
	size_t n = 0;
	struct round_job *j;

	while ((j = lines_first(l)) != NULL) {
		bool more = j->queue_next != NULL;

		out[n++] = (char)j->job.account;
		lines_take(l);
		if (more)
			lines_pass(l);
	}
	out[n] = '\0';
	return out;
}

static void test_turns(void **state)
{
	static const struct {
		const char *added, *taken;
	} cases[] = {
		{ "", "" },
		{ "a", "a" },
		{ "aaa", "aaa" },
		{ "aaaab", "abaaa" }, /* who comes last waits for one turn of each other */
		{ "aabbcc", "abcabc" },
		{ "aaaaaabbc", "abcabaaaa" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct lines l = { NULL };

		add_all(&l, cases[i].added);
		assert_string_equal(order(&l), cases[i].taken);
		assert_null(l.turn);
	}
}

/* An account's jobs keep their order; what was taken and must go again goes first. */
static void test_order(void **state)
{
	struct lines l = { NULL };

	(void)state;
	assert_null(lines_first(&l));
	assert_false(lines_single(&l));
	assert_int_equal(lines_count(&l), 0);
	lines_pass(&l);
	add_all(&l, "aab");
	assert_int_equal(lines_count(&l), 2);
	assert_int_equal(lines_account(&l, 0), 'a');
	assert_int_equal(lines_account(&l, 1), 'b');
	assert_ptr_equal(lines_first(&l), &jobs[0]);
	assert_false(lines_single(&l));
	lines_take(&l);
	assert_ptr_equal(lines_first(&l), &jobs[1]); /* still its turn */
	assert_int_equal(lines_return(&l, &jobs[0]), 0);
	assert_ptr_equal(lines_first(&l), &jobs[0]);
	lines_take(&l);
	lines_take(&l);
	assert_ptr_equal(lines_first(&l), &jobs[2]);
	assert_true(lines_single(&l));
	assert_int_equal(lines_return(&l, &jobs[1]), 0); /* its line is gone: a new one */
	assert_false(lines_single(&l));
	lines_take(&l);
	assert_ptr_equal(lines_first(&l), &jobs[1]);
	assert_int_equal(lines_add(&l, &jobs[0]), 0);
	lines_clear(&l);
	assert_null(lines_first(&l));
}

static void test_traits(void **state)
{
	struct traits *x;
	uint64_t now = CLOCK_DAY_US;
	char domain[32];
	int known = 0;

	(void)state;
	assert_int_equal(traits_create(&x), 0);
	assert_int_equal(traits_get(x, "b.example", now), TRAITS_UNKNOWN);
	traits_set(x, "b.example", TRAITS_NO_MANY, now);
	traits_set(x, "c.example", TRAITS_TAKES_MANY, now);
	assert_int_equal(traits_get(x, "b.example", now), TRAITS_NO_MANY);
	assert_int_equal(traits_get(x, "c.example", now), TRAITS_TAKES_MANY);
	/* For a day. */
	assert_int_equal(traits_get(x, "b.example", now + CLOCK_DAY_US - 1), TRAITS_NO_MANY);
	assert_int_equal(traits_get(x, "b.example", now + CLOCK_DAY_US), TRAITS_UNKNOWN);
	now += CLOCK_HOUR_US;
	traits_set(x, "b.example", TRAITS_TAKES_MANY, now);
	assert_int_equal(traits_get(x, "b.example", now + CLOCK_DAY_US - 1), TRAITS_TAKES_MANY);
	/* Far more than there is room for: the last ones are known. */
	for (int i = 0; i < 20000; i++) {
		snprintf(domain, sizeof(domain), "d%d.example", i);
		traits_set(x, domain, TRAITS_NO_MANY, now + (uint64_t)i);
		assert_int_equal(traits_get(x, domain, now + (uint64_t)i), TRAITS_NO_MANY);
	}
	for (int i = 19000; i < 20000; i++) {
		snprintf(domain, sizeof(domain), "d%d.example", i);
		known += traits_get(x, domain, now + 20000) == TRAITS_NO_MANY;
	}
	assert_true(known > 980);
	traits_free(x);
	traits_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_turns),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_traits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
