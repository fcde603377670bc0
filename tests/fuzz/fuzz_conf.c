/*
 * Any octets as a configuration file, with keys of every type and sections. Reading ends in
 * success, or in an error whose text names the file; nothing leaks, and lists have a line for
 * each item.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/conf.h"
#include "base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SECTIONS_MAX = 50 };

struct values {
	char *text;
	char *path;
	struct conf_list list, paths;
	uint64_t size, duration, number;
	bool yes;
	unsigned choice;
};

static const char *const choices[] = { "refuse", "keep", NULL };

#define AT(member) offsetof(struct values, member)

static const struct conf_key keys[] = {
	{ .name = "name", .type = CONF_TEXT, .offset = AT(text), .initial = "x" },
	{ .name = "data", .type = CONF_PATH, .offset = AT(path), .initial = "y" },
	{ .name = "domain", .type = CONF_LIST, .offset = AT(list), .initial = "z" },
	{ .name = "certificate", .type = CONF_PATHS, .offset = AT(paths), .initial = "z" },
	{ .name = "max-message", .type = CONF_SIZE, .offset = AT(size), .min = 1, .max = 1 << 30 },
	{ .name = "lifetime", .type = CONF_DURATION, .offset = AT(duration), .min = 60 },
	{ .name = "workers", .type = CONF_NUMBER, .offset = AT(number), .max = 64 },
	{ .name = "allow-private", .type = CONF_BOOL, .offset = AT(yes) },
	{ .name = "unverified", .type = CONF_CHOICE, .offset = AT(choice), .choices = choices },
	{ 0 },
};

static struct values sections[SECTIONS_MAX];
static size_t sections_n;

static int open_section(void *ctx, const char *title, const struct conf_key **section_keys,
                        void **target, struct err_text *e)
{
	(void)ctx;
	if (strncmp(title, "account ", 8) != 0 || sections_n == SECTIONS_MAX)
		return err_set(e, ERR_CONFIG, "[%s] is no section here", title);
	*section_keys = keys;
	*target = &sections[sections_n++];
	return 0;
}

static void check(bool holds)
{
	if (!holds)
		abort();
}

static void check_values(const struct values *v)
{
	check(v->text[0] != '\0' && v->path[0] != '\0' && v->list.n >= 1);
	check(text_is_utf8(span_str(v->text)));
	for (size_t i = 0; i < v->list.n; i++)
		check(v->list.item[i][0] != '\0' && (v->list.line[i] > 0 || v->list.n == 1));
	check(v->size <= 1 << 30 && (v->duration == 0 || v->duration >= 60) && v->number <= 64);
	check(v->choice < 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct conf_schema schema = { .keys = keys, .section_open = open_section };
	struct values head = { 0 };
	struct err_text e = { "" };
	char path[64];
	int fd = memfd_create("conf", MFD_CLOEXEC);
	int rc;

	check(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	memset(sections, 0, sizeof sections);
	sections_n = 0;
	rc = conf_read(path, &schema, &head, &e);
	if (rc == 0) {
		check_values(&head);
		for (size_t i = 0; i < sections_n; i++)
			check_values(&sections[i]);
	} else {
		check(rc == ERR_CONFIG && strncmp(e.text, path, strlen(path)) == 0);
		check(strlen(e.text) > strlen(path) + 3 && text_is_utf8(span_str(e.text)));
	}
	conf_release(keys, &head);
	for (size_t i = 0; i < sections_n; i++)
		conf_release(keys, &sections[i]);
	close(fd);
	return 0;
}
