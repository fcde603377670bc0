/*
 * A disk that fails when a test wants it to. Preloaded (LD_PRELOAD), it stands between LMDB and
 * the database's file (the first *.mdb that is written to): it counts the calls that change the
 * file or flush it, and
 * - at a given one it ends the process, as kill -9 would; or as a power cut would: what was
 *   written since the last flush is taken back before, all of it or some, by the page;
 * - it lets flushes fail with EIO, writes fail with EIO, or leaves no room for the file to grow.
 * What is asked of it, and what it has counted, stands in the file $IM2000_TEST_DISK, mapped
 * (disk.py). As in clock.c, nothing is called that a sanitizer intercepts.
 *
 * The model: a write is in the page cache, where a reader of the file sees it at once. It is on
 * the disk after a flush that succeeded; before, any of its pages may be there or not. A write to
 * a descriptor with O_DSYNC is on the disk when it returns, and whole: LMDB's 100-odd octets of
 * meta data lie in one sector. A flush that fails says nothing of the pages.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define PAGE 4096
#define LOG_OCTETS (256U << 20) /* address space; what is used of it is memory */

enum take_back { TAKE_NOTHING, TAKE_ALL, TAKE_SOME };

/* In the order of disk.py. */
struct control {
	uint64_t calls;      /* counted so far, over all processes */
	uint64_t stop_at;    /* the call at which the process ends; 0: none */
	uint64_t after;      /* 1: when it is done, 0: before */
	uint64_t take_back;  /* enum take_back */
	uint64_t seed;       /* of the choice of pages */
	uint64_t good_flush; /* so many flushes are well, then */
	uint64_t fail_flush; /* so many fail with EIO */
	uint64_t fail_write; /* so many writes fail with EIO */
	uint64_t room;       /* the file may not grow over this; 0: it may */
	uint64_t stopped;    /* set when a process was ended */
};

/* What N octets at OFFSET were before a write; beyond the end of the file: KEPT of them only. */
struct undo {
	uint64_t offset, n, kept;
	unsigned char old[];
};

static struct control *control;
static struct {
	bool lock;
	bool known; /* which file it is */
	dev_t dev;
	ino_t ino;
	uint64_t flushed_size; /* of the file, at the last flush */
	unsigned char *log;    /* of struct undo, one after another, since the last flush */
	size_t used;
} disk;

__attribute__((constructor)) static void disk_map(void)
{
	const char *path = getenv("IM2000_TEST_DISK");
	if (!path)
		return;
	long fd = syscall(SYS_openat, (long)AT_FDCWD, path, (long)(O_RDWR | O_CLOEXEC));
	if (fd < 0)
		abort();
	long at = syscall(SYS_mmap, NULL, sizeof *control, (long)(PROT_READ | PROT_WRITE),
	                  (long)MAP_SHARED, fd, 0L);
	long log = syscall(SYS_mmap, NULL, (long)LOG_OCTETS, (long)(PROT_READ | PROT_WRITE),
	                   (long)(MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE), -1L, 0L);
	if ((at < 0 && at > -4096) || (log < 0 && log > -4096))
		abort();
	syscall(SYS_close, fd);
	control = (struct control *)at;
	disk.log = (unsigned char *)log;
}

static void lock(void)
{
	while (__atomic_test_and_set(&disk.lock, __ATOMIC_ACQUIRE))
		sched_yield();
}

static void unlock(void)
{
	__atomic_clear(&disk.lock, __ATOMIC_RELEASE);
}

