/*
 * The check finds what was damaged by hand, in every table: a whole store is made, one thing
 * is changed behind store/db.h's back, and the line that tells of it must be among those said.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "message/digest.h"
#include "store/db.h"
#include "store/db_table.h"
#include "tests/unit/store_fixture.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define NEVER_US (UINT64_MAX / 2)

/* Everything that the check said. */
struct said {
	char text[16384];
	size_t n;
	int lines;
};

static void say(void *ctx, const char *line)
{
	struct said *s = ctx;
	int n = snprintf(s->text + s->n, sizeof s->text - s->n, "%s\n", line);

	assert_true(n > 0 && (size_t)n < sizeof s->text - s->n);
	s->n += (size_t)n;
	s->lines++;
}

/* The leaf hashes and the digest of a blob of 'x'. */
static void keep_leaves(struct store_fixture *f, struct kv_txn *t, uint64_t blob, size_t size)
{
	uint8_t leaf[2][DIGEST_SIZE], digest[DIGEST_SIZE], *octets = malloc(size);

	assert_non_null(octets);
	assert_in_range(size, DB_BLOCK + 1, 2 * DB_BLOCK);
	memset(octets, 'x', size);
	assert_int_equal(digest_leaf(span_of(octets, DB_BLOCK), leaf[0]), 0);
	assert_int_equal(digest_leaf(span_of(octets, size - DB_BLOCK), leaf[1]), 0);
	assert_int_equal(digest_octets(span_of(octets, size), digest), 0);
	assert_int_equal(db_blob_put(f->db, t, blob, size, digest), 0);
	assert_int_equal(db_leaf_put(f->db, t, blob, 0, (const uint8_t(*)[DIGEST_SIZE])leaf, 2), 0);
	free(octets);
}

/* A store with something in every table: message 1 of account 1 to three recipients, 2 made of
 * octets of 1, 3 freed and its blob (of two blocks) waiting to be swept. */
static int setup(void **state)
{
	struct store_fixture *f;
	struct kv_txn *t;
	uint8_t extents[3][DB_EXTENT_SIZE], shared[2 * DB_EXTENT_SIZE];
	struct db_extent whole = { 1, 0, DB_BLOCK + 50 }, part = { 1, 7, 5 };
	struct db_message m[3];
	uint32_t account;

	store_setup(state);
	f = *state;
	t = store_write(f);
	assert_int_equal(db_numbers_reserve(f->db, t), 0);
	account = store_account(f, t, "alice");
	assert_int_equal(account, 1);
	m[0] = store_message(f, t, 1, account, DB_BLOCK + 50, extents[0]);
	m[0].has_submission_id = true;
	memset(m[0].submission_id, 5, 16);
	for (unsigned i = 0; i < 3; i++)
		store_delivery(f, t, &m[0], i < 2 ? NEVER_US : 0);
	store_job(f, t, &m[0], NEVER_US, 0, 2);
	assert_int_equal(db_change_add(f->db, t, account, 1, 0), 0);

	keep_leaves(f, t, 1, DB_BLOCK + 50);

	m[1] = store_message(f, t, 2, account, 10, extents[1]);
	db_extent_write(&whole, shared);
	db_extent_write(&part, shared + DB_EXTENT_SIZE);
	m[1].extents = span_of(shared, sizeof shared);
	m[1].size_octets = DB_BLOCK + 55;
	store_digest(DB_BLOCK + 55, m[1].digest);
	assert_int_equal(db_message_put(f->db, t, &m[1]), 0);
	assert_int_equal(db_blob_sweep(f->db, t, 9), 2);

	m[2] = store_message(f, t, 3, account, DB_BLOCK + 1, extents[2]);
	m[2].freed = true;
	m[2].state = DB_EXPIRED;
	assert_int_equal(db_message_put(f->db, t, &m[2]), 0);
	assert_int_equal(db_blob_sweep(f->db, t, 1), 1);
	store_commit(t);
	return 0;
}

static void check(struct store_fixture *f, struct said *s)
{
	int n;

	s->n = 0;
	s->lines = 0;
	s->text[0] = '\0';
	n = db_check(f->db, say, s);
	assert_int_equal(n, s->lines);
}

