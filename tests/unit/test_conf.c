/* Configuration files: what is read, and what each mistake says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/conf.h"
#include "tests/unit/tempdir.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct head {
	char *data;
	char *name;
	struct conf_list domain;
	struct conf_list listen;
	uint64_t max_message;
	uint64_t lifetime;
	uint64_t workers;
	uint64_t port;
	bool private;
	unsigned unverified;
};

struct account {
	char *mailbox;
	char *file;
	struct conf_list files;
	uint64_t limit;
};

static const char *const unverified_words[] = { "refuse", "keep", NULL };

#define HEAD(member) offsetof(struct head, member)

static const struct conf_key head_keys[] = {
	{ .name = "data", .type = CONF_PATH, .offset = HEAD(data), .required = true },
	{ .name = "name", .type = CONF_TEXT, .offset = HEAD(name), .initial = "nobody" },
	{ .name = "domain", .type = CONF_LIST, .offset = HEAD(domain) },
	{ .name = "listen", .type = CONF_LIST, .offset = HEAD(listen), .initial = "[::1]:4401" },
	{ .name = "max-message", .type = CONF_SIZE, .offset = HEAD(max_message), .min = 1024,
	  .max = 4ULL << 30, .initial = "256M" },
	{ .name = "lifetime", .type = CONF_DURATION, .offset = HEAD(lifetime), .min = 60 },
	{ .name = "workers", .type = CONF_NUMBER, .offset = HEAD(workers), .min = 1, .max = 64,
	  .initial = "2" },
	{ .name = "port", .type = CONF_NUMBER, .offset = HEAD(port), .max = 65535 },
	{ .name = "allow-private", .type = CONF_BOOL, .offset = HEAD(private) },
	{ .name = "unverified", .type = CONF_CHOICE, .offset = HEAD(unverified),
	  .choices = unverified_words, .initial = "refuse" },
	{ 0 },
};

static const struct conf_key account_keys[] = {
	{ .name = "mailbox", .type = CONF_TEXT, .offset = offsetof(struct account, mailbox),
	  .required = true },
	{ .name = "file", .type = CONF_PATH, .offset = offsetof(struct account, file),
	  .initial = "default.txt" },
	{ .name = "files", .type = CONF_PATHS, .offset = offsetof(struct account, files) },
	{ .name = "limit", .type = CONF_SIZE, .offset = offsetof(struct account, limit),
	  .initial = "1K" },
	{ 0 },
};

static struct account accounts[3];
static char titles[3][64];
static size_t accounts_n;

static int open_account(void *ctx, const char *title, const struct conf_key **keys, void **target,
                        struct err_text *e)
{
	assert_ptr_equal(ctx, titles);
	if (strncmp(title, "account ", 8) != 0)
		return err_set(e, ERR_CONFIG, "[%s] is no section here (allowed: [account NAME])",
		               title);
	if (accounts_n == COUNT(accounts))
		return err_set(e, ERR_NOMEM, "too many");
	snprintf(titles[accounts_n], sizeof titles[0], "%s", title + 8);
	*keys = account_keys;
	*target = &accounts[accounts_n++];
	return 0;
}

static const struct conf_schema schema = { head_keys, open_account, titles };
static const struct conf_schema schema_plain = { .keys = head_keys };

static char *dir;
static char path[512];

static int setup(void **state)
{
	(void)state;
	dir = tempdir_make();
	snprintf(path, sizeof path, "%s/x.conf", dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	tempdir_remove(dir);
	return 0;
}

static void write_file(const void *text, size_t n)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
}

static int read_octets(const void *text, size_t n, const struct conf_schema *s, struct head *head,
                       struct err_text *e)
{
	write_file(text, n);
	memset(head, 0, sizeof *head);
	memset(accounts, 0, sizeof accounts);
	accounts_n = 0;
	e->text[0] = '\0';
	return conf_read(path, s, head, e);
}

static void release(struct head *head)
{
	conf_release(head_keys, head);
	for (size_t i = 0; i < accounts_n; i++)
		conf_release(account_keys, &accounts[i]);
}

/* As read_octets, and everything must be right. */
static void read_good(const char *text, struct head *head)
{
	struct err_text e;

	if (read_octets(text, strlen(text), &schema, head, &e) != 0)
		fail_msg("%s", e.text);
}

