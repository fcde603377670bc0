/* What became of a message that was sent, for one recipient, as people see it. */
#ifndef IM2000_AGENT_DELIVERY_H
#define IM2000_AGENT_DELIVERY_H

#include "mua-agent/app.h"
#include "wire/msoap.h"

/* The message that a delivery is of, where that is to be said. */
struct delivery_of {
	const char *url;
	uint32_t number; /* in the list of what was sent; 0: it is not there */
};

/* Prints D as a line, or as JSON. OF may be NULL. 0 or ERR_NOMEM. */
int delivery_print(const struct app *app, const struct delivery_of *of,
                   const struct msoap_delivery *d);

#endif
