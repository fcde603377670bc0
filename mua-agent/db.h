/*
 * agent.mdb: what a person's programs keep. Notifications by number, messages
 * sent, cursors, submissions under way. The command line and the agent for mail
 * programs share it.
 *
 * Transactions are kv's (base/kv.h); a command makes few writes, each its own
 * transaction. Views live until the transaction ends. Errors: ERR_NOT_FOUND where said, ERR_FULL,
 * ERR_IO, ERR_MALFORMED (a damaged record).
 */
#ifndef IM2000_AGENT_DB_H
#define IM2000_AGENT_DB_H

#include "base/clock.h"
#include "base/kv.h"
#include "base/name.h"
#include "wire/common.h"

struct db;

/* Opens DIR/agent.mdb; makes DIR (0700) and the file when absent. */
int db_open(const char *dir, struct db **out, struct err_text *e);
void db_close(struct db *db); /* NULL is fine */

struct kv_txn *db_read_begin(struct db *db);
void db_read_end(struct kv_txn *t);
int db_write_begin(struct db *db, struct kv_txn **t);

/* --- notifications ------------------------------------------------------------------------ */

enum db_flag {
	DB_READ = 1,        /* something of it was pulled */
	DB_WITHDRAWN = 2,   /* its sender took it back */
	DB_SILENCED = 4,    /* its store knows that it was received */
	DB_DROPPED = 8,     /* not listed; its store or agent is still to be told */
	DB_REFUSED = 16,    /* with DB_DROPPED: its store is told that it was refused */
	DB_STORE_TOLD = 32, /* with DB_DROPPED: that much is done */
	DB_AGENT_TOLD = 64, /* with DB_DROPPED: that much is done */
};

#define DB_REASON_MAX 400 /* octets of a refusal's reason */

struct db_item {
	uint32_t number;      /* what the person calls it; rises, never used again */
	unsigned flags;       /* of enum db_flag */
	uint64_t received_us; /* by the agent */
	uint64_t cursor;      /* at the agent */
	struct span account;  /* identity (config.h) */
	struct span verified; /* domain that the store proved; empty: none */
	struct span reason;   /* of a refusal */
	struct span der;      /* the Notification (wire_notification_decode) */
};
int db_item_get(struct db *db, struct kv_txn *t, uint32_t number, struct db_item *out);
/* The first item after NUMBER. ERR_NOT_FOUND: none. */
int db_item_next(struct db *db, struct kv_txn *t, uint32_t number, struct db_item *out);
/* Adds (number 0: given here, set in ITEM) or replaces. Views in ITEM must not lie in the map. */
int db_item_put(struct db *db, struct kv_txn *t, struct db_item *item);
/* Removes it. That it was there is remembered until UNTIL_US, so that a repeated notification is
 * known. */
int db_item_remove(struct db *db, struct kv_txn *t, uint32_t number, uint64_t until_us);
/* The number of an account's notification of (store, id); db_item_get may find it removed.
 * STORE: wire_notification_store's, or empty. ERR_NOT_FOUND. */
int db_item_find(struct db *db, struct kv_txn *t, struct span account, struct span store,
                 const uint8_t id[WIRE_ID_SIZE], uint32_t *number);
/* Forgets what db_item_remove and db_pending_put were to remember, where the time is over; once a
 * day at most. */
int db_tidy(struct db *db, struct kv_txn *t, uint64_t now_us);

/* How far an account's notifications were fetched, or its changes watched; 0 at first. */
int db_cursor_get(struct db *db, struct kv_txn *t, struct span account, uint64_t *cursor);
int db_cursor_put(struct db *db, struct kv_txn *t, struct span account, uint64_t cursor);

/* --- messages sent ------------------------------------------------------------------------ */

struct db_sent {
	uint32_t number;
	uint64_t submitted_us, expires_us, size;
	uint8_t id[WIRE_ID_SIZE]; /* the originator's capability */
	bool held;                /* a draft */
	struct span account;
	struct span store;      /* domain */
	struct span subject;    /* decoded */
	struct span recipients; /* mailbox texts, each with a NUL */
};
int db_sent_get(struct db *db, struct kv_txn *t, uint32_t number, struct db_sent *out);
int db_sent_next(struct db *db, struct kv_txn *t, uint32_t number, struct db_sent *out);
/* The message that is (store, id). ERR_NOT_FOUND. */
int db_sent_find(struct db *db, struct kv_txn *t, struct span store, const uint8_t id[WIRE_ID_SIZE],
                 struct db_sent *out);
/* Adds (number 0: given here, set in SENT) or replaces. Views in SENT must not lie in the map. */
int db_sent_put(struct db *db, struct kv_txn *t, struct db_sent *sent);

/*
 * Submissions that are not known to be finished, by a hash of account, envelope
 * and octets: saying the same again finishes the same submission.
 */
#define DB_KEY_SIZE 32
#define DB_PENDING_US CLOCK_DAY_US /* how long they are remembered */
struct db_pending {
	uint8_t id[WIRE_ID_SIZE]; /* submissionId */
	uint64_t begun_us;
	struct span added; /* header fields that were added to the message */
};
int db_pending_get(struct db *db, struct kv_txn *t, const uint8_t key[DB_KEY_SIZE],
                   struct db_pending *out);
int db_pending_put(struct db *db, struct kv_txn *t, const uint8_t key[DB_KEY_SIZE],
                   const struct db_pending *pending);
int db_pending_remove(struct db *db, struct kv_txn *t, const uint8_t key[DB_KEY_SIZE]);

#endif
