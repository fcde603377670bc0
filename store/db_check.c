/*
 * Whether the tables add up: each record can be read, and what one table says
 * about another is so. One read transaction sees one state, also while the
 * daemon runs. Memory: 8 octets for each reference to another message's blob, 32
 * for each job, 32 for each account.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/name.h"
#include "base/text.h"
#include "store/db.h"
#include "store/db_table.h"
#include "wire/enums.h"

struct usage {
	uint32_t account;
	bool there; /* in the table of accounts */
	uint64_t recorded, sum;
};

struct job_range {
	uint64_t message, due_us;
	uint32_t first, count;
	enum db_job_kind kind;
};

/* An array that grows. */
struct list {
	void *item;
	size_t n, cap, size;
};

struct check {
	struct db *db;
	struct kv_txn *t;
	void (*found)(void *ctx, const char *line);
	void *ctx;
	int count;
	int error; /* what ended the check */
	uint64_t next_message, next_account;
	struct list usages;  /* struct usage, by account */
	struct list foreign; /* uint64_t: blobs, one for each extent of another message */
	struct list jobs;    /* struct job_range, by message */
};

static void say(struct check *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct check *c, const char *format, ...)
{
	char line[512];
	va_list ap;

	va_start(ap, format);
	vsnprintf(line, sizeof line, format, ap);
	va_end(ap);
	if (c->count < INT32_MAX)
		c->count++;
	c->found(c->ctx, line);
}

static void say_damaged(struct check *c, enum db_table table, struct span key)
{
	char hex[2 * DB_KEY_MAX + 1];

	text_hex(key.p, key.n < DB_KEY_MAX ? key.n : DB_KEY_MAX, hex);
	say(c, "table %s: the record at %s cannot be read", db_table_names[table], hex);
}

static void *list_add(struct check *c, struct list *l)
{
	if (l->n == l->cap) {
		size_t cap = l->cap != 0 ? 2 * l->cap : 64;
		void *item = reallocarray(l->item, cap, l->size);

		if (item == NULL) {
			c->error = ERR_NOMEM;
			return NULL;
		}
		l->item = item;
		l->cap = cap;
	}
	return memset((uint8_t *)l->item + l->n++ * l->size, 0, l->size);
}

/* Calls EACH for every entry of TABLE whose key has KEY_N octets (0: any number). */
static void walk(struct check *c, enum db_table table, size_t key_n,
                 void (*each)(struct check *c, struct span key, struct span value))
{
	struct span key, value;
	struct kv_cursor *cursor;
	int rc;

	if (c->error != 0)
		return;
	rc = kv_cursor_open(c->t, c->db->table[table], &cursor);
	if (rc != 0) {
		c->error = rc;
		return;
	}
	for (rc = kv_cursor_first(cursor, &key, &value); rc == 0 && c->error == 0;
	     rc = kv_cursor_next(cursor, &key, &value)) {
		if (key_n != 0 && key.n != key_n)
			say_damaged(c, table, key);
		else
			each(c, key, value);
	}
	kv_cursor_close(cursor);
	if (rc != 0 && rc != ERR_NOT_FOUND)
		c->error = rc;
}

/* Whether TABLE has an entry at KEY; *VALUE is it. Ends the check on errors. */
static bool there(struct check *c, enum db_table table, const struct db_key *key,
                  struct span *value)
{
	int rc = db_get(c->db, c->t, table, key, value);

	if (rc != 0 && rc != ERR_NOT_FOUND)
		c->error = rc;
	return rc == 0;
}

/* The message NUMBER, core record alone. False: not there, or damaged (told where it is walked). */
static bool message_there(struct check *c, uint64_t number, struct db_message *m)
{
	struct db_key key = db_key64(number);
	struct span value;

	return there(c, DB_MESSAGE, &key, &value) &&
	       db_message_decode(db_key_span(&key), value, m) == 0;
}

#define LL(v) ((unsigned long long)(v))

/* --- accounts -------------------------------------------------------------------------- */

static int usage_order(const void *a, const void *b)
{
	const struct usage *x = a, *y = b;

	return x->account < y->account ? -1 : x->account > y->account;
}

