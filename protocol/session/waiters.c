/*
 * A hash of keys to waiters under one lock. waiters_wake moves them
 * to their loop's fired list and posts that loop once; the loop then takes the
 * list and calls each outside the lock. A waiter is on exactly one list: of its
 * bucket (WAITING) or of its loop (FIRED), or on none (OFF).
 *
 * A loop's part stays until the end of all: its task may still be posted when its
 * last waiter goes, and a loop that ends does not run it any more.
 */
#include "session/waiters.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#define BUCKETS 4096

struct waiters {
	pthread_mutex_t lock;
	struct waiters_loop *loops; /* all that were ever made */
	struct waiter *bucket[BUCKETS];
};

struct waiters_loop {
	struct loop_task task; /* first, so that the task is the loop's */
	struct waiters *all;
	struct loop *loop;
	struct waiters_loop *next;
	struct waiter *fired;
	bool posted;
};

int waiters_create(struct waiters **out)
{
	struct waiters *w = calloc(1, sizeof *w);

	if (w == NULL) {
		return ERR_NOMEM;
	}
	pthread_mutex_init(&w->lock, NULL);
	*out = w;
	return 0;
}

void waiters_free(struct waiters *w)
{
	struct waiters_loop *wl, *next;

	if (w == NULL) {
		return;
	}
	for (wl = w->loops; wl != NULL; wl = next) {
		next = wl->next;
		free(wl);
	}
	pthread_mutex_destroy(&w->lock);
	free(w);
}

static void link_into(struct waiter **list, struct waiter *x)
{
	x->next = *list;
	x->back = list;
	if (x->next != NULL) {
		x->next->back = &x->next;
	}
	*list = x;
}

static void unlink_from(struct waiter *x)
{
	*x->back = x->next;
	if (x->next != NULL) {
		x->next->back = x->back;
	}
	x->state = WAITER_OFF;
}

/* One waiter at a time: a `fire` may remove others. */
static struct waiter *take_fired(struct waiters_loop *wl)
{
	struct waiter *x;

	pthread_mutex_lock(&wl->all->lock);
	x = wl->fired;
	if (x != NULL) {
		unlink_from(x);
	} else {
		wl->posted = false;
	}
	pthread_mutex_unlock(&wl->all->lock);
	return x;
}

static void run_fired(struct loop_task *task)
{
	struct waiters_loop *wl = (struct waiters_loop *)task;
	struct waiter *x;

	while ((x = take_fired(wl)) != NULL) {
		x->fire(x);
	}
}

int waiters_loop_create(struct waiters *w, struct loop *l, struct waiters_loop **out)
{
	struct waiters_loop *wl = calloc(1, sizeof *wl);

	if (wl == NULL) {
		return ERR_NOMEM;
	}
	wl->task.run = run_fired;
	wl->all = w;
	wl->loop = l;
	pthread_mutex_lock(&w->lock);
	wl->next = w->loops;
	w->loops = wl;
	pthread_mutex_unlock(&w->lock);
	*out = wl;
	return 0;
}

void waiters_add(struct waiters_loop *wl, struct waiter *x, uint32_t key)
{
	pthread_mutex_lock(&wl->all->lock);
	x->loop = wl;
	x->key = key;
	x->state = WAITER_WAITING;
	link_into(&wl->all->bucket[key % BUCKETS], x);
	pthread_mutex_unlock(&wl->all->lock);
}

void waiters_remove(struct waiter *x)
{
	if (x->loop == NULL) {
		return;
	}
	pthread_mutex_lock(&x->loop->all->lock);
	if (x->state != WAITER_OFF) {
		unlink_from(x);
	}
	pthread_mutex_unlock(&x->loop->all->lock);
}

static void fire_later(struct waiter *x)
{
	struct waiters_loop *wl = x->loop;

	unlink_from(x);
	link_into(&wl->fired, x);
	x->state = WAITER_FIRED;
	if (!wl->posted) {
		wl->posted = true;
		loop_post(wl->loop, &wl->task);
	}
}

void waiters_wake(struct waiters *w, const uint32_t *keys, size_t n)
{
	pthread_mutex_lock(&w->lock);
	for (size_t i = 0; i < n; i++) {
		struct waiter *x = w->bucket[keys[i] % BUCKETS], *next;

		for (; x != NULL; x = next) {
			next = x->next;
			if (x->key == keys[i]) {
				fire_later(x);
			}
		}
	}
	pthread_mutex_unlock(&w->lock);
}
