/* Key-value storage: several processes, one that is killed, and no room left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/kv.h"
#include "tests/unit/kvtest.h"

/* Opens with a small map, lets the parent outgrow it, then reads and writes all the same. */
static void small_map_child(struct kvtest *f, int fd)
{
	struct kv *kv = kvtest_child_open(f, &(struct kv_options){ .map_size = 256 << 10 });
	struct kv_txn *txn = kv_read_begin(kv);
	struct kv_stat stat;
	struct span value;
	uint8_t k[4];

	CHECK(txn != NULL);
	kv_read_end(txn); /* one in the pool when the map grows */
	kvtest_tell(fd);
	kvtest_hear(fd);
	txn = kv_read_begin(kv);
	CHECK(txn != NULL);
	CHECK(kv_count(txn, f->t[T_ONE]) == 64);
	kv_put_u32(k, 63);
	CHECK(kv_get(txn, f->t[T_ONE], span_of(k, 4), &value) == 0 && value.n == 65536);
	kv_read_end(txn);
	CHECK(kv_stat(kv, &stat) == 0 && stat.map_octets >= stat.file_octets);
	kvtest_tell(fd);
	kvtest_hear(fd);
	/* Outgrown once more; this time it is a writer who notices. */
	CHECK(kv_write_begin(kv, &txn) == 0);
	CHECK(kv_count(txn, f->t[T_ONE]) == 640);
	CHECK(kv_put(txn, f->t[T_TWO], span_str("child"), span_str("was here")) == 0);
	CHECK(kv_write_commit(txn) == 0);
	kv_close(kv);
	kvtest_tell(fd);
}

static void test_two_processes(void **state)
{
	struct kvtest *f = *state;
	struct kv_txn *txn;
	int fd;
	pid_t pid = kvtest_child(f, small_map_child, &fd);

	kvtest_hear(fd);
	f->kv = kvtest_open(f, &(struct kv_options){ 0 });
	kvtest_rows(f->kv, f->t[T_ONE], 0, 64, 65536);
	kvtest_tell(fd);
	kvtest_hear(fd);
	kvtest_rows(f->kv, f->t[T_ONE], 64, 576, 65536);
	kvtest_tell(fd);
	kvtest_hear(fd);
	txn = kvtest_read(f->kv);
	kvtest_value(txn, f->t[T_TWO], "child", "was here");
	kv_read_end(txn);
	kvtest_child_done(pid, fd);
}

/* Commits row after row, telling of each, until it is killed. */
static void committing_child(struct kvtest *f, int fd)
{
	struct kv *kv = kvtest_child_open(f, &(struct kv_options){ 0 });

	for (uint32_t i = 0;; i++) {
		struct kv_txn *txn;
		uint8_t k[4];

		kv_put_u32(k, i);
		CHECK(kv_write_begin(kv, &txn) == 0);
		CHECK(kv_append(txn, f->t[T_ONE], span_of(k, 4), span_of(k, 4)) == 0);
		CHECK(kv_put(txn, f->t[T_TWO], span_str("last"), span_of(k, 4)) == 0);
		CHECK(kv_write_commit(txn) == 0);
		CHECK(write(fd, k, 4) == 4);
	}
}

static void test_killed_writer(void **state)
{
	struct kvtest *f = *state;
	struct kv_txn *txn;
	struct span value;
	uint32_t told = 0;
	uint8_t k[4];
	uint64_t count;
	int fd, status;
	pid_t pid = kvtest_child(f, committing_child, &fd);

	while (told < 50) {
		assert_int_equal(read(fd, k, 4), 4);
		assert_int_equal(kv_get_u32(k), told++);
	}
	assert_int_equal(kill(pid, SIGKILL), 0);
	while (read(fd, k, 4) == 4)
		told++;
	close(fd);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	/* All that was told of is there, at most one commit more, and nothing by halves. */
	f->kv = kvtest_open(f, &(struct kv_options){ 0 });
	txn = kvtest_read(f->kv);
	count = kv_count(txn, f->t[T_ONE]);
	assert_in_range(count, told, told + 1);
	assert_int_equal(kv_get(txn, f->t[T_TWO], span_str("last"), &value), 0);
	assert_int_equal(kv_get_u32(value.p), count - 1);
	kv_read_end(txn);
	/* The dead process held no lock that stays. */
	txn = kvtest_write(f->kv);
	kvtest_put(txn, f->t[T_TWO], "after", "ok");
	assert_int_equal(kv_write_commit(txn), 0);
}

