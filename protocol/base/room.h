/* What the system has left: address space, and room for a file to grow. */
#ifndef IM2000_BASE_ROOM_H
#define IM2000_BASE_ROOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * SIZE, or the largest half, quarter, ... of it (never below LEAST) for which this process
 * is given address space. To be asked before a map is moved that could not be put back.
 */
size_t room_for_map(uint64_t size, uint64_t least);

/*
 * Whether FD's file could grow at its end: no when disk, quota or file size limit are used
 * up. Finds out by growing it a little. A short write, which LMDB reports as EIO, is told
 * from a failing disk by this.
 */
bool room_in_file(int fd);

#endif
