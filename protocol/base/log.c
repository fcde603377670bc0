/* One record, one line, one write(2): lines of several threads never mix. */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/text.h"

#define RECORD_MAX 2048 /* octets of a line; under PIPE_BUF, so that a pipe takes it whole */
#define VALUE_MAX 200   /* octets of a quoted value */
#define CUT "\xe2\x80\xa6" /* U+2026, stands where text was cut off */

static const char *const level_names[] = { "error", "warn", "info", "debug" };
static atomic_int level_now = LOG_LEVEL_WARN;

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&level_now, (int)level, memory_order_relaxed);
}

int log_parse_level(const char *name, enum log_level *out)
{
	for (size_t i = 0; i < sizeof level_names / sizeof level_names[0]; i++) {
		if (strcmp(name, level_names[i]) == 0) {
			*out = (enum log_level)i;
			return 0;
		}
	}
	return ERR_MALFORMED;
}

/* Length of what snprintf wrote into CAP octets when it wanted WANTED. */
static size_t written(int wanted, size_t cap)
{
	if (wanted < 0)
		return 0;
	return (size_t)wanted < cap ? (size_t)wanted : cap - 1;
}

void log_record(enum log_level level, const char *event, const char *format, ...)
{
	char line[RECORD_MAX];
	char time[24];
	size_t room = sizeof line - sizeof CUT - 1; /* for the cut's sign and the newline */
	size_t n;
	int wanted;
	va_list ap;

	if ((int)level > atomic_load_explicit(&level_now, memory_order_relaxed))
		return;
	clock_format(clock_now_us(), time, sizeof time);
	n = written(snprintf(line, room, "%s level=%s event=%s ", time, level_names[level], event),
	            room);
	va_start(ap, format);
	wanted = vsnprintf(line + n, room - n, format, ap);
	va_end(ap);
	n += written(wanted, room - n);
	/* A value that nobody quoted must not begin a line of its own. */
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = '?';
	if (wanted >= 0 && n + 1 == room) {
		memcpy(line + n, CUT, sizeof CUT - 1);
		n += sizeof CUT - 1;
	}
	while (n > 0 && line[n - 1] == ' ')
		n--;
	line[n++] = '\n';
	/* A log that cannot be written has nowhere to say so. */
	if (write(STDERR_FILENO, line, n) < 0)
		return;
}

static bool needs_quotes(struct span text)
{
	if (text.n == 0)
		return true;
	for (size_t i = 0; i < text.n; i++)
		if (text.p[i] <= ' ' || text.p[i] >= 0x7f || strchr("\"\\=", text.p[i]) != NULL)
			return true;
	return false;
}

/* The form of the character at the front of TEXT inside quotes; returns octets taken from TEXT. */
static size_t quote_char(struct span text, char form[8], size_t *form_n)
{
	uint32_t code = 0;
	size_t n = text_utf8_char(text, &code);

	if (n == 0 || code < 0x20 || code == 0x7f)
		*form_n = (size_t)snprintf(form, 8, "\\x%02x", text.p[0]);
	else if (code >= 0x80 && code < 0xa0)
		*form_n = (size_t)snprintf(form, 8, "\\u%04x", (unsigned)code);
	else if (code == '"' || code == '\\')
		*form_n = (size_t)snprintf(form, 8, "\\%c", (char)code);
	else {
		memcpy(form, text.p, n);
		*form_n = n;
	}
	return n == 0 ? 1 : n;
}

const char *log_quote(struct span text, char *out, size_t cap)
{
	bool quotes = needs_quotes(text);
	size_t frame = (quotes ? 2 : 0) + sizeof CUT; /* the quotes, the sign of a cut, the NUL */
	size_t room = cap > frame ? cap - frame : 0;
	size_t n = 0;
	size_t end;

	if (room > VALUE_MAX)
		room = VALUE_MAX;
	if (room == 0) {
		if (cap > 0)
			out[0] = '\0';
		return out;
	}
	if (quotes)
		out[n++] = '"';
	end = n + room;
	while (text.n > 0) {
		char form[8];
		size_t form_n;
		size_t taken = quote_char(text, form, &form_n);

		if (form_n > end - n) {
			memcpy(out + n, CUT, sizeof CUT - 1);
			n += sizeof CUT - 1;
			break;
		}
		memcpy(out + n, form, form_n);
		n += form_n;
		text = span_after(text, taken);
	}
	if (quotes)
		out[n++] = '"';
	out[n] = '\0';
	return out;
}

const char *log_id(const uint8_t id[16], char *out, size_t cap)
{
	char hex[9];

	text_hex(id, 4, hex);
	snprintf(out, cap, "%s" CUT, hex);
	return out;
}
