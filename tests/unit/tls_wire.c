#include "tls_wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

struct tls_config *wire_server_config(void)
{
	return pair_config_early("right", "ca.pem", true, true, WIRE_EARLY_MOST);
}

struct tls_config *wire_client_config(void)
{
	return pair_config_early("server-only", "ca.pem", false, false, WIRE_EARLY_MOST);
}

void wire_ends(struct wire *w, int ends[2])
{
	int near[2], far[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, near), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, far), 0);
	*w = (struct wire){ .client = near[1], .server = far[1] };
	ends[0] = near[0];
	ends[1] = far[0];
}

bool wire_collect(struct wire *w)
{
	uint8_t octets[65536];
	ssize_t n;

	run_for(2);
	n = recv(w->client, octets, sizeof octets, MSG_DONTWAIT);
	if (n <= 0)
		return false;
	assert_true(w->n < 8);
	buf_init(&w->flights[w->n], 0);
	assert_int_equal(buf_add(&w->flights[w->n++], octets, (size_t)n), 0);
	return true;
}

void wire_pass(const struct wire *w, int flight, int fd)
{
	struct span octets = buf_view(&w->flights[flight]);

	(void)w;
	assert_int_equal(send(fd, octets.p, octets.n, 0), octets.n);
	run_for(5);
}

void wire_answer(struct wire *w)
{
	uint8_t octets[65536];
	ssize_t n;

	run_for(2);
	while ((n = recv(w->server, octets, sizeof octets, MSG_DONTWAIT)) > 0)
		assert_int_equal(send(w->client, octets, (size_t)n, 0), n);
	run_for(5);
}

void wire_close(struct wire *w)
{
	close(w->client);
	close(w->server);
	while (w->n > 0)
		buf_free(&w->flights[--w->n]);
}

void wire_get_tickets(struct tls_config *server, struct tls_config *client)
{
	struct pair p = { .server.say = "y" };

	pair_run(&p, server, client, "a.example", pair_protocols[0]);
	end_run_until(&p.client, 1);
	pair_free(&p);
}

void wire_connect_early(struct pair *p, struct tls_config *server, struct tls_config *client,
                        const int fd[2], struct span early)
{
	const struct tls_target to = { "a.example", pair_protocols[0], 0, early };

	p->client.l = p->server.l = l;
	p->client.waiting = p->server.waiting = &p->waiting;
	p->waiting = 1000; /* nobody stops the loop */
	assert_int_equal(tls_connect_to(l, fd[0], client, &to, &p->client.s), 0);
	stream_set_handler(p->client.s, &pair_handler, &p->client);
	if (server == NULL)
		return;
	assert_int_equal(tls_accept(l, fd[1], server, pair_protocols, &p->server.s), 0);
	stream_set_handler(p->server.s, &pair_handler, &p->server);
}
