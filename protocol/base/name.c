/* Mailbox and domain names: reading, canonical form, comparing. */
#include "base/name.h"

#include <arpa/inet.h>
#include <idn2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/text.h"

#define LABEL_MAX 63
#define U_DOMAIN_MAX 1024 /* octets of a domain in U-labels that libidn2 is asked about */

static bool is_label_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* LABEL of N octets, in lower case. */
static int check_label(const char *label, size_t n)
{
	if (n == 0)
		return ERR_MALFORMED;
	if (n > LABEL_MAX)
		return ERR_TOO_BIG;
	if (label[0] == '-' || label[n - 1] == '-')
		return ERR_MALFORMED;
	for (size_t i = 0; i < n; i++)
		if (!is_label_char(label[i]))
			return ERR_MALFORMED;
	return 0;
}

/* DOMAIN in lower-case ASCII without a root dot. */
static int check_domain(const char *domain)
{
	const char *label = domain;
	const char *dot;
	int rc;

	while ((dot = strchr(label, '.')) != NULL) {
		rc = check_label(label, (size_t)(dot - label));
		if (rc < 0)
			return rc;
		label = dot + 1;
	}
	/* RFC 3696 section 2: no top-level domain is all digits, so 127.0.0.1 is none. */
	if (label[strspn(label, "0123456789")] == '\0')
		return ERR_MALFORMED;
	return check_label(label, strlen(label));
}

static int idn_error(int rc)
{
	if (rc == IDN2_MALLOC)
		return ERR_NOMEM;
	if (rc == IDN2_TOO_BIG_DOMAIN || rc == IDN2_TOO_BIG_LABEL)
		return ERR_TOO_BIG;
	return ERR_MALFORMED;
}

