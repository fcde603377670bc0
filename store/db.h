/*
 * The store's durable state, by what mail needs of it. Nothing above this
 * header knows keys, tables or LMDB, so another engine could stand behind it.
 * docs/storage.md has the layout of every table.
 *
 * Reading: db_read_begin, look things up, db_read_end; views (struct span) live
 * until db_read_end, and no read transaction is kept across a callback or a
 * wait. Writing: in the apply function of a writer job (base/writer.h), with
 * the transaction it is given; a job checks before it writes.
 *
 * Errors of all functions: ERR_NOT_FOUND where said, ERR_FULL (map or disk),
 * ERR_IO, ERR_MALFORMED (a damaged record; logged with table and key).
 */
#ifndef IM2000_STORE_DB_H
#define IM2000_STORE_DB_H

#include "base/kv.h"
#include "base/name.h"
#include "base/password.h"
#include "base/writer.h"

struct db;

struct db_options {
	bool create;
	uint64_t map_size; /* 0: default */
	bool no_sync;
};

/* Opens DIR/store.mdb; brings an older schema up to date; ERR_UNSUPPORTED for a newer one. */
int db_open(const char *dir, const struct db_options *options, struct db **out, struct err_text *e);
void db_close(struct db *db);
struct kv *db_kv(struct db *db); /* for writer_create and backup */

struct kv_txn *db_read_begin(struct db *db);
void db_read_end(struct kv_txn *t);

/* --- accounts ------------------------------------------------------------------------- */

#define DB_ACCOUNT_NAME_MAX 128

struct db_account {
	uint32_t number;            /* never used again after removal */
	struct span name;           /* UTF-8, 1 to DB_ACCOUNT_NAME_MAX octets */
	struct password_hash hash;
	uint64_t quota_octets;      /* 0: none */
	uint64_t used_octets;       /* messages stored, by their size, until freed or forgotten */
	uint64_t created_us;
	struct span senders;        /* mailboxes the account may send as, each text and a NUL; "@domain" for all of a domain; the first one is the default */
};
int db_account_find(struct db *db, struct kv_txn *t, struct span name, struct db_account *out);
int db_account_by_number(struct db *db, struct kv_txn *t, uint32_t number, struct db_account *out);
/* The account after NAME in order of names (empty: the first). ERR_NOT_FOUND at the end. */
int db_account_next(struct db *db, struct kv_txn *t, struct span name, struct db_account *out);
/* Adds (number 0: given here, set in A) or replaces, `used` excepted. ERR_EXISTS when adding a name that is there. */
int db_account_put(struct db *db, struct kv_txn *t, struct db_account *a);
int db_account_remove(struct db *db, struct kv_txn *t, struct span name);
/* Adds DELTA to the octets used (never below 0). */
int db_account_charge(struct db *db, struct kv_txn *t, uint32_t account, int64_t delta);

/* --- messages ----------------------------------------------------------------------------- */

enum db_message_state {
	DB_RECEIVING = 1, /* octets are coming; nobody can read it */
	DB_STORED,        /* complete */
	DB_HELD,          /* complete, a draft: nobody is notified */
	DB_WITHDRAWN,     /* cancelled as a whole */
	DB_EXPIRED        /* its lifetime is over; octets are going or gone */
};

