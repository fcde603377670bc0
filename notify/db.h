/*
 * The notification agent's durable state, by what notifications need of it.
 * Nothing above this header knows keys, tables or LMDB. docs/storage-notify.md has the
 * layout of every table.
 *
 * Reading: db_read_begin, look things up, db_read_end; views live until then.
 * Writing: in the apply function of a writer job, with its transaction.
 * Errors of all functions: ERR_NOT_FOUND where said, ERR_FULL, ERR_IO,
 * ERR_MALFORMED (a damaged record).
 */
#ifndef IM2000_NOTIFY_DB_H
#define IM2000_NOTIFY_DB_H

#include "base/kv.h"
#include "base/name.h"
#include "base/password.h"
#include "base/writer.h"
#include "notify/rule.h"
#include "wire/common.h"

struct db;

#define DB_CLAIM "notify.running" /* the daemon's claim on DIR (base/claim.h) */

struct db_options {
	bool claimed; /* the caller holds DB_CLAIM */
	bool create; /* the file, when it is absent or empty; else that is an error */
	uint64_t map_size; /* 0: default */
	bool no_sync;
};

/*
 * Opens DIR/notify.mdb; brings an older schema up to date. Errors of kv_open and of migrate_run
 * (session/migrate.h): ERR_UNSUPPORTED for a schema newer than this program, ERR_MALFORMED for
 * what is no agent's database, ERR_EXISTS.
 */
int db_open(const char *dir, const struct db_options *options, struct db **out, struct err_text *e);
void db_close(struct db *db); /* NULL is fine */
struct kv *db_kv(struct db *db);

struct kv_txn *db_read_begin(struct db *db);
void db_read_end(struct kv_txn *t);

/* --- mailboxes ---------------------------------------------------------------------------- */

struct db_mailbox {
	uint32_t number; /* never used again after removal */
	struct mailbox name;
	struct password_hash hash;
	uint64_t created_us;
};
int db_mailbox_find(struct db *db, struct kv_txn *t, const struct mailbox *name,
                    struct db_mailbox *out);
/* The mailbox after NAME in order of names (NULL: the first). ERR_NOT_FOUND at the end. */
int db_mailbox_next(struct db *db, struct kv_txn *t, const struct mailbox *name,
                    struct db_mailbox *out);
/* Adds (number 0: given here, set in M; ERR_EXISTS for a name that is there) or replaces. */
int db_mailbox_put(struct db *db, struct kv_txn *t, struct db_mailbox *m);
/* Removes the mailbox with all its notifications, and takes it out of aliases. */
int db_mailbox_remove(struct db *db, struct kv_txn *t, const struct mailbox *name);

/* --- aliases ------------------------------------------------------------------------------- */

/* An address that stands for mailboxes: a name that is no mailbox's, or "@domain" (db_alias.c). */
#define DB_ALIAS_TARGETS 100 /* of one alias at most */

struct db_alias {
	char address[NAME_MAILBOX_MAX + 1]; /* in canonical form */
	unsigned n;
	struct mailbox target[DB_ALIAS_TARGETS]; /* mailboxes, each once, in the order they came */
};
int db_alias_find(struct db *db, struct kv_txn *t, const char *address, struct db_alias *out);
/* The alias after ADDRESS (NULL: the first) in order of octets. ERR_NOT_FOUND at the end. */
int db_alias_next(struct db *db, struct kv_txn *t, const char *address, struct db_alias *out);
/* Keeps A in the place of what it was before; without targets it goes. */
int db_alias_put(struct db *db, struct kv_txn *t, const struct db_alias *a);
/* Forgets an alias, damaged ones too. ERR_NOT_FOUND. */
int db_alias_remove(struct db *db, struct kv_txn *t, const char *address);
/* Takes the mailbox NAME out of all aliases. GONE (or NULL) hears of those that go with it. */
int db_alias_forget(struct db *db, struct kv_txn *t, const struct mailbox *name,
                    void (*gone)(void *ctx, const char *address), void *ctx);

