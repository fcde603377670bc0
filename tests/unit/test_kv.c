/* Key-value storage: records, order, cursors, durability, several processes, no room left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/kv.h"
#include "tests/unit/tempdir.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum { T_ONE, T_TWO, T_COUNT };
static const char *const tables[] = { "one", "two", NULL };

struct fixture {
	char *dir;
	struct kv *kv;
	kv_table t[T_COUNT];
};

static struct kv *open_kv(struct fixture *f, const struct kv_options *o)
{
	struct err_text e = { "" };
	struct kv *kv;

	if (kv_open(f->dir, "x.mdb", o, tables, f->t, &kv, &e) < 0)
		fail_msg("%s", e.text);
	return kv;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	assert_non_null(f);
	f->dir = tempdir_make();
	f->kv = open_kv(f, &(struct kv_options){ .create = true });
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	kv_close(f->kv);
	tempdir_remove(f->dir);
	free(f);
	return 0;
}

static struct kv_txn *write_begin(struct kv *kv)
{
	struct kv_txn *txn;

	assert_int_equal(kv_write_begin(kv, &txn), 0);
	return txn;
}

static struct kv_txn *read_begin(struct kv *kv)
{
	struct kv_txn *txn = kv_read_begin(kv);

	assert_non_null(txn);
	return txn;
}

static void put_str(struct kv_txn *txn, kv_table t, const char *key, const char *value)
{
	assert_int_equal(kv_put(txn, t, span_str(key), span_str(value)), 0);
}

/* WANT NULL: the key is absent. */
static void assert_value(struct kv_txn *txn, kv_table t, const char *key, const char *want)
{
	struct span value;
	int rc = kv_get(txn, t, span_str(key), &value);

	assert_int_equal(rc, want != NULL ? 0 : ERR_NOT_FOUND);
	if (want != NULL)
		assert_true(span_eq_str(value, want));
}

static void test_records(void **state)
{
	struct fixture *f = *state;
	struct kv_txn *txn = write_begin(f->kv);
	struct span value;
	char key[600];
	uint8_t *room;

	put_str(txn, f->t[T_ONE], "a", "1");
	put_str(txn, f->t[T_ONE], "a", "2");
	put_str(txn, f->t[T_TWO], "a", "other table");
	put_str(txn, f->t[T_ONE], "empty", "");
	assert_int_equal(kv_insert(txn, f->t[T_ONE], span_str("a"), span_str("3")), ERR_EXISTS);
	assert_int_equal(kv_insert(txn, f->t[T_ONE], span_str("b"), span_str("3")), 0);
	assert_int_equal(kv_put_reserve(txn, f->t[T_ONE], span_str("r"), 5, &room), 0);
	memcpy(room, "room!", 5);
	assert_int_equal(kv_append(txn, f->t[T_ONE], span_str("r"), span_str("x")), ERR_EXISTS);
	assert_int_equal(kv_append(txn, f->t[T_ONE], span_str("q"), span_str("x")), ERR_EXISTS);
	assert_int_equal(kv_append(txn, f->t[T_ONE], span_str("s"), span_str("x")), 0);
	assert_int_equal(kv_delete(txn, f->t[T_ONE], span_str("b")), 0);
	assert_int_equal(kv_delete(txn, f->t[T_ONE], span_str("b")), ERR_NOT_FOUND);
	assert_int_equal(kv_delete(txn, f->t[T_ONE], span_of(NULL, 0)), ERR_NOT_FOUND);
	/* A key may have 511 octets, and one at least. */
	memset(key, 'k', sizeof key);
	assert_int_equal(kv_put(txn, f->t[T_TWO], span_of(key, 511), span_of(key, 600)), 0);
	assert_int_equal(kv_put(txn, f->t[T_TWO], span_of(key, 512), span_str("")), ERR_TOO_BIG);
	assert_int_equal(kv_put(txn, f->t[T_TWO], span_of(NULL, 0), span_str("")), ERR_TOO_BIG);
	assert_int_equal(kv_get(txn, f->t[T_TWO], span_of(NULL, 0), &value), ERR_NOT_FOUND);
	assert_int_equal(kv_get(txn, f->t[T_TWO], span_of(key, 512), &value), ERR_NOT_FOUND);
	/* None of these refusals broke the transaction. */
	assert_int_equal(kv_write_failed(txn), 0);
	assert_int_equal(kv_count(txn, f->t[T_ONE]), 4);
	assert_int_equal(kv_write_commit(txn), 0);

	txn = read_begin(f->kv);
	assert_value(txn, f->t[T_ONE], "a", "2");
	assert_value(txn, f->t[T_ONE], "b", NULL);
	assert_value(txn, f->t[T_ONE], "empty", "");
	assert_value(txn, f->t[T_ONE], "r", "room!");
	assert_value(txn, f->t[T_ONE], "s", "x");
	assert_value(txn, f->t[T_TWO], "a", "other table");
	assert_int_equal(kv_get(txn, f->t[T_TWO], span_of(key, 511), &value), 0);
	assert_int_equal(value.n, 600);
	assert_int_equal(kv_count(txn, f->t[T_ONE]), 4);
	assert_int_equal(kv_count(txn, f->t[T_TWO]), 2);
	kv_read_end(txn);
	kv_read_end(NULL);
	kv_write_abort(NULL);
	kv_cursor_close(NULL);
	kv_close(NULL);
}

