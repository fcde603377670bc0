/*
 * RNASP, message store to notification agent: the PDUs of
 * docs/asn1/IM2000-RNASP.asn1 (protocol.md section 10). Conventions of all
 * fields, of decode and of encode: wire/common.h.
 */
#ifndef IM2000_WIRE_RNASP_H
#define IM2000_WIRE_RNASP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"
#include "wire/common.h"

enum rnasp_kind {
	RNASP_UNKNOWN = 0, /* an alternative that this version does not know: answer unsupported */
	RNASP_NONE,        /* responses only */
	RNASP_NOTIFY,
	RNASP_WITHDRAW,
	RNASP_NOTIFY_MANY,
	RNASP_KIND_COUNT
};

/* The alternative's name in the module ("notifyMany"), "none" or "unknown". */
const char *rnasp_kind_name(enum rnasp_kind kind);

/* A mailbox and its capability: Addressee and Withdrawal of the module. */
struct rnasp_addressee {
	struct wire_mailbox recipient;
	uint8_t id[WIRE_ID_SIZE];
};
bool rnasp_addressee_next(struct wire_list *rest, struct rnasp_addressee *out);
int rnasp_addressee_append(struct wire_list_writer *w, const struct rnasp_addressee *a);

/* Commands. */
struct rnasp_notify {
	struct wire_list notifications; /* wire_notification_next */
};

struct rnasp_withdraw {
	struct wire_list notifications; /* rnasp_addressee_next */
};

struct rnasp_notify_many {
	struct wire_notification common; /* recipient and id: those of the first addressee */
	struct wire_list addressees;     /* rnasp_addressee_next */
};

struct rnasp_command {
	enum rnasp_kind kind; /* never RNASP_NONE */
	union {
		struct rnasp_notify notify;
		struct rnasp_withdraw withdraw;
		struct rnasp_notify_many notify_many;
	} u;
};

/* Data of responses. */
struct rnasp_notify_done {
	struct wire_list results; /* rnasp_result_next; one for each, in order */
};
bool rnasp_result_next(struct wire_list *rest, enum wire_notify_result *out);
int rnasp_result_append(struct wire_list_writer *w, enum wire_notify_result result);

struct rnasp_response {
	bool abort;
	enum wire_status status;
	enum rnasp_kind kind; /* which data; RNASP_NONE with every error */
	union {
		/* withdraw carries nothing */
		struct rnasp_notify_done notify;
		struct rnasp_notify_done notify_many;
	} u;
	bool has_text;
	struct span text;
	bool has_retry_after;
	uint64_t retry_after;
};

int rnasp_command_decode(struct span body, uint64_t total, struct rnasp_command *out);
int rnasp_command_encode(const struct rnasp_command *in, uint8_t *buf, size_t cap,
                         struct span *out);
int rnasp_response_decode(struct span body, uint64_t total, struct rnasp_response *out);
int rnasp_response_encode(const struct rnasp_response *in, uint8_t *buf, size_t cap,
                          struct span *out);

/* Which command a frame is, from its first 32 octets. 0, ERR_AGAIN, ERR_MALFORMED. */
int rnasp_command_peek(struct span body, uint64_t total, enum rnasp_kind *out);

#endif
