/*
 * LMDB behind kv.h. What is dealt with here, so that nobody above has to:
 * - Read transactions are recycled: begun once (a slot in the reader table), then reset
 *   and renewed. They are not bound to threads (MDB_NOTLS), so a pool serves all of them.
 * - The map is address space, not memory or disk: taken far ahead, less of it where the
 *   process is not given as much.
 * - When another process made the file larger than this one's map, the map grows, for
 *   which this process must have no transaction open: a gate sees to it.
 * - Slots of readers that died are freed: at the opening, now and then, and when the
 *   table is full.
 * - A failed write breaks its whole transaction; what broke it is remembered in the
 *   transaction and answered from then on, by the commit too.
 * - After a disk's error nothing is written any more: docs/storage.md, "A disk that fails".
 */
#include "base/kv.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alarm.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/gate.h"
#include "base/kv_room.h"
#include "base/log.h"
#include "base/room.h"

#define MAP_SIZE_DEFAULT (1ULL << 40)
#define MAP_SIZE_LEAST (1ULL << 20)
#define READERS_DEFAULT 512
#define FILE_MODE 0600
#define RESIZE_WAIT_S 10 /* for the transactions that are open; they are to be short */
#define RESIZE_TRIES 3
#define STALE_CHECK_US CLOCK_MINUTE_US

struct kv_txn {
	struct kv *kv;
	MDB_txn *txn;
	struct kv_txn *next; /* in the pool */
	bool write;
	int failed; /* what broke a write transaction; 0: nothing */
};

struct kv_cursor {
	struct kv_txn *txn;
	MDB_cursor *cursor;
};

struct kv {
	MDB_env *env;
	struct kv_txn writer; /* LMDB's lock lets one at a time be open */
	uint64_t stale_checked_us; /* mono; under LMDB's lock */
	struct gate gate; /* who has a transaction open or begins one is inside */
	pthread_mutex_t pool_lock;
	struct kv_txn *pool; /* read transactions, reset */
	struct alarm failure; /* see kv_watch */
	struct kv_room room;
};

int kv_error(int rc)
{
	static const struct {
		int rc, error;
	} table[] = {
		{ 0, 0 },
		{ MDB_NOTFOUND, ERR_NOT_FOUND }, { ENOENT, ERR_NOT_FOUND },
		{ MDB_KEYEXIST, ERR_EXISTS },    { EEXIST, ERR_EXISTS },
		{ MDB_MAP_FULL, ERR_FULL },      { MDB_TXN_FULL, ERR_FULL },
		{ ENOSPC, ERR_FULL },            { EDQUOT, ERR_FULL },
		{ EFBIG, ERR_FULL },             { MDB_BAD_VALSIZE, ERR_TOO_BIG },
		{ ENOMEM, ERR_NOMEM },           { EACCES, ERR_DENIED },
		{ EPERM, ERR_DENIED },           { EROFS, ERR_DENIED },
	};

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
		if (table[i].rc == rc)
			return table[i].error;
	return ERR_IO;
}

/* As kv_error, for what may have been a write: LMDB calls a short one EIO. */
static int write_error(MDB_env *env, int rc)
{
	int fd;

	if (rc == EIO && mdb_env_get_fd(env, &fd) == 0 && !room_in_file(fd))
		return ERR_FULL;
	return kv_error(rc);
}

static void log_failure(const char *what, int rc)
{
	char quoted[256];

	log_error("kv", "op=%s error=%s", what,
	          log_quote(span_str(mdb_strerror(rc)), quoted, sizeof quoted));
}

/* The disk did not take what it was given: who watches is told, once. */
static void fail(struct kv *kv)
{
	if (alarm_raise(&kv->failure))
		log_error("kv", "op=stop error=\"the disk failed: nothing is written from now on\"");
}

/* ---- opening and closing ---------------------------------------------------------- */

static int open_error(struct err_text *e, const char *path, int rc)
{
	const char *next = "";

	if (rc == ENOENT)
		next = "; has the data directory been set up (init)?";
	else if (rc == EACCES || rc == EPERM)
		next = "; run this as the user whom the data directory belongs to";
	else if (rc == MDB_INVALID || rc == MDB_VERSION_MISMATCH || rc == MDB_CORRUPTED)
		next = "; the file is damaged or no database of this program: restore a backup";
	return err_set(e, kv_error(rc), "open %s: %s%s", path, mdb_strerror(rc), next);
}

