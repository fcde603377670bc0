/*
 * For tests: who calls a client, and who answers it -- the toy's server, or a
 * bare peer that does what the test says -- over a UNIX socket.
 */
#ifndef IM2000_TESTS_CALLER_H
#define IM2000_TESTS_CALLER_H

#include <sys/un.h>

#include "session/client.h"
#include "session_toy.h"

#define MS 1000ULL
#define REQUESTS_MAX 300

enum end { NONE, RESPONSE, FAILED };

struct fixture;

/* One request and what came of it. */
struct request {
	struct fixture *f;
	struct client_request *handle;
	enum end end;
	unsigned order; /* which of all to end, from 1 on */
	int error;
	struct err_text why;
	struct buf body;   /* response and data, as they came */
	uint64_t total;
	size_t head;       /* octets that `response` had */
	unsigned pieces;   /* calls of `data` */
	bool last;
	uint64_t tail_at;  /* octets of toy_octet written */
	uint64_t tail_end;
	bool shy;          /* its tail has nothing at first */
	int tail_error;
	/* What its callbacks do beside, once. */
	bool free_client, free_at_data;
	struct request *cancels;
};

struct fixture {
	struct loop *loop;
	struct loop_hook hook;
	struct loop_timer *tick;
	char *dir;
	struct sockaddr_un address;
	int listener;
	struct client *client;
	struct client_options options;
	unsigned closed;
	int closed_error;
	char closed_why[256];
	bool free_in_closed;
	struct request requests[REQUESTS_MAX];
	unsigned n, ended;
	bool no_data; /* requests take no streamed responses */
	/* The other end: the toy's server, or an own peer. */
	bool bare;
	int peer; /* -1: not there */
	struct buf heard, words; /* what the bare peer got; what it says */
	size_t pace;             /* octets of its words a turn; 0: all */
	bool deaf;               /* does not read */
	bool hangs_up;           /* when all words are said */
	struct toy toy;
	struct server_limits limits;
	struct server_session *session;
	unsigned turns;
	bool done;
	bool (*until)(struct fixture *f);
};

/* Everything but the client, whose options may then be changed. */
void caller_setup(struct fixture *f, bool bare);
void caller_connect(struct fixture *f);
void caller_teardown(struct fixture *f);

/* A request of LETTER; TAIL octets of toy_octet follow DATA. */
struct request *caller_ask_with(struct fixture *f, char letter, const char *data, uint64_t tail,
                                uint64_t timeout_us);
struct request *caller_ask(struct fixture *f, char letter, const char *data);
/* For a long answer of N octets. */
struct request *caller_ask_long(struct fixture *f, uint32_t n);
void caller_cancel(struct request *r);
/* Writes of R's tail what is taken. */
void caller_write_tail(struct request *r);

/* Runs the loop until UNTIL holds; fails when it never does. */
void caller_run_until(struct fixture *f, bool (*until)(struct fixture *f));
bool caller_all_ended(struct fixture *f); /* but the cancelled */
bool caller_is_closed(struct fixture *f);
bool caller_is_open(struct fixture *f);
bool caller_is_freed(struct fixture *f);
bool caller_after_turns(struct fixture *f); /* ten */

void caller_assert_answer(const struct request *r, char letter, const char *data);
/* The answer is the toy's sum of N octets of toy_octet. */
void caller_assert_sum(const struct request *r, char letter, size_t n);
/* WHY stands in what people are told. */
void caller_assert_failed(const struct request *r, int error, const char *why);

#endif
