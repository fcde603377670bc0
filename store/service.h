/*
 * What the sessions, the notifier and the sweep of one store process share, and
 * what each of their threads has for itself.
 */
#ifndef IM2000_STORE_SERVICE_H
#define IM2000_STORE_SERVICE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/metrics.h"
#include "base/name.h"
#include "base/writer.h"
#include "net/loop.h"
#include "session/local_user.h"
#include "session/login.h"
#include "store/db.h"
#include "store/ids.h"
#include "store/mailroom.h"

struct inhand;
struct notifier;
struct quota;
struct scan;
struct waiters;
struct waiters_loop;

/*
 * The part of the configuration that a session goes by. Counted, and never
 * changed once it is in force: a session keeps what it began with, whatever is
 * reloaded meanwhile.
 */
struct settings {
	atomic_uint references;
	uint64_t max_message;    /* octets */
	uint32_t max_recipients; /* recipients and lists of one envelope */
	uint64_t default_lifetime_s, min_lifetime_s, max_lifetime_s;
	uint64_t resume_s;      /* for how long octets of a submission that was cut off stay */
	uint64_t keep_status_s; /* for how long `track` knows a message after its lifetime */
	size_t n_domains;       /* at least 1 */
	char (*domains)[NAME_DOMAIN_MAX + 1];
	struct local_users local_users; /* owned */
};

/* What the store did so far, for its metrics. */
struct service_counts {
	atomic_ullong submissions, submitted_octets;
	atomic_ullong notified[MAILROOM_OUTCOMES]; /* tries to notify a delivery, by what came of it */
	atomic_ullong told[MAILROOM_OUTCOMES];     /* tries to tell of a withdrawal */
};

/* Makes settings with one reference, all zero but for room for N domains. NULL when memory is out.
 */
struct settings *settings_create(size_t n_domains);
struct settings *settings_hold(struct settings *s);
void settings_drop(struct settings *s); /* NULL is fine */
/* The store's domain that speaks for mail of SENDER_DOMAIN: the same one, else the first. */
const char *settings_domain_for(const struct settings *s, const char *sender_domain);

/* One a process. The members are borrowed, but for settings, watchers, quota and inhand, and
 * outlive every thread. */
struct service {
	struct db *db;
	struct ids *ids;
	struct writer *writer;
	struct login *login;
	struct notifier *notifier;  /* NULL: nobody notifies (tests) */
	struct waiters *watchers;   /* by account: who waits for its changes. The service's own */
	struct quota *quota;        /* what submissions under way were promised. The service's own */
	struct inhand *inhand;      /* submissions with a submissionId. The service's own */
	atomic_bool blobs_to_sweep; /* octets were given up: the sweep shall look */
	pthread_mutex_t settings_lock;
	struct settings *settings;
	struct service_counts counts;
};

/* Adds N to one of them. */
static inline void service_count(atomic_ullong *count, unsigned long long n)
{
	atomic_fetch_add_explicit(count, n, memory_order_relaxed);
}

/* Takes over S when it answers 0; else ERR_NOMEM, ERR_INTERNAL. service_release gives it back; no
 * thread may use X then. */
int service_init(struct service *x, struct settings *s);
void service_release(struct service *x);
/* The settings in force, held for the caller. Any thread. */
struct settings *service_settings(struct service *x);
/* Puts S in force (takes it over). Any thread. */
void service_settings_replace(struct service *x, struct settings *s);

/* Octets of a list that a response may carry; a session's output stays under 256 KiB with it. */
#define SERVICE_LIST_OCTETS (192u << 10)
#define SERVICE_FRAME_OCTETS (SERVICE_LIST_OCTETS + 1024)

/* Waits for message numbers. Lives until READY or service_number_forget. */
struct service_waiter {
	void (*ready)(struct service_waiter *w, int error);
	struct service_waiter *next;
};

/* One for each thread that writes. */
struct service_worker {
	struct service *service;
	struct loop *loop;
	struct writer_client *writer;
	void *attachment; /* of the writer to the loop */
	/* Room to build a response in: used and done with inside one callback. */
	uint8_t *list_room;              /* SERVICE_LIST_OCTETS */
	uint8_t *frame_room;             /* SERVICE_FRAME_OCTETS */
	struct scan *scan;               /* for a message that is in memory whole */
	struct waiters_loop *watchers;
	struct service_waiter *waiting;  /* for numbers */
	struct service_waiter *waking;   /* those whose numbers have come */
	struct service_numbers *numbers; /* the reservation under way */
};

/* On the loop's thread, which the worker belongs to from now on. 0, ERR_NOMEM, ERR_IO. */
int service_worker_create(struct service *x, struct loop *l, struct service_worker **out);
/* After its last session. Waits for its writer jobs. NULL is fine. */
void service_worker_free(struct service_worker *w);

/*
 * The next message number. Sees to it that more are reserved in time. 0;
 * ERR_AGAIN when none is left at the moment: then WAITER->ready comes, once,
 * with 0 (take again) or the error that reserving met.
 */
int service_number_take(struct service_worker *w, struct service_waiter *waiter, uint64_t *out);
/* No `ready` after this. */
void service_number_forget(struct service_worker *w, struct service_waiter *waiter);
/* Before any thread: makes sure that there are numbers to take. 0 or an error of db.h. */
int service_numbers_prepare(struct db *db);

/* The store's metrics: what it did, its jobs, its database. Any thread. */
void service_measure(struct service *x, struct metrics *m);

/* Wakes the notifier: new work is due. Any thread. */
void service_kick(struct service *x);
/* Wakes those who watch ACCOUNT: its change log has something new, committed. Any thread. */
void service_changed(struct service *x, uint32_t account);

#endif
