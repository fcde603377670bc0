/*
 * What the tests of the four modules share: values, and the checks that every
 * PDU goes through against the octets that another implementation of ASN.1 made
 * (wire_vectors.inc).
 */
#ifndef IM2000_TESTS_WIRE_CHECK_H
#define IM2000_TESTS_WIRE_CHECK_H

#include <stddef.h>
#include <stdint.h>

#include "base/span.h"
#include "wire/common.h"
#include "wire/schema.h"

#define CHECK_TIME 1700000000123456ULL

/* The values of tests/tools/wire_vectors.pl: octets that begin with FIRST and rise by a step. */
void check_id(uint8_t out[WIRE_ID_SIZE], unsigned first);
void check_digest(uint8_t out[WIRE_DIGEST_SIZE], unsigned first);
struct span check_octets(size_t count, unsigned first);

/* A string of COUNT times C. Lives until the test program ends, as all values here. */
struct span check_fill(size_t count, char c);

/* A list writer with fresh memory; check_list is what it holds. */
struct wire_list_writer *check_writer(void);
struct wire_list check_list(const struct wire_list_writer *w);

struct wire_mailbox check_mailbox(const char *text);
struct wire_list check_labels(const char *dotted);
struct wire_list check_mailboxes(const char *const *texts); /* up to a NULL */
struct wire_list check_texts(const char *const *texts);

/* The notifications of the vectors: all elements, none that is OPTIONAL, an address literal. */
struct wire_notification check_notification(void);
struct wire_notification check_notification_bare(void);
struct wire_notification check_notification_literal(void);

struct wire_octets check_stream(struct span octets);

/* Compares two structs of S; a test failure names PATH and the element. */
void check_same(const struct schema *s, const void *a, const void *b, const char *path);

typedef int check_encode_fn(const void *in, uint8_t *buf, size_t cap, struct span *out);
typedef int check_decode_fn(struct span body, uint64_t total, void *out);

/*
 * IN, a struct of S, must encode to the vector NAME ("msoap.command.track"),
 * and the vector must decode to IN. Then: every truncation, every part of the
 * frame, every buffer that is too small, every flipped bit.
 */
void check_pdu(const char *name, const struct schema *s, enum wire_pdu pdu, const void *in,
               check_encode_fn *encode, check_decode_fn *decode);

/* Fails when a vector whose name begins with PREFIX was not checked. */
void check_all_used(const char *prefix);

/* The body of a vector. */
struct span check_vector(const char *name);

/*
 * check_command(msoap, "track", &value) for each module, and the same for
 * responses: typed, by the module's own functions.
 */
#define CHECK_MODULE(MODULE)                                                                   \
	static int MODULE##_command_enc(const void *in, uint8_t *buf, size_t cap, struct span *out) \
	{                                                                                          \
		return MODULE##_command_encode(in, buf, cap, out);                                     \
	}                                                                                          \
	static int MODULE##_command_dec(struct span body, uint64_t total, void *out)               \
	{                                                                                          \
		return MODULE##_command_decode(body, total, out);                                      \
	}                                                                                          \
	static int MODULE##_response_enc(const void *in, uint8_t *buf, size_t cap,                 \
	                                 struct span *out)                                         \
	{                                                                                          \
		return MODULE##_response_encode(in, buf, cap, out);                                    \
	}                                                                                          \
	static int MODULE##_response_dec(struct span body, uint64_t total, void *out)              \
	{                                                                                          \
		return MODULE##_response_decode(body, total, out);                                     \
	}                                                                                          \
	static void command(const char *name, struct MODULE##_command value)                       \
	{                                                                                          \
		char full[80];                                                                         \
		snprintf(full, sizeof(full), #MODULE ".command.%s", name);                             \
		check_pdu(full, &MODULE##_command_schema, WIRE_PDU_COMMAND, &value,                    \
		          MODULE##_command_enc, MODULE##_command_dec);                                 \
	}                                                                                          \
	static void response(const char *name, struct MODULE##_response value)                     \
	{                                                                                          \
		char full[80];                                                                         \
		snprintf(full, sizeof(full), #MODULE ".response.%s", name);                            \
		check_pdu(full, &MODULE##_response_schema, WIRE_PDU_RESPONSE, &value,                  \
		          MODULE##_response_enc, MODULE##_response_dec);                               \
	}                                                                                          \
	static void test_alike(void **state)                                                       \
	{                                                                                          \
		(void)state;                                                                           \
		response("none", (struct MODULE##_response){                                           \
		    .abort = true, .status = WIRE_STATUS_NO_SUCH_MESSAGE, .kind = 1, .has_text = true, \
		    .text = span_str("no such message \xc3\xa9"), .has_retry_after = true,             \
		    .retry_after = 300 });                                                             \
		response("none.bare", (struct MODULE##_response){ .kind = 1 });                        \
		response("none.future", (struct MODULE##_response){ .kind = 1, .status = 200 });       \
	}                                                                                          \
	static void test_all_used(void **state)                                                    \
	{                                                                                          \
		(void)state;                                                                           \
		check_all_used(#MODULE ".");                                                           \
	}                                                                                          \
	static void test_peek(void **state)                                                        \
	{                                                                                          \
		uint8_t octet = 0xa1;                                                                  \
		enum MODULE##_kind kind;                                                               \
                                                                                               \
		(void)state;                                                                           \
		assert_int_equal(MODULE##_command_peek(span_of(&octet, 1), 10, &kind), ERR_AGAIN);     \
		assert_int_equal(MODULE##_command_peek(span_of(&octet, 1), 1, &kind), ERR_MALFORMED);  \
		octet = 0xa2;                                                                          \
		assert_int_equal(MODULE##_command_peek(span_of(&octet, 1), 9, &kind), ERR_AGAIN);      \
	}

#endif
