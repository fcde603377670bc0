#include "mua-agent/prepare.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/random.h"
#include "base/text.h"
#include "message/addrlist.h"
#include "message/decode.h"
#include "message/digest.h"
#include "message/header.h"

#define CHUNK ((size_t)64 << 10) /* octets read at once */

/* --- reading ------------------------------------------------------------------------------ */

struct input {
	int fd;
	const char *name;
	struct err_text *e;
};

/* Up to CHUNK octets into BUF: how many, 0 at the end, or an error. */
static ssize_t read_chunk(struct input *in, uint8_t *buf)
{
	ssize_t n;

	do {
		n = read(in->fd, buf, CHUNK);
	} while (n < 0 && errno == EINTR);
	return n >= 0 ? n : err_set(in->e, ERR_IO, "read %s: %s", in->name, strerror(errno));
}

/* Where the body begins in RAW, looked for from FROM on; 0: the empty line is not there yet. */
static size_t header_end(struct span raw, size_t from)
{
	const uint8_t *p = raw.p + from, *end = raw.p + raw.n, *next;

	if (from == 0 && raw.n > 0 && raw.p[0] == '\n') {
		return 1;
	}
	if (from == 0 && raw.n > 1 && raw.p[0] == '\r' && raw.p[1] == '\n') {
		return 2;
	}
	while ((p = memchr(p, '\n', (size_t)(end - p))) != NULL) {
		next = p + 1;
		if (next < end && *next == '\n') {
			return (size_t)(next + 1 - raw.p);
		}
		if (end - next > 1 && next[0] == '\r' && next[1] == '\n') {
			return (size_t)(next + 2 - raw.p);
		}
		p = next;
	}
	return 0;
}

/* Reads the header, and what of the body came with it, into RAW. *HEADER: octets of the header. */
static int read_header(struct input *in, struct buf *raw, size_t *header)
{
	size_t seen = 0;
	uint8_t *at;

	for (;;) {
		ssize_t n;

		if (buf_reserve(raw, CHUNK, &at) != 0) {
			return err_set(in->e, ERR_NOMEM, "read %s: out of memory", in->name);
		}
		if ((n = read_chunk(in, at)) < 0) {
			return (int)n;
		}
		buf_commit(raw, (size_t)n);
		*header = n == 0 ? raw->n : header_end(buf_view(raw), seen > 2 ? seen - 2 : 0);
		if (*header > PREPARE_HEADER_MAX || (*header == 0 && raw->n > PREPARE_HEADER_MAX)) {
			return err_set(in->e, ERR_TOO_BIG,
			               "the header of %s is longer than 1 MiB: is it a message?",
			               in->name);
		}
		if (n == 0 || *header > 0) {
			return 0;
		}
		seen = raw->n;
	}
}

/* --- line ends ---------------------------------------------------------------------------- */

/* Adds DATA with CRLF for each bare LF; *CR: whether the octet before DATA was a CR. */
static int add_lines(struct buf *out, struct span data, bool *cr)
{
	while (data.n > 0) {
		const uint8_t *lf = memchr(data.p, '\n', data.n);
		size_t n = lf == NULL ? data.n : (size_t)(lf - data.p);
		int r = buf_add(out, data.p, n);

		if (n > 0) {
			*cr = data.p[n - 1] == '\r';
		}
		data = span_after(data, n);
		if (r == 0 && lf != NULL) {
			r = buf_add_str(out, *cr ? "\n" : "\r\n");
			*cr = false;
			data = span_after(data, 1);
		}
		if (r != 0) {
			return r;
		}
	}
	return 0;
}

static bool has_bare_lf(struct span s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\n' && (i == 0 || s.p[i - 1] != '\r')) {
			return true;
		}
	}
	return false;
}

/* --- the header --------------------------------------------------------------------------- */

