#include "wire/msrap.h"

#include "wire/schema.h"

/* ---- commands ---- */

#define S struct msrap_scan_list
static const struct schema_field scan_list_fields[] = {
	TEXT_M(0, S, list),
	UINT_M(1, S, begin),
	ONE_UP_O(2, S, limit),
	OCTETS_O(3, S, key),
};
static const struct schema scan_list = SCHEMA_OF(scan_list_fields, S);
#undef S

static const struct schema_field silence_fields[] = { FIXED_M(0, struct msrap_silence, id) };
static const struct schema silence = SCHEMA_OF(silence_fields, struct msrap_silence);

static const struct schema_field unpin_fields[] = { FIXED_M(0, struct msrap_unpin, id) };
static const struct schema unpin = SCHEMA_OF(unpin_fields, struct msrap_unpin);

static const struct schema_field query_size_fields[] = {
	FIXED_M(0, struct msrap_query_size, id),
};
static const struct schema query_size = SCHEMA_OF(query_size_fields, struct msrap_query_size);

#define S struct msrap_retrieve
static const struct schema_field retrieve_fields[] = {
	FIXED_M(0, S, id),
	ENUM_M(1, S, type, WIRE_RETRIEVAL_COUNT),
	UINT_M(2, S, offset),
	UINT_M(3, S, length),
	TEXT_O(4, S, section),
	BOOL_O(5, S, proof),
};
static const struct schema retrieve = SCHEMA_OF(retrieve_fields, S);
#undef S

#define S struct msrap_refuse
static const struct schema_field refuse_fields[] = {
	FIXED_M(0, S, id),
	TEXT_O(1, S, reason),
};
static const struct schema refuse = SCHEMA_OF(refuse_fields, S);
#undef S

#define S struct msrap_grant
static const struct schema_field grant_fields[] = {
	FIXED_M(0, S, id),
	UINT_O(1, S, expires),
	ONE_UP_O(2, S, uses),
};
static const struct schema grant = SCHEMA_OF(grant_fields, S);
#undef S

#define S struct msrap_subscribe
static const struct schema_field subscribe_fields[] = {
	TEXT_M(0, S, list),
	SEQUENCE_M(1, S, mailbox, struct wire_mailbox, schema_mailbox),
	OCTETS_O(2, S, key),
};
static const struct schema subscribe = SCHEMA_OF(subscribe_fields, S);
#undef S

#define S struct msrap_unsubscribe
static const struct schema_field unsubscribe_fields[] = {
	TEXT_M(0, S, list),
	OCTETS_M(1, S, key),
};
static const struct schema unsubscribe = SCHEMA_OF(unsubscribe_fields, S);
#undef S

static const struct schema_field list_info_fields[] = { TEXT_M(0, struct msrap_list_info, list) };
static const struct schema list_info = SCHEMA_OF(list_info_fields, struct msrap_list_info);

#define S struct msrap_command
static const struct schema_field command_choices[] = {
	DATA(0, MSRAP_SCAN_LIST, S, scan_list, struct msrap_scan_list, scan_list),
	DATA(1, MSRAP_SILENCE, S, silence, struct msrap_silence, silence),
	DATA(2, MSRAP_UNPIN, S, unpin, struct msrap_unpin, unpin),
	DATA(3, MSRAP_QUERY_SIZE, S, query_size, struct msrap_query_size, query_size),
	DATA(4, MSRAP_RETRIEVE, S, retrieve, struct msrap_retrieve, retrieve),
	DATA(5, MSRAP_REFUSE, S, refuse, struct msrap_refuse, refuse),
	DATA(6, MSRAP_GRANT, S, grant, struct msrap_grant, grant),
	DATA(7, MSRAP_SUBSCRIBE, S, subscribe, struct msrap_subscribe, subscribe),
	DATA(8, MSRAP_UNSUBSCRIBE, S, unsubscribe, struct msrap_unsubscribe, unsubscribe),
	DATA(9, MSRAP_LIST_INFO, S, list_info, struct msrap_list_info, list_info),
};
static const struct schema command_data = SCHEMA_DATA(command_choices, S, false);
static const struct schema_field command_fields[] = { COMMAND_ELEMENTS(command_data) };
const struct schema msrap_command_schema = SCHEMA_OF(command_fields, S);
#undef S

/* ---- responses ---- */