/* Whom an address reaches. */
struct db_targets {
	bool named; /* the mailbox's own name is the address */
	unsigned n;
	struct db_target {
		uint32_t mailbox; /* number */
	} item[DB_ALIAS_TARGETS];
};
/*
 * Whom NAME reaches, the first of: the mailbox, the alias, both again without the tag that begins
 * at TAG in the local part (0: there are no tags), "@domain". ERR_NOT_FOUND: nobody.
 */
int db_address_find(struct db *db, struct kv_txn *t, const struct mailbox *name, char tag,
                    struct db_targets *out);

/* --- policy -------------------------------------------------------------------------------- */

/* Owner of the tables that go over all others'. No mailbox has this number. */
#define DB_OPERATOR 0u

struct db_rule {
	uint32_t owner; /* DB_OPERATOR or a mailbox's number */
	enum rule_table table;
	char value[RULE_VALUE_CAP]; /* in the form of rule_value_parse */
	uint64_t added_us;
};
/* ERR_EXISTS: it is there. */
int db_rule_add(struct db *db, struct kv_txn *t, const struct db_rule *rule);
/* ERR_NOT_FOUND: it is not there. */
int db_rule_remove(struct db *db, struct kv_txn *t, uint32_t owner, enum rule_table table,
                   const char *value);
/* 1: VALUE stands in the table; 0: it does not. */
int db_rule_has(struct db *db, struct kv_txn *t, uint32_t owner, enum rule_table table,
                const char *value);
/* The value after AFTER (NULL: the first) in order of octets. ERR_NOT_FOUND at the end. */
int db_rule_next(struct db *db, struct kv_txn *t, uint32_t owner, enum rule_table table,
                 const char *after, struct db_rule *out);
/*
 * What OWNER's tables say of SENDER: the most particular value that stands in one decides, and in
 * both it refuses. STRANGERS: whether the owner refuses those of whom nothing is said.
 */
int db_rule_verdict(struct db *db, struct kv_txn *t, uint32_t owner, const struct mailbox *sender,
                    enum rule_verdict *verdict, bool *strangers);

/* --- announcements and notices -------------------------------------------------------------- */

/*
 * What is alike for all recipients of a message is an announcement, kept once;
 * what is a mailbox's own of it is a notice.
 */
struct db_announcement {
	uint64_t number;
	uint32_t notices;   /* how many refer to it: it goes with the last */
	struct span der;    /* the Notification; its recipient and id are those of the first one */
	bool addressed;     /* its recipient is for all who have it: an alias, a name with a tag */
	struct span store;  /* domain of storeTls */
	struct span origin; /* domain of the sender */
	bool verified;      /* the store proved that it speaks for ORIGIN */
};
int db_announcement_get(struct db *db, struct kv_txn *t, uint64_t number,
                        struct db_announcement *out);

/*
 * Keeping an announcement and its notices: db_posting_begin; for each recipient db_posting_look,
 * and db_posting_add when it is to be kept; db_posting_end, after which it may go on. What is in a
 * posting that has not ended is not seen by others. An error on the way breaks the
 * transaction (kv_write_fail).
 */
#define DB_PIECE_MAX 95 /* notices that are written together */

struct db_posting {
	struct db_announcement a; /* number and notices are set as it is kept */
	uint64_t received_us;
	uint64_t expires_us; /* when the agent drops it */
	struct wire_endpoint submitter;
	/* The module's own. */
	uint8_t origin[8];
	size_t n;
	struct {
		uint32_t mailbox;
		uint8_t id[WIRE_ID_SIZE];
	} pending[DB_PIECE_MAX];
};

/* What a mailbox has kept. */
struct db_look {
	bool repeated;   /* a notice of (store, id) is there */
	uint64_t cursor; /* of that one; 0: in this posting */
	uint32_t kept;   /* in all */
	uint32_t kept_origin; /* of the announcement's origin */
};

/* Views of A live until the posting's end. */
void db_posting_begin(struct db_posting *p, const struct db_announcement *a);
int db_posting_look(struct db *db, struct kv_txn *t, const struct db_posting *p, uint32_t mailbox,
                    const uint8_t id[WIRE_ID_SIZE], struct db_look *out);
