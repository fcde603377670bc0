/* im2000 status: what was sent, and what became of it. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "mua-agent/cmd.h"
#include "mua-agent/delivery.h"
#include "mua-agent/follow.h"
#include "mua-agent/show.h"
#include "mua-agent/track.h"
#include "mua-agent/url.h"

/* --- all that was sent -------------------------------------------------------------------- */

static int print_sent(const struct app *app, const struct db_sent *sent)
{
	char store[NAME_DOMAIN_MAX + 1], url[URL_MAX + 1], time[SHOW_TIME], size[16];
	struct span rest = sent->recipients;
	struct show_json j;
	size_t n = 0;

	(void)span_copy(sent->store, store, sizeof store);
	url_format(store, sent->id, url);
	if (app->json) {
		show_json_begin(&j);
		show_json_number(&j, "number", sent->number);
		show_json_text(&j, "url", span_str(url));
		show_json_time(&j, "time", sent->submitted_us);
		show_json_text(&j, "subject", sent->subject);
		show_json_number(&j, "size", sent->size);
		show_json_bool(&j, "draft", sent->held);
		show_json_time(&j, "expires", sent->expires_us);
		show_json_list(&j, "recipients");
	}
	while (rest.n > 0) {
		size_t length = strnlen((const char *)rest.p, rest.n);

		if (app->json) {
			show_json_item(&j, span_of(rest.p, length));
		}
		rest = span_after(rest, length + 1);
		n++;
	}
	if (app->json) {
		show_json_list_end(&j);
		return show_json_end(&j);
	}
	show_format(stdout, "%4u  %s  %5s  %zu recipient%s%s  %.*s\n      %s\n", sent->number,
	            show_time(sent->submitted_us, time), text_size(sent->size, size, sizeof size),
	            n, n == 1 ? "" : "s", sent->held ? " (draft)" : "", (int)sent->subject.n,
	            (const char *)sent->subject.p, url);
	return 0;
}

/* The first message sent after NUMBER, printed. *NUMBER: which that was. */
static int print_next(struct app *app, uint32_t *number)
{
	struct kv_txn *t = db_read_begin(app->db);
	char *store = NULL, *subject = NULL, *recipients = NULL;
	struct db_sent sent;
	int r = t == NULL ? ERR_NOMEM : db_sent_next(app->db, t, *number, &sent);

	if (r == 0) { /* copied: printing may take its time */
		store = span_dup(sent.store);
		subject = span_dup(sent.subject);
		recipients = span_dup(sent.recipients);
	}
	db_read_end(t);
	if (r == 0 && (store == NULL || subject == NULL || recipients == NULL)) {
		r = ERR_NOMEM;
	}
	if (r == 0) {
		sent.store = span_str(store);
		sent.subject = span_str(subject);
		sent.recipients = span_of(recipients, sent.recipients.n);
		*number = sent.number;
		r = print_sent(app, &sent);
	}
	free(store);
	free(subject);
	free(recipients);
	return r;
}

static int list_sent(struct app *app, struct err_text *e)
{
	uint32_t number = 0;
	int r;

	while ((r = print_next(app, &number)) == 0) {
	}
	return r == ERR_NOT_FOUND ? 0
	                          : err_set(e, r, "list what is in %s/agent.mdb: %s",
	                                    app->config.data, err_phrase(r));
}

/* --- one message -------------------------------------------------------------------------- */

static int print_delivery(void *ctx, const struct msoap_delivery *d)
{
	return delivery_print(ctx, NULL, d);
}

int cmd_status(struct app *app, int argc, char **argv)
{
	static const struct option options[] = {
		{ "watch", no_argument, NULL, 'w' },
		CMD_OPTIONS,
	};
	struct track_target target;
	struct err_text e = { "" };
	bool watch = false;
	int c, r, exit;

	while ((c = cmd_option(app, argc, argv, options, &exit)) != CMD_END) {
		if (c == CMD_STOP) {
			return exit;
		}
		watch = true;
	}
	if (argc - optind > 1) {
		return program_usage(APP_PROGRAM, "status wants one number or URL, or nothing");
	}
	if (argc - optind == 1 && !track_is_name(argv[optind])) {
		return program_usage(APP_PROGRAM,
		                     "status: \"%.100s\" is neither a number nor a message URL",
		                     argv[optind]);
	}
	if ((exit = cmd_open(app)) != PROGRAM_DONE) {
		return exit;
	}
	if (optind == argc) {
		if (watch) {
			return follow_all(app);
		}
		r = list_sent(app, &e);
	} else if ((r = track_find(app, argv[optind], &target, &e)) == 0) {
		if (watch) {
			return follow_one(app, &target);
		}
		r = track_deliveries(app, &target, print_delivery, app, &e);
	}
	return r == 0 ? PROGRAM_DONE : cmd_fail(r, &e);
}
