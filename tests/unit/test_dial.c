/* Dialling: order, head starts, what counts as a failure and how it is told. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "net/dial.h"
#include "net/listen.h"
#include "tempdir.h"
#include "tls_pair.h"

/* --- servers ------------------------------------------------------------------------------ */

struct host {
	struct listener *listener;
	struct tls_config *config;
	struct address address;
	struct end session; /* the last that was accepted */
	int accepted;
};

static struct tls_config *host_tls(void *ctx)
{
	struct host *h = ctx;

	return tls_config_hold(h->config);
}

static void host_accepted(void *ctx, struct stream *stream)
{
	struct host *h = ctx;

	end_free(&h->session);
	h->session = (struct end){ .l = l, .s = stream, .opened = true };
	stream_set_handler(stream, &pair_handler, &h->session);
	h->accepted++;
}

/* A server with the certificate NAME that speaks ALPN; or at the UNIX socket PATH. */
static void host_open_for(struct host *h, const char *name, const char *path,
                          const char *const *alpn)
{
	struct listen_options o = {
		.fd = -1,
		.alpn = alpn,
		.tls = host_tls,
		.unix_path = path,
		.accepted = host_accepted,
		.ctx = h,
	};
	struct err_text e;

	h->config = pair_config(name, true, false);
	assert_int_equal(address_parse("127.0.0.1:0", &o.address), 0);
	if (listener_create(l, &o, &h->listener, &e) < 0)
		fail_msg("%s", e.text);
	listener_address(h->listener, &h->address);
}

static void host_open(struct host *h, const char *name, const char *path)
{
	host_open_for(h, name, path, pair_protocols);
}

static void host_close(struct host *h)
{
	end_free(&h->session);
	listener_free(h->listener);
	tls_config_drop(h->config);
}

/* A bound socket: refusing when BACKLOG is 0, else connecting and never saying a word. */
static int quiet_socket(int backlog, struct address *a)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(address_parse("127.0.0.1:0", a), 0);
	assert_int_equal(bind(fd, &a->u.sa, a->n), 0);
	if (backlog > 0)
		assert_int_equal(listen(fd, backlog), 0);
	assert_int_equal(getsockname(fd, &a->u.sa, &a->n), 0);
	return fd;
}

/* --- the dialling side -------------------------------------------------------------------- */

static struct {
	int calls;
	bool inside;
	int error;
	char why[512];
	struct end end;
} got;

static void on_done(void *ctx, int error, struct stream *stream, const char *why)
{
	assert_ptr_equal(ctx, &got);
	assert_false(got.inside);
	got.calls++;
	got.error = error;
	snprintf(got.why, sizeof got.why, "%s", why);
	if (error == 0) {
		assert_non_null(stream);
		got.end = (struct end){ .l = l, .s = stream, .opened = true };
		stream_set_handler(stream, &pair_handler, &got.end);
		assert_int_equal(stream_write(stream, "hello", 5), 5);
	} else {
		assert_null(stream);
	}
	loop_stop(l);
}

static struct dial *start(const struct dial_options *o)
{
	struct dial *d;

	memset(&got, 0, sizeof got);
	got.inside = true;
	d = dial_start(l, "a.example", LOCATE_MSOAP, o, on_done, &got);
	got.inside = false;
	assert_non_null(d);
	return d;
}

static void run(const struct dial_options *o)
{
	start(o);
	loop_run(l);
	assert_int_equal(got.calls, 1);
}

static struct tls_config *client;

static int setup(void **state)
{
	int rc = pair_setup(state);

	client = pair_config(NULL, false, false);
	return rc;
}

static int teardown(void **state)
{
	end_free(&got.end);
	tls_config_drop(client);
	return pair_teardown(state);
}

static struct dial_options literals(const struct address *list, size_t n)
{
	return (struct dial_options){
		.tls = client,
		.allow_private = true,
		.literals = list,
		.n_literals = n,
	};
}

static struct locator *routed(const struct address *to, struct locate_route *route)
{
	struct locate_options o = { .routes = route, .n_routes = 1 };
	struct locator *r;
	char text[64], line[128];

	snprintf(line, sizeof line, "a.example msoap %s", address_format(to, text, sizeof text));
	assert_int_equal(locate_parse_route(line, route, NULL), 0);
	assert_int_equal(locator_create(l, &o, &r, NULL), 0);
	return r;
}

/* --- tests -------------------------------------------------------------------------------- */

static void test_by_route(void **state)
{
	struct dial_options o = { .tls = client };
	struct locate_route route;
	struct host h = { 0 };
	struct stream_info info;

	(void)state;
	host_open(&h, "right", NULL);
	o.locator = routed(&h.address, &route);
	/* A person wrote the route: it may be private. */
	run(&o);
	assert_int_equal(got.error, 0);
	end_run_until(&h.session, 5);
	stream_info(got.end.s, &info);
	assert_string_equal(info.alpn, "im2000-msoap/1");
	assert_true(stream_peer_covers(got.end.s, "a.example"));
	stream_info(h.session.s, &info);
	assert_string_equal(info.server_name, "a.example");
	locator_free(o.locator);
	host_close(&h);
}

static void test_private_addresses(void **state)
{
	struct host h = { 0 };
	struct dial_options o;

	(void)state;
	host_open(&h, "right", NULL);
	o = literals(&h.address, 1);
	o.allow_private = false;
	run(&o);
	assert_int_equal(got.error, ERR_DENIED);
	assert_non_null(strstr(got.why, "a.example msoap: a.example: private address 127.0.0.1:"));
	assert_non_null(strstr(got.why, "(set allow-private = yes to allow)"));
	assert_int_equal(h.accepted, 0);
	o.allow_private = true;
	run(&o);
	assert_int_equal(got.error, 0);
	host_close(&h);
}

