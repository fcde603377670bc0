/* im2000 read: pulls a message, or what is asked for of it, and shows or saves it. */
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "message/header.h"
#include "mua-agent/cmd.h"
#include "mua-agent/parts.h"
#include "mua-agent/pull.h"
#include "mua-agent/save.h"
#include "mua-agent/show.h"

/* What to show of it. */
struct reading {
	struct pull *pull;
	bool headers, raw;
	const char *section, *folder;
	/* The default view: its header comes before the first octet of the text. */
	bool header_due;
	bool in_line; /* the text so far does not end a line */
};

/* --- the view ----------------------------------------------------------------------------- */

static void print_field(struct span header, const char *name)
{
	struct header_field field;
	char text[2048];

	if (header_find(header, name, &field) == 0) {
		show_safe_words(field.value, text, sizeof text);
		show_format(stdout, "%s: %s\n", name, text);
	}
}

static int print_view_header(struct reading *r, struct err_text *e)
{
	static const char *const names[] = { "From", "To", "Cc", "Subject", "Date" };
	const struct entry *x = pull_entry(r->pull);
	struct span header;
	int result;

	if (!r->header_due) {
		return 0;
	}
	r->header_due = false;
	if ((result = pull_header(r->pull, &header, e)) != 0) {
		return result;
	}
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		print_field(header, names[i]);
	}
	if (!x->verified) {
		printf("(the sender is not verified)\n");
	}
	printf("\n");
	return 0;
}

/* Standard output is looked at when all is said (main.c). */
static int view_sink(void *ctx, struct span octets)
{
	struct err_text ignored;
	struct reading *r = ctx;
	int result = print_view_header(r, &ignored);

	fwrite(octets.p, 1, octets.n, stdout);
	r->in_line = octets.n > 0 ? octets.p[octets.n - 1] != '\n' : r->in_line;
	return result;
}

static int plain_sink(void *ctx, struct span octets)
{
	(void)ctx;
	fwrite(octets.p, 1, octets.n, stdout);
	return 0;
}

static int feed_body(void *ctx, struct span octets)
{
	return decode_body_feed(ctx, octets);
}

/* Pulls SECTION through the decoder that OPTIONS say. */
static int decode_section(struct reading *r, const char *section,
                          const struct decode_options *options, decode_sink sink,
                          struct err_text *e)
{
	struct decode_body body;
	int result = decode_body_begin(&body, options, sink, r), ended;

	if (result != 0) {
		return err_set(e, result, "the terminal's charset %s is not known to iconv",
		               options->terminal);
	}
	if (options->text && body.charset.kind == CHARSET_UNKNOWN) {
		char name[100];

		fprintf(stderr, "%s: charset %s is not known: only ASCII of it is shown\n",
		        APP_PROGRAM, show_safe(options->charset, name, sizeof name));
	}
	result = pull_section(r->pull, section, feed_body, &body, e);
	ended = decode_body_end(&body, result == 0);
	return result != 0 ? result : ended;
}

static void print_parts(const struct bodystructure_part *parts, size_t n, size_t shown)
{
	bool any = false;

	for (size_t i = 0; i < n; i++) {
		char size[16], type[160], name[800];

		if (i == shown || parts_is_container(&parts[i])) {
			continue;
		}
		text_size(parts[i].octets, size, sizeof size);
		show_safe(span_str(parts[i].type), type, sizeof type);
		show_safe(span_str(parts[i].filename), name, sizeof name);
		show_format(stdout, "%s[part %s: %s, %s%s%s]\n", any ? "" : "\n", parts[i].section,
		            type, size, name[0] != '\0' ? ", " : "", name);
		any = true;
	}
}

static int read_view(struct reading *r, struct err_text *e)
{
	struct decode_options options = { .text = true, .terminal = show_charset() };
	struct pull_text found;
	int result = pull_text(r->pull, &found, e);

	if (result != 0) {
		return result;
	}
	r->header_due = true;
	if (found.text < found.n) {
		const struct bodystructure_part *text = &found.parts[found.text];

		options.encoding = decode_encoding_of(span_str(text->encoding));
		options.charset = span_str(text->charset);
		result = decode_section(r, text->section, &options, view_sink, e);
	}
	if (result == 0 && (result = print_view_header(r, e)) == 0) {
		fputs(r->in_line ? "\n" : "", stdout);
		print_parts(found.parts, found.n, found.text);
		if (!found.all) {
			printf("[more parts: im2000 structure %u]\n",
			       pull_entry(r->pull)->item.number);
		}
	}
	return result;
}

