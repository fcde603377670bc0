/* Which commands may be early data. What is not named here waits for the end of the handshake. */
#include "wire/early.h"

#include <string.h>

#include "wire/msoap.h"
#include "wire/msrap.h"
#include "wire/rnaqp.h"

/* A submission with a submissionId happens once, however often it is said. */
static bool msoap_allowed(struct span body, uint64_t total)
{
	struct msoap_command c;

	if (msoap_command_decode(body, total, &c) != 0)
		return false;
	switch (c.kind) {
	case MSOAP_AUTHENTICATE:
	case MSOAP_SUBMIT_CHUNK:
		return true;
	case MSOAP_SUBMIT_ENVELOPE:
		return c.u.submit_envelope.has_submission_id;
	default:
		return false;
	}
}

/* Reading, and marks that only ever rise. */
static bool msrap_allowed(struct span body, uint64_t total)
{
	enum msrap_kind kind;

	if (msrap_command_peek(body, total, &kind) != 0)
		return false;
	switch (kind) {
	case MSRAP_QUERY_SIZE:
	case MSRAP_RETRIEVE:
	case MSRAP_SILENCE:
	case MSRAP_UNPIN:
	case MSRAP_REFUSE:
	case MSRAP_SCAN_LIST:
	case MSRAP_LIST_INFO:
		return true;
	default: /* a grant is another one each time; subscribe may be older than unsubscribe */
		return false;
	}
}

static bool rnaqp_allowed(struct span body, uint64_t total)
{
	enum rnaqp_kind kind;

	return rnaqp_command_peek(body, total, &kind) == 0 &&
	       (kind == RNAQP_AUTHENTICATE || kind == RNAQP_RETRIEVE);
}

bool early_allowed(const char *alpn, struct span body, uint64_t total)
{
	static const struct {
		const char *alpn;
		bool (*allowed)(struct span body, uint64_t total);
	} protocols[] = {
		{ "im2000-msoap/1", msoap_allowed },
		{ "im2000-msrap/1", msrap_allowed },
		{ "im2000-rnaqp/1", rnaqp_allowed },
	};

	for (size_t i = 0; i < sizeof protocols / sizeof protocols[0]; i++)
		if (strcmp(protocols[i].alpn, alpn) == 0)
			return protocols[i].allowed(body, total);
	return false;
}
