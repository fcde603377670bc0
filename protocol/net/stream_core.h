/*
 * What plain and TLS streams have in common: the socket on the loop, the output
 * buffer that is sent once a turn, the order of the handler's calls, and the
 * closing. A transport is a table of functions (struct stream_ops) over it.
 * Private to net/.
 */
#ifndef IM2000_NET_STREAM_CORE_H
#define IM2000_NET_STREAM_CORE_H

#include "base/buf.h"
#include "net/stream.h"

#define STREAM_OUT_LIMIT ((size_t)256 * 1024) /* octets that wait for the socket */

enum stream_state {
	STREAM_CONNECTING, /* TCP is not connected yet; nothing is sent; writing is allowed */
	STREAM_OPENING,    /* connected; the transport shakes hands by itself; writing is allowed */
	STREAM_OPEN,       /* the handler reads and writes */
	STREAM_FINISHING,  /* stream_finish was called: output drains; input is thrown away */
	STREAM_LINGERING,  /* FIN is sent; input is thrown away until the peer's FIN, a while at most */
	STREAM_CLOSED,     /* the handler was told `closed`, or is told next; no polling */
};

struct stream_link {
	struct stream_link *prev, *next; /* NULL: in no list */
};

struct stream_hub;

struct stream_ops {
	/* OPENING: connected just now, or octets came. Ends in stream_core_opened or
	 * stream_core_fail, or waits for more. */
	void (*advance)(struct stream *s);
	/* OPEN, as stream_read; a failure has been given to stream_core_fail. */
	ssize_t (*read)(struct stream *s, void *p, size_t n);
	/* Up to OPEN: how many octets `write` takes now; WIRE: what the output buffer takes. */
	size_t (*room)(const struct stream *s, size_t wire);
	/* Takes all N octets, which are within room. 0, or a failure given to stream_core_fail. */
	int (*write)(struct stream *s, const void *p, size_t n);
	/* OPEN: puts into the output buffer what `write` still kept. A failure as in `write`. */
	void (*flush)(struct stream *s);
	/* OPEN: the transport holds octets, or its output drained, so that `read` may give more
	 * though the socket does not say so. */
	bool (*pending)(const struct stream *s);
	/* FINISHING begins: the transport's own last octets. */
	void (*goodbye)(struct stream *s);
	/* Fills what only the transport knows; the rest is filled already. */
	void (*info)(const struct stream *s, struct stream_info *out);
	bool (*covers)(const struct stream *s, const char *domain);
	/* Frees the transport's things, but not the memory of S. */
	void (*release)(struct stream *s);
};

/* A transport's struct begins with this one. */
struct stream {
	const struct stream_ops *ops;
	struct loop *loop;
	struct stream_hub *hub;
	const struct stream_handler *handler; /* NULL: nobody listens yet */
	void *ctx;
	struct stream_link soon;  /* in the hub's list of streams with DUE events */
	struct stream_link dirty; /* in the hub's list of streams to be sent */
	uv_poll_t poll;
	int fd;
	int armed;       /* events that libuv polls for now */
	unsigned due;    /* events that the handler gets as soon as the loop comes by */
	enum stream_state state;
	bool want_read;
	bool hold;         /* stream_hold */
	bool want_write;   /* stream_write took less than offered: `writable` is owed */
	bool blocked;      /* the socket took no more: EPOLLOUT tells */
	bool unwanted;     /* input came while want_read was false: not polled until it is true */
	bool dry;          /* a recv took all there was: none is tried before polling says more */
	bool ended;        /* the peer's end was read */
	bool hung_up;      /* libuv gave up the socket (error, reset): reading finds out why */
	bool send_failed;  /* output goes nowhere; what came before can still be read */
	bool finish_asked; /* before OPEN: acted on once open */
	bool early;        /* the transport's: see stream_is_early */
	bool freed;        /* only libuv still knows the memory */
	struct buf out;    /* octets for the wire */
	size_t turn_octets; /* taken by stream_write in this turn, and before it what is held */
	struct loop_timer *linger; /* NULL before FINISHING */
	struct address peer;
	bool local;
	uid_t uid;
	uint64_t octets_in, octets_out;
	int error;       /* CLOSED: for the handler */
	char *why;       /* CLOSED: for people; NULL: error's phrase */
};

/*
 * Makes a zeroed transport struct (STREAM its first member, allocated by malloc)
 * a stream on FD, CONNECTING or OPENING. 0: FD and the memory belong to the
 * stream, stream_free ends both. ERR_NOMEM, ERR_IO: FD is closed, the memory
 * is still the caller's.
 */
int stream_core_init(struct stream *s, struct loop *l, int fd, const struct stream_ops *ops);

/* The transport's handshake is done. `opened` follows from the loop. */
void stream_core_opened(struct stream *s);

/* The stream is over; `closed` follows from the loop. What still waits is offered to the socket
 * once (an alert of the transport lies there). Only the first call counts. Returns ERROR. */
int stream_core_fail(struct stream *s, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same for a failed system call on the socket. */
int stream_core_fail_errno(struct stream *s, int number);

/* One recv, or -EAGAIN without one when nothing can have come since the last: > 0 octets, 0 the
 * end, or the negated errno. */
ssize_t stream_core_recv(struct stream *s, void *p, size_t n);

/* --- stream_hub.c: what the streams of a loop share ---------------------------------------- */

/* The loop's hub, made when the first stream needs it. NULL when memory is out. */
struct stream_hub *stream_hub_of(struct loop *l);
/* The handler is due EVENTS: stream_core_events comes before the loop sleeps. */
void stream_hub_soon(struct stream *s, unsigned events);
/* Octets lie in s->out, or were taken: stream_core_turn_end comes at the end of the turn. */
void stream_hub_dirty(struct stream *s);
/* Neither comes any more. */
void stream_hub_forget(struct stream *s);

/* --- stream.c, for the hub ----------------------------------------------------------------- */

/* Gives the handler what is due. */
void stream_core_events(struct stream *s);
/* Sends; the next turn has a fresh measure for its writer. */
void stream_core_turn_end(struct stream *s);

#endif
