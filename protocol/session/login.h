/*
 * Logins, the same for both daemons: scrypt on a small pool with a bounded
 * queue, a memory of right answers (keyed hash, 10 minutes), limits of failures
 * for an account and for an address (5 a minute), and the same answer in the
 * same time for an unknown account and a wrong password.
 */
#ifndef IM2000_SESSION_LOGIN_H
#define IM2000_SESSION_LOGIN_H

#include "base/password.h"
#include "net/address.h"
#include "net/loop.h"

struct login; /* one a process; thread-safe */

struct login_options {
	unsigned threads;          /* 0: 1 */
	unsigned queue;            /* checks that may wait; 0: 64 */
	unsigned failures_minute;  /* for an account or an address; 0: 5 */
	uint64_t remember_us;      /* 0: 10 minutes */
};
int login_create(const struct login_options *options, struct login **out);
/* Waits for the check in hand; no loop may still wait for an answer. */
void login_free(struct login *g);

enum login_answer { LOGIN_RIGHT, LOGIN_WRONG, LOGIN_LATER /* over a limit */ };

struct login_check;
/*
 * Checks SECRET for ACCOUNT, whose kept hash is HASH (NULL: no such account).
 * DONE comes once on loop L, never from inside this call. NULL when memory is out. All
 * arguments are copied; secrets are wiped after use.
 */
struct login_check *login_start(struct login *g, struct loop *l, struct span account,
                                struct span secret, const struct password_hash *hash,
                                const struct address *peer,
                                void (*done)(void *ctx, enum login_answer answer), void *ctx);
void login_cancel(struct login_check *k); /* no DONE after this; NULL is fine */

#endif
