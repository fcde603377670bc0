/* BODYSTRUCTURE and ENVELOPE text from a table of parts and their headers. */
#include "message/bodystructure.h"

#include "base/err.h"
#include "message/addrlist.h"
#include "message/decode_safe.h"
#include "message/fill.h"
#include "message/header.h"
#include "message/lex.h"
#include "message/param.h"

struct writer_state {
	const struct mime_part *parts;
	size_t n;
	bodystructure_read read;
	void *ctx;
	struct fill out;
	struct span header; /* of the part whose header was read last, in BUFFER */
	uint8_t buffer[BODYSTRUCTURE_HEADER_MAX];
};

static int load_header(struct writer_state *w, const struct mime_part *part)
{
	uint64_t size = part->body_at - part->header_at;
	size_t n = size < sizeof w->buffer ? (size_t)size : sizeof w->buffer;
	int rc = n == 0 ? 0 : w->read(w->ctx, part->header_at, w->buffer, n);

	w->header = span_of(w->buffer, n);
	if (size > n)
		w->header = header_whole_fields(w->header);
	return rc;
}

/* One octet or character of a quoted string, from the front of S; returns its octets in S. */
static size_t put_char(struct fill *f, struct span s, bool upper)
{
	uint8_t c = s.p[0];

	if (c == '"' || c == '\\')
		fill_octet(f, '\\');
	if (c == '\0' || c == '\r' || c == '\n') {
		fill_octet(f, ' ');
		return 1;
	}
	if (upper && c >= 'a' && c <= 'z') {
		fill_octet(f, (uint8_t)(c - ('a' - 'A')));
		return 1;
	}
	return decode_safe_char(f, s, true);
}

static void put_quoted(struct fill *f, struct span s, bool upper)
{
	fill_octet(f, '"');
	while (s.n > 0 && !f->cut)
		s = span_after(s, put_char(f, s, upper));
	fill_octet(f, '"');
}

/* A quoted string, or NIL when S is empty. */
static void put_string(struct fill *f, struct span s)
{
	if (s.n == 0)
		fill_str(f, "NIL");
	else
		put_quoted(f, s, false);
}

/* A field's value, unfolded, or NIL. Line ends and blanks around them are one space. */
static void put_value(struct fill *f, struct span value)
{
	lex_skip_blank(&value);
	value = lex_trim_end(value);
	if (value.n == 0) {
		fill_str(f, "NIL");
		return;
	}
	fill_octet(f, '"');
	while (value.n > 0 && !f->cut) {
		if (value.p[0] == '\n' || (value.p[0] == '\r' && value.n > 1 && value.p[1] == '\n'))
			value = span_after(value, 1);
		else
			value = span_after(value, put_char(f, value, false));
	}
	fill_octet(f, '"');
}

static void put_field(struct writer_state *w, const char *name)
{
	struct header_field field;

	if (header_find(w->header, name, &field) == 0)
		put_value(&w->out, field.value);
	else
		fill_str(&w->out, "NIL");
}

static void put_number(struct fill *f, uint64_t v)
{
	char digits[20];
	size_t n = 0;

	do {
		digits[n++] = (char)('0' + v % 10);
		v /= 10;
	} while (v > 0);
	while (n > 0)
		fill_octet(f, (uint8_t)digits[--n]);
}

/* The inside of a parameter's value; a quoted string's backslashes are the same in IMAP's. */
static void put_param_value(struct fill *f, const struct param *p)
{
	struct span v = p->value;

	fill_octet(f, '"');
	while (v.n > 0 && !f->cut) {
		if (p->quoted && v.p[0] == '\\' && v.n > 1)
			v = span_after(v, 1);
		if (v.p[0] == '\n' || (v.p[0] == '\r' && v.n > 1 && v.p[1] == '\n'))
			v = span_after(v, 1);
		else
			v = span_after(v, put_char(f, v, false));
	}
	fill_octet(f, '"');
}

/* ("NAME" "value" ...), or NIL. Values stay encoded by RFC 2231 where they are. */
static void put_params(struct fill *f, struct span params)
{
	struct param_iter it;
	struct param p;
	bool any = false;

	param_begin(&it, params);
	while (param_next(&it, &p) && !f->cut) {
		fill_octet(f, any ? ' ' : '(');
		put_quoted(f, p.name, true);
		fill_octet(f, ' ');
		put_param_value(f, &p);
		any = true;
	}
	if (any)
		fill_octet(f, ')');
	else
		fill_str(f, "NIL");
}

/* ("INLINE" ("FILENAME" "x")), or NIL. */
static void put_disposition(struct writer_state *w)
{
	struct header_field field;
	struct span token, params;

	if (header_find(w->header, "Content-Disposition", &field) != 0 ||
	    param_parse_token(field.value, &token, &params) != 0) {
		fill_str(&w->out, "NIL");
		return;
	}
	fill_octet(&w->out, '(');
	put_quoted(&w->out, token, true);
	fill_octet(&w->out, ' ');
	put_params(&w->out, params);
	fill_octet(&w->out, ')');
}

