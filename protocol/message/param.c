/* Content types and parameters. */
#include "message/param.h"

#include "base/err.h"
#include "message/decode.h"
#include "message/fill.h"
#include "message/lex.h"

#define SECTIONS_MAX 64  /* of one RFC 2231 parameter */
#define VALUE_MAX 2048   /* octets of a parameter's value before its charset is dealt with */

/* RFC 2045 section 5.1. Octets over 127 are let through: some programs write them. */
static bool is_token(uint8_t c)
{
	return c > ' ' && c != 127 && memchr("()<>@,;:\\\"/[]?=", c, 15) == NULL;
}

static struct span take_token(struct span *s)
{
	struct span token = *s;
	size_t n = 0;

	while (n < s->n && is_token(s->p[n]))
		n++;
	token.n = n;
	*s = span_after(*s, n);
	return token;
}

int param_parse_type(struct span value, struct param_type *out)
{
	(void)lex_skip_cfws(&value);
	out->type = take_token(&value);
	(void)lex_skip_cfws(&value);
	if (out->type.n == 0 || value.n == 0 || value.p[0] != '/')
		return ERR_MALFORMED;
	value = span_after(value, 1);
	(void)lex_skip_cfws(&value);
	out->subtype = take_token(&value);
	out->params = value;
	return out->subtype.n == 0 ? ERR_MALFORMED : 0;
}

int param_parse_token(struct span value, struct span *token, struct span *params)
{
	(void)lex_skip_cfws(&value);
	*token = take_token(&value);
	*params = value;
	return token->n == 0 ? ERR_MALFORMED : 0;
}

void param_begin(struct param_iter *it, struct span params)
{
	it->rest = params;
}

/* Up to the next ';', over quoted strings. */
static void skip_to_next(struct span *s)
{
	struct span inside;

	while (s->n > 0 && s->p[0] != ';') {
		if (s->p[0] == '"')
			(void)lex_quoted(s, &inside);
		else
			*s = span_after(*s, 1);
	}
}

/*
 * A value without quotes: up to ';' or a comment. So "name=my file.txt", which is
 * wrong but common, keeps its last word.
 */
static struct span take_bare(struct span *s)
{
	struct span all = *s;
	size_t n = 0;

	while (n < s->n && s->p[n] != ';' &&
	       !(s->p[n] == '(' && n > 0 && lex_is_blank(s->p[n - 1])))
		n++;
	*s = span_after(*s, n);
	return lex_trim_end(span_of(all.p, n));
}

bool param_next(struct param_iter *it, struct param *out)
{
	struct span *s = &it->rest;

	for (;;) {
		(void)lex_skip_cfws(s);
		if (s->n == 0)
			return false;
		if (s->p[0] == ';') {
			*s = span_after(*s, 1);
			continue;
		}
		out->name = take_token(s);
		(void)lex_skip_cfws(s);
		if (out->name.n == 0 || s->n == 0 || s->p[0] != '=') {
			skip_to_next(s);
			continue;
		}
		*s = span_after(*s, 1);
		(void)lex_skip_cfws(s);
		out->quoted = s->n > 0 && s->p[0] == '"';
		if (out->quoted)
			(void)lex_quoted(s, &out->value);
		else
			out->value = take_bare(s);
		skip_to_next(s);
		return true;
	}
}

int param_plain(const struct param *p, char *out, size_t cap, struct span *result)
{
	struct fill f = fill_into(out, cap);

	if (p->quoted)
		lex_fill_unquoted(&f, p->value);
	else
		for (size_t i = 0; i < p->value.n; i++)
			if (p->value.p[i] != '\r' && p->value.p[i] != '\n')
				fill_octet(&f, p->value.p[i]);
	return fill_end(&f, result);
}

static bool find(struct span params, struct span name, struct param *out)
{
	struct param_iter it;

	param_begin(&it, params);
	while (param_next(&it, out))
		if (span_eq_nocase(out->name, name))
			return true;
	return false;
}

int param_get(struct span params, const char *name, char *out, size_t cap, struct span *result)
{
	struct param p;

	if (!find(params, span_str(name), &p))
		return ERR_NOT_FOUND;
	return param_plain(&p, out, cap, result);
}

