/* Sockets handed over and news of the state, each in a process of its own with its environment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <netinet/in.h>
#include <unistd.h>

#include "session/supervisor.h"
#include "tempdir.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define FIRST 3

/* --- sockets ----------------------------------------------------------------------------- */

/* What stands at a descriptor that is handed over. */
enum what { LISTENS, IS_UNIX, CONNECTS_NOT, DATAGRAM, A_FILE, CLOSED };

static int make(enum what what)
{
	struct sockaddr_un local = { .sun_family = AF_UNIX };
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = -1;

	switch (what) {
	case LISTENS:
		fd = socket(AF_INET, SOCK_STREAM, 0);
		assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
		assert_int_equal(listen(fd, 1), 0);
		break;
	case IS_UNIX:
		fd = socket(AF_UNIX, SOCK_STREAM, 0);
		/* Without a path the kernel gives an abstract one. */
		assert_int_equal(bind(fd, (struct sockaddr *)&local, sizeof local.sun_family), 0);
		assert_int_equal(listen(fd, 1), 0);
		break;
	case CONNECTS_NOT:
		fd = socket(AF_INET, SOCK_STREAM, 0);
		break;
	case DATAGRAM:
		fd = socket(AF_INET, SOCK_DGRAM, 0);
		break;
	case A_FILE:
		fd = open("/dev/null", O_RDONLY);
		break;
	case CLOSED:
		return -1;
	}
	assert_true(fd >= 0);
	return fd;
}

struct handing {
	const char *why;
	const char *pid; /* "self": the process's own */
	const char *fds, *names;
	enum what what[2];
	int want;        /* how many, or the error */
	const char *name[2];
	const char *text; /* in the error */
};

/* In the child: what CASE says, at descriptors 3 and 4. Exit status 0 when all is as wanted. */
static int be_handed(const struct handing *c)
{
	struct supervisor_socket *list;
	struct err_text e = { "" };
	char self[16];
	size_t n;
	int made[2], rc;

	for (int i = 0; i < 2; i++)
		made[i] = make(c->what[i]);
	for (int i = 0; i < 2; i++) {
		int high = made[i] >= 0 ? fcntl(made[i], F_DUPFD, 20) : -1;

		made[i] = high;
	}
	for (int i = 0; i < 2; i++) {
		close(FIRST + i);
		if (made[i] >= 0)
			dup2(made[i], FIRST + i);
	}
	snprintf(self, sizeof self, "%d", (int)getpid());
	if (c->pid != NULL)
		setenv("LISTEN_PID", strcmp(c->pid, "self") == 0 ? self : c->pid, 1);
	if (c->fds != NULL)
		setenv("LISTEN_FDS", c->fds, 1);
	if (c->names != NULL)
		setenv("LISTEN_FDNAMES", c->names, 1);
	rc = supervisor_sockets(&list, &n, &e);
	if (c->want < 0)
		return rc == c->want && n == 0 && strstr(e.text, c->text) != NULL ? 0 : 1;
	if (rc != 0 || n != (size_t)c->want)
		return 2;
	for (size_t i = 0; i < n; i++) {
		int flags = fcntl(FIRST + (int)i, F_GETFD);

		if (list[i].fd != FIRST + (int)i || strcmp(list[i].name, c->name[i]) != 0)
			return 3;
		if ((flags & FD_CLOEXEC) == 0 || (fcntl(list[i].fd, F_GETFL) & O_NONBLOCK) == 0)
			return 4;
	}
	if (n > 0 && (getenv("LISTEN_FDS") != NULL || getenv("LISTEN_PID") != NULL ||
	              getenv("LISTEN_FDNAMES") != NULL))
		return 5;
	if (n > 0)
		list[0].fd = -1; /* taken over: stays open */
	supervisor_sockets_free(list, n);
	if (n > 0 && fcntl(FIRST, F_GETFD) < 0)
		return 6;
	if (n > 1 && fcntl(FIRST + 1, F_GETFD) >= 0)
		return 7;
	return 0;
}

