/* agent.conf(5): what the command line and the agent for mail programs read. */
#ifndef IM2000_AGENT_CONFIG_H
#define IM2000_AGENT_CONFIG_H

#include "base/conf.h"
#include "base/name.h"
#include "net/locate.h"

/* Where messages are read. */
enum config_via {
	CONFIG_VIA_STORE,          /* at the sender's store */
	CONFIG_VIA_AGENT,          /* through the notification agent, and nowhere else */
	CONFIG_VIA_AGENT_OR_STORE, /* at the store where the agent cannot */
};

/* One [account NAME] section. */
struct config_account {
	char *title;
	/* As in the file; NULL where not given. */
	char *mailbox_text;
	char *notify_domain_text, *notify_login, *notify_password_file, *notify_password_command;
	char *store_domain_text, *store_login, *store_password_file, *store_password_command;
	unsigned fetch_via; /* enum config_via */
	/* Made from those. */
	struct mailbox mailbox;
	char notify_domain[NAME_DOMAIN_MAX + 1]; /* where notifications are fetched */
	char store_domain[NAME_DOMAIN_MAX + 1];  /* where messages are submitted */
	/* Login and agent, "bob@b.example b.example": whose notifications these are, in agent.mdb.
	 * The title may change. */
	char *identity;
};

#define CONFIG_IDENTITY_MAX 500 /* octets: it is a key of the database */

struct config {
	char *data;    /* NULL in the file: $XDG_DATA_HOME/im2000 */
	char *ca_file; /* NULL: the system's store */
	struct conf_list route, dns_server;
	bool allow_private;
	bool early_data;
	unsigned fetch_via; /* enum config_via: of accounts that do not say */
	struct locate_route *routes;
	size_t n_routes;
	struct config_account *accounts; /* in the file's order; the first is the default */
	size_t n_accounts;
	char *path; /* of the file that was read */
};

/* The file to read: PATH, else $IM2000_CONFIG, else $XDG_CONFIG_HOME/im2000/agent.conf (or
 * ~/.config/...). Caller frees. NULL when memory is out. */
char *config_path(const char *path);

/* Reads PATH into C (any contents before). 0, or ERR_CONFIG, ERR_IO, ERR_NOMEM with E naming
 * file, line and what is allowed; config_free in any case. */
int config_read(const char *path, struct config *c, struct err_text *e);
void config_free(struct config *c);

/* The account called TITLE, or whose mailbox it is; NULL: the first. ERR_CONFIG with E filled. */
int config_find(const struct config *c, const char *title, const struct config_account **out,
                struct err_text *e);

/* The password for the agent (or the store), by file or command, into OUT (PASSWORD_MAX + 1
 * octets; to be wiped). ERR_CONFIG when the account names none; errors name the account. */
int config_notify_password(const struct config_account *a, char *out, struct err_text *e);
int config_store_password(const struct config_account *a, char *out, struct err_text *e);

/* Whether the account names a password for that, so that it can be used. */
bool config_receives(const struct config_account *a);
bool config_sends(const struct config_account *a);

/* The table of keys: of the file, of an account. For manuals. */
extern const struct conf_key config_keys[];
extern const struct conf_key config_account_keys[];

#endif
