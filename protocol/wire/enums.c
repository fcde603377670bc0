#include "wire/enums.h"

#include <stddef.h>

#define COUNT_OF(TABLE) (sizeof(TABLE) / sizeof((TABLE)[0]))

static const char *name_of(const char *const *names, size_t count, unsigned value)
{
	return value < count ? names[value] : "unknown";
}

const char *wire_status_name(enum wire_status v)
{
	static const char *const names[] = {
		"ok", "malformedPdu", "commandTimeout", "unexpectedCommand", "serviceShutdown",
		"internalProblem", "notAuthenticated", "notPermitted", "notEnoughRoom",
		"wouldExceedQuota", "lifetimeTooShort", "noSuchMessage", "noSuchList",
		"noSuchMailbox", "tooBig", "tryLater", "digestMismatch", "unsupported",
		"withdrawn",
	};
	_Static_assert(COUNT_OF(names) == WIRE_STATUS_COUNT, "a name for each");

	return name_of(names, COUNT_OF(names), v);
}

const char *wire_submission_status_name(enum wire_submission_status v)
{
	static const char *const names[] = {
		"acceptable", "submissionAccessDenied", "badAddress", "tooMany",
	};
	_Static_assert(COUNT_OF(names) == WIRE_SUBMISSION_COUNT, "a name for each");

	return name_of(names, COUNT_OF(names), v);
}

const char *wire_notification_status_name(enum wire_notification_status v)
{
	static const char *const names[] = {
		"unprocessed", "badDomain", "noService", "noServer", "protocolError", "noUser",
		"notifying", "silenced", "refused", "full", "withdrawn", "expired", "held",
	};
	_Static_assert(COUNT_OF(names) == WIRE_NOTIFICATION_COUNT, "a name for each");

	return name_of(names, COUNT_OF(names), v);
}

const char *wire_read_status_name(enum wire_read_status v)
{
	static const char *const names[] = { "unread", "summarised", "readHeaders", "readAll" };
	_Static_assert(COUNT_OF(names) == WIRE_READ_COUNT, "a name for each");

	return name_of(names, COUNT_OF(names), v);
}

const char *wire_encoding_name(enum wire_encoding v)
{
	static const char *const names[] = { "asStored", "base64" };
	_Static_assert(COUNT_OF(names) == WIRE_ENCODING_COUNT, "a name for each");

	return name_of(names, COUNT_OF(names), v);
}

const char *wire_retrieval_name(enum wire_retrieval v)
{
	static const char *const names[] = {
		"nothing", "summary", "headers", "all", "part", "structure",
	};
	_Static_assert(COUNT_OF(names) == WIRE_RETRIEVAL_COUNT, "a name for each");

	return name_of(names, COUNT_OF(names), v);
}

const char *wire_posting_name(enum wire_posting v)
{
	static const char *const names[] = { "anyone", "subscribers", "moderated", "owners" };
	_Static_assert(COUNT_OF(names) == WIRE_POSTING_COUNT, "a name for each");

	return name_of(names, COUNT_OF(names), v);
}

const char *wire_notify_result_name(enum wire_notify_result v)
{
	static const char *const names[] = {
		"accepted", "noUser", "refused", "full", "tryLater", "unverified",
	};
	_Static_assert(COUNT_OF(names) == WIRE_NOTIFY_COUNT, "a name for each");

	return name_of(names, COUNT_OF(names), v);
}

const char *wire_policy_action_name(enum wire_policy_action v)
{
	static const char *const names[] = { "show", "add", "remove" };
	_Static_assert(COUNT_OF(names) == WIRE_POLICY_COUNT, "a name for each");

	return name_of(names, COUNT_OF(names), v);
}
