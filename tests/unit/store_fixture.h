/* A store's database in a folder of its own, for the tests of store/db.h. */
#ifndef IM2000_TESTS_STORE_FIXTURE_H
#define IM2000_TESTS_STORE_FIXTURE_H

#include <stdint.h>
#include <stdlib.h>

#include "base/kv.h"
#include "message/digest.h"
#include "store/db.h"
#include "tests/unit/tempdir.h"

struct store_fixture {
	char *dir;
	struct db *db;
};

/* Opens or opens again; fails the test where the database does not open. */
static inline void store_open(struct store_fixture *f)
{
	struct db_options options = { .create = true, .no_sync = true };
	struct err_text e = { "" };

	if (db_open(f->dir, &options, &f->db, &e) != 0)
		fail_msg("%s", e.text);
}

static inline int store_setup(void **state)
{
	struct store_fixture *f = calloc(1, sizeof *f);

	assert_non_null(f);
	f->dir = tempdir_make();
	store_open(f);
	*state = f;
	return 0;
}

static inline int store_teardown(void **state)
{
	struct store_fixture *f = *state;

	db_close(f->db);
	tempdir_remove(f->dir);
	free(f);
	return 0;
}

static inline struct kv_txn *store_write(struct store_fixture *f)
{
	struct kv_txn *t;

	assert_int_equal(kv_write_begin(db_kv(f->db), &t), 0);
	return t;
}

static inline void store_commit(struct kv_txn *t)
{
	assert_int_equal(kv_write_commit(t), 0);
}

/* An account NAME with a sender of that name at a.example. */
static inline uint32_t store_account(struct store_fixture *f, struct kv_txn *t, const char *name)
{
	struct db_account a = {
		.name = span_str(name),
		.created_us = 1,
		.senders = span_of("alice@a.example", 16),
	};

	assert_int_equal(db_account_put(f->db, t, &a), 0);
	return a.number;
}

/* The digest of SIZE octets 'x'. */
static inline void store_digest(uint64_t size, uint8_t out[32])
{
	static uint8_t block[DB_BLOCK];
	struct digest_tree tree;

	memset(block, 'x', sizeof block);
	assert_int_equal(digest_init(&tree, NULL, NULL), 0);
	for (uint64_t at = 0; at < size; at += DB_BLOCK)
		assert_int_equal(digest_update(&tree, span_of(block, size - at < DB_BLOCK
		                                                         ? (size_t)(size - at)
		                                                         : DB_BLOCK)),
		                 0);
	assert_int_equal(digest_final(&tree, out), 0);
	digest_free(&tree);
}

/* A message of SIZE octets, stored: all blocks filled with 'x', its own blob. */
static inline struct db_message store_message(struct store_fixture *f, struct kv_txn *t,
                                              uint64_t number, uint32_t account,
                                              uint64_t size, uint8_t extents[DB_EXTENT_SIZE])
{
	static uint8_t block[DB_BLOCK];
	struct db_extent x = { .blob = number, .at = 0, .octets = size };
	struct db_message m = {
		.number = number,
		.account = account,
		.state = DB_STORED,
		.key = 1,
		.submitted_us = 1000,
		.expires_us = 9000,
		.sweep_us = 9000,
		.size_octets = size,
		.header_octets = 7,
		.sender = span_str("alice@a.example"),
		.excerpt = span_str("From: alice@a.example\r\n\r\n"),
		.structure = span_str("(\"text\" \"plain\")"),
		.extents = span_of(extents, DB_EXTENT_SIZE),
	};

	memset(block, 'x', sizeof block);
	for (uint64_t at = 0; at < size; at += DB_BLOCK)
		assert_int_equal(
		    db_block_put(f->db, t, number, (uint32_t)(at / DB_BLOCK),
		                 span_of(block, size - at < DB_BLOCK ? (size_t)(size - at)
		                                                     : DB_BLOCK)),
		    0);
	db_extent_write(&x, extents);
	store_digest(size, m.digest);
	assert_int_equal(db_blob_put(f->db, t, number, size, m.digest), 0);
	assert_int_equal(db_message_put(f->db, t, &m), 0);
	return m;
}

/* Delivery INDEX of M, due at NEXT_US, pinned; counts it in M's record. */
static inline void store_delivery(struct store_fixture *f, struct kv_txn *t, struct db_message *m,
                                  uint64_t next_us)
{
	struct db_delivery d = {
		.message = m->number,
		.index = m->recipients,
		.pinned = true,
		.changed_us = 1000,
		.next_us = next_us,
		.mailbox = span_str("bob@b.example"),
	};

	assert_int_equal(db_delivery_put(f->db, t, &d), 0);
	m->recipients++;
	m->readers++;
	assert_int_equal(db_message_put(f->db, t, m), 0);
}

static inline void store_job(struct store_fixture *f, struct kv_txn *t, const struct db_message *m,
                             uint64_t due_us, uint32_t first, uint32_t count)
{
	struct db_job job = {
		.due_us = due_us,
		.message = m->number,
		.first = first,
		.count = count,
		.kind = DB_JOB_NOTIFY,
		.account = m->account,
		.domain = span_str("b.example"),
	};

	assert_int_equal(db_job_put(f->db, t, &job), 0);
}

#endif
