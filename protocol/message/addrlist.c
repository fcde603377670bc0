/*
 * Address lists. One address is scanned word by word up to the ',' or ';' that
 * ends it; what was seen on the way (a '<', an '@', a ':') says what it is.
 */
#include "message/addrlist.h"

#include "base/err.h"
#include "message/fill.h"
#include "message/lex.h"

/* A run of words (atoms and quoted strings, dots among them) as views. */
struct words {
	const uint8_t *begin, *end; /* of the first and behind the last; NULL: none */
	bool dotted;                /* every two words have a dot between them */
	bool broken;                /* a quoted string or a comment has no end */
	struct span comment;        /* inside of the last comment seen */
};

static struct span words_span(const struct words *w)
{
	return w->begin == NULL ? span_of(NULL, 0) : span_of(w->begin, (size_t)(w->end - w->begin));
}

/* Whether C ends a run of words. */
static bool is_special(uint8_t c)
{
	return c == '<' || c == '>' || c == '@' || c == ',' || c == ';' || c == ':' || c == ')';
}

/* A domain literal is one word: its colons are no group's. */
static void skip_literal(struct span *s)
{
	const uint8_t *end = memchr(s->p, ']', s->n);

	*s = span_after(*s, end == NULL ? 1 : (size_t)(end - s->p) + 1);
}

static void skip_atom(struct span *s)
{
	size_t n = 0;

	while (n < s->n && !lex_is_blank(s->p[n]) && !is_special(s->p[n]) && s->p[n] != '(' &&
	       s->p[n] != '"')
		n++;
	*s = span_after(*s, n);
}

/* Takes words and comments off *S up to a special or the end. LITERAL: in a domain. */
static void take_words(struct span *s, bool literal, struct words *w)
{
	struct span inside;

	for (;;) {
		const uint8_t *at, *end;

		lex_skip_blank(s);
		if (s->n == 0 || is_special(s->p[0]))
			return;
		at = s->p;
		end = at + s->n;
		if (*at == '(') {
			w->broken |= !lex_comment(s, &w->comment);
			continue;
		}
		if (w->begin == NULL)
			w->begin = at;
		else if (*at != '.' && w->end[-1] != '.')
			w->dotted = false;
		if (*at == '"')
			w->broken |= !lex_quoted(s, &inside);
		else if (*at == '[' && literal)
			skip_literal(s);
		else
			skip_atom(s);
		w->end = end - s->n;
	}
}

static struct words no_words(void)
{
	return (struct words){ .dotted = true };
}

static bool next_is(const struct span *s, uint8_t c)
{
	return s->n > 0 && s->p[0] == c;
}

/* local@domain, or local alone. False when it is none. COMMENT: the last one seen. */
static bool take_spec(struct span *s, struct addrlist_entry *out, struct span *comment)
{
	struct words local = no_words(), domain = no_words();

	take_words(s, false, &local);
	out->local = words_span(&local);
	if (next_is(s, '@')) {
		*s = span_after(*s, 1);
		take_words(s, true, &domain);
		out->domain = words_span(&domain);
		if (domain.begin == NULL)
			return false;
	}
	*comment = domain.comment.p != NULL ? domain.comment : local.comment;
	return local.begin != NULL && local.dotted && domain.dotted && !local.broken &&
	       !domain.broken;
}

/* "<@route:local@domain>", from the '<' on. */
static bool take_angle(struct span *s, struct addrlist_entry *out)
{
	struct span comment = span_of(NULL, 0);
	struct words rest = no_words();

	*s = span_after(*s, 1);
	if (!lex_skip_cfws(s))
		return false;
	if (next_is(s, '@')) {
		struct span all = *s;

		while (s->n > 0 && (next_is(s, '@') || next_is(s, ','))) {
			struct words hop = no_words();

			*s = span_after(*s, 1);
			take_words(s, true, &hop);
		}
		if (!next_is(s, ':'))
			return false;
		out->route = lex_trim_end(span_of(all.p, all.n - s->n));
		*s = span_after(*s, 1);
	}
	if (!take_spec(s, out, &comment) || !next_is(s, '>'))
		return false;
	*s = span_after(*s, 1);
	take_words(s, false, &rest); /* only a comment may follow */
	return rest.begin == NULL && !rest.broken;
}

/* Goes to the ',' or ';' that ends a broken address. */
static void resync(struct span *s)
{
	struct words w = no_words();

	while (s->n > 0 && s->p[0] != ',' && s->p[0] != ';') {
		take_words(s, false, &w);
		if (s->n > 0 && s->p[0] != ',' && s->p[0] != ';')
			*s = span_after(*s, 1);
	}
}

