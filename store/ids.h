/*
 * MessageIds without a table (design.md): id = AES-256(store key, message
 * number (8) ‖ recipient index (4) ‖ kind (1) ‖ key number (1) ‖ zero (2)), one
 * block (FIPS 197). Unguessable, unlinkable without the key; opened by
 * decrypting.
 *
 * Keys live in DATA/keys, 0600: one line for each, "number hex"; the highest
 * number makes new ids, all of them open ids (rotation). Numbers go from 1 to
 * 255. A key may go once no message made with it is left.
 *
 * The file is only ever replaced as a whole, by renaming DATA/keys.new: who reads it finds all
 * keys of before or those and a new one, whatever was cut off.
 */
#ifndef IM2000_STORE_IDS_H
#define IM2000_STORE_IDS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum ids_kind { IDS_ORIGINATOR = 1, IDS_RECIPIENT = 2, IDS_LIST = 3, IDS_GRANT = 4 };

#define IDS_KEY_MAX 255 /* the highest number of a key */

struct ids; /* thread-safe; keys are only ever added to it */

/* Makes DIR/keys with one fresh key. ERR_EXISTS when there, ERR_IO. */
int ids_init(const char *dir, struct err_text *e);
/*
 * Adds a fresh key to DIR/keys, which makes new ids from then on; *NUMBER is its number. 0, and
 * it is on the disk; or an error of ids_load, ERR_FULL (no number is left, or the disk is full),
 * with E filled: the file is as it was. Waits for another who does the same.
 */
int ids_rotate(const char *dir, uint16_t *number, struct err_text *e);
/*
 * What it loads is on the disk, so that no id is made with a key that a power cut takes away. 0;
 * ERR_NOT_FOUND (no such file), ERR_IO, ERR_CONFIG (malformed, or readable by others), ERR_NOMEM,
 * with E filled.
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
/* Whether there is a key of that NUMBER. */
bool ids_has(const struct ids *s, uint16_t number);

/*
 * FRESH, just loaded, against S, which is in use: 0, or ERR_CONFIG with E filled where a number
 * has another key, with which ids that were given out could not be opened. DIR is for E.
 */
int ids_compare(const struct ids *s, const struct ids *fresh, const char *dir, struct err_text *e);
/*
 * Takes FRESH's keys into S, from one thread at a time; others may use S meanwhile. Keys that
 * FRESH has not stay until the process ends; the log says so.
 */
void ids_adopt(struct ids *s, const struct ids *fresh);

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
