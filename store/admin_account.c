/* im2000-store account: who may submit. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/name.h"
#include "base/text.h"
#include "session/program.h"
#include "session/report.h"
#include "store/admin.h"
#include "store/admin_words.h"

/* --- what is said on the command line ------------------------------------------------------ */

static int check_name(const char *name, struct err_text *e)
{
	struct span s = span_str(name);

	if (s.n == 0 || s.n > DB_ACCOUNT_NAME_MAX)
		return err_set(e, ERR_MALFORMED, "an account's name has 1 to %d octets",
		               DB_ACCOUNT_NAME_MAX);
	if (!text_is_utf8(s))
		return err_set(e, ERR_MALFORMED, "the account's name is not UTF-8 text");
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < 0x20 || s.p[i] == 0x7f)
			return err_set(e, ERR_MALFORMED, "the account's name has a control character");
	return 0;
}

/* It is allowed: agents believe whoever shows a certificate for the sender's domain. */
static void warn_foreign(const struct config *c, const char *domain)
{
	if (!config_serves(c, domain))
		fprintf(stderr,
		        "%s: note: domain %s is not in the configuration; agents believe its senders "
		        "only if the certificate covers it\n",
		        ADMIN_PROGRAM, domain);
}

/* One --sender, a mailbox or "@domain", in canonical form. */
static int parse_sender(const char *text, struct mailbox *out, struct err_text *e)
{
	int rc;

	if (text[0] == '@') {
		out->text[0] = '@';
		out->local_n = 0;
		rc = name_parse_domain(span_str(text + 1), out->text + 1);
	} else {
		rc = name_parse_mailbox(span_str(text), out);
	}
	if (rc == 0)
		return 0;
	return err_set(e, ERR_MALFORMED,
	               "\"%.300s\" is no sender (as in alice@a.example, or @a.example for all of "
	               "a domain)",
	               text);
}

/* All of them with their NULs. */
static int read_senders(const struct config *c, const struct verb_words *w, struct buf *out,
                        struct err_text *e)
{
	struct mailbox mailbox;
	const char *text;
	int rc = 0;

	for (size_t i = 0; rc == 0 && (text = verb_value(w, ADMIN_TAKES_SENDER, i)) != NULL; i++) {
		rc = parse_sender(text, &mailbox, e);
		if (rc != 0)
			break;
		warn_foreign(c, mailbox_domain(&mailbox));
		rc = buf_add(out, mailbox.text, strlen(mailbox.text) + 1);
	}
	return rc;
}

static int parse_quota(const struct verb_words *w, uint64_t *out, struct err_text *e)
{
	const char *quota = verb_value(w, ADMIN_TAKES_QUOTA, 0);

	*out = 0;
	if (quota == NULL || text_parse_size(quota, out) == 0)
		return 0;
	return err_set(e, ERR_MALFORMED, "quota: \"%.60s\" is no size (as in 10G)", quota);
}

/* What `account add` can refuse before it looks at anything else. */
static int judge_add(const struct verb_words *w, struct err_text *e)
{
	struct mailbox mailbox;
	const char *text;
	uint64_t quota;
	int rc = check_name(w->rest[0], e);

	if (rc == 0 && verb_value(w, ADMIN_TAKES_SENDER, 0) == NULL)
		rc = err_set(e, ERR_MALFORMED, "--sender MAILBOX is wanted");
	for (size_t i = 0; rc == 0 && (text = verb_value(w, ADMIN_TAKES_SENDER, i)) != NULL; i++)
		rc = parse_sender(text, &mailbox, e);
	return rc != 0 ? rc : parse_quota(w, &quota, e);
}

/* --- changes ------------------------------------------------------------------------------- */

static int begin(struct verb_place *p, struct kv_txn **t, const char *doing,
                 struct err_text *e)
{
	int rc = kv_write_begin(db_kv(p->db), t);

	return rc == 0 ? 0 : err_set(e, rc, "%s: %s", doing, err_phrase(rc));
}