#define S struct msrap_list_post
static const struct schema_field list_post_fields[] = {
	FIXED_M(0, S, id),
	UINT_M(1, S, posted),
	TEXT_M(2, S, sender),
	UINT_M(3, S, size),
	TEXT_O(4, S, subject),
	FIXED_O(5, S, digest),
};
static const struct schema list_post = SCHEMA_OF(list_post_fields, S);
#undef S
static const struct schema_field list_post_element = { .type = SCHEMA_SEQUENCE, .sub = &list_post };
SCHEMA_LIST_FUNCTIONS(msrap_list_post, struct msrap_list_post, list_post_element)

#define S struct msrap_scan_list_done
static const struct schema_field scan_list_done_fields[] = {
	LIST_M(0, S, posts, list_post_element),
	UINT_M(1, S, end),
};
static const struct schema scan_list_done = SCHEMA_OF(scan_list_done_fields, S);
#undef S

#define S struct msrap_retrieve_done
static const struct schema_field retrieve_done_fields[] = {
	UINT_M(0, S, size),
	UINT_M(1, S, offset),
	LIST_O(2, S, proof, schema_digest_element),
	STREAM_M(3, S, data),
};
static const struct schema retrieve_done = {
	SCHEMA_FIELDS(retrieve_done_fields), .streams = true, .size = sizeof(S),
};
#undef S

#define S struct msrap_query_size_done
static const struct schema_field query_size_done_fields[] = {
	UINT_M(0, S, size),
	UINT_M(1, S, headers),
};
static const struct schema query_size_done = SCHEMA_OF(query_size_done_fields, S);
#undef S

#define S struct msrap_grant_done
static const struct schema_field grant_done_fields[] = {
	FIXED_M(0, S, id),
	UINT_M(1, S, expires),
};
static const struct schema grant_done = SCHEMA_OF(grant_done_fields, S);
#undef S

static const struct schema_field subscribe_done_fields[] = {
	OCTETS_M(0, struct msrap_subscribe_done, key),
};
static const struct schema subscribe_done =
	SCHEMA_OF(subscribe_done_fields, struct msrap_subscribe_done);

#define S struct msrap_list_info_done
static const struct schema_field list_info_done_fields[] = {
	TEXT_O(0, S, title),
	BOOL_M(1, S, open),
	ENUM_M(2, S, posting, WIRE_POSTING_COUNT),
	UINT_M(3, S, posts),
	UINT_O(4, S, subscribers),
};
static const struct schema list_info_done = SCHEMA_OF(list_info_done_fields, S);
#undef S

#define S struct msrap_response
static const struct schema_field response_choices[] = {
	EMPTY(0, MSRAP_NONE),
	DATA(1, MSRAP_SCAN_LIST, S, scan_list, struct msrap_scan_list_done, scan_list_done),
	EMPTY(2, MSRAP_SILENCE),
	EMPTY(3, MSRAP_UNPIN),
	DATA(4, MSRAP_RETRIEVE, S, retrieve, struct msrap_retrieve_done, retrieve_done),
	DATA(5, MSRAP_QUERY_SIZE, S, query_size, struct msrap_query_size_done, query_size_done),
	EMPTY(6, MSRAP_REFUSE),
	DATA(7, MSRAP_GRANT, S, grant, struct msrap_grant_done, grant_done),
	DATA(8, MSRAP_SUBSCRIBE, S, subscribe, struct msrap_subscribe_done, subscribe_done),
	EMPTY(9, MSRAP_UNSUBSCRIBE),
	DATA(10, MSRAP_LIST_INFO, S, list_info, struct msrap_list_info_done, list_info_done),
};
static const struct schema response_data = SCHEMA_DATA(response_choices, S, true);
static const struct schema_field response_fields[] = { RESPONSE_ELEMENTS(S, response_data) };
const struct schema msrap_response_schema = {
	SCHEMA_FIELDS(response_fields), .streams = true, .size = sizeof(S),
};
#undef S

SCHEMA_PDU_FUNCTIONS(msrap)

const char *msrap_kind_name(enum msrap_kind kind)
{
	static const char *const names[MSRAP_KIND_COUNT] = {
		[MSRAP_UNKNOWN] = "unknown", [MSRAP_NONE] = "none",
		[MSRAP_SCAN_LIST] = "scanList", [MSRAP_SILENCE] = "silence",
		[MSRAP_UNPIN] = "unPin", [MSRAP_QUERY_SIZE] = "querySize",
		[MSRAP_RETRIEVE] = "retrieve", [MSRAP_REFUSE] = "refuse",
		[MSRAP_GRANT] = "grant", [MSRAP_SUBSCRIBE] = "subscribe",
		[MSRAP_UNSUBSCRIBE] = "unsubscribe", [MSRAP_LIST_INFO] = "listInfo",
	};

	return names[kind < MSRAP_KIND_COUNT ? kind : MSRAP_UNKNOWN];
}
