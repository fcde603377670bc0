#include "mua-agent/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/password.h"
#include "net/address_list.h"
#include "mua-agent/shell.h"

#define AT(member) offsetof(struct config, member)
#define OF(member) offsetof(struct config_account, member)

/* In the order of enum config_via. */
static const char *const via_words[] = { "store", "agent", "agent-or-store", NULL };

const struct conf_key config_keys[] = {
	{ .name = "data", .type = CONF_PATH, .offset = AT(data),
	  .help = "directory for what this program keeps; default: $XDG_DATA_HOME/im2000" },
	{ .name = "ca-file", .type = CONF_PATH, .offset = AT(ca_file),
	  .help = "PEM file: authorities that prove stores and agents; without it the system's" },
	{ .name = "route", .type = CONF_LIST, .offset = AT(route),
	  .help = "domain service host:port that goes before DNS; may repeat" },
	{ .name = "dns-server", .type = CONF_LIST, .offset = AT(dns_server),
	  .help = "address:port of a DNS server; may repeat; without it the system's" },
	{ .name = "allow-private", .type = CONF_BOOL, .offset = AT(allow_private), .initial = "no",
	  .help = "whether a sender's store may be at a loopback or private address" },
	{ .name = "early-data", .type = CONF_BOOL, .offset = AT(early_data), .initial = "yes",
	  .help = "whether commands may go with the handshake, by tickets kept in data" },
	{ .name = "fetch-via", .type = CONF_CHOICE, .offset = AT(fetch_via), .choices = via_words,
	  .initial = "store",
	  .help = "where messages of accounts are read that do not say it themselves" },
	{ .name = NULL },
};

const struct conf_key config_account_keys[] = {
	{ .name = "mailbox", .type = CONF_TEXT, .offset = OF(mailbox_text), .required = true,
	  .help = "local@domain" },
	{ .name = "notify-domain", .type = CONF_TEXT, .offset = OF(notify_domain_text),
	  .help = "domain of the notification agent; default: the mailbox's" },
	{ .name = "notify-login", .type = CONF_TEXT, .offset = OF(notify_login),
	  .help = "login at the notification agent; default: the mailbox" },
	{ .name = "notify-password-file", .type = CONF_PATH, .offset = OF(notify_password_file),
	  .help = "file whose first line is the password or token" },
	{ .name = "notify-password-command", .type = CONF_TEXT, .offset = OF(notify_password_command),
	  .help = "shell command that prints it" },
	{ .name = "fetch-via", .type = CONF_CHOICE, .offset = OF(fetch_via), .choices = via_words,
	  .help = "whether messages are read at senders' stores or through the agent" },
	{ .name = "store-domain", .type = CONF_TEXT, .offset = OF(store_domain_text),
	  .help = "domain of the message store; default: the mailbox's" },
	{ .name = "store-login", .type = CONF_TEXT, .offset = OF(store_login),
	  .help = "account at the message store; default: the mailbox's local part" },
	{ .name = "store-password-file", .type = CONF_PATH, .offset = OF(store_password_file),
	  .help = "file whose first line is the password or token" },
	{ .name = "store-password-command", .type = CONF_TEXT, .offset = OF(store_password_command),
	  .help = "shell command that prints it" },
	{ .name = NULL },
};

/* $VARIABLE/REST, or ~/FALLBACK/REST. */
static char *home_path(const char *variable, const char *fallback, const char *rest)
{
	const char *base = getenv(variable), *home = getenv("HOME");
	char *out = NULL;
	int n;

	if (base != NULL && base[0] == '/') {
		n = asprintf(&out, "%s/%s", base, rest);
	} else {
		n = asprintf(&out, "%s/%s/%s", home != NULL ? home : "", fallback, rest);
	}
	return n < 0 ? NULL : out;
}

char *config_path(const char *path)
{
	const char *named = getenv("IM2000_CONFIG");

	if (path != NULL) {
		return strdup(path);
	}
	if (named != NULL && named[0] != '\0') {
		return strdup(named);
	}
	return home_path("XDG_CONFIG_HOME", ".config", "im2000/agent.conf");
}

/*
 * A section begins: a fresh account. The list is a linked growth by one, and the
 * file's lines fill the account last made; so accounts lie behind pointers until
 * the file is read.
 */
struct reading {
	struct config *config;
	struct config_account **list;
	const char *path;
};

