/* Octets: blobs, their blocks, and the sweep of those that nobody refers to. */
#include <string.h>

#include "store/db.h"
#include "store/db_table.h"

#define BLOB_RECORD 1
#define BLOB_SIZE (1 + 4 + 8 + 32 + RECORD_SEAL)

void db_extent_write(const struct db_extent *x, uint8_t out[DB_EXTENT_SIZE])
{
	kv_put_u64(out, x->blob);
	kv_put_u64(out + 8, x->at);
	kv_put_u64(out + 16, x->octets);
}

bool db_extent_next(struct span *rest, struct db_extent *out)
{
	if (rest->n < DB_EXTENT_SIZE)
		return false;
	out->blob = kv_get_u64(rest->p);
	out->at = kv_get_u64(rest->p + 8);
	out->octets = kv_get_u64(rest->p + 16);
	*rest = span_after(*rest, DB_EXTENT_SIZE);
	return true;
}

int db_block_put(struct db *db, struct kv_txn *t, uint64_t blob, uint32_t index,
                 struct span octets)
{
	struct db_key key = db_key64_32(blob, index);

	if (octets.n == 0 || octets.n > DB_BLOCK)
		return ERR_TOO_BIG;
	return db_put_rising(db, t, DB_BLOCK_DATA, &key, octets);
}

int db_blob_decode(struct span key, struct span value, struct db_blob *out)
{
	struct record_reader r;

	if (key.n != 8)
		return ERR_MALFORMED;
	out->number = kv_get_u64(key.p);
	record_open(&r, value, key, BLOB_RECORD);
	out->references = record_get32(&r);
	out->size = record_get64(&r);
	record_get_copy(&r, out->digest, sizeof out->digest);
	return record_end(&r);
}

static int blob_write(struct db *db, struct kv_txn *t, const struct db_blob *b)
{
	struct db_key key = db_key64(b->number);
	uint8_t octets[BLOB_SIZE];
	struct record_writer w;
	struct span record;
	int rc;

	record_begin(&w, octets, sizeof octets, db_key_span(&key), BLOB_RECORD);
	record_put32(&w, b->references);
	record_put64(&w, b->size);
	record_put_octets(&w, b->digest, sizeof b->digest);
	rc = record_done(&w, &record);
	return rc != 0 ? rc : db_put_rising(db, t, DB_BLOB, &key, record);
}

int db_blob_get(struct db *db, struct kv_txn *t, uint64_t number, struct db_blob *out)
{
	struct db_key key = db_key64(number);
	struct span value;
	int rc = db_get(db, t, DB_BLOB, &key, &value);

	if (rc != 0)
		return rc;
	if (db_blob_decode(db_key_span(&key), value, out) != 0)
		return db_damaged(DB_BLOB, db_key_span(&key));
	if (out->references > 0)
		return 0;
	/* Without references it is either new in this transaction, or waits to be swept. */
	rc = db_get(db, t, DB_SWEEP, &key, &value);
	if (rc == ERR_NOT_FOUND)
		return 0;
	return rc == 0 ? ERR_NOT_FOUND : rc;
}

int db_blob_put(struct db *db, struct kv_txn *t, uint64_t blob, uint64_t size,
                const uint8_t *digest)
{
	struct db_blob b;
	int rc = db_blob_get(db, t, blob, &b);

	if (rc == ERR_NOT_FOUND) {
		struct db_key key = db_key64(blob);
		struct span value;

		rc = db_get(db, t, DB_BLOB, &key, &value);
		if (rc == 0)
			return ERR_NOT_FOUND; /* it is being swept: its number has had its life */
		if (rc != ERR_NOT_FOUND)
			return rc;
		memset(&b, 0, sizeof b);
		b.number = blob;
	} else if (rc != 0) {
		return rc;
	}
	b.size = size;
	if (digest != NULL)
		memcpy(b.digest, digest, sizeof b.digest);
	return blob_write(db, t, &b);
}

int db_blob_reference(struct db *db, struct kv_txn *t, uint64_t number, int delta)
{
	struct db_blob b;
	struct db_key key = db_key64(number);
	int rc = db_blob_get(db, t, number, &b);

	if (rc != 0)
		return rc;
	if (delta < 0 && b.references < (uint32_t)-delta)
		return db_damaged(DB_BLOB, db_key_span(&key));
	b.references = delta < 0 ? b.references - (uint32_t)-delta : b.references + (uint32_t)delta;
	rc = blob_write(db, t, &b);
	if (rc == 0 && b.references == 0)
		rc = db_put_mark(db, t, DB_SWEEP, &key);
	return rc;
}

/* Deletes up to LIMIT of BLOB's entries in TABLE. *DONE: none is left. How many went, or an
 * error. */
