#include "store/addressees.h"

#include <stdlib.h>
#include <string.h>

const char *addressees_domain(const char *mailbox)
{
	const char *at = strrchr(mailbox, '@'); /* a domain has none */

	return at == NULL ? mailbox + strlen(mailbox) : at + 1;
}

static int compare(const char *a, const char *b)
{
	int c = strcmp(addressees_domain(a), addressees_domain(b));

	return c != 0 ? c : strcmp(a, b);
}

static int compare_at(const void *a, const void *b, void *texts)
{
	uint32_t x, y;

	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return compare((const char *)texts + x, (const char *)texts + y);
}

/* Reads the recipients into texts and at; texts has room for them all. */
static void read_recipients(struct wire_list list, uint32_t max, struct addressees *out)
{
	struct wire_mailbox mailbox;
	struct mailbox name;
	uint32_t i = 0;

	while (wire_mailbox_next(&list, &mailbox)) {
		uint8_t *status = &out->statuses[i++];
		size_t n;

		if (i > max) {
			*status = WIRE_SUBMISSION_TOO_MANY;
			continue;
		}
		if (wire_mailbox_to_name(&mailbox, &name) != 0) {
			*status = WIRE_SUBMISSION_BAD_ADDRESS;
			continue;
		}
		*status = WIRE_SUBMISSION_ACCEPTABLE;
		n = strlen(name.text) + 1;
		memcpy(out->texts + out->texts_n, name.text, n);
		out->at[out->n++] = (uint32_t)out->texts_n;
		out->texts_n += n;
	}
}

static void drop_doubles(struct addressees *a)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < a->n; i++)
		if (kept == 0 || strcmp(a->texts + a->at[kept - 1], a->texts + a->at[i]) != 0)
			a->at[kept++] = a->at[i];
	a->n = kept;
}

int addressees_read(struct wire_list recipients, struct wire_list lists, uint32_t max,
                    struct addressees *out)
{
	memset(out, 0, sizeof(*out));
	out->recipients = (uint32_t)recipients.count;
	out->lists = (uint32_t)lists.count;
	if (recipients.count + lists.count == 0)
		return 0;
	out->statuses = malloc(recipients.count + lists.count);
	/* A mailbox's text with its NUL is shorter than its DER, whose tags alone take more. */
	out->texts = malloc(recipients.der.n + 1);
	out->at = malloc((recipients.count + 1) * sizeof(*out->at));
	if (out->statuses == NULL || out->texts == NULL || out->at == NULL)
		return ERR_NOMEM;
	read_recipients(recipients, max, out);
	for (uint32_t i = 0; i < out->lists; i++)
		out->statuses[out->recipients + i] = out->recipients + i < max
		                                         ? WIRE_SUBMISSION_ACCESS_DENIED
		                                         : WIRE_SUBMISSION_TOO_MANY;
	if (out->n > 1)
		qsort_r(out->at, out->n, sizeof(*out->at), compare_at, out->texts);
	drop_doubles(out);
	return 0;
}

void addressees_free(struct addressees *a)
{
	free(a->statuses);
	free(a->texts);
	free(a->at);
	memset(a, 0, sizeof(*a));
}

uint32_t addressees_run(const struct addressees *a, uint32_t first, uint32_t limit)
{
	const char *domain = addressees_domain(addressees_mailbox(a, first));
	uint32_t n = 1;

	while (n < limit && first + n < a->n &&
	       strcmp(addressees_domain(addressees_mailbox(a, first + n)), domain) == 0)
		n++;
	return n;
}

uint32_t addressees_find(const struct addressees *a, const char *mailbox)
{
	uint32_t low = 0, high = a->n;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		int c = compare(addressees_mailbox(a, middle), mailbox);

		if (c == 0)
			return middle;
		if (c < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return a->n;
}