static void test_whole(void **state)
{
	struct said s;

	check(*state, &s);
	assert_string_equal(s.text, "");
}

/* --- damage ------------------------------------------------------------------------------- */

/* Parts of a key: a number of 4 or 8 octets each; a list ends with .octets 0. */
struct part {
	unsigned octets;
	uint64_t value;
};

struct damage {
	enum db_table table;
	const char *name;      /* a key that is text; NULL: PARTS */
	struct part parts[5];
	enum { DELETE, CHANGE, CUT, COPY } what;
	/* CHANGE: the octet AT becomes VALUE (SIZE_MAX - n: the nth from the end). */
	size_t at;
	uint8_t value;
	struct part to[5];     /* COPY: to this key */
	const char *said;      /* a part of the line that tells */
};

static size_t make_key(const char *name, const struct part *parts, uint8_t out[64])
{
	size_t n = 0;

	if (name != NULL) {
		memcpy(out, name, strlen(name));
		return strlen(name);
	}
	for (; parts->octets != 0; parts++) {
		if (parts->octets == 1)
			out[n] = (uint8_t)parts->value;
		else if (parts->octets == 4)
			kv_put_u32(out + n, (uint32_t)parts->value);
		else if (parts->octets == 8)
			kv_put_u64(out + n, parts->value);
		else /* sixteen times the value */
			memset(out + n, (int)parts->value, 16);
		n += parts->octets;
	}
	return n;
}

/* The right seal for what was changed, as by a program that writes what is wrong: so that what
 * the tables say of one another is seen. Octets that change by themselves: test_store_damage. */
static void reseal(enum db_table table, struct span key, uint8_t *record, size_t n)
{
	bool keyed = table == DB_ACCOUNT || table == DB_MESSAGE || table == DB_BLOB ||
	             table == DB_DELIVERY || table == DB_JOB;
	uLong crc = keyed ? crc32_z(0, key.p, key.n) : 0;

	if (table == DB_BLOCK_DATA || n <= RECORD_SEAL || (record[0] & RECORD_SEALED) == 0)
		return;
	kv_put_u32(record + n - RECORD_SEAL, (uint32_t)crc32_z(crc, record, n - RECORD_SEAL));
}

static void inflict(struct store_fixture *f, const struct damage *d)
{
	static uint8_t record[DB_BLOCK];
	uint8_t key[64], to[64];
	struct span value, at;
	struct kv_txn *t = store_write(f);
	kv_table table = f->db->table[d->table];
	size_t n;

	at = span_of(key, make_key(d->name, d->parts, key));
	if (kv_get(t, table, at, &value) != 0)
		fail_msg("no entry in %s to damage", db_table_names[d->table]);
	n = value.n;
	memcpy(record, value.p, n);
	switch (d->what) {
	case DELETE:
		assert_int_equal(kv_delete(t, table, at), 0);
		break;
	case CHANGE:
		assert_true(d->at < n);
		assert_int_not_equal(record[d->at], d->value);
		record[d->at] = d->value;
		reseal(d->table, at, record, n);
		assert_int_equal(kv_put(t, table, at, span_of(record, n)), 0);
		break;
	case CUT:
		assert_int_equal(kv_put(t, table, at, span_of(record, n - 1)), 0);
		break;
	case COPY:
		at = span_of(to, make_key(NULL, d->to, to));
		reseal(d->table, at, record, n);
		assert_int_equal(kv_put(t, table, at, span_of(record, n)), 0);
		break;
	}
	store_commit(t);
}

#define U4(v) { 4, v }
#define U8(v) { 8, v }
#define KEY(...) .parts = { __VA_ARGS__, { 0, 0 } }
#define TO(...) .to = { __VA_ARGS__, { 0, 0 } }

/* Octets in records that are changed (docs/storage.md). */
enum {
	AT_STATE = 1,
	AT_FLAGS = 2,
	AT_ACCOUNT = 8,
	AT_SWEEP = 40,
	AT_SIZE = 48,
	AT_HEADER = 64,
	AT_RECIPIENTS = 68,
	AT_READERS = 72
};

