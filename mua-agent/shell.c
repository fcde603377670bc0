#include "mua-agent/shell.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* Starts COMMAND, with OUT (unless -1) as its standard output. */
static int start(const char *command, int out, pid_t *pid, struct err_text *e)
{
	char *const argv[] = { (char *)"sh", (char *)"-c", (char *)command, NULL };
	posix_spawn_file_actions_t actions;
	int r = posix_spawn_file_actions_init(&actions);

	if (r == 0 && out >= 0) {
		r = posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
	}
	if (r == 0) {
		r = posix_spawn(pid, "/bin/sh", &actions, NULL, argv, environ);
	}
	posix_spawn_file_actions_destroy(&actions);
	return r == 0 ? 0 : err_set(e, ERR_IO, "run \"%.200s\": %s", command, strerror(r));
}

/* Its exit status; a signal counts 128 and its number, as in the shell. */
static int reap(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR) {
			return -1;
		}
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Reads FD to its end and keeps the first line. */
static void read_line(int fd, char *out, size_t cap)
{
	char more[512];
	size_t n = 0;
	ssize_t got;

	for (;;) {
		got = n + 1 < cap ? read(fd, out + n, cap - 1 - n) : read(fd, more, sizeof more);
		if (got == 0 || (got < 0 && errno != EINTR)) {
			break;
		}
		if (got > 0 && n + 1 < cap) {
			n += (size_t)got;
		}
	}
	out[n] = '\0';
	out[strcspn(out, "\r\n")] = '\0';
}

int shell_ask(const char *command, char *out, size_t cap, struct err_text *e)
{
	int ends[2], status, r;
	pid_t pid;

	out[0] = '\0';
	if (pipe2(ends, O_CLOEXEC) != 0) {
		return err_set(e, ERR_IO, "run \"%.200s\": %s", command, strerror(errno));
	}
	r = start(command, ends[1], &pid, e);
	close(ends[1]);
	if (r == 0) {
		read_line(ends[0], out, cap);
		if ((status = reap(pid)) != 0) {
			r = err_set(e, ERR_CONFIG, "command \"%.200s\" ended with status %d",
			            command, status);
		} else if (out[0] == '\0') {
			r = err_set(e, ERR_CONFIG, "command \"%.200s\" printed nothing", command);
		}
	}
	close(ends[0]);
	return r;
}

int shell_run(const char *command, struct err_text *e)
{
	pid_t pid;
	int r = start(command, -1, &pid, e), status;

	if (r == 0 && (status = reap(pid)) != 0) {
		r = err_set(e, ERR_IO, "command \"%.200s\" ended with status %d", command, status);
	}
	return r;
}
