/* Text forms of octets and numbers, and UTF-8. */
#include "base/text.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"

static bool is_tail(uint8_t c)
{
	return (c & 0xc0) == 0x80;
}

/* The table of RFC 3629 section 4, row by row. */
size_t text_utf8_char(struct span s, uint32_t *code)
{
	const uint8_t *p = s.p;

	if (s.n == 0)
		return 0;
	if (p[0] < 0x80) {
		*code = p[0];
		return 1;
	}
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	if (p[0] < 0xe0) {
		if (s.n < 2 || !is_tail(p[1]))
			return 0;
		*code = (uint32_t)(p[0] & 0x1f) << 6 | (p[1] & 0x3f);
		return 2;
	}
	if (p[0] < 0xf0) {
		if (s.n < 3 || !is_tail(p[1]) || !is_tail(p[2]))
			return 0;
		*code = (uint32_t)(p[0] & 0x0f) << 12 | (uint32_t)(p[1] & 0x3f) << 6
		        | (p[2] & 0x3f);
		return *code < 0x800 || (*code >= 0xd800 && *code <= 0xdfff) ? 0 : 3;
	}
	if (s.n < 4 || !is_tail(p[1]) || !is_tail(p[2]) || !is_tail(p[3]))
		return 0;
	*code = (uint32_t)(p[0] & 0x07) << 18 | (uint32_t)(p[1] & 0x3f) << 12
	        | (uint32_t)(p[2] & 0x3f) << 6 | (p[3] & 0x3f);
	return *code < 0x10000 || *code > 0x10ffff ? 0 : 4;
}

bool text_is_utf8(struct span s)
{
	while (s.n > 0) {
		uint32_t code = 0;
		size_t n = text_utf8_char(s, &code);

		if (n == 0 || code == 0)
			return false;
		s.p += n;
		s.n -= n;
	}
	return true;
}

static const char base32hex_digits[] = "0123456789abcdefghijklmnopqrstuv";
static const char base64url_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
static const char hex_digits[] = "0123456789abcdef";

/* Writes P's bits, BITS to a digit, the last digit filled with zero bits. */
static void encode(const uint8_t *p, size_t n, unsigned bits, const char *digits, char *out)
{
	uint32_t held = 0;
	unsigned count = 0;

	for (size_t i = 0; i < n; i++) {
		held = held << 8 | p[i];
		count += 8;
		while (count >= bits) {
			count -= bits;
			*out++ = digits[held >> count & ((1U << bits) - 1)];
		}
		held &= (1U << count) - 1;
	}
	if (count > 0)
		*out++ = digits[held << (bits - count) & ((1U << bits) - 1)];
	*out = '\0';
}

void text_base32hex(const uint8_t *p, size_t n, char *out)
{
	encode(p, n, 5, base32hex_digits, out);
}

void text_base64url(const uint8_t *p, size_t n, char *out)
{
	encode(p, n, 6, base64url_digits, out);
}

void text_hex(const uint8_t *p, size_t n, char *out)
{
	encode(p, n, 4, hex_digits, out);
}

/* 0 to 31, or 32 for a character that is no digit of base 32. Base 16 is its beginning. */
static unsigned digit_value(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'v')
		return c - 'a' + 10U;
	if (c >= 'A' && c <= 'V')
		return c - 'A' + 10U;
	return 32;
}

static int decode(struct span s, unsigned bits, uint8_t *out, size_t n)
{
	uint32_t held = 0;
	unsigned count = 0;
	size_t made = 0;

	if (n > SIZE_MAX / 8 - 1 || s.n != (n * 8 + bits - 1) / bits)
		return ERR_MALFORMED;
	for (size_t i = 0; i < s.n; i++) {
		unsigned value = digit_value(s.p[i]);

		if (value >> bits != 0)
			return ERR_MALFORMED;
		held = held << bits | value;
		count += bits;
		if (count >= 8) {
			count -= 8;
			out[made++] = (uint8_t)(held >> count);
		}
		held &= (1U << count) - 1;
	}
	return held == 0 ? 0 : ERR_MALFORMED;
}

int text_parse_base32hex(struct span s, uint8_t *out, size_t n)
{
	return decode(s, 5, out, n);
}

