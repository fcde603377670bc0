/* Opening what a command works on; backup, check, stats. */
#include "store/admin.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "session/program.h"
#include "session/report.h"
#include "store/admin_words.h"
#include "store/ids.h"

const char *admin_config_path(const char *path)
{
	const char *named = getenv("IM2000_STORE_CONFIG");

	if (path != NULL)
		return path;
	return named != NULL && named[0] != '\0' ? named : "store.conf";
}

int admin_open(const char *config_path, struct admin_place *out, struct err_text *e)
{
	const struct db_options options = { .create = false };
	int rc = config_read(admin_config_path(config_path), &out->config, e);

	if (rc != 0)
		return rc;
	rc = db_open(out->config.data, &options, &out->db, e);
	if (rc != 0)
		config_release(&out->config);
	return rc;
}

void admin_close(struct admin_place *p)
{
	db_close(p->db);
	config_release(&p->config);
}

/* --- command lines ----------------------------------------------------------------------- */

enum { OPT_PASSWORD_FILE = 256, OPT_TOKEN, OPT_JSON, OPT_SENDER, OPT_QUOTA };

static const struct {
	struct option option;
	unsigned bit;
} known[] = {
	{ { "password-file", required_argument, NULL, OPT_PASSWORD_FILE }, ADMIN_TAKES_SECRET },
	{ { "token", no_argument, NULL, OPT_TOKEN }, ADMIN_TAKES_SECRET },
	{ { "json", no_argument, NULL, OPT_JSON }, ADMIN_TAKES_JSON },
	{ { "sender", required_argument, NULL, OPT_SENDER }, ADMIN_TAKES_SENDER },
	{ { "quota", required_argument, NULL, OPT_QUOTA }, ADMIN_TAKES_QUOTA },
};
#define KNOWN (sizeof known / sizeof known[0])

static int take(struct admin_words *w, int c)
{
	switch (c) {
	case 'c':
		w->config = optarg;
		return 0;
	case OPT_PASSWORD_FILE:
		w->password_file = optarg;
		return 0;
	case OPT_TOKEN:
		w->token = true;
		return 0;
	case OPT_JSON:
		w->json = true;
		return 0;
	case OPT_SENDER:
		if (w->n_senders == ADMIN_SENDERS_MAX)
			return ERR_TOO_BIG;
		w->sender[w->n_senders++] = optarg;
		return 0;
	case OPT_QUOTA:
		w->quota = optarg;
		return 0;
	default:
		return ERR_MALFORMED;
	}
}

int admin_words_read(const char *command, unsigned takes, int argc, char **argv,
                     struct admin_words *out)
{
	struct option options[KNOWN + 1] = { { NULL, 0, NULL, 0 } };
	size_t n = 0;
	int c;

	for (size_t i = 0; i < KNOWN; i++)
		if ((takes & known[i].bit) != 0)
			options[n++] = known[i].option;
	memset(out, 0, sizeof *out);
	optind = 1;
	while ((c = getopt_long(argc, argv, ":c:", options, NULL)) != -1) {
		int rc = c == ':' ? ERR_CLOSED : take(out, c);

		if (rc == ERR_TOO_BIG)
			return program_usage(ADMIN_PROGRAM, "%s: more than %d senders", command,
			                     ADMIN_SENDERS_MAX);
		if (rc != 0)
			return program_bad_option(ADMIN_PROGRAM, command, c, argv);
	}
	if (out->token && out->password_file != NULL)
		return program_usage(ADMIN_PROGRAM,
		                     "%s: --token and --password-file exclude each other", command);
	out->rest = argv + optind;
	out->n_rest = argc - optind;
	return 0;
}

