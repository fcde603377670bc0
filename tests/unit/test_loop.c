/* The loop: tasks from other threads, hooks in order, timers. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "net/loop.h"

static struct loop *l;

static int setup(void **state)
{
	(void)state;
	return loop_create(&l);
}

static int teardown(void **state)
{
	(void)state;
	loop_free(l);
	l = NULL;
	return 0;
}

/* --- tasks ------------------------------------------------------------------------------- */

#define POSTERS 4
#define POSTS 2000

struct numbered {
	struct loop_task task; /* first: cast back in run */
	int poster, number;
};

static struct numbered posted[POSTERS][POSTS];
static int last_seen[POSTERS];
static int seen;
static pthread_t loop_thread;

static void run_numbered(struct loop_task *task)
{
	struct numbered *x = (struct numbered *)task;

	assert_true(pthread_equal(pthread_self(), loop_thread));
	/* Of one thread's tasks none is lost, doubled or overtaken. */
	assert_int_equal(x->number, last_seen[x->poster] + 1);
	last_seen[x->poster] = x->number;
	if (++seen == POSTERS * POSTS)
		loop_stop(l);
}

static void *post_all(void *arg)
{
	struct numbered *own = arg;

	for (int i = 0; i < POSTS; i++)
		loop_post(l, &own[i].task);
	return NULL;
}

static void test_post_from_threads(void **state)
{
	pthread_t threads[POSTERS];

	(void)state;
	seen = 0;
	loop_thread = pthread_self();
	for (int p = 0; p < POSTERS; p++) {
		last_seen[p] = -1;
		for (int i = 0; i < POSTS; i++)
			posted[p][i] = (struct numbered){ { run_numbered, NULL }, p, i };
		assert_int_equal(pthread_create(&threads[p], NULL, post_all, posted[p]), 0);
	}
	loop_run(l);
	for (int p = 0; p < POSTERS; p++)
		pthread_join(threads[p], NULL);
	assert_int_equal(seen, POSTERS * POSTS);
}

static int reposts;

static void run_repost(struct loop_task *task)
{
	if (++reposts < 3)
		loop_post(l, task);
	else
		loop_stop(l);
}

static void test_task_may_post_itself(void **state)
{
	struct loop_task task = { .run = run_repost };

	(void)state;
	reposts = 0;
	loop_post(l, &task);
	loop_run(l);
	assert_int_equal(reposts, 3);
}

static void test_stop_before_run(void **state)
{
	(void)state;
	/* Both return: a stop is not lost, and is used up by one run. */
	loop_stop(l);
	loop_run(l);
	loop_stop(l);
	loop_run(l);
}

/* --- hooks ------------------------------------------------------------------------------- */

static char trace[64];

static void note(char c)
{
	size_t n = strlen(trace);

	assert_true(n + 1 < sizeof trace);
	trace[n] = c;
	trace[n + 1] = '\0';
}

struct named_hook {
	struct loop_hook hook; /* first: cast back in run */
	char name;
	struct named_hook *removes;
	int again;
};

static void run_named(struct loop_hook *hook)
{
	struct named_hook *x = (struct named_hook *)hook;

	note(x->name);
	if (x->removes != NULL)
		loop_hook_remove(l, &x->removes->hook);
	if (x->again > 0) {
		x->again--;
		loop_again(l);
	}
}

static void run_note_stop(struct loop_task *task)
{
	(void)task;
	note('t');
	loop_stop(l);
}

static void run_note(struct loop_task *task)
{
	(void)task;
	note('t');
}

/* The first turn is spent on starting: its hooks run before anything is ready. */
static const char *after_first_task(void)
{
	const char *at = strchr(trace, 't');

	assert_non_null(at);
	return at;
}

