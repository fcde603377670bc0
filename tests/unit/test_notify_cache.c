/* builds: plain asan */
/* The pull cache's files: bounds, order of use, what a crash or damage leaves behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "notify/cache.h"
#include "tempdir.h"

#define KIB 1024

/* A message of N octets that begins with SEED, and its key under tag TAG. */
struct sample {
	uint8_t octets[200 * KIB];
	size_t n;
	struct cache_key key;
};

static struct sample *sample(unsigned seed, size_t n, uint8_t tag)
{
	static struct sample s;

	assert_true(n <= sizeof s.octets);
	memset(&s, 0, sizeof s);
	memset(s.octets, 'a' + (int)seed % 26, n);
	snprintf((char *)s.octets, sizeof s.octets, "%u", seed);
	s.n = n;
	assert_int_equal(digest_octets(span_of(s.octets, n), s.key.digest), 0);
	s.key.tag[0] = tag;
	return &s;
}

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

static struct cache *open_cache(const char *dir, uint64_t limit)
{
	struct err_text e = { "" };
	struct cache *c;

	if (cache_open(dir, limit, &c, &e) != 0) {
		fail_msg("%s", e.text);
	}
	return c;
}

/* What came of putting S in. */
static int put(struct cache *c, const struct sample *s)
{
	struct cache_filling *f;
	struct cache_file *x;
	struct err_text e = { "" };
	int r;

	assert_int_equal(cache_begin(c, &s->key, &f, &e), 0);
	if ((r = cache_reserve(f, s->n, &e)) == 0) {
		assert_int_equal(cache_write(f, span_of(s->octets, s->n / 2), &e), 0);
		assert_int_equal(
		    cache_write(f, span_of(s->octets + s->n / 2, s->n - s->n / 2), &e), 0);
		r = cache_keep(f, &x, &e);
	}
	if (r != 0) {
		assert_true(e.text[0] != '\0');
		cache_drop(f);
		return r;
	}
	cache_let_go(c, x);
	return 0;
}

/* Whether S is there; then it is S. */
static bool has(struct cache *c, const struct sample *s)
{
	struct cache_file *x = cache_find(c, &s->key);
	uint8_t piece[7000];
	uint64_t at = 0;
	ssize_t n;

	if (x == NULL) {
		return false;
	}
	assert_int_equal(cache_size(x), s->n);
	while ((n = cache_read(x, at, piece, sizeof piece)) > 0) {
		assert_true(at + (size_t)n <= s->n);
		assert_memory_equal(piece, s->octets + at, (size_t)n);
		at += (size_t)n;
	}
	assert_int_equal(n, 0);
	assert_int_equal(at, s->n);
	cache_let_go(c, x);
	return true;
}

static unsigned files(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *entry;
	unsigned n = 0;

	assert_non_null(d);
	while ((entry = readdir(d)) != NULL) {
		n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
	}
	closedir(d);
	return n;
}

/* The only file of DIR with S's digest. */
static void path_of(const char *dir, const struct sample *s, char *out, size_t cap)
{
	DIR *d = opendir(dir);
	struct dirent *entry;
	char start[3];

	snprintf(start, sizeof start, "%02x", s->key.digest[0]);
	out[0] = '\0';
	while ((entry = readdir(d)) != NULL) {
		if (strncmp(entry->d_name, start, 2) == 0) {
			assert_int_equal(out[0], '\0');
			snprintf(out, cap, "%s/%s", dir, entry->d_name);
		}
	}
	closedir(d);
	assert_true(out[0] != '\0');
}

static void check_stats(struct cache *c, uint64_t n, uint64_t octets)
{
	struct cache_stats s;

	cache_stats(c, &s);
	assert_int_equal(s.files, n);
	assert_int_equal(s.octets, octets);
}

/* --- bounds and order ---------------------------------------------------------------------- */

static void test_in_and_out(void **state)
{
	struct cache *c = open_cache(*state, 1000 * KIB);
	const size_t sizes[] = { 0, 1, 4096, 4097, 65536, 150000 };

	for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		assert_false(has(c, sample(i, sizes[i], 0)));
		assert_int_equal(put(c, sample(i, sizes[i], 0)), 0);
		assert_true(has(c, sample(i, sizes[i], 0)));
		/* The same octets for somebody else are not there. */
		assert_false(has(c, sample(i, sizes[i], 1)));
	}
	assert_int_equal(put(c, sample(5, 150000, 0)), ERR_EXISTS);
	assert_true(has(c, sample(5, 150000, 0)));
	assert_int_equal(put(c, sample(5, 150000, 1)), 0);
	cache_close(c);
}

