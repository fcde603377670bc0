#include "mua-agent/follow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mua-agent/attend.h"
#include "mua-agent/cmd.h"
#include "mua-agent/delivery.h"
#include "mua-agent/url.h"
#include "mua-agent/watch.h"

/* An account, and how far its changes were told. */
struct place {
	const struct config_account *account;
	uint64_t cursor;
	bool quiet; /* what was before now is passed over */
};

struct following {
	struct app *app;
	const struct track_target *target; /* NULL: all messages */
	struct place *places;
	size_t n;
	int failed;  /* no more can be told */
};

/* --- a change ----------------------------------------------------------------------------- */

static uint32_t number_of(const struct following *f, const char *store,
                          const uint8_t id[WIRE_ID_SIZE])
{
	struct kv_txn *t = db_read_begin(f->app->db);
	struct db_sent sent;
	uint32_t number = 0;

	if (t != NULL && db_sent_find(f->app->db, t, span_str(store), id, &sent) == 0) {
		number = sent.number;
	}
	db_read_end(t);
	return number;
}

static int print_delivery(void *ctx, const struct msoap_delivery *d)
{
	const struct following *f = ctx;

	return delivery_print(f->app, NULL, d);
}

/* --- the accounts ------------------------------------------------------------------------- */

static struct place *place_of(const struct following *f, const struct config_account *a)
{
	struct place *p = f->places;

	while (p->account != a) {
		p++;
	}
	return p;
}

static int on_change(void *ctx, const struct config_account *a, const struct msoap_change *c)
{
	const struct following *f = ctx;
	char url[URL_MAX + 1];
	struct delivery_of of = { .url = url };

	if (place_of(f, a)->quiet ||
	    (f->target != NULL && memcmp(f->target->id, c->id, WIRE_ID_SIZE) != 0)) {
		return 0;
	}
	if (f->target != NULL) {
		return delivery_print(f->app, NULL, &c->delivery);
	}
	url_format(a->store_domain, c->id, url);
	of.number = number_of(f, a->store_domain, c->id);
	return delivery_print(f->app, &of, &c->delivery);
}

static int open_watch(void *ctx, const struct config_account *a, void **handle, struct err_text *e)
{
	struct following *f = ctx;
	struct place *p = place_of(f, a);
	struct watch *w = NULL;
	int r = watch_open(f->app, a, p->cursor, p->quiet ? 0 : ATTEND_WAIT_S, on_change, f, &w, e);

	*handle = w;
	return r;
}

static void close_watch(void *handle)
{
	watch_close(handle);
}

static bool is_ready(const void *handle)
{
	return watch_ready(handle);
}

/* P has caught up with now. */
static int be_heard(struct following *f, struct place *p, struct err_text *e)
{
	p->quiet = false;
	return f->target == NULL ? 0
	                         : track_deliveries(f->app, f->target, print_delivery, f, e);
}

static int take(void *ctx, void *handle, struct err_text *e)
{
	struct following *f = ctx;
	struct place *p = place_of(f, watch_account(handle));
	int some, r = 0;

	if ((some = watch_take(handle, e)) < 0) {
		return some;
	}
	if (p->quiet && some == 0) {
		r = be_heard(f, p, e);
	}
	if (fflush(stdout) != 0 || ferror(stdout)) {
		f->failed = ERR_IO;
		return err_set(e, ERR_IO, "write to standard output: it takes no more");
	}
	p->cursor = watch_cursor(handle);
	if (r == 0 && f->target == NULL &&
	    (r = watch_cursor_put(f->app, p->account, p->cursor)) != 0) {
		err_set(e, r, "keep how far it was told in %s/agent.mdb: %s", f->app->config.data,
		        err_phrase(r));
	}
	if (r == 0) {
		r = watch_more(handle, p->quiet || some > 0 ? 0 : ATTEND_WAIT_S, e);
	}
	return r;
}

static bool is_over(void *ctx, bool more)
{
	const struct following *f = ctx;

	(void)more;
	return f->failed != 0;
}

/* --- all of it ---------------------------------------------------------------------------- */

static int follow(struct following *f, const struct config_account *const *accounts, size_t n)
{
	const struct attend attend = { .app = f->app,
		                       .open = open_watch,
		                       .close = close_watch,
		                       .ready = is_ready,
		                       .take = take,
		                       .over = is_over,
		                       .ctx = f };
	int r = 0, exit;

	if ((f->places = calloc(n, sizeof *f->places)) == NULL) {
		return cmd_fail(ERR_NOMEM, NULL);
	}
	for (size_t i = 0; r == 0 && i < n; i++) {
		f->places[i].account = accounts[i];
		r = watch_cursor_get(f->app, accounts[i], &f->places[i].cursor);
		f->places[i].quiet = f->target != NULL || r == ERR_NOT_FOUND;
		r = r == ERR_NOT_FOUND ? 0 : r;
	}
	exit = r == 0 ? attend_run(&attend, accounts, n) : cmd_fail(r, NULL);
	free(f->places);
	return exit;
}

int follow_all(struct app *app)
{
	const struct config *c = &app->config;
	const struct config_account **accounts = calloc(c->n_accounts, sizeof *accounts);
	struct following f = { .app = app };
	int exit = accounts == NULL ? cmd_fail(ERR_NOMEM, NULL) : cmd_can_send(app);
	size_t n = 0;

	for (size_t i = 0; exit == PROGRAM_DONE && i < c->n_accounts; i++) {
		if (app_is_sender(app, i)) {
			accounts[n++] = &c->accounts[i];
		}
	}
	exit = exit == PROGRAM_DONE ? follow(&f, accounts, n) : exit;
	free(accounts);
	return exit;
}

int follow_one(struct app *app, const struct track_target *target)
{
	struct following f = { .app = app, .target = target };
	const struct config_account *accounts[] = { target->account };

	return follow(&f, accounts, 1);
}
