/* im2000 doctor: looks up and connects to every service of every account, says what is wrong. */
#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>

#include "base/password.h"
#include "mua-agent/cmd.h"
#include "mua-agent/show.h"
#include "mua-agent/talk.h"

struct doctor {
	struct app *app;
	struct lines *lines;
	const struct config_account *account;
	int exit;
};

/* --- what it says ------------------------------------------------------------------------- */

/* One line: CHECK ("login rnaqp") of SUBJECT went well, or did not and why. */
static void report(struct doctor *d, const char *check, const char *subject, bool ok,
                   const char *text)
{
	char safe[1024];
	struct show_json j;

	if (!ok) {
		d->exit = PROGRAM_FAILED;
	}
	if (d->app->json) {
		show_json_begin(&j);
		show_json_text(&j, "account", span_str(d->account->title));
		show_json_text(&j, "check", span_str(check));
		show_json_text(&j, "subject", span_str(subject));
		show_json_bool(&j, "ok", ok);
		show_json_text(&j, "text", span_str(text));
		(void)show_json_end(&j);
		return;
	}
	show_safe(span_str(text), safe, sizeof safe);
	show_format(stdout, "%-5s  %s: %s %s%s%s\n", ok ? "ok" : "WRONG", d->account->title, check,
	            subject, safe[0] != '\0' ? ": " : "", safe);
}

/* What a person can do about an error. */
static const char *advice(int error)
{
	switch (error) {
	case ERR_NO_DOMAIN:
		return "; is the domain spelled right? Else it has no DNS yet: add a route";
	case ERR_NO_SERVICE:
		return "; the domain needs an SRV record for it, or add a route";
	case ERR_NO_SERVER:
	case ERR_TIMEOUT:
	case ERR_CLOSED:
		return "; is the server running, and does the network lead there?";
	case ERR_TLS:
		return "; does ca-file name the authority of that certificate?";
	case ERR_DENIED:
		return "; check login and password in agent.conf";
	default:
		return "";
	}
}

static void report_error(struct doctor *d, const char *check, const char *subject, int error,
                         const char *why)
{
	char text[700];

	snprintf(text, sizeof text, "%s%s", why[0] != '\0' ? why : err_phrase(error),
	         advice(error));
	report(d, check, subject, false, text);
}

/* --- looking up and connecting ------------------------------------------------------------ */

/* A lookup or a connection under way. */
struct probe {
	struct loop *loop;
	bool done;
	int error;
	char text[512];
};

static void end_probe(struct probe *p, int error, const char *text)
{
	p->done = true;
	p->error = error;
	snprintf(p->text, sizeof p->text, "%s", text != NULL ? text : "");
	loop_stop(p->loop);
}

static void on_located(void *ctx, int error, const struct located *list, size_t n, const char *why)
{
	char address[64], text[512];

	if (error != 0) {
		end_probe(ctx, error, why);
		return;
	}
	address_format(&list[0].address, address, sizeof address);
	snprintf(text, sizeof text, "%s (%s%s)%s", address, list[0].pinned ? "route to " : "",
	         list[0].target, n > 1 ? " and others" : "");
	end_probe(ctx, 0, text);
}

static void on_dialled(void *ctx, int error, struct stream *stream, const char *why)
{
	char address[64], text[512];
	struct stream_info info;

	if (error != 0) {
		end_probe(ctx, error, why);
		return;
	}
	stream_info(stream, &info);
	address_format(&info.peer, address, sizeof address);
	snprintf(text, sizeof text, "%s, certificate is good", address);
	stream_free(stream);
	end_probe(ctx, 0, text);
}

static void wait_probe(struct probe *p)
{
	while (!p->done) {
		loop_run(p->loop);
	}
}

/* Whether DOMAIN offers SERVICE, with a certificate that proves it. */
static bool check_service(struct doctor *d, const char *domain, enum locate_service service)
{
	struct dial_options options = lines_dial(d->lines);
	struct probe p = { .loop = lines_loop(d->lines) };
	const char *name = locate_service_name(service);
	char lookup[32], connection[32];

	snprintf(lookup, sizeof lookup, "lookup %s", name);
	snprintf(connection, sizeof connection, "connect %s", name);
	if (locate_start(options.locator, domain, service, on_located, &p) == NULL) {
		end_probe(&p, ERR_NOMEM, NULL);
	}
	wait_probe(&p);
	if (p.error != 0) {
		report_error(d, lookup, domain, p.error, p.text);
		return false;
	}
	report(d, lookup, domain, true, p.text);
	p.done = false;
	if (dial_start(p.loop, domain, service, &options, on_dialled, &p) == NULL) {
		end_probe(&p, ERR_NOMEM, NULL);
	}
	wait_probe(&p);
	if (p.error != 0) {
		report_error(d, connection, domain, p.error, p.text);
		return false;
	}
	report(d, connection, domain, true, p.text);
	return true;
}

