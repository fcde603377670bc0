#include "session/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"

#define FIRST_FD 3 /* SD_LISTEN_FDS_START */
#define FDS_MAX 1024
#define STATE_MAX 2048 /* octets of one piece of news */

/* --- sockets ----------------------------------------------------------------------------- */

/* How many sockets are for this process; an error where the variables make no sense. */
static int count_sockets(struct err_text *e)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
	uint64_t number, n;

	if (pid == NULL || fds == NULL)
		return 0;
	if (text_parse_number(pid, INT32_MAX, &number) != 0)
		return err_set(e, ERR_CONFIG, "LISTEN_PID=%.40s: no process number", pid);
	if (number != (uint64_t)getpid())
		return 0; /* inherited: they are another process's */
	if (text_parse_number(fds, FDS_MAX, &n) != 0)
		return err_set(e, ERR_CONFIG, "LISTEN_FDS=%.40s: no number up to %d", fds, FDS_MAX);
	return (int)n;
}

static int check_socket(int fd, struct err_text *e)
{
	int type = 0, accepts = 0, flags;
	socklen_t n = sizeof type;

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) != 0)
		return err_set(e, ERR_CONFIG, "LISTEN_FDS: descriptor %d: %s", fd,
		               strerrordesc_np(errno));
	n = sizeof accepts;
	if (type != SOCK_STREAM || getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &accepts, &n) != 0 ||
	    !accepts)
		return err_set(e, ERR_CONFIG,
		               "LISTEN_FDS: descriptor %d is no listening stream socket "
		               "(ListenStream=, Accept=no)", fd);
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
	    fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return err_set(e, ERR_IO, "LISTEN_FDS: descriptor %d: %s", fd, strerrordesc_np(errno));
	return 0;
}

/* The Ith of the names between colons. NULL when memory is out. */
static char *name_of(const char *names, size_t i)
{
	for (; names != NULL && i > 0; i--) {
		names = strchr(names, ':');
		if (names != NULL)
			names++;
	}
	return span_dup(names == NULL ? span_of(NULL, 0) : span_of(names, strcspn(names, ":")));
}

int supervisor_sockets(struct supervisor_socket **out, size_t *n, struct err_text *e)
{
	const char *names = getenv("LISTEN_FDNAMES");
	struct supervisor_socket *list;
	int count = count_sockets(e), rc = 0;

	*out = NULL;
	*n = 0;
	if (count <= 0)
		return count;
	list = calloc((size_t)count, sizeof *list);
	if (list == NULL)
		return err_set(e, ERR_NOMEM, "out of memory");
	for (int i = 0; i < count; i++) {
		list[i].fd = FIRST_FD + i;
		list[i].name = name_of(names, (size_t)i);
		if (list[i].name == NULL)
			rc = err_set(e, ERR_NOMEM, "out of memory");
		if (rc == 0)
			rc = check_socket(list[i].fd, e);
	}
	/* For this process alone, and once. */
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	if (rc != 0) {
		supervisor_sockets_free(list, (size_t)count);
		return rc;
	}
	*out = list;
	*n = (size_t)count;
	return 0;
}

void supervisor_sockets_free(struct supervisor_socket *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (list[i].fd >= 0)
			close(list[i].fd);
		free(list[i].name);
	}
	free(list);
}

/* --- news -------------------------------------------------------------------------------- */

/* 0, or the errno of what went wrong. */
static int send_state(const char *where, const char *state, size_t n)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	size_t length = strlen(where);
	int fd, rc = 0;

	if ((where[0] != '/' && where[0] != '@') || length < 2)
		return EAFNOSUPPORT;
	if (length >= sizeof to.sun_path)
		return ENAMETOOLONG;
	memcpy(to.sun_path, where, length);
	if (to.sun_path[0] == '@')
		to.sun_path[0] = '\0'; /* no file: unix(7), abstract sockets */
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return errno;
	if (sendto(fd, state, n, MSG_NOSIGNAL, (struct sockaddr *)&to,
	           (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)) < 0)
		rc = errno;
	close(fd);
	return rc;
}

void supervisor_tell(const char *format, ...)
{
	const char *where = getenv("NOTIFY_SOCKET");
	char state[STATE_MAX], quoted[256];
	va_list args;
	int n, error;

	if (where == NULL || where[0] == '\0')
		return;
	va_start(args, format);
	n = vsnprintf(state, sizeof state, format, args);
	va_end(args);
	if (n < 0)
		return;
	error = send_state(where, state, strlen(state)); /* cut at STATE_MAX */
	if (error != 0)
		log_warn("notify-socket", "socket=%s error=\"%s\"",
		         log_quote(span_str(where), quoted, sizeof quoted), strerrordesc_np(error));
}
