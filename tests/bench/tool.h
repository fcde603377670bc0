/* What the measuring programs share: options, failing, and the report. */
#ifndef IM2000_BENCH_TOOL_H
#define IM2000_BENCH_TOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

/* Says so on standard error and exits with 1. */
__attribute__((format(printf, 1, 2), noreturn)) void tool_fatal(const char *format, ...);

/* Zeroed memory, or the program ends. */
void *tool_zero(size_t octets);

/* Options: --NAME VALUE, or --NAME alone for a flag. The table ends with a NULL name. */
enum tool_kind { TOOL_TEXT, TOOL_NUMBER, TOOL_SIZE, TOOL_ADDRESS, TOOL_FLAG };
struct tool_option {
	const char *name;
	enum tool_kind kind;
	void *value;   /* const char *, uint64_t, uint64_t, struct address, bool */
	bool required;
};
/* Fills the values; ends the program with the list of options when something is wrong. */
void tool_options(int argc, char **argv, const struct tool_option *options);

/* How long each operation took. */
struct tool_times {
	uint64_t *us;
	size_t n, cap;
};
void tool_times_add(struct tool_times *t, uint64_t us);

/*
 * Prints one JSON object without its closing brace: how many operations in how
 * many microseconds, and the times' distribution. tool_report_end closes it.
 */
void tool_report(uint64_t operations, uint64_t took_us, struct tool_times *t);
void tool_report_number(const char *name, uint64_t value);
void tool_report_end(void);

/* A message of OCTETS octets: a header and lines of text. The caller frees. */
char *tool_message(size_t octets, const char *from, const char *to);

#endif
