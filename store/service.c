#include "store/service.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "session/daemon.h"
#include "session/waiters.h"
#include "store/inhand.h"
#include "store/notifier.h"
#include "store/quota.h"
#include "store/scan.h"

struct settings *settings_create(size_t n_domains)
{
	struct settings *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->domains = calloc(n_domains, sizeof(*s->domains));
	if (s->domains == NULL) {
		free(s);
		return NULL;
	}
	s->n_domains = n_domains;
	atomic_init(&s->references, 1);
	return s;
}

struct settings *settings_hold(struct settings *s)
{
	atomic_fetch_add_explicit(&s->references, 1, memory_order_relaxed);
	return s;
}

void settings_drop(struct settings *s)
{
	if (s == NULL || atomic_fetch_sub(&s->references, 1) != 1)
		return;
	local_users_free(&s->local_users);
	free(s->domains);
	free(s);
}

const char *settings_domain_for(const struct settings *s, const char *sender_domain)
{
	for (size_t i = 0; i < s->n_domains; i++)
		if (strcmp(s->domains[i], sender_domain) == 0)
			return s->domains[i];
	return s->domains[0];
}

int service_init(struct service *x, struct settings *s)
{
	int err;

	memset(x, 0, sizeof(*x));
	err = waiters_create(&x->watchers);
	if (err != 0)
		return err;
	err = quota_create(&x->quota);
	if (err == 0)
		err = inhand_create(&x->inhand);
	if (err == 0 && pthread_mutex_init(&x->settings_lock, NULL) != 0)
		err = ERR_INTERNAL;
	if (err != 0) {
		inhand_free(x->inhand);
		quota_free(x->quota);
		waiters_free(x->watchers);
		return err;
	}
	x->settings = s;
	atomic_init(&x->blobs_to_sweep, true);
	return 0;
}

void service_release(struct service *x)
{
	settings_drop(x->settings);
	x->settings = NULL;
	waiters_free(x->watchers);
	x->watchers = NULL;
	quota_free(x->quota);
	x->quota = NULL;
	inhand_free(x->inhand);
	x->inhand = NULL;
	pthread_mutex_destroy(&x->settings_lock);
}

struct settings *service_settings(struct service *x)
{
	struct settings *s;

	pthread_mutex_lock(&x->settings_lock);
	s = settings_hold(x->settings);
	pthread_mutex_unlock(&x->settings_lock);
	return s;
}

void service_settings_replace(struct service *x, struct settings *s)
{
	struct settings *old;

	pthread_mutex_lock(&x->settings_lock);
	old = x->settings;
	x->settings = s;
	pthread_mutex_unlock(&x->settings_lock);
	settings_drop(old);
}

/* --- workers ------------------------------------------------------------------------- */

int service_worker_create(struct service *x, struct loop *l, struct service_worker **out)
{
	struct service_worker *w = calloc(1, sizeof(*w));
	int err = ERR_NOMEM;

	if (w == NULL)
		return ERR_NOMEM;
	w->service = x;
	w->loop = l;
	w->list_room = malloc(SERVICE_LIST_OCTETS);
	w->frame_room = malloc(SERVICE_FRAME_OCTETS);
	w->scan = malloc(sizeof(*w->scan));
	if (w->list_room == NULL || w->frame_room == NULL || w->scan == NULL)
		goto fail;
	err = waiters_loop_create(x->watchers, l, &w->watchers);
	if (err == 0)
		err = daemon_writer_attach(l, x->writer, &w->writer, &w->attachment);
	if (err != 0)
		goto fail;
	*out = w;
	return 0;
fail:
	free(w->scan);
	free(w->frame_room);
	free(w->list_room);
	free(w);
	return err;
}

void service_worker_free(struct service_worker *w)
{
	if (w == NULL)
		return;
	daemon_writer_detach(w->attachment);
	free(w->scan);
	free(w->frame_room);
	free(w->list_room);
	free(w);
}

/* --- message numbers ------------------------------------------------------------------- */

struct service_numbers {
	struct writer_job job; /* first */
	struct service_worker *worker;
};

static int numbers_apply(struct writer_job *job, struct kv_txn *txn)
{
	struct service_numbers *n = (struct service_numbers *)job;

	return db_numbers_reserve(n->worker->service->db, txn);
}

static void numbers_done(struct writer_job *job, int result)
{
	struct service_numbers *n = (struct service_numbers *)job;
	struct service_worker *w = n->worker;
	struct service_waiter *waiter;

	if (result == 0)
		db_numbers_committed(w->service->db);
	else
		log_error("numbers", "error=\"%s\"", err_phrase(result));
	w->numbers = NULL;
	free(n);
	/* READY may wait again, which is for the next reservation, or forget others of these. */
	w->waking = w->waiting;
	w->waiting = NULL;
	while ((waiter = w->waking) != NULL) {
		w->waking = waiter->next;
		waiter->ready(waiter, result);
	}
}

/* Submits a reservation unless one is under way. 0 or ERR_NOMEM. */
static int numbers_reserve(struct service_worker *w)
{
	struct service_numbers *n;

	if (w->numbers != NULL)
		return 0;
	n = calloc(1, sizeof(*n));
	if (n == NULL)
		return ERR_NOMEM;
	n->job.apply = numbers_apply;
	n->job.done = numbers_done;
	n->worker = w;
	w->numbers = n;
	writer_submit(w->writer, &n->job);
	return 0;
}

int service_number_take(struct service_worker *w, struct service_waiter *waiter, uint64_t *out)
{
	int err = db_number_take(w->service->db, out);

	if (err == 0) {
		if (db_numbers_low(w->service->db))
			(void)numbers_reserve(w); /* the one who finds none left tries again */
		return 0;
	}
	if (err != ERR_AGAIN)
		return err;
	err = numbers_reserve(w);
	if (err != 0)
		return err;
	waiter->next = w->waiting;
	w->waiting = waiter;
	return ERR_AGAIN;
}

static void waiter_unlink(struct service_waiter **at, const struct service_waiter *waiter)
{
	while (*at != NULL && *at != waiter)
		at = &(*at)->next;
	if (*at != NULL)
		*at = waiter->next;
}

void service_number_forget(struct service_worker *w, struct service_waiter *waiter)
{
	waiter_unlink(&w->waiting, waiter);
	waiter_unlink(&w->waking, waiter);
}

int service_numbers_prepare(struct db *db)
{
	struct kv_txn *t;
	int err;

	if (!db_numbers_low(db))
		return 0;
	err = kv_write_begin(db_kv(db), &t);
	if (err != 0)
		return err;
	err = db_numbers_reserve(db, t);
	if (err != 0) {
		kv_write_abort(t);
		return err;
	}
	err = kv_write_commit(t);
	if (err == 0)
		db_numbers_committed(db);
	return err;
}

void service_kick(struct service *x)
{
	if (x->notifier != NULL)
		notifier_kick(x->notifier);
}

void service_changed(struct service *x, uint32_t account)
{
	waiters_wake(x->watchers, &account, 1);
}
