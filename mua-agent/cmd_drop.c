/* im2000 drop, im2000 refuse: messages that are wanted no more, or never were. */
#include <stdlib.h>

#include "base/text.h"
#include "mua-agent/cmd.h"
#include "mua-agent/dispose.h"

struct dropping {
	const uint32_t *numbers;
	size_t n;
	int exit;
};

static void on_waiting(void *ctx, uint32_t number, int error, const struct err_text *why)
{
	struct dropping *d = ctx;
	struct err_text said;

	/* Of messages that were dropped long ago nobody wants to hear again. */
	for (size_t i = 0; i < d->n; i++) {
		if (d->numbers[i] == number) {
			err_set(&said, error,
			        "message %u is dropped here; the next drop tries again to %s",
			        number, why->text);
			cmd_trouble(&d->exit, ERR_AGAIN, &said);
			break;
		}
	}
}

/* The numbers on the command line. PROGRAM_DONE or the exit code, said. */
static int read_numbers(int argc, char **argv, uint32_t *numbers, size_t *n)
{
	int exit = PROGRAM_DONE;

	for (int i = optind; exit == PROGRAM_DONE && i < argc; i++) {
		exit = cmd_number(argv[0], argv[i], &numbers[(*n)++]);
	}
	return exit;
}

static int dispose(struct app *app, int argc, char **argv, bool refuse, const char *reason)
{
	uint32_t *numbers = calloc((size_t)argc, sizeof *numbers);
	struct dropping d = { .numbers = numbers };
	struct err_text e = { "" };
	int r;

	if (numbers == NULL) {
		return cmd_fail(ERR_NOMEM, NULL);
	}
	if ((d.exit = read_numbers(argc, argv, numbers, &d.n)) == PROGRAM_DONE &&
	    (d.exit = cmd_open(app)) == PROGRAM_DONE) {
		for (size_t i = 0; i < d.n; i++) {
			if ((r = dispose_mark(app, numbers[i], refuse, span_str(reason), &e)) !=
			    0) {
				cmd_trouble(&d.exit, r, &e);
			}
		}
		dispose_tell(app, true, on_waiting, &d);
	}
	free(numbers);
	return d.exit;
}

int cmd_drop(struct app *app, int argc, char **argv)
{
	static const struct option options[] = { CMD_OPTIONS };
	int exit;

	if (cmd_option(app, argc, argv, options, &exit) == CMD_STOP) {
		return exit;
	}
	if (optind == argc) {
		return program_usage(APP_PROGRAM, "drop wants the numbers of messages");
	}
	return dispose(app, argc, argv, false, NULL);
}

int cmd_refuse(struct app *app, int argc, char **argv)
{
	static const struct option options[] = {
		{ "reason", required_argument, NULL, 'r' },
		CMD_OPTIONS,
	};
	const char *reason = NULL;
	int c, exit;

	while ((c = cmd_option(app, argc, argv, options, &exit)) != CMD_END) {
		if (c == CMD_STOP) {
			return exit;
		}
		reason = optarg;
	}
	if (optind == argc) {
		return program_usage(APP_PROGRAM, "refuse wants the numbers of messages");
	}
	if (!text_is_utf8(span_str(reason))) {
		return program_usage(APP_PROGRAM, "refuse: the reason is not UTF-8");
	}
	return dispose(app, argc, argv, true, reason);
}
