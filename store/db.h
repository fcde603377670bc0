/*
 * The store's durable state, by what mail needs of it. Nothing above this
 * header knows keys, tables or LMDB, so another engine could stand behind it.
 * docs/storage.md has the layout of every table.
 *
 * What can be derived from a record is kept by this module, not by its callers:
 * db_message_put moves the message's entries in the archive, the submission and
 * the expiry table, its account's use and the references of its blobs.
 *
 * Reading: db_read_begin, look things up, db_read_end; views (struct span) live
 * until db_read_end, and no read transaction is kept across a callback or a
 * wait. Writing: in the apply function of a writer job (base/writer.h), with
 * the transaction it is given; a job checks before it writes. There, a view
 * lives until the next write; a put may be given views that an earlier get of
 * the same transaction answered, if nothing was written in between.
 *
 * Errors of all functions: ERR_NOT_FOUND where said, ERR_FULL (map or disk),
 * ERR_IO, ERR_NOMEM, ERR_MALFORMED (a damaged record; logged with table and
 * key), ERR_TOO_BIG (a text over its limit).
 */
#ifndef IM2000_STORE_DB_H
#define IM2000_STORE_DB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/kv.h"
#include "base/password.h"
#include "base/span.h"

struct db; /* thread-safe */

#define DB_CLAIM "store.running" /* the daemon's claim on DIR (base/claim.h) */

struct db_options {
	bool create;
	bool claimed; /* the caller holds DB_CLAIM */
	uint64_t map_size; /* 0: default */
	bool no_sync;
};

/*
 * Opens DIR/store.mdb; brings an older schema up to date. DIR must be a
 * directory closed to others (0700). 0; ERR_DENIED (open to others),
 * ERR_NOT_FOUND (no store there, and not `create`), ERR_UNSUPPORTED,
 * ERR_MALFORMED or ERR_EXISTS (the schema: session/migrate.h), ERR_IO,
 * ERR_NOMEM, with E filled.
 */
int db_open(const char *dir, const struct db_options *options, struct db **out,
            struct err_text *e);
/*
 * Whether DIR is fit for db_open and has a store in it, without opening it: a
 * process must never have one open twice. 0, ERR_DENIED, ERR_NOT_FOUND, ERR_IO with E filled.
 */
int db_present(const char *dir, struct err_text *e);
void db_close(struct db *db); /* NULL is fine; no transaction may be open */
struct kv *db_kv(struct db *db); /* for writer_create */

struct kv_txn *db_read_begin(struct db *db); /* NULL when memory is out */
void db_read_end(struct kv_txn *t);          /* NULL is fine */

/* --- accounts ------------------------------------------------------------------------- */

#define DB_ACCOUNT_NAME_MAX 128
#define DB_ACCOUNT_SENDERS_MAX 32768

struct db_account {
	uint32_t number;       /* never used again after removal */
	struct span name;      /* UTF-8, 1 to DB_ACCOUNT_NAME_MAX octets */
	struct password_hash hash;
	uint64_t quota_octets; /* 0: none */
	uint64_t used_octets;  /* sum of db_message_usage of its messages; only read here */
	uint64_t created_us;
	/* Mailboxes that it may send as, each text and a NUL; "@domain" for all of a domain. The
	 * first one is the default. DB_ACCOUNT_SENDERS_MAX octets at most. */
	struct span senders;
};
int db_account_find(struct db *db, struct kv_txn *t, struct span name, struct db_account *out);
int db_account_by_number(struct db *db, struct kv_txn *t, uint32_t number,
                         struct db_account *out);
/* The account after NAME in order of names (empty: the first). ERR_NOT_FOUND at the end. */
int db_account_next(struct db *db, struct kv_txn *t, struct span name, struct db_account *out);
/*
 * Adds (number 0: given here, set in A) or replaces, used_octets and the name
 * excepted. ERR_EXISTS when adding a name that is there, ERR_NOT_FOUND when
 * replacing a number that is not.
 */
int db_account_put(struct db *db, struct kv_txn *t, struct db_account *a);
/* Its messages stay until their lifetime ends: recipients were promised so. ERR_NOT_FOUND. */
int db_account_remove(struct db *db, struct kv_txn *t, struct span name);

