#include "store/delivery.h"

#include <string.h>

#include "base/text.h"

void delivery_rules(const struct db_delivery *d, struct mailroom_delivery *out)
{
	*out = (struct mailroom_delivery) {
		.notification = (enum wire_notification_status)d->notification,
		.read = (enum wire_read_status)d->read,
		.pinned = d->pinned,
		.withdrawn = d->withdrawn,
		.told_withdrawn = d->told_withdrawn,
		.notified = d->notified,
		.attempts = d->attempts,
		.failures = d->failures,
		.changed_us = d->changed_us,
		.next_us = d->next_us,
	};
}

void delivery_follow(struct db_delivery *d, const struct mailroom_delivery *rules)
{
	d->notification = (uint8_t)rules->notification;
	d->read = (uint8_t)rules->read;
	d->pinned = rules->pinned;
	d->withdrawn = rules->withdrawn;
	d->told_withdrawn = rules->told_withdrawn;
	d->notified = rules->notified;
	d->attempts = rules->attempts;
	d->failures = rules->failures;
	d->changed_us = rules->changed_us;
	d->next_us = rules->next_us;
}

static bool same(const struct mailroom_delivery *a, const struct mailroom_delivery *b)
{
	return a->notification == b->notification && a->read == b->read && a->pinned == b->pinned &&
	       a->withdrawn == b->withdrawn && a->told_withdrawn == b->told_withdrawn &&
	       a->notified == b->notified && a->attempts == b->attempts &&
	       a->failures == b->failures && a->changed_us == b->changed_us &&
	       a->next_us == b->next_us;
}

int delivery_apply(struct db *db, struct kv_txn *t, uint32_t account, uint64_t message,
                   uint32_t index, delivery_rule rule, void *ctx, const struct span *text,
                   struct delivery_result *out)
{
	struct mailroom_delivery before, after;
	struct db_delivery d;
	bool seen;
	int err;

	memset(out, 0, sizeof(*out));
	err = db_delivery_get(db, t, message, index, &d);
	if (err != 0)
		return err;
	delivery_rules(&d, &before);
	after = before;
	seen = rule(&after, ctx);
	out->now = after;
	if (same(&before, &after))
		return 0;
	delivery_follow(&d, &after);
	if (seen && text != NULL)
		d.text = *text;
	err = db_delivery_put(db, t, &d);
	if (err != 0)
		return err;
	out->changed = true;
	out->lost_reader = mailroom_may_read(&before) && !mailroom_may_read(&after);
	return seen ? db_change_add(db, t, account, message, index) : 0;
}

int delivery_readers_gone(struct db *db, struct kv_txn *t, uint64_t message, uint32_t n)
{
	struct db_message m;
	int err;

	if (n == 0)
		return 0;
	err = db_message_get(db, t, message, &m);
	if (err != 0)
		return err;
	m.readers = m.readers > n ? m.readers - n : 0;
	if (m.readers == 0 && m.forgotten)
		m.freed = true;
	return db_message_put(db, t, &m);
}

struct span delivery_text(struct span text, char out[DB_TEXT_MAX])
{
	size_t n = 0;

	while (text.n > 0) {
		uint32_t code;
		size_t octets = text_utf8_char(text, &code);
		const void *from = text.p;

		if (octets == 0 || code < 0x20 || (code >= 0x7f && code < 0xa0)) {
			from = "?";
			text = span_after(text, octets > 0 ? octets : 1);
			octets = 1;
		} else {
			text = span_after(text, octets);
		}
		if (octets > DB_TEXT_MAX - n)
			break;
		memcpy(out + n, from, octets);
		n += octets;
	}
	return span_of(out, n);
}
