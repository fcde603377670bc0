/* The services, and routes that a configuration pins. */
#include <stdlib.h>
#include <string.h>

#include "base/name.h"
#include "net/locate.h"

static const struct {
	const char *name, *alpn;
} services[] = {
	[LOCATE_MSOAP] = { "msoap", "im2000-msoap/1" },
	[LOCATE_MSRAP] = { "msrap", "im2000-msrap/1" },
	[LOCATE_RNASP] = { "rnasp", "im2000-rnasp/1" },
	[LOCATE_RNAQP] = { "rnaqp", "im2000-rnaqp/1" },
};

const char *locate_service_name(enum locate_service s)
{
	return services[s].name;
}

const char *locate_alpn(enum locate_service s)
{
	return services[s].alpn;
}

/* The next word of *TEXT, which moves behind it. */
static struct span next_word(const char **text)
{
	const char *start = *text + strspn(*text, " \t");
	size_t n = strcspn(start, " \t");

	*text = start + n;
	return span_of(start, n);
}

int locate_parse_route(const char *text, struct locate_route *out, struct err_text *e)
{
	const char *rest = text;
	struct span domain = next_word(&rest), service = next_word(&rest), at = next_word(&rest);
	char canonical[NAME_DOMAIN_MAX + 1], where[300];
	size_t s = 0;

	memset(out, 0, sizeof *out);
	if (at.n == 0 || next_word(&rest).n != 0)
		return err_set(e, ERR_MALFORMED, "route \"%s\": not three words, as in "
		               "b.example rnasp 127.0.0.1:4403", text);
	if (name_parse_domain(domain, canonical) < 0)
		return err_set(e, ERR_MALFORMED, "route \"%s\": \"%.*s\" is no domain", text,
		               (int)domain.n, (const char *)domain.p);
	memcpy(out->domain, canonical, sizeof canonical);
	while (s < sizeof services / sizeof services[0] && !span_eq_str(service, services[s].name))
		s++;
	if (s == sizeof services / sizeof services[0])
		return err_set(e, ERR_MALFORMED, "route \"%s\": \"%.*s\" is no service (msoap, msrap, "
		               "rnasp, rnaqp)", text, (int)service.n, (const char *)service.p);
	out->service = (enum locate_service)s;
	if (span_copy(at, where, sizeof where) < 0
	    || name_parse_host_port(where, out->host, sizeof out->host, &out->port) < 0
	    || out->port == 0)
		return err_set(e, ERR_MALFORMED, "route \"%s\": \"%.*s\" is no host and port (as in "
		               "127.0.0.1:4403 or [::1]:4403)", text, (int)at.n, (const char *)at.p);
	return 0;
}

int locate_read_routes(const char *path, const struct conf_list *list, struct locate_route **out,
                       size_t *n, struct err_text *e)
{
	struct err_text why = { "" };

	*n = 0;
	*out = calloc(list->n + 1, sizeof **out);
	if (*out == NULL)
		return err_set(e, ERR_NOMEM, "read %s: out of memory", path);
	for (size_t i = 0; i < list->n; i++) {
		if (locate_parse_route(list->item[i], &(*out)[i], &why) != 0)
			return conf_error(e, path, list->line[i], "route", "%s", why.text);
		(*n)++;
	}
	return 0;
}