static void test_hooks_run_by_rank_after_the_work(void **state)
{
	struct named_hook send = { { run_named, 10, NULL }, 's', NULL, 0 };
	struct named_hook write = { { run_named, 0, NULL }, 'w', NULL, 0 };
	struct named_hook event = { { run_named, -10, NULL }, 'e', NULL, 0 };
	struct named_hook second = { { run_named, 0, NULL }, 'x', NULL, 0 };
	struct loop_task a = { .run = run_note }, b = { .run = run_note_stop };

	(void)state;
	trace[0] = '\0';
	loop_hook_add(l, &send.hook);
	loop_hook_add(l, &write.hook);
	loop_hook_add(l, &event.hook);
	loop_hook_add(l, &second.hook);
	loop_post(l, &a);
	loop_post(l, &b);
	loop_run(l);
	/* Also after the turn that was stopped in. */
	assert_string_equal(after_first_task(), "ttewxs");
	loop_hook_remove(l, &send.hook);
	loop_hook_remove(l, &write.hook);
	loop_hook_remove(l, &event.hook);
	loop_hook_remove(l, &second.hook);
	trace[0] = '\0';
	loop_stop(l);
	loop_run(l);
	assert_string_equal(trace, "");
}

static void test_hook_may_remove_any(void **state)
{
	struct named_hook c = { { run_named, 3, NULL }, 'c', NULL, 0 };
	struct named_hook b = { { run_named, 2, NULL }, 'b', NULL, 0 };
	struct named_hook a = { { run_named, 1, NULL }, 'a', &b, 0 };
	struct loop_task stop = { .run = run_note_stop };

	(void)state;
	trace[0] = '\0';
	c.removes = &c;
	loop_hook_add(l, &a.hook);
	loop_hook_add(l, &b.hook);
	loop_hook_add(l, &c.hook);
	loop_post(l, &stop);
	loop_run(l);
	/* Before the first poll: a removes b, c itself; at the end only a is left. */
	assert_string_equal(trace, "acta");
	loop_hook_remove(l, &a.hook);
}

static void fire_stop(void *ctx)
{
	(void)ctx;
	note('f');
	loop_stop(l);
}

static void test_again_takes_a_turn_without_sleeping(void **state)
{
	struct named_hook h = { { run_named, 0, NULL }, 'h', NULL, 3 };
	struct loop_timer *t;

	(void)state;
	trace[0] = '\0';
	loop_hook_add(l, &h.hook);
	assert_int_equal(loop_timer_create(l, fire_stop, NULL, &t), 0);
	/* Nothing else is ready for 50 ms: only loop_again brings the four turns before. */
	loop_timer_start(t, 50000);
	loop_run(l);
	assert_true(strlen(trace) >= 6);
	assert_memory_equal(trace, "hhhhf", 5);
	loop_hook_remove(l, &h.hook);
	loop_timer_free(t);
}

/* --- timers ------------------------------------------------------------------------------ */

struct shot {
	struct loop_timer *t;
	char name;
	bool restart, release;
};

static void fire_shot(void *ctx)
{
	struct shot *x = ctx;

	note(x->name);
	if (x->restart) {
		x->restart = false;
		loop_timer_start(x->t, 1000);
	} else if (x->release) {
		loop_timer_free(x->t);
		x->t = NULL;
	}
}

static void test_timers_fire_once_in_order(void **state)
{
	struct shot a = { NULL, 'a', false, false }, b = { NULL, 'b', true, true };
	struct shot stopped = { NULL, 'x', false, false }, freed = { NULL, 'y', false, false };
	struct loop_timer *end;

	(void)state;
	trace[0] = '\0';
	loop_timer_create(l, fire_shot, &a, &a.t);
	loop_timer_create(l, fire_shot, &b, &b.t);
	loop_timer_create(l, fire_shot, &stopped, &stopped.t);
	loop_timer_create(l, fire_shot, &freed, &freed.t);
	loop_timer_create(l, fire_stop, NULL, &end);
	loop_timer_start(end, 60000);
	loop_timer_start(a.t, 20000);
	loop_timer_start(b.t, 1); /* rounded up, not down to at once */
	loop_timer_start(stopped.t, 5000);
	loop_timer_start(freed.t, 5000);
	loop_timer_stop(stopped.t);
	loop_timer_free(freed.t);
	loop_run(l);
	assert_string_equal(trace, "bbaf");
	loop_timer_free(a.t);
	loop_timer_free(stopped.t);
	loop_timer_free(end);
	loop_timer_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_post_from_threads, setup, teardown),
		cmocka_unit_test_setup_teardown(test_task_may_post_itself, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stop_before_run, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hooks_run_by_rank_after_the_work, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hook_may_remove_any, setup, teardown),
		cmocka_unit_test_setup_teardown(test_again_takes_a_turn_without_sleeping, setup,
		                                teardown),
		cmocka_unit_test_setup_teardown(test_timers_fire_once_in_order, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
