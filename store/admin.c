/* Opening what a command works on; backup, check, stats. */
#include "store/admin.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "session/program.h"
#include "session/report.h"
#include "session/verb.h"
#include "store/admin_words.h"
#include "store/ids.h"

const char *admin_config_path(const char *path)
{
	return verb_config(path, "IM2000_STORE_CONFIG", "store.conf");
}

static const struct verb_option options[] = {
	{ "sender", ADMIN_TAKES_SENDER, .repeats = true },
	{ "quota", ADMIN_TAKES_QUOTA, .repeats = false },
	{ .name = NULL },
};

static int at_place(const struct verb *v, const struct verb_words *w, struct err_text *e)
{
	const struct db_options as_it_is = { .create = false };
	struct verb_place p;
	int rc = config_read(admin_config_path(w->config), &p.config, e);

	if (rc != 0)
		return rc;
	rc = db_open(p.config.data, &as_it_is, &p.db, e);
	if (rc == 0) {
		rc = v->run(&p, w, e);
		db_close(p.db);
	}
	config_release(&p.config);
	return rc;
}

const struct verb_program admin_program = { ADMIN_PROGRAM, options, at_place };

/* --- backup, check, stats ------------------------------------------------------------------ */

static int run_backup(struct verb_place *p, const struct verb_words *w, struct err_text *e)
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

static int run_check(struct verb_place *p, const struct verb_words *w, struct err_text *e)
{
	(void)w;
	return report_check(ADMIN_PROGRAM, db_check(p->db, report_line, NULL), p->config.data, e);
}

int admin_reserved(struct verb_place *p, struct db_reserved **out, struct err_text *e)
{
	/* Octets of a submission stay for that long after the last ones came. */
	uint64_t until_us = clock_now_us() + p->config.resume_time_s * CLOCK_SECOND_US;
	int n = db_reserved(p->db, until_us, out);

	return n >= 0 ? n : err_set(e, n, "read what is reserved: %s", err_phrase(n));
}

static int run_stats(struct verb_place *p, const struct verb_words *w, struct err_text *e)
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
