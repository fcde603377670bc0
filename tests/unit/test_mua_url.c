/* Message URLs, and choices over a message's parts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "mua-agent/parts.h"
#include "mua-agent/url.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define ID "00000000000000000000000000"

static void test_urls(void **state)
{
	static const struct {
		const char *text;
		const char *store; /* NULL: malformed */
		uint8_t last;
	} cases[] = {
		{ "im2000://a.example/" ID, "a.example", 0 },
		{ "IM2000://A.Example./000000000000000000000000vs", "a.example", 0xff },
		{ "im2000://a.example/000000000000000000000000vS", "a.example", 0xff },
		{ "im2000://xn--bcher-kva.example/" ID, "xn--bcher-kva.example", 0 },
		{ "im2000://b\xc3\xbc"
		  "cher.example/" ID,
		  "xn--bcher-kva.example", 0 },
		{ "im2000://a.example/000000000000000000000000vt", NULL, 0 }, /* padding bits */
		{ "im2000://a.example/" ID "0", NULL, 0 },
		{ "im2000://a.example/0", NULL, 0 },
		{ "im2000://a.example/", NULL, 0 },
		{ "im2000://a.example", NULL, 0 },
		{ "im2000:///" ID, NULL, 0 },
		{ "im2000://a..example/" ID, NULL, 0 },
		{ "im2000://a.example:44/" ID, NULL, 0 },
		{ "im2000://a.example//" ID, NULL, 0 },
		{ "im2000://a.example/" ID "/", NULL, 0 },
		{ "im2000:/a.example/" ID, NULL, 0 },
		{ "http://a.example/" ID, NULL, 0 },
		{ " im2000://a.example/" ID, NULL, 0 },
		{ "", NULL, 0 },
		{ "im2000://", NULL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char store[NAME_DOMAIN_MAX + 1], text[URL_MAX + 1], again[NAME_DOMAIN_MAX + 1];
		uint8_t id[WIRE_ID_SIZE], same[WIRE_ID_SIZE];
		int r = url_parse(cases[i].text, store, id);

		if (cases[i].store == NULL) {
			assert_int_equal(r, ERR_MALFORMED);
			continue;
		}
		assert_int_equal(r, 0);
		assert_string_equal(store, cases[i].store);
		assert_int_equal(id[15], cases[i].last);
		assert_ptr_equal(url_format(store, id, text), text);
		assert_int_equal(url_parse(text, again, same), 0);
		assert_string_equal(again, store);
		assert_memory_equal(same, id, sizeof id);
	}
}

static void test_longest_url(void **state)
{
	char domain[NAME_DOMAIN_MAX + 1], text[URL_MAX + 1], store[NAME_DOMAIN_MAX + 1];
	uint8_t id[WIRE_ID_SIZE] = { 1 };

	(void)state;
	memset(domain, 'a', sizeof domain);
	for (size_t i = 63; i < NAME_DOMAIN_MAX; i += 64) {
		domain[i] = '.';
	}
	domain[NAME_DOMAIN_MAX] = '\0';
	url_format(domain, id, text);
	assert_int_equal(strlen(text), URL_MAX);
	assert_int_equal(url_parse(text, store, id), 0);
	assert_string_equal(store, domain);
}

/* --- parts -------------------------------------------------------------------------------- */

struct brief {
	const char *section, *type, *disposition, *filename;
	unsigned depth;
};

static size_t fill(struct bodystructure_part *parts, const struct brief *brief, size_t n)
{
	size_t i;

	for (i = 0; i < n && brief[i].section != NULL; i++) {
		memset(&parts[i], 0, sizeof parts[i]);
		snprintf(parts[i].section, sizeof parts[i].section, "%s", brief[i].section);
		snprintf(parts[i].type, sizeof parts[i].type, "%s", brief[i].type);
		snprintf(parts[i].disposition, sizeof parts[i].disposition, "%s",
		         brief[i].disposition);
		snprintf(parts[i].filename, sizeof parts[i].filename, "%s", brief[i].filename);
		parts[i].depth = brief[i].depth;
	}
	return i;
}

