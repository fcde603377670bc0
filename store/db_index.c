/* Messages by something else than their number. The entries are db_message_put's to keep. */
#include "store/db.h"
#include "store/db_table.h"

int db_submission_find(struct db *db, struct kv_txn *t, uint32_t account, const uint8_t id[16],
                       uint64_t *message)
{
	struct db_key key = db_key_submission(account, id);
	struct span value;
	int rc = db_get(db, t, DB_SUBMISSION, &key, &value);

	if (rc == 0 && db_number64_decode(value, message) != 0)
		rc = db_damaged(DB_SUBMISSION, db_key_span(&key));
	return rc;
}

int db_archive_next(struct db *db, struct kv_txn *t, uint32_t account, uint64_t after,
                    uint64_t *message)
{
	struct db_key from = db_key32_64(account, after + 1);
	struct span key, value;
	int rc;

	if (after == UINT64_MAX)
		return ERR_NOT_FOUND;
	rc = db_seek(db, t, DB_ARCHIVE, &from, 12, &key, &value);
	if (rc != 0)
		return rc;
	if (kv_get_u32(key.p) != account)
		return ERR_NOT_FOUND;
	*message = kv_get_u64(key.p + 4);
	return 0;
}

int db_expiry_due(struct db *db, struct kv_txn *t, uint64_t now_us, uint64_t *time_us,
                  uint64_t *message)
{
	struct db_key from = db_key64_64(0, 0);
	struct span key, value;
	int rc = db_seek(db, t, DB_EXPIRY, &from, 16, &key, &value);

	if (rc != 0)
		return rc;
	if (kv_get_u64(key.p) > now_us)
		return ERR_NOT_FOUND;
	*time_us = kv_get_u64(key.p);
	*message = kv_get_u64(key.p + 8);
	return 0;
}
