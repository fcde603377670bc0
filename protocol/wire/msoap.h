/*
 * MSOAP, originator to message store: the PDUs of docs/asn1/IM2000-MSOAP.asn1
 * (protocol.md section 8). Conventions of all fields, of decode and of encode:
 * wire/common.h.
 */
#ifndef IM2000_WIRE_MSOAP_H
#define IM2000_WIRE_MSOAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"
#include "wire/common.h"

enum msoap_kind {
	MSOAP_UNKNOWN = 0, /* an alternative that this version does not know: answer unsupported */
	MSOAP_NONE,        /* responses only */
	MSOAP_AUTHENTICATE,
	MSOAP_SUBMIT_ENVELOPE,
	MSOAP_SUBMIT_CHUNK,
	MSOAP_TRACK,
	MSOAP_CANCEL,
	MSOAP_SUBMIT_REFERENCE,
	MSOAP_ARCHIVE,
	MSOAP_WATCH,
	MSOAP_RELEASE,
	MSOAP_READDRESS,
	MSOAP_EXTEND,
	MSOAP_FORGET,
	MSOAP_KIND_COUNT
};

/* The alternative's name in the module ("submitEnvelope"), "none" or "unknown". */
const char *msoap_kind_name(enum msoap_kind kind);

/* Commands. */
struct msoap_authenticate {
	struct span account;
	struct span password;
};

struct msoap_submit_envelope {
	bool has_recipients;
	struct wire_list recipients; /* wire_mailbox_next */
	bool has_lists;
	struct wire_list lists;      /* wire_text_next */
	uint64_t lifetime;
	bool has_size;
	uint64_t size;
	bool has_submission_id;
	uint8_t submission_id[WIRE_ID_SIZE];
	bool has_sender;
	struct wire_mailbox sender;
	bool has_digest;
	uint8_t digest[WIRE_DIGEST_SIZE];
	bool has_release_at;
	uint64_t release_at;
	bool has_hold;
	bool hold;
};

struct msoap_submit_chunk {
	bool is_last;
	uint64_t offset;
	struct wire_octets data; /* streamed */
};

struct msoap_submit_reference {
	bool is_last;
	uint64_t offset;
	bool has_store;
	struct wire_location store;
	uint8_t id[WIRE_ID_SIZE];
	bool has_section;
	struct span section;
	bool has_from;
	uint64_t from;
	bool has_length;
	uint64_t length;
	bool has_encoding;
	enum wire_encoding encoding;
};

struct msoap_track {
	uint8_t id[WIRE_ID_SIZE];
	bool has_after;
	uint64_t after;
	bool has_limit;
	uint64_t limit; /* 1 and up */
};

struct msoap_cancel {
	uint8_t id[WIRE_ID_SIZE];
	bool has_recipients; /* false: the whole message */
	struct wire_list recipients; /* wire_mailbox_next */
};

struct msoap_archive {
	uint64_t after;
	bool has_limit;
	uint64_t limit; /* 1 and up */
};

struct msoap_watch {
	uint64_t after;
	uint64_t wait;
};

struct msoap_release {
	uint8_t id[WIRE_ID_SIZE];
};

struct msoap_readdress {
	uint8_t id[WIRE_ID_SIZE];
	struct wire_list recipients; /* wire_mailbox_next */
};

struct msoap_extend {
	uint8_t id[WIRE_ID_SIZE];
	uint64_t lifetime;
};

struct msoap_forget {
	uint8_t id[WIRE_ID_SIZE];
};

struct msoap_command {
	enum msoap_kind kind; /* never MSOAP_NONE */
	union {
		struct msoap_authenticate authenticate;
		struct msoap_submit_envelope submit_envelope;
		struct msoap_submit_chunk submit_chunk;
		struct msoap_track track;
		struct msoap_cancel cancel;
		struct msoap_submit_reference submit_reference;
		struct msoap_archive archive;
		struct msoap_watch watch;
		struct msoap_release release;
		struct msoap_readdress readdress;
		struct msoap_extend extend;
		struct msoap_forget forget;
	} u;
};

