#include "store/config.h"

#include <stdlib.h>
#include <string.h>

#include "net/address_list.h"
#include "net/tls.h"
#include "session/daemon.h"
#include "store/db.h"
#include "store/ids.h"

#define KIB 1024ULL
#define MIB (1024 * KIB)
#define DAY_S 86400ULL

/* In the order of enum log_level. */
static const char *const log_levels[] = { "error", "warn", "info", "debug", NULL };

#define AT(member) offsetof(struct config, member)

static const struct conf_key keys[] = {
	{ .name = "domain", .type = CONF_LIST, .offset = AT(domain), .required = true,
	  .help = "a domain whose message store this is; may repeat" },
	{ .name = "data", .type = CONF_PATH, .offset = AT(data), .required = true,
	  .restart = true, .help = "the data directory, mode 0700" },
	{ .name = "certificate", .type = CONF_PATHS, .offset = AT(certificate), .required = true,
	  .help = "PEM file: a certificate for domains, then its chain; may repeat" },
	{ .name = "key", .type = CONF_PATHS, .offset = AT(key), .required = true,
	  .help = "PEM file: a certificate's private key; one for each, in their order" },
	{ .name = "ca-file", .type = CONF_PATH, .offset = AT(ca_file),
	  .help = "PEM file: authorities that prove notification agents; without it the system's" },
	{ .name = "early-data", .type = CONF_BOOL, .offset = AT(early_data), .initial = "yes",
	  .help = "whether harmless commands are taken from a TLS client's first flight" },
	{ .name = "listen-msoap", .type = CONF_LIST, .offset = AT(listen_msoap), .required = true,
	  .restart = true, .help = "address:port or unix:path for originators; may repeat" },
	{ .name = "listen-msrap", .type = CONF_LIST, .offset = AT(listen_msrap), .required = true,
	  .restart = true, .help = "address:port or unix:path for recipients; may repeat" },
	{ .name = "route", .type = CONF_LIST, .offset = AT(route),
	  .restart = true,
	  .help = "domain, service and address:port of a location that goes before DNS; may repeat" },
	{ .name = "metrics", .type = CONF_TEXT, .offset = AT(metrics), .restart = true,
	  .help = "loopback address:port or unix:path where metrics are served by HTTP" },
	{ .name = "local-user", .type = CONF_LIST, .offset = AT(local_user),
	  .help = "user of this machine and account that needs no password; may repeat" },
	{ .name = "dns-server", .type = CONF_LIST, .offset = AT(dns_server),
	  .restart = true,
	  .help = "address:port of a DNS server; may repeat; without it the system's" },
	{ .name = "allow-private", .type = CONF_BOOL, .offset = AT(allow_private), .initial = "no",
	  .help = "whether DNS may lead to loopback and private addresses" },
	{ .name = "max-message", .type = CONF_SIZE, .offset = AT(max_message_octets),
	  .min = KIB, .max = KIB * MIB * 1024, .initial = "256M", .help = "the largest message" },
	{ .name = "max-recipients", .type = CONF_NUMBER, .offset = AT(max_recipients), .min = 1,
	  .max = 1000000, .initial = "10000", .help = "recipients and lists of one envelope" },
	{ .name = "max-command", .type = CONF_SIZE, .offset = AT(max_command_octets),
	  .min = 4 * KIB, .max = MIB, .initial = "64K",
	  .help = "the largest command but envelopes and chunks" },
	{ .name = "max-envelope", .type = CONF_SIZE, .offset = AT(max_envelope_octets),
	  .min = 4 * KIB, .max = 256 * MIB, .initial = "1M", .help = "the largest envelope" },
	{ .name = "default-lifetime", .type = CONF_DURATION, .offset = AT(default_lifetime_s),
	  .min = 60, .max = 36500 * DAY_S, .initial = "90d",
	  .help = "how long a message is kept whose sender did not say" },
	{ .name = "max-lifetime", .type = CONF_DURATION, .offset = AT(max_lifetime_s), .min = 60,
	  .max = 36500 * DAY_S, .initial = "365d",
	  .help = "the longest that a sender may ask for" },
	{ .name = "resume-time", .type = CONF_DURATION, .offset = AT(resume_time_s), .min = 60,
	  .max = 365 * DAY_S, .initial = "1d",
	  .help = "how long a submission that was cut off can be gone on with" },
	{ .name = "keep-status", .type = CONF_DURATION, .offset = AT(keep_status_s),
	  .max = 3650 * DAY_S, .initial = "30d",
	  .help = "how long a message's status is kept after its lifetime" },
	{ .name = "sessions", .type = CONF_NUMBER, .offset = AT(sessions), .min = 1, .max = 1000000,
	  .initial = "10000", .restart = true, .help = "sessions at once" },
	{ .name = "sessions-per-address", .type = CONF_NUMBER, .offset = AT(sessions_per_address),
	  .min = 1, .max = 1000000, .initial = "100", .restart = true,
	  .help = "sessions at once from one address" },
	{ .name = "idle-time", .type = CONF_DURATION, .offset = AT(idle_time_s), .min = 1,
	  .max = DAY_S, .initial = "60s",
	  .help = "a session that says nothing for so long is closed" },
	{ .name = "first-command-time", .type = CONF_DURATION, .offset = AT(first_command_time_s),
	  .min = 1, .max = DAY_S, .initial = "15s", .help = "the same before its first command" },
	{ .name = "wait-time", .type = CONF_DURATION, .offset = AT(wait_time_s), .min = 1,
	  .max = DAY_S, .initial = "30m", .help = "the longest that watch may wait" },
	{ .name = "login-failures", .type = CONF_NUMBER, .offset = AT(login_failures), .min = 1,
	  .max = 1000000, .initial = "5",
	  .restart = true, .help = "failed logins a minute, for an account or an address" },
	{ .name = "notify-connections", .type = CONF_NUMBER, .offset = AT(notify_connections),
	  .min = 1, .max = 10000, .initial = "256", .restart = true,
	  .help = "connections to notification agents at once" },
	{ .name = "notify-connections-per-address", .type = CONF_NUMBER,
	  .offset = AT(notify_connections_each), .min = 1, .max = 10000, .initial = "64",
	  .restart = true, .help = "of those, to the agents at one address" },
	{ .name = "workers", .type = CONF_NUMBER, .offset = AT(workers), .max = 256,
	  .initial = "0", .restart = true, .help = "threads that serve; 0: one for each core" },
	{ .name = "log-level", .type = CONF_CHOICE, .offset = AT(log_level), .choices = log_levels,
	  .initial = "info", .help = "what is logged to stderr" },
	{ .name = NULL },
};

