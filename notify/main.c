/* im2000-notify: keeps notifications for recipients. im2000-notify(8). */
#include <stddef.h>

#include "notify/admin.h"
#include "notify/run.h"
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
    "  alias add ADDRESS MAILBOX...\n"
    "  alias list [--json]\n"
    "  alias remove ADDRESS [MAILBOX...]\n"
    "                          addresses that stand for mailboxes; @DOMAIN for all that\n"
    "                          is nobody's\n"
    "  policy show [TABLE] [--mailbox M] [--json]\n"
    "  policy add TABLE VALUE [--mailbox M]\n"
    "  policy remove TABLE VALUE [--mailbox M]\n"
    "                          tables blacklist, whitelist, strangers: the operator's,\n"
    "                          or those of a mailbox\n"
    "  backup DIR              copy a consistent snapshot to DIR\n"
    "  check                   walk every table, say what does not add up\n"
    "  stats [--json]          counts and sizes\n"
    "All but init take -c FILE; default: $IM2000_NOTIFY_CONFIG, else ./notify.conf.\n"
    "F of - is standard input. --help and --version print and exit.\n"
    "Exit: 0 done, 1 failed, 2 used wrongly, 75 try again later.\n";

static int command_run(int argc, char **argv)
{
	return program_run(ADMIN_PROGRAM, argc, argv, admin_config_path, notify_check, notify_run);
}

int main(int argc, char **argv)
{
	static const struct program_command commands[] = {
		{ "run", command_run },
		{ "init", admin_init },
		{ "mailbox", admin_mailbox },
		{ "alias", admin_alias },
		{ "policy", admin_policy },
		{ "backup", admin_backup },
		{ "check", admin_check },
		{ "stats", admin_stats },
		{ NULL, NULL },
	};

	return program_dispatch(ADMIN_PROGRAM, usage, commands, argc, argv);
}
