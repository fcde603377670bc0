/* The configuration of im2000-notify: notify.conf(5). */
#ifndef IM2000_NOTIFY_CONFIG_H
#define IM2000_NOTIFY_CONFIG_H

#include "base/conf.h"
#include "net/locate.h"
#include "session/local_user.h"

struct config {
	struct conf_list domains;
	char *data, *ca_file;
	struct conf_list certificate, key; /* as many of each */
	struct conf_list listen_rnasp, listen_rnaqp;
	struct conf_list dns_servers;
	char *metrics; /* where they are served; NULL: nowhere */
	struct conf_list local_user;
	struct local_users local_users; /* made of them; their accounts are canonical mailboxes */
	bool early_data;
	uint64_t workers;
	unsigned unverified; /* enum config_unverified */
	unsigned strangers;  /* enum config_strangers */
	char *plus_tags;
	char tag; /* made of it: what divides a tag from a name, or 0 */
	uint64_t retention_s;
	uint64_t mailbox_notices, origin_notices;
	uint64_t max_command_octets, max_notifications, max_notification_octets;
	uint64_t origin_rate, address_rate, unknown_rate; /* a minute */
	uint64_t max_sessions, sessions_per_address;
	uint64_t idle_s, first_command_s, wait_s;
	uint64_t login_failures; /* a minute */
	struct conf_list route;
	struct locate_route *routes; /* made of them */
	size_t n_routes;
	bool allow_private;
	uint64_t pull_cache_octets, pull_limit_octets;
	uint64_t pull_time_s, pull_silence_s, pull_again_s;
	unsigned log_level; /* enum log_level */
};

enum config_strangers { CONFIG_STRANGERS_ACCEPT, CONFIG_STRANGERS_REFUSE };
enum config_unverified { CONFIG_UNVERIFIED_REFUSE, CONFIG_UNVERIFIED_KEEP };

extern const struct conf_key config_keys[];

/* Reads PATH into C; domains are brought into canonical form and checked. 0 or an error with E
 * filled; config_free in any case. */
int config_read(const char *path, struct config *c, struct err_text *e);
void config_free(struct config *c);

#endif
