#include "base/claim.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/log.h"

struct claim {
	int fd; /* locked while it is open */
};

/* The holder's number, as far as the file at FD tells, in digits; empty where it does not. */
static void holder_read(int fd, char who[16])
{
	ssize_t n = pread(fd, who, 15, 0);

	who[n > 0 ? n : 0] = '\0';
	who[strspn(who, "0123456789")] = '\0';
}

/* Says who holds it. */
static int held(int fd, const char *dir, struct err_text *e)
{
	char who[16];

	holder_read(fd, who);
	return err_set(e, ERR_EXISTS, "%s is in use by another process%s%s: stop that one first",
	               dir, who[0] != '\0' ? ", number " : "", who);
}

int claim_take(const char *dir, const char *name, struct claim **out, struct err_text *e)
{
	char path[PATH_MAX], who[16];
	struct claim *c;
	int fd, n, rc;

	if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path)
		return err_set(e, ERR_IO, "%s/%s: the path is too long", dir, name);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_set(e, ERR_IO, "open %s: %s", path, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		rc = errno == EWOULDBLOCK
		         ? held(fd, dir, e)
		         : err_set(e, ERR_IO, "lock %s: %s", path, strerror(errno));
		close(fd);
		return rc;
	}
	c = malloc(sizeof *c);
	if (c == NULL) {
		close(fd);
		return err_set(e, ERR_NOMEM, "out of memory");
	}
	/* As wide as any number before it. A help, no more: a full disk must not stop a daemon. */
	n = snprintf(who, sizeof who, "%-10ld\n", (long)getpid());
	if (pwrite(fd, who, (size_t)n, 0) != n)
		log_warn("claim", "write=failed");
	c->fd = fd;
	*out = c;
	return 0;
}

long claim_holder(const char *dir, const char *name)
{
	char path[PATH_MAX], who[16];
	long holder = 0;
	int fd;

	if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path)
		return ERR_IO;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return errno == ENOENT ? 0 : ERR_IO;
	if (flock(fd, LOCK_SH | LOCK_NB) != 0) {
		holder_read(fd, who);
		holder = errno == EWOULDBLOCK && who[0] != '\0' ? strtol(who, NULL, 10) : ERR_IO;
	}
	close(fd);
	return holder;
}

void claim_drop(struct claim *c)
{
	if (c == NULL)
		return;
	close(c->fd);
	free(c);
}
