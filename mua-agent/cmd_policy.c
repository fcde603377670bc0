/*
 * im2000 block, unblock, allow, policy: the tables by which the agent refuses
 * notifications or lets them in, for the mailbox of each account.
 */
#include <stdio.h>
#include <string.h>

#include "mua-agent/cmd.h"
#include "mua-agent/show.h"
#include "mua-agent/talk.h"

static const char blacklist[] = "blacklist", whitelist[] = "whitelist";
static const char *const tables[] = { blacklist, whitelist, "strangers" };

/* An account's agent, and what was answered. */
struct tabling {
	struct app *app;
	const struct config_account *account;
	struct line *line;
	const char *table;
	bool print; /* the values are data for stdout */
	size_t n;   /* values of the last answer */
};

static void print_value(const struct tabling *x, struct span value)
{
	char safe[1024];
	struct show_json j;

	if (x->app->json) {
		show_json_begin(&j);
		show_json_text(&j, "account", span_str(x->account->title));
		show_json_text(&j, "table", span_str(x->table));
		show_json_text(&j, "value", value);
		(void)show_json_end(&j);
		return;
	}
	show_safe(value, safe, sizeof safe);
	show_format(stdout, "%s  %s  %s\n", x->account->title, x->table, safe);
}

static int on_values(void *ctx, const struct rnaqp_response *response, struct err_text *why)
{
	struct wire_list rest = response->u.policy.values;
	struct tabling *x = ctx;
	struct span value;

	(void)why;
	x->n = rest.count;
	while (x->print && wire_text_next(&rest, &value)) {
		print_value(x, value);
	}
	return 0;
}

/* One command. 0 or an error with E filled; X has what was answered. */
static int ask(struct tabling *x, enum wire_policy_action action, const char *table,
               const char *value, struct err_text *e)
{
	struct rnaqp_command c = { .kind = RNAQP_POLICY };
	struct talk t = { .rnaqp = on_values, .ctx = x };
	int r;

	x->table = table;
	c.u.policy.action = action;
	c.u.policy.table = span_str(table);
	c.u.policy.has_value = value != NULL;
	c.u.policy.value = span_str(value);
	snprintf(t.doing, sizeof t.doing, "%s the %.40s at %.100s",
	         action == WIRE_POLICY_SHOW ? "read" : "change", table, x->account->notify_domain);
	r = talk_rnaqp(x->line, &t, &c, value == NULL ? 0 : strlen(value), e);
	return r != 0 ? r : talk_finish(&t, e);
}

/* What a command does with a value at one agent. 0 or an error with E filled. */
typedef int act(struct tabling *x, const char *value, struct err_text *e);

static int block(struct tabling *x, const char *value, struct err_text *e)
{
	int r = ask(x, WIRE_POLICY_ADD, blacklist, value, e);

	return r != 0 ? r : ask(x, WIRE_POLICY_REMOVE, whitelist, value, e);
}

static int allow(struct tabling *x, const char *value, struct err_text *e)
{
	int r = ask(x, WIRE_POLICY_ADD, whitelist, value, e);

	return r != 0 ? r : ask(x, WIRE_POLICY_REMOVE, blacklist, value, e);
}

static int take_out(struct tabling *x, const char *table, const char *value, struct err_text *e)
{
	int r = ask(x, WIRE_POLICY_REMOVE, table, value, e);

	return r != 0 || x->n > 0
	           ? r
	           : err_set(e, ERR_NOT_FOUND, "%s: %.300s is not in the %s", x->account->title,
	                     value, table);
}

static int unblock(struct tabling *x, const char *value, struct err_text *e)
{
	return take_out(x, blacklist, value, e);
}

/* Opens the agent of X's account and logs in. */
static int connect_agent(struct tabling *x, struct err_text *e)
{
	struct lines *lines;
	struct talk login;
	int r = app_lines(x->app, &lines, e);

	if (r != 0 ||
	    (r = line_open(lines, x->account->notify_domain, LOCATE_RNAQP, true, &x->line, e)) != 0) {
		return r;
	}
	if ((r = talk_login_agent(x->line, &login, x->account, e)) == 0) {
		r = talk_finish(&login, e);
	}
	return r;
}

