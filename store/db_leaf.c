/*
 * Leaf hashes of blobs, so that a proof (protocol.md section 7) needs no octets.
 * A record of the table `leaf` has those of a run of blocks, and behind them, when the run is
 * full, the root of its subtree: a proof is made from the roots of whole runs.
 */
#include <string.h>

#include "message/digest.h"
#include "store/db.h"
#include "store/db_table.h"

#define LEAF_RECORD 1
#define RUN_HASHES (DB_LEAF_RUN + 1)
#define RUN_MAX (1 + RUN_HASHES * DIGEST_SIZE)

_Static_assert(DB_BLOCK == DIGEST_BLOCK, "a block of a blob is one of the tree");
_Static_assert((DB_LEAF_RUN & (DB_LEAF_RUN - 1)) == 0, "a full run is a subtree");

/* A record: its hashes, and how many of them are leaves. */
struct run {
	const uint8_t (*hash)[DIGEST_SIZE];
	size_t leaves;
};

static int run_decode(struct span value, struct run *out)
{
	size_t n = value.n / DIGEST_SIZE;

	if (value.n % DIGEST_SIZE != 1 || value.p[0] != LEAF_RECORD || n == 0 || n > RUN_HASHES ||
	    n == DB_LEAF_RUN)
		return ERR_MALFORMED;
	out->hash = (const uint8_t(*)[DIGEST_SIZE])(value.p + 1);
	out->leaves = n > DB_LEAF_RUN ? DB_LEAF_RUN : n;
	return 0;
}

/* Run NUMBER of BLOB. ERR_NOT_FOUND: no leaf of it is kept. */
static int run_get(struct db *db, struct kv_txn *t, uint64_t blob, uint64_t number, struct run *out)
{
	struct db_key key = db_key64_32(blob, (uint32_t)number);
	struct span value;
	int rc = number > UINT32_MAX ? ERR_NOT_FOUND : db_get(db, t, DB_LEAF, &key, &value);

	if (rc == 0 && run_decode(value, out) != 0)
		rc = db_damaged(DB_LEAF, db_key_span(&key));
	return rc;
}

/* Whether all leaves of BLOB before block FIRST are kept: 1 or 0, or an error. */
static int kept_before(struct db *db, struct kv_txn *t, uint64_t blob, uint32_t first)
{
	struct run run;
	int rc;

	if (first == 0)
		return 1;
	rc = run_get(db, t, blob, (first - 1) / DB_LEAF_RUN, &run);
	if (rc != 0)
		return rc == ERR_NOT_FOUND ? 0 : rc;
	return run.leaves > (first - 1) % DB_LEAF_RUN;
}

/* Puts N leaves from block FIRST on, which end in FIRST's run, behind those that are there. */
static int run_put(struct db *db, struct kv_txn *t, uint64_t blob, uint32_t first,
                   const uint8_t (*leaf)[DIGEST_SIZE], size_t n)
{
	struct db_key key = db_key64_32(blob, first / DB_LEAF_RUN);
	size_t before = first % DB_LEAF_RUN, all = before + n;
	uint8_t hash[RUN_HASHES][DIGEST_SIZE], record[RUN_MAX];
	struct run run;
	int rc = 0;

	if (before > 0) {
		rc = run_get(db, t, blob, first / DB_LEAF_RUN, &run);
		if (rc != 0)
			return rc;
		memcpy(hash, run.hash, before * DIGEST_SIZE);
	}
	memcpy(hash[before], leaf, n * DIGEST_SIZE);
	if (all == DB_LEAF_RUN)
		rc = digest_join((const uint8_t(*)[DIGEST_SIZE])hash, all++, hash[DB_LEAF_RUN]);
	if (rc != 0)
		return rc;
	record[0] = LEAF_RECORD;
	memcpy(record + 1, hash, all * DIGEST_SIZE);
	return db_put_rising(db, t, DB_LEAF, &key, span_of(record, 1 + all * DIGEST_SIZE));
}

