/*
 * A message of any octets through all that reads messages: the structure in one
 * piece and in many, its record, BODYSTRUCTURE there and back, header fields,
 * addresses, parameters, excerpts, and every leaf decoded for a terminal. The
 * same octets are also taken for a record and for a BODYSTRUCTURE of a stranger.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/text.h"
#include "message/addrlist.h"
#include "message/bodystructure.h"
#include "message/decode.h"
#include "message/excerpt.h"
#include "message/header.h"
#include "message/mime.h"
#include "message/param.h"

#define PARTS 80
#define TEXT_MAX (1 << 16)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
	if (!holds)
		abort();
}

/* Where the message is split: after 1, 2, 3 ... octets when STEP is 0. */
static size_t parse(struct span message, size_t step, struct mime_part *parts, size_t cap)
{
	static struct mime_parser p;
	size_t piece = step;

	mime_begin(&p, parts, cap);
	while (message.n > 0) {
		piece = step != 0 ? step : piece + 1;
		if (piece > message.n)
			piece = message.n;
		mime_feed(&p, span_of(message.p, piece));
		message = span_after(message, piece);
	}
	return mime_end(&p);
}

/* A table as mime_end and mime_unpack promise it. */
static void check_table(const struct mime_part *parts, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		check(parts[i].header_at <= parts[i].body_at && parts[i].body_at <= parts[i].end_at);
		check(parts[i].kind == MIME_LEAF || (i + 1 < n && parts[i + 1].parent == i));
		if (i == 0)
			continue;
		check(parts[i].parent < i);
		check(parts[i].header_at >= parts[parts[i].parent].body_at);
		check(parts[i].end_at <= parts[parts[i].parent].end_at);
	}
}

static int read_message(void *ctx, uint64_t at, uint8_t *buf, size_t n)
{
	const struct span *message = ctx;

	check(n > 0 && at <= message->n && n <= message->n - at);
	memcpy(buf, message->p + at, n);
	return 0;
}

/* Nothing that a terminal acts on comes out. */
static void check_safe(struct span text, bool lines)
{
	check(text_is_utf8(text));
	for (size_t i = 0; i < text.n; i++)
		check((text.p[i] >= ' ' && text.p[i] != 0x7f) ||
		      (lines && (text.p[i] == '\n' || text.p[i] == '\t')));
}

static int take_text(void *ctx, struct span text)
{
	(void)ctx;
	check_safe(text, true);
	return 0;
}

static void check_params(struct span value)
{
	static const char *const names[] = { "name", "filename", "boundary", "charset" };
	struct param_type type;
	struct span result;
	char out[64];

	if (param_parse_type(value, &type) != 0)
		return;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		(void)param_get(type.params, names[i], out, sizeof out, &result);
		if (param_get_text(type.params, names[i], out, sizeof out, &result) == 0)
			check(strlen(out) <= result.n && result.n < sizeof out);
	}
}

static void check_addresses(struct span value)
{
	struct addrlist_iter it;
	struct addrlist_entry a;
	struct mailbox m;
	char out[64];
	struct span result;
	int rc;

	addrlist_begin(&it, value);
	while ((rc = addrlist_next(&it, &a)) != 0) {
		if (rc < 0)
			continue;
		(void)addrlist_name(&a, out, sizeof out, &result);
		(void)addrlist_local(&a, out, sizeof out, &result);
		(void)addrlist_domain(&a, out, sizeof out, &result);
		if (addrlist_mailbox(&a, &m) == 0)
			check(strlen(m.text) > m.local_n);
	}
}

static void check_header(struct span message)
{
	struct span header = span_of(message.p, header_size(message));
	struct header_iter it;
	struct header_field f;
	uint8_t excerpt[EXCERPT_MAX];
	char out[100];
	struct span result;
	size_t n = 0;

	header_begin(&it, message);
	while (header_next(&it, &f)) {
		check(f.whole.p == message.p + n);
		n += f.whole.n;
		(void)header_unfold(f.value, out, sizeof out, &result);
		check(strpbrk(out, "\r\n") == NULL && strlen(out) == result.n);
		(void)decode_safe_words(f.value, out, sizeof out, &result);
		check_safe(result, false);
		check_addresses(f.value);
		check_params(f.value);
	}
	check(n <= header.n && header.n - n <= 2);
	check(header_whole_fields(header).n <= header.n);
	check(excerpt_make(header, excerpt) <= sizeof excerpt);
	check(excerpt_summary(header, excerpt, 2 + message.n % (EXCERPT_MAX - 1)) <= sizeof excerpt);
}

static void check_structure(struct span text, const struct mime_part *parts, size_t n, bool ours)
{
	static struct bodystructure_part list[PARTS * 2];
	size_t count;
	int rc = bodystructure_parse(text, list, PARTS * 2, &count);

	check(!ours || rc == 0 || rc == ERR_TOO_BIG);
	for (size_t i = 0; rc == 0 && i < count; i++) {
		uint64_t at, length;

		check(strlen(list[i].filename) < sizeof list[i].filename);
		if (!ours)
			continue;
		check(mime_section(parts, n, span_str(list[i].section), &at, &length) == 0);
		check(strncmp(list[i].type, "multipart/", 10) == 0 || length == list[i].octets);
	}
}