static int env_open(MDB_env *env, const char *path, const struct kv_options *o, unsigned tables)
{
	unsigned flags = MDB_NOSUBDIR | MDB_NOTLS | MDB_NORDAHEAD | (o->no_sync ? MDB_NOSYNC : 0)
	                 | (o->read_only ? MDB_RDONLY : 0);
	uint64_t wanted = o->map_size != 0 ? o->map_size : MAP_SIZE_DEFAULT;
	unsigned readers = o->max_readers != 0 ? o->max_readers : READERS_DEFAULT;
	int rc = mdb_env_set_maxdbs(env, tables);

	if (rc == 0)
		rc = mdb_env_set_maxreaders(env, readers);
	if (rc == 0)
		rc = mdb_env_set_mapsize(env, room_for_map(wanted, MAP_SIZE_LEAST));
	if (rc == 0)
		rc = mdb_env_open(env, path, flags, FILE_MODE);
	return rc;
}

/* FLAGS: MDB_RDONLY, then MDB_NOTFOUND tells that a table is absent; or 0, which makes them. */
static int open_tables(MDB_env *env, const char *const *tables, kv_table *handles,
                       unsigned flags)
{
	MDB_txn *txn;
	int rc = mdb_txn_begin(env, NULL, flags, &txn);

	if (rc != 0)
		return rc;
	for (size_t i = 0; rc == 0 && tables[i] != NULL; i++)
		rc = mdb_dbi_open(txn, tables[i], flags != 0 ? 0 : MDB_CREATE, &handles[i]);
	if (rc != 0) {
		mdb_txn_abort(txn);
		return rc;
	}
	return mdb_txn_commit(txn);
}

static int open_all(struct kv *kv, const char *dir, const char *path, const struct kv_options *o,
                    const char *const *tables, kv_table *handles)
{
	unsigned count = 0;
	bool fresh = access(path, F_OK) < 0;
	int dead, rc;

	if (fresh && (errno != ENOENT || !o->create))
		return errno;
	while (tables[count] != NULL)
		count++;
	rc = env_open(kv->env, path, o, count);
	if (rc == 0 && fresh)
		rc = file_sync_dir(dir);
	/* What the process before this one left in the page cache is on the disk before pages that
	 * it freed are written over. */
	if (rc == 0 && !o->read_only && !o->no_sync)
		rc = mdb_env_sync(kv->env, 1);
	if (rc == 0)
		rc = mdb_reader_check(kv->env, &dead);
	if (rc == 0)
		rc = open_tables(kv->env, tables, handles, MDB_RDONLY);
	if (rc == MDB_NOTFOUND)
		rc = o->read_only ? MDB_INVALID : open_tables(kv->env, tables, handles, 0);
	return rc;
}

int kv_open(const char *dir, const char *name, const struct kv_options *options,
            const char *const *tables, kv_table *handles, struct kv **out, struct err_text *e)
{
	char path[PATH_MAX];
	struct kv *kv;
	int rc;

	*out = NULL;
	rc = file_path(dir, name, path, e);
	if (rc < 0)
		return rc;
	kv = calloc(1, sizeof *kv);
	if (kv == NULL)
		return err_set(e, ERR_NOMEM, "open %s: out of memory", path);
	gate_init(&kv->gate);
	pthread_mutex_init(&kv->pool_lock, NULL);
	alarm_init(&kv->failure);
	kv->writer = (struct kv_txn){ .kv = kv, .write = true };
	kv->stale_checked_us = clock_mono_us();
	kv->room = (struct kv_room){ .kv = kv, .reserve = options->reserve };
	rc = mdb_env_create(&kv->env);
	if (rc == 0)
		rc = open_all(kv, dir, path, options, tables, handles);
	if (rc != 0) {
		rc = open_error(e, path, rc);
		kv_close(kv);
		return rc;
	}
	*out = kv;
	return 0;
}

void kv_close(struct kv *kv)
{
	if (kv == NULL)
		return;
	while (kv->pool != NULL) {
		struct kv_txn *txn = kv->pool;

		kv->pool = txn->next;
		mdb_txn_abort(txn->txn);
		free(txn);
	}
	if (kv->env != NULL)
		mdb_env_close(kv->env);
	alarm_destroy(&kv->failure);
	pthread_mutex_destroy(&kv->pool_lock);
	gate_destroy(&kv->gate);
	free(kv);
}

/* ---- transactions ----------------------------------------------------------------- */

