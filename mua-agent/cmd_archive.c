/* im2000 archive: what the stores keep for the accounts that send. */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "message/header.h"
#include "mua-agent/cmd.h"
#include "mua-agent/show.h"
#include "mua-agent/track.h"
#include "mua-agent/url.h"

/* A store's list under way. */
struct archive {
	struct app *app;
	const struct config_account *account;
	bool more;
	uint64_t next;
};

/* Number under which the message is in the list of what was sent from here; 0: it is not. */
static uint32_t number_of(const struct archive *a, const uint8_t id[WIRE_ID_SIZE])
{
	struct kv_txn *t = db_read_begin(a->app->db);
	struct db_sent sent;
	uint32_t number = 0;

	if (t != NULL && db_sent_find(a->app->db, t, span_str(a->account->store_domain), id,
	                              &sent) == 0) {
		number = sent.number;
	}
	db_read_end(t);
	return number;
}

static void field_text(struct span header, const char *name, char *out, size_t cap)
{
	struct header_field field;

	out[0] = '\0';
	if (header_find(header, name, &field) == 0) {
		show_safe_words(field.value, out, cap);
	}
}

static int print_json(const struct archive *a, const struct msoap_archived *m, const char *url)
{
	uint32_t number = number_of(a, m->id);
	char text[1024];
	struct show_json j;

	show_json_begin(&j);
	if (number > 0) {
		show_json_number(&j, "number", number);
	}
	show_json_text(&j, "url", span_str(url));
	show_json_time(&j, "time", m->submitted);
	show_json_number(&j, "size", m->size);
	field_text(m->header, "Subject", text, sizeof text);
	show_json_text(&j, "subject", span_str(text));
	field_text(m->header, "To", text, sizeof text);
	show_json_text(&j, "to", span_str(text));
	show_json_bool(&j, "draft", m->held);
	show_json_time(&j, "expires", m->expires);
	show_json_text(&j, "account", span_str(a->account->title));
	return show_json_end(&j);
}

static int print_message(const struct archive *a, const struct msoap_archived *m)
{
	char url[URL_MAX + 1], time[SHOW_TIME], size[16], subject[1024], to[400], number[16] = "-";
	uint32_t known;

	url_format(a->account->store_domain, m->id, url);
	if (a->app->json) {
		return print_json(a, m, url);
	}
	if ((known = number_of(a, m->id)) > 0) {
		snprintf(number, sizeof number, "%u", known);
	}
	field_text(m->header, "Subject", subject, sizeof subject);
	field_text(m->header, "To", to, sizeof to);
	show_format(stdout, "%4s  %s  %5s  %s%s  %s\n      %s\n", number,
	            show_time(m->submitted, time), text_size(m->size, size, sizeof size), to,
	            m->held ? " (draft)" : "", subject[0] != '\0' ? subject : "(no subject)", url);
	return 0;
}

static int on_archive(void *ctx, const struct msoap_response *r, struct err_text *why)
{
	struct wire_list rest = r->u.archive.messages;
	struct msoap_archived message;
	struct archive *a = ctx;
	int result = 0;

	if (r->u.archive.has_next && r->u.archive.next <= a->next) {
		return err_set(why, ERR_PROTOCOL, "the store's list does not get on");
	}
	a->more = r->u.archive.has_next;
	a->next = r->u.archive.next;
	while (result == 0 && msoap_archived_next(&rest, &message)) {
		result = print_message(a, &message);
	}
	return result == 0 ? 0 : err_set(why, result, "%s", err_phrase(result));
}

static int ask(struct archive *a, struct line *l, struct talk *t, struct err_text *e)
{
	struct msoap_command c = { .kind = MSOAP_ARCHIVE };

	*t = (struct talk) { .msoap = on_archive, .ctx = a };
	snprintf(t->doing, sizeof t->doing, "ask %.150s what it keeps", a->account->store_domain);
	c.u.archive.after = a->next;
	return talk_msoap(l, t, &c, 0, e);
}

static int list_one(struct app *app, const struct config_account *account, struct err_text *e)
{
	struct archive a = { .app = app, .account = account };
	struct talk login, page;
	struct line *l;
	int r = track_open(app, account, account->store_domain, &login, &l, e);

	if (r != 0) {
		return r;
	}
	if ((r = ask(&a, l, &page, e)) == 0 && (r = talk_finish(&login, e)) == 0) {
		r = talk_finish(&page, e);
	}
	while (r == 0 && a.more) {
		if ((r = ask(&a, l, &page, e)) == 0) {
			r = talk_finish(&page, e);
		}
	}
	line_close(l);
	return r;
}

int cmd_archive(struct app *app, int argc, char **argv)
{
	static const struct option options[] = { CMD_OPTIONS };
	int exit = PROGRAM_DONE;

	if (cmd_option(app, argc, argv, options, &exit) == CMD_STOP) {
		return exit;
	}
	if (optind != argc) {
		return program_usage(APP_PROGRAM, "archive takes no \"%.100s\"", argv[optind]);
	}
	if ((exit = cmd_open(app)) != PROGRAM_DONE || (exit = cmd_can_send(app)) != PROGRAM_DONE) {
		return exit;
	}
	for (size_t i = 0; i < app->config.n_accounts; i++) {
		const struct config_account *a = &app->config.accounts[i];
		struct err_text e = { "" };
		int r;

		if (app_is_sender(app, i) && (r = list_one(app, a, &e)) != 0) {
			cmd_trouble(&exit, r, &e);
		}
	}
	return exit;
}
