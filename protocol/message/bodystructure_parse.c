/* BODYSTRUCTURE text of strangers, read into a flat list. */
#include "base/err.h"
#include "message/bodystructure.h"
#include "message/decode_safe.h"
#include "message/fill.h"
#include "message/lex.h"
#include "message/param.h"

#define PARAMS_MAX 2048 /* octets of one part's parameters that are looked at */

struct reader {
	struct span rest;
	struct bodystructure_part *parts;
	size_t cap, n;
	char params[PARAMS_MAX];
};

/* Where a part's children get their sections from. */
struct place {
	char prefix[BODYSTRUCTURE_SECTION_MAX]; /* "2." */
	unsigned number;                        /* of the part; 0: a whole message */
	unsigned depth;
};

static void skip_space(struct reader *r)
{
	while (r->rest.n > 0 && r->rest.p[0] == ' ')
		r->rest = span_after(r->rest, 1);
}

static bool next_is(const struct reader *r, uint8_t c)
{
	return r->rest.n > 0 && r->rest.p[0] == c;
}

/* Takes C; false when something else stands there. */
static bool take(struct reader *r, uint8_t c)
{
	skip_space(r);
	if (!next_is(r, c))
		return false;
	r->rest = span_after(r->rest, 1);
	return true;
}

/* A quoted string or NIL: the inside, backslashes kept; empty for NIL. */
static int take_string(struct reader *r, struct span *out)
{
	skip_space(r);
	if (next_is(r, '"'))
		return lex_quoted(&r->rest, out) ? 0 : ERR_MALFORMED;
	*out = span_of(NULL, 0);
	if (r->rest.n < 3 || !span_eq_nocase(span_of(r->rest.p, 3), span_str("NIL")))
		return ERR_MALFORMED;
	r->rest = span_after(r->rest, 3);
	return 0;
}

static int take_number(struct reader *r, uint64_t *out)
{
	size_t n = 0;

	skip_space(r);
	*out = 0;
	while (n < r->rest.n && r->rest.p[n] >= '0' && r->rest.p[n] <= '9') {
		unsigned digit = r->rest.p[n] - '0';

		if (*out > (UINT64_MAX - digit) / 10)
			return ERR_MALFORMED;
		*out = *out * 10 + digit;
		n++;
	}
	r->rest = span_after(r->rest, n);
	return n > 0 ? 0 : ERR_MALFORMED;
}

/* Goes over one value of any form, lists counted, not recursed into. */
static int skip_value(struct reader *r)
{
	size_t open = 0;

	do {
		struct span unused;
		uint64_t number;
		int rc = 0;

		if (take(r, '(')) {
			open++;
			continue;
		}
		if (open > 0 && take(r, ')')) {
			open--;
			continue;
		}
		if (r->rest.n > 0 && r->rest.p[0] >= '0' && r->rest.p[0] <= '9')
			rc = take_number(r, &number);
		else
			rc = take_string(r, &unused);
		if (rc != 0)
			return rc;
	} while (open > 0);
	return 0;
}

/* Goes over what is left of a list, its ')' too: extension data of the future. */
static int skip_rest(struct reader *r)
{
	while (!take(r, ')')) {
		int rc = skip_value(r);

		if (rc != 0)
			return rc;
	}
	return 0;
}

/* The inside of a quoted string as a short text. */
static void put_text(struct fill *f, struct span inside, bool lower)
{
	while (inside.n > 0 && !f->cut) {
		uint8_t c;

		if (inside.p[0] == '\\' && inside.n > 1)
			inside = span_after(inside, 1);
		c = inside.p[0];
		if (c < 0x80) {
			fill_octet(f, c < ' ' ? ' ' : lower ? lex_lower(c) : c);
			inside = span_after(inside, 1);
		} else {
			inside = span_after(inside, decode_safe_char(f, inside, true));
		}
	}
}

