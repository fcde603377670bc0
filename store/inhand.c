#include "store/inhand.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

#define PLACES 256

struct inhand {
	pthread_mutex_t lock;
	struct inhand_entry *places[PLACES]; /* by the id's first octet */
};

int inhand_create(struct inhand **out)
{
	struct inhand *h = calloc(1, sizeof(*h));

	if (h == NULL)
		return ERR_NOMEM;
	if (pthread_mutex_init(&h->lock, NULL) != 0) {
		free(h);
		return ERR_INTERNAL;
	}
	*out = h;
	return 0;
}

void inhand_free(struct inhand *h)
{
	if (h == NULL)
		return;
	pthread_mutex_destroy(&h->lock);
	free(h);
}

void inhand_add(struct inhand *h, struct inhand_entry *e)
{
	struct inhand_entry **place = &h->places[e->submission_id[0]];

	pthread_mutex_lock(&h->lock);
	e->next = *place;
	*place = e;
	pthread_mutex_unlock(&h->lock);
}

void inhand_remove(struct inhand *h, struct inhand_entry *e)
{
	struct inhand_entry **at = &h->places[e->submission_id[0]];

	pthread_mutex_lock(&h->lock);
	while (*at != e)
		at = &(*at)->next;
	*at = e->next;
	pthread_mutex_unlock(&h->lock);
}

/* The first with that id that is not BUT. */
static bool find(struct inhand *h, uint32_t account, const uint8_t submission_id[16],
                 const struct inhand_entry *but)
{
	const struct inhand_entry *e;

	pthread_mutex_lock(&h->lock);
	e = h->places[submission_id[0]];
	while (e != NULL &&
	       (e == but || e->account != account ||
	        memcmp(e->submission_id, submission_id, sizeof(e->submission_id)) != 0))
		e = e->next;
	pthread_mutex_unlock(&h->lock);
	return e != NULL;
}

bool inhand_has(struct inhand *h, uint32_t account, const uint8_t submission_id[16])
{
	return find(h, account, submission_id, NULL);
}

bool inhand_alone(struct inhand *h, const struct inhand_entry *e)
{
	return !find(h, e->account, e->submission_id, e);
}
