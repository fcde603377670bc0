#include "base/clock.h"
#include "base/log.h"
#include "session/daemon.h"

static int uncovered(const char *certificate, const char *domain, bool strict, struct err_text *e)
{
	char quoted[256];

	if (strict) {
		return err_set(e, ERR_CONFIG, "certificate %s does not cover domain %s",
		               certificate, domain);
	}
	log_warn("certificate", "file=%s problem=\"does not cover the domain\" domain=%s",
	         log_quote(span_str(certificate), quoted, sizeof quoted), domain);
	return 0;
}

int daemon_check_certificate(const struct tls_options *tls, const char *const *domains, size_t n,
                             bool strict, struct err_text *e)
{
	struct tls_config *config;
	uint64_t expires_us;
	int r = tls_config_create(tls, &config, e);

	if (r != 0) {
		return r;
	}
	for (size_t i = 0; r == 0 && i < n; i++) {
		if (!tls_config_covers(config, domains[i])) {
			r = uncovered(tls->certificate, domains[i], strict, e);
		}
	}
	expires_us = tls_config_expires_us(config);
	if (r == 0 && expires_us != 0 && expires_us <= clock_now_us()) {
		if (strict) {
			r = err_set(e, ERR_CONFIG, "certificate %s has expired: renew it",
			            tls->certificate);
		} else {
			log_warn("certificate", "problem=expired");
		}
	}
	tls_config_drop(config);
	return r;
}