/* --- messages ------------------------------------------------------------------------- */

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
	uint16_t key;             /* number of the store key that its ids are made with */
	bool forgotten;           /* the originator dropped its copy */
	bool freed;               /* octets are gone; the record stays for `track` */
	uint64_t submitted_us, expires_us;
	uint64_t release_us;      /* 0, or notify nobody before */
	uint64_t sweep_us;        /* when db_expiry_due shall name it; 0: never */
	uint64_t size_octets;     /* complete: its size; receiving: octets held */
	uint64_t expected_octets; /* receiving: said ahead; 0 unknown */
	uint64_t header_octets;   /* the header with its empty line */
	uint32_t recipients;      /* deliveries: indexes 0 to recipients-1 */
	uint32_t readers;         /* deliveries that may still read: pinned and not withdrawn */
	uint8_t digest[32];
	bool has_submission_id;
	uint8_t submission_id[16];
	struct span sender;       /* mailbox text */
	struct span excerpt;      /* header fields for notifications */
	struct span structure;    /* BODYSTRUCTURE text; empty: too long to keep */
	struct span parts;        /* packed parts table (message/mime.h) */
	struct span extents;      /* packed struct db_extent; each holds a reference until freed */
};
int db_message_get(struct db *db, struct kv_txn *t, uint64_t number, struct db_message *out);
/*
 * Puts the whole record (a new number comes from db_number_take) and moves what
 * follows from it:
 * - its submission entry, with has_submission_id: ERR_EXISTS when another message has that id;
 * - its archive entry: there is one once it is complete, until forgotten or freed;
 * - its expiry entry, at sweep_us;
 * - its account's use, by the difference of db_message_usage (quota is the caller's to check);
 * - references of blobs, one for each extent while not freed. The blobs must be there
 *   (ERR_NOT_FOUND): db_blob_put goes before, in the same transaction. Setting `freed` lets
 *   go of them; the extents of a freed message are not kept.
 * With those two errors nothing has changed.
 */
int db_message_put(struct db *db, struct kv_txn *t, const struct db_message *m);
/* What M counts for in its account's use: its size (receiving: the larger of octets held and
 * expected); 0 once freed, not before: who forgets it has let the recipients keep it. */
uint64_t db_message_usage(const struct db_message *m);
/*
 * Removes a message: deliveries from the last one on with their jobs, record,
 * entries, references. At most LIMIT deliveries a call. 0: gone, or was not
 * there; ERR_AGAIN: LIMIT went and more are left (a writer job then answers 0
 * and comes again). A job that no delivery waits for any more (its next_us was
 * set to 0) is not found from here: the notifier drops it when it is due.
 */
int db_message_remove(struct db *db, struct kv_txn *t, uint64_t number, unsigned limit);

/*
 * The next message number. Numbers are reserved durably in runs ahead of use,
 * so that one given out is never given again, whatever crashes. Thread-safe.
 * db_numbers_low tells that a job with db_numbers_reserve should be submitted
 * (also right after db_open); db_number_take answers ERR_AGAIN when none is left.
 */
int db_number_take(struct db *db, uint64_t *out);
bool db_numbers_low(struct db *db);
int db_numbers_reserve(struct db *db, struct kv_txn *t);
/* After that transaction's commit: the reserved run may be used. */
void db_numbers_committed(struct db *db);

/*
 * Octets. A blob is made of blocks of DB_BLOCK octets, the last one shorter;
 * its number is that of the message that first stored it.
 */
#define DB_BLOCK 65536u
struct db_extent {
	uint64_t blob, at, octets; /* OCTETS octets from AT on */
};
#define DB_EXTENT_SIZE 24
void db_extent_write(const struct db_extent *x, uint8_t out[DB_EXTENT_SIZE]);
/* The extent at the front of REST, which then begins behind it. False at the end. */
bool db_extent_next(struct span *rest, struct db_extent *out);

/* Puts block INDEX of 1 to DB_BLOCK octets (replaces a shorter last one). */
int db_block_put(struct db *db, struct kv_txn *t, uint64_t blob, uint32_t index,
                 struct span octets);
/*
 * Makes the blob's record, or changes its size and digest (NULL: not known yet).
 * References are counted by db_message_put; when the last one goes, the blob
 * cannot be had again and waits for db_blob_sweep.
 */