/* Octets of the file up to the last page that was ever used. */
static uint64_t used_octets(MDB_env *env, MDB_envinfo *info, uint64_t *page_octets)
{
	MDB_stat stat;

	mdb_env_info(env, info);
	mdb_env_stat(env, &stat);
	*page_octets = stat.ms_psize;
	return ((uint64_t)info->me_last_pgno + 1) * stat.ms_psize;
}

/* To at least twice what the file holds now. Only while no transaction is open. */
static int grow_map(MDB_env *env)
{
	MDB_envinfo info;
	uint64_t page_octets;
	uint64_t used = used_octets(env, &info, &page_octets);
	uint64_t size = info.me_mapsize;

	while (size < 2 * used)
		size *= 2;
	return mdb_env_set_mapsize(env, room_for_map(size, used));
}

/* Another process grew the file over this one's map. The caller has no transaction open. */
static int follow_growth(struct kv *kv)
{
	int rc = ETIMEDOUT;

	if (gate_shut(&kv->gate, RESIZE_WAIT_S)) {
		/* When another thread has just done it, once more does no harm. */
		rc = grow_map(kv->env);
		gate_open(&kv->gate);
	}
	if (rc != 0)
		log_failure("resize", rc);
	return rc;
}

/* One try at what kv_txn TXN is for; LMDB's code. */
static int begin_once(struct kv *kv, struct kv_txn *txn)
{
	if (txn->write)
		return mdb_txn_begin(kv->env, NULL, 0, &txn->txn);
	if (txn->txn != NULL)
		return mdb_txn_renew(txn->txn);
	return mdb_txn_begin(kv->env, NULL, MDB_RDONLY, &txn->txn);
}

/* Begins TXN inside the gate; on failure it is left outside. LMDB's code. */
static int begin(struct kv *kv, struct kv_txn *txn)
{
	bool checked = false;
	int resized = 0;
	int dead, rc;

	gate_enter(&kv->gate);
	while ((rc = begin_once(kv, txn)) != 0) {
		if (rc == MDB_READERS_FULL && !checked) {
			checked = true;
			if (mdb_reader_check(kv->env, &dead) == 0)
				continue;
		}
		gate_leave(&kv->gate);
		if (rc == MDB_PANIC)
			fail(kv);
		if (rc != MDB_MAP_RESIZED || resized++ == RESIZE_TRIES)
			return rc;
		rc = follow_growth(kv);
		if (rc != 0)
			return rc;
		gate_enter(&kv->gate);
	}
	return 0;
}

struct kv_txn *kv_read_begin(struct kv *kv)
{
	struct kv_txn *txn;
	int rc;

	pthread_mutex_lock(&kv->pool_lock);
	txn = kv->pool;
	if (txn != NULL)
		kv->pool = txn->next;
	pthread_mutex_unlock(&kv->pool_lock);
	if (txn == NULL) {
		txn = calloc(1, sizeof *txn);
		if (txn == NULL)
			return NULL;
		txn->kv = kv;
	}
	rc = begin(kv, txn);
	if (rc != 0) {
		log_failure("read", rc);
		mdb_txn_abort(txn->txn);
		free(txn);
		return NULL;
	}
	return txn;
}

void kv_read_end(struct kv_txn *txn)
{
	struct kv *kv;

	if (txn == NULL)
		return;
	kv = txn->kv;
	mdb_txn_reset(txn->txn);
	pthread_mutex_lock(&kv->pool_lock);
	txn->next = kv->pool;
	kv->pool = txn;
	pthread_mutex_unlock(&kv->pool_lock);
	gate_leave(&kv->gate);
}

/* A reader that died would keep every page that was freed since from being used again. */
static void drop_stale_readers(struct kv *kv)
{
	uint64_t now_us = clock_mono_us();
	int dead;

	if (now_us - kv->stale_checked_us < STALE_CHECK_US)
		return;
	kv->stale_checked_us = now_us;
	if (mdb_reader_check(kv->env, &dead) == 0 && dead > 0)
		log_info("stale-readers", "count=%d", dead);
}

int kv_write_begin(struct kv *kv, struct kv_txn **out)
{
	/* kv->writer may be in use by another thread until LMDB's lock is had. */
	struct kv_txn fresh = { .kv = kv, .write = true };
	int rc;

	*out = NULL;
	if (kv_failed(kv))
		return ERR_IO;
	rc = begin(kv, &fresh);
	if (rc != 0) {
		log_failure("write", rc);
		return kv_error(rc);
	}
	kv->writer = fresh;
	kv->room.claimed = 0;
	drop_stale_readers(kv);
	*out = &kv->writer;
	return 0;
}

