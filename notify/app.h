/* What the running agent's sessions share. Made by run.c, constant while sessions live. */
#ifndef IM2000_NOTIFY_APP_H
#define IM2000_NOTIFY_APP_H

#include "notify/config.h"
#include "notify/db.h"
#include "notify/flood.h"
#include "notify/policy.h"
#include "session/server.h"
#include "session/login.h"
#include "session/waiters.h"

/* What was answered since it was last taken into the database, by enum wire_notify_result. */
struct app_counts {
	_Atomic uint64_t results[WIRE_NOTIFY_COUNT];
};

struct app {
	const struct config *config;
	struct db *db;
	struct writer *writer;
	struct login *login;
	struct waiters *waiters;
	struct policy_settings policy;
	struct flood *flood; /* NULL: no limits by rate */
	struct app_counts counts;
};

/* Of one worker. */
struct app_worker {
	struct app *app;
	struct loop *loop;
	struct writer_client *writer;
	void *attachment;
	struct waiters_loop *waiters;
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