static void test_choices(void **state)
{
	static const struct {
		struct brief parts[8];
		size_t text;             /* index; 99: none */
		const char *attachments; /* indexes */
	} cases[] = {
		{ { { "1", "text/plain", "", "", 0 } }, 0, "" },
		{ { { "1", "text/html", "", "", 0 } }, 0, "" },
		{ { { "1", "text/plain", "attachment", "", 0 } }, 99, "0" },
		{ { { "1", "text/plain", "inline", "notes.txt", 0 } }, 99, "0" },
		{ { { "1", "image/png", "", "", 0 } }, 99, "0" },
		{ { { "TEXT", "multipart/alternative", "", "", 0 },
		    { "1", "text/html", "", "", 1 },
		    { "2", "text/plain", "inline", "", 1 } },
		  2,
		  "" },
		{ { { "TEXT", "multipart/mixed", "", "", 0 },
		    { "1", "multipart/alternative", "", "", 1 },
		    { "1.1", "text/plain", "", "", 2 },
		    { "1.2", "text/html", "", "", 2 },
		    { "2", "text/plain", "attachment", "a.txt", 1 },
		    { "3", "application/pdf", "inline", "", 1 } },
		  2,
		  "45" },
		/* The parts of an attached message are its own. */
		{ { { "TEXT", "multipart/mixed", "", "", 0 },
		    { "1", "message/rfc822", "", "", 1 },
		    { "1.TEXT", "multipart/mixed", "", "", 2 },
		    { "1.1", "text/plain", "", "", 3 },
		    { "1.2", "image/png", "", "x.png", 3 },
		    { "2", "text/html", "", "", 1 } },
		  5,
		  "1" },
		{ { { "1", "message/rfc822", "", "", 0 }, { "1.1", "text/plain", "", "", 1 } },
		  99,
		  "0" },
		{ { { "TEXT", "multipart/mixed", "", "", 0 } }, 99, "" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct bodystructure_part parts[8];
		size_t n = fill(parts, cases[i].parts, 8), text = parts_text(parts, n), at = 0;
		char found[9] = "";

		assert_int_equal(text == n ? 99 : text, cases[i].text);
		assert_int_equal(parts_have_attachment(parts, n), cases[i].attachments[0] != '\0');
		for (size_t k = 0; k < n;) {
			bool attachment = parts_is_attachment(&parts[k]);

			if (attachment) {
				found[at++] = (char)('0' + k);
			}
			k = attachment ? parts_after(parts, n, k) : k + 1;
		}
		found[at] = '\0';
		assert_string_equal(found, cases[i].attachments);
	}
}

static void test_finding(void **state)
{
	static const struct brief brief[] = { { "TEXT", "multipart/mixed", "", "", 0 },
		                              { "1", "text/plain", "", "", 1 },
		                              { "10", "text/plain", "", "", 1 } };
	struct bodystructure_part parts[3];

	(void)state;
	assert_int_equal(fill(parts, brief, 3), 3);
	assert_int_equal(parts_find(parts, 3, "text"), 0);
	assert_int_equal(parts_find(parts, 3, "1"), 1);
	assert_int_equal(parts_find(parts, 3, "10"), 2);
	assert_int_equal(parts_find(parts, 3, "1."), 3);
	assert_int_equal(parts_find(parts, 0, "1"), 0);
}

static void test_names(void **state)
{
	static const struct {
		const char *type, *filename, *name, *second;
	} cases[] = {
		{ "image/png", "a.png", "a.png", "a-2.png" },
		{ "image/png", "a", "a", "a-2" },
		{ "image/png", "a.tar.gz", "a.tar.gz", "a.tar-2.gz" },
		{ "image/png", "", "part-1.2", "part-1-2.2" },
		{ "message/rfc822", "", "part-1.2.eml", "part-1.2-2.eml" },
		{ "image/png", "../../etc/passwd", "passwd", "passwd-2" },
		{ "image/png", "..", "part-1.2", "part-1-2.2" },
		{ "image/png", "C:\\x\\y.txt", "y.txt", "y-2.txt" },
		{ "image/png", ".profile", "profile", "profile-2" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct brief brief = { "1.2", cases[i].type, "", cases[i].filename, 0 };
		struct bodystructure_part part;
		char name[256], second[256];

		fill(&part, &brief, 1);
		parts_file_name(&part, name);
		assert_string_equal(name, cases[i].name);
		parts_other_name(name, 1, second);
		assert_string_equal(second, name);
		parts_other_name(name, 2, second);
		assert_string_equal(second, cases[i].second);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_urls),    cmocka_unit_test(test_longest_url),
		cmocka_unit_test(test_choices), cmocka_unit_test(test_finding),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
