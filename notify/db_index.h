/*
 * The index of notices by mailbox, in the manner of a log-structured merge tree, so that
 * notifying many mailboxes does not rewrite a page for each of them.
 *
 * A notice's entry is appended to the recent ones, a few pages in order of arrival. When these
 * are many they are sorted by mailbox and become a run; MERGE_FAN runs of one level are merged
 * into one of the next, in steps that no commit waits for long. An entry is thus written once in
 * each level, side by side with others, and a mailbox's entries stand in as many places as there
 * are runs: some ten with a million notices.
 *
 * All of it is in the transaction of what it serves, and at any time the recent entries and the
 * runs together are the whole index: an entry that a merge moves leaves one run in the
 * transaction that puts it into the other.
 */
#ifndef IM2000_NOTIFY_DB_INDEX_H
#define IM2000_NOTIFY_DB_INDEX_H

#include "notify/db.h"

#define INDEX_ENTRY_SIZE 24
#define INDEX_CHUNK 170      /* entries of a value of a run: one page of LMDB's overflow pages */
#define INDEX_RECENT_CHUNK 64 /* of a value of the recent ones: three stand in a page */
#define INDEX_KEY_SIZE 16    /* run (4), mailbox (4), cursor (8): below or at all in the value */
#define INDEX_RECENT 1u      /* number of the recent entries; runs have higher ones */
#define INDEX_RUNS_MAX 128
#define INDEX_ID 4 /* octets of an id, and of an origin's hash, that an entry has */
#define INDEX_ORIGIN 8

struct index_entry {
	uint32_t mailbox;
	uint64_t cursor;
	uint8_t id[INDEX_ID]; /* the first of the notice's id */
	uint8_t origin[INDEX_ORIGIN];
};

/* The hash by which notices of one origin are counted. */
void db_index_origin(struct span domain, uint8_t out[INDEX_ORIGIN]);

/* Adds N entries, whose cursors rise and are above all that are there. */
int db_index_add(struct db *db, struct kv_txn *t, const struct index_entry *e, size_t n);
/* ERR_NOT_FOUND: no such entry. What can be wrong is found before the first write. */
int db_index_remove(struct db *db, struct kv_txn *t, uint32_t mailbox, uint64_t cursor);

/* What a look at all of a mailbox's entries is for, and finds. */
struct index_look {
	const uint8_t *id;     /* INDEX_ID octets, or NULL */
	const uint8_t *origin; /* INDEX_ORIGIN octets, or NULL */
	/* Called for the entries with that id, in no order, until it answers other than 0, which is
	 * answered. It may look into the database. */
	int (*same)(void *ctx, const struct index_entry *e);
	void *ctx;
	uint32_t kept, kept_origin; /* entries, and those of the origin */
};
int db_index_look(struct db *db, struct kv_txn *t, uint32_t mailbox, struct index_look *l);
/* The first cursors of MAILBOX after AFTER, in order, CAP at most. How many. */
int db_index_list(struct db *db, struct kv_txn *t, uint32_t mailbox, uint64_t after,
                  uint64_t *cursors, size_t cap);

/* --- of the index's own files, the check and the upgrade ------------------------------------- */

struct index_run {
	uint32_t number;
	uint8_t level;        /* 0: being merged from others */
	uint32_t into;        /* what it is being merged into; 0: it is not */
	uint64_t first, last; /* no cursor is outside of these */
	uint64_t entries;     /* that were put there */
};

/* The directory of runs. */
struct index_runs {
	uint32_t last; /* number that was given */
	size_t n;
	struct index_run run[INDEX_RUNS_MAX];
};

void db_index_key(uint8_t key[INDEX_KEY_SIZE], uint32_t run, uint32_t mailbox, uint64_t cursor);
void db_index_write(const struct index_entry *e, uint8_t out[INDEX_ENTRY_SIZE]);
void db_index_read(const uint8_t in[INDEX_ENTRY_SIZE], struct index_entry *out);
/* The value of a run or of the recent entries: 0, or ERR_MALFORMED. */
int db_index_parse(struct span key, struct span value, uint32_t *run);
int db_index_runs_get(struct db *db, struct kv_txn *t, struct index_runs *out);
int db_index_runs_put(struct db *db, struct kv_txn *t, const struct index_runs *runs);
/* The level of a run of so many entries. */
uint8_t db_index_level(uint64_t entries);

/*
 * Makes the recent entries (COUNT of them) a run, and goes on with merges. ERR_NOMEM,
 * ERR_MALFORMED, ERR_FULL, ERR_IO.
 */
int db_merge_recent(struct db *db, struct kv_txn *t, size_t count);

#endif
