/*
 * What the PDUs of the four protocols share: IM2000-Common, lists, and how a
 * PDU is told, encoded and refused (protocol.md sections 4 and 5).
 *
 * In all PDUs: text and octets are borrowed views of the buffer that was
 * decoded (or of what the caller wants encoded) and live as long as that.
 * Times are microseconds since 1970-01-01T00:00:00Z, sizes and offsets octets,
 * lifetimes and waits seconds. An OPTIONAL element x stands beside `bool has_x`;
 * where that is false, x is zero after decoding and ignored by encoding.
 * INTEGERs above 2^64-1 are malformed.
 *
 * Every X_decode(body, total, out) takes the first octets of a frame's body
 * (without the 4-octet prefix) and the body's whole length. It returns
 *   0              *OUT is filled
 *   ERR_MALFORMED  what is there breaks DER or the module: answer malformedPdu
 *   ERR_AGAIN      well formed so far, more octets of the body are needed
 * and *OUT is all zero unless 0 is returned. X_peek tells sooner which command it is.
 * A body must be there whole, except that a streamed OCTET STRING (struct
 * wire_octets) may be there in part. It is always the last thing in its frame.
 *
 * Every X_encode(in, buf, cap, out) writes a whole frame, the 4-octet length
 * included, at the END of BUF[CAP] and sets *OUT to it. Where a streamed string
 * has fewer octets `here` than its `size`, the frame's last size - here.n
 * octets are missing from *OUT, and the caller sends them right after it.
 * It returns
 *   0                *OUT is filled
 *   ERR_TOO_BIG      BUF is too small, or the frame would exceed 2^32-1 octets
 *   ERR_MALFORMED    a value that the module does not allow (text that is no
 *                    UTF-8, number out of range, something after a stream)
 *   ERR_UNSUPPORTED  kind is unknown, or none in a command
 */
#ifndef IM2000_WIRE_COMMON_H
#define IM2000_WIRE_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/name.h"
#include "base/span.h"
#include "wire/der.h"
#include "wire/enums.h"

#define WIRE_ID_SIZE 16     /* MessageId, submissionId */
#define WIRE_DIGEST_SIZE 32

/* A streaming frame's octets before the string, without proof hashes, fit in this. */
#define WIRE_HEAD_MAX 80

/*
 * A SEQUENCE OF: the DER of its elements, one after the other. All elements
 * were checked when it was decoded, so walking cannot fail. Walk a copy:
 *     struct wire_list rest = envelope->recipients;
 *     while (wire_mailbox_next(&rest, &mailbox)) ...
 */
struct wire_list {
	struct span der;
	size_t count;
};

/* Builds a list in the caller's buffer, which must live as long as the list. */
struct wire_list_writer {
	uint8_t *p;
	size_t cap;
	size_t n;     /* octets used */
	size_t count; /* elements */
};

void wire_list_writer_init(struct wire_list_writer *w, uint8_t *buf, size_t cap);

/* What was appended so far, as a list. */
static inline struct wire_list wire_list_view(const struct wire_list_writer *w)
{
	return (struct wire_list){ .der = span_of(w->p, w->n), .count = w->count };
}

/*
 * X_next takes the first element off REST; false when there is none.
 * X_append adds one element. 0; ERR_TOO_BIG (no room) or ERR_MALFORMED (a value
 * that the module does not allow), both with nothing changed.
 */
bool wire_text_next(struct wire_list *rest, struct span *out);
int wire_text_append(struct wire_list_writer *w, struct span text);
bool wire_cursor_next(struct wire_list *rest, uint64_t *out);
int wire_cursor_append(struct wire_list_writer *w, uint64_t cursor);
bool wire_digest_next(struct wire_list *rest, uint8_t out[WIRE_DIGEST_SIZE]);
int wire_digest_append(struct wire_list_writer *w, const uint8_t digest[WIRE_DIGEST_SIZE]);

/* Mailbox. Any UTF-8; wire_mailbox_to_name says whether it is a mailbox. */
struct wire_mailbox {
	struct span local;       /* local part in plain form */
	struct wire_list domain; /* labels (wire_text_next), leftmost first */
};
bool wire_mailbox_next(struct wire_list *rest, struct wire_mailbox *out);
int wire_mailbox_append(struct wire_list_writer *w, const struct wire_mailbox *mailbox);

#define WIRE_LABELS_MAX 384 /* the DER of any domain's labels fits in this */

/*
 * The canonical name. 0; ERR_MALFORMED for what is no mailbox (or holds labels
 * that are empty, no A-labels, or with a dot); ERR_TOO_BIG over 254 octets.
 */
