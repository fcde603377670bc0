/*
 * Who has a connection: at most so many in all and to one place, shared fairly
 * between accounts. An idle one is kept until it is wanted elsewhere or its time
 * is over.
 */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/agents_core.h"

#define IDLE_US (30 * CLOCK_SECOND_US) /* less than what agents allow (protocol.md section 6) */

/* --- lists --------------------------------------------------------------------------------- */

static void list_add(struct agent_list *l, struct agent *g)
{
	g->link.next = NULL;
	g->link.prev = l->last;
	*(l->last != NULL ? &l->last->link.next : &l->first) = g;
	l->last = g;
}

static void list_remove(struct agent_list *l, struct agent *g)
{
	*(g->link.prev != NULL ? &g->link.prev->link.next : &l->first) = g->link.next;
	*(g->link.next != NULL ? &g->link.next->link.prev : &l->last) = g->link.prev;
	g->link.prev = g->link.next = NULL;
}

static void wait_no_more(struct agent *g)
{
	if (!g->link.waiting)
		return;
	g->link.waiting = false;
	list_remove(&g->all->waiting, g);
}

static void wait_for_one(struct agent *g)
{
	if (g->link.waiting)
		return;
	g->link.waiting = true;
	list_add(&g->all->waiting, g);
}

/* Something is free: those who wait are asked when the callback at hand is done. */
static void wake_soon(struct agents *a)
{
	if (a->waiting.first != NULL)
		loop_timer_start(a->wake, 0);
}

/* --- the end of a connection --------------------------------------------------------------- */

void link_close(struct agent *g)
{
	struct link *k = &g->link;
	struct agents *a = g->all;

	wait_no_more(g);
	if (k->state == LINK_NONE)
		return;
	locate_cancel(k->lookup);
	k->lookup = NULL;
	client_free(k->client);
	k->client = NULL;
	loop_timer_stop(k->timer);
	if (k->state == LINK_IDLE)
		list_remove(&a->idle, g);
	else
		share_give(a->accounts, k->account);
	if (k->state != LINK_LOCATING)
		share_give(a->places, k->place);
	a->connections--;
	k->state = LINK_NONE;
	k->proven = false;
}

static void on_idle(void *ctx)
{
	struct agent *g = ctx;
	struct agents *a = g->all;

	link_close(g);
	agents_settle(g);
	wake_soon(a);
}

/* The connection is over. Comes after all that was under way has failed. */
static void on_closed(void *ctx, int error, const char *why)
{
	struct agent *g = ctx;
	struct agents *a = g->all;

	if (!g->link.proven && error != 0)
		agents_unreachable(g, error, why);
	link_close(g);
	agents_go_on(g);
	wake_soon(a);
}

/* --- who may ------------------------------------------------------------------------------- */

/* An account with something in line that may have one connection more. */
static bool find_account(const struct agent *g, uint32_t *account)
{
	size_t n = lines_count(&g->lines);

	for (size_t i = 0; i < n; i++) {
		*account = lines_account(&g->lines, i);
		if (share_allows(g->all->accounts, *account))
			return true;
	}
	return false;
}

/* The connection that has been idle for longest, at PLACE (0: anywhere). */
static struct agent *find_idle(struct agents *a, uint64_t place)
{
	struct agent *g = a->idle.first;

	while (g != NULL && place != 0 && g->link.place != place)
		g = g->link.next;
	return g;
}

static bool place_is_full(const struct agents *a, uint64_t place)
{
	return place != 0 && share_held(a->places, place) >= a->limits.for_each;
}

static bool is_room(struct agents *a, uint64_t place)
{
	if (place_is_full(a, place))
		return find_idle(a, place) != NULL;
	return a->connections < a->limits.connections || a->idle.first != NULL;
}

/* Ends an idle connection where that is what makes room for one to PLACE. */
static void make_room(struct agents *a, uint64_t place)
{
	struct agent *g;

	if (place_is_full(a, place))
		g = find_idle(a, place);
	else
		g = a->connections < a->limits.connections ? NULL : find_idle(a, 0);
	if (g == NULL)
		return;
	link_close(g);
	agents_settle(g);
}

