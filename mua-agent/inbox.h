/*
 * Fetches an account's notifications from its agent into agent.mdb. An inbox is
 * one connection to the agent; several are driven at once, so that accounts do
 * not wait for one another.
 */
#ifndef IM2000_AGENT_INBOX_H
#define IM2000_AGENT_INBOX_H

#include "mua-agent/app.h"

struct inbox;

/* A notification was stored: NUMBER, new or changed (withdrawn) since. */
typedef void (*inbox_news)(void *ctx, uint32_t number, bool is_new);

/*
 * Connects, logs in and asks for what stands after the account's cursor, waiting
 * WAIT_S seconds (0: not) while there is nothing: all in one flight. NEWS may be NULL. 0 or an
 * error with E filled.
 */
int inbox_open(struct app *app, const struct config_account *a, uint64_t wait_s, inbox_news news,
               void *ctx, struct inbox **out, struct err_text *e);
void inbox_close(struct inbox *x); /* NULL is fine */

/* Whether inbox_take would not wait. */
bool inbox_ready(const struct inbox *x);

/*
 * Waits for the answer; what it brought is in agent.mdb, durably, with the cursor.
 * How many notifications it had (0: there are no more), or an error with E filled. Unless the
 * answer is to be the last, inbox_more then asks for what follows.
 */
int inbox_take(struct inbox *x, struct err_text *e);
int inbox_more(struct inbox *x, uint64_t wait_s, struct err_text *e);

/* Whether there is an account to fetch for: 0, or ERR_CONFIG with E filled. */
int inbox_can_fetch(const struct app *app, struct err_text *e);

/*
 * All of it: every account that may receive (--account: that one), to the end. FAILED (may be
 * NULL) is told of each account that could not be fetched. 0 or the last of these errors.
 */
int inbox_fetch(struct app *app, inbox_news news,
                void (*failed)(void *ctx, int error, const struct err_text *why), void *ctx);

#endif
