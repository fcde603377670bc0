/* Certificates for tests, made when they are needed: nothing in the tree expires. */
#ifndef IM2000_TESTS_CERTS_H
#define IM2000_TESTS_CERTS_H

#include <stdbool.h>

enum cert_issuer {
	CERT_CA,           /* the tests' CA: "ca" */
	CERT_OTHER_CA,     /* one that nobody trusts: "other-ca" */
	CERT_INTERMEDIATE, /* a CA under CERT_CA; its certificate follows in the chain file */
	CERT_SELF,
};

struct cert_spec {
	const char *name;   /* of the files: NAME.pem and NAME.key */
	const char *dns;    /* "a.example,*.b.example"; NULL: no subjectAltName */
	const char *common; /* common name; NULL: NAME */
	const char *usage;  /* extended key usage, "serverAuth"; NULL: none */
	enum cert_issuer issuer;
	int from_days, to_days; /* validity, from today on; both 0: -1 to 30 */
	int to_seconds;         /* not 0: in place of to_days */
};

/* Makes a folder with ca.pem and other-ca.pem. Ends the test program when it cannot. */
void certs_create(void);
void certs_make(const struct cert_spec *spec);
/* DIR/FILE; one of eight static texts in turn. */
const char *certs_path(const char *file);
/* Removes the folder with all in it. */
void certs_remove(void);

#endif
