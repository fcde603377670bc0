/* Encoded words (RFC 2047), RFC 2231's language tags in them, and charsets of short texts. */
#include "base/err.h"
#include "message/decode.h"
#include "message/decode_safe.h"
#include "message/fill.h"
#include "message/lex.h"

#define RUN_MAX 2048 /* decoded octets of words that stand side by side */

/* An encoded word: views of what it stands in. */
struct word {
	struct span charset, text;
	bool base64;
	size_t n; /* octets of all of it */
};

/* Takes up to the next '?', which may not be behind a blank. */
static bool take_piece(struct span *s, struct span *piece)
{
	size_t n = 0;

	while (n < s->n && s->p[n] != '?' && s->p[n] > ' ')
		n++;
	if (n == s->n || s->p[n] != '?')
		return false;
	*piece = span_of(s->p, n);
	*s = span_after(*s, n + 1);
	return true;
}

/* Whether S begins with an encoded word. Spaces inside of one, though wrong, are common in Q. */
static bool take_word(struct span s, struct word *out)
{
	struct span all = s, encoding;
	const uint8_t *star;
	size_t n = 0;

	if (s.n < 2 || s.p[0] != '=' || s.p[1] != '?')
		return false;
	s = span_after(s, 2);
	if (!take_piece(&s, &out->charset) || !take_piece(&s, &encoding) || encoding.n != 1)
		return false;
	if (lex_lower(encoding.p[0]) != 'b' && lex_lower(encoding.p[0]) != 'q')
		return false;
	out->base64 = lex_lower(encoding.p[0]) == 'b';
	while (n < s.n && s.p[n] != '?' && s.p[n] != '\r' && s.p[n] != '\n')
		n++;
	if (s.n - n < 2 || s.p[n] != '?' || s.p[n + 1] != '=' || n > RUN_MAX / 2)
		return false;
	out->text = span_of(s.p, n);
	out->n = all.n - s.n + n + 2;
	star = out->charset.n == 0 ? NULL : memchr(out->charset.p, '*', out->charset.n);
	if (star != NULL)
		out->charset.n = (size_t)(star - out->charset.p);
	return out->charset.n > 0;
}

/* The octets of W into OUT, which has room for its text. */
static size_t word_octets(const struct word *w, uint8_t *out)
{
	struct decode_transfer d;
	uint8_t text[RUN_MAX / 2];
	size_t n;

	memcpy(text, w->text.p, w->text.n);
	for (size_t i = 0; !w->base64 && i < w->text.n; i++)
		if (text[i] == '_')
			text[i] = ' ';
	decode_transfer_begin(&d, w->base64 ? DECODE_BASE64 : DECODE_QUOTED);
	n = decode_transfer_feed(&d, span_of(text, w->text.n), out);
	if (!w->base64 && d.held > 0) { /* blanks at a word's end are meant, other than at a line's */
		memcpy(out + n, d.pending, d.held);
		return n + d.held;
	}
	return n + decode_transfer_end(&d, out + n);
}

/* Writes octets of CHARSET as UTF-8. */
static void fill_charset(struct fill *f, struct charset *c, struct span octets)
{
	uint8_t out[256];

	while (octets.n > 0 && !f->cut) {
		size_t used, n = charset_utf8(c, octets, true, out, sizeof out, &used);

		/* Whole characters at a time, so that a cut is between two. */
		for (size_t i = 0; i < n;)
			i += decode_safe_char(f, span_of(out + i, n - i), true);
		octets = span_after(octets, used);
		if (used == 0 && n == 0)
			return;
	}
}

int decode_charset(struct span octets, struct span charset, char *out, size_t cap,
                   struct span *result)
{
	struct fill f = fill_into(out, cap);
	struct charset c;

	charset_open(&c, charset);
	fill_charset(&f, &c, octets);
	charset_close(&c);
	return fill_end(&f, result);
}

/* Text outside of encoded words: unfolded, valid UTF-8. */
static void fill_plain(struct fill *f, struct span text)
{
	while (text.n > 0 && !f->cut) {
		uint8_t c = text.p[0];

		if (c == '\n' || (c == '\r' && text.n > 1 && text.p[1] == '\n'))
			text = span_after(text, 1);
		else
			text = span_after(text, decode_safe_char(f, text, true));
	}
}

/*
 * A run of encoded words of one charset with nothing but blanks between them:
 * decoded together, since programs split characters over words.
 */
struct run {
	uint8_t octets[RUN_MAX];
	size_t n;
	struct span charset; /* empty: no run */
	struct span source;  /* as it stands, for an unknown charset */
};

static void run_end(struct run *r, struct fill *f)
{
	struct charset c;

	if (r->charset.n == 0)
		return;
	charset_open(&c, r->charset);
	if (c.kind == CHARSET_UNKNOWN)
		fill_plain(f, r->source);
	else
		fill_charset(f, &c, span_of(r->octets, r->n));
	charset_close(&c);
	r->charset = span_of(NULL, 0);
	r->n = 0;
}

/* Adds the word W that stands at AT. */
static void run_add(struct run *r, struct fill *f, const struct word *w, const uint8_t *at)
{
	if (r->charset.n > 0 && (!span_eq_nocase(r->charset, w->charset) ||
	                         sizeof r->octets - r->n < w->text.n + DECODE_PENDING_MAX))
		run_end(r, f);
	if (r->charset.n == 0)
		r->source = span_of(at, 0);
	r->charset = w->charset;
	r->n += word_octets(w, r->octets + r->n);
	r->source.n = (size_t)(at - r->source.p) + w->n;
}

/* Where the next "=?" stands, or the end. */
static size_t plain_size(struct span s)
{
	size_t n = 0;

	while (n < s.n) {
		const uint8_t *at = memchr(s.p + n, '=', s.n - n);

		if (at == NULL)
			return s.n;
		n = (size_t)(at - s.p);
		if (n + 1 < s.n && at[1] == '?')
			return n;
		n++;
	}
	return s.n;
}

int decode_words(struct span text, char *out, size_t cap, struct span *result)
{
	struct fill f = fill_into(out, cap);
	struct run run = { .n = 0 };

	lex_skip_blank(&text);
	text = lex_trim_end(text);
	while (text.n > 0 && !f.cut) {
		struct span plain = span_of(text.p, plain_size(text)), blanks = plain;
		struct word w;
		bool is_word;

		text = span_after(text, plain.n);
		is_word = take_word(text, &w);
		if (text.n > 0 && !is_word)
			plain.n += 2;
		lex_skip_blank(&blanks);
		/* Only blanks between two words are dropped. */
		if (!is_word || blanks.n > 0 || run.charset.n == 0) {
			run_end(&run, &f);
			fill_plain(&f, plain);
		}
		if (is_word)
			run_add(&run, &f, &w, text.p);
		text = span_after(text, is_word ? w.n : text.n > 0 ? 2 : 0);
	}
	run_end(&run, &f);
	return fill_end(&f, result);
}