const struct conf_key *config_keys(void)
{
	return keys;
}

/* --- values that are more than text ------------------------------------------------------ */

static int no_memory(const char *path, struct err_text *e)
{
	return err_set(e, ERR_NOMEM, "read %s: out of memory", path);
}

static int make_domains(const char *path, struct config *c, struct err_text *e)
{
	c->domains = calloc(c->domain.n, sizeof *c->domains);
	if (c->domains == NULL)
		return no_memory(path, e);
	for (size_t i = 0; i < c->domain.n; i++) {
		if (name_parse_domain(span_str(c->domain.item[i]), c->domains[i]) != 0)
			return conf_error(e, path, c->domain.line[i], "domain",
			                  "\"%s\" is no domain (as in a.example)",
			                  c->domain.item[i]);
		c->n_domains++;
	}
	return 0;
}

/* Limits that only make sense together. */
static int check_limits(const char *path, const struct config *c, struct err_text *e)
{
	if (c->default_lifetime_s > c->max_lifetime_s)
		return conf_error(e, path, 0, "default-lifetime",
		                  "is longer than max-lifetime: raise the one or lower the other");
	if (c->max_command_octets > c->max_envelope_octets)
		return conf_error(e, path, 0, "max-command",
		                  "is larger than max-envelope: raise the one or lower the other");
	return 0;
}

int config_read(const char *path, struct config *out, struct err_text *e)
{
	const struct conf_schema schema = { .keys = keys };
	int rc;

	memset(out, 0, sizeof *out);
	rc = conf_read(path, &schema, out, e);
	if (rc == 0)
		rc = make_domains(path, out, e);
	if (rc == 0)
		rc = daemon_pair_certificates(path, &out->certificate, &out->key, e);
	if (rc == 0)
		rc = locate_read_routes(path, &out->route, &out->routes, &out->n_routes, e);
	if (rc == 0)
		rc = address_list_check_listen(path, "listen-msoap", &out->listen_msoap, 4401, e);
	if (rc == 0)
		rc = address_list_check_listen(path, "listen-msrap", &out->listen_msrap, 4401, e);
	if (rc == 0)
		rc = address_list_check_dns(path, &out->dns_server, e);
	if (rc == 0)
		rc = daemon_metrics_check(path, out->metrics, e);
	if (rc == 0)
		rc = local_users_read(path, &out->local_user, &out->local_users, e);
	if (rc == 0)
		rc = check_limits(path, out, e);
	if (rc != 0)
		config_release(out);
	return rc;
}

void config_release(struct config *c)
{
	conf_release(keys, c);
	free(c->domains);
	free(c->routes);
	local_users_free(&c->local_users);
	memset(c, 0, sizeof *c);
}

/* --- the files that it names --------------------------------------------------------------- */

int config_check_certificate(const struct config *c, bool strict, struct err_text *e)
{
	struct tls_options options = { .ca_file = c->ca_file, .server = true };
	const char **domains = calloc(c->n_domains, sizeof *domains);
	int rc;

	if (domains == NULL)
		return err_set(e, ERR_NOMEM, "check the certificate: out of memory");
	for (size_t i = 0; i < c->n_domains; i++)
		domains[i] = c->domains[i];
	daemon_name_certificates(&c->certificate, &c->key, &options);
	rc = daemon_check_certificate(&options, domains, c->n_domains, strict, e);
	free(domains);
	return rc;
}

int config_check(const struct config *c, struct err_text *e)
{
	struct ids *ids;
	int rc = config_check_certificate(c, true, e);

	if (rc != 0)
		return rc;
	rc = db_present(c->data, e);
	if (rc != 0)
		return rc;
	rc = ids_load(c->data, &ids, e);
	if (rc == 0)
		ids_free(ids);
	return rc;
}

bool config_serves(const struct config *c, const char *domain)
{
	for (size_t i = 0; i < c->n_domains; i++)
		if (strcmp(c->domains[i], domain) == 0)
			return true;
	return false;
}