struct db_message {
	uint64_t number;
	uint32_t account;
	enum db_message_state state;
	uint16_t key;               /* number of the store key that its ids are made with */
	bool forgotten;             /* the originator dropped its copy */
	bool freed;                 /* octets are gone; the record stays for `track` until it expires */
	uint64_t submitted_us, expires_us;
	uint64_t release_us;        /* 0, or notify nobody before */
	uint64_t size_octets;       /* complete: its size; receiving: octets held */
	uint64_t expected_octets;   /* receiving: said ahead; 0 unknown */
	uint64_t header_octets;     /* the header with its empty line */
	uint32_t recipients;        /* deliveries: indexes 0 to recipients-1 */
	uint32_t readers;           /* deliveries that may still read (pinned, not withdrawn) */
	uint8_t digest[32];
	bool has_submission_id;
	uint8_t submission_id[16];
	struct span sender;         /* mailbox text */
	struct span excerpt;        /* header fields for notifications */
	struct span structure;      /* BODYSTRUCTURE text; empty: too long to keep */
	struct span parts;          /* packed parts table (message/mime.h) */
	struct span extents;        /* struct db_extent, packed: see db_extent_* */
};
int db_message_get(struct db *db, struct kv_txn *t, uint64_t number, struct db_message *out);
/* Puts the whole record. A new number must come from db_number_take. */
int db_message_put(struct db *db, struct kv_txn *t, const struct db_message *m);
/* Removes a message: record, deliveries, jobs, archive, expiry, submission entries, and its hold on blobs. Bounded: at most
 * LIMIT deliveries a call; ERR_AGAIN when more is left. */
int db_message_remove(struct db *db, struct kv_txn *t, uint64_t number, unsigned limit);

/*
 * The next message number. Numbers are reserved durably in runs ahead of use,
 * so that one given out is never given again, whatever crashes. Thread-safe.
 * db_numbers_low tells that a job with db_numbers_reserve should be submitted;
 * db_number_take answers ERR_AGAIN when none is left.
 */
int db_number_take(struct db *db, uint64_t *out);
bool db_numbers_low(struct db *db);
int db_numbers_reserve(struct db *db, struct kv_txn *t);
/* After that transaction's commit: the reserved run may be used. */
void db_numbers_committed(struct db *db);

/* Octets. A blob is made of blocks of DB_BLOCK octets, the last one shorter; its number is that of the
 * message that first stored it. */
#define DB_BLOCK 65536u
struct db_extent {
	uint64_t blob, at, octets; /* OCTETS octets from AT on */
};
#define DB_EXTENT_SIZE 24
void db_extent_write(const struct db_extent *x, uint8_t out[DB_EXTENT_SIZE]);
bool db_extent_next(struct span *rest, struct db_extent *out);

/* Puts block INDEX (replaces a shorter last one). */
int db_block_put(struct db *db, struct kv_txn *t, uint64_t blob, uint32_t index, struct span octets);
/* Makes or changes the blob's record: SIZE in octets; references += DELTA; at 0 its blocks are due to be swept. */
int db_blob_put(struct db *db, struct kv_txn *t, uint64_t blob, uint64_t size, const uint8_t digest[32], int delta);
int db_blob_reference(struct db *db, struct kv_txn *t, uint64_t blob, int delta);
/* Deletes up to LIMIT blocks of blobs without references. How many blocks went; 0: nothing is left to sweep. */
int db_blob_sweep(struct db *db, struct kv_txn *t, unsigned limit);

/*
 * The octets of message M from AT on, as many as lie in one piece in the map
 * (at least one, at most DB_BLOCK). ERR_NOT_FOUND at or after its end.
 */
int db_octets(struct db *db, struct kv_txn *t, const struct db_message *m, uint64_t at, struct span *out);

/* --- who may be looked up by what ------------------------------------------------------------ */

/* The message of an account's submissionId. */
int db_submission_find(struct db *db, struct kv_txn *t, uint32_t account, const uint8_t id[16], uint64_t *message);
int db_submission_put(struct db *db, struct kv_txn *t, uint32_t account, const uint8_t id[16], uint64_t message);
int db_submission_remove(struct db *db, struct kv_txn *t, uint32_t account, const uint8_t id[16]);

/* The account's messages, oldest first, after number AFTER. ERR_NOT_FOUND at the end. */
int db_archive_next(struct db *db, struct kv_txn *t, uint32_t account, uint64_t after, uint64_t *message);
int db_archive_put(struct db *db, struct kv_txn *t, uint32_t account, uint64_t message);
int db_archive_remove(struct db *db, struct kv_txn *t, uint32_t account, uint64_t message);

