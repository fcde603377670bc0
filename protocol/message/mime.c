/*
 * The MIME parser: a state machine over lines.
 *
 *   IN_HEADER  the innermost open part's header; body_at and end_at are not known.
 *   IN_BODY    the innermost open part is a leaf in its body, or a multipart in
 *              front of its first boundary or behind its last one.
 *
 * In both, a line that begins with "--" may be a boundary of any open multipart;
 * nothing else is compared. All open parts but the innermost are multiparts and
 * messages.
 */
#include "message/mime.h"

#include "base/err.h"
#include "message/decode.h"
#include "message/lex.h"
#include "message/param.h"

enum state { IN_HEADER, IN_BODY };
enum field { FIELD_OTHER, FIELD_TYPE, FIELD_ENCODING };

static struct mime_level *innermost(struct mime_parser *p)
{
	return &p->level[p->depth - 1];
}

/* Opens a part whose header begins at AT; the caller saw to it that there is room. */
static void open_part(struct mime_parser *p, uint64_t at, uint16_t parent, bool digest)
{
	struct mime_part *part = &p->parts[p->n];
	struct mime_level *level = &p->level[p->depth++];

	*part = (struct mime_part){
		.header_at = at, .parent = parent, .kind = MIME_LEAF,
		.flags = digest ? MIME_DIGEST : 0,
	};
	level->part = (uint16_t)p->n++;
	level->boundary_n = 0;
	level->digest = false;
	p->state = IN_HEADER;
	p->field = FIELD_OTHER;
	p->have_type = p->have_encoding = false;
	p->type_n = p->encoding_n = 0;
}

void mime_begin(struct mime_parser *p, struct mime_part *parts, size_t cap)
{
	p->parts = parts;
	p->cap = cap;
	p->n = 0;
	p->at = p->line_at = p->line_feeds = 0;
	p->line_n = 0;
	p->eol = 0;
	p->blank = p->last_cr = p->merged = false;
	p->depth = 0;
	open_part(p, 0, MIME_PARENT_NONE, false);
}

/* Adds octets of a field's value to its buffer; what does not fit is not looked at. */
static void collect(uint8_t *buffer, size_t cap, size_t *n, struct span s)
{
	size_t room = cap - *n;

	if (s.n < room)
		room = s.n;
	if (room > 0)
		memcpy(buffer + *n, s.p, room);
	*n += room;
}

/* Whether LINE is the field NAME; *VALUE is what stands behind the colon. */
static bool is_field(struct span line, const char *name, struct span *value)
{
	size_t n = strlen(name);

	if (line.n <= n || !span_eq_nocase(span_of(line.p, n), span_of(name, n)))
		return false;
	while (n < line.n && (line.p[n] == ' ' || line.p[n] == '\t'))
		n++;
	if (n == line.n || line.p[n] != ':')
		return false;
	*value = span_after(line, n + 1);
	return true;
}

/* A line of a header that is not its end. The first of each field counts. */
static void header_line(struct mime_parser *p, struct span line)
{
	struct span value = line;

	if (line.p[0] != ' ' && line.p[0] != '\t') {
		p->field = FIELD_OTHER;
		if (!p->have_type && is_field(line, "content-type", &value)) {
			p->field = FIELD_TYPE;
			p->have_type = true;
		} else if (!p->have_encoding &&
		           is_field(line, "content-transfer-encoding", &value)) {
			p->field = FIELD_ENCODING;
			p->have_encoding = true;
		}
	}
	if (p->field == FIELD_TYPE)
		collect(p->type, sizeof p->type, &p->type_n, value);
	else if (p->field == FIELD_ENCODING)
		collect(p->encoding, sizeof p->encoding, &p->encoding_n, value);
}

/* What the header's fields say that the part is. */
static enum mime_kind said_kind(const struct mime_parser *p, struct param_type *type)
{
	bool digest = (p->parts[p->n - 1].flags & MIME_DIGEST) != 0;

	if (!p->have_type || param_parse_type(span_of(p->type, p->type_n), type) != 0)
		return !p->have_type && digest ? MIME_MESSAGE : MIME_LEAF;
	if (span_eq_nocase(type->type, span_str("multipart")))
		return MIME_MULTIPART;
	if (span_eq_nocase(type->type, span_str("message")) &&
	    (span_eq_nocase(type->subtype, span_str("rfc822")) ||
	     span_eq_nocase(type->subtype, span_str("global"))))
		return MIME_MESSAGE;
	return MIME_LEAF;
}

/* An encoded message (RFC 2046 section 5.2.1 forbids it) shows no structure. */
static bool is_encoded(const struct mime_parser *p)
{
	struct span token, rest;

	return p->have_encoding &&
	       param_parse_token(span_of(p->encoding, p->encoding_n), &token, &rest) == 0 &&
	       decode_encoding_of(token) != DECODE_PLAIN;
}