static struct usage *usage_find(struct check *c, uint32_t account)
{
	struct usage key = { .account = account };

	if (c->usages.n == 0)
		return NULL;
	return bsearch(&key, c->usages.item, c->usages.n, sizeof key, usage_order);
}

static void check_usage(struct check *c, struct span key, struct span value)
{
	struct usage *u = list_add(c, &c->usages);

	if (u == NULL)
		return;
	u->account = kv_get_u32(key.p);
	if (db_number64_decode(value, &u->recorded) != 0)
		say_damaged(c, DB_USAGE, key);
}

static void check_account(struct check *c, struct span key, struct span value)
{
	struct db_account a;
	struct usage *u;
	struct span entry;
	uint32_t number;
	int rc;

	if (db_account_decode(key, value, &a) != 0) {
		say_damaged(c, DB_ACCOUNT, key);
		return;
	}
	if (a.number >= c->next_account)
		say(c, "account %u: its number was never given", a.number);
	u = usage_find(c, a.number);
	if (u == NULL)
		say(c, "account %u: no record of what it uses", a.number);
	else
		u->there = true;
	rc = kv_get(c->t, c->db->table[DB_ACCOUNT_NAME], a.name, &entry);
	if (rc != 0 && rc != ERR_NOT_FOUND)
		c->error = rc;
	else if (rc != 0 || db_number32_decode(entry, &number) != 0 || number != a.number)
		say(c, "account %u: its name does not lead to it", a.number);
}

static void check_account_name(struct check *c, struct span key, struct span value)
{
	struct db_account a;
	struct db_key account;
	struct span record;
	uint32_t number;

	if (db_number32_decode(value, &number) != 0) {
		say_damaged(c, DB_ACCOUNT_NAME, key);
		return;
	}
	account = db_key32(number);
	if (!there(c, DB_ACCOUNT, &account, &record) ||
	    db_account_decode(db_key_span(&account), record, &a) != 0 || !span_eq(a.name, key))
		say(c, "account %u: a name leads to it that it does not have", number);
}

static void check_usages(struct check *c)
{
	struct usage *u = c->usages.item;

	for (size_t i = 0; i < c->usages.n; i++) {
		if (!u[i].there)
			say(c, "account %u: a record of what it uses, but no account", u[i].account);
		else if (u[i].recorded != u[i].sum)
			say(c, "account %u: uses %llu octets, but its messages have %llu",
			    u[i].account, LL(u[i].recorded), LL(u[i].sum));
	}
}

/* --- messages -------------------------------------------------------------------------- */

static void check_message_extents(struct check *c, const struct db_message *m)
{
	struct span rest = m->extents;
	struct db_extent x;
	uint64_t sum = 0;

	while (db_extent_next(&rest, &x)) {
		struct db_key key = db_key64(x.blob);
		struct db_blob b;
		struct span value;

		sum += x.octets;
		if (!there(c, DB_BLOB, &key, &value))
			say(c, "message %llu: its blob %llu is missing", LL(m->number), LL(x.blob));
		else if (db_blob_decode(db_key_span(&key), value, &b) == 0 &&
		         (x.octets > b.size || x.at > b.size - x.octets))
			say(c, "message %llu: octets beyond the end of blob %llu", LL(m->number),
			    LL(x.blob));
		if (x.blob != m->number) {
			uint64_t *blob = list_add(c, &c->foreign);

			if (blob == NULL)
				return;
			*blob = x.blob;
		}
	}
	if (m->freed && m->extents.n > 0)
		say(c, "message %llu: freed, but with octets", LL(m->number));
	if (!m->freed && sum != m->size_octets)
		say(c, "message %llu: has %llu octets of %llu", LL(m->number), LL(sum),
		    LL(m->size_octets));
	if (m->header_octets > m->size_octets)
		say(c, "message %llu: its header is longer than the message", LL(m->number));
}

