/* im2000-store init: what is its own of the configuration and the data directory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/address.h"
#include "session/init.h"
#include "store/admin.h"
#include "store/db.h"
#include "store/ids.h"

#define PORT_MSOAP 4401
#define PORT_MSRAP 4402

static bool is_private(const char *host)
{
	struct address address;
	char text[128];

	init_address(host, 1, text, sizeof text);
	return address_parse(text, &address) == 0 && address_is_private(&address);
}

static int make_data(const char *data, struct err_text *e)
{
	const struct db_options options = { .create = true };
	struct ids *ids;
	struct db *db;
	int rc = db_open(data, &options, &db, e);

	if (rc != 0)
		return rc;
	db_close(db);
	rc = ids_init(data, e);
	if (rc != ERR_EXISTS)
		return rc;
	/* Left by an init that did not come to its end: messages may have ids of it. */
	rc = ids_load(data, &ids, e);
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
	if (realpath(in->ca_dir, dir) == NULL || init_path(dir, "ca.pem", out, NULL) != 0)
		return err_set(e, ERR_IO, "%s: no usable path", in->ca_dir);
	return 0;
}

static int make_config(const struct init *in, struct buf *out, struct err_text *e)
{
	char msoap[128], msrap[128], ca[PATH_MAX];
	int rc = ca_file(in, ca, e);

	if (rc != 0)
		return rc;
	init_address(in->host, PORT_MSOAP, msoap, sizeof msoap);
	init_address(in->host, PORT_MSRAP, msrap, sizeof msrap);
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

int admin_init(int argc, char **argv)
{
	static const struct init_daemon daemon = {
		.program = ADMIN_PROGRAM,
		.config_name = "store.conf",
		.make_data = make_data,
		.make_config = make_config,
	};

	return init_run(&daemon, argc, argv);
}