/* The header as it is submitted, of RAW, without its empty line. */
static int copy_header(struct buf *out, struct span raw)
{
	struct header_field field;
	struct header_iter it;
	bool first = true, cr;
	int r = 0;

	header_begin(&it, raw);
	while (r == 0 && header_next(&it, &field)) {
		bool mbox = first && field.name.n == 0 && field.whole.n > 5 &&
		            memcmp(field.whole.p, "From ", 5) == 0;

		/* A CR alone at the end of all: half of the empty line, which is added anyway. */
		bool half = field.whole.n == 1 && field.whole.p[0] == '\r';

		first = false;
		if (mbox || half || span_eq_nocase(field.name, span_str("Bcc"))) {
			continue;
		}
		cr = false;
		if ((r = add_lines(out, field.whole, &cr)) == 0 &&
		    field.whole.p[field.whole.n - 1] != '\n') {
			r = buf_add_str(out, cr ? "\n" : "\r\n");
		}
	}
	return r;
}

static const char *safe(struct span text, char out[200])
{
	struct span view;

	decode_safe_text(text, out, 200, &view);
	return out;
}

static int take_sender(struct prepared *p, const char *name, struct span raw, struct err_text *e)
{
	struct addrlist_iter it;
	struct addrlist_entry a;
	struct header_field field;
	char shown[200];
	int r;

	if (header_find(raw, "From", &field) != 0) {
		return err_set(e, ERR_MALFORMED, "%s has no From field: add one (RFC 5322)", name);
	}
	addrlist_begin(&it, field.value);
	do {
		r = addrlist_next(&it, &a);
	} while (r == 1 && a.kind != ADDRLIST_MAILBOX);
	if (r != 1 || addrlist_mailbox(&a, &p->sender) != 0) {
		return err_set(e, ERR_MALFORMED, "From of %s: \"%s\" is no mailbox", name,
		               safe(r == 0 ? field.value : a.whole, shown));
	}
	return 0;
}

int prepare_add_recipient(struct mailbox **list, size_t *n, const struct mailbox *m)
{
	struct mailbox *grown;

	for (size_t i = 0; i < *n; i++) {
		if (mailbox_eq(&(*list)[i], m)) {
			return 0;
		}
	}
	/* Grown when its length is a power of two. */
	if ((*n & (*n - 1)) == 0) {
		if ((grown = realloc(*list, (*n == 0 ? 1 : *n * 2) * sizeof *grown)) == NULL) {
			return ERR_NOMEM;
		}
		*list = grown;
	}
	(*list)[(*n)++] = *m;
	return 0;
}

/* The recipients that one field names. */
static int take_list(struct prepared *p, const char *name, const struct header_field *field,
                     struct err_text *e)
{
	struct addrlist_iter it;
	struct addrlist_entry a;
	struct mailbox m;
	char shown[200];
	int r;

	addrlist_begin(&it, field->value);
	while ((r = addrlist_next(&it, &a)) != 0) {
		if (r == 1 && a.kind != ADDRLIST_MAILBOX) {
			continue;
		}
		if (r != 1 || addrlist_mailbox(&a, &m) != 0) {
			return err_set(e, ERR_MALFORMED,
			               "%.*s of %s: \"%s\" is no mailbox; nothing was sent",
			               (int)field->name.n, (const char *)field->name.p, name,
			               safe(a.whole, shown));
		}
		if (prepare_add_recipient(&p->recipients, &p->n_recipients, &m) != 0) {
			return err_set(e, ERR_NOMEM, "out of memory");
		}
	}
	return 0;
}

static int take_recipients(struct prepared *p, const char *name, struct span raw,
                           struct err_text *e)
{
	struct header_field field;
	struct header_iter it;
	int r = 0;

	header_begin(&it, raw);
	while (r == 0 && header_next(&it, &field)) {
		if (span_eq_nocase(field.name, span_str("To")) ||
		    span_eq_nocase(field.name, span_str("Cc")) ||
		    span_eq_nocase(field.name, span_str("Bcc"))) {
			r = take_list(p, name, &field, e);
		}
	}
	return r;
}

