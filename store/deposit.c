#include "store/deposit.h"

#include <string.h>

#include "store/delivery.h"

/* Keys and values, as far as they do not depend on the message. */
#define RECORDS_OCTETS 1024
#define DELIVERY_OCTETS 160 /* with a share of its job */

/*
 * Whether the submission is still the caller's to go on with, and its account
 * has room for M.
 */
static int check(const struct deposit *d, struct kv_txn *t, const struct db_message *m)
{
	struct db_account account;
	struct db_message old;
	uint64_t other, used = 0, more;
	int err;

	if (d->submission_id != NULL) {
		err = db_submission_find(d->db, t, d->account, d->submission_id, &other);
		if (err == 0 && other != d->number)
			return ERR_EXISTS;
		if (err != 0 && err != ERR_NOT_FOUND)
			return err;
	}
	if (d->held > 0) {
		err = db_message_get(d->db, t, d->number, &old);
		if (err != 0)
			return err;
		if (old.state != DB_RECEIVING || old.size_octets != d->held)
			return ERR_EXISTS;
		used = db_message_usage(&old);
	}
	err = db_account_by_number(d->db, t, d->account, &account);
	if (err != 0)
		return err;
	more = db_message_usage(m);
	more = more > used ? more - used : 0;
	if (account.quota_octets != 0 && more > 0 &&
	    (account.used_octets >= account.quota_octets ||
	     more > account.quota_octets - account.used_octets))
		return ERR_TOO_BIG;
	return 0;
}

/* The record as it is alike while octets come and at the end. */
static void fill_record(const struct deposit *d, uint8_t extent[DB_EXTENT_SIZE],
                        struct db_message *m)
{
	uint64_t size = d->stored + d->octets.n;

	memset(m, 0, sizeof(*m));
	m->number = d->number;
	m->account = d->account;
	m->key = d->key;
	m->state = DB_RECEIVING;
	m->submitted_us = d->now_us;
	m->expires_us = d->expires_us;
	m->size_octets = size;
	m->expected_octets = d->expected_octets;
	m->sender = d->sender;
	if (d->submission_id != NULL) {
		m->has_submission_id = true;
		memcpy(m->submission_id, d->submission_id, sizeof(m->submission_id));
	}
	if (size > 0) {
		db_extent_write(&(struct db_extent) { .blob = d->number, .octets = size }, extent);
		m->extents = span_of(extent, DB_EXTENT_SIZE);
	}
}

static int put_octets(const struct deposit *d, struct kv_txn *t, const uint8_t *digest)
{
	uint64_t size = d->stored + d->octets.n;
	uint32_t index = (uint32_t)(d->stored / DB_BLOCK);
	int err;

	if (size == 0)
		return 0;
	err = db_blob_put(d->db, t, d->number, size, digest);
	for (size_t at = 0; err == 0 && at < d->octets.n; at += DB_BLOCK) {
		size_t n = d->octets.n - at;

		err = db_block_put(d->db, t, d->number, index++,
		                   span_of(d->octets.p + at, n < DB_BLOCK ? n : DB_BLOCK));
	}
	/* The one block of a small message needs none: its leaf is the digest. */
	if (err == 0 && d->leaves != NULL && d->leaves->n > 0 && size > DB_BLOCK)
		err = db_leaf_put(d->db, t, d->number, (uint32_t)(d->stored / DB_BLOCK),
		                  (const uint8_t(*)[DIGEST_SIZE])d->leaves->hash, d->leaves->n);
	return err;
}

int deposit_blocks(const struct deposit *d, struct kv_txn *t, uint64_t resume_us)
{
	uint8_t extent[DB_EXTENT_SIZE];
	struct db_message m;
	int err;

	fill_record(d, extent, &m);
	m.sweep_us = d->now_us + resume_us;
	err = check(d, t, &m);
	if (err == 0)
		err = kv_claim(t, d->octets.n + RECORDS_OCTETS);
	if (err == 0)
		err = put_octets(d, t, NULL);
	if (err == 0)
		err = db_message_put(d->db, t, &m);
	return err;
}

static int put_deliveries(const struct deposit_recipients *d, struct kv_txn *t,
                          const struct mailroom_delivery *begin)
{
	struct db_delivery delivery = { .message = d->message };
	int err = 0;

	delivery_follow(&delivery, begin);
	for (uint32_t i = 0; err == 0 && i < d->to->n; i++) {
		delivery.index = d->first + i;
		delivery.mailbox = span_str(addressees_mailbox(d->to, i));
		err = db_delivery_put(d->db, t, &delivery);
	}
	return err;
}

static int put_jobs(const struct deposit_recipients *d, struct kv_txn *t, uint64_t due_us)
{
	struct db_job job = {
		.due_us = due_us,
		.message = d->message,
		.kind = DB_JOB_NOTIFY,
		.account = d->account,
	};
	int err = 0;

	for (uint32_t i = 0; err == 0 && i < d->to->n; i += job.count) {
		job.first = d->first + i;
		job.count = addressees_run(d->to, i, DEPOSIT_JOB_DELIVERIES);
		job.domain = span_str(addressees_domain(addressees_mailbox(d->to, i)));
		err = db_job_put(d->db, t, &job);
	}
	return err;
}

uint64_t deposit_octets(uint32_t recipients)
{
	return (uint64_t)recipients * DELIVERY_OCTETS;
}

int deposit_recipients(const struct deposit_recipients *d, struct kv_txn *t)
{
	struct mailroom_delivery begin;
	int err;

	mailroom_begin(&begin, d->held, d->release_us, d->now_us);
	err = put_deliveries(d, t, &begin);
	if (err == 0 && begin.next_us != 0)
		err = put_jobs(d, t, begin.next_us);
	return err;
}

int deposit_message(const struct deposit_message *d, struct kv_txn *t)
{
	const struct scan_result *r = d->result;
	const struct deposit_recipients recipients = {
		.db = d->part.db,
		.message = d->part.number,
		.account = d->part.account,
		.to = d->to,
		.now_us = d->part.now_us,
		.release_us = d->release_us,
		.held = d->held,
	};
	uint8_t extent[DB_EXTENT_SIZE];
	struct db_message m;
	int err;

	fill_record(&d->part, extent, &m);
	m.state = d->held ? DB_HELD : DB_STORED;
	m.sweep_us = m.expires_us;
	m.release_us = d->release_us;
	m.header_octets = r->header_octets;
	m.recipients = m.readers = d->to->n;
	memcpy(m.digest, r->digest, sizeof(m.digest));
	m.excerpt = span_of(r->excerpt, r->excerpt_n);
	m.structure = span_of(r->structure, r->structure_n);
	m.parts = span_of(r->parts, r->parts_n);
	err = check(&d->part, t, &m);
	if (err == 0)
		err = kv_claim(t, d->part.octets.n + r->excerpt_n + r->structure_n + r->parts_n +
		                      RECORDS_OCTETS + deposit_octets(d->to->n));
	if (err == 0)
		err = put_octets(&d->part, t, r->digest);
	if (err == 0)
		err = db_message_put(d->part.db, t, &m);
	return err != 0 ? err : deposit_recipients(&recipients, t);
}

int deposit_undo(struct db *db, struct kv_txn *t, uint64_t number, uint64_t held)
{
	struct db_message m;
	int err = db_message_get(db, t, number, &m);

	if (err == ERR_NOT_FOUND)
		return 0;
	if (err != 0)
		return err;
	if (m.state != DB_RECEIVING || m.size_octets != held)
		return 0;
	return db_message_remove(db, t, number, DEPOSIT_JOB_DELIVERIES);
}
