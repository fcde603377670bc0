#include "wire/msoap.h"

#include "wire/schema.h"

/* ---- commands ---- */

#define S struct msoap_authenticate
static const struct schema_field authenticate_fields[] = {
	TEXT_M(0, S, account),
	TEXT_M(1, S, password),
};
static const struct schema authenticate = SCHEMA_OF(authenticate_fields, S);
#undef S

#define S struct msoap_submit_envelope
static const struct schema_field submit_envelope_fields[] = {
	LIST_O(0, S, recipients, schema_mailbox_element),
	LIST_O(1, S, lists, schema_text_element),
	UINT_M(2, S, lifetime),
	UINT_O(3, S, size),
	FIXED_O(4, S, submission_id),
	SEQUENCE_O(5, S, sender, struct wire_mailbox, schema_mailbox),
	FIXED_O(6, S, digest),
	UINT_O(7, S, release_at),
	BOOL_O(8, S, hold),
};
static const struct schema submit_envelope = SCHEMA_OF(submit_envelope_fields, S);
#undef S

#define S struct msoap_submit_chunk
static const struct schema_field submit_chunk_fields[] = {
	BOOL_M(0, S, is_last),
	UINT_M(1, S, offset),
	STREAM_M(2, S, data),
};
static const struct schema submit_chunk = {
	SCHEMA_FIELDS(submit_chunk_fields), .streams = true, .size = sizeof(S),
};
#undef S

#define S struct msoap_submit_reference
static const struct schema_field submit_reference_fields[] = {
	BOOL_M(0, S, is_last),
	UINT_M(1, S, offset),
	CHOICE_O(2, S, store, struct wire_location, schema_location),
	FIXED_M(3, S, id),
	TEXT_O(4, S, section),
	UINT_O(5, S, from),
	UINT_O(6, S, length),
	ENUM_O(7, S, encoding, WIRE_ENCODING_COUNT),
};
static const struct schema submit_reference = SCHEMA_OF(submit_reference_fields, S);
#undef S

#define S struct msoap_track
static const struct schema_field track_fields[] = {
	FIXED_M(0, S, id),
	UINT_O(1, S, after),
	ONE_UP_O(2, S, limit),
};
static const struct schema track = SCHEMA_OF(track_fields, S);
#undef S

#define S struct msoap_cancel
static const struct schema_field cancel_fields[] = {
	FIXED_M(0, S, id),
	LIST_O(1, S, recipients, schema_mailbox_element),
};
static const struct schema cancel = SCHEMA_OF(cancel_fields, S);
#undef S

#define S struct msoap_archive
static const struct schema_field archive_fields[] = {
	UINT_M(0, S, after),
	ONE_UP_O(1, S, limit),
};
static const struct schema archive = SCHEMA_OF(archive_fields, S);
#undef S

#define S struct msoap_watch
static const struct schema_field watch_fields[] = {
	UINT_M(0, S, after),
	UINT_M(1, S, wait),
};
static const struct schema watch = SCHEMA_OF(watch_fields, S);
#undef S

static const struct schema_field release_fields[] = { FIXED_M(0, struct msoap_release, id) };
static const struct schema release = SCHEMA_OF(release_fields, struct msoap_release);

#define S struct msoap_readdress
static const struct schema_field readdress_fields[] = {
	FIXED_M(0, S, id),
	LIST_M(1, S, recipients, schema_mailbox_element),
};
static const struct schema readdress = SCHEMA_OF(readdress_fields, S);
#undef S

#define S struct msoap_extend
static const struct schema_field extend_fields[] = {
	FIXED_M(0, S, id),
	UINT_M(1, S, lifetime),
};
static const struct schema extend = SCHEMA_OF(extend_fields, S);
#undef S

static const struct schema_field forget_fields[] = { FIXED_M(0, struct msoap_forget, id) };
static const struct schema forget = SCHEMA_OF(forget_fields, struct msoap_forget);

