/*
 * MSOAP watch: waits for the next changes of any message of the account. The
 * change log is the truth; a waiter only says when to look into it again.
 */
#include <string.h>

#include "base/clock.h"
#include "store/originator_state.h"
#include "store/sweep.h"

#define SCAN_MAX 10000 /* entries of the log that one answer looks at */

static const char too_old[] = "changes of more than 30 days ago are told no more: "
			      "ask archive and track as well";

static int append_change(struct originator *o, struct kv_txn *t, struct wire_list_writer *w,
                         uint64_t message, uint32_t index)
{
	struct service *x = o->worker->service;
	struct tracking_room room;
	struct msoap_change change;
	struct db_delivery d;
	struct db_message m;
	struct ids_name name = { .message = message, .kind = IDS_ORIGINATOR };
	int err = db_message_get(x->db, t, message, &m);

	if (err == 0)
		err = db_delivery_get(x->db, t, message, index, &d);
	if (err == 0)
		err = tracking_delivery(&d, &room, &change.delivery);
	if (err != 0)
		return err;
	name.key = m.key;
	err = ids_make(x->ids, &name, change.id);
	return err != 0 ? err : msoap_change_append(w, &change);
}

/* Whether some of what came after the cursor AFTER was trimmed: nothing of its time is left. */
static bool missed(struct originator *o, struct kv_txn *t, uint64_t after)
{
	uint64_t now = clock_now_us(), first, message;
	uint32_t index;

	return after != 0 && now > SWEEP_CHANGES_KEPT_US && after < now - SWEEP_CHANGES_KEPT_US &&
	       db_change_next(o->worker->service->db, t, o->account, 0, &first, &message,
	                      &index) == 0 &&
	       first > after;
}

/*
 * The changes after the cursor asked from, as many as there is room for. What
 * hangs on a message that is gone, or is damaged, is passed over.
 */
static int list_changes(struct originator *o, struct kv_txn *t, struct msoap_watch_done *out)
{
	struct db *db = o->worker->service->db;
	uint64_t after = o->watching.after, cursor, message;
	struct wire_list_writer w;
	uint32_t index;
	int err;

	wire_list_writer_init(&w, o->worker->list_room, SERVICE_LIST_OCTETS);
	for (unsigned n = 0; n < SCAN_MAX; n++) {
		cursor = after;
		err = db_change_next(db, t, o->account, after, &cursor, &message, &index);
		if (err == ERR_NOT_FOUND)
			break;
		if (err == 0)
			err = append_change(o, t, &w, message, index);
		if (err == ERR_TOO_BIG && w.count > 0)
			break;
		if ((err != 0 && err != ERR_NOT_FOUND && err != ERR_MALFORMED) || cursor == after)
			return err;
		after = cursor;
	}
	out->changes = wire_list_view(&w);
	out->next = after;
	return 0;
}

/* Looks into the log, and answers if there is something to say, or ANYWAY. */
static bool look(struct originator *o, bool anyway)
{
	struct msoap_response r = { .kind = MSOAP_WATCH };
	struct kv_txn *t = db_read_begin(o->worker->service->db);
	int err = t == NULL ? ERR_NOMEM : list_changes(o, t, &r.u.watch);

	if (err == 0 && missed(o, t, o->watching.after)) {
		r.has_text = true;
		r.text = span_str(too_old);
	}
	db_read_end(t);
	if (err == 0 && !anyway && r.u.watch.next == o->watching.after)
		return false;
	waiters_remove(&o->watching.waiter);
	if (err == 0)
		originator_reply(o, &r);
	else
		originator_trouble(o, err, false);
	return true;
}

static void changed(struct waiter *x)
{
	struct originator *o =
	    (struct originator *)((char *)x - offsetof(struct originator, watching.waiter));

	/* Before the look, so that what is committed after it is not missed. */
	waiters_add(o->worker->watchers, x, o->account);
	look(o, false);
}

void watching_watch(struct originator *o, const struct msoap_command *c)
{
	const struct msoap_watch *e = &c->u.watch;
	/* A server's limit of time is far below that. */
	uint64_t wait_s = e->wait < UINT32_MAX ? e->wait : UINT32_MAX;

	o->watching.after = e->after;
	o->watching.waiter.fire = changed;
	waiters_add(o->worker->watchers, &o->watching.waiter, o->account);
	if (!look(o, wait_s == 0))
		server_wait(o->session, wait_s * CLOCK_SECOND_US);
}

void watching_wake(struct originator *o)
{
	look(o, true);
}

void watching_close(struct originator *o)
{
	waiters_remove(&o->watching.waiter);
}
