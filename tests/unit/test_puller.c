/* builds: plain asan */
/*
 * Messages pulled from a store that is a thread of the test's, on a UNIX socket:
 * honest, cut off at any octet, lying, silent.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "message/digest.h"
#include "session/puller.h"
#include "tempdir.h"
#include "wire/frame.h"
#include "wire/msrap.h"

#define MESSAGE_MAX 300000
#define CONNECTIONS 8

/* How one connection is answered. */
struct answer {
	enum wire_status status;
	int64_t more;      /* octets of the message's size that are not there */
	int64_t offset;    /* that is said, more than asked */
	size_t cut;        /* octets of the frame that are sent; 0: all */
	size_t spoiled;    /* an octet of the data, from 1 on, that is another one; 0: none */
	bool silent;       /* keeps the connection and says nothing */
	bool nonsense;
};

struct rig {
	char *dir;
	char path[108];
	int listener;
	pthread_t thread;
	struct loop *loop;
	uint8_t message[MESSAGE_MAX];
	size_t size;
	struct answer answers[CONNECTIONS];
	uint64_t asked[CONNECTIONS]; /* offsets */
	unsigned connections;
	/* What the puller says. */
	struct buf got;
	unsigned sizes, dones;
	uint64_t told; /* size */
	int refuses;   /* an error that `octets` answers */
	int error;
	enum wire_status status;
	bool answered;
	struct err_text why;
};

/* --- the store ------------------------------------------------------------------------------ */

static bool read_all(int fd, uint8_t *p, size_t n)
{
	while (n > 0) {
		ssize_t r = read(fd, p, n);

		if (r <= 0) {
			return false;
		}
		p += r;
		n -= (size_t)r;
	}
	return true;
}

static void send_all(int fd, const uint8_t *p, size_t n)
{
	while (n > 0) {
		ssize_t r = send(fd, p, n, MSG_NOSIGNAL);

		if (r <= 0) {
			return;
		}
		p += r;
		n -= (size_t)r;
	}
}

/* The frame that answers a retrieve from OFFSET on. */
static struct span make_frame(struct rig *g, const struct answer *a, uint64_t offset, uint8_t *room,
                              size_t cap)
{
	struct msrap_response r = { .status = a->status, .kind = MSRAP_RETRIEVE };
	struct msrap_retrieve_done *d = &r.u.retrieve;
	struct span frame;

	if (a->status != WIRE_STATUS_OK) {
		r.kind = MSRAP_NONE;
		r.has_text = true;
		r.text = span_str("because");
	}
	d->size = (uint64_t)((int64_t)g->size + a->more);
	d->offset = offset + (uint64_t)a->offset;
	d->data.here = span_of(g->message + offset, g->size - offset);
	d->data.size = d->data.here.n;
	if (msrap_response_encode(&r, room, cap, &frame) != 0) {
		abort();
	}
	if (a->spoiled != 0) {
		room[cap - d->data.here.n + a->spoiled - 1] ^= 1;
	}
	if (a->nonsense) {
		memset(room + cap - frame.n + FRAME_PREFIX, 0xff, 10);
	}
	return frame;
}

static void serve(struct rig *g, int fd, const struct answer *a, uint64_t *asked)
{
	static uint8_t in[1024], out[MESSAGE_MAX + 1024];
	struct msrap_command c;
	struct span frame;
	size_t n;

	if (!read_all(fd, in, FRAME_PREFIX) || (n = frame_length(in)) > sizeof in ||
	    !read_all(fd, in, n)) {
		return;
	}
	if (msrap_command_decode(span_of(in, n), n, &c) != 0 || c.kind != MSRAP_RETRIEVE ||
	    c.u.retrieve.type != WIRE_RETRIEVAL_ALL || c.u.retrieve.length != 0) {
		abort();
	}
	*asked = c.u.retrieve.offset;
	if (!a->silent) {
		frame = make_frame(g, a, *asked, out, sizeof out);
		send_all(fd, frame.p, a->cut != 0 && a->cut < frame.n ? a->cut : frame.n);
	}
	if (a->silent || a->cut == 0) {
		(void)read_all(fd, in, 1); /* until the other end goes */
	}
}

