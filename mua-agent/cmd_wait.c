/* im2000 wait: until something comes. */
#include <stdio.h>
#include <stdlib.h>

#include "mua-agent/attend.h"
#include "mua-agent/cmd.h"
#include "mua-agent/entry.h"
#include "mua-agent/inbox.h"
#include "mua-agent/shell.h"
#include "mua-agent/show.h"

struct waiting {
	struct app *app;
	const char *exec;
	int exit;
	uint32_t *numbers; /* what came */
	size_t n_numbers;
};

static void on_news(void *ctx, uint32_t number, bool is_new)
{
	struct waiting *w = ctx;
	uint32_t *grown;

	if (!is_new) {
		return;
	}
	if ((w->n_numbers & (w->n_numbers - 1)) == 0) {
		size_t room = w->n_numbers == 0 ? 1 : w->n_numbers * 2;

		if ((grown = realloc(w->numbers, room * sizeof *grown)) == NULL) {
			return; /* it is in agent.mdb; the next list shows it */
		}
		w->numbers = grown;
	}
	w->numbers[w->n_numbers++] = number;
}

/* --- the accounts ------------------------------------------------------------------------- */

static int open_inbox(void *ctx, const struct config_account *a, void **handle, struct err_text *e)
{
	struct waiting *w = ctx;
	struct inbox *inbox = NULL;
	int r = inbox_open(w->app, a, ATTEND_WAIT_S, on_news, w, &inbox, e);

	*handle = inbox;
	return r;
}

static void close_inbox(void *handle)
{
	inbox_close(handle);
}

static bool is_ready(const void *handle)
{
	return inbox_ready(handle);
}

/* Asks for more without waiting while it is known that there is more. */
static int take(void *ctx, void *handle, struct err_text *e)
{
	int count = inbox_take(handle, e), r;

	(void)ctx;
	if (count < 0) {
		return count;
	}
	r = inbox_more(handle, count > 0 ? 0 : ATTEND_WAIT_S, e);
	return r != 0 ? r : count > 0;
}

/* Something came, and no agent has more. */
static bool is_over(void *ctx, bool more)
{
	const struct waiting *w = ctx;

	return w->n_numbers > 0 && !more;
}

/* --- what came ---------------------------------------------------------------------------- */

static void run_exec(struct waiting *w, const struct entry *x)
{
	char number[16], sender[400], subject[1024];
	struct err_text e = { "" };
	int r;

	snprintf(number, sizeof number, "%u", x->item.number);
	show_safe(x->notice.sender, sender, sizeof sender);
	entry_field(x, "Subject", subject, sizeof subject);
	if (setenv("IM2000_NUMBER", number, 1) != 0 || setenv("IM2000_SENDER", sender, 1) != 0 ||
	    setenv("IM2000_SUBJECT", subject, 1) != 0) {
		r = ERR_NOMEM;
	} else {
		fflush(stdout);
		r = shell_run(w->exec, &e);
	}
	if (r != 0) {
		cmd_trouble(&w->exit, r, &e);
	}
}

static void tell(struct waiting *w)
{
	uint64_t now = clock_now_us();

	for (size_t i = 0; i < w->n_numbers; i++) {
		struct err_text e = { "" };
		struct entry x;
		int r = entry_get(w->app->db, w->numbers[i], &x, &e);

		if (r != 0) {
			cmd_trouble(&w->exit, r, &e);
			continue;
		}
		if ((r = entry_print(w->app, &x, now)) != 0) {
			cmd_trouble(&w->exit, r, NULL);
		}
		if (w->exec != NULL) {
			run_exec(w, &x);
		}
		entry_free(&x);
	}
}

/* --- the command -------------------------------------------------------------------------- */

static int wait_for_mail(struct waiting *w)
{
	const struct config *c = &w->app->config;
	const struct config_account **accounts = calloc(c->n_accounts, sizeof *accounts);
	const struct attend attend = { .app = w->app,
		                       .open = open_inbox,
		                       .close = close_inbox,
		                       .ready = is_ready,
		                       .take = take,
		                       .over = is_over,
		                       .ctx = w };
	struct err_text e = { "" };
	size_t n = 0;
	int r = accounts == NULL ? ERR_NOMEM : inbox_can_fetch(w->app, &e);

	for (size_t i = 0; r == 0 && i < c->n_accounts; i++) {
		if (app_wants(w->app, &c->accounts[i]) && config_receives(&c->accounts[i])) {
			accounts[n++] = &c->accounts[i];
		}
	}
	w->exit = r == 0 ? attend_run(&attend, accounts, n) : cmd_fail(r, &e);
	if (r == 0) {
		tell(w);
	}
	free(accounts);
	free(w->numbers);
	return w->exit;
}

int cmd_wait(struct app *app, int argc, char **argv)
{
	static const struct option options[] = {
		{ "exec", required_argument, NULL, 'x' },
		CMD_OPTIONS,
	};
	struct waiting w = { .app = app };
	int c;

	while ((c = cmd_option(app, argc, argv, options, &w.exit)) == 'x') {
		w.exec = optarg;
	}
	if (c == CMD_STOP) {
		return w.exit;
	}
	if (optind != argc) {
		return program_usage(APP_PROGRAM, "wait takes no \"%.100s\"", argv[optind]);
	}
	if ((w.exit = cmd_open(app)) != PROGRAM_DONE) {
		return w.exit;
	}
	return wait_for_mail(&w);
}
