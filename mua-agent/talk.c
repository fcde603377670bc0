#include "mua-agent/talk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "base/password.h"

#define FRAME_OCTETS 4096 /* of a command without its lists */

/* What all responses have alike. */
static int take_status(struct talk *t, enum wire_status status, bool has_text, struct span text,
                       unsigned kind, struct err_text *why)
{
	int r;

	t->answered = true;
	t->status = status;
	if ((r = line_status(status, has_text, text, why)) != 0) {
		return r;
	}
	return kind == t->kind
	           ? 0
	           : err_set(why, ERR_PROTOCOL, "the answer belongs to another command");
}

static int not_understood(struct err_text *why)
{
	return err_set(why, ERR_PROTOCOL, "the answer breaks the protocol");
}

static int on_msoap(void *ctx, struct span body, uint64_t total, struct err_text *why)
{
	struct talk *t = ctx;
	struct msoap_response response;
	int r;

	if (msoap_response_decode(body, total, &response) != 0) {
		return not_understood(why);
	}
	r = take_status(t, response.status, response.has_text, response.text, response.kind, why);
	return r != 0 || t->msoap == NULL ? r : t->msoap(t->ctx, &response, why);
}

static int on_msrap(void *ctx, struct span body, uint64_t total, struct err_text *why)
{
	struct talk *t = ctx;
	struct msrap_response response;
	int r;

	if (msrap_response_decode(body, total, &response) != 0) {
		return not_understood(why);
	}
	r = take_status(t, response.status, response.has_text, response.text, response.kind, why);
	return r != 0 || t->msrap == NULL ? r : t->msrap(t->ctx, &response, why);
}

static int on_rnaqp(void *ctx, struct span body, uint64_t total, struct err_text *why)
{
	struct talk *t = ctx;
	struct rnaqp_response response;
	int r;

	if (rnaqp_response_decode(body, total, &response) != 0) {
		return not_understood(why);
	}
	r = take_status(t, response.status, response.has_text, response.text, response.kind, why);
	return r != 0 || t->rnaqp == NULL ? r : t->rnaqp(t->ctx, &response, why);
}

static int on_data(void *ctx, struct span octets, struct err_text *why)
{
	struct talk *t = ctx;

	return t->data(t->ctx, octets, why);
}

static int on_tail(void *ctx, struct client *c)
{
	struct talk *t = ctx;

	return t->tail(t->ctx, c);
}

/* Sends FRAME, or says what ENCODED means. Passwords may have been in BUF. */
static int dispatch(struct line *l, struct talk *t, int encoded, uint8_t *buf, size_t cap,
                    struct span frame,
                    int (*answer)(void *, struct span, uint64_t, struct err_text *),
                    struct err_text *e)
{
	int r = buf == NULL ? ERR_NOMEM : encoded;

	t->answered = false;
	t->request = (struct line_request) {
		.answer = answer,
		.data = t->data != NULL ? on_data : NULL,
		.tail = t->tail != NULL ? on_tail : NULL,
		.tail_octets = t->tail_octets,
		.ctx = t,
		.timeout_us = t->timeout_us,
	};
	if (r != 0) {
		err_set(e, r, "the command cannot be encoded: %s", err_phrase(r));
	} else {
		r = line_send(l, &t->request, frame, e);
	}
	if (buf != NULL) {
		OPENSSL_cleanse(buf, cap);
		free(buf);
	}
	return r == 0 ? 0 : err_prefix(e, r, "%s", t->doing);
}

int talk_msoap(struct line *l, struct talk *t, const struct msoap_command *c, size_t extra,
               struct err_text *e)
{
	size_t cap = FRAME_OCTETS + extra;
	uint8_t *buf = malloc(cap);
	struct span frame = { 0 };
	int r = buf == NULL ? ERR_NOMEM : msoap_command_encode(c, buf, cap, &frame);

	t->kind = c->kind;
	return dispatch(l, t, r, buf, cap, frame, on_msoap, e);
}

int talk_msrap(struct line *l, struct talk *t, const struct msrap_command *c, struct err_text *e)
{
	uint8_t *buf = malloc(FRAME_OCTETS);
	struct span frame = { 0 };
	int r = buf == NULL ? ERR_NOMEM : msrap_command_encode(c, buf, FRAME_OCTETS, &frame);

	t->kind = c->kind;
	return dispatch(l, t, r, buf, FRAME_OCTETS, frame, on_msrap, e);
}

int talk_rnaqp(struct line *l, struct talk *t, const struct rnaqp_command *c, size_t extra,
               struct err_text *e)
{
	size_t cap = FRAME_OCTETS + extra;
	uint8_t *buf = malloc(cap);
	struct span frame = { 0 };
	int r = buf == NULL ? ERR_NOMEM : rnaqp_command_encode(c, buf, cap, &frame);

	t->kind = c->kind;
	return dispatch(l, t, r, buf, cap, frame, on_rnaqp, e);
}

int talk_finish(struct talk *t, struct err_text *e)
{
	int r = line_finish(&t->request, e);

	return r == 0 ? 0 : err_prefix(e, r, "%s", t->doing);
}

bool talk_is_done(const struct talk *t)
{
	return t->request.done;
}

int talk_login_store(struct line *l, struct talk *t, const struct config_account *a,
                     struct err_text *e)
{
	char password[PASSWORD_MAX + 1];
	struct msoap_command c = { .kind = MSOAP_AUTHENTICATE };
	int r = config_store_password(a, password, e);

	*t = (struct talk) { 0 };
	snprintf(t->doing, sizeof t->doing, "log in as %.60s at %.100s", a->store_login,
	         a->store_domain);
	if (r == 0) {
		c.u.authenticate.account = span_str(a->store_login);
		c.u.authenticate.password = span_str(password);
		r = talk_msoap(l, t, &c, 0, e);
	}
	OPENSSL_cleanse(password, sizeof password);
	return r;
}

int talk_login_agent(struct line *l, struct talk *t, const struct config_account *a,
                     struct err_text *e)
{
	char password[PASSWORD_MAX + 1];
	struct rnaqp_command c = { .kind = RNAQP_AUTHENTICATE };
	int r = config_notify_password(a, password, e);

	*t = (struct talk) { 0 };
	snprintf(t->doing, sizeof t->doing, "log in as %.60s at %.100s", a->notify_login,
	         a->notify_domain);
	if (r == 0) {
		c.u.authenticate.account = span_str(a->notify_login);
		c.u.authenticate.password = span_str(password);
		r = talk_rnaqp(l, t, &c, 0, e);
	}
	OPENSSL_cleanse(password, sizeof password);
	return r;
}
