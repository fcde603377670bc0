#include "store/notifier.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/agents.h"
#include "store/round.h"
#include "store/sweep.h"

#define JOBS_IN_HAND 4096       /* of the database's table */
#define TURN_US CLOCK_SECOND_US /* at most between looks at the clock, which may jump */
#define JOBS_EASY 256           /* of those; with more, looks are REST_US apart */
#define REST_US 10000ULL
#define REST_TIMES 4            /* and at least so many times as long as the last one took */

struct notifier {
	struct loop *loop;
	pthread_t thread;
	struct service_worker *worker;
	struct locator *locator;
	struct round *round;
	struct agents *agents;
	struct sweep *sweep;
	struct loop_timer *timer;
	struct loop_task kick;
	atomic_bool kicked;
	bool stopping;
	uint64_t rest_us;           /* no look at the table before (monotonic) */
	pthread_mutex_t lock;       /* of the next two */
	struct tls_config *new_tls; /* to be taken over at the next turn */
	bool new_allow_private;
};

static void take_new_options(struct notifier *n)
{
	pthread_mutex_lock(&n->lock);
	if (n->new_tls != NULL)
		agents_configure(n->agents, n->new_tls, n->new_allow_private);
	tls_config_drop(n->new_tls);
	n->new_tls = NULL;
	pthread_mutex_unlock(&n->lock);
}

static void found(void *ctx, struct round_job *j)
{
	struct notifier *n = ctx;

	agents_take(n->agents, j);
}

/* What is due is begun; what is not sets the time of the next turn. */
static void turn(struct notifier *n)
{
	uint64_t now = clock_now_us(), start = clock_mono_us(), next = 0, wait = TURN_US, rest;
	int err;

	if (n->stopping)
		return;
	take_new_options(n);
	err = agents_troubled(n->agents) ? 0 : round_collect(n->round, now, found, n, &next);
	if (err < 0)
		log_error("notify", "error=\"look for work: %s\"", err_phrase(err));
	rest = REST_TIMES * (clock_mono_us() - start);
	agents_work(n->agents);
	sweep_turn(n->sweep);
	if (next > now && next - now < wait)
		wait = next - now;
	/* Each look passes over all that is in hand: not with every kick, when that is much, or when
	 * more is due than may be in hand. */
	if (round_count(n->round) > JOBS_EASY || (next != 0 && next <= now)) {
		wait = rest > REST_US ? rest : REST_US;
		n->rest_us = clock_mono_us() + wait;
	}
	loop_timer_start(n->timer, wait);
}

static void on_timer(void *ctx)
{
	turn(ctx);
}

static void on_kick(struct loop_task *task)
{
	struct notifier *n = (struct notifier *)((char *)task - offsetof(struct notifier, kick));

	atomic_store(&n->kicked, false);
	if (clock_mono_us() >= n->rest_us)
		turn(n); /* else the timer will soon */
}

void notifier_kick(struct notifier *n)
{
	if (!atomic_exchange(&n->kicked, true))
		loop_post(n->loop, &n->kick);
}

void notifier_configure(struct notifier *n, struct tls_config *tls, bool allow_private)
{
	pthread_mutex_lock(&n->lock);
	tls_config_drop(n->new_tls);
	n->new_tls = tls;
	n->new_allow_private = allow_private;
	pthread_mutex_unlock(&n->lock);
	notifier_kick(n);
}

/* --- the thread ---------------------------------------------------------------------------- */

/* Frees what there is. On the loop's thread, or before there is one. */
static void release(struct notifier *n)
{
	n->stopping = true;
	if (n->agents != NULL)
		agents_stop(n->agents);
	if (n->sweep != NULL)
		sweep_stop(n->sweep);
	service_worker_free(n->worker); /* its jobs are done now */
	agents_free(n->agents);
	sweep_free(n->sweep);
	round_free(n->round);
	loop_timer_free(n->timer);
	locator_free(n->locator);
	loop_free(n->loop);
	tls_config_drop(n->new_tls);
	pthread_mutex_destroy(&n->lock);
}

static void *thread_main(void *arg)
{
	struct notifier *n = arg;

	loop_run(n->loop);
	release(n);
	return NULL;
}

static int create_parts(struct notifier *n, const struct notifier_options *o, struct err_text *e)
{
	int err = loop_create(&n->loop);

	if (err == 0)
		err = service_worker_create(o->service, n->loop, &n->worker);
	if (err == 0)
		err = round_create(o->service->db, JOBS_IN_HAND, &n->round);
	if (err == 0)
		err = sweep_create(n->worker, &n->sweep);
	if (err == 0)
		err = loop_timer_create(n->loop, on_timer, n, &n->timer);
	if (err != 0)
		return err_set(e, err, "start the notifier: %s", err_phrase(err));
	err = locator_create(n->loop, &o->locate, &n->locator, e);
	if (err == 0)
		err = tls_config_create(&o->tls, &n->new_tls, e);
	if (err == 0)
		err = agents_create(n->worker, n->round, n->locator, &o->limits, &n->agents);
	return err;
}

int notifier_start(const struct notifier_options *options, struct notifier **out,
                   struct err_text *e)
{
	struct notifier *n = calloc(1, sizeof(*n));
	int err;

	if (n == NULL || pthread_mutex_init(&n->lock, NULL) != 0) {
		free(n);
		return err_set(e, ERR_NOMEM, "start the notifier: out of memory");
	}
	n->kick.run = on_kick;
	n->new_allow_private = options->allow_private;
	err = create_parts(n, options, e);
	if (err != 0)
		goto fail;
	loop_timer_start(n->timer, 0);
	/* What was made on the loop so far is the thread's from here on. */
	if (pthread_create(&n->thread, NULL, thread_main, n) != 0) {
		err = err_set(e, ERR_NOMEM, "start the notifier's thread");
		goto fail;
	}
	*out = n;
	return 0;
fail:
	release(n);
	free(n);
	return err;
}

void notifier_stop(struct notifier *n)
{
	if (n == NULL)
		return;
	loop_stop(n->loop);
	pthread_join(n->thread, NULL);
	free(n);
}