/* Data of responses. */
struct msoap_submit_envelope_done {
	uint8_t id[WIRE_ID_SIZE];
	struct wire_list recipients; /* msoap_submission_status_next */
	struct wire_list lists;      /* msoap_submission_status_next */
	uint64_t received;
	uint64_t expires;
	bool complete;
};
bool msoap_submission_status_next(struct wire_list *rest, enum wire_submission_status *out);
int msoap_submission_status_append(struct wire_list_writer *w, enum wire_submission_status status);

struct msoap_submit_chunk_done {
	uint64_t received;
	bool has_digest;
	uint8_t digest[WIRE_DIGEST_SIZE];
};

struct msoap_delivery {
	enum wire_notification_status notification;
	enum wire_read_status read;
	bool pinned;
	struct wire_mailbox recipient;
	uint64_t attempts;
	uint64_t changed;
	bool has_next_attempt;
	uint64_t next_attempt;
	bool has_text;
	struct span text;
};
bool msoap_delivery_next(struct wire_list *rest, struct msoap_delivery *out);
int msoap_delivery_append(struct wire_list_writer *w, const struct msoap_delivery *delivery);

struct msoap_track_done {
	struct wire_list deliveries; /* msoap_delivery_next */
	bool has_next;
	uint64_t next;
};

struct msoap_archived {
	uint8_t id[WIRE_ID_SIZE];
	uint64_t size;
	uint64_t submitted;
	uint64_t expires;
	uint8_t digest[WIRE_DIGEST_SIZE];
	bool held;
	bool has_header;
	struct span header;
	bool has_structure;
	struct span structure;
};
bool msoap_archived_next(struct wire_list *rest, struct msoap_archived *out);
int msoap_archived_append(struct wire_list_writer *w, const struct msoap_archived *message);

struct msoap_archive_done {
	struct wire_list messages; /* msoap_archived_next */
	bool has_next;
	uint64_t next;
};

struct msoap_change {
	uint8_t id[WIRE_ID_SIZE];
	struct msoap_delivery delivery;
};
bool msoap_change_next(struct wire_list *rest, struct msoap_change *out);
int msoap_change_append(struct wire_list_writer *w, const struct msoap_change *change);

struct msoap_watch_done {
	struct wire_list changes; /* msoap_change_next */
	uint64_t next;
};

struct msoap_extend_done {
	uint64_t expires;
};

struct msoap_response {
	bool abort;
	enum wire_status status;
	enum msoap_kind kind; /* which data; MSOAP_NONE with every error */
	union {
		/* authenticate, cancel, release and forget carry nothing */
		struct msoap_submit_envelope_done submit_envelope;
		struct msoap_submit_chunk_done submit_chunk;
		struct msoap_track_done track;
		struct msoap_submit_chunk_done submit_reference;
		struct msoap_archive_done archive;
		struct msoap_watch_done watch;
		struct msoap_submit_envelope_done readdress;
		struct msoap_extend_done extend;
	} u;
	bool has_text;
	struct span text;
	bool has_retry_after;
	uint64_t retry_after;
};

int msoap_command_decode(struct span body, uint64_t total, struct msoap_command *out);
int msoap_command_encode(const struct msoap_command *in, uint8_t *buf, size_t cap,
                         struct span *out);
int msoap_response_decode(struct span body, uint64_t total, struct msoap_response *out);
int msoap_response_encode(const struct msoap_response *in, uint8_t *buf, size_t cap,
                          struct span *out);

/*
 * Which command a frame is, from its first octets (32 always suffice), so that
 * the limit of protocol.md section 6 can be chosen. 0, ERR_AGAIN, ERR_MALFORMED.
 */
int msoap_command_peek(struct span body, uint64_t total, enum msoap_kind *out);

#endif