/* Adds V with its "%XX" decoded; what is no hex stays as it stands. */
static void fill_percent(struct fill *f, struct span v)
{
	for (size_t i = 0; i < v.n; i++) {
		int high = -1, low = -1;

		if (v.p[i] == '%' && v.n - i > 2) {
			high = lex_hex_digit(v.p[i + 1]);
			low = lex_hex_digit(v.p[i + 2]);
		}
		if (high < 0 || low < 0) {
			fill_octet(f, v.p[i]);
			continue;
		}
		fill_octet(f, (uint8_t)(high << 4 | low));
		i += 2;
	}
}

/* Takes "charset'language'" off the front of *V; without both quotes nothing. */
static struct span take_charset(struct span *v)
{
	struct span charset = *v, after;
	const uint8_t *quote = v->n == 0 ? NULL : memchr(v->p, '\'', v->n);

	if (quote == NULL)
		return span_of(NULL, 0);
	charset.n = (size_t)(quote - v->p);
	after = span_after(*v, charset.n + 1);
	quote = after.n == 0 ? NULL : memchr(after.p, '\'', after.n);
	if (quote == NULL)
		return span_of(NULL, 0);
	*v = span_after(after, (size_t)(quote - after.p) + 1);
	return charset;
}

/* The parameter NAME with SUFFIX ("*", "*0", "*0*"). */
static bool find_suffixed(struct span params, const char *name, const char *suffix,
                          struct param *out)
{
	char whole[64];
	struct fill f = fill_into(whole, sizeof whole);
	struct span wanted;

	fill_str(&f, name);
	fill_str(&f, suffix);
	return fill_end(&f, &wanted) == 0 && find(params, wanted, out);
}

/* Section INDEX of NAME: "name*3*" (*EXTENDED) or "name*3". */
static bool find_section(struct span params, const char *name, unsigned index,
                         struct param *out, bool *extended)
{
	char suffix[8];
	struct fill f = fill_into(suffix, sizeof suffix);

	fill_octet(&f, '*');
	if (index >= 10)
		fill_octet(&f, (uint8_t)('0' + index / 10));
	fill_octet(&f, (uint8_t)('0' + index % 10));
	fill_end(&f, NULL);
	*extended = false;
	if (find_suffixed(params, name, suffix, out))
		return true;
	fill_octet(&f, '*');
	fill_end(&f, NULL);
	*extended = true;
	return find_suffixed(params, name, suffix, out);
}

/* Adds a value of RFC 2231's forms to RAW. FIRST takes the charset where there is one. */
static void fill_section(struct fill *raw, const struct param *p, bool extended, bool first,
                         struct span *charset)
{
	struct span value = p->value;

	if (!extended) {
		char plain[VALUE_MAX];

		if (param_plain(p, plain, sizeof plain, &value) != 0)
			raw->cut = true;
		fill_span(raw, value);
		return;
	}
	if (first)
		*charset = take_charset(&value);
	fill_percent(raw, value);
}

int param_get_text(struct span params, const char *name, char *out, size_t cap,
                   struct span *result)
{
	char raw[VALUE_MAX];
	struct fill f = fill_into(raw, sizeof raw);
	struct span octets, charset = span_of(NULL, 0);
	struct param p;
	bool extended = true;
	int cut, rc;

	if (find_suffixed(params, name, "*", &p)) {
		fill_section(&f, &p, true, true, &charset);
	} else if (find_section(params, name, 0, &p, &extended)) {
		unsigned i = 0;

		do
			fill_section(&f, &p, extended, i == 0, &charset);
		while (++i < SECTIONS_MAX && find_section(params, name, i, &p, &extended));
	} else {
		rc = param_get(params, name, raw, sizeof raw, &octets);
		if (rc == ERR_NOT_FOUND)
			return rc;
		cut = rc;
		rc = decode_words(octets, out, cap, result);
		return rc < 0 ? rc : cut;
	}
	cut = fill_end(&f, &octets);
	rc = decode_charset(octets, charset, out, cap, result);
	return rc < 0 ? rc : cut;
}
