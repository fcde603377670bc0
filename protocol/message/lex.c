/* Pieces of structured header fields. */
#include "message/lex.h"

void lex_skip_blank(struct span *s)
{
	size_t n = 0;

	while (n < s->n && lex_is_blank(s->p[n]))
		n++;
	*s = span_after(*s, n);
}

bool lex_comment(struct span *s, struct span *inside)
{
	size_t depth = 0;

	for (size_t n = 0; n < s->n; n++) {
		uint8_t c = s->p[n];

		if (c == '\\')
			n++;
		else if (c == '(')
			depth++;
		else if (c == ')' && --depth == 0) {
			*inside = span_of(s->p + 1, n - 1);
			*s = span_after(*s, n + 1);
			return true;
		}
	}
	*inside = span_after(*s, 1);
	*s = span_of(NULL, 0);
	return false;
}

bool lex_quoted(struct span *s, struct span *inside)
{
	for (size_t n = 1; n < s->n; n++) {
		if (s->p[n] == '\\') {
			n++;
		} else if (s->p[n] == '"') {
			*inside = span_of(s->p + 1, n - 1);
			*s = span_after(*s, n + 1);
			return true;
		}
	}
	*inside = span_after(*s, 1);
	*s = span_of(NULL, 0);
	return false;
}

bool lex_skip_cfws(struct span *s)
{
	struct span inside;

	for (;;) {
		lex_skip_blank(s);
		if (s->n == 0 || s->p[0] != '(')
			return true;
		if (!lex_comment(s, &inside))
			return false;
	}
}

struct span lex_trim_end(struct span s)
{
	while (s.n > 0 && lex_is_blank(s.p[s.n - 1]))
		s.n--;
	return s;
}

void lex_fill_unquoted(struct fill *f, struct span inside)
{
	for (size_t i = 0; i < inside.n; i++) {
		uint8_t c = inside.p[i];

		if (c == '\\' && i + 1 < inside.n)
			c = inside.p[++i];
		if (c == '\n' || (c == '\r' && i + 1 < inside.n && inside.p[i + 1] == '\n'))
			continue;
		fill_octet(f, c);
	}
}
