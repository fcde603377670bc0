/* The daemon: serves RNASP and RNAQP until it is told to stop. */
#ifndef IM2000_NOTIFY_RUN_H
#define IM2000_NOTIFY_RUN_H

#include "base/err.h"

/*
 * Reads CONFIG_PATH, opens the data directory, serves. Returns 0 after SIGTERM or
 * SIGINT, or an error with E filled.
 */
int notify_run(const char *config_path, struct err_text *e);

/*
 * What `run --check` looks at: the configuration, and that its files can be
 * used. 0, or the first thing that is wrong, in E.
 */
int notify_check(const char *config_path, struct err_text *e);

#endif
