/* Socket addresses: text and octet forms, and the networks that `allow-private` guards. */
#include "net/address.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/name.h"

int address_from_octets(const void *p, size_t n, unsigned port, struct address *out)
{
	if (port > UINT16_MAX)
		return ERR_MALFORMED;
	memset(out, 0, sizeof *out);
	if (n == 4) {
		out->u.v4.sin_family = AF_INET;
		out->u.v4.sin_port = htons((uint16_t)port);
		memcpy(&out->u.v4.sin_addr, p, 4);
		out->n = sizeof out->u.v4;
		return 0;
	}
	if (n == 16) {
		out->u.v6.sin6_family = AF_INET6;
		out->u.v6.sin6_port = htons((uint16_t)port);
		memcpy(&out->u.v6.sin6_addr, p, 16);
		out->n = sizeof out->u.v6;
		return 0;
	}
	return ERR_MALFORMED;
}

int address_parse(const char *text, struct address *out)
{
	char host[INET6_ADDRSTRLEN];
	unsigned char octets[16];
	unsigned port;

	if (name_parse_host_port(text, host, sizeof host, &port) < 0)
		return ERR_MALFORMED;
	if (text[0] == '[')
		return inet_pton(AF_INET6, host, octets) == 1 ?
		       address_from_octets(octets, 16, port, out) : ERR_MALFORMED;
	return inet_pton(AF_INET, host, octets) == 1 ?
	       address_from_octets(octets, 4, port, out) : ERR_MALFORMED;
}

const char *address_format(const struct address *a, char *out, size_t cap)
{
	char host[INET6_ADDRSTRLEN];

	switch (a->u.sa.sa_family) {
	case AF_INET:
		inet_ntop(AF_INET, &a->u.v4.sin_addr, host, sizeof host);
		snprintf(out, cap, "%s:%u", host, address_port(a));
		break;
	case AF_INET6:
		inet_ntop(AF_INET6, &a->u.v6.sin6_addr, host, sizeof host);
		snprintf(out, cap, "[%s]:%u", host, address_port(a));
		break;
	case AF_UNIX:
		snprintf(out, cap, "unix");
		break;
	default:
		snprintf(out, cap, "unknown");
		break;
	}
	return out;
}

unsigned address_port(const struct address *a)
{
	switch (a->u.sa.sa_family) {
	case AF_INET:
		return ntohs(a->u.v4.sin_port);
	case AF_INET6:
		return ntohs(a->u.v6.sin6_port);
	default:
		return 0;
	}
}

void address_set_port(struct address *a, unsigned port)
{
	if (a->u.sa.sa_family == AF_INET)
		a->u.v4.sin_port = htons((uint16_t)port);
	else if (a->u.sa.sa_family == AF_INET6)
		a->u.v6.sin6_port = htons((uint16_t)port);
}

size_t address_octets(const struct address *a, unsigned char out[16])
{
	const unsigned char *v6 = a->u.v6.sin6_addr.s6_addr;

	if (a->u.sa.sa_family == AF_INET) {
		memcpy(out, &a->u.v4.sin_addr, 4);
		return 4;
	}
	if (a->u.sa.sa_family != AF_INET6)
		return 0;
	if (IN6_IS_ADDR_V4MAPPED(&a->u.v6.sin6_addr)) {
		memcpy(out, v6 + 12, 4);
		return 4;
	}
	memcpy(out, v6, 16);
	return 16;
}

/* A network: the first BITS bits of OCTETS. */
struct network {
	unsigned char octets[16];
	unsigned bits;
};

/* IANA's special-purpose registry (RFC 6890) and multicast: what is not a public host. */
static const struct network private_v4[] = {
	{ { 0 }, 8 },                /* this network, unspecified: RFC 1122 */
	{ { 10 }, 8 },               /* RFC 1918 */
	{ { 100, 64 }, 10 },         /* shared: RFC 6598 */
	{ { 127 }, 8 },              /* loopback */
	{ { 169, 254 }, 16 },        /* link-local: RFC 3927 */
	{ { 172, 16 }, 12 },         /* RFC 1918 */
	{ { 192, 0, 0 }, 24 },       /* protocol assignments: RFC 6890 */
	{ { 192, 0, 2 }, 24 },       /* documentation: RFC 5737 */
	{ { 192, 168 }, 16 },        /* RFC 1918 */
	{ { 198, 18 }, 15 },         /* benchmarks: RFC 2544 */
	{ { 198, 51, 100 }, 24 },    /* documentation */
	{ { 203, 0, 113 }, 24 },     /* documentation */
	{ { 224 }, 4 },              /* multicast */
	{ { 240 }, 4 },              /* reserved, broadcast */
};

static const struct network private_v6[] = {
	{ { 0x00, 0x64, 0xff, 0x9b, 0x00, 0x01 }, 48 }, /* local NAT64: RFC 8215 */
	{ { 0x01, 0x00 }, 64 },                         /* discard: RFC 6666 */
	{ { 0x20, 0x01, 0x00 }, 23 },                   /* protocol assignments, Teredo */
	{ { 0x20, 0x01, 0x0d, 0xb8 }, 32 },             /* documentation: RFC 3849 */
	{ { 0x3f, 0xff }, 20 },                         /* documentation: RFC 9637 */
	{ { 0xfc }, 7 },                                /* unique local: RFC 4193 */
	{ { 0xfe, 0x80 }, 10 },                         /* link-local */
	{ { 0xfe, 0xc0 }, 10 },                         /* site-local: RFC 3879 */
	{ { 0xff }, 8 },                                /* multicast */
};

/* IPv6 forms that lead to an IPv4 address, and where in them it lies. */
static const struct {
	struct network network;
	size_t at;
} carries_v4[] = {
	{ { { 0 }, 96 }, 12 },                                         /* ::, ::1, compatible */
	{ { { [10] = 0xff, [11] = 0xff }, 96 }, 12 },                  /* mapped */
	{ { { 0x00, 0x64, 0xff, 0x9b }, 96 }, 12 },                    /* NAT64: RFC 6052 */
	{ { { 0x20, 0x02 }, 16 }, 2 },                                 /* 6to4: RFC 3056 */
};

static bool in_network(const unsigned char *octets, const struct network *w)
{
	size_t whole = w->bits / 8;
	unsigned rest = w->bits % 8;

	if (memcmp(octets, w->octets, whole) != 0)
		return false;
	return rest == 0 || (octets[whole] ^ w->octets[whole]) >> (8 - rest) == 0;
}

static bool is_private_v4(const unsigned char *octets)
{
	for (size_t i = 0; i < sizeof private_v4 / sizeof private_v4[0]; i++)
		if (in_network(octets, &private_v4[i]))
			return true;
	return false;
}

bool address_is_private(const struct address *a)
{
	const unsigned char *v6 = a->u.v6.sin6_addr.s6_addr;

	if (a->u.sa.sa_family == AF_INET)
		return is_private_v4((const unsigned char *)&a->u.v4.sin_addr);
	if (a->u.sa.sa_family != AF_INET6)
		return true;
	for (size_t i = 0; i < sizeof carries_v4 / sizeof carries_v4[0]; i++)
		if (in_network(v6, &carries_v4[i].network) && is_private_v4(v6 + carries_v4[i].at))
			return true;
	for (size_t i = 0; i < sizeof private_v6 / sizeof private_v6[0]; i++)
		if (in_network(v6, &private_v6[i]))
			return true;
	return false;
}
