#include "certs.h"

#include <dirent.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct authority {
	X509 *certificate;
	EVP_PKEY *key;
};

static char dir[256];
static struct authority authorities[3]; /* by enum cert_issuer */

#define NEED(x) \
	do { \
		if (!(x)) { \
			fprintf(stderr, "certs: %s failed\n", #x); \
			abort(); \
		} \
	} while (0)

const char *certs_path(const char *file)
{
	static char texts[8][sizeof dir + 257]; /* a file name has 255 octets at most */
	static unsigned turn;
	char *out = texts[turn++ % 8];

	NEED(snprintf(out, sizeof texts[0], "%s/%s", dir, file) < (int)sizeof texts[0]);
	return out;
}

static void add_extension(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509_EXTENSION *extension;
	X509V3_CTX ctx;

	X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	NEED(extension != NULL);
	NEED(X509_add_ext(x, extension, -1) == 1);
	X509_EXTENSION_free(extension);
}

static X509 *new_certificate(const char *common, EVP_PKEY *key, int from_days, int to_days)
{
	X509 *x = X509_new();
	unsigned char serial[8];

	NEED(x != NULL);
	NEED(RAND_bytes(serial, sizeof serial) == 1);
	serial[0] &= 0x7f;
	NEED(X509_set_version(x, 2) == 1);
	{
		BIGNUM *number = BN_bin2bn(serial, sizeof serial, NULL);

		NEED(BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x)) != NULL);
		BN_free(number);
	}
	NEED(X509_gmtime_adj(X509_getm_notBefore(x), from_days * 86400L) != NULL);
	NEED(X509_gmtime_adj(X509_getm_notAfter(x), to_days * 86400L) != NULL);
	NEED(X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8,
	                                (const unsigned char *)common, -1, -1, 0) == 1);
	NEED(X509_set_pubkey(x, key) == 1);
	return x;
}

static void sign(X509 *x, X509 *issuer, EVP_PKEY *key)
{
	NEED(X509_set_issuer_name(x, X509_get_subject_name(issuer)) == 1);
	add_extension(x, issuer, NID_subject_key_identifier, "hash");
	if (issuer != x)
		add_extension(x, issuer, NID_authority_key_identifier, "keyid:always");
	NEED(X509_sign(x, key, EVP_sha256()) > 0);
}

static void write_chain(const char *name, X509 *first, X509 *second)
{
	char file[128];
	FILE *f;

	snprintf(file, sizeof file, "%s.pem", name);
	f = fopen(certs_path(file), "w");
	NEED(f != NULL);
	NEED(PEM_write_X509(f, first) == 1);
	if (second != NULL)
		NEED(PEM_write_X509(f, second) == 1);
	NEED(fclose(f) == 0);
}

static void make_authority(struct authority *a, const char *name, const struct authority *above)
{
	a->key = EVP_EC_gen("P-256");
	NEED(a->key != NULL);
	a->certificate = new_certificate(name, a->key, -400, 400);
	add_extension(a->certificate, a->certificate, NID_basic_constraints, "critical,CA:TRUE");
	add_extension(a->certificate, a->certificate, NID_key_usage, "critical,keyCertSign,cRLSign");
	sign(a->certificate, above != NULL ? above->certificate : a->certificate,
	     above != NULL ? above->key : a->key);
	write_chain(name, a->certificate, NULL);
}

void certs_create(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(dir, sizeof dir, "%s/im2000-certs-XXXXXX", tmp != NULL ? tmp : "/tmp");
	NEED(mkdtemp(dir) != NULL);
	make_authority(&authorities[CERT_CA], "ca", NULL);
	make_authority(&authorities[CERT_OTHER_CA], "other-ca", NULL);
	make_authority(&authorities[CERT_INTERMEDIATE], "intermediate", &authorities[CERT_CA]);
}

/* "a.example,b.example" -> "DNS:a.example,DNS:b.example" */
static void add_dns(X509 *x, const char *dns)
{
	char list[512], out[1024] = "";
	char *rest = list;
	const char *name;

	snprintf(list, sizeof list, "%s", dns);
	while ((name = strsep(&rest, ",")) != NULL) {
		size_t n = strlen(out);

		snprintf(out + n, sizeof out - n, "%sDNS:%s", n > 0 ? "," : "", name);
	}
	add_extension(x, x, NID_subject_alt_name, out);
}

void certs_make(const struct cert_spec *spec)
{
	bool usual = spec->from_days == 0 && spec->to_days == 0;
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x;
	char file[128];
	FILE *f;

	NEED(key != NULL);
	x = new_certificate(spec->common != NULL ? spec->common : spec->name, key,
	                    usual ? -1 : spec->from_days, usual ? 30 : spec->to_days);
	if (spec->to_seconds != 0)
		NEED(X509_gmtime_adj(X509_getm_notAfter(x), spec->to_seconds) != NULL);
	if (spec->dns != NULL)
		add_dns(x, spec->dns);
	if (spec->usage != NULL)
		add_extension(x, x, NID_ext_key_usage, spec->usage);
	if (spec->issuer == CERT_SELF)
		sign(x, x, key);
	else
		sign(x, authorities[spec->issuer].certificate, authorities[spec->issuer].key);
	write_chain(spec->name, x, spec->issuer == CERT_INTERMEDIATE ?
	                               authorities[CERT_INTERMEDIATE].certificate : NULL);
	snprintf(file, sizeof file, "%s.key", spec->name);
	f = fopen(certs_path(file), "w");
	NEED(f != NULL);
	NEED(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL) == 1);
	NEED(fclose(f) == 0);
	X509_free(x);
	EVP_PKEY_free(key);
}

void certs_remove(void)
{
	DIR *d = opendir(dir);
	struct dirent *entry;

	for (size_t i = 0; i < sizeof authorities / sizeof authorities[0]; i++) {
		X509_free(authorities[i].certificate);
		EVP_PKEY_free(authorities[i].key);
	}
	memset(authorities, 0, sizeof authorities);
	if (d == NULL)
		return;
	while ((entry = readdir(d)) != NULL)
		if (entry->d_name[0] != '.')
			unlink(certs_path(entry->d_name));
	closedir(d);
	rmdir(dir);
}
