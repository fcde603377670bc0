/*
 * Messages. What changes about one (state, counts, times) is a small record of
 * the table `message`; what is long and stays is one of `content`, written only
 * when it differs. Putting a message moves the entries that follow from it.
 */
#include <stdlib.h>
#include <string.h>

#include "base/name.h"
#include "store/db.h"
#include "store/db_table.h"

#define MESSAGE_RECORD 1
#define CONTENT_RECORD 1
#define MESSAGE_MAX (160 + NAME_MAILBOX_MAX)
#define CONTENT_FIXED (1 + 4 * 4 + RECORD_SEAL)

enum { FLAG_FORGOTTEN = 1, FLAG_FREED = 2, FLAG_SUBMISSION_ID = 4, FLAGS_ALL = 7 };

/* --- records --------------------------------------------------------------------------- */

int db_message_decode(struct span key, struct span value, struct db_message *out)
{
	struct record_reader r;
	uint8_t state, flags;

	memset(out, 0, sizeof *out);
	if (key.n != 8)
		return ERR_MALFORMED;
	out->number = kv_get_u64(key.p);
	record_open(&r, value, key, MESSAGE_RECORD);
	state = record_get8(&r);
	flags = record_get8(&r);
	out->key = record_get16(&r);
	out->account = record_get32(&r);
	out->submitted_us = record_get64(&r);
	out->expires_us = record_get64(&r);
	out->release_us = record_get64(&r);
	out->sweep_us = record_get64(&r);
	out->size_octets = record_get64(&r);
	out->expected_octets = record_get64(&r);
	out->header_octets = record_get64(&r);
	out->recipients = record_get32(&r);
	out->readers = record_get32(&r);
	record_get_copy(&r, out->digest, sizeof out->digest);
	if ((flags & FLAG_SUBMISSION_ID) != 0)
		record_get_copy(&r, out->submission_id, sizeof out->submission_id);
	out->sender = record_get_text8(&r);
	if (state < DB_RECEIVING || state > DB_EXPIRED || (flags & ~FLAGS_ALL) != 0)
		return ERR_MALFORMED;
	out->state = (enum db_message_state)state;
	out->forgotten = (flags & FLAG_FORGOTTEN) != 0;
	out->freed = (flags & FLAG_FREED) != 0;
	out->has_submission_id = (flags & FLAG_SUBMISSION_ID) != 0;
	return record_end(&r);
}

static int message_encode(const struct db_message *m, uint8_t *p, size_t cap, struct span *out)
{
	struct db_key key = db_key64(m->number);
	struct record_writer w;

	record_begin(&w, p, cap, db_key_span(&key), MESSAGE_RECORD);
	record_put8(&w, (uint8_t)m->state);
	record_put8(&w, (uint8_t)((m->forgotten ? FLAG_FORGOTTEN : 0) | (m->freed ? FLAG_FREED : 0) |
	                          (m->has_submission_id ? FLAG_SUBMISSION_ID : 0)));
	record_put16(&w, m->key);
	record_put32(&w, m->account);
	record_put64(&w, m->submitted_us);
	record_put64(&w, m->expires_us);
	record_put64(&w, m->release_us);
	record_put64(&w, m->sweep_us);
	record_put64(&w, m->size_octets);
	record_put64(&w, m->expected_octets);
	record_put64(&w, m->header_octets);
	record_put32(&w, m->recipients);
	record_put32(&w, m->readers);
	record_put_octets(&w, m->digest, sizeof m->digest);
	if (m->has_submission_id)
		record_put_octets(&w, m->submission_id, sizeof m->submission_id);
	record_put_text8(&w, m->sender);
	return record_done(&w, out);
}

