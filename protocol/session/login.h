/*
 * Logins, the same for both daemons: scrypt on a small pool with a bounded
 * queue, a memory of right answers (keyed hash, 10 minutes), limits of failures
 * for an account and for an address (5 a minute), and the same answer in the
 * same time for an unknown account and a wrong password.
 *
 * Who shows a right token or a password that is remembered is let in whatever
 * the limits say: others' guesses lock nobody out, and a guesser gains nothing.
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
/* OPTIONS may be NULL: all defaults. 0, ERR_NOMEM, ERR_IO (no thread). */
int login_create(const struct login_options *options, struct login **out);
/* Waits for the check in hand; no loop may still wait for an answer. NULL is fine. */
void login_free(struct login *g);

enum login_answer { LOGIN_RIGHT, LOGIN_WRONG, LOGIN_LATER /* over a limit */ };

struct login_check;
/*
 * Checks SECRET for ACCOUNT, whose kept hash is HASH (NULL: no such account).
 * A secret in the form of a token is only held against the hash of a token, any
 * other only against a password's. PEER counts as its IPv4 address or IPv6 /64
 * network; a UNIX socket's has no limit.
 * DONE comes once on loop L, never from inside this call. NULL when memory is out. All
 * arguments are copied; secrets are wiped after use.
 */
struct login_check *login_start(struct login *g, struct loop *l, struct span account,
                                struct span secret, const struct password_hash *hash,
                                const struct address *peer,
                                void (*done)(void *ctx, enum login_answer answer), void *ctx);
/* What checks came to so far. */
struct login_counts {
	uint64_t right, wrong;
	uint64_t later; /* over a limit, the queue's included */
	uint64_t busy;  /* of those, because the queue was full */
	uint64_t waiting; /* checks in the queue now */
};
/* Any thread. */
void login_counts(struct login *g, struct login_counts *out);

/* No DONE after this. To be called on the loop's thread. NULL is fine. */
void login_cancel(struct login_check *k);

#endif
