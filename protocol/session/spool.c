#include "session/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "session/program.h"

int spool_open(struct spool *s, const char *dir, struct err_text *e)
{
	int r = program_make_dir(dir, e);

	s->path = NULL;
	s->fd = -1;
	if (r != 0) {
		return r;
	}
	s->fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (s->fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == ENOENT)) {
		if (asprintf(&s->path, "%s/.spool-XXXXXX", dir) < 0) {
			s->path = NULL;
			return err_set(e, ERR_NOMEM, "out of memory");
		}
		s->fd = mkostemp(s->path, O_CLOEXEC);
	}
	if (s->fd < 0) {
		r = err_set(e, ERR_IO, "make a file in %s: %s", dir, strerror(errno));
		free(s->path);
		s->path = NULL;
	}
	return r;
}

int spool_keep(struct spool *s, const char *to, struct err_text *e)
{
	char self[64];
	int failed;

	/* What is found there after a crash is whole. */
	if (fdatasync(s->fd) != 0) {
		return err_set(e, ERR_IO, "keep %s: %s", to, strerror(errno));
	}
	if (s->path != NULL) {
		failed = rename(s->path, to);
		if (failed == 0) {
			free(s->path);
			s->path = NULL;
		}
	} else {
		snprintf(self, sizeof self, "/proc/self/fd/%d", s->fd);
		failed = linkat(AT_FDCWD, self, AT_FDCWD, to, AT_SYMLINK_FOLLOW);
		if (failed != 0 && errno == EEXIST) {
			unlink(to);
			failed = linkat(AT_FDCWD, self, AT_FDCWD, to, AT_SYMLINK_FOLLOW);
		}
	}
	return failed == 0 ? 0 : err_set(e, ERR_IO, "keep %s: %s", to, strerror(errno));
}

void spool_close(struct spool *s)
{
	if (s->fd >= 0) {
		close(s->fd);
	}
	if (s->path != NULL) {
		unlink(s->path);
		free(s->path);
	}
	s->fd = -1;
	s->path = NULL;
}

int spool_write(int fd, struct span data, struct err_text *e)
{
	while (data.n > 0) {
		ssize_t n = write(fd, data.p, data.n);

		if (n < 0 && errno != EINTR) {
			int full = errno == ENOSPC || errno == EDQUOT || errno == EFBIG;

			return err_set(e, full ? ERR_FULL : ERR_IO, "write a file: %s",
			               strerror(errno));
		}
		if (n > 0) {
			data = span_after(data, (size_t)n);
		}
	}
	return 0;
}
