/*
 * Where a daemon listens: the addresses of its configuration and the sockets
 * that a service manager hands over. See daemon_state.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "session/daemon_state.h"

#define UNIX_PREFIX "unix:"

/* --- endpoints --------------------------------------------------------------------------- */

/* The one that TEXT names already. Port 0 names none: each is a port of its own. */
static struct daemon_endpoint *find_endpoint(struct daemon *d, const char *text)
{
	for (size_t i = 0; i < d->n_endpoints; i++) {
		struct daemon_endpoint *p = &d->endpoints[i];

		if (strcmp(p->text, text) == 0 &&
		    (p->unix_path != NULL || address_port(&p->address) != 0))
			return p;
	}
	return NULL;
}

/* One more, by its TEXT alone (copied). */
static int new_endpoint(struct daemon *d, const char *text, struct daemon_endpoint **out,
                        struct err_text *e)
{
	size_t services = d->options->n_services;
	struct daemon_endpoint *p = &d->endpoints[d->n_endpoints];

	p->fd = -1;
	p->text = strdup(text);
	p->services = calloc(services, sizeof(void *));
	p->alpn = calloc(services + 1, sizeof(void *));
	d->n_endpoints++; /* from here on it is freed with the rest */
	if (p->text == NULL || p->services == NULL || p->alpn == NULL)
		return err_set(e, ERR_NOMEM, "out of memory");
	*out = p;
	return 0;
}

static int parse_endpoint(struct daemon *d, const char *text, struct daemon_endpoint **out,
                          struct err_text *e)
{
	struct address address = { .n = 0 };
	bool local = strncmp(text, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0;
	int rc;

	if (!local && address_parse(text, &address) < 0)
		return err_set(e, ERR_CONFIG,
		               "listen on \"%s\": not an address and a port (as in 127.0.0.1:4401, "
		               "[::1]:4401), nor a socket's path (unix:/run/store.sock)", text);
	rc = new_endpoint(d, text, out, e);
	if (rc < 0)
		return rc;
	(*out)->address = address;
	if (local)
		(*out)->unix_path = (*out)->text + strlen(UNIX_PREFIX);
	return 0;
}

static int add_service(struct daemon_endpoint *p, const struct daemon_service *s,
                       struct err_text *e)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->services[i] == s)
			return 0; /* named twice */
	if (p->n > 0 && p->unix_path != NULL)
		return err_set(e, ERR_CONFIG,
		               "listen on %s: both %s and %s, but a UNIX socket has one service",
		               p->text, p->services[0]->name, s->name);
	p->services[p->n] = s;
	p->alpn[p->n] = s->protocol->alpn;
	p->n++;
	return 0;
}

/* --- sockets that were handed over ------------------------------------------------------- */

/* Whether NAME is one of the words in NAMES, which commas separate. */
static bool has_name(const char *names, const char *name)
{
	size_t n = strlen(name);

	for (; *names != '\0'; names += strspn(names, ",")) {
		size_t word = strcspn(names, ",");

		if (word == n && memcmp(names, name, n) == 0)
			return true;
		names += word;
	}
	return false;
}

/* Where the socket listens, as a configuration writes it. False: at nothing that has a name. */
static bool describe(int fd, struct address *address, char *out, size_t cap)
{
	const struct sockaddr_un *un = (const struct sockaddr_un *)&address->u;
	size_t n;

	address->n = sizeof address->u;
	if (getsockname(fd, &address->u.sa, &address->n) < 0)
		return false;
	if (address->u.sa.sa_family == AF_INET || address->u.sa.sa_family == AF_INET6) {
		address_format(address, out, cap);
		return true;
	}
	if (address->u.sa.sa_family != AF_UNIX ||
	    address->n <= offsetof(struct sockaddr_un, sun_path) || un->sun_path[0] == '\0')
		return false;
	n = strnlen(un->sun_path, address->n - offsetof(struct sockaddr_un, sun_path));
	memcpy(out, UNIX_PREFIX, strlen(UNIX_PREFIX));
	return span_copy(span_of(un->sun_path, n), out + strlen(UNIX_PREFIX),
	                 cap - strlen(UNIX_PREFIX)) == 0;
}

