/* Text for terminals, and names for files. */
#include "message/decode_safe.h"

#include "base/text.h"
#include "message/charset.h"
#include "message/decode.h"

#define WORDS_MAX 4096        /* octets of a decoded field on its way to a terminal */
#define FILENAME_OCTETS 200   /* leaves room for a suffix within the usual 255 */

/* Characters that are no text: they move the cursor, or turn the text around. */
static bool is_control(uint32_t code)
{
	return code < 0x20 || (code >= 0x7f && code < 0xa0) || /* C0, DEL, C1 */
	       (code >= 0x202a && code <= 0x202e) ||           /* embeddings and overrides */
	       (code >= 0x2066 && code <= 0x2069) ||           /* isolates */
	       code == 0x2028 || code == 0x2029;               /* line and paragraph separators */
}

size_t decode_safe_char(struct fill *f, struct span text, bool raw)
{
	uint32_t code = 0;
	size_t n = text_utf8_char(text, &code);
	/* U+2400 and on are pictures of the control characters of ASCII. */
	uint8_t picture[3] = { 0xe2, 0x90, 0x80 };

	if (n > 0 && (raw || !is_control(code))) {
		fill_span(f, span_of(text.p, n));
	} else if (n > 0 && code < 0x80) {
		picture[2] |= (uint8_t)(code == 0x7f ? 0x21 : code);
		fill_span(f, span_of(picture, sizeof picture));
	} else {
		fill_str(f, CHARSET_REPLACEMENT);
	}
	return n > 0 ? n : 1;
}

int decode_safe_text(struct span text, char *out, size_t cap, struct span *result)
{
	struct fill f = fill_into(out, cap);

	while (text.n > 0 && !f.cut) {
		if (text.p[0] == '\t') {
			fill_octet(&f, ' ');
			text = span_after(text, 1);
			continue;
		}
		text = span_after(text, decode_safe_char(&f, text, false));
	}
	return fill_end(&f, result);
}

int decode_safe_words(struct span text, char *out, size_t cap, struct span *result)
{
	char words[WORDS_MAX];
	struct span decoded;
	int cut = decode_words(text, words, sizeof words, &decoded);
	int rc = decode_safe_text(decoded, out, cap, result);

	return rc != 0 ? rc : cut;
}

/* What is left of NAME as a file's name; SIZE of OUT. */
static size_t base_name(struct span name, char *out, size_t size)
{
	struct fill f = fill_into(out, size);

	for (size_t i = name.n; i > 0; i--)
		if (name.p[i - 1] == '/' || name.p[i - 1] == '\\') {
			name = span_after(name, i);
			break;
		}
	while (name.n > 0 && !f.cut) {
		uint32_t code = 0;
		size_t n = text_utf8_char(name, &code);
		bool leading = f.n == 0 && (code == '.' || code == ' ' || code == '-');

		if (n == 0 || is_control(code))
			fill_octet(&f, '_');
		else if (!leading)
			fill_span(&f, span_of(name.p, n));
		name = span_after(name, n > 0 ? n : 1);
	}
	while (f.n > 0 && f.p[f.n - 1] == ' ')
		f.n--;
	(void)fill_end(&f, NULL);
	return f.n;
}

void decode_filename(struct span name, const char *prefix, char out[256])
{
	struct fill f = fill_into(out, 256);

	if (base_name(name, out, FILENAME_OCTETS + 1) > 0)
		return;
	fill_str(&f, prefix);
	(void)fill_end(&f, NULL);
}