static void test_abort_and_snapshot(void **state)
{
	struct fixture *f = *state;
	struct kv_txn *old, *new, *txn = write_begin(f->kv);

	put_str(txn, f->t[T_ONE], "a", "1");
	assert_int_equal(kv_write_commit(txn), 0);

	/* A reader sees what was there when it began, whatever happens beside it. */
	old = read_begin(f->kv);
	txn = write_begin(f->kv);
	put_str(txn, f->t[T_ONE], "a", "2");
	assert_value(txn, f->t[T_ONE], "a", "2");
	assert_value(old, f->t[T_ONE], "a", "1");
	assert_int_equal(kv_write_commit(txn), 0);
	new = read_begin(f->kv);
	assert_value(old, f->t[T_ONE], "a", "1");
	assert_value(new, f->t[T_ONE], "a", "2");
	kv_read_end(old);
	kv_read_end(new);

	txn = write_begin(f->kv);
	put_str(txn, f->t[T_ONE], "a", "3");
	kv_write_abort(txn);
	/* Recycled transactions see the newest state. */
	txn = read_begin(f->kv);
	assert_value(txn, f->t[T_ONE], "a", "2");
	kv_read_end(txn);
}

static void test_big_endian(void **state)
{
	static const uint64_t numbers[] = { 0, 1, 255, 256, 65535, 65536, 0xffffffff, 0x100000000,
		                            0x0123456789abcdef, UINT64_MAX };
	uint8_t p[8], before[8];

	(void)state;
	for (size_t i = 0; i < COUNT(numbers); i++) {
		kv_put_u64(p, numbers[i]);
		assert_int_equal(kv_get_u64(p), numbers[i]);
		assert_true(i == 0 || memcmp(before, p, 8) < 0);
		memcpy(before, p, 8);
		kv_put_u32(p, (uint32_t)numbers[i]);
		assert_int_equal(kv_get_u32(p), (uint32_t)numbers[i]);
		kv_put_u16(p, (uint16_t)numbers[i]);
		assert_int_equal(kv_get_u16(p), (uint16_t)numbers[i]);
	}
	kv_put_u32(p, 0x01020304);
	assert_memory_equal(p, "\x01\x02\x03\x04", 4);
}

