/* im2000-store init: a working configuration, the data directory, and certificates to try out. */
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/name.h"
#include "net/address.h"
#include "net/selfsign.h"
#include "session/program.h"
#include "store/admin.h"
#include "store/db.h"
#include "store/ids.h"

#define PORT_MSOAP 4401
#define PORT_MSRAP 4402

struct init {
	const char *dir;
	char domain[NAME_DOMAIN_MAX + 1];
	const char *host;      /* numeric */
	bool self_signed;
	char ca_dir[PATH_MAX]; /* folder of the CA, for --self-signed */
	char config[PATH_MAX], data[PATH_MAX], certificate[PATH_MAX], key[PATH_MAX];
};

/* --- command line -------------------------------------------------------------------------- */

static int join(char out[PATH_MAX], const char *dir, const char *name)
{
	return snprintf(out, PATH_MAX, "%s/%s", dir, name) < PATH_MAX ? 0 : ERR_TOO_BIG;
}

/* HOST with PORT as an address is written. */
static void host_port(const char *host, unsigned port, char *out, size_t cap)
{
	snprintf(out, cap, strchr(host, ':') != NULL ? "[%s]:%u" : "%s:%u", host, port);
}

static bool is_private(const char *host)
{
	struct address address;
	char text[128];

	host_port(host, 1, text, sizeof text);
	return address_parse(text, &address) == 0 && address_is_private(&address);
}

static int take_domain(const char *text, struct init *out)
{
	if (name_parse_domain(span_str(text), out->domain) != 0)
		return program_usage(ADMIN_PROGRAM, "init: \"%s\" is no domain (as in a.example)",
		                     text);
	return 0;
}

static int take_host(const char *text, struct init *out)
{
	struct address address;
	char with_port[128];

	host_port(text, 1, with_port, sizeof with_port);
	if (strlen(text) > 64 || address_parse(with_port, &address) != 0)
		return program_usage(ADMIN_PROGRAM,
		                     "init: --listen wants an address, as in 127.0.0.1 or ::1, not "
		                     "\"%s\"",
		                     text);
	out->host = text;
	return 0;
}