/* Makes LEVEL look for the boundary that TYPE names. False when there is no usable one. */
static bool set_boundary(struct mime_level *level, const struct param_type *type)
{
	char text[MIME_BOUNDARY_MAX + 1];
	struct span boundary;

	if (param_get(type->params, "boundary", text, sizeof text, &boundary) != 0)
		return false;
	boundary = lex_trim_end(boundary);
	if (boundary.n == 0)
		return false;
	memcpy(level->boundary, boundary.p, boundary.n);
	level->boundary_n = (uint8_t)boundary.n;
	level->digest = span_eq_nocase(type->subtype, span_str("digest"));
	return true;
}

/* The header is over; the body begins at AT, behind LINE_FEEDS. May open the message inside. */
static void end_header(struct mime_parser *p, uint64_t at, uint64_t line_feeds)
{
	struct mime_level *level = innermost(p);
	struct mime_part *part = &p->parts[level->part];
	struct param_type type;
	enum mime_kind kind = said_kind(p, &type);

	part->body_at = at;
	level->line_feeds = line_feeds;
	p->state = IN_BODY;
	if (kind == MIME_LEAF)
		return;
	if (p->depth == MIME_DEPTH || p->merged || (kind == MIME_MESSAGE && is_encoded(p))) {
		part->flags |= MIME_OPAQUE;
	} else if (kind == MIME_MULTIPART) {
		if (set_boundary(level, &type))
			part->kind = MIME_MULTIPART;
	} else if (p->n == p->cap) {
		p->merged = true;
		p->parts[0].flags |= MIME_CUT;
		part->flags |= MIME_OPAQUE;
	} else {
		part->kind = MIME_MESSAGE;
		open_part(p, at, level->part, false);
	}
}

/* Ends headers at AT that have no empty line: the innermost, and of a message in it. */
static void end_headers(struct mime_parser *p, uint64_t at)
{
	while (p->state == IN_HEADER)
		end_header(p, at, p->line_feeds);
}

/*
 * Closes the parts inside of the DEPTH outermost. Their bodies end at END_AT; LINES_AT
 * counts the lines before it.
 */
static void close_parts(struct mime_parser *p, unsigned depth, uint64_t end_at, uint64_t lines_at)
{
	while (p->depth > depth) {
		struct mime_level *level = innermost(p);
		struct mime_part *part = &p->parts[level->part];
		uint64_t lines = lines_at > level->line_feeds ? lines_at - level->line_feeds : 0;

		/* An empty line that ends the header stays the header's, though a boundary follows;
		 * then what the part stands in reaches as far. */
		if (end_at < part->body_at)
			end_at = part->body_at;
		part->end_at = end_at;
		part->lines = lines > UINT32_MAX ? UINT32_MAX : (uint32_t)lines;
		if (part->kind == MIME_MULTIPART && level->part + 1u == p->n) {
			/* No child followed it: no boundary was found, or there was no room. */
			part->kind = MIME_LEAF;
			part->flags |= p->merged ? MIME_OPAQUE : 0;
		}
		p->depth--;
	}
}

/* The open multipart whose boundary LINE is, as the depth it makes innermost; 0: of none. */
static unsigned find_boundary(const struct mime_parser *p, struct span line, bool *last)
{
	unsigned found = 0;
	size_t best = 0;

	for (unsigned depth = p->depth; depth > 0; depth--) {
		const struct mime_level *level = &p->level[depth - 1];
		size_t n = level->boundary_n;

		if (n <= best || n + 2 > line.n || memcmp(line.p + 2, level->boundary, n) != 0)
			continue;
		best = n;
		found = depth;
	}
	line = span_after(line, best + 2);
	*last = line.n >= 2 && line.p[0] == '-' && line.p[1] == '-';
	return found;
}

/* A boundary of the multipart at DEPTH stands at line_at; the line after it begins at NEXT. */
static void take_boundary(struct mime_parser *p, unsigned depth, bool last, uint64_t next)
{
	struct mime_level *level = &p->level[depth - 1];
	uint16_t part = level->part;

	end_headers(p, p->line_at);
	if (!last && p->n == p->cap) {
		p->merged = true;
		p->parts[0].flags |= MIME_CUT;
	}
	if (p->merged)
		return;
	/* The line end before the boundary belongs to it; an empty line then was none of the body. */
	close_parts(p, depth, p->line_at - p->eol, p->line_feeds - (p->blank ? 1 : 0));
	if (last) {
		level->boundary_n = 0;
		p->state = IN_BODY;
	} else {
		open_part(p, next, part, level->digest);
	}
}

/*
 * A whole line: HEAD are its first octets (MIME_LINE_MAX at most), N all of them without the
 * line end of EOL octets.
 */
static void take_line(struct mime_parser *p, struct span head, uint64_t n, unsigned eol)
{
	uint64_t next = p->line_at + n + eol;
	unsigned depth = 0;
	bool last = false;

	if (!p->merged && head.n > 2 && head.p[0] == '-' && head.p[1] == '-')
		depth = find_boundary(p, head, &last);
	if (depth > 0)
		take_boundary(p, depth, last, next);
	else if (p->state == IN_HEADER && n == 0)
		end_header(p, next, p->line_feeds + 1);
	else if (p->state == IN_HEADER)
		header_line(p, head);
	p->line_feeds += eol > 0;
	p->line_at = next;
	p->line_n = 0;
	p->eol = (uint8_t)eol;
	p->blank = n == 0;
}

