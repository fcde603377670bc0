/*
 * For the files store/db_*.c only: tables, keys and records of the store's
 * database (docs/storage.md), and the helpers they share.
 */
#ifndef IM2000_STORE_DB_TABLE_H
#define IM2000_STORE_DB_TABLE_H

#include <pthread.h>

#include "base/kv.h"
#include "session/migrate.h"
#include "store/db.h"
#include "store/record.h"

#define DB_FILE "store.mdb"
#define DB_SCHEMA 2 /* raised with every change that an older program could not read */

enum db_table {
	DB_META,         /* name -> number */
	DB_ACCOUNT,      /* account -> db_account */
	DB_ACCOUNT_NAME, /* name -> account */
	DB_USAGE,        /* account -> octets used */
	DB_MESSAGE,      /* message -> what changes about it */
	DB_CONTENT,      /* message -> what is long and stays: excerpt, structure, parts, extents */
	DB_BLOB,         /* blob -> size, digest, references */
	DB_BLOCK_DATA,   /* blob, block -> octets, bare */
	DB_LEAF,         /* blob, run -> leaf hashes of its blocks */
	DB_SWEEP,        /* blob without references -> */
	DB_SUBMISSION,   /* account, submissionId -> message */
	DB_ARCHIVE,      /* account, message -> */
	DB_EXPIRY,       /* time, message -> */
	DB_DELIVERY,     /* message, index -> db_delivery */
	DB_CHANGE,       /* account, cursor -> message, index */
	DB_JOB,          /* due, message, first, kind -> db_job */
	DB_TABLES
};

extern const char *const db_table_names[DB_TABLES + 1]; /* ended by NULL */

struct db {
	struct kv *kv;
	kv_table table[DB_TABLES];
	/* Message numbers: NEXT to END are ours to give; PENDING_* once their commit is known. */
	pthread_mutex_t numbers;
	uint64_t next, end, pending_next, pending_end;
	/* Where db_change_trim goes on; only used inside write transactions. */
	uint32_t trim_account;
	uint64_t trim_cursor;
};

/* Keys of every table: big-endian integers one after another. */
#define DB_KEY_MAX 128
struct db_key {
	uint8_t octets[DB_KEY_MAX];
	size_t n;
};
static inline struct span db_key_span(const struct db_key *k)
{
	return span_of(k->octets, k->n);
}
struct db_key db_key32(uint32_t a);
struct db_key db_key64(uint64_t a);
struct db_key db_key32_64(uint32_t a, uint64_t b);
struct db_key db_key64_32(uint64_t a, uint32_t b);
struct db_key db_key64_64(uint64_t a, uint64_t b);
struct db_key db_key_submission(uint32_t account, const uint8_t id[16]);
struct db_key db_key_job(uint64_t due_us, uint64_t message, uint32_t first, uint8_t kind);

/* kv_get and its kin by table and key. */
int db_get(struct db *db, struct kv_txn *t, enum db_table table, const struct db_key *key,
           struct span *value);
int db_put(struct db *db, struct kv_txn *t, enum db_table table, const struct db_key *key,
           struct span value);
/* Puts where keys mostly rise: at the end if KEY is the highest, else where it belongs. */
int db_put_rising(struct db *db, struct kv_txn *t, enum db_table table,
                  const struct db_key *key, struct span value);
/* Puts the version octet alone, for tables whose keys say all. */
int db_put_mark(struct db *db, struct kv_txn *t, enum db_table table, const struct db_key *key);
/* Puts a record of one number of OCTETS (4 or 8) octets. */
int db_put_number(struct db *db, struct kv_txn *t, enum db_table table, struct span key,
                  uint64_t v, size_t octets);
/* 0 also when nothing was there. */
int db_delete(struct db *db, struct kv_txn *t, enum db_table table, const struct db_key *key);
/* The first entry at or after FROM; *KEY has KEY_N octets or the entry is damaged. */
int db_seek(struct db *db, struct kv_txn *t, enum db_table table, const struct db_key *from,
            size_t key_n, struct span *key, struct span *value);

