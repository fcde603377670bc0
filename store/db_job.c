/* The notifier's work, in the order in which it is due. */
#include <string.h>

#include "base/name.h"
#include "store/db.h"
#include "store/db_table.h"

#define JOB_RECORD 1
#define JOB_MAX (16 + NAME_DOMAIN_MAX + RECORD_SEAL)
#define JOB_KEY 21

int db_job_decode(struct span key, struct span value, struct db_job *out)
{
	struct record_reader r;
	uint8_t kind;

	memset(out, 0, sizeof *out);
	if (key.n != JOB_KEY)
		return ERR_MALFORMED;
	out->due_us = kv_get_u64(key.p);
	out->message = kv_get_u64(key.p + 8);
	out->first = kv_get_u32(key.p + 16);
	kind = key.p[20];
	if (kind != DB_JOB_NOTIFY && kind != DB_JOB_WITHDRAW)
		return ERR_MALFORMED;
	out->kind = (enum db_job_kind)kind;
	record_open(&r, value, key, JOB_RECORD);
	out->count = record_get32(&r);
	out->attempts = record_get16(&r);
	out->account = record_get32(&r);
	out->domain = record_get_text8(&r);
	return record_end(&r);
}

static struct db_key job_key(const struct db_job *job)
{
	return db_key_job(job->due_us, job->message, job->first, (uint8_t)job->kind);
}

int db_job_put(struct db *db, struct kv_txn *t, const struct db_job *job)
{
	struct db_key key = job_key(job);
	uint8_t octets[JOB_MAX];
	struct record_writer w;
	struct span record;
	int rc;

	record_begin(&w, octets, sizeof octets, db_key_span(&key), JOB_RECORD);
	record_put32(&w, job->count);
	record_put16(&w, job->attempts);
	record_put32(&w, job->account);
	record_put_text8(&w, job->domain);
	rc = record_done(&w, &record);
	return rc != 0 ? rc : db_put(db, t, DB_JOB, &key, record);
}

int db_job_remove(struct db *db, struct kv_txn *t, const struct db_job *job)
{
	struct db_key key = job_key(job);

	return kv_delete(t, db->table[DB_JOB], db_key_span(&key));
}

int db_job_next(struct db *db, struct kv_txn *t, const struct db_job *after,
                struct db_job *out)
{
	struct db_key from = after != NULL ? job_key(after) : db_key_job(0, 0, 0, 0);
	struct span key, value;
	struct kv_cursor *c;
	int rc = kv_cursor_open(t, db->table[DB_JOB], &c);

	if (rc != 0)
		return rc;
	rc = kv_cursor_seek(c, db_key_span(&from), &key, &value);
	if (rc == 0 && after != NULL && span_eq(key, db_key_span(&from)))
		rc = kv_cursor_next(c, &key, &value);
	kv_cursor_close(c);
	if (rc == 0 && db_job_decode(key, value, out) != 0)
		rc = db_damaged(DB_JOB, key);
	return rc;
}

int db_job_walk(struct db *db, struct kv_txn *t, const struct db_job *after,
                bool (*each)(void *ctx, const struct db_job *job), void *ctx)
{
	struct db_key from = after != NULL ? job_key(after) : db_key_job(0, 0, 0, 0);
	struct span key, value;
	struct kv_cursor *c;
	struct db_job job;
	int rc = kv_cursor_open(t, db->table[DB_JOB], &c);

	if (rc != 0)
		return rc;
	rc = kv_cursor_seek(c, db_key_span(&from), &key, &value);
	if (rc == 0 && after != NULL && span_eq(key, db_key_span(&from)))
		rc = kv_cursor_next(c, &key, &value);
	for (; rc == 0; rc = kv_cursor_next(c, &key, &value)) {
		if (db_job_decode(key, value, &job) != 0)
			(void)db_damaged(DB_JOB, key);
		else if (!each(ctx, &job))
			break;
	}
	kv_cursor_close(c);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

int db_job_cut(struct db *db, struct kv_txn *t, uint64_t due_us, uint64_t message,
               uint32_t remaining)
{
	struct db_job at = { .due_us = due_us, .message = message }, job;
	int rc;

	while ((rc = db_job_next(db, t, &at, &job)) == 0) {
		if (job.due_us != due_us || job.message != message)
			return 0;
		at = job;
		at.domain = span_of(NULL, 0); /* gone with the next write */
		if (job.first >= remaining) {
			rc = db_job_remove(db, t, &job);
		} else if (remaining - job.first < job.count) {
			job.count = remaining - job.first;
			rc = db_job_put(db, t, &job);
		}
		if (rc != 0)
			return rc;
	}
	return rc == ERR_NOT_FOUND ? 0 : rc;
}