/* U-labels to A-labels by the mapping of UTS #46, which folds case too; never its transition. */
static int to_a_labels(struct span text, char *out, size_t cap)
{
	char u_form[U_DOMAIN_MAX + 1];
	uint8_t *a_form = NULL;
	int rc = span_copy(text, u_form, sizeof u_form);

	if (rc < 0)
		return rc;
	rc = idn2_lookup_u8((const uint8_t *)u_form, &a_form,
	                    IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
	if (rc != IDN2_OK)
		return idn_error(rc);
	rc = span_copy(span_str((const char *)a_form), out, cap);
	idn2_free(a_form);
	return rc;
}

static bool is_ascii(struct span text)
{
	for (size_t i = 0; i < text.n; i++)
		if (text.p[i] >= 0x80)
			return false;
	return true;
}

int name_parse_domain(struct span text, char out[NAME_DOMAIN_MAX + 1])
{
	char name[NAME_DOMAIN_MAX + 2]; /* room for the root dot */
	size_t n;
	int rc;

	out[0] = '\0';
	if (!text_is_utf8(text))
		return ERR_MALFORMED;
	rc = is_ascii(text) ? span_copy(text, name, sizeof name)
	                    : to_a_labels(text, name, sizeof name);
	if (rc < 0)
		return rc;
	n = strlen(name);
	if (n > 0 && name[n - 1] == '.')
		name[--n] = '\0';
	if (n > NAME_DOMAIN_MAX)
		return ERR_TOO_BIG;
	for (size_t i = 0; i < n; i++)
		if (name[i] >= 'A' && name[i] <= 'Z')
			name[i] = (char)(name[i] + ('a' - 'A'));
	rc = check_domain(name);
	if (rc < 0)
		return rc;
	memcpy(out, name, n + 1);
	return 0;
}

/* atext of RFC 5322 section 3.2.3, with all that is not ASCII (RFC 6531). */
static bool is_atext(uint8_t c)
{
	return c >= 0x80 || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
	       || (c >= '0' && c <= '9') || (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

static bool is_dot_atom(struct span local)
{
	if (local.n == 0 || local.p[0] == '.' || local.p[local.n - 1] == '.')
		return false;
	for (size_t i = 0; i < local.n; i++)
		if (local.p[i] == '.' ? local.p[i - 1] == '.' : !is_atext(local.p[i]))
			return false;
	return true;
}

/* A local part in plain form: C0, DEL and C1 are control characters. */
static int check_local(struct span local)
{
	if (local.n == 0)
		return ERR_MALFORMED;
	if (local.n > NAME_LOCAL_MAX)
		return ERR_TOO_BIG;
	while (local.n > 0) {
		uint32_t code = 0;
		size_t n = text_utf8_char(local, &code);

		if (n == 0 || code < 0x20 || (code >= 0x7f && code < 0xa0))
			return ERR_MALFORMED;
		local = span_after(local, n);
	}
	return 0;
}

/*
 * The quoted-string at the front of TEXT in plain form into OUT[*N]; *TAKEN octets
 * of TEXT were it. What is too long is read to its end, for the right error.
 */
static int take_quoted(struct span text, uint8_t out[NAME_LOCAL_MAX], size_t *n, size_t *taken)
{
	size_t i = 1;

	*n = 0;
	for (; i < text.n && text.p[i] != '"'; i++) {
		if (text.p[i] == '\\' && ++i == text.n)
			return ERR_MALFORMED;
		if (*n < NAME_LOCAL_MAX)
			out[*n] = text.p[i];
		(*n)++;
	}
	if (i == text.n)
		return ERR_MALFORMED;
	*taken = i + 1;
	return *n > NAME_LOCAL_MAX ? ERR_TOO_BIG : 0;
}

int name_parse_mailbox(struct span text, struct mailbox *out)
{
	uint8_t plain[NAME_LOCAL_MAX];
	struct span local;
	size_t at = 0;
	int rc;

	*out = (struct mailbox){ .local_n = 0 };
	if (text.n > 0 && text.p[0] == '"') {
		size_t n;

		rc = take_quoted(text, plain, &n, &at);
		if (rc < 0)
			return rc;
		if (at == text.n || text.p[at] != '@')
			return ERR_MALFORMED;
		local = span_of(plain, n);
	} else {
		at = text.n;
		while (at > 0 && text.p[at - 1] != '@')
			at--;
		if (at == 0)
			return ERR_MALFORMED;
		at--;
		local = span_of(text.p, at);
		if (!is_dot_atom(local))
			return ERR_MALFORMED;
	}
	return name_make_mailbox(local, span_after(text, at + 1), out);
}

int name_make_mailbox(struct span local, struct span domain, struct mailbox *out)
{
	char canonical[NAME_DOMAIN_MAX + 1];
	size_t n;
	int rc;

	*out = (struct mailbox){ .local_n = 0 };
	rc = check_local(local);
	if (rc < 0)
		return rc;
	rc = name_parse_domain(domain, canonical);
	if (rc < 0)
		return rc;
	n = strlen(canonical);
	if (local.n + 1 + n > NAME_MAILBOX_MAX)
		return ERR_TOO_BIG;
	memcpy(out->text, local.p, local.n);
	out->text[local.n] = '@';
	memcpy(out->text + local.n + 1, canonical, n + 1);
	out->local_n = local.n;
	return 0;
}

const char *name_format_mailbox(const struct mailbox *m, char *out, size_t cap)
{
	struct span local = mailbox_local(m);
	char quoted[2 * NAME_LOCAL_MAX + 3];
	size_t n = 0;

	if (is_dot_atom(local)) {
		snprintf(out, cap, "%s", m->text);
		return out;
	}
	quoted[n++] = '"';
	for (size_t i = 0; i < local.n && i < NAME_LOCAL_MAX; i++) {
		if (local.p[i] == '"' || local.p[i] == '\\')
			quoted[n++] = '\\';
		quoted[n++] = (char)local.p[i];
	}
	quoted[n++] = '"';
	quoted[n] = '\0';
	snprintf(out, cap, "%s@%s", quoted, mailbox_domain(m));
	return out;
}

bool mailbox_eq(const struct mailbox *a, const struct mailbox *b)
{
	return a->local_n == b->local_n && strcmp(a->text, b->text) == 0;
}

bool name_domain_in(const char *domain, const char *parent)
{
	size_t n = strlen(domain);
	size_t parent_n = strlen(parent);

	if (parent_n == 0 || n < parent_n || strcmp(domain + n - parent_n, parent) != 0)
		return false;
	return n == parent_n || domain[n - parent_n - 1] == '.';
}

static bool is_host(const char *host, bool bracketed)
{
	uint8_t address[sizeof(struct in6_addr)];
	char canonical[NAME_DOMAIN_MAX + 1];

	if (bracketed)
		return inet_pton(AF_INET6, host, address) == 1;
	return inet_pton(AF_INET, host, address) == 1
	       || name_parse_domain(span_str(host), canonical) == 0;
}

int name_parse_host_port(const char *text, char *host, size_t host_cap, unsigned *port)
{
	bool bracketed = text[0] == '[';
	const char *end = bracketed ? strchr(text, ']') : strchr(text, ':');
	const char *start = bracketed ? text + 1 : text;
	uint64_t number;

	if (end == NULL || span_copy(span_of(start, (size_t)(end - start)), host, host_cap) < 0)
		return ERR_MALFORMED;
	if (bracketed)
		end++;
	if (*end != ':' || text_parse_number(end + 1, 65535, &number) < 0
	    || !is_host(host, bracketed))
		return ERR_MALFORMED;
	*port = (unsigned)number;
	return 0;
}
