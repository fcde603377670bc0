#include "mua-agent/maildir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "session/spool.h"

#define NAME_OCTETS 128 /* of a message's, with a NUL */

enum { TMP, NEW, CUR, FOLDERS };

static const char *const folder_names[FOLDERS] = { "tmp", "new", "cur" };

struct maildir {
	char *path;
	int folder[FOLDERS];
	char (*names)[NAME_OCTETS]; /* that were there, in order */
	size_t n_names;
	/* The message under way. */
	char name[NAME_OCTETS];
	int fd; /* -1: none */
	bool cr; /* a CR waits for what follows it */
};

static int failed(const struct maildir *m, const char *doing, const char *what, struct err_text *e)
{
	int full = errno == ENOSPC || errno == EDQUOT;

	return err_set(e, full ? ERR_FULL : ERR_IO, "%s %s/%s: %s", doing, m->path, what,
	               strerror(errno));
}

static int compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* Puts what stands in FOLDER to the names; what follows a colon are flags. */
static int read_folder(struct maildir *m, int folder, struct err_text *e)
{
	int fd = dup(m->folder[folder]), r = 0;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;

	if (dir == NULL) {
		return failed(m, "read", folder_names[folder], e);
	}
	while (r == 0 && (d = readdir(dir)) != NULL) {
		size_t n = strcspn(d->d_name, ":");

		if (n >= NAME_OCTETS) {
			continue; /* none of ours */
		}
		if ((m->n_names & (m->n_names - 1)) == 0) {
			size_t room = m->n_names == 0 ? 1 : m->n_names * 2;
			void *grown = realloc(m->names, room * NAME_OCTETS);

			if (grown == NULL) {
				r = err_set(e, ERR_NOMEM, "out of memory");
				break;
			}
			m->names = grown;
		}
		memcpy(m->names[m->n_names], d->d_name, n);
		m->names[m->n_names++][n] = '\0';
	}
	closedir(dir);
	return r;
}

static int open_folder(struct maildir *m, int folder, struct err_text *e)
{
	char *path;
	int fd;

	if (asprintf(&path, "%s/%s", m->path, folder_names[folder]) < 0) {
		return err_set(e, ERR_NOMEM, "out of memory");
	}
	fd = mkdir(path, 0700) == 0 || errno == EEXIST
	         ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
	         : -1;
	free(path);
	m->folder[folder] = fd;
	return fd >= 0 ? 0 : failed(m, "make folder", folder_names[folder], e);
}

int maildir_open(const char *path, struct maildir **out, struct err_text *e)
{
	struct maildir *m = calloc(1, sizeof *m);
	int r = 0;

	if (m == NULL || (m->path = strdup(path)) == NULL) {
		free(m);
		return err_set(e, ERR_NOMEM, "out of memory");
	}
	m->fd = -1;
	for (int i = 0; i < FOLDERS; i++) {
		m->folder[i] = -1;
	}
	if (mkdir(path, 0700) != 0 && errno != EEXIST) {
		r = err_set(e, ERR_IO, "make folder %s: %s", path, strerror(errno));
	}
	for (int i = 0; r == 0 && i < FOLDERS; i++) {
		r = open_folder(m, i, e);
	}
	if (r != 0 || (r = read_folder(m, NEW, e)) != 0 || (r = read_folder(m, CUR, e)) != 0) {
		maildir_close(m);
		return r;
	}
	qsort(m->names, m->n_names, NAME_OCTETS, compare);
	*out = m;
	return 0;
}

static void give_up(struct maildir *m)
{
	if (m->fd >= 0) {
		close(m->fd);
		unlinkat(m->folder[TMP], m->name, 0);
	}
	m->fd = -1;
}

void maildir_close(struct maildir *m)
{
	if (m == NULL) {
		return;
	}
	give_up(m);
	for (int i = 0; i < FOLDERS; i++) {
		if (m->folder[i] >= 0) {
			close(m->folder[i]);
		}
	}
	free(m->names);
	free(m->path);
	free(m);
}

bool maildir_has(const struct maildir *m, const char *name)
{
	return m->n_names > 0 &&
	       bsearch(name, m->names, m->n_names, NAME_OCTETS, compare) != NULL;
}

int maildir_begin(struct maildir *m, const char *name, struct err_text *e)
{
	give_up(m);
	snprintf(m->name, sizeof m->name, "%s", name);
	m->cr = false;
	/* What a crash left under way is written anew. */
	m->fd = openat(m->folder[TMP], m->name,
	               O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	return m->fd >= 0 ? 0 : failed(m, "make file", m->name, e);
}

int maildir_octets(struct maildir *m, struct span octets, struct err_text *e)
{
	int r = 0;

	while (r == 0 && octets.n > 0) {
		const uint8_t *cr = memchr(octets.p, '\r', octets.n);
		size_t n = cr != NULL ? (size_t)(cr - octets.p) : octets.n;

		if (m->cr && octets.p[0] != '\n') {
			r = spool_write(m->fd, span_str("\r"), e);
		}
		m->cr = false;
		if (r == 0) {
			r = spool_write(m->fd, span_of(octets.p, n), e);
		}
		m->cr = cr != NULL;
		octets = span_after(octets, n + (cr != NULL));
	}
	return r;
}

int maildir_end(struct maildir *m, bool read, uint64_t time_us, struct err_text *e)
{
	const struct timespec time = { .tv_sec = (time_t)(time_us / CLOCK_SECOND_US) };
	const struct timespec times[2] = { time, time };
	char to[NAME_OCTETS + 8];
	int folder = read ? CUR : NEW, fd = m->fd, r = 0;

	if (m->cr) {
		r = spool_write(fd, span_str("\r"), e);
	}
	if (r == 0 && (futimens(fd, times) != 0 || fdatasync(fd) != 0)) {
		r = failed(m, "write", m->name, e);
	}
	snprintf(to, sizeof to, "%s%s", m->name, read ? ":2,S" : "");
	if (r == 0 && renameat(m->folder[TMP], m->name, m->folder[folder], to) != 0) {
		r = failed(m, "keep", m->name, e);
	}
	if (r != 0) {
		give_up(m);
		return r;
	}
	m->fd = -1;
	return close(fd) == 0 ? 0 : failed(m, "write", m->name, e);
}