/* --- what is asked for -------------------------------------------------------------------- */

static int read_headers(struct reading *r, struct err_text *e)
{
	struct decode_options options = { .text = true,
		                          .terminal = show_charset(),
		                          .raw = !isatty(STDOUT_FILENO) };
	struct decode_body body;
	struct span header;
	int result = pull_header(r->pull, &header, e);

	if (result == 0 && (result = decode_body_begin(&body, &options, plain_sink, NULL)) == 0) {
		decode_body_feed(&body, header);
		decode_body_end(&body, true);
	}
	return result;
}

/* Text that is to be read, and not a file that happens to be text. */
static bool is_prose(const struct bodystructure_part *part)
{
	return strncmp(part->type, "text/", 5) == 0 && part->filename[0] == '\0' &&
	       strcmp(part->disposition, "attachment") != 0;
}

/* For a person: text in the terminal's charset. For a file or a program: other parts as they are.
 */
static int read_part(struct reading *r, struct err_text *e)
{
	struct decode_options options = { .terminal = show_charset() };
	const struct bodystructure_part *parts;
	bool terminal = isatty(STDOUT_FILENO), shown = true;
	size_t n, i;
	int result = pull_parts(r->pull, r->section, &parts, &n, e);

	if (result != 0) {
		return result;
	}
	i = parts_find(parts, n, r->section);
	options.text = terminal;
	options.raw = !terminal;
	if (i < n && !parts_is_container(&parts[i])) {
		options.encoding = decode_encoding_of(span_str(parts[i].encoding));
		options.charset = span_str(parts[i].charset);
		options.text = terminal || is_prose(&parts[i]);
		shown = strncmp(parts[i].type, "text/", 5) == 0 ||
		        strncmp(parts[i].type, "message/", 8) == 0;
	}
	if (terminal && !shown) {
		return err_set(
		    e, ERR_DENIED,
		    "part %.50s is %.50s, nothing for a terminal: send it to a file, or use "
		    "--save",
		    r->section, parts[i].type);
	}
	return decode_section(r, r->section, &options, plain_sink, e);
}

static int read_raw(struct reading *r, struct err_text *e)
{
	return pull_raw(r->pull, plain_sink, NULL, e);
}

static int read_message(struct app *app, uint32_t number, struct reading *r, struct err_text *e)
{
	int result = pull_open(app, number, &r->pull, e);

	if (result != 0) {
		return result;
	}
	if (r->headers) {
		result = read_headers(r, e);
	} else if (r->raw) {
		result = read_raw(r, e);
	} else if (r->section != NULL) {
		result = read_part(r, e);
	} else if (r->folder != NULL) {
		result = save_attachments(r->pull, r->folder, e);
	} else {
		result = read_view(r, e);
	}
	if (result == 0) {
		result = pull_done(r->pull, true, e);
	}
	pull_close(r->pull);
	return result;
}

int cmd_read(struct app *app, int argc, char **argv)
{
	static const struct option options[] = {
		{ "headers", no_argument, NULL, 'H' },
		{ "raw", no_argument, NULL, 'R' },
		{ "part", required_argument, NULL, 'p' },
		{ "save", required_argument, NULL, 's' },
		CMD_OPTIONS,
	};
	struct reading reading = { 0 };
	struct err_text e = { "" };
	uint32_t number;
	int c, r, exit;

	while ((c = cmd_option(app, argc, argv, options, &exit)) != CMD_END) {
		if (c == CMD_STOP) {
			return exit;
		}
		reading.headers = reading.headers || c == 'H';
		reading.raw = reading.raw || c == 'R';
		reading.section = c == 'p' ? optarg : reading.section;
		reading.folder = c == 's' ? optarg : reading.folder;
	}
	if (argc - optind != 1) {
		return program_usage(APP_PROGRAM, "read wants the number of one message");
	}
	if (reading.headers + reading.raw + (reading.section != NULL) + (reading.folder != NULL) >
	    1) {
		return program_usage(APP_PROGRAM,
		                     "read takes one of --headers, --part, --raw and --save");
	}
	if (reading.section != NULL && reading.section[0] == '\0') {
		return program_usage(APP_PROGRAM, "read: --part wants a section (im2000 structure "
		                                  "lists them)");
	}
	if ((exit = cmd_number(argv[0], argv[optind], &number)) != 0 ||
	    (exit = cmd_open(app)) != PROGRAM_DONE) {
		return exit;
	}
	r = read_message(app, number, &reading, &e);
	return r == 0 ? PROGRAM_DONE : cmd_fail(r, &e);
}