static void copy_lower(struct span inside, char *out, size_t cap)
{
	struct fill f = fill_into(out, cap);

	put_text(&f, inside, true);
	(void)fill_end(&f, NULL);
}

static bool is_param_name(struct span name)
{
	for (size_t i = 0; i < name.n; i++)
		if (name.p[i] <= ' ' || memchr("()<>@,;:\\\"/[]?=", name.p[i], 15) != NULL)
			return false;
	return name.n > 0;
}

/*
 * A list of names and values, or NIL, as MIME parameters, so that param.h can
 * read them: a quoted string has the same escapes in both. What is over PARAMS_MAX
 * is not looked at.
 */
static int take_params(struct reader *r, struct span *params)
{
	struct fill f = fill_into(r->params, sizeof r->params);
	struct span name, value;
	int rc;

	*params = span_of(NULL, 0);
	if (!take(r, '('))
		return take_string(r, &name);
	while (!take(r, ')')) {
		size_t before = f.n;

		rc = take_string(r, &name);
		if (rc == 0)
			rc = take_string(r, &value);
		if (rc != 0)
			return rc;
		if (!is_param_name(name))
			continue;
		fill_octet(&f, ';');
		fill_span(&f, name);
		fill_str(&f, "=\"");
		fill_span(&f, value);
		fill_octet(&f, '"');
		if (f.cut) {
			f.n = before;
			f.cut = false;
		}
	}
	(void)fill_end(&f, params);
	return 0;
}

/* NAME's value into OUT, if it is there; a long one is cut. */
static void get_text(struct span params, const char *name, char *out, size_t cap)
{
	struct span unused;

	if (out[0] == '\0')
		(void)param_get_text(params, name, out, cap, &unused);
}

/* ("attachment" ("filename" "x")), or NIL */
static int take_disposition(struct reader *r, struct bodystructure_part *part)
{
	struct span token, params;
	char name[sizeof part->filename] = "";
	int rc;

	if (!take(r, '('))
		return take_string(r, &token);
	rc = take_string(r, &token);
	if (rc == 0)
		rc = take_params(r, &params);
	if (rc != 0)
		return rc;
	copy_lower(token, part->disposition, sizeof part->disposition);
	get_text(params, "filename", name, sizeof name);
	if (name[0] != '\0') /* it goes before the type's name */
		memcpy(part->filename, name, sizeof name);
	return take(r, ')') ? 0 : ERR_MALFORMED;
}

/* "2." and 3 make "2.3". */
static int set_section(struct bodystructure_part *part, const struct place *at, bool multipart)
{
	struct fill f = fill_into(part->section, sizeof part->section);
	char digits[8];
	size_t n = 0;

	fill_str(&f, at->prefix);
	if (multipart && at->number == 0)
		fill_str(&f, "TEXT");
	for (unsigned v = at->number; v > 0; v /= 10)
		digits[n++] = (char)('0' + v % 10);
	if (!multipart && at->number == 0)
		digits[n++] = '1';
	while (n > 0)
		fill_octet(&f, (uint8_t)digits[--n]);
	return fill_end(&f, NULL);
}

/* Where the children of PART stand. */
static int place_inside(const struct place *at, const struct bodystructure_part *part,
                        bool multipart, struct place *out)
{
	struct fill f = fill_into(out->prefix, sizeof out->prefix);

	out->number = 0;
	out->depth = at->depth + 1;
	if (multipart && at->number == 0) {
		fill_str(&f, at->prefix);
	} else {
		fill_str(&f, part->section);
		fill_octet(&f, '.');
	}
	return fill_end(&f, NULL);
}

static int take_part(struct reader *r, const struct place *at);

