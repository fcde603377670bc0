#include "session/init.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "net/address.h"
#include "net/selfsign.h"
#include "session/program.h"

int init_path(const char *dir, const char *name, char out[PATH_MAX], struct err_text *e)
{
	return snprintf(out, PATH_MAX, "%s/%s", dir, name) < PATH_MAX
	           ? 0
	           : err_set(e, ERR_TOO_BIG, "the path %.64s... is too long", dir);
}

void init_address(const char *host, unsigned port, char *out, size_t cap)
{
	snprintf(out, cap, strchr(host, ':') != NULL ? "[%s]:%u" : "%s:%u", host, port);
}

/* --- command line -------------------------------------------------------------------------- */

static int take_domain(const char *program, const char *text, struct init *out)
{
	return name_parse_domain(span_str(text), out->domain) == 0
	           ? 0
	           : program_usage(program, "init: \"%s\" is no domain name (as in a.example)",
	                           text);
}

static int take_host(const char *program, const char *text, struct init *out)
{
	struct address address;
	char with_port[80];

	init_address(text, 1, with_port, sizeof with_port);
	if (strlen(text) > 64 || address_parse(with_port, &address) != 0) {
		return program_usage(program,
		                     "init: --listen wants an address, as in 127.0.0.1 or ::1, not "
		                     "\"%s\"",
		                     text);
	}
	out->host = text;
	return 0;
}

static int take(const char *program, int c, char **argv, struct init *out)
{
	switch (c) {
	case 'd':
		return take_domain(program, optarg, out);
	case 'l':
		return take_host(program, optarg, out);
	case 'a':
		out->ca_dir = optarg;
		out->self_signed = true;
		return 0;
	case 's':
		out->self_signed = true;
		return 0;
	default:
		return program_bad_option(program, "init", c, argv);
	}
}

static int read_options(const struct init_daemon *daemon, int argc, char **argv, struct init *out)
{
	static const struct option options[] = {
		{ "domain", required_argument, NULL, 'd' },
		{ "listen", required_argument, NULL, 'l' },
		{ "self-signed", no_argument, NULL, 's' },
		{ "ca", required_argument, NULL, 'a' },
		{ NULL, 0, NULL, 0 },
	};
	struct err_text e = { "" };
	int c, r = 0;

	while (r == 0 && (c = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		r = take(daemon->program, c, argv, out);
	}
	if (r != 0) {
		return r;
	}
	if (argc - optind != 1 || out->domain[0] == '\0') {
		return program_usage(daemon->program, "init wants a directory and --domain");
	}
	out->dir = argv[optind];
	if (out->ca_dir == NULL) {
		out->ca_dir = out->dir;
	}
	if (init_path(out->dir, daemon->config_name, out->config, &e) != 0 ||
	    init_path(out->dir, "data", out->data, &e) != 0 ||
	    init_path(out->dir, "cert.pem", out->certificate, &e) != 0 ||
	    init_path(out->dir, "key.pem", out->key, &e) != 0) {
		return program_usage(daemon->program, "init: %s", e.text);
	}
	return 0;
}

/* --- what is made -------------------------------------------------------------------------- */

static int write_config(const struct init_daemon *daemon, const struct init *in,
                        struct err_text *e)
{
	const char *whole;
	struct buf text;
	int r;

	buf_init(&text, 0);
	r = daemon->make_config(in, &text, e);
	if (r == 0) {
		whole = buf_cstr(&text);
		r = whole != NULL ? program_write_file(in->config, 0600, whole, e)
		                  : err_set(e, ERR_NOMEM, "write %s: out of memory", in->config);
	}
	buf_free(&text);
	return r;
}

/* The configuration comes last: where there is one all is there, and until then init can be said
 * again. */
static int make_all(const struct init_daemon *daemon, const struct init *in, struct err_text *e)
{
	const struct selfsign_options sign = {
		.ca_dir = in->ca_dir,
		.domain = in->domain,
		.certificate = in->certificate,
		.key = in->key,
	};
	int r;

	if (access(in->config, F_OK) == 0) {
		return err_set(e, ERR_EXISTS, "%s is there already: nothing was changed",
		               in->config);
	}
	if ((r = program_make_dir(in->dir, e)) != 0 || (r = program_make_dir(in->data, e)) != 0 ||
	    (r = daemon->make_data(in->data, e)) != 0 ||
	    (in->self_signed && (r = selfsign_make(&sign, e)) != 0)) {
		return r;
	}
	return write_config(daemon, in, e);
}

int init_run(const struct init_daemon *daemon, int argc, char **argv)
{
	struct init in = { .host = "127.0.0.1" };
	struct err_text e = { "" };
	int r = read_options(daemon, argc, argv, &in);

	if (r != 0) {
		return r;
	}
	if ((r = make_all(daemon, &in, &e)) != 0) {
		return program_fail(daemon->program, r, &e);
	}
	fprintf(stderr, "%s: wrote %s\n", daemon->program, in.config);
	if (!in.self_signed) {
		fprintf(stderr, "%s: put the certificate for %s into %s and its key into %s\n",
		        daemon->program, in.domain, in.certificate, in.key);
	}
	return program_finish(daemon->program);
}
