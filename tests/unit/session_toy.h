/*
 * A protocol for tests of session/: one letter says what the handler does, so
 * that every way through a server session can be asked for by its peer. A
 * command's body is 0xa1, the letter, data; a response's 0xa2, the letter, data.
 *
 *   e  echoes the data                 l  the same some turns later
 *   w  waits; "woken" at the end       n  never answers
 *   g  a long answer: 4 octets say how many of toy_octet() follow
 *   c  unexpectedCommand, and closes   x  tryLater in 7 s, with a text of 600 octets
 *   a  server_abort                    k  server_kill
 * Over limits.command_octets:
 *   W  collected whole; answers like s
 *   s  streamed; answers 8 octets: how many came, and their sum
 *   h  as s, and holds after each piece until some turns later
 *   H  as s, and holds until toy_release
 *   r  streamed; answers unexpectedCommand at once
 *   K  streamed; server_kill at the first piece
 *   b  as s, but the rest decides only after 40 octets (SERVER_MORE)
 *   m  cannot ever be told; others: too big
 */
#ifndef IM2000_TESTS_SESSION_TOY_H
#define IM2000_TESTS_SESSION_TOY_H

#include "base/buf.h"
#include "session/server.h"

/* What the handlers of all sessions of one protocol did. APP of server_start. */
struct toy {
	unsigned opened, closed;
	unsigned commands; /* given to handlers */
	uint64_t written;  /* octets of long answers */
	uint64_t streamed; /* octets of streamed bodies */
	int open_error;    /* what OPEN shall return */
	bool hasty;        /* "some turns later" is the next turn */
	bool kill_on_wake, kill_on_writable;
	struct toy_state *held; /* the last session that H holds */
};

extern const struct server_protocol toy_protocol;

void toy_release(struct toy *t);

/* The octet at AT of a long answer. */
static inline uint8_t toy_octet(uint64_t at)
{
	return (uint8_t)(at * 31 + (at >> 8));
}

/* Appends a command frame with N octets of data. */
void toy_add_command(struct buf *out, char letter, const void *data, size_t n);
/* Appends the response frame that the toy gives to it. */
void toy_add_response(struct buf *out, char letter, const void *data, size_t n);
/* Appends a command of LETTER with N octets of toy_octet, and to EXPECT its answer, as of s. */
void toy_add_stream(struct buf *out, struct buf *expect, char letter, size_t n);
/* Appends what the g command of N octets is, and the answer. */
void toy_add_long(struct buf *out, struct buf *expect, uint32_t n);
/* Appends the error response of a session or handler. */
void toy_add_error(struct buf *out, enum wire_status status, bool abort, const char *text);

#endif
