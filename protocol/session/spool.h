/* Files that exist only once they are complete: nameless while they are written. */
#ifndef IM2000_SESSION_SPOOL_H
#define IM2000_SESSION_SPOOL_H

#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

struct spool {
	int fd;
	char *path; /* where the file system has no nameless files; else NULL */
};

/* A new file in directory DIR (made when absent, 0700), mode 0600. 0 or ERR_IO with E filled. */
int spool_open(struct spool *s, const char *dir, struct err_text *e);
/* Gives the file the path TO; one that stands there is replaced. 0 or ERR_IO with E filled. */
int spool_keep(struct spool *s, const char *to, struct err_text *e);
/* Closes it; what was not kept is gone. Again is fine. */
void spool_close(struct spool *s);

/* All of DATA to FD. 0, ERR_FULL, ERR_IO with E filled. */
int spool_write(int fd, struct span data, struct err_text *e);

#endif
