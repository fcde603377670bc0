/*
 * Any octets given to `im2000 send`: what comes out has the size and digest that are said, no
 * Bcc, a From, and stays as it is when it is given once more.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "message/digest.h"
#include "message/header.h"
#include "mua-agent/prepare.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char dir[] = "/tmp/im2000-fuzz-XXXXXX";

static void check(bool holds)
{
	if (!holds) {
		abort();
	}
}

static void remove_dir(void)
{
	rmdir(dir); /* what stood there had no name */
}

static int prepare(struct span message, bool addressed, struct prepared *out)
{
	struct err_text e = { "" };
	int fd = memfd_create("message", MFD_CLOEXEC), r;

	check(fd >= 0 && spool_write(fd, message, &e) == 0 && lseek(fd, 0, SEEK_SET) == 0);
	r = prepare_read(fd, "it", dir, addressed, out, &e);
	check(r == 0 || e.text[0] != '\0');
	close(fd);
	return r;
}

/* The whole of P (caller frees), checked. */
static struct span collect(const struct prepared *p)
{
	uint8_t *octets = malloc(p->size + 1), root[DIGEST_SIZE];
	uint64_t at = 0;
	ssize_t n;

	check(octets != NULL);
	while ((n = prepare_octets(p, at, octets + at, p->size + 1 - at)) > 0) {
		at += (uint64_t)n;
	}
	check(n == 0 && at == p->size);
	check(digest_octets(span_of(octets, at), root) == 0);
	check(memcmp(root, p->digest, DIGEST_SIZE) == 0);
	return span_of(octets, at);
}

static void check_header(const struct prepared *p)
{
	struct span header = buf_view(&p->header);
	struct header_field field;

	check(header.n >= 4 && memcmp(header.p + header.n - 4, "\r\n\r\n", 4) == 0);
	check(header_size(header) == header.n);
	check(header_find(header, "Bcc", &field) == ERR_NOT_FOUND);
	check(header_find(header, "From", &field) == 0);
	for (size_t i = 0; i < header.n; i++) {
		check(header.p[i] != '\n' || header.p[i - 1] == '\r');
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct prepared p, again;
	struct span first, second;
	struct err_text e;
	struct buf added;

	if (dir[sizeof dir - 2] == 'X') {
		check(mkdtemp(dir) != NULL);
		atexit(remove_dir);
	}
	if (size == 0) {
		return 0;
	}
	if (prepare(span_of(data + 1, size - 1), (data[0] & 1) != 0, &p) != 0) {
		prepare_free(&p);
		return 0;
	}
	check_header(&p);
	buf_init(&added, 0);
	check(prepare_missing(&p, CLOCK_DAY_US, &added) == 0);
	check(prepare_add(&p, buf_view(&added), &e) == 0);
	check_header(&p);
	first = collect(&p);
	/* A second mbox line would now be the first. */
	if (first.n < 5 || memcmp(first.p, "From ", 5) != 0) {
		check(prepare(first, false, &again) == 0);
		buf_consume(&added, added.n);
		check(prepare_missing(&again, CLOCK_DAY_US, &added) == 0 && added.n == 0);
		second = collect(&again);
		check(span_eq(first, second));
		free((void *)second.p);
		prepare_free(&again);
	}
	free((void *)first.p);
	buf_free(&added);
	prepare_free(&p);
	return 0;
}
