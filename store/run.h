/* The daemon: serves MSOAP and MSRAP and notifies, until it is told to stop. */
#ifndef IM2000_STORE_RUN_H
#define IM2000_STORE_RUN_H

#include "base/err.h"

/*
 * Reads CONFIG_PATH, opens the data directory, serves. Returns 0 after SIGTERM or
 * SIGINT, or an error with E filled (nothing was served then, or the loop failed).
 */
int store_run(const char *config_path, struct err_text *e);

#endif
