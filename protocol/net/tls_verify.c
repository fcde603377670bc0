/* Whether a peer's certificate is good, and if not, what a person should know about it. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/clock.h"
#include "net/tls_core.h"

#define NAMES_SHOWN 3

uint64_t tls_verify_time_us(const ASN1_TIME *t)
{
	struct tm tm;
	time_t seconds;

	if (t == NULL || ASN1_TIME_to_tm(t, &tm) != 1)
		return 0;
	seconds = timegm(&tm);
	return seconds < 0 ? 0 : (uint64_t)seconds * CLOCK_SECOND_US;
}

bool tls_verify_in_time(const X509 *certificate)
{
	uint64_t now = clock_now_us();

	return now >= tls_verify_time_us(X509_get0_notBefore(certificate))
	       && now < tls_verify_time_us(X509_get0_notAfter(certificate));
}

bool tls_verify_covers(X509 *certificate, const char *domain)
{
	/* A leading dot would ask OpenSSL for any name under the domain. */
	if (domain[0] == '\0' || domain[0] == '.')
		return false;
	return X509_check_host(certificate, domain, strlen(domain), TLS_HOST_FLAGS, NULL) == 1;
}

/* --- texts ------------------------------------------------------------------------------- */

/* What a stranger put into a certificate, as harmless text. */
static void add_foreign(struct buf *b, const unsigned char *p, size_t n)
{
	for (size_t i = 0; i < n && i < 100; i++) {
		char c = p[i] >= 0x20 && p[i] < 0x7f ? (char)p[i] : '?';

		buf_add(b, &c, 1);
	}
}

/* "certificate is for x.example, y.example, not b.example" */
static void say_names(struct buf *b, X509 *leaf, const char *domain)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
	int shown = 0, more = 0;

	buf_add_str(b, "certificate is for ");
	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

		if (name->type != GEN_DNS)
			continue;
		if (shown == NAMES_SHOWN) {
			more++;
			continue;
		}
		buf_add_str(b, shown++ > 0 ? ", " : "");
		add_foreign(b, ASN1_STRING_get0_data(name->d.dNSName),
		            (size_t)ASN1_STRING_length(name->d.dNSName));
	}
	GENERAL_NAMES_free(names);
	if (more > 0)
		buf_addf(b, " and %d more", more);
	if (shown == 0)
		buf_add_str(b, "no domain (it has no subjectAltName with a DNS name)");
	buf_addf(b, ", not %s", domain);
}

static void say_time(struct buf *b, const char *words, const ASN1_TIME *t)
{
	char text[32];

	clock_format(tls_verify_time_us(t), text, sizeof text);
	buf_addf(b, "%s %s", words, text);
}

static void say_issuer(struct buf *b, const X509 *certificate)
{
	char *name = X509_NAME_oneline(X509_get_issuer_name(certificate), NULL, 0);

	buf_add_str(b, "certificate was issued by ");
	if (name != NULL)
		add_foreign(b, (const unsigned char *)name, strlen(name));
	OPENSSL_free(name);
	buf_add_str(b, ", which is not trusted here: add that CA to ca-file");
}

static void describe(struct buf *b, X509_STORE_CTX *store, int error, const char *domain)
{
	X509 *leaf = X509_STORE_CTX_get0_cert(store);
	X509 *at = X509_STORE_CTX_get_current_cert(store);

	if (at == NULL)
		at = leaf;
	switch (error) {
	case X509_V_ERR_HOSTNAME_MISMATCH:
		say_names(b, leaf, domain);
		break;
	case X509_V_ERR_CERT_HAS_EXPIRED:
		say_time(b, "certificate expired on", X509_get0_notAfter(at));
		break;
	case X509_V_ERR_CERT_NOT_YET_VALID:
		say_time(b, "certificate is not valid before", X509_get0_notBefore(at));
		break;
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
		buf_add_str(b, "self-signed certificate: add its CA to ca-file");
		break;
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
		say_issuer(b, at);
		break;
	case X509_V_ERR_INVALID_PURPOSE:
		buf_add_str(b, "certificate is not for a TLS server (its extended key usage "
		               "leaves serverAuth out)");
		break;
	default:
		buf_addf(b, "certificate: %s", X509_verify_cert_error_string(error));
		break;
	}
}

int tls_verify_peer(X509_STORE_CTX *store, void *unused)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls_stream *t = SSL_get_app_data(ssl);
	struct buf text;
	const char *why;
	int error;

	(void)unused;
	if (X509_verify_cert(store) > 0)
		return 1;
	error = X509_STORE_CTX_get_error(store);
	if (error == X509_V_OK) {
		/* It failed for want of memory, say: never to be taken for a good certificate. */
		error = X509_V_ERR_UNSPECIFIED;
		X509_STORE_CTX_set_error(store, error);
	}
	if (SSL_is_server(ssl))
		return 1; /* the verify result says so; whoever needs the proof asks for it */
	buf_init(&text, 0);
	describe(&text, store, error, t->domain);
	why = buf_cstr(&text);
	free(t->why);
	t->why = why != NULL ? strdup(why) : NULL;
	buf_free(&text);
	return 0;
}
