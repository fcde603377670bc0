/* Certificates for trying out: they verify under their CA, cover their domain, and stay. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/clock.h"
#include "net/selfsign.h"
#include "net/tls.h"
#include "tests/unit/tempdir.h"

struct place {
	char *dir, *ca;
	char certificate[4096], key[4096], ca_file[4096], ca_key[4096];
	struct selfsign_options options;
};

static int setup(void **state)
{
	struct place *p = calloc(1, sizeof *p);

	assert_non_null(p);
	p->dir = tempdir_make();
	p->ca = tempdir_make();
	snprintf(p->certificate, sizeof p->certificate, "%s/cert.pem", p->dir);
	snprintf(p->key, sizeof p->key, "%s/key.pem", p->dir);
	snprintf(p->ca_file, sizeof p->ca_file, "%s/ca.pem", p->ca);
	snprintf(p->ca_key, sizeof p->ca_key, "%s/ca.key", p->ca);
	p->options = (struct selfsign_options){
		.ca_dir = p->ca,
		.domain = "a.example",
		.certificate = p->certificate,
		.key = p->key,
	};
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct place *p = *state;

	tempdir_remove(p->dir);
	tempdir_remove(p->ca);
	free(p);
	return 0;
}

static void make(const struct place *p)
{
	struct err_text e = { "" };

	if (selfsign_make(&p->options, &e) != 0)
		fail_msg("%s", e.text);
}

static X509 *read_certificate(const char *path)
{
	FILE *f = fopen(path, "r");
	X509 *c;

	assert_non_null(f);
	c = PEM_read_X509(f, NULL, NULL, NULL);
	fclose(f);
	assert_non_null(c);
	return c;
}

/* OpenSSL's own judgement of CERTIFICATE under CA, as a TLS server of DOMAIN. */
static bool verifies(const char *certificate, const char *ca, const char *domain)
{
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *c = X509_STORE_CTX_new();
	X509 *leaf = read_certificate(certificate);
	bool good;

	assert_int_equal(X509_STORE_load_file(store, ca), 1);
	assert_int_equal(X509_STORE_CTX_init(c, store, leaf, NULL), 1);
	assert_int_equal(X509_STORE_CTX_set_purpose(c, X509_PURPOSE_SSL_SERVER), 1);
	assert_int_equal(X509_VERIFY_PARAM_set1_host(X509_STORE_CTX_get0_param(c), domain, 0), 1);
	X509_VERIFY_PARAM_set_flags(X509_STORE_CTX_get0_param(c), X509_V_FLAG_X509_STRICT);
	good = X509_verify_cert(c) == 1;
	X509_STORE_CTX_free(c);
	X509_STORE_free(store);
	X509_free(leaf);
	return good;
}

static mode_t mode_of(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_mode & 07777;
}

static void test_made(void **state)
{
	struct place *p = *state;
	struct tls_options o = { .certificate = p->certificate, .key = p->key,
		                 .ca_file = p->ca_file, .server = true };
	struct tls_config *tls;
	struct err_text e;

	make(p);
	assert_true(verifies(p->certificate, p->ca_file, "a.example"));
	assert_false(verifies(p->certificate, p->ca_file, "b.example"));
	assert_false(verifies(p->certificate, p->ca_file, "x.a.example"));
	assert_int_equal(mode_of(p->key), 0600);
	assert_int_equal(mode_of(p->ca_key), 0600);
	assert_int_equal(tls_config_create(&o, &tls, &e), 0);
	assert_true(tls_config_covers(tls, "a.example"));
	assert_false(tls_config_covers(tls, "b.example"));
	assert_true(tls_config_expires_us(tls, NULL) > clock_now_us() + 800 * CLOCK_DAY_US);
	tls_config_drop(tls);
}

/* A second domain under the same CA; a third under its own one. */
static void test_shared_ca(void **state)
{
	struct place *p = *state, *q;
	void *other;
	char certificate[4096], key[4096];

	setup(&other);
	q = other;
	make(p);
	make(q);
	snprintf(certificate, sizeof certificate, "%s/b.pem", p->dir);
	snprintf(key, sizeof key, "%s/b.key", p->dir);
	p->options.domain = "b.example";
	p->options.certificate = certificate;
	p->options.key = key;
	make(p);
	assert_true(verifies(certificate, p->ca_file, "b.example"));
	assert_true(verifies(p->certificate, p->ca_file, "a.example"));
	assert_false(verifies(q->certificate, p->ca_file, "a.example"));
	teardown(&other);
}

static void test_stays(void **state)
{
	struct place *p = *state;
	X509 *before, *after;
	struct err_text e;

	make(p);
	before = read_certificate(p->certificate);
	p->options.domain = "b.example"; /* not looked at: the files are there */
	make(p);
	after = read_certificate(p->certificate);
	assert_int_equal(X509_cmp(before, after), 0);
	X509_free(before);
	X509_free(after);

	assert_int_equal(unlink(p->key), 0);
	assert_int_equal(selfsign_make(&p->options, &e), ERR_EXISTS);
	assert_non_null(strstr(e.text, "cert.pem"));
	assert_int_equal(unlink(p->certificate), 0);
	assert_int_equal(unlink(p->ca_file), 0);
	assert_int_equal(selfsign_make(&p->options, &e), ERR_EXISTS);
	assert_non_null(strstr(e.text, "ca.key"));
}

static void put(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static void test_bad_ca(void **state)
{
	struct place *p = *state;
	struct err_text e;
	void *other;

	setup(&other);
	make(p);
	make(other);
	assert_int_equal(unlink(p->certificate), 0);
	assert_int_equal(unlink(p->key), 0);
	/* The key of another CA. */
	assert_int_equal(rename(((struct place *)other)->ca_key, p->ca_key), 0);
	assert_int_equal(selfsign_make(&p->options, &e), ERR_MALFORMED);
	put(p->ca_key, "nothing\n");
	assert_int_equal(selfsign_make(&p->options, &e), ERR_MALFORMED);
	put(p->ca_file, "");
	assert_int_equal(selfsign_make(&p->options, &e), ERR_MALFORMED);
	assert_int_equal(access(p->certificate, F_OK), -1);
	assert_int_equal(access(p->key, F_OK), -1);
	teardown(&other);

	p->options.ca_dir = "/nonexistent/ca";
	assert_int_equal(selfsign_make(&p->options, &e), ERR_IO);
}

/* A name longer than a common name may be stands in subjectAltName all the same. */
static void test_long_domain(void **state)
{
	static const char domain[] =
	    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa."
	    "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb.example";
	struct place *p = *state;

	p->options.domain = domain;
	p->options.days = 2;
	make(p);
	assert_true(verifies(p->certificate, p->ca_file, domain));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		TEST(test_made),   TEST(test_shared_ca),   TEST(test_stays),
		TEST(test_bad_ca), TEST(test_long_domain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
