#include "mua-agent/track.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "mua-agent/talk.h"
#include "mua-agent/url.h"

static int find_number(struct app *app, uint32_t number, struct track_target *out,
                       struct err_text *e)
{
	struct kv_txn *t = db_read_begin(app->db);
	struct db_sent sent;
	int r = t == NULL ? ERR_NOMEM : db_sent_get(app->db, t, number, &sent);

	if (r == 0 && (r = span_copy(sent.store, out->store, sizeof out->store)) == 0) {
		memcpy(out->id, sent.id, WIRE_ID_SIZE);
	}
	db_read_end(t);
	if (r == ERR_NOT_FOUND) {
		return err_set(e, r, "no message %u was sent from here (see im2000 status)",
		               number);
	}
	return r == 0 ? 0 : err_set(e, r, "look up sent message %u: %s", number, err_phrase(r));
}

bool track_is_name(const char *name)
{
	char store[NAME_DOMAIN_MAX + 1];
	uint8_t id[WIRE_ID_SIZE];
	uint64_t number;

	return (text_parse_number(name, UINT32_MAX, &number) == 0 && number > 0) ||
	       url_parse(name, store, id) == 0;
}

int track_find(struct app *app, const char *name, struct track_target *out, struct err_text *e)
{
	uint64_t number;
	int r;

	if (text_parse_number(name, UINT32_MAX, &number) == 0) {
		if ((r = find_number(app, (uint32_t)number, out, e)) != 0) {
			return r;
		}
	} else if (url_parse(name, out->store, out->id) != 0) {
		return err_set(e, ERR_MALFORMED,
		               "\"%.100s\" is neither a number nor a message URL (im2000://...)",
		               name);
	}
	out->account = app_by_store(app, out->store);
	return out->account != NULL
	           ? 0
	           : err_set(e, ERR_CONFIG, "no account submits to %s, where that message is",
	                     out->store);
}

int track_open(struct app *app, const struct config_account *a, const char *store,
               struct talk *login, struct line **l, struct err_text *e)
{
	struct lines *lines;
	int r;

	if ((r = app_lines(app, &lines, e)) != 0 ||
	    (r = line_open(lines, store, LOCATE_MSOAP, true, l, e)) != 0) {
		return r;
	}
	if ((r = talk_login_store(*l, login, a, e)) != 0) {
		line_close(*l);
	}
	return r;
}

/* --- track -------------------------------------------------------------------------------- */

struct tracking {
	int (*each)(void *ctx, const struct msoap_delivery *d);
	void *ctx;
	bool more;
	uint64_t next;
};

static int on_track(void *ctx, const struct msoap_response *r, struct err_text *why)
{
	struct wire_list rest = r->u.track.deliveries;
	struct msoap_delivery delivery;
	struct tracking *k = ctx;
	int result = 0;

	if (r->u.track.has_next && r->u.track.next <= k->next) {
		return err_set(why, ERR_PROTOCOL, "the store's list does not get on");
	}
	k->more = r->u.track.has_next;
	k->next = r->u.track.next;
	while (result == 0 && msoap_delivery_next(&rest, &delivery)) {
		result = k->each(k->ctx, &delivery);
	}
	return result;
}

static int send_track(struct line *l, struct talk *t, const struct track_target *target,
                      struct tracking *k, struct err_text *e)
{
	struct msoap_command c = { .kind = MSOAP_TRACK };

	*t = (struct talk) { .msoap = on_track, .ctx = k };
	snprintf(t->doing, sizeof t->doing, "ask %.150s for the status", target->store);
	memcpy(c.u.track.id, target->id, WIRE_ID_SIZE);
	c.u.track.has_after = k->next > 0;
	c.u.track.after = k->next;
	return talk_msoap(l, t, &c, 0, e);
}

int track_deliveries(struct app *app, const struct track_target *target,
                     int (*each)(void *ctx, const struct msoap_delivery *d), void *ctx,
                     struct err_text *e)
{
	struct tracking k = { .each = each, .ctx = ctx };
	struct talk login, track;
	struct line *l;
	int r;

	if ((r = track_open(app, target->account, target->store, &login, &l, e)) != 0) {
		return r;
	}
	if ((r = send_track(l, &track, target, &k, e)) == 0 && (r = talk_finish(&login, e)) == 0) {
		r = talk_finish(&track, e);
	}
	while (r == 0 && k.more) {
		if ((r = send_track(l, &track, target, &k, e)) == 0) {
			r = talk_finish(&track, e);
		}
	}
	line_close(l);
	return r;
}
