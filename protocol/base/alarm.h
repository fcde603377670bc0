/* An alarm: raised once, by whichever thread finds out; who watches it is told. */
#ifndef IM2000_BASE_ALARM_H
#define IM2000_BASE_ALARM_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct alarm {
	atomic_bool raised;
	pthread_mutex_t lock; /* for what follows, and while TELL runs */
	void (*tell)(void *ctx);
	void *ctx;
};

void alarm_init(struct alarm *a);
void alarm_destroy(struct alarm *a);

/* Any thread. False when it was raised before. */
bool alarm_raise(struct alarm *a);
static inline bool alarm_raised(struct alarm *a)
{
	return atomic_load_explicit(&a->raised, memory_order_acquire);
}

/*
 * TELL is called once, on the thread that raises the alarm; in here, when it was raised before.
 * It must call nothing of the alarm's. NULL ends the watch: no call follows.
 */
void alarm_watch(struct alarm *a, void (*tell)(void *ctx), void *ctx);

#endif
