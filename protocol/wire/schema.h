/*
 * The tables that describe the modules, and the one encoder and one decoder
 * that go by them. For the other files of wire/ and their tests; programs use
 * the typed functions of msoap.h, msrap.h, rnasp.h and rnaqp.h.
 *
 * A schema describes a SEQUENCE whose elements have context tags, or a CHOICE,
 * and the C struct that holds it. See docs/wire.md.
 */
#ifndef IM2000_WIRE_SCHEMA_H
#define IM2000_WIRE_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"
#include "wire/common.h"
#include "wire/der.h"

enum schema_type {
	SCHEMA_BOOL,     /* bool */
	SCHEMA_UINT,     /* uint64_t, at least n */
	SCHEMA_PORT,     /* uint16_t */
	SCHEMA_ENUM,     /* an enum with n known values */
	SCHEMA_TEXT,     /* struct span, UTF-8 */
	SCHEMA_OCTETS,   /* struct span */
	SCHEMA_FIXED,    /* uint8_t[n] */
	SCHEMA_STREAM,   /* struct wire_octets */
	SCHEMA_LIST,     /* struct wire_list of element */
	SCHEMA_SEQUENCE, /* the struct of sub */
	SCHEMA_CHOICE,   /* the struct of sub; explicit tag */
};

#define SCHEMA_MANDATORY UINT16_MAX

struct schema;

struct schema_field {
	uint8_t tag;       /* context tag; not used in a list's element */
	uint8_t type;      /* enum schema_type */
	uint8_t kind;      /* in a CHOICE: what kind is set to */
	uint16_t at;       /* offset of the value in the struct */
	uint16_t has;      /* offset of the bool that says it is there, or SCHEMA_MANDATORY */
	uint32_t n;        /* see enum schema_type */
	const struct schema *sub;
	const struct schema_field *element;
};

struct schema {
	const struct schema_field *fields; /* tags rise */
	uint16_t count;
	uint16_t kind_at; /* CHOICE: offset of the enum in the struct */
	bool open;        /* CHOICE: an unknown alternative is kind 0, not malformed */
	bool streams;     /* a SCHEMA_STREAM is in it or under it */
	size_t size;      /* octets of the struct */
};

/* Offset of MEMBER in STRUCT; does not compile when it is no TYPE. */
#define SCHEMA_AT(STRUCT, MEMBER, TYPE)                                                        \
	(uint16_t)(offsetof(STRUCT, MEMBER) + 0 * sizeof(_Generic(((STRUCT *)0)->MEMBER, TYPE : 1)))

/* One mandatory element: tag, struct, member; _OPT: beside it a bool has_MEMBER. */
#define SCHEMA_ELEMENT(TAG, TYPE, STRUCT, MEMBER, CTYPE, ...)                                  \
	{ .tag = (TAG), .type = (TYPE), .at = SCHEMA_AT(STRUCT, MEMBER, CTYPE),                    \
	  .has = SCHEMA_MANDATORY, __VA_ARGS__ }