/* A leaf as im2000 would show it. */
static void check_leaf(struct span message, const struct mime_part *part)
{
	struct span header = span_of(message.p + part->header_at,
	    (size_t)(part->body_at - part->header_at));
	struct span body = span_of(message.p + part->body_at, (size_t)(part->end_at - part->body_at));
	struct decode_options options = { .text = true };
	struct header_field f;
	struct param_type type;
	struct decode_body d;
	struct span token, rest;
	char charset[48];

	if (header_find(header, "Content-Transfer-Encoding", &f) == 0 &&
	    param_parse_token(f.value, &token, &rest) == 0)
		options.encoding = decode_encoding_of(token);
	if (header_find(header, "Content-Type", &f) == 0 && param_parse_type(f.value, &type) == 0)
		(void)param_get(type.params, "charset", charset, sizeof charset, &options.charset);
	check(decode_body_begin(&d, &options, take_text, NULL) == 0);
	check(decode_body_feed(&d, span_of(body.p, body.n / 2)) == 0);
	check(decode_body_feed(&d, span_after(body, body.n / 2)) == 0);
	check(decode_body_end(&d, true) == 0);
}

/* What is told of the first octets must be true of them all: of ALL[N], and of sections. */
static void check_so_far(const struct mime_parser *p, size_t size, const struct mime_part *all,
                         size_t n_all)
{
	static const char *const sections[] = { "", "HEADER", "TEXT", "1", "1.MIME", "2", "1.1",
		                                "2.HEADER" };
	static struct mime_part room[PARTS];
	size_t n = mime_so_far(p, size, room);

	check(n <= n_all);
	for (size_t i = 0; i < n; i++) {
		check(room[i].header_at == all[i].header_at && room[i].body_at == all[i].body_at);
		check(room[i].parent == all[i].parent && room[i].kind == all[i].kind);
		check(room[i].end_at == UINT64_MAX || room[i].end_at == all[i].end_at);
		check(room[i].kind == MIME_LEAF || (i + 1 < n && room[i + 1].parent == i));
	}
	for (size_t i = 0; i < sizeof sections / sizeof sections[0]; i++) {
		struct span section = span_str(sections[i]);
		uint64_t at, length, last_at, last_length;
		int rc = mime_section_so_far(p, size, room, section, &at, &length);

		if (rc != ERR_AGAIN)
			check(mime_section(all, n_all, section, &last_at, &last_length) == rc &&
			      at == last_at && length == last_length);
	}
}

static void check_early(struct span message, const struct mime_part *all, size_t n, size_t cap)
{
	static struct mime_part parts[PARTS];
	static struct mime_parser p;
	size_t step = message.n / 16 + 1;

	mime_begin(&p, parts, cap);
	for (size_t at = 0; at < message.n; at += step) {
		check_so_far(&p, message.n, all, n);
		mime_feed(&p, span_of(message.p + at,
		                      step < message.n - at ? step : message.n - at));
	}
	check_so_far(&p, message.n, all, n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct mime_part parts[PARTS], other[PARTS];
	static uint8_t record[MIME_PACK_MAX(PARTS)];
	static char text[TEXT_MAX];
	struct span message = span_of(data, size);
	size_t cap = size % 5 == 0 ? 1 + size % 7 : PARTS, n, n2, used;
	int rc;

	memset(parts, 0, sizeof parts);
	n = parse(message, size + 1, parts, cap);
	check(n >= 1 && n <= cap && parts[0].end_at == size);
	check_table(parts, n);
	for (size_t step = 0; step < 3; step++) {
		memset(other, 0, sizeof other);
		check(parse(message, step, other, cap) == n);
		check(memcmp(parts, other, n * sizeof parts[0]) == 0);
	}
	check_early(message, parts, n, cap);
	memset(other, 0, sizeof other);
	check(mime_pack(parts, n, record, sizeof record, &used) == 0);
	check(mime_unpack(span_of(record, used), other, PARTS, &n2) == 0 && n2 == n);
	check(memcmp(parts, other, n * sizeof parts[0]) == 0);

	rc = bodystructure_write(parts, n, read_message, &message, text, sizeof text, &used);
	check(rc == 0 || rc == ERR_TOO_BIG);
	if (rc == 0) {
		check(text_is_utf8(span_of(text, used)) && strpbrk(text, "\r\n") == NULL);
		check_structure(span_of(text, used), parts, n, true);
	}
	check_header(message);
	for (size_t i = 0; i < n; i++)
		if (parts[i].kind == MIME_LEAF)
			check_leaf(message, &parts[i]);

	check_structure(message, NULL, 0, false);
	if (mime_unpack(message, other, PARTS, &n2) == 0)
		check_table(other, n2);
	return 0;
}
