/* Transfer encodings, and a body on its way to a person. */
#include "message/decode.h"

#include "base/err.h"
#include "message/decode_safe.h"
#include "message/lex.h"

#define SLICE 1024     /* octets of input that go through the stages at once */
#define UTF8_MAX 2048  /* octets between the stages */

enum decode_encoding decode_encoding_of(struct span token)
{
	if (span_eq_nocase(token, span_str("base64")))
		return DECODE_BASE64;
	if (span_eq_nocase(token, span_str("quoted-printable")))
		return DECODE_QUOTED;
	return DECODE_PLAIN;
}

void decode_transfer_begin(struct decode_transfer *d, enum decode_encoding encoding)
{
	d->encoding = encoding;
	d->bits = 0;
	d->held = 0;
}

static int base64_digit(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* The octets of a group that is not whole. */
static size_t base64_end(struct decode_transfer *d, uint8_t *out)
{
	size_t n = 0;

	if (d->held >= 2)
		out[n++] = (uint8_t)(d->bits >> (d->held == 2 ? 4 : 10));
	if (d->held == 3)
		out[n++] = (uint8_t)(d->bits >> 2);
	d->held = 0;
	d->bits = 0;
	return n;
}

static size_t base64_feed(struct decode_transfer *d, struct span data, uint8_t *out)
{
	size_t n = 0;

	for (size_t i = 0; i < data.n; i++) {
		int digit = base64_digit(data.p[i]);

		if (data.p[i] == '=')
			n += base64_end(d, out + n);
		if (digit < 0)
			continue;
		d->bits = d->bits << 6 | (uint32_t)digit;
		if (++d->held == 4) {
			out[n++] = (uint8_t)(d->bits >> 16);
			out[n++] = (uint8_t)(d->bits >> 8);
			out[n++] = (uint8_t)d->bits;
			d->held = 0;
		}
	}
	return n;
}

/* Gives what is pending as it stands. */
static size_t quoted_flush(struct decode_transfer *d, uint8_t *out)
{
	size_t n = d->held;

	memcpy(out, d->pending, n);
	d->held = 0;
	return n;
}

static void quoted_hold(struct decode_transfer *d, uint8_t c)
{
	d->pending[d->held++] = c;
}

/*
 * One octet behind something pending. What may be pending:
 *   blanks        deleted when the line ends (RFC 2045 section 6.7 rule 3)
 *   '=' blanks    a soft line end, when the line ends
 *   '=' and hex   half of an octet
 * each of the first two perhaps with a CR that wants its LF.
 */
static size_t quoted_pending(struct decode_transfer *d, uint8_t c, uint8_t *out)
{
	bool equals = d->pending[0] == '=';
	uint8_t last = d->pending[d->held - 1];
	int half = equals && d->held == 2 ? lex_hex_digit(last) : -1;
	size_t n;

	if (half >= 0 && lex_hex_digit(c) >= 0) {
		d->held = 0;
		out[0] = (uint8_t)(half << 4 | lex_hex_digit(c));
		return 1;
	}
	if (half < 0 && c == '\n') {
		n = 0;
		if (!equals && last == '\r')
			out[n++] = '\r';
		if (!equals)
			out[n++] = '\n';
		d->held = 0;
		return n;
	}
	if (half < 0 && last != '\r' && d->held < DECODE_PENDING_MAX &&
	    (c == ' ' || c == '\t' || c == '\r' || (d->held == 1 && equals && lex_hex_digit(c) >= 0))) {
		quoted_hold(d, c);
		return 0;
	}
	n = quoted_flush(d, out);
	if (c == '=' || c == ' ' || c == '\t')
		quoted_hold(d, c);
	else
		out[n++] = c;
	return n;
}

static size_t quoted_feed(struct decode_transfer *d, struct span data, uint8_t *out)
{
	size_t n = 0;

	for (size_t i = 0; i < data.n; i++) {
		uint8_t c = data.p[i];

		if (d->held > 0)
			n += quoted_pending(d, c, out + n);
		else if (c == '=' || c == ' ' || c == '\t')
			quoted_hold(d, c);
		else
			out[n++] = c;
	}
	return n;
}

size_t decode_transfer_feed(struct decode_transfer *d, struct span data, uint8_t *out)
{
	if (d->encoding == DECODE_BASE64)
		return base64_feed(d, data, out);
	if (d->encoding == DECODE_QUOTED)
		return quoted_feed(d, data, out);
	if (data.n > 0)
		memcpy(out, data.p, data.n);
	return data.n;
}

size_t decode_transfer_end(struct decode_transfer *d, uint8_t *out)
{
	if (d->encoding == DECODE_BASE64)
		return base64_end(d, out);
	if (d->encoding != DECODE_QUOTED || d->held == 0)
		return 0;
	/* Blanks at the very end end a line; so does a lone '='. Half an octet stands as it is. */
	if (d->held == 2 && d->pending[0] == '=' && lex_hex_digit(d->pending[1]) >= 0)
		return quoted_flush(d, out);
	d->held = 0;
	return 0;
}

/* The last stage: safe UTF-8 to the terminal's charset. */
static int give(struct decode_body *d, struct span text)
{
	uint8_t out[UTF8_MAX];

	if (d->terminal == NULL)
		return text.n == 0 ? 0 : d->sink(d->ctx, text);
	while (text.n > 0) {
		size_t used, n = charset_to(d->terminal, text, out, sizeof out, &used);
		int rc = n == 0 ? 0 : d->sink(d->ctx, span_of(out, n));

		if (rc != 0)
			return rc;
		if (used == 0 && n == 0)
			return ERR_INTERNAL;
		text = span_after(text, used);
	}
	return 0;
}

/* Valid UTF-8: line ends become LF, control characters visible unless raw. */
static int make_safe(struct decode_body *d, struct span text)
{
	char safe[DECODE_SAFE_GROWTH * (UTF8_MAX + 1) + 1]; /* a CR held before, and a NUL */
	struct fill f = fill_into(safe, sizeof safe);
	struct span result;

	for (size_t i = 0; i < text.n; i++) {
		uint8_t c = text.p[i];
		size_t n;

		if (d->last_cr && c != '\n')
			decode_safe_char(&f, span_of("\r", 1), d->options.raw);
		d->last_cr = c == '\r';
		if (d->last_cr)
			continue;
		n = decode_safe_char(&f, span_after(text, i), d->options.raw || c == '\n' || c == '\t');
		i += n - 1;
	}
	(void)fill_end(&f, &result);
	return give(d, result);
}

/* Octets of the part's charset, behind those carried. LAST: nothing follows. */
static int make_utf8(struct decode_body *d, struct span in, bool last)
{
	uint8_t out[UTF8_MAX];

	while (in.n > 0) {
		size_t used, n = charset_utf8(&d->charset, in, last, out, sizeof out, &used);
		int rc = make_safe(d, span_of(out, n));

		if (rc != 0)
			return rc;
		in = span_after(in, used);
		if (used == 0 && n == 0)
			break;
	}
	d->carry_n = in.n < sizeof d->carry ? in.n : 0;
	if (d->carry_n > 0)
		memmove(d->carry, in.p, d->carry_n);
	return 0;
}

int decode_body_begin(struct decode_body *d, const struct decode_options *options,
                      decode_sink sink, void *ctx)
{
	*d = (struct decode_body){ .options = *options, .sink = sink, .ctx = ctx };
	decode_transfer_begin(&d->transfer, options->encoding);
	if (!options->text)
		return 0;
	if (options->terminal != NULL &&
	    !span_eq_nocase(span_str(options->terminal), span_str("UTF-8")) &&
	    charset_to_open(options->terminal, &d->terminal) != 0)
		return ERR_UNSUPPORTED;
	charset_open(&d->charset, options->charset);
	d->options.charset = span_of(NULL, 0); /* the caller's view may not outlive this call */
	return 0;
}

/* What the transfer decoding gave, N octets that stand behind the room for the carry. */
static int pass_on(struct decode_body *d, uint8_t *buffer, size_t n, bool last)
{
	uint8_t *begin = buffer + CHARSET_CARRY_MAX - d->carry_n;

	if (!d->options.text)
		return n == 0 ? 0 : d->sink(d->ctx, span_of(buffer + CHARSET_CARRY_MAX, n));
	memcpy(begin, d->carry, d->carry_n);
	return make_utf8(d, span_of(begin, d->carry_n + n), last);
}

int decode_body_feed(struct decode_body *d, struct span data)
{
	uint8_t buffer[CHARSET_CARRY_MAX + SLICE + DECODE_PENDING_MAX];

	while (data.n > 0) {
		struct span slice = span_of(data.p, data.n < SLICE ? data.n : SLICE);
		size_t n = decode_transfer_feed(&d->transfer, slice, buffer + CHARSET_CARRY_MAX);
		int rc = pass_on(d, buffer, n, false);

		if (rc != 0)
			return rc;
		data = span_after(data, slice.n);
	}
	return 0;
}

int decode_body_end(struct decode_body *d, bool flush)
{
	uint8_t buffer[CHARSET_CARRY_MAX + DECODE_PENDING_MAX];
	int rc = 0;

	if (flush) {
		size_t n = decode_transfer_end(&d->transfer, buffer + CHARSET_CARRY_MAX);

		rc = pass_on(d, buffer, n, true);
	}
	if (flush && rc == 0 && d->last_cr) {
		char cr[DECODE_SAFE_GROWTH + 1];
		struct fill f = fill_into(cr, sizeof cr);
		struct span shown;

		decode_safe_char(&f, span_of("\r", 1), d->options.raw);
		(void)fill_end(&f, &shown);
		rc = give(d, shown);
	}
	charset_close(&d->charset);
	charset_to_close(d->terminal);
	d->terminal = NULL;
	return rc;
}
