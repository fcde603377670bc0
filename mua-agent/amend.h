/*
 * What an originator changes of a message that a store has: MSOAP cancel, release, readdress,
 * extend and forget. The list of what was sent follows, where the message is in it.
 */
#ifndef IM2000_AGENT_AMEND_H
#define IM2000_AGENT_AMEND_H

#include "mua-agent/track.h"

/* All of them: 0 or an error with E filled. */

/* Recalls the message from the N recipients; N 0: all of it. */
int amend_cancel(struct app *app, const struct track_target *target,
                 const struct mailbox *recipients, size_t n, struct err_text *e);

/* A draft goes to its recipients. */
int amend_release(struct app *app, const struct track_target *target, struct err_text *e);

/* The N recipients are notified of it, too. STATUSES[N]: what the store says of each. */
int amend_readdress(struct app *app, const struct track_target *target,
                    const struct mailbox *recipients, size_t n,
                    enum wire_submission_status *statuses, struct err_text *e);

/* The store keeps it for LIFETIME_S from now on, if that is longer; *EXPIRES_US: until then. */
int amend_extend(struct app *app, const struct track_target *target, uint64_t lifetime_s,
                 uint64_t *expires_us, struct err_text *e);

/* The originator's own copy goes. */
int amend_forget(struct app *app, const struct track_target *target, struct err_text *e);

#endif
