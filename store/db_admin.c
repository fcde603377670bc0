/* Counts, and copies. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "store/db.h"
#include "store/db_table.h"

/* The sum of what all accounts use. */
static int usage_sum(struct db *db, struct kv_txn *t, uint64_t *out)
{
	struct span key, value;
	struct kv_cursor *c;
	uint64_t used;
	int rc = kv_cursor_open(t, db->table[DB_USAGE], &c);

	*out = 0;
	if (rc != 0)
		return rc;
	for (rc = kv_cursor_first(c, &key, &value); rc == 0;
	     rc = kv_cursor_next(c, &key, &value)) {
		if (db_number64_decode(value, &used) != 0) {
			rc = db_damaged(DB_USAGE, key);
			break;
		}
		*out += used;
	}
	kv_cursor_close(c);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

int db_jobs_due(struct db *db, uint64_t now_us, struct db_due *out)
{
	struct kv_txn *t = kv_read_begin(db->kv);
	uint64_t jobs;
	struct span key, value;
	struct kv_cursor *c;
	int rc;

	*out = (struct db_due){ 0 };
	if (t == NULL)
		return ERR_NOMEM;
	jobs = kv_count(t, db->table[DB_JOB]);
	rc = kv_cursor_open(t, db->table[DB_JOB], &c);
	if (rc != 0) {
		kv_read_end(t);
		return rc;
	}
	for (rc = kv_cursor_first(c, &key, &value);
	     rc == 0 && key.n >= 8 && out->due < DB_DUE_MAX; rc = kv_cursor_next(c, &key, &value)) {
		uint64_t due_us = kv_get_u64(key.p);

		if (out->first_us == 0)
			out->first_us = due_us;
		if (due_us > now_us)
			break;
		out->due++;
	}
	out->waiting = jobs - out->due;
	kv_cursor_close(c);
	kv_read_end(t);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

int db_count_by_key(struct db *db, uint64_t count[DB_KEYS])
{
	struct kv_txn *t = kv_read_begin(db->kv);
	struct span key, value;
	struct kv_cursor *c;
	int rc;

	memset(count, 0, DB_KEYS * sizeof *count);
	if (t == NULL)
		return ERR_NOMEM;
	rc = kv_cursor_open(t, db->table[DB_MESSAGE], &c);
	if (rc != 0) {
		kv_read_end(t);
		return rc;
	}
	for (rc = kv_cursor_first(c, &key, &value); rc == 0;
	     rc = kv_cursor_next(c, &key, &value)) {
		struct db_message m;

		if (db_message_decode(key, value, &m) != 0 || m.key >= DB_KEYS)
			rc = db_damaged(DB_MESSAGE, key);
		else
			count[m.key]++;
		if (rc != 0)
			break;
	}
	kv_cursor_close(c);
	kv_read_end(t);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

const char *const *db_tables(const struct db *db)
{
	(void)db;
	return db_table_names;
}

const kv_table *db_handles(const struct db *db)
{
	return db->table;
}

int db_stats(struct db *db, struct db_stats *out)
{
	struct kv_txn *t = kv_read_begin(db->kv);
	int rc;

	memset(out, 0, sizeof *out);
	if (t == NULL)
		return ERR_NOMEM;
	out->accounts = kv_count(t, db->table[DB_ACCOUNT]);
	out->messages = kv_count(t, db->table[DB_MESSAGE]);
	out->deliveries = kv_count(t, db->table[DB_DELIVERY]);
	out->blobs = kv_count(t, db->table[DB_BLOB]);
	out->blocks = kv_count(t, db->table[DB_BLOCK_DATA]);
	out->jobs = kv_count(t, db->table[DB_JOB]);
	out->changes = kv_count(t, db->table[DB_CHANGE]);
	rc = usage_sum(db, t, &out->octets_stored);
	kv_read_end(t);
	return rc != 0 ? rc : kv_stat(db->kv, &out->kv);
}

int db_backup(struct db *db, const char *dir, struct err_text *e)
{
	if (mkdir(dir, 0700) != 0 && errno != EEXIST)
		return err_set(e, ERR_IO, "make directory %s: %s", dir, strerror(errno));
	return kv_backup(db->kv, dir, DB_FILE, e);
}
