/* A claim is held by one process at a time, and no longer than that lives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/claim.h"
#include "tests/unit/tempdir.h"

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

static void test_one_holder(void **state)
{
	struct claim *a, *b;
	struct err_text e = { "" };
	char path[4096], number[32];
	struct stat st;

	assert_int_equal(claim_holder(*state, "claim"), 0);
	assert_int_equal(claim_take(*state, "claim", &a, &e), 0);
	assert_int_equal(claim_holder(*state, "claim"), getpid());
	assert_int_equal(claim_take(*state, "claim", &b, &e), ERR_EXISTS);
	snprintf(number, sizeof number, "number %ld:", (long)getpid());
	assert_non_null(strstr(e.text, number));
	assert_non_null(strstr(e.text, *state));
	assert_int_equal(claim_take(*state, "other", &b, &e), 0);
	claim_drop(b);
	claim_drop(a);
	assert_int_equal(claim_holder(*state, "claim"), 0);
	assert_int_equal(claim_take(*state, "claim", &a, &e), 0);
	claim_drop(a);
	claim_drop(NULL);
	snprintf(path, sizeof path, "%s/claim", (const char *)*state);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

/* Another process holds it until it is killed. */
static void test_killed_holder(void **state)
{
	struct err_text e;
	struct claim *c;
	int ready[2], status;
	char octet = 0;
	pid_t child;

	assert_int_equal(pipe(ready), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		octet = claim_take(*state, "claim", &c, &e) == 0 ? 'y' : 'n';
		if (write(ready[1], &octet, 1) != 1)
			_exit(1);
		pause();
		_exit(0);
	}
	assert_int_equal(read(ready[0], &octet, 1), 1);
	assert_int_equal(octet, 'y');
	assert_int_equal(claim_take(*state, "claim", &c, &e), ERR_EXISTS);
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(claim_take(*state, "claim", &c, &e), 0);
	claim_drop(c);
	close(ready[0]);
	close(ready[1]);
}

static void test_no_place(void **state)
{
	struct err_text e;
	struct claim *c;
	char link[4096];

	assert_int_equal(claim_take("/nonexistent/dir", "claim", &c, &e), ERR_IO);
	assert_non_null(strstr(e.text, "/nonexistent/dir/claim"));
	snprintf(link, sizeof link, "%s/claim", (const char *)*state);
	assert_int_equal(symlink("/dev/null", link), 0);
	assert_int_equal(claim_take(*state, "claim", &c, &e), ERR_IO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_one_holder, setup, teardown),
		cmocka_unit_test_setup_teardown(test_killed_holder, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_place, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
