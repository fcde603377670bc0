/*
 * Configuration files. inih takes a line apart (comments, white space, key and value); before
 * it gets one, next_line here has refused what inih would pass over in silence, counted it,
 * and opened a section where one begins. The handler then holds key and value against the
 * program's table.
 */
#include "base/conf.h"

#include <errno.h>
#include <ini.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/span.h"
#include "base/text.h"

#define FILE_MAX (1 << 20) /* octets of a file */
#define READ_SIZE 4096       /* octets read at once */
#define LINE_MAX_OCTETS 4096 /* with a NUL */
#define TITLE_MAX 200 /* octets between the brackets of a section */
#define SHOWN_MAX 60  /* octets of a bad value that an error repeats */
#define BOM "\xef\xbb\xbf"

/* The file being read. */
struct reading {
	const char *path;
	const struct conf_schema *schema;
	struct span rest; /* lines not read yet */
	unsigned line;    /* number of the line read last */
	struct err_text *e;
	int rc; /* the error that ended the reading; 0: none */
	/* Where keys go now: the file's head, or the section opened last. */
	const struct conf_key *keys;
	void *target;
	unsigned *seen; /* for each key: the line it stood in, 0: none */
	char title[TITLE_MAX + 1]; /* empty: the head */
	unsigned title_line;
};

/* ---- errors ----------------------------------------------------------------------- */

int conf_error(struct err_text *e, const char *path, unsigned line, const char *key,
               const char *format, ...)
{
	struct err_text what;
	va_list ap;

	va_start(ap, format);
	vsnprintf(what.text, sizeof what.text, format, ap);
	va_end(ap);
	err_set(e, ERR_CONFIG, "%s%s%s", key != NULL ? key : "", key != NULL ? ": " : "",
	        what.text);
	return line != 0 ? err_prefix(e, ERR_CONFIG, "%s:%u", path, line)
	                 : err_prefix(e, ERR_CONFIG, "%s", path);
}

/* VALUE as an error repeats it: not all of a long one. */
static const char *shown(const char *value, char out[SHOWN_MAX + 4])
{
	struct span rest = span_str(value);
	size_t n = 0;
	uint32_t code;

	while (rest.n > 0) {
		size_t octets = text_utf8_char(rest, &code);

		if (octets == 0 || n + octets > SHOWN_MAX)
			break;
		memcpy(out + n, rest.p, octets);
		n += octets;
		rest = span_after(rest, octets);
	}
	snprintf(out + n, 4, "%s", rest.n > 0 ? "\xe2\x80\xa6" : "");
	return out;
}

/* A number as a file would say it, in the largest unit that says it exactly. */
static const char *exact(enum conf_type type, uint64_t value, char out[24])
{
	static const uint64_t sizes[] = { 1ULL << 40, 1ULL << 30, 1ULL << 20, 1ULL << 10, 0 };
	static const uint64_t durations[] = { 86400, 3600, 60, 1, 0 };
	const uint64_t *factor = type == CONF_SIZE ? sizes : durations;
	const char *letter = type == CONF_SIZE ? "TGMK" : "dhms";

	if (type != CONF_NUMBER && value != 0) {
		for (; *factor != 0; factor++, letter++) {
			if (value % *factor == 0) {
				snprintf(out, 24, "%llu%c", (unsigned long long)(value / *factor),
				         *letter);
				return out;
			}
		}
	}
	snprintf(out, 24, "%llu", (unsigned long long)value);
	return out;
}

/* "1K to 4G, as in 256M" */
static void allowed_range(const struct conf_key *key, char *out, size_t cap)
{
	const char *example = key->type == CONF_SIZE       ? ", as in 256M"
	                      : key->type == CONF_DURATION ? ", as in 90d"
	                                                   : "";
	char min[24], max[24];

	exact(key->type, key->min, min);
	exact(key->type, key->max, max);
	if (key->max != 0)
		snprintf(out, cap, "%s to %s%s", min, max, example);
	else
		snprintf(out, cap, "%s or more%s", min, example);
}

/* ---- values ----------------------------------------------------------------------- */

/* The member of TARGET that KEY fills. */
static void *member(const struct conf_key *key, void *target)
{
	return (char *)target + key->offset;
}

static int no_memory(struct reading *r)
{
	return err_set(r->e, ERR_NOMEM, "%s: out of memory", r->path);
}

