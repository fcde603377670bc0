/* The notification of a delivery, made from the records of the message and of the delivery. */
#ifndef IM2000_STORE_NOTICE_H
#define IM2000_STORE_NOTICE_H

#include "store/db.h"
#include "store/ids.h"
#include "store/service.h"
#include "wire/common.h"

/* What the fields of a notification borrow from, besides the message's record. */
struct notice {
	uint8_t store[WIRE_LABELS_MAX], recipient[WIRE_LABELS_MAX];
	struct mailbox mailbox;
	char sender[400];
};

/*
 * Fills OUT, which borrows from N and M. 0; ERR_NOT_FOUND (no such key any
 * more), ERR_MALFORMED (a damaged record).
 */
int notice_make(const struct settings *s, const struct ids *ids, const struct db_message *m,
                uint32_t index, struct span mailbox, struct notice *n,
                struct wire_notification *out);

/* Mailbox and capability alone, for a withdrawal. Errors as above. */
int notice_addressee(const struct ids *ids, const struct db_message *m, uint32_t index,
                     struct span mailbox, struct notice *n, struct wire_mailbox *recipient,
                     uint8_t id[WIRE_ID_SIZE]);

#endif