int db_blob_put(struct db *db, struct kv_txn *t, uint64_t blob, uint64_t size,
                const uint8_t *digest);
/* Deletes up to LIMIT blocks of blobs without references. How many blocks and blob records
 * went; 0: nothing is left to sweep. */
int db_blob_sweep(struct db *db, struct kv_txn *t, unsigned limit);

/*
 * The octets of message M from AT on, as many as lie in one piece in the map
 * (at least one, at most DB_BLOCK). ERR_NOT_FOUND at or after its end.
 */
int db_octets(struct db *db, struct kv_txn *t, const struct db_message *m, uint64_t at,
              struct span *out);
/* Copies N octets of message M from AT on to BUF. ERR_MALFORMED when it ends before. */
int db_octets_copy(struct db *db, struct kv_txn *t, const struct db_message *m, uint64_t at,
                   uint8_t *buf, size_t n);

/*
 * Leaf hashes of a blob's blocks (message/digest.h), so that a proof needs no octets. They are
 * kept for blobs of more than one block, from the first block on; a store made before there
 * were any has none.
 */
#define DB_LEAF_RUN 16 /* blocks whose hashes stand in one record; a power of two */
/*
 * Puts those of the N blocks from FIRST on. When those before FIRST are not kept, these
 * are not either (0 all the same).
 */
int db_leaf_put(struct db *db, struct kv_txn *t, uint64_t blob, uint32_t first,
                const uint8_t (*leaf)[32], size_t n);
/*
 * The root of the subtree of the COUNT blocks from FIRST on: a leaf (COUNT 1), or a whole run
 * (DB_LEAF_RUN, aligned). ERR_NOT_FOUND: not kept, or another count.
 */
int db_leaf_get(struct db *db, struct kv_txn *t, uint64_t blob, uint64_t first, uint64_t count,
                uint8_t hash[32]);
/* The blob whose blocks are the blocks of M. ERR_NOT_FOUND: there is none such. */
int db_leaf_blob(struct db *db, struct kv_txn *t, const struct db_message *m, uint64_t *blob);

/* --- messages by something else ------------------------------------------------------- */

/* The message of an account's submissionId. */
int db_submission_find(struct db *db, struct kv_txn *t, uint32_t account, const uint8_t id[16],
                       uint64_t *message);

/* What the account keeps, oldest first, after number AFTER. ERR_NOT_FOUND at the end. */
int db_archive_next(struct db *db, struct kv_txn *t, uint32_t account, uint64_t after,
                    uint64_t *message);

/* An entry of a message with sweep_us; they are in order of time, then message. */
struct db_expiry {
	uint64_t time_us, message;
};
/*
 * The first entry at or after FROM (NULL: of all) whose time is not after NOW_US. ERR_NOT_FOUND:
 * none. Putting its message with another sweep_us, or removing it, takes the entry away.
 * ERR_MALFORMED: one that cannot be read stands there, and *OUT is where to go on behind it.
 */
int db_expiry_due(struct db *db, struct kv_txn *t, const struct db_expiry *from, uint64_t now_us,
                  struct db_expiry *out);
/* What comes right behind X. */
struct db_expiry db_expiry_behind(struct db_expiry x);

/* --- deliveries ----------------------------------------------------------------------- */

#define DB_TEXT_MAX 200

struct db_delivery {
	uint64_t message;
	uint32_t index;
	uint8_t notification; /* enum wire_notification_status */
	uint8_t read;         /* enum wire_read_status */
	bool pinned;
	bool withdrawn;       /* cancelled for this recipient: its capability answers withdrawn */
	bool told_withdrawn;  /* its agent knows */
	bool notified;        /* an agent has accepted it at least once */
	uint16_t attempts;    /* tries made, in all */
	uint16_t failures;    /* in a row, of the present kind: what the schedule counts */
	uint64_t changed_us;
	/* Next attempt, 0: none. While it is not 0, a job of the right kind (withdrawn:
	 * DB_JOB_WITHDRAW, else DB_JOB_NOTIFY) covers this delivery, due at that time or later. */
	uint64_t next_us;
	struct span mailbox;  /* text */
	struct span text;     /* last diagnostic, may be empty; cut at DB_TEXT_MAX octets */
};
int db_delivery_get(struct db *db, struct kv_txn *t, uint64_t message, uint32_t index,
                    struct db_delivery *out);