int db_content_decode(struct span value, struct db_message *out)
{
	struct record_reader r;

	record_open(&r, value, span_of(NULL, 0), CONTENT_RECORD);
	out->excerpt = record_get_text32(&r);
	out->structure = record_get_text32(&r);
	out->parts = record_get_text32(&r);
	out->extents = record_get_text32(&r);
	return record_end(&r) != 0 || out->extents.n % DB_EXTENT_SIZE != 0 ? ERR_MALFORMED : 0;
}

/* Both records of a message; ERR_NOT_FOUND when it is not there. */
int db_message_get(struct db *db, struct kv_txn *t, uint64_t number, struct db_message *out)
{
	struct db_key key = db_key64(number);
	struct span value;
	int rc = db_get(db, t, DB_MESSAGE, &key, &value);

	if (rc != 0)
		return rc;
	if (db_message_decode(db_key_span(&key), value, out) != 0)
		return db_damaged(DB_MESSAGE, db_key_span(&key));
	rc = db_get(db, t, DB_CONTENT, &key, &value);
	if (rc == ERR_NOT_FOUND || (rc == 0 && db_content_decode(value, out) != 0))
		return db_damaged(DB_CONTENT, db_key_span(&key));
	return rc;
}

uint64_t db_message_usage(const struct db_message *m)
{
	if (m->freed)
		return 0;
	if (m->state == DB_RECEIVING && m->expected_octets > m->size_octets)
		return m->expected_octets;
	return m->size_octets;
}

bool db_message_archived(const struct db_message *m)
{
	return m->state != DB_RECEIVING && !m->forgotten && !m->freed;
}

/* --- putting --------------------------------------------------------------------------- */

/* A put under way: what stands there now, and what will. OLD and NEW own no memory; MEMORY does,
 * so that no write moves what a later step reads. */
struct put {
	struct db *db;
	struct kv_txn *t;
	bool there;                       /* OLD is a message that is there */
	struct db_message old, new;
	uint8_t core[MESSAGE_MAX];
	struct span core_record;
	uint8_t *memory;
	struct span content_record;       /* empty: stays as it is */
	struct span old_extents, new_extents; /* that are referred to */
};

