/* The certificates that we show, and which of them to whom. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <unistd.h>

#include "net/tls_core.h"

const char *tls_own_reason(void)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	return reason != NULL ? reason : "no reason given";
}

/* OpenSSL's words for a missing file are hard to read. */
int tls_own_readable(const char *what, const char *path, struct err_text *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return err_set(e, ERR_CONFIG, "%s %s: %s", what, path, strerrordesc_np(errno));
	close(fd);
	return 0;
}

/* In place of a prompt at the terminal. */
static int no_passphrase(char *out, int cap, int writing, void *ctx)
{
	(void)out;
	(void)cap;
	(void)writing;
	*(bool *)ctx = true;
	return -1;
}

/* CERTIFICATE with its chain, and its KEY, into CTX. */
static int load(SSL_CTX *ctx, const char *certificate, const char *key, struct err_text *e)
{
	bool asked = false;
	int rc;

	if (key == NULL)
		return err_set(e, ERR_CONFIG, "certificate %s has no key beside it", certificate);
	rc = tls_own_readable("certificate", certificate, e);
	if (rc == 0)
		rc = tls_own_readable("key", key, e);
	if (rc < 0)
		return rc;
	if (SSL_CTX_use_certificate_chain_file(ctx, certificate) != 1)
		return err_set(e, ERR_CONFIG, "certificate %s: no PEM certificate chain (%s)",
		               certificate, tls_own_reason());
	SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
	SSL_CTX_set_default_passwd_cb_userdata(ctx, &asked);
	rc = SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM);
	SSL_CTX_set_default_passwd_cb_userdata(ctx, NULL);
	if (rc != 1 && asked)
		return err_set(e, ERR_CONFIG, "key %s is encrypted: keep it in plain, mode 0600",
		               key);
	/* Either call may be the one that finds that the two do not match. */
	if ((rc != 1 && ERR_GET_REASON(ERR_peek_last_error()) == X509_R_KEY_VALUES_MISMATCH)
	    || (rc == 1 && SSL_CTX_check_private_key(ctx) != 1))
		return err_set(e, ERR_CONFIG, "key %s does not belong to certificate %s",
		               key, certificate);
	if (rc != 1)
		return err_set(e, ERR_CONFIG, "key %s: no PEM private key (%s)", key,
		               tls_own_reason());
	return 0;
}

/* Takes out of CTX what `load` put into it. */
static int take(SSL_CTX *ctx, struct tls_own *out)
{
	STACK_OF(X509) *chain = NULL;

	out->certificate = SSL_CTX_get0_certificate(ctx);
	out->key = SSL_CTX_get0_privatekey(ctx);
	X509_up_ref(out->certificate);
	EVP_PKEY_up_ref(out->key);
	if (SSL_CTX_get0_chain_certs(ctx, &chain) != 1 || chain == NULL)
		return 0;
	out->chain = X509_chain_up_ref(chain);
	return out->chain != NULL ? 0 : ERR_NOMEM;
}

static int add(struct tls_config *c, SSL_CTX *ctx, const char *certificate, const char *key,
               struct err_text *e)
{
	int rc = load(ctx, certificate, key, e);

	return rc < 0 ? rc : take(ctx, &c->own[c->n_own++]);
}

int tls_own_load(struct tls_config *c, const struct tls_options *options, struct err_text *e)
{
	int rc;

	if (options->certificate == NULL) {
		if (options->server)
			return err_set(e, ERR_CONFIG, "a TLS server needs a certificate");
		return 0;
	}
	c->own = calloc(1 + options->n_more, sizeof *c->own);
	if (c->own == NULL)
		return ERR_NOMEM;
	rc = add(c, c->ctx, options->certificate, options->key, e);
	for (size_t i = 0; rc == 0 && i < options->n_more; i++) {
		SSL_CTX *ctx = SSL_CTX_new(TLS_method());

		rc = ctx == NULL ? ERR_NOMEM : add(c, ctx, options->more_certificates[i],
		                                   options->more_keys[i], e);
		SSL_CTX_free(ctx);
	}
	return rc;
}

void tls_own_free(struct tls_config *c)
{
	for (size_t i = 0; i < c->n_own; i++) {
		X509_free(c->own[i].certificate);
		EVP_PKEY_free(c->own[i].key);
		sk_X509_pop_free(c->own[i].chain, X509_free);
	}
	free(c->own);
}

int tls_own_show(const struct tls_config *c, SSL *ssl, unsigned i)
{
	const struct tls_own *own;

	if (i == 0 || i >= c->n_own)
		return 0; /* it does */
	own = &c->own[i];
	return SSL_use_cert_and_key(ssl, own->certificate, own->key, own->chain, 1) == 1 ? 0 :
	       ERR_NOMEM;
}

/* --- questions ----------------------------------------------------------------------------- */

uint64_t tls_config_expires_us(const struct tls_config *c, unsigned *which)
{
	uint64_t first = 0;
	unsigned n = 0;

	for (size_t i = 0; i < c->n_own; i++) {
		uint64_t at = tls_verify_time_us(X509_get0_notAfter(c->own[i].certificate));

		if (i > 0 && at >= first)
			continue;
		first = at;
		n = (unsigned)i;
	}
	if (which != NULL)
		*which = n;
	return first;
}

size_t tls_config_count(const struct tls_config *c)
{
	return c->n_own;
}

bool tls_config_covers(const struct tls_config *c, const char *domain)
{
	for (size_t i = 0; i < c->n_own; i++)
		if (tls_verify_covers(c->own[i].certificate, domain))
			return true;
	return false;
}

unsigned tls_config_choose(const struct tls_config *c, const char *domain)
{
	for (size_t i = 0; i < c->n_own; i++)
		if (tls_verify_covers(c->own[i].certificate, domain))
			return (unsigned)i;
	return 0;
}
