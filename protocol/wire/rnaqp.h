/*
 * RNAQP, recipient to notification agent: the PDUs of
 * docs/asn1/IM2000-RNAQP.asn1 (protocol.md section 10). Conventions of all
 * fields, of decode and of encode: wire/common.h.
 */
#ifndef IM2000_WIRE_RNAQP_H
#define IM2000_WIRE_RNAQP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"
#include "wire/common.h"

enum rnaqp_kind {
	RNAQP_UNKNOWN = 0, /* an alternative that this version does not know: answer unsupported */
	RNAQP_NONE,        /* responses only */
	RNAQP_AUTHENTICATE,
	RNAQP_RETRIEVE_AND_CLEAR,
	RNAQP_RETRIEVE,
	RNAQP_ACKNOWLEDGE,
	RNAQP_POLICY,
	RNAQP_FETCH,
	RNAQP_KIND_COUNT
};

/* The alternative's name in the module ("retrieveAndClear"), "none" or "unknown". */
const char *rnaqp_kind_name(enum rnaqp_kind kind);

/* Commands. retrieveAndClear carries nothing. */
struct rnaqp_authenticate {
	struct span account;
	struct span password;
};

struct rnaqp_retrieve {
	uint64_t after;
	bool has_limit;
	uint64_t limit; /* 1 and up */
	bool has_wait;
	uint64_t wait;
};

struct rnaqp_acknowledge {
	struct wire_list cursors; /* wire_cursor_next */
};

struct rnaqp_policy {
	enum wire_policy_action action;
	struct span table;
	bool has_value;
	struct span value;
};

struct rnaqp_fetch {
	uint64_t cursor;
	enum wire_retrieval type;
	uint64_t offset;
	uint64_t length; /* 0: to the end */
	bool has_section;
	struct span section;
};

struct rnaqp_command {
	enum rnaqp_kind kind; /* never RNAQP_NONE */
	union {
		struct rnaqp_authenticate authenticate;
		struct rnaqp_retrieve retrieve;
		struct rnaqp_acknowledge acknowledge;
		struct rnaqp_policy policy;
		struct rnaqp_fetch fetch;
	} u;
};

/* Data of responses. */
struct rnaqp_received {
	struct wire_notification notification;
	struct wire_endpoint submitter;
	uint64_t received;
	uint64_t cursor;
	bool has_verified;
	struct wire_list verified; /* labels, wire_domain_to_name */
	bool has_withdrawn;
	bool withdrawn;
};
bool rnaqp_received_next(struct wire_list *rest, struct rnaqp_received *out);
int rnaqp_received_append(struct wire_list_writer *w, const struct rnaqp_received *received);

struct rnaqp_retrieve_done {
	struct wire_list notifications; /* rnaqp_received_next */
	uint64_t next;
};

/* A response with this data has no text and no retryAfter: nothing follows the streamed string. */
struct rnaqp_fetch_done {
	uint64_t size;
	uint64_t offset;
	struct wire_octets data; /* streamed */
};

struct rnaqp_policy_done {
	struct wire_list values; /* wire_text_next */
};

struct rnaqp_response {
	bool abort;
	enum wire_status status;
	enum rnaqp_kind kind; /* which data; RNAQP_NONE with every error */
	union {
		/* authenticate and acknowledge carry nothing */
		struct rnaqp_retrieve_done retrieve_and_clear;
		struct rnaqp_retrieve_done retrieve;
		struct rnaqp_policy_done policy;
		struct rnaqp_fetch_done fetch;
	} u;
	bool has_text;
	struct span text;
	bool has_retry_after;
	uint64_t retry_after;
};

int rnaqp_command_decode(struct span body, uint64_t total, struct rnaqp_command *out);
int rnaqp_command_encode(const struct rnaqp_command *in, uint8_t *buf, size_t cap,
                         struct span *out);
int rnaqp_response_decode(struct span body, uint64_t total, struct rnaqp_response *out);
int rnaqp_response_encode(const struct rnaqp_response *in, uint8_t *buf, size_t cap,
                          struct span *out);

/* Which command a frame is, from its first 32 octets. 0, ERR_AGAIN, ERR_MALFORMED. */
int rnaqp_command_peek(struct span body, uint64_t total, enum rnaqp_kind *out);

#endif
