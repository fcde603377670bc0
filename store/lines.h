/*
 * What is to be told to one agent: jobs in hand, a line for each account, whose
 * turns come round. So an account with one job waits for one turn of each
 * other, however much they have.
 */
#ifndef IM2000_STORE_LINES_H
#define IM2000_STORE_LINES_H

#include "store/round.h"

struct line; /* of one account */

struct lines {
	struct line *turn; /* whose turn it is; NULL: nothing waits. A ring. */
};

/* Puts J behind the others of its account. 0 or ERR_NOMEM. */
int lines_add(struct lines *l, struct round_job *j);
/* Puts J before the others of its account: it was taken and must go again. 0 or ERR_NOMEM. */
int lines_return(struct lines *l, struct round_job *j);

/* The job whose turn it is; NULL: none. */
struct round_job *lines_first(const struct lines *l);
/* Whether no job but that one waits. */
bool lines_single(const struct lines *l);
/* Takes it off. The turn stays with its account while that has more. */
void lines_take(struct lines *l);
/* The turn goes to the next account. */
void lines_pass(struct lines *l);
/* How many accounts have something waiting. */
size_t lines_count(const struct lines *l);
/* The account whose turn is N turns from now (0: now). N below lines_count. */
uint32_t lines_account(const struct lines *l, size_t n);
/* Takes all off; the jobs are their owner's. */
void lines_clear(struct lines *l);

#endif