static void *store(void *arg)
{
	struct rig *g = arg;
	int fd;

	while (g->connections < CONNECTIONS && (fd = accept(g->listener, NULL, NULL)) >= 0) {
		unsigned i = g->connections++;

		serve(g, fd, &g->answers[i], &g->asked[i]);
		close(fd);
	}
	return NULL;
}

/* --- the caller ----------------------------------------------------------------------------- */

static int on_size(void *ctx, uint64_t octets, struct err_text *why)
{
	struct rig *g = ctx;

	(void)why;
	g->sizes++;
	g->told = octets;
	return 0;
}

static int on_octets(void *ctx, struct span octets, struct err_text *why)
{
	struct rig *g = ctx;

	assert_int_equal(buf_add(&g->got, octets.p, octets.n), 0);
	return g->refuses == 0 ? 0 : err_set(why, g->refuses, "no room for it");
}

static void on_done(void *ctx, const struct puller_end *end)
{
	struct rig *g = ctx;

	g->dones++;
	g->error = end->error;
	g->status = end->status;
	g->answered = end->answered;
	err_set(&g->why, 0, "%s", end->why);
	loop_stop(g->loop);
}

static const struct puller_calls calls = { on_size, on_octets, on_done };

static void open_listener(struct rig *g)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	memcpy(address.sun_path, g->path, sizeof g->path);
	g->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(g->listener, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(listen(g->listener, CONNECTIONS), 0);
}

static int setup(void **state)
{
	struct rig *g = calloc(1, sizeof *g);

	assert_non_null(g);
	g->dir = tempdir_make();
	snprintf(g->path, sizeof g->path, "%s/store", g->dir);
	open_listener(g);
	assert_int_equal(loop_create(&g->loop), 0);
	buf_init(&g->got, 0);
	for (size_t i = 0; i < MESSAGE_MAX; i++) {
		g->message[i] = (uint8_t)(i * 7 + i / 251);
	}
	g->size = MESSAGE_MAX;
	*state = g;
	return 0;
}

static int teardown(void **state)
{
	struct rig *g = *state;

	loop_free(g->loop);
	buf_free(&g->got);
	close(g->listener);
	tempdir_remove(g->dir);
	free(g);
	return 0;
}

static struct puller_options options_of(struct rig *g)
{
	struct puller_options o = {
		.domain = "a.example",
		.has_size = true,
		.size = g->size,
		.limit = 1 << 20,
		.whole_us = 60 * CLOCK_SECOND_US,
		.dial = { .unix_path = g->path },
	};

	assert_int_equal(digest_octets(span_of(g->message, g->size), o.digest), 0);
	return o;
}

/* Pulls by O (NULL: as announced) to the end. */
static void pull(struct rig *g, const struct puller_options *o)
{
	struct puller_options plain = options_of(g);
	struct puller *p;

	g->connections = g->sizes = g->dones = 0;
	buf_consume(&g->got, g->got.n);
	assert_int_equal(pthread_create(&g->thread, NULL, store, g), 0);
	assert_int_equal(puller_start(g->loop, o != NULL ? o : &plain, &calls, g, &p), 0);
	assert_int_equal(g->dones, 0);
	loop_run(g->loop);
	assert_int_equal(g->dones, 1);
	/* The thread waits for another connection. */
	shutdown(g->listener, SHUT_RDWR);
	pthread_join(g->thread, NULL);
	close(g->listener);
	unlink(g->path);
	open_listener(g);
}

static void assert_whole(struct rig *g)
{
	if (g->error != 0) {
		fail_msg("%s", g->why.text);
	}
	assert_string_equal(g->why.text, "");
	assert_int_equal(g->sizes, 1);
	assert_int_equal(g->told, g->size);
	assert_int_equal(g->got.n, g->size);
	assert_memory_equal(buf_view(&g->got).p, g->message, g->size);
}

/* --- tests ---------------------------------------------------------------------------------- */

static void test_sizes(void **state)
{
	static const size_t sizes[] = { 0, 1, 4095, 65400, 65535, 65536, 65537, MESSAGE_MAX };
	struct rig *g = *state;

	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		struct puller_options o;

		g->size = sizes[i];
		pull(g, NULL);
		/* Nothing calls for octets that are not there. */
		if (g->size > 0) {
			assert_whole(g);
		}
		assert_int_equal(g->error, 0);
		assert_int_equal(g->connections, 1);
		o = options_of(g);
		o.has_size = false;
		pull(g, &o);
		assert_int_equal(g->error, 0);
		assert_int_equal(g->told, g->size);
	}
}

