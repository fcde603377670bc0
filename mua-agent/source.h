/*
 * Where a message's octets come from: the sender's store, by MSRAP, or the account's notification
 * agent in its place, by RNAQP, as the account's fetch-via says. Nothing that comes from here was
 * checked, but for what message/verify.h checks in passing; octets.h is who asks, and checks.
 */
#ifndef IM2000_AGENT_SOURCE_H
#define IM2000_AGENT_SOURCE_H

#include "message/verify.h"
#include "mua-agent/app.h"
#include "mua-agent/entry.h"

struct source;

/* For the message of ENTRY, which must stay. Contacts nobody yet. 0 or an error with E filled. */
int source_create(struct app *app, const struct entry *entry, struct source **out,
                  struct err_text *e);
void source_free(struct source *s); /* NULL is fine */

/* Who it is now, for people: the domain of the store or of the agent. */
const char *source_name(const struct source *s);

/* Whether it gives messages whole alone: no windows. */
bool source_is_agent(const struct source *s);

/*
 * After a failure, which WHY says: whether the account allows to go on with the store, where it was
 * the agent that failed. Then the person is told so, and the source is the store from now on.
 */
bool source_fall_back(struct source *s, const struct err_text *why);

/*
 * Takes octets as they come; they live for the call. An error ends it, with WHY filled.
 * SIZE: octets of the message, as the source says.
 */
struct source_sink {
	int (*octets)(void *ctx, uint64_t size, struct span octets, struct err_text *why);
	void *ctx;
};

/*
 * The message's octets from BEGIN to its end, given to SINK. LIMIT: octets that the message may
 * have; an answer that says more is not taken. This reads all of it, for its sender (through an
 * agent, the first reader there does). 0 or an error with E filled; ERR_CLOSED: cut off, what SINK
 * had is good to go on from.
 */
int source_rest(struct source *s, uint64_t begin, uint64_t limit, const struct source_sink *sink,
                struct err_text *e);

/*
 * The window that V asks for (verify_ask), checked: after 0 verify_take gives it. For its sender a
 * part is read by this, whatever the window. 0, or an error with E filled: ERR_CLOSED (cut off),
 * ERR_PROTOCOL (the source lies), and others.
 */
int source_window(struct source *s, struct verify *v, struct err_text *e);

/* Whether the store knows by now that the notification arrived. */
bool source_silenced(const struct source *s);

#endif
