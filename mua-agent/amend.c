#include "mua-agent/amend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

#define MAILBOX_OCTETS 700 /* DER of a mailbox, at most */

/* One change under way. */
struct amending {
	struct app *app;
	const struct track_target *target;
	const char *verb; /* for people: "cancel" */
	/* Where the answer says something. */
	enum wire_submission_status *statuses;
	size_t n;
	uint64_t expires_us;
};

/* --- the answer --------------------------------------------------------------------------- */

static int on_answer(void *ctx, const struct msoap_response *r, struct err_text *why)
{
	struct amending *a = ctx;
	struct wire_list rest = r->u.readdress.recipients;
	size_t i = 0;

	if (r->kind == MSOAP_EXTEND) {
		a->expires_us = r->u.extend.expires;
		return 0;
	}
	if (r->kind != MSOAP_READDRESS) {
		return 0;
	}
	while (i < a->n && msoap_submission_status_next(&rest, &a->statuses[i])) {
		i++;
	}
	return i == a->n && rest.count == 0
	           ? 0
	           : err_set(why, ERR_PROTOCOL, "the store answered for other recipients");
}

/* Sends C, which needs EXTRA octets, behind the login, and waits. */
static int tell(struct amending *a, const struct msoap_command *c, size_t extra, struct err_text *e)
{
	const struct track_target *target = a->target;
	struct talk login, t = { .msoap = on_answer, .ctx = a };
	struct line *l;
	int r;

	snprintf(t.doing, sizeof t.doing, "%s the message at %.150s", a->verb, target->store);
	if ((r = track_open(a->app, target->account, target->store, &login, &l, e)) != 0) {
		return r;
	}
	if ((r = talk_msoap(l, &t, c, extra, e)) == 0 && (r = talk_finish(&login, e)) == 0) {
		r = talk_finish(&t, e);
	}
	line_close(l);
	return r;
}

/* RECIPIENTS as a list, in *OCTETS (to be freed) of *CAP. */
static int list_mailboxes(const struct mailbox *recipients, size_t n, uint8_t **octets, size_t *cap,
                          struct wire_list *out, struct err_text *e)
{
	uint8_t labels[WIRE_LABELS_MAX];
	struct wire_list_writer w;
	struct wire_mailbox m;
	int r = 0;

	*cap = (n + 1) * MAILBOX_OCTETS;
	if ((*octets = malloc(*cap)) == NULL) {
		return err_set(e, ERR_NOMEM, "out of memory");
	}
	wire_list_writer_init(&w, *octets, *cap);
	for (size_t i = 0; r == 0 && i < n; i++) {
		wire_mailbox_from_name(&recipients[i], labels, &m);
		r = wire_mailbox_append(&w, &m);
	}
	*out = wire_list_view(&w);
	return r == 0 ? 0 : err_set(e, r, "name the recipients: %s", err_phrase(r));
}

/* --- the list of what was sent ------------------------------------------------------------ */

/* Whether NAME is among NAMES, each with a NUL. */
static bool is_named(struct span names, const char *name)
{
	while (names.n > 0) {
		size_t n = strnlen((const char *)names.p, names.n);

		if (span_eq_str(span_of(names.p, n), name)) {
			return true;
		}
		names = span_after(names, n < names.n ? n + 1 : n);
	}
	return false;
}

/* Puts the accepted of RECIPIENTS behind those that are there. */
static int add_names(struct buf *names, const struct amending *a, const struct mailbox *recipients)
{
	int r = 0;

	for (size_t i = 0; r == 0 && recipients != NULL && i < a->n; i++) {
		const char *text = recipients[i].text;

		if (a->statuses[i] == WIRE_SUBMISSION_ACCEPTABLE &&
		    !is_named(buf_view(names), text)) {
			r = buf_add(names, text, strlen(text) + 1);
		}
	}
	return r;
}

/* The record of the message, out of the map; its texts are in ROOM. */
static int copy_sent(struct db_sent *sent, struct buf *room)
{
	size_t account = sent->account.n, store = sent->store.n, subject = sent->subject.n;
	size_t names = sent->recipients.n;
	int r = buf_add(room, sent->account.p, account);

	if (r != 0 || (r = buf_add(room, sent->store.p, store)) != 0 ||
	    (r = buf_add(room, sent->subject.p, subject)) != 0 ||
	    (r = buf_add(room, sent->recipients.p, names)) != 0) {
		return r;
	}
	sent->account = span_of(buf_view(room).p, account);
	sent->store = span_of(sent->account.p + account, store);
	sent->subject = span_of(sent->store.p + store, subject);
	sent->recipients = span_of(sent->subject.p + subject, names);
	return 0;
}