static void check_message_octets(struct check *c, const struct db_message *m)
{
	int rc;

	check_message_extents(c, m);
	rc = db_message_digest_check(c->db, c->t, m);
	if (rc == ERR_MALFORMED)
		say(c, "message %llu: its octets have another digest", LL(m->number));
	else if (rc != 0)
		c->error = rc;
}

/* What db_message_put keeps: submission, archive and expiry. */
static void check_message_entries(struct check *c, const struct db_message *m)
{
	struct db_key key;
	struct span value;
	uint64_t number;

	if (m->has_submission_id) {
		key = db_key_submission(m->account, m->submission_id);
		if (!there(c, DB_SUBMISSION, &key, &value) ||
		    db_number64_decode(value, &number) != 0 || number != m->number)
			say(c, "message %llu: its submission id does not lead to it", LL(m->number));
	}
	key = db_key32_64(m->account, m->number);
	if (db_message_archived(m) && !there(c, DB_ARCHIVE, &key, &value))
		say(c, "message %llu: not in its account's archive", LL(m->number));
	key = db_key64_64(m->sweep_us, m->number);
	if (m->sweep_us != 0 && !there(c, DB_EXPIRY, &key, &value))
		say(c, "message %llu: has no expiry entry", LL(m->number));
}

/* Its deliveries are those it counts. */
static void check_message_deliveries(struct check *c, const struct db_message *m)
{
	uint32_t n = 0, readers = 0;

	c->error = db_deliveries_count(c->db, c->t, m, &n, &readers);
	if (n != m->recipients)
		say(c, "message %llu: %u of %u deliveries are there", LL(m->number), n,
		    m->recipients);
	else if (readers != m->readers)
		say(c, "message %llu: counts %u readers, its deliveries have %u", LL(m->number),
		    m->readers, readers);
}

static void check_message(struct check *c, struct span key, struct span value)
{
	struct db_key same = db_key64(kv_get_u64(key.p));
	struct span content;
	struct db_message m;
	const char *fault;
	struct usage *u;

	if (db_message_decode(key, value, &m) != 0) {
		say_damaged(c, DB_MESSAGE, key);
		return;
	}
	if (m.number == 0 || m.number >= c->next_message)
		say(c, "message %llu: its number was never given", LL(m.number));
	if (!there(c, DB_CONTENT, &same, &content))
		say(c, "message %llu: its content record is missing", LL(m.number));
	else if (db_content_decode(content, &m) != 0)
		say_damaged(c, DB_CONTENT, key);
	else
		check_message_octets(c, &m);
	if ((fault = db_message_fault(&m)) != NULL)
		say(c, "message %llu: %s", LL(m.number), fault);
	if (m.account == 0 || m.account >= c->next_account)
		say(c, "message %llu: of account %u, whose number was never given", LL(m.number),
		    m.account);
	check_message_entries(c, &m);
	check_message_deliveries(c, &m);
	u = usage_find(c, m.account);
	if (u != NULL)
		u->sum += db_message_usage(&m);
}

static void check_content(struct check *c, struct span key, struct span value)
{
	struct db_key same = db_key64(kv_get_u64(key.p));

	if (!there(c, DB_MESSAGE, &same, &value))
		say(c, "content of message %llu, which is missing", LL(kv_get_u64(key.p)));
}

/* --- what leads to messages ------------------------------------------------------------ */

static void check_submission(struct check *c, struct span key, struct span value)
{
	struct db_message m;
	uint64_t number;

	if (db_number64_decode(value, &number) != 0) {
		say_damaged(c, DB_SUBMISSION, key);
		return;
	}
	if (!message_there(c, number, &m) || !m.has_submission_id ||
	    m.account != kv_get_u32(key.p) || memcmp(m.submission_id, key.p + 4, 16) != 0)
		say(c, "message %llu: a submission id leads to it that it does not have",
		    LL(number));
}

static void check_archive(struct check *c, struct span key, struct span value)
{
	uint64_t number = kv_get_u64(key.p + 4);
	struct db_message m;

	if (db_mark_decode(value) != 0)
		say_damaged(c, DB_ARCHIVE, key);
	if (!message_there(c, number, &m) || m.account != kv_get_u32(key.p) ||
	    !db_message_archived(&m))
		say(c, "message %llu: in the archive of account %u, where it does not belong",
		    LL(number), kv_get_u32(key.p));
}

