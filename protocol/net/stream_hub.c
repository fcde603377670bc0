/*
 * What the streams of one loop share: the list of those whose handler is due an
 * event that no poll brings, the list of those with output, and the two hooks
 * that work them off at the end of a turn.
 */
#include <stdlib.h>

#include "net/stream_core.h"

#define RANK_EVENTS (-10) /* before the writer's: handlers may hand it jobs */
#define RANK_SEND 10      /* after all that produces output */

struct stream_hub {
	struct loop *loop;
	struct loop_hook events, send;
	struct stream_link soon, dirty; /* rings */
};

/* --- rings ------------------------------------------------------------------------------- */

static void ring_init(struct stream_link *ring)
{
	ring->prev = ring->next = ring;
}

static void ring_add(struct stream_link *ring, struct stream_link *link)
{
	if (link->next != NULL)
		return;
	link->prev = ring->prev;
	link->next = ring;
	ring->prev->next = link;
	ring->prev = link;
}

static void ring_remove(struct stream_link *link)
{
	if (link->next == NULL)
		return;
	link->prev->next = link->next;
	link->next->prev = link->prev;
	link->prev = link->next = NULL;
}

/* All of FROM into the empty ring TO: what is added to FROM from now on waits for the next turn. */
static void ring_move(struct stream_link *from, struct stream_link *to)
{
	ring_init(to);
	if (from->next == from)
		return;
	*to = *from;
	to->next->prev = to;
	to->prev->next = to;
	ring_init(from);
}

#define STREAM_OF(link, member) \
	((struct stream *)(void *)((char *)(link) - offsetof(struct stream, member)))

/* --- hooks ------------------------------------------------------------------------------- */

void stream_hub_soon(struct stream *s, unsigned events)
{
	s->due |= events;
	ring_add(&s->hub->soon, &s->soon);
	loop_again(s->loop);
}

void stream_hub_dirty(struct stream *s)
{
	ring_add(&s->hub->dirty, &s->dirty);
}

void stream_hub_forget(struct stream *s)
{
	ring_remove(&s->soon);
	ring_remove(&s->dirty);
}

static void run_events(struct loop_hook *hook)
{
	struct stream_hub *hub = (void *)((char *)hook - offsetof(struct stream_hub, events));
	struct stream_link ring;

	ring_move(&hub->soon, &ring);
	while (ring.next != &ring) {
		struct stream *s = STREAM_OF(ring.next, soon);

		ring_remove(&s->soon);
		stream_core_events(s);
	}
}

static void run_send(struct loop_hook *hook)
{
	struct stream_hub *hub = (void *)((char *)hook - offsetof(struct stream_hub, send));
	struct stream_link ring;

	ring_move(&hub->dirty, &ring);
	while (ring.next != &ring) {
		struct stream *s = STREAM_OF(ring.next, dirty);

		ring_remove(&s->dirty);
		stream_core_turn_end(s);
	}
}

/* --- making ------------------------------------------------------------------------------ */

static void hub_free(void *hub)
{
	free(hub);
}

struct stream_hub *stream_hub_of(struct loop *l)
{
	struct stream_hub *hub = loop_hub(l);

	if (hub != NULL)
		return hub;
	hub = calloc(1, sizeof *hub);
	if (hub == NULL)
		return NULL;
	hub->loop = l;
	ring_init(&hub->soon);
	ring_init(&hub->dirty);
	hub->events = (struct loop_hook){ .run = run_events, .rank = RANK_EVENTS };
	hub->send = (struct loop_hook){ .run = run_send, .rank = RANK_SEND };
	loop_hook_add(l, &hub->events);
	loop_hook_add(l, &hub->send);
	loop_set_hub(l, hub, hub_free);
	return hub;
}
