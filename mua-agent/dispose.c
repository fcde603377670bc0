#include "mua-agent/dispose.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "mua-agent/entry.h"
#include "mua-agent/pull.h"
#include "mua-agent/talk.h"

#define UNEXPIRING_US (400 * CLOCK_DAY_US) /* when a notification says no end */

/* Connections that serve one item after the other. */
struct telling {
	struct app *app;
	struct line *store, *agent;
	char store_domain[NAME_DOMAIN_MAX + 1];
	const struct config_account *account; /* of AGENT */
	int store_error; /* connecting to STORE_DOMAIN failed so: not tried again */
	int agent_error;
	struct err_text store_why, agent_why;
};

/* --- marking ------------------------------------------------------------------------------ */

/* Whether S ends inside of a UTF-8 character. */
static bool cut_inside(struct span s)
{
	return (s.p[s.n - 1] & 0x80) != 0 && !text_is_utf8(s);
}

int dispose_mark(struct app *app, uint32_t number, bool refuse, struct span reason,
                 struct err_text *e)
{
	struct entry x;
	struct kv_txn *t;
	int r = entry_get(app->db, number, &x, e);

	if (r != 0) {
		return r;
	}
	x.item.flags |= DB_DROPPED | (refuse ? DB_REFUSED : 0u);
	while (reason.n > DB_REASON_MAX || (reason.n > 0 && cut_inside(reason))) {
		reason.n--;
	}
	x.item.reason = reason;
	if ((r = db_write_begin(app->db, &t)) == 0) {
		r = kv_write_end(t, db_item_put(app->db, t, &x.item));
	}
	entry_free(&x);
	return r == 0 ? 0 : err_set(e, r, "drop message %u: %s", number, err_phrase(r));
}

static uint64_t expires_us(const struct entry *x)
{
	return x->notice.has_expires ? x->notice.expires : x->item.received_us + UNEXPIRING_US;
}

/* Keeps how far X was told; gone when all were. */
static int keep(struct app *app, struct entry *x)
{
	const unsigned all = DB_STORE_TOLD | DB_AGENT_TOLD;
	struct db_item now;
	struct kv_txn *t;
	int r = db_write_begin(app->db, &t);

	if (r != 0) {
		return r;
	}
	if ((r = db_item_get(app->db, t, x->item.number, &now)) == 0) {
		x->item.flags |= now.flags;
		x->item.cursor = now.cursor;
	}
	if (r == ERR_NOT_FOUND) {
		r = 0; /* another process was quicker */
	} else if (r == 0 && (x->item.flags & all) == all) {
		r = db_item_remove(app->db, t, x->item.number, expires_us(x) + CLOCK_DAY_US);
	} else if (r == 0) {
		r = db_item_put(app->db, t, &x->item);
	}
	r = kv_write_end(t, r);
	if (r == 0) {
		pull_forget(app, x->item.number);
	}
	return r;
}

/* --- the store ---------------------------------------------------------------------------- */

/* Answers after which there is nothing more to say to a store. */
static bool settled(const struct talk *t)
{
	return t->answered &&
	       (t->status == WIRE_STATUS_OK || t->status == WIRE_STATUS_NO_SUCH_MESSAGE ||
	        t->status == WIRE_STATUS_WITHDRAWN || t->status == WIRE_STATUS_UNSUPPORTED);
}

static int connect_store(struct telling *k, const struct entry *x, struct err_text *e)
{
	struct lines *lines;
	int r;

	if (k->store != NULL && strcmp(k->store_domain, x->store) == 0 &&
	    !line_is_closed(k->store)) {
		return 0;
	}
	line_close(k->store);
	k->store = NULL;
	if (k->store_error != 0 && strcmp(k->store_domain, x->store) == 0) {
		return err_set(e, k->store_error, "%s", k->store_why.text);
	}
	k->store_error = 0;
	snprintf(k->store_domain, sizeof k->store_domain, "%s", x->store);
	r = app_lines(k->app, &lines, e);
	return r != 0 ? r
	              : line_open(lines, x->store, LOCATE_MSRAP,
	                          app_by_store(k->app, x->store) != NULL, &k->store, e);
}

static int send_one(struct telling *k, const struct entry *x, struct talk *t, enum msrap_kind kind,
                    struct err_text *e)
{
	struct msrap_command c = { .kind = kind };

	*t = (struct talk) { 0 };
	snprintf(t->doing, sizeof t->doing, "tell %.150s of it", x->store);
	if (kind == MSRAP_REFUSE) {
		memcpy(c.u.refuse.id, x->notice.id, WIRE_ID_SIZE);
		c.u.refuse.has_reason = x->item.reason.n > 0;
		c.u.refuse.reason = x->item.reason;
	} else if (kind == MSRAP_SILENCE) {
		memcpy(c.u.silence.id, x->notice.id, WIRE_ID_SIZE);
	} else {
		memcpy(c.u.unpin.id, x->notice.id, WIRE_ID_SIZE);
	}
	return talk_msrap(k->store, t, &c, e);
}

