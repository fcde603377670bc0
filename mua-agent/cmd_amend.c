/* im2000 cancel, release, readdress, extend, forget: what changes of a message that was sent. */
#include <stdlib.h>

#include "base/text.h"
#include "mua-agent/amend.h"
#include "mua-agent/cmd.h"
#include "mua-agent/show.h"
#include "mua-agent/submit.h"
#include "wire/frame.h"

/* What the command line says. */
struct amendment {
	const char *name; /* of the message */
	struct mailbox *to;
	size_t n_to;
	uint64_t lifetime_s;
};

static int read_option(const char *command, struct amendment *m, int c)
{
	if (c == 't') {
		return cmd_recipient(command, optarg, &m->to, &m->n_to);
	}
	if (text_parse_duration(optarg, &m->lifetime_s) != 0 || m->lifetime_s == 0) {
		return program_usage(APP_PROGRAM,
		                     "%s: \"%.50s\" is no lifetime (as in 90d or 12h)", command,
		                     optarg);
	}
	return PROGRAM_DONE;
}

/* CMD_END, or CMD_STOP with *EXIT, and nothing to free. */
static int read_words(struct app *app, int argc, char **argv, const struct option *options,
                      struct amendment *m, int *exit)
{
	int c = CMD_END;

	*exit = PROGRAM_DONE;
	while (*exit == PROGRAM_DONE && (c = cmd_option(app, argc, argv, options, exit)) >= 0) {
		*exit = read_option(argv[0], m, c);
	}
	if (c == CMD_END && argc - optind != 1) {
		*exit = program_usage(APP_PROGRAM, "%s wants the URL or number of one message",
		                      argv[0]);
	} else if (c == CMD_END && !track_is_name(argv[optind])) {
		*exit = program_usage(APP_PROGRAM,
		                      "%s: \"%.100s\" is neither a number nor a message URL",
		                      argv[0], argv[optind]);
	}
	if (c != CMD_END || *exit != PROGRAM_DONE) {
		free(m->to);
		return CMD_STOP;
	}
	m->name = argv[optind];
	return CMD_END;
}

/* --- what came of it ---------------------------------------------------------------------- */

static int print_statuses(const struct app *app, const struct amendment *m,
                          const enum wire_submission_status *statuses)
{
	int exit = PROGRAM_DONE;

	for (size_t i = 0; i < m->n_to; i++) {
		char safe[800];
		struct show_json j;

		if (statuses[i] != WIRE_SUBMISSION_ACCEPTABLE) {
			exit = PROGRAM_FAILED;
		}
		if (!app->json) {
			show_safe(span_str(m->to[i].text), safe, sizeof safe);
			show_format(stdout, "%s: %s\n", safe, submit_status_words(statuses[i]));
			continue;
		}
		show_json_begin(&j);
		show_json_text(&j, "recipient", span_str(m->to[i].text));
		show_json_text(&j, "status", span_str(wire_submission_status_name(statuses[i])));
		if (show_json_end(&j) != 0) {
			return cmd_fail(ERR_NOMEM, NULL);
		}
	}
	return exit;
}

static int print_expires(const struct app *app, uint64_t expires_us)
{
	char time[SHOW_TIME];
	struct show_json j;

	if (!app->json) {
		printf("kept until %s\n", show_time(expires_us, time));
		return PROGRAM_DONE;
	}
	show_json_begin(&j);
	show_json_time(&j, "expires", expires_us);
	return show_json_end(&j) == 0 ? PROGRAM_DONE : cmd_fail(ERR_NOMEM, NULL);
}

/* --- the commands ------------------------------------------------------------------------- */

static int cancel(struct app *app, const struct track_target *target, const struct amendment *m,
                  struct err_text *e, int *exit)
{
	(void)exit;
	return amend_cancel(app, target, m->to, m->n_to, e);
}

static int release(struct app *app, const struct track_target *target, const struct amendment *m,
                   struct err_text *e, int *exit)
{
	(void)m;
	(void)exit;
	return amend_release(app, target, e);
}

