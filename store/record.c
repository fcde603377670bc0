#include "store/record.h"

#include <zlib.h>

#include "base/kv.h"

/* Room for N octets, or NULL when the record is full. */
static uint8_t *record_room(struct record_writer *w, size_t n)
{
	uint8_t *at;

	if (w->full || n > w->cap - w->n) {
		w->full = true;
		return NULL;
	}
	at = w->p + w->n;
	w->n += n;
	return at;
}

static uint32_t crc_of(uint32_t before, struct span s)
{
	return s.n == 0 ? before : (uint32_t)crc32_z(before, s.p, s.n);
}

void record_begin(struct record_writer *w, uint8_t *p, size_t cap, struct span key, uint8_t version)
{
	*w = (struct record_writer) { .p = p, .cap = cap, .key_crc = crc_of(0, key) };
	record_put8(w, version | RECORD_SEALED);
}

void record_put8(struct record_writer *w, uint8_t v)
{
	uint8_t *at = record_room(w, 1);

	if (at != NULL)
		*at = v;
}

void record_put16(struct record_writer *w, uint16_t v)
{
	uint8_t *at = record_room(w, 2);

	if (at != NULL)
		kv_put_u16(at, v);
}

void record_put32(struct record_writer *w, uint32_t v)
{
	uint8_t *at = record_room(w, 4);

	if (at != NULL)
		kv_put_u32(at, v);
}

void record_put64(struct record_writer *w, uint64_t v)
{
	uint8_t *at = record_room(w, 8);

	if (at != NULL)
		kv_put_u64(at, v);
}

void record_put_octets(struct record_writer *w, const void *p, size_t n)
{
	uint8_t *at = record_room(w, n);

	if (at != NULL && n > 0)
		memcpy(at, p, n);
}

void record_put_text8(struct record_writer *w, struct span s)
{
	if (s.n > UINT8_MAX)
		w->full = true;
	record_put8(w, (uint8_t)s.n);
	record_put_octets(w, s.p, s.n);
}

void record_put_text16(struct record_writer *w, struct span s)
{
	if (s.n > UINT16_MAX)
		w->full = true;
	record_put16(w, (uint16_t)s.n);
	record_put_octets(w, s.p, s.n);
}

void record_put_text32(struct record_writer *w, struct span s)
{
	if (s.n > UINT32_MAX)
		w->full = true;
	record_put32(w, (uint32_t)s.n);
	record_put_octets(w, s.p, s.n);
}

int record_done(struct record_writer *w, struct span *out)
{
	record_put32(w, w->full ? 0 : crc_of(w->key_crc, span_of(w->p, w->n)));
	if (w->full)
		return ERR_TOO_BIG;
	*out = span_of(w->p, w->n);
	return 0;
}

/* Takes the seal off the record. Whether it is right. */
static bool seal_right(struct span *record, struct span key)
{
	struct span sealed;

	if (record->n < 1 + RECORD_SEAL)
		return false;
	sealed = span_of(record->p, record->n - RECORD_SEAL);
	if (kv_get_u32(sealed.p + sealed.n) != crc_of(crc_of(0, key), sealed))
		return false;
	*record = sealed;
	return true;
}

void record_open(struct record_reader *r, struct span record, struct span key, uint8_t version)
{
	bool sealed = record.n > 0 && (record.p[0] & RECORD_SEALED) != 0;
	bool right = !sealed || seal_right(&record, key);

	*r = (struct record_reader) { .rest = record };
	if (!right || record_get8(r) != (sealed ? version | RECORD_SEALED : version)) {
		r->bad = true;
		r->rest = span_of(NULL, 0);
	}
}

struct span record_get_octets(struct record_reader *r, size_t n)
{
	struct span s;

	if (r->bad || n > r->rest.n) {
		r->bad = true;
		return span_of(NULL, 0);
	}
	s = span_of(r->rest.p, n);
	r->rest = span_after(r->rest, n);
	return s;
}

uint8_t record_get8(struct record_reader *r)
{
	struct span s = record_get_octets(r, 1);

	return r->bad ? 0 : s.p[0];
}

uint16_t record_get16(struct record_reader *r)
{
	struct span s = record_get_octets(r, 2);

	return r->bad ? 0 : kv_get_u16(s.p);
}

uint32_t record_get32(struct record_reader *r)
{
	struct span s = record_get_octets(r, 4);

	return r->bad ? 0 : kv_get_u32(s.p);
}

uint64_t record_get64(struct record_reader *r)
{
	struct span s = record_get_octets(r, 8);

	return r->bad ? 0 : kv_get_u64(s.p);
}

void record_get_copy(struct record_reader *r, void *out, size_t n)
{
	struct span s = record_get_octets(r, n);

	if (r->bad)
		memset(out, 0, n);
	else if (n > 0)
		memcpy(out, s.p, n);
}

struct span record_get_text8(struct record_reader *r)
{
	return record_get_octets(r, record_get8(r));
}

struct span record_get_text16(struct record_reader *r)
{
	return record_get_octets(r, record_get16(r));
}

struct span record_get_text32(struct record_reader *r)
{
	return record_get_octets(r, record_get32(r));
}

int record_end(const struct record_reader *r)
{
	return r->bad || r->rest.n > 0 ? ERR_MALFORMED : 0;
}
