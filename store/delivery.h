/*
 * A delivery's record under the rules of store/mailroom.h, inside of a writer's
 * transaction.
 */
#ifndef IM2000_STORE_DELIVERY_H
#define IM2000_STORE_DELIVERY_H

#include "store/db.h"
#include "store/mailroom.h"

/* What the rules look at, and back. */
void delivery_rules(const struct db_delivery *d, struct mailroom_delivery *out);
void delivery_follow(struct db_delivery *d, const struct mailroom_delivery *rules);

/* A rule with its arguments in CTX: true when the originator sees a change. */
typedef bool (*delivery_rule)(struct mailroom_delivery *d, void *ctx);

struct delivery_result {
	bool changed;     /* the record was put */
	bool lost_reader; /* it may no longer read */
	struct mailroom_delivery now;
};

/*
 * Applies RULE to delivery INDEX of MESSAGE of ACCOUNT, puts it when it changed,
 * and adds to the change log. TEXT, not NULL: the diagnostic of a change that is
 * seen. The message's record is the caller's: see delivery_readers_gone. 0, or
 * ERR_NOT_FOUND or another error of db.h.
 */
int delivery_apply(struct db *db, struct kv_txn *t, uint32_t account, uint64_t message,
                   uint32_t index, delivery_rule rule, void *ctx, const struct span *text,
                   struct delivery_result *out);

/* N deliveries of MESSAGE may no longer read. Frees its octets when that was the last use of
 * them. 0 or an error of db.h. */
int delivery_readers_gone(struct db *db, struct kv_txn *t, uint64_t message, uint32_t n);

/*
 * TEXT, which a stranger may have written, as a diagnostic: valid UTF-8 without
 * control characters, cut at a character. Into OUT; the view of it.
 */
struct span delivery_text(struct span text, char out[DB_TEXT_MAX]);

#endif
