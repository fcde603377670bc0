/*
 * The state of a server session, for the files server*.c alone: server.c has
 * its beginning, time and end, server_read.c the way of a command to the
 * handler, server_write.c the way of its answer back, server_counts.c what is
 * counted on the way.
 *
 * A session is a state machine. The phases say what is with the command;
 * beside them stand three facts that go with several phases: octets of an
 * answer that the stream did not take yet (`out`), a streamed body that has not
 * ended (`body_open`), and the end of the peer's side (`eof`).
 *
 * Everything moves in steps: server_run does the next thing until there is
 * nothing to do, or the session has had its share of the loop's turn. So a
 * thousand pipelined commands are a loop, never a recursion. Functions that
 * handlers call only note what they want.
 */
#ifndef IM2000_SESSION_SERVER_STATE_H
#define IM2000_SESSION_SERVER_STATE_H

#include "base/buf.h"
#include "session/server.h"

enum server_phase {
	/* No command in hand. `in` holds the first octets of the next frame; or the rest of a body
	 * that was answered early is thrown away (body_open). */
	READING,
	/* The handler has a command; it answers later, or takes a streamed body (body_open). */
	IN_HAND,
	/* As IN_HAND; the next octets, the end, time or a shutdown make it IN_HAND by `wake`. */
	WAITING,
	/* The handler writes a long answer of which `rest` octets are missing. */
	REPLYING,
	/* The last answer is said, but the stream has not taken all of it yet. */
	CLOSING,
	/* stream_finish was called: `closed` will come. Nothing is read any more. */
	FINISHING,
	/* Cut off by the handler: the end comes with the turn. */
	ABORTED,
	/* The handler and the stream are gone; only a caller further up still holds the memory. */
	OVER
};

struct server_session {
	struct stream *stream;
	struct loop *loop;
	const struct server_protocol *protocol;
	const struct server_limits *limits;
	void *state;
	void (*ended)(void *ctx, struct server_session *s);
	void *ctx;
	struct loop_timer *timer;
	uint64_t armed_us;      /* when the timer fires, 0: not running */
	uint64_t since_us;      /* when the peer last got on with its part */
	uint64_t wait_until_us; /* WAITING: until when */
	uint64_t seen_out;      /* octets on the wire when a slow reader was last looked at */
	struct buf in, out;
	uint64_t body_left; /* octets of a streamed body that have not come */
	uint64_t rest;      /* octets of a long answer that the handler has not written */
	size_t paced;       /* octets of a frame since since_us was set */
	size_t turn_octets;
	unsigned turn_commands;
	unsigned kind;  /* of the command in hand, for counting; 0: unknown, or none */
	unsigned depth; /* how many of our functions are under way above a callback */
	enum server_phase phase;
	bool body_open : 1;
	bool held : 1;
	bool answers_wait : 1; /* in the stream, for the one to the command in hand */
	bool first_done : 1; /* a command was complete */
	bool whole : 1;      /* the frame in `in` was classified SERVER_WHOLE */
	bool woken : 1;
	bool close_after : 1; /* the answer being written is the last */
	bool blocked : 1;     /* the stream has no room; `writable` will come */
	bool drained : 1;     /* nothing more to read in this turn */
	bool much : 1;        /* the last read gave a lot */
	bool eof : 1;
	bool shutdown : 1;
	bool soon : 1;   /* run again in the next turn */
};

/* server.c */

/* Around everything that may call the handler: the memory stays until the outermost leave. */
void server_enter(struct server_session *s);
void server_leave(struct server_session *s);
/* After a call from outside a run: goes on in the loop's next turn, where there is a way. */
void server_later(struct server_session *s);
/* The peer has done its part: its time begins anew. Before the first command it does not. */
void server_touch(struct server_session *s);
/* Cuts the session off: `close` comes with the outermost leave, or in the next turn. */
void server_cut(struct server_session *s, const char *why);
/* The end in order, once all is said. What the peer still sends is thrown away. */
void server_finish(struct server_session *s);

/* server_read.c */

/* Does what can be done now. Between enter and leave. */
void server_run(struct server_session *s);
/* Ends a server_wait. */
bool server_wake(struct server_session *s);
/* Whether octets from the peer are of use now. */
bool server_wants_read(const struct server_session *s);

/* server_counts.c: each does nothing where nobody counts. */

/* A command, whose first octets are HEAD, is given to the handler. */
void server_count_command(struct server_session *s, struct span head, uint64_t total);
/* An answer to it, or the session's own word: STATUS, or what stands in the FRAME. */
void server_count_status(struct server_session *s, enum wire_status status);
void server_count_answer(struct server_session *s, struct span frame);
void server_count_octets(struct server_session *s, size_t in, size_t out);
void server_count_session(struct server_session *s, bool begins);

/* server_write.c */

/* Writes what is left of an answer. */
void server_flush(struct server_session *s);
/* The session's own last word. */
void server_refuse(struct server_session *s, enum wire_status status, const char *text);

#endif
