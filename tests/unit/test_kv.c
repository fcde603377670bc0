/* Key-value storage: records, order, cursors, durability, figures, backups. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/kv.h"
#include "tests/unit/kvtest.h"

static void test_records(void **state)
{
	struct kvtest *f = *state;
	struct kv_txn *txn = kvtest_write(f->kv);
	struct span value;
	char key[600];
	uint8_t *room;

	kvtest_put(txn, f->t[T_ONE], "a", "1");
	kvtest_put(txn, f->t[T_ONE], "a", "2");
	kvtest_put(txn, f->t[T_TWO], "a", "other table");
	kvtest_put(txn, f->t[T_ONE], "empty", "");
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

	txn = kvtest_read(f->kv);
	kvtest_value(txn, f->t[T_ONE], "a", "2");
	kvtest_value(txn, f->t[T_ONE], "b", NULL);
	kvtest_value(txn, f->t[T_ONE], "empty", "");
	kvtest_value(txn, f->t[T_ONE], "r", "room!");
	kvtest_value(txn, f->t[T_ONE], "s", "x");
	kvtest_value(txn, f->t[T_TWO], "a", "other table");
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
	struct kvtest *f = *state;
	struct kv_txn *old, *new, *txn = kvtest_write(f->kv);

	kvtest_put(txn, f->t[T_ONE], "a", "1");
	assert_int_equal(kv_write_commit(txn), 0);

	/* A reader sees what was there when it began, whatever happens beside it. */
	old = kvtest_read(f->kv);
	txn = kvtest_write(f->kv);
	kvtest_put(txn, f->t[T_ONE], "a", "2");
	kvtest_value(txn, f->t[T_ONE], "a", "2");
	kvtest_value(old, f->t[T_ONE], "a", "1");
	assert_int_equal(kv_write_commit(txn), 0);
	new = kvtest_read(f->kv);
	kvtest_value(old, f->t[T_ONE], "a", "1");
	kvtest_value(new, f->t[T_ONE], "a", "2");
	kv_read_end(old);
	kv_read_end(new);

	txn = kvtest_write(f->kv);
	kvtest_put(txn, f->t[T_ONE], "a", "3");
	kv_write_abort(txn);
	/* Recycled transactions see the newest state. */
	txn = kvtest_read(f->kv);
	kvtest_value(txn, f->t[T_ONE], "a", "2");
	kv_read_end(txn);
}

/* A caller that gives a transaction up halves nothing: its commit answers the first error. */
static void test_fail(void **state)
{
	struct kvtest *f = *state;
	struct kv_txn *txn = kvtest_write(f->kv);

	kvtest_put(txn, f->t[T_ONE], "a", "1");
	kv_write_fail(txn, ERR_MALFORMED);
	kv_write_fail(txn, ERR_IO);
	assert_int_equal(kv_write_failed(txn), ERR_MALFORMED);
	assert_int_equal(kv_write_commit(txn), ERR_MALFORMED);
	txn = kvtest_write(f->kv);
	assert_int_equal(kv_write_failed(txn), 0);
	kvtest_value(txn, f->t[T_ONE], "a", NULL);
	assert_int_equal(kv_write_commit(txn), 0);
}