static const struct damage damages[] = {
	{ DB_META, "schema", .what = DELETE, .said = "the schema's number" },
	{ DB_META, "schema", .what = CHANGE, .at = 8, .value = 7, .said = "the schema's number" },
	{ DB_META, "next-message", .what = DELETE, .said = "message 3: its number was never" },
	{ DB_META, "next-message", .what = CUT, .said = "next message's number" },
	{ DB_META, "next-account", .what = DELETE, .said = "account 1: its number was never" },
	{ DB_META, "next-account", .what = CUT, .said = "next account's number" },

	{ DB_ACCOUNT, KEY(U4(1)), .what = DELETE, .said = "but no account" },
	{ DB_ACCOUNT, KEY(U4(1)), .what = CUT, .said = "table account: the record at 00000001" },
	{ DB_ACCOUNT, KEY(U4(1)), .what = CHANGE, .at = 0, .value = 9, .said = "table account:" },
	{ DB_ACCOUNT, KEY(U4(1)), .what = CHANGE, .at = 71, .value = 'x',
	  .said = "account 1: its name does not lead to it" },
	{ DB_ACCOUNT, KEY(U4(1)), .what = COPY, TO(U4(2)), .said = "account 2: its number" },
	{ DB_ACCOUNT, KEY(U4(1)), .what = COPY, TO(U8(1)), .said = "table account:" },
	{ DB_ACCOUNT_NAME, "alice", .what = DELETE, .said = "account 1: its name does not lead" },
	{ DB_ACCOUNT_NAME, "alice", .what = CUT, .said = "table account-name: the record at 616c" },
	{ DB_ACCOUNT_NAME, "alice", .what = CHANGE, .at = 4, .value = 6,
	  .said = "account 6: a name leads to it" },
	{ DB_USAGE, KEY(U4(1)), .what = DELETE, .said = "account 1: no record of what it uses" },
	{ DB_USAGE, KEY(U4(1)), .what = CUT, .said = "table usage:" },
	{ DB_USAGE, KEY(U4(1)), .what = CHANGE, .at = 8, .value = 1, .said = "account 1: uses" },
	{ DB_USAGE, KEY(U4(1)), .what = COPY, TO(U4(5)), .said = "account 5: a record of what" },

	{ DB_MESSAGE, KEY(U8(1)), .what = DELETE, .said = "content of message 1" },
	{ DB_MESSAGE, KEY(U8(1)), .what = DELETE, .said = "a job of message 1, which is missing" },
	{ DB_MESSAGE, KEY(U8(1)), .what = DELETE, .said = "delivery 0 of message 1" },
	{ DB_MESSAGE, KEY(U8(1)), .what = DELETE, .said = "message 1: in the archive" },
	{ DB_MESSAGE, KEY(U8(1)), .what = DELETE, .said = "message 1: a submission id leads" },
	{ DB_MESSAGE, KEY(U8(1)), .what = DELETE, .said = "message 1: an expiry entry" },
	{ DB_MESSAGE, KEY(U8(1)), .what = CUT, .said = "table message:" },
	{ DB_MESSAGE, KEY(U8(1)), .what = COPY, TO(U8(1 << 30)), .said = "number was never given" },
	{ DB_MESSAGE, KEY(U8(1)), .what = COPY, TO(U4(1)), .said = "table message:" },
	{ DB_MESSAGE, KEY(U8(1)), .what = CHANGE, .at = AT_STATE, .value = 77,
	  .said = "table message: the record at 0000000000000001" },
	{ DB_MESSAGE, KEY(U8(1)), .what = CHANGE, .at = AT_STATE, .value = DB_RECEIVING,
	  .said = "message 1: in the archive of account 1" },
	{ DB_MESSAGE, KEY(U8(1)), .what = CHANGE, .at = AT_FLAGS, .value = 4 | 2,
	  .said = "message 1: freed, but with octets" },
	{ DB_MESSAGE, KEY(U8(1)), .what = CHANGE, .at = AT_FLAGS, .value = 4 | 1,
	  .said = "message 1: in the archive of account 1" },
	{ DB_MESSAGE, KEY(U8(1)), .what = CHANGE, .at = AT_ACCOUNT, .value = 4,
	  .said = "message 1: its submission id does not lead to it" },
	{ DB_MESSAGE, KEY(U8(1)), .what = CHANGE, .at = AT_ACCOUNT, .value = 4,
	  .said = "message 1: not in its account's archive" },
	{ DB_MESSAGE, KEY(U8(1)), .what = CHANGE, .at = AT_ACCOUNT, .value = 4,
	  .said = "a job of message 1: for another account" },
	{ DB_MESSAGE, KEY(U8(1)), .what = CHANGE, .at = AT_SWEEP, .value = 1,
	  .said = "message 1: has no expiry entry" },
	{ DB_MESSAGE, KEY(U8(1)), .what = CHANGE, .at = AT_SIZE, .value = 1,
	  .said = "message 1: has 65586 octets of" },
	{ DB_MESSAGE, KEY(U8(2)), .what = CHANGE, .at = AT_HEADER - 3, .value = 1,
	  .said = "message 2: its header is longer" },
	{ DB_MESSAGE, KEY(U8(1)), .what = CHANGE, .at = AT_RECIPIENTS, .value = 2,
	  .said = "delivery 2 of message 1, which has none such" },
	{ DB_MESSAGE, KEY(U8(1)), .what = CHANGE, .at = AT_RECIPIENTS, .value = 4,
	  .said = "message 1: 3 of 4 deliveries" },
	{ DB_MESSAGE, KEY(U8(1)), .what = CHANGE, .at = AT_RECIPIENTS, .value = 1,
	  .said = "a job of message 1: deliveries 0 and 2 more, of 1" },
	{ DB_MESSAGE, KEY(U8(1)), .what = CHANGE, .at = AT_READERS, .value = 9,
	  .said = "message 1: counts 9 readers" },
	{ DB_CONTENT, KEY(U8(1)), .what = DELETE, .said = "message 1: its content record" },
	{ DB_CONTENT, KEY(U8(1)), .what = DELETE, .said = "blob 1: counts 3 references" },
	{ DB_CONTENT, KEY(U8(1)), .what = CUT, .said = "table content:" },
	{ DB_CONTENT, KEY(U8(1)), .what = COPY, TO(U8(9)), .said = "content of message 9" },

	{ DB_BLOB, KEY(U8(1)), .what = DELETE, .said = "message 2: its blob 1 is missing" },
	{ DB_BLOB, KEY(U8(1)), .what = DELETE, .said = "block 1 of blob 1, which is missing" },
	{ DB_BLOB, KEY(U8(1)), .what = CUT, .said = "table blob:" },
	{ DB_BLOB, KEY(U8(1)), .what = CHANGE, .at = 4, .value = 2,
	  .said = "blob 1: counts 2 references, messages have 3" },
	{ DB_BLOB, KEY(U8(1)), .what = CHANGE, .at = 4, .value = 0,
	  .said = "blob 1: has no reference, but is not" },
	{ DB_BLOB, KEY(U8(1)), .what = CHANGE, .at = 12, .value = 10,
	  .said = "message 1: octets beyond the end of blob 1" },
	{ DB_BLOB, KEY(U8(1)), .what = CHANGE, .at = 12, .value = 200,
	  .said = "blob 1: its blocks do not make up its 65736 octets" },
	{ DB_BLOB, KEY(U8(3)), .what = DELETE, .said = "blob 3: to be swept, but missing" },
	{ DB_BLOB, KEY(U8(3)), .what = CHANGE, .at = 4, .value = 1,
	  .said = "blob 3: to be swept, though it has references" },
	{ DB_BLOCK_DATA, KEY(U8(1), U4(0)), .what = DELETE, .said = "blob 1: its blocks do not" },
	{ DB_BLOCK_DATA, KEY(U8(1), U4(1)), .what = DELETE, .said = "blob 1: its blocks do not" },
	{ DB_BLOCK_DATA, KEY(U8(1), U4(0)), .what = CUT, .said = "blob 1: its blocks do not" },
	{ DB_BLOCK_DATA, KEY(U8(1), U4(1)), .what = COPY, TO(U8(1), U4(2)),
	  .said = "blob 1: its blocks do not" },
	{ DB_BLOCK_DATA, KEY(U8(1), U4(1)), .what = COPY, TO(U8(8), U4(0)),
	  .said = "block 0 of blob 8" },
	{ DB_LEAF, KEY(U8(1), U4(0)), .what = CHANGE, .at = 0, .value = 7,
	  .said = "blob 1: its leaf hashes do not" },
	{ DB_LEAF, KEY(U8(1), U4(0)), .what = CHANGE, .at = 40, .value = 7,
	  .said = "blob 1: its leaf hashes do not" },
	{ DB_LEAF, KEY(U8(1), U4(0)), .what = CUT, .said = "blob 1: its leaf hashes do not" },
	{ DB_LEAF, KEY(U8(1), U4(0)), .what = COPY, TO(U8(1), U4(1)),
	  .said = "blob 1: its leaf hashes do not" },
	{ DB_LEAF, KEY(U8(1), U4(0)), .what = COPY, TO(U8(9), U4(0)),
	  .said = "leaf hashes of blob 9, which is missing" },
	{ DB_SWEEP, KEY(U8(3)), .what = DELETE, .said = "blob 3: has no reference, but is not" },
	{ DB_SWEEP, KEY(U8(3)), .what = CUT, .said = "table sweep:" },
	{ DB_SWEEP, KEY(U8(3)), .what = COPY, TO(U8(1)), .said = "blob 1: to be swept, though" },

	{ DB_SUBMISSION, KEY(U4(1), { 16, 5 }), .what = DELETE, .said = "its submission id does" },
	{ DB_SUBMISSION, KEY(U4(1), { 16, 5 }), .what = CUT, .said = "table submission:" },
	{ DB_SUBMISSION, KEY(U4(1), { 16, 5 }), .what = CHANGE, .at = 8, .value = 2,
	  .said = "message 2: a submission id leads to it" },
	{ DB_SUBMISSION, KEY(U4(1), { 16, 5 }), .what = COPY, TO(U4(1), { 16, 6 }),
	  .said = "message 1: a submission id leads to it" },
	{ DB_ARCHIVE, KEY(U4(1), U8(1)), .what = DELETE, .said = "message 1: not in its account" },
	{ DB_ARCHIVE, KEY(U4(1), U8(1)), .what = CUT, .said = "table archive:" },
	{ DB_ARCHIVE, KEY(U4(1), U8(1)), .what = COPY, TO(U4(1), U8(3)),
	  .said = "message 3: in the archive of account 1" },
	{ DB_ARCHIVE, KEY(U4(1), U8(1)), .what = COPY, TO(U4(2), U8(1)),
	  .said = "message 1: in the archive of account 2" },
	{ DB_EXPIRY, KEY(U8(9000), U8(1)), .what = DELETE, .said = "message 1: has no expiry" },
	{ DB_EXPIRY, KEY(U8(9000), U8(1)), .what = CUT, .said = "table expiry:" },
	{ DB_EXPIRY, KEY(U8(9000), U8(1)), .what = COPY, TO(U8(9001), U8(1)),
	  .said = "message 1: an expiry entry at another time" },
	{ DB_EXPIRY, KEY(U8(9000), U8(1)), .what = COPY, TO(U8(9000), U8(7)),
	  .said = "message 7: an expiry entry" },

	{ DB_DELIVERY, KEY(U8(1), U4(1)), .what = DELETE, .said = "message 1: 2 of 3 deliveries" },
	{ DB_DELIVERY, KEY(U8(1), U4(1)), .what = CUT, .said = "table delivery:" },
	{ DB_DELIVERY, KEY(U8(1), U4(1)), .what = CHANGE, .at = 1, .value = 99,
	  .said = "delivery 1 of message 1: its status" },
	{ DB_DELIVERY, KEY(U8(1), U4(1)), .what = CHANGE, .at = 2, .value = 99,
	  .said = "delivery 1 of message 1: its status" },
	{ DB_DELIVERY, KEY(U8(1), U4(1)), .what = CHANGE, .at = 3, .value = 0x80,
	  .said = "table delivery:" },
	{ DB_DELIVERY, KEY(U8(1), U4(1)), .what = CHANGE, .at = 3, .value = 0,
	  .said = "message 1: counts 3 readers, its deliveries have 2" },
	{ DB_DELIVERY, KEY(U8(1), U4(1)), .what = CHANGE, .at = 3, .value = 1 | 2,
	  .said = "delivery 1 of message 1: is to be tried again, but no job" },
	{ DB_DELIVERY, KEY(U8(1), U4(2)), .what = CHANGE, .at = 23, .value = 1,
	  .said = "delivery 2 of message 1: is to be tried again, but no job" },
	{ DB_DELIVERY, KEY(U8(1), U4(1)), .what = CHANGE, .at = 28, .value = 'x',
	  .said = "delivery 1 of message 1: its mailbox is none" },
	{ DB_DELIVERY, KEY(U8(1), U4(1)), .what = CHANGE, .at = 30, .value = 'x',
	  .said = "a job of message 1: delivery 1 is of another domain" },
	{ DB_DELIVERY, KEY(U8(1), U4(1)), .what = COPY, TO(U8(2), U4(0)),
	  .said = "delivery 0 of message 2, which has none such" },
	{ DB_JOB, KEY(U8(NEVER_US), U8(1), U4(0), { 1, 1 }), .what = DELETE,
	  .said = "delivery 1 of message 1: is to be tried again, but no job" },
	{ DB_JOB, KEY(U8(NEVER_US), U8(1), U4(0), { 1, 1 }), .what = CUT, .said = "table job:" },
	{ DB_JOB, KEY(U8(NEVER_US), U8(1), U4(0), { 1, 1 }), .what = CHANGE, .at = 4, .value = 1,
	  .said = "delivery 1 of message 1: is to be tried again, but no job" },
	{ DB_JOB, KEY(U8(NEVER_US), U8(1), U4(0), { 1, 1 }), .what = CHANGE, .at = 4, .value = 0,
	  .said = "a job of message 1: deliveries 0 and 0 more" },
	{ DB_JOB, KEY(U8(NEVER_US), U8(1), U4(0), { 1, 1 }), .what = COPY,
	  TO(U8(NEVER_US), U8(6), U4(0)), .said = "table job:" },
};

