/*
 * MSRAP, recipient to message store: the PDUs of docs/asn1/IM2000-MSRAP.asn1
 * (protocol.md section 9). Conventions of all fields, of decode and of encode:
 * wire/common.h.
 */
#ifndef IM2000_WIRE_MSRAP_H
#define IM2000_WIRE_MSRAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"
#include "wire/common.h"

enum msrap_kind {
	MSRAP_UNKNOWN = 0, /* an alternative that this version does not know: answer unsupported */
	MSRAP_NONE,        /* responses only */
	MSRAP_SCAN_LIST,
	MSRAP_SILENCE,
	MSRAP_UNPIN,
	MSRAP_QUERY_SIZE,
	MSRAP_RETRIEVE,
	MSRAP_REFUSE,
	MSRAP_GRANT,
	MSRAP_SUBSCRIBE,
	MSRAP_UNSUBSCRIBE,
	MSRAP_LIST_INFO,
	MSRAP_KIND_COUNT
};

/* The alternative's name in the module ("scanList"), "none" or "unknown". */
const char *msrap_kind_name(enum msrap_kind kind);

/* Commands. */
struct msrap_scan_list {
	struct span list;
	uint64_t begin;
	bool has_limit;
	uint64_t limit; /* 1 and up */
	bool has_key;
	struct span key;
};

struct msrap_silence {
	uint8_t id[WIRE_ID_SIZE];
};

struct msrap_unpin {
	uint8_t id[WIRE_ID_SIZE];
};

struct msrap_query_size {
	uint8_t id[WIRE_ID_SIZE];
};

struct msrap_retrieve {
	uint8_t id[WIRE_ID_SIZE];
	enum wire_retrieval type;
	uint64_t offset;
	uint64_t length; /* 0: to the end */
	bool has_section;
	struct span section;
	bool has_proof;
	bool proof;
};

struct msrap_refuse {
	uint8_t id[WIRE_ID_SIZE];
	bool has_reason;
	struct span reason;
};

struct msrap_grant {
	uint8_t id[WIRE_ID_SIZE];
	bool has_expires;
	uint64_t expires;
	bool has_uses;
	uint64_t uses; /* 1 and up */
};

struct msrap_subscribe {
	struct span list;
	struct wire_mailbox mailbox;
	bool has_key;
	struct span key;
};

struct msrap_unsubscribe {
	struct span list;
	struct span key;
};

struct msrap_list_info {
	struct span list;
};

struct msrap_command {
	enum msrap_kind kind; /* never MSRAP_NONE */
	union {
		struct msrap_scan_list scan_list;
		struct msrap_silence silence;
		struct msrap_unpin unpin;
		struct msrap_query_size query_size;
		struct msrap_retrieve retrieve;
		struct msrap_refuse refuse;
		struct msrap_grant grant;
		struct msrap_subscribe subscribe;
		struct msrap_unsubscribe unsubscribe;
		struct msrap_list_info list_info;
	} u;
};

/* Data of responses. */
struct msrap_list_post {
	uint8_t id[WIRE_ID_SIZE];
	uint64_t posted;
	struct span sender;
	uint64_t size;
	bool has_subject;
	struct span subject;
	bool has_digest;
	uint8_t digest[WIRE_DIGEST_SIZE];
};
bool msrap_list_post_next(struct wire_list *rest, struct msrap_list_post *out);
int msrap_list_post_append(struct wire_list_writer *w, const struct msrap_list_post *post);

struct msrap_scan_list_done {
	struct wire_list posts; /* msrap_list_post_next */
	uint64_t end;
};

/* A response with this data has no text and no retryAfter: nothing follows the streamed string. */
struct msrap_retrieve_done {
	uint64_t size;   /* of what the type names, not of the range */
	uint64_t offset;
	bool has_proof;
	struct wire_list proof;  /* wire_digest_next */
	struct wire_octets data; /* streamed */
};

struct msrap_query_size_done {
	uint64_t size;
	uint64_t headers;
};

struct msrap_grant_done {
	uint8_t id[WIRE_ID_SIZE];
	uint64_t expires;
};

struct msrap_subscribe_done {
	struct span key;
};

struct msrap_list_info_done {
	bool has_title;
	struct span title;
	bool open;
	enum wire_posting posting;
	uint64_t posts;
	bool has_subscribers;
	uint64_t subscribers;
};

struct msrap_response {
	bool abort;
	enum wire_status status;
	enum msrap_kind kind; /* which data; MSRAP_NONE with every error */
	union {
		/* silence, unPin, refuse and unsubscribe carry nothing */
		struct msrap_scan_list_done scan_list;
		struct msrap_retrieve_done retrieve;
		struct msrap_query_size_done query_size;
		struct msrap_grant_done grant;
		struct msrap_subscribe_done subscribe;
		struct msrap_list_info_done list_info;
	} u;
	bool has_text;
	struct span text;
	bool has_retry_after;
	uint64_t retry_after;
};

int msrap_command_decode(struct span body, uint64_t total, struct msrap_command *out);
int msrap_command_encode(const struct msrap_command *in, uint8_t *buf, size_t cap,
                         struct span *out);
int msrap_response_decode(struct span body, uint64_t total, struct msrap_response *out);
int msrap_response_encode(const struct msrap_response *in, uint8_t *buf, size_t cap,
                          struct span *out);

/* Which command a frame is, from its first 32 octets. 0, ERR_AGAIN, ERR_MALFORMED. */
int msrap_command_peek(struct span body, uint64_t total, enum msrap_kind *out);

#endif
