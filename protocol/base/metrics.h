/*
 * Numbers that an operator's monitoring reads: Prometheus' text format 0.0.4
 * (https://prometheus.io/docs/instrumenting/exposition_formats/). A text is made
 * family by family; what does not fit into memory makes the whole text void.
 */
#ifndef IM2000_BASE_METRICS_H
#define IM2000_BASE_METRICS_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum metrics_type {
	METRICS_COUNTER, /* only rises, until the process ends; its name ends in _total */
	METRICS_GAUGE,
};

struct metrics {
	struct buf text;
	const char *family; /* the one begun last */
	int error;          /* sticky */
};

void metrics_init(struct metrics *m);
void metrics_free(struct metrics *m);

/* Begins the family NAME (static storage), which HELP explains in one line. */
void metrics_family(struct metrics *m, enum metrics_type type, const char *name, const char *help);

/*
 * A sample of the family begun last. The labels are pairs of texts, name and value (any text),
 * ended by NULL: metrics_add(m, 7, "protocol", "msoap", NULL).
 */
void metrics_add(struct metrics *m, uint64_t value, ...) __attribute__((sentinel));
/* The same of a time, written in seconds. */
void metrics_add_us(struct metrics *m, uint64_t value_us, ...) __attribute__((sentinel));

/* A family of one sample without labels. */
void metrics_one(struct metrics *m, enum metrics_type type, const char *name, const char *help,
                 uint64_t value);

/*
 * A histogram as one family: COUNTS[i] things were at most BOUNDS[i] and above the bound before,
 * COUNTS[N] above all of the N bounds; SUM is the sum of all.
 */
void metrics_histogram(struct metrics *m, const char *name, const char *help,
                       const uint64_t *bounds, const uint64_t *counts, size_t n, uint64_t sum);

#endif
