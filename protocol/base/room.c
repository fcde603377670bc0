/* Asking the system by trying. */
#include "base/room.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define GROWTH 4096 /* octets; a block of most file systems */

size_t room_for_map(uint64_t size, uint64_t least)
{
	for (; size / 2 >= least; size /= 2) {
		void *p = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		               -1, 0);

		if (p != MAP_FAILED) {
			munmap(p, size);
			break;
		}
	}
	return (size_t)size;
}

bool room_in_file(int fd)
{
	struct stat st;
	int rc;

	if (fstat(fd, &st) < 0)
		return true;
	rc = posix_fallocate(fd, st.st_size, GROWTH);
	return rc != ENOSPC && rc != EDQUOT && rc != EFBIG;
}
