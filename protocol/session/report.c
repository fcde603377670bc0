#include "session/report.h"

#include <stdio.h>

int report_change(struct kv_txn *t, int rc, const char *doing, struct err_text *e)
{
	rc = kv_write_end(t, rc);
	return rc == 0 || e->text[0] != '\0' ? rc
	                                     : err_set(e, rc, "%s: %s", doing, err_phrase(rc));
}

void report_line(void *ctx, const char *line)
{
	(void)ctx;
	printf("%s\n", line);
}

int report_check(const char *program, int found, const char *data, struct err_text *e)
{
	if (found < 0) {
		return err_set(e, found, "check %s: %s", data, err_phrase(found));
	}
	if (found > 0) {
		return err_set(e, ERR_MALFORMED, "check: %d thing%s not add up: restore a backup",
		               found, found == 1 ? " does" : "s do");
	}
	fprintf(stderr, "%s: all tables add up\n", program);
	return 0;
}

void report_rows(const struct report_row *rows, size_t n, int width, bool json)
{
	for (size_t i = 0; i < n; i++) {
		if (json) {
			printf("%s\"%s\":%llu", i == 0 ? "{" : ",", rows[i].name,
			       (unsigned long long)rows[i].value);
		} else {
			printf("%-*s %llu\n", width, rows[i].name,
			       (unsigned long long)rows[i].value);
		}
	}
	if (json) {
		printf("}\n");
	}
}
