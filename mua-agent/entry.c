#include "mua-agent/entry.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "message/header.h"
#include "mua-agent/parts.h"
#include "mua-agent/show.h"

#define SHORT_PARTS 128 /* more than the structure in a notification can have */

static struct span keep(uint8_t **at, struct span s)
{
	struct span kept = span_of(*at, s.n);

	if (s.n > 0) {
		memcpy(*at, s.p, s.n);
	}
	*at += s.n;
	return kept;
}

/* The sender's domain is what the store proved. */
static bool sender_verified(const struct entry *x)
{
	struct mailbox sender;

	return x->item.verified.n > 0 && name_parse_mailbox(x->notice.sender, &sender) == 0 &&
	       span_eq_str(x->item.verified, mailbox_domain(&sender));
}

/* Copies ITEM out of the map, and takes it apart. */
static int load(const struct db_item *item, struct entry *out)
{
	uint8_t *at;

	*out = (struct entry) { .item = *item };
	at = out->octets =
	    malloc(item->account.n + item->verified.n + item->reason.n + item->der.n + 1);
	if (at == NULL) {
		return ERR_NOMEM;
	}
	out->item.account = keep(&at, item->account);
	out->item.verified = keep(&at, item->verified);
	out->item.reason = keep(&at, item->reason);
	out->item.der = keep(&at, item->der);
	if (wire_notification_decode(out->item.der, &out->notice) != 0) {
		entry_free(out);
		return ERR_MALFORMED;
	}
	if (wire_notification_store(&out->notice, out->store) != 0) {
		out->store[0] = '\0';
	}
	out->verified = sender_verified(out);
	return 0;
}

int entry_get(struct db *db, uint32_t number, struct entry *out, struct err_text *e)
{
	struct kv_txn *t = db_read_begin(db);
	struct db_item item;
	int r = t == NULL ? ERR_NOMEM : db_item_get(db, t, number, &item);

	if (r == 0) {
		r = (item.flags & DB_DROPPED) != 0 ? ERR_NOT_FOUND : load(&item, out);
	}
	db_read_end(t);
	if (r == ERR_NOT_FOUND) {
		return err_set(e, r, "there is no message %u (see im2000 list)", number);
	}
	return r == 0 ? 0 : err_set(e, r, "look up message %u: %s", number, err_phrase(r));
}

int entry_next(struct db *db, uint32_t number, struct entry *out)
{
	struct kv_txn *t = db_read_begin(db);
	struct db_item item;
	int r = t == NULL ? ERR_NOMEM : db_item_next(db, t, number, &item);

	if (r == 0) {
		r = load(&item, out);
	}
	db_read_end(t);
	return r;
}

void entry_free(struct entry *x)
{
	free(x->octets);
	x->octets = NULL;
}

const char *entry_field(const struct entry *x, const char *name, char *out, size_t cap)
{
	struct header_field field;

	out[0] = '\0';
	if (header_find(x->notice.header, name, &field) == 0) {
		show_safe_words(field.value, out, cap);
	}
	return out;
}

static bool has_attachment(const struct entry *x)
{
	static const char mixed[] = "multipart/mixed";
	struct bodystructure_part *parts;
	struct header_field field;
	struct span view;
	char type[32];
	size_t n;
	bool has;

	if (!x->notice.has_structure) { /* too long for a notification: many parts */
		if (header_find(x->notice.header, "Content-Type", &field) != 0) {
			return false;
		}
		header_unfold(field.value, type, sizeof type, &view);
		view.n = view.n < sizeof mixed - 1 ? view.n : sizeof mixed - 1;
		return span_eq_nocase(view, span_str(mixed));
	}
	if ((parts = malloc(SHORT_PARTS * sizeof *parts)) == NULL) {
		return false;
	}
	has = bodystructure_parse(x->notice.structure, parts, SHORT_PARTS, &n) == 0 &&
	      parts_have_attachment(parts, n);
	free(parts);
	return has;
}

const char *entry_flags(const struct entry *x, uint64_t now_us, char out[ENTRY_FLAGS])
{
	char *p = out;

	*p++ = (x->item.flags & DB_READ) != 0 ? 'R' : 'N';
	if ((x->item.flags & DB_WITHDRAWN) != 0) {
		*p++ = 'W';
	}
	if (x->notice.has_expires && x->notice.expires <= now_us) {
		*p++ = 'E';
	}
	if (has_attachment(x)) {
		*p++ = 'A';
	}
	*p = '\0';
	return out;
}

static int print_json(const struct app *app, const struct entry *x, const char *flags)
{
	const struct config_account *a = app_by_identity(app, x->item.account);
	struct mailbox recipient;
	char text[1024];
	struct show_json j;

	show_json_begin(&j);
	show_json_number(&j, "number", x->item.number);
	show_json_time(&j, "time", x->item.received_us);
	show_json_text(&j, "sender", x->notice.sender);
	show_json_bool(&j, "verified", x->verified);
	if (wire_mailbox_to_name(&x->notice.recipient, &recipient) == 0) {
		show_json_text(&j, "recipient", span_str(recipient.text));
	}
	show_json_number(&j, "size", x->notice.size);
	show_json_text(&j, "subject", span_str(entry_field(x, "Subject", text, sizeof text)));
	show_json_text(&j, "flags", span_str(flags));
	show_json_text(&j, "from", span_str(entry_field(x, "From", text, sizeof text)));
	if (a != NULL) {
		show_json_text(&j, "account", span_str(a->title));
	}
	show_json_text(&j, "store", span_str(x->store));
	show_json_time(&j, "submitted", x->notice.submitted);
	show_json_time(&j, "expires", x->notice.expires);
	return show_json_end(&j);
}

int entry_print(const struct app *app, const struct entry *x, uint64_t now_us)
{
	char flags[ENTRY_FLAGS], time[SHOW_TIME], size[16], sender[400], subject[1024];

	entry_flags(x, now_us, flags);
	if (app->json) {
		return print_json(app, x, flags);
	}
	text_size(x->notice.size, size, sizeof size);
	show_safe(x->notice.sender, sender, sizeof sender);
	entry_field(x, "Subject", subject, sizeof subject);
	show_format(stdout, "%4u  %s  %s%s  %5s  %s  [%s]\n", x->item.number,
	            show_time(x->item.received_us, time), sender,
	            x->verified ? "" : " (unverified)", size,
	            subject[0] != '\0' ? subject : "(no subject)", flags);
	return 0;
}

int entry_mark(struct db *db, uint32_t number, unsigned flags, struct err_text *e)
{
	struct entry x = { 0 };
	struct kv_txn *t;
	struct db_item item;
	int r = db_write_begin(db, &t);

	if (r == 0) {
		if ((r = db_item_get(db, t, number, &item)) == 0 && (r = load(&item, &x)) == 0) {
			x.item.flags |= flags;
			r = db_item_put(db, t, &x.item);
			entry_free(&x);
		}
		r = kv_write_end(t, r);
	}
	return r == 0 ? 0
	              : err_set(e, r, "keep what became of message %u: %s", number, err_phrase(r));
}