/* A list of tags: one as a string, more as a list. */
static void put_language(struct writer_state *w)
{
	struct header_field field;
	struct span rest, token, first;
	unsigned count = 0;

	if (header_find(w->header, "Content-Language", &field) != 0 ||
	    param_parse_token(field.value, &first, &rest) != 0) {
		fill_str(&w->out, "NIL");
		return;
	}
	for (token = first;; count++) {
		(void)lex_skip_cfws(&rest);
		if (count == 0 && (rest.n == 0 || rest.p[0] != ',')) {
			put_quoted(&w->out, token, false);
			return;
		}
		fill_octet(&w->out, count == 0 ? '(' : ' ');
		put_quoted(&w->out, token, false);
		if (rest.n == 0 || rest.p[0] != ',' ||
		    param_parse_token(span_after(rest, 1), &token, &rest) != 0)
			break;
	}
	fill_octet(&w->out, ')');
}

/* disposition, language, location */
static void put_extension(struct writer_state *w)
{
	put_disposition(w);
	fill_octet(&w->out, ' ');
	put_language(w);
	fill_octet(&w->out, ' ');
	put_field(w, "Content-Location");
}

/* (name route mailbox host) of one address (RFC 9051 section 7.5.2, ENVELOPE). */
static void put_address(struct fill *f, const struct addrlist_entry *a)
{
	char text[1024];
	struct span s;

	fill_octet(f, '(');
	if (a->kind != ADDRLIST_MAILBOX) { /* a group: (NIL NIL "name" NIL) to (NIL NIL NIL NIL) */
		fill_str(f, "NIL NIL ");
		(void)addrlist_name(a, text, sizeof text, &s);
		put_string(f, a->kind == ADDRLIST_GROUP ? s : span_of(NULL, 0));
		fill_str(f, " NIL)");
		return;
	}
	(void)addrlist_name(a, text, sizeof text, &s);
	put_string(f, s);
	fill_octet(f, ' ');
	put_string(f, a->route);
	fill_octet(f, ' ');
	(void)addrlist_local(a, text, sizeof text, &s);
	put_quoted(f, s, false);
	fill_octet(f, ' ');
	(void)addrlist_domain(a, text, sizeof text, &s);
	put_quoted(f, s, false); /* never NIL: that would be a group */
	fill_octet(f, ')');
}

/* The addresses of all fields called NAME; false when there is none to write. */
static bool put_addresses(struct writer_state *w, const char *name)
{
	struct header_iter fields;
	struct header_field field;
	bool any = false;

	header_begin(&fields, w->header);
	while (header_next(&fields, &field) && !w->out.cut) {
		struct addrlist_iter it;
		struct addrlist_entry a;
		int rc;

		if (!span_eq_nocase(field.name, span_str(name)))
			continue;
		addrlist_begin(&it, field.value);
		while ((rc = addrlist_next(&it, &a)) != 0 && !w->out.cut) {
			if (rc < 0) /* a broken one is shown, as a name without an address */
				a = (struct addrlist_entry){ .name = a.whole };
			if (!any)
				fill_octet(&w->out, '(');
			put_address(&w->out, &a);
			any = true;
		}
	}
	if (any)
		fill_octet(&w->out, ')');
	return any;
}

/* The envelope of the header loaded. Sender and Reply-To are From's where they are missing. */
static void put_envelope(struct writer_state *w)
{
	static const struct {
		const char *name, *instead;
	} lists[] = { { "From", NULL }, { "Sender", "From" }, { "Reply-To", "From" },
		      { "To", NULL },   { "Cc", NULL },       { "Bcc", NULL } };

	fill_octet(&w->out, '(');
	put_field(w, "Date");
	fill_octet(&w->out, ' ');
	put_field(w, "Subject");
	for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
		fill_octet(&w->out, ' ');
		if (!put_addresses(w, lists[i].name) &&
		    (lists[i].instead == NULL || !put_addresses(w, lists[i].instead)))
			fill_str(&w->out, "NIL");
	}
	fill_octet(&w->out, ' ');
	put_field(w, "In-Reply-To");
	fill_octet(&w->out, ' ');
	put_field(w, "Message-ID");
	fill_octet(&w->out, ')');
}

static const struct param_type octet_stream = {
	.type = { (const uint8_t *)"APPLICATION", 11 },
	.subtype = { (const uint8_t *)"OCTET-STREAM", 12 },
};
static const struct param_type text_plain = {
	.type = { (const uint8_t *)"TEXT", 4 },
	.subtype = { (const uint8_t *)"PLAIN", 5 },
	.params = { (const uint8_t *)";CHARSET=US-ASCII", 17 },
};
static const struct param_type message_rfc822 = {
	.type = { (const uint8_t *)"MESSAGE", 7 },
	.subtype = { (const uint8_t *)"RFC822", 6 },
};

/* The type that PART is shown with: what the header loaded says, where that can be. */
static struct param_type shown_type(struct writer_state *w, const struct mime_part *part)
{
	struct header_field field;
	struct param_type type;

