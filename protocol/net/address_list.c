#include "net/address_list.h"

#include <stdio.h>
#include <string.h>

#include "net/address.h"

static bool is_listen_address(const char *text)
{
	struct address address;

	return strncmp(text, "unix:/", 6) == 0 || address_parse(text, &address) == 0;
}

bool address_list_is_dns_server(const char *text)
{
	char with_port[80];
	struct address address;
	bool bare_v6 = text[0] != '[' && strchr(text, ':') != strrchr(text, ':');

	/* No address is as long, and a longer text would be cut to another one. */
	if (strlen(text) > 64) {
		return false;
	}
	snprintf(with_port, sizeof with_port, bare_v6 ? "[%s]:53" : "%s:53", text);
	return address_parse(text, &address) == 0 || address_parse(with_port, &address) == 0;
}

static int check(const char *path, const char *key, const struct conf_list *list,
                 bool (*good)(const char *text), const char *allowed, struct err_text *e)
{
	for (size_t i = 0; i < list->n; i++) {
		if (!good(list->item[i])) {
			return conf_error(e, path, list->line[i], key,
			                  "\"%s\" is no address (allowed: %s)", list->item[i],
			                  allowed);
		}
	}
	return 0;
}

int address_list_check_listen(const char *path, const char *key, const struct conf_list *list,
                              unsigned port, struct err_text *e)
{
	char allowed[80];

	snprintf(allowed, sizeof allowed, "127.0.0.1:%u, [::1]:%u, unix:/path", port, port);
	return check(path, key, list, is_listen_address, allowed, e);
}

int address_list_check_dns(const char *path, const struct conf_list *list, struct err_text *e)
{
	return check(path, "dns-server", list, address_list_is_dns_server,
	             "127.0.0.1, 127.0.0.1:53, [::1]:53", e);
}
