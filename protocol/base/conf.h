/*
 * Configuration files: `key = value` lines, `[section]` lines, comments on lines
 * of their own beginning with '#'. No quoting, no inline comments: a value is
 * all that stands after the '=' without the white space at its ends. UTF-8, lines
 * of 4095 octets, 1 MiB at most. A key that is no list stands once. A program
 * declares its keys in one table; everything else in a file is an error that
 * names file, line and what is allowed. Reading is inih's.
 */
#ifndef IM2000_BASE_CONF_H
#define IM2000_BASE_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum conf_type {
	CONF_TEXT,     /* char *; one line, not empty */
	CONF_LIST,     /* struct conf_list; the key may repeat */
	CONF_SIZE,     /* uint64_t octets: 64K, 256M, 2G */
	CONF_DURATION, /* uint64_t seconds: 30s, 5m, 12h, 90d */
	CONF_NUMBER,   /* uint64_t */
	CONF_BOOL,     /* bool: yes or no */
	CONF_CHOICE,   /* unsigned: index into choices */
	CONF_PATH,     /* char *; as CONF_TEXT; a relative one is taken from the file's folder */
	CONF_PATHS,    /* struct conf_list of such paths; the key may repeat */
};

struct conf_list {
	char **item; /* NUL-terminated texts, in the file's order */
	unsigned *line;
	size_t n;
};

struct conf_key {
	const char *name;
	enum conf_type type;
	size_t offset;              /* of the member in the program's struct */
	uint64_t min, max;          /* SIZE, DURATION, NUMBER: allowed range; max 0: no limit */
	const char *const *choices; /* CHOICE: NULL-terminated words; printed as what is allowed */
	const char *initial;        /* default, as a file would say it; NULL: none (NULL, 0, empty) */
	bool required;              /* must stand in the file */
	bool restart;               /* a running daemon keeps to the old value: conf_next_changed */
	const char *help;           /* one line for manuals and for --help */
};

/*
 * Sections: a file may have named sections ([account home]). SECTION_OPEN is
 * called with the text between the brackets and answers the key table and the
 * struct that following lines fill, or fails with a text. NULL: no sections
 * are allowed.
 */
struct conf_schema {
	const struct conf_key *keys; /* ended by a name of NULL */
	int (*section_open)(void *ctx, const char *title, const struct conf_key **keys,
	                    void **target, struct err_text *e);
	void *ctx; /* given to section_open */
};

/*
 * Reads PATH into TARGET, which must be zeroed. Defaults are filled in first,
 * for sections too. 0, or ERR_CONFIG / ERR_IO / ERR_NOMEM with E filled
 * ("store.conf:7: max-message: \"huge\" is no size (allowed: 1K to 4G, as in 256M)").
 * On failure TARGET still needs conf_release.
 */
int conf_read(const char *path, const struct conf_schema *schema, void *target,
              struct err_text *e);

/* Frees what conf_read put into TARGET by KEYS (sections: once for each target). */
void conf_release(const struct conf_key *keys, void *target);

/*
 * The name of the next key, from KEYS[*AT] on, that is marked `restart` and whose values in A and
 * B differ; *AT goes behind it. NULL: there is none.
 */
const char *conf_next_changed(const struct conf_key *keys, const void *a, const void *b,
                              size_t *at);

/* For error messages about a value found bad later: the line of KEY's item, 0 unknown. */
int conf_error(struct err_text *e, const char *path, unsigned line, const char *key,
               const char *format, ...) __attribute__((format(printf, 5, 6)));

/*
 * For errors about a file or directory that PATH names, met when it is used. Where E's text
 * begins with the name of a key and a blank ("key cert.key: ..."), E gets the file and the line
 * before it where PATH has that key before its first section: once, or several times and once with
 * this value. Else it stays. Returns CODE.
 */
int conf_blame(struct err_text *e, int code, const char *path);

#endif