#define SCHEMA_ELEMENT_OPT(TAG, TYPE, STRUCT, MEMBER, CTYPE, ...)                              \
	{ .tag = (TAG), .type = (TYPE), .at = SCHEMA_AT(STRUCT, MEMBER, CTYPE),                    \
	  .has = SCHEMA_AT(STRUCT, has_##MEMBER, bool), __VA_ARGS__ }

/*
 * Shorter words for the tables: the tag, the struct's type and the member's
 * name; _O for what is OPTIONAL. SUB is a schema, EACH the element of a list.
 */
#define BOOL_M(T, S, M) SCHEMA_ELEMENT(T, SCHEMA_BOOL, S, M, bool, .n = 0)
#define BOOL_O(T, S, M) SCHEMA_ELEMENT_OPT(T, SCHEMA_BOOL, S, M, bool, .n = 0)
#define UINT_M(T, S, M) SCHEMA_ELEMENT(T, SCHEMA_UINT, S, M, uint64_t, .n = 0)
#define UINT_O(T, S, M) SCHEMA_ELEMENT_OPT(T, SCHEMA_UINT, S, M, uint64_t, .n = 0)
#define ONE_UP_O(T, S, M) SCHEMA_ELEMENT_OPT(T, SCHEMA_UINT, S, M, uint64_t, .n = 1)
#define ENUM_M(T, S, M, COUNT) SCHEMA_ELEMENT(T, SCHEMA_ENUM, S, M, uint32_t, .n = (COUNT))
#define ENUM_O(T, S, M, COUNT) SCHEMA_ELEMENT_OPT(T, SCHEMA_ENUM, S, M, uint32_t, .n = (COUNT))
#define TEXT_M(T, S, M) SCHEMA_ELEMENT(T, SCHEMA_TEXT, S, M, struct span, .n = 0)
#define TEXT_O(T, S, M) SCHEMA_ELEMENT_OPT(T, SCHEMA_TEXT, S, M, struct span, .n = 0)
#define OCTETS_M(T, S, M) SCHEMA_ELEMENT(T, SCHEMA_OCTETS, S, M, struct span, .n = 0)
#define OCTETS_O(T, S, M) SCHEMA_ELEMENT_OPT(T, SCHEMA_OCTETS, S, M, struct span, .n = 0)
#define FIXED_M(T, S, M)                                                                       \
	SCHEMA_ELEMENT(T, SCHEMA_FIXED, S, M, uint8_t *, .n = sizeof(((S *)0)->M))
#define FIXED_O(T, S, M)                                                                       \
	SCHEMA_ELEMENT_OPT(T, SCHEMA_FIXED, S, M, uint8_t *, .n = sizeof(((S *)0)->M))
#define STREAM_M(T, S, M) SCHEMA_ELEMENT(T, SCHEMA_STREAM, S, M, struct wire_octets, .n = 0)
#define LIST_M(T, S, M, EACH)                                                                  \
	SCHEMA_ELEMENT(T, SCHEMA_LIST, S, M, struct wire_list, .element = &(EACH))
#define LIST_O(T, S, M, EACH)                                                                  \
	SCHEMA_ELEMENT_OPT(T, SCHEMA_LIST, S, M, struct wire_list, .element = &(EACH))
#define SEQUENCE_M(T, S, M, TYPE, SUB)                                                         \
	SCHEMA_ELEMENT(T, SCHEMA_SEQUENCE, S, M, TYPE, .sub = &(SUB))
#define SEQUENCE_O(T, S, M, TYPE, SUB)                                                         \
	SCHEMA_ELEMENT_OPT(T, SCHEMA_SEQUENCE, S, M, TYPE, .sub = &(SUB))
#define CHOICE_M(T, S, M, TYPE, SUB)                                                           \
	SCHEMA_ELEMENT(T, SCHEMA_CHOICE, S, M, TYPE, .sub = &(SUB))
#define CHOICE_O(T, S, M, TYPE, SUB)                                                           \
	SCHEMA_ELEMENT_OPT(T, SCHEMA_CHOICE, S, M, TYPE, .sub = &(SUB))

/* Alternatives of data: what kind becomes, and the member of u (EMPTY: there is none). */
#define DATA(T, KIND, S, M, TYPE, SUB)                                                         \
	SCHEMA_ELEMENT(T, SCHEMA_SEQUENCE, S, u.M, TYPE, .kind = (KIND), .sub = &(SUB))
#define EMPTY(T, KIND)                                                                         \
	{ .tag = (T), .type = SCHEMA_SEQUENCE, .kind = (KIND), .has = SCHEMA_MANDATORY,            \
	  .sub = &schema_nothing }

/* The elements of Command and of Response; CHOICES is the schema of data. */
#define COMMAND_ELEMENTS(CHOICES)                                                              \
	{ .tag = 0, .type = SCHEMA_CHOICE, .has = SCHEMA_MANDATORY, .sub = &(CHOICES) }
#define RESPONSE_ELEMENTS(S, CHOICES)                                                          \
	BOOL_M(0, S, abort), ENUM_M(1, S, status, WIRE_STATUS_COUNT),                              \
	{ .tag = 2, .type = SCHEMA_CHOICE, .has = SCHEMA_MANDATORY, .sub = &(CHOICES) },           \
	TEXT_O(3, S, text), UINT_O(4, S, retry_after)

#define SCHEMA_FIELDS(TABLE) .fields = (TABLE), .count = sizeof(TABLE) / sizeof((TABLE)[0])

/* A SEQUENCE held in a TYPE. */
#define SCHEMA_OF(TABLE, TYPE) { SCHEMA_FIELDS(TABLE), .size = sizeof(TYPE) }

/* The open CHOICE of a PDU's data held in a TYPE. */
#define SCHEMA_DATA(TABLE, TYPE, STREAMS)                                                      \
	{ SCHEMA_FIELDS(TABLE), .kind_at = SCHEMA_AT(TYPE, kind, uint32_t), .open = true,          \
	  .streams = (STREAMS), .size = sizeof(TYPE) }

/* Elements and tables that more than one module uses. */
extern const struct schema schema_nothing;
extern const struct schema schema_mailbox;
extern const struct schema schema_endpoint;
extern const struct schema schema_location;
extern const struct schema schema_notification;
extern const struct schema_field schema_text_element;
extern const struct schema_field schema_cursor_element;
extern const struct schema_field schema_digest_element;
extern const struct schema_field schema_mailbox_element;
extern const struct schema_field schema_endpoint_element;
extern const struct schema_field schema_notification_element;

/* Command and Response of each module. */
extern const struct schema msoap_command_schema, msoap_response_schema;
extern const struct schema msrap_command_schema, msrap_response_schema;
extern const struct schema rnasp_command_schema, rnasp_response_schema;
extern const struct schema rnaqp_command_schema, rnaqp_response_schema;

/*
 * The PDU in BODY (see X_decode in common.h) into *OUT, the struct of S; all
 * zero on an error. SKIPPED (may be NULL) counts the elements with unknown
 * tags. Enumerations are closed in a command.
 */
int schema_decode(const struct schema *s, enum wire_pdu pdu, struct span body, uint64_t total,
                  void *out, unsigned *skipped);

/* The frame of IN (see X_encode in common.h). */
int schema_encode(const struct schema *s, enum wire_pdu pdu, const void *in, uint8_t *buf,
                  size_t cap, struct span *out);

/* The kind of the alternative of Command.data, S being the Command. 0, ERR_AGAIN, ERR_MALFORMED. */
int schema_peek(const struct schema *s, struct span body, uint64_t total, uint32_t *kind);

/* Takes the first element off REST into *OUT. False when there is none. */
bool schema_next(const struct schema_field *element, struct wire_list *rest, void *out);

/* Appends the element at IN. 0, or ERR_TOO_BIG, ERR_MALFORMED with nothing changed. */
int schema_append(const struct schema_field *element, struct wire_list_writer *w, const void *in);

/* One element at the end of BUF[CAP], with its universal tag and no frame. */
int schema_encode_element(const struct schema_field *element, const void *in, uint8_t *buf,
                          size_t cap, struct span *out);

/* Defines X_next and X_append for the list element ELEMENT held in a TYPE. */
#define SCHEMA_LIST_FUNCTIONS(PREFIX, TYPE, ELEMENT)                                           \
	bool PREFIX##_next(struct wire_list *rest, TYPE *out)                                      \
	{                                                                                          \
		return schema_next(&(ELEMENT), rest, out);                                             \
	}                                                                                          \
	int PREFIX##_append(struct wire_list_writer *w, const TYPE *in)                            \
	{                                                                                          \
		return schema_append(&(ELEMENT), w, in);                                               \
	}

/* The same for a list of an enumeration, which is appended by value. */
#define SCHEMA_LIST_ENUM(PREFIX, TYPE, ELEMENT)                                                \
	bool PREFIX##_next(struct wire_list *rest, TYPE *out)                                      \
	{                                                                                          \
		return schema_next(&(ELEMENT), rest, out);                                             \
	}                                                                                          \
	int PREFIX##_append(struct wire_list_writer *w, TYPE in)                                   \
	{                                                                                          \
		return schema_append(&(ELEMENT), w, &in);                                              \
	}

/* Defines the five functions that every module has. */
#define SCHEMA_PDU_FUNCTIONS(MODULE)                                                           \
	int MODULE##_command_decode(struct span body, uint64_t total, struct MODULE##_command *out) \
	{                                                                                          \
		return schema_decode(&MODULE##_command_schema, WIRE_PDU_COMMAND, body, total, out,     \
		                     NULL);                                                            \
	}                                                                                          \
	int MODULE##_command_encode(const struct MODULE##_command *in, uint8_t *buf, size_t cap,   \
	                            struct span *out)                                              \
	{                                                                                          \
		return schema_encode(&MODULE##_command_schema, WIRE_PDU_COMMAND, in, buf, cap, out);   \
	}                                                                                          \
	int MODULE##_response_decode(struct span body, uint64_t total,                             \
	                             struct MODULE##_response *out)                                \
	{                                                                                          \
		return schema_decode(&MODULE##_response_schema, WIRE_PDU_RESPONSE, body, total, out,   \
		                     NULL);                                                            \
	}                                                                                          \
	int MODULE##_response_encode(const struct MODULE##_response *in, uint8_t *buf, size_t cap, \
	                             struct span *out)                                             \
	{                                                                                          \
		return schema_encode(&MODULE##_response_schema, WIRE_PDU_RESPONSE, in, buf, cap, out); \
	}                                                                                          \
	int MODULE##_command_peek(struct span body, uint64_t total, enum MODULE##_kind *out)       \
	{                                                                                          \
		uint32_t kind;                                                                         \
		int err = schema_peek(&MODULE##_command_schema, body, total, &kind);                   \
                                                                                               \
		*out = (enum MODULE##_kind)kind;                                                       \
		return err;                                                                            \
	}

#endif