static void test_all_types(void **state)
{
	struct head h;
	char want[600];

	(void)state;
	read_good("# a comment\n"
	          "data = store\n"
	          "  # an indented one\n"
	          "name=  two words # and; all of \"this\"=too \t\r\n"
	          "\n"
	          "domain = a.example\n"
	          "domain = b.example\n"
	          "\tlisten = 127.0.0.1:4401\n"
	          "max-message = 64K\n"
	          "lifetime = 90d\n"
	          "workers = 64\n"
	          "port = 0\n"
	          "allow-private = yes\n"
	          "unverified = keep",
	          &h);
	snprintf(want, sizeof want, "%s/store", dir);
	assert_string_equal(h.data, want);
	assert_string_equal(h.name, "two words # and; all of \"this\"=too");
	assert_int_equal(h.domain.n, 2);
	assert_string_equal(h.domain.item[0], "a.example");
	assert_string_equal(h.domain.item[1], "b.example");
	assert_int_equal(h.domain.line[0], 6);
	assert_int_equal(h.domain.line[1], 7);
	assert_int_equal(h.listen.n, 1); /* the default is gone */
	assert_string_equal(h.listen.item[0], "127.0.0.1:4401");
	assert_int_equal(h.max_message, 65536);
	assert_int_equal(h.lifetime, 90 * 86400);
	assert_int_equal(h.workers, 64);
	assert_int_equal(h.port, 0);
	assert_true(h.private);
	assert_int_equal(h.unverified, 1);
	release(&h);
	assert_null(h.data);
	assert_int_equal(h.domain.n, 0);
	release(&h);
}

static void test_defaults(void **state)
{
	struct head h;

	(void)state;
	read_good("\xef\xbb\xbf" "data = /var/x\r\n", &h); /* from an editor that marks UTF-8 */
	assert_string_equal(h.data, "/var/x");
	assert_string_equal(h.name, "nobody");
	assert_int_equal(h.domain.n, 0);
	assert_int_equal(h.listen.n, 1);
	assert_string_equal(h.listen.item[0], "[::1]:4401");
	assert_int_equal(h.listen.line[0], 0);
	assert_int_equal(h.max_message, 256 << 20);
	assert_int_equal(h.lifetime, 0);
	assert_int_equal(h.workers, 2);
	assert_false(h.private);
	assert_int_equal(h.unverified, 0);
	release(&h);
}

static void test_sections(void **state)
{
	struct head h;
	char want[600];

	(void)state;
	read_good("data = .\n"
	          "[account home]\n"
	          "mailbox = bob@b.example\n"
	          "limit = 2K\n"
	          "files = a b\n"
	          "files = /etc/a\n"
	          "  [ account a longer name than fifty octets: \xc3\xbc, at work ]  \n"
	          "file = /etc/pass word\n"
	          "mailbox = bob@c.example\n",
	          &h);
	assert_int_equal(accounts_n, 2);
	assert_string_equal(titles[0], "home");
	assert_string_equal(accounts[0].mailbox, "bob@b.example");
	assert_int_equal(accounts[0].limit, 2048);
	snprintf(want, sizeof want, "%s/default.txt", dir);
	assert_string_equal(accounts[0].file, want);
	assert_int_equal(accounts[0].files.n, 2);
	snprintf(want, sizeof want, "%s/a b", dir);
	assert_string_equal(accounts[0].files.item[0], want);
	assert_string_equal(accounts[0].files.item[1], "/etc/a");
	assert_int_equal(accounts[1].files.n, 0);
	assert_string_equal(titles[1], "a longer name than fifty octets: \xc3\xbc, at work");
	assert_string_equal(accounts[1].mailbox, "bob@c.example");
	assert_string_equal(accounts[1].file, "/etc/pass word");
	assert_int_equal(accounts[1].limit, 1024);
	release(&h);
}