/* Another message may not have the same submissionId. */
static int put_check_submission(struct put *p)
{
	uint64_t other;
	int rc;

	if (!p->new.has_submission_id)
		return 0;
	rc = db_submission_find(p->db, p->t, p->new.account, p->new.submission_id, &other);
	if (rc == 0)
		return other == p->new.number ? 0 : ERR_EXISTS;
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int put_check_blobs(struct put *p)
{
	struct span rest = p->new_extents;
	struct db_extent x;
	struct db_blob b;
	int rc = 0;

	while (rc == 0 && db_extent_next(&rest, &x))
		rc = db_blob_get(p->db, p->t, x.blob, &b);
	return rc;
}

static bool content_same(const struct db_message *a, const struct db_message *b)
{
	return span_eq(a->excerpt, b->excerpt) && span_eq(a->structure, b->structure) &&
	       span_eq(a->parts, b->parts) && span_eq(a->extents, b->extents);
}

/* Encodes both records into memory of our own, and the extents of before beside them. */
static int put_encode(struct put *p)
{
	const struct db_message *m = &p->new;
	size_t n = CONTENT_FIXED + m->excerpt.n + m->structure.n + m->parts.n + m->extents.n;
	struct db_message written = { 0 };
	struct record_writer w;
	int rc = message_encode(m, p->core, sizeof p->core, &p->core_record);

	if (rc != 0)
		return rc;
	if (p->there && content_same(&p->old, m))
		return 0; /* nor does a reference move: see put_prepare */
	p->memory = malloc(n + p->old_extents.n);
	if (p->memory == NULL)
		return ERR_NOMEM;
	record_begin(&w, p->memory, n, span_of(NULL, 0), CONTENT_RECORD);
	record_put_text32(&w, m->excerpt);
	record_put_text32(&w, m->structure);
	record_put_text32(&w, m->parts);
	record_put_text32(&w, m->extents);
	rc = record_done(&w, &p->content_record);
	if (rc != 0)
		return rc;
	if (p->old_extents.n > 0)
		memcpy(p->memory + n, p->old_extents.p, p->old_extents.n);
	p->old_extents = span_of(p->memory + n, p->old_extents.n);
	rc = db_content_decode(p->content_record, &written);
	p->new_extents = written.extents;
	return rc;
}

/* Looks at everything and writes nothing. */
static int put_prepare(struct put *p)
{
	int rc = db_message_get(p->db, p->t, p->new.number, &p->old);

	if (rc != 0 && rc != ERR_NOT_FOUND)
		return rc;
	p->there = rc == 0;
	if (p->new.extents.n % DB_EXTENT_SIZE != 0)
		return ERR_MALFORMED;
	if (p->new.freed)
		p->new.extents = span_of(NULL, 0);
	p->old_extents = p->there ? p->old.extents : span_of(NULL, 0);
	p->new_extents = p->new.extents;
	rc = put_check_submission(p);
	if (rc == 0 && !(p->there && span_eq(p->old_extents, p->new_extents)))
		rc = put_check_blobs(p);
	return rc != 0 ? rc : put_encode(p);
}

static int put_submission(struct put *p)
{
	const struct db_message *a = &p->old, *b = &p->new;
	struct db_key key;

	if (p->there && a->has_submission_id) {
		if (b->has_submission_id && a->account == b->account &&
		    memcmp(a->submission_id, b->submission_id, 16) == 0)
			return 0;
		key = db_key_submission(a->account, a->submission_id);
		int rc = db_delete(p->db, p->t, DB_SUBMISSION, &key);
		if (rc != 0)
			return rc;
	}
	if (!b->has_submission_id)
		return 0;
	key = db_key_submission(b->account, b->submission_id);
	return db_put_number(p->db, p->t, DB_SUBMISSION, db_key_span(&key), b->number, 8);
}

static int put_archive(struct put *p)
{
	bool was = p->there && db_message_archived(&p->old), is = db_message_archived(&p->new);
	struct db_key key = db_key32_64(p->new.account, p->new.number);

	if (was == is)
		return 0;
	return is ? db_put_mark(p->db, p->t, DB_ARCHIVE, &key)
	          : db_delete(p->db, p->t, DB_ARCHIVE, &key);
}

static int put_expiry(struct put *p)
{
	uint64_t was = p->there ? p->old.sweep_us : 0, is = p->new.sweep_us;
	struct db_key key;
	int rc = 0;

	if (was == is)
		return 0;
	if (was != 0) {
		key = db_key64_64(was, p->new.number);
		rc = db_delete(p->db, p->t, DB_EXPIRY, &key);
	}
	if (rc == 0 && is != 0) {
		key = db_key64_64(is, p->new.number);
		rc = db_put_mark(p->db, p->t, DB_EXPIRY, &key);
	}
	return rc;
}

/* References of the new extents are taken before those of the old ones are let go, so that a
 * blob named by both never comes to none. */
static int put_references(struct put *p)
{
	struct span rest = p->new_extents;
	struct db_extent x;
	int rc = 0;

	while (rc == 0 && db_extent_next(&rest, &x))
		rc = db_blob_reference(p->db, p->t, x.blob, 1);
	rest = p->old_extents;
	while (rc == 0 && db_extent_next(&rest, &x))
		rc = db_blob_reference(p->db, p->t, x.blob, -1);
	return rc;
}

/* The same blobs in the same order, whatever the ranges: a message that grows. */
static bool extents_same_blobs(struct span a, struct span b)
{
	struct db_extent x, y;

	if (a.n != b.n)
		return false;
	while (db_extent_next(&a, &x) && db_extent_next(&b, &y))
		if (x.blob != y.blob)
			return false;
	return true;
}

static int put_write(struct put *p)
{
	struct db_key key = db_key64(p->new.number);
	uint64_t was = p->there ? db_message_usage(&p->old) : 0;
	int64_t more = (int64_t)(db_message_usage(&p->new) - was);
	int rc = db_put_rising(p->db, p->t, DB_MESSAGE, &key, p->core_record);

	if (rc == 0 && p->content_record.n > 0)
		rc = db_put_rising(p->db, p->t, DB_CONTENT, &key, p->content_record);
	if (rc == 0 && p->content_record.n > 0 &&
	    !extents_same_blobs(p->old_extents, p->new_extents))
		rc = put_references(p);
	if (rc == 0)
		rc = put_submission(p);
	if (rc == 0)
		rc = put_archive(p);
	if (rc == 0)
		rc = put_expiry(p);
	if (rc == 0)
		rc = db_account_charge(p->db, p->t, p->new.account, more);
	return db_late(rc);
}

int db_message_put(struct db *db, struct kv_txn *t, const struct db_message *m)
{
	struct put p = { .db = db, .t = t, .new = *m };
	int rc = put_prepare(&p);

	if (rc == 0)
		rc = put_write(&p);
	free(p.memory);
	return rc;
}

/* --- removing -------------------------------------------------------------------------- */

/*
 * Removes the deliveries of M from the last down to index REMAINING, takes their
 * jobs off them, and counts M's readers down.
 */
static int remove_deliveries(struct db *db, struct kv_txn *t, struct db_message *m,
                             uint32_t remaining)
{
	uint64_t cut_us = 0; /* jobs due then are seen to */

	while (m->recipients > remaining) {
		struct db_key key = db_key64_32(m->number, m->recipients - 1);
		struct db_delivery d;
		uint64_t next_us = 0;
		int rc = db_delivery_get(db, t, m->number, m->recipients - 1, &d);

		if (rc == 0) {
			next_us = d.next_us;
			if (d.pinned && !d.withdrawn && m->readers > 0)
				m->readers--;
		} else if (rc != ERR_NOT_FOUND && rc != ERR_MALFORMED) {
			return rc;
		}
		rc = db_delete(db, t, DB_DELIVERY, &key);
		if (rc == 0 && next_us != 0 && next_us != cut_us)
			rc = db_job_cut(db, t, next_us, m->number, remaining);
		if (rc != 0)
			return rc;
		cut_us = next_us;
		m->recipients--;
	}
	return 0;
}

/* Takes all that hangs on the record away, then the record. */
static int remove_record(struct db *db, struct kv_txn *t, const struct db_message *m)
{
	struct db_key key = db_key64(m->number);
	struct db_message none = *m;
	int rc;

	none.freed = none.forgotten = true;
	none.has_submission_id = false;
	none.sweep_us = 0;
	rc = db_message_put(db, t, &none);
	if (rc == 0)
		rc = db_delete(db, t, DB_MESSAGE, &key);
	if (rc == 0)
		rc = db_delete(db, t, DB_CONTENT, &key);
	return rc;
}

int db_message_remove(struct db *db, struct kv_txn *t, uint64_t number, unsigned limit)
{
	struct db_message m, counted;
	uint32_t remaining;
	bool last;
	int rc = db_message_get(db, t, number, &m);

	if (rc != 0)
		return rc == ERR_NOT_FOUND ? 0 : rc;
	last = m.recipients <= limit;
	remaining = last ? 0 : m.recipients - limit;
	counted = m;
	rc = remove_deliveries(db, t, &counted, remaining);
	/* Again: the views of the first time ended with the first write. */
	if (rc == 0)
		rc = db_message_get(db, t, number, &m);
	if (rc == 0) {
		m.recipients = counted.recipients;
		m.readers = counted.readers;
		rc = last ? remove_record(db, t, &m) : db_message_put(db, t, &m);
	}
	if (rc != 0)
		return db_late(rc);
	return last ? 0 : ERR_AGAIN;
}