static uint64_t size_of(int fd)
{
	struct stat st;

	return syscall(SYS_fstat, fd, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static bool is_database(int fd)
{
	char link[32] = "/proc/self/fd/", path[4096];
	int digits = 0, rest = fd;
	size_t at = strlen(link);
	long n;

	do
		digits++;
	while ((rest /= 10) > 0);
	for (int i = digits; i-- > 0; fd /= 10)
		link[at + (size_t)i] = (char)('0' + fd % 10);
	n = syscall(SYS_readlinkat, (long)AT_FDCWD, link, path, sizeof path);
	return n > 4 && memcmp(path + n - 4, ".mdb", 4) == 0;
}

/* Whether FD is the file; the first call finds out which file that is. */
static bool ours(int fd)
{
	struct stat st;

	if (control == NULL || fd < 0 || syscall(SYS_fstat, fd, &st) != 0 || !S_ISREG(st.st_mode))
		return false;
	if (!disk.known && is_database(fd)) {
		disk.known = true;
		disk.dev = st.st_dev;
		disk.ino = st.st_ino;
		disk.flushed_size = (uint64_t)st.st_size;
	}
	return disk.known && st.st_dev == disk.dev && st.st_ino == disk.ino;
}

/* ---- the end ------------------------------------------------------------------------ */

static uint64_t mix(uint64_t x) /* splitmix64 */
{
	x += 0x9e3779b97f4a7c15;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

/* All versions of a page since the last flush share its fate. */
static bool page_goes(uint64_t page)
{
	return control->take_back == TAKE_ALL ||
	       (control->take_back == TAKE_SOME && (mix(control->seed ^ mix(page)) & 1) != 0);
}

static void put_back(int fd, const struct undo *u)
{
	static const unsigned char zeros[PAGE];
	uint64_t end = u->offset + u->n;

	for (uint64_t at = u->offset, next; at < end; at = next) {
		uint64_t i = at - u->offset, old;

		next = (at / PAGE + 1) * PAGE;
		next = next < end ? next : end;
		if (!page_goes(at / PAGE))
			continue;
		old = u->kept > i ? u->kept - i : 0;
		old = old < next - at ? old : next - at;
		syscall(SYS_pwrite64, fd, u->old + i, old, at);
		syscall(SYS_pwrite64, fd, zeros, next - at - old, at + old);
	}
}

static void take_back(int fd)
{
	const struct undo *all[4096];
	size_t n = 0;

	for (size_t at = 0; at < disk.used && n < 4096; n++) {
		all[n] = (const struct undo *)(void *)(disk.log + at);
		at += (sizeof **all + all[n]->n + 7) / 8 * 8;
	}
	while (n-- > 0)
		put_back(fd, all[n]);
	/* The file's length is written with what lies there, or not. */
	if (control->take_back == TAKE_ALL && size_of(fd) > disk.flushed_size)
		syscall(SYS_ftruncate, fd, disk.flushed_size);
}

static void end_here(int fd)
{
	control->stopped = 1;
	take_back(fd);
	syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
	for (;;)
		syscall(SYS_pause);
}

/* ---- what is done to the file --------------------------------------------------------- */

static bool stops(bool after)
{
	return control->calls == control->stop_at && (control->after != 0) == after;
}

static bool fails(uint64_t *left)
{
	if (*left == 0)
		return false;
	--*left;
	return true;
}

static bool flush_fails(void)
{
	return control->fail_flush != 0 && !fails(&control->good_flush) && fails(&control->fail_flush);
}

static ssize_t fail(int error)
{
	errno = error;
	return -1;
}

static void remember(int fd, size_t n, uint64_t offset)
{
	struct undo *u = (struct undo *)(void *)(disk.log + disk.used);
	size_t size = (sizeof *u + n + 7) / 8 * 8;
	long kept;

	if (size > LOG_OCTETS - disk.used)
		abort();
	kept = syscall(SYS_pread64, fd, u->old, n, offset);
	*u = (struct undo){ .offset = offset, .n = n, .kept = kept > 0 ? (uint64_t)kept : 0 };
	disk.used += size;
}

static void flushed(int fd)
{
	disk.used = 0;
	disk.flushed_size = size_of(fd);
}

/* Some of the pages of a write that the end cuts off: at the end of the log they may go again. */
static size_t torn(size_t n, uint64_t offset)
{
	return n <= PAGE ? 0 : mix(control->seed ^ offset) % (n / PAGE) * PAGE;
}

/* What is on a descriptor open for O_DSYNC cannot be taken back; all else until the next flush. */
static ssize_t write_at(int fd, const void *p, size_t n, uint64_t offset)
{
	long flags = syscall(SYS_fcntl, fd, F_GETFL);
	bool durable = flags > 0 && (flags & O_DSYNC) != 0;
	ssize_t done;

	control->calls++;
	if (stops(false)) {
		n = durable ? 0 : torn(n, offset);
		if (n > 0) {
			remember(fd, n, offset);
			syscall(SYS_pwrite64, fd, p, n, offset);
		}
		end_here(fd);
	}
	if (control->room != 0 && offset + n > control->room)
		return fail(ENOSPC);
	if (!durable && fails(&control->fail_write))
		return fail(EIO);
	if (!durable)
		remember(fd, n, offset);
	done = syscall(SYS_pwrite64, fd, p, n, offset);
	if (stops(true))
		end_here(fd);
	/* Of an octet of it that is on the disk nothing is said. */
	if (durable && flush_fails())
		return fail(EIO);
	return done;
}

static int flush(long number, int fd)
{
	int rc;

	control->calls++;
	if (stops(false))
		end_here(fd);
	if (flush_fails())
		return (int)fail(EIO);
	rc = (int)syscall(number, fd);
	if (rc == 0)
		flushed(fd);
	if (stops(true))
		end_here(fd);
	return rc;
}

/* ---- what LMDB calls -------------------------------------------------------------------- */

static ssize_t locked_write(int fd, const void *p, size_t n, uint64_t offset)
{
	ssize_t done;

	lock();
	done = write_at(fd, p, n, offset);
	unlock();
	return done;
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t offset)
{
	if (!ours(fd))
		return syscall(SYS_pwrite64, fd, p, n, offset);
	return locked_write(fd, p, n, (uint64_t)offset);
}

ssize_t pwrite64(int fd, const void *p, size_t n, off_t offset)
{
	return pwrite(fd, p, n, offset);
}

/* One call, at the descriptor's place in the file. */
ssize_t writev(int fd, const struct iovec *v, int count)
{
	static unsigned char joined[8 << 20]; /* LMDB joins 64 pieces; ours are up to 17 pages */
	long offset;
	size_t n = 0;
	ssize_t done;

	if (!ours(fd))
		return syscall(SYS_writev, fd, v, count);
	lock();
	for (int i = 0; i < count; i++) {
		if (v[i].iov_len > sizeof joined - n)
			abort();
		memcpy(joined + n, v[i].iov_base, v[i].iov_len);
		n += v[i].iov_len;
	}
	offset = syscall(SYS_lseek, fd, 0L, (long)SEEK_CUR);
	done = write_at(fd, joined, n, (uint64_t)offset);
	if (done > 0)
		syscall(SYS_lseek, fd, done, (long)SEEK_CUR);
	unlock();
	return done;
}

ssize_t write(int fd, const void *p, size_t n)
{
	struct iovec one = { .iov_base = (void *)(uintptr_t)p, .iov_len = n };

	return ours(fd) ? writev(fd, &one, 1) : syscall(SYS_write, fd, p, n);
}

static int locked_flush(long number, int fd)
{
	int rc;

	if (!ours(fd))
		return (int)syscall(number, fd);
	lock();
	rc = flush(number, fd);
	unlock();
	return rc;
}

int fdatasync(int fd)
{
	return locked_flush(SYS_fdatasync, fd);
}

int fsync(int fd)
{
	return locked_flush(SYS_fsync, fd);
}

/* What kv.c asks when a write came short. */
int posix_fallocate(int fd, off_t offset, off_t n)
{
	if (ours(fd) && control->room != 0 && (uint64_t)offset + (uint64_t)n > control->room)
		return ENOSPC;
	return syscall(SYS_fallocate, fd, 0L, offset, n) == 0 ? 0 : errno;
}
