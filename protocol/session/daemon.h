/*
 * What every daemon does alike: worker threads with a loop each, listeners, the
 * ready line, signals, refusing to run as root.
 */
#ifndef IM2000_SESSION_DAEMON_H
#define IM2000_SESSION_DAEMON_H

#include "base/metrics.h"
#include "base/writer.h"
#include "net/listen.h"
#include "session/server.h"

struct daemon;
struct daemon_worker;

/* One protocol that the daemon serves, and where. */
struct daemon_service {
	const struct server_protocol *protocol;
	const char *name; /* "msoap", for the ready line */
	/*
	 * "127.0.0.1:4401", "[::1]:4401", "unix:/path". Several services may name the same
	 * address, octet for octet: they share its port, and ALPN tells them apart. A UNIX socket
	 * has one service.
	 */
	const char *const *addresses;
	size_t n_addresses;
};

struct daemon_options {
	const char *program; /* "im2000-store" */
	const struct daemon_service *services;
	size_t n_services;
	unsigned workers; /* 0: number of cores */
	struct server_limits limits;
	unsigned max_sessions, max_per_address; /* local connections count for the first only */
	struct tls_options tls; /* server side; not read when all addresses are local */
	/*
	 * On each worker's thread, before it serves and after its last session: what the program
	 * keeps for a worker. An error (with E filled) ends the daemon's start. May be NULL.
	 */
	int (*worker_start)(void *app, struct daemon_worker *w, void **state, struct err_text *e);
	void (*worker_stop)(void *app, void *state);
	/*
	 * On the main thread, at SIGHUP: the program reads its configuration again and calls
	 * daemon_reconfigure. An error is logged; the old stays in force. NULL: SIGHUP is ignored.
	 */
	int (*reload)(void *app, struct daemon *d, struct err_text *e);
	/*
	 * Where metrics are served by HTTP (docs/operations.md): "127.0.0.1:9400", "[::1]:9400" or
	 * "unix:/path", see daemon_metrics_allowed. NULL: nowhere.
	 */
	const char *metrics;
	/* On the main thread, for each time they are asked for: the program's own. May be NULL. */
	void (*measure)(void *app, struct metrics *m);
	/*
	 * What the program keeps: when it cannot be written any more (kv_watch), the daemon ends as
	 * at SIGTERM, but with ERR_IO, so that who looks after it starts it again. May be NULL.
	 */
	struct kv *kv;
	void *app; /* for these four, and daemon_worker_app */
};

/*
 * Serves until SIGTERM or SIGINT: prints the ready line to stdout once all
 * listeners are there ("ready msoap=127.0.0.1:4401 msrap=127.0.0.1:4402"; of
 * several addresses the first; "metrics=..." at the end where they are served),
 * then at the signal stops listening, lets each session finish the command in
 * hand (10 s at most, or until a second signal), stops the workers. SIGPIPE is
 * ignored from then on. A service manager may hand over the sockets, and is told
 * of the state (session/supervisor.h). One daemon a process, to be called on the
 * main thread; OPTIONS and what they point to must stay. 0, or an error with E
 * filled.
 */
int daemon_run(const struct daemon_options *options, struct err_text *e);

/*
 * From reload: logs each key of KEYS whose value in FRESH, just read, is not that in force, and
 * which wants a restart.
 */
struct conf_key;
void daemon_warn_restart(const struct conf_key *keys, const void *in_force, const void *fresh);

/*
 * On the main thread, from reload: new TLS files and limits for the connections to come. 0,
 * or an error with E filled and nothing changed.
 */
int daemon_reconfigure(struct daemon *d, const struct tls_options *tls,
                       const struct server_limits *limits, struct err_text *e);

/* Whether TEXT is an address that metrics may be served at: a loopback one, or a UNIX socket. */
bool daemon_metrics_allowed(const char *text);
/* The same of the value of `metrics` in file PATH, which may be NULL. 0, or ERR_CONFIG with E. */
int daemon_metrics_check(const char *path, const char *text, struct err_text *e);

/* The families that every program with a writer and logins has. */
void daemon_measure_writer(struct metrics *m, struct writer *w);
struct login;
void daemon_measure_logins(struct metrics *m, struct login *g);
/* The file, and each of TABLES (ended by NULL) with its handle. */
void daemon_measure_database(struct metrics *m, struct kv *kv, const char *const *tables,
                             const kv_table *handles);

/* A server_protocol's open gets the worker as its APP argument. */
struct loop *daemon_worker_loop(struct daemon_worker *w);
void *daemon_worker_state(struct daemon_worker *w); /* what worker_start made */
void *daemon_worker_app(struct daemon_worker *w);
unsigned daemon_worker_number(const struct daemon_worker *w); /* 0 to count-1 */

/*
 * A writer's client for this loop: wakes and collects by itself, acts at the end of each turn.
 * 0, ERR_NOMEM, ERR_IO.
 */
int daemon_writer_attach(struct loop *l, struct writer *w, struct writer_client **out,
                         void **attachment);
/* Waits for its jobs, whose done callbacks run inside; frees the client. NULL is fine. */
void daemon_writer_detach(void *attachment);

/*
 * The certificates and keys that PATH names: one key for each certificate. 0, or ERR_CONFIG with E
 * saying where one is missing.
 */
struct conf_list;
int daemon_pair_certificates(const char *path, const struct conf_list *certificates,
                             const struct conf_list *keys, struct err_text *e);
/* Puts them into OUT, which borrows them. */
void daemon_name_certificates(const struct conf_list *certificates, const struct conf_list *keys,
                              struct tls_options *out);

/*
 * Whether certificates, keys and CA file load and belong together: 0, or an error
 * with E filled. A DOMAIN that no certificate covers is an error when
 * STRICT (`run --check`), else a warning in the log: peers who ask for that domain
 * will refuse this daemon, the others are served.
 */
int daemon_check_certificate(const struct tls_options *tls, const char *const *domains,
                             size_t n, bool strict, struct err_text *e);

/*
 * 0; ERR_DENIED with E saying how to run it instead when the process is root ("im2000-store
 * does not run as root: start it as an ordinary user, for example: setpriv --reuid=mail ...").
 */
int daemon_refuse_root(const char *program, struct err_text *e);

#endif
