/*
 * What a submission writes: blocks of octets as they come, then the message
 * with its deliveries and their first notification, in one transaction.
 * For the apply functions of writer jobs: all checks come before the first write.
 */
#ifndef IM2000_STORE_DEPOSIT_H
#define IM2000_STORE_DEPOSIT_H

#include "store/addressees.h"
#include "store/db.h"
#include "store/scan.h"

#define DEPOSIT_JOB_DELIVERIES 1000 /* of one domain that one job of the notifier covers */

struct deposit {
	struct db *db;
	uint64_t number;
	uint32_t account;
	uint16_t key;
	struct span sender;
	uint64_t expected_octets;     /* 0: not said */
	const uint8_t *submission_id; /* 16 octets; NULL: none */
	uint64_t now_us, expires_us;
	uint64_t held;      /* octets that earlier deposits of this submission put; of those, */
	uint64_t stored;    /* the whole blocks. What is behind them is put again with OCTETS */
	struct span octets; /* those from there on */
	const struct scan_leaves *leaves; /* of their blocks; NULL: not known */
};

/*
 * Puts octets of a message that is still coming, none too; it stays for RESUME_US. When they end
 * within a block, nothing can follow but a resumption.
 * 0; ERR_TOO_BIG (over the account's quota), ERR_EXISTS (this submissionId is
 * going on, or finished, elsewhere), ERR_NOT_FOUND (the account, or what was
 * stored, is gone), or an error of db.h.
 */
int deposit_blocks(const struct deposit *d, struct kv_txn *t, uint64_t resume_us);

struct deposit_message {
	struct deposit part; /* octets: all that are not stored yet */
	const struct addressees *to;
	const struct scan_result *result;
	uint64_t release_us; /* 0: at once */
	bool held;
};
/* Puts the last octets and completes the message. Errors as above. */
int deposit_message(const struct deposit_message *d, struct kv_txn *t);

/* Deliveries FIRST and up of a message whose record counts them already, to all of TO, with the
 * jobs of their first notification. */
struct deposit_recipients {
	struct db *db;
	uint64_t message;
	uint32_t account, first;
	const struct addressees *to;
	uint64_t now_us, release_us; /* 0: at once */
	bool held;
};
/* For kv_claim: what so many of them take. */
uint64_t deposit_octets(uint32_t recipients);
/* 0 or an error of db.h. kv_claim is the caller's. */
int deposit_recipients(const struct deposit_recipients *d, struct kv_txn *t);

/*
 * Takes back what deposit_blocks put, unless the submission went on elsewhere.
 * 0; ERR_AGAIN: some went, call again in another transaction.
 */
int deposit_undo(struct db *db, struct kv_txn *t, uint64_t number, uint64_t held);

#endif
