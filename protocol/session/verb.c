#include "session/verb.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "session/program.h"

/* What getopt_long answers for an option: an own one is its place in the program's table. */
enum { OPT_PASSWORD_FILE = 256, OPT_TOKEN, OPT_JSON, OPT_OWN };

static const struct {
	struct option option;
	unsigned bit;
} known[] = {
	{ { "password-file", required_argument, NULL, OPT_PASSWORD_FILE }, VERB_TAKES_SECRET },
	{ { "token", no_argument, NULL, OPT_TOKEN }, VERB_TAKES_SECRET },
	{ { "json", no_argument, NULL, OPT_JSON }, VERB_TAKES_JSON },
};
#define KNOWN (sizeof known / sizeof known[0])
#define OPTIONS_MAX (KNOWN + VERB_OPTIONS_MAX + 1)

/* The options that a verb may have which takes TAKES, for getopt_long. */
static void list_options(const struct verb_program *p, unsigned takes,
                         struct option out[OPTIONS_MAX])
{
	size_t n = 0;

	memset(out, 0, OPTIONS_MAX * sizeof out[0]);
	for (size_t i = 0; i < KNOWN; i++) {
		if ((takes & known[i].bit) != 0) {
			out[n++] = known[i].option;
		}
	}
	for (size_t i = 0; i < VERB_OPTIONS_MAX && p->options[i].name != NULL; i++) {
		if ((takes & p->options[i].bit) != 0) {
			out[n++] = (struct option) { p->options[i].name, required_argument, NULL,
				                     OPT_OWN + (int)i };
		}
	}
}

/* ERR_TOO_BIG: more values than there may be. */
static int take_value(const struct verb_option *o, struct verb_words *w)
{
	for (size_t i = 0; !o->repeats && i < w->n_values; i++) {
		if (w->value[i].bit == o->bit) {
			w->value[i].text = optarg;
			return 0;
		}
	}
	if (w->n_values == VERB_VALUES_MAX) {
		return ERR_TOO_BIG;
	}
	w->value[w->n_values].bit = o->bit;
	w->value[w->n_values++].text = optarg;
	return 0;
}

static int take(const struct verb_program *p, int c, struct verb_words *w)
{
	switch (c) {
	case 'c':
		w->config = optarg;
		return 0;
	case OPT_PASSWORD_FILE:
		w->password_file = optarg;
		return 0;
	case OPT_TOKEN:
		w->token = true;
		return 0;
	case OPT_JSON:
		w->json = true;
		return 0;
	default:
		return c >= OPT_OWN ? take_value(&p->options[c - OPT_OWN], w) : ERR_MALFORMED;
	}
}

/* 0, or the exit code after saying what is wrong. */
static int read_words(const struct verb_program *p, const struct verb *v, int argc, char **argv,
                      struct verb_words *w)
{
	struct option options[OPTIONS_MAX];
	int c;

	list_options(p, v->takes, options);
	memset(w, 0, sizeof *w);
	optind = 1;
	while ((c = getopt_long(argc, argv, ":c:", options, NULL)) != -1) {
		int r = take(p, c, w);

		if (r == ERR_TOO_BIG) {
			return program_usage(p->name, "%s: more than %d options", v->command,
			                     VERB_VALUES_MAX);
		}
		if (r != 0) {
			return program_bad_option(p->name, v->command, c, argv);
		}
	}
	if (w->token && w->password_file != NULL) {
		return program_usage(p->name, "%s: --token and --password-file exclude each other",
		                     v->command);
	}
	w->rest = argv + optind;
	w->n_rest = argc - optind;
	return w->n_rest >= v->least && w->n_rest <= v->most
	           ? 0
	           : program_usage(p->name, "%s wants %s", v->command, v->wants);
}

const char *verb_value(const struct verb_words *w, unsigned bit, size_t i)
{
	for (size_t k = 0; k < w->n_values; k++) {
		if (w->value[k].bit == bit && i-- == 0) {
			return w->value[k].text;
		}
	}
	return NULL;
}

int verb_run(const struct verb_program *p, const struct verb *v, int argc, char **argv)
{
	struct err_text e = { "" };
	struct verb_words w;
	int r = read_words(p, v, argc, argv, &w);

	if (r != 0) {
		return r;
	}
	if (v->judge != NULL && v->judge(&w, &e) != 0) {
		return program_usage(p->name, "%s: %s", v->command, e.text);
	}
	r = p->at_place(v, &w, &e);
	return r == 0 ? program_finish(p->name) : program_fail(p->name, r, &e);
}

int verb_choose(const struct verb_program *p, const char *wants, const struct verb *verbs, int argc,
                char **argv)
{
	for (; argc > 1 && verbs->name != NULL; verbs++) {
		if (strcmp(argv[1], verbs->name) == 0) {
			return verb_run(p, verbs, argc - 1, argv + 1);
		}
	}
	return program_usage(p->name, "%s wants %s", argv[0], wants);
}

const char *verb_config(const char *named, const char *variable, const char *file)
{
	const char *said = getenv(variable);

	return named != NULL ? named : said != NULL && said[0] != '\0' ? said : file;
}