/* Cut off where it may be: what came is not asked for again. */
static void test_cuts(void **state)
{
	static const size_t cuts[] = { 20000, 65536, 200000, MESSAGE_MAX - 1, MESSAGE_MAX + 20 };
	struct rig *g = *state;

	for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
		g->answers[0].cut = cuts[i];
		pull(g, NULL);
		assert_whole(g);
		assert_int_equal(g->connections, 2);
		assert_int_equal(g->asked[0], 0);
		assert_true(g->asked[1] > 0 && g->asked[1] <= cuts[i]);
	}
	/* Before the first octet of the message there is nothing to go on from. */
	g->answers[0].cut = 3;
	pull(g, NULL);
	assert_int_equal(g->error, ERR_CLOSED);
	assert_int_equal(g->connections, 1);
	/* Again and again: three times. */
	for (size_t i = 0; i < CONNECTIONS; i++) {
		g->answers[i].cut = 10000;
	}
	pull(g, NULL);
	assert_int_equal(g->error, ERR_CLOSED);
	assert_int_equal(g->connections, 3);
	/* Another size on the way. */
	memset(g->answers, 0, sizeof g->answers);
	g->answers[0].cut = 10000;
	g->answers[1] = (struct answer) { .status = WIRE_STATUS_NO_SUCH_MESSAGE };
	pull(g, NULL);
	assert_int_equal(g->error, ERR_AGAIN);
	assert_int_equal(g->status, WIRE_STATUS_NO_SUCH_MESSAGE);
}

static void test_lies(void **state)
{
	struct rig *g = *state;
	const struct answer lies[] = {
		{ .spoiled = 1 },       { .spoiled = 65536 }, { .spoiled = 65537 },
		{ .spoiled = MESSAGE_MAX }, { .more = 1 },    { .more = -1 },
		{ .offset = 1 },        { .nonsense = true },
	};

	for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
		struct puller_options o = options_of(g);

		g->answers[0] = lies[i];
		pull(g, &o);
		if (g->error != ERR_PROTOCOL) {
			fail_msg("lie %zu: %s", i, g->why.text);
		}
		assert_non_null(strstr(g->why.text, "a.example"));
		o.has_size = false;
		pull(g, &o);
		assert_int_equal(g->error, ERR_PROTOCOL);
	}
}

static void test_refusals(void **state)
{
	struct rig *g = *state;
	struct puller_options o = options_of(g);

	g->answers[0].status = WIRE_STATUS_WITHDRAWN;
	pull(g, NULL);
	assert_int_equal(g->error, ERR_AGAIN);
	assert_true(g->answered);
	assert_int_equal(g->status, WIRE_STATUS_WITHDRAWN);
	assert_string_equal(g->why.text, "a.example: withdrawn: because");
	/* Over the limit nothing is taken. */
	g->answers[0].status = WIRE_STATUS_OK;
	o.limit = g->size - 1;
	pull(g, &o);
	assert_int_equal(g->error, ERR_TOO_BIG);
	assert_int_equal(g->sizes + g->got.n, 0);
	o.limit = g->size;
	pull(g, &o);
	assert_whole(g);
	/* The caller refuses. */
	g->refuses = ERR_FULL;
	pull(g, NULL);
	assert_int_equal(g->error, ERR_FULL);
	assert_string_equal(g->why.text, "no room for it");
}

static void test_time(void **state)
{
	struct rig *g = *state;
	struct puller_options o = options_of(g);

	g->answers[0].silent = true;
	o.silence_us = 50000;
	pull(g, &o);
	assert_int_equal(g->error, ERR_TIMEOUT);
	o.silence_us = 0;
	o.whole_us = 50000;
	pull(g, &o);
	assert_int_equal(g->error, ERR_TIMEOUT);
	assert_int_equal(g->connections, 1);
}

static void test_cancel(void **state)
{
	struct rig *g = *state;
	struct puller_options o = options_of(g);
	struct puller *p;

	assert_int_equal(puller_start(g->loop, &o, &calls, g, &p), 0);
	puller_cancel(p);
	puller_cancel(NULL);
	assert_int_equal(g->dones, 0);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_sizes),    TEST(test_cuts), TEST(test_lies),
		TEST(test_refusals), TEST(test_time), TEST(test_cancel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
