/*
 * Submits a prepared message to the account's store, exactly once however often
 * the connection or the program is cut off: the submissionId stands in agent.mdb before the
 * first octet leaves, and until the store has answered.
 */
#ifndef IM2000_AGENT_SUBMIT_H
#define IM2000_AGENT_SUBMIT_H

#include "mua-agent/app.h"
#include "mua-agent/prepare.h"

struct submit_request {
	const struct config_account *account;
	struct prepared *message; /* missing fields are added here */
	const struct mailbox *recipients;
	size_t n_recipients;
	uint64_t lifetime_s;    /* 0: the store's default */
	uint64_t release_at_us; /* 0: at once */
	bool hold;              /* a draft */
};

struct submit_result {
	uint32_t number; /* of the message in the list of what was sent */
	uint8_t id[WIRE_ID_SIZE];
	uint64_t expires_us;
	enum wire_submission_status *statuses; /* one for each recipient, in order */
	size_t n_statuses;
};

/* 0 or an error with E filled; submit_result_free in any case. */
int submit_message(struct app *app, const struct submit_request *q, struct submit_result *out,
                   struct err_text *e);
void submit_result_free(struct submit_result *r);

/* What a recipient's status means, for people. */
const char *submit_status_words(enum wire_submission_status status);

#endif
