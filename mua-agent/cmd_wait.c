/* im2000 wait: until something comes. */
#include <stdio.h>
#include <stdlib.h>

#include "mua-agent/cmd.h"
#include "mua-agent/entry.h"
#include "mua-agent/inbox.h"
#include "mua-agent/shell.h"
#include "mua-agent/show.h"

#define WAIT_S 540                   /* of one retrieve; less than most NATs forget in */
#define PAUSE_MIN_US CLOCK_SECOND_US /* before connecting again; doubled each time */
#define PAUSE_MAX_US (5 * CLOCK_MINUTE_US)

/* An account that is waited for. */
struct post {
	const struct config_account *account;
	struct inbox *inbox; /* NULL: not connected */
	bool draining;       /* its agent has more to say at once */
	uint64_t pause_us, again_us;
	struct waiting *waiting;
};

struct waiting {
	struct app *app;
	const char *exec;
	struct post *posts;
	size_t n;
	struct loop_timer *timer;
	bool stop;
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

static bool is_passing(int error)
{
	return program_exit_code(error) == PROGRAM_TRY_LATER;
}

/* The connection of P failed: again later, unless that cannot help. */
static void lose(struct post *p, int error, const struct err_text *why)
{
	struct waiting *w = p->waiting;

	inbox_close(p->inbox);
	p->inbox = NULL;
	p->draining = false;
	if (!is_passing(error)) {
		w->stop = true;
		w->exit = cmd_fail(error, why);
		return;
	}
	if (p->pause_us == PAUSE_MIN_US) { /* not at the first time: a daemon that is restarted */
		fprintf(stderr, "%s: %s; waiting for it\n", APP_PROGRAM,
		        why->text[0] != '\0' ? why->text : err_phrase(error));
	}
	p->pause_us = p->pause_us == 0 ? PAUSE_MIN_US : p->pause_us * 2;
	if (p->pause_us > PAUSE_MAX_US) {
		p->pause_us = PAUSE_MAX_US;
	}
	p->again_us = clock_mono_us() + p->pause_us;
}

/* Connects P where it is time to. */
static void go_on(struct post *p)
{
	struct waiting *w = p->waiting;
	struct err_text why = { "" };
	int r;

	if (p->inbox == NULL && p->again_us <= clock_mono_us()) {
		r = inbox_open(w->app, p->account, WAIT_S, on_news, w, &p->inbox, &why);
		if (r != 0) {
			lose(p, r, &why);
		}
	}
}

/* Takes what P's agent answered, and asks for more: without waiting while it is known that there
 * is more. */
static void take(struct post *p)
{
	struct err_text why = { "" };
	int r = inbox_take(p->inbox, &why);

	if (r >= 0) {
		p->pause_us = 0;
		p->draining = r > 0;
		r = inbox_more(p->inbox, r > 0 ? 0 : WAIT_S, &why);
	}
	if (r < 0) {
		lose(p, r, &why);
	}
}

static void on_timer(void *ctx)
{
	struct waiting *w = ctx;

	loop_stop(lines_loop(w->app->lines));
}

/* Sleeps until an answer comes, or it is time to connect again. */
static void sleep_on(struct waiting *w)
{
	uint64_t now = clock_mono_us(), next = UINT64_MAX;

	for (size_t i = 0; i < w->n; i++) {
		if (w->posts[i].inbox != NULL && inbox_ready(w->posts[i].inbox)) {
			return;
		}
		if (w->posts[i].inbox == NULL && w->posts[i].again_us < next) {
			next = w->posts[i].again_us;
		}
	}
	if (next != UINT64_MAX) {
		loop_timer_start(w->timer, next > now ? next - now : 0);
	}
	loop_run(lines_loop(w->app->lines));
	loop_timer_stop(w->timer);
}

/* Something came, and no agent has more. */
static bool is_over(const struct waiting *w)
{
	bool draining = false;

	for (size_t i = 0; i < w->n; i++) {
		draining = draining || w->posts[i].draining;
	}
	return w->stop || (w->n_numbers > 0 && !draining);
}

static void wait_all(struct waiting *w)
{
	while (!is_over(w)) {
		for (size_t i = 0; i < w->n && !w->stop; i++) {
			go_on(&w->posts[i]);
		}
		if (w->stop) {
			return;
		}
		sleep_on(w);
		for (size_t i = 0; i < w->n && !w->stop; i++) {
			if (w->posts[i].inbox != NULL && inbox_ready(w->posts[i].inbox)) {
				take(&w->posts[i]);
			}
		}
	}
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

static int prepare(struct waiting *w, struct err_text *e)
{
	struct config *c = &w->app->config;
	struct lines *lines;
	int r;

	if ((r = inbox_can_fetch(w->app, e)) != 0 || (r = app_lines(w->app, &lines, e)) != 0) {
		return r;
	}
	if ((w->posts = calloc(c->n_accounts, sizeof *w->posts)) == NULL ||
	    loop_timer_create(lines_loop(lines), on_timer, w, &w->timer) != 0) {
		return err_set(e, ERR_NOMEM, "out of memory");
	}
	for (size_t i = 0; i < c->n_accounts; i++) {
		if (app_wants(w->app, &c->accounts[i]) && config_receives(&c->accounts[i])) {
			w->posts[w->n].account = &c->accounts[i];
			w->posts[w->n++].waiting = w;
		}
	}
	return 0;
}

static int wait_for_mail(struct waiting *w)
{
	struct err_text e = { "" };
	int r = prepare(w, &e);

	if (r == 0) {
		wait_all(w);
		tell(w);
	} else {
		w->exit = cmd_fail(r, &e);
	}
	for (size_t i = 0; i < w->n; i++) {
		inbox_close(w->posts[i].inbox);
	}
	loop_timer_free(w->timer);
	free(w->posts);
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
