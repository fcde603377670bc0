/* Phrases for error codes, and the one text that a failing call hands up. */
#include "base/err.h"

#include <stdio.h>
#include <string.h>

static const char *const phrases[] = {
	[-ERR_NOMEM] = "out of memory",
	[-ERR_IO] = "input or output failed",
	[-ERR_MALFORMED] = "malformed",
	[-ERR_TOO_BIG] = "too big",
	[-ERR_NOT_FOUND] = "no such record",
	[-ERR_EXISTS] = "exists already",
	[-ERR_FULL] = "no room left",
	[-ERR_DENIED] = "not allowed",
	[-ERR_TIMEOUT] = "timed out",
	[-ERR_CLOSED] = "closed",
	[-ERR_AGAIN] = "nothing yet",
	[-ERR_TLS] = "TLS failed",
	[-ERR_NO_DOMAIN] = "no such domain",
	[-ERR_NO_SERVICE] = "the domain does not offer the service",
	[-ERR_NO_SERVER] = "no server could be reached",
	[-ERR_CONFIG] = "bad configuration",
	[-ERR_UNSUPPORTED] = "not supported",
	[-ERR_INTERNAL] = "internal error",
	[-ERR_PROTOCOL] = "the peer broke the protocol",
};

const char *err_phrase(int code)
{
	if (code >= 0)
		return "success";
	/* Tested without negating CODE: -INT_MIN is undefined. */
	if (code <= -(int)(sizeof phrases / sizeof phrases[0]))
		return "unknown error";
	return phrases[-code];
}

/* One line only, and a cut never leaves half a UTF-8 character behind. */
static void tidy(char *text, size_t cap, int wanted)
{
	size_t n = strlen(text);

	if (wanted >= (int)cap) {
		size_t at = n;

		while (at > 0 && n - at < 4 && ((unsigned char)text[at - 1] & 0xc0) == 0x80)
			at--;
		if (at > 0 && (unsigned char)text[at - 1] >= 0xc0) {
			unsigned char lead = (unsigned char)text[at - 1];
			size_t need = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;

			if (n - at < need)
				text[at - 1] = '\0';
		}
	}
	for (char *p = text; *p != '\0'; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = ' ';
}

__attribute__((format(printf, 2, 0))) static void
set_text(struct err_text *e, const char *format, va_list ap)
{
	/* Built aside: an argument may be a text that lies in E. */
	struct err_text fresh;
	int wanted = vsnprintf(fresh.text, sizeof fresh.text, format, ap);

	if (wanted < 0) {
		e->text[0] = '\0';
		return;
	}
	tidy(fresh.text, sizeof fresh.text, wanted);
	memcpy(e->text, fresh.text, strlen(fresh.text) + 1);
}

int err_set(struct err_text *e, int code, const char *format, ...)
{
	va_list ap;

	if (e == NULL)
		return code;
	va_start(ap, format);
	set_text(e, format, ap);
	va_end(ap);
	return code;
}

int err_prefix(struct err_text *e, int code, const char *format, ...)
{
	struct err_text front;
	struct err_text whole;
	va_list ap;
	int wanted;

	if (e == NULL)
		return code;
	va_start(ap, format);
	set_text(&front, format, ap);
	va_end(ap);
	wanted = snprintf(whole.text, sizeof whole.text, "%s%s%s", front.text,
	                  e->text[0] != '\0' ? ": " : "", e->text);
	if (wanted < 0)
		return code;
	tidy(whole.text, sizeof whole.text, wanted);
	*e = whole;
	return code;
}