static int section_open(void *ctx, const char *title, const struct conf_key **keys, void **target,
                        struct err_text *e)
{
	struct reading *r = ctx;
	struct config *c = r->config;
	struct config_account **list, *a;

	if (strncmp(title, "account ", 8) != 0 || title[8] == '\0') {
		return err_set(e, ERR_CONFIG,
		               "section [%.100s] is not known (allowed: [account NAME])", title);
	}
	for (size_t i = 0; i < c->n_accounts; i++) {
		if (strcmp(r->list[i]->title, title + 8) == 0) {
			return err_set(e, ERR_CONFIG, "account \"%.100s\" is there twice",
			               title + 8);
		}
	}
	list = realloc(r->list, (c->n_accounts + 1) * sizeof *list);
	if (list == NULL) {
		return err_set(e, ERR_NOMEM, "out of memory");
	}
	r->list = list;
	if ((a = calloc(1, sizeof *a)) == NULL || (a->title = strdup(title + 8)) == NULL) {
		free(a);
		return err_set(e, ERR_NOMEM, "out of memory");
	}
	a->fetch_via = c->fetch_via;
	list[c->n_accounts++] = a;
	*keys = config_account_keys;
	*target = a;
	return 0;
}

/* Moves the accounts out of the reading list into the configuration. */
static int gather(struct reading *r, struct err_text *e)
{
	struct config *c = r->config;
	int result = 0;

	c->accounts = calloc(c->n_accounts + 1, sizeof *c->accounts);
	if (c->accounts == NULL) {
		result = err_set(e, ERR_NOMEM, "read %s: out of memory", r->path);
	}
	for (size_t i = 0; i < c->n_accounts; i++) {
		if (c->accounts != NULL) {
			c->accounts[i] = *r->list[i];
		} else {
			free(r->list[i]->title);
			conf_release(config_account_keys, r->list[i]);
		}
		free(r->list[i]);
	}
	if (c->accounts == NULL) {
		c->n_accounts = 0;
	}
	free(r->list);
	return result;
}

static int domain_of(const char *path, const struct config_account *a, const char *key,
                     const char *text, char *out, struct err_text *e)
{
	if (text == NULL) {
		return span_copy(span_str(mailbox_domain(&a->mailbox)), out, NAME_DOMAIN_MAX + 1);
	}
	return name_parse_domain(span_str(text), out) == 0
	           ? 0
	           : err_set(e, ERR_CONFIG, "%s: account %s: %s: \"%.200s\" is no domain name",
	                     path, a->title, key, text);
}

static int default_text(char **member, struct span text, struct err_text *e)
{
	if (*member == NULL && (*member = span_dup(text)) == NULL) {
		return err_set(e, ERR_NOMEM, "out of memory");
	}
	return 0;
}

static int complete_account(const char *path, struct config_account *a, struct err_text *e)
{
	int r;

	if (name_parse_mailbox(span_str(a->mailbox_text), &a->mailbox) != 0) {
		return err_set(
		    e, ERR_CONFIG,
		    "%s: account %s: mailbox: \"%.200s\" is no mailbox (as in bob@b.example)", path,
		    a->title, a->mailbox_text);
	}
	if ((r = domain_of(path, a, "notify-domain", a->notify_domain_text, a->notify_domain, e)) !=
	        0 ||
	    (r = domain_of(path, a, "store-domain", a->store_domain_text, a->store_domain, e)) !=
	        0 ||
	    (r = default_text(&a->notify_login, span_str(a->mailbox.text), e)) != 0) {
		return r;
	}
	if ((r = default_text(&a->store_login, mailbox_local(&a->mailbox), e)) != 0) {
		return r;
	}
	if (asprintf(&a->identity, "%s %s", a->notify_login, a->notify_domain) < 0) {
		a->identity = NULL;
		return err_set(e, ERR_NOMEM, "out of memory");
	}
	return strlen(a->identity) <= CONFIG_IDENTITY_MAX
	           ? 0
	           : err_set(e, ERR_CONFIG, "%s: account %s: notify-login is too long", path,
	                     a->title);
}

