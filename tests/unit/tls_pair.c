#include "tls_pair.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <cmocka.h>

#include "base/clock.h"
#include "certs.h"

const char *const pair_protocols[] = { "im2000-msoap/1", "im2000-msrap/1", NULL };

static const struct cert_spec specs[] = {
	{ .name = "right", .dns = "a.example" },
	{ .name = "many", .dns = "x.example,y.example,z.example,w.example,v.example" },
	{ .name = "server-only", .dns = "a.example", .usage = "serverAuth" },
	{ .name = "client-only", .dns = "a.example", .usage = "clientAuth" },
	{ .name = "chained", .dns = "a.example", .issuer = CERT_INTERMEDIATE },
	{ .name = "expired", .dns = "a.example", .from_days = -30, .to_days = -2 },
	{ .name = "future", .dns = "a.example", .from_days = 2, .to_days = 30 },
	{ .name = "stranger", .dns = "a.example", .issuer = CERT_OTHER_CA },
	{ .name = "self", .dns = "a.example", .issuer = CERT_SELF },
	{ .name = "nameless", .common = "a.example" },
	{ .name = "wild", .dns = "*.b.example" },
	{ .name = "other", .dns = "o.example" },
	{ .name = "partial", .dns = "a*.b.example" },
	{ .name = "ends-soon", .dns = "a.example", .to_seconds = 3600 },
};

static void one_less(struct end *e)
{
	if (e->waiting != NULL && --*e->waiting == 0)
		loop_stop(e->l);
}

static bool freed_in(struct end *e, char c)
{
	if (e->free_in != c)
		return false;
	stream_free(e->s);
	e->s = NULL;
	return true;
}

void end_send(struct end *e)
{
	uint8_t octets[70000];

	while (e->sent < e->to_send) {
		size_t n = 1 + e->sent % sizeof octets; /* all sizes: joined, whole, split records */
		ssize_t took;

		if (n > e->to_send - e->sent)
			n = e->to_send - e->sent;
		for (size_t i = 0; i < n; i++)
			octets[i] = (uint8_t)((e->sent + i) * 13 >> 3);
		took = stream_write(e->s, octets, n);
		if (took < 0)
			return;
		e->sent += (size_t)took;
	}
	if (e->finish_when_sent)
		stream_finish(e->s);
}

static void on_opened(void *ctx)
{
	struct end *e = ctx;

	assert_false(e->opened || e->closed);
	e->opened = true;
	one_less(e);
	if (freed_in(e, 'o'))
		return;
	if (e->say != NULL)
		assert_int_equal(stream_write(e->s, e->say, strlen(e->say)), strlen(e->say));
	end_send(e);
}

static void on_readable(void *ctx)
{
	struct end *e = ctx;
	uint8_t octets[20000];
	ssize_t n;

	assert_true(e->opened && !e->closed);
	if (freed_in(e, 'r'))
		return;
	for (int i = 0; i < 10; i++) {
		n = stream_read(e->s, octets, sizeof octets);
		if (n <= 0)
			break;
		assert_int_equal(buf_add(&e->got, octets, (size_t)n), 0);
	}
	if (n == 0) {
		e->ended = true;
		if (e->finish_at_end)
			stream_finish(e->s);
	}
}

static void on_writable(void *ctx)
{
	struct end *e = ctx;

	if (!freed_in(e, 'w'))
		end_send(e);
}

static void on_closed(void *ctx, int error, const char *why)
{
	struct end *e = ctx;

	assert_false(e->closed);
	e->closed = true;
	e->error = error;
	snprintf(e->why, sizeof e->why, "%s", why);
	one_less(e);
	freed_in(e, 'c');
}

const struct stream_handler pair_handler = {
	.opened = on_opened,
	.readable = on_readable,
	.writable = on_writable,
	.closed = on_closed,
};

void end_free(struct end *e)
{
	stream_free(e->s);
	e->s = NULL;
	buf_free(&e->got);
}

struct loop *l;

/* Both ends live in this process: what one of them said is there in the next turn. */
#define TURNS 30

