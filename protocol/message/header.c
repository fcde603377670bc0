/* Header fields by offsets. */
#include "message/header.h"

#include "base/err.h"

/* Octets of the first line of S with its line end. */
static size_t line_size(struct span s)
{
	const uint8_t *lf = s.n == 0 ? NULL : memchr(s.p, '\n', s.n);

	return lf == NULL ? s.n : (size_t)(lf - s.p) + 1;
}

/* Whether S begins with a line end: octets of it, 0 if not. */
static size_t empty_line(struct span s)
{
	if (s.n >= 1 && s.p[0] == '\n')
		return 1;
	return s.n >= 2 && s.p[0] == '\r' && s.p[1] == '\n' ? 2 : 0;
}

static bool is_blank(uint8_t c)
{
	return c == ' ' || c == '\t';
}

/* Octets of the field at the beginning of S: its first line and all that continue it. */
static size_t field_size(struct span s)
{
	size_t n = line_size(s);

	while (n < s.n && is_blank(s.p[n]))
		n += line_size(span_after(s, n));
	return n;
}

/* LINE's name, up to the colon at *COLON; false when it has none. */
static bool field_name(struct span line, struct span *name, size_t *colon)
{
	size_t n = 0, end;

	while (n < line.n && line.p[n] > ' ' && line.p[n] < 127 && line.p[n] != ':')
		n++;
	end = n;
	while (n < line.n && is_blank(line.p[n])) /* obsolete syntax: "Subject : x" */
		n++;
	if (end == 0 || n == line.n || line.p[n] != ':')
		return false;
	*name = span_of(line.p, end);
	*colon = n;
	return true;
}

static struct span without_line_end(struct span s)
{
	if (s.n > 0 && s.p[s.n - 1] == '\n') {
		s.n--;
		if (s.n > 0 && s.p[s.n - 1] == '\r')
			s.n--;
	}
	return s;
}

void header_begin(struct header_iter *it, struct span header)
{
	it->rest = header;
}

bool header_next(struct header_iter *it, struct header_field *out)
{
	size_t n, colon = 0;

	if (it->rest.n == 0 || empty_line(it->rest) > 0)
		return false;
	n = field_size(it->rest);
	out->whole = span_of(it->rest.p, n);
	it->rest = span_after(it->rest, n);
	out->value = without_line_end(out->whole);
	out->name = span_of(NULL, 0);
	if (field_name(out->value, &out->name, &colon))
		out->value = span_after(out->value, colon + 1);
	return true;
}

int header_find(struct span header, const char *name, struct header_field *out)
{
	struct span wanted = span_str(name);
	struct header_iter it;

	header_begin(&it, header);
	while (header_next(&it, out))
		if (span_eq_nocase(out->name, wanted))
			return 0;
	return ERR_NOT_FOUND;
}

int header_unfold(struct span value, char *out, size_t cap, struct span *result)
{
	size_t n = 0;
	bool whole = true;

	while (value.n > 0 && (is_blank(value.p[0]) || empty_line(value) > 0))
		value = span_after(value, 1);
	while (value.n > 0 && (value.p[value.n - 1] <= ' '))
		value.n--;
	for (size_t i = 0; i < value.n; i++) {
		uint8_t c = value.p[i];

		if (empty_line(span_after(value, i)) > 0) /* the CR, then the LF */
			continue;
		if (n + 1 >= cap) {
			whole = false;
			break;
		}
		out[n++] = c == '\0' || c == '\r' ? ' ' : (char)c;
	}
	if (cap > 0)
		out[n] = '\0';
	*result = span_of(out, n);
	return whole ? 0 : ERR_TOO_BIG;
}

size_t header_size(struct span message)
{
	size_t at = 0;

	while (at < message.n) {
		size_t end = empty_line(span_after(message, at));

		if (end > 0)
			return at + end;
		at += line_size(span_after(message, at));
	}
	return message.n;
}

struct span header_whole_fields(struct span cut)
{
	struct header_iter it;
	struct header_field f;
	size_t last = 0;

	header_begin(&it, cut);
	while (header_next(&it, &f))
		last = (size_t)(f.whole.p - cut.p);
	/* The iterator stopped at an empty line: all before it is whole. */
	return it.rest.n > 0 ? cut : span_of(cut.p, last);
}
