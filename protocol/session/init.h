/*
 * The command `init DIR --domain D [--listen A] [--self-signed | --ca DIR]` of a daemon: a
 * working configuration, the data directory, and certificates for trying out.
 */
#ifndef IM2000_SESSION_INIT_H
#define IM2000_SESSION_INIT_H

#include <limits.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/name.h"

/* What is made. */
struct init {
	const char *dir;
	char domain[NAME_DOMAIN_MAX + 1];
	const char *host; /* numeric */
	bool self_signed;
	const char *ca_dir; /* folder of the CA, for self_signed; that of --ca, or dir */
	char config[PATH_MAX], data[PATH_MAX], certificate[PATH_MAX], key[PATH_MAX];
};

/* What a daemon has of its own. */
struct init_daemon {
	const char *program;     /* its name, for messages */
	const char *config_name; /* "store.conf" */
	/*
	 * Puts what belongs into the data directory, which is there; what an init that did not
	 * come to its end has left is used on. 0, or an error with E filled.
	 */
	int (*make_data)(const char *data, struct err_text *e);
	/*
	 * Adds the configuration's text to OUT; all other files are there by now. 0, or an error
	 * with E filled.
	 */
	int (*make_config)(const struct init *in, struct buf *out, struct err_text *e);
};

/* The whole command: ARGV begins with its name. The exit code. */
int init_run(const struct init_daemon *daemon, int argc, char **argv);

/* For make_config. The path of NAME in folder DIR. 0, or ERR_TOO_BIG with E filled. */
int init_path(const char *dir, const char *name, char out[PATH_MAX], struct err_text *e);

/* The same: HOST with PORT as an address is written. OUT of 80 octets is enough. */
void init_address(const char *host, unsigned port, char *out, size_t cap);

#endif