static int set_number(struct reading *r, const struct conf_key *key, const char *value,
                      uint64_t *out)
{
	static const char *const nouns[] = { [CONF_SIZE] = "size", [CONF_DURATION] = "duration",
		                             [CONF_NUMBER] = "number" };
	char range[96], part[SHOWN_MAX + 4];
	uint64_t number = 0;
	int rc = key->type == CONF_SIZE       ? text_parse_size(value, &number)
	         : key->type == CONF_DURATION ? text_parse_duration(value, &number)
	                                      : text_parse_number(value, UINT64_MAX, &number);

	if (rc == 0 && number >= key->min && (key->max == 0 || number <= key->max)) {
		*out = number;
		return 0;
	}
	allowed_range(key, range, sizeof range);
	if (rc == ERR_MALFORMED)
		return conf_error(r->e, r->path, r->line, key->name, "\"%s\" is no %s (allowed: %s)",
		                  shown(value, part), nouns[key->type], range);
	return conf_error(r->e, r->path, r->line, key->name, "\"%s\" is too %s (allowed: %s)",
	                  shown(value, part), rc == 0 && number < key->min ? "small" : "large",
	                  range);
}

static int set_choice(struct reading *r, const struct conf_key *key, const char *value,
                      const char *const *choices, unsigned *out)
{
	char part[SHOWN_MAX + 4];
	struct buf words;
	const char *list;

	for (unsigned i = 0; choices[i] != NULL; i++) {
		if (strcmp(value, choices[i]) == 0) {
			*out = i;
			return 0;
		}
	}
	buf_init(&words, 0);
	for (unsigned i = 0; choices[i] != NULL; i++)
		buf_addf(&words, "%s%s", i > 0 ? ", " : "", choices[i]);
	list = buf_cstr(&words);
	conf_error(r->e, r->path, r->line, key->name, "\"%s\" is none of: %s", shown(value, part),
	           list != NULL ? list : "");
	buf_free(&words);
	return ERR_CONFIG;
}

static int set_bool(struct reading *r, const struct conf_key *key, const char *value, bool *out)
{
	static const char *const words[] = { "no", "yes", NULL };
	unsigned index;
	int rc = set_choice(r, key, value, words, &index);

	if (rc == 0)
		*out = index == 1;
	return rc;
}

/* VALUE, or where it is a relative path, VALUE from the folder of the file PATH on. */
static char *path_of(const char *path, const char *value)
{
	const char *slash = strrchr(path, '/');
	char *text;

	if (value[0] == '/' || slash == NULL)
		return strdup(value);
	if (asprintf(&text, "%.*s/%s", (int)(slash - path), path, value) < 0)
		return NULL;
	return text;
}

static bool is_list(const struct conf_key *key)
{
	return key->type == CONF_LIST || key->type == CONF_PATHS;
}

static char *text_of(const struct reading *r, const struct conf_key *key, const char *value)
{
	bool path = key->type == CONF_PATH || key->type == CONF_PATHS;

	return path ? path_of(r->path, value) : strdup(value);
}

static int set_text(struct reading *r, const struct conf_key *key, const char *value, char **out)
{
	char *text = text_of(r, key, value);

	if (text == NULL)
		return no_memory(r);
	free(*out);
	*out = text;
	return 0;
}

static void list_release(struct conf_list *list)
{
	for (size_t i = 0; i < list->n; i++)
		free(list->item[i]);
	free(list->item);
	free(list->line);
	*list = (struct conf_list){ .n = 0 };
}

static int list_add(struct reading *r, const struct conf_key *key, const char *value,
                    struct conf_list *list)
{
	char **item = realloc(list->item, (list->n + 1) * sizeof *item);
	unsigned *line;
	char *text;

	if (item == NULL)
		return no_memory(r);
	list->item = item;
	line = realloc(list->line, (list->n + 1) * sizeof *line);
	if (line == NULL)
		return no_memory(r);
	list->line = line;
	text = text_of(r, key, value);
	if (text == NULL)
		return no_memory(r);
	list->item[list->n] = text;
	list->line[list->n] = r->line;
	list->n++;
	return 0;
}

static int set_value(struct reading *r, const struct conf_key *key, const char *value)
{
	void *at = member(key, r->target);

	if (value[0] == '\0')
		return conf_error(r->e, r->path, r->line, key->name, "has no value");
	switch (key->type) {
	case CONF_TEXT:
	case CONF_PATH:
		return set_text(r, key, value, at);
	case CONF_LIST:
	case CONF_PATHS:
		return list_add(r, key, value, at);
	case CONF_SIZE:
	case CONF_DURATION:
	case CONF_NUMBER:
		return set_number(r, key, value, at);
	case CONF_BOOL:
		return set_bool(r, key, value, at);
	case CONF_CHOICE:
		return set_choice(r, key, value, key->choices, at);
	}
	return ERR_INTERNAL;
}

