/*
 * A reserve, so that a full disk can be emptied: LMDB writes new pages for whatever it removes,
 * before it can use the old ones again. What adds is refused while the reserve is not there,
 * either behind the last page that the file uses (allocated ahead) or in the free list.
 */
#include "base/kv_room.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define STEPS 4 /* of a reserve: the file grows by one more than is wanted, so not each time */

int kv_room_free_pages(struct kv_txn *txn, uint64_t *pages)
{
	struct kv_cursor *c;
	struct span key, value = { 0 };
	int rc = kv_cursor_open(txn, KV_FREE_TABLE, &c);

	*pages = 0;
	if (rc < 0)
		return rc;
	/* Each record begins with the count of its pages. */
	for (rc = kv_cursor_first(c, &key, &value); rc == 0; rc = kv_cursor_next(c, &key, &value)) {
		size_t count;

		if (value.n < sizeof count)
			break;
		memcpy(&count, value.p, sizeof count);
		*pages += count;
	}
	kv_cursor_close(c);
	return rc == ERR_NOT_FOUND ? 0 : ERR_IO;
}

/* Whether FD is SIZE octets long, or could be made so. */
static bool grow(struct kv_room *room, int fd, uint64_t size)
{
	struct stat st;

	if (size <= room->allocated)
		return true;
	if (fstat(fd, &st) < 0)
		return false;
	room->allocated = (uint64_t)st.st_size;
	if (size <= room->allocated)
		return true;
	if (posix_fallocate(fd, st.st_size, (off_t)size - st.st_size) != 0)
		return false;
	room->allocated = size;
	return true;
}

/* Pages that are free behind the last one, and before it; those of an earlier state are so now. */
static int count_pages(struct kv_room *room, uint64_t behind, uint64_t *pages)
{
	struct kv_txn *reader = kv_read_begin(room->kv); /* LMDB shows the list to readers alone */
	int rc = reader == NULL ? ERR_NOMEM : kv_room_free_pages(reader, pages);

	kv_read_end(reader);
	*pages += behind;
	return rc;
}

int kv_claim(struct kv_txn *txn, uint64_t octets)
{
	struct kv_room *room = kv_room_of(txn);
	uint64_t used, page_octets, pages = 0, want;
	int fd, rc;

	if (room->reserve == 0)
		return 0;
	fd = kv_room_file(txn, &used, &page_octets);
	/* Pages are not filled, and those on the way to them are written anew. */
	want = 2 * (room->claimed + octets) + room->reserve;
	if (used + want > room->allocated && !grow(room, fd, used + want + room->reserve / STEPS) &&
	    !grow(room, fd, used + want)) {
		rc = count_pages(room, room->allocated > used
		                           ? (room->allocated - used) / page_octets : 0, &pages);
		if (rc < 0)
			return rc;
		if (pages * page_octets < want)
			return ERR_FULL;
	}
	room->claimed += octets;
	return 0;
}