static void check_expiry(struct check *c, struct span key, struct span value)
{
	uint64_t number = kv_get_u64(key.p + 8);
	struct db_message m;

	if (db_mark_decode(value) != 0)
		say_damaged(c, DB_EXPIRY, key);
	if (!message_there(c, number, &m) || m.sweep_us != kv_get_u64(key.p))
		say(c, "message %llu: an expiry entry at another time than its own", LL(number));
}

static void check_change(struct check *c, struct span key, struct span value)
{
	uint32_t account = kv_get_u32(key.p), index;
	struct db_message m;
	uint64_t message;

	if (db_change_decode(key, value, &message, &index) != 0) {
		say_damaged(c, DB_CHANGE, key);
		return;
	}
	if (message == 0 || message >= c->next_message)
		say(c, "a change of message %llu, whose number was never given", LL(message));
	if (account == 0 || account >= c->next_account)
		say(c, "a change of account %u, whose number was never given", account);
	/* Its message may be gone: changes are kept for a time of their own. */
	if (message_there(c, message, &m) && (m.account != account || index >= m.recipients))
		say(c, "a change of message %llu: of delivery %u for account %u, which it has not",
		    LL(message), index, account);
}

/* --- octets ---------------------------------------------------------------------------- */

static int number_order(const void *a, const void *b)
{
	uint64_t x, y;

	memcpy(&x, a, sizeof x);
	memcpy(&y, b, sizeof y);
	return x < y ? -1 : x > y;
}

/* How many extents of other messages name BLOB. */
static uint32_t foreign_count(const struct check *c, uint64_t blob)
{
	const uint64_t *list = c->foreign.item;
	size_t low = 0, high = c->foreign.n;
	uint32_t n = 0;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (list[middle] < blob)
			low = middle + 1;
		else
			high = middle;
	}
	while (low < c->foreign.n && list[low++] == blob)
		n++;
	return n;
}

static void check_blob_octets(struct check *c, const struct db_blob *b)
{
	struct db_blob_found found;
	int rc = db_blob_examine(c->db, c->t, b, &found);

	if (rc != 0)
		c->error = rc;
	else if (!found.whole)
		say(c, "blob %llu: its blocks do not make up its %llu octets (%llu are held)",
		    LL(b->number), LL(b->size), LL(found.held));
	else if (!found.digest)
		say(c, "blob %llu: its octets have another digest", LL(b->number));
	if (rc == 0 && !found.leaves)
		say(c, "blob %llu: its leaf hashes do not belong to its digest", LL(b->number));
}

static void check_blob(struct check *c, struct span key, struct span value)
{
	struct db_key same = db_key64(kv_get_u64(key.p));
	struct db_blob b;
	struct span mark;
	uint32_t n;
	bool swept;

	if (db_blob_decode(key, value, &b) != 0) {
		say_damaged(c, DB_BLOB, key);
		return;
	}
	n = foreign_count(c, b.number);
	c->error = db_blob_own_references(c->db, c->t, b.number, &n);
	if (n != b.references)
		say(c, "blob %llu: counts %u references, messages have %u", LL(b.number),
		    b.references, n);
	swept = there(c, DB_SWEEP, &same, &mark);
	if (swept != (b.references == 0))
		say(c, "blob %llu: %s", LL(b.number),
		    swept ? "to be swept, though it has references"
		          : "has no reference, but is not to be swept");
	if (!swept)
		check_blob_octets(c, &b);
}

static void check_sweep(struct check *c, struct span key, struct span value)
{
	struct db_key same = db_key64(kv_get_u64(key.p));

	if (db_mark_decode(value) != 0)
		say_damaged(c, DB_SWEEP, key);
	if (!there(c, DB_BLOB, &same, &value))
		say(c, "blob %llu: to be swept, but missing", LL(kv_get_u64(key.p)));
}