int kv_write_commit(struct kv_txn *txn)
{
	struct kv *kv = txn->kv;
	int failed = txn->failed;
	MDB_txn *held = txn->txn;
	int rc;

	/* From LMDB's unlocking on, *TXN may be another thread's. */
	if (failed != 0) {
		mdb_txn_abort(held);
		gate_leave(&kv->gate);
		return failed;
	}
	rc = mdb_txn_commit(held);
	gate_leave(&kv->gate);
	failed = write_error(kv->env, rc);
	if (failed == ERR_IO) {
		log_failure("commit", rc);
		fail(kv);
	}
	return failed;
}

void kv_write_abort(struct kv_txn *txn)
{
	struct kv *kv;

	if (txn == NULL)
		return;
	kv = txn->kv;
	mdb_txn_abort(txn->txn);
	gate_leave(&kv->gate);
}

struct kv_room *kv_room_of(struct kv_txn *txn)
{
	return &txn->kv->room;
}

int kv_room_file(struct kv_txn *txn, uint64_t *used, uint64_t *page_octets)
{
	MDB_envinfo info;
	int fd;

	*used = used_octets(txn->kv->env, &info, page_octets);
	return mdb_env_get_fd(txn->kv->env, &fd) == 0 ? fd : -1;
}

bool kv_failed(struct kv *kv)
{
	return alarm_raised(&kv->failure);
}

void kv_watch(struct kv *kv, void (*failed)(void *ctx), void *ctx)
{
	alarm_watch(&kv->failure, failed, ctx);
}

int kv_write_failed(const struct kv_txn *txn)
{
	return txn->failed;
}

void kv_write_fail(struct kv_txn *txn, int error)
{
	if (txn->failed == 0)
		txn->failed = error;
}

/* ---- records ---------------------------------------------------------------------- */

static MDB_val val_of(struct span s)
{
	return (MDB_val){ .mv_size = s.n, .mv_data = (void *)(uintptr_t)s.p };
}

static struct span span_of_val(const MDB_val *v)
{
	return span_of(v->mv_data, v->mv_size);
}

/* The error for LMDB's RC. What is no plain answer breaks a write transaction. */
static int answer(struct kv_txn *txn, const char *what, int rc)
{
	int error;

	if (rc == 0 || rc == MDB_NOTFOUND || rc == MDB_KEYEXIST || rc == MDB_BAD_VALSIZE)
		return kv_error(rc);
	if (txn->failed != 0)
		return txn->failed;
	error = txn->write ? write_error(txn->kv->env, rc) : kv_error(rc);
	if (error != ERR_FULL && error != ERR_NOMEM) {
		error = ERR_IO;
		log_failure(what, rc);
		if (txn->write && rc == EIO) /* pages of a large transaction, written early */
			fail(txn->kv);
	}
	if (txn->write)
		txn->failed = error;
	return error;
}

int kv_get(struct kv_txn *txn, kv_table table, struct span key, struct span *value)
{
	MDB_val k = val_of(key);
	MDB_val v;
	int rc;

	if (key.n == 0)
		return ERR_NOT_FOUND; /* to LMDB an error; here a key that is never there */
	rc = mdb_get(txn->txn, table, &k, &v);
	if (rc != 0)
		return answer(txn, "get", rc);
	*value = span_of_val(&v);
	return 0;
}

static int put(struct kv_txn *txn, kv_table table, struct span key, struct span value,
               unsigned flags)
{
	MDB_val k = val_of(key);
	MDB_val v = val_of(value);

	return answer(txn, "put", mdb_put(txn->txn, table, &k, &v, flags));
}

int kv_put(struct kv_txn *txn, kv_table table, struct span key, struct span value)
{
	return put(txn, table, key, value, 0);
}

int kv_append(struct kv_txn *txn, kv_table table, struct span key, struct span value)
{
	return put(txn, table, key, value, MDB_APPEND);
}

int kv_insert(struct kv_txn *txn, kv_table table, struct span key, struct span value)
{
	return put(txn, table, key, value, MDB_NOOVERWRITE);
}

int kv_put_reserve(struct kv_txn *txn, kv_table table, struct span key, size_t n, uint8_t **out)
{
	MDB_val k = val_of(key);
	MDB_val v = { .mv_size = n };
	int rc = answer(txn, "put", mdb_put(txn->txn, table, &k, &v, MDB_RESERVE));

	*out = rc == 0 ? v.mv_data : NULL;
	return rc;
}

