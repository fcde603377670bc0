/*
 * The changes of what was sent, as they come: MSOAP watch. One watch is a connection for one
 * account; attend.h drives several.
 */
#ifndef IM2000_AGENT_WATCH_H
#define IM2000_AGENT_WATCH_H

#include "mua-agent/app.h"
#include "mua-agent/talk.h"

struct watch;

/* What is told: C as it is now, its views live for the call. 0 or an error that ends the watch. */
typedef int (*watch_change)(void *ctx, const struct config_account *a,
                            const struct msoap_change *c);

/*
 * Connects, logs in and asks for the changes behind AFTER, waiting WAIT_S seconds while there is
 * none. 0 or an error with E filled.
 */
int watch_open(struct app *app, const struct config_account *a, uint64_t after, uint64_t wait_s,
               watch_change change, void *ctx, struct watch **out, struct err_text *e);
void watch_close(struct watch *w); /* NULL is fine */

/* Whether watch_take would not wait. */
bool watch_ready(const struct watch *w);

/* Waits for the answer; CHANGE was told of each. 1: there were changes, so that there may be more;
 * 0: none; an error with E filled. watch_more then asks on. */
int watch_take(struct watch *w, struct err_text *e);
int watch_more(struct watch *w, uint64_t wait_s, struct err_text *e);

/* Behind what was told so far. */
uint64_t watch_cursor(const struct watch *w);
const struct config_account *watch_account(const struct watch *w);

/* How far A's changes were told, as kept in agent.mdb. ERR_NOT_FOUND: they never were. */
int watch_cursor_get(struct app *app, const struct config_account *a, uint64_t *cursor);
int watch_cursor_put(struct app *app, const struct config_account *a, uint64_t cursor);

#endif