/* Those unused for longest go first; use is finding, too. */
static void test_order(void **state)
{
	struct cache *c = open_cache(*state, 40 * KIB);

	for (unsigned i = 0; i < 10; i++) {
		assert_int_equal(put(c, sample(i, 4 * KIB, 0)), 0);
	}
	check_stats(c, 10, 40 * KIB);
	assert_true(has(c, sample(0, 4 * KIB, 0)));
	assert_int_equal(put(c, sample(10, 4 * KIB, 0)), 0);
	assert_true(has(c, sample(0, 4 * KIB, 0)));
	assert_false(has(c, sample(1, 4 * KIB, 0)));
	/* Four go for one. */
	assert_int_equal(put(c, sample(11, 16 * KIB, 0)), 0);
	for (unsigned i = 2; i <= 5; i++) {
		assert_false(has(c, sample(i, 4 * KIB, 0)));
	}
	assert_true(has(c, sample(6, 4 * KIB, 0)));
	check_stats(c, 7, 40 * KIB);
	assert_int_equal(files(*state), 7);
	/* A single octet takes a block. */
	assert_int_equal(put(c, sample(12, 1, 0)), 0);
	check_stats(c, 7, 40 * KIB);
	cache_close(c);
}

/* More than go at once, for a single message; and when the limit falls. */
static void test_many(void **state)
{
	struct cache *c = open_cache(*state, 1000 * KIB);

	for (unsigned i = 0; i < 250; i++) {
		assert_int_equal(put(c, sample(i, 10, 0)), 0);
	}
	assert_int_equal(put(c, sample(250, 200 * KIB, 0)), 0);
	check_stats(c, 201, 1000 * KIB);
	assert_false(has(c, sample(49, 10, 0)));
	assert_true(has(c, sample(50, 10, 0)));
	cache_resize(c, 300 * KIB);
	check_stats(c, 26, 300 * KIB);
	assert_int_equal(files(*state), 26);
	cache_close(c);
	c = open_cache(*state, 4 * KIB);
	check_stats(c, 1, 4 * KIB);
	cache_close(c);
}

static void test_too_big(void **state)
{
	struct cache *c = open_cache(*state, 40 * KIB);

	assert_int_equal(put(c, sample(1, 40 * KIB, 0)), 0);
	assert_int_equal(put(c, sample(2, 40 * KIB + 1, 0)), ERR_TOO_BIG);
	assert_true(has(c, sample(1, 40 * KIB, 0)));
	assert_int_equal(put(c, sample(2, 1, 0)), 0);
	assert_false(has(c, sample(1, 40 * KIB, 0)));
	cache_close(c);
}

/* More octets than were reserved, or fewer, are no message. */
static void test_sizes_lie(void **state)
{
	struct cache *c = open_cache(*state, 40 * KIB);
	struct sample *s = sample(1, 1000, 0);
	struct cache_filling *f;
	struct cache_file *x;

	assert_int_equal(cache_begin(c, &s->key, &f, NULL), 0);
	assert_int_equal(cache_keep(f, &x, NULL), ERR_INTERNAL);
	assert_int_equal(cache_reserve(f, 999, NULL), 0);
	assert_int_equal(cache_write(f, span_of(s->octets, 500), NULL), 0);
	assert_int_equal(cache_keep(f, &x, NULL), ERR_INTERNAL);
	assert_int_equal(cache_write(f, span_of(s->octets, 500), NULL), ERR_TOO_BIG);
	check_stats(c, 1, 4 * KIB);
	cache_drop(f);
	check_stats(c, 0, 0);
	assert_int_equal(files(*state), 0);
	cache_close(c);
}

/* What is read, or on its way in, stays; and leaves no room for others. */
static void test_held(void **state)
{
	struct cache *c = open_cache(*state, 40 * KIB);
	struct sample *s = sample(1, 20 * KIB, 0);
	struct cache_key first = s->key;
	struct cache_filling *f;
	struct cache_file *x, *y;
	uint8_t octet;

	assert_int_equal(put(c, s), 0);
	x = cache_find(c, &first);
	y = cache_hold(c, x);
	s = sample(2, 16 * KIB, 0);
	assert_int_equal(cache_begin(c, &s->key, &f, NULL), 0);
	assert_int_equal(cache_reserve(f, s->n, NULL), 0);
	assert_int_equal(put(c, sample(3, 8 * KIB, 0)), ERR_FULL);
	assert_int_equal(put(c, sample(3, 4 * KIB, 0)), 0);
	cache_let_go(c, x);
	assert_int_equal(put(c, sample(4, 8 * KIB, 0)), ERR_FULL);
	/* The limit falls: the held one goes when it is let go, and can be read until then. */
	cache_resize(c, 16 * KIB);
	assert_int_equal(cache_read(y, 0, &octet, 1), 1);
	check_stats(c, 2, 36 * KIB);
	cache_let_go(c, y);
	check_stats(c, 1, 16 * KIB);
	cache_drop(f);
	cache_resize(c, 0);
	assert_int_equal(put(c, sample(5, 1, 0)), ERR_TOO_BIG);
	assert_int_equal(files(*state), 0);
	cache_close(c);
}

