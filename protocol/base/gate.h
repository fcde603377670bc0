/*
 * A gate: any number of threads are inside at once; one thread may shut it and
 * wait until all are out, do what must be done alone, and open it again.
 */
#ifndef IM2000_BASE_GATE_H
#define IM2000_BASE_GATE_H

#include <pthread.h>
#include <stdbool.h>

struct gate {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned inside;
	bool shut;
};

void gate_init(struct gate *g);
void gate_destroy(struct gate *g); /* nobody may be inside */

/* Waits while the gate is shut. A thread may be inside more than once. */
void gate_enter(struct gate *g);
void gate_leave(struct gate *g);

/*
 * Shuts the gate, after whoever else has shut it, and waits until nobody is inside (the
 * caller is not, either). False when that took longer than WAIT_S seconds: the gate is open.
 */
bool gate_shut(struct gate *g, unsigned wait_s);
void gate_open(struct gate *g);

#endif
