/*
 * Database records: fields one after another, integers big-endian, texts with
 * their length before them; the first octet is the version of the record's
 * form. Writer and reader are cursors with a sticky error, asked once at the end.
 *
 * A record ends with its seal, the CRC-32 of its key and of all before the seal, so that damage is
 * found in what nothing else tells. Schema 1 had none: its records are read as they are.
 */
#ifndef IM2000_STORE_RECORD_H
#define IM2000_STORE_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

#define RECORD_SEAL 4U      /* octets at the end */
#define RECORD_SEALED 0x80U /* in the first octet: the record has them */

struct record_writer {
	uint8_t *p;
	size_t n, cap;
	bool full; /* something did not fit: the record is of no use */
	uint32_t key_crc;
};

/* Begins a record of VERSION (below RECORD_SEALED) in the caller's P[CAP], which has room for the
 * seal, too. KEY: where it will stand; empty where the key is bound to the record by others. */
void record_begin(struct record_writer *w, uint8_t *p, size_t cap, struct span key,
                  uint8_t version);
void record_put8(struct record_writer *w, uint8_t v);
void record_put16(struct record_writer *w, uint16_t v);
void record_put32(struct record_writer *w, uint32_t v);
void record_put64(struct record_writer *w, uint64_t v);
void record_put_octets(struct record_writer *w, const void *p, size_t n); /* bare */
void record_put_text8(struct record_writer *w, struct span s);            /* up to 255 octets */
void record_put_text16(struct record_writer *w, struct span s);           /* up to 65,535 */
void record_put_text32(struct record_writer *w, struct span s);
/* The record, sealed. 0 or ERR_TOO_BIG. */
int record_done(struct record_writer *w, struct span *out);

struct record_reader {
	struct span rest;
	bool bad; /* ended too soon, another version or seal: everything read since is zero */
};

/* Begins to read RECORD, which must be of VERSION, and KEY what it was for record_begin. */
void record_open(struct record_reader *r, struct span record, struct span key, uint8_t version);
uint8_t record_get8(struct record_reader *r);
uint16_t record_get16(struct record_reader *r);
uint32_t record_get32(struct record_reader *r);
uint64_t record_get64(struct record_reader *r);
/* Views into the record. */
struct span record_get_octets(struct record_reader *r, size_t n);
void record_get_copy(struct record_reader *r, void *out, size_t n); /* zeros when bad */
struct span record_get_text8(struct record_reader *r);
struct span record_get_text16(struct record_reader *r);
struct span record_get_text32(struct record_reader *r);
/* 0 when all was there and nothing is left, else ERR_MALFORMED. */
int record_end(const struct record_reader *r);

#endif
