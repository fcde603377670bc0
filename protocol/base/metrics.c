#include "base/metrics.h"

#include <stdarg.h>
#include <string.h>

#include "base/clock.h"

#define TEXT_MAX ((size_t)16 << 20)

void metrics_init(struct metrics *m)
{
	*m = (struct metrics){ .family = "" };
	buf_init(&m->text, TEXT_MAX);
}

void metrics_free(struct metrics *m)
{
	buf_free(&m->text);
}

/* Notes the first thing that goes wrong. */
static void note(struct metrics *m, int rc)
{
	if (m->error == 0)
		m->error = rc;
}

void metrics_family(struct metrics *m, enum metrics_type type, const char *name, const char *help)
{
	static const char *const types[] = { "counter", "gauge" };

	m->family = name;
	note(m, buf_addf(&m->text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, types[type]));
}

/* A label's value: backslash, quote and newline are the three that must be escaped. */
static void add_quoted(struct metrics *m, const char *value)
{
	note(m, buf_add_str(&m->text, "\""));
	for (; *value != '\0'; value++) {
		switch (*value) {
		case '\\':
			note(m, buf_add_str(&m->text, "\\\\"));
			break;
		case '"':
			note(m, buf_add_str(&m->text, "\\\""));
			break;
		case '\n':
			note(m, buf_add_str(&m->text, "\\n"));
			break;
		default:
			note(m, buf_add(&m->text, value, 1));
		}
	}
	note(m, buf_add_str(&m->text, "\""));
}

static void add_labels(struct metrics *m, va_list labels)
{
	const char *name, *before = "{";

	note(m, buf_add_str(&m->text, m->family));
	while ((name = va_arg(labels, const char *)) != NULL) {
		note(m, buf_addf(&m->text, "%s%s=", before, name));
		add_quoted(m, va_arg(labels, const char *));
		before = ",";
	}
	if (*before == ',')
		note(m, buf_add_str(&m->text, "}"));
}

void metrics_add(struct metrics *m, uint64_t value, ...)
{
	va_list labels;

	va_start(labels, value);
	add_labels(m, labels);
	va_end(labels);
	note(m, buf_addf(&m->text, " %llu\n", (unsigned long long)value));
}

void metrics_add_us(struct metrics *m, uint64_t value_us, ...)
{
	va_list labels;

	va_start(labels, value_us);
	add_labels(m, labels);
	va_end(labels);
	note(m, buf_addf(&m->text, " %llu.%06llu\n",
	                 (unsigned long long)(value_us / CLOCK_SECOND_US),
	                 (unsigned long long)(value_us % CLOCK_SECOND_US)));
}

void metrics_one(struct metrics *m, enum metrics_type type, const char *name, const char *help,
                 uint64_t value)
{
	metrics_family(m, type, name, help);
	metrics_add(m, value, NULL);
}

void metrics_histogram(struct metrics *m, const char *name, const char *help,
                       const uint64_t *bounds, const uint64_t *counts, size_t n, uint64_t sum)
{
	uint64_t total = 0;

	note(m, buf_addf(&m->text, "# HELP %s %s\n# TYPE %s histogram\n", name, help, name));
	for (size_t i = 0; i < n; i++) {
		total += counts[i];
		note(m, buf_addf(&m->text, "%s_bucket{le=\"%llu\"} %llu\n", name,
		                 (unsigned long long)bounds[i], (unsigned long long)total));
	}
	total += counts[n];
	note(m, buf_addf(&m->text, "%s_bucket{le=\"+Inf\"} %llu\n%s_sum %llu\n%s_count %llu\n", name,
	                 (unsigned long long)total, name, (unsigned long long)sum, name,
	                 (unsigned long long)total));
}