int db_delivery_put(struct db *db, struct kv_txn *t, const struct db_delivery *d);

/*
 * The account's change log (`watch`): delivery MESSAGE, INDEX has changed.
 * Cursors are times in microseconds, made to rise within each account.
 */
int db_change_add(struct db *db, struct kv_txn *t, uint32_t account, uint64_t message,
                  uint32_t index);
/* The change after cursor AFTER. ERR_NOT_FOUND: none yet. */
int db_change_next(struct db *db, struct kv_txn *t, uint32_t account, uint64_t after,
                   uint64_t *cursor, uint64_t *message, uint32_t *index);
/*
 * Deletes changes with a cursor below BELOW ("a month ago"), but each account's
 * last one, from which the next cursor rises. Looks at LIMIT entries at most
 * and goes on there at the next call; *MORE: it has not come round yet. How many went.
 */
int db_change_trim(struct db *db, struct kv_txn *t, uint64_t below, unsigned limit, bool *more);

/* --- the notifier's work -------------------------------------------------------------- */

enum db_job_kind { DB_JOB_NOTIFY = 1, DB_JOB_WITHDRAW = 2 };
/*
 * At DUE_US, those of the deliveries FIRST to FIRST+COUNT-1 (all of one DOMAIN)
 * whose next_us is not after DUE_US are to be tried; withdraw: those withdrawn
 * and not told_withdrawn. Key: due, message, first, kind.
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
/* By its key. ERR_NOT_FOUND. */
int db_job_remove(struct db *db, struct kv_txn *t, const struct db_job *job);
/* The first job after AFTER in order of keys (NULL: the first of all), whenever due.
 * ERR_NOT_FOUND: none. */
int db_job_next(struct db *db, struct kv_txn *t, const struct db_job *after,
                struct db_job *out);
/* Calls EACH for the jobs after AFTER (NULL: from the first on) in order of keys, until it answers
 * false or there are no more. A damaged one is logged and passed over. 0 or an error. */
int db_job_walk(struct db *db, struct kv_txn *t, const struct db_job *after,
                bool (*each)(void *ctx, const struct db_job *job), void *ctx);

/* --- administration ------------------------------------------------------------------- */

/* Jobs that are due, DB_DUE_MAX at most, and those that are not. */
#define DB_DUE_MAX 100000
struct db_due {
	uint64_t due, waiting;
	uint64_t first_us; /* when the first of all is due; 0: there is none */
};
int db_jobs_due(struct db *db, uint64_t now_us, struct db_due *out);

/* The tables' names, ended by NULL, and their handles, for counting alone. */
const char *const *db_tables(const struct db *db);
const kv_table *db_handles(const struct db *db);

/* How many messages there are whose ids are made with each key, by its number. */
#define DB_KEYS 256
int db_count_by_key(struct db *db, uint64_t count[DB_KEYS]);

/* What submissions of an account that are under way, and have octets here, may still come to. */
struct db_reserved {
	uint32_t account;
	uint64_t octets; /* of its used_octets, those that have not come */
};
/*
 * All accounts that have something reserved, in order of numbers, into *OUT (the caller frees it):
 * looks at the messages that the sweep sees before UNTIL_US. How many, or an error.
 */
int db_reserved(struct db *db, uint64_t until_us, struct db_reserved **out);

struct db_stats {
	uint64_t accounts, messages, deliveries, blobs, blocks, jobs, changes;
	uint64_t octets_stored; /* sum of the accounts' use */
	struct kv_stat kv;
};
int db_stats(struct db *db, struct db_stats *out);
/*
 * A consistent snapshot to DIR/store.mdb, while others read and write. DIR is
 * made (0700) when absent. ERR_EXISTS when a store.mdb is in it. The keys
 * (store/ids.h) belong to a backup too: ids_backup.
 */
int db_backup(struct db *db, const char *dir, struct err_text *e);
/*
 * Walks every table in one read transaction and calls FOUND with a line for
 * each thing that does not add up. How many, or an error. While it runs, the
 * space of pages that others change is not reused.
 */
int db_check(struct db *db, void (*found)(void *ctx, const char *line), void *ctx);

#endif
