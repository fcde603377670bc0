/* Tells the changes of what was sent, until the person has seen enough. */
#ifndef IM2000_AGENT_FOLLOW_H
#define IM2000_AGENT_FOLLOW_H

#include "mua-agent/track.h"

/*
 * Of all accounts that send: what changed since this was asked last (the first time: from now on),
 * then what changes. Ends when standard output does, or with an error, said. The exit code.
 */
int follow_all(struct app *app);

/* Of one message: how it stands, then what changes of it. */
int follow_one(struct app *app, const struct track_target *target);

#endif
