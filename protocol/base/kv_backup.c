/* A snapshot as a file: made whole, or not at all. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/kv.h"

#define FILE_MODE 0600

/* The file at PATH is there and empty. 0, or an error with E filled. */
static int fill(struct kv *kv, int fd, const char *dir, const char *path, struct err_text *e)
{
	const char *why = "";
	int rc = kv_copy(kv, fd, &why), error = 0;

	if (rc == 0 && fsync(fd) < 0)
		error = errno;
	if (close(fd) < 0 && rc == 0 && error == 0)
		error = errno;
	if (rc == 0 && error == 0)
		error = file_sync_dir(dir);
	if (rc == 0 && error == 0)
		return 0;
	unlink(path);
	if (rc == 0) {
		rc = kv_error(error);
		why = strerrordesc_np(error);
	}
	return err_set(e, rc, "write %s: %s", path, why);
}

int kv_backup(struct kv *kv, const char *dir, const char *name, struct err_text *e)
{
	char path[PATH_MAX];
	int fd;
	int rc = file_path(dir, name, path, e);

	if (rc < 0)
		return rc;
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, FILE_MODE);
	if (fd < 0) {
		rc = errno;
		return err_set(e, kv_error(rc), "make %s: %s%s", path, strerrordesc_np(rc),
		               rc == EEXIST ? "; name a directory without an earlier backup" : "");
	}
	return fill(kv, fd, dir, path, e);
}
