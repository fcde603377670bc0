/* Opening, the schema, keys, and the numbers of messages. */
#include "store/db.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "session/migrate.h"
#include "session/program.h"
#include "store/db_table.h"

const char *const db_table_names[DB_TABLES + 1] = {
	[DB_META] = "meta",
	[DB_ACCOUNT] = "account",
	[DB_ACCOUNT_NAME] = "account-name",
	[DB_USAGE] = "usage",
	[DB_MESSAGE] = "message",
	[DB_CONTENT] = "content",
	[DB_BLOB] = "blob",
	[DB_BLOCK_DATA] = "block",
	[DB_LEAF] = "leaf",
	[DB_SWEEP] = "sweep",
	[DB_SUBMISSION] = "submission",
	[DB_ARCHIVE] = "archive",
	[DB_EXPIRY] = "expiry",
	[DB_DELIVERY] = "delivery",
	[DB_CHANGE] = "change",
	[DB_JOB] = "job",
	[DB_TABLES] = NULL,
};

#define DB_RECORD 1 /* version of a record with one number, and of a mark */

/* How many message numbers are reserved at once, and when more are asked for. A crash loses what
 * is left of a run; there are 2^64. */
#define DB_NUMBERS_RUN 16384
#define DB_NUMBERS_LOW 4096

/* --- opening --------------------------------------------------------------------------- */

int db_present(const char *dir, struct err_text *e)
{
	char path[4096];
	int rc = program_check_data("im2000-store", dir, e);

	if (rc != 0)
		return rc;
	if (snprintf(path, sizeof path, "%s/" DB_FILE, dir) >= (int)sizeof path)
		return err_set(e, ERR_IO, "data directory %s: the path is too long", dir);
	if (access(path, R_OK | W_OK) == 0)
		return 0;
	return err_set(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "open %s: %s%s", path,
	               strerror(errno),
	               errno == ENOENT ? " (im2000-store init makes a data directory)" : "");
}

/* Records were not sealed in schema 1; they are read as they are, and sealed when they change. */
static const struct migrate_step steps[] = {
	{ .from = 1 },
};

/* Brings DB to this program's schema: a step for each change of the layout (session/migrate.h). */
static int schema_check(struct db *db, const char *dir, const struct db_options *options,
                        struct err_text *e)
{
	/* The records of the table meta: a version, a number of 8 octets. */
	static const uint8_t lead[] = { DB_RECORD, 0, 0, 0, 0 };
	const struct migrate_options o = {
		.program = "im2000-store",
		.dir = dir,
		.file = DB_FILE,
		.claim = DB_CLAIM,
		.claimed = options->claimed,
		.create = options->create,
		.kv = db->kv,
		.meta = db->table[DB_META],
		.lead = span_of(lead, sizeof lead),
		.schema = DB_SCHEMA,
		.steps = steps,
		.n_steps = sizeof steps / sizeof steps[0],
		.ctx = db,
	};

	return migrate_run(&o, e);
}

int db_open(const char *dir, const struct db_options *options, struct db **out,
            struct err_text *e)
{
	struct kv_options kvo = {
		.map_size = options->map_size,
		.reserve = options->no_sync ? 0 : KV_RESERVE,
		.no_sync = options->no_sync,
		.create = options->create,
	};
	struct db *db;
	int rc = program_check_data("im2000-store", dir, e);

	if (rc != 0)
		return rc;
	db = calloc(1, sizeof *db);
	if (db == NULL)
		return err_set(e, ERR_NOMEM, "out of memory");
	pthread_mutex_init(&db->numbers, NULL);
	rc = kv_open(dir, DB_FILE, &kvo, db_table_names, db->table, &db->kv, e);
	if (rc == 0)
		rc = schema_check(db, dir, options, e);
	if (rc != 0) {
		db_close(db);
		return rc;
	}
	*out = db;
	return 0;
}

void db_close(struct db *db)
{
	if (db == NULL)
		return;
	kv_close(db->kv);
	pthread_mutex_destroy(&db->numbers);
	free(db);
}