int admin_verb(const struct admin_verb *v, int argc, char **argv)
{
	struct err_text e = { "" };
	struct admin_words w;
	struct admin_place p;
	int rc = admin_words_read(v->command, v->takes, argc, argv, &w);

	if (rc != 0)
		return rc;
	if (w.n_rest != v->n_rest)
		return program_usage(ADMIN_PROGRAM, "%s wants %s", v->command, v->wants);
	if (v->judge != NULL && v->judge(&w, &e) != 0)
		return program_usage(ADMIN_PROGRAM, "%s: %s", v->command, e.text);
	rc = admin_open(w.config, &p, &e);
	if (rc == 0) {
		rc = v->run(&p, &w, &e);
		admin_close(&p);
	}
	return rc == 0 ? program_finish(ADMIN_PROGRAM) : program_fail(ADMIN_PROGRAM, rc, &e);
}

int admin_verbs(const char *wants, const struct admin_verb *verbs, int argc, char **argv)
{
	for (; argc > 1 && verbs->name != NULL; verbs++)
		if (strcmp(argv[1], verbs->name) == 0)
			return admin_verb(verbs, argc - 1, argv + 1);
	return program_usage(ADMIN_PROGRAM, "%s wants %s", argv[0], wants);
}

/* --- backup, check, stats ------------------------------------------------------------------ */

static int run_backup(struct admin_place *p, const struct admin_words *w, struct err_text *e)
{
	const char *dir = w->rest[0];
	int rc = program_make_dir(dir, e);

	if (rc == 0)
		rc = db_backup(p->db, dir, e);
	/* After the snapshot, so that the keys of all its messages are among them. */
	if (rc == 0)
		rc = ids_backup(p->config.data, dir, e);
	return rc;
}

static int run_check(struct admin_place *p, const struct admin_words *w, struct err_text *e)
{
	(void)w;
	return report_check(ADMIN_PROGRAM, db_check(p->db, report_line, NULL), p->config.data, e);
}

int admin_reserved(struct admin_place *p, struct db_reserved **out, struct err_text *e)
{
	/* Octets of a submission stay for that long after the last ones came. */
	uint64_t until_us = clock_now_us() + p->config.resume_time_s * CLOCK_SECOND_US;
	int n = db_reserved(p->db, until_us, out);

	return n >= 0 ? n : err_set(e, n, "read what is reserved: %s", err_phrase(n));
}

static int run_stats(struct admin_place *p, const struct admin_words *w, struct err_text *e)
{
	struct db_reserved *reserved = NULL;
	uint64_t reserved_octets = 0;
	struct db_stats s;
	int rc = db_stats(p->db, &s), n;

	if (rc != 0)
		return err_set(e, rc, "read the counts of %s: %s", p->config.data, err_phrase(rc));
	n = admin_reserved(p, &reserved, e);
	if (n < 0)
		return n;
	while (n > 0)
		reserved_octets += reserved[--n].octets;
	free(reserved);
	const struct report_row rows[] = {
		{ "accounts", s.accounts },
		{ "messages", s.messages },
		{ "deliveries", s.deliveries },
		{ "blobs", s.blobs },
		{ "blocks", s.blocks },
		{ "jobs", s.jobs },
		{ "changes", s.changes },
		{ "stored-octets", s.octets_stored },
		{ "reserved-octets", reserved_octets },
		{ "file-octets", s.kv.file_octets },
		{ "free-octets", s.kv.free_octets },
		{ "readers", s.kv.readers },
	};

	report_rows(rows, sizeof rows / sizeof rows[0], 15, w->json);
	return 0;
}

int admin_backup(int argc, char **argv)
{
	static const struct admin_verb v = { "backup", "backup", 0, 1, "one directory", NULL,
		                             run_backup };

	return admin_verb(&v, argc, argv);
}

int admin_check(int argc, char **argv)
{
	static const struct admin_verb v = { "check", "check", 0, 0, "no argument", NULL, run_check };

	return admin_verb(&v, argc, argv);
}

int admin_stats(int argc, char **argv)
{
	static const struct admin_verb v = { "stats", "stats", ADMIN_TAKES_JSON, 0, "no argument",
		                             NULL, run_stats };

	return admin_verb(&v, argc, argv);
}
