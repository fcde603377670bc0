/*
 * The event loop: libuv, one loop a thread. Everything made on a loop is used
 * and freed on the loop's thread; only loop_post and loop_stop may be called
 * from others.
 */
#ifndef IM2000_NET_LOOP_H
#define IM2000_NET_LOOP_H

#include <stdint.h>
#include <uv.h>

#include "base/err.h"

struct loop;

/* 0, ERR_NOMEM, ERR_IO. */
int loop_create(struct loop **out);
/* Everything on the loop must be freed before; closes what libuv still holds. NULL is fine. */
void loop_free(struct loop *l);

/* Runs until loop_stop. May be called again. */
void loop_run(struct loop *l);
/* Makes loop_run return after the turn in hand. Any thread. */
void loop_stop(struct loop *l);

/* The libuv loop, for net/ and session/ only. */
uv_loop_t *loop_uv(struct loop *l);

/* A call handed to the loop's thread. The struct is the caller's and must stay until RUN. */
struct loop_task {
	void (*run)(struct loop_task *task);
	struct loop_task *next; /* the loop's own */
};
/* Any thread. RUN comes once, on the loop's thread. */
void loop_post(struct loop *l, struct loop_task *task);

/*
 * Called at the end of every turn, when all that was ready has been handled and
 * before the loop sleeps: what collects work over a turn (output of streams,
 * the writer) acts there. Hooks run in the order of RANK: what produces output
 * (the writer: 0) before what sends it (streams: 10).
 */
struct loop_hook {
	void (*run)(struct loop_hook *hook);
	int rank;
	struct loop_hook *next; /* the loop's own */
};
void loop_hook_add(struct loop *l, struct loop_hook *hook);
void loop_hook_remove(struct loop *l, struct loop_hook *hook);

/*
 * From a hook, or from what a hook calls: work has come up for a hook that had its
 * turn already, so the loop takes another turn without sleeping.
 */
void loop_again(struct loop *l);

/*
 * What all streams of a loop share (net/stream.c). The first to need it sets it;
 * loop_free calls RELEASE. NULL until set. For net/ only.
 */
void *loop_hub(struct loop *l);
void loop_set_hub(struct loop *l, void *hub, void (*release)(void *hub));

/* A timer that fires once. */
struct loop_timer;
/* 0 or ERR_NOMEM. FIRE may free or restart the timer. It is not running yet. */
int loop_timer_create(struct loop *l, void (*fire)(void *ctx), void *ctx, struct loop_timer **out);
/* (Re)starts it: fires once after DELAY_US microseconds (rounded up to milliseconds). */
void loop_timer_start(struct loop_timer *t, uint64_t delay_us);
void loop_timer_stop(struct loop_timer *t);
/* No FIRE after this. NULL is fine. */
void loop_timer_free(struct loop_timer *t);

#endif