void conf_release(const struct conf_key *keys, void *target)
{
	for (const struct conf_key *key = keys; key->name != NULL; key++) {
		if (is_list(key)) {
			list_release(member(key, target));
		} else if (key->type == CONF_TEXT || key->type == CONF_PATH) {
			char **text = member(key, target);

			free(*text);
			*text = NULL;
		}
	}
}

/* ---- keys and sections ------------------------------------------------------------ */

/* From now on keys of KEYS go to TARGET, where the defaults stand already. */
static int begin_target(struct reading *r, const struct conf_key *keys, void *target)
{
	unsigned line = r->line;
	size_t n = 0;
	int rc = 0;

	while (keys[n].name != NULL)
		n++;
	free(r->seen);
	r->seen = calloc(n + 1, sizeof *r->seen);
	if (r->seen == NULL)
		return no_memory(r);
	r->keys = keys;
	r->target = target;
	r->line = 0; /* where a default comes from */
	for (size_t i = 0; rc == 0 && i < n; i++)
		if (keys[i].initial != NULL)
			rc = set_value(r, &keys[i], keys[i].initial);
	r->line = line;
	return rc;
}

/* Called when nothing more can come for the target. */
static int end_target(struct reading *r)
{
	for (size_t i = 0; r->keys[i].name != NULL; i++) {
		const char *name = r->keys[i].name;

		if (!r->keys[i].required || r->seen[i] != 0)
			continue;
		if (r->title[0] == '\0')
			return conf_error(r->e, r->path, 0, name, "must be set");
		return conf_error(r->e, r->path, r->title_line, name, "must be set in [%s]",
		                  r->title);
	}
	return 0;
}

static int unknown_key(struct reading *r, const char *name)
{
	char part[SHOWN_MAX + 4];
	struct buf names;
	const char *list;

	buf_init(&names, 0);
	for (const struct conf_key *key = r->keys; key->name != NULL; key++)
		buf_addf(&names, "%s%s", key == r->keys ? "" : ", ", key->name);
	list = buf_cstr(&names);
	conf_error(r->e, r->path, r->line, NULL, "\"%s\" is no key here (allowed: %s)",
	           shown(name, part), list != NULL ? list : "");
	buf_free(&names);
	return ERR_CONFIG;
}

static int set_key(struct reading *r, const char *name, const char *value)
{
	const struct conf_key *key = r->keys;
	unsigned *seen;

	while (key->name != NULL && strcmp(key->name, name) != 0)
		key++;
	if (key->name == NULL)
		return unknown_key(r, name);
	seen = &r->seen[key - r->keys];
	if (*seen != 0 && !is_list(key))
		return conf_error(r->e, r->path, r->line, name, "stands in line %u already", *seen);
	/* The first item that the file gives takes the place of the default. */
	if (*seen == 0 && is_list(key))
		list_release(member(key, r->target));
	*seen = r->line;
	return set_value(r, key, value);
}

static bool is_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static struct span trim(struct span s)
{
	while (s.n > 0 && is_blank(s.p[0]))
		s = span_after(s, 1);
	while (s.n > 0 && is_blank(s.p[s.n - 1]))
		s.n--;
	return s;
}

/* LINE begins with '[' and has no white space at its ends. */
static int open_section(struct reading *r, struct span line)
{
	const struct conf_key *keys = NULL;
	void *target = NULL;
	struct span title;
	int rc;

	if (line.p[line.n - 1] != ']' || memchr(line.p, ']', line.n - 1) != NULL)
		return conf_error(r->e, r->path, r->line, NULL,
		                  "a section is a title between brackets: [title]");
	title = trim(span_of(line.p + 1, line.n - 2));
	if (title.n == 0)
		return conf_error(r->e, r->path, r->line, NULL, "a section needs a title: [title]");
	if (r->schema->section_open == NULL)
		return conf_error(r->e, r->path, r->line, NULL, "this file has no sections");
	rc = end_target(r);
	if (rc < 0)
		return rc;
	if (span_copy(title, r->title, sizeof r->title) < 0)
		return conf_error(r->e, r->path, r->line, NULL,
		                  "the section's title is too long (allowed: %d octets)", TITLE_MAX);
	r->title_line = r->line;
	rc = r->schema->section_open(r->schema->ctx, r->title, &keys, &target, r->e);
	if (rc < 0)
		return err_prefix(r->e, rc == ERR_NOMEM ? rc : ERR_CONFIG, "%s:%u", r->path, r->line);
	return begin_target(r, keys, target);
}

