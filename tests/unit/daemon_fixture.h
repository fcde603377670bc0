/* A daemon with two toy protocols in a process of its own, and its clients: for tests. */
#ifndef IM2000_TESTS_DAEMON_FIXTURE_H
#define IM2000_TESTS_DAEMON_FIXTURE_H

#include <openssl/ssl.h>
#include <pthread.h>

#include "session/daemon.h"

/* The program, in the child: what its workers did is told by the exit status. */
struct app {
	pthread_mutex_t lock;
	unsigned starts, stops;
	unsigned fail_worker; /* the start of this one fails; 0: none (the first is 1) */
	bool bad_reload;      /* every second reload fails */
	unsigned reloads;
	struct daemon_options *options;
};

/* How the child ends: in order; with workers not stopped as often as started; not started. */
enum { EXIT_GOOD = 0, EXIT_COUNTS = 3, EXIT_STARTED_NOT = 4 };

/* In the parent. */
struct fixture {
	char *dir;
	char unix_text[128];
	const char *addresses[2];
	const char *local[1];
	struct daemon_service services[3];
	struct daemon_options options;
	struct app app;
	int handed[4]; /* sockets to hand over, by a service manager's protocol */
	unsigned n_handed;
	const char *handed_names;
	const char *manager; /* NOTIFY_SOCKET; NULL: none */
	pid_t pid;
	char ready[600]; /* the line, or the error's text */
	char address[64];
	SSL_CTX *ctx;
};

/* A blocking connection, by TLS or, where SSL is NULL, not. */
struct link {
	int fd;
	SSL *ssl;
};

/*
 * Options for services alpha and beta, each on a port of its own, and beta on a UNIX socket too.
 * Wants certs_create and the certificates first and second (certs.h).
 */
void daemon_setup(struct fixture *f);
void daemon_teardown(struct fixture *f);
/* Starts the child and reads what it says first. */
void daemon_start(struct fixture *f);
/* Waits for the child; its exit status. */
int daemon_finish(struct fixture *f);
/* By SIGTERM, and it must end well. */
void daemon_stop(struct fixture *f);

/* False: refused, or closed in the handshake. */
bool daemon_dial(struct fixture *f, struct link *k, const char *alpn, const char *domain);
void daemon_dial_local(struct fixture *f, struct link *k);
void daemon_hang_up(struct link *k);
/* Sends a command of the toy. */
void daemon_say(struct link *k, char letter, const char *data);
/* The next response's letter and data as text; "" at the end. */
const char *daemon_hear(struct link *k);
/* Exactly N octets; 0 at the end. */
size_t daemon_hear_octets(struct link *k, uint8_t *p, size_t n);

#endif