struct kv *db_kv(struct db *db)
{
	return db->kv;
}

struct kv_txn *db_read_begin(struct db *db)
{
	return kv_read_begin(db->kv);
}

void db_read_end(struct kv_txn *t)
{
	kv_read_end(t);
}

/* --- keys ------------------------------------------------------------------------------ */

struct db_key db_key32(uint32_t a)
{
	struct db_key k = { .n = 4 };

	kv_put_u32(k.octets, a);
	return k;
}

struct db_key db_key64(uint64_t a)
{
	struct db_key k = { .n = 8 };

	kv_put_u64(k.octets, a);
	return k;
}

struct db_key db_key32_64(uint32_t a, uint64_t b)
{
	struct db_key k = { .n = 12 };

	kv_put_u32(k.octets, a);
	kv_put_u64(k.octets + 4, b);
	return k;
}

struct db_key db_key64_32(uint64_t a, uint32_t b)
{
	struct db_key k = { .n = 12 };

	kv_put_u64(k.octets, a);
	kv_put_u32(k.octets + 8, b);
	return k;
}

struct db_key db_key64_64(uint64_t a, uint64_t b)
{
	struct db_key k = { .n = 16 };

	kv_put_u64(k.octets, a);
	kv_put_u64(k.octets + 8, b);
	return k;
}

struct db_key db_key_submission(uint32_t account, const uint8_t id[16])
{
	struct db_key k = { .n = 20 };

	kv_put_u32(k.octets, account);
	memcpy(k.octets + 4, id, 16);
	return k;
}

struct db_key db_key_job(uint64_t due_us, uint64_t message, uint32_t first, uint8_t kind)
{
	struct db_key k = { .n = 21 };

	kv_put_u64(k.octets, due_us);
	kv_put_u64(k.octets + 8, message);
	kv_put_u32(k.octets + 16, first);
	k.octets[20] = kind;
	return k;
}

/* --- entries --------------------------------------------------------------------------- */

int db_get(struct db *db, struct kv_txn *t, enum db_table table, const struct db_key *key,
           struct span *value)
{
	return kv_get(t, db->table[table], db_key_span(key), value);
}

int db_put(struct db *db, struct kv_txn *t, enum db_table table, const struct db_key *key,
           struct span value)
{
	return kv_put(t, db->table[table], db_key_span(key), value);
}

int db_put_rising(struct db *db, struct kv_txn *t, enum db_table table,
                  const struct db_key *key, struct span value)
{
	int rc = kv_append(t, db->table[table], db_key_span(key), value);

	return rc == ERR_EXISTS ? db_put(db, t, table, key, value) : rc;
}

int db_put_mark(struct db *db, struct kv_txn *t, enum db_table table, const struct db_key *key)
{
	static const uint8_t mark[1] = { DB_RECORD };

	return db_put_rising(db, t, table, key, span_of(mark, sizeof mark));
}

int db_put_number(struct db *db, struct kv_txn *t, enum db_table table, struct span key,
                  uint64_t v, size_t octets)
{
	uint8_t record[9 + RECORD_SEAL];
	struct record_writer w;
	struct span value;
	int rc;

	record_begin(&w, record, sizeof record, span_of(NULL, 0), DB_RECORD);
	if (octets == 4)
		record_put32(&w, (uint32_t)v);
	else
		record_put64(&w, v);
	rc = record_done(&w, &value);
	return rc != 0 ? rc : kv_put(t, db->table[table], key, value);
}

int db_delete(struct db *db, struct kv_txn *t, enum db_table table, const struct db_key *key)
{
	int rc = kv_delete(t, db->table[table], db_key_span(key));

	return rc == ERR_NOT_FOUND ? 0 : rc;
}

int db_seek(struct db *db, struct kv_txn *t, enum db_table table, const struct db_key *from,
            size_t key_n, struct span *key, struct span *value)
{
	struct kv_cursor *c;
	int rc = kv_cursor_open(t, db->table[table], &c);

	if (rc != 0)
		return rc;
	rc = kv_cursor_seek(c, db_key_span(from), key, value);
	kv_cursor_close(c);
	if (rc == 0 && key->n != key_n)
		rc = db_damaged(table, *key);
	return rc;
}

