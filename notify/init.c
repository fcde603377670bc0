/* im2000-notify init: a working configuration, the data directory, and certificates for trying out.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/name.h"
#include "net/address.h"
#include "net/selfsign.h"
#include "notify/admin.h"
#include "notify/db.h"
#include "session/program.h"

#define PATH_SIZE 4096
#define CA_MAX 16384 /* octets of a CA's certificate file */

struct init {
	const char *dir;
	char domain[NAME_DOMAIN_MAX + 1];
	const char *host;
	const char *ca; /* folder of the CA, with --self-signed */
	bool self_signed;
};

static int parse(int argc, char **argv, struct init *out)
{
	static const struct option options[] = {
		{ "domain", required_argument, NULL, 'd' },
		{ "listen", required_argument, NULL, 'l' },
		{ "self-signed", no_argument, NULL, 's' },
		{ "ca", required_argument, NULL, 'a' },
		{ NULL, 0, NULL, 0 },
	};
	struct address address;
	char text[300];
	int c;

	out->host = "127.0.0.1";
	while ((c = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		switch (c) {
		case 'd':
			if (name_parse_domain(span_str(optarg), out->domain) != 0) {
				return program_usage(ADMIN_PROGRAM,
				                     "init: \"%s\" is no domain name", optarg);
			}
			break;
		case 'l':
			out->host = optarg;
			break;
		case 's':
			out->self_signed = true;
			break;
		case 'a':
			out->self_signed = true;
			out->ca = optarg;
			break;
		default:
			return program_bad_option(ADMIN_PROGRAM, "init", c, argv);
		}
	}
	if (argc - optind != 1 || out->domain[0] == '\0') {
		return program_usage(ADMIN_PROGRAM, "init wants a directory and --domain");
	}
	out->dir = argv[optind];
	if (out->ca == NULL) {
		out->ca = out->dir;
	}
	snprintf(text, sizeof text, strchr(out->host, ':') != NULL ? "[%s]:1" : "%s:1", out->host);
	if (address_parse(text, &address) != 0) {
		return program_usage(ADMIN_PROGRAM,
		                     "init: --listen wants an address such as 127.0.0.1 or ::1");
	}
	return 0;
}

static int write_configuration(const struct init *in, const char *path, struct err_text *e)
{
	const char *open = strchr(in->host, ':') != NULL ? "[" : "", *close = *open ? "]" : "";
	struct buf text;
	const char *whole;
	int r;

	buf_init(&text, 0);
	r = buf_addf(&text,
	             "# im2000-notify: notify.conf(5) explains every key.\n"
	             "domain       = %s\n"
	             "data         = data\n"
	             "certificate  = cert.pem\n"
	             "key          = key.pem\n"
	             "%s"
	             "listen-rnasp = %s%s%s:4403\n"
	             "listen-rnaqp = %s%s%s:4404\n"
	             "# refuse or keep: notifications whose sender's domain is not proved\n"
	             "unverified   = refuse\n",
	             in->domain,
	             in->self_signed ? "ca-file      = ca.pem\n"
	                             : "# default: the system's\n# ca-file    = ca.pem\n",
	             open, in->host, close, open, in->host, close);
	whole = r == 0 ? buf_cstr(&text) : NULL;
	r = whole == NULL ? err_set(e, ERR_NOMEM, "write %s: out of memory", path)
	                  : program_write_file(path, 0600, whole, e);
	buf_free(&text);
	return r;
}

/* The path of NAME in folder DIR. OUT has PATH_SIZE octets. */
static int join(const char *dir, const char *name, char *out, struct err_text *e)
{
	int n = snprintf(out, PATH_SIZE, "%s/%s", dir, name);

	return n > 0 && n < PATH_SIZE
	           ? 0
	           : err_set(e, ERR_TOO_BIG, "the path %.64s... is too long", dir);
}

/* The text of PATH to OUT, CAP octets. ERR_NOT_FOUND, or another error with E filled. */
static int read_text(const char *path, char *out, size_t cap, struct err_text *e)
{
	FILE *f = fopen(path, "re");
	size_t n;

	if (f == NULL) {
		return err_set(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "read %s: %s", path,
		               strerror(errno));
	}
	n = fread(out, 1, cap, f);
	fclose(f);
	if (n == 0 || n == cap) {
		return err_set(e, ERR_MALFORMED, "read %s: it is %s", path,
		               n == 0 ? "empty or no file" : "too long");
	}
	out[n] = '\0';
	return 0;
}

/*
 * Copies the CA's certificate beside the configuration, so that it can be moved as a whole. It may
 * be there already: a store's init in the same folder made the same copy.
 */
static int copy_ca(const struct init *in, struct err_text *e)
{
	char from[PATH_SIZE], to[PATH_SIZE], text[CA_MAX], there[CA_MAX];
	int r;

	if (strcmp(in->ca, in->dir) == 0) {
		return 0;
	}
	if ((r = join(in->ca, "ca.pem", from, e)) != 0 ||
	    (r = join(in->dir, "ca.pem", to, e)) != 0 ||
	    (r = read_text(from, text, sizeof text, e)) != 0) {
		return r;
	}
	if (read_text(to, there, sizeof there, NULL) == 0 && strcmp(text, there) == 0) {
		return 0;
	}
	return program_write_file(to, 0644, text, e);
}

static int make_certificate(const struct init *in, struct err_text *e)
{
	char certificate[PATH_SIZE], key[PATH_SIZE];
	struct selfsign_options options = { .ca_dir = in->ca, .domain = in->domain };
	int r;

	if ((r = join(in->dir, "cert.pem", certificate, e)) != 0 ||
	    (r = join(in->dir, "key.pem", key, e)) != 0) {
		return r;
	}
	options.certificate = certificate;
	options.key = key;
	r = selfsign_make(&options, e);
	return r != 0 ? r : copy_ca(in, e);
}

static int make_data(const char *dir, struct err_text *e)
{
	struct db_options options = { .create = true };
	struct db *db;
	int r = program_make_dir(dir, e);

	if (r == 0 && (r = db_open(dir, &options, &db, e)) == 0) {
		db_close(db);
	}
	return r;
}

/* The configuration comes last: a folder that has one is complete, and init can be said again
 * until then. */
static int make_all(const struct init *in, const char *config, struct err_text *e)
{
	char data[PATH_SIZE];
	int r;

	if (access(config, F_OK) == 0) {
		return err_set(e, ERR_EXISTS, "write %s: it is there already", config);
	}
	if ((r = join(in->dir, "data", data, e)) != 0 || (r = program_make_dir(in->dir, e)) != 0 ||
	    (r = make_data(data, e)) != 0 ||
	    (in->self_signed && (r = make_certificate(in, e)) != 0)) {
		return r;
	}
	return write_configuration(in, config, e);
}

int admin_init(int argc, char **argv)
{
	struct init in = { 0 };
	char config[PATH_SIZE];
	struct err_text e = { "" };
	int r = parse(argc, argv, &in);

	if (r != 0) {
		return r;
	}
	if ((r = join(in.dir, "notify.conf", config, &e)) != 0 ||
	    (r = make_all(&in, config, &e)) != 0) {
		return program_fail(ADMIN_PROGRAM, r, &e);
	}
	fprintf(stderr, "%s: wrote %s\n", ADMIN_PROGRAM, config);
	if (!in.self_signed) {
		fprintf(stderr,
		        "%s: put the certificate for %s into %s/cert.pem and its key into "
		        "%s/key.pem\n",
		        ADMIN_PROGRAM, in.domain, in.dir, in.dir);
	}
	return program_finish(ADMIN_PROGRAM);
}