/* In WANT, P stands for the file's path. */
static const struct {
	const char *text, *want;
} mistakes[] = {
	{ "", "P: data: must be set" },
	{ "data = x\nworkers = 1\n[account a]\n", "P:3: mailbox: must be set in [account a]" },
	{ "data = x\n[account a]\n\n[account b]\nmailbox = b\n",
	  "P:2: mailbox: must be set in [account a]" },
	{ "[account a]\nmailbox = b\n", "P: data: must be set" },
	{ "data =\n", "P:1: data: has no value" },
	{ "\n\ndata = # none\ndata = y\n", "P:4: data: stands in line 3 already" },
	{ "data\n", "P:1: neither \"key = value\" nor \"[section]\" nor \"# comment\"" },
	{ "data = x\n; no comment here\n",
	  "P:2: neither \"key = value\" nor \"[section]\" nor \"# comment\"" },
	{ "= x\n", "P:1: neither \"key = value\" nor \"[section]\" nor \"# comment\"" },
	{ "data = x\n  continued\n",
	  "P:2: neither \"key = value\" nor \"[section]\" nor \"# comment\"" },
	{ "data: x = y\n", "P:1: a key has no colon: key = value" },
	{ "mailbox = x\n", "P:1: \"mailbox\" is no key here (allowed: data, name, domain, listen, "
	                   "max-message, lifetime, workers, port, allow-private, unverified)" },
	{ "data = x\n[account a]\ndata = y\n",
	  "P:3: \"data\" is no key here (allowed: mailbox, file, files, limit)" },
	{ "Data = x\n", NULL },
	{ "data x = y\n", NULL },
	{ "max-message = huge\n",
	  "P:1: max-message: \"huge\" is no size (allowed: 1K to 4G, as in 256M)" },
	{ "max-message = 1023\n",
	  "P:1: max-message: \"1023\" is too small (allowed: 1K to 4G, as in 256M)" },
	{ "max-message = 5G\n",
	  "P:1: max-message: \"5G\" is too large (allowed: 1K to 4G, as in 256M)" },
	{ "max-message = 99999999999999999999G\n",
	  "P:1: max-message: \"99999999999999999999G\" is too large (allowed: 1K to 4G, as in 256M)" },
	{ "lifetime = 1w\n", "P:1: lifetime: \"1w\" is no duration (allowed: 1m or more, as in 90d)" },
	{ "lifetime = 59s\n", "P:1: lifetime: \"59s\" is too small (allowed: 1m or more, as in 90d)" },
	{ "workers = 0\n", "P:1: workers: \"0\" is too small (allowed: 1 to 64)" },
	{ "workers = -1\n", "P:1: workers: \"-1\" is no number (allowed: 1 to 64)" },
	{ "port = 65536\n", "P:1: port: \"65536\" is too large (allowed: 0 to 65535)" },
	{ "allow-private = true\n", "P:1: allow-private: \"true\" is none of: no, yes" },
	{ "unverified = Keep\n", "P:1: unverified: \"Keep\" is none of: refuse, keep" },
	{ "unverified = 123456789 123456789 123456789 123456789 123456789 12345678\xc3\xbc, long\n",
	  "P:1: unverified: \"123456789 123456789 123456789 123456789 123456789 12345678\xc3\xbc"
	  "\xe2\x80\xa6\" is none of: refuse, keep" },
	{ "data = x\n[]\n", "P:2: a section needs a title: [title]" },
	{ "data = x\n[  ]\n", "P:2: a section needs a title: [title]" },
	{ "data = x\n[account a\n", "P:2: a section is a title between brackets: [title]" },
	{ "data = x\n[\n", "P:2: a section is a title between brackets: [title]" },
	{ "data = x\n[account a] # home\n", "P:2: a section is a title between brackets: [title]" },
	{ "data = x\n[account [a]]\n", "P:2: a section is a title between brackets: [title]" },
	{ "data = x\n[store]\n",
	  "P:2: [store] is no section here (allowed: [account NAME])" },
	{ "data = x\n\xff\n", "P:2: the line is not UTF-8 text" },
	{ "data = a\x1b[2J\n", "P:1: the line has a control character" },
	{ "data = x\rname = y\n", "P:1: the line has a control character" },
};

static void test_mistakes(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(mistakes); i++) {
		const char *want = mistakes[i].want;
		struct err_text e;
		struct head h;
		int rc = read_octets(mistakes[i].text, strlen(mistakes[i].text), &schema, &h, &e);

		if (rc != ERR_CONFIG)
			fail_msg("\"%s\": %d %s", mistakes[i].text, rc, e.text);
		assert_memory_equal(e.text, path, strlen(path));
		if (want != NULL && strcmp(e.text + strlen(path), want + 1) != 0)
			fail_msg("\"%s\": %s", mistakes[i].text, e.text);
		release(&h);
	}
}

