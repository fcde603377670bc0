/* A server session with the toy protocol over a socket pair, and its peer: for tests. */
#ifndef IM2000_TESTS_SESSION_FIXTURE_H
#define IM2000_TESTS_SESSION_FIXTURE_H

#include "session_toy.h"

#define MS 1000ULL

/*
 * A session and its peer. The peer is a bare socket, served at the end of each
 * turn of the loop: it sends at most CHUNK octets a turn up to SEND_UNTIL, and
 * reads while READING.
 */
struct fixture {
	struct loop *loop;
	struct loop_hook hook;
	struct loop_timer *tick;
	unsigned turns;
	struct server_limits limits;
	struct toy toy;
	struct server_session *session; /* NULL: ended */
	unsigned ended;
	int fd; /* the peer's end */
	int socket_octets; /* that the session's socket keeps; 0: the system's */
	struct buf script;
	size_t sent, send_until, chunk;
	bool reading, eof;
	struct buf got;
	/* run() ends when one of these holds. */
	bool until_eof;
	size_t until_got;
	uint64_t until_us; /* clock_mono_us */
	unsigned until_turns;
	bool done;
	uint64_t moved; /* stands_still */
	unsigned same;
	bool (*until)(struct fixture *f);
};

/* A loop, limits and no session: then session_start, which is server_start. */
void session_setup_loop(struct fixture *f);
int session_start(struct fixture *f);
/* Both. */
void session_setup(struct fixture *f);
void session_teardown(struct fixture *f);

/* Appends a command to what the peer sends, and lets it send all. */
void session_command(struct fixture *f, char letter, const char *data);
void session_send_all(struct fixture *f);

/* Runs the loop until F says that it is enough; fails when it never is. */
void session_run(struct fixture *f);
void session_run_turns(struct fixture *f, unsigned n);
void session_run_for(struct fixture *f, uint64_t us);
void session_run_to_eof(struct fixture *f); /* and until the session has ended */
void session_run_to_got(struct fixture *f, size_t n);
void session_run_until(struct fixture *f, bool (*check)(struct fixture *f));
/* For session_run_until: nothing has moved for a while; the session has ended; had a command. */
bool session_stands_still(struct fixture *f);
bool session_is_over(struct fixture *f);
bool session_has_command(struct fixture *f);

/* The peer got exactly EXPECT, which is freed. */
void session_assert_got(struct fixture *f, struct buf *expect);

#endif
