/*
 * store.conf: the one table of its keys (store.conf(5)), with the limits of
 * protocol.md section 6, and the values checked and made ready for use.
 */
#ifndef IM2000_STORE_CONFIG_H
#define IM2000_STORE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/conf.h"
#include "base/log.h"
#include "base/name.h"
#include "net/locate.h"
#include "session/local_user.h"

struct config {
	/* As in the file. Texts are never NULL where the key is required. */
	struct conf_list domain;        /* see domains */
	char *data;                     /* data directory */
	struct conf_list certificate;   /* PEM files */
	struct conf_list key;           /* one for each, in their order */
	char *ca_file;                  /* NULL: the system's store */
	struct conf_list listen_msoap;  /* "127.0.0.1:4401", "unix:/path" */
	struct conf_list listen_msrap;
	struct conf_list route;         /* see routes */
	struct conf_list dns_server;    /* "127.0.0.1:5353"; none: the system's */
	char *metrics;                  /* where they are served; NULL: nowhere */
	struct conf_list local_user;    /* see local_users */
	uint64_t max_message_octets;
	uint64_t max_recipients;        /* recipients and lists of one envelope */
	uint64_t max_command_octets;    /* a command frame */
	uint64_t max_envelope_octets;   /* a submitEnvelope or readdress frame */
	uint64_t default_lifetime_s;
	uint64_t max_lifetime_s;
	uint64_t resume_time_s;         /* for how long a submission that was cut off is kept */
	uint64_t keep_status_s;         /* for how long `track` knows a message after its lifetime */
	uint64_t sessions;              /* in all */
	uint64_t sessions_per_address;
	uint64_t idle_time_s;
	uint64_t first_command_time_s;
	uint64_t wait_time_s;           /* the longest `watch` */
	uint64_t login_failures;        /* a minute, for an account or an address */
	uint64_t notify_connections;    /* to agents, in all */
	uint64_t notify_connections_each; /* of those, to one address */
	uint64_t workers;               /* 0: one for each core */
	bool early_data;                /* takes TLS early data */
	bool allow_private;             /* may connect to loopback and private addresses */
	unsigned log_level;             /* enum log_level */

	/* Made from those. */
	char (*domains)[NAME_DOMAIN_MAX + 1]; /* canonical; n_domains of them, at least one */
	size_t n_domains;
	struct locate_route *routes;
	size_t n_routes;
	struct local_users local_users;
};

/* The table, ended by a name of NULL. */
const struct conf_key *config_keys(void);

/*
 * Reads PATH into OUT (any contents before). 0; ERR_CONFIG, ERR_IO, ERR_NOMEM
 * with E naming file, line and what is allowed; on failure nothing is to be
 * released. Only the text is judged here; whether the files are there: config_check.
 */
int config_read(const char *path, struct config *out, struct err_text *e);
void config_release(struct config *c); /* zeroed is fine */

/*
 * What `run --check` looks at beyond the text: certificate, key and CA file load
 * and belong together, the certificate covers every domain, data directory and
 * keys are there and closed to others. 0, or the first thing that is wrong, in E.
 * Does not open the database, so a daemon may ask too.
 */
int config_check(const struct config *c, struct err_text *e);

/* The certificate alone; STRICT as for daemon_check_certificate. */
int config_check_certificate(const struct config *c, bool strict, struct err_text *e);

/* DOMAIN (canonical form) is one that this store serves. */
bool config_serves(const struct config *c, const char *domain);

#endif