int db_posting_add(struct db *db, struct kv_txn *t, struct db_posting *p, uint32_t mailbox,
                   const uint8_t id[WIRE_ID_SIZE]);
int db_posting_end(struct db *db, struct kv_txn *t, struct db_posting *p);

struct db_notice {
	uint32_t mailbox;
	uint64_t cursor; /* rises over the whole agent, never used again */
	uint64_t announcement;
	uint8_t id[WIRE_ID_SIZE];
	uint64_t received_us;
	uint64_t expires_us;
	struct wire_endpoint submitter;
	bool withdrawn;
};
/* The mailbox's notice at CURSOR. ERR_NOT_FOUND. */
int db_notice_get(struct db *db, struct kv_txn *t, uint32_t mailbox, uint64_t cursor,
                  struct db_notice *out);
/* The cursors of the mailbox's first notices after AFTER, in order, CAP at most. How many. */
int db_notice_list(struct db *db, struct kv_txn *t, uint32_t mailbox, uint64_t after,
                   uint64_t *cursors, size_t cap);
/* The mailbox's notice with ID, whatever the store. SKIP: how many to pass over (ids of several
 * stores could be alike). ERR_NOT_FOUND. */
int db_notice_find_id(struct db *db, struct kv_txn *t, uint32_t mailbox,
                      const uint8_t id[WIRE_ID_SIZE], unsigned skip, struct db_notice *out);
/* The notice at CURSOR was said again at RECEIVED_US. ERR_NOT_FOUND. */
int db_notice_renew(struct db *db, struct kv_txn *t, uint32_t mailbox, uint64_t cursor,
                    uint64_t received_us);
/* Marks the notice N, at a new cursor (set in N), so that those who have seen it see it again. */
int db_notice_withdraw(struct db *db, struct kv_txn *t, struct db_notice *n);
/* Forgets the notice at CURSOR. ERR_NOT_FOUND: none there. */
int db_notice_remove(struct db *db, struct kv_txn *t, uint32_t mailbox, uint64_t cursor);

/* Notices kept for a mailbox. */
int db_notice_count(struct db *db, struct kv_txn *t, uint32_t mailbox, uint32_t *kept);

/*
 * Forgets notices whose time is over at NOW_US, until LIMIT are forgotten or as many passed over
 * because of damage. How many are forgotten.
 */
int db_notice_expire(struct db *db, struct kv_txn *t, uint64_t now_us, unsigned limit);

/* --- administration --------------------------------------------------------------------------- */

/*
 * What is counted for good: what was ever answered to notifications, by enum wire_notify_result,
 * and then what came of the pull cache.
 */
enum db_count {
	DB_FETCH_HITS = WIRE_NOTIFY_COUNT,
	DB_FETCH_MISSES,
	DB_PULLED,
	DB_PULLS_FAILED,
	DB_PULLED_OCTETS,
	DB_CACHE_EVICTED,
	DB_COUNTS
};
/* The name of a count, "answered-accepted"; OUT is room for it. */
#define DB_COUNT_NAME 40
const char *db_count_name(unsigned count, char out[DB_COUNT_NAME]);
/* Adds to them. */
int db_counts_add(struct db *db, struct kv_txn *t, const uint64_t counts[DB_COUNTS]);

/* The tables' names, ended by NULL, and their handles, for counting alone. */
const char *const *db_tables(const struct db *db);
const kv_table *db_handles(const struct db *db);

struct db_stats {
	uint64_t mailboxes, aliases, announcements, notices, rules;
	uint64_t counts[DB_COUNTS];
	struct kv_stat kv;
};
int db_stats(struct db *db, struct db_stats *out);
int db_backup(struct db *db, const char *dir, struct err_text *e);
/* Walks every table; FOUND gets a line for each thing that does not add up. How many, or an error.
 */
int db_check(struct db *db, void (*found)(void *ctx, const char *line), void *ctx);

#endif
