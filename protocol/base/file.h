/* Files that must outlast a power cut: a name in its directory, octets on the disk. */
#ifndef IM2000_BASE_FILE_H
#define IM2000_BASE_FILE_H

#include <limits.h>
#include <stddef.h>

#include "base/err.h"

/* DIR/NAME into OUT. 0, or ERR_IO with E filled when that is too long. */
int file_path(const char *dir, const char *name, char out[PATH_MAX], struct err_text *e);

/* Makes the entries of directory DIR as durable as their files. 0, or errno's number. */
int file_sync_dir(const char *dir);

/* All N octets at P to FD, and on the disk. 0, or errno's number. */
int file_write(int fd, const void *p, size_t n);

#endif
