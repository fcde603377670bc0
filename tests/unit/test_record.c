/* Records of the store's database: what is written is read, and damage is seen by the seal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "store/record.h"

#define VERSION 3

static struct span write_record(uint8_t *p, size_t cap, struct span key, int *rc)
{
	struct record_writer w;
	struct span out = span_of(NULL, 0);

	record_begin(&w, p, cap, key, VERSION);
	record_put8(&w, 1);
	record_put16(&w, 0x203);
	record_put32(&w, 0x4050607);
	record_put64(&w, 0x8090A0B0C0D0E0F);
	record_put_text8(&w, span_str("alice"));
	*rc = record_done(&w, &out);
	return out;
}

static int read_record(struct span record, struct span key)
{
	struct record_reader r;
	bool same;

	record_open(&r, record, key, VERSION);
	same = record_get8(&r) == 1;
	same = record_get16(&r) == 0x203 && same;
	same = record_get32(&r) == 0x4050607 && same;
	same = record_get64(&r) == 0x8090A0B0C0D0E0F && same;
	same = span_eq(record_get_text8(&r), span_str("alice")) && same;
	assert_true(same || record_end(&r) != 0);
	return record_end(&r);
}

static void test_there_and_back(void **state)
{
	uint8_t p[64];
	int rc;
	struct span key = span_str("key"), none = span_of(NULL, 0);
	struct span record = write_record(p, sizeof p, key, &rc);

	(void)state;
	assert_int_equal(rc, 0);
	assert_int_equal(record.n, 1 + 1 + 2 + 4 + 8 + 6 + RECORD_SEAL);
	assert_int_equal(read_record(record, key), 0);
	assert_int_equal(read_record(record, span_str("kez")), ERR_MALFORMED);
	assert_int_equal(read_record(record, none), ERR_MALFORMED);
	record = write_record(p, sizeof p, none, &rc);
	assert_int_equal(read_record(record, none), 0);
	assert_int_equal(read_record(record, key), ERR_MALFORMED);
}

static void test_room(void **state)
{
	uint8_t p[64];
	int rc;
	size_t n = write_record(p, sizeof p, span_str("k"), &rc).n;

	(void)state;
	for (size_t cap = 0; cap < n; cap++) {
		write_record(p, cap, span_str("k"), &rc);
		assert_int_equal(rc, ERR_TOO_BIG);
	}
	write_record(p, n, span_str("k"), &rc);
	assert_int_equal(rc, 0);
}

static void test_damage(void **state)
{
	uint8_t p[64];
	int rc;
	struct span key = span_str("key"), record = write_record(p, sizeof p, key, &rc);

	(void)state;
	for (size_t bit = 0; bit < 8 * record.n; bit++) {
		p[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(read_record(record, key), ERR_MALFORMED);
		p[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	for (size_t n = 0; n < record.n; n++)
		assert_int_equal(read_record(span_of(p, n), key), ERR_MALFORMED);
	p[record.n] = 0;
	assert_int_equal(read_record(span_of(p, record.n + 1), key), ERR_MALFORMED);
	assert_int_equal(read_record(record, key), 0);
}

/* Those of schema 1 have no seal, and are read under any key. */
static void test_unsealed(void **state)
{
	uint8_t p[64];
	int rc;
	struct span record = write_record(p, sizeof p, span_str("key"), &rc);

	(void)state;
	p[0] = VERSION;
	record.n -= RECORD_SEAL;
	assert_int_equal(read_record(record, span_str("key")), 0);
	assert_int_equal(read_record(record, span_str("other")), 0);
	p[0] = VERSION + 1;
	assert_int_equal(read_record(record, span_str("key")), ERR_MALFORMED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_room),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_unsealed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
