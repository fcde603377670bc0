/* What is counted of server sessions. See server_state.h. */
#include <string.h>

#include "session/server_state.h"
#include "wire/frame.h"
#include "wire/msoap.h"
#include "wire/msrap.h"
#include "wire/rnaqp.h"
#include "wire/rnasp.h"

/* The four protocols, alike in form: how to tell a command's kind, and its name. */
#define KIND_FUNCTIONS(MODULE) \
	static int MODULE##_peek(struct span head, uint64_t total, unsigned *kind) \
	{ \
		enum MODULE##_kind k; \
		int rc = MODULE##_command_peek(head, total, &k); \
\
		*kind = (unsigned)k; \
		return rc; \
	} \
	static const char *MODULE##_name(unsigned kind) \
	{ \
		return MODULE##_kind_name((enum MODULE##_kind)kind); \
	}
KIND_FUNCTIONS(msoap)
KIND_FUNCTIONS(msrap)
KIND_FUNCTIONS(rnasp)
KIND_FUNCTIONS(rnaqp)

_Static_assert(MSOAP_KIND_COUNT <= SERVER_KINDS && MSRAP_KIND_COUNT <= SERVER_KINDS &&
               RNASP_KIND_COUNT <= SERVER_KINDS && RNAQP_KIND_COUNT <= SERVER_KINDS,
               "SERVER_KINDS is too small");

struct kinds {
	const char *alpn;
	unsigned count;
	int (*peek)(struct span head, uint64_t total, unsigned *kind);
	const char *(*name)(unsigned kind);
};

static const struct kinds protocols[] = {
	{ "im2000-msoap/1", MSOAP_KIND_COUNT, msoap_peek, msoap_name },
	{ "im2000-msrap/1", MSRAP_KIND_COUNT, msrap_peek, msrap_name },
	{ "im2000-rnasp/1", RNASP_KIND_COUNT, rnasp_peek, rnasp_name },
	{ "im2000-rnaqp/1", RNAQP_KIND_COUNT, rnaqp_peek, rnaqp_name },
};

static const struct kinds *kinds_of(const char *alpn)
{
	for (size_t i = 0; i < sizeof protocols / sizeof protocols[0]; i++)
		if (strcmp(protocols[i].alpn, alpn) == 0)
			return &protocols[i];
	return NULL;
}

const char *server_kind_name(const char *alpn, unsigned kind)
{
	const struct kinds *p = kinds_of(alpn);

	if (kind == 0)
		return "";
	return p != NULL && kind < p->count ? p->name(kind) : NULL;
}

static void add(atomic_ullong *count, unsigned long long n)
{
	atomic_fetch_add_explicit(count, n, memory_order_relaxed);
}

void server_count_session(struct server_session *s, bool begins)
{
	struct server_counts *counts = s->protocol->counts;

	if (counts != NULL)
		add(begins ? &counts->begun : &counts->ended, 1);
}

void server_count_octets(struct server_session *s, size_t in, size_t out)
{
	struct server_counts *counts = s->protocol->counts;

	if (counts == NULL)
		return;
	if (in > 0)
		add(&counts->octets_in, in);
	if (out > 0)
		add(&counts->octets_out, out);
}

void server_count_command(struct server_session *s, struct span head, uint64_t total)
{
	const struct kinds *p;

	s->kind = 0;
	if (s->protocol->counts == NULL)
		return;
	p = kinds_of(s->protocol->alpn);
	if (p == NULL || p->peek(head, total, &s->kind) != 0 || s->kind >= p->count)
		s->kind = 0;
}

void server_count_status(struct server_session *s, enum wire_status status)
{
	struct server_counts *counts = s->protocol->counts;

	if (counts != NULL && (unsigned)status < WIRE_STATUS_COUNT)
		add(&counts->answers[s->kind][status], 1);
}

void server_count_answer(struct server_session *s, struct span frame)
{
	struct span body = span_after(frame, FRAME_PREFIX);
	enum wire_status status;

	if (s->protocol->counts == NULL || frame.n < FRAME_PREFIX)
		return;
	if (wire_response_status(body, frame_length(frame.p), &status) == 0)
		server_count_status(s, status);
}
