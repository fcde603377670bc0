/*
 * MessageIds without a table (design.md): id = AES-256(store key, message
 * number (8) ‖ recipient index (4) ‖ kind (1) ‖ key number (1) ‖ zero (2)), one
 * block (FIPS 197). Unguessable, unlinkable without the key; opened by
 * decrypting.
 *
 * Keys live in DATA/keys, 0600: one line for each, "number hex"; the highest
 * number makes new ids, all of them open ids (rotation). Numbers go from 1 to
 * 255. A key may go once no message made with it is left.
 */
#ifndef IM2000_STORE_IDS_H
#define IM2000_STORE_IDS_H

#include <stdint.h>

#include "base/err.h"

enum ids_kind { IDS_ORIGINATOR = 1, IDS_RECIPIENT = 2, IDS_LIST = 3, IDS_GRANT = 4 };

struct ids; /* immutable after loading; thread-safe */

/* Makes DIR/keys with one fresh key. ERR_EXISTS when there, ERR_IO. */
int ids_init(const char *dir, struct err_text *e);
/*
 * 0; ERR_NOT_FOUND (no such file), ERR_IO, ERR_CONFIG (malformed, or readable by
 * others), ERR_NOMEM, with E filled.
 */
int ids_load(const char *dir, struct ids **out, struct err_text *e);
void ids_free(struct ids *s); /* wipes the keys; NULL is fine */

/*
 * Copies DIR/keys to TO/keys (0600). To be called after db_backup: then every key that a
 * message of the snapshot was made with is there. ERR_EXISTS, ERR_IO, ERR_NOT_FOUND.
 */
int ids_backup(const char *dir, const char *to, struct err_text *e);

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
/*
 * 0, or ERR_NOT_FOUND: no key makes it an id. Every key is tried, whichever fits, so that a
 * right and a wrong id take the same time.
 */
int ids_open(const struct ids *s, const uint8_t id[16], struct ids_name *out);

#endif