/* --- the way to a connection --------------------------------------------------------------- */

/* What stands for a set of servers, however the lot is drawn: its lowest address. */
static uint64_t place_of(const struct located *list, size_t n)
{
	char text[64], lowest[64] = "";
	uint64_t h = 14695981039346656037U; /* FNV-1a */

	for (size_t i = 0; i < n; i++) {
		address_format(&list[i].address, text, sizeof(text));
		if (i == 0 || strcmp(text, lowest) < 0)
			memcpy(lowest, text, sizeof(lowest));
	}
	for (const char *p = lowest; *p != '\0'; p++)
		h = (h ^ (uint8_t)*p) * 1099511628211U;
	return h != 0 ? h : 1;
}

static int dial(struct agent *g)
{
	struct agents *a = g->all;
	struct client_options options = {
		.domain = g->domain,
		.service = LOCATE_RNASP,
		.dial = {
			.locator = a->locator,
			.tls = a->tls,
			.identity = g->identity,
			.allow_private = a->allow_private,
		},
		.closed = on_closed,
		.ctx = g,
	};

	return client_create(a->worker->loop, &options, &g->link.client);
}

/* LOCATING is over without a connection. */
static void back_out(struct agent *g)
{
	struct agents *a = g->all;

	link_close(g);
	agents_go_on(g);
	wake_soon(a);
}

static void on_located(void *ctx, int error, const struct located *list, size_t n,
                       const char *why)
{
	struct agent *g = ctx;
	struct agents *a = g->all;

	g->link.lookup = NULL;
	if (error != 0) {
		agents_unreachable(g, error, why);
		back_out(g);
		return;
	}
	g->link.place = place_of(list, n);
	if (place_is_full(a, g->link.place)) {
		if (find_idle(a, g->link.place) == NULL) {
			back_out(g); /* to wait, knowing for what */
			return;
		}
		make_room(a, g->link.place);
	}
	if (dial(g) != 0) {
		agents_unreachable(g, ERR_NOMEM, err_phrase(ERR_NOMEM));
		back_out(g);
		return;
	}
	g->link.state = LINK_BUSY;
	share_take(a->places, g->link.place);
	agents_go_on(g);
}

static void charge(struct agent *g, enum link_state state, uint32_t account)
{
	g->link.state = state;
	g->link.account = account;
	share_take(g->all->accounts, account);
}

bool link_ready(struct agent *g)
{
	struct link *k = &g->link;
	struct agents *a = g->all;
	uint32_t account;

	switch (k->state) {
	case LINK_BUSY:
		return true;
	case LINK_IDLE:
		list_remove(&a->idle, g);
		loop_timer_stop(k->timer);
		charge(g, LINK_BUSY, lines_account(&g->lines, 0));
		return true;
	case LINK_LOCATING:
		return false;
	default:
		break;
	}
	if (!find_account(g, &account) || !is_room(a, k->place)) {
		wait_for_one(g);
		return false;
	}
	wait_no_more(g);
	make_room(a, k->place);
	k->lookup = locate_start(a->locator, g->domain, LOCATE_RNASP, on_located, g);
	if (k->lookup == NULL) {
		wait_for_one(g);
		return false;
	}
	charge(g, LINK_LOCATING, account);
	a->connections++;
	return false;
}

void link_rest(struct agent *g)
{
	struct link *k = &g->link;

	wait_no_more(g);
	if (k->state != LINK_BUSY)
		return;
	share_give(g->all->accounts, k->account);
	k->state = LINK_IDLE;
	list_add(&g->all->idle, g);
	loop_timer_start(k->timer, IDLE_US);
	wake_soon(g->all);
}

int link_create(struct agent *g)
{
	return loop_timer_create(g->all->worker->loop, on_idle, g, &g->link.timer);
}

void link_wake(struct agents *a)
{
	struct agent *g = a->waiting.first, *next;
	uint32_t account;

	for (; g != NULL && !a->stopping; g = next) {
		next = g->link.next;
		if (find_account(g, &account) && is_room(a, g->link.place))
			agents_go_on(g); /* takes no other off the list */
	}
}
