/* How the administration commands of the daemons end a change and say what they found. */
#ifndef IM2000_SESSION_REPORT_H
#define IM2000_SESSION_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/kv.h"

/*
 * Ends T by RC, what came of the change so far: commits it where that is 0, else aborts. 0, or
 * an error with E filled: "DOING: ...", where RC's text is not in E yet.
 */
int report_change(struct kv_txn *t, int rc, const char *doing, struct err_text *e);

/* For db_check: prints LINE, what does not add up, to stdout. */
void report_line(void *ctx, const char *line);

/*
 * Says for PROGRAM what a check came to that FOUND so many things wrong, or failed with a
 * negative FOUND, of the database in folder DATA: 0 (said on stderr), or an error with E filled.
 */
int report_check(const char *program, int found, const char *data, struct err_text *e);

struct report_row {
	const char *name; /* as it stands in JSON, too: no character to escape */
	uint64_t value;
};

/* Prints the N rows to stdout: lines of a name in WIDTH columns and its value; or a JSON object. */
void report_rows(const struct report_row *rows, size_t n, int width, bool json);

#endif
