/*
 * A claim on a data directory: one process at a time holds it, so that a daemon that is started
 * twice by mistake says so (listeners share addresses, and the database lets several write). The
 * kernel lets go of it when the process ends, however that happens (flock(2)).
 */
#ifndef IM2000_BASE_CLAIM_H
#define IM2000_BASE_CLAIM_H

#include "base/err.h"

struct claim;

/*
 * Claims DIR by its file NAME (made, mode 0600; it has the holder's process number, for people).
 * 0; ERR_EXISTS when another process holds it, ERR_IO, ERR_NOMEM, with E filled.
 */
int claim_take(const char *dir, const char *name, struct claim **out, struct err_text *e);
/*
 * Whether a process holds it: its number, as the file tells; 0: none does; ERR_IO. Another moment,
 * another answer: good for a message.
 */
long claim_holder(const char *dir, const char *name);
/* The file stays. NULL is fine. */
void claim_drop(struct claim *c);

#endif
