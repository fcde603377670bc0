/*
 * What people type: mailboxes, domains, addresses with ports, times, sizes, numbers; and any
 * octets on their way into the log and into JSON. What is read and written again is the same.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/name.h"
#include "base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
	if (!holds)
		abort();
}

static void try_names(struct span input)
{
	char domain[NAME_DOMAIN_MAX + 1], again[NAME_DOMAIN_MAX + 1], text[400];
	struct mailbox m, back;

	if (name_parse_domain(input, domain) == 0) {
		check(name_parse_domain(span_str(domain), again) == 0);
		check(strcmp(domain, again) == 0);
	}
	if (name_parse_mailbox(input, &m) == 0) {
		check(m.local_n >= 1 && m.local_n <= NAME_LOCAL_MAX && m.text[m.local_n] == '@');
		name_format_mailbox(&m, text, sizeof text);
		check(name_parse_mailbox(span_str(text), &back) == 0 && mailbox_eq(&m, &back));
	}
}

static void try_strings(const char *s)
{
	uint64_t value, again;
	char text[64], host[300];
	unsigned port;

	if (clock_parse(s, 1, &value) == 0 && s[0] != '+') {
		clock_format(value, text, sizeof text);
		check(clock_parse(text, 1, &again) == 0 && value == again);
	}
	if (text_parse_size(s, &value) == 0)
		check(strlen(text_size(value, text, 16)) <= 5);
	if (text_parse_number(s, 1000, &value) == 0)
		check(value <= 1000 && text_parse_duration(s, &again) == 0 && value == again);
	if (name_parse_host_port(s, host, sizeof host, &port) == 0)
		check(port <= 65535 && host[0] != '\0');
}

static void try_output(struct span input)
{
	struct buf b;
	char text[256];

	log_quote(input, text, sizeof text);
	check(text[0] != '\0' && text_is_utf8(span_str(text)));
	for (const char *p = text; *p != '\0'; p++)
		check((unsigned char)*p >= ' ' && *p != 0x7f);
	buf_init(&b, 0);
	check(text_json(&b, input) == 0);
	check(text_is_utf8(buf_view(&b)) && b.n >= 2);
	buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span input = span_of(data, size);
	char *s = span_dup(input);

	check(s != NULL);
	try_names(input);
	try_strings(s);
	try_output(input);
	free(s);
	return 0;
}
