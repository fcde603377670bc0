/*
 * Key-value storage: LMDB behind a small contract. This is the only module that
 * includes lmdb.h. One environment is one file, NAME.mdb, in a private data
 * directory; tables are named. Keys are at most 511 octets and compare as
 * octet strings.
 *
 * Several processes may have one environment open (the daemon and its
 * administration commands). A read transaction sees one consistent state; it
 * must be short: never across a callback or a wait.
 */
#ifndef IM2000_BASE_KV_H
#define IM2000_BASE_KV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

struct kv;
struct kv_txn;
struct kv_cursor;
typedef unsigned kv_table; /* an opened table's handle, good for the life of the kv */

#define KV_RESERVE (4ULL << 20) /* for a daemon: some hundred of its largest removals' pages */

struct kv_options {
	uint64_t map_size;    /* octets of address space; 0: a default far ahead (1 TiB) */
	unsigned max_readers; /* 0: 512 */
	uint64_t reserve;     /* octets of disk that kv_claim leaves free; 0: it claims nothing */
	bool no_sync;         /* commits are not durable (tests and benchmarks that say so) */
	bool create;          /* make the file when it is absent */
	bool read_only;
};

/*
 * Opens DIR/NAME with the tables TABLES (NULL-terminated), whose handles go to
 * HANDLES in the same order; absent tables are made unless read_only. 0, or
 * ERR_IO, ERR_NOT_FOUND, ERR_DENIED, ERR_FULL, ERR_NOMEM with E filled. Map growth by
 * another process and stale readers are handled here. A process opens a file once only.
 */
int kv_open(const char *dir, const char *name, const struct kv_options *options,
            const char *const *tables, kv_table *handles, struct kv **out, struct err_text *e);
void kv_close(struct kv *kv); /* NULL is fine; no transaction may be open */

/*
 * After an error of the disk in a commit (EIO) nothing can be written any more: each beginning
 * and commit is ERR_IO, reading may go on or not. FAILED is told so, once, on whichever thread
 * found out, or in here when it was so before; it must not call the kv. NULL ends the watch: no
 * call follows. What to do then: end, and open the file again. docs/storage.md says why.
 */
void kv_watch(struct kv *kv, void (*failed)(void *ctx), void *ctx);
bool kv_failed(struct kv *kv);

/* Starts a read transaction (cheap: recycled for each thread). NULL when memory is out. */
struct kv_txn *kv_read_begin(struct kv *kv);
void kv_read_end(struct kv_txn *txn); /* NULL is fine */

/* Starts a write transaction; waits for any other writer. 0, ERR_IO, ERR_NOMEM, ERR_FULL. */
int kv_write_begin(struct kv *kv, struct kv_txn **out);
/* Durable when it returns 0. Ends TXN either way. ERR_FULL (map or disk), ERR_IO. */
int kv_write_commit(struct kv_txn *txn);
void kv_write_abort(struct kv_txn *txn); /* NULL is fine */
/* Ends TXN by R, what came of the writes: 0 commits. Otherwise aborts and answers R. */
static inline int kv_write_end(struct kv_txn *txn, int r)
{
	if (r == 0) {
		return kv_write_commit(txn);
	}
	kv_write_abort(txn);
	return r;
}
/*
 * 0, or the error that broke the write transaction: a write that failed with ERR_FULL,
 * ERR_IO or ERR_NOMEM leaves nothing to go on with, and the commit will answer the same.
 */
int kv_write_failed(const struct kv_txn *txn);
/*
 * To be called in a write transaction before it adds some OCTETS (keys and values): whether they
 * fit on the disk and leave the reserve for those who do not call it, as removing needs room, too.
 * 0; ERR_FULL, ERR_IO, and nothing has changed.
 */
int kv_claim(struct kv_txn *txn, uint64_t octets);
/*
 * Breaks the write transaction with ERROR, for a caller that met a damaged record with half of
 * its own work written: nothing of the transaction is committed. What broke it first stays.
 */
void kv_write_fail(struct kv_txn *txn, int error);

/*
 * The value at KEY. 0, ERR_NOT_FOUND, ERR_IO. *VALUE points into the map: it
 * lives until the transaction ends, or in a write transaction until its next write.
 */
