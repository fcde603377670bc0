/*
 * Address lists of From, To, Cc, Bcc and their kin (RFC 5322 section 3.4, with
 * the obsolete syntax of section 4.4; UTF-8 by RFC 6532): names, groups,
 * comments, quoted strings, source routes. Encoded words are left raw: decode.h.
 */
#ifndef IM2000_MESSAGE_ADDRLIST_H
#define IM2000_MESSAGE_ADDRLIST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/name.h"
#include "base/span.h"

enum addrlist_kind {
	ADDRLIST_MAILBOX,
	ADDRLIST_GROUP,     /* "name:"; its mailboxes follow */
	ADDRLIST_GROUP_END, /* ";", or the end of the list inside of a group */
};

/* Views of the list as it stands, with comments and folding. Copies: the functions below. */
struct addrlist_entry {
	enum addrlist_kind kind;
	struct span whole;  /* the address, without white space around it */
	struct span name;   /* display name or group name; empty: none */
	struct span route;  /* "@a,@b" of an obsolete route; empty: none */
	struct span local;  /* before the '@' */
	struct span domain; /* behind it; empty: there is no '@' */
	bool name_in_comment; /* NAME is the inside of a comment: "bob@b.example (Bob)" */
};

struct addrlist_iter {
	struct span rest;
	bool in_group;
};

/* LIST is a field's value as it stands (several fields: one iterator each). */
void addrlist_begin(struct addrlist_iter *it, struct span list);

/*
 * The next address. 1: OUT is filled. 0: the end. ERR_MALFORMED: an address is
 * broken; OUT->whole is its text, to be shown; iteration goes on behind it.
 */
int addrlist_next(struct addrlist_iter *it, struct addrlist_entry *out);

/*
 * The mailbox in canonical form (base/name.h). 0, or ERR_MALFORMED / ERR_TOO_BIG
 * when it is none that can be notified (no domain, an address literal, too long).
 */
int addrlist_mailbox(const struct addrlist_entry *a, struct mailbox *out);

/*
 * The parts in plain form: quotes, comments and folding gone; words of a name
 * one space apart, encoded words raw. Into OUT[CAP] with a NUL; *RESULT is the
 * view. 0, or ERR_TOO_BIG with as much as fits.
 */
int addrlist_name(const struct addrlist_entry *a, char *out, size_t cap, struct span *result);
int addrlist_local(const struct addrlist_entry *a, char *out, size_t cap, struct span *result);
int addrlist_domain(const struct addrlist_entry *a, char *out, size_t cap, struct span *result);

#endif
