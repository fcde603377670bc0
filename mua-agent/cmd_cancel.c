/* im2000 cancel: recalls a message. */
#include <stdlib.h>

#include "mua-agent/cmd.h"
#include "mua-agent/prepare.h"
#include "mua-agent/track.h"

static int cancel(struct app *app, const char *name, const struct mailbox *recipients, size_t n)
{
	struct track_target target;
	struct err_text e = { "" };
	int r, exit = cmd_open(app);

	if (exit != PROGRAM_DONE) {
		return exit;
	}
	if ((r = track_find(app, name, &target, &e)) == 0) {
		r = track_cancel(app, &target, recipients, n, &e);
	}
	return r == 0 ? PROGRAM_DONE : cmd_fail(r, &e);
}

int cmd_cancel(struct app *app, int argc, char **argv)
{
	static const struct option options[] = {
		{ "to", required_argument, NULL, 't' },
		CMD_OPTIONS,
	};
	struct mailbox *recipients = NULL;
	size_t n = 0;
	int c, exit = PROGRAM_DONE;

	while ((c = cmd_option(app, argc, argv, options, &exit)) == 't') {
		if ((exit = cmd_recipient("cancel", optarg, &recipients, &n)) != PROGRAM_DONE) {
			break;
		}
	}
	if (c == CMD_END && argc - optind != 1) {
		exit = program_usage(APP_PROGRAM, "cancel wants the URL or number of one message");
	} else if (c == CMD_END && !track_is_name(argv[optind])) {
		exit = program_usage(APP_PROGRAM,
		                     "cancel: \"%.100s\" is neither a number nor a message URL",
		                     argv[optind]);
	} else if (c == CMD_END) {
		exit = cancel(app, argv[optind], recipients, n);
	}
	free(recipients);
	return exit;
}
