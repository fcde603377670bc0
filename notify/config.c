#include "notify/config.h"

#include <stdlib.h>
#include <string.h>

#include "base/name.h"
#include "net/address_list.h"
#include "session/daemon.h"
#include "wire/frame.h"

#define DAY_S 86400ULL

/* In the order of the enums. */
static const char *const unverified_words[] = { "refuse", "keep", NULL };
static const char *const strangers_words[] = { "accept", "refuse", NULL };
static const char *const level_words[] = { "error", "warn", "info", "debug", NULL };

#define AT(member) offsetof(struct config, member)

const struct conf_key config_keys[] = {
	{ .name = "domain", .type = CONF_LIST, .offset = AT(domains), .required = true,
	  .help = "a domain whose mailboxes this agent serves; may repeat" },
	{ .name = "data", .type = CONF_PATH, .offset = AT(data), .required = true,
	  .restart = true, .help = "the data directory, mode 0700" },
	{ .name = "certificate", .type = CONF_PATHS, .offset = AT(certificate), .required = true,
	  .help = "PEM file: a certificate for domains, then its chain; may repeat" },
	{ .name = "key", .type = CONF_PATHS, .offset = AT(key), .required = true,
	  .help = "PEM file: a certificate's private key; one for each, in their order" },
	{ .name = "ca-file", .type = CONF_PATH, .offset = AT(ca_file),
	  .help = "PEM file: authorities that prove stores; without it the system's" },
	{ .name = "early-data", .type = CONF_BOOL, .offset = AT(early_data), .initial = "yes",
	  .help = "whether harmless commands are taken from a TLS client's first flight" },
	{ .name = "listen-rnasp", .type = CONF_LIST, .offset = AT(listen_rnasp), .required = true,
	  .restart = true, .help = "address:port or unix:path for stores; may repeat" },
	{ .name = "listen-rnaqp", .type = CONF_LIST, .offset = AT(listen_rnaqp), .required = true,
	  .restart = true, .help = "address:port or unix:path for mail programs; may repeat" },
	{ .name = "metrics", .type = CONF_TEXT, .offset = AT(metrics), .restart = true,
	  .help = "loopback address:port or unix:path where metrics are served by HTTP" },
	{ .name = "local-user", .type = CONF_LIST, .offset = AT(local_user),
	  .help = "user of this machine and mailbox that needs no password; may repeat" },
	{ .name = "dns-server", .type = CONF_LIST, .offset = AT(dns_servers),
	  .restart = true,
	  .help = "address:port of a DNS server; may repeat; without it the system's" },
	{ .name = "workers", .type = CONF_NUMBER, .offset = AT(workers), .max = 256,
	  .initial = "0", .restart = true, .help = "threads that serve; 0: one for each core" },
	{ .name = "unverified", .type = CONF_CHOICE, .offset = AT(unverified),
	  .choices = unverified_words, .initial = "refuse",
	  .help = "what becomes of notifications whose sender's domain is not proved" },
	{ .name = "strangers", .type = CONF_CHOICE, .offset = AT(strangers),
	  .choices = strangers_words, .initial = "accept",
	  .help = "what becomes of notifications from senders on no whitelist" },
	{ .name = "plus-tags", .type = CONF_TEXT, .offset = AT(plus_tags), .initial = "+",
	  .help = "the character that divides a tag from a mailbox's name; none: there are no tags" },
	{ .name = "retention", .type = CONF_DURATION, .offset = AT(retention_s), .min = 60,
	  .max = 3650 * DAY_S, .initial = "90d",
	  .help = "how long a notification is kept that does not expire before" },
	{ .name = "max-command", .type = CONF_SIZE, .offset = AT(max_command_octets),
	  .min = 4096, .max = 1048576, .initial = "64K", .help = "the largest command" },
	{ .name = "max-notifications", .type = CONF_NUMBER, .offset = AT(max_notifications),
	  .min = 1, .max = 4096, .initial = "256",
	  .help = "notifications, or withdrawals, of one command" },
	{ .name = "max-notification", .type = CONF_SIZE, .offset = AT(max_notification_octets),
	  .min = 512, .max = LIMIT_NOTIFICATION_OCTETS, .initial = "2K",
	  .help = "the largest notification" },
	{ .name = "mailbox-notifications", .type = CONF_NUMBER, .offset = AT(mailbox_notices),
	  .min = 1, .max = 100000000, .initial = "10000",
	  .help = "notifications kept for one mailbox" },
	{ .name = "origin-notifications", .type = CONF_NUMBER, .offset = AT(origin_notices),
	  .min = 1, .max = 100000000, .initial = "500",
	  .help = "of those, from one sender's domain" },
	{ .name = "origin-rate", .type = CONF_NUMBER, .offset = AT(origin_rate), .max = 100000000,
	  .initial = "20000",
	  .help = "notifications a minute from one proved domain; 0: no limit" },
	{ .name = "address-rate", .type = CONF_NUMBER, .offset = AT(address_rate),
	  .max = 100000000, .initial = "40000",
	  .help = "notifications a minute from one address; 0: no limit" },
	{ .name = "unknown-rate", .type = CONF_NUMBER, .offset = AT(unknown_rate),
	  .max = 100000000, .initial = "300",
	  .help = "notifications a minute from one proved domain to nobody; 0: no limit" },
	{ .name = "sessions", .type = CONF_NUMBER, .offset = AT(max_sessions), .min = 1,
	  .max = 1000000, .initial = "10000", .restart = true, .help = "sessions at once" },
	{ .name = "sessions-per-address", .type = CONF_NUMBER, .offset = AT(sessions_per_address),
	  .min = 1, .max = 1000000, .initial = "100", .restart = true,
	  .help = "sessions at once from one address" },
	{ .name = "idle-time", .type = CONF_DURATION, .offset = AT(idle_s), .min = 1, .max = DAY_S,
	  .initial = "60s", .help = "a session that says nothing for so long is closed" },
	{ .name = "first-command-time", .type = CONF_DURATION, .offset = AT(first_command_s),
	  .min = 1, .max = DAY_S, .initial = "15s", .help = "the same before its first command" },
	{ .name = "wait-time", .type = CONF_DURATION, .offset = AT(wait_s), .min = 1, .max = DAY_S,
	  .initial = "30m", .help = "the longest that retrieve may wait" },
	{ .name = "login-failures", .type = CONF_NUMBER, .offset = AT(login_failures), .min = 1,
	  .max = 1000000, .initial = "5",
	  .restart = true, .help = "failed logins a minute, for a mailbox or an address" },
	{ .name = "pull-cache", .type = CONF_SIZE, .offset = AT(pull_cache_octets), .initial = "0",
	  .help = "octets of messages that are fetched for mail programs; 0: none is" },
	{ .name = "pull-limit", .type = CONF_SIZE, .offset = AT(pull_limit_octets), .min = 1024,
	  .initial = "256M", .help = "the largest message that is fetched" },
	{ .name = "pull-time", .type = CONF_DURATION, .offset = AT(pull_time_s), .min = 1,
	  .max = DAY_S, .initial = "10m", .help = "the longest that fetching a message may take" },
	{ .name = "pull-silence", .type = CONF_DURATION, .offset = AT(pull_silence_s), .min = 1,
	  .max = DAY_S, .initial = "30s",
	  .help = "the longest that a sender's store may say nothing meanwhile" },
	{ .name = "pull-again", .type = CONF_DURATION, .offset = AT(pull_again_s), .min = 1,
	  .max = DAY_S, .initial = "30s",
	  .help = "how long a sender's store is left alone that failed" },
	{ .name = "allow-private", .type = CONF_BOOL, .offset = AT(allow_private), .initial = "no",
	  .help = "whether a sender's store may be at a loopback or private address" },
	{ .name = "route", .type = CONF_LIST, .offset = AT(route), .restart = true,
	  .help = "domain service host:port that goes before DNS; may repeat" },
	{ .name = "log-level", .type = CONF_CHOICE, .offset = AT(log_level),
	  .choices = level_words, .initial = "info", .help = "what is logged to stderr" },
	{ .name = NULL },
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

/* Characters of an unquoted local part (RFC 5322 section 3.2.3) that are no letter or digit. */
#define TAG_CHARACTERS "!#$%&'*+-/=?^_`{|}~."

static int check_tag(const char *path, struct config *c, struct err_text *e)
{
	if (strcmp(c->plus_tags, "none") == 0) {
		return 0;
	}
	if (strlen(c->plus_tags) != 1 || strchr(TAG_CHARACTERS, c->plus_tags[0]) == NULL) {
		return conf_blame(e,
		                  err_set(e, ERR_CONFIG,
		                          "plus-tags \"%s\" divides nothing (allowed: none, or one"
		                          " of %s)",
		                          c->plus_tags, TAG_CHARACTERS),
		                  path);
	}
	c->tag = c->plus_tags[0];
	return 0;
}

/* Their mailboxes, in canonical form. */
static int make_local_users(const char *path, struct config *c, struct err_text *e)
{
	int r = local_users_read(path, &c->local_user, &c->local_users, e);

	for (size_t i = 0; r == 0 && i < c->local_users.n; i++) {
		struct local_user *u = &c->local_users.item[i];
		struct mailbox name;
		char *copy;

		if (name_parse_mailbox(span_str(u->account), &name) != 0) {
			return conf_error(e, path, c->local_user.line[i], "local-user",
			                  "\"%s\" is no mailbox (as in 1000 bob@b.example)",
			                  u->account);
		}
		if ((copy = strdup(name.text)) == NULL) {
			return err_set(e, ERR_NOMEM, "read %s: out of memory", path);
		}
		free(u->account);
		u->account = copy;
	}
	return r;
}

int config_read(const char *path, struct config *c, struct err_text *e)
{
	const struct conf_schema schema = { .keys = config_keys };
	int r;

	memset(c, 0, sizeof *c);
	if ((r = conf_read(path, &schema, c, e)) != 0 || (r = check_domains(path, c, e)) != 0 ||
	    (r = daemon_pair_certificates(path, &c->certificate, &c->key, e)) != 0 ||
	    (r = address_list_check_listen(path, "listen-rnasp", &c->listen_rnasp, 4403, e)) != 0 ||
	    (r = address_list_check_listen(path, "listen-rnaqp", &c->listen_rnaqp, 4403, e)) != 0 ||
	    (r = check_tag(path, c, e)) != 0 ||
	    (r = daemon_metrics_check(path, c->metrics, e)) != 0 ||
	    (r = make_local_users(path, c, e)) != 0 ||
	    (r = locate_read_routes(path, &c->route, &c->routes, &c->n_routes, e)) != 0) {
		return r;
	}
	return address_list_check_dns(path, &c->dns_servers, e);
}

void config_free(struct config *c)
{
	conf_release(config_keys, c);
	local_users_free(&c->local_users);
	free(c->routes);
}
