#include "mua-agent/save.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "mua-agent/parts.h"
#include "mua-agent/show.h"
#include "session/spool.h"

#define NAMES_MAX 10000 /* forms of a name that are tried */

struct file {
	int fd;
	uint64_t octets;
	struct err_text *e;
	struct decode_body body;
};

static int file_sink(void *ctx, struct span octets)
{
	struct file *f = ctx;

	f->octets += octets.n;
	return spool_write(f->fd, octets, f->e);
}

static int feed(void *ctx, struct span octets)
{
	struct file *f = ctx;

	return decode_body_feed(&f->body, octets);
}

static int open_folder(const char *folder, struct err_text *e)
{
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT && mkdir(folder, 0777) == 0) {
		fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	return fd >= 0 ? fd : err_set(e, ERR_IO, "open folder %s: %s", folder, strerror(errno));
}

/* A new file named after PART; its name in NAME. */
static int create(int folder, const struct bodystructure_part *part, char name[256],
                  struct err_text *e)
{
	char wanted[256];
	int fd = -1;

	parts_file_name(part, wanted);
	for (unsigned i = 1; fd < 0 && i <= NAMES_MAX; i++) {
		parts_other_name(wanted, i, name);
		fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		            0666);
		if (fd < 0 && errno != EEXIST) {
			break;
		}
	}
	return fd >= 0 ? fd : err_set(e, ERR_IO, "make file %s: %s", name, strerror(errno));
}

static int write_part(struct pull *p, const struct bodystructure_part *part, struct file *f)
{
	const struct decode_options options = {
		.encoding = decode_encoding_of(span_str(part->encoding)),
	};
	int r = decode_body_begin(&f->body, &options, file_sink, f), ended;

	if (r != 0) {
		return err_set(f->e, r, "%s", err_phrase(r));
	}
	r = pull_section(p, part->section, feed, f, f->e);
	ended = decode_body_end(&f->body, r == 0);
	return r != 0 ? r : ended;
}

static int save_one(struct pull *p, const struct bodystructure_part *part, int folder,
                    const char *folder_name, struct err_text *e)
{
	struct file f = { .e = e };
	char name[256], size[16];
	int r;

	if ((f.fd = create(folder, part, name, e)) < 0) {
		return f.fd;
	}
	r = write_part(p, part, &f);
	if (close(f.fd) != 0 && r == 0) {
		r = err_set(e, ERR_IO, "write %s: %s", name, strerror(errno));
	}
	if (r != 0) {
		unlinkat(folder, name, 0);
		return err_prefix(e, r, "save %s/%s", folder_name, name);
	}
	text_size(f.octets, size, sizeof size);
	show_format(stdout, "%s/%s (%s)\n", folder_name, name, size);
	return 0;
}

int save_attachments(struct pull *p, const char *folder, struct err_text *e)
{
	const struct bodystructure_part *parts;
	size_t n, i = 0, saved = 0;
	int fd, r;

	/* All of it first: what is saved has been checked against the digest. */
	if ((r = pull_whole(p, e)) != 0 || (r = pull_parts(p, NULL, &parts, &n, e)) != 0) {
		return r;
	}
	if ((fd = open_folder(folder, e)) < 0) {
		return fd;
	}
	while (r == 0 && i < n) {
		bool attachment = parts_is_attachment(&parts[i]);

		if (attachment) {
			r = save_one(p, &parts[i], fd, folder, e);
			saved++;
		}
		/* What stands inside of a saved message was saved with it. */
		i = attachment ? parts_after(parts, n, i) : i + 1;
	}
	close(fd);
	if (r == 0 && saved == 0) {
		fprintf(stderr, "im2000: message %u has no attachments\n",
		        pull_entry(p)->item.number);
	}
	return r;
}