/* What went well is kept, what failed is not, and the failure is answered. */
static void test_end(void **state)
{
	struct kvtest *f = *state;
	struct kv_txn *txn = kvtest_write(f->kv);

	kvtest_put(txn, f->t[T_ONE], "a", "1");
	assert_int_equal(kv_write_end(txn, 0), 0);
	txn = kvtest_write(f->kv);
	kvtest_put(txn, f->t[T_ONE], "a", "2");
	assert_int_equal(kv_write_end(txn, ERR_NOT_FOUND), ERR_NOT_FOUND);
	txn = kvtest_read(f->kv);
	kvtest_value(txn, f->t[T_ONE], "a", "1");
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
	struct kvtest *f = *state;
	struct kv_txn *txn = kvtest_write(f->kv);
	struct kv_cursor *c;
	struct span key, value;

	assert_int_equal(kv_cursor_open(txn, f->t[T_ONE], &c), 0);
	assert_int_equal(kv_cursor_first(c, &key, &value), ERR_NOT_FOUND);
	assert_int_equal(kv_cursor_last(c, &key, &value), ERR_NOT_FOUND);
	assert_int_equal(kv_cursor_seek(c, span_str(""), &key, &value), ERR_NOT_FOUND);
	kv_cursor_close(c);
	kvtest_put(txn, f->t[T_ONE], "dd", "3");
	kvtest_put(txn, f->t[T_ONE], "b", "1");
	kvtest_put(txn, f->t[T_ONE], "d", "2");
	assert_int_equal(kv_write_commit(txn), 0);

	txn = kvtest_read(f->kv);
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
static void delete_while_walking(struct kvtest *f, uint32_t n, uint32_t run, uint32_t of)
{
	struct kv_txn *txn = kvtest_write(f->kv);
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
	struct kvtest *f = *state;

	delete_while_walking(f, 1, 1, 1);
	delete_while_walking(f, 3000, 1, 1);
	delete_while_walking(f, 3000, 1, 2);
	delete_while_walking(f, 3000, 1, 50);
	delete_while_walking(f, 3000, 49, 50);
	delete_while_walking(f, 3000, 200, 300);
}

static void test_reopen(void **state)
{
	struct kvtest *f = *state;
	struct kv_txn *txn = kvtest_write(f->kv);
	struct err_text e = { "" };
	struct stat st;
	struct kv *kv;
	char path[512];

	kvtest_put(txn, f->t[T_ONE], "kept", "yes");
	assert_int_equal(kv_write_commit(txn), 0);
	txn = kvtest_write(f->kv);
	kvtest_put(txn, f->t[T_ONE], "aborted", "yes");
	kv_write_abort(txn);
	kv_close(f->kv);

	f->kv = kvtest_open(f, &(struct kv_options){ .read_only = true });
	txn = kvtest_read(f->kv);
	kvtest_value(txn, f->t[T_ONE], "kept", "yes");
	kvtest_value(txn, f->t[T_ONE], "aborted", NULL);
	kv_read_end(txn);
	assert_int_equal(kv_write_begin(f->kv, &txn), ERR_DENIED);
	kv_close(f->kv);

	f->kv = kvtest_open(f, &(struct kv_options){ 0 });
	snprintf(path, sizeof path, "%s/x.mdb", f->dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	snprintf(path, sizeof path, "%s/x.mdb-lock", f->dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);

	assert_int_equal(kv_open(f->dir, "absent.mdb", &(struct kv_options){ 0 }, kvtest_tables,
	                         f->t, &kv, &e), ERR_NOT_FOUND);
	assert_non_null(strstr(e.text, "absent.mdb: No such file"));
	assert_null(kv);
	snprintf(path, sizeof path, "%s/absent.mdb", f->dir);
	assert_int_equal(stat(path, &st), -1);
}

/* What is no database is left as it is, and said to be none. */
static void test_open_rubbish(void **state)
{
	struct kvtest *f = *state;
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
	                         kvtest_tables, t, &kv, &e), ERR_IO);
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

static void test_stat(void **state)
{
	struct kvtest *f = *state;
	struct kv_stat empty, filled, freed;
	struct kv_txn *txn;
	struct kv_cursor *c;
	struct span key, value;

	assert_int_equal(kv_stat(f->kv, &empty), 0);
	assert_true(empty.map_octets > empty.file_octets);
	assert_int_equal(empty.max_readers, 512);
	kvtest_rows(f->kv, f->t[T_ONE], 0, 256, 16384);
	assert_int_equal(kv_stat(f->kv, &filled), 0);
	assert_true(filled.file_octets >= empty.file_octets + 256 * 16384);
	txn = kvtest_write(f->kv);
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
	kvtest_rows(f->kv, f->t[T_ONE], 0, 1, 1); /* only the one after may use them */
	kvtest_rows(f->kv, f->t[T_TWO], 0, 200, 16384);
	assert_int_equal(kv_stat(f->kv, &filled), 0);
	assert_true(filled.file_octets < freed.file_octets + (1 << 20));
	assert_true(filled.free_octets < freed.free_octets - 150 * 16384);
}

static void test_backup(void **state)
{
	struct kvtest *f = *state;
	struct err_text e = { "" };
	struct kv_txn *txn, *old;
	struct stat st, original;
	struct kv *copy;
	kv_table t[T_COUNT];
	char path[512];

	kvtest_rows(f->kv, f->t[T_ONE], 0, 64, 16384);
	txn = kvtest_write(f->kv);
	for (uint32_t i = 0; i < 63; i++) {
		uint8_t k[4];

		kv_put_u32(k, i);
		assert_int_equal(kv_delete(txn, f->t[T_ONE], span_of(k, 4)), 0);
	}
	kvtest_put(txn, f->t[T_TWO], "a", "1");
	assert_int_equal(kv_write_commit(txn), 0);
	old = kvtest_read(f->kv);
	txn = kvtest_write(f->kv);
	kvtest_put(txn, f->t[T_TWO], "a", "not committed");
	assert_int_equal(kv_backup(f->kv, f->dir, "copy.mdb", &e), 0);
	kv_write_abort(txn);
	kv_read_end(old);

	snprintf(path, sizeof path, "%s/copy.mdb", f->dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	snprintf(path, sizeof path, "%s/x.mdb", f->dir);
	assert_int_equal(stat(path, &original), 0);
	assert_true(st.st_size < original.st_size / 4); /* compacted */
	assert_int_equal(kv_open(f->dir, "copy.mdb", &(struct kv_options){ 0 }, kvtest_tables, t,
	                         &copy, &e), 0);
	txn = kvtest_read(copy);
	kvtest_value(txn, t[T_TWO], "a", "1");
	assert_int_equal(kv_count(txn, t[T_ONE]), 1);
	kv_read_end(txn);
	kv_close(copy);

	assert_int_equal(kv_backup(f->kv, f->dir, "copy.mdb", &e), ERR_EXISTS);
	assert_non_null(strstr(e.text, "copy.mdb: File exists; name a directory"));
	snprintf(path, sizeof path, "%s/absent", f->dir);
	assert_int_equal(kv_backup(f->kv, path, "copy.mdb", &e), ERR_NOT_FOUND);
	assert_non_null(strstr(e.text, "absent/copy.mdb: No such file"));
}

#define FIXTURE_TEST(test) cmocka_unit_test_setup_teardown(test, kvtest_setup, kvtest_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(test_records),
		FIXTURE_TEST(test_abort_and_snapshot),
		FIXTURE_TEST(test_fail),
		FIXTURE_TEST(test_end),
		cmocka_unit_test(test_big_endian),
		FIXTURE_TEST(test_cursor_table),
		FIXTURE_TEST(test_cursor_delete),
		FIXTURE_TEST(test_reopen),
		FIXTURE_TEST(test_open_rubbish),
		FIXTURE_TEST(test_stat),
		FIXTURE_TEST(test_backup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
