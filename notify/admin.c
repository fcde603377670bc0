#include "notify/admin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "notify/admin_words.h"
#include "notify/cache.h"
#include "session/program.h"
#include "session/report.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

const char *admin_config_path(const char *path)
{
	return verb_config(path, "IM2000_NOTIFY_CONFIG", "notify.conf");
}

static const struct verb_option options[] = {
	{ "mailbox", ADMIN_TAKES_MAILBOX, .repeats = false },
	{ .name = NULL },
};

static int at_place(const struct verb *v, const struct verb_words *w, struct err_text *e)
{
	const struct db_options as_it_is = { .create = false };
	struct verb_place p = { .db = NULL };
	int r = config_read(admin_config_path(w->config), &p.config, e);

	if (r == 0 && (r = db_open(p.config.data, &as_it_is, &p.db, e)) == 0) {
		r = v->run(&p, w, e);
		db_close(p.db);
	}
	config_free(&p.config);
	return r;
}

const struct verb_program admin_program = { ADMIN_PROGRAM, options, at_place };

int admin_read_mailbox(const char *text, struct mailbox *out, struct err_text *e)
{
	return name_parse_mailbox(span_str(text), out) == 0
	           ? 0
	           : err_set(e, ERR_MALFORMED, "\"%.300s\" is no mailbox (as in bob@b.example)",
	                     text);
}

/* --- mailbox ------------------------------------------------------------------------------- */

bool admin_serves(const struct config *c, const char *domain)
{
	for (size_t i = 0; i < c->domains.n; i++) {
		if (strcmp(c->domains.item[i], domain) == 0) {
			return true;
		}
	}
	return false;
}

/* Whether the mailbox is there, as it must be or must not: 0, or an error with E filled. */
static int look(struct verb_place *p, const struct mailbox *name, bool there, struct err_text *e)
{
	struct kv_txn *t = db_read_begin(p->db);
	struct db_mailbox m;
	struct db_alias a;
	int r = t == NULL ? ERR_NOMEM : db_mailbox_find(p->db, t, name, &m);
	bool alias = r == ERR_NOT_FOUND && !there &&
	             db_alias_find(p->db, t, name->text, &a) != ERR_NOT_FOUND;

	db_read_end(t);
	if (r == 0 && !there) {
		return err_set(e, ERR_EXISTS, "mailbox %s is there already", name->text);
	}
	if (alias) {
		return err_set(e, ERR_EXISTS, "%s is an alias: \"alias remove %s\" first",
		               name->text, name->text);
	}
	if (r == ERR_NOT_FOUND) {
		return there ? err_set(e, r, "there is no mailbox %s", name->text) : 0;
	}
	return r == 0 ? 0 : err_set(e, r, "read mailbox %s: %s", name->text, err_phrase(r));
}

static int mailbox_add(struct verb_place *p, const struct verb_words *w, struct err_text *e)
{
	struct db_mailbox m = { .created_us = clock_now_us() };
	struct kv_txn *t;
	int r = admin_read_mailbox(w->rest[0], &m.name, e);

	if (r != 0) {
		return r;
	}
	if (!admin_serves(&p->config, mailbox_domain(&m.name))) {
		return err_set(
		    e, ERR_CONFIG,
		    "domain %s is not served here: add \"domain = %s\" to the configuration",
		    mailbox_domain(&m.name), mailbox_domain(&m.name));
	}
	/* Looked for first: nobody shall be given a token that opens nothing. */
	if ((r = look(p, &m.name, false, e)) != 0 ||
	    (r = program_secret(w->password_file, w->token, &m.hash, e)) != 0 ||
	    (r = kv_write_begin(db_kv(p->db), &t)) != 0) {
		return r;
	}
	r = db_mailbox_put(p->db, t, &m);
	if (r == ERR_EXISTS) {
		err_set(e, r, "mailbox %s is there already", m.name.text);
	}
	return report_change(t, r, "add the mailbox", e);
}

static int mailbox_remove(struct verb_place *p, const struct verb_words *w, struct err_text *e)
{
	struct mailbox name;
	struct kv_txn *t;
	int r = admin_read_mailbox(w->rest[0], &name, e);

	if (r != 0 || (r = look(p, &name, true, e)) != 0 ||
	    (r = kv_write_begin(db_kv(p->db), &t)) != 0) {
		return r;
	}
	if ((r = db_alias_forget(p->db, t, &name, admin_alias_gone, NULL)) == 0) {
		r = db_mailbox_remove(p->db, t, &name);
	}
	return report_change(t, r, "remove the mailbox", e);
}

static int mailbox_password(struct verb_place *p, const struct verb_words *w, struct err_text *e)
{
	struct password_hash hash;
	struct mailbox name;
	struct db_mailbox m;
	struct kv_txn *t;
	int r = admin_read_mailbox(w->rest[0], &name, e);

	if (r != 0 || (r = look(p, &name, true, e)) != 0 ||
	    (r = program_secret(w->password_file, w->token, &hash, e)) != 0 ||
	    (r = kv_write_begin(db_kv(p->db), &t)) != 0) {
		return r;
	}
	if ((r = db_mailbox_find(p->db, t, &name, &m)) == 0) {
		m.hash = hash;
		r = db_mailbox_put(p->db, t, &m);
	}
	return report_change(t, r, "change the password", e);
}