static void test_damages(void **state)
{
	struct store_fixture *f = *state;
	bool touched[DB_TABLES] = { false };
	struct said s;

	for (size_t i = 0; i < COUNT(damages); i++) {
		struct db *whole = f->db;

		inflict(f, &damages[i]);
		check(f, &s);
		if (strstr(s.text, damages[i].said) == NULL)
			fail_msg("damage %zu, in %s: said \"%s\" and not \"%s\"", i,
			         db_table_names[damages[i].table], s.text, damages[i].said);
		touched[damages[i].table] = true;
		assert_ptr_equal(whole, f->db);
		/* A whole store again for the next one. */
		store_teardown(state);
		setup(state);
		f = *state;
	}
	/* Changes lead nowhere, so theirs is the test below. */
	for (unsigned i = 0; i < DB_TABLES; i++)
		assert_true(touched[i] || i == DB_CHANGE);
}

/* What the table above cannot say: changes have keys of the clock; a job with no message. */
static void test_changes_and_jobs(void **state)
{
	struct store_fixture *f = *state;
	struct kv_txn *t = store_write(f);
	struct db_job job = { .due_us = clock_now_us() + CLOCK_DAY_US, .message = 99, .count = 1,
		              .kind = DB_JOB_NOTIFY, .domain = span_str("b.example") };
	struct span key, value;
	struct kv_cursor *c;
	struct said s;
	uint8_t record[13 + RECORD_SEAL] = { 1 }, last[12];

	assert_int_equal(db_change_add(f->db, t, 1, 1 << 30, 0), 0);
	assert_int_equal(db_change_add(f->db, t, 2, 1, 0), 0);
	assert_int_equal(kv_cursor_open(t, f->db->table[DB_CHANGE], &c), 0);
	assert_int_equal(kv_cursor_last(c, &key, &value), 0);
	assert_int_equal(value.n, sizeof record);
	kv_cursor_close(c);
	assert_int_equal(key.n, sizeof last);
	memcpy(last, key.p, sizeof last);
	key = span_of(last, sizeof last);
	assert_int_equal(kv_put(t, f->db->table[DB_CHANGE], key, span_of(record, 12)), 0);
	assert_int_equal(db_job_put(f->db, t, &job), 0);
	store_commit(t);
	check(f, &s);
	assert_int_equal(s.lines, 3);
	assert_non_null(strstr(s.text, "a change of message 1073741824"));
	assert_non_null(strstr(s.text, "table change:"));
	assert_non_null(strstr(s.text, "a job of message 99, which is missing"));

	/* One that is due is about to be dropped by the notifier: nothing is said. */
	t = store_write(f);
	assert_int_equal(db_job_remove(f->db, t, &job), 0);
	job.due_us = clock_now_us() - 1;
	assert_int_equal(db_job_put(f->db, t, &job), 0);
	store_commit(t);
	check(f, &s);
	assert_int_equal(s.lines, 2);
}

