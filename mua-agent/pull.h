/*
 * Reading one message: from the cache when it was pulled whole before, else from
 * the sender's store by MSRAP, and of it only what is asked for. Every octet is bounded
 * by the notification; a whole message is checked against its digest before
 * anybody sees any of it.
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

/* The structure: from the cache or the notification, else from the store. As long as P. */
int pull_parts(struct pull *p, const struct bodystructure_part **parts, size_t *n,
               struct err_text *e);

/* The whole header, in memory; as long as P. */
int pull_header(struct pull *p, struct span *out, struct err_text *e);

/*
 * The octets of SECTION as stored, given to SINK as they come. An error of the sink
 * ends it (E is then the sink's to fill, where it wants to say something).
 */
int pull_section(struct pull *p, const char *section, decode_sink sink, void *ctx,
                 struct err_text *e);

/* Sees to it that all of it is cached, and checked: then sections come from there, "" being all. */
int pull_whole(struct pull *p, struct err_text *e);

/* Something was read: keeps that, and that the store knows. 0 or an error with E filled. */
int pull_done(struct pull *p, struct err_text *e);

/* Removes message NUMBER from the cache. */
void pull_forget(const struct app *app, uint32_t number);

#endif