/* --- logging in --------------------------------------------------------------------------- */

static bool check_password(struct doctor *d, const char *check,
                           int (*read)(const struct config_account *, char *, struct err_text *))
{
	char password[PASSWORD_MAX + 1];
	struct err_text e = { "" };
	int r = read(d->account, password, &e);

	OPENSSL_cleanse(password, sizeof password);
	report(d, check, "is readable", r == 0, e.text);
	return r == 0;
}

static void check_login(struct doctor *d, const char *domain, enum locate_service service)
{
	struct err_text e = { "" };
	struct talk login;
	struct line *l;
	char check[32];
	int r = line_open(d->lines, domain, service, true, &l, &e);

	snprintf(check, sizeof check, "login %s", locate_service_name(service));
	if (r == 0) {
		r = service == LOCATE_MSOAP ? talk_login_store(l, &login, d->account, &e)
		                            : talk_login_agent(l, &login, d->account, &e);
		if (r == 0) {
			r = talk_finish(&login, &e);
		}
		line_close(l);
	}
	if (r != 0) {
		report_error(d, check, domain, r, e.text);
	} else {
		report(d, check, domain, true,
		       service == LOCATE_MSOAP ? d->account->store_login
		                               : d->account->notify_login);
	}
}

/* Whether the agent fetches messages: it is asked for one that nobody has. */
static void check_pull_cache(struct doctor *d)
{
	const char *domain = d->account->notify_domain;
	struct rnaqp_command c = { .kind = RNAQP_FETCH,
		                   .u.fetch = { .type = WIRE_RETRIEVAL_NOTHING } };
	struct talk login, fetch = { .doing = "fetch" };
	struct err_text e = { "" };
	struct line *l;
	int r = line_open(d->lines, domain, LOCATE_RNAQP, true, &l, &e);

	if (r == 0) {
		if ((r = talk_login_agent(l, &login, d->account, &e)) == 0 &&
		    (r = talk_rnaqp(l, &fetch, &c, 0, &e)) == 0 &&
		    (r = talk_finish(&login, &e)) == 0) {
			r = talk_finish(&fetch, &e);
		}
		line_close(l);
	}
	if (fetch.answered && (r == 0 || r == ERR_NOT_FOUND)) {
		report(d, "pull cache", domain, true, "");
	} else {
		report_error(d, "pull cache", domain, r, e.text);
	}
}

/* --- an account --------------------------------------------------------------------------- */

static void check_receiving(struct doctor *d)
{
	const struct config_account *a = d->account;
	bool password;

	if (!config_receives(a)) {
		report(d, "receiving", "is off", true,
		       "neither notify-password-file nor notify-password-command is set");
		return;
	}
	password = check_password(d, "notify password", config_notify_password);
	check_service(d, mailbox_domain(&a->mailbox), LOCATE_RNASP);
	if (check_service(d, a->notify_domain, LOCATE_RNAQP) && password) {
		check_login(d, a->notify_domain, LOCATE_RNAQP);
		if (a->fetch_via != CONFIG_VIA_STORE) {
			check_pull_cache(d);
		}
	}
}

static void check_sending(struct doctor *d)
{
	const struct config_account *a = d->account;
	bool password;

	if (!config_sends(a)) {
		report(d, "sending", "is off", true,
		       "neither store-password-file nor store-password-command is set");
		return;
	}
	password = check_password(d, "store password", config_store_password);
	if (check_service(d, a->store_domain, LOCATE_MSOAP) && password) {
		check_login(d, a->store_domain, LOCATE_MSOAP);
	}
	check_service(d, a->store_domain, LOCATE_MSRAP);
}

int cmd_doctor(struct app *app, int argc, char **argv)
{
	static const struct option options[] = { CMD_OPTIONS };
	struct doctor d = { .app = app };
	struct err_text e = { "" };
	int r;

	if (cmd_option(app, argc, argv, options, &d.exit) == CMD_STOP) {
		return d.exit;
	}
	if (optind != argc) {
		return program_usage(APP_PROGRAM, "doctor takes no \"%.100s\"", argv[optind]);
	}
	if ((d.exit = cmd_open(app)) != PROGRAM_DONE) {
		return d.exit;
	}
	if ((r = app_lines(app, &d.lines, &e)) != 0) {
		return cmd_fail(r, &e);
	}
	for (size_t i = 0; i < app->config.n_accounts; i++) {
		d.account = &app->config.accounts[i];
		if (app_wants(app, d.account)) {
			report(&d, "configuration", app->config.path, true, "");
			check_receiving(&d);
			check_sending(&d);
		}
	}
	return d.exit;
}