/* Damage that a program meets is an answer, not a crash. */
static void test_damage_met(void **state)
{
	static const struct damage cuts[] = {
		{ DB_ACCOUNT, KEY(U4(1)), .what = CUT },
		{ DB_USAGE, KEY(U4(1)), .what = CUT },
		{ DB_MESSAGE, KEY(U8(1)), .what = CUT },
		{ DB_CONTENT, KEY(U8(2)), .what = DELETE },
		{ DB_DELIVERY, KEY(U8(1), U4(0)), .what = CUT },
		{ DB_SUBMISSION, KEY(U4(1), { 16, 5 }), .what = CUT },
		{ DB_JOB, KEY(U8(NEVER_US), U8(1), U4(0), { 1, 1 }), .what = CUT },
		{ DB_BLOB, KEY(U8(1)), .what = CUT },
	};
	struct store_fixture *f = *state;
	struct db_message m, whole;
	struct db_account a;
	struct db_delivery d;
	struct db_stats stats;
	struct db_job job;
	struct kv_txn *t;
	struct span octets;
	uint8_t id[16];
	uint64_t n;

	log_set_level(LOG_LEVEL_ERROR);
	memset(id, 5, sizeof id);
	for (size_t i = 0; i < COUNT(cuts); i++)
		inflict(f, &cuts[i]);
	t = db_read_begin(f->db);
	assert_int_equal(db_account_by_number(f->db, t, 1, &a), ERR_MALFORMED);
	assert_int_equal(db_account_find(f->db, t, span_str("alice"), &a), ERR_MALFORMED);
	assert_int_equal(db_message_get(f->db, t, 1, &m), ERR_MALFORMED);
	assert_int_equal(db_message_get(f->db, t, 2, &m), ERR_MALFORMED);
	assert_int_equal(db_delivery_get(f->db, t, 1, 0, &d), ERR_MALFORMED);
	assert_int_equal(db_submission_find(f->db, t, 1, id, &n), ERR_MALFORMED);
	assert_int_equal(db_job_next(f->db, t, NULL, &job), ERR_MALFORMED);
	assert_int_equal(db_message_get(f->db, t, 3, &whole), 0);
	db_read_end(t);
	assert_int_equal(db_stats(f->db, &stats), ERR_MALFORMED);

	t = store_write(f);
	m = whole;
	m.number = 4;
	assert_int_equal(db_message_put(f->db, t, &whole), 0);
	assert_int_equal(db_message_remove(f->db, t, 1, 9), ERR_MALFORMED);
	/* Once something is written, an error ends the whole transaction. */
	m.state = DB_STORED;
	m.freed = false;
	m.size_octets = 5;
	assert_int_equal(db_message_put(f->db, t, &m), ERR_IO);
	kv_write_abort(t);

	t = db_read_begin(f->db);
	whole.freed = false;
	whole.extents = span_of("\0\0\0\0\0\0\0\1\0\0\0\0\0\11\0\0\0\0\0\0\0\0\0\1", 24);
	assert_int_equal(db_octets(f->db, t, &whole, 0, &octets), ERR_MALFORMED);
	db_read_end(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, store_teardown)
		TEST(test_whole),
		TEST(test_damages),
		TEST(test_changes_and_jobs),
		TEST(test_damage_met),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