static void check_block(struct check *c, struct span key, struct span value)
{
	struct db_key blob = db_key64(kv_get_u64(key.p));

	if (!there(c, DB_BLOB, &blob, &value))
		say(c, "block %u of blob %llu, which is missing", kv_get_u32(key.p + 8),
		    LL(kv_get_u64(key.p)));
}

static void check_leaf(struct check *c, struct span key, struct span value)
{
	uint64_t number = kv_get_u64(key.p), run = kv_get_u32(key.p + 8);
	struct db_key blob = db_key64(number), before = db_key64_32(number, (uint32_t)run - 1);
	struct db_blob b;

	if (!there(c, DB_BLOB, &blob, &value) || db_blob_decode(db_key_span(&blob), value, &b) != 0)
		say(c, "leaf hashes of blob %llu, which is missing", LL(number));
	else if (run * DB_LEAF_RUN * DB_BLOCK >= b.size ||
	         (run > 0 && b.references > 0 && !there(c, DB_LEAF, &before, &value)))
		say(c, "blob %llu: leaf hashes of run %llu, but none before", LL(number), LL(run));
}

/* --- deliveries and jobs --------------------------------------------------------------- */

static int job_order(const void *a, const void *b)
{
	const struct job_range *x = a, *y = b;

	return x->message < y->message ? -1 : x->message > y->message;
}

static void check_job_deliveries(struct check *c, const struct db_job *job)
{
	for (uint32_t i = job->first; i - job->first < job->count && c->error == 0; i++) {
		struct db_key key = db_key64_32(job->message, i);
		struct db_delivery d;
		struct mailbox name;
		struct span value;

		if (!there(c, DB_DELIVERY, &key, &value))
			return; /* told where it is walked, as below */
		if (db_delivery_decode(db_key_span(&key), value, &d) != 0 ||
		    span_copy(d.mailbox, name.text, sizeof name.text) != 0)
			continue;
		if (d.mailbox.n <= job->domain.n ||
		    d.mailbox.p[d.mailbox.n - job->domain.n - 1] != '@' ||
		    !span_eq(span_after(d.mailbox, d.mailbox.n - job->domain.n), job->domain)) {
			say(c, "a job of message %llu: delivery %u is of another domain",
			    LL(job->message), i);
			return;
		}
	}
}

static void check_job(struct check *c, struct span key, struct span value)
{
	struct job_range *range;
	struct db_message m;
	struct db_job job;

	if (db_job_decode(key, value, &job) != 0) {
		say_damaged(c, DB_JOB, key);
		return;
	}
	if (!message_there(c, job.message, &m)) {
		/* Once due it is dropped; until then it has a message, see db_message_remove. */
		if (job.due_us > clock_now_us())
			say(c, "a job of message %llu, which is missing", LL(job.message));
		return;
	}
	if (job.account != m.account)
		say(c, "a job of message %llu: for another account", LL(job.message));
	if (job.count == 0 || job.first >= m.recipients || job.count > m.recipients - job.first)
		say(c, "a job of message %llu: deliveries %u and %u more, of %u", LL(job.message),
		    job.first, job.count, m.recipients);
	else
		check_job_deliveries(c, &job);
	range = list_add(c, &c->jobs);
	if (range != NULL)
		*range = (struct job_range){ .message = job.message,
			                     .due_us = job.due_us,
			                     .first = job.first,
			                     .count = job.count,
			                     .kind = job.kind };
}

/* Whether a job will try delivery D again. */
static bool job_covers(const struct check *c, const struct db_delivery *d)
{
	enum db_job_kind kind = d->withdrawn ? DB_JOB_WITHDRAW : DB_JOB_NOTIFY;
	const struct job_range *job = c->jobs.item;
	size_t low = 0, high = c->jobs.n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (job[middle].message < d->message)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < c->jobs.n && job[low].message == d->message; low++)
		if (job[low].kind == kind && job[low].due_us >= d->next_us &&
		    d->index >= job[low].first && d->index - job[low].first < job[low].count)
			return true;
	return false;
}

