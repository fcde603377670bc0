/* Address space and room for files, found out by trying. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/room.h"
#include "tests/unit/tempdir.h"

static void test_map(void **state)
{
	const uint64_t too_much = 1ULL << 62; /* no processor of today has that much */

	(void)state;
	assert_int_equal(room_for_map(1 << 20, 4096), 1 << 20);
	assert_in_range(room_for_map(too_much, 4096), 1 << 20, 1ULL << 56);
	/* Never below what is needed at least, though it may then fail. */
	assert_int_equal(room_for_map(too_much, too_much), too_much);
	assert_int_equal(room_for_map(4096, 4096), 4096);
}

static void test_file(void **state)
{
	struct rlimit before, limit;
	char *dir = tempdir_make();
	char path[512];
	struct stat st;
	int fd;

	(void)state;
	snprintf(path, sizeof path, "%s/file", dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_true(room_in_file(fd));
	assert_int_equal(fstat(fd, &st), 0);
	assert_in_range(st.st_size, 1, 65536);

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	limit = (struct rlimit){ .rlim_cur = (rlim_t)st.st_size, .rlim_max = before.rlim_max };
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_false(room_in_file(fd));
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	signal(SIGXFSZ, SIG_DFL);
	assert_true(room_in_file(fd));
	/* What is wrong otherwise is not for want of room. */
	close(fd);
	assert_true(room_in_file(fd));
	tempdir_remove(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_map),
		cmocka_unit_test(test_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
