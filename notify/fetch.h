/*
 * RNAQP `fetch`: a mail program reads a message through the agent. Whoever holds
 * a notification that stands may read what it announces, and nothing else: the
 * cache is asked only with what a notification of the mailbox says, so that what others
 * read makes no difference to who holds none.
 */
#ifndef IM2000_NOTIFY_FETCH_H
#define IM2000_NOTIFY_FETCH_H

#include "notify/app.h"
#include "wire/rnaqp.h"

struct fetch;

/*
 * Answers C of MAILBOX (authenticated) in session S of worker W, now or later: *SLOT is then what
 * is under way, and NULL again when all is answered.
 */
void fetch_start(struct fetch **slot, struct server_session *s, struct app_worker *w,
                 uint32_t mailbox, const struct rnaqp_fetch *c);
/* The session has room again. */
void fetch_go_on(struct fetch *x);
/* The session was woken (server.h): gives up where it comes to its end. */
void fetch_wake(struct fetch *x);
/* The session is over. NULL is fine. */
void fetch_cancel(struct fetch *x);

#endif