static void check_delivery(struct check *c, struct span key, struct span value)
{
	struct db_delivery d;
	struct db_message m;
	struct mailbox name;

	if (db_delivery_decode(key, value, &d) != 0) {
		say_damaged(c, DB_DELIVERY, key);
		return;
	}
	if (!message_there(c, d.message, &m) || d.index >= m.recipients)
		say(c, "delivery %u of message %llu, which has none such", d.index, LL(d.message));
	if (d.notification >= WIRE_NOTIFICATION_COUNT || d.read >= WIRE_READ_COUNT)
		say(c, "delivery %u of message %llu: its status is unknown", d.index,
		    LL(d.message));
	if (name_parse_mailbox(d.mailbox, &name) != 0 && memchr(d.mailbox.p, '@', d.mailbox.n) == NULL)
		say(c, "delivery %u of message %llu: its mailbox is none", d.index, LL(d.message));
	if (d.next_us != 0 && !job_covers(c, &d))
		say(c, "delivery %u of message %llu: is to be tried again, but no job does so",
		    d.index, LL(d.message));
}

/* --- the check ------------------------------------------------------------------------- */

static void check_meta(struct check *c)
{
	uint64_t schema;

	if (db_meta_get(c->db, c->t, DB_META_SCHEMA, 0, &schema) != 0 || schema != DB_SCHEMA)
		say(c, "table meta: the schema's number is missing or wrong");
	if (db_meta_get(c->db, c->t, DB_META_MESSAGES, 1, &c->next_message) != 0) {
		say(c, "table meta: the next message's number cannot be read");
		c->next_message = UINT64_MAX;
	}
	if (db_meta_get(c->db, c->t, DB_META_ACCOUNTS, 1, &c->next_account) != 0) {
		say(c, "table meta: the next account's number cannot be read");
		c->next_account = UINT64_MAX;
	}
}

static void check_meta_name(struct check *c, struct span key, struct span value)
{
	(void)value;
	if (!span_eq_str(key, DB_META_SCHEMA) && !span_eq_str(key, DB_META_MESSAGES) &&
	    !span_eq_str(key, DB_META_ACCOUNTS))
		say_damaged(c, DB_META, key);
}

static void check_tables(struct check *c)
{
	check_meta(c);
	walk(c, DB_META, 0, check_meta_name);
	walk(c, DB_USAGE, 4, check_usage);
	walk(c, DB_ACCOUNT, 4, check_account);
	walk(c, DB_ACCOUNT_NAME, 0, check_account_name);
	walk(c, DB_MESSAGE, 8, check_message);
	walk(c, DB_CONTENT, 8, check_content);
	check_usages(c);
	walk(c, DB_SUBMISSION, 20, check_submission);
	walk(c, DB_ARCHIVE, 12, check_archive);
	walk(c, DB_EXPIRY, 16, check_expiry);
	walk(c, DB_CHANGE, 12, check_change);
	if (c->foreign.n > 0)
		qsort(c->foreign.item, c->foreign.n, c->foreign.size, number_order);
	walk(c, DB_BLOB, 8, check_blob);
	walk(c, DB_SWEEP, 8, check_sweep);
	walk(c, DB_BLOCK_DATA, 12, check_block);
	walk(c, DB_LEAF, 12, check_leaf);
	walk(c, DB_JOB, 0, check_job);
	if (c->jobs.n > 0)
		qsort(c->jobs.item, c->jobs.n, c->jobs.size, job_order);
	walk(c, DB_DELIVERY, 12, check_delivery);
}

int db_check(struct db *db, void (*found)(void *ctx, const char *line), void *ctx)
{
	struct check c = {
		.db = db,
		.t = kv_read_begin(db->kv),
		.found = found,
		.ctx = ctx,
		.usages = { .size = sizeof(struct usage) },
		.foreign = { .size = sizeof(uint64_t) },
		.jobs = { .size = sizeof(struct job_range) },
	};

	if (c.t == NULL)
		return ERR_NOMEM;
	check_tables(&c);
	kv_read_end(c.t);
	free(c.usages.item);
	free(c.foreign.item);
	free(c.jobs.item);
	return c.error != 0 ? c.error : c.count;
}
