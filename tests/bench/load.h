/*
 * The client's side of every measurement: connections of one thread, by OpenSSL
 * and epoll alone, so that whatever is measured, ours or a peer, meets the same
 * client at the same cost. What fails ends the program with a message.
 */
#ifndef IM2000_BENCH_LOAD_H
#define IM2000_BENCH_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"
#include "net/address.h"

struct load;   /* the thread's loop */
struct target; /* connections of one kind, to one address */
struct conn;

struct target_options {
	struct address address;
	const char *domain;            /* sent as SNI, and checked in the server's certificate */
	const char *ca_file;           /* NULL: TCP without TLS */
	const char *certificate, *key; /* shown to the server; NULL: none */
	const char *alpn;              /* NULL: none is offered */
	bool resume;                   /* connections use the tickets of earlier ones */
	/* And what is written at once goes as early data, where the ticket allows so many octets. */
	bool early;
	/*
	 * Acknowledge what comes at once. For servers that leave Nagle's algorithm on, which would
	 * wait for our delayed acknowledgements (RFC 1122 section 4.2.3.2).
	 */
	bool quick_ack;
};

struct conn_handler {
	/* The handshake is done. May be NULL. */
	void (*opened)(void *ctx, struct conn *c);
	/* Octets came: how many of them were taken. The rest comes again with more. */
	size_t (*received)(void *ctx, struct conn *c, struct span octets);
	/* The server closed in order. NULL: that is an error. */
	void (*ended)(void *ctx, struct conn *c);
};

struct load *load_create(void);
/* After its targets. */
void load_free(struct load *l);
/* Until load_stop, or until AFTER_US microseconds are over (0: no limit). */
void load_run(struct load *l, uint64_t after_us);
void load_stop(struct load *l);

struct target *target_create(struct load *l, const struct target_options *options);
/* Closes what is still open. NULL is fine. */
void target_free(struct target *t);
/* How many handshakes were done, and how many of them with a ticket. */
uint64_t target_handshakes(const struct target *t);
uint64_t target_resumed(const struct target *t);
/* How many of those had their early data taken. */
uint64_t target_early(const struct target *t);

/* Connects. No callback comes from inside this call. */
struct conn *conn_open(struct target *t, const struct conn_handler *handler, void *ctx);
/* Sends, before `opened` too (then it waits). All that a callback wrote leaves together. */
void conn_write(struct conn *c, const void *p, size_t n);
/* Sends what waits, then says goodbye and closes. No callback follows. */
void conn_finish(struct conn *c);
/* The same at once, without what waits. */
void conn_close(struct conn *c);

#endif
