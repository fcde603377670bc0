/* SRV records out of a DNS answer (RFC 1035 section 4.1, RFC 2782). Pure; private to net/. */
#ifndef IM2000_NET_LOCATE_SRV_H
#define IM2000_NET_LOCATE_SRV_H

#include "net/locate.h"

/*
 * Reads the SRV records of NAME from the ANSWER of N octets, through CNAMEs of
 * the same answer. At most MAX go to OUT, targets in canonical form, "" for the
 * root ("."); those whose target is no domain name or whose port is 0 are left
 * out. *TTL_S is the lowest on the way. How many; 0 too when there is none.
 * ERR_MALFORMED.
 */
int locate_read_srv(const uint8_t *answer, size_t n, const char *name, struct locate_srv *out,
                    size_t max, uint32_t *ttl_s);

#endif