int wire_mailbox_to_name(const struct wire_mailbox *m, struct mailbox *out);

/* OUT borrows from M and SCRATCH. Cannot fail for a struct mailbox of base/name.h. */
void wire_mailbox_from_name(const struct mailbox *m, uint8_t scratch[WIRE_LABELS_MAX],
                            struct wire_mailbox *out);

/* Labels to the canonical dotted form. 0, ERR_MALFORMED, ERR_TOO_BIG as above. */
int wire_domain_to_name(const struct wire_list *labels, char out[NAME_DOMAIN_MAX + 1]);

/* DOMAIN is in canonical form; OUT borrows from SCRATCH. ERR_MALFORMED for what is no domain. */
int wire_domain_from_name(const char *domain, uint8_t scratch[WIRE_LABELS_MAX],
                          struct wire_list *out);

/* IPAddress. */
enum wire_address_kind { WIRE_ADDRESS_V4 = 0, WIRE_ADDRESS_V6 = 1 };
struct wire_address {
	enum wire_address_kind kind;
	union {
		uint8_t v4[4]; /* network order */
		uint8_t v6[16];
	} u;
};

struct wire_endpoint {
	struct wire_address address;
	uint16_t port;
};
bool wire_endpoint_next(struct wire_list *rest, struct wire_endpoint *out);
int wire_endpoint_append(struct wire_list_writer *w, const struct wire_endpoint *endpoint);

/* ServiceLocation. All zero is "no literals", which is what storeClear always says. */
enum wire_location_kind { WIRE_LOCATION_LITERALS = 0, WIRE_LOCATION_DOMAIN = 1 };
struct wire_location {
	enum wire_location_kind kind;
	union {
		struct wire_list literals; /* wire_endpoint_next */
		struct wire_list domain;   /* labels, wire_text_next */
	} u;
};

/* The location by DOMAIN (canonical form). OUT borrows from SCRATCH. 0 or ERR_MALFORMED. */
int wire_location_from_name(const char *domain, uint8_t scratch[WIRE_LABELS_MAX],
                            struct wire_location *out);

/* The domain of a location. 0; ERR_NOT_FOUND when it is literals; ERR_MALFORMED, ERR_TOO_BIG. */
int wire_location_to_name(const struct wire_location *l, char out[NAME_DOMAIN_MAX + 1]);

struct wire_notification {
	struct wire_location store_clear; /* leave zero */
	bool has_store_tls;
	struct wire_location store_tls;
	struct wire_mailbox recipient;
	uint8_t id[WIRE_ID_SIZE];
	struct span sender; /* addr-spec */
	bool has_size;
	uint64_t size;
	bool has_digest;
	uint8_t digest[WIRE_DIGEST_SIZE];
	bool has_expires;
	uint64_t expires;
	bool has_submitted;
	uint64_t submitted;
	bool has_header;
	struct span header;
	bool has_structure;
	struct span structure;
	bool has_list;
	struct span list;
};
bool wire_notification_next(struct wire_list *rest, struct wire_notification *out);
int wire_notification_append(struct wire_list_writer *w, const struct wire_notification *n);

/*
 * One Notification by itself (a SEQUENCE, no frame), as a program keeps it.
 * Decode wants exactly one: 0 or ERR_MALFORMED. Encode as above, at the end of BUF.
 */
int wire_notification_decode(struct span der, struct wire_notification *out);
int wire_notification_encode(const struct wire_notification *n, uint8_t *buf, size_t cap,
                             struct span *out);

/* The store's domain that a notification names in storeTls. As wire_location_to_name. */
int wire_notification_store(const struct wire_notification *n, char out[NAME_DOMAIN_MAX + 1]);

/* What a body is, from its first octet on. 0, ERR_AGAIN (empty so far), ERR_MALFORMED. */
enum wire_pdu { WIRE_PDU_COMMAND = 1, WIRE_PDU_RESPONSE = 2 };
int wire_pdu_kind(struct span body, uint64_t total, enum wire_pdu *out);

/*
 * The status of a response of any of the protocols, from its first octets (16 suffice). 0,
 * ERR_AGAIN, ERR_MALFORMED. Whether the rest is well formed is not looked at.
 */
int wire_response_status(struct span body, uint64_t total, enum wire_status *out);

/*
 * A response with data `none`, which is alike in all four protocols: for errors,
 * and for every answer that carries nothing. TEXT may be empty (then absent).
 * As X_encode; BUF of 64 octets and the text is enough.
 */
int wire_error_response(enum wire_status status, bool abort, struct span text, bool has_retry_after,
                        uint64_t retry_after, uint8_t *buf, size_t cap, struct span *out);

#endif
