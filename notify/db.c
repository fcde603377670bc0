/* Opening the notification agent's database; the meta table; statistics and backup. */
#include "notify/db.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "notify/db_internal.h"
#include "session/migrate.h"

static const char *const table_names[] = {
	[TABLE_META] = "meta",
	[TABLE_MAILBOX] = "mailbox",
	[TABLE_LOG] = "log",
	[TABLE_INDEX] = "index",
	[TABLE_DUE] = "due",
	[TABLE_POLICY] = "policy",
	[TABLE_ALIAS] = "alias",
	NULL,
};

/* A step for each change of the layout (session/migrate.h). */
static const struct migrate_step steps[] = {
	{ .from = 1 }, /* the policy table */
	{ .from = 2 }, /* the alias table */
	{ .from = 3, .apply = db_upgrade_step },
};

/*
 * A new database gets its schema's number, when one is to be made: a file that was emptied is not
 * to look like an agent without mailboxes.
 */
static int check_schema(struct db *db, const char *dir, const struct db_options *options,
                        struct err_text *e)
{
	const struct migrate_options o = {
		.program = "im2000-notify",
		.dir = dir,
		.file = "notify.mdb",
		.claim = DB_CLAIM,
		.claimed = options->claimed,
		.create = options->create,
		.kv = db->kv,
		.meta = db->table[TABLE_META],
		.schema = DB_SCHEMA,
		.steps = steps,
		.n_steps = sizeof steps / sizeof steps[0],
		.ctx = db,
	};

	return migrate_run(&o, e);
}

/* Whether the database has, or may have, tables that are no more: of schema 3 or before. */
static bool is_old(struct db *db)
{
	struct kv_txn *t = db_read_begin(db);
	struct span schema, step;
	bool old;

	if (t == NULL) {
		return false; /* check_schema will say so */
	}
	old = kv_get(t, db->table[TABLE_META], span_str(MIGRATE_SCHEMA), &schema) == 0 &&
	      schema.n == 4 &&
	      (kv_get_u32(schema.p) < DB_SCHEMA ||
	       (kv_get_u32(schema.p) == DB_SCHEMA &&
	        kv_get(t, db->table[TABLE_META], span_str(MIGRATE_STEP), &step) == 0));
	db_read_end(t);
	return old;
}

/* Opens the file once more with the tables of before, brings it up, and leaves it closed. */
static int upgrade(struct db *db, const char *dir, const struct db_options *options,
                   const struct kv_options *kv, struct err_text *e)
{
	const char *names[TABLES + DB_UPGRADE_TABLES + 1] = { NULL };
	kv_table handles[TABLES + DB_UPGRADE_TABLES];
	int r;

	memcpy(names, table_names, TABLES * sizeof names[0]);
	memcpy(names + TABLES, db_upgrade_tables, DB_UPGRADE_TABLES * sizeof names[0]);
	kv_close(db->kv);
	db->kv = NULL;
	if ((r = kv_open(dir, "notify.mdb", kv, names, handles, &db->kv, e)) != 0) {
		return r;
	}
	memcpy(db->table, handles, sizeof db->table);
	memcpy(db->old, handles + TABLES, sizeof db->old);
	if ((r = check_schema(db, dir, options, e)) == 0) {
		kv_close(db->kv);
		db->kv = NULL;
	}
	return r;
}

int db_open(const char *dir, const struct db_options *options, struct db **out, struct err_text *e)
{
	struct kv_options kv = {
		.map_size = options->map_size,
		.reserve = options->no_sync ? 0 : KV_RESERVE,
		.no_sync = options->no_sync,
		.create = options->create,
	};
	struct db *db = calloc(1, sizeof *db);
	int r;

	if (db == NULL) {
		return err_set(e, ERR_NOMEM, "open %s/notify.mdb: out of memory", dir);
	}
	r = kv_open(dir, "notify.mdb", &kv, table_names, db->table, &db->kv, e);
	if (r == 0 && is_old(db) && (r = upgrade(db, dir, options, &kv, e)) == 0) {
		r = kv_open(dir, "notify.mdb", &kv, table_names, db->table, &db->kv, e);
	}
	if (r == 0) {
		r = check_schema(db, dir, options, e);
	}
	if (r != 0) {
		db_close(db);
		return r;
	}
	*out = db;
	return 0;
}