static int read_options(int argc, char **argv, struct init *out)
{
	static const struct option options[] = {
		{ "domain", required_argument, NULL, 'd' },
		{ "listen", required_argument, NULL, 'l' },
		{ "self-signed", no_argument, NULL, 's' },
		{ "ca", required_argument, NULL, 'a' },
		{ NULL, 0, NULL, 0 },
	};
	const char *ca = NULL;
	int c, rc = 0;

	optind = 1;
	while (rc == 0 && (c = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		if (c == 'd')
			rc = take_domain(optarg, out);
		else if (c == 'l')
			rc = take_host(optarg, out);
		else if (c == 'a')
			ca = optarg;
		else if (c != 's')
			rc = program_bad_option(ADMIN_PROGRAM, "init", c, argv);
		out->self_signed |= c == 's' || c == 'a';
	}
	if (rc != 0)
		return rc;
	if (argc - optind != 1 || out->domain[0] == '\0')
		return program_usage(ADMIN_PROGRAM, "init wants one directory and --domain DOMAIN");
	out->dir = argv[optind];
	if (snprintf(out->ca_dir, sizeof out->ca_dir, "%s", ca != NULL ? ca : out->dir) >= PATH_MAX ||
	    join(out->config, out->dir, "store.conf") != 0 ||
	    join(out->data, out->dir, "data") != 0 ||
	    join(out->certificate, out->dir, "cert.pem") != 0 ||
	    join(out->key, out->dir, "key.pem") != 0)
		return program_usage(ADMIN_PROGRAM, "init: the path is too long");
	return 0;
}

/* --- what is made -------------------------------------------------------------------------- */

static int make_data(const struct init *in, struct err_text *e)
{
	const struct db_options options = { .create = true };
	struct ids *ids;
	struct db *db;
	int rc = program_make_dir(in->data, e);

	if (rc != 0)
		return rc;
	rc = db_open(in->data, &options, &db, e);
	if (rc != 0)
		return rc;
	db_close(db);
	rc = ids_init(in->data, e);
	if (rc != ERR_EXISTS)
		return rc;
	/* Left by an init that did not come to its end: messages may have ids of it. */
	rc = ids_load(in->data, &ids, e);
	if (rc == 0)
		ids_free(ids);
	return rc;
}

/* Where the configuration finds the CA: beside it, or by its whole path. */
static int ca_file(const struct init *in, char out[PATH_MAX], struct err_text *e)
{
	char dir[PATH_MAX];

	if (strcmp(in->ca_dir, in->dir) == 0) {
		snprintf(out, PATH_MAX, "ca.pem");
		return 0;
	}
	if (realpath(in->ca_dir, dir) == NULL || join(out, dir, "ca.pem") != 0)
		return err_set(e, ERR_IO, "%s: no usable path", in->ca_dir);
	return 0;
}

static int config_text(const struct init *in, struct buf *out, struct err_text *e)
{
	char msoap[128], msrap[128], ca[PATH_MAX];
	int rc = ca_file(in, ca, e);

	if (rc != 0)
		return rc;
	host_port(in->host, PORT_MSOAP, msoap, sizeof msoap);
	host_port(in->host, PORT_MSRAP, msrap, sizeof msrap);
	rc = buf_addf(out,
	              "# im2000-store: store.conf(5) explains every key.\n"
	              "domain       = %s\n"
	              "data         = data\n"
	              "certificate  = cert.pem\n"
	              "key          = key.pem\n"
	              "%s%s\n"
	              "listen-msoap = %s\n"
	              "listen-msrap = %s\n",
	              in->domain,
	              in->self_signed ? "ca-file      = "
	                              : "# which authorities prove notification agents; default: "
	                                "the system's\n# ca-file    = ",
	              in->self_signed ? ca : "ca.pem", msoap, msrap);
	if (rc == 0 && in->self_signed && is_private(in->host))
		rc = buf_add_str(out, "# for trying out: agents may be on loopback, too\n"
		                      "allow-private = yes\n");
	return rc == 0 ? 0 : err_set(e, rc, "write %s: %s", in->config, err_phrase(rc));
}

/* Last of all: where it is, everything is. */
static int make_config(const struct init *in, struct err_text *e)
{
	struct buf text;
	const char *whole;
	int rc;

	buf_init(&text, 0);
	rc = config_text(in, &text, e);
	if (rc == 0) {
		whole = buf_cstr(&text);
		rc = whole != NULL ? program_write_file(in->config, 0600, whole, e) : ERR_NOMEM;
	}
	buf_free(&text);
	return rc;
}

static int make_all(const struct init *in, struct err_text *e)
{
	const struct selfsign_options sign = {
		.ca_dir = in->ca_dir,
		.domain = in->domain,
		.certificate = in->certificate,
		.key = in->key,
	};
	int rc;

	if (access(in->config, F_OK) == 0)
		return err_set(e, ERR_EXISTS, "%s is there already: nothing was changed", in->config);
	rc = program_make_dir(in->dir, e);
	if (rc == 0)
		rc = make_data(in, e);
	if (rc == 0 && in->self_signed)
		rc = selfsign_make(&sign, e);
	return rc == 0 ? make_config(in, e) : rc;
}

int admin_init(int argc, char **argv)
{
	struct init in = { .host = "127.0.0.1" };
	struct err_text e = { "" };
	int rc = read_options(argc, argv, &in);

	if (rc != 0)
		return rc;
	rc = make_all(&in, &e);
	if (rc != 0)
		return program_fail(ADMIN_PROGRAM, rc, &e);
	fprintf(stderr, ADMIN_PROGRAM ": wrote %s\n", in.config);
	if (!in.self_signed)
		fprintf(stderr,
		        ADMIN_PROGRAM ": put the certificate for %s into %s and its key into %s\n",
		        in.domain, in.certificate, in.key);
	return program_finish(ADMIN_PROGRAM);
}
