/* im2000-store: keeps messages and their delivery status. im2000-store(8). */
#include <stddef.h>

#include "session/program.h"
#include "store/admin.h"
#include "store/config.h"
#include "store/run.h"

static const char usage[] =
    "usage: im2000-store COMMAND ...\n"
    "  init DIR --domain D [--listen HOST] [--self-signed] [--ca DIR]\n"
    "                          write DIR/store.conf, make the data directory and its key\n"
    "  run -c FILE [--check]   serve; with --check only say what is wrong in FILE\n"
    "  account add NAME --sender MAILBOX... [--quota SIZE] [--password-file F | --token]\n"
    "  account list [--json]\n"
    "  account remove NAME\n"
    "  account password NAME [--password-file F | --token]\n"
    "  key rotate              make a new key for message ids; old ids go on working\n"
    "  key list [--json]       the keys, and how many messages were made with each\n"
    "  backup DIR              copy a consistent snapshot to DIR\n"
    "  check                   walk every table, say what does not add up\n"
    "  stats [--json]          counts and sizes\n"
    "All but init take -c FILE; default: $IM2000_STORE_CONFIG, else ./store.conf.\n"
    "F of - is standard input. --help and --version print and exit.\n"
    "Exit: 0 done, 1 failed, 2 used wrongly, 75 try again later.\n";

static int check(const char *path, struct err_text *e)
{
	struct config c;
	int r = config_read(path, &c, e);

	if (r == 0) {
		r = config_check(&c, e);
		config_release(&c);
	}
	return r;
}

static int command_run(int argc, char **argv)
{
	return program_run(ADMIN_PROGRAM, argc, argv, admin_config_path, check, store_run);
}

int main(int argc, char **argv)
{
	static const struct program_command commands[] = {
		{ "run", command_run },
		{ "init", admin_init },
		{ "account", admin_account },
		{ "key", admin_key },
		{ "backup", admin_backup },
		{ "check", admin_check },
		{ "stats", admin_stats },
		{ NULL, NULL },
	};

	return program_dispatch(ADMIN_PROGRAM, usage, commands, argc, argv);
}
