/*
 * TLS connections whose flights a test holds in its hand, for what early data do
 * that are passed on late, twice, or to somebody else.
 */
#ifndef IM2000_TESTS_TLS_WIRE_H
#define IM2000_TESTS_TLS_WIRE_H

#include "tls_pair.h"

#define WIRE_EARLY_MOST 24000

/* "right", which takes WIRE_EARLY_MOST octets; a client with a certificate that sends as many. */
struct tls_config *wire_server_config(void);
struct tls_config *wire_client_config(void);
/* Makes the client hold tickets of the server. */
void wire_get_tickets(struct tls_config *server, struct tls_config *client);
/* Both ends with nothing said but EARLY by the client; SERVER NULL: the client's end alone. */
void wire_connect_early(struct pair *p, struct tls_config *server, struct tls_config *client,
                        const int fd[2], struct span early);

/*
 * What each end sends in one system call is one packet: kept here until a test passes it on.
 */
struct wire {
	int client, server;   /* our ends */
	struct buf flights[8]; /* of the client */
	int n;
};

/* Makes the wire; ENDS: the client's and the server's. */
void wire_ends(struct wire *w, int ends[2]);
/* Collects a flight of the client, where there is one. True: there was. */
bool wire_collect(struct wire *w);
/* FLIGHT to FD. */
void wire_pass(const struct wire *w, int flight, int fd);
/* What the server said, to the client. */
void wire_answer(struct wire *w);
void wire_close(struct wire *w);

#endif
