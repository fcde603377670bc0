/*
 * Both ends of TLS connections on one loop, for the tests of TLS: what each was
 * told is kept, and what a test sets is done. Certificates come from certs.h.
 */
#ifndef IM2000_TESTS_TLS_PAIR_H
#define IM2000_TESTS_TLS_PAIR_H

#include "base/buf.h"
#include "net/tls.h"

/* "im2000-msoap/1", "im2000-msrap/1": what servers offer. NULL-terminated. */
extern const char *const pair_protocols[];

struct end {
	struct loop *l;
	struct stream *s;
	bool opened, closed, ended;
	int error;
	char why[256];
	struct buf got;
	const char *say;      /* written when opened */
	size_t to_send, sent; /* octets of the pattern that end_check looks for */
	bool finish_when_sent, finish_at_end;
	char free_in; /* o r w c: frees the stream in that callback */
	int *waiting; /* counts down at opened and at closed; stops the loop at 0 */
};

struct pair {
	struct end client, server;
	int waiting;
};

extern const struct stream_handler pair_handler; /* its ctx: struct end * */

void end_send(struct end *e);                    /* goes on with to_send */
void end_check(const struct end *e, size_t n);   /* got is N octets of the pattern */
void end_run_until(const struct end *e, size_t n); /* got has N octets */
void end_free(struct end *e);

/* The loop of the test at hand; made and freed by pair_setup and pair_teardown. */
extern struct loop *l;
int pair_setup(void **state);
int pair_teardown(void **state);
int pair_group_setup(void **state); /* makes the certificates */
int pair_group_teardown(void **state);

/* So long at least, and for so many turns that what both ends have to say to one another is said,
 * whatever else the machine does. */
void run_for(unsigned ms);

/* Starts both ends on a socket pair; pair_run also runs until each is open or closed. */
void pair_start(struct pair *p, struct tls_config *server, struct tls_config *client,
                const char *domain, const char *alpn);
void pair_run(struct pair *p, struct tls_config *server, struct tls_config *client,
              const char *domain, const char *alpn);
void pair_free(struct pair *p);

/* A configuration with the certificate NAME (NULL: none), that trusts the tests' CA. */
struct tls_config *pair_config(const char *name, bool server, bool ask_client);
/* The same, trusting CA, with so many octets of early data. */
struct tls_config *pair_config_early(const char *name, const char *ca, bool server, bool ask_client,
                                     uint32_t early_octets);

#endif