/* Logs a damaged record. ERR_MALFORMED. */
int db_damaged(enum db_table table, struct span key);
/* An error met after something was written: what would say "nothing changed" becomes ERR_IO, so
 * that the writer gives up the whole transaction. */
int db_late(int error);

/* A number kept in the table DB_META; ABSENT when it is not there. */
int db_meta_get(struct db *db, struct kv_txn *t, const char *name, uint64_t absent,
                uint64_t *out);
int db_meta_put(struct db *db, struct kv_txn *t, const char *name, uint64_t value);
#define DB_META_SCHEMA MIGRATE_SCHEMA
#define DB_META_MESSAGES "next-message"
#define DB_META_ACCOUNTS "next-account"

/* Records, for those who get and for db_check. 0 or ERR_MALFORMED; nothing is logged. */
int db_account_decode(struct span key, struct span value, struct db_account *out);
int db_number32_decode(struct span value, uint32_t *out);
int db_number64_decode(struct span value, uint64_t *out);
int db_mark_decode(struct span value);
int db_message_decode(struct span key, struct span value, struct db_message *out);
int db_content_decode(struct span value, struct db_message *out); /* fills its four spans */
int db_delivery_decode(struct span key, struct span value, struct db_delivery *out);
int db_change_decode(struct span key, struct span value, uint64_t *message, uint32_t *index);
int db_job_decode(struct span key, struct span value, struct db_job *out);

struct db_blob {
	uint64_t number, size;
	uint32_t references;
	uint8_t digest[32];
};
int db_blob_decode(struct span key, struct span value, struct db_blob *out);
/* ERR_NOT_FOUND: none, or one that waits to be swept. */
int db_blob_get(struct db *db, struct kv_txn *t, uint64_t number, struct db_blob *out);
/* Whether the leaf hashes that are kept of B, if any, are all, and make up its digest. 0;
 * ERR_MALFORMED: they do not; or another error. */
int db_leaf_check(struct db *db, struct kv_txn *t, const struct db_blob *b);
/* What a blob's octets come to, all of which are read. */
struct db_blob_found {
	bool whole;    /* blocks without gaps make up its size */
	uint64_t held; /* octets of all blocks that are there */
	bool digest;   /* its digest is theirs, or is not known yet */
	bool leaves;   /* those that are kept are theirs, and make up its digest */
};
/* 0 or an error of reading. */
int db_blob_examine(struct db *db, struct kv_txn *t, const struct db_blob *b,
                    struct db_blob_found *out);
/* Adds to *N the extents that name BLOB of the message of that number. 0 or an error of reading. */
int db_blob_own_references(struct db *db, struct kv_txn *t, uint64_t blob, uint32_t *n);
/* How many of the deliveries that M counts are there, and may read. 0 or an error of reading. */
int db_deliveries_count(struct db *db, struct kv_txn *t, const struct db_message *m, uint32_t *n,
                        uint32_t *readers);
/* NULL, or what is wrong with M's record by itself. */
const char *db_message_fault(const struct db_message *m);
/* Whether M's digest is that of its octets. 0; ERR_MALFORMED: it is not, or they are damaged. */
int db_message_digest_check(struct db *db, struct kv_txn *t, const struct db_message *m);
/* Changes its references by DELTA. */
int db_blob_reference(struct db *db, struct kv_txn *t, uint64_t number, int delta);

/* Adds DELTA to what ACCOUNT uses, never below 0. 0 also when there is no such account. */
int db_account_charge(struct db *db, struct kv_txn *t, uint32_t account, int64_t delta);

/* Takes the jobs of MESSAGE that are due at DUE_US off its deliveries from REMAINING on. */
int db_job_cut(struct db *db, struct kv_txn *t, uint64_t due_us, uint64_t message,
               uint32_t remaining);

/* Whether M has an entry in the archive. */
bool db_message_archived(const struct db_message *m);

#endif