static void test_no_sections(void **state)
{
	static const char text[] = "data = x\n[account a]\n";
	struct err_text e;
	struct head h;

	(void)state;
	assert_int_equal(read_octets(text, strlen(text), &schema_plain, &h, &e), ERR_CONFIG);
	assert_string_equal(e.text + strlen(path), ":2: this file has no sections");
	release(&h);
}

/* A NUL, lines at the limit and over it, a file over its limit, no file, a directory. */
static void test_limits(void **state)
{
	enum { LONGEST = 4095 };
	struct err_text e;
	struct head h;
	char *big = malloc(1100000);

	(void)state;
	assert_non_null(big);
	assert_int_equal(read_octets("data = a\0b\n", 11, &schema, &h, &e), ERR_CONFIG);
	assert_string_equal(e.text + strlen(path), ":1: the line is not UTF-8 text");
	release(&h);

	memset(big, 'x', 1100000);
	memcpy(big, "data=/", 6);
	big[LONGEST] = '\n';
	assert_int_equal(read_octets(big, LONGEST + 1, &schema, &h, &e), 0);
	assert_int_equal(strlen(h.data), LONGEST - 5);
	release(&h);
	big[LONGEST] = 'x';
	big[LONGEST + 1] = '\n';
	assert_int_equal(read_octets(big, LONGEST + 2, &schema, &h, &e), ERR_CONFIG);
	assert_string_equal(e.text + strlen(path), ":1: the line is too long (allowed: 4095 octets)");
	release(&h);

	memset(big, '\n', 1100000);
	memcpy(big + (1 << 20) - 8, "data = x", 8);
	assert_int_equal(read_octets(big, 1 << 20, &schema, &h, &e), 0);
	release(&h);
	assert_int_equal(read_octets(big, 1100000, &schema, &h, &e), ERR_CONFIG);
	assert_string_equal(e.text + strlen(path), ": over 1 MiB: is this a configuration?");
	release(&h);
	free(big);

	unlink(path);
	memset(&h, 0, sizeof h);
	assert_int_equal(conf_read(path, &schema, &h, &e), ERR_IO);
	assert_string_equal(e.text + strlen(path), ": No such file or directory");
	assert_int_equal(conf_read(dir, &schema, &h, &e), ERR_IO);
	assert_string_equal(e.text + strlen(dir), ": Is a directory");
	assert_int_equal(conf_read(path, &schema, &h, NULL), ERR_IO);
	release(&h);
}

static void test_section_title_limit(void **state)
{
	struct err_text e;
	struct head h;
	char text[400];
	int n;

	(void)state;
	n = snprintf(text, sizeof text, "data = x\n[account %0*d]\n", 193, 0);
	assert_int_equal(read_octets(text, (size_t)n, &schema, &h, &e), ERR_CONFIG);
	assert_string_equal(e.text + strlen(path),
	                    ":2: the section's title is too long (allowed: 200 octets)");
	release(&h);
}

static void test_conf_error(void **state)
{
	struct err_text e;

	(void)state;
	assert_int_equal(conf_error(&e, "x.conf", 7, "route", "\"%s\" is no address", "q"),
	                 ERR_CONFIG);
	assert_string_equal(e.text, "x.conf:7: route: \"q\" is no address");
	conf_error(&e, "x.conf", 0, "route", "bad");
	assert_string_equal(e.text, "x.conf: route: bad");
	conf_error(&e, "x.conf", 3, NULL, "bad");
	assert_string_equal(e.text, "x.conf:3: bad");
	assert_int_equal(conf_error(NULL, "x.conf", 3, NULL, "bad"), ERR_CONFIG);
}