static void test_sockets(void **state)
{
	static const struct handing cases[] = {
		{ "nothing", NULL, NULL, NULL, { CLOSED, CLOSED }, 0, { NULL, NULL }, NULL },
		{ "no process", NULL, "1", NULL, { LISTENS, CLOSED }, 0, { NULL, NULL }, NULL },
		{ "another process's", "1", "1", NULL, { LISTENS, CLOSED }, 0, { NULL, NULL }, NULL },
		{ "none", "self", "0", "", { CLOSED, CLOSED }, 0, { NULL, NULL }, NULL },
		{ "one", "self", "1", "msoap", { LISTENS, CLOSED }, 1, { "msoap", NULL }, NULL },
		{ "no names", "self", "2", NULL, { LISTENS, IS_UNIX }, 2, { "", "" }, NULL },
		{ "two", "self", "2", "a:b", { LISTENS, IS_UNIX }, 2, { "a", "b" }, NULL },
		{ "fewer names", "self", "2", "a", { LISTENS, LISTENS }, 2, { "a", "" }, NULL },
		{ "more names", "self", "1", "a:b:c", { LISTENS, CLOSED }, 1, { "a", NULL }, NULL },
		{ "no number", "self", "many", NULL, { LISTENS, CLOSED }, ERR_CONFIG, { NULL, NULL },
		  "LISTEN_FDS=many" },
		{ "too many", "self", "100000", NULL, { LISTENS, CLOSED }, ERR_CONFIG,
		  { NULL, NULL }, "LISTEN_FDS=100000" },
		{ "no process number", "me", "1", NULL, { LISTENS, CLOSED }, ERR_CONFIG,
		  { NULL, NULL }, "LISTEN_PID=me" },
		{ "one is missing", "self", "2", NULL, { LISTENS, CLOSED }, ERR_CONFIG,
		  { NULL, NULL }, "descriptor 4" },
		{ "does not listen", "self", "1", NULL, { CONNECTS_NOT, CLOSED }, ERR_CONFIG,
		  { NULL, NULL }, "no listening stream socket" },
		{ "datagrams", "self", "1", NULL, { DATAGRAM, CLOSED }, ERR_CONFIG,
		  { NULL, NULL }, "no listening stream socket" },
		{ "a file", "self", "1", NULL, { A_FILE, CLOSED }, ERR_CONFIG, { NULL, NULL },
		  "descriptor 3" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		int status;
		pid_t pid;

		fflush(NULL);
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0)
			_exit(be_handed(&cases[i]));
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
			fail_msg("%s: status %d", cases[i].why, status);
	}
}

/* --- news -------------------------------------------------------------------------------- */

static int manager(const char *path, size_t n)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0 && n < sizeof a.sun_path);
	memcpy(a.sun_path, path, n);
	assert_int_equal(bind(fd, (struct sockaddr *)&a,
	                      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)), 0);
	return fd;
}

static void hears(int fd, const char *want)
{
	char got[4096];
	ssize_t n = recv(fd, got, sizeof got - 1, 0);

	if (want == NULL) {
		assert_int_equal(n, -1);
		return;
	}
	assert_true(n >= 0);
	got[n] = '\0';
	assert_string_equal(got, want);
}

static void test_news(void **state)
{
	char *dir = tempdir_make(), path[128], abstract[64], huge[4096];
	int fd;

	(void)state;
	snprintf(path, sizeof path, "%s/manager", dir);
	fd = manager(path, strlen(path));
	unsetenv("NOTIFY_SOCKET");
	supervisor_tell("READY=1");
	hears(fd, NULL);
	setenv("NOTIFY_SOCKET", path, 1);
	supervisor_tell("RELOADING=1\nMONOTONIC_USEC=%d", 17);
	hears(fd, "RELOADING=1\nMONOTONIC_USEC=17");
	memset(huge, 'x', sizeof huge - 1);
	huge[sizeof huge - 1] = '\0';
	supervisor_tell("%s", huge);
	huge[2047] = '\0';
	hears(fd, huge);
	/* What is no address, and one where nobody is: nothing happens. */
	setenv("NOTIFY_SOCKET", "relative", 1);
	supervisor_tell("READY=1");
	setenv("NOTIFY_SOCKET", "/nonexistent/manager", 1);
	supervisor_tell("READY=1");
	memset(huge, 'a', 200);
	huge[0] = '/';
	huge[200] = '\0';
	setenv("NOTIFY_SOCKET", huge, 1);
	supervisor_tell("READY=1");
	setenv("NOTIFY_SOCKET", "", 1);
	supervisor_tell("READY=1");
	hears(fd, NULL);
	close(fd);

	snprintf(abstract, sizeof abstract, "@im2000-test-%d", (int)getpid());
	setenv("NOTIFY_SOCKET", abstract, 1);
	abstract[0] = '\0';
	fd = manager(abstract, 1 + strlen(abstract + 1));
	supervisor_tell("READY=1\nSTATUS=serving");
	hears(fd, "READY=1\nSTATUS=serving");
	close(fd);
	unsetenv("NOTIFY_SOCKET");
	tempdir_remove(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sockets),
		cmocka_unit_test(test_news),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
