/* What the running agent's sessions share. Made by run.c, constant while sessions live. */
#ifndef IM2000_NOTIFY_APP_H
#define IM2000_NOTIFY_APP_H

#include <stdatomic.h>

#include "base/metrics.h"
#include "notify/config.h"
#include "notify/db.h"
#include "notify/flood.h"
#include "notify/policy.h"
#include "session/server.h"
#include "session/login.h"
#include "session/waiters.h"

/*
 * The part of the configuration that sessions go by, as it was at some time. Never changed
 * once it is in force, and kept until the agent ends: whoever has seen one may go by it.
 */
struct app_settings {
	struct policy_settings policy;
	struct local_users local_users;
	struct app_settings *older;
};

struct app_counts {
	/* By enum db_count, since they were last taken into the database. */
	_Atomic uint64_t results[DB_COUNTS];
	uint64_t fetched[DB_COUNTS]; /* of the fetcher's, what was taken: app_counts_take's own */
	/* Since the agent started, for its metrics. */
	atomic_ullong answered[WIRE_NOTIFY_COUNT];
	atomic_ullong withdrawn;
	atomic_ullong listed; /* notices handed out */
	atomic_ullong expired;
	atomic_ullong fetched_octets; /* of messages, given to mail programs */
};

struct app {
	struct db *db;
	struct writer *writer;
	struct login *login;
	struct waiters *waiters;
	_Atomic(struct app_settings *) settings; /* the newest */
	struct flood *flood; /* NULL: no limits by rate */
	struct fetcher *fetcher; /* NULL: `fetch` is not offered */
	struct app_counts counts;
};

/* The settings of C (whose local users it takes over). NULL when memory is out. */
struct app_settings *app_settings_create(struct config *c);
/* Puts S in force (takes it over). One thread at a time. */
void app_settings_replace(struct app *app, struct app_settings *s);
/* All of them, when nobody goes by them any more. */
void app_settings_free(struct app *app);
/* Those in force. Any thread. */
const struct app_settings *app_settings(struct app *app);

/*
 * Takes what is to go into the database; app_counts_back where it did not get there. One thread at
 * a time.
 */
void app_counts_take(struct app *app, uint64_t out[DB_COUNTS]);
void app_counts_back(struct app *app, const uint64_t counts[DB_COUNTS]);

/* Adds N to a count. */
void app_count(atomic_ullong *count, unsigned long long n);
/* The agent's metrics. Any thread. */
void app_measure(struct app *app, struct metrics *m);

/* Of one worker. */
struct app_worker {
	struct app *app;
	struct loop *loop;
	struct writer_client *writer;
	void *attachment;
	struct waiters_loop *waiters;
	struct waiters_loop *fetches; /* of the fetcher */
};

/*
 * RNASP, the stores' side (intake_session.c); RNAQP, the mail programs' side (query.c). Their
 * `open` finds the worker by daemon_worker_state; the two functions are that `open` for a worker
 * that is known.
 */
extern const struct server_protocol intake_protocol;
extern const struct server_protocol query_protocol;
int intake_open(struct server_session *s, struct app_worker *worker, void **state);
int query_open(struct server_session *s, struct app_worker *worker, void **state);

#endif
