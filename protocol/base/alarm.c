/* A flag and one watcher. */
#include "base/alarm.h"

#include <stddef.h>

void alarm_init(struct alarm *a)
{
	atomic_init(&a->raised, false);
	pthread_mutex_init(&a->lock, NULL);
	a->tell = NULL;
	a->ctx = NULL;
}

void alarm_destroy(struct alarm *a)
{
	pthread_mutex_destroy(&a->lock);
}

bool alarm_raise(struct alarm *a)
{
	bool first;

	pthread_mutex_lock(&a->lock);
	first = !atomic_exchange_explicit(&a->raised, true, memory_order_acq_rel);
	if (first && a->tell != NULL)
		a->tell(a->ctx);
	pthread_mutex_unlock(&a->lock);
	return first;
}

void alarm_watch(struct alarm *a, void (*tell)(void *ctx), void *ctx)
{
	pthread_mutex_lock(&a->lock);
	a->tell = tell;
	a->ctx = ctx;
	if (tell != NULL && alarm_raised(a))
		tell(ctx);
	pthread_mutex_unlock(&a->lock);
}
