/*
 * MessageIds without a table (architecture.md): id = AES-256(store key, message
 * number (8) ‖ recipient index (4) ‖ kind (1) ‖ key number (2) ‖ zero (1)), one
 * block. Unguessable, unlinkable without the key; opened by decrypting.
 *
 * Keys live in DATA/keys, 0600: one line for each, "number hex"; the highest number makes
 * new ids, all of them open ids (rotation).
 */
#ifndef IM2000_STORE_IDS_H
#define IM2000_STORE_IDS_H

#include <stdint.h>

#include "base/err.h"

enum ids_kind { IDS_ORIGINATOR = 1, IDS_RECIPIENT = 2, IDS_LIST = 3, IDS_GRANT = 4 };

struct ids; /* immutable after loading; thread-safe */

/* Makes DIR/keys with one fresh key. ERR_EXISTS when there. */
int ids_init(const char *dir, struct err_text *e);
/* ERR_IO, ERR_CONFIG (malformed, or readable by others), with E filled. */
int ids_load(const char *dir, struct ids **out, struct err_text *e);
void ids_free(struct ids *s);

/* The key that new messages use. */
uint16_t ids_current(const struct ids *s);

struct ids_name {
	uint64_t message;
	uint32_t index; /* recipient; 0 for the originator */
	enum ids_kind kind;
	uint16_t key;
};
/* 0, or ERR_NOT_FOUND when there is no key of that number. */
int ids_make(const struct ids *s, const struct ids_name *name, uint8_t id[16]);
/* 0, or ERR_NOT_FOUND: no key makes it an id. Takes the same time for every wrong id. */
int ids_open(const struct ids *s, const uint8_t id[16], struct ids_name *out);

#endif
