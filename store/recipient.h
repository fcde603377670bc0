/* MSRAP, the recipients' side of the store (protocol.md section 9): ids, status, pulls. */
#ifndef IM2000_STORE_RECIPIENT_H
#define IM2000_STORE_RECIPIENT_H

#include "session/server.h"

/* What `open` gets as APP is a struct service_worker *, whose loop is the session's. */
extern const struct server_protocol recipient_protocol;

#endif
