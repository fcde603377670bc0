/*
 * What may travel as TLS 1.3 early data (RFC 8446 section 2.3, protocol.md
 * section 3): commands that do no harm when somebody on the way sends them again.
 */
#ifndef IM2000_WIRE_EARLY_H
#define IM2000_WIRE_EARLY_H

#include <stdbool.h>

#include "wire/common.h"

/* Octets of early data that a server takes from one connection: a message of 16 KiB, its login and
 * its envelope. */
#define EARLY_OCTETS ((uint32_t)24 << 10)

/*
 * Whether the command BODY (a frame without its length; of a streamed one the first octets) of
 * TOTAL octets, in the protocol ALPN, may be carried out before the handshake is over. False also
 * for what is malformed, incomplete or of another protocol. A submitChunk may, as it can only
 * follow an envelope that might; so the order of a session's commands must be kept.
 */
bool early_allowed(const char *alpn, struct span body, uint64_t total);

#endif