/* A bare address or group name from words already taken, or what comes behind them. */
static bool take_entry(struct addrlist_iter *it, struct addrlist_entry *out)
{
	struct span *s = &it->rest;
	struct span start = *s, comment;
	struct words phrase = no_words();

	take_words(s, false, &phrase);
	if (next_is(s, '<')) {
		out->name = words_span(&phrase);
		return !phrase.broken && take_angle(s, out);
	}
	if (next_is(s, ':')) {
		*s = span_after(*s, 1);
		out->kind = ADDRLIST_GROUP;
		out->name = words_span(&phrase);
		if (it->in_group || phrase.begin == NULL || phrase.broken)
			return false;
		it->in_group = true;
		return true;
	}
	*s = start;
	if (!take_spec(s, out, &comment))
		return false;
	if (next_is(s, '<')) { /* bob@b.example <bob@b.example>: a name with an '@' in it */
		struct span local = out->local, domain = out->domain;

		out->name = span_of(local.p, (size_t)(domain.p + domain.n - local.p));
		return take_angle(s, out);
	}
	if (comment.p != NULL) {
		out->name = comment;
		out->name_in_comment = true;
	}
	return true;
}

void addrlist_begin(struct addrlist_iter *it, struct span list)
{
	it->rest = list;
	it->in_group = false;
}

int addrlist_next(struct addrlist_iter *it, struct addrlist_entry *out)
{
	struct span *s = &it->rest;
	const uint8_t *begin;
	bool good;

	*out = (struct addrlist_entry){ .kind = ADDRLIST_MAILBOX };
	for (;;) {
		(void)lex_skip_cfws(s);
		if (s->n == 0 && !it->in_group)
			return 0;
		if (s->n == 0 || (s->p[0] == ';' && it->in_group)) {
			out->kind = ADDRLIST_GROUP_END;
			out->whole = span_of(s->p, s->n > 0);
			it->in_group = false;
			*s = span_after(*s, 1);
			return 1;
		}
		if (s->p[0] != ',' && s->p[0] != ';')
			break;
		*s = span_after(*s, 1); /* empty places, and ';' as some write it between addresses */
	}
	begin = s->p;
	out->whole = *s;
	good = take_entry(it, out);
	if (good && out->kind == ADDRLIST_MAILBOX && s->n > 0 && s->p[0] != ',' && s->p[0] != ';')
		good = false;
	if (!good)
		resync(s);
	out->whole.n -= s->n;
	out->whole = lex_trim_end(span_of(begin, out->whole.n));
	return good ? 1 : ERR_MALFORMED;
}

/* Words in plain form; SPACED: one space where white space or a comment stood between them. */
static int plain(struct span raw, bool spaced, char *out, size_t cap, struct span *result)
{
	struct fill f = fill_into(out, cap);
	struct span inside;

	while (raw.n > 0) {
		size_t before = raw.n;

		(void)lex_skip_cfws(&raw);
		if (raw.n == 0)
			break;
		if (spaced && raw.n < before && f.n > 0)
			fill_octet(&f, ' ');
		if (raw.p[0] == '"') {
			(void)lex_quoted(&raw, &inside);
			lex_fill_unquoted(&f, inside);
		} else {
			fill_octet(&f, raw.p[0]);
			raw = span_after(raw, 1);
		}
	}
	return fill_end(&f, result);
}

int addrlist_name(const struct addrlist_entry *a, char *out, size_t cap, struct span *result)
{
	struct fill f = fill_into(out, cap);
	struct span inside = a->name;

	if (!a->name_in_comment)
		return plain(a->name, true, out, cap, result);
	lex_skip_blank(&inside);
	lex_fill_unquoted(&f, lex_trim_end(inside));
	return fill_end(&f, result);
}

int addrlist_local(const struct addrlist_entry *a, char *out, size_t cap, struct span *result)
{
	return plain(a->local, false, out, cap, result);
}

int addrlist_domain(const struct addrlist_entry *a, char *out, size_t cap, struct span *result)
{
	return plain(a->domain, false, out, cap, result);
}

int addrlist_mailbox(const struct addrlist_entry *a, struct mailbox *out)
{
	char local[NAME_LOCAL_MAX + 1], domain[4 * NAME_DOMAIN_MAX];
	struct span l, d;
	int rc;

	if (a->kind != ADDRLIST_MAILBOX || a->local.n == 0 || a->domain.n == 0)
		return ERR_MALFORMED;
	rc = addrlist_local(a, local, sizeof local, &l);
	if (rc == 0)
		rc = addrlist_domain(a, domain, sizeof domain, &d);
	return rc == 0 ? name_make_mailbox(l, d, out) : rc;
}
