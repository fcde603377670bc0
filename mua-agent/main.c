/* im2000: mail for people, on the command line. im2000(1). */
#include <stdio.h>
#include <string.h>

#include "mua-agent/cmd.h"
#include "mua-agent/show.h"
#include "session/daemon.h"

static int print_help(void)
{
	printf("usage: im2000 [-c FILE] [--account NAME] COMMAND ...\n");
	for (const struct command *c = cmd_table; c->name != NULL; c++) {
		printf("  %s%s%s\n          %s\n", c->name, c->arguments[0] != '\0' ? " " : "",
		       c->arguments, c->help);
	}
	printf("--json prints records as JSON, one object a line. --help and --version print and "
	       "exit.\n"
	       "FILE is agent.conf(5); default: $IM2000_CONFIG, else\n"
	       "$XDG_CONFIG_HOME/im2000/agent.conf.\n"
	       "Exit: 0 done, 1 failed, 2 used wrongly, 75 try again later.\n");
	return program_finish(APP_PROGRAM);
}

static int run_command(struct app *app, int argc, char **argv)
{
	const struct command *c = cmd_table;
	struct err_text e = { "" };
	int r;

	while (c->name != NULL && strcmp(c->name, argv[0]) != 0) {
		c++;
	}
	if (c->name == NULL) {
		return program_usage(APP_PROGRAM, "there is no command \"%.100s\"", argv[0]);
	}
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (strcmp(argv[i], "--help") == 0) {
			return c->run(app, argc, argv);
		}
	}
	if ((r = daemon_refuse_root(APP_PROGRAM, &e)) != 0) {
		return cmd_fail(r, &e);
	}
	optind = 0; /* begins anew, in the command's own words */
	r = c->run(app, argc, argv);
	app_close(app);
	return r == PROGRAM_DONE ? program_finish(APP_PROGRAM) : r;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "account", required_argument, NULL, CMD_ACCOUNT },
		{ "json", no_argument, NULL, CMD_JSON },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'v' },
		{ NULL, 0, NULL, 0 },
	};
	struct app app = { 0 };
	int c;

	show_begin();
	opterr = 0;
	while ((c = getopt_long(argc, argv, "+:c:h", options, NULL)) != -1) {
		switch (c) {
		case 'c':
			app.config_path = optarg;
			break;
		case CMD_ACCOUNT:
			app.account_name = optarg;
			break;
		case CMD_JSON:
			app.json = true;
			break;
		case 'h':
			return print_help();
		case 'v':
			printf("%s %s\n", APP_PROGRAM, PROGRAM_VERSION);
			return program_finish(APP_PROGRAM);
		default:
			return cmd_bad_option(c, "", argc, argv);
		}
	}
	if (optind >= argc) {
		return program_usage(APP_PROGRAM, "no command given");
	}
	return run_command(&app, argc - optind, argv + optind);
}