void db_close(struct db *db)
{
	if (db != NULL) {
		kv_close(db->kv);
		free(db);
	}
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

int db_meta_get(struct db *db, struct kv_txn *t, const char *key, uint64_t *out)
{
	struct span value;
	int r = kv_get(t, db->table[TABLE_META], span_str(key), &value);

	*out = 0;
	if (r != 0) {
		return r == ERR_NOT_FOUND ? 0 : r;
	}
	if (value.n != 8) {
		return ERR_MALFORMED;
	}
	*out = kv_get_u64(value.p);
	return 0;
}

int db_meta_put(struct db *db, struct kv_txn *t, const char *key, uint64_t number)
{
	uint8_t octets[8];

	kv_put_u64(octets, number);
	return kv_put(t, db->table[TABLE_META], span_str(key), span_of(octets, 8));
}

int db_meta_add(struct db *db, struct kv_txn *t, const char *key, int64_t delta, uint64_t *out)
{
	int r = db_meta_get(db, t, key, out);

	*out += (uint64_t)delta;
	return r != 0 ? r : db_meta_put(db, t, key, *out);
}

const char *db_count_name(unsigned count, char out[DB_COUNT_NAME])
{
	static const char *const names[DB_COUNTS] = {
		[DB_FETCH_HITS] = "fetch-hits",
		[DB_FETCH_MISSES] = "fetch-misses",
		[DB_PULLED] = "pulled",
		[DB_PULLS_FAILED] = "pulls-failed",
		[DB_PULLED_OCTETS] = "pulled-octets",
		[DB_CACHE_EVICTED] = "cache-evicted",
	};

	if (count >= WIRE_NOTIFY_COUNT) {
		return names[count];
	}
	snprintf(out, DB_COUNT_NAME, "answered-%s",
	         wire_notify_result_name((enum wire_notify_result)count));
	return out;
}

int db_counts_add(struct db *db, struct kv_txn *t, const uint64_t counts[DB_COUNTS])
{
	char key[DB_COUNT_NAME];
	uint64_t now;
	int r = 0;

	for (unsigned i = 0; i < DB_COUNTS && r == 0; i++) {
		r = counts[i] == 0 ? 0
		                   : db_meta_add(db, t, db_count_name(i, key),
		                                 (int64_t)counts[i], &now);
	}
	return r;
}

static int counts_get(struct db *db, struct kv_txn *t, uint64_t counts[DB_COUNTS])
{
	char key[DB_COUNT_NAME];
	int r = 0;

	for (unsigned i = 0; i < DB_COUNTS && r == 0; i++) {
		r = db_meta_get(db, t, db_count_name(i, key), &counts[i]);
	}
	return r;
}

const char *const *db_tables(const struct db *db)
{
	(void)db;
	return table_names;
}

const kv_table *db_handles(const struct db *db)
{
	return db->table;
}

int db_stats(struct db *db, struct db_stats *out)
{
	struct kv_txn *t = db_read_begin(db);
	int r;

	if (t == NULL) {
		return ERR_NOMEM;
	}
	out->mailboxes = kv_count(t, db->table[TABLE_MAILBOX]);
	/* The log has announcements and pieces; each of these is due once. */
	out->announcements = kv_count(t, db->table[TABLE_LOG]) - kv_count(t, db->table[TABLE_DUE]);
	out->aliases = kv_count(t, db->table[TABLE_ALIAS]);
	out->rules = kv_count(t, db->table[TABLE_POLICY]);
	if ((r = db_meta_get(db, t, "notices", &out->notices)) == 0) {
		r = counts_get(db, t, out->counts);
	}
	db_read_end(t);
	return r != 0 ? r : kv_stat(db->kv, &out->kv);
}

int db_backup(struct db *db, const char *dir, struct err_text *e)
{
	return kv_backup(db->kv, dir, "notify.mdb", e);
}
