/* im2000-notify: keeps notifications for recipients. im2000-notify(8). */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "notify/admin.h"
#include "notify/run.h"
#include "session/daemon.h"
#include "session/program.h"

static const char usage[] =
    "usage: im2000-notify COMMAND ...\n"
    "  init DIR --domain D [--listen HOST] [--self-signed] [--ca DIR]\n"
    "                          write DIR/notify.conf and make the data directory\n"
    "  run -c FILE [--check]   serve; with --check only say what is wrong in FILE\n"
    "  mailbox add MAILBOX [--password-file F | --token]\n"
    "  mailbox list [--json]\n"
    "  mailbox remove MAILBOX\n"
    "  mailbox password MAILBOX [--password-file F | --token]\n"
    "  backup DIR              copy a consistent snapshot to DIR\n"
    "  check                   walk every table, say what does not add up\n"
    "  stats [--json]          counts and sizes\n"
    "All but init take -c FILE; default: $IM2000_NOTIFY_CONFIG, else ./notify.conf.\n"
    "F of - is standard input. --help and --version print and exit.\n"
    "Exit: 0 done, 1 failed, 2 used wrongly, 75 try again later.\n";

static int command_run(int argc, char **argv)
{
	static const struct option options[] = {
		{ "check", no_argument, NULL, 'k' },
		{ NULL, 0, NULL, 0 },
	};
	struct err_text e = { "" };
	const char *config = NULL;
	bool check = false;
	int c, r;

	while ((c = getopt_long(argc, argv, ":c:", options, NULL)) != -1) {
		if (c == 'c') {
			config = optarg;
		} else if (c == 'k') {
			check = true;
		} else {
			return program_usage(ADMIN_PROGRAM, "run: %s %s", admin_option(argv),
			                     c == ':' ? "wants a value" : "is no option of it");
		}
	}
	if (optind != argc) {
		return program_usage(ADMIN_PROGRAM, "run wants -c FILE and nothing else");
	}
	config = admin_config_path(config);
	r = check ? notify_check(config, &e) : notify_run(config, &e);
	if (r == 0 && check) {
		fprintf(stderr, "%s: %s is fine\n", ADMIN_PROGRAM, config);
	}
	return r == 0 ? PROGRAM_DONE : program_fail(ADMIN_PROGRAM, r, &e);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(int argc, char **argv);
	} commands[] = {
		{ "run", command_run },     { "init", admin_init },   { "mailbox", admin_mailbox },
		{ "backup", admin_backup }, { "check", admin_check }, { "stats", admin_stats },
	};
	struct err_text e = { "" };
	int r;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0 || (i == 1 && strcmp(argv[i], "-h") == 0)) {
			fputs(usage, stdout);
			return program_finish(ADMIN_PROGRAM);
		}
	}
	if (argc > 1 && strcmp(argv[1], "--version") == 0) {
		printf("%s %s\n", ADMIN_PROGRAM, PROGRAM_VERSION);
		return program_finish(ADMIN_PROGRAM);
	}
	opterr = 0;
	for (size_t i = 0; argc > 1 && i < sizeof commands / sizeof commands[0]; i++) {
		if (strcmp(argv[1], commands[i].name) == 0) {
			if ((r = daemon_refuse_root(ADMIN_PROGRAM, &e)) != 0) {
				return program_fail(ADMIN_PROGRAM, r, &e);
			}
			return commands[i].run(argc - 1, argv + 1);
		}
	}
	return argc > 1 ? program_usage(ADMIN_PROGRAM, "there is no command \"%s\"", argv[1])
	                : program_usage(ADMIN_PROGRAM, "no command given");
}
