#include "mua-agent/source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mua-agent/talk.h"

#define AGENT_WAIT_US (20 * CLOCK_MINUTE_US) /* the agent pulls all before it says an octet */

struct source {
	struct app *app;
	const struct entry *entry;
	const struct config_account *agent; /* whose agent is asked; NULL: the store is */
	bool may_fall_back; /* to the store */
	bool is_final;      /* what the agent said is true of the store, too */
	struct line *line;
	bool silence_sent, silenced;
};

int source_create(struct app *app, const struct entry *entry, struct source **out,
                  struct err_text *e)
{
	struct source *s = calloc(1, sizeof *s);

	if (s == NULL) {
		return err_set(e, ERR_NOMEM, "out of memory");
	}
	s->app = app;
	s->entry = entry;
	s->agent = app_by_identity(app, entry->item.account);
	if (s->agent != NULL && s->agent->fetch_via == CONFIG_VIA_STORE) {
		s->agent = NULL;
	}
	s->may_fall_back =
	    s->agent != NULL && s->agent->fetch_via == CONFIG_VIA_AGENT_OR_STORE;
	*out = s;
	return 0;
}

const char *source_name(const struct source *s)
{
	return s->agent != NULL ? s->agent->notify_domain : s->entry->store;
}

bool source_is_agent(const struct source *s)
{
	return s->agent != NULL;
}

bool source_fall_back(struct source *s, const struct err_text *why)
{
	if (s->agent == NULL || !s->may_fall_back || s->is_final) {
		return false;
	}
	fprintf(stderr, "%s: %s; it is read at %s itself\n", APP_PROGRAM, why->text,
	        s->entry->store);
	s->agent = NULL;
	line_close(s->line);
	s->line = NULL;
	return true;
}

void source_free(struct source *s)
{
	if (s != NULL) {
		line_close(s->line);
		free(s);
	}
}

bool source_silenced(const struct source *s)
{
	return s->silenced;
}

/* --- asking ------------------------------------------------------------------------------- */

/* Whether there is a connection. One that has ended is closed. */
static bool is_connected(struct source *s)
{
	if (s->line != NULL && !line_is_closed(s->line)) {
		return true;
	}
	line_close(s->line);
	s->line = NULL;
	return false;
}

static int connect_store(struct source *s, struct err_text *e)
{
	const struct entry *x = s->entry;
	struct lines *lines;
	int r;

	if (is_connected(s)) {
		return 0;
	}
	if (x->store[0] == '\0') {
		return err_set(e, ERR_UNSUPPORTED,
		               "read message %u: its notification names no store by domain",
		               x->item.number);
	}
	if ((r = app_lines(s->app, &lines, e)) != 0) {
		return r;
	}
	return line_open(lines, x->store, LOCATE_MSRAP, app_by_store(s->app, x->store) != NULL,
	                 &s->line, e);
}

/* That the notification arrived is said in the same flight as the first request. */
static int send_silence(struct source *s, struct talk *t, struct err_text *e)
{
	struct msrap_command c = { .kind = MSRAP_SILENCE };

	*t = (struct talk) { 0 };
	snprintf(t->doing, sizeof t->doing, "tell %.150s of it", s->entry->store);
	memcpy(c.u.silence.id, s->entry->notice.id, WIRE_ID_SIZE);
	return talk_msrap(s->line, t, &c, e);
}

/* Sends retrieve C with what T says of the answer, and waits for it. */
static int retrieve(struct source *s, struct msrap_command *c, struct talk *t, struct err_text *e)
{
	bool silence = (s->entry->item.flags & DB_SILENCED) == 0 && !s->silence_sent;
	struct err_text ignored = { "" };
	struct talk quiet;
	int r = connect_store(s, e);

	if (r != 0) {
		return r;
	}
	snprintf(t->doing, sizeof t->doing, "read message %u", s->entry->item.number);
	memcpy(c->u.retrieve.id, s->entry->notice.id, WIRE_ID_SIZE);
	if ((r = talk_msrap(s->line, t, c, e)) != 0) {
		return r;
	}
	silence = silence && send_silence(s, &quiet, &ignored) == 0;
	r = talk_finish(t, e);
	if (silence) {
		s->silence_sent = true;
		s->silenced = talk_finish(&quiet, &ignored) == 0;
	}
	return r;
}

/* --- to the end --------------------------------------------------------------------------- */

struct rest {
	const struct source_sink *sink;
	const char *who; /* gives it, for people */
	uint64_t begin, limit, size;
};

static int on_rest_octets(void *ctx, struct span octets, struct err_text *why)
{
	const struct rest *k = ctx;

	return octets.n == 0 ? 0 : k->sink->octets(k->sink->ctx, k->size, octets, why);
}

/* The answer is about a message of SIZE octets, and has DATA from OFFSET on. */
static int begin_rest(struct rest *k, uint64_t size, uint64_t offset,
                      const struct wire_octets *data, struct err_text *why)
{
	if (size > k->limit) {
		return err_set(why, ERR_PROTOCOL,
		               "the %s sends more than the notification announced", k->who);
	}
	if (offset != k->begin || offset > size || data->size != size - offset) {
		return err_set(why, ERR_PROTOCOL, "the %s sends other octets than asked for",
		               k->who);
	}
	k->size = size;
	return on_rest_octets(k, data->here, why);
}

