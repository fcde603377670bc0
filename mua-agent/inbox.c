#include "mua-agent/inbox.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mua-agent/talk.h"

#define WAIT_SLACK_S 60 /* what a waiting agent gets beyond the time it was told */
#define DER_MAX 65536   /* of a notification that is kept; the protocol allows 2 KiB */
#define PAGE 500        /* notifications in one answer */

struct inbox {
	struct app *app;
	const struct config_account *account;
	struct line *line;
	struct talk login, page;
	bool logged_in;
	uint64_t cursor;
	inbox_news news;
	void *ctx;
	/* Of the page in hand. */
	size_t count;
	uint32_t *numbers; /* stored, with bit 31 for new ones */
	size_t n_numbers;
};

#define IS_NEW 0x80000000u

/* --- storing ------------------------------------------------------------------------------ */

/* ITEM as it shall stand, of what stands there and what the agent says now; REASON is room. */
static int merge(struct inbox *x, struct kv_txn *t, const struct rnaqp_received *r,
                 struct db_item *item, char reason[DB_REASON_MAX + 1], bool *is_new)
{
	struct db *db = x->app->db;
	char store[NAME_DOMAIN_MAX + 1] = "";
	struct db_item known;
	uint32_t number;
	int err;

	if (wire_notification_store(&r->notification, store) != 0) {
		store[0] = '\0';
	}
	err = db_item_find(db, t, span_str(x->account->identity), span_str(store),
	                   r->notification.id, &number);
	*is_new = err == ERR_NOT_FOUND;
	if (err != 0) {
		return *is_new ? 0 : err;
	}
	item->number = number;
	err = db_item_get(db, t, number, &known);
	if (err == ERR_NOT_FOUND) { /* dropped long ago, and announced once more */
		item->flags = DB_DROPPED | DB_STORE_TOLD;
		return 0;
	}
	if (err == 0) {
		item->flags = known.flags & ~(unsigned)DB_AGENT_TOLD;
		item->received_us = known.received_us;
		(void)span_copy(known.reason, reason, DB_REASON_MAX + 1);
		item->reason = span_str(reason);
	}
	return err;
}

/* Stores one notification. */
static int store_one(struct inbox *x, struct kv_txn *t, const struct rnaqp_received *r)
{
	char verified[NAME_DOMAIN_MAX + 1] = "", reason[DB_REASON_MAX + 1] = "";
	struct db_item item = {
		.received_us = r->received,
		.cursor = r->cursor,
		.account = span_str(x->account->identity),
	};
	uint8_t *der = malloc(DER_MAX);
	bool is_new;
	int err;

	if (der == NULL) {
		return ERR_NOMEM;
	}
	if (r->has_verified && wire_domain_to_name(&r->verified, verified) != 0) {
		verified[0] = '\0';
	}
	item.verified = span_str(verified);
	err = wire_notification_encode(&r->notification, der, DER_MAX, &item.der);
	if (err == ERR_TOO_BIG || err == ERR_MALFORMED) {
		free(der); /* no agent of ours lets such in: nothing that could be listed */
		return 0;
	}
	if (err == 0 && (err = merge(x, t, r, &item, reason, &is_new)) == 0) {
		if (r->has_withdrawn && r->withdrawn) {
			item.flags |= DB_WITHDRAWN;
		}
		err = db_item_put(x->app->db, t, &item);
	}
	free(der);
	if (err == 0 && (item.flags & DB_DROPPED) == 0) {
		x->numbers[x->n_numbers++] = item.number | (is_new ? IS_NEW : 0);
	}
	return err;
}

static int store_page(struct inbox *x, const struct rnaqp_retrieve_done *done)
{
	struct wire_list rest = done->notifications;
	struct rnaqp_received received;
	struct kv_txn *t;
	int r = db_write_begin(x->app->db, &t);

	if (r != 0) {
		return r;
	}
	while (r == 0 && rnaqp_received_next(&rest, &received)) {
		r = store_one(x, t, &received);
	}
	if (r == 0 &&
	    (r = db_cursor_put(x->app->db, t, span_str(x->account->identity), done->next)) == 0) {
		r = db_tidy(x->app->db, t, clock_now_us());
	}
	return kv_write_end(t, r);
}

static int on_page(void *ctx, const struct rnaqp_response *response, struct err_text *why)
{
	const struct rnaqp_retrieve_done *done = &response->u.retrieve;
	struct inbox *x = ctx;
	int r;

	x->count = done->notifications.count;
	x->n_numbers = 0;
	if (x->count == 0) {
		return 0;
	}
	if (done->next <= x->cursor) {
		return err_set(why, ERR_PROTOCOL, "the agent's list does not get on");
	}
	free(x->numbers);
	if ((x->numbers = calloc(x->count, sizeof *x->numbers)) == NULL) {
		return err_set(why, ERR_NOMEM, "out of memory");
	}
	if ((r = store_page(x, done)) != 0) {
		x->n_numbers = 0;
		return err_set(why, r, "keep them in %s/agent.mdb: %s", x->app->config.data,
		               err_phrase(r));
	}
	x->cursor = done->next;
	return 0;
}

