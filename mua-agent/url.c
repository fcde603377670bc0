#include "mua-agent/url.h"

#include <stdio.h>
#include <strings.h>

#include "base/err.h"
#include "base/text.h"

#define SCHEME "im2000://"

int url_parse(const char *text, char store[NAME_DOMAIN_MAX + 1], uint8_t id[WIRE_ID_SIZE])
{
	const char *domain = text + sizeof SCHEME - 1, *slash;

	if (strncasecmp(text, SCHEME, sizeof SCHEME - 1) != 0 ||
	    (slash = strchr(domain, '/')) == NULL ||
	    name_parse_domain(span_of(domain, (size_t)(slash - domain)), store) != 0 ||
	    text_parse_base32hex(span_str(slash + 1), id, WIRE_ID_SIZE) != 0) {
		return ERR_MALFORMED;
	}
	return 0;
}

const char *url_format(const char *store, const uint8_t id[WIRE_ID_SIZE], char out[URL_MAX + 1])
{
	char text[27];

	text_base32hex(id, WIRE_ID_SIZE, text);
	snprintf(out, URL_MAX + 1, SCHEME "%s/%s", store, text);
	return out;
}
