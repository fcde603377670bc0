#include "mua-agent/attend.h"

#include <stdio.h>
#include <stdlib.h>

#include "mua-agent/cmd.h"

#define PAUSE_MIN_US CLOCK_SECOND_US /* before connecting again; doubled each time */
#define PAUSE_MAX_US (5 * CLOCK_MINUTE_US)

/* An account that is waited for. */
struct post {
	const struct config_account *account;
	void *handle; /* NULL: not connected */
	bool more;    /* there is more at once */
	uint64_t pause_us, again_us;
};

struct attending {
	const struct attend *a;
	struct post *posts;
	size_t n;
	struct loop *loop;
	struct loop_timer *timer;
	bool stop;
	int exit;
};

/* The connection of P failed: again later, unless that cannot help. */
static void lose(struct attending *w, struct post *p, int error, const struct err_text *why)
{
	w->a->close(p->handle);
	p->handle = NULL;
	p->more = false;
	if (program_exit_code(error) != PROGRAM_TRY_LATER) {
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
static void go_on(struct attending *w, struct post *p)
{
	struct err_text why = { "" };
	int r;

	if (p->handle == NULL && p->again_us <= clock_mono_us()) {
		r = w->a->open(w->a->ctx, p->account, &p->handle, &why);
		if (r != 0) {
			p->handle = NULL;
			lose(w, p, r, &why);
		}
	}
}

static void take(struct attending *w, struct post *p)
{
	struct err_text why = { "" };
	int r = w->a->take(w->a->ctx, p->handle, &why);

	if (r < 0) {
		lose(w, p, r, &why);
	} else {
		p->pause_us = 0;
		p->more = r > 0;
	}
}

static bool is_ready(const struct attending *w, const struct post *p)
{
	return p->handle != NULL && w->a->ready(p->handle);
}

static void on_timer(void *ctx)
{
	struct attending *w = ctx;

	loop_stop(w->loop);
}

/* Sleeps until an answer comes, or it is time to connect again. */
static void sleep_on(struct attending *w)
{
	uint64_t now = clock_mono_us(), next = UINT64_MAX;

	for (size_t i = 0; i < w->n; i++) {
		if (is_ready(w, &w->posts[i])) {
			return;
		}
		if (w->posts[i].handle == NULL && w->posts[i].again_us < next) {
			next = w->posts[i].again_us;
		}
	}
	if (next != UINT64_MAX) {
		loop_timer_start(w->timer, next > now ? next - now : 0);
	}
	loop_run(w->loop);
	loop_timer_stop(w->timer);
}

static bool is_over(const struct attending *w)
{
	bool more = false;

	for (size_t i = 0; i < w->n; i++) {
		more = more || w->posts[i].more;
	}
	return w->stop || w->a->over(w->a->ctx, more);
}

static void attend_all(struct attending *w)
{
	while (!is_over(w)) {
		for (size_t i = 0; i < w->n && !w->stop; i++) {
			go_on(w, &w->posts[i]);
		}
		if (w->stop) {
			return;
		}
		sleep_on(w);
		for (size_t i = 0; i < w->n && !w->stop; i++) {
			if (is_ready(w, &w->posts[i])) {
				take(w, &w->posts[i]);
			}
		}
	}
}

int attend_run(const struct attend *a, const struct config_account *const *accounts, size_t n)
{
	struct attending w = { .a = a, .n = n };
	struct err_text e = { "" };
	struct lines *lines;
	int r = app_lines(a->app, &lines, &e);

	if (r == 0) {
		w.loop = lines_loop(lines);
		w.posts = calloc(n + 1, sizeof *w.posts);
		if (w.posts == NULL || loop_timer_create(w.loop, on_timer, &w, &w.timer) != 0) {
			r = err_set(&e, ERR_NOMEM, "out of memory");
		}
	}
	for (size_t i = 0; r == 0 && i < n; i++) {
		w.posts[i].account = accounts[i];
	}
	if (r == 0) {
		attend_all(&w);
	} else {
		w.exit = cmd_fail(r, &e);
	}
	for (size_t i = 0; w.posts != NULL && i < n; i++) {
		a->close(w.posts[i].handle);
	}
	loop_timer_free(w.timer);
	free(w.posts);
	return w.exit;
}