static int finish_one(struct talk *t, struct err_text *e)
{
	int r = talk_finish(t, e);

	return r != 0 && settled(t) ? 0 : r;
}

static int tell_store(struct telling *k, const struct entry *x, struct err_text *e)
{
	bool refuse = (x->item.flags & DB_REFUSED) != 0;
	bool silence = !refuse && (x->item.flags & DB_SILENCED) == 0;
	struct talk first, second;
	int r;

	if (x->store[0] == '\0' || expires_us(x) <= clock_now_us()) {
		return 0; /* nobody to tell */
	}
	if ((r = connect_store(k, x, e)) != 0) {
		return r;
	}
	if ((silence && (r = send_one(k, x, &second, MSRAP_SILENCE, e)) != 0) ||
	    (r = send_one(k, x, &first, refuse ? MSRAP_REFUSE : MSRAP_UNPIN, e)) != 0 ||
	    (silence && (r = finish_one(&second, e)) != 0) || (r = finish_one(&first, e)) != 0) {
		line_close(k->store);
		k->store = NULL;
		k->store_error = r;
		k->store_why = *e;
	}
	return r;
}

/* --- the agent ---------------------------------------------------------------------------- */

static int connect_agent(struct telling *k, const struct config_account *a, struct talk *login,
                         bool *fresh, struct err_text *e)
{
	struct lines *lines;
	int r;

	*fresh = false;
	if (k->account == a && k->agent != NULL && !line_is_closed(k->agent)) {
		return 0;
	}
	line_close(k->agent);
	k->agent = NULL;
	if (k->account == a && k->agent_error != 0) {
		return err_set(e, k->agent_error, "%s", k->agent_why.text);
	}
	k->account = a;
	k->agent_error = 0;
	*fresh = true;
	if ((r = app_lines(k->app, &lines, e)) != 0 ||
	    (r = line_open(lines, a->notify_domain, LOCATE_RNAQP, true, &k->agent, e)) != 0) {
		return r;
	}
	return talk_login_agent(k->agent, login, a, e);
}

static int tell_agent(struct telling *k, const struct entry *x, struct err_text *e)
{
	const struct config_account *a = app_by_identity(k->app, x->item.account);
	struct rnaqp_command c = { .kind = RNAQP_ACKNOWLEDGE };
	struct talk login, acknowledge = { 0 };
	struct wire_list_writer w;
	uint8_t octets[32];
	bool fresh;
	int r;

	if (a == NULL || !config_receives(a)) {
		return 0; /* the account is gone: nobody to tell */
	}
	wire_list_writer_init(&w, octets, sizeof octets);
	r = wire_cursor_append(&w, x->item.cursor);
	c.u.acknowledge.cursors = wire_list_view(&w);
	snprintf(acknowledge.doing, sizeof acknowledge.doing, "tell %.150s of it",
	         a->notify_domain);
	if (r == 0 && (r = connect_agent(k, a, &login, &fresh, e)) == 0 &&
	    (r = talk_rnaqp(k->agent, &acknowledge, &c, 0, e)) == 0 &&
	    (!fresh || (r = talk_finish(&login, e)) == 0)) {
		r = talk_finish(&acknowledge, e);
	}
	if (r != 0 && k->agent_error == 0) {
		line_close(k->agent);
		k->agent = NULL;
		k->agent_error = r;
		k->agent_why = *e;
	}
	return r;
}

/* --- all of it ---------------------------------------------------------------------------- */

static int tell_one(struct telling *k, struct entry *x, bool stores, struct err_text *e)
{
	int result = 0, r;

	if ((x->item.flags & DB_AGENT_TOLD) == 0) {
		if ((r = tell_agent(k, x, e)) == 0) {
			x->item.flags |= DB_AGENT_TOLD;
		} else {
			result = r;
		}
	}
	if (stores && (x->item.flags & DB_STORE_TOLD) == 0) {
		if ((r = tell_store(k, x, e)) == 0) {
			x->item.flags |= DB_STORE_TOLD;
		} else {
			result = r;
		}
	}
	if ((r = keep(k->app, x)) != 0) {
		result = err_set(e, r, "drop message %u: %s", x->item.number, err_phrase(r));
	}
	return result;
}

int dispose_tell(struct app *app, bool stores,
                 void (*failed)(void *ctx, uint32_t number, int error, const struct err_text *why),
                 void *ctx)
{
	struct telling k = { .app = app };
	uint32_t number = 0;
	struct entry x;
	int result = 0, r;

	while ((r = entry_next(app->db, number, &x)) == 0) {
		struct err_text why = { "" };

		number = x.item.number;
		if ((x.item.flags & DB_DROPPED) != 0 &&
		    (stores || (x.item.flags & DB_AGENT_TOLD) == 0) &&
		    (r = tell_one(&k, &x, stores, &why)) != 0) {
			result = r;
			if (failed != NULL) {
				failed(ctx, number, r, &why);
			}
		}
		entry_free(&x);
	}
	line_close(k.store);
	line_close(k.agent);
	return r != 0 && r != ERR_NOT_FOUND ? r : result;
}