/* ---- lines ------------------------------------------------------------------------ */

/* The next line without its newline and the white space at its ends. */
static struct span take_line(struct reading *r)
{
	const uint8_t *end = memchr(r->rest.p, '\n', r->rest.n);
	struct span line = span_of(r->rest.p, end != NULL ? (size_t)(end - r->rest.p) : r->rest.n);

	r->rest = span_after(r->rest, line.n + (end != NULL ? 1 : 0));
	r->line++;
	if (r->line == 1 && line.n >= 3 && memcmp(line.p, BOM, 3) == 0)
		line = span_after(line, 3);
	return trim(line);
}

/* What inih would read as something else than this project's format says. */
static int check_line(struct reading *r, struct span line, size_t cap)
{
	const uint8_t *equals;

	if (line.n >= cap)
		return conf_error(r->e, r->path, r->line, NULL,
		                  "the line is too long (allowed: %zu octets)", cap - 1);
	if (!text_is_utf8(line))
		return conf_error(r->e, r->path, r->line, NULL, "the line is not UTF-8 text");
	for (size_t i = 0; i < line.n; i++)
		if ((line.p[i] < 0x20 && line.p[i] != '\t') || line.p[i] == 0x7f)
			return conf_error(r->e, r->path, r->line, NULL,
			                  "the line has a control character");
	if (line.p[0] == '[')
		return 0;
	equals = memchr(line.p, '=', line.n);
	if (equals == NULL || equals == line.p)
		return conf_error(r->e, r->path, r->line, NULL,
		                  "neither \"key = value\" nor \"[section]\" nor \"# comment\"");
	/* inih takes a colon for an equals sign. */
	if (memchr(line.p, ':', (size_t)(equals - line.p)) != NULL)
		return conf_error(r->e, r->path, r->line, NULL, "a key has no colon: key = value");
	return 0;
}

/* Gives inih the next line that is a key's. NULL ends the reading, with r->rc. */
static char *next_line(char *out, int cap, void *stream)
{
	struct reading *r = stream;

	while (r->rc == 0 && r->rest.n > 0) {
		struct span line = take_line(r);

		if (line.n == 0 || line.p[0] == '#')
			continue;
		r->rc = check_line(r, line, (size_t)cap);
		if (r->rc < 0)
			break;
		if (line.p[0] == '[') {
			r->rc = open_section(r, line);
			continue;
		}
		r->rc = span_copy(line, out, (size_t)cap);
		return r->rc == 0 ? out : NULL;
	}
	return NULL;
}

static int take_key(void *user, const char *section, const char *name, const char *value)
{
	struct reading *r = user;

	(void)section;
	/* inih asks for no further line once this has failed: next_line sees to it. */
	r->rc = set_key(r, name, value);
	return r->rc == 0;
}

/* How inih is to read; these are its own variables in Debian's build. */
static void set_up_inih(void)
{
	static char comment[] = "#";

	ini_allow_multiline = false;
	ini_allow_inline_comments = false;
	ini_start_comment_prefixes = comment;
	ini_use_stack = false;
	ini_initial_alloc = LINE_MAX_OCTETS;
	ini_max_line = LINE_MAX_OCTETS;
}

/* The whole file; a configuration is small. */
static int read_file(const char *path, struct buf *out, struct err_text *e)
{
	FILE *f = fopen(path, "re");
	uint8_t *at;
	int rc = 0;

	if (f == NULL)
		return err_set(e, ERR_IO, "%s: %s", path, strerror(errno));
	while (rc == 0 && !feof(f)) {
		size_t n;

		rc = buf_reserve(out, READ_SIZE, &at);
		if (rc < 0)
			break;
		n = fread(at, 1, READ_SIZE, f);
		buf_commit(out, n);
		if (ferror(f))
			rc = ERR_IO;
	}
	if (rc == ERR_IO)
		err_set(e, rc, "%s: %s", path, strerror(errno));
	else if (rc == ERR_TOO_BIG)
		rc = err_set(e, ERR_CONFIG, "%s: over 1 MiB: is this a configuration?", path);
	else if (rc < 0)
		err_set(e, rc, "%s: out of memory", path);
	fclose(f);
	return rc;
}