static void test_condemned(void **state)
{
	struct cache *c = open_cache(*state, 40 * KIB);
	struct cache_file *x, *y;

	assert_int_equal(put(c, sample(1, 8 * KIB, 0)), 0);
	x = cache_find(c, &sample(1, 8 * KIB, 0)->key);
	y = cache_find(c, &sample(1, 8 * KIB, 0)->key);
	assert_ptr_equal(x, y);
	cache_condemn(c, x);
	cache_condemn(c, y);
	assert_int_equal(files(*state), 0);
	assert_false(has(c, sample(1, 8 * KIB, 0)));
	/* Another may come in its place while it is still read. */
	assert_int_equal(put(c, sample(1, 8 * KIB, 0)), 0);
	check_stats(c, 2, 16 * KIB);
	cache_let_go(c, x);
	cache_let_go(c, y);
	check_stats(c, 1, 8 * KIB);
	assert_true(has(c, sample(1, 8 * KIB, 0)));
	cache_close(c);
}

/* --- over a restart ------------------------------------------------------------------------- */

static void test_restart(void **state)
{
	struct cache *c = open_cache(*state, 40 * KIB);
	struct timespec used[2] = { 0 };
	struct cache_file *x;
	char path[4096];

	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(put(c, sample(i, 8 * KIB, 0)), 0);
	}
	cache_close(c);
	/* Number 3 was used last, then 1, 4, 0, 2. */
	for (unsigned i = 0; i < 5; i++) {
		static const time_t when[] = { 2000, 4000, 1000, 5000, 3000 };

		used[1].tv_sec = used[0].tv_sec = when[i];
		path_of(*state, sample(i, 8 * KIB, 0), path, sizeof path);
		assert_int_equal(utimensat(AT_FDCWD, path, used, 0), 0);
	}
	c = open_cache(*state, 24 * KIB);
	check_stats(c, 3, 24 * KIB);
	assert_false(has(c, sample(2, 8 * KIB, 0)));
	assert_false(has(c, sample(0, 8 * KIB, 0)));
	x = cache_find(c, &sample(4, 8 * KIB, 0)->key);
	assert_false(cache_is_checked(c, x));
	cache_set_checked(c, x);
	assert_true(cache_is_checked(c, x));
	cache_let_go(c, x);
	/* That was a use. */
	assert_int_equal(put(c, sample(7, 1, 0)), 0);
	assert_false(has(c, sample(1, 8 * KIB, 0)));
	assert_true(has(c, sample(4, 8 * KIB, 0)));
	cache_close(c);
	/* Switched off, it frees the disk. */
	c = open_cache(*state, 0);
	assert_int_equal(files(*state), 0);
	cache_close(c);
}

enum step { BEGUN, RESERVED, HALF, WRITTEN, KEPT, READ, EVICTED, STEPS };

/* A process that goes as far as STEP and ends as a crash would. */
static void crash_at(const char *dir, enum step step)
{
	struct cache *c = open_cache(dir, 16 * KIB);
	struct sample *s = sample(1, 10 * KIB, 0);
	struct cache_filling *f = NULL;
	struct cache_file *x = NULL;

	if (cache_begin(c, &s->key, &f, NULL) != 0 ||
	    (step >= RESERVED && cache_reserve(f, s->n, NULL) != 0) ||
	    (step >= HALF && cache_write(f, span_of(s->octets, s->n / 2), NULL) != 0) ||
	    (step >= WRITTEN &&
	     cache_write(f, span_of(s->octets + s->n / 2, s->n - s->n / 2), NULL) != 0) ||
	    (step >= KEPT && cache_keep(f, &x, NULL) != 0)) {
		_exit(1);
	}
	if (step >= READ) {
		cache_let_go(c, x);
		x = cache_find(c, &s->key);
	}
	if (step == EVICTED) {
		cache_let_go(c, x);
		cache_resize(c, 4 * KIB);
	}
	_exit(0);
}

