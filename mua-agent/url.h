/* Message URLs (protocol.md section 1): im2000://<store domain>/<id in base32hex>. */
#ifndef IM2000_AGENT_URL_H
#define IM2000_AGENT_URL_H

#include "base/name.h"
#include "wire/common.h"

#define URL_MAX (9 + NAME_DOMAIN_MAX + 1 + 26)

/* Reads TEXT. 0 or ERR_MALFORMED. */
int url_parse(const char *text, char store[NAME_DOMAIN_MAX + 1], uint8_t id[WIRE_ID_SIZE]);

/* Writes it with a NUL; returns OUT. */
const char *url_format(const char *store, const uint8_t id[WIRE_ID_SIZE], char out[URL_MAX + 1]);

#endif
