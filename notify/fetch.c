/*
 * A fetch under way is one of two: it waits for its ticket, or it sends octets of
 * a file that it holds. Nothing of the message is kept in memory.
 */
#include "notify/fetch.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "notify/fetcher.h"

#define PIECE_OCTETS 16384 /* read at once, as much as a TLS record takes */

struct fetch {
	struct fetch_ticket ticket; /* first */
	struct fetch **slot;
	struct server_session *session;
	struct app_worker *worker;
	enum wire_retrieval type;
	uint64_t offset, length; /* as the command says */
	uint64_t at, left;       /* of the file, to be sent */
};

static void refuse(struct server_session *s, enum wire_status status, const char *text)
{
	server_reply_error(s, status, false, text, -1, false);
}

/* --- which message -------------------------------------------------------------------------- */

/*
 * Who may share a copy. The store proved that it announces for its domain: all who were told by
 * it. It did not: nobody but who has the same id, since anybody could have announced a digest that
 * is not his to read.
 */
static int make_tag(struct fetch_source *s, bool verified)
{
	uint8_t octets[1 + sizeof s->domain + WIRE_ID_SIZE] = { 0 }, hash[DIGEST_SIZE];
	int r;

	octets[0] = verified;
	memcpy(octets + 1, s->domain, strlen(s->domain));
	if (!verified) {
		memcpy(octets + 1 + sizeof s->domain, s->id, WIRE_ID_SIZE);
	}
	if ((r = digest_leaf(span_of(octets, sizeof octets), hash)) == 0) {
		memcpy(s->key.tag, hash, CACHE_TAG_SIZE);
	}
	return r;
}

static int source_of(const struct db_notice *notice, const struct db_announcement *a,
                     struct fetch_source *out)
{
	struct wire_notification n;

	if (wire_notification_decode(a->der, &n) != 0) {
		return ERR_MALFORMED;
	}
	if (!n.has_digest || wire_notification_store(&n, out->domain) != 0) {
		return ERR_UNSUPPORTED;
	}
	memcpy(out->key.digest, n.digest, DIGEST_SIZE);
	memcpy(out->id, notice->id, WIRE_ID_SIZE);
	out->has_size = n.has_size;
	out->size = n.size;
	out->mailbox = notice->mailbox;
	return make_tag(out, a->verified);
}

/*
 * The notice of MAILBOX at CURSOR. 0; ERR_NOT_FOUND: there is none, or its time is over, which are
 * alike; ERR_CLOSED: it was withdrawn; ERR_UNSUPPORTED: it does not say what could be checked; or
 * an error of db.h.
 */
static int find_source(struct db *db, uint32_t mailbox, uint64_t cursor, struct fetch_source *out)
{
	struct kv_txn *t = db_read_begin(db);
	struct db_announcement a;
	struct db_notice notice;
	int r = t == NULL ? ERR_NOMEM : db_notice_get(db, t, mailbox, cursor, &notice);

	if (r == 0 && notice.expires_us <= clock_now_us()) {
		r = ERR_NOT_FOUND;
	}
	if (r == 0 && notice.withdrawn) {
		r = ERR_CLOSED;
	}
	if (r == 0) {
		r = db_announcement_get(db, t, notice.announcement, &a);
		r = r == ERR_NOT_FOUND ? ERR_MALFORMED : r;
	}
	if (r == 0) {
		r = source_of(&notice, &a, out);
	}
	db_read_end(t);
	return r;
}

static void refuse_source(struct server_session *s, int error)
{
	switch (error) {
	case ERR_NOT_FOUND:
		refuse(s, WIRE_STATUS_NO_SUCH_MESSAGE, "no such notification");
		break;
	case ERR_CLOSED:
		refuse(s, WIRE_STATUS_WITHDRAWN, NULL);
		break;
	case ERR_UNSUPPORTED:
		refuse(s, WIRE_STATUS_UNSUPPORTED,
		       "the notification names no store by domain, or no digest");
		break;
	default:
		log_error("fetch", "error=\"%s\"", err_phrase(error));
		refuse(s, error == ERR_NOMEM ? WIRE_STATUS_TRY_LATER : WIRE_STATUS_INTERNAL_PROBLEM,
		       NULL);
	}
}

/* --- its octets ----------------------------------------------------------------------------- */

static void end(struct fetch *x)
{
	*x->slot = NULL;
	fetch_cancel(x);
}

