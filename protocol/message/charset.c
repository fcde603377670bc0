/* Charsets by iconv. */
#include "message/charset.h"

#include <errno.h>
#include <iconv.h>

#include "base/err.h"
#include "base/text.h"
#include "message/fill.h"
#include "message/lex.h"

#define NAME_MAX_OCTETS 40

/*
 * NAME as iconv_open may see it: the characters of registered names only, since
 * '/' would begin iconv's options. False for others.
 */
static bool plain_name(struct span name, char out[NAME_MAX_OCTETS + 1])
{
	for (size_t i = 0; i < name.n; i++) {
		uint8_t c = lex_lower(name.p[i]);

		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') &&
		    memchr("-_.:+", c, 5) == NULL)
			return false;
	}
	return span_copy(name, out, NAME_MAX_OCTETS + 1) == 0;
}

static bool is_utf8_name(struct span name)
{
	static const char *const names[] = { "utf-8", "utf8", "us-ascii", "ascii" };

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (span_eq_nocase(name, span_str(names[i])))
			return true;
	return name.n == 0;
}

void charset_open(struct charset *c, struct span name)
{
	char text[NAME_MAX_OCTETS + 1];
	iconv_t cd = (iconv_t)-1;

	c->cd = NULL;
	c->kind = CHARSET_UTF8;
	if (is_utf8_name(name))
		return;
	if (span_eq_nocase(name, span_str("iso-8859-1")) ||
	    span_eq_nocase(name, span_str("latin1")))
		name = span_str("windows-1252");
	if (plain_name(name, text))
		cd = iconv_open("UTF-8", text);
	c->kind = cd == (iconv_t)-1 ? CHARSET_UNKNOWN : CHARSET_ICONV;
	if (c->kind == CHARSET_ICONV)
		c->cd = cd;
}

void charset_close(struct charset *c)
{
	if (c->cd != NULL)
		(void)iconv_close(c->cd);
	c->cd = NULL;
}

/* Whether S may be the beginning of a UTF-8 character that is not all there yet. */
static bool is_incomplete(struct span s)
{
	uint8_t first = s.p[0];
	size_t want = first < 0xc2 || first > 0xf4 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;

	if (s.n >= want)
		return false;
	for (size_t i = 1; i < s.n; i++)
		if ((s.p[i] & 0xc0) != 0x80)
			return false;
	return true;
}

/* Characters that are UTF-8 already; ASCII only when ASCII_ONLY. */
static size_t copy_utf8(struct span in, bool ascii_only, bool last, struct fill *f)
{
	size_t used = 0;

	while (used < in.n) {
		struct span rest = span_after(in, used);
		uint32_t code;
		size_t n = ascii_only && rest.p[0] >= 0x80 ? 0 : text_utf8_char(rest, &code);

		if (n == 0 && !ascii_only && !last && is_incomplete(rest))
			break;
		if (n > 0)
			fill_span(f, span_of(rest.p, n));
		else
			fill_str(f, CHARSET_REPLACEMENT);
		if (f->cut)
			break;
		used += n > 0 ? n : 1;
	}
	return used;
}

/* One call of iconv's loop: converts up to the first obstacle. Its errno, or 0. */
static int step(void *cd, struct span *in, uint8_t *out, size_t cap, size_t *n)
{
	/* iconv's prototype lacks the const; it does not write there. */
	union { const uint8_t *c; char *p; } from = { .c = in->p };
	char *to = (char *)out + *n;
	size_t left = in->n, room = cap - *n;
	size_t rc = iconv(cd, &from.p, &left, &to, &room);
	int problem = rc == (size_t)-1 ? errno : 0;

	*in = span_after(*in, in->n - left);
	*n = cap - room;
	return problem;
}

/* Puts TEXT where it fits. */
static bool put(const char *text, uint8_t *out, size_t cap, size_t *n)
{
	size_t size = strlen(text);

	if (cap - *n < size)
		return false;
	memcpy(out + *n, text, size);
	*n += size;
	return true;
}

size_t charset_utf8(struct charset *c, struct span in, bool last, uint8_t *out, size_t cap,
                    size_t *used)
{
	struct span rest = in;
	size_t n = 0;

	if (c->kind != CHARSET_ICONV) {
		struct fill f = { .p = (char *)out, .cap = cap + 1 };

		*used = copy_utf8(in, c->kind == CHARSET_UNKNOWN, last, &f);
		return f.n;
	}
	while (rest.n > 0) {
		int problem = step(c->cd, &rest, out, cap, &n);

		if (problem == 0 || problem == E2BIG)
			break;
		if (problem == EINVAL && !last && rest.n < CHARSET_CARRY_MAX)
			break;
		if (!put(CHARSET_REPLACEMENT, out, cap, &n))
			break;
		rest = span_after(rest, 1);
	}
	*used = in.n - rest.n;
	return n;
}

int charset_to_open(const char *name, void **cd)
{
	iconv_t opened = iconv_open(name, "UTF-8");

	if (opened == (iconv_t)-1)
		return ERR_UNSUPPORTED;
	*cd = opened;
	return 0;
}

void charset_to_close(void *cd)
{
	if (cd != NULL)
		(void)iconv_close(cd);
}

size_t charset_to(void *cd, struct span in, uint8_t *out, size_t cap, size_t *used)
{
	struct span rest = in;
	size_t n = 0;

	while (rest.n > 0) {
		int problem = step(cd, &rest, out, cap, &n);
		uint32_t code;
		size_t skip;

		if (problem == 0 || problem == E2BIG || !put("?", out, cap, &n))
			break;
		skip = text_utf8_char(rest, &code);
		rest = span_after(rest, skip > 0 ? skip : 1);
	}
	*used = in.n - rest.n;
	return n;
}
