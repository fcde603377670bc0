/*
 * Certificates for trying out: a private CA and, signed by it, a certificate
 * for one domain (X.509 v3, RFC 5280; DNS-ID in subjectAltName, RFC 9525). Its
 * only key usage is that of a TLS server, as with public CAs. For real use a
 * domain has a certificate from a CA that others trust.
 */
#ifndef IM2000_NET_SELFSIGN_H
#define IM2000_NET_SELFSIGN_H

#include "base/err.h"

struct selfsign_options {
	const char *ca_dir;      /* folder of ca.pem and ca.key; both are made when neither is there */
	const char *domain;      /* canonical form (base/name.h) */
	const char *certificate; /* file to make: PEM, the domain's certificate */
	const char *key;         /* file to make: PEM, mode 0600 */
	unsigned days;           /* that it is good for; 0: 825 (a new CA: ten years) */
};

/*
 * Makes the files (P-256 keys). When CERTIFICATE and KEY are both there already,
 * they stay as they are: both daemons of a domain can share one folder. 0, or
 * ERR_IO, ERR_EXISTS (one of a pair is there without the other), ERR_MALFORMED
 * (the CA's files), ERR_NOMEM with E filled.
 */
int selfsign_make(const struct selfsign_options *options, struct err_text *e);

#endif
