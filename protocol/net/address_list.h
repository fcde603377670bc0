/* Addresses in configuration files: what the programs' `listen-*` and `dns-server` keys allow. */
#ifndef IM2000_NET_ADDRESS_LIST_H
#define IM2000_NET_ADDRESS_LIST_H

#include <stdbool.h>

#include "base/conf.h"

/* Whether TEXT names a DNS server as the locator reads it: an address, with or without a port. */
bool address_list_is_dns_server(const char *text);

/*
 * Each item of LIST, the values of KEY in file PATH, must be an address with a port or
 * "unix:/path". PORT stands in the examples of what is allowed. 0, or ERR_CONFIG with E filled.
 */
int address_list_check_listen(const char *path, const char *key, const struct conf_list *list,
                              unsigned port, struct err_text *e);

/* Each item of LIST, the values of `dns-server` in file PATH. 0, or ERR_CONFIG with E filled. */
int address_list_check_dns(const char *path, const struct conf_list *list, struct err_text *e);

#endif
