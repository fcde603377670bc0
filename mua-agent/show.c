#include "mua-agent/show.h"

#include <langinfo.h>
#include <locale.h>
#include <stdarg.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/text.h"
#include "message/charset.h"
#include "message/decode.h"

static const char *charset;

static bool is_ascii(const char *name)
{
	return strcmp(name, "ANSI_X3.4-1968") == 0 || strcasecmp(name, "US-ASCII") == 0;
}

void show_begin(void)
{
	const char *name;

	setlocale(LC_ALL, "");
	setlocale(LC_NUMERIC, "C");
	name = nl_langinfo(CODESET);
	charset = strcasecmp(name, "UTF-8") == 0 || strcasecmp(name, "UTF8") == 0 ? NULL : name;
	/* No locale set, and no terminal that could not show it: what reads us wants UTF-8. */
	if (charset != NULL && is_ascii(charset) && !isatty(STDOUT_FILENO)) {
		charset = NULL;
	}
}

const char *show_charset(void)
{
	return charset;
}

void show_text(FILE *out, struct span utf8)
{
	uint8_t octets[1024];
	void *cd;

	if (charset == NULL || charset_to_open(charset, &cd) != 0) {
		fwrite(utf8.p, 1, utf8.n, out);
		return;
	}
	while (utf8.n > 0) {
		size_t used, n = charset_to(cd, utf8, octets, sizeof octets, &used);

		fwrite(octets, 1, n, out);
		if (used == 0) {
			break; /* a broken character at the end */
		}
		utf8 = span_after(utf8, used);
	}
	charset_to_close(cd);
}

void show_format(FILE *out, const char *format, ...)
{
	char text[4096];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	show_text(out, span_str(text));
}

const char *show_safe(struct span text, char *out, size_t cap)
{
	struct span view;

	decode_safe_text(text, out, cap, &view);
	return out;
}

const char *show_safe_words(struct span text, char *out, size_t cap)
{
	struct span view;

	decode_safe_words(text, out, cap, &view);
	return out;
}

const char *show_time(uint64_t time_us, char out[SHOW_TIME])
{
	time_t seconds = (time_t)(time_us / CLOCK_SECOND_US);
	struct tm tm;

	if (time_us == 0 || localtime_r(&seconds, &tm) == NULL || tm.tm_year > 8099 ||
	    strftime(out, SHOW_TIME, "%Y-%m-%d %H:%M", &tm) == 0) {
		out[0] = '-';
		out[1] = '\0';
	}
	return out;
}

static void add(struct show_json *j, const char *text)
{
	j->failed = j->failed || buf_add_str(&j->text, text) != 0;
}

static void separate(struct show_json *j)
{
	if (j->some) {
		add(j, ",");
	}
	j->some = true;
}

static void add_key(struct show_json *j, const char *key)
{
	separate(j);
	add(j, "\"");
	add(j, key);
	add(j, "\":");
}

void show_json_begin(struct show_json *j)
{
	buf_init(&j->text, 0);
	j->some = j->failed = false;
	add(j, "{");
}

void show_json_text(struct show_json *j, const char *key, struct span value)
{
	add_key(j, key);
	j->failed = j->failed || text_json(&j->text, value) != 0;
}

void show_json_number(struct show_json *j, const char *key, uint64_t value)
{
	add_key(j, key);
	j->failed = j->failed || buf_addf(&j->text, "%llu", (unsigned long long)value) != 0;
}

void show_json_bool(struct show_json *j, const char *key, bool value)
{
	add_key(j, key);
	add(j, value ? "true" : "false");
}

void show_json_time(struct show_json *j, const char *key, uint64_t time_us)
{
	char text[32];

	if (time_us == 0) {
		add_key(j, key);
		add(j, "null");
		return;
	}
	clock_format(time_us, text, sizeof text);
	show_json_text(j, key, span_str(text));
}

void show_json_list(struct show_json *j, const char *key)
{
	add_key(j, key);
	add(j, "[");
	j->some = false;
}

void show_json_item(struct show_json *j, struct span value)
{
	separate(j);
	j->failed = j->failed || text_json(&j->text, value) != 0;
}

void show_json_list_end(struct show_json *j)
{
	add(j, "]");
	j->some = true;
}

int show_json_end(struct show_json *j)
{
	struct span line;
	int r;

	add(j, "}\n");
	line = buf_view(&j->text);
	r = j->failed ? ERR_NOMEM : 0;
	if (r == 0) {
		fwrite(line.p, 1, line.n, stdout);
	}
	buf_free(&j->text);
	return r;
}
