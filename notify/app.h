/* What the running agent's sessions share. Made by run.c, constant while sessions live. */
#ifndef IM2000_NOTIFY_APP_H
#define IM2000_NOTIFY_APP_H

#include "notify/config.h"
#include "notify/db.h"
#include "notify/policy.h"
#include "notify/waiters.h"
#include "session/daemon.h"
#include "session/login.h"

struct app {
	const struct config *config;
	struct db *db;
	struct writer *writer;
	struct login *login;
	struct waiters *waiters;
	struct policy_settings policy;
	uint64_t wait_us; /* the longest a retrieve may wait */
};

/* Of one worker. */
struct app_worker {
	struct app *app;
	struct loop *loop;
	struct writer_client *writer;
	void *attachment;
	struct waiters_loop *waiters;
};

/* The worker that a session was opened on: APP is what server_protocol's open is given. */
static inline struct app_worker *app_worker_of(void *app)
{
	return daemon_worker_state(app);
}

/* RNASP, the stores' side (intake.c); RNAQP, the mail programs' side (query.c). */
extern const struct server_protocol intake_protocol;
extern const struct server_protocol query_protocol;

#endif
