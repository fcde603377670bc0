/*
 * Database records: fields one after another, integers big-endian, texts with
 * their length before them; the first octet is the version of the record's
 * form. Writer and reader are cursors with a sticky error, asked once at the end.
 */
#ifndef IM2000_STORE_RECORD_H
#define IM2000_STORE_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

struct record_writer {
	uint8_t *p;
	size_t n, cap;
	bool full; /* something did not fit: the record is of no use */
};

/* Begins a record of VERSION in the caller's P[CAP]. */
void record_begin(struct record_writer *w, uint8_t *p, size_t cap, uint8_t version);
void record_put8(struct record_writer *w, uint8_t v);
void record_put16(struct record_writer *w, uint16_t v);
void record_put32(struct record_writer *w, uint32_t v);
void record_put64(struct record_writer *w, uint64_t v);
void record_put_octets(struct record_writer *w, const void *p, size_t n); /* bare */
void record_put_text8(struct record_writer *w, struct span s);  /* up to 255 octets */
void record_put_text16(struct record_writer *w, struct span s); /* up to 65,535 */
void record_put_text32(struct record_writer *w, struct span s);
/* The record. 0 or ERR_TOO_BIG. */
int record_done(const struct record_writer *w, struct span *out);

struct record_reader {
	struct span rest;
	bool bad; /* ended too soon, or another version: everything read since is zero */
};

/* Begins to read RECORD, which must be of VERSION. */
void record_open(struct record_reader *r, struct span record, uint8_t version);
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