/* A server that is down, silent or wrong costs its head start at most. */
static void test_the_next_address_is_tried(void **state)
{
	struct host right = { 0 }, wrong = { 0 };
	struct address list[4];
	struct dial_options o;
	int refusing, silent;

	(void)state;
	host_open(&right, "right", NULL);
	host_open(&wrong, "many", NULL);
	refusing = quiet_socket(0, &list[0]);
	silent = quiet_socket(5, &list[1]);
	list[2] = wrong.address;
	list[3] = right.address;
	for (size_t from = 0; from < 4; from++) {
		o = literals(list + from, 4 - from);
		run(&o);
		assert_int_equal(got.error, 0);
		for (int ms = 0; ms < 5000 && right.accepted <= (int)from; ms++)
			run_for(1);
		assert_int_equal(right.accepted, from + 1);
		end_run_until(&right.session, 5);
		end_free(&got.end);
	}
	assert_int_equal(wrong.accepted, 0);
	close(refusing);
	close(silent);
	host_close(&right);
	host_close(&wrong);
}

static void test_when_nothing_works(void **state)
{
	struct host wrong = { 0 };
	struct address list[3];
	char text[64], expected[512];
	struct dial_options o;
	int refusing[2];

	(void)state;
	host_open(&wrong, "many", NULL);
	refusing[0] = quiet_socket(0, &list[0]);
	list[1] = wrong.address;
	refusing[1] = quiet_socket(0, &list[2]);

	o = literals(list, 1);
	run(&o);
	assert_int_equal(got.error, ERR_NO_SERVER);
	snprintf(expected, sizeof expected, "a.example msoap: %s: connection refused",
	         address_format(&list[0], text, sizeof text));
	assert_string_equal(got.why, expected);

	/* Of several faults the one that says most. */
	o = literals(list, 3);
	run(&o);
	assert_int_equal(got.error, ERR_TLS);
	snprintf(expected, sizeof expected,
	         "a.example msoap: %s: certificate is for x.example, y.example, z.example and 2 more, "
	         "not a.example (and 2 other addresses failed)",
	         address_format(&list[1], text, sizeof text));
	assert_string_equal(got.why, expected);
	close(refusing[0]);
	close(refusing[1]);
	host_close(&wrong);
}

static void test_wrong_protocol(void **state)
{
	static const char *const other[] = { "im2000-rnasp/1", NULL };
	struct host h = { 0 };
	struct dial_options o;

	(void)state;
	host_open_for(&h, "right", NULL, other);
	o = literals(&h.address, 1);
	run(&o);
	assert_int_equal(got.error, ERR_TLS);
	assert_non_null(strstr(got.why, "the server does not speak im2000-msoap/1 there"));
	host_close(&h);
}

static void test_time_limit(void **state)
{
	struct address list[2];
	struct dial_options o;
	int silent, refusing;

	(void)state;
	silent = quiet_socket(5, &list[0]);
	refusing = quiet_socket(0, &list[1]);
	o = literals(list, 1);
	o.timeout_us = 100000;
	run(&o);
	assert_int_equal(got.error, ERR_TIMEOUT);
	assert_string_equal(got.why, "a.example msoap: no answer in time");
	o = literals(list, 2);
	o.timeout_us = 400000;
	run(&o);
	assert_int_equal(got.error, ERR_TIMEOUT);
	assert_non_null(strstr(got.why, "connection refused"));
	close(silent);
	close(refusing);
}

static void test_unix_socket(void **state)
{
	char *dir = tempdir_make();
	char path[200], expected[512];
	struct dial_options o = { .unix_path = path };
	struct stream_info info;
	struct host h = { 0 };

	(void)state;
	snprintf(path, sizeof path, "%s/socket", dir);
	run(&o);
	assert_int_equal(got.error, ERR_NO_SERVER);
	snprintf(expected, sizeof expected, "%s: No such file or directory", path);
	assert_string_equal(got.why, expected);
	host_open(&h, "right", path);
	run(&o);
	assert_int_equal(got.error, 0);
	end_run_until(&h.session, 5);
	stream_info(got.end.s, &info);
	assert_false(info.tls);
	assert_true(info.local);
	host_close(&h);
	tempdir_remove(dir);
}

/* After dial_cancel at any moment nothing comes (and nothing leaks: the sanitizers look on). */
static void test_cancel(void **state)
{
	struct locate_route route;
	struct host h = { 0 };
	struct address list[2];
	struct dial_options o;
	int silent;

	(void)state;
	host_open(&h, "right", NULL);
	silent = quiet_socket(5, &list[0]);
	list[1] = list[0];
	for (unsigned ms = 0; ms < 3; ms++) {
		struct dial *d;

		o = literals(list, 2);
		d = start(&o);
		if (ms > 0)
			run_for(ms);
		dial_cancel(d);
		run_for(5);
		assert_int_equal(got.calls, 0);
	}
	o = (struct dial_options){ .tls = client, .locator = routed(&h.address, &route) };
	dial_cancel(start(&o));
	run_for(5);
	assert_int_equal(got.calls, 0);
	dial_cancel(NULL);
	locator_free(o.locator);
	close(silent);
	host_close(&h);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_by_route),
		CASE(test_private_addresses),
		CASE(test_the_next_address_is_tried),
		CASE(test_when_nothing_works),
		CASE(test_wrong_protocol),
		CASE(test_time_limit),
		CASE(test_unix_socket),
		CASE(test_cancel),
	};

	return cmocka_run_group_tests(tests, pair_group_setup, pair_group_teardown);
}