static bool maybe_boundary(const uint8_t *line, const uint8_t *end)
{
	return line[0] == '-' && end - line > 1 && line[1] == '-';
}

/*
 * Goes over whole lines of a body that cannot be boundaries, from the beginning of a line.
 * Returns the octets gone over. This is where the octets of attachments go by.
 */
static size_t skip_lines(struct mime_parser *p, struct span data)
{
	const uint8_t *line = data.p, *end = data.p + data.n, *lf;
	const uint8_t *before = line; /* the beginning of the last line gone over */
	uint64_t count = 0;

	while (line < end && !maybe_boundary(line, end)) {
		lf = memchr(line, '\n', (size_t)(end - line));
		if (lf == NULL)
			break;
		count++;
		before = line;
		line = lf + 1;
	}
	if (count > 0) {
		size_t n = (size_t)(line - before) - 1;

		p->eol = n > 0 && before[n - 1] == '\r' ? 2 : 1;
		p->blank = n + 1 == p->eol;
		p->line_feeds += count;
		p->at += (size_t)(line - data.p);
		p->line_at = p->at;
	}
	return (size_t)(line - data.p);
}

/* Holds octets of a line whose end was not seen. */
static void hold(struct mime_parser *p, struct span data)
{
	collect(p->line, sizeof p->line, &p->line_n, data);
	p->at += data.n;
	p->last_cr = data.p[data.n - 1] == '\r';
}

/* The line in hand ends with the LF that is DATA's octet N. */
static void end_line(struct mime_parser *p, struct span data, size_t n)
{
	bool begins_here = p->at == p->line_at;
	bool cr = n > 0 ? data.p[n - 1] == '\r' : !begins_here && p->last_cr;
	unsigned eol = cr ? 2 : 1;
	uint64_t size = p->at - p->line_at + n + 1 - eol;
	struct span head = span_of(data.p, n);

	p->at += n + 1;
	if (!begins_here) {
		collect(p->line, sizeof p->line, &p->line_n, head);
		head = span_of(p->line, p->line_n);
	}
	if (head.n > MIME_LINE_MAX)
		head.n = MIME_LINE_MAX;
	if (head.n > size)
		head.n = (size_t)size;
	take_line(p, head, size, eol);
}

void mime_feed(struct mime_parser *p, struct span data)
{
	while (data.n > 0) {
		const uint8_t *lf;

		if (p->at == p->line_at && (p->state == IN_BODY || p->merged)) {
			data = span_after(data, skip_lines(p, data));
			if (data.n == 0)
				return;
		}
		lf = memchr(data.p, '\n', data.n);
		if (lf == NULL) {
			hold(p, data);
			return;
		}
		end_line(p, data, (size_t)(lf - data.p));
		data = span_after(data, (size_t)(lf - data.p) + 1);
	}
}

size_t mime_end(struct mime_parser *p)
{
	if (p->at > p->line_at) {
		take_line(p, span_of(p->line, p->line_n), p->at - p->line_at, 0);
		p->line_feeds++; /* a last line without its end counts */
	}
	end_headers(p, p->at);
	close_parts(p, 0, p->at, p->line_feeds);
	return p->n;
}

/* --- before the end ---------------------------------------------------------------------- */

/* Whether part INDEX, the last of ROOM, cannot be told yet: its header goes on, or it holds parts
 * of which none was seen. */
static bool is_undecided(const struct mime_parser *p, const struct mime_part *room, size_t index)
{
	size_t innermost_part = p->level[p->depth - 1].part;

	if (p->state == IN_HEADER && index == innermost_part)
		return true;
	return room[index].kind != MIME_LEAF;
}

size_t mime_so_far(const struct mime_parser *p, uint64_t size, struct mime_part *room)
{
	uint64_t end = size;
	size_t n = p->n;

	/* The outermost multipart and what it stands in can end nowhere but at the message's end. */
	memcpy(room, p->parts, n * sizeof *room);
	for (unsigned i = 0; i < p->depth; i++) {
		room[p->level[i].part].end_at = end;
		if (p->level[i].boundary_n > 0 && !p->merged)
			end = UINT64_MAX;
	}
	while (n > 0 && is_undecided(p, room, n - 1))
		n--;
	return n;
}

int mime_section_so_far(const struct mime_parser *p, uint64_t size, struct mime_part *room,
                        struct span section, uint64_t *at, uint64_t *length)
{
	int rc;

	mime_so_far(p, size, room);
	if (p->state == IN_HEADER)
		room[p->level[p->depth - 1].part].body_at = UINT64_MAX;
	rc = mime_section(room, p->n, section, at, length);
	if (rc == ERR_MALFORMED)
		return rc;
	return rc != 0 || p->at >= size || *at > p->at || *length > size - *at ? ERR_AGAIN : 0;
}
