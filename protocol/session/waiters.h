/*
 * Who waits for something that is told apart by a number, such as a mailbox or
 * an account: sessions on any worker that hold a command's answer until
 * something comes. Thread-safe.
 *
 * To miss nothing, a session registers first and looks into the database
 * after: what is committed later finds it registered.
 */
#ifndef IM2000_SESSION_WAITERS_H
#define IM2000_SESSION_WAITERS_H

#include "base/err.h"
#include "net/loop.h"

struct waiters;      /* one a process */
struct waiters_loop; /* one a worker: where its sessions are called */

int waiters_create(struct waiters **out); /* 0 or ERR_NOMEM */
void waiters_free(struct waiters *w);     /* NULL is fine; all loops must be gone */

/* The part of loop L, which is W's and freed with it. Before L is freed no waiter may be left
 * on it. 0 or ERR_NOMEM. */
int waiters_loop_create(struct waiters *w, struct loop *l, struct waiters_loop **out);

struct waiter {
	/* Something came for the key. On the loop's thread; the waiter is no longer registered.
	 */
	void (*fire)(struct waiter *x);
	/* The module's own. */
	struct waiters_loop *loop;
	struct waiter *next, **back;
	uint32_t key;
	enum { WAITER_OFF, WAITER_WAITING, WAITER_FIRED } state;
};

/* Registers X (caller's memory, zeroed but for `fire`) for MAILBOX. On the loop's thread. */
void waiters_add(struct waiters_loop *wl, struct waiter *x, uint32_t key);
/* No `fire` after this. On the loop's thread. Fine for a waiter that is not registered. */
void waiters_remove(struct waiter *x);

/* Something was committed for each of N keys. Any thread. */
void waiters_wake(struct waiters *w, const uint32_t *keys, size_t n);

#endif
