/*
 * The server's side of a session (protocol.md section 5), the same for all four
 * protocols: frames come in, one command at a time is given to the protocol's
 * handler, its response goes out, in order, whatever the client pipelines.
 * Limits and time-outs of section 6 are kept here.
 *
 * A session lives on one loop. The handler answers each command once, at once
 * or later, from the loop's thread: server_reply, or server_reply_start and
 * server_write.
 */
#ifndef IM2000_SESSION_SERVER_H
#define IM2000_SESSION_SERVER_H

#include <stdatomic.h>

#include "net/stream.h"
#include "wire/common.h"

struct server_session;

/*
 * What the sessions of a protocol did so far. Added to by the thread of their loop, read by any:
 * who counts for several threads gives each its own.
 */
#define SERVER_KINDS 24
struct server_counts {
	atomic_ullong begun, ended;          /* sessions */
	atomic_ullong octets_in, octets_out; /* of commands and answers, without TLS */
	/* Answers by the command's kind (0: none that is known) and their status. */
	atomic_ullong answers[SERVER_KINDS][WIRE_STATUS_COUNT];
};
/* "retrieve": the name of KIND in the protocol ALPN; NULL: there is none. "" for 0. */
const char *server_kind_name(const char *alpn, unsigned kind);

/* How the session shall treat a command frame; answered by `classify`. */
enum server_frame {
	SERVER_WHOLE,  /* collect all of the body, then `command` */
	SERVER_STREAM, /* `command` with the head, then `data` for the rest */
	SERVER_MORE,   /* cannot tell yet: call again with more octets */
	SERVER_TOO_BIG /* answer tooBig and close */
};

struct server_protocol {
	const char *alpn;
	/*
	 * A session begins: make the protocol's state. 0, or an error that ends the session (then
	 * nothing more is called).
	 */
	int (*open)(struct server_session *s, void *app, void **state);
	/*
	 * How to take a body of TOTAL octets of which HEAD is here. Asked only when TOTAL is over
	 * limits.command_octets; smaller bodies are always collected whole.
	 */
	enum server_frame (*classify)(void *state, struct span head, uint64_t total);
	/*
	 * A command. BODY is the frame without its length, or, for SERVER_STREAM, its first octets
	 * (TOTAL says how many there are in all). The view lives for the call. The handler answers
	 * now or later; until it has, no other command comes. For SERVER_STREAM the answer comes
	 * after the last `data`; answering before makes the session read and throw away the rest.
	 */
	void (*command)(void *state, struct span body, uint64_t total);
	/*
	 * Octets of a streamed body beyond the head, as they come, 64 KiB or so at a time; LAST
	 * with the final ones (maybe none). server_hold stops them until server_go_on.
	 */
	void (*data)(void *state, struct span octets, bool last);
	/*
	 * Only while the handler has called server_wait: another command has arrived, the time is over,
	 * or the daemon is shutting down. The handler answers now, with what there is.
	 */
	void (*wake)(void *state);
	/* There is room to write again (between server_reply_start and the end of that reply). */
	void (*writable)(void *state);
	/* The session is over (closed, broken, timed out), maybe with a command in hand: free the
	 * state. Nothing may be called on S after. */
	void (*close)(void *state);
	struct server_counts *counts; /* NULL: nobody counts */
};

struct server_limits {
	uint32_t command_octets;    /* of a frame that is collected without asking (64 KiB) */
	uint32_t large_octets;      /* of a frame that SERVER_WHOLE may collect (1 MiB) */
	uint64_t stream_octets;     /* of a frame that SERVER_STREAM may have (max message + 64 KiB) */
	uint64_t idle_us;           /* 60 s */
	uint64_t first_us;          /* 15 s before the first complete command */
	uint64_t wait_us;           /* 30 min, the longest server_wait */
};
/* The defaults of protocol.md section 6. */
void server_limits_default(struct server_limits *l);

/*
 * Starts a session on STREAM of loop L (taken over in any case). PROTOCOL and
 * LIMITS are borrowed for its life. ENDED (may be NULL) is called once when the
 * session is over, after the handler's `close`: server_stream still answers in
 * it, and nothing may be called on S after. 0, ERR_NOMEM, or what OPEN returned;
 * then nothing is called.
 */
int server_start(struct loop *l, struct stream *stream, const struct server_protocol *protocol,
                 const struct server_limits *limits, void *app,
                 void (*ended)(void *ctx, struct server_session *s), void *ctx,
                 struct server_session **out);

/* Finishes the command in hand, then says serviceShutdown and closes: it is the answer to the
 * next command, which may be on its way. An idle session says so now. */
void server_shutdown(struct server_session *s);
/* At once. `close` and ENDED are called from inside. */
void server_kill(struct server_session *s);

/*
 * --- for handlers ------------------------------------------------------------------
 * None of these calls the handler back: what follows comes in this turn or the next. An
 * answer to a command that is no longer in hand (the session timed out) is thrown away.
 */

/* The stream's facts: peer, certificate, local user. */
struct stream *server_stream(struct server_session *s);
struct loop *server_loop(struct server_session *s);

/* Answers the command in hand with one whole FRAME (with its length; copied). */
void server_reply(struct server_session *s, struct span frame);

/*
 * Answers with the generic error response (data none). TEXT (UTF-8, cut at 400 octets) may be
 * NULL. RETRY_AFTER_S < 0: none. CLOSE: and close the session after it.
 */
void server_reply_error(struct server_session *s, enum wire_status status, bool abort,
                        const char *text, int64_t retry_after_s, bool close);

/*
 * Begins a long answer: HEAD (frame length and PDU up to the streamed octets;
 * copied) of a frame that goes on for REST octets, which the handler writes with
 * server_write, now and from `writable`. Writing the last of them ends the
 * answer. Data are encrypted straight from the view: nothing is kept.
 */
void server_reply_start(struct server_session *s, struct span head, uint64_t rest);
/* How many of N octets were taken; 0: wait for `writable`. */
size_t server_write(struct server_session *s, const void *p, size_t n);
/* The long answer cannot be finished (the data vanished): the stream is cut. `close` follows. */
void server_abort(struct server_session *s, const char *why);

/*
 * The handler will answer later, when something happens or at the latest after
 * WAIT_US: see `wake`. Once a command, and not for a streamed body.
 */
void server_wait(struct server_session *s, uint64_t wait_us);
/*
 * For `wake`: whether the session comes to its end, since the peer has ended its side or the
 * daemon shuts down. A handler whose answer is under way may else go on with it.
 */
bool server_is_ending(const struct server_session *s);

/* No `data` until server_go_on. */
void server_hold(struct server_session *s);
void server_go_on(struct server_session *s);

#endif
