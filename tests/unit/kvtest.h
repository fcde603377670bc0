/* What the tests of base/kv.h share: a database in a folder of its own, and child processes. */
#ifndef IM2000_TESTS_KVTEST_H
#define IM2000_TESTS_KVTEST_H

#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>
#include <unistd.h>

#include "base/kv.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum { T_ONE, T_TWO, T_COUNT };
extern const char *const kvtest_tables[];

struct kvtest {
	char *dir;
	struct kv *kv; /* open, unless a child process was started */
	kv_table t[T_COUNT];
};

/* For cmocka: *STATE is a struct kvtest with a new, empty database. */
int kvtest_setup(void **state);
int kvtest_teardown(void **state);

/* All of these fail the test when they cannot do what they say. */
struct kv *kvtest_open(struct kvtest *f, const struct kv_options *o);
struct kv_txn *kvtest_write(struct kv *kv);
struct kv_txn *kvtest_read(struct kv *kv);
void kvtest_put(struct kv_txn *txn, kv_table t, const char *key, const char *value);
/* KEY has the value WANT; NULL: it is absent. */
void kvtest_value(struct kv_txn *txn, kv_table t, const char *key, const char *want);
/* COUNT rows of OCTETS zeros, with the keys FROM, FROM + 1 and so on, in one commit. */
void kvtest_rows(struct kv *kv, kv_table t, uint32_t from, uint32_t count, size_t octets);

/* Runs BODY in a process of its own; the parent has no kv open. *FD is the other end of BODY's. */
pid_t kvtest_child(struct kvtest *f, void (*body)(struct kvtest *f, int fd), int *fd);
/* Waits for it; it must have come to BODY's end. Closes FD. */
void kvtest_child_done(pid_t pid, int fd);

/* For processes that tests start: there, cmocka's assertions cannot be used. */
#define CHECK(what)                                                                                \
	do {                                                                                       \
		if (!(what)) {                                                                     \
			fprintf(stderr, "child: line %d: %s\n", __LINE__, #what);                  \
			_exit(1);                                                                  \
		}                                                                                  \
	} while (0)

/* In a child: one octet to the parent, one from it, and opening the parent's database. */
void kvtest_tell(int fd);
void kvtest_hear(int fd);
struct kv *kvtest_child_open(struct kvtest *f, const struct kv_options *o);

#endif