int text_parse_hex(struct span s, uint8_t *out, size_t n)
{
	return decode(s, 4, out, n);
}

/* Digits at *S into *OUT, *S moved behind them; one digit at least. */
static int take_digits(const char **s, uint64_t *out)
{
	uint64_t value = 0;
	const char *p = *s;

	if (*p < '0' || *p > '9')
		return ERR_MALFORMED;
	for (; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(value, 10, &value)
		    || __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value))
			return ERR_TOO_BIG;
	*s = p;
	*out = value;
	return 0;
}

int text_parse_number(const char *s, uint64_t max, uint64_t *out)
{
	uint64_t value;
	int rc;

	if (s[0] == '\0' || s[strspn(s, "0123456789")] != '\0')
		return ERR_MALFORMED;
	rc = take_digits(&s, &value);
	if (rc < 0)
		return rc;
	if (value > max)
		return ERR_TOO_BIG;
	*out = value;
	return 0;
}

struct unit {
	char letter;
	uint64_t factor;
};

/* A number and one of UNITS (ended by letter 0, whose factor holds when none stands there). */
static int parse_with_unit(const char *s, const struct unit *units, uint64_t *out)
{
	uint64_t value = 0;
	int rc = take_digits(&s, &value);
	const char *rest = s + (rc == ERR_TOO_BIG ? strspn(s, "0123456789") : 0);

	if (rc == ERR_MALFORMED)
		return rc;
	while (units->letter != '\0' && units->letter != *rest)
		units++;
	if (units->letter != '\0')
		rest++;
	if (*rest != '\0')
		return ERR_MALFORMED;
	if (rc < 0 || __builtin_mul_overflow(value, units->factor, &value))
		return ERR_TOO_BIG;
	*out = value;
	return 0;
}

int text_parse_size(const char *s, uint64_t *octets)
{
	static const struct unit units[] = {
		{ 'K', 1ULL << 10 }, { 'M', 1ULL << 20 }, { 'G', 1ULL << 30 },
		{ 'T', 1ULL << 40 }, { '\0', 1 },
	};

	return parse_with_unit(s, units, octets);
}

int text_parse_duration(const char *s, uint64_t *seconds)
{
	static const struct unit units[] = {
		{ 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 }, { '\0', 1 },
	};

	return parse_with_unit(s, units, seconds);
}

const char *text_size(uint64_t octets, char *out, size_t cap)
{
	static const char letters[] = "KMGTPE";
	double value = (double)octets;
	size_t i = 0;

	if (octets < 1024) {
		snprintf(out, cap, "%u", (unsigned)octets);
		return out;
	}
	value /= 1024;
	/* 1023.5 would be printed as 1024. */
	while (value >= 1023.5 && letters[i + 1] != '\0') {
		value /= 1024;
		i++;
	}
	/* 9.95 would be printed as 10.0. */
	snprintf(out, cap, value < 9.95 ? "%.1f%c" : "%.0f%c", value, letters[i]);
	return out;
}

static int json_char(struct buf *out, uint32_t code, struct span raw)
{
	switch (code) {
	case '"':
		return buf_add_str(out, "\\\"");
	case '\\':
		return buf_add_str(out, "\\\\");
	case '\n':
		return buf_add_str(out, "\\n");
	case '\r':
		return buf_add_str(out, "\\r");
	case '\t':
		return buf_add_str(out, "\\t");
	default:
		break;
	}
	/* DEL and the C1 controls may stand unescaped, but a terminal would obey them. */
	if (code < 0x20 || (code >= 0x7f && code < 0xa0))
		return buf_addf(out, "\\u%04x", (unsigned)code);
	return buf_add(out, raw.p, raw.n);
}

int text_json(struct buf *out, struct span s)
{
	int rc = buf_add_str(out, "\"");

	while (rc == 0 && s.n > 0) {
		uint32_t code = 0;
		size_t n = text_utf8_char(s, &code);

		rc = n == 0 ? buf_add_str(out, "\xef\xbf\xbd")
		            : json_char(out, code, span_of(s.p, n));
		s = span_after(s, n == 0 ? 1 : n);
	}
	return rc == 0 ? buf_add_str(out, "\"") : rc;
}