/* The '(' is taken and another follows. */
static int take_multipart(struct reader *r, const struct place *at, struct bodystructure_part *part)
{
	struct span subtype, params;
	struct place inside;
	struct fill type = fill_into(part->type, sizeof part->type);
	int rc = place_inside(at, part, true, &inside);

	while (rc == 0 && next_is(r, '(')) {
		inside.number++;
		rc = take_part(r, &inside);
		skip_space(r);
	}
	if (rc == 0)
		rc = take_string(r, &subtype);
	if (rc != 0)
		return rc;
	fill_str(&type, "multipart/");
	put_text(&type, subtype, true);
	(void)fill_end(&type, NULL);
	skip_space(r);
	if (!next_is(r, ')')) {
		rc = take_params(r, &params);
		skip_space(r);
	}
	if (rc == 0 && !next_is(r, ')'))
		rc = take_disposition(r, part);
	return rc == 0 ? skip_rest(r) : rc;
}

/* type subtype params id description encoding octets */
static int take_basic(struct reader *r, struct bodystructure_part *part)
{
	struct span type, subtype, params, unused, encoding;
	struct fill f = fill_into(part->type, sizeof part->type);

	if (take_string(r, &type) != 0 || take_string(r, &subtype) != 0)
		return ERR_MALFORMED;
	put_text(&f, type, true);
	fill_octet(&f, '/');
	put_text(&f, subtype, true);
	(void)fill_end(&f, NULL);
	if (take_params(r, &params) != 0)
		return ERR_MALFORMED;
	get_text(params, "charset", part->charset, sizeof part->charset);
	get_text(params, "name", part->filename, sizeof part->filename);
	if (take_string(r, &unused) != 0 || take_string(r, &unused) != 0 ||
	    take_string(r, &encoding) != 0)
		return ERR_MALFORMED;
	copy_lower(encoding, part->encoding, sizeof part->encoding);
	return take_number(r, &part->octets);
}

static bool is_message(const struct bodystructure_part *part)
{
	return strcmp(part->type, "message/rfc822") == 0 || strcmp(part->type, "message/global") == 0;
}

static int take_single(struct reader *r, const struct place *at, struct bodystructure_part *part)
{
	int rc = take_basic(r, part);

	if (rc == 0 && is_message(part)) {
		struct place inside;

		rc = skip_value(r); /* the envelope */
		if (rc == 0)
			rc = place_inside(at, part, false, &inside);
		if (rc == 0)
			rc = take_part(r, &inside);
		if (rc == 0)
			rc = take_number(r, &part->lines);
	} else if (rc == 0 && strncmp(part->type, "text/", 5) == 0) {
		rc = take_number(r, &part->lines);
	}
	skip_space(r);
	if (rc == 0 && !next_is(r, ')')) {
		rc = skip_value(r); /* MD5 */
		skip_space(r);
	}
	if (rc == 0 && !next_is(r, ')'))
		rc = take_disposition(r, part);
	return rc == 0 ? skip_rest(r) : rc;
}

static int take_part(struct reader *r, const struct place *at)
{
	struct bodystructure_part *part;
	bool multipart;
	int rc;

	if (!take(r, '('))
		return ERR_MALFORMED;
	if (r->n == r->cap || at->depth >= BODYSTRUCTURE_DEPTH)
		return ERR_TOO_BIG;
	part = &r->parts[r->n++];
	memset(part, 0, sizeof *part);
	part->depth = at->depth;
	skip_space(r);
	multipart = next_is(r, '(');
	rc = set_section(part, at, multipart);
	if (rc != 0)
		return rc;
	return multipart ? take_multipart(r, at, part) : take_single(r, at, part);
}

int bodystructure_parse(struct span text, struct bodystructure_part *parts, size_t cap,
                        size_t *n)
{
	struct reader r = { .rest = text, .parts = parts, .cap = cap };
	struct place whole = { .number = 0 };
	int rc = take_part(&r, &whole);

	*n = rc == 0 ? r.n : 0;
	skip_space(&r);
	return rc == 0 && r.rest.n > 0 ? ERR_MALFORMED : rc;
}
