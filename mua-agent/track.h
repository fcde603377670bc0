/* What became of messages sent: MSOAP track. */
#ifndef IM2000_AGENT_TRACK_H
#define IM2000_AGENT_TRACK_H

#include "mua-agent/app.h"
#include "mua-agent/talk.h"

/* A message that was sent: where, by which account, by which capability. */
struct track_target {
	const struct config_account *account;
	char store[NAME_DOMAIN_MAX + 1];
	uint8_t id[WIRE_ID_SIZE];
};

/* Whether NAME has the form of a number or of a message URL. */
bool track_is_name(const char *name);

/*
 * What NAME means: a number in the list of what was sent, or a message URL. 0; ERR_MALFORMED (it
 * is neither), ERR_NOT_FOUND, ERR_CONFIG (no account submits to its store) with E filled.
 */
int track_find(struct app *app, const char *name, struct track_target *out, struct err_text *e);

/* Connects to STORE and sends A's login; its answer is to be waited for behind the first request. 0
 * or an error with E filled, and nothing to close. */
int track_open(struct app *app, const struct config_account *a, const char *store,
               struct talk *login, struct line **l, struct err_text *e);

/* Calls EACH for each delivery, as the store tells them; its views live for the call. 0 or an
 * error (EACH's too) with E filled. */
int track_deliveries(struct app *app, const struct track_target *target,
                     int (*each)(void *ctx, const struct msoap_delivery *d), void *ctx,
                     struct err_text *e);

#endif