static int blob_sweep_table(struct db *db, struct kv_txn *t, enum db_table table, uint64_t blob,
                            int limit, bool *done)
{
	struct db_key from = db_key64_32(blob, 0);
	struct span key, value;
	struct kv_cursor *c;
	int n = 0, rc;

	*done = false;
	rc = kv_cursor_open(t, db->table[table], &c);
	if (rc != 0)
		return rc;
	rc = kv_cursor_seek(c, db_key_span(&from), &key, &value);
	while (rc == 0 && n < limit && key.n == from.n && kv_get_u64(key.p) == blob) {
		rc = kv_cursor_delete(c);
		if (rc == 0) {
			n++;
			rc = kv_cursor_next(c, &key, &value);
		}
	}
	kv_cursor_close(c);
	if (rc != 0 && rc != ERR_NOT_FOUND)
		return rc;
	*done = rc == ERR_NOT_FOUND || key.n != from.n || kv_get_u64(key.p) != blob;
	return n;
}

/* The same of all that is kept of BLOB: leaf hashes, then blocks. */
static int blob_sweep_octets(struct db *db, struct kv_txn *t, uint64_t blob, int limit, bool *done)
{
	int n = blob_sweep_table(db, t, DB_LEAF, blob, limit, done), blocks;

	if (n < 0 || !*done || n == limit) {
		*done = false;
		return n;
	}
	blocks = blob_sweep_table(db, t, DB_BLOCK_DATA, blob, limit - n, done);
	return blocks < 0 ? blocks : n + blocks;
}

int db_blob_sweep(struct db *db, struct kv_txn *t, unsigned limit)
{
	struct db_key start = db_key64(0);
	int most = limit < INT32_MAX ? (int)limit : INT32_MAX, n = 0;

	while (n < most) {
		struct span key, value;
		struct db_key blob;
		bool done;
		int rc = db_seek(db, t, DB_SWEEP, &start, 8, &key, &value);

		if (rc == ERR_NOT_FOUND)
			return n;
		/* No key of ours: passed over, so that it does not keep what comes after it. */
		if (rc == ERR_MALFORMED && key.n < DB_KEY_MAX) {
			memcpy(start.octets, key.p, key.n);
			start.octets[key.n] = 0;
			start.n = key.n + 1;
			continue;
		}
		if (rc != 0)
			return n > 0 ? db_late(rc) : rc;
		blob = db_key64(kv_get_u64(key.p));
		rc = blob_sweep_octets(db, t, kv_get_u64(blob.octets), most - n, &done);
		if (rc < 0)
			return db_late(rc);
		n += rc;
		if (!done || n == most)
			continue;
		rc = db_delete(db, t, DB_BLOB, &blob);
		if (rc == 0)
			rc = db_delete(db, t, DB_SWEEP, &blob);
		if (rc != 0)
			return db_late(rc);
		n++;
	}
	return n;
}

int db_octets(struct db *db, struct kv_txn *t, const struct db_message *m, uint64_t at,
              struct span *out)
{
	struct span rest = m->extents, block;
	struct db_extent x;
	struct db_key key;
	uint64_t within;
	int rc;

	for (;;) {
		if (!db_extent_next(&rest, &x))
			return ERR_NOT_FOUND;
		if (at < x.octets)
			break;
		at -= x.octets;
	}
	if (x.at + at < x.at || (x.at + at) / DB_BLOCK > UINT32_MAX)
		return ERR_MALFORMED;
	key = db_key64_32(x.blob, (uint32_t)((x.at + at) / DB_BLOCK));
	within = (x.at + at) % DB_BLOCK;
	rc = db_get(db, t, DB_BLOCK_DATA, &key, &block);
	if (rc == ERR_NOT_FOUND || (rc == 0 && block.n <= within))
		return db_damaged(DB_BLOCK_DATA, db_key_span(&key));
	if (rc != 0)
		return rc;
	*out = span_after(block, (size_t)within);
	if (out->n > x.octets - at)
		out->n = (size_t)(x.octets - at);
	return 0;
}

int db_octets_copy(struct db *db, struct kv_txn *t, const struct db_message *m, uint64_t at,
                   uint8_t *buf, size_t n)
{
	struct span piece;
	int rc;

	while (n > 0) {
		rc = db_octets(db, t, m, at, &piece);
		if (rc != 0)
			return rc == ERR_NOT_FOUND ? ERR_MALFORMED : rc;
		if (piece.n > n)
			piece.n = n;
		memcpy(buf, piece.p, piece.n);
		buf += piece.n;
		at += piece.n;
		n -= piece.n;
	}
	return 0;
}