int kv_get(struct kv_txn *txn, kv_table table, struct span key, struct span *value);

/* Puts, replacing. 0, ERR_FULL, ERR_IO, ERR_TOO_BIG (key). */
int kv_put(struct kv_txn *txn, kv_table table, struct span key, struct span value);
/* Puts at the table's end, quicker: KEY must be above every key there (else ERR_EXISTS). */
int kv_append(struct kv_txn *txn, kv_table table, struct span key, struct span value);
/* Puts only when KEY is absent: ERR_EXISTS otherwise. */
int kv_insert(struct kv_txn *txn, kv_table table, struct span key, struct span value);
/* Room for N octets at KEY, for the caller to fill before any other call on TXN. */
int kv_put_reserve(struct kv_txn *txn, kv_table table, struct span key, size_t n, uint8_t **out);
/* 0 or ERR_NOT_FOUND, ERR_FULL, ERR_IO. */
int kv_delete(struct kv_txn *txn, kv_table table, struct span key);

/* A cursor lives inside its transaction; close it before the transaction ends. */
int kv_cursor_open(struct kv_txn *txn, kv_table table, struct kv_cursor **out);
void kv_cursor_close(struct kv_cursor *c); /* NULL is fine */
/* Places the cursor at the first key >= KEY. 0, ERR_NOT_FOUND at the end, ERR_IO. */
int kv_cursor_seek(struct kv_cursor *c, struct span key, struct span *found, struct span *value);
int kv_cursor_first(struct kv_cursor *c, struct span *key, struct span *value);
int kv_cursor_last(struct kv_cursor *c, struct span *key, struct span *value);
int kv_cursor_next(struct kv_cursor *c, struct span *key, struct span *value);
int kv_cursor_prev(struct kv_cursor *c, struct span *key, struct span *value);
int kv_cursor_delete(struct kv_cursor *c); /* what stands at the cursor; next goes on after it */

/* Entries of a table. */
uint64_t kv_count(struct kv_txn *txn, kv_table table);
struct kv_table_stat {
	uint64_t entries;
	uint64_t octets; /* of the pages that the table takes */
};
/* 0, or ERR_IO, and zeros. */
int kv_table_stat(struct kv_txn *txn, kv_table table, struct kv_table_stat *out);

struct kv_stat {
	uint64_t file_octets; /* length of the file that pages were ever used of */
	uint64_t free_octets; /* of those, free for reuse (counted in the free list) */
	uint64_t map_octets;
	unsigned readers, max_readers;
};
int kv_stat(struct kv *kv, struct kv_stat *out);

/*
 * Copies a consistent, compacted snapshot to DIR/NAME while others read and write. DIR must
 * exist, NAME must not (ERR_EXISTS). On failure (ERR_IO, ERR_FULL, ERR_DENIED, ...) nothing is
 * left there and E is filled. Blocks as long as the copy takes.
 */
int kv_backup(struct kv *kv, const char *dir, const char *name, struct err_text *e);
/* The snapshot to FD, a file that is open and empty; not flushed. *WHY gets words for an error. */
int kv_copy(struct kv *kv, int fd, const char **why);
/* The error for errno's number RC, or one of the database library's. 0 for 0. */
int kv_error(int rc);

/* Integers in keys and records: big-endian, so that order is number. */
static inline void kv_put_u16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}
static inline void kv_put_u32(uint8_t *p, uint32_t v)
{
	kv_put_u16(p, (uint16_t)(v >> 16));
	kv_put_u16(p + 2, (uint16_t)v);
}
static inline void kv_put_u64(uint8_t *p, uint64_t v)
{
	kv_put_u32(p, (uint32_t)(v >> 32));
	kv_put_u32(p + 4, (uint32_t)v);
}
static inline uint16_t kv_get_u16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}
static inline uint32_t kv_get_u32(const uint8_t *p)
{
	return (uint32_t)kv_get_u16(p) << 16 | kv_get_u16(p + 2);
}
static inline uint64_t kv_get_u64(const uint8_t *p)
{
	return (uint64_t)kv_get_u32(p) << 32 | kv_get_u32(p + 4);
}

#endif