/* Two accounts with one mailbox at one agent would be one and the same. */
static int check_identities(const struct config *c, const char *path, struct err_text *e)
{
	for (size_t i = 1; i < c->n_accounts; i++) {
		for (size_t k = 0; k < i; k++) {
			if (strcmp(c->accounts[i].identity, c->accounts[k].identity) == 0) {
				return err_set(
				    e, ERR_CONFIG,
				    "%s: accounts %s and %s have the same notify-login at "
				    "the same notify-domain",
				    path, c->accounts[k].title, c->accounts[i].title);
			}
		}
	}
	return 0;
}

static int check_dns_servers(const char *path, const struct config *c, struct err_text *e)
{
	for (size_t i = 0; i < c->dns_server.n; i++) {
		if (!address_list_is_dns_server(c->dns_server.item[i])) {
			return conf_error(e, path, c->dns_server.line[i], "dns-server",
			                  "\"%.100s\" is no address (as in 127.0.0.1:53)",
			                  c->dns_server.item[i]);
		}
	}
	return 0;
}

static int complete(const char *path, struct config *c, struct err_text *e)
{
	int r;

	if (c->data == NULL) {
		c->data = home_path("XDG_DATA_HOME", ".local/share", "im2000");
	}
	if (c->data == NULL) {
		return err_set(e, ERR_NOMEM, "read %s: out of memory", path);
	}
	if ((r = locate_read_routes(path, &c->route, &c->routes, &c->n_routes, e)) != 0) {
		return r;
	}
	if (c->n_accounts == 0) {
		return err_set(e, ERR_CONFIG,
		               "%s: there is no account: add a section [account NAME]", path);
	}
	r = check_dns_servers(path, c, e);
	for (size_t i = 0; r == 0 && i < c->n_accounts; i++) {
		r = complete_account(path, &c->accounts[i], e);
	}
	return r != 0 ? r : check_identities(c, path, e);
}

int config_read(const char *path, struct config *c, struct err_text *e)
{
	struct reading reading = { .config = c, .path = path };
	const struct conf_schema schema = { .keys = config_keys,
		                            .section_open = section_open,
		                            .ctx = &reading };
	int r, gathered;

	memset(c, 0, sizeof *c);
	if ((c->path = strdup(path)) == NULL) {
		return err_set(e, ERR_NOMEM, "read %s: out of memory", path);
	}
	r = conf_read(path, &schema, c, e);
	gathered = gather(&reading, e);
	if (r == 0) {
		r = gathered;
	}
	return r != 0 ? r : complete(path, c, e);
}

void config_free(struct config *c)
{
	for (size_t i = 0; i < c->n_accounts; i++) {
		free(c->accounts[i].title);
		free(c->accounts[i].identity);
		conf_release(config_account_keys, &c->accounts[i]);
	}
	free(c->accounts);
	free(c->routes);
	free(c->path);
	conf_release(config_keys, c);
	memset(c, 0, sizeof *c);
}

int config_find(const struct config *c, const char *title, const struct config_account **out,
                struct err_text *e)
{
	for (size_t i = 0; i < c->n_accounts; i++) {
		const struct config_account *a = &c->accounts[i];

		if (title == NULL || strcmp(a->title, title) == 0 ||
		    strcmp(a->mailbox.text, title) == 0) {
			*out = a;
			return 0;
		}
	}
	return err_set(e, ERR_CONFIG, "%s has no account \"%.200s\"", c->path, title);
}

static int password(const struct config_account *a, const char *which, const char *file,
                    const char *command, char *out, struct err_text *e)
{
	int r;

	if (file != NULL) {
		r = password_read_file(file, out, e);
	} else if (command != NULL) {
		r = shell_ask(command, out, PASSWORD_MAX + 1, e);
	} else {
		r = err_set(e, ERR_CONFIG,
		            "no password is named: set %s-password-file or %s-password-command",
		            which, which);
	}
	return r == 0 ? 0 : err_prefix(e, r, "account %s", a->title);
}

bool config_receives(const struct config_account *a)
{
	return a->notify_password_file != NULL || a->notify_password_command != NULL;
}

bool config_sends(const struct config_account *a)
{
	return a->store_password_file != NULL || a->store_password_command != NULL;
}

int config_notify_password(const struct config_account *a, char *out, struct err_text *e)
{
	return password(a, "notify", a->notify_password_file, a->notify_password_command, out, e);
}

int config_store_password(const struct config_account *a, char *out, struct err_text *e)
{
	return password(a, "store", a->store_password_file, a->store_password_command, out, e);
}
