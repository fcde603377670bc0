/*
 * Errors. A function that can fail returns 0 (or a count) on success and one of
 * these negative numbers on failure. A function whose failure a person will
 * read takes a struct err_text *, which may be NULL, and fills it on failure.
 */
#ifndef IM2000_BASE_ERR_H
#define IM2000_BASE_ERR_H

#include <stdarg.h>

enum err {
	ERR_NOMEM = -1,        /* out of memory */
	ERR_IO = -2,           /* the system refused an input or output operation */
	ERR_MALFORMED = -3,    /* octets that break their format */
	ERR_TOO_BIG = -4,      /* over a limit that the caller or the configuration sets */
	ERR_NOT_FOUND = -5,    /* no such record, file, name */
	ERR_EXISTS = -6,       /* there already */
	ERR_FULL = -7,         /* disk, map, quota or table is full */
	ERR_DENIED = -8,       /* not allowed */
	ERR_TIMEOUT = -9,      /* a deadline passed */
	ERR_CLOSED = -10,      /* the peer closed, or the object is closing */
	ERR_AGAIN = -11,       /* nothing now; a callback tells when */
	ERR_TLS = -12,         /* handshake or certificate failed */
	ERR_NO_DOMAIN = -13,   /* DNS: the domain does not exist */
	ERR_NO_SERVICE = -14,  /* DNS: the domain does not offer the service */
	ERR_NO_SERVER = -15,   /* no answer from DNS, or no address could be reached */
	ERR_CONFIG = -16,      /* a configuration value is missing or bad */
	ERR_UNSUPPORTED = -17, /* a form that this program does not know */
	ERR_INTERNAL = -18,    /* what cannot happen did */
	ERR_PROTOCOL = -19,    /* the peer broke the protocol */
};

struct err_text {
	char text[512]; /* UTF-8, NUL-terminated, no newline; empty: nothing was said */
};

/* A short phrase for CODE ("no such record"); static storage, never NULL. */
const char *err_phrase(int code);

/*
 * Writes the formatted text into E (cut at its size; E may be NULL) and
 * returns CODE, so that `return err_set(e, ERR_IO, "...")` reads well.
 */
int err_set(struct err_text *e, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "FORMATTED: " before what E says already. Returns CODE. */
int err_prefix(struct err_text *e, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