struct stay {
	struct loop_hook hook;
	unsigned turns; /* to come */
	bool time_over, stopped;
};

static void on_turn(struct loop_hook *hook)
{
	struct stay *s = (struct stay *)(void *)((char *)hook - offsetof(struct stay, hook));

	if (s->turns > 0)
		s->turns--;
	if (s->turns > 0) {
		loop_again(l);
	} else if (s->time_over && !s->stopped) {
		s->stopped = true; /* once: hooks run after the loop's end, too */
		loop_stop(l);
	}
}

static void on_time(void *ctx)
{
	struct stay *s = ctx;

	s->time_over = true;
	s->turns++;
}

void run_for(unsigned ms)
{
	struct stay s = { .hook = { .run = on_turn, .rank = 30 }, .turns = TURNS };
	struct loop_timer *t;

	assert_int_equal(loop_timer_create(l, on_time, &s, &t), 0);
	loop_timer_start(t, ms * 1000ULL);
	loop_hook_add(l, &s.hook);
	loop_run(l);
	loop_hook_remove(l, &s.hook);
	loop_timer_free(t);
}

void end_check(const struct end *e, size_t n)
{
	struct span got = buf_view(&e->got);

	assert_int_equal(got.n, n);
	for (size_t i = 0; i < n; i++)
		if (got.p[i] != (uint8_t)(i * 13 >> 3))
			fail_msg("octet %zu is wrong", i);
}

/* As long as it takes, within reason. */
void end_run_until(const struct end *e, size_t n)
{
	for (int ms = 0; ms < 20000 && e->got.n < n; ms++)
		run_for(1);
	assert_int_equal(e->got.n, n);
}

void pair_start(struct pair *p, struct tls_config *server, struct tls_config *client,
                       const char *domain, const char *alpn)
{
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	p->client.l = p->server.l = l;
	p->client.waiting = p->server.waiting = &p->waiting;
	p->waiting = 2;
	assert_int_equal(tls_accept(l, fd[0], server, pair_protocols, &p->server.s), 0);
	assert_int_equal(tls_connect(l, fd[1], client, domain, alpn, &p->client.s), 0);
	stream_set_handler(p->server.s, &pair_handler, &p->server);
	stream_set_handler(p->client.s, &pair_handler, &p->client);
}

void pair_run(struct pair *p, struct tls_config *server, struct tls_config *client,
                     const char *domain, const char *alpn)
{
	pair_start(p, server, client, domain, alpn);
	loop_run(l);
}

void pair_free(struct pair *p)
{
	end_free(&p->client);
	end_free(&p->server);
}

struct tls_config *pair_config(const char *name, bool server, bool ask_client)
{
	return pair_config_early(name, "ca.pem", server, ask_client, 0);
}

struct tls_config *pair_config_early(const char *name, const char *ca, bool server, bool ask_client,
                                     uint32_t early_octets)
{
	char file[128];
	struct tls_options options = {
		.ca_file = certs_path(ca),
		.server = server,
		.ask_client = ask_client,
		.early_octets = early_octets,
	};
	struct tls_config *c;
	struct err_text e;

	if (name != NULL) {
		snprintf(file, sizeof file, "%s.pem", name);
		options.certificate = certs_path(file);
		snprintf(file, sizeof file, "%s.key", name);
		options.key = certs_path(file);
	}
	if (tls_config_create(&options, &c, &e) < 0)
		fail_msg("%s", e.text);
	return c;
}

int pair_group_setup(void **state)
{
	(void)state;
	certs_create();
	for (size_t i = 0; i < sizeof specs / sizeof specs[0]; i++)
		certs_make(&specs[i]);
	return 0;
}

int pair_group_teardown(void **state)
{
	(void)state;
	certs_remove();
	return 0;
}

int pair_setup(void **state)
{
	(void)state;
	return loop_create(&l);
}

int pair_teardown(void **state)
{
	(void)state;
	clock_set_source(NULL, NULL);
	loop_free(l);
	return 0;
}