#define S struct msoap_command
static const struct schema_field command_choices[] = {
	DATA(0, MSOAP_AUTHENTICATE, S, authenticate, struct msoap_authenticate, authenticate),
	DATA(1, MSOAP_SUBMIT_ENVELOPE, S, submit_envelope, struct msoap_submit_envelope,
	     submit_envelope),
	DATA(2, MSOAP_SUBMIT_CHUNK, S, submit_chunk, struct msoap_submit_chunk, submit_chunk),
	DATA(3, MSOAP_TRACK, S, track, struct msoap_track, track),
	DATA(4, MSOAP_CANCEL, S, cancel, struct msoap_cancel, cancel),
	DATA(5, MSOAP_SUBMIT_REFERENCE, S, submit_reference, struct msoap_submit_reference,
	     submit_reference),
	DATA(6, MSOAP_ARCHIVE, S, archive, struct msoap_archive, archive),
	DATA(7, MSOAP_WATCH, S, watch, struct msoap_watch, watch),
	DATA(8, MSOAP_RELEASE, S, release, struct msoap_release, release),
	DATA(9, MSOAP_READDRESS, S, readdress, struct msoap_readdress, readdress),
	DATA(10, MSOAP_EXTEND, S, extend, struct msoap_extend, extend),
	DATA(11, MSOAP_FORGET, S, forget, struct msoap_forget, forget),
};
static const struct schema command_data = SCHEMA_DATA(command_choices, S, true);
static const struct schema_field command_fields[] = { COMMAND_ELEMENTS(command_data) };
const struct schema msoap_command_schema = {
	SCHEMA_FIELDS(command_fields), .streams = true, .size = sizeof(S),
};
#undef S

/* ---- responses ---- */

static const struct schema_field submission_status_element = {
	.type = SCHEMA_ENUM, .n = WIRE_SUBMISSION_COUNT,
};
SCHEMA_LIST_ENUM(msoap_submission_status, enum wire_submission_status, submission_status_element)

#define S struct msoap_submit_envelope_done
static const struct schema_field submit_envelope_done_fields[] = {
	FIXED_M(0, S, id),
	LIST_M(1, S, recipients, submission_status_element),
	LIST_M(2, S, lists, submission_status_element),
	UINT_M(3, S, received),
	UINT_M(4, S, expires),
	BOOL_M(5, S, complete),
};
static const struct schema submit_envelope_done = SCHEMA_OF(submit_envelope_done_fields, S);
#undef S

#define S struct msoap_submit_chunk_done
static const struct schema_field submit_chunk_done_fields[] = {
	UINT_M(0, S, received),
	FIXED_O(1, S, digest),
};
static const struct schema submit_chunk_done = SCHEMA_OF(submit_chunk_done_fields, S);
#undef S

#define S struct msoap_delivery
static const struct schema_field delivery_fields[] = {
	ENUM_M(0, S, notification, WIRE_NOTIFICATION_COUNT),
	ENUM_M(1, S, read, WIRE_READ_COUNT),
	BOOL_M(2, S, pinned),
	SEQUENCE_M(3, S, recipient, struct wire_mailbox, schema_mailbox),
	UINT_M(4, S, attempts),
	UINT_M(5, S, changed),
	UINT_O(6, S, next_attempt),
	TEXT_O(7, S, text),
};
static const struct schema delivery = SCHEMA_OF(delivery_fields, S);
#undef S
static const struct schema_field delivery_element = { .type = SCHEMA_SEQUENCE, .sub = &delivery };
SCHEMA_LIST_FUNCTIONS(msoap_delivery, struct msoap_delivery, delivery_element)

#define S struct msoap_track_done
static const struct schema_field track_done_fields[] = {
	LIST_M(0, S, deliveries, delivery_element),
	UINT_O(1, S, next),
};
static const struct schema track_done = SCHEMA_OF(track_done_fields, S);
#undef S

#define S struct msoap_archived
static const struct schema_field archived_fields[] = {
	FIXED_M(0, S, id),
	UINT_M(1, S, size),
	UINT_M(2, S, submitted),
	UINT_M(3, S, expires),
	FIXED_M(4, S, digest),
	BOOL_M(5, S, held),
	OCTETS_O(6, S, header),
	TEXT_O(7, S, structure),
};
static const struct schema archived = SCHEMA_OF(archived_fields, S);
#undef S
static const struct schema_field archived_element = { .type = SCHEMA_SEQUENCE, .sub = &archived };
SCHEMA_LIST_FUNCTIONS(msoap_archived, struct msoap_archived, archived_element)