static int take_header(struct prepared *p, const char *name, struct span raw, bool addressed,
                       struct err_text *e)
{
	struct header_field field;
	struct span view;
	int r;

	if ((r = take_sender(p, name, raw, e)) != 0 ||
	    (addressed && (r = take_recipients(p, name, raw, e)) != 0)) {
		return r;
	}
	if (header_find(raw, "Subject", &field) == 0) {
		decode_safe_words(field.value, p->subject, sizeof p->subject, &view);
	}
	if ((r = copy_header(&p->header, raw)) != 0 || (r = buf_add_str(&p->header, "\r\n")) != 0) {
		return err_set(e, r, "read %s: %s", name, err_phrase(r));
	}
	return 0;
}

/* --- the body ----------------------------------------------------------------------------- */

struct copying {
	struct prepared *p;
	struct input *in;
	struct digest_tree digest;
	bool convert, cr;
	struct buf lines;
};

static int copy_octets(struct copying *c, struct span data)
{
	struct err_text *e = c->in->e;
	int r = 0;

	if (c->convert) {
		buf_consume(&c->lines, c->lines.n);
		if ((r = add_lines(&c->lines, data, &c->cr)) != 0) {
			return err_set(e, r, "read %s: %s", c->in->name, err_phrase(r));
		}
		data = buf_view(&c->lines);
	}
	if ((r = spool_write(c->p->body.fd, data, e)) != 0) {
		return err_prefix(e, r, "copy %s to the data directory", c->in->name);
	}
	c->p->body_octets += data.n;
	return (r = digest_update(&c->digest, data)) == 0 ? 0 : err_set(e, r, "%s", err_phrase(r));
}

static int copy_body(struct copying *c, struct span first)
{
	uint8_t *chunk = malloc(CHUNK);
	ssize_t n;
	int r;

	if (chunk == NULL) {
		return err_set(c->in->e, ERR_NOMEM, "out of memory");
	}
	r = copy_octets(c, first);
	while (r == 0 && (n = read_chunk(c->in, chunk)) != 0) {
		r = n < 0 ? (int)n : copy_octets(c, span_of(chunk, (size_t)n));
	}
	free(chunk);
	return r;
}

/* Header and body of P from what IN has; RAW holds the header and the body's first octets. */
static int take_message(struct prepared *p, struct input *in, struct span raw, size_t header,
                        bool addressed)
{
	struct copying c = { .p = p, .in = in, .convert = has_bare_lf(span_of(raw.p, header)) };
	int r = take_header(p, in->name, span_of(raw.p, header), addressed, in->e);

	if (r != 0) {
		return r;
	}
	buf_init(&c.lines, 0);
	if ((r = digest_init(&c.digest, NULL, NULL)) != 0 ||
	    (r = digest_update(&c.digest, buf_view(&p->header))) != 0) {
		err_set(in->e, r, "%s", err_phrase(r));
	} else if ((r = copy_body(&c, span_after(raw, header))) == 0) {
		p->size = p->header.n + p->body_octets;
		if ((r = digest_final(&c.digest, p->digest)) != 0) {
			err_set(in->e, r, "%s", err_phrase(r));
		}
	}
	digest_free(&c.digest);
	buf_free(&c.lines);
	return r;
}

int prepare_read(int fd, const char *name, const char *dir, bool addressed, struct prepared *out,
                 struct err_text *e)
{
	struct input in = { .fd = fd, .name = name, .e = e };
	struct buf raw;
	size_t header = 0;
	int r;

	*out = (struct prepared) { .body.fd = -1 };
	buf_init(&out->header, 0);
	buf_init(&raw, 0);
	if ((r = spool_open(&out->body, dir, e)) == 0 &&
	    (r = read_header(&in, &raw, &header)) == 0) {
		r = take_message(out, &in, buf_view(&raw), header, addressed);
	}
	buf_free(&raw);
	return r;
}

