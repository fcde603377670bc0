#include "notify/admin.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/text.h"
#include "notify/config.h"
#include "notify/db.h"
#include "session/program.h"

const char *admin_config_path(const char *path)
{
	const char *named = getenv("IM2000_NOTIFY_CONFIG");

	return path != NULL ? path : named != NULL && named[0] != '\0' ? named : "notify.conf";
}

/* What a command line says; options that a command does not take are refused by it. */
struct words {
	const char *config, *password_file;
	bool token, json;
	char **rest;
	int n_rest;
};

static int parse(int argc, char **argv, struct words *out)
{
	static const struct option options[] = {
		{ "password-file", required_argument, NULL, 'p' },
		{ "token", no_argument, NULL, 't' },
		{ "json", no_argument, NULL, 'j' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	*out = (struct words) { 0 };
	while ((c = getopt_long(argc, argv, "c:", options, NULL)) != -1) {
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
		case 'j':
			out->json = true;
			break;
		default:
			return program_usage(ADMIN_PROGRAM, "%s: unknown or incomplete option",
			                     argv[0]);
		}
	}
	out->rest = argv + optind;
	out->n_rest = argc - optind;
	if (out->token && out->password_file != NULL) {
		return program_usage(ADMIN_PROGRAM,
		                     "%s: --token and --password-file exclude each other", argv[0]);
	}
	return 0;
}

struct place {
	struct config config;
	struct db *db;
};

static int place_open(const struct words *w, struct place *p, struct err_text *e)
{
	struct db_options options = { 0 };
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

/* --- mailbox -------------------------------------------------------------------------------------
 */

static bool serves(const struct config *c, const char *domain)
{
	for (size_t i = 0; i < c->domains.n; i++) {
		if (strcmp(c->domains.item[i], domain) == 0) {
			return true;
		}
	}
	return false;
}

static int parse_name(const char *text, struct mailbox *out, struct err_text *e)
{
	return name_parse_mailbox(span_str(text), out) == 0
	           ? 0
	           : err_set(e, ERR_MALFORMED, "\"%.300s\" is no mailbox (as in bob@b.example)",
	                     text);
}

static int commit(struct kv_txn *t, int r, const char *doing, struct err_text *e)
{
	if (r != 0) {
		kv_write_abort(t);
	} else {
		r = kv_write_commit(t);
	}
	return r == 0 || (e->text[0] != '\0') ? r : err_set(e, r, "%s: %s", doing, err_phrase(r));
}

static int mailbox_add(struct place *p, const struct words *w, struct err_text *e)
{
	struct db_mailbox m = { .created_us = clock_now_us() };
	struct kv_txn *t;
	int r = parse_name(w->rest[0], &m.name, e);

	if (r != 0) {
		return r;
	}
	if (!serves(&p->config, mailbox_domain(&m.name))) {
		return err_set(
		    e, ERR_CONFIG,
		    "domain %s is not served here: add \"domain = %s\" to the configuration",
		    mailbox_domain(&m.name), mailbox_domain(&m.name));
	}
	if ((r = program_secret(w->password_file, w->token, &m.hash, e)) != 0 ||
	    (r = kv_write_begin(db_kv(p->db), &t)) != 0) {
		return r;
	}
	r = db_mailbox_put(p->db, t, &m);
	if (r == ERR_EXISTS) {
		err_set(e, r, "mailbox %s is there already", m.name.text);
	}
	return commit(t, r, "add the mailbox", e);
}

/* Looks the mailbox up in a write transaction; *T is open on success. */
static int mailbox_find(struct place *p, const char *text, struct db_mailbox *m, struct kv_txn **t,
                        struct err_text *e)
{
	struct mailbox name;
	int r = parse_name(text, &name, e);

	if (r != 0 || (r = kv_write_begin(db_kv(p->db), t)) != 0) {
		return r;
	}
	if ((r = db_mailbox_find(p->db, *t, &name, m)) != 0) {
		kv_write_abort(*t);
		return err_set(
		    e, r, r == ERR_NOT_FOUND ? "there is no mailbox %s" : "read mailbox %s failed",
		    name.text);
	}
	return 0;
}

static int mailbox_remove(struct place *p, const struct words *w, struct err_text *e)
{
	struct db_mailbox m;
	struct kv_txn *t;
	int r = mailbox_find(p, w->rest[0], &m, &t, e);

	return r != 0 ? r
	              : commit(t, db_mailbox_remove(p->db, t, &m.name), "remove the mailbox", e);
}

static int mailbox_password(struct place *p, const struct words *w, struct err_text *e)
{
	struct password_hash hash;
	struct db_mailbox m;
	struct kv_txn *t;
	int r = program_secret(w->password_file, w->token, &hash, e);

	if (r != 0 || (r = mailbox_find(p, w->rest[0], &m, &t, e)) != 0) {
		return r;
	}
	m.hash = hash;
	return commit(t, db_mailbox_put(p->db, t, &m), "change the password", e);
}

static void print_mailbox(const struct db_mailbox *m, bool json)
{
	char created[24];
	struct buf name;

	clock_format(m->created_us, created, sizeof created);
	if (!json) {
		printf("%-40s %6u  %s\n", m->name.text, m->kept, created);
		return;
	}
	buf_init(&name, 0);
	if (text_json(&name, span_str(m->name.text)) == 0) {
		printf("{\"mailbox\":%s,\"kept\":%u,\"created\":\"%s\"}\n", buf_cstr(&name),
		       m->kept, created);
	}
	buf_free(&name);
}

static int mailbox_list(struct place *p, const struct words *w, struct err_text *e)
{
	struct kv_txn *t = db_read_begin(p->db);
	const struct mailbox *after = NULL;
	struct db_mailbox m;
	int r = t == NULL ? ERR_NOMEM : 0;

	while (r == 0 && (r = db_mailbox_next(p->db, t, after, &m)) == 0) {
		print_mailbox(&m, w->json);
		after = &m.name;
	}
	db_read_end(t);
	return r == ERR_NOT_FOUND ? 0 : err_set(e, r, "list mailboxes: %s", err_phrase(r));
}

int admin_mailbox(int argc, char **argv)
{
	static const struct {
		const char *name;
		int words;
		int (*run)(struct place *p, const struct words *w, struct err_text *e);
	} verbs[] = {
		{ "add", 1, mailbox_add },
		{ "list", 0, mailbox_list },
		{ "remove", 1, mailbox_remove },
		{ "password", 1, mailbox_password },
	};
	struct err_text e = { "" };
	struct words w;
	struct place p;
	int r;

	for (size_t i = 0; argc > 1 && i < sizeof verbs / sizeof verbs[0]; i++) {
		if (strcmp(argv[1], verbs[i].name) != 0) {
			continue;
		}
		if ((r = parse(argc - 1, argv + 1, &w)) != 0) {
			return r;
		}
		if (w.n_rest != verbs[i].words) {
			return program_usage(ADMIN_PROGRAM, "mailbox %s wants %s", argv[1],
			                     verbs[i].words == 0 ? "no name" : "one mailbox");
		}
		if ((r = place_open(&w, &p, &e)) == 0) {
			r = verbs[i].run(&p, &w, &e);
			place_close(&p);
		}
		return r != 0 ? program_fail(ADMIN_PROGRAM, r, &e) : program_finish(ADMIN_PROGRAM);
	}
	return program_usage(ADMIN_PROGRAM, "mailbox wants add, list, remove or password");
}

/* --- backup, check, stats
 * ------------------------------------------------------------------------- */

static int with_place(int argc, char **argv, int words,
                      int (*run)(struct place *p, const struct words *w, struct err_text *e))
{
	struct err_text e = { "" };
	struct words w;
	struct place p;
	int r = parse(argc, argv, &w);

	if (r != 0) {
		return r;
	}
	if (w.n_rest != words || w.token || w.password_file != NULL) {
		return program_usage(ADMIN_PROGRAM, "%s wants %s", argv[0],
		                     words == 0 ? "no argument" : "one directory");
	}
	if ((r = place_open(&w, &p, &e)) == 0) {
		r = run(&p, &w, &e);
		place_close(&p);
	}
	return r != 0 ? program_fail(ADMIN_PROGRAM, r, &e) : program_finish(ADMIN_PROGRAM);
}

static int run_backup(struct place *p, const struct words *w, struct err_text *e)
{
	int r = program_make_dir(w->rest[0], e);

	return r != 0 ? r : db_backup(p->db, w->rest[0], e);
}

static void print_finding(void *ctx, const char *line)
{
	(void)ctx;
	printf("%s\n", line);
}

static int run_check(struct place *p, const struct words *w, struct err_text *e)
{
	int found = db_check(p->db, print_finding, NULL);

	(void)w;
	if (found < 0) {
		return err_set(e, found, "check: %s", err_phrase(found));
	}
	if (found > 0) {
		return err_set(e, ERR_MALFORMED, "check: %d things do not add up: restore a backup",
		               found);
	}
	fprintf(stderr, "%s: all tables add up\n", ADMIN_PROGRAM);
	return 0;
}

static int run_stats(struct place *p, const struct words *w, struct err_text *e)
{
	struct db_stats s;
	int r = db_stats(p->db, &s);
	const struct {
		const char *name;
		uint64_t value;
	} rows[] = {
		{ "mailboxes", s.mailboxes },        { "announcements", s.announcements },
		{ "notifications", s.notices },      { "file-octets", s.kv.file_octets },
		{ "free-octets", s.kv.free_octets }, { "readers", s.kv.readers },
	};

	if (r != 0) {
		return err_set(e, r, "stats: %s", err_phrase(r));
	}
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		if (w->json) {
			printf("%s\"%s\":%llu", i == 0 ? "{" : ",", rows[i].name,
			       (unsigned long long)rows[i].value);
		} else {
			printf("%-16s %llu\n", rows[i].name, (unsigned long long)rows[i].value);
		}
	}
	if (w->json) {
		printf("}\n");
	}
	return 0;
}

int admin_backup(int argc, char **argv)
{
	return with_place(argc, argv, 1, run_backup);
}

int admin_check(int argc, char **argv)
{
	return with_place(argc, argv, 0, run_check);
}

int admin_stats(int argc, char **argv)
{
	return with_place(argc, argv, 0, run_stats);
}
