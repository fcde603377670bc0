/* Accounts: the record, the name that leads to it, and what the account uses. */
#include <string.h>

#include "store/db.h"
#include "store/db_table.h"

#define ACCOUNT_RECORD 1
/* version, hash, quota, created, length of the name, length of the senders, seal */
#define ACCOUNT_FIXED (1 + PASSWORD_HASH_SIZE + 8 + 8 + 1 + 2 + RECORD_SEAL)

int db_account_decode(struct span key, struct span value, struct db_account *out)
{
	struct record_reader r;

	memset(out, 0, sizeof *out);
	if (key.n != 4)
		return ERR_MALFORMED;
	out->number = kv_get_u32(key.p);
	record_open(&r, value, key, ACCOUNT_RECORD);
	record_get_copy(&r, out->hash.octets, sizeof out->hash.octets);
	out->quota_octets = record_get64(&r);
	out->created_us = record_get64(&r);
	out->name = record_get_text8(&r);
	out->senders = record_get_text16(&r);
	return record_end(&r);
}

int db_account_by_number(struct db *db, struct kv_txn *t, uint32_t number, struct db_account *out)
{
	struct db_key key = db_key32(number);
	struct span value;
	int rc = db_get(db, t, DB_ACCOUNT, &key, &value);

	if (rc != 0)
		return rc;
	if (db_account_decode(db_key_span(&key), value, out) != 0)
		return db_damaged(DB_ACCOUNT, db_key_span(&key));
	rc = db_get(db, t, DB_USAGE, &key, &value);
	if (rc == 0 && db_number64_decode(value, &out->used_octets) == 0)
		return 0;
	return rc == 0 || rc == ERR_NOT_FOUND ? db_damaged(DB_USAGE, db_key_span(&key)) : rc;
}

/* The account that the entry NAME -> VALUE of the table of names leads to. */
static int account_of_entry(struct db *db, struct kv_txn *t, struct span name, struct span value,
                            struct db_account *out)
{
	uint32_t number;
	int rc;

	if (db_number32_decode(value, &number) != 0)
		return db_damaged(DB_ACCOUNT_NAME, name);
	rc = db_account_by_number(db, t, number, out);
	return rc == ERR_NOT_FOUND ? db_damaged(DB_ACCOUNT_NAME, name) : rc;
}

int db_account_find(struct db *db, struct kv_txn *t, struct span name, struct db_account *out)
{
	struct span value;
	int rc;

	if (name.n == 0 || name.n > DB_ACCOUNT_NAME_MAX)
		return ERR_NOT_FOUND;
	rc = kv_get(t, db->table[DB_ACCOUNT_NAME], name, &value);
	return rc != 0 ? rc : account_of_entry(db, t, name, value, out);
}

int db_account_next(struct db *db, struct kv_txn *t, struct span name, struct db_account *out)
{
	struct kv_cursor *c;
	struct span key, value;
	int rc;

	if (name.n > DB_ACCOUNT_NAME_MAX)
		return ERR_TOO_BIG;
	rc = kv_cursor_open(t, db->table[DB_ACCOUNT_NAME], &c);
	if (rc != 0)
		return rc;
	if (name.n == 0)
		rc = kv_cursor_first(c, &key, &value);
	else
		rc = kv_cursor_seek(c, name, &key, &value);
	if (rc == 0 && name.n != 0 && span_eq(key, name))
		rc = kv_cursor_next(c, &key, &value);
	kv_cursor_close(c);
	return rc != 0 ? rc : account_of_entry(db, t, key, value, out);
}

/* The number of a new account; numbers of removed ones never come back. */
static int account_number(struct db *db, struct kv_txn *t, uint32_t *out)
{
	uint64_t next;
	int rc = db_meta_get(db, t, DB_META_ACCOUNTS, 1, &next);

	if (rc != 0)
		return rc;
	if (next > UINT32_MAX)
		return ERR_FULL;
	*out = (uint32_t)next;
	return db_meta_put(db, t, DB_META_ACCOUNTS, next + 1);
}

static int account_encode(const struct db_account *a, struct span key, struct span name, uint8_t *p,
                          size_t cap, struct span *out)
{
	struct record_writer w;

	record_begin(&w, p, cap, key, ACCOUNT_RECORD);
	record_put_octets(&w, a->hash.octets, sizeof a->hash.octets);
	record_put64(&w, a->quota_octets);
	record_put64(&w, a->created_us);
	record_put_text8(&w, name);
	record_put_text16(&w, a->senders);
	return record_done(&w, out);
}

int db_account_put(struct db *db, struct kv_txn *t, struct db_account *a)
{
	uint8_t octets[ACCOUNT_FIXED + DB_ACCOUNT_NAME_MAX + DB_ACCOUNT_SENDERS_MAX];
	uint32_t number = a->number;
	struct db_account old;
	struct span record, name = a->name;
	struct db_key key;
	int rc;

	if (a->senders.n > DB_ACCOUNT_SENDERS_MAX)
		return ERR_TOO_BIG;
	if (number == 0) {
		if (name.n == 0)
			return ERR_MALFORMED;
		if (name.n > DB_ACCOUNT_NAME_MAX)
			return ERR_TOO_BIG;
		rc = db_account_find(db, t, name, &old);
		if (rc != ERR_NOT_FOUND)
			return rc == 0 ? ERR_EXISTS : rc;
	} else {
		rc = db_account_by_number(db, t, number, &old);
		if (rc != 0)
			return rc;
		name = old.name;
	}
	if (number == 0) {
		rc = account_number(db, t, &number);
		key = db_key32(number);
		if (rc == 0)
			rc = db_put_number(db, t, DB_ACCOUNT_NAME, name, number, 4);
		if (rc == 0)
			rc = db_put_number(db, t, DB_USAGE, db_key_span(&key), 0, 8);
		if (rc != 0)
			return rc;
	}
	key = db_key32(number);
	rc = account_encode(a, db_key_span(&key), name, octets, sizeof octets, &record);
	if (rc == 0)
		rc = db_put(db, t, DB_ACCOUNT, &key, record);
	if (rc == 0)
		a->number = number;
	return rc;
}

int db_account_remove(struct db *db, struct kv_txn *t, struct span name)
{
	struct db_account a;
	struct db_key key;
	int rc = db_account_find(db, t, name, &a);

	if (rc != 0)
		return rc;
	key = db_key32(a.number);
	rc = kv_delete(t, db->table[DB_ACCOUNT_NAME], name);
	if (rc == 0)
		rc = db_delete(db, t, DB_ACCOUNT, &key);
	if (rc == 0)
		rc = db_delete(db, t, DB_USAGE, &key);
	return rc;
}

int db_account_charge(struct db *db, struct kv_txn *t, uint32_t account, int64_t delta)
{
	struct db_key key = db_key32(account);
	struct span value;
	uint64_t used;
	int rc;

	if (delta == 0)
		return 0;
	rc = db_get(db, t, DB_USAGE, &key, &value);
	if (rc != 0)
		return rc == ERR_NOT_FOUND ? 0 : rc;
	if (db_number64_decode(value, &used) != 0)
		return db_damaged(DB_USAGE, db_key_span(&key));
	if (delta > 0)
		used += (uint64_t)delta;
	else
		used -= used < (uint64_t)-delta ? used : (uint64_t)-delta;
	return db_put_number(db, t, DB_USAGE, db_key_span(&key), used, 8);
}
