/*
 * A Maildir: one file a message, in DIR/new or, once it was read, DIR/cur. A message has the same
 * name each time, so that what is there already is known, wherever its owner's programs moved it
 * and whatever flags they gave it.
 */
#ifndef IM2000_AGENT_MAILDIR_H
#define IM2000_AGENT_MAILDIR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

struct maildir;

/* Opens PATH, and makes it where it is not there. 0 or an error with E filled. */
int maildir_open(const char *path, struct maildir **out, struct err_text *e);
void maildir_close(struct maildir *m); /* NULL is fine; a message under way is gone */

/* Whether a message of that NAME (letters, digits, dots) is there. */
bool maildir_has(const struct maildir *m, const char *name);

/* One message: its octets as they come, their CRLFs as the LFs that programs expect there. It is
 * there once maildir_end is content, with TIME_US as the file's time. 0 or an error with E
 * filled. */
int maildir_begin(struct maildir *m, const char *name, struct err_text *e);
int maildir_octets(struct maildir *m, struct span octets, struct err_text *e);
int maildir_end(struct maildir *m, bool read, uint64_t time_us, struct err_text *e);

#endif
