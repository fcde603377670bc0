/*
 * A wall clock that a test moves while the programs run. Preloaded (LD_PRELOAD), it adds the
 * offset that stands in the file $IM2000_TEST_CLOCK to what the realtime clock says: eight
 * octets, microseconds, native order, mapped, so that a change holds at once everywhere. The
 * monotonic clock, and with it every timer, stays real.
 *
 * libfaketime would do the same, but it hangs in the start of programs that are built with the
 * address or thread sanitizer. Hence the bare system calls here as well: nothing that a
 * sanitizer intercepts is called.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const int64_t *offset_us;

__attribute__((constructor)) static void clock_map(void)
{
	const char *path = getenv("IM2000_TEST_CLOCK");
	if (!path)
		return;
	long fd = syscall(SYS_openat, (long)AT_FDCWD, path, (long)(O_RDONLY | O_CLOEXEC));
	if (fd < 0)
		abort();
	long map = syscall(SYS_mmap, NULL, sizeof *offset_us, (long)PROT_READ, (long)MAP_SHARED, fd,
	                   0L);
	if (map < 0 && map > -4096)
		abort();
	syscall(SYS_close, fd);
	offset_us = (const int64_t *)map;
}

int clock_gettime(clockid_t id, struct timespec *out)
{
	if (syscall(SYS_clock_gettime, id, out) != 0)
		return -1;
	if (id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE)
		return 0;
	int64_t add = offset_us ? __atomic_load_n(offset_us, __ATOMIC_RELAXED) : 0;
	int64_t ns = out->tv_nsec + add % 1000000 * 1000;
	out->tv_sec += add / 1000000;
	if (ns < 0) {
		ns += 1000000000;
		out->tv_sec--;
	} else if (ns >= 1000000000) {
		ns -= 1000000000;
		out->tv_sec++;
	}
	out->tv_nsec = ns;
	return 0;
}

time_t time(time_t *out)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	if (out)
		*out = now.tv_sec;
	return now.tv_sec;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
	struct timespec now;
	(void)zone;
	clock_gettime(CLOCK_REALTIME, &now);
	out->tv_sec = now.tv_sec;
	out->tv_usec = now.tv_nsec / 1000;
	return 0;
}

int timespec_get(struct timespec *out, int base)
{
	if (base != TIME_UTC)
		return 0;
	return clock_gettime(CLOCK_REALTIME, out) == 0 ? base : 0;
}
