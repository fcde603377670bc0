#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "tests/unit/kvtest.h"
#include "tests/unit/tempdir.h"

const char *const kvtest_tables[] = { "one", "two", NULL };

struct kv *kvtest_open(struct kvtest *f, const struct kv_options *o)
{
	struct err_text e = { "" };
	struct kv *kv;

	if (kv_open(f->dir, "x.mdb", o, kvtest_tables, f->t, &kv, &e) < 0)
		fail_msg("%s", e.text);
	return kv;
}

int kvtest_setup(void **state)
{
	struct kvtest *f = calloc(1, sizeof *f);

	assert_non_null(f);
	f->dir = tempdir_make();
	f->kv = kvtest_open(f, &(struct kv_options){ .create = true });
	*state = f;
	return 0;
}

int kvtest_teardown(void **state)
{
	struct kvtest *f = *state;

	kv_close(f->kv);
	tempdir_remove(f->dir);
	free(f);
	return 0;
}

struct kv_txn *kvtest_write(struct kv *kv)
{
	struct kv_txn *txn;

	assert_int_equal(kv_write_begin(kv, &txn), 0);
	return txn;
}

struct kv_txn *kvtest_read(struct kv *kv)
{
	struct kv_txn *txn = kv_read_begin(kv);

	assert_non_null(txn);
	return txn;
}

void kvtest_put(struct kv_txn *txn, kv_table t, const char *key, const char *value)
{
	assert_int_equal(kv_put(txn, t, span_str(key), span_str(value)), 0);
}

void kvtest_value(struct kv_txn *txn, kv_table t, const char *key, const char *want)
{
	struct span value;
	int rc = kv_get(txn, t, span_str(key), &value);

	assert_int_equal(rc, want != NULL ? 0 : ERR_NOT_FOUND);
	if (want != NULL)
		assert_true(span_eq_str(value, want));
}

void kvtest_rows(struct kv *kv, kv_table t, uint32_t from, uint32_t count, size_t octets)
{
	struct kv_txn *txn = kvtest_write(kv);
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

pid_t kvtest_child(struct kvtest *f, void (*body)(struct kvtest *f, int fd), int *fd)
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

void kvtest_child_done(pid_t pid, int fd)
{
	int status;

	close(fd);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

void kvtest_tell(int fd)
{
	char octet = 't';

	CHECK(write(fd, &octet, 1) == 1);
}

void kvtest_hear(int fd)
{
	char octet;

	CHECK(read(fd, &octet, 1) == 1);
}

struct kv *kvtest_child_open(struct kvtest *f, const struct kv_options *o)
{
	struct kv *kv;

	CHECK(kv_open(f->dir, "x.mdb", o, kvtest_tables, f->t, &kv, NULL) == 0);
	return kv;
}