int db_leaf_put(struct db *db, struct kv_txn *t, uint64_t blob, uint32_t first,
                const uint8_t (*leaf)[DIGEST_SIZE], size_t n)
{
	int rc = n == 0 ? 0 : kept_before(db, t, blob, first);

	if (rc <= 0)
		return rc;
	for (rc = 0; rc == 0 && n > 0;) {
		size_t room = DB_LEAF_RUN - first % DB_LEAF_RUN;
		size_t some = n < room ? n : room;

		rc = run_put(db, t, blob, first, leaf, some);
		first += (uint32_t)some;
		leaf += some;
		n -= some;
	}
	return rc;
}

int db_leaf_get(struct db *db, struct kv_txn *t, uint64_t blob, uint64_t first, uint64_t count,
                uint8_t hash[DIGEST_SIZE])
{
	size_t at = (size_t)(first % DB_LEAF_RUN);
	struct run run;
	int rc;

	if (count != 1 && (count != DB_LEAF_RUN || at != 0))
		return ERR_NOT_FOUND;
	rc = run_get(db, t, blob, first / DB_LEAF_RUN, &run);
	if (rc != 0)
		return rc;
	if (at + count > run.leaves)
		return ERR_NOT_FOUND;
	memcpy(hash, run.hash[count == 1 ? at : DB_LEAF_RUN], DIGEST_SIZE);
	return 0;
}

int db_leaf_blob(struct db *db, struct kv_txn *t, const struct db_message *m, uint64_t *blob)
{
	struct span rest = m->extents;
	struct db_extent x;
	struct db_blob b;
	int rc;

	if (!db_extent_next(&rest, &x) || rest.n > 0 || x.at != 0)
		return ERR_NOT_FOUND;
	rc = db_blob_get(db, t, x.blob, &b);
	if (rc != 0)
		return rc;
	*blob = x.blob;
	return x.octets == b.size ? 0 : ERR_NOT_FOUND;
}

/* Adds the leaves of RUN to TREE. 0; ERR_MALFORMED: its own root is wrong; or an error. */
static int check_run(const struct run *run, struct digest_tree *tree)
{
	uint8_t root[DIGEST_SIZE];
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < run->leaves; i++)
		rc = digest_add_leaf(tree, run->hash[i]);
	if (rc == 0 && run->leaves == DB_LEAF_RUN) {
		rc = digest_join(run->hash, run->leaves, root);
		if (rc == 0 && memcmp(root, run->hash[DB_LEAF_RUN], DIGEST_SIZE) != 0)
			rc = ERR_MALFORMED;
	}
	return rc;
}

int db_leaf_check(struct db *db, struct kv_txn *t, const struct db_blob *b)
{
	static const uint8_t unknown[DIGEST_SIZE];
	struct digest_tree tree;
	uint8_t root[DIGEST_SIZE];
	struct run run;
	bool coming = memcmp(b->digest, unknown, DIGEST_SIZE) == 0;
	/* While octets are coming, a block that a cut has ended in has none yet. */
	uint64_t blocks = coming ? b->size / DB_BLOCK : digest_blocks(b->size);
	int rc = digest_init(&tree, NULL, NULL);

	if (rc != 0)
		return rc;
	for (uint64_t i = 0; rc == 0; i++) {
		rc = run_get(db, t, b->number, i, &run);
		if (rc == 0)
			rc = tree.blocks != i * DB_LEAF_RUN ? ERR_MALFORMED : check_run(&run, &tree);
	}
	if (rc == ERR_NOT_FOUND)
		rc = 0;
	if (rc == 0 && tree.blocks > 0) {
		if (b->size <= DB_BLOCK || tree.blocks != blocks)
			rc = ERR_MALFORMED;
		else
			rc = digest_final(&tree, root);
		if (rc == 0 && !coming && memcmp(b->digest, root, DIGEST_SIZE) != 0)
			rc = ERR_MALFORMED;
	}
	digest_free(&tree);
	return rc;
}
