/*
 * The service manager that has started this process, where it is one that
 * speaks as systemd does: sockets handed over (sd_listen_fds(3)) and news of the
 * process's state (sd_notify(3)). Environment variables and a datagram socket;
 * no library.
 */
#ifndef IM2000_SESSION_SUPERVISOR_H
#define IM2000_SESSION_SUPERVISOR_H

#include <stddef.h>

#include "base/err.h"

/* A listening stream socket that was handed over. */
struct supervisor_socket {
	int fd;     /* closed at exec from now on */
	char *name; /* of LISTEN_FDNAMES, "" where that says nothing */
};

/*
 * The sockets handed over to this process: $LISTEN_PID, $LISTEN_FDS, $LISTEN_FDNAMES, which are
 * taken out of the environment. *OUT has *N of them, to be given back with
 * supervisor_sockets_free; none is no error. 0; ERR_CONFIG for variables that make no sense
 * or a descriptor that is no listening stream socket, ERR_NOMEM, with E filled. To be called
 * while the process has one thread.
 */
int supervisor_sockets(struct supervisor_socket **out, size_t *n, struct err_text *e);
/* Frees the list and closes the sockets whose fd is not set to -1. */
void supervisor_sockets_free(struct supervisor_socket *list, size_t n);

/*
 * Tells the manager the state: lines such as "READY=1\nSTATUS=serving", if $NOTIFY_SOCKET
 * names a socket (a path, or @name for an abstract one). What cannot be told is logged.
 */
void supervisor_tell(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
