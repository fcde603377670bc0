/* Of db_check: whether octets are those that were stored (blocks, leaf hashes, digests), and what
 * one message's records say of it. */
#include <string.h>

#include "base/clock.h"
#include "base/name.h"
#include "message/digest.h"
#include "store/db.h"
#include "store/db_table.h"

static const uint8_t unknown[DIGEST_SIZE];

/* The leaf hashes of a blob as its octets give them, held against those that are kept. */
struct leaves {
	struct db *db;
	struct kv_txn *t;
	uint64_t blob;
	int rc; /* ERR_MALFORMED: one differs */
};

static void on_leaf(void *ctx, uint64_t index, const uint8_t hash[DIGEST_SIZE])
{
	struct leaves *l = ctx;
	uint8_t kept[DIGEST_SIZE];
	int rc = db_leaf_get(l->db, l->t, l->blob, index, 1, kept);

	if (rc == 0 && memcmp(kept, hash, DIGEST_SIZE) != 0)
		rc = ERR_MALFORMED;
	if (l->rc == 0 && rc != ERR_NOT_FOUND)
		l->rc = rc;
}

/* Blocks come one after another, all full but the last. Their octets go to TREE. */
static int read_blocks(struct db *db, struct kv_txn *t, uint64_t blob, struct digest_tree *tree,
                       struct db_blob_found *out)
{
	struct db_key from = db_key64_32(blob, 0);
	struct span key, value;
	struct kv_cursor *c;
	uint32_t index = 0;
	int rc = kv_cursor_open(t, db->table[DB_BLOCK_DATA], &c), hashed = 0;

	if (rc != 0)
		return rc;
	rc = kv_cursor_seek(c, db_key_span(&from), &key, &value);
	while (rc == 0 && hashed == 0 && key.n == from.n && kv_get_u64(key.p) == blob) {
		if (kv_get_u32(key.p + 8) != index++ || out->held % DB_BLOCK != 0 || value.n == 0 ||
		    value.n > DB_BLOCK)
			out->whole = false;
		out->held += value.n;
		hashed = digest_update(tree, value);
		rc = kv_cursor_next(c, &key, &value);
	}
	kv_cursor_close(c);
	return rc == 0 || rc == ERR_NOT_FOUND ? hashed : rc;
}

int db_blob_examine(struct db *db, struct kv_txn *t, const struct db_blob *b,
                    struct db_blob_found *out)
{
	struct leaves leaves = { .db = db, .t = t, .blob = b->number };
	struct digest_tree tree;
	uint8_t root[DIGEST_SIZE];
	int rc = digest_init(&tree, on_leaf, &leaves);

	*out = (struct db_blob_found){ .whole = true, .digest = true, .leaves = true };
	if (rc != 0)
		return rc;
	rc = read_blocks(db, t, b->number, &tree, out);
	if (rc == 0)
		rc = digest_final(&tree, root);
	digest_free(&tree);
	if (rc != 0)
		return rc;
	out->whole = out->whole && out->held == b->size;
	out->digest = memcmp(b->digest, unknown, DIGEST_SIZE) == 0 ||
	              memcmp(b->digest, root, DIGEST_SIZE) == 0;
	rc = leaves.rc != 0 ? leaves.rc : db_leaf_check(db, t, b);
	out->leaves = rc != ERR_MALFORMED;
	return rc == ERR_MALFORMED ? 0 : rc;
}

/* The digest of M's octets, read from all its extents. */
static int message_root(struct db *db, struct kv_txn *t, const struct db_message *m,
                        uint8_t root[DIGEST_SIZE])
{
	struct digest_tree tree;
	struct span piece;
	int rc = digest_init(&tree, NULL, NULL);

	for (uint64_t at = 0; rc == 0 && at < m->size_octets; at += piece.n) {
		rc = db_octets(db, t, m, at, &piece);
		if (rc == 0)
			rc = digest_update(&tree, piece);
	}
	if (rc == 0)
		rc = digest_final(&tree, root);
	digest_free(&tree);
	return rc == ERR_NOT_FOUND ? ERR_MALFORMED : rc;
}

int db_message_digest_check(struct db *db, struct kv_txn *t, const struct db_message *m)
{
	uint8_t root[DIGEST_SIZE];
	struct db_key key;
	struct db_blob b;
	struct span value;
	uint64_t blob;
	int rc;

	if (m->state == DB_RECEIVING)
		return memcmp(m->digest, unknown, DIGEST_SIZE) == 0 ? 0 : ERR_MALFORMED;
	if (m->freed)
		return 0;
	/* The octets of a whole blob are held against its digest where that is walked. */
	rc = db_leaf_blob(db, t, m, &blob);
	if (rc == 0) {
		key = db_key64(blob);
		rc = db_get(db, t, DB_BLOB, &key, &value);
		if (rc == 0)
			rc = db_blob_decode(db_key_span(&key), value, &b);
		if (rc == 0 && memcmp(b.digest, unknown, DIGEST_SIZE) != 0)
			return memcmp(m->digest, b.digest, DIGEST_SIZE) == 0 ? 0 : ERR_MALFORMED;
	}
	if (rc != 0 && rc != ERR_NOT_FOUND)
		return rc;
	rc = message_root(db, t, m, root);
	if (rc == 0 && memcmp(m->digest, root, DIGEST_SIZE) != 0)
		rc = ERR_MALFORMED;
	return rc;
}

int db_blob_own_references(struct db *db, struct kv_txn *t, uint64_t blob, uint32_t *n)
{
	struct db_key key = db_key64(blob);
	struct db_message m;
	struct db_extent x;
	struct span value;
	int rc = db_get(db, t, DB_CONTENT, &key, &value);

	if (rc != 0 || db_content_decode(value, &m) != 0)
		return rc == ERR_NOT_FOUND ? 0 : rc;
	while (db_extent_next(&m.extents, &x))
		*n += x.blob == blob;
	return 0;
}

const char *db_message_fault(const struct db_message *m)
{
	struct mailbox sender;

	if (m->key == 0 || m->key >= DB_KEYS)
		return "its ids are of a key that can be none";
	if (m->submitted_us > m->expires_us || m->release_us > m->expires_us)
		return "its times are not in order";
	/* A little later while a command changes all deliveries. */
	if ((m->state == DB_STORED || m->state == DB_HELD) &&
	    (m->sweep_us == 0 || m->sweep_us / CLOCK_HOUR_US > m->expires_us / CLOCK_HOUR_US + 1))
		return "it is not to be swept when it expires";
	if (name_parse_mailbox(m->sender, &sender) != 0)
		return "its sender is no mailbox";
	return NULL;
}

int db_deliveries_count(struct db *db, struct kv_txn *t, const struct db_message *m, uint32_t *n,
                        uint32_t *readers)
{
	struct db_key from = db_key64_32(m->number, 0);
	struct span key, value;
	struct kv_cursor *c;
	int rc = kv_cursor_open(t, db->table[DB_DELIVERY], &c);

	if (rc != 0)
		return rc;
	/* By those that are there: a damaged count may be any number. */
	for (rc = kv_cursor_seek(c, db_key_span(&from), &key, &value);
	     rc == 0 && key.n >= 8 && kv_get_u64(key.p) == m->number;
	     rc = kv_cursor_next(c, &key, &value)) {
		struct db_delivery d;

		if (key.n != from.n || kv_get_u32(key.p + 8) >= m->recipients)
			continue;
		++*n;
		if (db_delivery_decode(key, value, &d) == 0)
			*readers += d.pinned && !d.withdrawn;
	}
	kv_cursor_close(c);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}