static int forget(struct app *app, const struct track_target *target, const struct amendment *m,
                  struct err_text *e, int *exit)
{
	(void)m;
	(void)exit;
	return amend_forget(app, target, e);
}

static int extend(struct app *app, const struct track_target *target, const struct amendment *m,
                  struct err_text *e, int *exit)
{
	uint64_t expires_us;
	int r = amend_extend(app, target, m->lifetime_s, &expires_us, e);

	*exit = r == 0 ? print_expires(app, expires_us) : PROGRAM_DONE;
	return r;
}

static int readdress(struct app *app, const struct track_target *target, const struct amendment *m,
                     struct err_text *e, int *exit)
{
	enum wire_submission_status *statuses = calloc(m->n_to + 1, sizeof *statuses);
	int r;

	if (statuses == NULL) {
		return err_set(e, ERR_NOMEM, "out of memory");
	}
	r = amend_readdress(app, target, m->to, m->n_to, statuses, e);
	*exit = r == 0 ? print_statuses(app, m, statuses) : PROGRAM_DONE;
	free(statuses);
	return r;
}

typedef int (*amend_fn)(struct app *app, const struct track_target *target,
                        const struct amendment *m, struct err_text *e, int *exit);

/* Opens, finds the message, has DO do it. Frees what M has. */
static int amend(struct app *app, struct amendment *m, amend_fn do_it)
{
	struct track_target target;
	struct err_text e = { "" };
	int r, exit = cmd_open(app);

	if (exit == PROGRAM_DONE && ((r = track_find(app, m->name, &target, &e)) != 0 ||
	                             (r = do_it(app, &target, m, &e, &exit)) != 0)) {
		exit = cmd_fail(r, &e);
	}
	free(m->to);
	return exit;
}

static const struct option plain_options[] = { CMD_OPTIONS };
static const struct option to_options[] = {
	{ "to", required_argument, NULL, 't' },
	CMD_OPTIONS,
};
static const struct option lifetime_options[] = {
	{ "lifetime", required_argument, NULL, 'l' },
	CMD_OPTIONS,
};

int cmd_cancel(struct app *app, int argc, char **argv)
{
	struct amendment m = { 0 };
	int exit;

	if (read_words(app, argc, argv, to_options, &m, &exit) == CMD_STOP) {
		return exit;
	}
	return amend(app, &m, cancel);
}

int cmd_release(struct app *app, int argc, char **argv)
{
	struct amendment m = { 0 };
	int exit;

	if (read_words(app, argc, argv, plain_options, &m, &exit) == CMD_STOP) {
		return exit;
	}
	return amend(app, &m, release);
}

int cmd_forget(struct app *app, int argc, char **argv)
{
	struct amendment m = { 0 };
	int exit;

	if (read_words(app, argc, argv, plain_options, &m, &exit) == CMD_STOP) {
		return exit;
	}
	return amend(app, &m, forget);
}

int cmd_extend(struct app *app, int argc, char **argv)
{
	struct amendment m = { 0 };
	int exit;

	if (read_words(app, argc, argv, lifetime_options, &m, &exit) == CMD_STOP) {
		return exit;
	}
	if (m.lifetime_s == 0) {
		return program_usage(APP_PROGRAM, "extend wants --lifetime (as in 90d or 12h)");
	}
	return amend(app, &m, extend);
}

int cmd_readdress(struct app *app, int argc, char **argv)
{
	struct amendment m = { 0 };
	int exit;

	if (read_words(app, argc, argv, to_options, &m, &exit) == CMD_STOP) {
		return exit;
	}
	if (m.n_to == 0 || m.n_to > LIMIT_RECIPIENTS) {
		free(m.to);
		return program_usage(APP_PROGRAM,
		                     "readdress wants --to, for each of its new recipients (%u at "
		                     "most)",
		                     LIMIT_RECIPIENTS);
	}
	return amend(app, &m, readdress);
}
