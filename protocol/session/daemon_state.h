/*
 * What a daemon holds, for the files daemon*.c alone: daemon.c has the process
 * (addresses, signals, start and end), daemon_worker.c a worker's thread.
 */
#ifndef IM2000_SESSION_DAEMON_STATE_H
#define IM2000_SESSION_DAEMON_STATE_H

#include <pthread.h>

#include "session/daemon.h"

/* One address to listen on, and the services that share it. */
struct daemon_endpoint {
	const char *text;        /* as the configuration says it */
	const char *unix_path;   /* NULL: by TCP */
	struct address address;  /* with the kernel's port once worker 0 listens */
	const struct daemon_service **services;
	const char **alpn;       /* the services' protocols, NULL at the end */
	size_t n;
};

/* Limits as they were at some time: sessions borrow them, so they stay until the end. */
struct daemon_limits {
	struct server_limits limits;
	struct daemon_limits *older;
};

/* A session that a worker serves. */
struct daemon_session {
	struct daemon_session *prev, *next;
	struct daemon_worker *worker;
	struct server_session *session;
};

/* A listener of a worker. */
struct daemon_spot {
	struct daemon_worker *worker;
	const struct daemon_endpoint *endpoint;
	struct listener *listener; /* NULL: not this worker's part */
};

struct daemon_worker {
	struct daemon *daemon;
	unsigned number;
	pthread_t thread;
	/* The worker's thread's own. */
	void *state;
	struct daemon_spot *spots; /* as many as endpoints */
	struct daemon_session *sessions;
	struct loop_timer *patience; /* running from the order to stop on */
	bool stopping;
	/* Under the daemon's lock. */
	struct loop *loop; /* NULL: not there yet, or gone */
	bool reported;     /* `error` says how the start went */
	int error;
	struct err_text why;
	struct loop_task stop, hurry;
	bool stop_sent, hurry_sent;
};

struct daemon {
	const struct daemon_options *options;
	struct daemon_endpoint *endpoints;
	size_t n_endpoints;
	struct listen_limits *listen_limits;
	struct daemon_worker *workers;
	unsigned n_workers; /* whose threads were started */
	struct loop *loop;  /* the main thread's */
	pthread_mutex_t lock; /* covers what follows, and parts of the workers */
	pthread_cond_t reported;
	struct tls_config *tls; /* NULL: all endpoints are local */
	struct daemon_limits *limits; /* the newest first */
	unsigned alive;         /* workers whose threads have not ended their work */
	struct loop_task ended; /* posted to `loop` when the last has */
};

/* For the next connection: the configuration held, the limits. Any thread. */
struct tls_config *daemon_hold_tls(void *ctx);
const struct server_limits *daemon_current_limits(struct daemon *d);

/* Starts the thread of W and waits until it serves. 0, or an error with E filled. */
int daemon_worker_create(struct daemon *d, struct daemon_worker *w, struct err_text *e);
/* Orders W to end: what is in hand is finished, for a while; HURRY: at once. Any thread. */
void daemon_worker_stop(struct daemon_worker *w, bool hurry);
/* Waits for the thread to end. */
void daemon_worker_join(struct daemon_worker *w);

#endif
