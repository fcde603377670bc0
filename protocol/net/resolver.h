/*
 * DNS questions on the loop, by c-ares. Private to net/. Answers may come from
 * inside the call that asks.
 */
#ifndef IM2000_NET_RESOLVER_H
#define IM2000_NET_RESOLVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "net/address.h"
#include "net/loop.h"

struct resolver;

enum resolver_type { RESOLVER_SOA = 6, RESOLVER_SRV = 33 }; /* RFC 1035, RFC 2782 */

/* What became of a question. */
enum resolver_result {
	RESOLVER_OK,
	RESOLVER_NO_NAME,   /* NXDOMAIN: the name does not exist */
	RESOLVER_NO_DATA,   /* it exists, and has no such record */
	RESOLVER_FAILED,    /* SERVFAIL, refused, no answer in time, not understood */
	RESOLVER_CANCELLED, /* by resolver_free: touch nothing but your own */
};

#define RESOLVER_TRIES 3 /* of a question, at all servers; each waits longer than the one before */

/* SERVERS as in locate_options ("127.0.0.1:5353"); none: the system's. 0, ERR_NOMEM, ERR_CONFIG. */
int resolver_create(struct loop *l, const char *const *servers, size_t n_servers,
                    unsigned timeout_ms, struct resolver **out, struct err_text *e);
/* Questions under way are answered RESOLVER_CANCELLED first. NULL is fine. */
void resolver_free(struct resolver *r);

/* Asks for the records of TYPE at NAME. ANSWER is the message as it came (OK only). WHY: c-ares's
 * words for the result. The views live for the call. */
void resolver_query(struct resolver *r, const char *name, enum resolver_type type,
                    void (*done)(void *ctx, enum resolver_result result, const uint8_t *answer,
                                 size_t n, const char *why),
                    void *ctx);

/* A and AAAA of HOST at once, CNAMEs followed, /etc/hosts before DNS. TTL_S is the answer's lowest.
 * The addresses have port 0. */
void resolver_addresses(struct resolver *r, const char *host,
                        void (*done)(void *ctx, enum resolver_result result,
                                     const struct address *list, size_t n, uint32_t ttl_s,
                                     const char *why),
                        void *ctx);
#define RESOLVER_ADDRESSES 16 /* of one host at most; the rest is left out */

#endif