static void test_crash(void **state)
{
	for (int step = BEGUN; step < STEPS; step++) {
		bool there = step == KEPT || step == READ;
		struct cache *c;
		int status;
		pid_t pid = fork();

		if (pid == 0) {
			crash_at(*state, (enum step)step);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
		c = open_cache(*state, 16 * KIB);
		assert_int_equal(has(c, sample(1, 10 * KIB, 0)), there);
		check_stats(c, there, there ? 12 * KIB : 0);
		assert_int_equal(files(*state), there);
		cache_resize(c, 0);
		cache_close(c);
	}
}

static void make_file(const char *dir, const char *name)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof path, "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
}

struct lines {
	unsigned n;
	char last[512];
};

static void on_line(void *ctx, const char *line)
{
	struct lines *l = ctx;

	l->n++;
	snprintf(l->last, sizeof l->last, "%s", line);
}

static void test_damage(void **state)
{
	struct cache *c = open_cache(*state, 100 * KIB);
	struct lines lines = { 0 };
	struct cache_stats stats;
	char path[4096];
	int fd;

	assert_int_equal(put(c, sample(1, 9 * KIB, 0)), 0);
	assert_int_equal(put(c, sample(2, 9 * KIB, 0)), 0);
	assert_int_equal(cache_check(*state, on_line, &lines), 0);
	/* A file that shrank, or is gone, is not handed out. */
	path_of(*state, sample(1, 9 * KIB, 0), path, sizeof path);
	assert_int_equal(truncate(path, 100), 0);
	assert_false(has(c, sample(1, 9 * KIB, 0)));
	assert_int_equal(put(c, sample(1, 9 * KIB, 0)), 0);
	assert_int_equal(unlink(path), 0);
	assert_false(has(c, sample(1, 9 * KIB, 0)));
	check_stats(c, 1, 12 * KIB);
	/* One octet of another: the check sees it. */
	path_of(*state, sample(2, 9 * KIB, 0), path, sizeof path);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "?", 1, 5000), 1);
	close(fd);
	assert_int_equal(cache_check(*state, on_line, &lines), 1);
	assert_int_equal(lines.n, 1);
	assert_non_null(strstr(lines.last, strrchr(path, '/') + 1));
	cache_close(c);
	/* What does not belong there is named, and left alone; what is unfinished goes. */
	make_file(*state, "notes");
	make_file(*state, ".spool-x12345");
	assert_int_equal(cache_check(*state, on_line, &lines), 2);
	assert_int_equal(cache_count(*state, &stats), 0);
	assert_int_equal(stats.files, 1);
	assert_int_equal(stats.octets, 9 * KIB);
	c = open_cache(*state, 100 * KIB);
	check_stats(c, 1, 12 * KIB);
	assert_int_equal(files(*state), 2);
	cache_close(c);
}

/* Without a descriptor to open it a message is not handed out, and not given up. */
static void test_no_descriptor(void **state)
{
	struct cache *c = open_cache(*state, 100 * KIB);
	struct rlimit before, none;

	assert_int_equal(put(c, sample(1, 9 * KIB, 0)), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_null(cache_find(c, &sample(1, 9 * KIB, 0)->key));
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_true(has(c, sample(1, 9 * KIB, 0)));
	cache_close(c);
}

static void test_no_folder(void **state)
{
	struct lines lines = { 0 };
	struct cache_stats stats;
	struct cache *c;
	char dir[4096];

	snprintf(dir, sizeof dir, "%s/cache", (char *)*state);
	c = open_cache(dir, 0);
	assert_int_not_equal(access(dir, F_OK), 0);
	assert_int_equal(cache_check(dir, on_line, &lines), 0);
	assert_int_equal(cache_count(dir, &stats), 0);
	assert_int_equal(stats.files, 0);
	/* It is made when there is something to put into it. */
	cache_resize(c, 40 * KIB);
	assert_int_equal(put(c, sample(1, 100, 0)), 0);
	assert_true(has(c, sample(1, 100, 0)));
	cache_resize(c, 0);
	cache_close(c);
	assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_in_and_out), TEST(test_order),    TEST(test_too_big),
		TEST(test_many),
		TEST(test_sizes_lie),  TEST(test_held),     TEST(test_condemned),
		TEST(test_restart),    TEST(test_crash),    TEST(test_damage),
		TEST(test_no_folder),  TEST(test_no_descriptor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
