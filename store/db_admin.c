/* Counts, and copies. */
#include <errno.h>
#include <stdlib.h>
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

static int reserved_order(const void *a, const void *b)
{
	const struct db_reserved *x = a, *y = b;

	return x->account < y->account ? -1 : x->account > y->account;
}

/* What message NUMBER has reserved, added to the list of N. 0 or an error. */
static int reserved_add(struct db *db, struct kv_txn *t, uint64_t number,
                        struct db_reserved **list, int *n)
{
	struct db_key key = db_key64(number);
	struct db_reserved *more;
	struct db_message m;
	struct span value;
	int rc = db_get(db, t, DB_MESSAGE, &key, &value);

	if (rc != 0)
		return rc == ERR_NOT_FOUND ? 0 : rc;
	if (db_message_decode(db_key_span(&key), value, &m) != 0)
		return db_damaged(DB_MESSAGE, db_key_span(&key));
	if (m.state != DB_RECEIVING || db_message_usage(&m) <= m.size_octets)
		return 0;
	/* As a power of two: full when it is one. */
	if ((*n & (*n - 1)) == 0) {
		more = reallocarray(*list, *n == 0 ? 1 : 2 * (size_t)*n, sizeof **list);
		if (more == NULL)
			return ERR_NOMEM;
		*list = more;
	}
	(*list)[(*n)++] = (struct db_reserved){ m.account, db_message_usage(&m) - m.size_octets };
	return 0;
}

/* One entry for each account. How many. */
static int reserved_merge(struct db_reserved *list, int n)
{
	int last = 0;

	if (n == 0)
		return 0;
	qsort(list, (size_t)n, sizeof *list, reserved_order);
	for (int i = 1; i < n; i++) {
		if (list[i].account == list[last].account)
			list[last].octets += list[i].octets;
		else
			list[++last] = list[i];
	}
	return last + 1;
}

int db_reserved(struct db *db, uint64_t until_us, struct db_reserved **out)
{
	struct kv_txn *t = kv_read_begin(db->kv);
	struct db_reserved *list = NULL;
	struct span key, value;
	struct kv_cursor *c;
	int rc = t == NULL ? ERR_NOMEM : kv_cursor_open(t, db->table[DB_EXPIRY], &c), n = 0;

	if (rc == 0) {
		for (rc = kv_cursor_first(c, &key, &value);
		     rc == 0 && key.n == 16 && kv_get_u64(key.p) <= until_us;
		     rc = kv_cursor_next(c, &key, &value)) {
			rc = reserved_add(db, t, kv_get_u64(key.p + 8), &list, &n);
			if (rc != 0)
				break;
		}
		kv_cursor_close(c);
	}
	kv_read_end(t);
	if (rc != 0 && rc != ERR_NOT_FOUND) {
		free(list);
		return rc;
	}
	*out = list;
	return reserved_merge(list, n);
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