static void test_cursor_table(void **state)
{
	static const struct {
		const char *seek, *found; /* NULL: nothing */
	} cases[] = {
		{ "", "b" },  { "a", "b" },   { "b", "b" },    { "b\x01", "d" }, { "c", "d" },
		{ "d", "d" }, { "da", "dd" }, { "dd", "dd" }, { "e", NULL },    { "\xff", NULL },
	};
	struct fixture *f = *state;
	struct kv_txn *txn = write_begin(f->kv);
	struct kv_cursor *c;
	struct span key, value;

	assert_int_equal(kv_cursor_open(txn, f->t[T_ONE], &c), 0);
	assert_int_equal(kv_cursor_first(c, &key, &value), ERR_NOT_FOUND);
	assert_int_equal(kv_cursor_last(c, &key, &value), ERR_NOT_FOUND);
	assert_int_equal(kv_cursor_seek(c, span_str(""), &key, &value), ERR_NOT_FOUND);
	kv_cursor_close(c);
	put_str(txn, f->t[T_ONE], "dd", "3");
	put_str(txn, f->t[T_ONE], "b", "1");
	put_str(txn, f->t[T_ONE], "d", "2");
	assert_int_equal(kv_write_commit(txn), 0);

	txn = read_begin(f->kv);
	assert_int_equal(kv_cursor_open(txn, f->t[T_ONE], &c), 0);
	for (size_t i = 0; i < COUNT(cases); i++) {
		int rc = kv_cursor_seek(c, span_str(cases[i].seek), &key, &value);

		assert_int_equal(rc, cases[i].found != NULL ? 0 : ERR_NOT_FOUND);
		if (rc == 0)
			assert_true(span_eq_str(key, cases[i].found));
	}
	assert_int_equal(kv_cursor_last(c, &key, &value), 0);
	assert_true(span_eq_str(key, "dd"));
	assert_true(span_eq_str(value, "3"));
	assert_int_equal(kv_cursor_next(c, &key, &value), ERR_NOT_FOUND);
	assert_int_equal(kv_cursor_last(c, &key, &value), 0);
	assert_int_equal(kv_cursor_prev(c, &key, &value), 0);
	assert_true(span_eq_str(key, "d"));
	assert_int_equal(kv_cursor_prev(c, &key, &value), 0);
	assert_true(span_eq_str(key, "b"));
	assert_int_equal(kv_cursor_prev(c, &key, &value), ERR_NOT_FOUND);
	kv_cursor_close(c);
	kv_read_end(txn);
}

/*
 * Walks N records over many pages, deletes those that a pattern names, and holds what the
 * cursor shows against a plain array. Between pages is where deleting goes wrong if it does.
 */
static void delete_while_walking(struct fixture *f, uint32_t n, uint32_t run, uint32_t of)
{
	struct kv_txn *txn = write_begin(f->kv);
	struct kv_cursor *c;
	struct span key, value;
	uint8_t k[4];
	char data[200];
	uint32_t at = 0, left = 0;

	memset(data, 'd', sizeof data);
	for (uint32_t i = 0; i < n; i++) {
		kv_put_u32(k, i);
		assert_int_equal(kv_append(txn, f->t[T_TWO], span_of(k, 4),
		                           span_of(data, i % sizeof data)), 0);
	}
	assert_int_equal(kv_cursor_open(txn, f->t[T_TWO], &c), 0);
	for (int rc = kv_cursor_first(c, &key, &value); rc == 0;
	     rc = kv_cursor_next(c, &key, &value)) {
		assert_int_equal(kv_get_u32(key.p), at);
		assert_int_equal(value.n, at % sizeof data);
		if (at % of < run)
			assert_int_equal(kv_cursor_delete(c), 0);
		at++;
	}
	assert_int_equal(at, n);
	kv_cursor_close(c);
	assert_int_equal(kv_cursor_open(txn, f->t[T_TWO], &c), 0);
	at = n;
	for (int rc = kv_cursor_last(c, &key, &value); rc == 0;
	     rc = kv_cursor_prev(c, &key, &value)) {
		do
			at--;
		while (at % of < run);
		assert_int_equal(kv_get_u32(key.p), at);
		left++;
	}
	assert_int_equal(left, kv_count(txn, f->t[T_TWO]));
	kv_cursor_close(c);
	kv_write_abort(txn);
}

static void test_cursor_delete(void **state)
{
	struct fixture *f = *state;

	delete_while_walking(f, 1, 1, 1);
	delete_while_walking(f, 3000, 1, 1);
	delete_while_walking(f, 3000, 1, 2);
	delete_while_walking(f, 3000, 1, 50);
	delete_while_walking(f, 3000, 49, 50);
	delete_while_walking(f, 3000, 200, 300);
}