/* Whether account NAME is there, before a secret is asked for or printed. */
static int expect(struct verb_place *p, const char *name, bool there, struct err_text *e)
{
	struct kv_txn *t = db_read_begin(p->db);
	struct db_account a;
	int rc = t != NULL ? db_account_find(p->db, t, span_str(name), &a) : ERR_NOMEM;

	db_read_end(t);
	if (rc == 0 && !there)
		return err_set(e, ERR_EXISTS, "account %s is there already", name);
	if (rc == ERR_NOT_FOUND && there)
		return err_set(e, rc, "there is no account %s", name);
	if (rc != 0 && rc != ERR_NOT_FOUND)
		return err_set(e, rc, "look up account %s: %s", name, err_phrase(rc));
	return 0;
}

static int put_new(struct verb_place *p, struct db_account *a, const char *name,
                   struct err_text *e)
{
	struct kv_txn *t;
	int rc = begin(p, &t, "add the account", e);

	if (rc != 0)
		return rc;
	rc = db_account_put(p->db, t, a);
	if (rc == ERR_EXISTS)
		err_set(e, rc, "account %s is there already", name);
	return report_change(t, rc, "add the account", e);
}

static int account_add(struct verb_place *p, const struct verb_words *w, struct err_text *e)
{
	struct db_account a = { .name = span_str(w->rest[0]), .created_us = clock_now_us() };
	struct buf senders;
	int rc = parse_quota(w, &a.quota_octets, e);

	buf_init(&senders, DB_ACCOUNT_SENDERS_MAX);
	if (rc == 0)
		rc = read_senders(&p->config, w, &senders, e);
	if (rc == 0)
		rc = expect(p, w->rest[0], false, e);
	if (rc == 0)
		rc = program_secret(w->password_file, w->token, &a.hash, e);
	a.senders = buf_view(&senders);
	if (rc == 0)
		rc = put_new(p, &a, w->rest[0], e);
	buf_free(&senders);
	return rc;
}

static int account_remove(struct verb_place *p, const struct verb_words *w,
                          struct err_text *e)
{
	struct kv_txn *t;
	int rc = expect(p, w->rest[0], true, e);

	if (rc == 0)
		rc = begin(p, &t, "remove the account", e);
	if (rc != 0)
		return rc;
	return report_change(t, db_account_remove(p->db, t, span_str(w->rest[0])),
	                     "remove the account", e);
}

static int account_password(struct verb_place *p, const struct verb_words *w,
                            struct err_text *e)
{
	struct password_hash hash;
	struct db_account a;
	struct kv_txn *t;
	int rc = expect(p, w->rest[0], true, e);

	if (rc == 0)
		rc = program_secret(w->password_file, w->token, &hash, e);
	if (rc == 0)
		rc = begin(p, &t, "change the password", e);
	if (rc != 0)
		return rc;
	rc = db_account_find(p->db, t, span_str(w->rest[0]), &a);
	if (rc == 0) {
		a.hash = hash;
		rc = db_account_put(p->db, t, &a);
	}
	return report_change(t, rc, "change the password", e);
}

/* --- list ---------------------------------------------------------------------------------- */

/* The next sender of the list in REST, without its NUL. */
static bool next_sender(struct span *rest, struct span *out)
{
	const uint8_t *end;

	if (rest->n == 0)
		return false;
	end = memchr(rest->p, '\0', rest->n);
	*out = span_of(rest->p, end != NULL ? (size_t)(end - rest->p) : rest->n);
	*rest = span_after(*rest, out->n + 1);
	return true;
}

static int add_json(struct buf *out, const struct db_account *a, uint64_t reserved,
                    const char *created)
{
	struct span rest = a->senders, sender;
	int rc = buf_add_str(out, "{\"account\":");

	if (rc == 0)
		rc = text_json(out, a->name);
	if (rc == 0)
		rc = buf_add_str(out, ",\"senders\":[");
	for (bool first = true; rc == 0 && next_sender(&rest, &sender); first = false) {
		rc = first ? 0 : buf_add_str(out, ",");
		if (rc == 0)
			rc = text_json(out, sender);
	}
	return rc != 0 ? rc
	               : buf_addf(out,
	                          "],\"used\":%llu,\"reserved\":%llu,\"quota\":%llu,"
	                          "\"created\":\"%s\"}\n",
	                          (unsigned long long)a->used_octets,
	                          (unsigned long long)reserved,
	                          (unsigned long long)a->quota_octets, created);
}

