/*
 * Waits on several accounts at once, for as long as it takes: keeps a connection for each, and
 * connects again where one is lost, after a second, then after twice as long each time, up to five
 * minutes. What is asked over them is the caller's.
 */
#ifndef IM2000_AGENT_ATTEND_H
#define IM2000_AGENT_ATTEND_H

#include "mua-agent/app.h"

#define ATTEND_WAIT_S 540 /* of one request that waits; less than most NATs forget in */

struct attend {
	struct app *app;
	/* Connects for account A and asks. 0 with *HANDLE, or an error with E filled. */
	int (*open)(void *ctx, const struct config_account *a, void **handle, struct err_text *e);
	void (*close)(void *handle); /* NULL is fine */
	/* Whether an answer is there. */
	bool (*ready)(const void *handle);
	/* Takes it and asks on. 1: there is more at once; 0; an error with E filled: connect
	 * again, where that can help. */
	int (*take)(void *ctx, void *handle, struct err_text *e);
	/* Whether it is over; MORE: there is more at once for some account. */
	bool (*over)(void *ctx, bool more);
	void *ctx;
};

/* Goes on until OVER says so, or what cannot pass goes wrong, which is said. The exit code.
 * ACCOUNTS[N] must stay. */
int attend_run(const struct attend *a, const struct config_account *const *accounts, size_t n);

#endif
