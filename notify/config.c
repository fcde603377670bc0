#include "notify/config.h"

#include <stdlib.h>
#include <string.h>

#include "base/name.h"
#include "net/address.h"

static const char *const unverified_words[] = { "refuse", "keep", NULL };
static const char *const strangers_words[] = { "accept", NULL };
static const char *const level_words[] = { "error", "warn", "info", "debug", NULL };

#define AT(member) offsetof(struct config, member)

const struct conf_key config_keys[] = {
	{ "domain", CONF_LIST, AT(domains), 0, 0, NULL, NULL, true,
	  "a domain whose mailboxes this agent serves; may repeat" },
	{ "data", CONF_PATH, AT(data), 0, 0, NULL, NULL, true, "the data directory, mode 0700" },
	{ "certificate", CONF_PATH, AT(certificate), 0, 0, NULL, NULL, true,
	  "PEM file: the certificate for the domains, then its chain" },
	{ "key", CONF_PATH, AT(key), 0, 0, NULL, NULL, true,
	  "PEM file: the certificate's private key" },
	{ "ca-file", CONF_PATH, AT(ca_file), 0, 0, NULL, NULL, false,
	  "PEM file: authorities that prove stores; without it the system's" },
	{ "listen-rnasp", CONF_LIST, AT(listen_rnasp), 0, 0, NULL, NULL, true,
	  "address:port or unix:path for stores; may repeat" },
	{ "listen-rnaqp", CONF_LIST, AT(listen_rnaqp), 0, 0, NULL, NULL, true,
	  "address:port or unix:path for mail programs; may repeat" },
	{ "dns-server", CONF_LIST, AT(dns_servers), 0, 0, NULL, NULL, false,
	  "address:port of a DNS server; may repeat; without it the system's" },
	{ "workers", CONF_NUMBER, AT(workers), 0, 256, NULL, "0", false,
	  "threads that serve; 0: one for each core" },
	{ "unverified", CONF_CHOICE, AT(unverified), 0, 0, unverified_words, "refuse", false,
	  "what becomes of notifications whose sender's domain is not proved" },
	{ "strangers", CONF_CHOICE, AT(strangers), 0, 0, strangers_words, "accept", false,
	  "what becomes of notifications from senders on no list" },
	{ "retention", CONF_DURATION, AT(retention_s), 60, 3650ULL * 86400, NULL, "90d", false,
	  "how long a notification is kept that does not expire before" },
	{ "mailbox-notifications", CONF_NUMBER, AT(mailbox_notices), 1, 100000000, NULL, "10000",
	  false, "notifications kept for one mailbox" },
	{ "origin-notifications", CONF_NUMBER, AT(origin_notices), 1, 100000000, NULL, "500", false,
	  "of those, from one sender's domain" },
	{ "sessions", CONF_NUMBER, AT(max_sessions), 1, 1000000, NULL, "10000", false,
	  "sessions at once" },
	{ "sessions-per-address", CONF_NUMBER, AT(sessions_per_address), 1, 1000000, NULL, "100",
	  false, "sessions at once from one address" },
	{ "idle-time", CONF_DURATION, AT(idle_s), 1, 86400, NULL, "60s", false,
	  "a session that says nothing for so long is closed" },
	{ "first-command-time", CONF_DURATION, AT(first_command_s), 1, 86400, NULL, "15s", false,
	  "the same before its first command" },
	{ "wait-time", CONF_DURATION, AT(wait_s), 1, 86400, NULL, "30m", false,
	  "the longest that retrieve may wait" },
	{ "log-level", CONF_CHOICE, AT(log_level), 0, 0, level_words, "info", false,
	  "what is logged to stderr" },
	{ NULL, 0, 0, 0, 0, NULL, NULL, false, NULL },
};

static int check_domains(const char *path, struct config *c, struct err_text *e)
{
	for (size_t i = 0; i < c->domains.n; i++) {
		char canonical[NAME_DOMAIN_MAX + 1], *copy;

		if (name_parse_domain(span_str(c->domains.item[i]), canonical) != 0) {
			return conf_error(e, path, c->domains.line[i], "domain",
			                  "\"%s\" is no domain name", c->domains.item[i]);
		}
		if ((copy = strdup(canonical)) == NULL) {
			return err_set(e, ERR_NOMEM, "read %s: out of memory", path);
		}
		free(c->domains.item[i]);
		c->domains.item[i] = copy;
	}
	return 0;
}

static int check_addresses(const char *path, const char *key, const struct conf_list *list,
                           struct err_text *e)
{
	for (size_t i = 0; i < list->n; i++) {
		struct address address;

		if (strncmp(list->item[i], "unix:", 5) != 0 &&
		    address_parse(list->item[i], &address) != 0) {
			return conf_error(
			    e, path, list->line[i], key,
			    "\"%s\" is no address (allowed: 127.0.0.1:4403, [::1]:4403, "
			    "unix:/path)",
			    list->item[i]);
		}
	}
	return 0;
}

int config_read(const char *path, struct config *c, struct err_text *e)
{
	const struct conf_schema schema = { .keys = config_keys };
	int r;

	memset(c, 0, sizeof *c);
	if ((r = conf_read(path, &schema, c, e)) != 0 || (r = check_domains(path, c, e)) != 0 ||
	    (r = check_addresses(path, "listen-rnasp", &c->listen_rnasp, e)) != 0) {
		return r;
	}
	return check_addresses(path, "listen-rnaqp", &c->listen_rnaqp, e);
}

void config_free(struct config *c)
{
	conf_release(config_keys, c);
}
