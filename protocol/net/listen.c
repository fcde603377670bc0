/* Accepting connections, and their handshakes until somebody takes the stream over. */
#include "net/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

#define BACKLOG 1024
#define BATCH 64                               /* connections of one turn: others have theirs */
#define PAUSE_US 100000                        /* when there are no file descriptors left */
#define HANDSHAKE_US (15 * CLOCK_SECOND_US)
#define LOG_EVERY_US (10 * CLOCK_SECOND_US)    /* what a stranger can cause is not logged oftener */

/* An accepted connection whose stream is not open yet. */
struct guest {
	struct guest *prev, *next; /* in the order of deadlines: all have the same time */
	struct listener *listener;
	struct stream *stream;
	struct address peer;
	uint64_t deadline_us; /* clock_mono_us */
};

struct listener {
	struct listen_options options;
	struct loop *loop;
	int fd;
	int reserve; /* given up to accept and drop one connection when descriptors are out */
	uv_poll_t poll;
	struct loop_timer *resume;
	struct loop_timer *deadline; /* of the first guest */
	struct guest guests;         /* a ring's head */
	struct address address;
	char *unix_path; /* made here: removed at the end */
	dev_t unix_dev;
	ino_t unix_ino;
	uint64_t logged_us;
	unsigned refused; /* since logged_us */
};

/* --- guests ------------------------------------------------------------------------------- */

static void guest_unlink(struct guest *g)
{
	g->prev->next = g->next;
	g->next->prev = g->prev;
}

/* Ends a connection that nobody took over. */
static void guest_drop(struct guest *g)
{
	struct listener *x = g->listener;

	guest_unlink(g);
	stream_free(g->stream);
	if (x->options.limits != NULL)
		listen_limits_drop(x->options.limits, &g->peer);
	free(g);
}

static void guest_failed(struct guest *g)
{
	if (g->listener->options.limits != NULL)
		listen_limits_failed(g->listener->options.limits);
	guest_drop(g);
}

static void on_guest_opened(void *ctx)
{
	struct guest *g = ctx;
	struct listener *x = g->listener;
	struct stream *stream = g->stream;

	guest_unlink(g);
	free(g);
	stream_set_handler(stream, NULL, NULL);
	x->options.accepted(x->options.ctx, stream);
}

static void on_guest_closed(void *ctx, int error, const char *why)
{
	struct guest *g = ctx;
	char peer[64], text[256];

	log_debug("handshake", "peer=%s error=%d why=%s",
	          address_format(&g->peer, peer, sizeof peer), error,
	          log_quote(span_str(why), text, sizeof text));
	guest_failed(g);
}

static const struct stream_handler guest_handler = {
	.opened = on_guest_opened,
	.closed = on_guest_closed,
};

static void on_deadline(void *ctx)
{
	struct listener *x = ctx;
	uint64_t now = clock_mono_us();

	while (x->guests.next != &x->guests && x->guests.next->deadline_us <= now) {
		char peer[64];

		log_debug("handshake", "peer=%s error=%d why=\"too slow\"",
		          address_format(&x->guests.next->peer, peer, sizeof peer), ERR_TIMEOUT);
		guest_failed(x->guests.next);
	}
	if (x->guests.next != &x->guests)
		loop_timer_start(x->deadline, x->guests.next->deadline_us - now);
}

static int guest_stream(struct listener *x, int fd, struct stream **out)
{
	struct tls_config *config;
	int rc;

	if (x->options.tls == NULL || x->address.u.sa.sa_family == AF_UNIX)
		return stream_plain_create(x->loop, fd, out);
	config = x->options.tls(x->options.ctx);
	if (config == NULL) {
		close(fd);
		return ERR_CONFIG;
	}
	rc = tls_accept(x->loop, fd, config, x->options.alpn, out);
	tls_config_drop(config);
	return rc;
}

/* PEER is counted already. */
static void welcome(struct listener *x, int fd, const struct address *peer)
{
	struct guest *g = calloc(1, sizeof *g);

	if (g == NULL) {
		close(fd);
		goto uncounted;
	}
	g->listener = x;
	g->peer = *peer;
	if (guest_stream(x, fd, &g->stream) < 0) {
		free(g);
		goto uncounted;
	}
	stream_set_handler(g->stream, &guest_handler, g);
	g->deadline_us = clock_mono_us() + x->options.handshake_us;
	if (x->guests.next == &x->guests)
		loop_timer_start(x->deadline, x->options.handshake_us);
	g->prev = x->guests.prev;
	g->next = &x->guests;
	g->prev->next = g;
	x->guests.prev = g;
	return;
uncounted:
	if (x->options.limits != NULL)
		listen_limits_drop(x->options.limits, peer);
}

