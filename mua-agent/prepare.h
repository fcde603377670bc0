/*
 * A message made ready for submission: read from anywhere, any size, into the
 * form that is submitted. Its header is held in memory (1 MiB at most), its body in a
 * nameless file.
 *
 * - Line ends: when a line of the header ends in a bare LF, every bare LF of the
 *   message becomes CRLF (RFC 5322 section 2.1). Otherwise the message is in its
 *   network form already, and its body is not changed by an octet.
 * - Bcc is taken out (RFC 5322 section 3.6.3), and a first line "From " as mbox files have it.
 * - Message-ID and Date are added when they are missing (prepare_missing).
 */
#ifndef IM2000_AGENT_PREPARE_H
#define IM2000_AGENT_PREPARE_H

#include <sys/types.h>

#include "base/buf.h"
#include "base/name.h"
#include "session/spool.h"

#define PREPARE_HEADER_MAX ((size_t)1 << 20)
#define PREPARE_DIGEST 32

struct prepared {
	struct buf header; /* with its empty line */
	struct spool body;
	uint64_t body_octets;
	uint64_t size;                  /* of both */
	uint8_t digest[PREPARE_DIGEST]; /* of both (message/digest.h) */
	struct mailbox sender;          /* the first address in From */
	struct mailbox *recipients;     /* of To, Cc and Bcc, each once */
	size_t n_recipients;
	char subject[512]; /* decoded, safe for a terminal */
};

/*
 * Reads FD to its end. NAME is what it is called in messages; DIR holds the file.
 * ADDRESSED: recipients are looked for, and it is an error when one is broken. 0,
 * ERR_MALFORMED (no From, an address that is none), ERR_TOO_BIG (header), ERR_IO, ERR_FULL,
 * ERR_NOMEM with E filled; prepare_free in any case.
 */
int prepare_read(int fd, const char *name, const char *dir, bool addressed, struct prepared *out,
                 struct err_text *e);
void prepare_free(struct prepared *p);

/*
 * The fields that P lacks (Date at NOW_US, Message-ID of fresh random octets), in OUT; empty when
 * it lacks none. 0 or ERR_NOMEM.
 */
int prepare_missing(const struct prepared *p, uint64_t now_us, struct buf *out);

/* Puts FIELDS at the header's end; size and digest follow. 0 or an error with E filled. */
int prepare_add(struct prepared *p, struct span fields, struct err_text *e);

/* Up to N octets at AT of the message as it is submitted. How many (0 at the end), or ERR_IO. */
ssize_t prepare_octets(const struct prepared *p, uint64_t at, uint8_t *buf, size_t n);

/* Adds M to LIST[*N] unless it is there. 0 or ERR_NOMEM. */
int prepare_add_recipient(struct mailbox **list, size_t *n, const struct mailbox *m);

#endif