void fetch_cancel(struct fetch *x)
{
	if (x != NULL) {
		fetcher_forget(x->worker->app->fetcher, &x->ticket);
		free(x);
	}
}

void fetch_go_on(struct fetch *x)
{
	struct app_counts *counts = &x->worker->app->counts;
	uint8_t piece[PIECE_OCTETS];
	size_t taken = PIECE_OCTETS;

	while (x->left > 0 && taken == PIECE_OCTETS) {
		size_t n = x->left < PIECE_OCTETS ? (size_t)x->left : PIECE_OCTETS;

		if (cache_read(x->ticket.file, x->at, piece, n) != (ssize_t)n) {
			log_error("fetch", "error=\"read a message in the cache\"");
			server_abort(x->session, "the message cannot be read");
			end(x);
			return;
		}
		taken = server_write(x->session, piece, n);
		x->at += taken;
		x->left -= taken;
		app_count(&counts->fetched_octets, taken);
	}
	if (x->left == 0) {
		end(x);
	}
}

/* What of the file is wanted. */
static void choose(struct fetch *x, struct rnaqp_fetch_done *d)
{
	d->size = x->type == WIRE_RETRIEVAL_ALL ? cache_size(x->ticket.file) : 0;
	d->offset = x->offset;
	x->at = x->offset < d->size ? x->offset : d->size;
	x->left = d->size - x->at;
	if (x->length != 0 && x->length < x->left) {
		x->left = x->length;
	}
	d->data.size = x->left;
}

/* The ticket has a file. */
static void send_file(struct fetch *x)
{
	struct rnaqp_response response = { .status = WIRE_STATUS_OK, .kind = RNAQP_FETCH };
	uint8_t room[WIRE_HEAD_MAX];
	struct span head;

	if (x->ticket.source.has_size && x->ticket.source.size != cache_size(x->ticket.file)) {
		refuse(x->session, WIRE_STATUS_DIGEST_MISMATCH,
		       "the message has another size than its notification says");
		end(x);
		return;
	}
	choose(x, &response.u.fetch);
	if (rnaqp_response_encode(&response, room, sizeof room, &head) != 0) {
		refuse(x->session, WIRE_STATUS_INTERNAL_PROBLEM, NULL);
		end(x);
	} else if (x->left == 0) {
		server_reply(x->session, head);
		end(x);
	} else {
		server_reply_start(x->session, head, x->left);
		fetch_go_on(x);
	}
}

static void answered(struct fetch *x)
{
	const struct fetch_ticket *t = &x->ticket;

	if (t->file != NULL) {
		send_file(x);
		return;
	}
	server_reply_error(x->session, t->status, false, t->text.text,
	                   t->retry_s > 0 ? (int64_t)t->retry_s : -1, false);
	end(x);
}

static void on_answer(struct waiter *w)
{
	answered((struct fetch *)w);
}

/* Another command behind this one waits; it is not what this one is given up for. */
void fetch_wake(struct fetch *x)
{
	if (server_is_ending(x->session)) {
		refuse(x->session, WIRE_STATUS_TRY_LATER, "the session ends");
		end(x);
	}
}

/* --- the command ---------------------------------------------------------------------------- */

void fetch_start(struct fetch **slot, struct server_session *s, struct app_worker *w,
                 uint32_t mailbox, const struct rnaqp_fetch *c)
{
	struct fetcher *f = w->app->fetcher;
	struct fetch *x;
	int r;

	if (f == NULL || !fetcher_is_on(f)) {
		refuse(s, WIRE_STATUS_UNSUPPORTED, "this agent has no pull cache");
		return;
	}
	if (c->type != WIRE_RETRIEVAL_ALL && c->type != WIRE_RETRIEVAL_NOTHING) {
		refuse(s, WIRE_STATUS_UNSUPPORTED, "this agent gives messages whole");
		return;
	}
	if ((x = calloc(1, sizeof *x)) == NULL) {
		refuse_source(s, ERR_NOMEM);
		return;
	}
	x->ticket.waiter.fire = on_answer;
	x->slot = slot;
	x->session = s;
	x->worker = w;
	x->type = c->type;
	x->offset = c->offset;
	x->length = c->length;
	*slot = x;
	if ((r = find_source(w->app->db, mailbox, c->cursor, &x->ticket.source)) != 0) {
		refuse_source(s, r);
		end(x);
	} else if (fetcher_ask(f, w->fetches, &x->ticket)) {
		answered(x);
	} else {
		server_wait(s, UINT64_MAX); /* so that it is heard when the reader leaves */
	}
}
