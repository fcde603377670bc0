/*
 * Dropping and refusing: the sender's store is told (unPin and silence, or
 * refuse), the agent is told (acknowledge), and only then is the item gone. What
 * cannot be told now is kept, unlisted, and told with the next drop or refuse, agents with the next
 * list too. After the message has expired there is nobody to tell.
 */
#ifndef IM2000_AGENT_DISPOSE_H
#define IM2000_AGENT_DISPOSE_H

#include "mua-agent/app.h"

/* Drops message NUMBER here, durably; with REFUSE its store will get REASON (may be empty). */
int dispose_mark(struct app *app, uint32_t number, bool refuse, struct span reason,
                 struct err_text *e);

/*
 * Tells agents, and with STORES stores too, what they were not told yet, of all items that were
 * marked. FAILED (may be NULL) is told of each item that must wait. 0 or the last such error.
 */
int dispose_tell(struct app *app, bool stores,
                 void (*failed)(void *ctx, uint32_t number, int error, const struct err_text *why),
                 void *ctx);

#endif
