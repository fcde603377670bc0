/* What the db_*.c files of the notification agent share. Nothing else includes this. */
#ifndef IM2000_NOTIFY_DB_INTERNAL_H
#define IM2000_NOTIFY_DB_INTERNAL_H

#include "notify/db.h"

enum db_table {
	TABLE_META,
	TABLE_MAILBOX,
	TABLE_ANNOUNCEMENT,
	TABLE_NOTICE,
	TABLE_EXPIRY,
	TABLE_POLICY,
	TABLE_ALIAS,
	TABLES
};

struct db {
	struct kv *kv;
	kv_table table[TABLES];
};

#define DB_SCHEMA 3 /* 1: without the policy table; 2: without aliases */
#define DB_RECORD 1 /* first octet of each record */

/*
 * Keys of the notice table begin with the mailbox number (4 octets) and a kind,
 * so that all of a mailbox lies side by side.
 */
#define KIND_COUNT 'c'  /* → kept (4) */
#define KIND_ID 'd'     /* hash of store and id (16) → cursor (8) */
#define KIND_NOTICE 'n' /* cursor (8) → notice */
#define KIND_ORIGIN 'o' /* domain → kept (4) */

#define PREFIX_SIZE 5
#define NOTICE_KEY_SIZE (PREFIX_SIZE + 8)
#define EXPIRY_KEY_SIZE 20

void db_prefix(uint8_t *key, uint32_t mailbox, char kind);

/* The counter at KEY of the meta table, 0 when absent; raised by one and put back. */
int db_meta_next(struct db *db, struct kv_txn *t, const char *key, uint64_t *out);
/* The same, and LEAST where it would be less. */
int db_meta_next_from(struct db *db, struct kv_txn *t, const char *key, uint64_t least,
                      uint64_t *out);

int db_announcement_parse(struct span key, struct span value, struct db_announcement *out);
int db_notice_parse(struct span key, struct span value, struct db_notice *out);
int db_rule_parse(struct span key, struct span value, struct db_rule *out);
int db_mailbox_parse(struct span key, struct span value, struct db_mailbox *out);
int db_alias_parse(struct span key, struct span value, struct db_alias *out);
/* What does not add up about an entry of the alias table goes to LINE. 0: nothing. */
int db_alias_judge(struct db *db, struct kv_txn *t, struct span key, struct span value, char *line,
                   size_t cap);

/* Forgets all notices of a mailbox, and its counters. */
int db_notice_remove_all(struct db *db, struct kv_txn *t, uint32_t mailbox);

/* Forgets all of OWNER's tables. */
int db_rule_remove_all(struct db *db, struct kv_txn *t, uint32_t owner);

#endif
