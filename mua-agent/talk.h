/*
 * Typed requests over a line: encodes the command, decodes the response, turns
 * a status into an error. Everything that the commands ask of stores and agents
 * goes through here.
 */
#ifndef IM2000_AGENT_TALK_H
#define IM2000_AGENT_TALK_H

#include "mua-agent/line.h"
#include "wire/msoap.h"
#include "wire/msrap.h"
#include "wire/rnaqp.h"

/* A request under way; the caller's memory until talk_finish. Zero it, set what is wanted, send. */
struct talk {
	/* What this is, for messages: "log in at b.example". */
	char doing[200];
	/*
	 * Takes a response whose status is ok and whose data is that of the command; its views live
	 * for the call. NULL: that it came is enough. An error, with WHY set, fails the request.
	 */
	int (*msoap)(void *ctx, const struct msoap_response *r, struct err_text *why);
	int (*msrap)(void *ctx, const struct msrap_response *r, struct err_text *why);
	int (*rnaqp)(void *ctx, const struct rnaqp_response *r, struct err_text *why);
	/* What follows of a streamed string that was not all in the response. */
	int (*data)(void *ctx, struct span octets, struct err_text *why);
	/* What follows of a command's streamed string: writes with client_write (session/client.h).
	 */
	int (*tail)(void *ctx, struct client *c);
	uint64_t tail_octets;
	void *ctx;
	uint64_t timeout_us; /* 0: the default */
	/* By the answer. */
	bool answered; /* a response came, whatever it says */
	enum wire_status status;
	/* talk's own. */
	unsigned kind;
	struct line_request request;
};

/* Sends C, which needs at most EXTRA octets over 4 KiB. 0 or an error with E filled. */
int talk_msoap(struct line *l, struct talk *t, const struct msoap_command *c, size_t extra,
               struct err_text *e);
int talk_msrap(struct line *l, struct talk *t, const struct msrap_command *c, struct err_text *e);
int talk_rnaqp(struct line *l, struct talk *t, const struct rnaqp_command *c, size_t extra,
               struct err_text *e);

/* Waits for the answer. 0, or an error with E filled ("DOING: ..."). */
int talk_finish(struct talk *t, struct err_text *e);
/* Whether it would not wait. */
bool talk_is_done(const struct talk *t);

/* Sends the account's login. T needs nothing set. */
int talk_login_store(struct line *l, struct talk *t, const struct config_account *a,
                     struct err_text *e);
int talk_login_agent(struct line *l, struct talk *t, const struct config_account *a,
                     struct err_text *e);

#endif
