/* Commands of the person's own, run by the shell: a password command, what `wait --exec` runs. */
#ifndef IM2000_AGENT_SHELL_H
#define IM2000_AGENT_SHELL_H

#include <stddef.h>

#include "base/err.h"

/* The first line that COMMAND prints, without its end, into OUT[CAP]; cut when it is longer. 0,
 * or ERR_IO, ERR_CONFIG (the command failed, or printed nothing) with E filled. */
int shell_ask(const char *command, char *out, size_t cap, struct err_text *e);

/* Runs COMMAND with this program's environment. 0, or ERR_IO with E filled when it did not start or
 * did not end with 0. */
int shell_run(const char *command, struct err_text *e);

#endif
