#include "mua-agent/watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mua-agent/show.h"
#include "mua-agent/track.h"

#define WAIT_SLACK_S 60 /* what a waiting store gets beyond the time it was told */

struct watch {
	struct app *app;
	const struct config_account *account;
	struct line *line;
	struct talk login, page;
	bool logged_in;
	uint64_t cursor;
	bool some; /* the answer in hand had changes */
	watch_change change;
	void *ctx;
};

static int on_watch(void *ctx, const struct msoap_response *r, struct err_text *why)
{
	struct wire_list rest = r->u.watch.changes;
	struct msoap_change change;
	struct watch *w = ctx;
	char text[400];
	int result = 0;

	if (r->has_text) { /* the cursor is older than what the store keeps */
		fprintf(stderr, "%s: %s: %s\n", APP_PROGRAM, w->account->store_domain,
		        show_safe(r->text, text, sizeof text));
	}
	if (r->u.watch.next < w->cursor || (rest.count > 0 && r->u.watch.next == w->cursor)) {
		return err_set(why, ERR_PROTOCOL, "the store's list does not get on");
	}
	w->some = r->u.watch.next > w->cursor;
	while (result == 0 && msoap_change_next(&rest, &change)) {
		result = w->change(w->ctx, w->account, &change);
	}
	if (result != 0) {
		return err_set(why, result, "%s", err_phrase(result));
	}
	w->cursor = r->u.watch.next;
	return 0;
}

int watch_more(struct watch *w, uint64_t wait_s, struct err_text *e)
{
	struct msoap_command c = { .kind = MSOAP_WATCH };

	c.u.watch.after = w->cursor;
	c.u.watch.wait = wait_s;
	w->page = (struct talk) {
		.msoap = on_watch,
		.ctx = w,
		.timeout_us = wait_s > 0 ? (wait_s + WAIT_SLACK_S) * CLOCK_SECOND_US : 0,
	};
	snprintf(w->page.doing, sizeof w->page.doing, "ask %.150s for changes",
	         w->account->store_domain);
	return talk_msoap(w->line, &w->page, &c, 0, e);
}

int watch_open(struct app *app, const struct config_account *a, uint64_t after, uint64_t wait_s,
               watch_change change, void *ctx, struct watch **out, struct err_text *e)
{
	struct watch *w = calloc(1, sizeof *w);
	int r;

	if (w == NULL) {
		return err_set(e, ERR_NOMEM, "out of memory");
	}
	w->app = app;
	w->account = a;
	w->cursor = after;
	w->change = change;
	w->ctx = ctx;
	if ((r = track_open(app, a, a->store_domain, &w->login, &w->line, e)) != 0) {
		w->line = NULL;
	} else {
		r = watch_more(w, wait_s, e);
	}
	if (r != 0) {
		watch_close(w);
		return r;
	}
	*out = w;
	return 0;
}

void watch_close(struct watch *w)
{
	if (w != NULL) {
		line_close(w->line);
		free(w);
	}
}

bool watch_ready(const struct watch *w)
{
	return talk_is_done(&w->page);
}

int watch_take(struct watch *w, struct err_text *e)
{
	int r;

	if (!w->logged_in) {
		if ((r = talk_finish(&w->login, e)) != 0) {
			return r;
		}
		w->logged_in = true;
	}
	r = talk_finish(&w->page, e);
	return r != 0 ? r : w->some;
}

uint64_t watch_cursor(const struct watch *w)
{
	return w->cursor;
}

const struct config_account *watch_account(const struct watch *w)
{
	return w->account;
}

/* --- what is kept ------------------------------------------------------------------------- */

/* Its last blank is a tab, that of an account's identity a space: they are never the same. */
static struct span cursor_key(const struct config_account *a, char out[CONFIG_IDENTITY_MAX])
{
	int n = snprintf(out, CONFIG_IDENTITY_MAX, "watch\t%s\t%s", a->store_login,
	                 a->store_domain);

	return span_of(out, n < CONFIG_IDENTITY_MAX ? (size_t)n : CONFIG_IDENTITY_MAX - 1);
}

int watch_cursor_get(struct app *app, const struct config_account *a, uint64_t *cursor)
{
	char key[CONFIG_IDENTITY_MAX];
	struct kv_txn *t = db_read_begin(app->db);
	int r = t == NULL ? ERR_NOMEM : db_cursor_get(app->db, t, cursor_key(a, key), cursor);

	db_read_end(t);
	if (r == 0 && *cursor == 0) {
		return ERR_NOT_FOUND;
	}
	*cursor -= r == 0; /* it is kept with one added, as 0 stands for none */
	return r;
}

int watch_cursor_put(struct app *app, const struct config_account *a, uint64_t cursor)
{
	char key[CONFIG_IDENTITY_MAX];
	struct kv_txn *t;
	int r = db_write_begin(app->db, &t);

	return r == 0 ? kv_write_end(t, db_cursor_put(app->db, t, cursor_key(a, key), cursor + 1))
	              : r;
}
