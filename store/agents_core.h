/* What agents.c and agents_link.c share. Nothing else includes this. */
#ifndef IM2000_STORE_AGENTS_CORE_H
#define IM2000_STORE_AGENTS_CORE_H

#include "session/client.h"
#include "store/agents.h"
#include "store/batch.h"
#include "store/lines.h"
#include "store/share.h"
#include "store/traits.h"

enum flight_state {
	ON_WIRE,  /* sent, or queued in the client; its answer or its failure comes */
	ANSWERED, /* its results wait for others to be written */
	AT_WRITER /* its results are being written */
};

/* A batch on its way. */
struct flight {
	struct agent *agent;
	struct batch *batch;
	enum flight_state state;
	struct flight *next;        /* of the agent's */
	struct flight *answer_next; /* ANSWERED */
};

/*
 * The connection of an agent:
 *   NONE     there is none; it may be on the list of those who wait for one
 *   LOCATING counted, but not for a destination: its address is being looked up
 *   BUSY     connecting, or at work; an account is charged for it
 *   IDLE     kept, in case; the first to go when another domain wants one
 */
enum link_state { LINK_NONE, LINK_LOCATING, LINK_BUSY, LINK_IDLE };

struct link {
	enum link_state state;
	struct locate_lookup *lookup; /* LOCATING */
	struct client *client;        /* BUSY, IDLE */
	struct loop_timer *timer;     /* IDLE: the end of it */
	bool proven;                  /* an answer has come on this connection */
	uint32_t account;             /* LOCATING, BUSY: that is charged */
	uint64_t place;               /* where it leads, as known last; 0: not yet */
	bool waiting;                 /* NONE: on the list */
	struct agent *prev, *next;    /* of the list of those waiting, or of those IDLE */
};

/*
 * One domain that something is due for, to be told as the holder of one of our
 * certificates: another one wants another connection. Its jobs stand in lines;
 * batches of them are in flight. While it is `failing` its agent cannot be reached, and all that
 * stands in line is noted so, a batch after another.
 * It is freed when nothing is in line, in flight, connected or waiting.
 */
struct agent {
	struct agents *all;
	char domain[NAME_DOMAIN_MAX + 1];
	unsigned identity; /* number of the certificate */
	struct agent *bucket_next, *touched_next;
	struct lines lines;
	struct flight *flights;
	unsigned n_flights, n_wire; /* in all; ON_WIRE */
	struct link link;
	bool touched, failing;
	bool probing;               /* a notifyMany tells whether it takes that: nothing else goes */
	enum traits_many many;
	enum mailroom_outcome outcome; /* failing */
	char why[DB_TEXT_MAX];
	size_t why_n;
};

/* A list of agents by their links, oldest first. */
struct agent_list {
	struct agent *first, *last;
};

#define AGENTS_BUCKETS 1024 /* a power of two */

struct agents {
	struct service_worker *worker;
	struct round *round;
	struct locator *locator;
	struct tls_config *tls;
	struct agents_limits limits;
	bool allow_private;
	bool stopping;
	uint64_t trouble_us;   /* when a write failed last (monotonic), 0: never */
	struct agent *touched; /* something was queued since agents_work */
	struct traits *traits;
	/* Connections: all of them, those charged by account, all by place. */
	size_t connections;
	struct share *accounts, *places;
	struct agent_list waiting, idle;
	struct loop_timer *wake; /* link_wake is to come */
	/* Results, which are written a limited number at a time. */
	struct flight *answered, **answered_end;
	size_t writing; /* deliveries at the writer */
	struct agent *bucket[AGENTS_BUCKETS];
	struct batch_room room;
};

/* --- agents_link.c -------------------------------------------------------------------------- */

/* 0 or ERR_NOMEM. */
int link_create(struct agent *g);
/* Makes sure of a client for G, which has something in line. False: agents_go_on comes when there
 * is one, or when there can be none (then G is failing). */
bool link_ready(struct agent *g);
/* G has nothing to do: its connection is kept for a while, for whoever wants it. */
void link_rest(struct agent *g);
/* Ends the connection, whatever it does. */
void link_close(struct agent *g);
/* Gives what is free to those who wait and may have it. */
void link_wake(struct agents *a);

/* --- agents.c ------------------------------------------------------------------------------- */

/* Does what can be done for G now; frees it when that was all. */
void agents_go_on(struct agent *g);
/* Frees G if nothing is left of it. */
void agents_settle(struct agent *g);
/* The agent cannot be reached: ERROR, WHY for people. What is in line is noted so. */
void agents_unreachable(struct agent *g, int error, const char *why);

#endif