static void print_mailbox(const struct db_mailbox *m, uint32_t kept, bool json)
{
	char created[24];
	struct buf name;

	clock_format(m->created_us, created, sizeof created);
	if (!json) {
		printf("%-40s %6u  %s\n", m->name.text, kept, created);
		return;
	}
	buf_init(&name, 0);
	if (text_json(&name, span_str(m->name.text)) == 0) {
		printf("{\"mailbox\":%s,\"kept\":%u,\"created\":\"%s\"}\n", buf_cstr(&name),
		       kept, created);
	}
	buf_free(&name);
}

static int mailbox_list(struct verb_place *p, const struct verb_words *w, struct err_text *e)
{
	struct kv_txn *t = db_read_begin(p->db);
	const struct mailbox *after = NULL;
	struct db_mailbox m;
	uint32_t kept;
	int r = t == NULL ? ERR_NOMEM : 0;

	while (r == 0 && (r = db_mailbox_next(p->db, t, after, &m)) == 0 &&
	       (r = db_notice_count(p->db, t, m.number, &kept)) == 0) {
		print_mailbox(&m, kept, w->json);
		after = &m.name;
	}
	db_read_end(t);
	return r == ERR_NOT_FOUND ? 0 : err_set(e, r, "list mailboxes: %s", err_phrase(r));
}

static int judge_mailbox(const struct verb_words *w, struct err_text *e)
{
	struct mailbox name;

	return admin_read_mailbox(w->rest[0], &name, e);
}

int admin_mailbox(int argc, char **argv)
{
	static const struct verb verbs[] = {
		{ "add", "mailbox add", VERB_TAKES_SECRET, 1, 1, "one mailbox", judge_mailbox,
		  mailbox_add },
		{ "list", "mailbox list", VERB_TAKES_JSON, 0, 0, "no name", NULL, mailbox_list },
		{ "remove", "mailbox remove", 0, 1, 1, "one mailbox", judge_mailbox,
		  mailbox_remove },
		{ "password", "mailbox password", VERB_TAKES_SECRET, 1, 1, "one mailbox",
		  judge_mailbox, mailbox_password },
		{ .name = NULL },
	};

	return verb_choose(&admin_program, "add, list, remove or password", verbs, argc, argv);
}

/* --- backup, check, stats ------------------------------------------------------------------ */

static int run_backup(struct verb_place *p, const struct verb_words *w, struct err_text *e)
{
	int r = program_make_dir(w->rest[0], e);

	return r != 0 ? r : db_backup(p->db, w->rest[0], e);
}

static int run_check(struct verb_place *p, const struct verb_words *w, struct err_text *e)
{
	char cache[PATH_MAX];
	int found = db_check(p->db, report_line, NULL), more;

	(void)w;
	if (found >= 0) {
		more = file_path(p->config.data, CACHE_FOLDER, cache, e);
		more = more == 0 ? cache_check(cache, report_line, NULL) : more;
		found = more < 0 ? more : found + more;
	}
	return report_check(ADMIN_PROGRAM, found, p->config.data, e);
}

static int run_stats(struct verb_place *p, const struct verb_words *w, struct err_text *e)
{
	char path[PATH_MAX], names[DB_COUNTS][DB_COUNT_NAME];
	struct cache_stats cache = { 0 };
	struct db_stats s;
	int r = db_stats(p->db, &s);

	if (r == 0 && (r = file_path(p->config.data, CACHE_FOLDER, path, e)) == 0) {
		r = cache_count(path, &cache);
	}
	if (r != 0) {
		return err_set(e, r, "stats: %s", err_phrase(r));
	}
	const struct report_row first[] = {
		{ "mailboxes", s.mailboxes },
		{ "aliases", s.aliases },
		{ "announcements", s.announcements },
		{ "notifications", s.notices },
		{ "policy-values", s.rules },
	}, last[] = {
		{ "cache-messages", cache.files },
		{ "cache-octets", cache.octets },
		{ "file-octets", s.kv.file_octets },
		{ "free-octets", s.kv.free_octets },
		{ "readers", s.kv.readers },
	};
	struct report_row rows[COUNT(first) + DB_COUNTS + COUNT(last)];

	memcpy(rows, first, sizeof first);
	for (unsigned i = 0; i < DB_COUNTS; i++) {
		rows[COUNT(first) + i] =
		    (struct report_row) { db_count_name(i, names[i]), s.counts[i] };
	}
	memcpy(rows + COUNT(first) + DB_COUNTS, last, sizeof last);
	report_rows(rows, COUNT(rows), 20, w->json);
	return 0;
}

int admin_backup(int argc, char **argv)
{
	static const struct verb v = { "backup", "backup", 0, 1, 1, "one directory", NULL,
		                       run_backup };

	return verb_run(&admin_program, &v, argc, argv);
}

int admin_check(int argc, char **argv)
{
	static const struct verb v = { "check", "check", 0, 0, 0, "no argument", NULL, run_check };

	return verb_run(&admin_program, &v, argc, argv);
}

int admin_stats(int argc, char **argv)
{
	static const struct verb v = { "stats", "stats", VERB_TAKES_JSON, 0, 0, "no argument", NULL,
		                       run_stats };

	return verb_run(&admin_program, &v, argc, argv);
}
