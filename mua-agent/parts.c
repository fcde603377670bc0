#include "mua-agent/parts.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "message/decode.h"

static bool has_type(const struct bodystructure_part *p, const char *type)
{
	return strncmp(p->type, type, strlen(type)) == 0;
}

bool parts_is_container(const struct bodystructure_part *p)
{
	return has_type(p, "multipart/");
}

/* A message inside: its parts follow it in the table, and are its own affair. */
static bool is_message(const struct bodystructure_part *p)
{
	return has_type(p, "message/rfc822") || has_type(p, "message/global");
}

bool parts_is_attachment(const struct bodystructure_part *p)
{
	if (parts_is_container(p)) {
		return false;
	}
	return p->filename[0] != '\0' || strcmp(p->disposition, "attachment") == 0 ||
	       !has_type(p, "text/");
}

size_t parts_after(const struct bodystructure_part *parts, size_t n, size_t i)
{
	size_t next = i + 1;

	while (next < n && parts[next].depth > parts[i].depth) {
		next++;
	}
	return next;
}

/* The part to look at after I: what stands inside of an attached message is left out. */
static size_t next_of(const struct bodystructure_part *parts, size_t n, size_t i)
{
	return is_message(&parts[i]) ? parts_after(parts, n, i) : i + 1;
}

bool parts_is_plain(const struct bodystructure_part *p)
{
	return has_type(p, "text/plain");
}

size_t parts_text(const struct bodystructure_part *parts, size_t n)
{
	static const char *const wanted[] = { "text/plain", "text/" };

	for (size_t k = 0; k < sizeof wanted / sizeof wanted[0]; k++) {
		for (size_t i = 0; i < n; i = next_of(parts, n, i)) {
			if (has_type(&parts[i], wanted[k]) && !parts_is_attachment(&parts[i])) {
				return i;
			}
		}
	}
	return n;
}

bool parts_have_attachment(const struct bodystructure_part *parts, size_t n)
{
	for (size_t i = 0; i < n; i = next_of(parts, n, i)) {
		if (parts_is_attachment(&parts[i])) {
			return true;
		}
	}
	return false;
}

size_t parts_find(const struct bodystructure_part *parts, size_t n, const char *section)
{
	size_t i = 0;

	while (i < n && strcasecmp(parts[i].section, section) != 0) {
		i++;
	}
	return i;
}

void parts_file_name(const struct bodystructure_part *p, char out[256])
{
	char prefix[BODYSTRUCTURE_SECTION_MAX + 16];

	snprintf(prefix, sizeof prefix, "part-%s%s", p->section, is_message(p) ? ".eml" : "");
	decode_filename(span_str(p->filename), prefix, out);
}

void parts_other_name(const char *name, unsigned n, char out[256])
{
	const char *dot = strrchr(name, '.');
	size_t stem = dot != NULL && dot != name ? (size_t)(dot - name) : strlen(name);

	if (n < 2) {
		snprintf(out, 256, "%s", name);
	} else {
		snprintf(out, 256, "%.*s-%u%s", (int)stem, name, n, name + stem);
	}
}