/* Takes two of three readers' slots and dies with them. */
static void dying_reader_child(struct kvtest *f, int fd)
{
	struct kv *kv;

	CHECK(kv_open(f->dir, "r.mdb", &(struct kv_options){ .max_readers = 3, .create = true },
	              kvtest_tables, f->t, &kv, NULL) == 0);
	CHECK(kv_read_begin(kv) != NULL);
	CHECK(kv_read_begin(kv) != NULL);
	kvtest_tell(fd);
	kvtest_hear(fd);
	raise(SIGKILL);
}

static void test_readers_full(void **state)
{
	struct kvtest *f = *state;
	struct err_text e = { "" };
	struct kv_txn *txn[3];
	struct kv_stat stat;
	int fd, status;
	pid_t pid = kvtest_child(f, dying_reader_child, &fd);

	kvtest_hear(fd);
	if (kv_open(f->dir, "r.mdb", &(struct kv_options){ .max_readers = 3 }, kvtest_tables, f->t,
	            &f->kv, &e) < 0)
		fail_msg("%s", e.text);
	txn[0] = kvtest_read(f->kv);
	assert_null(kv_read_begin(f->kv)); /* the others belong to a process that lives */
	kvtest_tell(fd);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	close(fd);
	txn[1] = kvtest_read(f->kv);
	txn[2] = kvtest_read(f->kv);
	assert_null(kv_read_begin(f->kv));
	for (size_t i = 0; i < COUNT(txn); i++)
		kv_read_end(txn[i]);
	assert_int_equal(kv_stat(f->kv, &stat), 0);
	assert_int_equal(stat.max_readers, 3);
	assert_int_equal(stat.readers, 3);
}

static void test_map_full(void **state)
{
	struct kvtest *f = *state;
	struct kv_txn *txn;
	uint8_t data[4096] = { 0 };
	uint8_t k[4];
	uint8_t *room;
	uint32_t i = 0;
	int rc = 0;

	kv_close(f->kv);
	f->kv = kvtest_open(f, &(struct kv_options){ .map_size = 1 << 20 });
	txn = kvtest_write(f->kv);
	kvtest_put(txn, f->t[T_ONE], "before", "yes");
	assert_int_equal(kv_write_commit(txn), 0);

	txn = kvtest_write(f->kv);
	assert_int_equal(kv_write_failed(txn), 0);
	for (; rc == 0 && i < 1000; i++) {
		kv_put_u32(k, i);
		rc = kv_append(txn, f->t[T_TWO], span_of(k, 4), span_of(data, sizeof data));
	}
	assert_int_equal(rc, ERR_FULL);
	assert_in_range(i, 50, 256);
	/* From here on the transaction answers what broke it, to the end. */
	assert_int_equal(kv_write_failed(txn), ERR_FULL);
	assert_int_equal(kv_put(txn, f->t[T_ONE], span_str("x"), span_str("y")), ERR_FULL);
	assert_int_equal(kv_put_reserve(txn, f->t[T_ONE], span_str("x"), 1, &room), ERR_FULL);
	assert_null(room);
	assert_int_equal(kv_delete(txn, f->t[T_ONE], span_str("before")), ERR_FULL);
	assert_int_equal(kv_write_commit(txn), ERR_FULL);

	/* What was there is there, nothing else, and what fits still fits. */
	txn = kvtest_write(f->kv);
	assert_int_equal(kv_count(txn, f->t[T_TWO]), 0);
	kvtest_value(txn, f->t[T_ONE], "before", "yes");
	kvtest_put(txn, f->t[T_ONE], "after", "yes");
	assert_int_equal(kv_write_commit(txn), 0);
}

/* The file may not grow (a full disk, a quota): the same error, and nothing lost. */
static void file_limit_child(struct kvtest *f, int fd)
{
	struct kv *kv = kvtest_child_open(f, &(struct kv_options){ 0 });
	struct rlimit limit = { .rlim_cur = 256 << 10, .rlim_max = RLIM_INFINITY };
	static uint8_t data[1 << 20];
	struct kv_txn *txn;
	struct span value;
	int rc;

	(void)fd;
	signal(SIGXFSZ, SIG_IGN);
	CHECK(kv_write_begin(kv, &txn) == 0);
	CHECK(kv_put(txn, f->t[T_ONE], span_str("before"), span_str("yes")) == 0);
	CHECK(kv_write_commit(txn) == 0);
	CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
	CHECK(kv_write_begin(kv, &txn) == 0);
	rc = kv_put(txn, f->t[T_TWO], span_str("big"), span_of(data, sizeof data));
	CHECK(rc == 0);
	CHECK(kv_write_commit(txn) == ERR_FULL);
	CHECK(kv_write_begin(kv, &txn) == 0);
	CHECK(kv_get(txn, f->t[T_TWO], span_str("big"), &value) == ERR_NOT_FOUND);
	CHECK(kv_put(txn, f->t[T_ONE], span_str("small"), span_str("fits")) == 0);
	CHECK(kv_write_commit(txn) == 0);
	kv_close(kv);
}

