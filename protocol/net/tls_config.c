/* The TLS settings that many streams share: certificate, trust, and OpenSSL's switches. */
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

#include "net/tls_core.h"

/*
 * The suite that all must have (RFC 8446 section 9.1) comes first: it is as safe as anything else
 * here needs, and its SHA-256, which keys are derived with at each handshake, is an instruction
 * of the processors where SHA-384 is not.
 */
#define SUITES "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define READ_BUFFER ((size_t)32 * 1024) /* octets of one recv; held only while octets come */

static int load_trust(SSL_CTX *ctx, const struct tls_options *options, struct err_text *e)
{
	int rc;

	if (options->ca_file == NULL) {
		if (SSL_CTX_set_default_verify_paths(ctx) != 1)
			return err_set(e, ERR_CONFIG, "the system's CA certificates: %s",
			               tls_own_reason());
		return 0;
	}
	rc = tls_own_readable("ca-file", options->ca_file, e);
	if (rc < 0)
		return rc;
	if (SSL_CTX_load_verify_file(ctx, options->ca_file) != 1)
		return err_set(e, ERR_CONFIG, "ca-file %s: no PEM certificate (%s)",
		               options->ca_file, tls_own_reason());
	return 0;
}

/*
 * Both sides check the other for the purpose of a TLS server: public CAs issue
 * certificates with serverAuth alone, so a store that notifies has no other.
 */
static int set_checks(SSL_CTX *ctx)
{
	X509_VERIFY_PARAM *param = SSL_CTX_get0_param(ctx);

	X509_VERIFY_PARAM_set_hostflags(param, TLS_HOST_FLAGS);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_cert_verify_callback(ctx, tls_verify_peer, NULL);
	return X509_VERIFY_PARAM_set_purpose(param, X509_PURPOSE_SSL_SERVER) == 1
	       && X509_VERIFY_PARAM_set_trust(param, X509_TRUST_SSL_SERVER) == 1 ? 0 : ERR_NOMEM;
}

/* --- the server's part of the handshake --------------------------------------------------- */

/* OpenSSL would let a client pass that does not offer any protocol. */
static int require_alpn(SSL *ssl, int *alert, void *unused)
{
	const unsigned char *p;
	size_t n;

	(void)unused;
	if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &p,
	                              &n) == 1)
		return SSL_CLIENT_HELLO_SUCCESS;
	*alert = SSL_AD_NO_APPLICATION_PROTOCOL;
	return SSL_CLIENT_HELLO_ERROR;
}

/* Our order of preference. IN is a list of length octets and names, checked by OpenSSL. */
static int select_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_n,
                       const unsigned char *in, unsigned in_n, void *unused)
{
	const struct tls_stream *t = SSL_get_app_data(ssl);

	(void)unused;
	for (const char *const *name = t->protocols; *name != NULL; name++)
		for (unsigned at = 0; at < in_n; at += 1U + in[at])
			if (span_eq_str(span_of(in + at + 1, in[at]), *name)) {
				*out = in + at + 1;
				*out_n = in[at];
				return SSL_TLSEXT_ERR_OK;
			}
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* The certificate that the client wants to see; where there is none, the first. */
static int on_server_name(SSL *ssl, int *alert, void *ctx)
{
	const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
	const struct tls_config *c = ctx;

	if (name == NULL || tls_own_show(c, ssl, tls_config_choose(c, name)) == 0)
		return SSL_TLSEXT_ERR_OK;
	*alert = SSL_AD_INTERNAL_ERROR;
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static int set_server(struct tls_config *c, const struct tls_options *options, struct err_text *e)
{
	SSL_CTX *ctx = c->ctx;

	SSL_CTX_set_client_hello_cb(ctx, require_alpn, NULL);
	SSL_CTX_set_alpn_select_cb(ctx, select_alpn, NULL);
	if (c->n_own > 1) {
		SSL_CTX_set_tlsext_servername_callback(ctx, on_server_name);
		SSL_CTX_set_tlsext_servername_arg(ctx, c);
	}
	/* Tickets hold all there is to a session, the client's certificate with its check too. */
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	/* A client that hangs up on the answer to its early data gets no new one: these must do. */
	SSL_CTX_set_num_tickets(ctx, options->early_octets > 0 ? 4 : 1);
	if (SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"im2000", 6) != 1)
		return ERR_NOMEM;
	if (tls_early_serve(c, options->early_octets) < 0)
		return ERR_NOMEM;
	if (!c->ask_client)
		return 0;
	if (set_checks(ctx) < 0)
		return ERR_NOMEM;
	return load_trust(ctx, options, e);
}

/* --- the client's ------------------------------------------------------------------------- */

/* A ticket came. 0: OpenSSL keeps its own reference to itself. */
static int on_ticket(SSL *ssl, SSL_SESSION *session)
{
	struct tls_stream *t = SSL_get_app_data(ssl);

	t->got_ticket = true;
	if (t->verified)
		tls_sessions_put(t->config->sessions, t->domain, t->protocol, t->identity,
		                 session);
	return 0;
}

static int set_client(struct tls_config *c, const struct tls_options *options, struct err_text *e)
{
	SSL_CTX_set_session_cache_mode(c->ctx,
	                               SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(c->ctx, on_ticket);
	c->early = options->early_octets > 0;
	if (set_checks(c->ctx) < 0 || tls_sessions_create(&c->sessions) < 0)
		return ERR_NOMEM;
	if (tls_tickets_trust(options, c->trust) == ERR_NOMEM)
		return ERR_NOMEM;
	return load_trust(c->ctx, options, e);
}

/* --- making and counting ------------------------------------------------------------------ */

static int set_all(struct tls_config *c, const struct tls_options *options, struct err_text *e)
{
	int rc;

	if (SSL_CTX_set_min_proto_version(c->ctx, TLS1_3_VERSION) != 1 ||
	    SSL_CTX_set_ciphersuites(c->ctx, SUITES) != 1)
		return ERR_NOMEM;
	/* No chain is searched for at each handshake: the certificate's file holds it. */
	SSL_CTX_set_mode(c->ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE
	                         | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_NO_AUTO_CHAIN);
	SSL_CTX_set_read_ahead(c->ctx, 1);
	SSL_CTX_set_default_read_buffer_len(c->ctx, READ_BUFFER);
	rc = tls_own_load(c, options, e);
	if (rc < 0)
		return rc;
	return options->server ? set_server(c, options, e) : set_client(c, options, e);
}

int tls_config_create(const struct tls_options *options, struct tls_config **out,
                      struct err_text *e)
{
	struct tls_config *c = calloc(1, sizeof *c);
	int rc;

	if (c == NULL)
		return err_set(e, ERR_NOMEM, "out of memory");
	atomic_init(&c->refs, 1);
	c->ask_client = options->server && options->ask_client;
	ERR_clear_error();
	c->ctx = SSL_CTX_new(TLS_method());
	if (e != NULL)
		e->text[0] = '\0';
	rc = c->ctx == NULL ? ERR_NOMEM : set_all(c, options, e);
	ERR_clear_error();
	if (rc == 0) {
		*out = c;
		return 0;
	}
	if (rc == ERR_NOMEM)
		err_set(e, rc, "out of memory");
	tls_config_drop(c);
	return rc;
}

struct tls_config *tls_config_hold(struct tls_config *c)
{
	atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
	return c;
}

void tls_config_drop(struct tls_config *c)
{
	if (c == NULL || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
		return;
	SSL_CTX_free(c->ctx);
	tls_own_free(c);
	tls_hellos_free(c->hellos);
	tls_sessions_free(c->sessions);
	free(c);
}
