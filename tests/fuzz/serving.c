#include "tests/fuzz/serving.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void serving_check(bool holds)
{
	if (!holds) {
		abort();
	}
}

void serving_fixed_octets(void *out, size_t n)
{
	memset(out, 0x5a, n);
}

void serving_print_line(void *ctx, const char *line)
{
	(void)ctx;
	fprintf(stderr, "%s\n", line);
}

void serving_dir_make(char dir[SERVING_DIR_SIZE])
{
	snprintf(dir, SERVING_DIR_SIZE, "%s", "/tmp/im2000-fuzz-XXXXXX");
	serving_check(mkdtemp(dir) != NULL);
}

void serving_dir_remove(const char *dir, const char *const *files)
{
	char path[SERVING_DIR_SIZE + 64];

	for (; *files != NULL; files++) {
		snprintf(path, sizeof path, "%s/%s", dir, *files);
		unlink(path);
	}
	serving_check(rmdir(dir) == 0);
}

/* --- the peer ------------------------------------------------------------------------------ */

struct peer {
	int fd;
	struct span input;
	size_t piece;
};

static void *peer_write(void *arg)
{
	struct peer *p = arg;

	while (p->input.n > 0) {
		size_t n = p->input.n < p->piece ? p->input.n : p->piece;
		ssize_t r = send(p->fd, p->input.p, n, MSG_NOSIGNAL);

		if (r <= 0) {
			break;
		}
		p->input = span_after(p->input, (size_t)r);
	}
	shutdown(p->fd, SHUT_WR);
	return NULL;
}

static void *peer_read(void *arg)
{
	struct peer *p = arg;
	uint8_t octets[65536];

	while (recv(p->fd, octets, sizeof octets, 0) > 0) {
	}
	return NULL;
}

static void on_ended(void *ctx, struct server_session *session)
{
	(void)session;
	loop_stop(ctx);
}

void serving_session(struct loop *loop, const struct server_protocol *protocol,
                     const struct server_limits *limits, void *app, struct span input,
                     size_t piece)
{
	struct peer writing = { .input = input, .piece = piece }, reading = { 0 };
	pthread_t writer, reader;
	struct server_session *session;
	struct stream *stream;
	int pair[2];

	serving_check(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
	writing.fd = reading.fd = pair[1];
	serving_check(fcntl(pair[1], F_SETFL, 0) == 0);
	serving_check(stream_plain_create(loop, pair[0], &stream) == 0);
	serving_check(server_start(loop, stream, protocol, limits, app, on_ended, loop,
	                           &session) == 0);
	serving_check(pthread_create(&writer, NULL, peer_write, &writing) == 0);
	serving_check(pthread_create(&reader, NULL, peer_read, &reading) == 0);
	loop_run(loop);
	pthread_join(writer, NULL);
	pthread_join(reader, NULL);
	close(pair[1]);
}
