/* What the db_*.c files of the notification agent share. Nothing else includes this. */
#ifndef IM2000_NOTIFY_DB_INTERNAL_H
#define IM2000_NOTIFY_DB_INTERNAL_H

#include "notify/db.h"

enum db_table {
	TABLE_META,
	TABLE_MAILBOX,
	TABLE_LOG,
	TABLE_INDEX,
	TABLE_DUE,
	TABLE_POLICY,
	TABLE_ALIAS,
	TABLES
};

#define DB_UPGRADE_TABLES 3

struct db {
	struct kv *kv;
	kv_table table[TABLES];
	kv_table old[DB_UPGRADE_TABLES]; /* while an old database is brought up: db_upgrade_tables */
};

#define DB_SCHEMA 4 /* 1: without the policy table; 2: without aliases; 3: db_upgrade.c */
#define DB_RECORD 1 /* first octet of each record */

/* The number at KEY of the meta table, 0 when absent. ERR_MALFORMED. */
int db_meta_get(struct db *db, struct kv_txn *t, const char *key, uint64_t *out);
int db_meta_put(struct db *db, struct kv_txn *t, const char *key, uint64_t number);
/* Raised by DELTA, or lowered, and put back. *OUT is what it is then. */
int db_meta_add(struct db *db, struct kv_txn *t, const char *key, int64_t delta, uint64_t *out);

/* --- the log: announcements, and behind each the notices of it (db_log.c) --------------------- */

/* Keys: number or first cursor (8), kind (1). Both rise together, so the table is appended to. */
#define LOG_KEY_SIZE 9
#define LOG_ANNOUNCEMENT 1
#define LOG_PIECE 2
#define DUE_KEY_SIZE 16 /* expires (8), first cursor (8) */

/* Some notices of one announcement that came together, with cursors that follow each other. */
struct log_piece {
	uint64_t first; /* cursor */
	uint64_t announcement;
	uint64_t received_us, expires_us;
	struct wire_endpoint submitter;
	bool withdrawn;
	bool times; /* each has a time of its own: one was repeated */
	size_t n;
	struct span entries; /* of log_entry_size each */
};
struct log_entry {
	uint32_t mailbox; /* 0: forgotten */
	uint8_t id[WIRE_ID_SIZE];
	uint64_t received_us;
};

int db_log_parse_piece(struct span key, struct span value, struct log_piece *out);
void db_log_entry(const struct log_piece *p, size_t i, struct log_entry *out);
/* The piece that begins at cursor FIRST, or the one that CURSOR is in. ERR_NOT_FOUND. */
int db_log_get_piece(struct db *db, struct kv_txn *t, uint64_t first, struct log_piece *out);
int db_log_find_piece(struct db *db, struct kv_txn *t, uint64_t cursor, struct log_piece *out);
/* Keeps a new one (of DB_PIECE_MAX entries at most), with its expiry. */
int db_log_add_piece(struct db *db, struct kv_txn *t, const struct log_piece *p,
                     const struct log_entry *entries);
/* Entry I of P becomes E; a piece of which nothing is left goes, with its expiry. */
int db_log_change(struct db *db, struct kv_txn *t, const struct log_piece *p, size_t i,
                  const struct log_entry *e);
void db_log_due_key(uint8_t key[DUE_KEY_SIZE], uint64_t expires_us, uint64_t first);

int db_announcement_parse(struct span key, struct span value, struct db_announcement *out);
/* Keeps A under its number, as referred to by A->notices. */
int db_announcement_add(struct db *db, struct kv_txn *t, const struct db_announcement *a);
/* DELTA more (or less) notices refer to announcement NUMBER; with the last one it goes. */
int db_announcement_refer(struct db *db, struct kv_txn *t, uint64_t number, int delta);

/* ---------------------------------------------------------------------------------------------- */

int db_rule_parse(struct span key, struct span value, struct db_rule *out);
int db_mailbox_parse(struct span key, struct span value, struct db_mailbox *out);
int db_alias_parse(struct span key, struct span value, struct db_alias *out);
/* What does not add up about an entry of the alias table goes to LINE. 0: nothing. */
int db_alias_judge(struct db *db, struct kv_txn *t, struct span key, struct span value, char *line,
                   size_t cap);

/* Forgets all notices of a mailbox. */
int db_notice_remove_all(struct db *db, struct kv_txn *t, uint32_t mailbox);

/* Forgets all of OWNER's tables. */
int db_rule_remove_all(struct db *db, struct kv_txn *t, uint32_t owner);

/*
 * The step from schema 3 to 4 (struct migrate_step), CTX being the database; and the tables that
 * it takes away from, ended by NULL.
 */
struct migrate_place;
int db_upgrade_step(void *ctx, struct kv_txn *t, struct migrate_place *place);
extern const char *const db_upgrade_tables[];

#endif
