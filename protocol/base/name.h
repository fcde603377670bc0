/*
 * Mailbox and domain names (protocol.md section 1). A domain is kept as
 * A-labels (RFC 5890), ASCII lower case, dotted, without the root dot; local
 * parts compare octet for octet.
 */
#ifndef IM2000_BASE_NAME_H
#define IM2000_BASE_NAME_H

#include <stdbool.h>
#include <stddef.h>

#include "base/span.h"

#define NAME_DOMAIN_MAX 253
#define NAME_MAILBOX_MAX 254
#define NAME_LOCAL_MAX 64

struct mailbox {
	char text[NAME_MAILBOX_MAX + 1]; /* local@domain, NUL-terminated; local in plain form */
	size_t local_n;                  /* octets before the '@' */
};

static inline struct span mailbox_local(const struct mailbox *m)
{
	return span_of(m->text, m->local_n);
}
static inline const char *mailbox_domain(const struct mailbox *m)
{
	return m->text + m->local_n + 1;
}

/*
 * Reads a domain as a person or a file writes it: U-labels are turned into
 * A-labels (IDNA 2008, libidn2), case is folded, one trailing dot is dropped.
 * Labels 1 to 63 octets, letters, digits, '-', '_'; 253 in all. Address
 * literals are no domains. 0, ERR_MALFORMED, ERR_TOO_BIG.
 */
int name_parse_domain(struct span text, char out[NAME_DOMAIN_MAX + 1]);

/*
 * Reads local@domain. The local part: dot-atom or quoted-string (RFC 5321
 * section 4.1.2; UTF-8 by RFC 6531), kept in its plain form without the
 * quotes; 1 to 64 octets, no control octets. The last '@' outside quotes
 * divides. 0, ERR_MALFORMED, ERR_TOO_BIG.
 */
int name_parse_mailbox(struct span text, struct mailbox *out);

/* From a local part in plain form and a dotted domain (checked as above). */
int name_make_mailbox(struct span local, struct span domain, struct mailbox *out);

/* local@domain with the local part quoted where RFC 5322 needs it. OUT 400 octets. */
const char *name_format_mailbox(const struct mailbox *m, char *out, size_t cap);

bool mailbox_eq(const struct mailbox *a, const struct mailbox *b);

/* DOMAIN is PARENT or lies under it ("a.b.example" in "b.example"). Both in canonical form. */
bool name_domain_in(const char *domain, const char *parent);

/* host:port, [v6]:port; host as a name or an address, port 0 to 65535. 0 or ERR_MALFORMED. */
int name_parse_host_port(const char *text, char *host, size_t host_cap, unsigned *port);

#endif