void prepare_free(struct prepared *p)
{
	buf_free(&p->header);
	spool_close(&p->body);
	free(p->recipients);
	p->recipients = NULL;
}

/* --- what is missing ---------------------------------------------------------------------- */

/* "Sun, 22 Nov 2026 17:26:16 +0100" (RFC 5322 section 3.3), whatever the locale. */
static int add_date(struct buf *out, uint64_t now_us)
{
	static const char days[] = "SunMonTueWedThuFriSat";
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	time_t seconds = (time_t)(now_us / CLOCK_SECOND_US);
	struct tm tm;
	long offset;

	if (localtime_r(&seconds, &tm) == NULL) {
		return ERR_INTERNAL;
	}
	offset = tm.tm_gmtoff / 60;
	return buf_addf(out, "Date: %.3s, %d %.3s %d %02d:%02d:%02d %c%02ld%02ld\r\n",
	                days + 3 * tm.tm_wday, tm.tm_mday, months + 3 * tm.tm_mon,
	                tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec, offset < 0 ? '-' : '+',
	                labs(offset) / 60, labs(offset) % 60);
}

int prepare_missing(const struct prepared *p, uint64_t now_us, struct buf *out)
{
	struct span header = buf_view(&p->header);
	struct header_field field;
	uint8_t octets[20];
	char text[33];
	int r = 0;

	if (header_find(header, "Date", &field) != 0) {
		r = add_date(out, now_us);
	}
	if (r == 0 && header_find(header, "Message-ID", &field) != 0) {
		random_octets(octets, sizeof octets);
		text_base32hex(octets, sizeof octets, text);
		r = buf_addf(out, "Message-ID: <%s@%s>\r\n", text, mailbox_domain(&p->sender));
	}
	return r;
}

ssize_t prepare_octets(const struct prepared *p, uint64_t at, uint8_t *buf, size_t n)
{
	struct span header = buf_view(&p->header);
	ssize_t got;

	if (at < header.n) {
		if (n > header.n - at) {
			n = (size_t)(header.n - at);
		}
		memcpy(buf, header.p + at, n);
		return (ssize_t)n;
	}
	do {
		got = pread(p->body.fd, buf, n, (off_t)(at - header.n));
	} while (got < 0 && errno == EINTR);
	return got >= 0 ? got : ERR_IO;
}

static int digest_again(struct prepared *p)
{
	uint8_t *chunk = malloc(CHUNK);
	struct digest_tree t;
	uint64_t at = 0;
	ssize_t n;
	int r = chunk == NULL ? ERR_NOMEM : digest_init(&t, NULL, NULL);

	if (r != 0) {
		free(chunk);
		return r;
	}
	while (r == 0 && (n = prepare_octets(p, at, chunk, CHUNK)) != 0) {
		r = n < 0 ? (int)n : digest_update(&t, span_of(chunk, (size_t)n));
		at += n > 0 ? (uint64_t)n : 0;
	}
	if (r == 0 && at != p->size) {
		r = ERR_IO;
	}
	if (r == 0) {
		r = digest_final(&t, p->digest);
	}
	digest_free(&t);
	free(chunk);
	return r;
}

int prepare_add(struct prepared *p, struct span fields, struct err_text *e)
{
	struct span header = buf_view(&p->header);
	struct buf all;
	int r;

	if (fields.n == 0) {
		return 0;
	}
	buf_init(&all, 0);
	if ((r = buf_add(&all, header.p, header.n - 2)) == 0 &&
	    (r = buf_add(&all, fields.p, fields.n)) == 0 && (r = buf_add_str(&all, "\r\n")) == 0) {
		buf_free(&p->header);
		p->header = all;
		p->size = p->header.n + p->body_octets;
		r = digest_again(p);
	} else {
		buf_free(&all);
	}
	return r == 0 ? 0 : err_set(e, r, "make the message ready: %s", err_phrase(r));
}