static int parse(struct reading *r)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, set_up_inih);
	if (ini_parse_stream(next_line, r, take_key, r) < 0)
		return no_memory(r);
	return r->rc < 0 ? r->rc : end_target(r);
}

int conf_read(const char *path, const struct conf_schema *schema, void *target,
              struct err_text *e)
{
	struct reading r = { .path = path, .schema = schema, .e = e };
	struct buf file;
	int rc;

	buf_init(&file, FILE_MAX + READ_SIZE);
	rc = read_file(path, &file, e);
	if (rc == 0) {
		r.rest = buf_view(&file);
		rc = begin_target(&r, schema->keys, target);
	}
	if (rc == 0)
		rc = parse(&r);
	free(r.seen);
	buf_free(&file);
	return rc;
}

/* TEXT begins with VALUE as PATH means it, as in "cert.key: no such file". */
static bool is_about(const char *path, struct span value, const char *text)
{
	char *given = span_dup(value);
	char *meant = given != NULL ? path_of(path, given) : NULL;
	size_t n = meant != NULL ? strlen(meant) : 0;
	bool about = n > 0 && strncmp(text, meant, n) == 0 && (text[n] == ':' || text[n] == ' ');

	free(meant);
	free(given);
	return about;
}

/*
 * The line of KEY before the first section of FILE, which is that of PATH; of
 * several the one whose value TEXT is about. 0: none, or several to choose from.
 */
static unsigned find_line(const char *path, struct span file, struct span key, const char *text)
{
	struct reading r = { .rest = file };
	unsigned found = 0, n = 0, about = 0, n_about = 0;

	while (r.rest.n > 0) {
		struct span line = take_line(&r);
		const uint8_t *equals;
		size_t at;

		if (line.n > 0 && line.p[0] == '[')
			break;
		equals = line.n > 0 ? memchr(line.p, '=', line.n) : NULL;
		at = equals != NULL ? (size_t)(equals - line.p) : 0;
		if (equals == NULL || !span_eq(trim(span_of(line.p, at)), key))
			continue;
		n++;
		found = r.line;
		if (is_about(path, trim(span_after(line, at + 1)), text)) {
			n_about++;
			about = r.line;
		}
	}
	if (n == 1)
		return found;
	return n_about == 1 ? about : 0;
}

int conf_blame(struct err_text *e, int code, const char *path)
{
	struct span key;
	struct err_text ignored;
	struct buf file;
	unsigned line = 0;

	if (e == NULL)
		return code;
	key = span_of(e->text, strcspn(e->text, " "));
	buf_init(&file, FILE_MAX + READ_SIZE);
	if (key.n > 0 && e->text[key.n] == ' ' && read_file(path, &file, &ignored) == 0)
		line = find_line(path, buf_view(&file), key, e->text + key.n + 1);
	buf_free(&file);
	return line != 0 ? err_prefix(e, code, "%s:%u", path, line) : code;
}

/* ---- what changed ----------------------------------------------------------------- */

static bool same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool same_list(const struct conf_list *a, const struct conf_list *b)
{
	bool same = a->n == b->n;

	for (size_t i = 0; same && i < a->n; i++)
		same = same_text(a->item[i], b->item[i]);
	return same;
}

static bool same_value(const struct conf_key *key, const void *a, const void *b)
{
	const char *x = (const char *)a + key->offset, *y = (const char *)b + key->offset;

	switch (key->type) {
	case CONF_TEXT:
	case CONF_PATH:
		return same_text(*(char *const *)(const void *)x, *(char *const *)(const void *)y);
	case CONF_LIST:
	case CONF_PATHS:
		return same_list((const void *)x, (const void *)y);
	case CONF_SIZE:
	case CONF_DURATION:
	case CONF_NUMBER:
		return *(const uint64_t *)(const void *)x == *(const uint64_t *)(const void *)y;
	case CONF_BOOL:
		return *(const bool *)(const void *)x == *(const bool *)(const void *)y;
	case CONF_CHOICE:
		return *(const unsigned *)(const void *)x == *(const unsigned *)(const void *)y;
	}
	return true;
}

const char *conf_next_changed(const struct conf_key *keys, const void *a, const void *b,
                              size_t *at)
{
	while (keys[*at].name != NULL) {
		const struct conf_key *key = &keys[(*at)++];

		if (key->restart && !same_value(key, a, b))
			return key->name;
	}
	return NULL;
}