	if (part->flags & MIME_OPAQUE)
		return octet_stream;
	if (header_find(w->header, "Content-Type", &field) != 0 ||
	    param_parse_type(field.value, &type) != 0)
		return part->kind == MIME_MESSAGE ? message_rfc822 : text_plain;
	if (part->kind == MIME_MESSAGE)
		return span_eq_nocase(type.type, message_rfc822.type) ? type : message_rfc822;
	/* Only multiparts have the form of one, only messages that of one. */
	if (part->kind == MIME_LEAF && span_eq_nocase(type.type, span_str("multipart")))
		return text_plain;
	if (part->kind == MIME_LEAF && span_eq_nocase(type.type, message_rfc822.type) &&
	    (span_eq_nocase(type.subtype, message_rfc822.subtype) ||
	     span_eq_nocase(type.subtype, span_str("global"))))
		return octet_stream;
	return type;
}

/* type subtype params id description encoding octets, of a part that is no multipart */
static void put_basic(struct writer_state *w, const struct mime_part *part,
                      const struct param_type *type)
{
	struct header_field field;
	struct span encoding, rest;

	put_quoted(&w->out, type->type, true);
	fill_octet(&w->out, ' ');
	put_quoted(&w->out, type->subtype, true);
	fill_octet(&w->out, ' ');
	put_params(&w->out, type->params);
	fill_octet(&w->out, ' ');
	put_field(w, "Content-ID");
	fill_octet(&w->out, ' ');
	put_field(w, "Content-Description");
	fill_octet(&w->out, ' ');
	if (header_find(w->header, "Content-Transfer-Encoding", &field) != 0 ||
	    param_parse_token(field.value, &encoding, &rest) != 0)
		encoding = span_str("7BIT");
	put_quoted(&w->out, encoding, true);
	fill_octet(&w->out, ' ');
	put_number(&w->out, part->end_at - part->body_at);
}

static int put_part(struct writer_state *w, size_t index, size_t *next);

/* The children of part INDEX, then what the multipart says of itself. */
static int put_multipart(struct writer_state *w, size_t index, size_t *next)
{
	struct param_type type;
	int rc = 0;

	*next = index + 1;
	while (rc == 0 && *next < w->n && w->parts[*next].parent == index)
		rc = put_part(w, *next, next);
	if (rc == 0)
		rc = load_header(w, &w->parts[index]);
	if (rc != 0)
		return rc;
	type = shown_type(w, &w->parts[index]);
	fill_octet(&w->out, ' ');
	put_quoted(&w->out, type.subtype, true);
	fill_octet(&w->out, ' ');
	put_params(&w->out, type.params);
	fill_octet(&w->out, ' ');
	put_extension(w);
	return 0;
}

/* A message part: its own fields, the envelope and structure of what is inside, its lines. */
static int put_message(struct writer_state *w, size_t index, const struct param_type *type,
                       size_t *next)
{
	const struct mime_part *part = &w->parts[index];
	int rc;

	put_basic(w, part, type);
	fill_octet(&w->out, ' ');
	rc = load_header(w, &w->parts[index + 1]);
	if (rc != 0)
		return rc;
	put_envelope(w);
	fill_octet(&w->out, ' ');
	rc = put_part(w, index + 1, next);
	if (rc == 0)
		rc = load_header(w, part);
	fill_octet(&w->out, ' ');
	put_number(&w->out, part->lines);
	return rc;
}

/* Part INDEX; *NEXT is the part behind it and what stands in it. */
static int put_part(struct writer_state *w, size_t index, size_t *next)
{
	const struct mime_part *part = &w->parts[index];
	struct param_type type;
	int rc = 0;

	if (w->out.cut) /* nothing more will be written: do not read headers for it */
		return ERR_TOO_BIG;
	*next = index + 1;
	fill_octet(&w->out, '(');
	if (part->kind == MIME_MULTIPART) {
		rc = put_multipart(w, index, next);
		fill_octet(&w->out, ')');
		return rc;
	}
	rc = load_header(w, part);
	if (rc != 0)
		return rc;
	type = shown_type(w, part);
	if (part->kind == MIME_MESSAGE) {
		rc = put_message(w, index, &type, next);
		if (rc != 0)
			return rc;
	} else {
		put_basic(w, part, &type);
		if (span_eq_nocase(type.type, text_plain.type)) {
			fill_octet(&w->out, ' ');
			put_number(&w->out, part->lines);
		}
	}
	fill_str(&w->out, " NIL ");
	put_extension(w);
	fill_octet(&w->out, ')');
	return 0;
}

int bodystructure_write(const struct mime_part *parts, size_t n, bodystructure_read read,
                        void *ctx, char *out, size_t cap, size_t *used)
{
	struct writer_state w; /* member by member: zeroing the buffer would cost more than the rest */
	size_t next;
	int rc;

	w.parts = parts;
	w.n = n;
	w.read = read;
	w.ctx = ctx;
	w.header = span_of(NULL, 0);
	w.out = fill_into(out, cap);
	rc = put_part(&w, 0, &next);
	*used = w.out.n;
	return rc != 0 ? rc : fill_end(&w.out, NULL);
}
