/*
 * Reading one message: from the cache when it was pulled whole before, else from
 * the sender's store by MSRAP, and of it only what the answer needs. No octet comes out of here
 * that was not checked against the digest in the notification, and none of a message whose octets
 * contradict what its notification says of its header and its parts.
 */
#ifndef IM2000_AGENT_PULL_H
#define IM2000_AGENT_PULL_H

#include "message/bodystructure.h"
#include "message/decode.h"
#include "mua-agent/entry.h"

struct pull;

/* Message NUMBER. Contacts nobody yet. 0 or an error with E filled. */
int pull_open(struct app *app, uint32_t number, struct pull **out, struct err_text *e);
void pull_close(struct pull *p); /* NULL is fine */
const struct entry *pull_entry(const struct pull *p);

/*
 * The parts: as the notification says, where it does and the message is not here yet (nobody is
 * contacted then); else as the octets say, at least as far as SECTION (NULL: all). The list
 * lives as long as P, and grows only. 0 or an error with E filled.
 */
int pull_parts(struct pull *p, const char *section, const struct bodystructure_part **parts,
               size_t *n, struct err_text *e);

struct pull_text {
	const struct bodystructure_part *parts; /* as by pull_parts */
	size_t n;
	size_t text; /* which of them a reader wants to see first; n: none */
	bool all;    /* false: parts may follow that were not looked for */
};
/* Finds the text, and pulls no more than that takes. 0 or an error with E filled. */
int pull_text(struct pull *p, struct pull_text *out, struct err_text *e);

/* The whole header, in memory; as long as P, until pull_whole. */
int pull_header(struct pull *p, struct span *out, struct err_text *e);

/*
 * The octets of SECTION as stored, given to SINK: all of it was pulled and checked before the first
 * of them. An error of the sink ends it (E is then the sink's to fill, where it wants to say
 * something).
 */
int pull_section(struct pull *p, const char *section, decode_sink sink, void *ctx,
                 struct err_text *e);

/* Whether all of it is cached, so that nothing below contacts anybody. */
bool pull_is_cached(const struct pull *p);
/* Sees to it that it is, and checked. */
int pull_whole(struct pull *p, struct err_text *e);
/* The same, and gives it to SINK: the octets, whatever was announced of its parts. */
int pull_raw(struct pull *p, decode_sink sink, void *ctx, struct err_text *e);

/* Keeps that the store knows of the notification, and, with READ, that the person has read
 * something. 0 or an error with E filled. */
int pull_done(struct pull *p, bool read, struct err_text *e);

/* Removes message NUMBER from the cache. */
void pull_forget(const struct app *app, uint32_t number);

#endif
