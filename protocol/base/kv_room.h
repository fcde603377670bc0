/*
 * Inside the key-value storage: what room its file has. Between kv.c, which knows LMDB, and
 * kv_room.c, which does not.
 */
#ifndef IM2000_BASE_KV_ROOM_H
#define IM2000_BASE_KV_ROOM_H

#include "base/kv.h"

#define KV_FREE_TABLE 0 /* LMDB's own table of free pages */

/* Under LMDB's lock of writers. */
struct kv_room {
	struct kv *kv;
	uint64_t reserve;   /* octets to be kept for what is not claimed; 0: none */
	uint64_t allocated; /* of the file, when last looked at; it never shrinks */
	uint64_t claimed;   /* by the write transaction */
};

/* Of the environment that TXN, which writes, belongs to. */
struct kv_room *kv_room_of(struct kv_txn *txn);
/* The file's descriptor. *USED: octets up to the last page that was ever used. */
int kv_room_file(struct kv_txn *txn, uint64_t *used, uint64_t *page_octets);

/* Pages in the free list that TXN, which reads, sees. 0 or ERR_IO. */
int kv_room_free_pages(struct kv_txn *txn, uint64_t *pages);

#endif
