/* The four protocols' commands as the measuring programs send them, and responses as they come. */
#ifndef IM2000_BENCH_OURS_H
#define IM2000_BENCH_OURS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/name.h"
#include "wire/msoap.h"
#include "wire/msrap.h"
#include "wire/rnaqp.h"
#include "wire/rnasp.h"

/* Appends a command's frame to OUT. What cannot be encoded ends the program. */
void ours_msoap(struct buf *out, const struct msoap_command *c);
void ours_msrap(struct buf *out, const struct msrap_command *c);
void ours_rnasp(struct buf *out, const struct rnasp_command *c);
void ours_rnaqp(struct buf *out, const struct rnaqp_command *c);

/* authenticate, as MSOAP and as RNAQP have it. */
void ours_msoap_login(struct buf *out, const char *account, const char *password);
void ours_rnaqp_login(struct buf *out, const char *account, const char *password);

/*
 * submitEnvelope of a message of SIZE octets to COUNT recipients: the pattern RECIPIENT with the
 * numbers FIRST, FIRST + 1, ... (ours_mailbox). ID: NULL or a submissionId.
 * LATER: nobody is notified before an hour is over.
 */
struct ours_envelope {
	const char *recipient;
	uint64_t first, count;
	uint64_t size;
	const uint8_t *id;
	bool later;
};
void ours_envelope(struct buf *out, const struct ours_envelope *e);
#define OURS_DOMAINS 100
/* PATTERN with NUMBER in place of '#', NUMBER modulo OURS_DOMAINS in place of '%', a mailbox. */
void ours_mailbox(const char *pattern, uint64_t number, struct mailbox *out);
/*
 * A notification to TO of a message of 4 KiB from SENDER, whose domain is that of the store.
 * Its views live until the next call.
 */
void ours_notification(struct wire_notification *n, const char *sender, const struct mailbox *to,
                       const uint8_t id[WIRE_ID_SIZE]);
/* submitChunk that carries the whole message. */
void ours_chunk(struct buf *out, struct span message);

/* The body of the first frame in OCTETS, and how many octets the frame has; 0: not whole yet. */
size_t ours_frame(struct span octets, struct span *body);

/* The response in BODY, which must be ok; else the program ends. */
void ours_msoap_ok(struct span body, enum msoap_kind kind, struct msoap_response *r);
void ours_rnasp_ok(struct span body, struct rnasp_response *r);
void ours_rnaqp_ok(struct span body, struct rnaqp_response *r);

#endif