static void test_file_limit(void **state)
{
	struct kvtest *f = *state;
	struct kv_txn *txn;
	int fd;
	pid_t pid = kvtest_child(f, file_limit_child, &fd);

	kvtest_child_done(pid, fd);
	f->kv = kvtest_open(f, &(struct kv_options){ 0 });
	txn = kvtest_read(f->kv);
	kvtest_value(txn, f->t[T_ONE], "before", "yes");
	kvtest_value(txn, f->t[T_ONE], "small", "fits");
	kvtest_value(txn, f->t[T_TWO], "big", NULL);
	kv_read_end(txn);
}

/* Puts N octets at KEY and claims them before. What came of the claim. */
static int claim_and_put(struct kvtest *f, struct kv *kv, const char *key, size_t n)
{
	static uint8_t data[1 << 20];
	struct kv_txn *txn;
	int rc;

	CHECK(kv_write_begin(kv, &txn) == 0);
	rc = kv_claim(txn, n);
	if (rc < 0) {
		kv_write_abort(txn);
		return rc;
	}
	CHECK(kv_put(txn, f->t[T_TWO], span_str(key), span_of(data, n)) == 0);
	CHECK(kv_write_commit(txn) == 0);
	return 0;
}

/* What claims is refused while who does not is served, until what is removed has made room. */
static void reserve_child(struct kvtest *f, int fd)
{
	struct kv *kv = kvtest_child_open(f, &(struct kv_options){ .reserve = 1 << 20 });
	struct rlimit limit = { .rlim_cur = 4 << 20, .rlim_max = RLIM_INFINITY };
	struct kv_txn *txn;
	char key[16];
	int n = 0;

	(void)fd;
	signal(SIGXFSZ, SIG_IGN);
	CHECK(claim_and_put(f, kv, "first", 100) == 0);
	CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
	do
		snprintf(key, sizeof key, "%d", n++);
	while (claim_and_put(f, kv, key, 200000) == 0);
	/* Two octets for one, the reserve, and what there is besides. */
	CHECK(n > 5 && n < 20);
	CHECK(claim_and_put(f, kv, "large", 200000) == ERR_FULL);
	for (int i = 0; i < 4; i++) {
		snprintf(key, sizeof key, "%d", i);
		CHECK(kv_write_begin(kv, &txn) == 0);
		CHECK(kv_delete(txn, f->t[T_TWO], span_str(key)) == 0);
		CHECK(kv_write_commit(txn) == 0);
	}
	CHECK(claim_and_put(f, kv, "large", 200000) == 0);
	limit.rlim_cur = RLIM_INFINITY;
	CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
	CHECK(claim_and_put(f, kv, "larger", 1000000) == 0);
	kv_close(kv);
}

static void test_reserve(void **state)
{
	struct kvtest *f = *state;
	int fd;
	pid_t pid = kvtest_child(f, reserve_child, &fd);

	kvtest_child_done(pid, fd);
}

/* Sanitizers take address space of their own, so this cannot be tried under them. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#ifdef __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define ADDRESS_SPACE_TAKEN
#endif
#endif
#else
#define ADDRESS_SPACE_TAKEN
#endif

/* 4 GiB of address space instead of a whole TiB: the map gets what there is. */
static void address_space_child(struct kvtest *f, int fd)
{
	struct rlimit limit = { .rlim_cur = 4ULL << 30, .rlim_max = RLIM_INFINITY };
	struct kv_stat stat;
	struct kv *kv;

	(void)fd;
	CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
	kv = kvtest_child_open(f, &(struct kv_options){ 0 });
	CHECK(kv_stat(kv, &stat) == 0);
	CHECK(stat.map_octets >= 1ULL << 30 && stat.map_octets < 4ULL << 30);
	kv_close(kv);
}

static void test_address_space(void **state)
{
#ifdef ADDRESS_SPACE_TAKEN
	(void)state;
	(void)address_space_child;
	skip();
#else
	int fd;
	pid_t pid = kvtest_child(*state, address_space_child, &fd);

	kvtest_child_done(pid, fd);
#endif
}

#define FIXTURE_TEST(test) cmocka_unit_test_setup_teardown(test, kvtest_setup, kvtest_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(test_two_processes),
		FIXTURE_TEST(test_killed_writer),
		FIXTURE_TEST(test_readers_full),
		FIXTURE_TEST(test_map_full),
		FIXTURE_TEST(test_file_limit),
		FIXTURE_TEST(test_reserve),
		FIXTURE_TEST(test_address_space),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
