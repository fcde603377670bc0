/* im2000-notify init: what is its own of the configuration and the data directory. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "notify/admin.h"
#include "notify/db.h"
#include "session/init.h"
#include "session/program.h"

#define PORT_RNASP 4403
#define PORT_RNAQP 4404
#define CA_MAX 16384 /* octets of a CA's certificate file */

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
 * be there already, of an init that did not come to its end.
 */
static int copy_ca(const struct init *in, struct err_text *e)
{
	char from[PATH_MAX], to[PATH_MAX], text[CA_MAX], there[CA_MAX];
	int r;

	if (strcmp(in->ca_dir, in->dir) == 0) {
		return 0;
	}
	if ((r = init_path(in->ca_dir, "ca.pem", from, e)) != 0 ||
	    (r = init_path(in->dir, "ca.pem", to, e)) != 0 ||
	    (r = read_text(from, text, sizeof text, e)) != 0) {
		return r;
	}
	if (read_text(to, there, sizeof there, NULL) == 0 && strcmp(text, there) == 0) {
		return 0;
	}
	return program_write_file(to, 0644, text, e);
}

static int make_data(const char *data, struct err_text *e)
{
	const struct db_options options = { .create = true };
	struct db *db;
	int r = db_open(data, &options, &db, e);

	if (r == 0) {
		db_close(db);
	}
	return r;
}

static int make_config(const struct init *in, struct buf *out, struct err_text *e)
{
	char rnasp[128], rnaqp[128];
	int r;

	if (in->self_signed && (r = copy_ca(in, e)) != 0) {
		return r;
	}
	init_address(in->host, PORT_RNASP, rnasp, sizeof rnasp);
	init_address(in->host, PORT_RNAQP, rnaqp, sizeof rnaqp);
	r = buf_addf(out,
	             "# im2000-notify: notify.conf(5) explains every key.\n"
	             "domain       = %s\n"
	             "data         = data\n"
	             "certificate  = cert.pem\n"
	             "key          = key.pem\n"
	             "%s"
	             "listen-rnasp = %s\n"
	             "listen-rnaqp = %s\n"
	             "# refuse or keep: notifications whose sender's domain is not proved\n"
	             "unverified   = refuse\n",
	             in->domain,
	             in->self_signed ? "ca-file      = ca.pem\n"
	                             : "# default: the system's\n# ca-file    = ca.pem\n",
	             rnasp, rnaqp);
	return r == 0 ? 0 : err_set(e, r, "write %s: %s", in->config, err_phrase(r));
}

int admin_init(int argc, char **argv)
{
	static const struct init_daemon daemon = {
		.program = ADMIN_PROGRAM,
		.config_name = "notify.conf",
		.make_data = make_data,
		.make_config = make_config,
	};

	return init_run(&daemon, argc, argv);
}
