/* What the fuzz targets of whole daemons share: sessions over socket pairs, on a real database. */
#ifndef IM2000_TESTS_SERVING_H
#define IM2000_TESTS_SERVING_H

#include <stdbool.h>
#include <stddef.h>

#include "base/span.h"
#include "session/server.h"

#define SERVING_DIR_SIZE 64

/* Ends the process as a finding where HOLDS is false. */
void serving_check(bool holds);

/* For random_set_source: the same octets in each run, so that inputs can hold what they make. */
void serving_fixed_octets(void *out, size_t n);

/* For db_check: a finding, to stderr. */
void serving_print_line(void *ctx, const char *line);

/* Makes a directory of this run's own, and removes it with FILES (NULL-terminated) in it. */
void serving_dir_make(char dir[SERVING_DIR_SIZE]);
void serving_dir_remove(const char *dir, const char *const *files);

/*
 * One session of PROTOCOL with APP: its peer writes INPUT in pieces of PIECE octets, ends its
 * side and reads all that comes. Returns when the session has ended.
 */
void serving_session(struct loop *loop, const struct server_protocol *protocol,
                     const struct server_limits *limits, void *app, struct span input,
                     size_t piece);

#endif