/* --- asking ------------------------------------------------------------------------------- */

int inbox_more(struct inbox *x, uint64_t wait_s, struct err_text *e)
{
	const struct rnaqp_command c = {
		.kind = RNAQP_RETRIEVE,
		.u.retrieve = { .after = x->cursor,
		                .has_limit = true,
		                .limit = PAGE,
		                .has_wait = wait_s > 0,
		                .wait = wait_s },
	};

	x->page = (struct talk) {
		.rnaqp = on_page,
		.ctx = x,
		.timeout_us = wait_s > 0 ? (wait_s + WAIT_SLACK_S) * CLOCK_SECOND_US : 0,
	};
	snprintf(x->page.doing, sizeof x->page.doing, "fetch notifications from %.150s",
	         x->account->notify_domain);
	return talk_rnaqp(x->line, &x->page, &c, 0, e);
}

static int read_cursor(struct inbox *x, struct err_text *e)
{
	struct kv_txn *t = db_read_begin(x->app->db);
	int r = t == NULL
	            ? ERR_NOMEM
	            : db_cursor_get(x->app->db, t, span_str(x->account->identity), &x->cursor);

	db_read_end(t);
	return r == 0 ? 0
	              : err_set(e, r, "read %s/agent.mdb: %s", x->app->config.data, err_phrase(r));
}

int inbox_open(struct app *app, const struct config_account *a, uint64_t wait_s, inbox_news news,
               void *ctx, struct inbox **out, struct err_text *e)
{
	struct inbox *x = calloc(1, sizeof *x);
	struct lines *lines;
	int r;

	if (x == NULL) {
		return err_set(e, ERR_NOMEM, "out of memory");
	}
	x->app = app;
	x->account = a;
	x->news = news;
	x->ctx = ctx;
	if ((r = app_lines(app, &lines, e)) != 0 || (r = read_cursor(x, e)) != 0 ||
	    (r = line_open(lines, a->notify_domain, LOCATE_RNAQP, true, &x->line, e)) != 0 ||
	    (r = talk_login_agent(x->line, &x->login, a, e)) != 0 ||
	    (r = inbox_more(x, wait_s, e)) != 0) {
		inbox_close(x);
		return r;
	}
	*out = x;
	return 0;
}

void inbox_close(struct inbox *x)
{
	if (x != NULL) {
		line_close(x->line);
		free(x->numbers);
		free(x);
	}
}

bool inbox_ready(const struct inbox *x)
{
	return talk_is_done(&x->page);
}

int inbox_take(struct inbox *x, struct err_text *e)
{
	int r;

	if (!x->logged_in) {
		if ((r = talk_finish(&x->login, e)) != 0) {
			return r;
		}
		x->logged_in = true;
	}
	if ((r = talk_finish(&x->page, e)) != 0) {
		return r;
	}
	for (size_t i = 0; i < x->n_numbers && x->news != NULL; i++) {
		x->news(x->ctx, x->numbers[i] & ~IS_NEW, (x->numbers[i] & IS_NEW) != 0);
	}
	return x->count > INT32_MAX ? INT32_MAX : (int)x->count;
}

/* --- all accounts ------------------------------------------------------------------------- */

int inbox_can_fetch(const struct app *app, struct err_text *e)
{
	for (size_t i = 0; i < app->config.n_accounts; i++) {
		if (app_wants(app, &app->config.accounts[i]) &&
		    config_receives(&app->config.accounts[i])) {
			return 0;
		}
	}
	return err_set(e, ERR_CONFIG,
	               "%s: no account%s%s names a notify-password-file or notify-password-command",
	               app->config.path, app->account_name != NULL ? " " : "",
	               app->account_name != NULL ? app->account_name : "");
}

static int fetch_one(struct inbox *x, struct err_text *e)
{
	int r;

	while ((r = inbox_take(x, e)) > 0) {
		if ((r = inbox_more(x, 0, e)) != 0) {
			break;
		}
	}
	return r;
}

int inbox_fetch(struct app *app, inbox_news news,
                void (*failed)(void *ctx, int error, const struct err_text *why), void *ctx)
{
	size_t n = app->config.n_accounts;
	struct inbox **open = calloc(n, sizeof(struct inbox *));
	int result = open == NULL ? ERR_NOMEM : 0;

	for (size_t pass = 0; open != NULL && pass < 2; pass++) {
		for (size_t i = 0; i < n; i++) {
			const struct config_account *a = &app->config.accounts[i];
			struct err_text why = { "" };
			int r = 0;

			/* All are asked before the first is waited for. */
			if (pass == 0 && app_wants(app, a) && config_receives(a)) {
				r = inbox_open(app, a, 0, news, ctx, &open[i], &why);
			} else if (pass == 1 && open[i] != NULL) {
				r = fetch_one(open[i], &why);
				inbox_close(open[i]);
			}
			if (r != 0) {
				result = r;
				if (failed != NULL) {
					failed(ctx, r, &why);
				}
			}
		}
	}
	free(open);
	return result;
}
