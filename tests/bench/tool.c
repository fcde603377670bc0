#include "tests/bench/tool.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "net/address.h"

void tool_fatal(const char *format, ...)
{
	va_list args;

	fflush(stdout);
	fputs("bench: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

void *tool_zero(size_t octets)
{
	void *p = calloc(1, octets > 0 ? octets : 1);

	if (p == NULL)
		tool_fatal("memory is out");
	return p;
}

/* ---- options ------------------------------------------------------------------------ */

static __attribute__((noreturn)) void usage(const struct tool_option *options, const char *why,
                                            const char *what)
{
	static const char *const forms[] = { " TEXT", " NUMBER", " SIZE", " HOST:PORT", "" };

	fprintf(stderr, "bench: %s%s; options:", why, what);
	for (const struct tool_option *o = options; o->name != NULL; o++)
		fprintf(stderr, o->required ? " --%s%s" : " [--%s%s]", o->name, forms[o->kind]);
	fputc('\n', stderr);
	exit(2);
}

static bool set(const struct tool_option *o, const char *text)
{
	switch (o->kind) {
	case TOOL_TEXT:
		*(const char **)o->value = text;
		return true;
	case TOOL_NUMBER:
		return text_parse_number(text, UINT64_MAX, o->value) == 0;
	case TOOL_SIZE:
		return text_parse_size(text, o->value) == 0;
	case TOOL_ADDRESS:
		return address_parse(text, o->value) == 0;
	case TOOL_FLAG:
		*(bool *)o->value = true;
		return true;
	}
	return false;
}

void tool_options(int argc, char **argv, const struct tool_option *options)
{
	uint64_t seen = 0;

	for (int i = 1; i < argc; i++) {
		const struct tool_option *o = options;

		while (o->name != NULL &&
		       (strncmp(argv[i], "--", 2) != 0 || strcmp(argv[i] + 2, o->name) != 0))
			o++;
		if (o->name == NULL)
			usage(options, "no option: ", argv[i]);
		if (o->kind != TOOL_FLAG && ++i == argc)
			usage(options, "no value for --", o->name);
		if (!set(o, argv[i]))
			usage(options, "a bad value for --", o->name);
		seen |= 1ULL << (o - options);
	}
	for (const struct tool_option *o = options; o->name != NULL; o++)
		if (o->required && (seen >> (o - options) & 1) == 0)
			usage(options, "wanted is --", o->name);
}

/* ---- the report --------------------------------------------------------------------- */

void tool_times_add(struct tool_times *t, uint64_t us)
{
	if (t->n == t->cap) {
		t->cap = t->cap == 0 ? 1024 : 2 * t->cap;
		t->us = realloc(t->us, t->cap * sizeof *t->us);
		if (t->us == NULL)
			tool_fatal("memory is out");
	}
	t->us[t->n++] = us;
}

static int compare(const void *x, const void *y)
{
	uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;

	return a < b ? -1 : a > b;
}

void tool_report(uint64_t operations, uint64_t took_us, struct tool_times *t)
{
	printf("{\"operations\":%llu,\"seconds\":%.6f,\"per_second\":%.2f",
	       (unsigned long long)operations, (double)took_us / 1e6,
	       (double)operations * 1e6 / (double)(took_us > 0 ? took_us : 1));
	if (t == NULL || t->n == 0)
		return;
	qsort(t->us, t->n, sizeof *t->us, compare);
	tool_report_number("p50_us", t->us[t->n / 2]);
	tool_report_number("p99_us", t->us[t->n * 99 / 100]);
	tool_report_number("max_us", t->us[t->n - 1]);
	free(t->us);
	*t = (struct tool_times){ 0 };
}

void tool_report_number(const char *name, uint64_t value)
{
	printf(",\"%s\":%llu", name, (unsigned long long)value);
}

void tool_report_end(void)
{
	puts("}");
}

/* ---- a message ---------------------------------------------------------------------- */

char *tool_message(size_t octets, const char *from, const char *to)
{
	static const char line[] = "The quick brown fox jumps over the lazy dog, and then goes "
				   "back to sleep again.\r\n";
	char *message = tool_zero(octets + 1);
	int head = snprintf(message, octets,
	                    "From: <%s>\r\nTo: <%s>\r\nSubject: a message of the benchmark\r\n"
	                    "Date: Mon, 23 Nov 2026 10:00:00 +0000\r\n"
	                    "Message-ID: <1@bench.example>\r\n\r\n",
	                    from, to);

	if (head < 0 || (size_t)head + 2 > octets)
		tool_fatal("a message of %zu octets is too small", octets);
	for (size_t i = (size_t)head; i < octets; i++)
		message[i] = line[(i - (size_t)head) % (sizeof line - 1)];
	message[octets - 2] = '\r';
	message[octets - 1] = '\n';
	return message;
}
