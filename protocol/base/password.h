/*
 * Passwords and tokens at rest. A password is kept as scrypt (RFC 7914) with a
 * random salt, N=2^15 r=8 p=1 (about 80 ms); a token has 256 random bits, so a
 * plain SHA-256 keeps it. Comparing takes the same time for right and wrong.
 */
#ifndef IM2000_BASE_PASSWORD_H
#define IM2000_BASE_PASSWORD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

enum password_kind { PASSWORD_SCRYPT = 1, PASSWORD_TOKEN = 2 };

#define PASSWORD_MAX 1024    /* octets of a password */
#define PASSWORD_HASH_SIZE 52 /* kind (1), log2 N (1), r (1), p (1), salt (16), hash (32) */
#define PASSWORD_TOKEN_TEXT 47 /* "imt_" and 43 base64url characters */

struct password_hash {
	uint8_t octets[PASSWORD_HASH_SIZE];
};

/*
 * Makes a hash with a fresh salt. Takes ~80 ms of CPU.
 * 0, ERR_MALFORMED (empty), ERR_TOO_BIG, ERR_NOMEM.
 */
int password_hash_make(struct span password, struct password_hash *out);

/* A fresh token: its text for the owner (NUL-terminated) and the hash to keep. */
void password_token_make(char text[PASSWORD_TOKEN_TEXT + 1], struct password_hash *out);

/* Whether the secret has the form of a token (then checking costs nothing). */
bool password_is_token(struct span secret);

/* Compares in constant time. A malformed hash matches nothing. scrypt kinds take ~80 ms of CPU. */
bool password_check(struct span secret, const struct password_hash *hash);

/* A hash that matches nothing and costs as much to check as a real one (unknown account). */
void password_hash_none(struct password_hash *out);

/* First line of PATH ("-" is standard input) without its newline. OUT has PASSWORD_MAX + 1
 * octets. 0, ERR_IO, ERR_MALFORMED (empty), ERR_TOO_BIG; E says what to do. */
int password_read_file(const char *path, char *out, struct err_text *e);

#endif
