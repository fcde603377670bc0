/* A count, a flag and a condition. */
#include "base/gate.h"

#include <errno.h>
#include <time.h>

void gate_init(struct gate *g)
{
	*g = (struct gate){ .inside = 0 };
	pthread_mutex_init(&g->lock, NULL);
	pthread_cond_init(&g->changed, NULL);
}

void gate_destroy(struct gate *g)
{
	pthread_cond_destroy(&g->changed);
	pthread_mutex_destroy(&g->lock);
}

void gate_enter(struct gate *g)
{
	pthread_mutex_lock(&g->lock);
	while (g->shut)
		pthread_cond_wait(&g->changed, &g->lock);
	g->inside++;
	pthread_mutex_unlock(&g->lock);
}

void gate_leave(struct gate *g)
{
	pthread_mutex_lock(&g->lock);
	g->inside--;
	if (g->shut && g->inside == 0)
		pthread_cond_broadcast(&g->changed);
	pthread_mutex_unlock(&g->lock);
}

bool gate_shut(struct gate *g, unsigned wait_s)
{
	struct timespec deadline; /* the system's clock even in tests: threads wait by it */
	bool alone;
	int rc = 0;

	clock_gettime(CLOCK_MONOTONIC, &deadline);
	deadline.tv_sec += wait_s;
	pthread_mutex_lock(&g->lock);
	while (g->shut)
		pthread_cond_wait(&g->changed, &g->lock);
	g->shut = true;
	while (g->inside > 0 && rc != ETIMEDOUT)
		rc = pthread_cond_clockwait(&g->changed, &g->lock, CLOCK_MONOTONIC, &deadline);
	alone = g->inside == 0;
	if (!alone) {
		g->shut = false;
		pthread_cond_broadcast(&g->changed);
	}
	pthread_mutex_unlock(&g->lock);
	return alone;
}

void gate_open(struct gate *g)
{
	pthread_mutex_lock(&g->lock);
	g->shut = false;
	pthread_cond_broadcast(&g->changed);
	pthread_mutex_unlock(&g->lock);
}
