#include "net/selfsign.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "base/clock.h"
#include "base/random.h"
#include "base/text.h"

#define DAYS_DEFAULT 825
#define DAYS_CA 3650
#define SERIAL_OCTETS 16
#define COMMON_NAME_MAX 64 /* RFC 5280, ub-common-name */

/* A certificate and its private key; empty when zeroed. */
struct pair {
	X509 *certificate;
	EVP_PKEY *key;
};

static void pair_free(struct pair *p)
{
	X509_free(p->certificate);
	EVP_PKEY_free(p->key);
}

/* What OpenSSL says about its last failure. */
static int openssl_error(struct err_text *e, int code, const char *doing, const char *what)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	ERR_clear_error();
	return err_set(e, code, "%s %s: %s", doing, what,
	               reason != NULL ? reason : "OpenSSL cannot do it");
}

/* --- files ------------------------------------------------------------------------------- */

/* Writes what BIO holds to PATH, which must not be there. */
static int write_new(const char *path, mode_t mode, BIO *bio, struct err_text *e)
{
	char *p;
	long n = BIO_get_mem_data(bio, &p);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	bool written;
	int error;

	if (fd < 0)
		return err_set(e, errno == EEXIST ? ERR_EXISTS : ERR_IO, "make %s: %s", path,
		               strerror(errno));
	written = write(fd, p, (size_t)n) == n && fsync(fd) == 0;
	error = errno;
	close(fd);
	if (written)
		return 0;
	unlink(path);
	return err_set(e, ERR_IO, "write %s: %s", path, strerror(error));
}

static int write_pem(const char *path, mode_t mode, X509 *certificate, EVP_PKEY *key,
                     struct err_text *e)
{
	BIO *bio = BIO_new(BIO_s_secmem());
	int ok, rc;

	if (bio == NULL)
		return err_set(e, ERR_NOMEM, "out of memory");
	ok = certificate != NULL ? PEM_write_bio_X509(bio, certificate)
	                         : PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
	rc = ok == 1 ? write_new(path, mode, bio, e)
	             : openssl_error(e, ERR_INTERNAL, "write", path);
	BIO_free(bio);
	return rc;
}

/* The key first: a certificate without its key is of no use to anybody. */
static int pair_write(const struct pair *p, const char *certificate, const char *key,
                      struct err_text *e)
{
	int rc = write_pem(key, 0600, NULL, p->key, e);

	if (rc != 0)
		return rc;
	rc = write_pem(certificate, 0644, p->certificate, NULL, e);
	if (rc != 0)
		unlink(key);
	return rc;
}

static int pair_read(struct pair *p, const char *certificate, const char *key,
                     struct err_text *e)
{
	FILE *f = fopen(certificate, "re");

	if (f == NULL)
		return err_set(e, ERR_IO, "open %s: %s", certificate, strerror(errno));
	p->certificate = PEM_read_X509(f, NULL, NULL, NULL);
	fclose(f);
	if (p->certificate == NULL)
		return openssl_error(e, ERR_MALFORMED, "read certificate", certificate);
	f = fopen(key, "re");
	if (f == NULL)
		return err_set(e, ERR_IO, "open %s: %s", key, strerror(errno));
	/* An empty pass phrase: never ask on the terminal. */
	p->key = PEM_read_PrivateKey(f, NULL, NULL, "");
	fclose(f);
	if (p->key == NULL)
		return openssl_error(e, ERR_MALFORMED, "read key", key);
	if (X509_check_private_key(p->certificate, p->key) != 1)
		return openssl_error(e, ERR_MALFORMED, "use the CA's files: key and certificate of",
		                     certificate);
	return 0;
}

/* Both are there: 1; neither: 0; else ERR_EXISTS. */
static int pair_there(const char *certificate, const char *key, struct err_text *e)
{
	bool a = access(certificate, F_OK) == 0, b = access(key, F_OK) == 0;

	if (a == b)
		return a;
	return err_set(e, ERR_EXISTS, "%s is there without %s: remove it, or bring the other back",
	               a ? certificate : key, a ? key : certificate);
}

/* --- certificates ------------------------------------------------------------------------ */

static bool add_extension(X509 *c, X509V3_CTX *context, int nid, const char *value)
{
	X509_EXTENSION *x = X509V3_EXT_conf_nid(NULL, context, nid, value);
	bool added = x != NULL && X509_add_ext(c, x, -1) == 1;

	X509_EXTENSION_free(x);
	return added;
}

/* 127 random bits, never zero (RFC 5280 section 4.1.2.2 wants at most 20 octets, positive). */
static bool set_serial(X509 *c)
{
	uint8_t octets[SERIAL_OCTETS];
	BIGNUM *n;
	bool set;

	random_octets(octets, sizeof octets);
	octets[0] = (uint8_t)((octets[0] & 0x7f) | 0x40);
	n = BN_bin2bn(octets, sizeof octets, NULL);
	set = n != NULL && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(c)) != NULL;
	BN_free(n);
	return set;
}

