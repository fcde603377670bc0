/* MSOAP track: what became of a message. */
#include <string.h>

#include "store/originator_state.h"

#define TRACK_DEFAULT 1000 /* deliveries that are answered when the client says nothing */

/* --- track ------------------------------------------------------------------------------- */

static int append_delivery(struct wire_list_writer *w, const struct db_delivery *d)
{
	uint8_t labels[WIRE_LABELS_MAX];
	struct mailbox name;
	struct msoap_delivery out = {
		.notification = (enum wire_notification_status)d->notification,
		.read = (enum wire_read_status)d->read,
		.pinned = d->pinned,
		.attempts = d->attempts,
		.changed = d->changed_us,
		.has_next_attempt = d->next_us != 0 && !d->withdrawn,
		.next_attempt = d->next_us,
		.has_text = d->text.n > 0,
		.text = d->text,
	};
	const uint8_t *at = memrchr(d->mailbox.p, '@', d->mailbox.n);

	if (at == NULL)
		return ERR_MALFORMED;
	if (span_copy(d->mailbox, name.text, sizeof(name.text)) != 0)
		return ERR_MALFORMED;
	name.local_n = (size_t)(at - d->mailbox.p);
	wire_mailbox_from_name(&name, labels, &out.recipient);
	return msoap_delivery_append(w, &out);
}

/* The deliveries from index FIRST on, as many as there is room and LIMIT for. */
static int list_deliveries(struct originator *o, struct kv_txn *t, const struct db_message *m,
                           uint64_t first, uint64_t limit, struct msoap_track_done *out)
{
	struct db *db = o->worker->service->db;
	struct wire_list_writer w;
	struct db_delivery d;
	uint64_t i;
	int err;

	wire_list_writer_init(&w, o->worker->list_room, SERVICE_LIST_OCTETS);
	for (i = first; i < m->recipients && w.count < limit; i++) {
		err = db_delivery_get(db, t, m->number, (uint32_t)i, &d);
		if (err != 0)
			return err;
		err = append_delivery(&w, &d);
		if (err == ERR_TOO_BIG)
			break;
		if (err != 0)
			return err;
	}
	out->deliveries = wire_list_view(&w);
	out->has_next = i < m->recipients;
	out->next = i;
	return 0;
}

void tracking_track(struct originator *o, const struct msoap_command *c)
{
	const struct msoap_track *k = &c->u.track;
	struct msoap_response r = { .kind = MSOAP_TRACK };
	struct kv_txn *t = db_read_begin(o->worker->service->db);
	struct db_message m;
	int err = ERR_NOMEM;

	if (t != NULL)
		err = originator_message(o, t, k->id, &m);
	if (err == 0) {
		/* The cursor is the index of the first delivery that was not told yet. */
		err = list_deliveries(o, t, &m, k->after, k->has_limit ? k->limit : TRACK_DEFAULT,
		                      &r.u.track);
		if (err == ERR_NOT_FOUND)
			err = ERR_MALFORMED; /* a delivery is missing: not the client's affair */
	}
	/* The list is a copy: nothing of the transaction is needed any more. */
	db_read_end(t);
	if (err == 0)
		originator_reply(o, &r);
	else if (err == ERR_NOT_FOUND)
		originator_error(o, WIRE_STATUS_NO_SUCH_MESSAGE, false, NULL);
	else
		originator_trouble(o, err, false);
}