/* When something about a message is due to be swept. */
int db_expiry_put(struct db *db, struct kv_txn *t, uint64_t time_us, uint64_t message);
int db_expiry_remove(struct db *db, struct kv_txn *t, uint64_t time_us, uint64_t message);
/* The first one at or before NOW_US. ERR_NOT_FOUND: none. */
int db_expiry_due(struct db *db, struct kv_txn *t, uint64_t now_us, uint64_t *time_us, uint64_t *message);

/* --- deliveries ------------------------------------------------------------------------------ */

struct db_delivery {
	uint64_t message;
	uint32_t index;
	uint8_t notification;     /* enum msoap NotificationStatus, wire value */
	uint8_t read;             /* enum ReadStatus, wire value */
	bool pinned;
	bool withdrawn;           /* cancelled for this recipient: its capability answers withdrawn */
	bool told_withdrawn;      /* its agent knows */
	bool notified;            /* an agent has accepted it at least once */
	uint16_t attempts;        /* tries made, in all */
	uint16_t failures;        /* in a row, of the present kind: what the schedule counts */
	uint64_t changed_us;
	uint64_t next_us;         /* next attempt; 0: none */
	struct span mailbox;      /* text */
	struct span text;         /* last diagnostic, may be empty */
};
int db_delivery_get(struct db *db, struct kv_txn *t, uint64_t message, uint32_t index, struct db_delivery *out);
int db_delivery_put(struct db *db, struct kv_txn *t, const struct db_delivery *d);
/* The account's change log (`watch`): delivery MESSAGE, INDEX has changed. */
int db_change_add(struct db *db, struct kv_txn *t, uint32_t account, uint64_t message, uint32_t index);
/* The change after cursor AFTER. ERR_NOT_FOUND: none yet. */
int db_change_next(struct db *db, struct kv_txn *t, uint32_t account, uint64_t after,
                   uint64_t *cursor, uint64_t *message, uint32_t *index);
/* Deletes up to LIMIT changes with cursor below BELOW. How many. */
int db_change_trim(struct db *db, struct kv_txn *t, uint64_t below, unsigned limit);

/* --- the notifier's work ----------------------------------------------------------------------- */

enum db_job_kind { DB_JOB_NOTIFY = 1, DB_JOB_WITHDRAW = 2 };
/*
 * At DUE_US, those of the deliveries FIRST to FIRST+COUNT-1 (all of one DOMAIN) whose next_us is not after
 * DUE_US are to be tried (withdraw: those withdrawn and not told_withdrawn). Key: due, message, first, kind.
 */
struct db_job {
	uint64_t due_us;
	uint64_t message;
	uint32_t first, count;
	enum db_job_kind kind;
	uint16_t attempts;
	uint32_t account;
	struct span domain;
};
int db_job_put(struct db *db, struct kv_txn *t, const struct db_job *job);
int db_job_remove(struct db *db, struct kv_txn *t, const struct db_job *job); /* by its key */
/* The first job after AFTER in order of due times (NULL: the first of all), whenever due. ERR_NOT_FOUND: none. */
int db_job_next(struct db *db, struct kv_txn *t, const struct db_job *after, struct db_job *out);

/* --- administration ---------------------------------------------------------------------------- */

struct db_stats {
	uint64_t accounts, messages, deliveries, blobs, blocks, jobs, changes;
	uint64_t octets_stored;
	struct kv_stat kv;
};
int db_stats(struct db *db, struct db_stats *out);
int db_backup(struct db *db, const char *dir, struct err_text *e);
/* Walks every table; calls FOUND with a line for each thing that does not add up. How many, or an error. */
int db_check(struct db *db, void (*found)(void *ctx, const char *line), void *ctx);

#endif
