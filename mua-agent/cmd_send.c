/* im2000 send: submits a message. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "mua-agent/cmd.h"
#include "mua-agent/show.h"
#include "mua-agent/submit.h"
#include "mua-agent/url.h"
#include "wire/frame.h"

struct sending {
	const char *file;
	struct mailbox *to; /* --to; none: by the message */
	size_t n_to;
	uint64_t lifetime_s, release_at_us;
	bool draft;
};

/* --- the command line --------------------------------------------------------------------- */

static int read_option(struct sending *s, int c)
{
	if (c == 't') {
		return cmd_recipient("send", optarg, &s->to, &s->n_to);
	}
	if (c == 'l' && (text_parse_duration(optarg, &s->lifetime_s) != 0 || s->lifetime_s == 0)) {
		return program_usage(APP_PROGRAM,
		                     "send: \"%.50s\" is no lifetime (as in 90d or 12h)", optarg);
	}
	if (c == 'a' && clock_parse(optarg, clock_now_us(), &s->release_at_us) != 0) {
		return program_usage(APP_PROGRAM,
		                     "send: \"%.50s\" is no time (as in 2026-11-22T17:30Z or +2h)",
		                     optarg);
	}
	s->draft = s->draft || c == 'd';
	return PROGRAM_DONE;
}

static int read_words(struct app *app, int argc, char **argv, struct sending *s, int *exit)
{
	static const struct option options[] = {
		{ "to", required_argument, NULL, 't' },
		{ "lifetime", required_argument, NULL, 'l' },
		{ "at", required_argument, NULL, 'a' },
		{ "draft", no_argument, NULL, 'd' },
		CMD_OPTIONS,
	};
	int c;

	while ((c = cmd_option(app, argc, argv, options, exit)) != CMD_END) {
		if (c == CMD_STOP || (*exit = read_option(s, c)) != PROGRAM_DONE) {
			return CMD_STOP;
		}
	}
	if (argc - optind > 1) {
		*exit = program_usage(APP_PROGRAM, "send takes one FILE; recipients go with --to");
		return CMD_STOP;
	}
	if (s->draft && s->release_at_us != 0) {
		*exit = program_usage(APP_PROGRAM, "send: --draft and --at exclude each other");
		return CMD_STOP;
	}
	if (optind < argc && strcmp(argv[optind], "-") != 0) {
		s->file = argv[optind];
	}
	return CMD_END;
}

/* --- what came of it ---------------------------------------------------------------------- */

static int print_json(const struct submit_request *q, const struct submit_result *result,
                      const char *url)
{
	struct show_json j;
	int r;

	show_json_begin(&j);
	show_json_text(&j, "url", span_str(url));
	show_json_number(&j, "number", result->number);
	show_json_number(&j, "size", q->message->size);
	show_json_time(&j, "expires", result->expires_us);
	r = show_json_end(&j);
	for (size_t i = 0; r == 0 && i < result->n_statuses; i++) {
		show_json_begin(&j);
		show_json_text(&j, "url", span_str(url));
		show_json_text(&j, "recipient", span_str(q->recipients[i].text));
		show_json_text(&j, "status",
		               span_str(wire_submission_status_name(result->statuses[i])));
		r = show_json_end(&j);
	}
	return r;
}

static int print_result(const struct app *app, const struct submit_request *q,
                        const struct submit_result *result)
{
	char url[URL_MAX + 1], safe[800];
	int exit = PROGRAM_DONE;

	url_format(q->account->store_domain, result->id, url);
	if (app->json && print_json(q, result, url) != 0) {
		return cmd_fail(ERR_NOMEM, NULL);
	}
	if (!app->json) {
		printf("%s\n", url);
	}
	for (size_t i = 0; i < result->n_statuses; i++) {
		if (result->statuses[i] != WIRE_SUBMISSION_ACCEPTABLE) {
			exit = PROGRAM_FAILED;
		}
		if (!app->json) {
			show_safe(span_str(q->recipients[i].text), safe, sizeof safe);
			show_format(stdout, "%s: %s\n", safe,
			            submit_status_words(result->statuses[i]));
		}
	}
	return exit;
}

/* --- sending ------------------------------------------------------------------------------ */

/* The account that sends: --account, else the one whose mailbox is in From, else the first. */
static int find_account(const struct app *app, const struct prepared *message,
                        const struct config_account **out, struct err_text *e)
{
	const struct config *c = &app->config;

	*out = app->account;
	for (size_t i = 0; *out == NULL && i < c->n_accounts; i++) {
		if (mailbox_eq(&c->accounts[i].mailbox, &message->sender)) {
			*out = &c->accounts[i];
		}
	}
	for (size_t i = 0; *out == NULL && i < c->n_accounts; i++) {
		if (config_sends(&c->accounts[i])) {
			*out = &c->accounts[i];
		}
	}
	if (*out == NULL) {
		return err_set(
		    e, ERR_CONFIG,
		    "%s: no account names a store-password-file or store-password-command",
		    c->path);
	}
	return 0;
}

static int make_ready(struct app *app, const struct sending *s, struct prepared *message,
                      struct err_text *e)
{
	const char *name = s->file != NULL ? s->file : "the message on standard input";
	int fd = s->file != NULL ? open(s->file, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
	int r;

	if (fd < 0) {
		return err_set(e, ERR_IO, "open %s: %s", s->file, strerror(errno));
	}
	r = prepare_read(fd, name, app->config.data, s->n_to == 0, message, e);
	if (s->file != NULL) {
		close(fd);
	}
	if (r == 0 && s->n_to == 0 && message->n_recipients == 0 && !s->draft) {
		r = err_set(e, ERR_MALFORMED,
		            "%s names no recipient in To, Cc or Bcc: add one, or use --to", name);
	}
	return r;
}

static int send_message(struct app *app, const struct sending *s)
{
	struct prepared message = { .body.fd = -1 };
	struct submit_result result = { 0 };
	struct submit_request q = { .message = &message,
		                    .lifetime_s = s->lifetime_s,
		                    .release_at_us = s->release_at_us,
		                    .hold = s->draft };
	struct err_text e = { "" };
	int r, exit;

	if ((r = make_ready(app, s, &message, &e)) == 0 &&
	    (r = find_account(app, &message, &q.account, &e)) == 0) {
		q.recipients = s->n_to > 0 ? s->to : message.recipients;
		q.n_recipients = s->n_to > 0 ? s->n_to : message.n_recipients;
		r = q.n_recipients > LIMIT_RECIPIENTS
		        ? err_set(&e, ERR_TOO_BIG, "%zu recipients are too many (at most %u)",
		                  q.n_recipients, LIMIT_RECIPIENTS)
		        : submit_message(app, &q, &result, &e);
	}
	exit = r == 0 ? print_result(app, &q, &result) : cmd_fail(r, &e);
	submit_result_free(&result);
	prepare_free(&message);
	return exit;
}

int cmd_send(struct app *app, int argc, char **argv)
{
	struct sending s = { 0 };
	int exit = PROGRAM_DONE;

	if (read_words(app, argc, argv, &s, &exit) != CMD_STOP &&
	    (exit = cmd_open(app)) == PROGRAM_DONE) {
		exit = send_message(app, &s);
	}
	free(s.to);
	return exit;
}
