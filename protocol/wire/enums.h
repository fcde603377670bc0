/*
 * The enumerations of the four modules and their names there. A response may
 * carry a number that this version does not know: it is kept, and its name is
 * "unknown". In a command such a number is malformed.
 */
#ifndef IM2000_WIRE_ENUMS_H
#define IM2000_WIRE_ENUMS_H

/* Status, IM2000-Common. */
enum wire_status {
	WIRE_STATUS_OK = 0,
	WIRE_STATUS_MALFORMED_PDU = 1,
	WIRE_STATUS_COMMAND_TIMEOUT = 2,
	WIRE_STATUS_UNEXPECTED_COMMAND = 3,
	WIRE_STATUS_SERVICE_SHUTDOWN = 4,
	WIRE_STATUS_INTERNAL_PROBLEM = 5,
	WIRE_STATUS_NOT_AUTHENTICATED = 6,
	WIRE_STATUS_NOT_PERMITTED = 7,
	WIRE_STATUS_NOT_ENOUGH_ROOM = 8,
	WIRE_STATUS_WOULD_EXCEED_QUOTA = 9,
	WIRE_STATUS_LIFETIME_TOO_SHORT = 10,
	WIRE_STATUS_NO_SUCH_MESSAGE = 11,
	WIRE_STATUS_NO_SUCH_LIST = 12,
	WIRE_STATUS_NO_SUCH_MAILBOX = 13,
	WIRE_STATUS_TOO_BIG = 14,
	WIRE_STATUS_TRY_LATER = 15,
	WIRE_STATUS_DIGEST_MISMATCH = 16,
	WIRE_STATUS_UNSUPPORTED = 17,
	WIRE_STATUS_WITHDRAWN = 18,
	WIRE_STATUS_COUNT
};

/* SubmissionStatus, IM2000-MSOAP: one for each recipient and list of an envelope. */
enum wire_submission_status {
	WIRE_SUBMISSION_ACCEPTABLE = 0,
	WIRE_SUBMISSION_ACCESS_DENIED = 1,
	WIRE_SUBMISSION_BAD_ADDRESS = 2,
	WIRE_SUBMISSION_TOO_MANY = 3,
	WIRE_SUBMISSION_COUNT
};

/* NotificationStatus, IM2000-MSOAP: how far a delivery's notification came. */
enum wire_notification_status {
	WIRE_NOTIFICATION_UNPROCESSED = 0,
	WIRE_NOTIFICATION_BAD_DOMAIN = 1,
	WIRE_NOTIFICATION_NO_SERVICE = 2,
	WIRE_NOTIFICATION_NO_SERVER = 3,
	WIRE_NOTIFICATION_PROTOCOL_ERROR = 4,
	WIRE_NOTIFICATION_NO_USER = 5,
	WIRE_NOTIFICATION_NOTIFYING = 6,
	WIRE_NOTIFICATION_SILENCED = 7,
	WIRE_NOTIFICATION_REFUSED = 8,
	WIRE_NOTIFICATION_FULL = 9,
	WIRE_NOTIFICATION_WITHDRAWN = 10,
	WIRE_NOTIFICATION_EXPIRED = 11,
	WIRE_NOTIFICATION_HELD = 12,
	WIRE_NOTIFICATION_COUNT
};

/* ReadStatus, IM2000-MSOAP. Only rises. */
enum wire_read_status {
	WIRE_READ_UNREAD = 0,
	WIRE_READ_SUMMARISED = 1,
	WIRE_READ_HEADERS = 2,
	WIRE_READ_ALL = 3,
	WIRE_READ_COUNT
};

/* encoding of SubmitReference, IM2000-MSOAP. */
enum wire_encoding {
	WIRE_ENCODING_AS_STORED = 0,
	WIRE_ENCODING_BASE64 = 1,
	WIRE_ENCODING_COUNT
};

/* RetrievalType, IM2000-MSRAP; type of Fetch, IM2000-RNAQP. */
enum wire_retrieval {
	WIRE_RETRIEVAL_NOTHING = 0,
	WIRE_RETRIEVAL_SUMMARY = 1,
	WIRE_RETRIEVAL_HEADERS = 2,
	WIRE_RETRIEVAL_ALL = 3,
	WIRE_RETRIEVAL_PART = 4,
	WIRE_RETRIEVAL_STRUCTURE = 5,
	WIRE_RETRIEVAL_COUNT
};

/* posting of ListInfoDone, IM2000-MSRAP. */
enum wire_posting {
	WIRE_POSTING_ANYONE = 0,
	WIRE_POSTING_SUBSCRIBERS = 1,
	WIRE_POSTING_MODERATED = 2,
	WIRE_POSTING_OWNERS = 3,
	WIRE_POSTING_COUNT
};

/* NotifyResult, IM2000-RNASP. */
enum wire_notify_result {
	WIRE_NOTIFY_ACCEPTED = 0,
	WIRE_NOTIFY_NO_USER = 1,
	WIRE_NOTIFY_REFUSED = 2,
	WIRE_NOTIFY_FULL = 3,
	WIRE_NOTIFY_TRY_LATER = 4,
	WIRE_NOTIFY_UNVERIFIED = 5,
	WIRE_NOTIFY_COUNT
};

/* action of Policy, IM2000-RNAQP. */
enum wire_policy_action {
	WIRE_POLICY_SHOW = 0,
	WIRE_POLICY_ADD = 1,
	WIRE_POLICY_REMOVE = 2,
	WIRE_POLICY_COUNT
};

/*
 * The name in the ASN.1 module ("noSuchMessage"), or "unknown". Static storage.
 */
const char *wire_status_name(enum wire_status v);
const char *wire_submission_status_name(enum wire_submission_status v);
const char *wire_notification_status_name(enum wire_notification_status v);
const char *wire_read_status_name(enum wire_read_status v);
const char *wire_encoding_name(enum wire_encoding v);
const char *wire_retrieval_name(enum wire_retrieval v);
const char *wire_posting_name(enum wire_posting v);
const char *wire_notify_result_name(enum wire_notify_result v);
const char *wire_policy_action_name(enum wire_policy_action v);

#endif
