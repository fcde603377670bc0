#include "store/lines.h"

#include <stdlib.h>

struct line {
	uint32_t account;
	struct round_job *first, *last; /* never empty */
	struct line *prev, *next;       /* the ring */
};

/*
 * The account's line; a new one comes last, before the one whose turn it is.
 * Accounts with work at one agent at a time are few.
 */
static struct line *find(struct lines *l, uint32_t account)
{
	struct line *at = l->turn;

	if (at != NULL) {
		do {
			if (at->account == account)
				return at;
			at = at->next;
		} while (at != l->turn);
	}
	at = calloc(1, sizeof(*at));
	if (at == NULL)
		return NULL;
	at->account = account;
	at->prev = at->next = at;
	if (l->turn == NULL) {
		l->turn = at;
	} else {
		at->next = l->turn;
		at->prev = l->turn->prev;
		at->prev->next = at;
		at->next->prev = at;
	}
	return at;
}

int lines_add(struct lines *l, struct round_job *j)
{
	struct line *at = find(l, j->job.account);

	if (at == NULL)
		return ERR_NOMEM;
	j->queue_next = NULL;
	if (at->last != NULL)
		at->last->queue_next = j;
	else
		at->first = j;
	at->last = j;
	return 0;
}

int lines_return(struct lines *l, struct round_job *j)
{
	struct line *at = find(l, j->job.account);

	if (at == NULL)
		return ERR_NOMEM;
	j->queue_next = at->first;
	at->first = j;
	if (at->last == NULL)
		at->last = j;
	return 0;
}

struct round_job *lines_first(const struct lines *l)
{
	return l->turn != NULL ? l->turn->first : NULL;
}

bool lines_single(const struct lines *l)
{
	return l->turn != NULL && l->turn->next == l->turn && l->turn->first == l->turn->last;
}

void lines_take(struct lines *l)
{
	struct line *at = l->turn;

	at->first = at->first->queue_next;
	if (at->first != NULL)
		return;
	l->turn = at->next == at ? NULL : at->next;
	at->prev->next = at->next;
	at->next->prev = at->prev;
	free(at);
}

void lines_pass(struct lines *l)
{
	if (l->turn != NULL)
		l->turn = l->turn->next;
}

size_t lines_count(const struct lines *l)
{
	const struct line *at = l->turn;
	size_t n = 0;

	if (at == NULL)
		return 0;
	do {
		n++;
		at = at->next;
	} while (at != l->turn);
	return n;
}

uint32_t lines_account(const struct lines *l, size_t n)
{
	const struct line *at = l->turn;

	while (n-- > 0)
		at = at->next;
	return at->account;
}

void lines_clear(struct lines *l)
{
	while (l->turn != NULL)
		lines_take(l);
}
