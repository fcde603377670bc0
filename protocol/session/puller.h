/*
 * Pulls one whole message from a store by MSRAP (protocol.md section 9), for a
 * program that serves others meanwhile: locates, connects, retrieves `all`, goes
 * on where a connection broke, and checks what came against the size and the
 * digest that the notification announced. Octets are handed on as they come, so
 * nothing is held; they are worth something only once `done` has said so.
 */
#ifndef IM2000_SESSION_PULLER_H
#define IM2000_SESSION_PULLER_H

#include "net/dial.h"
#include "wire/common.h"

struct puller;

struct puller_options {
	const char *domain; /* of the store, canonical; copied */
	uint8_t id[WIRE_ID_SIZE];
	uint8_t digest[WIRE_DIGEST_SIZE];
	bool has_size; /* SIZE was announced, too */
	uint64_t size;
	uint64_t limit;      /* octets of a message that is pulled at all */
	uint64_t silence_us; /* the longest time without an octet; 0: 60 s */
	uint64_t whole_us;   /* for all of it */
	struct dial_options dial; /* what it points to: as dial_start wants it */
};

struct puller_end {
	int error; /* see below */
	/* The store answered, with this; it said `withdrawn`, say. */
	bool answered;
	enum wire_status status;
	const char *why; /* for people; "" with error 0; as long as the call */
};

/* What either of the first two returns but 0 ends the pull with that error; WHY is theirs to set.
 */
struct puller_calls {
	/* The store says how many octets there are: what was announced, and within LIMIT. Once. */
	int (*size)(void *ctx, uint64_t octets, struct err_text *why);
	int (*octets)(void *ctx, struct span octets, struct err_text *why);
	/*
	 * Once; the handle is no longer valid. END's error: 0 (all octets came, and are those
	 * announced); ERR_PROTOCOL (the store lies, or breaks the protocol); ERR_TOO_BIG (over
	 * LIMIT); ERR_TIMEOUT; what dial_start answers; ERR_CLOSED; ERR_AGAIN (it answered an
	 * error, see STATUS); ERR_NOMEM; or that of the calls above.
	 */
	void (*done)(void *ctx, const struct puller_end *end);
};

/* CALLS is static. No call comes from inside. 0 or ERR_NOMEM, ERR_INTERNAL. */
int puller_start(struct loop *l, const struct puller_options *options,
                 const struct puller_calls *calls, void *ctx, struct puller **out);
/* No call follows; allowed before `done` alone, not in a call. NULL is fine. */
void puller_cancel(struct puller *p);

#endif