static int add_text(struct buf *out, const struct db_account *a, const char *created)
{
	struct span rest = a->senders, sender;
	char used[16], quota[16];
	int rc;

	text_size(a->used_octets, used, sizeof used);
	if (a->quota_octets != 0)
		text_size(a->quota_octets, quota, sizeof quota);
	else
		snprintf(quota, sizeof quota, "any");
	rc = buf_addf(out, "%-20.*s %8s of %8s  %s ", (int)a->name.n, (const char *)a->name.p, used,
	              quota, created);
	while (rc == 0 && next_sender(&rest, &sender))
		rc = buf_addf(out, " %.*s", (int)sender.n, (const char *)sender.p);
	return rc != 0 ? rc : buf_add_str(out, "\n");
}

/* What is reserved, by account: for JSON alone. */
struct reserved {
	struct db_reserved *list;
	int n;
};

static uint64_t reserved_of(const struct reserved *r, uint32_t account)
{
	int low = 0, high = r->n;

	while (low < high) {
		int middle = low + (high - low) / 2;

		if (r->list[middle].account < account)
			low = middle + 1;
		else
			high = middle;
	}
	return low < r->n && r->list[low].account == account ? r->list[low].octets : 0;
}

/* Adds the line of the account after *NAME, whose name then stands in NAME and MEMORY. RESERVED
 * NULL: as text. */
static int list_next(struct verb_place *p, struct span *name,
                     uint8_t memory[DB_ACCOUNT_NAME_MAX], const struct reserved *reserved,
                     struct buf *out)
{
	struct kv_txn *t = db_read_begin(p->db);
	char created[24];
	struct db_account a;
	int rc = t == NULL ? ERR_NOMEM : db_account_next(p->db, t, *name, &a);

	if (rc == 0) {
		memcpy(memory, a.name.p, a.name.n);
		*name = span_of(memory, a.name.n);
		clock_format(a.created_us, created, sizeof created);
		rc = reserved != NULL ? add_json(out, &a, reserved_of(reserved, a.number), created)
		                      : add_text(out, &a, created);
	}
	db_read_end(t);
	return rc;
}

/* A transaction for each, and none while printing: one kept open while a pager waits would make
 * the file grow. */
static int account_list(struct verb_place *p, const struct verb_words *w, struct err_text *e)
{
	uint8_t memory[DB_ACCOUNT_NAME_MAX];
	struct span name = span_of(memory, 0), line;
	struct reserved reserved = { NULL, 0 };
	struct buf out;
	int rc = 0;

	if (w->json)
		reserved.n = admin_reserved(p, &reserved.list, e);
	if (reserved.n < 0)
		return reserved.n;
	buf_init(&out, 0);
	while (rc == 0) {
		rc = list_next(p, &name, memory, w->json ? &reserved : NULL, &out);
		line = buf_view(&out);
		if (rc == 0)
			fwrite(line.p, 1, line.n, stdout);
		buf_consume(&out, line.n);
	}
	buf_free(&out);
	free(reserved.list);
	return rc == ERR_NOT_FOUND ? 0 : err_set(e, rc, "list the accounts: %s", err_phrase(rc));
}

int admin_account(int argc, char **argv)
{
	static const struct verb verbs[] = {
		{ "add", "account add", VERB_TAKES_SECRET | ADMIN_TAKES_SENDER | ADMIN_TAKES_QUOTA,
		  1, 1, "one name", judge_add, account_add },
		{ "list", "account list", VERB_TAKES_JSON, 0, 0, "no name", NULL, account_list },
		{ "remove", "account remove", 0, 1, 1, "one name", NULL, account_remove },
		{ "password", "account password", VERB_TAKES_SECRET, 1, 1, "one name", NULL,
		  account_password },
		{ .name = NULL },
	};

	return verb_choose(&admin_program, "add, list, remove or password", verbs, argc, argv);
}