int db_damaged(enum db_table table, struct span key)
{
	char hex[2 * DB_KEY_MAX + 1];

	text_hex(key.p, key.n < DB_KEY_MAX ? key.n : DB_KEY_MAX, hex);
	log_error("damaged", "table=%s key=%s", db_table_names[table], hex);
	return ERR_MALFORMED;
}

int db_late(int error)
{
	return error == ERR_MALFORMED || error == ERR_NOT_FOUND || error == ERR_EXISTS ? ERR_IO
	                                                                                : error;
}

int db_number32_decode(struct span value, uint32_t *out)
{
	struct record_reader r;

	record_open(&r, value, span_of(NULL, 0), DB_RECORD);
	*out = record_get32(&r);
	return record_end(&r);
}

int db_number64_decode(struct span value, uint64_t *out)
{
	struct record_reader r;

	record_open(&r, value, span_of(NULL, 0), DB_RECORD);
	*out = record_get64(&r);
	return record_end(&r);
}

int db_mark_decode(struct span value)
{
	struct record_reader r;

	record_open(&r, value, span_of(NULL, 0), DB_RECORD);
	return record_end(&r);
}

int db_meta_get(struct db *db, struct kv_txn *t, const char *name, uint64_t absent,
                uint64_t *out)
{
	struct span value;
	int rc = kv_get(t, db->table[DB_META], span_str(name), &value);

	if (rc == ERR_NOT_FOUND) {
		*out = absent;
		return 0;
	}
	if (rc == 0 && db_number64_decode(value, out) != 0)
		rc = db_damaged(DB_META, span_str(name));
	return rc;
}

int db_meta_put(struct db *db, struct kv_txn *t, const char *name, uint64_t value)
{
	return db_put_number(db, t, DB_META, span_str(name), value, 8);
}

/* --- numbers --------------------------------------------------------------------------- */

int db_number_take(struct db *db, uint64_t *out)
{
	int rc = ERR_AGAIN;

	pthread_mutex_lock(&db->numbers);
	if (db->next < db->end) {
		*out = db->next++;
		rc = 0;
	}
	pthread_mutex_unlock(&db->numbers);
	return rc;
}

bool db_numbers_low(struct db *db)
{
	bool low;

	pthread_mutex_lock(&db->numbers);
	low = db->end - db->next < DB_NUMBERS_LOW;
	pthread_mutex_unlock(&db->numbers);
	return low;
}

int db_numbers_reserve(struct db *db, struct kv_txn *t)
{
	uint64_t first;
	int rc = db_meta_get(db, t, DB_META_MESSAGES, 1, &first);

	if (rc != 0)
		return rc;
	if (first > UINT64_MAX - DB_NUMBERS_RUN)
		return ERR_FULL;
	rc = db_meta_put(db, t, DB_META_MESSAGES, first + DB_NUMBERS_RUN);
	if (rc != 0)
		return rc;
	pthread_mutex_lock(&db->numbers);
	db->pending_next = first;
	db->pending_end = first + DB_NUMBERS_RUN;
	pthread_mutex_unlock(&db->numbers);
	return 0;
}

void db_numbers_committed(struct db *db)
{
	struct kv_txn *t = kv_read_begin(db->kv);
	uint64_t mark = 0;

	if (t != NULL) {
		if (db_meta_get(db, t, DB_META_MESSAGES, 0, &mark) != 0)
			mark = 0;
		kv_read_end(t);
	}
	pthread_mutex_lock(&db->numbers);
	/* The pending run may belong to a later reservation that is not committed yet: only
	 * what the table holds durably may be given out. */
	if (db->pending_end != 0 && db->pending_end <= mark) {
		if (db->end != db->pending_next || db->next == db->end)
			db->next = db->pending_next;
		db->end = db->pending_end;
		db->pending_next = db->pending_end = 0;
	}
	pthread_mutex_unlock(&db->numbers);
}
