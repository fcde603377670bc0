/*
 * The loop is libuv's with three things added: tasks posted from other threads,
 * hooks at the end of a turn, and timers whose memory is freed by one call.
 *
 * Hooks run in a prepare handle: libuv calls those after timers and pending
 * work, right before it polls, so nothing that was ready waits through a sleep.
 */
#include "net/loop.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

struct loop {
	uv_loop_t uv;
	uv_async_t wake;
	uv_prepare_t turn_end;
	uv_idle_t awake; /* running: libuv polls without sleeping */
	pthread_mutex_t lock; /* guards the next five */
	struct loop_task *tasks;
	struct loop_task **tasks_end;
	bool stopping; /* asked for from elsewhere than the loop's own thread */
	bool running;
	pthread_t runner; /* while running */
	struct loop_hook *hooks;     /* in the order of rank */
	struct loop_hook *hook_next; /* while hooks run: the one to come */
	bool again;
	void *hub;
	void (*hub_release)(void *hub);
};

struct loop_timer {
	uv_timer_t uv;
	void (*fire)(void *ctx);
	void *ctx;
};

/* --- tasks ------------------------------------------------------------------------------- */

static void on_wake(uv_async_t *wake)
{
	struct loop *l = wake->data;
	struct loop_task *tasks;
	bool stopping;

	pthread_mutex_lock(&l->lock);
	tasks = l->tasks;
	l->tasks = NULL;
	l->tasks_end = &l->tasks;
	stopping = l->stopping;
	l->stopping = false;
	pthread_mutex_unlock(&l->lock);

	while (tasks != NULL) {
		/* Read first: RUN may free the task or post it again. */
		struct loop_task *next = tasks->next;

		tasks->run(tasks);
		tasks = next;
	}
	if (stopping)
		uv_stop(&l->uv);
}

void loop_post(struct loop *l, struct loop_task *task)
{
	bool first;

	task->next = NULL;
	pthread_mutex_lock(&l->lock);
	first = l->tasks == NULL;
	*l->tasks_end = task;
	l->tasks_end = &task->next;
	/* Inside the lock: once it is left, the task may run and with it the loop may end. */
	if (first)
		uv_async_send(&l->wake);
	pthread_mutex_unlock(&l->lock);
}

void loop_stop(struct loop *l)
{
	pthread_mutex_lock(&l->lock);
	if (l->running && pthread_equal(l->runner, pthread_self())) {
		uv_stop(&l->uv);
	} else {
		l->stopping = true;
		uv_async_send(&l->wake);
	}
	pthread_mutex_unlock(&l->lock);
}

/* --- hooks ------------------------------------------------------------------------------- */

void loop_hook_add(struct loop *l, struct loop_hook *hook)
{
	struct loop_hook **at = &l->hooks;

	while (*at != NULL && (*at)->rank <= hook->rank)
		at = &(*at)->next;
	hook->next = *at;
	*at = hook;
}

void loop_hook_remove(struct loop *l, struct loop_hook *hook)
{
	struct loop_hook **at = &l->hooks;

	while (*at != NULL && *at != hook)
		at = &(*at)->next;
	if (*at == NULL)
		return;
	*at = hook->next;
	if (l->hook_next == hook)
		l->hook_next = hook->next;
}

void loop_again(struct loop *l)
{
	l->again = true;
}

static void run_hooks(struct loop *l)
{
	struct loop_hook *hook = l->hooks;

	l->again = false;
	while (hook != NULL) {
		/* Kept in the loop, so that a hook may remove any hook. */
		l->hook_next = hook->next;
		hook->run(hook);
		hook = l->hook_next;
	}
	l->hook_next = NULL;
}

static void on_awake(uv_idle_t *awake)
{
	(void)awake; /* its running is all that matters */
}

static void on_turn_end(uv_prepare_t *turn_end)
{
	struct loop *l = turn_end->data;

	run_hooks(l);
	/* Both are no work at all when nothing changes. */
	if (l->again)
		uv_idle_start(&l->awake, on_awake);
	else
		uv_idle_stop(&l->awake);
}

/* --- the loop ---------------------------------------------------------------------------- */

int loop_create(struct loop **out)
{
	struct loop *l = calloc(1, sizeof *l);

	if (l == NULL)
		return ERR_NOMEM;
	l->tasks_end = &l->tasks;
	if (pthread_mutex_init(&l->lock, NULL) != 0) {
		free(l);
		return ERR_NOMEM;
	}
	if (uv_loop_init(&l->uv) != 0)
		goto no_loop;
	if (uv_async_init(&l->uv, &l->wake, on_wake) != 0)
		goto no_async;
	/* These three cannot fail. */
	uv_prepare_init(&l->uv, &l->turn_end);
	uv_idle_init(&l->uv, &l->awake);
	uv_prepare_start(&l->turn_end, on_turn_end);
	l->wake.data = l;
	l->turn_end.data = l;
	l->awake.data = l;
	*out = l;
	return 0;
no_async:
	uv_loop_close(&l->uv);
no_loop:
	pthread_mutex_destroy(&l->lock);
	free(l);
	return ERR_IO;
}

static void close_handle(uv_handle_t *handle, void *unused)
{
	(void)unused;
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

void loop_free(struct loop *l)
{
	if (l == NULL)
		return;
	if (l->hub != NULL)
		l->hub_release(l->hub);
	uv_walk(&l->uv, close_handle, NULL);
	/* Streams and timers that were freed before still wait for their close callbacks. */
	uv_run(&l->uv, UV_RUN_DEFAULT);
	uv_loop_close(&l->uv);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

static void set_running(struct loop *l, bool running)
{
	pthread_mutex_lock(&l->lock);
	l->running = running;
	l->runner = pthread_self();
	pthread_mutex_unlock(&l->lock);
}

void loop_run(struct loop *l)
{
	set_running(l, true);
	uv_run(&l->uv, UV_RUN_DEFAULT);
	set_running(l, false);
	/* uv_stop leaves between poll and prepare: the last turn has its end here. */
	run_hooks(l);
}

uv_loop_t *loop_uv(struct loop *l)
{
	return &l->uv;
}

void *loop_hub(struct loop *l)
{
	return l->hub;
}

void loop_set_hub(struct loop *l, void *hub, void (*release)(void *hub))
{
	l->hub = hub;
	l->hub_release = release;
}

/* --- timers ------------------------------------------------------------------------------ */

static void on_timer(uv_timer_t *uv)
{
	struct loop_timer *t = uv->data;

	t->fire(t->ctx);
}

int loop_timer_create(struct loop *l, void (*fire)(void *ctx), void *ctx, struct loop_timer **out)
{
	struct loop_timer *t = calloc(1, sizeof *t);

	if (t == NULL)
		return ERR_NOMEM;
	uv_timer_init(&l->uv, &t->uv);
	t->uv.data = t;
	t->fire = fire;
	t->ctx = ctx;
	*out = t;
	return 0;
}

void loop_timer_start(struct loop_timer *t, uint64_t delay_us)
{
	/*
	 * libuv counts from its idea of now, the turn's begin, in whole milliseconds: a timer may
	 * fire up to a turn early. Deadlines are seconds, so the system call for a fresh
	 * uv_update_time is not spent.
	 */
	uv_timer_start(&t->uv, on_timer, delay_us / 1000 + (delay_us % 1000 != 0), 0);
}

void loop_timer_stop(struct loop_timer *t)
{
	uv_timer_stop(&t->uv);
}

static void on_timer_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void loop_timer_free(struct loop_timer *t)
{
	if (t == NULL)
		return;
	uv_close((uv_handle_t *)&t->uv, on_timer_closed);
}
