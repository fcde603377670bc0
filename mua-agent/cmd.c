#include "mua-agent/cmd.h"

#include <string.h>

#include "base/text.h"
#include "mua-agent/prepare.h"

const struct command cmd_table[] = {
	{ "send", "[FILE] [--to MAILBOX]... [--lifetime T] [--at TIME] [--draft]",
	  "submit a message (standard input without FILE)", cmd_send },
	{ "list", "", "fetch notifications and list them", cmd_list },
	{ "read", "N [--headers] [--part SECTION] [--raw] [--save DIR]", "pull and show a message",
	  cmd_read },
	{ "structure", "N", "list a message's parts", cmd_structure },
	{ "status", "[N | URL] [--watch]", "what became of what was sent", cmd_status },
	{ "wait", "[--exec COMMAND]", "wait until something comes", cmd_wait },
	{ "drop", "N...", "forget messages, here and at their stores", cmd_drop },
	{ "refuse", "N... [--reason TEXT]", "refuse messages; their senders see it", cmd_refuse },
	{ "cancel", "N | URL [--to MAILBOX]...", "recall a message that was sent", cmd_cancel },
	{ "release", "N | URL", "send a draft", cmd_release },
	{ "readdress", "N | URL --to MAILBOX...", "more recipients for what was sent",
	  cmd_readdress },
	{ "extend", "N | URL --lifetime T", "have it kept longer", cmd_extend },
	{ "forget", "N | URL", "give up the sender's own copy", cmd_forget },
	{ "archive", "", "list what the stores keep of what was sent", cmd_archive },
	{ "export", "DIR", "write all that is listed into a Maildir", cmd_export },
	{ "block", "MAILBOX|@DOMAIN...", "have the agent refuse these senders", cmd_block },
	{ "unblock", "MAILBOX|@DOMAIN...", "refuse them no more", cmd_unblock },
	{ "allow", "MAILBOX|@DOMAIN...", "let these senders in, where strangers are refused",
	  cmd_allow },
	{ "policy", "[TABLE | add TABLE VALUE | remove TABLE VALUE]", "the agent's tables",
	  cmd_policy },
	{ "doctor", "", "connect to every service, say what is wrong", cmd_doctor },
	{ NULL, NULL, NULL, NULL },
};

static void print_usage(const char *name)
{
	for (const struct command *c = cmd_table; c->name != NULL; c++) {
		if (strcmp(c->name, name) == 0) {
			printf(
			    "usage: im2000 [-c FILE] [--account NAME] %s%s%s [--json]\n  %s; see "
			    "im2000(1)\n",
			    c->name, c->arguments[0] != '\0' ? " " : "", c->arguments, c->help);
		}
	}
}

/* The word that getopt_long stumbled over. */
static const char *bad_word(int argc, char **argv, char short_word[3])
{
	const char *last = optind > 0 && optind <= argc ? argv[optind - 1] : "";

	if (strncmp(last, "--", 2) == 0 || optopt <= ' ' || optopt > '~') {
		return last;
	}
	short_word[0] = '-';
	short_word[1] = (char)optopt;
	short_word[2] = '\0';
	return short_word;
}

int cmd_bad_option(int what, const char *where, int argc, char **argv)
{
	char short_word[3];
	const char *word = bad_word(argc, argv, short_word);

	if (what == ':') {
		return program_usage(APP_PROGRAM, "%s%s wants a value", where, word);
	}
	/* optopt says so when it is known, but takes no value. */
	return program_usage(APP_PROGRAM, "%s%.100s is %s", where, word,
	                     strncmp(word, "--", 2) == 0 && optopt != 0
	                         ? "an option that takes no value"
	                         : "no option here");
}

int cmd_option(struct app *app, int argc, char **argv, const struct option *options, int *exit)
{
	char where[32];

	for (;;) {
		int c = getopt_long(argc, argv, ":c:", options, NULL);

		switch (c) {
		case -1:
			return CMD_END;
		case 'c':
			app->config_path = optarg;
			break;
		case CMD_ACCOUNT:
			app->account_name = optarg;
			break;
		case CMD_JSON:
			app->json = true;
			break;
		case CMD_HELP:
			print_usage(argv[0]);
			*exit = program_finish(APP_PROGRAM);
			return CMD_STOP;
		case ':':
		case '?':
			snprintf(where, sizeof where, "%s: ", argv[0]);
			*exit = cmd_bad_option(c, where, argc, argv);
			return CMD_STOP;
		default:
			return c;
		}
	}
}

int cmd_open(struct app *app)
{
	struct err_text e = { "" };
	int r = app_open(app, &e);

	return r == 0 ? PROGRAM_DONE : cmd_fail(r, &e);
}

int cmd_fail(int code, const struct err_text *e)
{
	return program_fail(APP_PROGRAM, code, e);
}

void cmd_trouble(int *exit, int code, const struct err_text *e)
{
	int mine = cmd_fail(code, e);

	if (*exit == PROGRAM_DONE || mine == PROGRAM_FAILED) {
		*exit = mine;
	}
}

int cmd_number(const char *command, const char *text, uint32_t *out)
{
	uint64_t number;

	if (text_parse_number(text, UINT32_MAX, &number) != 0 || number == 0) {
		return program_usage(APP_PROGRAM, "%s: \"%.100s\" is no number of a message",
		                     command, text);
	}
	*out = (uint32_t)number;
	return 0;
}

int cmd_can_send(const struct app *app)
{
	struct err_text e;

	for (size_t i = 0; i < app->config.n_accounts; i++) {
		if (app_is_sender(app, i)) {
			return PROGRAM_DONE;
		}
	}
	err_set(&e, ERR_CONFIG,
	        "%s: no account%s%s names a store-password-file or store-password-command",
	        app->config.path, app->account_name != NULL ? " " : "",
	        app->account_name != NULL ? app->account_name : "");
	return cmd_fail(ERR_CONFIG, &e);
}

int cmd_recipient(const char *command, const char *text, struct mailbox **list, size_t *n)
{
	struct mailbox m;

	if (name_parse_mailbox(span_str(text), &m) != 0) {
		return program_usage(APP_PROGRAM,
		                     "%s: \"%.300s\" is no mailbox (as in bob@b.example)", command,
		                     text);
	}
	return prepare_add_recipient(list, n, &m) == 0 ? PROGRAM_DONE : cmd_fail(ERR_NOMEM, NULL);
}