#define S struct msoap_archive_done
static const struct schema_field archive_done_fields[] = {
	LIST_M(0, S, messages, archived_element),
	UINT_O(1, S, next),
};
static const struct schema archive_done = SCHEMA_OF(archive_done_fields, S);
#undef S

#define S struct msoap_change
static const struct schema_field change_fields[] = {
	FIXED_M(0, S, id),
	SEQUENCE_M(1, S, delivery, struct msoap_delivery, delivery),
};
static const struct schema change = SCHEMA_OF(change_fields, S);
#undef S
static const struct schema_field change_element = { .type = SCHEMA_SEQUENCE, .sub = &change };
SCHEMA_LIST_FUNCTIONS(msoap_change, struct msoap_change, change_element)

#define S struct msoap_watch_done
static const struct schema_field watch_done_fields[] = {
	LIST_M(0, S, changes, change_element),
	UINT_M(1, S, next),
};
static const struct schema watch_done = SCHEMA_OF(watch_done_fields, S);
#undef S

static const struct schema_field extend_done_fields[] = {
	UINT_M(0, struct msoap_extend_done, expires),
};
static const struct schema extend_done = SCHEMA_OF(extend_done_fields, struct msoap_extend_done);

#define S struct msoap_response
static const struct schema_field response_choices[] = {
	EMPTY(0, MSOAP_NONE),
	EMPTY(1, MSOAP_AUTHENTICATE),
	DATA(2, MSOAP_SUBMIT_ENVELOPE, S, submit_envelope, struct msoap_submit_envelope_done,
	     submit_envelope_done),
	DATA(3, MSOAP_SUBMIT_CHUNK, S, submit_chunk, struct msoap_submit_chunk_done,
	     submit_chunk_done),
	DATA(4, MSOAP_TRACK, S, track, struct msoap_track_done, track_done),
	EMPTY(5, MSOAP_CANCEL),
	DATA(6, MSOAP_SUBMIT_REFERENCE, S, submit_reference, struct msoap_submit_chunk_done,
	     submit_chunk_done),
	DATA(7, MSOAP_ARCHIVE, S, archive, struct msoap_archive_done, archive_done),
	DATA(8, MSOAP_WATCH, S, watch, struct msoap_watch_done, watch_done),
	EMPTY(9, MSOAP_RELEASE),
	DATA(10, MSOAP_READDRESS, S, readdress, struct msoap_submit_envelope_done,
	     submit_envelope_done),
	DATA(11, MSOAP_EXTEND, S, extend, struct msoap_extend_done, extend_done),
	EMPTY(12, MSOAP_FORGET),
};
static const struct schema response_data = SCHEMA_DATA(response_choices, S, false);
static const struct schema_field response_fields[] = { RESPONSE_ELEMENTS(S, response_data) };
const struct schema msoap_response_schema = SCHEMA_OF(response_fields, S);
#undef S

SCHEMA_PDU_FUNCTIONS(msoap)

const char *msoap_kind_name(enum msoap_kind kind)
{
	static const char *const names[MSOAP_KIND_COUNT] = {
		[MSOAP_UNKNOWN] = "unknown", [MSOAP_NONE] = "none",
		[MSOAP_AUTHENTICATE] = "authenticate",
		[MSOAP_SUBMIT_ENVELOPE] = "submitEnvelope",
		[MSOAP_SUBMIT_CHUNK] = "submitChunk", [MSOAP_TRACK] = "track",
		[MSOAP_CANCEL] = "cancel", [MSOAP_SUBMIT_REFERENCE] = "submitReference",
		[MSOAP_ARCHIVE] = "archive", [MSOAP_WATCH] = "watch",
		[MSOAP_RELEASE] = "release", [MSOAP_READDRESS] = "readdress",
		[MSOAP_EXTEND] = "extend", [MSOAP_FORGET] = "forget",
	};

	return names[kind < MSOAP_KIND_COUNT ? kind : MSOAP_UNKNOWN];
}
