/*
 * What a daemon holds, for the files daemon*.c alone: daemon.c has the process
 * (signals, start and end), daemon_address.c where it listens, daemon_worker.c a
 * worker's thread, daemon_measure.c what it tells of itself, daemon_metrics.c how.
 */
#ifndef IM2000_SESSION_DAEMON_STATE_H
#define IM2000_SESSION_DAEMON_STATE_H

#include <pthread.h>

#include "session/daemon.h"
#include "session/supervisor.h"

/* One address to listen on, and the services that share it. */
struct daemon_endpoint {
	char *text;              /* as the configuration says it, or would */
	const char *unix_path;   /* in TEXT; NULL: by TCP */
	struct address address;  /* with the kernel's port once worker 0 listens */
	int fd;                  /* a socket that was handed over, else -1 */
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

/* A service as a worker serves it: the protocol, counted. */
struct daemon_served {
	struct server_protocol protocol;
	struct server_counts counts;
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
	struct daemon_served *served; /* as many as services */
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
	int metrics_fd; /* a socket for metrics that was handed over, else -1 */
	struct daemon_metrics *metrics; /* NULL: none are served */
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
	struct loop_task kv_failed; /* posted to `loop` when the database can be written no more */
	bool failed; /* that was so; the main thread's */
	uint64_t started_us;
	uint64_t reloads[2]; /* that failed, that were done; the main thread's */
};

/*
 * Fills d->endpoints from the options and from the sockets that the service manager handed over.
 * A socket that is named for a service is where that listens, whatever is configured; another
 * one goes to the services whose configuration has its address. 0, or an error with E filled.
 */
int daemon_addresses_collect(struct daemon *d, struct err_text *e);
/* Whether another program has one of the ports. 0, or an error with E filled. */
int daemon_addresses_check(const struct daemon *d, struct err_text *e);
/* The first endpoint of S as the configuration has them. NULL: none. */
const struct daemon_endpoint *daemon_addresses_first(const struct daemon *d,
                                                     const struct daemon_service *s);
void daemon_addresses_free(struct daemon *d);

/*
 * Serves the metrics on d->loop, where the options name an address. 0, or an error with E filled.
 * d->metrics tells what is there.
 */
int daemon_metrics_start(struct daemon *d, struct err_text *e);
/* NULL is fine. */
void daemon_metrics_stop(struct daemon_metrics *x);
/* All families, the program's last. On the main thread. */
void daemon_measure(struct daemon *d, struct metrics *m);
/* " metrics=..." for the ready line, or nothing. */
void daemon_metrics_ready(const struct daemon_metrics *x, char *out, size_t cap);

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
