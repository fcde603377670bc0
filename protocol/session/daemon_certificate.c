/* The certificates of a daemon's configuration. */
#include "base/clock.h"
#include "base/conf.h"
#include "base/log.h"
#include "session/daemon.h"

int daemon_pair_certificates(const char *path, const struct conf_list *certificates,
                             const struct conf_list *keys, struct err_text *e)
{
	size_t n = keys->n;

	if (certificates->n > n) {
		return conf_error(e, path, certificates->line[n], "certificate",
		                  "has no key: there must be one for each, in the same order");
	}
	n = certificates->n;
	return keys->n == n ? 0
	                    : conf_error(e, path, keys->line[n], "key",
	                                 "has no certificate: there is one key for each, in the "
	                                 "same order");
}

void daemon_name_certificates(const struct conf_list *certificates, const struct conf_list *keys,
                              struct tls_options *out)
{
	if (certificates->n == 0 || certificates->n != keys->n) {
		return;
	}
	out->certificate = certificates->item[0];
	out->key = keys->item[0];
	out->more_certificates = (const char *const *)certificates->item + 1;
	out->more_keys = (const char *const *)keys->item + 1;
	out->n_more = certificates->n - 1;
}

static int uncovered(const struct tls_options *tls, const char *domain, bool strict,
                     struct err_text *e)
{
	char quoted[256];

	if (strict && tls->n_more == 0) {
		return err_set(e, ERR_CONFIG, "certificate %s does not cover domain %s",
		               tls->certificate, domain);
	}
	if (strict) {
		return err_set(e, ERR_CONFIG, "domain %s is covered by none of the %zu certificates",
		               domain, tls->n_more + 1);
	}
	if (tls->n_more > 0) {
		log_warn("certificate", "problem=\"none covers the domain\" domain=%s", domain);
		return 0;
	}
	log_warn("certificate", "file=%s problem=\"does not cover the domain\" domain=%s",
	         log_quote(span_str(tls->certificate), quoted, sizeof quoted), domain);
	return 0;
}

int daemon_check_certificate(const struct tls_options *tls, const char *const *domains, size_t n,
                             bool strict, struct err_text *e)
{
	struct tls_config *config;
	uint64_t expires_us;
	const char *file;
	char quoted[256];
	unsigned first;
	int r = tls_config_create(tls, &config, e);

	if (r != 0) {
		return r;
	}
	for (size_t i = 0; r == 0 && i < n; i++) {
		if (!tls_config_covers(config, domains[i])) {
			r = uncovered(tls, domains[i], strict, e);
		}
	}
	expires_us = tls_config_expires_us(config, &first);
	file = first == 0 ? tls->certificate : tls->more_certificates[first - 1];
	if (r == 0 && expires_us != 0 && expires_us <= clock_now_us()) {
		if (strict) {
			r = err_set(e, ERR_CONFIG, "certificate %s has expired: renew it", file);
		} else {
			log_warn("certificate", "file=%s problem=expired",
			         log_quote(span_str(file), quoted, sizeof quoted));
		}
	}
	tls_config_drop(config);
	return r;
}