static int rewrite(struct amending *a, struct kv_txn *t, const struct mailbox *recipients,
                   bool released, struct buf *room, struct buf *names)
{
	const struct track_target *target = a->target;
	struct db_sent sent;
	int r = db_sent_find(a->app->db, t, span_str(target->store), target->id, &sent);

	if (r != 0) {
		return r == ERR_NOT_FOUND ? 0 : r; /* sent from somewhere else */
	}
	if ((r = copy_sent(&sent, room)) != 0 ||
	    (r = buf_add(names, sent.recipients.p, sent.recipients.n)) != 0 ||
	    (r = add_names(names, a, recipients)) != 0) {
		return r;
	}
	sent.recipients = buf_view(names);
	sent.held = sent.held && !released;
	sent.expires_us = a->expires_us != 0 ? a->expires_us : sent.expires_us;
	return db_sent_put(a->app->db, t, &sent);
}

/* Keeps what the store has changed. */
static int remember(struct amending *a, const struct mailbox *recipients, bool released,
                    struct err_text *e)
{
	struct buf room, names;
	struct kv_txn *t;
	int r = db_write_begin(a->app->db, &t);

	buf_init(&room, 0);
	buf_init(&names, 0);
	if (r == 0) {
		r = kv_write_end(t, rewrite(a, t, recipients, released, &room, &names));
	}
	buf_free(&room);
	buf_free(&names);
	return r == 0 ? 0
	              : err_set(e, r, "the store did it, but %s/agent.mdb cannot keep that: %s",
	                        a->app->config.data, err_phrase(r));
}

/* --- the changes -------------------------------------------------------------------------- */

int amend_cancel(struct app *app, const struct track_target *target,
                 const struct mailbox *recipients, size_t n, struct err_text *e)
{
	struct amending a = { .app = app, .target = target, .verb = "cancel" };
	struct msoap_command c = { .kind = MSOAP_CANCEL };
	uint8_t *octets;
	size_t cap;
	int r = list_mailboxes(recipients, n, &octets, &cap, &c.u.cancel.recipients, e);

	memcpy(c.u.cancel.id, target->id, WIRE_ID_SIZE);
	c.u.cancel.has_recipients = n > 0;
	r = r == 0 ? tell(&a, &c, cap, e) : r;
	free(octets);
	return r;
}

int amend_readdress(struct app *app, const struct track_target *target,
                    const struct mailbox *recipients, size_t n,
                    enum wire_submission_status *statuses, struct err_text *e)
{
	struct amending a = { .app = app,
		              .target = target,
		              .verb = "readdress",
		              .statuses = statuses,
		              .n = n };
	struct msoap_command c = { .kind = MSOAP_READDRESS };
	uint8_t *octets;
	size_t cap;
	int r = list_mailboxes(recipients, n, &octets, &cap, &c.u.readdress.recipients, e);

	memcpy(c.u.readdress.id, target->id, WIRE_ID_SIZE);
	r = r == 0 ? tell(&a, &c, cap, e) : r;
	free(octets);
	return r == 0 ? remember(&a, recipients, false, e) : r;
}

int amend_release(struct app *app, const struct track_target *target, struct err_text *e)
{
	struct amending a = { .app = app, .target = target, .verb = "release" };
	struct msoap_command c = { .kind = MSOAP_RELEASE };
	int r;

	memcpy(c.u.release.id, target->id, WIRE_ID_SIZE);
	r = tell(&a, &c, 0, e);
	return r == 0 ? remember(&a, NULL, true, e) : r;
}

int amend_extend(struct app *app, const struct track_target *target, uint64_t lifetime_s,
                 uint64_t *expires_us, struct err_text *e)
{
	struct amending a = { .app = app, .target = target, .verb = "extend" };
	struct msoap_command c = { .kind = MSOAP_EXTEND };
	int r;

	memcpy(c.u.extend.id, target->id, WIRE_ID_SIZE);
	c.u.extend.lifetime = lifetime_s;
	r = tell(&a, &c, 0, e);
	*expires_us = a.expires_us;
	return r == 0 ? remember(&a, NULL, false, e) : r;
}

int amend_forget(struct app *app, const struct track_target *target, struct err_text *e)
{
	struct amending a = { .app = app, .target = target, .verb = "forget" };
	struct msoap_command c = { .kind = MSOAP_FORGET };

	memcpy(c.u.forget.id, target->id, WIRE_ID_SIZE);
	return tell(&a, &c, 0, e);
}
