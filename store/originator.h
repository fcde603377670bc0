/*
 * MSOAP, the originator's side of the store (protocol.md section 8): the state
 * of a session. Its commands are in submitting.c and tracking.c.
 */
#ifndef IM2000_STORE_ORIGINATOR_H
#define IM2000_STORE_ORIGINATOR_H

#include "session/server.h"

/* What `open` gets as APP is a struct service_worker *, whose loop is the session's. */
extern const struct server_protocol originator_protocol;

#endif