/* --- accepting ---------------------------------------------------------------------------- */

static void on_poll(uv_poll_t *poll, int status, int events);

static bool may_log(struct listener *x)
{
	uint64_t now = clock_mono_us();

	if (x->logged_us != 0 && now - x->logged_us < LOG_EVERY_US)
		return false;
	x->logged_us = now;
	return true;
}

static void refuse(struct listener *x, int fd, const struct address *peer)
{
	char text[64];

	close(fd);
	x->refused++;
	if (!may_log(x))
		return;
	log_warn("refused", "reason=limit peer=%s sessions=%u connections=%u",
	         address_format(peer, text, sizeof text),
	         listen_limits_count(x->options.limits), x->refused);
	x->refused = 0;
}

static void on_resume(void *ctx)
{
	struct listener *x = ctx;

	if (x->reserve < 0)
		x->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
	uv_poll_start(&x->poll, UV_READABLE, on_poll);
}

/*
 * No descriptor (or no memory) for the next connection, which stays in the
 * queue: polling would wake again at once. One is dropped by means of the
 * reserve, so that its client learns of it, then there is a pause.
 */
static void pause_accepting(struct listener *x, int number)
{
	int fd;

	if (may_log(x))
		log_error("accept", "error=\"%s\" advice=\"raise the limit of open files\"",
		          strerrordesc_np(number));
	if (x->reserve >= 0) {
		close(x->reserve);
		fd = accept4(x->fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			close(fd);
		x->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
	}
	uv_poll_stop(&x->poll);
	loop_timer_start(x->resume, PAUSE_US);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct listener *x = poll->data;

	(void)status; /* accept says what is wrong */
	(void)events;
	for (int i = 0; i < BATCH; i++) {
		struct address peer = { .n = sizeof peer.u };
		int fd = accept4(x->fd, &peer.u.sa, &peer.n, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0) {
			if (errno == EAGAIN)
				return;
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
				pause_accepting(x, errno);
				return;
			}
			continue; /* this one connection was gone already */
		}
		if (x->options.limits != NULL && !listen_limits_take(x->options.limits, &peer))
			refuse(x, fd, &peer);
		else
			welcome(x, fd, &peer);
	}
}

/* --- making the socket -------------------------------------------------------------------- */

static int fail(struct err_text *e, const char *where, int number)
{
	return err_set(e, ERR_IO, "listen on %s: %s", where, strerrordesc_np(number));
}

/* Whether somebody accepts connections at the UNIX socket. */
static bool is_answered(const struct sockaddr_un *a)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	bool answered;

	if (fd < 0)
		return true; /* unknown: then it is better left alone */
	answered = connect(fd, (const struct sockaddr *)a, sizeof *a) == 0 || errno == EAGAIN;
	close(fd);
	return answered;
}

static int bind_unix(struct listener *x, const char *path, struct err_text *e)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct stat st;
	int rc;

	if (span_copy(span_str(path), a.sun_path, sizeof a.sun_path) < 0)
		return err_set(e, ERR_IO, "listen on %s: the path of a UNIX socket has at most %zu "
		               "octets", path, sizeof a.sun_path - 1);
	rc = bind(x->fd, (struct sockaddr *)&a, sizeof a);
	if (rc < 0 && errno == EADDRINUSE && lstat(path, &st) == 0 && S_ISSOCK(st.st_mode)) {
		if (is_answered(&a))
			return err_set(e, ERR_IO, "listen on %s: another process listens there", path);
		/* Left behind by a process that was killed. */
		unlink(path);
		rc = bind(x->fd, (struct sockaddr *)&a, sizeof a);
	}
	if (rc < 0)
		return fail(e, path, errno);
	x->unix_path = strdup(path);
	if (x->unix_path == NULL) {
		unlink(path);
		return err_set(e, ERR_NOMEM, "out of memory");
	}
	/* Nobody can connect before listen, so the mode is in time. */
	if (chmod(path, 0660) < 0 || lstat(path, &st) < 0)
		return fail(e, path, errno);
	x->unix_dev = st.st_dev;
	x->unix_ino = st.st_ino;
	return 0;
}

