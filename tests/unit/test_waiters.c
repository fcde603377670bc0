/* builds: plain asan tsan */
/* Who waits for something: called once, on its own loop, and for nothing that it left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "session/waiters.h"

#define SAME_BUCKET 4096 /* keys so far apart share a list of waiters.c */

struct fixture {
	struct loop *loop;
	struct waiters *all;
	struct waiters_loop *part;
	struct loop_task stop;
};

struct one {
	struct waiter waiter; /* first */
	struct fixture *f;
	unsigned fired;
	bool again;          /* waits again when fired */
	struct one *removes; /* when fired */
};

static void fire(struct waiter *x)
{
	struct one *o = (struct one *)x;

	o->fired++;
	assert_int_equal(x->state, WAITER_OFF);
	if (o->again) {
		waiters_add(o->f->part, x, x->key);
	}
	if (o->removes != NULL) {
		waiters_remove(&o->removes->waiter);
	}
}

static void one_init(struct one *o, struct fixture *f, uint32_t key)
{
	*o = (struct one) { .waiter = { .fire = fire }, .f = f };
	waiters_add(f->part, &o->waiter, key);
}

static void on_stop(struct loop_task *task)
{
	struct fixture *f = (struct fixture *)(void *)((char *)task - offsetof(struct fixture, stop));

	loop_stop(f->loop);
}

/* Runs what is posted so far. */
static void run(struct fixture *f)
{
	f->stop.run = on_stop;
	loop_post(f->loop, &f->stop);
	loop_run(f->loop);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	assert_int_equal(loop_create(&f->loop), 0);
	assert_int_equal(waiters_create(&f->all), 0);
	assert_int_equal(waiters_loop_create(f->all, f->loop, &f->part), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	loop_free(f->loop);
	waiters_free(f->all);
	free(f);
	return 0;
}

static void wake(struct fixture *f, uint32_t key)
{
	waiters_wake(f->all, &key, 1);
}

static void test_whose_key_it_is(void **state)
{
	struct fixture *f = *state;
	struct one a, b, other, neighbour;
	const uint32_t several[] = { 7, 7, 9, 7 };

	one_init(&a, f, 7);
	one_init(&b, f, 7);
	one_init(&other, f, 8);
	one_init(&neighbour, f, 7 + SAME_BUCKET);
	run(f);
	assert_int_equal(a.fired, 0);
	waiters_wake(f->all, several, 4);
	assert_int_equal(a.fired, 0); /* not from inside: on its loop */
	run(f);
	assert_int_equal(a.fired, 1);
	assert_int_equal(b.fired, 1);
	assert_int_equal(other.fired, 0);
	assert_int_equal(neighbour.fired, 0);
	wake(f, 7); /* nobody waits for it now */
	wake(f, 7 + SAME_BUCKET);
	run(f);
	assert_int_equal(a.fired, 1);
	assert_int_equal(neighbour.fired, 1);
	waiters_remove(&other.waiter);
	waiters_remove(&a.waiter); /* not registered: fine */
	wake(f, 8);
	run(f);
	assert_int_equal(other.fired, 0);
}

/* Removed between the wake and the call, by itself or by another one's call. */
static void test_removed_in_time(void **state)
{
	struct fixture *f = *state;
	struct one a, b, c, never = { .waiter = { .fire = fire } };

	waiters_remove(&never.waiter);
	one_init(&a, f, 1);
	one_init(&b, f, 1);
	one_init(&c, f, 1);
	b.removes = &c;
	c.removes = &b; /* whichever comes first */
	wake(f, 1);
	waiters_remove(&a.waiter);
	run(f);
	assert_int_equal(a.fired, 0);
	assert_int_equal(b.fired + c.fired, 1);
}

static void test_waits_again(void **state)
{
	struct fixture *f = *state;
	struct one a;

	one_init(&a, f, 1);
	a.again = true;
	for (unsigned i = 1; i <= 5; i++) {
		wake(f, 1);
		wake(f, 1);
		run(f);
		assert_int_equal(a.fired, i);
	}
	waiters_remove(&a.waiter);
}

/* A loop may end with a call still posted; nothing leaks and nothing is called. */
static void test_end_before_the_call(void **state)
{
	struct fixture *f = *state;
	struct one a;

	one_init(&a, f, 1);
	wake(f, 1);
	waiters_remove(&a.waiter);
	assert_int_equal(a.fired, 0);
}

/* --- threads ------------------------------------------------------------------------------- */

#define LOOPS 2
#define KEYS 8
#define WAITERS 200
#define WAKES 2000
#define WAKERS 3

static atomic_uint generation[KEYS];

struct watcher {
	struct waiter waiter; /* first */
	unsigned seen;
};

struct side {
	struct fixture f;
	pthread_t thread;
	struct watcher watcher[WAITERS];
};

/* As a session does: registers, then looks. */
static void register_and_look(struct watcher *w, struct waiters_loop *part, uint32_t key)
{
	waiters_add(part, &w->waiter, key);
	w->seen = atomic_load(&generation[key]);
}

static void look(struct waiter *x)
{
	register_and_look((struct watcher *)x, x->loop, x->key);
}

static void *serve(void *ctx)
{
	struct side *s = ctx;

	for (size_t i = 0; i < WAITERS; i++) {
		s->watcher[i].waiter.fire = look;
		register_and_look(&s->watcher[i], s->f.part, (uint32_t)(i % KEYS));
	}
	loop_run(s->f.loop);
	for (size_t i = 0; i < WAITERS; i++) {
		waiters_remove(&s->watcher[i].waiter);
	}
	return NULL;
}

static void *wake_all(void *ctx)
{
	struct waiters *all = ctx;

	for (unsigned i = 0; i < WAKES; i++) {
		const uint32_t key = i % KEYS;

		atomic_fetch_add(&generation[key], 1);
		waiters_wake(all, &key, 1);
	}
	return NULL;
}

/* Whatever is done before a wake is seen by everybody who waits, on whichever thread. */
static void test_threads(void **state)
{
	static struct side side[LOOPS];
	pthread_t waker[WAKERS];
	struct waiters *all;

	(void)state;
	assert_int_equal(waiters_create(&all), 0);
	for (size_t i = 0; i < LOOPS; i++) {
		side[i].f.stop.run = on_stop;
		assert_int_equal(loop_create(&side[i].f.loop), 0);
		assert_int_equal(waiters_loop_create(all, side[i].f.loop, &side[i].f.part), 0);
		assert_int_equal(pthread_create(&side[i].thread, NULL, serve, &side[i]), 0);
	}
	for (size_t i = 0; i < WAKERS; i++) {
		assert_int_equal(pthread_create(&waker[i], NULL, wake_all, all), 0);
	}
	for (size_t i = 0; i < WAKERS; i++) {
		pthread_join(waker[i], NULL);
	}
	for (size_t i = 0; i < LOOPS; i++) {
		loop_post(side[i].f.loop, &side[i].f.stop); /* behind the calls */
		pthread_join(side[i].thread, NULL);
		loop_free(side[i].f.loop);
		for (size_t k = 0; k < WAITERS; k++) {
			assert_int_equal(side[i].watcher[k].seen, WAKERS * WAKES / KEYS);
		}
	}
	waiters_free(all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_whose_key_it_is, setup, teardown),
		cmocka_unit_test_setup_teardown(test_removed_in_time, setup, teardown),
		cmocka_unit_test_setup_teardown(test_waits_again, setup, teardown),
		cmocka_unit_test_setup_teardown(test_end_before_the_call, setup, teardown),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