/* Whether TEXT, of a configuration, is the address that is written WHERE in canonical form. */
static bool is_same(const char *text, const char *where)
{
	struct address address;
	char canonical[64];

	if (strncmp(text, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0 ||
	    address_parse(text, &address) < 0)
		return strcmp(text, where) == 0;
	return strcmp(address_format(&address, canonical, sizeof canonical), where) == 0;
}

static bool names_address(const struct daemon_service *s, const char *where)
{
	for (size_t i = 0; i < s->n_addresses; i++)
		if (is_same(s->addresses[i], where))
			return true;
	return false;
}

/* An endpoint of SOCKET, with the services that its name says, else those of its address. */
static int take_socket(struct daemon *d, struct supervisor_socket *socket, struct err_text *e)
{
	const struct daemon_options *o = d->options;
	struct daemon_endpoint *p;
	struct address address = { .n = 0 };
	char where[sizeof UNIX_PREFIX + sizeof(struct sockaddr_un)];
	bool known = describe(socket->fd, &address, where, sizeof where);
	bool by_name = false;
	int rc;

	for (size_t i = 0; i < o->n_services; i++)
		by_name = by_name || has_name(socket->name, o->services[i].name);
	if (!known)
		return err_set(e, ERR_CONFIG, "socket \"%s\" was handed over: it has no address or path",
		               socket->name);
	if (o->metrics != NULL && d->metrics_fd < 0 &&
	    (has_name(socket->name, "metrics") || (!by_name && is_same(o->metrics, where)))) {
		d->metrics_fd = socket->fd;
		socket->fd = -1;
		return 0;
	}
	rc = new_endpoint(d, where, &p, e);
	if (rc < 0)
		return rc;
	p->address = address;
	if (address.u.sa.sa_family == AF_UNIX)
		p->unix_path = p->text + strlen(UNIX_PREFIX);
	p->fd = socket->fd;
	socket->fd = -1;
	for (size_t i = 0; rc == 0 && i < o->n_services; i++)
		if (by_name ? has_name(socket->name, o->services[i].name)
		            : names_address(&o->services[i], where))
			rc = add_service(p, &o->services[i], e);
	if (rc == 0 && p->n == 0)
		rc = err_set(e, ERR_CONFIG,
		             "socket \"%s\" was handed over: neither its name nor its address %s is "
		             "one of this configuration's (FileDescriptorName=%s)", socket->name,
		             where, o->services[0].name);
	return rc;
}

/* Whether a socket was handed over for S by name: then that is where S listens. */
static bool is_named(const struct supervisor_socket *sockets, size_t n,
                     const struct daemon_service *s)
{
	for (size_t i = 0; i < n; i++)
		if (has_name(sockets[i].name, s->name))
			return true;
	return false;
}

/* --- all of them ------------------------------------------------------------------------- */

static int collect_configured(struct daemon *d, const struct daemon_service *s,
                              struct err_text *e)
{
	struct daemon_endpoint *p;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < s->n_addresses; i++) {
		const char *text = s->addresses[i];

		p = NULL;
		for (size_t k = 0; p == NULL && k < d->n_endpoints; k++)
			if (d->endpoints[k].fd >= 0 && is_same(text, d->endpoints[k].text))
				p = &d->endpoints[k];
		if (p == NULL)
			p = find_endpoint(d, text);
		if (p == NULL)
			rc = parse_endpoint(d, text, &p, e);
		if (rc == 0)
			rc = add_service(p, s, e);
	}
	return rc;
}

static int collect(struct daemon *d, struct supervisor_socket *sockets, size_t n_sockets,
                   struct err_text *e)
{
	const struct daemon_options *o = d->options;
	size_t n = n_sockets;
	int rc = 0;

	for (size_t i = 0; i < o->n_services; i++)
		n += o->services[i].n_addresses;
	if (n == 0)
		return err_set(e, ERR_CONFIG, "%s has no address to listen on", o->program);
	d->endpoints = calloc(n, sizeof *d->endpoints);
	if (d->endpoints == NULL)
		return err_set(e, ERR_NOMEM, "out of memory");
	for (size_t i = 0; rc == 0 && i < n_sockets; i++)
		rc = take_socket(d, &sockets[i], e);
	for (size_t i = 0; rc == 0 && i < o->n_services; i++)
		if (!is_named(sockets, n_sockets, &o->services[i]))
			rc = collect_configured(d, &o->services[i], e);
	return rc;
}

int daemon_addresses_collect(struct daemon *d, struct err_text *e)
{
	struct supervisor_socket *sockets;
	size_t n;
	int rc = supervisor_sockets(&sockets, &n, e);

	if (rc < 0)
		return rc;
	rc = collect(d, sockets, n, e);
	supervisor_sockets_free(sockets, n);
	return rc;
}

/*
 * The workers share a port (SO_REUSEPORT), and the kernel lets a second daemon of
 * the same user share it too. So the port is tried without sharing first.
 */
static int check_free(const struct daemon_endpoint *p, struct err_text *e)
{
	int on = 1;
	int rc = 0;
	int fd;

	if (p->fd >= 0 || p->unix_path != NULL || address_port(&p->address) == 0)
		return 0;
	fd = socket(p->address.u.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return 0; /* the listener will say what is wrong */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (p->address.u.sa.sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on); /* as listeners do */
	if (bind(fd, &p->address.u.sa, p->address.n) < 0 && errno == EADDRINUSE)
		rc = err_set(e, ERR_IO,
		             "listen on %s: address already in use: another program (or another "
		             "one of these daemons) listens there", p->text);
	close(fd);
	return rc;
}

int daemon_addresses_check(const struct daemon *d, struct err_text *e)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < d->n_endpoints; i++)
		rc = check_free(&d->endpoints[i], e);
	return rc;
}

const struct daemon_endpoint *daemon_addresses_first(const struct daemon *d,
                                                     const struct daemon_service *s)
{
	const struct daemon_endpoint *any = NULL;

	for (size_t i = d->n_endpoints; i-- > 0;) {
		const struct daemon_endpoint *p = &d->endpoints[i];

		for (size_t k = 0; k < p->n; k++) {
			if (p->services[k] != s)
				continue;
			if (s->n_addresses > 0 && strcmp(p->text, s->addresses[0]) == 0)
				return p;
			any = p;
		}
	}
	return any;
}

void daemon_addresses_free(struct daemon *d)
{
	for (size_t i = 0; i < d->n_endpoints; i++) {
		if (d->endpoints[i].fd >= 0)
			close(d->endpoints[i].fd);
		free(d->endpoints[i].text);
		free(d->endpoints[i].services);
		free(d->endpoints[i].alpn);
	}
	free(d->endpoints);
	if (d->metrics_fd >= 0)
		close(d->metrics_fd);
}