static void test_reopen(void **state)
{
	struct fixture *f = *state;
	struct kv_txn *txn = write_begin(f->kv);
	struct err_text e = { "" };
	struct stat st;
	struct kv *kv;
	char path[512];

	put_str(txn, f->t[T_ONE], "kept", "yes");
	assert_int_equal(kv_write_commit(txn), 0);
	txn = write_begin(f->kv);
	put_str(txn, f->t[T_ONE], "aborted", "yes");
	kv_write_abort(txn);
	kv_close(f->kv);

	f->kv = open_kv(f, &(struct kv_options){ .read_only = true });
	txn = read_begin(f->kv);
	assert_value(txn, f->t[T_ONE], "kept", "yes");
	assert_value(txn, f->t[T_ONE], "aborted", NULL);
	kv_read_end(txn);
	assert_int_equal(kv_write_begin(f->kv, &txn), ERR_DENIED);
	kv_close(f->kv);

	f->kv = open_kv(f, &(struct kv_options){ 0 });
	snprintf(path, sizeof path, "%s/x.mdb", f->dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	snprintf(path, sizeof path, "%s/x.mdb-lock", f->dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);

	assert_int_equal(kv_open(f->dir, "absent.mdb", &(struct kv_options){ 0 }, tables, f->t, &kv,
	                         &e), ERR_NOT_FOUND);
	assert_non_null(strstr(e.text, "absent.mdb: No such file"));
	assert_null(kv);
	snprintf(path, sizeof path, "%s/absent.mdb", f->dir);
	assert_int_equal(stat(path, &st), -1);
}

/* What is no database is left as it is, and said to be none. */
static void test_open_rubbish(void **state)
{
	struct fixture *f = *state;
	struct err_text e = { "" };
	kv_table t[T_COUNT];
	struct kv *kv;
	char path[512], back[64] = "";
	FILE *file;

	snprintf(path, sizeof path, "%s/rubbish.mdb", f->dir);
	file = fopen(path, "w");
	assert_non_null(file);
	for (int i = 0; i < 1000; i++)
		fputs("this is no database\n", file);
	fclose(file);
	assert_int_equal(kv_open(f->dir, "rubbish.mdb", &(struct kv_options){ .create = true },
	                         tables, t, &kv, &e), ERR_IO);
	assert_non_null(strstr(e.text, "rubbish.mdb"));
	assert_non_null(strstr(e.text, "damaged or no database"));
	file = fopen(path, "r");
	assert_non_null(file);
	assert_non_null(fgets(back, sizeof back, file));
	assert_string_equal(back, "this is no database\n");
	fclose(file);
	/* Tables that a reading program needs and nobody made. */
	assert_int_equal(kv_open(f->dir, "x.mdb", &(struct kv_options){ .read_only = true },
	                         (const char *const[]){ "three", NULL }, t, &kv, &e), ERR_IO);
}

static void add_rows(struct kv *kv, kv_table t, uint32_t from, uint32_t count, size_t octets)
{
	struct kv_txn *txn = write_begin(kv);
	uint8_t *data = calloc(1, octets);
	uint8_t k[4];

	assert_non_null(data);
	for (uint32_t i = from; i < from + count; i++) {
		kv_put_u32(k, i);
		assert_int_equal(kv_append(txn, t, span_of(k, 4), span_of(data, octets)), 0);
	}
	free(data);
	assert_int_equal(kv_write_commit(txn), 0);
}

/* For processes that tests start: there, cmocka's assertions cannot be used. */
#define CHECK(what)                                                                                \
	do {                                                                                       \
		if (!(what)) {                                                                     \
			fprintf(stderr, "child: line %d: %s\n", __LINE__, #what);                  \
			_exit(1);                                                                  \
		}                                                                                  \
	} while (0)

/* Runs BODY in a process of its own; the parent has no kv open. *FD is the other end of BODY's. */
static pid_t start_child(struct fixture *f, void (*body)(struct fixture *f, int fd), int *fd)
{
	int pair[2];
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	kv_close(f->kv);
	f->kv = NULL;
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(pair[0]);
		body(f, pair[1]);
		_exit(0);
	}
	close(pair[1]);
	*fd = pair[0];
	return pid;
}

static void assert_child(pid_t pid, int fd)
{
	int status;

	close(fd);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void tell(int fd)
{
	char octet = 't';

	CHECK(write(fd, &octet, 1) == 1);
}

static void hear(int fd)
{
	char octet;

	CHECK(read(fd, &octet, 1) == 1);
}

static struct kv *child_open(struct fixture *f, const struct kv_options *o)
{
	struct kv *kv;

	CHECK(kv_open(f->dir, "x.mdb", o, tables, f->t, &kv, NULL) == 0);
	return kv;
}

/* Opens with a small map, lets the parent outgrow it, then reads and writes all the same. */
static void small_map_child(struct fixture *f, int fd)
{
	struct kv *kv = child_open(f, &(struct kv_options){ .map_size = 256 << 10 });
	struct kv_txn *txn = kv_read_begin(kv);
	struct kv_stat stat;
	struct span value;
	uint8_t k[4];

	CHECK(txn != NULL);
	kv_read_end(txn); /* one in the pool when the map grows */
	tell(fd);
	hear(fd);
	txn = kv_read_begin(kv);
	CHECK(txn != NULL);
	CHECK(kv_count(txn, f->t[T_ONE]) == 64);
	kv_put_u32(k, 63);
	CHECK(kv_get(txn, f->t[T_ONE], span_of(k, 4), &value) == 0 && value.n == 65536);
	kv_read_end(txn);
	CHECK(kv_stat(kv, &stat) == 0 && stat.map_octets >= stat.file_octets);
	tell(fd);
	hear(fd);
	/* Outgrown once more; this time it is a writer who notices. */
	CHECK(kv_write_begin(kv, &txn) == 0);
	CHECK(kv_count(txn, f->t[T_ONE]) == 640);
	CHECK(kv_put(txn, f->t[T_TWO], span_str("child"), span_str("was here")) == 0);
	CHECK(kv_write_commit(txn) == 0);
	kv_close(kv);
	tell(fd);
}

static void test_two_processes(void **state)
{
	struct fixture *f = *state;
	struct kv_txn *txn;
	int fd;
	pid_t pid = start_child(f, small_map_child, &fd);

	hear(fd);
	f->kv = open_kv(f, &(struct kv_options){ 0 });
	add_rows(f->kv, f->t[T_ONE], 0, 64, 65536);
	tell(fd);
	hear(fd);
	add_rows(f->kv, f->t[T_ONE], 64, 576, 65536);
	tell(fd);
	hear(fd);
	txn = read_begin(f->kv);
	assert_value(txn, f->t[T_TWO], "child", "was here");
	kv_read_end(txn);
	assert_child(pid, fd);
}

/* Commits row after row, telling of each, until it is killed. */
static void committing_child(struct fixture *f, int fd)
{
	struct kv *kv = child_open(f, &(struct kv_options){ 0 });

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
	struct fixture *f = *state;
	struct kv_txn *txn;
	struct span value;
	uint32_t told = 0;
	uint8_t k[4];
	uint64_t count;
	int fd, status;
	pid_t pid = start_child(f, committing_child, &fd);

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
	f->kv = open_kv(f, &(struct kv_options){ 0 });
	txn = read_begin(f->kv);
	count = kv_count(txn, f->t[T_ONE]);
	assert_in_range(count, told, told + 1);
	assert_int_equal(kv_get(txn, f->t[T_TWO], span_str("last"), &value), 0);
	assert_int_equal(kv_get_u32(value.p), count - 1);
	kv_read_end(txn);
	/* The dead process held no lock that stays. */
	txn = write_begin(f->kv);
	put_str(txn, f->t[T_TWO], "after", "ok");
	assert_int_equal(kv_write_commit(txn), 0);
}

/* Takes two of three readers' slots and dies with them. */
static void dying_reader_child(struct fixture *f, int fd)
{
	struct kv *kv;

	CHECK(kv_open(f->dir, "r.mdb", &(struct kv_options){ .max_readers = 3, .create = true },
	              tables, f->t, &kv, NULL) == 0);
	CHECK(kv_read_begin(kv) != NULL);
	CHECK(kv_read_begin(kv) != NULL);
	tell(fd);
	hear(fd);
	raise(SIGKILL);
}

static void test_readers_full(void **state)
{
	struct fixture *f = *state;
	struct err_text e = { "" };
	struct kv_txn *txn[3];
	struct kv_stat stat;
	int fd, status;
	pid_t pid = start_child(f, dying_reader_child, &fd);

	hear(fd);
	if (kv_open(f->dir, "r.mdb", &(struct kv_options){ .max_readers = 3 }, tables, f->t, &f->kv,
	            &e) < 0)
		fail_msg("%s", e.text);
	txn[0] = read_begin(f->kv);
	assert_null(kv_read_begin(f->kv)); /* the others belong to a process that lives */
	tell(fd);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	close(fd);
	txn[1] = read_begin(f->kv);
	txn[2] = read_begin(f->kv);
	assert_null(kv_read_begin(f->kv));
	for (size_t i = 0; i < COUNT(txn); i++)
		kv_read_end(txn[i]);
	assert_int_equal(kv_stat(f->kv, &stat), 0);
	assert_int_equal(stat.max_readers, 3);
	assert_int_equal(stat.readers, 3);
}

static void test_map_full(void **state)
{
	struct fixture *f = *state;
	struct kv_txn *txn;
	uint8_t data[4096] = { 0 };
	uint8_t k[4];
	uint8_t *room;
	uint32_t i = 0;
	int rc = 0;

	kv_close(f->kv);
	f->kv = open_kv(f, &(struct kv_options){ .map_size = 1 << 20 });
	txn = write_begin(f->kv);
	put_str(txn, f->t[T_ONE], "before", "yes");
	assert_int_equal(kv_write_commit(txn), 0);

	txn = write_begin(f->kv);
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
	txn = write_begin(f->kv);
	assert_int_equal(kv_count(txn, f->t[T_TWO]), 0);
	assert_value(txn, f->t[T_ONE], "before", "yes");
	put_str(txn, f->t[T_ONE], "after", "yes");
	assert_int_equal(kv_write_commit(txn), 0);
}

/* The file may not grow (a full disk, a quota): the same error, and nothing lost. */
static void file_limit_child(struct fixture *f, int fd)
{
	struct kv *kv = child_open(f, &(struct kv_options){ 0 });
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
	struct fixture *f = *state;
	struct kv_txn *txn;
	int fd;
	pid_t pid = start_child(f, file_limit_child, &fd);

	assert_child(pid, fd);
	f->kv = open_kv(f, &(struct kv_options){ 0 });
	txn = read_begin(f->kv);
	assert_value(txn, f->t[T_ONE], "before", "yes");
	assert_value(txn, f->t[T_ONE], "small", "fits");
	assert_value(txn, f->t[T_TWO], "big", NULL);
	kv_read_end(txn);
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
static void address_space_child(struct fixture *f, int fd)
{
	struct rlimit limit = { .rlim_cur = 4ULL << 30, .rlim_max = RLIM_INFINITY };
	struct kv_stat stat;
	struct kv *kv;

	(void)fd;
	CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
	kv = child_open(f, &(struct kv_options){ 0 });
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
	pid_t pid = start_child(*state, address_space_child, &fd);

	assert_child(pid, fd);
#endif
}

static void test_stat(void **state)
{
	struct fixture *f = *state;
	struct kv_stat empty, filled, freed;
	struct kv_txn *txn;
	struct kv_cursor *c;
	struct span key, value;

	assert_int_equal(kv_stat(f->kv, &empty), 0);
	assert_true(empty.map_octets > empty.file_octets);
	assert_int_equal(empty.max_readers, 512);
	add_rows(f->kv, f->t[T_ONE], 0, 256, 16384);
	assert_int_equal(kv_stat(f->kv, &filled), 0);
	assert_true(filled.file_octets >= empty.file_octets + 256 * 16384);
	txn = write_begin(f->kv);
	assert_int_equal(kv_cursor_open(txn, f->t[T_ONE], &c), 0);
	for (int rc = kv_cursor_first(c, &key, &value); rc == 0;
	     rc = kv_cursor_next(c, &key, &value))
		assert_int_equal(kv_cursor_delete(c), 0);
	kv_cursor_close(c);
	assert_int_equal(kv_write_commit(txn), 0);
	/* What was deleted is free for reuse, and is used again: the file does not grow. */
	assert_int_equal(kv_stat(f->kv, &freed), 0);
	assert_true(freed.free_octets >= 256 * 16384);
	assert_true(freed.free_octets < freed.file_octets);
	add_rows(f->kv, f->t[T_ONE], 0, 1, 1); /* only the one after may use them */
	add_rows(f->kv, f->t[T_TWO], 0, 200, 16384);
	assert_int_equal(kv_stat(f->kv, &filled), 0);
	assert_true(filled.file_octets < freed.file_octets + (1 << 20));
	assert_true(filled.free_octets < freed.free_octets - 150 * 16384);
}

static void test_backup(void **state)
{
	struct fixture *f = *state;
	struct err_text e = { "" };
	struct kv_txn *txn, *old;
	struct stat st, original;
	struct kv *copy;
	kv_table t[T_COUNT];
	char path[512];

	add_rows(f->kv, f->t[T_ONE], 0, 64, 16384);
	txn = write_begin(f->kv);
	for (uint32_t i = 0; i < 63; i++) {
		uint8_t k[4];

		kv_put_u32(k, i);
		assert_int_equal(kv_delete(txn, f->t[T_ONE], span_of(k, 4)), 0);
	}
	put_str(txn, f->t[T_TWO], "a", "1");
	assert_int_equal(kv_write_commit(txn), 0);
	old = read_begin(f->kv);
	txn = write_begin(f->kv);
	put_str(txn, f->t[T_TWO], "a", "not committed");
	assert_int_equal(kv_backup(f->kv, f->dir, "copy.mdb", &e), 0);
	kv_write_abort(txn);
	kv_read_end(old);

	snprintf(path, sizeof path, "%s/copy.mdb", f->dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	snprintf(path, sizeof path, "%s/x.mdb", f->dir);
	assert_int_equal(stat(path, &original), 0);
	assert_true(st.st_size < original.st_size / 4); /* compacted */
	assert_int_equal(kv_open(f->dir, "copy.mdb", &(struct kv_options){ 0 }, tables, t, &copy, &e),
	                 0);
	txn = read_begin(copy);
	assert_value(txn, t[T_TWO], "a", "1");
	assert_int_equal(kv_count(txn, t[T_ONE]), 1);
	kv_read_end(txn);
	kv_close(copy);

	assert_int_equal(kv_backup(f->kv, f->dir, "copy.mdb", &e), ERR_EXISTS);
	assert_non_null(strstr(e.text, "copy.mdb: File exists; name a directory"));
	snprintf(path, sizeof path, "%s/absent", f->dir);
	assert_int_equal(kv_backup(f->kv, path, "copy.mdb", &e), ERR_NOT_FOUND);
	assert_non_null(strstr(e.text, "absent/copy.mdb: No such file"));
}

#define THREADS 4
#define ROUNDS 200

/* Every reader sees the two tables agree, as each commit left them. */
static void *read_pairs(void *arg)
{
	struct fixture *f = arg;
	uint64_t last = 0;

	for (int i = 0; i < ROUNDS * 5; i++) {
		struct kv_txn *txn = kv_read_begin(f->kv);
		uint64_t one, two;

		if (txn == NULL)
			return "no transaction";
		one = kv_count(txn, f->t[T_ONE]);
		two = kv_count(txn, f->t[T_TWO]);
		kv_read_end(txn);
		if (one != two || one < last)
			return "not what a commit left";
		last = one;
	}
	return NULL;
}

static void *write_pairs(void *arg)
{
	struct fixture *f = arg;

	for (int i = 0; i < ROUNDS; i++) {
		struct kv_txn *txn;
		uint8_t k[8];

		if (kv_write_begin(f->kv, &txn) < 0)
			return "no transaction";
		kv_put_u64(k, kv_count(txn, f->t[T_ONE]));
		if (kv_append(txn, f->t[T_ONE], span_of(k, 8), span_of(NULL, 0)) < 0
		    || kv_append(txn, f->t[T_TWO], span_of(k, 8), span_of(NULL, 0)) < 0
		    || kv_write_commit(txn) < 0)
			return "not written";
	}
	return NULL;
}

static void test_threads(void **state)
{
	struct fixture *f = *state;
	pthread_t threads[2 * THREADS];
	struct kv_txn *txn;

	kv_close(f->kv);
	f->kv = open_kv(f, &(struct kv_options){ .no_sync = true });
	for (size_t i = 0; i < COUNT(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL,
		                                i % 2 == 0 ? read_pairs : write_pairs, f), 0);
	for (size_t i = 0; i < COUNT(threads); i++) {
		void *problem;

		pthread_join(threads[i], &problem);
		if (problem != NULL)
			fail_msg("%s", (const char *)problem);
	}
	txn = read_begin(f->kv);
	assert_int_equal(kv_count(txn, f->t[T_ONE]), THREADS * ROUNDS);
	kv_read_end(txn);
}

#define FIXTURE_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(test_records),
		FIXTURE_TEST(test_abort_and_snapshot),
		cmocka_unit_test(test_big_endian),
		FIXTURE_TEST(test_cursor_table),
		FIXTURE_TEST(test_cursor_delete),
		FIXTURE_TEST(test_reopen),
		FIXTURE_TEST(test_open_rubbish),
		FIXTURE_TEST(test_two_processes),
		FIXTURE_TEST(test_killed_writer),
		FIXTURE_TEST(test_readers_full),
		FIXTURE_TEST(test_map_full),
		FIXTURE_TEST(test_file_limit),
		FIXTURE_TEST(test_address_space),
		FIXTURE_TEST(test_stat),
		FIXTURE_TEST(test_backup),
		FIXTURE_TEST(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