static int new_socket(int family, struct err_text *e, const char *where)
{
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int on = 1;

	if (fd < 0)
		return fail(e, where, errno);
	if (family != AF_UNIX)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	/* So that [::] and 0.0.0.0 are two addresses everywhere. */
	if (family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
	return fd;
}

static int open_socket(struct listener *x, struct err_text *e)
{
	const struct listen_options *o = &x->options;
	char text[64];
	const char *where = o->unix_path != NULL ? o->unix_path :
	                    address_format(&o->address, text, sizeof text);
	int on = 1, rc;

	if (o->fd >= 0) {
		x->fd = o->fd;
		return 0;
	}
	x->fd = new_socket(o->unix_path != NULL ? AF_UNIX : o->address.u.sa.sa_family, e, where);
	if (x->fd < 0)
		return x->fd;
	if (o->unix_path != NULL) {
		rc = bind_unix(x, o->unix_path, e);
		if (rc < 0)
			return rc;
	} else {
		setsockopt(x->fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
		if (bind(x->fd, &o->address.u.sa, o->address.n) < 0)
			return fail(e, where, errno);
	}
	if (listen(x->fd, BACKLOG) < 0)
		return fail(e, where, errno);
	return 0;
}

/* --- making and ending -------------------------------------------------------------------- */

/* What is not handed to libuv yet. */
static void give_up(struct listener *x)
{
	loop_timer_free(x->resume);
	loop_timer_free(x->deadline);
	if (x->fd >= 0)
		close(x->fd);
	if (x->reserve >= 0)
		close(x->reserve);
	if (x->unix_path != NULL)
		unlink(x->unix_path);
	free(x->unix_path);
	free(x);
}

int listener_create(struct loop *l, const struct listen_options *options, struct listener **out,
                    struct err_text *e)
{
	struct listener *x = calloc(1, sizeof *x);
	int rc;

	if (x == NULL)
		return err_set(e, ERR_NOMEM, "out of memory");
	x->options = *options;
	if (x->options.handshake_us == 0)
		x->options.handshake_us = HANDSHAKE_US;
	x->loop = l;
	x->fd = -1;
	x->guests.prev = x->guests.next = &x->guests;
	x->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
	rc = open_socket(x, e);
	if (rc < 0)
		goto failed;
	x->address.n = sizeof x->address.u;
	if (getsockname(x->fd, &x->address.u.sa, &x->address.n) < 0) {
		rc = fail(e, "the socket that was handed over", errno);
		goto failed;
	}
	if (loop_timer_create(l, on_resume, x, &x->resume) < 0
	    || loop_timer_create(l, on_deadline, x, &x->deadline) < 0) {
		rc = err_set(e, ERR_NOMEM, "out of memory");
		goto failed;
	}
	if (uv_poll_init(loop_uv(l), &x->poll, x->fd) != 0) {
		rc = err_set(e, ERR_IO, "listen: the event loop does not take the socket");
		goto failed;
	}
	x->poll.data = x;
	uv_poll_start(&x->poll, UV_READABLE, on_poll);
	*out = x;
	return 0;
failed:
	give_up(x);
	return rc;
}

void listener_address(const struct listener *x, struct address *out)
{
	*out = x->address;
}

static void on_freed(uv_handle_t *handle)
{
	free(handle->data);
}

void listener_free(struct listener *x)
{
	struct stat st;

	if (x == NULL)
		return;
	while (x->guests.next != &x->guests)
		guest_drop(x->guests.next);
	loop_timer_free(x->resume);
	loop_timer_free(x->deadline);
	/* Only what was made here, not what another process has put in its place since. */
	if (x->unix_path != NULL && lstat(x->unix_path, &st) == 0 && st.st_dev == x->unix_dev
	    && st.st_ino == x->unix_ino)
		unlink(x->unix_path);
	free(x->unix_path);
	if (x->reserve >= 0)
		close(x->reserve);
	uv_close((uv_handle_t *)&x->poll, on_freed);
	close(x->fd);
}
