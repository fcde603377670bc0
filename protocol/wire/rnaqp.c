#include "wire/rnaqp.h"

#include "wire/schema.h"

/* ---- commands ---- */

#define S struct rnaqp_authenticate
static const struct schema_field authenticate_fields[] = {
	TEXT_M(0, S, account),
	TEXT_M(1, S, password),
};
static const struct schema authenticate = SCHEMA_OF(authenticate_fields, S);
#undef S

#define S struct rnaqp_retrieve
static const struct schema_field retrieve_fields[] = {
	UINT_M(0, S, after),
	ONE_UP_O(1, S, limit),
	UINT_O(2, S, wait),
};
static const struct schema retrieve = SCHEMA_OF(retrieve_fields, S);
#undef S

static const struct schema_field acknowledge_fields[] = {
	LIST_M(0, struct rnaqp_acknowledge, cursors, schema_cursor_element),
};
static const struct schema acknowledge = SCHEMA_OF(acknowledge_fields, struct rnaqp_acknowledge);

#define S struct rnaqp_policy
static const struct schema_field policy_fields[] = {
	ENUM_M(0, S, action, WIRE_POLICY_COUNT),
	TEXT_M(1, S, table),
	TEXT_O(2, S, value),
};
static const struct schema policy = SCHEMA_OF(policy_fields, S);
#undef S

#define S struct rnaqp_fetch
static const struct schema_field fetch_fields[] = {
	UINT_M(0, S, cursor),
	ENUM_M(1, S, type, WIRE_RETRIEVAL_COUNT),
	UINT_M(2, S, offset),
	UINT_M(3, S, length),
	TEXT_O(4, S, section),
};
static const struct schema fetch = SCHEMA_OF(fetch_fields, S);
#undef S

#define S struct rnaqp_command
static const struct schema_field command_choices[] = {
	DATA(0, RNAQP_AUTHENTICATE, S, authenticate, struct rnaqp_authenticate, authenticate),
	EMPTY(1, RNAQP_RETRIEVE_AND_CLEAR),
	DATA(2, RNAQP_RETRIEVE, S, retrieve, struct rnaqp_retrieve, retrieve),
	DATA(3, RNAQP_ACKNOWLEDGE, S, acknowledge, struct rnaqp_acknowledge, acknowledge),
	DATA(4, RNAQP_POLICY, S, policy, struct rnaqp_policy, policy),
	DATA(5, RNAQP_FETCH, S, fetch, struct rnaqp_fetch, fetch),
};
static const struct schema command_data = SCHEMA_DATA(command_choices, S, false);
static const struct schema_field command_fields[] = { COMMAND_ELEMENTS(command_data) };
const struct schema rnaqp_command_schema = SCHEMA_OF(command_fields, S);
#undef S

/* ---- responses ---- */

#define S struct rnaqp_received
static const struct schema_field received_fields[] = {
	SEQUENCE_M(0, S, notification, struct wire_notification, schema_notification),
	SEQUENCE_M(1, S, submitter, struct wire_endpoint, schema_endpoint),
	UINT_M(2, S, received),
	UINT_M(3, S, cursor),
	LIST_O(4, S, verified, schema_text_element),
	BOOL_O(5, S, withdrawn),
};
static const struct schema received = SCHEMA_OF(received_fields, S);
#undef S
static const struct schema_field received_element = { .type = SCHEMA_SEQUENCE, .sub = &received };
SCHEMA_LIST_FUNCTIONS(rnaqp_received, struct rnaqp_received, received_element)

#define S struct rnaqp_retrieve_done
static const struct schema_field retrieve_done_fields[] = {
	LIST_M(0, S, notifications, received_element),
	UINT_M(1, S, next),
};
static const struct schema retrieve_done = SCHEMA_OF(retrieve_done_fields, S);
#undef S

static const struct schema_field policy_done_fields[] = {
	LIST_M(0, struct rnaqp_policy_done, values, schema_text_element),
};
static const struct schema policy_done = SCHEMA_OF(policy_done_fields, struct rnaqp_policy_done);

#define S struct rnaqp_fetch_done
static const struct schema_field fetch_done_fields[] = {
	UINT_M(0, S, size),
	UINT_M(1, S, offset),
	STREAM_M(2, S, data),
};
static const struct schema fetch_done = {
	SCHEMA_FIELDS(fetch_done_fields), .streams = true, .size = sizeof(S),
};
#undef S

#define S struct rnaqp_response
static const struct schema_field response_choices[] = {
	EMPTY(0, RNAQP_NONE),
	EMPTY(1, RNAQP_AUTHENTICATE),
	DATA(2, RNAQP_RETRIEVE_AND_CLEAR, S, retrieve_and_clear, struct rnaqp_retrieve_done,
	     retrieve_done),
	DATA(3, RNAQP_RETRIEVE, S, retrieve, struct rnaqp_retrieve_done, retrieve_done),
	EMPTY(4, RNAQP_ACKNOWLEDGE),
	DATA(5, RNAQP_POLICY, S, policy, struct rnaqp_policy_done, policy_done),
	DATA(6, RNAQP_FETCH, S, fetch, struct rnaqp_fetch_done, fetch_done),
};
static const struct schema response_data = SCHEMA_DATA(response_choices, S, true);
static const struct schema_field response_fields[] = { RESPONSE_ELEMENTS(S, response_data) };
const struct schema rnaqp_response_schema = {
	SCHEMA_FIELDS(response_fields), .streams = true, .size = sizeof(S),
};
#undef S

SCHEMA_PDU_FUNCTIONS(rnaqp)

const char *rnaqp_kind_name(enum rnaqp_kind kind)
{
	static const char *const names[RNAQP_KIND_COUNT] = {
		[RNAQP_UNKNOWN] = "unknown", [RNAQP_NONE] = "none",
		[RNAQP_AUTHENTICATE] = "authenticate",
		[RNAQP_RETRIEVE_AND_CLEAR] = "retrieveAndClear", [RNAQP_RETRIEVE] = "retrieve",
		[RNAQP_ACKNOWLEDGE] = "acknowledge", [RNAQP_POLICY] = "policy",
		[RNAQP_FETCH] = "fetch",
	};

	return names[kind < RNAQP_KIND_COUNT ? kind : RNAQP_UNKNOWN];
}
