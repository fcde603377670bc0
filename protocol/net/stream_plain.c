/* The plain transport: the socket's octets as they are. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "net/stream_core.h"

static void plain_advance(struct stream *s)
{
	stream_core_opened(s);
}

static ssize_t plain_read(struct stream *s, void *p, size_t n)
{
	ssize_t got = n == 0 ? -EAGAIN : stream_core_recv(s, p, n);

	if (got >= 0)
		return got;
	if (got == -EAGAIN)
		return ERR_AGAIN;
	return stream_core_fail_errno(s, (int)-got);
}

static size_t plain_room(const struct stream *s, size_t wire)
{
	(void)s;
	return wire;
}

static int plain_write(struct stream *s, const void *p, size_t n)
{
	if (buf_add(&s->out, p, n) < 0)
		return stream_core_fail(s, ERR_NOMEM, "out of memory");
	return 0;
}

static void plain_flush(struct stream *s)
{
	(void)s;
}

static bool plain_pending(const struct stream *s)
{
	(void)s;
	return false;
}

static void plain_goodbye(struct stream *s)
{
	(void)s;
}

static void plain_info(const struct stream *s, struct stream_info *out)
{
	(void)s;
	(void)out;
}

static bool plain_covers(const struct stream *s, const char *domain)
{
	(void)s;
	(void)domain;
	return false;
}

static void plain_release(struct stream *s)
{
	(void)s;
}

static const struct stream_ops plain_ops = {
	.advance = plain_advance,
	.read = plain_read,
	.room = plain_room,
	.write = plain_write,
	.flush = plain_flush,
	.pending = plain_pending,
	.goodbye = plain_goodbye,
	.info = plain_info,
	.covers = plain_covers,
	.release = plain_release,
};

int stream_plain_create(struct loop *l, int fd, struct stream **out)
{
	struct stream *s = calloc(1, sizeof *s);
	int rc;

	if (s == NULL) {
		close(fd);
		return ERR_NOMEM;
	}
	rc = stream_core_init(s, l, fd, &plain_ops);
	if (rc < 0) {
		free(s);
		return rc;
	}
	*out = s;
	return 0;
}