static void test_conf_blame(void **state)
{
	static const struct {
		const char *file, *text, *want; /* WANT: what stands after the path; NULL: unchanged */
	} cases[] = {
		{ "key = a\n", "key a: no such file", ":1: key a: no such file" },
		{ "# key = b\n\n data = x\r\n  key\t=a", "key a: bad", ":4: key a: bad" },
		{ "\xef\xbb\xbfkey = a\n", "key a: bad", ":1: key a: bad" },
		{ "keys = a\n", "key a: bad", NULL },
		{ "key\n= key\n", "key a: bad", NULL },
		{ "key = a\n", "keys a: bad", NULL },
		{ "key = a\n", "key: bad", NULL },
		{ "key = a\n", "key", NULL },
		{ "key = a\n", " bad", NULL },
		{ "key = a\n", "", NULL },
		{ "= a\n", " bad", NULL },
		{ "key = a\nkey = b\n", "key a: bad", NULL },
		{ "key = /a\nkey = /b\n", "key /b: bad", ":2: key /b: bad" },
		{ "key = /a\nkey = /a b\n", "key /a is", ":1: key /a is" },
		{ "key = /a\nkey = /a\n", "key /a: bad", NULL },
		{ "key = /a\nkey = /b\n", "key /c: bad", NULL },
		{ "key = /a\n", "key /c: bad", ":1: key /c: bad" },
		{ "data = x\n[other]\nkey = a\n", "key a: bad", NULL },
		{ "", "key a: bad", NULL },
	};
	struct err_text e;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		write_file(cases[i].file, strlen(cases[i].file));
		err_set(&e, ERR_IO, "%s", cases[i].text);
		assert_int_equal(conf_blame(&e, ERR_DENIED, path), ERR_DENIED);
		if (cases[i].want == NULL) {
			assert_string_equal(e.text, cases[i].text);
			continue;
		}
		assert_memory_equal(e.text, path, strlen(path));
		assert_string_equal(e.text + strlen(path), cases[i].want);
	}
	unlink(path);
	err_set(&e, ERR_IO, "key a: bad");
	assert_int_equal(conf_blame(&e, ERR_IO, path), ERR_IO);
	assert_string_equal(e.text, "key a: bad");
	assert_int_equal(conf_blame(NULL, ERR_IO, path), ERR_IO);
}

/* Keys of every type that want a restart: those whose value is another one are named, in order. */
static void test_changes(void **state)
{
	static const char before[] = "data = d\nname = n\ndomain = a\ndomain = b\nmax-message = 1M\n"
	                             "lifetime = 1d\nworkers = 3\nallow-private = no\n"
	                             "unverified = keep\n";
	static const struct {
		const char *text; /* after DATA */
		const char *changed;
	} cases[] = {
		{ before, "" },
		{ "data = e\nname = n\ndomain = a\ndomain = b\nmax-message = 1024K\nlifetime = 24h\n"
		  "workers = 3\nunverified = keep\n", "data " },
		{ "data = d\nname = m\ndomain = a\nmax-message = 1M\nlifetime = 1d\nworkers = 3\n"
		  "unverified = keep\n", "name domain " },
		{ "data = d\nname = n\ndomain = b\ndomain = a\nmax-message = 2M\nlifetime = 2d\n"
		  "workers = 4\nallow-private = yes\nunverified = refuse\n",
		  "domain max-message lifetime workers allow-private unverified " },
		{ "data = d\n", "name domain max-message lifetime workers unverified " },
	};
	struct conf_key keys[COUNT(head_keys)];
	struct head old, fresh;
	struct err_text e;

	(void)state;
	memcpy(keys, head_keys, sizeof keys);
	read_good(before, &old);
	for (size_t i = 0; i < COUNT(cases); i++) {
		char changed[200] = "";
		const char *name;
		size_t at = 0;

		assert_int_equal(read_octets(cases[i].text, strlen(cases[i].text), &schema, &fresh, &e), 0);
		assert_null(conf_next_changed(head_keys, &old, &fresh, &at)); /* none is marked */
		for (size_t k = 0; keys[k].name != NULL; k++)
			keys[k].restart = true;
		at = 0;
		while ((name = conf_next_changed(keys, &old, &fresh, &at)) != NULL)
			snprintf(changed + strlen(changed), sizeof changed - strlen(changed), "%s ",
			         name);
		assert_string_equal(changed, cases[i].changed);
		release(&fresh);
	}
	release(&old);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_types),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_sections),
		cmocka_unit_test(test_mistakes),
		cmocka_unit_test(test_no_sections),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_section_title_limit),
		cmocka_unit_test(test_conf_error),
		cmocka_unit_test(test_conf_blame),
		cmocka_unit_test(test_changes),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