int kv_delete(struct kv_txn *txn, kv_table table, struct span key)
{
	MDB_val k = val_of(key);

	if (key.n == 0)
		return ERR_NOT_FOUND;
	return answer(txn, "delete", mdb_del(txn->txn, table, &k, NULL));
}

int kv_table_stat(struct kv_txn *txn, kv_table table, struct kv_table_stat *out)
{
	MDB_stat stat;
	int rc = answer(txn, "count", mdb_stat(txn->txn, table, &stat));

	*out = (struct kv_table_stat){ 0 };
	if (rc < 0)
		return rc;
	out->entries = stat.ms_entries;
	out->octets = (uint64_t)stat.ms_psize *
	              (stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages);
	return 0;
}

uint64_t kv_count(struct kv_txn *txn, kv_table table)
{
	struct kv_table_stat stat;

	kv_table_stat(txn, table, &stat);
	return stat.entries;
}

/* ---- cursors ---------------------------------------------------------------------- */

int kv_cursor_open(struct kv_txn *txn, kv_table table, struct kv_cursor **out)
{
	struct kv_cursor *c = calloc(1, sizeof *c);
	int rc;

	*out = NULL;
	if (c == NULL)
		return ERR_NOMEM;
	c->txn = txn;
	rc = answer(txn, "cursor", mdb_cursor_open(txn->txn, table, &c->cursor));
	if (rc < 0) {
		free(c);
		return rc;
	}
	*out = c;
	return 0;
}

void kv_cursor_close(struct kv_cursor *c)
{
	if (c == NULL)
		return;
	mdb_cursor_close(c->cursor);
	free(c);
}

static int cursor_get(struct kv_cursor *c, MDB_cursor_op op, MDB_val *k, struct span *key,
                      struct span *value)
{
	MDB_val v;
	int rc = mdb_cursor_get(c->cursor, k, &v, op);

	if (rc != 0)
		return answer(c->txn, "cursor", rc);
	*key = span_of_val(k);
	*value = span_of_val(&v);
	return 0;
}

int kv_cursor_seek(struct kv_cursor *c, struct span key, struct span *found, struct span *value)
{
	MDB_val k = val_of(key);

	/* LMDB knows no empty key; the first record is the first that is >= it. */
	return cursor_get(c, key.n == 0 ? MDB_FIRST : MDB_SET_RANGE, &k, found, value);
}

int kv_cursor_first(struct kv_cursor *c, struct span *key, struct span *value)
{
	return cursor_get(c, MDB_FIRST, &(MDB_val){ 0 }, key, value);
}

int kv_cursor_last(struct kv_cursor *c, struct span *key, struct span *value)
{
	return cursor_get(c, MDB_LAST, &(MDB_val){ 0 }, key, value);
}

int kv_cursor_next(struct kv_cursor *c, struct span *key, struct span *value)
{
	return cursor_get(c, MDB_NEXT, &(MDB_val){ 0 }, key, value);
}

int kv_cursor_prev(struct kv_cursor *c, struct span *key, struct span *value)
{
	return cursor_get(c, MDB_PREV, &(MDB_val){ 0 }, key, value);
}

int kv_cursor_delete(struct kv_cursor *c)
{
	return answer(c->txn, "delete", mdb_cursor_del(c->cursor, 0));
}

/* ---- the environment as a whole ---------------------------------------------------- */

int kv_stat(struct kv *kv, struct kv_stat *out)
{
	struct kv_txn *txn = kv_read_begin(kv);
	MDB_envinfo info;
	uint64_t pages, used, page_octets;
	int rc;

	if (txn == NULL)
		return ERR_NOMEM;
	rc = kv_room_free_pages(txn, &pages);
	used = used_octets(kv->env, &info, &page_octets);
	kv_read_end(txn);
	if (rc < 0)
		return rc;
	*out = (struct kv_stat){
		.file_octets = used,
		.free_octets = pages * page_octets,
		.map_octets = info.me_mapsize,
		.readers = info.me_numreaders,
		.max_readers = info.me_maxreaders,
	};
	return 0;
}

/*
 * The copy reads in a transaction of LMDB's own. One of ours around it deals with what can go
 * wrong at a beginning, and keeps the map in its place.
 */
int kv_copy(struct kv *kv, int fd, const char **why)
{
	struct kv_txn *txn = kv_read_begin(kv);
	int rc = ENOMEM;

	if (txn != NULL) {
		rc = mdb_env_copyfd2(kv->env, fd, MDB_CP_COMPACT);
		kv_read_end(txn);
	}
	*why = mdb_strerror(rc);
	return kv_error(rc);
}
