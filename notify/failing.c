#include "notify/failing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/name.h"

#define STORES 128
#define WHY_MAX 300

struct failing {
	struct {
		char domain[NAME_DOMAIN_MAX + 1]; /* "": never used */
		uint64_t until_us;
		char why[WHY_MAX];
	} store[STORES];
};

int failing_create(struct failing **out)
{
	*out = calloc(1, sizeof **out);
	return *out == NULL ? ERR_NOMEM : 0;
}

void failing_free(struct failing *f)
{
	free(f);
}

void failing_note(struct failing *f, const char *domain, uint64_t for_us, const char *why)
{
	size_t at = 0;

	for (size_t i = 0; i < STORES; i++) {
		if (strcmp(f->store[i].domain, domain) == 0) {
			at = i;
			break;
		}
		if (f->store[i].until_us < f->store[at].until_us) {
			at = i;
		}
	}
	snprintf(f->store[at].domain, sizeof f->store[at].domain, "%s", domain);
	snprintf(f->store[at].why, sizeof f->store[at].why, "%s", why);
	f->store[at].until_us = clock_mono_us() + for_us;
}

bool failing_look(const struct failing *f, const char *domain, uint64_t *left_us,
                  struct err_text *text)
{
	uint64_t now = clock_mono_us();

	for (size_t i = 0; i < STORES; i++) {
		if (f->store[i].until_us > now && strcmp(f->store[i].domain, domain) == 0) {
			*left_us = f->store[i].until_us - now;
			err_set(text, 0, "not asked again yet: %s", f->store[i].why);
			return true;
		}
	}
	return false;
}