static int on_retrieved(void *ctx, const struct msrap_response *response, struct err_text *why)
{
	const struct msrap_retrieve_done *done = &response->u.retrieve;

	return begin_rest(ctx, done->size, done->offset, &done->data, why);
}

static int on_fetched(void *ctx, const struct rnaqp_response *response, struct err_text *why)
{
	const struct rnaqp_fetch_done *done = &response->u.fetch;

	return begin_rest(ctx, done->size, done->offset, &done->data, why);
}

/* Login and command leave together. */
static int connect_agent(struct source *s, struct talk *login, struct err_text *e)
{
	struct lines *lines;
	int r = app_lines(s->app, &lines, e);

	login->answered = false;
	if (r != 0 || (r = line_open(lines, s->agent->notify_domain, LOCATE_RNAQP, true, &s->line,
	                             e)) != 0) {
		return r;
	}
	return talk_login_agent(s->line, login, s->agent, e);
}

static int fetch_rest(struct source *s, struct rest *k, struct err_text *e)
{
	struct talk t = { .rnaqp = on_fetched, .data = on_rest_octets, .ctx = k }, login;
	struct rnaqp_command c = { .kind = RNAQP_FETCH };
	bool fresh = !is_connected(s);
	int r;

	snprintf(t.doing, sizeof t.doing, "read message %u through %.150s", s->entry->item.number,
	         s->agent->notify_domain);
	t.timeout_us = AGENT_WAIT_US;
	c.u.fetch.cursor = s->entry->item.cursor;
	c.u.fetch.type = WIRE_RETRIEVAL_ALL;
	c.u.fetch.offset = k->begin;
	r = fresh ? connect_agent(s, &login, e) : 0;
	if (r == 0 && (r = talk_rnaqp(s->line, &t, &c, 0, e)) == 0 && fresh) {
		r = talk_finish(&login, e);
	}
	if (r != 0) {
		line_close(s->line); /* with what waits for an answer */
		s->line = NULL;
		return r;
	}
	r = talk_finish(&t, e);
	s->is_final = r != 0 && t.answered && t.status == WIRE_STATUS_WITHDRAWN;
	return r;
}

int source_rest(struct source *s, uint64_t begin, uint64_t limit, const struct source_sink *sink,
                struct err_text *e)
{
	struct rest k = { .sink = sink, .begin = begin, .limit = limit };
	struct talk t = { .msrap = on_retrieved, .data = on_rest_octets, .ctx = &k };
	struct msrap_command c = { .kind = MSRAP_RETRIEVE };

	k.who = s->agent != NULL ? "agent" : "store";
	if (s->agent != NULL) {
		return fetch_rest(s, &k, e);
	}
	c.u.retrieve.type = WIRE_RETRIEVAL_ALL;
	c.u.retrieve.offset = begin;
	return retrieve(s, &c, &t, e);
}

/* --- a window ----------------------------------------------------------------------------- */

static int on_window_octets(void *ctx, struct span octets, struct err_text *why)
{
	return verify_octets(ctx, octets, why);
}

static int on_window(void *ctx, const struct msrap_response *response, struct err_text *why)
{
	const struct msrap_retrieve_done *done = &response->u.retrieve;
	struct wire_list rest = done->proof;
	uint8_t hash[WIRE_DIGEST_SIZE];
	struct verify *v = ctx;
	int r;

	if (!done->has_proof) {
		return err_set(why, ERR_PROTOCOL, "the store gives no proof of what it sends");
	}
	r = verify_head(v, done->size, done->offset, done->data.size, why);
	while (r == 0 && wire_digest_next(&rest, hash)) {
		r = verify_hash(v, hash, why);
	}
	return r == 0 ? verify_octets(v, done->data.here, why) : r;
}

/*
 * How much of the window to ask for, which the store widens to all of it: not the message's last
 * octet, which whoever asks for has read all; unless that is a block of its own.
 */
static uint64_t asked_octets(const struct verify *v, uint64_t size)
{
	bool spare = v->offset + v->length == size && (size - 1) % DIGEST_BLOCK != 0;

	return spare ? v->length - 1 : v->length;
}

int source_window(struct source *s, struct verify *v, struct err_text *e)
{
	struct talk t = { .msrap = on_window, .data = on_window_octets, .ctx = v };
	struct msrap_command c = { .kind = MSRAP_RETRIEVE };
	int r;

	c.u.retrieve.type = WIRE_RETRIEVAL_ALL;
	c.u.retrieve.offset = v->offset;
	c.u.retrieve.length = asked_octets(v, s->entry->notice.size);
	c.u.retrieve.has_proof = c.u.retrieve.proof = true;
	if ((r = retrieve(s, &c, &t, e)) == 0 && (r = verify_end(v, e)) != 0) {
		err_prefix(e, r, "read message %u", s->entry->item.number);
	}
	return r;
}
