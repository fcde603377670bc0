#include "mua-agent/source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mua-agent/talk.h"

struct source {
	struct app *app;
	const struct entry *entry;
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
	*out = s;
	return 0;
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

static int connect_store(struct source *s, struct err_text *e)
{
	const struct entry *x = s->entry;
	struct lines *lines;
	int r;

	if (s->line != NULL && !line_is_closed(s->line)) {
		return 0;
	}
	line_close(s->line);
	s->line = NULL;
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
	uint64_t begin, limit, size;
};

static int on_rest_octets(void *ctx, struct span octets, struct err_text *why)
{
	const struct rest *k = ctx;

	return octets.n == 0 ? 0 : k->sink->octets(k->sink->ctx, k->size, octets, why);
}

static int on_rest(void *ctx, const struct msrap_response *response, struct err_text *why)
{
	const struct msrap_retrieve_done *done = &response->u.retrieve;
	struct rest *k = ctx;

	if (done->size > k->limit) {
		return err_set(why, ERR_PROTOCOL,
		               "the store sends more than its notification announced");
	}
	if (done->offset != k->begin || done->offset > done->size ||
	    done->data.size != done->size - done->offset) {
		return err_set(why, ERR_PROTOCOL, "the store sends other octets than asked for");
	}
	k->size = done->size;
	return on_rest_octets(k, done->data.here, why);
}

int source_rest(struct source *s, uint64_t begin, uint64_t limit, const struct source_sink *sink,
                struct err_text *e)
{
	struct rest k = { .sink = sink, .begin = begin, .limit = limit };
	struct talk t = { .msrap = on_rest, .data = on_rest_octets, .ctx = &k };
	struct msrap_command c = { .kind = MSRAP_RETRIEVE };

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