/* From a day ago, for clocks that are behind, until DAYS from now. */
static bool set_times(X509 *c, unsigned days)
{
	uint64_t now_s = clock_now_us() / CLOCK_SECOND_US, day_s = CLOCK_DAY_US / CLOCK_SECOND_US;

	return ASN1_TIME_set(X509_getm_notBefore(c), (time_t)(now_s - day_s)) != NULL &&
	       ASN1_TIME_set(X509_getm_notAfter(c), (time_t)(now_s + days * day_s)) != NULL;
}

static bool set_subject(X509 *c, const char *common_name)
{
	X509_NAME *name = X509_get_subject_name(c);

	return X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC, (const uint8_t *)"im2000", -1,
	                                  -1, 0) == 1 &&
	       (strlen(common_name) > COMMON_NAME_MAX ||
	        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const uint8_t *)common_name,
	                                   -1, -1, 0) == 1);
}

struct extension {
	int nid; /* 0: end */
	const char *value;
};

/* Makes OUT with a fresh key, signed by ISSUER (itself when NULL). */
static int pair_make(struct pair *out, const struct pair *issuer, const char *common_name,
                     unsigned days, const struct extension *extensions, struct err_text *e)
{
	const struct pair *signer = issuer != NULL ? issuer : out;
	X509V3_CTX context;
	bool ok;

	out->key = EVP_EC_gen("P-256");
	out->certificate = X509_new();
	ok = out->key != NULL && out->certificate != NULL &&
	     X509_set_version(out->certificate, X509_VERSION_3) == 1 &&
	     set_serial(out->certificate) && set_times(out->certificate, days) &&
	     set_subject(out->certificate, common_name) &&
	     X509_set_issuer_name(out->certificate,
	                          X509_get_subject_name(signer->certificate)) == 1 &&
	     X509_set_pubkey(out->certificate, out->key) == 1;
	if (ok) {
		X509V3_set_ctx(&context, signer->certificate, out->certificate, NULL, NULL, 0);
		for (; ok && extensions->nid != 0; extensions++)
			ok = add_extension(out->certificate, &context, extensions->nid,
			                   extensions->value);
	}
	if (ok && X509_sign(out->certificate, signer->key, EVP_sha256()) > 0)
		return 0;
	return openssl_error(e, ERR_INTERNAL, "make the certificate for", common_name);
}

static int ca_make(struct pair *out, struct err_text *e)
{
	static const struct extension extensions[] = {
		{ NID_basic_constraints, "critical,CA:TRUE,pathlen:0" },
		{ NID_key_usage, "critical,keyCertSign,cRLSign" },
		{ NID_subject_key_identifier, "hash" },
		{ 0, NULL },
	};
	uint8_t tag[4];
	char name[64], hex[2 * sizeof tag + 1];

	/* Two of them in one file of trusted CAs are told apart by name. */
	random_octets(tag, sizeof tag);
	text_hex(tag, sizeof tag, hex);
	snprintf(name, sizeof name, "private CA %s", hex);
	return pair_make(out, NULL, name, DAYS_CA, extensions, e);
}

static int leaf_make(struct pair *out, const struct pair *ca, const char *domain, unsigned days,
                     struct err_text *e)
{
	char san[300];
	const struct extension extensions[] = {
		{ NID_basic_constraints, "critical,CA:FALSE" },
		{ NID_key_usage, "critical,digitalSignature" },
		{ NID_ext_key_usage, "serverAuth" },
		{ NID_subject_alt_name, san },
		{ NID_subject_key_identifier, "hash" },
		{ NID_authority_key_identifier, "keyid:always" },
		{ 0, NULL },
	};

	snprintf(san, sizeof san, "DNS:%s", domain);
	return pair_make(out, ca, domain, days != 0 ? days : DAYS_DEFAULT, extensions, e);
}

/* --- all together -------------------------------------------------------------------------- */

/* The CA in DIR, made there when there is none. */
static int ca_open(struct pair *ca, const char *dir, struct err_text *e)
{
	char certificate[PATH_MAX], key[PATH_MAX];
	int rc;

	if (snprintf(certificate, sizeof certificate, "%s/ca.pem", dir) >= PATH_MAX ||
	    snprintf(key, sizeof key, "%s/ca.key", dir) >= PATH_MAX)
		return err_set(e, ERR_IO, "%s: the path is too long", dir);
	if (mkdir(dir, 0700) != 0 && errno != EEXIST)
		return err_set(e, ERR_IO, "make directory %s: %s", dir, strerror(errno));
	rc = pair_there(certificate, key, e);
	if (rc < 0)
		return rc;
	if (rc == 1)
		return pair_read(ca, certificate, key, e);
	rc = ca_make(ca, e);
	return rc == 0 ? pair_write(ca, certificate, key, e) : rc;
}

int selfsign_make(const struct selfsign_options *options, struct err_text *e)
{
	struct pair ca = { NULL, NULL }, leaf = { NULL, NULL };
	int rc = pair_there(options->certificate, options->key, e);

	if (rc != 0)
		return rc < 0 ? rc : 0;
	rc = ca_open(&ca, options->ca_dir, e);
	if (rc == 0)
		rc = leaf_make(&leaf, &ca, options->domain, options->days, e);
	if (rc == 0)
		rc = pair_write(&leaf, options->certificate, options->key, e);
	pair_free(&leaf);
	pair_free(&ca);
	return rc;
}
