#include "notify/admin.h"

#include <getopt.h>
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
	const char *named = getenv("IM2000_NOTIFY_CONFIG");

	return path != NULL ? path : named != NULL && named[0] != '\0' ? named : "notify.conf";
}

static const struct {
	struct option option;
	unsigned bit; /* enum admin_takes */
} known[] = {
	{ { "password-file", required_argument, NULL, 'p' }, TAKES_SECRET },
	{ { "token", no_argument, NULL, 't' }, TAKES_SECRET },
	{ { "json", no_argument, NULL, 'j' }, TAKES_JSON },
	{ { "mailbox", required_argument, NULL, 'm' }, TAKES_MAILBOX },
};
#define KNOWN (sizeof known / sizeof known[0])

int admin_parse(const char *what, unsigned takes, int argc, char **argv, struct words *out)
{
	struct option options[KNOWN + 1] = { { NULL, 0, NULL, 0 } };
	size_t n = 0;
	int c;

	for (size_t i = 0; i < KNOWN; i++) {
		if ((takes & known[i].bit) != 0) {
			options[n++] = known[i].option;
		}
	}
	*out = (struct words) { 0 };
	while ((c = getopt_long(argc, argv, ":c:", options, NULL)) != -1) {
		switch (c) {
		case 'c':
			out->config = optarg;
			break;
		case 'p':
			out->password_file = optarg;
			break;
		case 't':
			out->token = true;
			break;
		case 'm':
			out->mailbox = optarg;
			break;
		case 'j':
			out->json = true;
			break;
		default:
			return program_bad_option(ADMIN_PROGRAM, what, c, argv);
		}
	}
	out->rest = argv + optind;
	out->n_rest = argc - optind;
	if (out->token && out->password_file != NULL) {
		return program_usage(ADMIN_PROGRAM,
		                     "%s: --token and --password-file exclude each other", what);
	}
	return 0;
}

int admin_read_mailbox(const char *what, const char *text, struct mailbox *out)
{
	return name_parse_mailbox(span_str(text), out) == 0
	           ? 0
	           : program_usage(ADMIN_PROGRAM,
	                           "%s: \"%.300s\" is no mailbox (as in bob@b.example)", what,
	                           text);
}

static int place_open(const struct words *w, struct place *p, struct err_text *e)
{
	const struct db_options options = { 0 };
	int r = config_read(admin_config_path(w->config), &p->config, e);

	p->db = NULL;
	if (r == 0) {
		r = db_open(p->config.data, &options, &p->db, e);
	}
	if (r != 0) {
		config_free(&p->config);
	}
	return r;
}

static void place_close(struct place *p)
{
	db_close(p->db);
	config_free(&p->config);
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
static int look(struct place *p, const struct mailbox *name, bool there, struct err_text *e)
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

static int mailbox_add(struct place *p, const struct words *w, struct err_text *e)
{
	struct db_mailbox m = { .created_us = clock_now_us(), .name = w->name };
	struct kv_txn *t;
	int r;

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

static int mailbox_remove(struct place *p, const struct words *w, struct err_text *e)
{
	struct kv_txn *t;
	int r = look(p, &w->name, true, e);

	if (r != 0 || (r = kv_write_begin(db_kv(p->db), &t)) != 0) {
		return r;
	}
	if ((r = db_alias_forget(p->db, t, &w->name, admin_alias_gone, NULL)) == 0) {
		r = db_mailbox_remove(p->db, t, &w->name);
	}
	return report_change(t, r, "remove the mailbox", e);
}

static int mailbox_password(struct place *p, const struct words *w, struct err_text *e)
{
	struct password_hash hash;
	struct db_mailbox m;
	struct kv_txn *t;
	int r = look(p, &w->name, true, e);

	if (r != 0 || (r = program_secret(w->password_file, w->token, &hash, e)) != 0 ||
	    (r = kv_write_begin(db_kv(p->db), &t)) != 0) {
		return r;
	}
	if ((r = db_mailbox_find(p->db, t, &w->name, &m)) == 0) {
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

static int mailbox_list(struct place *p, const struct words *w, struct err_text *e)
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

int admin_at_place(const struct words *w,
                   int (*run)(struct place *p, const struct words *w, struct err_text *e))
{
	struct err_text e = { "" };
	struct place p;
	int r = place_open(w, &p, &e);

	if (r == 0) {
		r = run(&p, w, &e);
		place_close(&p);
	}
	return r != 0 ? program_fail(ADMIN_PROGRAM, r, &e) : program_finish(ADMIN_PROGRAM);
}

int admin_mailbox(int argc, char **argv)
{
	static const struct {
		const char *name, *whole;
		bool wants_name;
		unsigned takes;
		int (*run)(struct place *p, const struct words *w, struct err_text *e);
	} verbs[] = {
		{ "add", "mailbox add", true, TAKES_SECRET, mailbox_add },
		{ "list", "mailbox list", false, TAKES_JSON, mailbox_list },
		{ "remove", "mailbox remove", true, 0, mailbox_remove },
		{ "password", "mailbox password", true, TAKES_SECRET, mailbox_password },
	};
	struct words w;
	int r;

	for (size_t i = 0; argc > 1 && i < sizeof verbs / sizeof verbs[0]; i++) {
		if (strcmp(argv[1], verbs[i].name) != 0) {
			continue;
		}
		if ((r = admin_parse(verbs[i].whole, verbs[i].takes, argc - 1, argv + 1, &w)) != 0) {
			return r;
		}
		if (w.n_rest != verbs[i].wants_name) {
			return program_usage(ADMIN_PROGRAM, "%s wants %s", verbs[i].whole,
			                     verbs[i].wants_name ? "one mailbox" : "no name");
		}
		if (verbs[i].wants_name &&
		    (r = admin_read_mailbox(verbs[i].whole, w.rest[0], &w.name)) != 0) {
			return r;
		}
		return admin_at_place(&w, verbs[i].run);
	}
	return program_usage(ADMIN_PROGRAM, "mailbox wants add, list, remove or password");
}

/* --- backup, check, stats ------------------------------------------------------------------ */

static int run_backup(struct place *p, const struct words *w, struct err_text *e)
{
	int r = program_make_dir(w->rest[0], e);

	return r != 0 ? r : db_backup(p->db, w->rest[0], e);
}

static int run_check(struct place *p, const struct words *w, struct err_text *e)
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

static int run_stats(struct place *p, const struct words *w, struct err_text *e)
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
	struct words w;
	int r = admin_parse("backup", 0, argc, argv, &w);

	if (r != 0) {
		return r;
	}
	return w.n_rest == 1 ? admin_at_place(&w, run_backup)
	                     : program_usage(ADMIN_PROGRAM, "backup wants one directory");
}

int admin_check(int argc, char **argv)
{
	struct words w;
	int r = admin_parse("check", 0, argc, argv, &w);

	if (r != 0) {
		return r;
	}
	return w.n_rest == 0 ? admin_at_place(&w, run_check)
	                     : program_usage(ADMIN_PROGRAM, "check wants no argument");
}

int admin_stats(int argc, char **argv)
{
	struct words w;
	int r = admin_parse("stats", TAKES_JSON, argc, argv, &w);

	if (r != 0) {
		return r;
	}
	return w.n_rest == 0 ? admin_at_place(&w, run_stats)
	                     : program_usage(ADMIN_PROGRAM, "stats wants no argument");
}
