#include "wire/rnasp.h"

#include "wire/schema.h"

/* ---- commands ---- */

#define S struct rnasp_addressee
static const struct schema_field addressee_fields[] = {
	SEQUENCE_M(0, S, recipient, struct wire_mailbox, schema_mailbox),
	FIXED_M(1, S, id),
};
static const struct schema addressee = SCHEMA_OF(addressee_fields, S);
#undef S
static const struct schema_field addressee_element = { .type = SCHEMA_SEQUENCE, .sub = &addressee };
SCHEMA_LIST_FUNCTIONS(rnasp_addressee, struct rnasp_addressee, addressee_element)

static const struct schema_field notify_fields[] = {
	LIST_M(0, struct rnasp_notify, notifications, schema_notification_element),
};
static const struct schema notify = SCHEMA_OF(notify_fields, struct rnasp_notify);

static const struct schema_field withdraw_fields[] = {
	LIST_M(0, struct rnasp_withdraw, notifications, addressee_element),
};
static const struct schema withdraw = SCHEMA_OF(withdraw_fields, struct rnasp_withdraw);

#define S struct rnasp_notify_many
static const struct schema_field notify_many_fields[] = {
	SEQUENCE_M(0, S, common, struct wire_notification, schema_notification),
	LIST_M(1, S, addressees, addressee_element),
};
static const struct schema notify_many = SCHEMA_OF(notify_many_fields, S);
#undef S

#define S struct rnasp_command
static const struct schema_field command_choices[] = {
	DATA(0, RNASP_NOTIFY, S, notify, struct rnasp_notify, notify),
	DATA(1, RNASP_WITHDRAW, S, withdraw, struct rnasp_withdraw, withdraw),
	DATA(2, RNASP_NOTIFY_MANY, S, notify_many, struct rnasp_notify_many, notify_many),
};
static const struct schema command_data = SCHEMA_DATA(command_choices, S, false);
static const struct schema_field command_fields[] = { COMMAND_ELEMENTS(command_data) };
const struct schema rnasp_command_schema = SCHEMA_OF(command_fields, S);
#undef S

/* ---- responses ---- */

static const struct schema_field result_element = { .type = SCHEMA_ENUM, .n = WIRE_NOTIFY_COUNT };
SCHEMA_LIST_ENUM(rnasp_result, enum wire_notify_result, result_element)

static const struct schema_field notify_done_fields[] = {
	LIST_M(0, struct rnasp_notify_done, results, result_element),
};
static const struct schema notify_done = SCHEMA_OF(notify_done_fields, struct rnasp_notify_done);

#define S struct rnasp_response
static const struct schema_field response_choices[] = {
	EMPTY(0, RNASP_NONE),
	DATA(1, RNASP_NOTIFY, S, notify, struct rnasp_notify_done, notify_done),
	EMPTY(2, RNASP_WITHDRAW),
	DATA(3, RNASP_NOTIFY_MANY, S, notify_many, struct rnasp_notify_done, notify_done),
};
static const struct schema response_data = SCHEMA_DATA(response_choices, S, false);
static const struct schema_field response_fields[] = { RESPONSE_ELEMENTS(S, response_data) };
const struct schema rnasp_response_schema = SCHEMA_OF(response_fields, S);
#undef S

SCHEMA_PDU_FUNCTIONS(rnasp)

const char *rnasp_kind_name(enum rnasp_kind kind)
{
	static const char *const names[RNASP_KIND_COUNT] = {
		[RNASP_UNKNOWN] = "unknown", [RNASP_NONE] = "none", [RNASP_NOTIFY] = "notify",
		[RNASP_WITHDRAW] = "withdraw", [RNASP_NOTIFY_MANY] = "notifyMany",
	};

	return names[kind < RNASP_KIND_COUNT ? kind : RNASP_UNKNOWN];
}
