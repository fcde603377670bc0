/* Messages by something else than their number. The entries are db_message_put's to keep. */
#include <string.h>

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

struct db_expiry db_expiry_behind(struct db_expiry x)
{
	if (++x.message == 0)
		x.time_us++;
	return x;
}

/* The place behind a key that is shorter or longer than one of ours. */
static struct db_expiry behind_odd(struct span key)
{
	uint8_t octets[16] = { 0 };
	struct db_expiry x;

	memcpy(octets, key.p, key.n < sizeof octets ? key.n : sizeof octets);
	x = (struct db_expiry){ kv_get_u64(octets), kv_get_u64(octets + 8) };
	return key.n < sizeof octets ? x : db_expiry_behind(x);
}

int db_expiry_due(struct db *db, struct kv_txn *t, const struct db_expiry *from, uint64_t now_us,
                  struct db_expiry *out)
{
	struct db_key first = from != NULL ? db_key64_64(from->time_us, from->message)
	                                   : db_key64_64(0, 0);
	struct span key, value;
	int rc = db_seek(db, t, DB_EXPIRY, &first, 16, &key, &value);

	if (rc == ERR_MALFORMED)
		*out = behind_odd(key);
	if (rc != 0)
		return rc;
	*out = (struct db_expiry){ kv_get_u64(key.p), kv_get_u64(key.p + 8) };
	return out->time_us > now_us ? ERR_NOT_FOUND : 0;
}
