/* MSOAP track and archive: what became of a message, and which there are. */
#include <string.h>

#include "store/originator_state.h"
#include "wire/frame.h"

/* Answered when the client says nothing; what does not fit into one answer waits for the next. */
#define TRACK_DEFAULT 1000  /* deliveries */
#define ARCHIVE_DEFAULT 100 /* messages */

/* --- track ------------------------------------------------------------------------------- */

int tracking_delivery(const struct db_delivery *d, struct tracking_room *room,
                      struct msoap_delivery *out)
{
	const uint8_t *at = memrchr(d->mailbox.p, '@', d->mailbox.n);

	*out = (struct msoap_delivery) {
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
	if (at == NULL)
		return ERR_MALFORMED;
	if (span_copy(d->mailbox, room->name.text, sizeof(room->name.text)) != 0)
		return ERR_MALFORMED;
	room->name.local_n = (size_t)(at - d->mailbox.p);
	wire_mailbox_from_name(&room->name, room->labels, &out->recipient);
	return 0;
}

/* The deliveries from index FIRST on, as many as there is room and LIMIT for. */
static int list_deliveries(struct originator *o, struct kv_txn *t, const struct db_message *m,
                           uint64_t first, uint64_t limit, struct msoap_track_done *out)
{
	struct db *db = o->worker->service->db;
	struct wire_list_writer w;
	struct tracking_room room;
	struct msoap_delivery told;
	struct db_delivery d;
	uint64_t i;
	int err;

	wire_list_writer_init(&w, o->worker->list_room, SERVICE_LIST_OCTETS);
	for (i = first; i < m->recipients && w.count < limit; i++) {
		err = db_delivery_get(db, t, m->number, (uint32_t)i, &d);
		if (err == 0)
			err = tracking_delivery(&d, &room, &told);
		if (err != 0)
			return err;
		err = msoap_delivery_append(&w, &told);
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

/* --- archive ----------------------------------------------------------------------------- */

static int append_archived(struct originator *o, struct wire_list_writer *w,
                           const struct db_message *m)
{
	struct ids_name name = { .message = m->number, .kind = IDS_ORIGINATOR, .key = m->key };
	struct msoap_archived out = {
		.size = m->size_octets,
		.submitted = m->submitted_us,
		.expires = m->expires_us,
		.held = m->state == DB_HELD,
		.has_header = m->excerpt.n > 0,
		.header = m->excerpt,
		.has_structure = m->structure.n > 0 && m->structure.n <= LIMIT_STRUCTURE_OCTETS,
		.structure = m->structure,
	};
	int err = ids_make(o->worker->service->ids, &name, out.id);

	if (err != 0)
		return err;
	memcpy(out.digest, m->digest, sizeof(out.digest));
	return msoap_archived_append(w, &out);
}

/*
 * The account's messages after the cursor AFTER, as many as there is room and
 * LIMIT for. One whose record is damaged, or whose key is gone, is passed over.
 */
static int list_archive(struct originator *o, struct kv_txn *t, uint64_t after, uint64_t limit,
                        struct msoap_archive_done *out)
{
	struct db *db = o->worker->service->db;
	struct wire_list_writer w;
	struct db_message m;
	uint64_t number;
	int err;

	wire_list_writer_init(&w, o->worker->list_room, SERVICE_LIST_OCTETS);
	while ((err = db_archive_next(db, t, o->account, after, &number)) == 0) {
		if (w.count == limit)
			break;
		err = db_message_get(db, t, number, &m);
		if (err == 0)
			err = append_archived(o, &w, &m);
		if (err == ERR_TOO_BIG && w.count > 0)
			break;
		if (err != 0 && err != ERR_NOT_FOUND && err != ERR_MALFORMED)
			return err;
		after = number;
	}
	if (err != 0 && err != ERR_TOO_BIG && err != ERR_NOT_FOUND)
		return err;
	out->messages = wire_list_view(&w);
	out->has_next = err != ERR_NOT_FOUND;
	out->next = after;
	return 0;
}

void tracking_archive(struct originator *o, const struct msoap_command *c)
{
	const struct msoap_archive *k = &c->u.archive;
	struct msoap_response r = { .kind = MSOAP_ARCHIVE };
	struct kv_txn *t = db_read_begin(o->worker->service->db);
	int err = ERR_NOMEM;

	if (t != NULL)
		err = list_archive(o, t, k->after, k->has_limit ? k->limit : ARCHIVE_DEFAULT,
		                   &r.u.archive);
	db_read_end(t);
	if (err == 0)
		originator_reply(o, &r);
	else
		originator_trouble(o, err, false);
}
