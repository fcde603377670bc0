/* Socket addresses: parse, print, and which ones a stranger must not make us connect to. */
#ifndef IM2000_NET_ADDRESS_H
#define IM2000_NET_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <netinet/in.h>

#include "base/err.h"

struct address {
	union {
		struct sockaddr sa;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
		struct sockaddr_storage any;
	} u;
	socklen_t n;
};

/* "127.0.0.1:4401", "[::1]:4401" (numeric only). 0 or ERR_MALFORMED. */
int address_parse(const char *text, struct address *out);
/* The same form; "unix" for a UNIX socket. OUT of 64 octets is enough. */
const char *address_format(const struct address *a, char *out, size_t cap);
unsigned address_port(const struct address *a);
void address_set_port(struct address *a, unsigned port);
/* From 4 or 16 raw octets in network order. 0 or ERR_MALFORMED. */
int address_from_octets(const void *p, size_t n, unsigned port, struct address *out);
/* Raw address octets into OUT (16 at least); how many (4 or 16; a v4-mapped v6 gives 4). */
size_t address_octets(const struct address *a, unsigned char out[16]);

/*
 * Loopback, private (RFC 1918, RFC 4193), link-local, shared (RFC 6598),
 * unspecified, multicast, broadcast, documentation, v4-mapped and NAT64 forms of those: what
 * `allow-private` guards.
 */
bool address_is_private(const struct address *a);

#endif
