/* im2000 structure: a message's parts. */
#include "base/text.h"
#include "mua-agent/cmd.h"
#include "mua-agent/parts.h"
#include "mua-agent/pull.h"
#include "mua-agent/show.h"

static int print_json(const struct bodystructure_part *p)
{
	struct show_json j;

	show_json_begin(&j);
	show_json_text(&j, "section", span_str(p->section));
	show_json_text(&j, "type", span_str(p->type));
	show_json_number(&j, "size", p->octets);
	show_json_text(&j, "name", span_str(p->filename));
	show_json_text(&j, "encoding", span_str(p->encoding));
	show_json_text(&j, "charset", span_str(p->charset));
	show_json_text(&j, "disposition", span_str(p->disposition));
	return show_json_end(&j);
}

static void print_part(const struct bodystructure_part *p)
{
	char size[16], type[160], name[800];

	text_size(p->octets, size, sizeof size);
	show_safe(span_str(p->type), type, sizeof type);
	show_safe(span_str(p->filename), name, sizeof name);
	show_format(stdout, "%-10s %*s%s  %s%s%s\n", p->section, (int)p->depth * 2, "", type,
	            parts_is_container(p) ? "" : size, name[0] != '\0' ? "  " : "", name);
}

int cmd_structure(struct app *app, int argc, char **argv)
{
	static const struct option options[] = { CMD_OPTIONS };
	const struct bodystructure_part *parts;
	struct err_text e = { "" };
	struct pull *p;
	uint32_t number;
	size_t n = 0;
	int r, exit;

	if (cmd_option(app, argc, argv, options, &exit) == CMD_STOP) {
		return exit;
	}
	if (argc - optind != 1) {
		return program_usage(APP_PROGRAM, "structure wants the number of one message");
	}
	if ((exit = cmd_number(argv[0], argv[optind], &number)) != 0 ||
	    (exit = cmd_open(app)) != PROGRAM_DONE) {
		return exit;
	}
	if ((r = pull_open(app, number, &p, &e)) != 0) {
		return cmd_fail(r, &e);
	}
	r = pull_parts(p, NULL, &parts, &n, &e);
	for (size_t i = 0; r == 0 && i < n; i++) {
		if (app->json) {
			r = print_json(&parts[i]);
		} else {
			print_part(&parts[i]);
		}
	}
	pull_close(p);
	return r == 0 ? PROGRAM_DONE : cmd_fail(r, &e);
}