/* Calls EACH at the agent of every account that is meant. The exit code. */
static int at_agents(struct app *app, void (*each)(struct tabling *x, void *ctx, int *exit),
                     void *ctx)
{
	struct err_text e = { "" };
	bool any = false;
	int exit = cmd_open(app);

	if (exit != PROGRAM_DONE) {
		return exit;
	}
	for (size_t i = 0; i < app->config.n_accounts; i++) {
		struct tabling x = { .app = app, .account = &app->config.accounts[i] };
		int r;

		if (!app_wants(app, x.account) || !config_receives(x.account)) {
			continue;
		}
		any = true;
		if ((r = connect_agent(&x, &e)) != 0) {
			cmd_trouble(&exit, r, &e);
		} else {
			each(&x, ctx, &exit);
		}
		line_close(x.line);
	}
	if (exit == PROGRAM_DONE && !any) {
		err_set(&e, ERR_CONFIG, "no account has an agent: agent.conf names no notify-login");
		return cmd_fail(ERR_CONFIG, &e);
	}
	return exit != PROGRAM_DONE ? exit : program_finish(APP_PROGRAM);
}

/* --- block, unblock, allow ------------------------------------------------------------------- */

struct values {
	act *run;
	char **item;
	int n;
};

static void each_value(struct tabling *x, void *ctx, int *exit)
{
	const struct values *v = ctx;
	struct err_text e = { "" };
	int r;

	for (int i = 0; i < v->n; i++) {
		if ((r = v->run(x, v->item[i], &e)) != 0) {
			cmd_trouble(exit, r, &e);
		}
	}
}

static bool is_value(const char *text)
{
	char domain[NAME_DOMAIN_MAX + 1];
	struct mailbox m;

	if (text[0] == '@') {
		return name_parse_domain(span_str(text + (text[1] == '.' ? 2 : 1)), domain) == 0;
	}
	return name_parse_mailbox(span_str(text), &m) == 0;
}

static int change(struct app *app, int argc, char **argv, act *run)
{
	static const struct option options[] = { CMD_OPTIONS };
	struct values v = { .run = run };
	int exit;

	if (cmd_option(app, argc, argv, options, &exit) == CMD_STOP) {
		return exit;
	}
	if (optind == argc) {
		return program_usage(APP_PROGRAM, "%s wants mailboxes or @domains", argv[0]);
	}
	for (int i = optind; i < argc; i++) {
		if (!is_value(argv[i])) {
			return program_usage(APP_PROGRAM,
			                     "%s: \"%.300s\" is no mailbox, @domain or @.domain",
			                     argv[0], argv[i]);
		}
	}
	v.item = argv + optind;
	v.n = argc - optind;
	return at_agents(app, each_value, &v);
}

int cmd_block(struct app *app, int argc, char **argv)
{
	return change(app, argc, argv, block);
}

int cmd_unblock(struct app *app, int argc, char **argv)
{
	return change(app, argc, argv, unblock);
}

int cmd_allow(struct app *app, int argc, char **argv)
{
	return change(app, argc, argv, allow);
}

/* --- policy ---------------------------------------------------------------------------------- */

struct wanted {
	enum wire_policy_action action;
	const char *table; /* NULL: all */
	const char *value;
};

static void each_policy(struct tabling *x, void *ctx, int *exit)
{
	const struct wanted *w = ctx;
	struct err_text e = { "" };
	int r = 0;

	x->print = w->action == WIRE_POLICY_SHOW;
	if (w->action == WIRE_POLICY_REMOVE) {
		r = take_out(x, w->table, w->value, &e);
	} else if (w->table != NULL) {
		r = ask(x, w->action, w->table, w->value, &e);
	} else {
		for (size_t i = 0; r == 0 && i < sizeof tables / sizeof tables[0]; i++) {
			r = ask(x, w->action, tables[i], NULL, &e);
		}
	}
	if (r != 0) {
		cmd_trouble(exit, r, &e);
	}
}

int cmd_policy(struct app *app, int argc, char **argv)
{
	static const struct option options[] = { CMD_OPTIONS };
	struct wanted w = { .action = WIRE_POLICY_SHOW };
	char **word;
	int n, exit;

	if (cmd_option(app, argc, argv, options, &exit) == CMD_STOP) {
		return exit;
	}
	word = argv + optind;
	n = argc - optind;
	if (n == 3 && strcmp(word[0], "add") == 0) {
		w = (struct wanted) { WIRE_POLICY_ADD, word[1], word[2] };
	} else if (n == 3 && strcmp(word[0], "remove") == 0) {
		w = (struct wanted) { WIRE_POLICY_REMOVE, word[1], word[2] };
	} else if (n == 1 && strcmp(word[0], "add") != 0 && strcmp(word[0], "remove") != 0) {
		w.table = word[0];
	} else if (n != 0) {
		return program_usage(APP_PROGRAM,
		                     "policy wants a table, or add or remove with a table and a value");
	}
	return at_agents(app, each_policy, &w);
}
