/* What people and programs see on standard output: text in the terminal's charset, JSON lines. */
#ifndef IM2000_AGENT_SHOW_H
#define IM2000_AGENT_SHOW_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/span.h"

/* Takes the locale from the environment. Once, before anything else here. */
void show_begin(void);

/* The charset that text shall come out in (nl_langinfo's); NULL: UTF-8. */
const char *show_charset(void);

/* Writes UTF-8 (made safe before, where it is a stranger's) in that charset. */
void show_text(FILE *out, struct span utf8);
/* The same, formatted; over 4 KiB it is cut. */
void show_format(FILE *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A stranger's text, one line: made safe, cut at 1,000 octets. Returns OUT. */
const char *show_safe(struct span text, char *out, size_t cap);
/* As show_safe, with encoded words decoded (RFC 2047). */
const char *show_safe_words(struct span text, char *out, size_t cap);

#define SHOW_TIME 17 /* "2026-11-22 17:26" */
/* Local time; "-" for 0. Returns OUT. */
const char *show_time(uint64_t time_us, char out[SHOW_TIME]);

/* One JSON object on a line of its own. Keys are constant words. */
struct show_json {
	struct buf text;
	bool some;   /* something stands in the innermost object or list */
	bool failed; /* memory is out */
};
void show_json_begin(struct show_json *j);
void show_json_text(struct show_json *j, const char *key, struct span value);
void show_json_number(struct show_json *j, const char *key, uint64_t value);
void show_json_bool(struct show_json *j, const char *key, bool value);
/* "2026-11-22T17:26:19Z", or null for 0. */
void show_json_time(struct show_json *j, const char *key, uint64_t time_us);
/* A list of texts. */
void show_json_list(struct show_json *j, const char *key);
void show_json_item(struct show_json *j, struct span value);
void show_json_list_end(struct show_json *j);
/* Writes the line to stdout. 0, or ERR_NOMEM with nothing written. */
int show_json_end(struct show_json *j);

#endif
