/* im2000 list: what has come. */
#include "mua-agent/cmd.h"
#include "mua-agent/dispose.h"
#include "mua-agent/entry.h"
#include "mua-agent/inbox.h"

static void on_failed(void *ctx, int error, const struct err_text *why)
{
	cmd_trouble(ctx, error, why);
}

static int print_all(const struct app *app)
{
	uint64_t now = clock_now_us();
	struct entry x;
	uint32_t number = 0;
	int r;

	while ((r = entry_next(app->db, number, &x)) == 0) {
		number = x.item.number;
		if ((x.item.flags & DB_DROPPED) == 0 &&
		    (app->account == NULL || span_eq_str(x.item.account, app->account->identity))) {
			r = entry_print(app, &x, now);
		}
		entry_free(&x);
		if (r != 0) {
			break;
		}
	}
	return r == ERR_NOT_FOUND ? 0 : r;
}

int cmd_list(struct app *app, int argc, char **argv)
{
	static const struct option options[] = { CMD_OPTIONS };
	struct err_text e = { "" };
	int r, exit = PROGRAM_DONE;

	if (cmd_option(app, argc, argv, options, &exit) == CMD_STOP) {
		return exit;
	}
	if (optind != argc) {
		return program_usage(APP_PROGRAM, "list takes no \"%.100s\"", argv[optind]);
	}
	if ((exit = cmd_open(app)) != PROGRAM_DONE) {
		return exit;
	}
	if ((r = inbox_can_fetch(app, &e)) != 0) {
		return cmd_fail(r, &e);
	}
	inbox_fetch(app, NULL, on_failed, &exit);
	if ((r = print_all(app)) != 0) {
		err_set(&e, r, "list what is in %s/agent.mdb: %s", app->config.data, err_phrase(r));
		cmd_trouble(&exit, r, &e);
	}
	if (exit == PROGRAM_DONE) {
		dispose_tell(app, false, NULL, NULL); /* the agents can be reached */
	}
	return exit;
}
