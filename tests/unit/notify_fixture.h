/*
 * The notification agent's sessions on two workers, each a thread with a loop,
 * over a real database, writer and logins; the test's thread is their peer, with
 * blocking sockets.
 */
#ifndef IM2000_TESTS_NOTIFY_FIXTURE_H
#define IM2000_TESTS_NOTIFY_FIXTURE_H

#include <pthread.h>

#include "notify/app.h"
#include "wire/rnaqp.h"
#include "wire/rnasp.h"

#define AGENT_WORKERS 2
#define AGENT_SESSIONS 64

struct agent_worker {
	struct app_worker common; /* first: what sessions see */
	struct agent *agent;
	pthread_t thread;
};

/* One session, seen from both ends. */
struct agent_session {
	struct loop_task task;
	struct agent *agent;
	struct agent_worker *worker;
	const struct server_protocol *protocol;
	int fd;   /* the worker's end, until the session has it */
	int peer; /* the test's end; -1: closed */
	struct server_session *session; /* the worker's; NULL before and after */
	int (*act)(struct agent_session *x);
	int result;
};

struct agent {
	char *dir;
	struct db *db;
	struct app app;
	struct server_limits limits;
	struct agent_worker worker[AGENT_WORKERS];
	struct agent_session session[AGENT_SESSIONS];
	size_t n_sessions;
	pthread_mutex_t lock; /* for what follows */
	pthread_cond_t changed;
	unsigned commands; /* that were given to a handler */
	unsigned ended;    /* sessions */
	unsigned acted;    /* tasks that have run */
};

/* For cmocka: *STATE is a running struct agent, which keeps what nobody proved. */
int agent_setup(void **state);
/* Everything must end in order, and the database must add up. */
int agent_teardown(void **state);

/* A new session on worker WORKER. */
struct agent_session *agent_intake(struct agent *a, unsigned worker);
struct agent_session *agent_query(struct agent *a, unsigned worker);
/* A session that has authenticated as NAME@b.example with that mailbox's token. */
struct agent_session *agent_reader(struct agent *a, unsigned worker, const char *name);

/* The test closes its end. */
void agent_hang_up(struct agent_session *x);
/* On the session's worker, waiting for it: server_kill, server_shutdown. */
void agent_kill(struct agent_session *x);
void agent_shutdown(struct agent_session *x);
/* A write transaction of the test's own. Commits wait for it, a worker's in its own turn too. */
struct kv_txn *agent_hold_writer(struct agent *a);
void agent_let_writer(struct kv_txn *t);
/*
 * While the writer's thread is occupied, jobs wait for it and no worker stands still: so
 * sessions can be caught with jobs under way.
 */
struct occupation;
struct occupation *agent_occupy_writer(struct agent *a);
void agent_free_writer(struct occupation *o);

/* Damage done by hand: the index leads from MAILBOX and the id of MARK to no notice. */
void agent_damage(struct agent *a, uint32_t mailbox, uint32_t mark);
void agent_mend(struct agent *a, uint32_t mailbox);

/* Waits until handlers have been given N commands in all, or N sessions have ended. */
void agent_wait_commands(struct agent *a, unsigned n);
void agent_wait_ended(struct agent *a, unsigned n);

/* --- mailboxes, at b.example: their tokens are kept --------------------------------------- */

uint32_t agent_mailbox(struct agent *a, const char *name);
/* With this password in place of a token. */
uint32_t agent_mailbox_password(struct agent *a, const char *name, const char *password);
void agent_mailbox_remove(struct agent *a, const char *name);
const char *agent_token(const char *name);

/* --- the peer's side ---------------------------------------------------------------------- */

void peer_send_raw(struct agent_session *x, const void *p, size_t n);
/* The next frame's body, in memory that the next call uses again. */
struct span peer_receive(struct agent_session *x);
/* The session has closed and says nothing more. */
void peer_expect_end(struct agent_session *x);

void peer_send_query(struct agent_session *x, const struct rnaqp_command *c);
void peer_receive_query(struct agent_session *x, struct rnaqp_response *out);
void peer_query(struct agent_session *x, const struct rnaqp_command *c, struct rnaqp_response *out);
void peer_send_retrieve(struct agent_session *x, uint64_t after, uint64_t limit, uint64_t wait);
void peer_send_acknowledge(struct agent_session *x, const uint64_t *cursors, size_t n);
/* Answers the status. */
enum wire_status peer_authenticate(struct agent_session *x, const char *account,
                                   const char *password);
enum wire_status peer_acknowledge(struct agent_session *x, const uint64_t *cursors, size_t n);

/* What a list holds of each notification. */
struct seen {
	uint64_t cursor;
	uint32_t mark; /* of the id */
	bool withdrawn;
};
/* The list of RESPONSE, to a retrieve or retrieveAndClear, which must be ok. */
size_t peer_list(const struct rnaqp_response *r, struct seen *out, size_t cap, uint64_t *next);
/* The response to a retrieve holds one notification, with this mark. */
void peer_expect_mark(struct agent_session *x, uint32_t mark);
size_t peer_retrieve(struct agent_session *x, uint64_t after, uint64_t limit, struct seen *out,
                     size_t cap, uint64_t *next);

/* One notification from alice@a.example for NAME@b.example; MARK makes the id; HEADER octets. */
struct note {
	const char *name;
	uint32_t mark;
	size_t header;
};
void peer_send_notify(struct agent_session *x, const struct note *notes, size_t n);
/* The results of the response to it, N of them. */
void peer_receive_results(struct agent_session *x, uint8_t *out, size_t n);
/* One note that must be accepted. */
void peer_notify(struct agent_session *x, const char *name, uint32_t mark);

#endif
